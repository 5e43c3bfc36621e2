"""Exponents of random nets: batch norm as theory has it, tanh, where a measured one is zero."""

import jax
import numpy as np

from jaxvision.dynamics import mean_field, theory
from jaxvision.models.normalization import standardize
from jaxvision.types import Array


def batch_norm_relu(h: Array) -> Array:
    """Return ReLU of the bare batch norm of h [batch, width]: epsilon 0, as theory has it."""
    return jax.nn.relu(standardize(h))


def tanh_exponent(gains: np.ndarray, width: int) -> np.ndarray:
    """Return the exponent of tanh nets without biases at ``gains`` [G], to first order in 1/width.

    ln(chi_1) / 2 at the fixed point of the variance (Schoenholz et al. 2017), less the term of
    ``theory.log_norms``: a layer's squared factor varies, and its mean log loses half the variance.
    """
    variance = mean_field.variance_fixed_point(gains, 0.0, "tanh")
    kurtosis = np.array([mean_field.slope_kurtosis("tanh", each) for each in variance])
    loss = (3 * kurtosis - 1) / (4 * width)
    return theory.exponent(mean_field.chi(gains, variance, "tanh")) - loss


def crossing(gains: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Return the gain at which exponents [S, G] first rise through 0, [S]; NaN: nowhere.

    Between two gains on the straight line.
    """
    before = exponents[:, :-1]
    after = exponents[:, 1:]
    rises = (before < 0) & (after >= 0)
    at = rises.argmax(axis=1)
    seeds = np.arange(len(exponents))
    below = before[seeds, at]
    above = after[seeds, at]
    step = gains[at + 1] - gains[at]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = gains[at] + step * below / (below - above)
    return np.where(rises.any(axis=1), found, np.nan)
