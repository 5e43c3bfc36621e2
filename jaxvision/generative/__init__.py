"""Generating: games of two nets, their dynamics, and measures of what they paint.

``game`` takes a step of a game of two ``players``, in any order. ``losses`` says what each of them
loses by the discriminator's logits, ``regularizers`` what calms them, ``contest`` makes their
losses of two nets. ``spectrum`` looks at the field that both follow: its Jacobian, eigenvalues,
path angle. ``trained`` hands a game to the loop that trains everything else.
"""
