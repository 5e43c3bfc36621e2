"""What the closed forms of ``theory`` predict, measured on random nets before any training."""

from collections.abc import Mapping
from functools import partial

import jax
import numpy as np

from jaxvision.dynamics import probes
from jaxvision.dynamics.random_nets import net_growth
from jaxvision.initializers import Initializer
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.types import Array

# By output channels c, section 2.2: sqrt(2 / (9 c)), Eq. 14.
VGG_STDS = {64: 0.059, 128: 0.042, 256: 0.029, 512: 0.021}


def log_squared_norms(keys: Array, width: int, depth: int) -> np.ndarray:
    """Return log ||Ju||^2 [N] of He ReLU nets, one for each key: J the Jacobian, u a unit vector.

    ``theory.relu_log_norm_moments`` has their mean and variance.
    """

    def growth(key: Array) -> Array:
        return net_growth(key, jax.nn.relu, np.sqrt(2), width, depth, homogeneous=True)

    return 2 * np.asarray(jax.jit(jax.vmap(growth))(keys)).sum(1)


def signal_slopes(nets: Mapping[str, MLP], keys: Array, images: Array) -> dict[str, np.ndarray]:
    """Return the octaves [N] that the signal's std grows by per hidden layer, for each net and key.

    ``images`` [B, H, W, C] are preprocessed. A ReLU layer multiplies the variance by fan_in *
    Var[w] / 2 (He et al. 2015, Eq. 10): 0 octaves under He, -1/2 under Xavier.
    """
    slopes = {}
    for name, net in nets.items():
        paired = jax.random.clone(keys)  # nets differ by the scale of the same draws
        variables = initialize_runs(net, paired, images.shape[1:])
        signal = probes.initial_signal(apply_function(net), variables, images)
        slopes[name] = probes.log2_slope(signal[:, 1:-1])  # the hidden layers
    return slopes


def vgg_std_gap(init: Initializer, keys: Array) -> float:
    """Return the largest difference between He et al.'s stds, ``VGG_STDS``, and those of ``init``.

    Drawn once for each key: 3x3 kernels that double the channels, so fan-in and fan-out differ.
    """
    gaps = []
    for channels, std in VGG_STDS.items():
        of_width = jax.vmap(partial(jax.random.fold_in, data=channels))(keys)
        kernels = jax.vmap(partial(init, shape=(3, 3, channels // 2, channels)))(of_width)
        gaps.append(abs(float(np.std(kernels)) - std))
    return max(gaps)
