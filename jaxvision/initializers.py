"""The named weight initializers: one paper, one fan, one distribution each.

An initializer is JAX's: ``init(key, shape, dtype=float32) -> Array`` on the kernel of one layer,
dense ``[I, O]`` or conv ``[h, w, I, O]``. ``fan_in = h*w*I`` and ``fan_out = h*w*O`` (n and n-hat
of He et al. 2015). The variances in the table are exact, also that of the truncated normal: JAX
corrects its width.

===================  ==============================  ===========================================
name                 Var[w]                          distribution
===================  ==============================  ===========================================
xavier_he2015        1 / fan_in                      Gaussian
glorot2010           2 / (fan_in + fan_out)          uniform
he_forward           2 / fan_in                      Gaussian
he_backward          2 / fan_out                     Gaussian
he_prelu             2 / ((1 + slope^2) fan)         Gaussian
flax_default         1 / fan_in                      Gaussian truncated at 2/.8796 of its std
torch_default        1 / (3 fan_in)                  uniform
orthogonal           gain^2 / max(fan_in, O)         Haar
delta_orthogonal     gain^2 / O on the central tap   Haar on the central tap, 0 on the others
fixed                std^2                           Gaussian
===================  ==============================  ===========================================

Note the trap: ``flax_default`` (what Flax and JAX users get unasked) has the variance of
``xavier_he2015``, the curve that stalls in figure 3 of He et al. 2015.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.nn import initializers as jax_initializers
from jax.nn.initializers import Initializer

from jaxvision.types import Array, PyTree, UserError


def _scaled(scale: float, mode: str, distribution: str) -> Initializer:
    return jax_initializers.variance_scaling(scale, mode, distribution, dtype=jnp.float32)


def xavier_he2015() -> Initializer:
    """Return "Xavier" as He et al. 2015 drew it (footnote 3): Gaussian, variance 1/fan_in."""
    return _scaled(1.0, "fan_in", "normal")


def glorot2010() -> Initializer:
    """Return Glorot & Bengio 2010's own: uniform on +-sqrt(6 / (fan_in + fan_out))."""
    return _scaled(1.0, "fan_avg", "uniform")


def he_forward() -> Initializer:
    """Return He et al. 2015, Eq. 10: Gaussian (not truncated), fan_in, variance 2/fan_in."""
    return _scaled(2.0, "fan_in", "normal")


def he_backward() -> Initializer:
    """Return He et al. 2015, Eq. 14, which the paper trained with: Gaussian, variance 2/fan_out."""
    return _scaled(2.0, "fan_out", "normal")


def he_prelu(slope: float, mode: str) -> Initializer:
    """Return the PReLU form of He et al. 2015: Gaussian of variance 2 / ((1 + slope^2) fan).

    Args:
      slope: the PReLU's slope below zero; 0 is ReLU, 1 is linear.
      mode: 'fan_in' (forward) or 'fan_out' (backward).
    """
    return _scaled(2.0 / (1.0 + slope**2), mode, "normal")


def flax_default() -> Initializer:
    """Return Flax's and JAX's default kernel (LeCun normal): truncated Gaussian, 1/fan_in."""
    return _scaled(1.0, "fan_in", "truncated_normal")


def torch_default() -> Initializer:
    """Return the kernel of torch.nn.Linear and Conv2d: uniform on +-1/sqrt(fan_in)."""
    return _scaled(1.0 / 3.0, "fan_in", "uniform")


def torch_default_bias(fan_in: int) -> Initializer:
    """Return the bias of torch.nn.Linear and Conv2d: uniform on +-1/sqrt(fan_in of the kernel)."""
    limit = 1.0 / math.sqrt(fan_in)

    def init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


def orthogonal(gain: float) -> Initializer:
    """Return a Haar-random orthogonal matrix times ``gain`` (Saxe et al. 2014).

    A conv kernel is drawn as the matrix ``[h*w*I, O]``; the smaller of its sides is orthonormal.
    """
    return jax_initializers.orthogonal(gain, dtype=jnp.float32)


def delta_orthogonal(gain: float) -> Initializer:
    """Return Xiao et al. 2018's algorithm 2: orthogonal on the central tap, zero on the others.

    A conv of stride 1 then keeps the norm of its input (times ``gain``), which needs O >= I. A
    dense kernel is its own central tap.

    Raises:
      UserError: a conv kernel with fewer output than input channels.
    """
    conv = jax_initializers.delta_orthogonal(gain, dtype=jnp.float32)
    dense = orthogonal(gain)

    def init(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        if len(shape) == 2:
            return dense(key, shape, dtype)
        if shape[-1] < shape[-2]:
            raise UserError(
                "delta_orthogonal needs at least as many output as input channels, and this layer "
                f"has {shape[-2]} in and {shape[-1]} out: widen it or choose another initializer"
            )
        return conv(key, shape, dtype)

    return init


def fixed(std: float) -> Initializer:
    """Return a Gaussian of one std for every layer (.01 before He et al. 2015)."""
    return jax_initializers.normal(std, dtype=jnp.float32)


BY_NAME: dict[str, Callable[[], Initializer]] = {
    "xavier_he2015": xavier_he2015,
    "glorot2010": glorot2010,
    "he_forward": he_forward,
    "he_backward": he_backward,
    "flax_default": flax_default,
    "torch_default": torch_default,
}


def with_gain(variables: PyTree, gain: float | Array) -> PyTree:
    """Return the variables with every kernel times ``gain``: one draw serves a grid of gains."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: gain * leaf if path[-1].key == "kernel" else leaf, variables
    )


def lsuv(
    params: PyTree,
    pre_activation_std: Callable[[PyTree], dict[str, Array]],
    tolerance: float = 0.1,
    max_iterations: int = 10,
) -> PyTree:
    """Return ``params`` with kernels rescaled to unit output variance (Mishkin & Matas 2016, LSUV).

    Layer by layer in depth order, divides the kernel by the std of the layer's output until the
    variance is within ``tolerance`` of 1. The paper starts from orthonormal kernels: that is the
    caller's (``orthogonal(1.0)``). The whole may be jitted and vmapped.

    Args:
      params: nested parameters; layer ``name`` owns the leaf ``name/kernel``.
      pre_activation_std: params -> ``{layer name: std}`` in depth order, std of shape [] or, for
        layers stacked on the kernel's leading axis, [l]. Not jitted itself: jit sorts a
        dictionary's keys.
      tolerance: allowed distance of the output variance from 1.
      max_iterations: rescalings of one layer at most.
    """
    depth_order: dict[str, tuple[int, ...]] = {}

    def record_order(params: PyTree) -> None:
        depth_order.update({name: std.shape for name, std in pre_activation_std(params).items()})

    jax.eval_shape(record_order, params)
    for name, stack in depth_order.items():
        std_of = partial(_std_of, pre_activation_std, name)
        normalize = partial(_normalize_layer, f"{name}/kernel", std_of, tolerance, max_iterations)
        params = jax.lax.fori_loop(0, *stack, normalize, params) if stack else normalize((), params)
    return params


def _std_of(
    pre_activation_std: Callable[[PyTree], dict[str, Array]],
    name: str,
    params: PyTree,
    index: Array | tuple[()],
) -> Array:
    return pre_activation_std(params)[name][index]


def _normalize_layer(
    kernel_name: str,
    std_of: Callable[[PyTree, Array | tuple[()]], Array],
    tolerance: float,
    max_iterations: int,
    index: Array | tuple[()],
    params: PyTree,
) -> PyTree:
    """Rescale one kernel, ``named_leaves(params)[kernel_name][index]``, to unit output variance."""

    def unfinished(state: tuple[PyTree, Array, Array]) -> Array:
        _, off, iteration = state
        return off & (iteration < max_iterations)

    def measure_and_divide(state: tuple[PyTree, Array, Array]) -> tuple[PyTree, Array, Array]:
        params, _, iteration = state
        std = std_of(params, index)
        off = jnp.abs(jnp.square(std) - 1) >= tolerance
        divisor = jnp.where(off, std, 1.0)

        def divide(path: tuple, leaf: Array) -> Array:
            if jax.tree_util.keystr(path, simple=True, separator="/") != kernel_name:
                return leaf
            return leaf.at[index].divide(divisor)

        return jax.tree_util.tree_map_with_path(divide, params), off, iteration + 1

    start = (params, jnp.bool_(True), jnp.int32(0))
    return jax.lax.while_loop(unfinished, measure_and_divide, start)[0]
