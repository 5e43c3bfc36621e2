"""Breaking nets: attacks as pure functions of ``f(images in [0, 1]) -> logits`` and arrays.

``threat`` says how far an image may move, ``aims`` what an attack wants of the logits, ``results``
what it hands back. ``gradient``, ``deepfool`` and ``min_norm`` are the attacks that follow
gradients; ``pixels`` tries every pixel, ``evolution`` and ``elites`` search without gradients, by
``genomes`` and networks that paint (``cppn``), and ``ascent`` climbs to fooling images. ``eot``
makes pictures, textures and patches that fool in every pose; ``patch`` pastes them. ``photo``
prints images and photographs them, from an angle (``perspective``) and into a file (``jpeg``).
``checks`` tells a broken attack from a robust net, ``api`` is the one public call.
"""
