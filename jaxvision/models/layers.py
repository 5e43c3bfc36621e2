"""Layers shared by the model files: convolution, stacks of equal layers, pooling, ``apply``.

Contract of every model: ``model(images [B, H, W, C], train=..., taps=...)`` returns ``(logits,
activations)``. ``activations`` maps layer names to PRE-activations in depth order; a name is the
layer's path in ``params``, so ``named_leaves(params)[name + '/kernel']`` is its kernel. Same-shaped
layers are stacked on a leading axis [l, ...] and run in ``nn.scan``: compile time does not grow
with depth. The name of a stack is ``hidden``, ``rest`` or ends in ``_rest``; ``scan_layers``
refuses others, and ``is_stacked`` reads it. Every ReLU is the one ``relu``, whose backward rule can
be changed: for deconvnets and guided backpropagation.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxvision.act_conv import Convolved, Scaled, act_conv
from jaxvision.convolution import Padding
from jaxvision.initializers import Initializer
from jaxvision.models.drawing import initialize, initialize_runs
from jaxvision.models.normalization import batch_split_over
from jaxvision.models.stacks import by_layer, is_stacked, names_a_stack, stacked_axes
from jaxvision.relu import relu
from jaxvision.taps import gradient_tap
from jaxvision.types import Array, PyTree

__all__ = [  # with what other modules of this room hold
    "ActConv",
    "Apply",
    "Conv",
    "Taps",
    "apply_function",
    "by_layer",
    "initialize",
    "initialize_runs",
    "is_stacked",
    "layers_a_round",
    "max_pool",
    "relu",
    "scan_layers",
    "spatial_pyramid",
    "stack",
    "stacked_axes",
    "tapped",
]

Taps = dict[str, Array] | None
LONGEST_UNROLLED = 25  # blocks, of two layers or three


class Conv(nn.Module):
    """Convolution with ``nn.Conv``'s parameters, computed by the library's ``act_conv``.

    ``padding`` is ``conv2d``'s, or ``'WRAP'``: stride 1 on a torus, so that no unit loses fan-in at
    an edge. On small maps zero padding lowers the signal at every layer (a 2x2 kernel on 4x4 maps:
    by a quarter of its variance), and no initialisation by fan is critical. ``activate`` puts a
    ReLU before it.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: Any = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    activate: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map x [B, H, W, C] to [B, H', W', features]."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        y = act_conv(x, kernel, self.stride, self.padding, relu=self.activate).y
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
        return y


class ActConv(nn.Module):
    """Convolution of an activated input, without bias: ``act_conv`` with its kernel.

    Attributes:
      features: output channels.
      kernel_size: side of the window, odd; zeros are padded so that stride 1 keeps the size.
      stride: step of the window.
      kernel_init: initializer of the kernel.
      padding: other zeros than those, as ``act_conv`` takes them.
    """

    features: int
    kernel_size: int
    stride: int
    kernel_init: Initializer
    padding: Padding | None = None

    @nn.compact
    def __call__(self, x: Array | Scaled, **given: Any) -> Convolved:
        """Map x [B, H, W, C]; ``given`` are the keywords of ``act_conv``."""
        channels = (x.x if isinstance(x, Scaled) else x).shape[-1]
        shape = (self.kernel_size, self.kernel_size, channels, self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        padding = self.padding
        if padding is None:
            padding = ((self.kernel_size // 2,) * 2,) * 2
        return act_conv(x, kernel, self.stride, padding, **given)


def tapped(x: Array, taps: Taps, name: str) -> Array:
    """Return x, its gradient watched by ``taps[name]`` when taps are given."""
    return x if taps is None else gradient_tap(x, taps[name])


def scan_layers(body: Callable, name: str, length: int, unroll: int = 1) -> Callable:
    """Return ``nn.scan`` of ``body(layer, carry, *inputs)`` over ``length`` layers, stacked.

    Args:
      body: returns the next carry and what to stack.
      name: of the layer, by the contract above.
      length: number of layers.
      unroll: layers in one round of the loop.

    Raises:
      ValueError: by its name the layer is no stack.
    """
    if not names_a_stack(name):
        raise ValueError(f"a stack of layers is named 'hidden', 'rest' or '..._rest', not {name!r}")
    return nn.scan(
        body,
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True},
        length=length,
        unroll=unroll,
    )


def layers_a_round(x: Array, length: int) -> int:
    """Return how many of ``length`` equal layers one round of their loop holds.

    A loop compiles once whatever its length, and copies each layer's results into a stack and out
    again. Images of a megabyte [B, H, W, C] make those copies a sixth of a step and a quarter of
    its memory; below, unrolling gains 3 % and costs as much compiling as it saves in a minute.
    """
    if length <= 3:
        return length
    return length if 4 * x.size >= 2**20 and length <= LONGEST_UNROLLED else 1


def stack(
    layer: nn.Module,
    x: Array,
    length: int,
    taps: Taps,
    nonlinearity: Callable[[Array], Array] = lambda x: x,
) -> tuple[Array, Array]:
    """Apply ``length`` layers of one shape, ``x <- layer(nonlinearity(x))``, parameters stacked.

    Args:
      layer: a named module that keeps its input's shape.
      x: pre-activation [B, ...].
      length: number of layers.
      taps: as in the model contract; ``taps[layer.name]`` is [length].
      nonlinearity: elementwise, where the layer has none of its own.

    Returns:
      The last pre-activation [B, ...] and all of them [length, B, ...].
    """

    def body(layer: nn.Module, x: Array, tap: Array | None) -> tuple[Array, Array]:
        x = layer(nonlinearity(x))
        x = x if tap is None else gradient_tap(x, tap)
        return x, x

    scanned = scan_layers(body, layer.name, length)
    return scanned(layer, x, None if taps is None else taps[layer.name])


def max_pool(x: Array, window: int = 2) -> Array:
    """Non-overlapping max pooling of x [B, H, W, C]; rows and columns left over are dropped.

    A side shorter than the window is pooled whole: maps of one row keep it.
    Written as a reshape and a max: the gradient of ``reduce_window`` is a scalar loop on CPU.
    """
    b, h, w, c = x.shape
    rows, columns = min(window, h), min(window, w)
    h, w = h // rows, w // columns
    x = x[:, : h * rows, : w * columns].reshape(b, h, rows, w, columns, c)
    return x.max((2, 4))


def spatial_pyramid(x: Array, bins: tuple[int, ...]) -> Array:
    """Max-pool x [B, H, W, C] into b x b cells for each b and concatenate: [B, C * sum(b * b)].

    Cells overlap by a row where b does not divide the size (He et al. 2014, arXiv 1406.4729).
    """
    _, h, w, _ = x.shape

    def edges(size: int, b: int) -> list[slice]:
        return [slice(i * size // b, -(-(i + 1) * size // b)) for i in range(b)]

    cells = [
        x[:, rows, columns].max((1, 2))
        for b in bins
        for rows in edges(h, b)
        for columns in edges(w, b)
    ]
    return jnp.concatenate(cells, axis=-1)


Apply = Callable[..., tuple[Array, dict[str, Array], PyTree]]


def apply_function(model: nn.Module) -> Apply:
    """Return ``apply(params, batch_stats, images, *, train, taps=None, dropout_key=None, ...)``.

    It returns ``(logits, activations, new batch_stats)``: a pure function of arrays, all that the
    training code needs to know of a model. ``batch_axis`` names the mesh axis that the batch is
    split over, where it is. Other arguments by name go to the model as they are.
    """

    def apply(
        params: PyTree,
        batch_stats: PyTree,
        images: Array,
        *,
        train: bool,
        taps: Taps = None,
        dropout_key: Array | None = None,
        batch_axis: str | None = None,
        **given: Array,
    ) -> tuple[Array, dict[str, Array], PyTree]:
        with batch_split_over(batch_axis):
            (logits, activations), updated = model.apply(
                {"params": params, "batch_stats": batch_stats},
                images,
                train=train,
                taps=taps,
                **given,
                rngs=None if dropout_key is None else {"dropout": dropout_key},
                mutable=["batch_stats"] if train else [],
            )
        # Ordered: a plain dict comes back sorted by name from every JAX transformation.
        return logits, OrderedDict(activations), updated.get("batch_stats", batch_stats)

    return apply
