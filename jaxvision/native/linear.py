"""A convolution and its two transposes by the kernels: three maps, linear in both operands.

    maps    y [B, H', W', O] = conv(x, w)
    images  x [B, H, W, C]   = the gradient of <conv(x, w), y> for x: the transposed convolution
    kernel  w [k, k, C, O]   = the gradient of <conv(x, w), y> for w

That product is linear in each of x, w and y, so each map's two transposes are the other two maps:
derivatives of every order and mode are these three again, and all run the kernels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxvision.convolution import Pair
from jaxvision.native import switch
from jaxvision.native.definition import merged, taken
from jaxvision.native.primitives import mapped_first, on_same_axes
from jaxvision.types import Array


class Geometry(NamedTuple):
    """Of a convolution: side and step of its window, zeros around the images, and their sides."""

    window: int
    stride: int
    pads: tuple[Pair, Pair]
    size: Pair

    def maps(self) -> Pair:
        """Return the height and width of what the convolution gives."""
        height, width = (
            (size + sum(pads) - self.window) // self.stride + 1
            for size, pads in zip(self.size, self.pads, strict=True)
        )
        return height, width

    def packed(self) -> np.ndarray:
        """Return the numbers that the kernels read: no torus, no ReLU."""
        pads = [pad for pair in self.pads for pad in pair]
        return np.array([self.stride, *pads, 0, 0], np.int64)


def images(maps: Array, kernel: Array, geometry: Geometry) -> Array:
    """Return the transposed convolution [B, H, W, C] of maps [B, H', W', O] by the kernels.

    Nothing is looked at here: ask ``act_conv.is_taken`` before.
    """
    return _bind(_images_p, maps, kernel, geometry)


def _bind(primitive: Primitive, first: Array, second: Array, geometry: Geometry) -> Array:
    return primitive.bind(*on_same_axes([first, second]), geometry=geometry)


def _maps(x: Array, kernel: Array, geometry: Geometry) -> Array:
    shape = _maps_shape(x, kernel, geometry)
    wanted = [_wanted(shape), *_nothing(2, 4)]
    call = jax.ffi.ffi_call(switch.FORWARD, wanted)
    return call(x, kernel, _none(2), _none(4), geometry=geometry.packed())[0]


def _images(y: Array, kernel: Array, geometry: Geometry) -> Array:
    shape = _images_shape(y, kernel, geometry)
    wanted = [_wanted(shape), *_nothing(4, 2, 4)]
    return _backward(wanted, _none(4), kernel, y, geometry)[0]


def _kernel(x: Array, y: Array, geometry: Geometry) -> Array:
    shape = _kernel_shape(x, y, geometry)
    wanted = [*_nothing(4), _wanted(shape), *_nothing(2, 4)]
    return _backward(wanted, x, _none(4), y, geometry)[1]


def _backward(
    wanted: Sequence[jax.ShapeDtypeStruct], x: Array, kernel: Array, y: Array, geometry: Geometry
) -> Sequence[Array]:
    """Call the kernels for gradients of images or weights; all but two operands are left out."""
    call = jax.ffi.ffi_call(switch.BACKWARD, wanted)
    affine, h, y_again, moments = _none(2), _none(4), _none(4), _none(2)
    of_moments, of_h = _none(2), _none(4)
    return call(
        x,
        kernel,
        affine,
        h,
        y_again,
        moments,
        y,
        of_moments,
        of_h,
        geometry=geometry.packed(),
    )


def _maps_shape(x, kernel, geometry: Geometry) -> tuple[int, ...]:
    return (x.shape[0], *geometry.maps(), kernel.shape[3])


def _images_shape(y, kernel, geometry: Geometry) -> tuple[int, ...]:
    return (y.shape[0], *geometry.size, kernel.shape[2])


def _kernel_shape(x, y, geometry: Geometry) -> tuple[int, ...]:
    return (geometry.window, geometry.window, x.shape[3], y.shape[3])


def _wanted(shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _nothing(*ranks: int) -> list[jax.ShapeDtypeStruct]:
    """Results that are not wanted, which the kernels know by their being empty."""
    return [_wanted((0,) * rank) for rank in ranks]


def _none(rank: int) -> Array:
    return jnp.zeros((0,) * rank, jnp.float32)


def _primitive(name: str, compute: Callable, shape: Callable) -> Primitive:
    """Return a primitive that is compiled as what ``compute`` traces to: 0 of no images."""

    def computed(first: Array, second: Array, geometry: Geometry) -> Array:
        if first.size == 0 or second.size == 0:
            return jnp.zeros(shape(first, second, geometry), jnp.float32)
        return compute(first, second, geometry)

    def abstract(first, second, geometry: Geometry):
        return first.update(shape=shape(first, second, geometry), weak_type=False)

    primitive = Primitive(name)
    primitive.def_impl(computed)
    primitive.def_abstract_eval(abstract)
    mlir.register_lowering(primitive, mlir.lower_fun(computed, multiple_results=False))
    return primitive


_maps_p = _primitive("conv_maps", _maps, _maps_shape)
_images_p = _primitive("conv_images", _images, _images_shape)
_kernel_p = _primitive("conv_kernel", _kernel, _kernel_shape)


def _of(primitive: Primitive, order: Callable) -> Callable:
    """Return the rule that finds an operand's cotangent by another of the three maps.

    ``order`` puts the cotangent and both operands, one of them unknown, into that map's order.
    """

    def rule(cotangent, *operands, geometry: Geometry):
        return _bind(primitive, *order(cotangent, *operands), geometry)

    return rule


ad.defbilinear(
    _maps_p,
    _of(_images_p, lambda y, _, kernel: (y, kernel)),
    _of(_kernel_p, lambda y, x, _: (x, y)),
)
ad.defbilinear(
    _images_p,
    _of(_maps_p, lambda x, _, kernel: (x, kernel)),
    _of(_kernel_p, lambda x, y, _: (x, y)),
)
ad.defbilinear(
    _kernel_p,
    _of(_images_p, lambda kernel, _, y: (y, kernel)),
    _of(_maps_p, lambda kernel, x, _: (x, kernel)),
)


def _batch(primitive: Primitive, arrays: Sequence, axes: Sequence, geometry: Geometry):
    """Fold mapped images into the batch where they share the kernel; else map in sequence."""
    arrays, is_mapped = mapped_first(arrays, axes)
    if primitive is not _kernel_p and is_mapped == [True, False]:
        first, kernel = arrays
        out = primitive.bind(first.reshape(-1, *first.shape[2:]), kernel, geometry=geometry)
        return out.reshape(*first.shape[:2], *out.shape[1:]), 0

    def one(mapped: list[Array]) -> Array:
        return primitive.bind(*merged(arrays, mapped, is_mapped), geometry=geometry)

    return lax.map(one, taken(arrays, is_mapped)), 0


for _some_p in (_maps_p, _images_p, _kernel_p):
    batching.primitive_batchers[_some_p] = partial(_batch, _some_p)
