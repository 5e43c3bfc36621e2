"""Training dynamics of vision nets in JAX: what is probed, and with which statistics."""

__version__ = "0.1.0"
