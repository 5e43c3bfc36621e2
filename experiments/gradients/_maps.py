"""The maps of trainability: what their nets compute, and how deep theory says that they train.

``config`` is the experiment's everywhere.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.dynamics import mean_field, theory
from jaxvision.models.normalization import EPSILON, standardize
from jaxvision.types import Array

SIGMA_B = 0.05**0.5
CRITICAL = 1.76  # sigma_w^2 of a critical tanh net with these biases
SCALES = 6  # trainable depth in units of xi_c (Schoenholz et al. 2017)
BATCH_NORM_SCALES = 16  # ... of 1 / log(lambda_G) (Yang et al. 2019)


def correlation_limit(config: Any, sigma_w: np.ndarray) -> np.ndarray:
    """Return the depth that theory gives a tanh net: 6 xi_c."""
    return SCALES * np.array(_depth_scale(tuple(sigma_w)))


def dropout_limit(config: Any, sigma_w: np.ndarray) -> np.ndarray:
    """Return the same with dropout."""
    return SCALES * np.array(_depth_scale(tuple(sigma_w), config.keep))


@functools.cache
def _depth_scale(sigma_w: tuple[float, ...], keep: float = 1.0) -> tuple[float, ...]:
    """Return xi_c at every sigma_w: claims and panels ask for the same ones, seconds each."""
    found = mean_field.correlation_depth_scale(np.array(sigma_w), SIGMA_B, "tanh", keep)
    return tuple(found)


def batch_norm_limit(config: Any, sigma_w: np.ndarray) -> np.ndarray:
    """Return the depth of Yang et al. for a ReLU net with batch norm: 16 / log(lambda_G)."""
    factor = float(theory.batch_norm_squared_factor(config.batch_size, "relu"))
    return np.full(np.shape(sigma_w), BATCH_NORM_SCALES / np.log(factor))


def tanh_layer(config: Any, h: Array, key: Array) -> Array:
    """Return what a layer computes before its weights, [B, width]."""
    return jnp.tanh(h)


def dropout_layer(config: Any, h: Array, key: Array) -> Array:
    """Return the same with dropout."""
    kept = jax.random.bernoulli(key, config.keep, h.shape)
    return jnp.where(kept, jnp.tanh(h), 0.0) / config.keep


def batch_norm_layer(config: Any, h: Array, key: Array) -> Array:
    """Return the same with a ReLU after batch norm."""
    return jax.nn.relu(standardize(h, EPSILON))


def tanh_rate(config: Any) -> float:
    """Return the learning rate of the tanh nets."""
    return config.learning_rate


def bn_rate(config: Any) -> float:
    """Return the learning rate of the nets with batch norm."""
    return config.learning_rate_batch_norm


class Map(NamedTuple):
    """One map: how its nets compute, how deep theory says they train, and their rate's flag."""

    label: str
    layer: Callable
    limit: Callable
    limit_words: str
    rate: Callable


MAPS = {
    "tanh": Map("tanh", tanh_layer, correlation_limit, r"6 $\xi_c$", tanh_rate),
    "dropout": Map("tanh + dropout", dropout_layer, dropout_limit, r"6 $\xi_c$", tanh_rate),
    "batch_norm": Map(
        "ReLU + batch norm", batch_norm_layer, batch_norm_limit, r"16 / ln $\lambda_G$", bn_rate
    ),
}
