"""The dense ReLU net that is attacked and searched, a function of its kernels."""

from collections.abc import Sequence

import jax


def answer(kernels: Sequence[jax.Array], images: jax.Array) -> jax.Array:
    """Return the logits [B, K] of images [B, H, W, C] in [0, 1]; kernels are [I, O], no biases."""
    x = images.reshape(len(images), -1) - 0.5
    for kernel in kernels[:-1]:
        x = jax.nn.relu(x @ kernel)
    return x @ kernels[-1]
