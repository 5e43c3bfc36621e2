"""The nonlinearities that theory and measurements of random nets know by name.

``mean_field`` has the closed forms or the integrals of the same names.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.types import Array


def linear(x: Array) -> Array:
    """Return x."""
    return x


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "linear": linear,
}
