"""Generating: games of two nets, their dynamics, and measures of what they paint."""
