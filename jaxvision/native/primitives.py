"""``act_conv`` as JAX sees it: three primitives, the kernels behind two of them.

``forward`` has the kernel's values, ``gradient`` the kernel's gradients. Between them stands
``tangent``, linear in its tangents: its values are the definition's, so forward mode works, and its
transpose is ``gradient``, so reverse mode runs the kernels. What differentiates a gradient once
more differentiates the definition. ``vmap`` folds images into the batch where they share all else,
and maps in sequence where they do not: one net's activations then stay in the cache.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxvision.native import definition, switch
from jaxvision.native.definition import Spec, merged, out_shape, spread, taken
from jaxvision.types import Array


def forward(spec: Spec, operands: Sequence[Array]) -> list[Array]:
    """Return y, moments [3, O] and h, as far as ``spec`` asks for them, by the kernel.

    A residual needs ``spec.keep``: the gradient is masked by the h that it has gone into.
    """
    return _forward_p.bind(*on_same_axes(operands), spec=spec)


def on_same_axes(operands: Sequence[Array]) -> list[Array]:
    """Let all operands vary over the mesh axes that one varies over (where ``shard_map`` asks)."""
    axes = [_axes(operand) for operand in operands]
    union = frozenset().union(*axes)
    return [
        lax.pcast(operand, tuple(union - own), to="varying") if union - own else operand
        for operand, own in zip(operands, axes, strict=True)
    ]


def _axes(operand: Array) -> frozenset[str]:
    """Return the mesh axes that it varies over; JAX has renamed where it says so."""
    kind = jax.typeof(operand)
    return kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma


def _geometry(spec: Spec) -> np.ndarray:
    pads = [pad for pair in spec.pads for pad in pair]
    return np.array([spec.stride, *pads, spec.wrap, spec.relu], np.int64)


def _forward(*operands: Array, spec: Spec) -> list[Array]:
    x, kernel, affine, residual = spec.named(operands)
    shapes = (out_shape(spec, operands), (3, kernel.shape[3]), x.shape)
    wanted = (True, spec.moments, spec.keep)
    call = jax.ffi.ffi_call(switch.FORWARD, _types(shapes, wanted))
    outs = call(x, kernel, _some(affine, 2), _some(residual, 4), geometry=_geometry(spec))
    return taken(outs, wanted)


def _gradient(
    *arrays: Array, spec: Spec, active: tuple[bool, ...], given: tuple[bool, ...]
) -> list[Array]:
    operands, outs = arrays[: len(active)], arrays[len(active) : len(active) + len(given)]
    if operands[0].size == 0:  # of vmap over nothing
        return [jnp.zeros(operand.shape, jnp.float32) for operand in taken(operands, active)]
    cotangents = spread(arrays[len(active) + len(given) :], given)
    x, kernel, affine, _ = spec.named(operands)
    y, moments, h = spec.outputs(outs)
    d_y, d_moments, d_h = spec.outputs(cotangents)
    asked = tuple(bool(flag) for flag in spec.named(active))
    to_x, to_kernel, to_affine, to_residual = asked
    shapes = (x.shape, kernel.shape, (3, x.shape[3]), x.shape)
    wanted = (to_x or to_affine or to_residual, to_kernel, to_affine, to_residual)
    is_summed = d_moments is not None  # else the kernel needs neither y nor its moments
    found = jax.ffi.ffi_call(switch.BACKWARD, _types(shapes, wanted))(
        x,
        kernel,
        _some(affine, 2),
        _some(h, 4),
        _some(y if is_summed else None, 4),
        _some(moments if is_summed else None, 2),
        jnp.zeros_like(y) if d_y is None else d_y,
        _some(d_moments, 2),
        _some(d_h, 4),
        geometry=_geometry(spec),
    )
    return taken(found, asked)


def _types(shapes: Sequence[tuple], wanted: Sequence[bool]) -> list[jax.ShapeDtypeStruct]:
    """Result types; an empty array tells the kernel that it is not wanted."""
    return [
        jax.ShapeDtypeStruct(shape if is_wanted else (0,) * len(shape), jnp.float32)
        for shape, is_wanted in zip(shapes, wanted, strict=True)
    ]


def _some(array: Array | None, rank: int) -> Array:
    return jnp.zeros((0,) * rank, jnp.float32) if array is None else array


def _shapes_forward(*operands, spec: Spec):
    x, kernel = operands[:2]
    shapes = (out_shape(spec, operands), (3, kernel.shape[3]), x.shape)
    wanted = taken(shapes, (True, spec.moments, spec.keep))
    return [x.update(shape=shape, weak_type=False) for shape in wanted]


def _shapes_tangent(*arrays, spec: Spec, active: tuple[bool, ...]):
    return _shapes_forward(*arrays[: len(active)], spec=spec)


def _shapes_gradient(*arrays, spec: Spec, active: tuple[bool, ...], given: tuple[bool, ...]):
    return [operand.update(weak_type=False) for operand in taken(arrays[: len(active)], active)]


def _primitive(name: str, compute: Callable, shapes: Callable) -> Primitive:
    """Return a primitive that is compiled as what ``compute`` traces to."""
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(compute)
    primitive.def_abstract_eval(shapes)
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=True))
    batching.primitive_batchers[primitive] = partial(_batch, primitive)
    return primitive


def mapped_first(arrays: Sequence, axes: Sequence) -> tuple[list[Array], list[bool]]:
    """Return arrays with their mapped axes in front, and which of them have one."""
    moved = [
        array if axis is None else jnp.moveaxis(array, axis, 0)
        for array, axis in zip(arrays, axes, strict=True)
    ]
    return moved, [axis is not None for axis in axes]


def _batch(primitive: Primitive, arrays: Sequence, axes: Sequence, **parameters):
    arrays, is_mapped = mapped_first(arrays, axes)
    if primitive is _forward_p and _is_foldable(is_mapped, **parameters):
        return _folded(arrays, is_mapped, **parameters)

    def one(mapped: list[Array]) -> list[Array]:
        return primitive.bind(*merged(arrays, mapped, is_mapped), **parameters)

    outs = lax.map(one, taken(arrays, is_mapped))
    return outs, [0] * len(outs)


def _is_foldable(is_mapped: Sequence[bool], spec: Spec) -> bool:
    """Whether images alone are mapped: then they are a larger batch, unless it has moments."""
    x, kernel, affine, residual = spec.named(is_mapped)
    return x and not kernel and not affine and residual is not False and not spec.moments


def _folded(arrays: Sequence[Array], is_mapped: Sequence[bool], spec: Spec):
    size, batch = taken(arrays, is_mapped)[0].shape[:2]
    operands = [
        array.reshape(size * batch, *array.shape[2:]) if mapped else array
        for array, mapped in zip(arrays, is_mapped, strict=True)
    ]
    outs = _forward_p.bind(*operands, spec=spec)
    return [out.reshape(size, batch, *out.shape[1:]) for out in outs], [0] * len(outs)


def _jvp_forward(operands, moving, spec: Spec):
    outs = _forward_p.bind(*operands, spec=spec)
    active = tuple(type(tangent) is not ad.Zero for tangent in moving)
    given = taken(moving, active)
    return outs, _tangent_p.bind(*operands, *outs, *given, spec=spec, active=active)


def _jvp_of(compute: Callable, bind: Callable) -> Callable:
    """Return a derivative rule: values by ``bind``, tangents by differentiating ``compute``."""

    def rule(arrays, moving, **parameters):
        active = tuple(type(tangent) is not ad.Zero for tangent in moving)

        def function(*some: Array) -> list[Array]:
            return compute(*merged(arrays, some, active), **parameters)

        _, out = jax.jvp(function, taken(arrays, active), taken(moving, active))
        return bind(*arrays, **parameters), out

    return rule


def _transpose_tangent(cotangents, *arrays, spec: Spec, active: tuple[bool, ...]):
    given = tuple(type(cotangent) is not ad.Zero for cotangent in cotangents)
    known = arrays[: len(arrays) - sum(active)]
    found = _gradient_p.bind(
        *known, *taken(cotangents, given), spec=spec, active=active, given=given
    )
    return [None] * len(known) + list(found)


_forward_p = _primitive("act_conv", _forward, _shapes_forward)
_tangent_p = _primitive("act_conv_tangent", definition.tangents, _shapes_tangent)
_gradient_p = _primitive("act_conv_gradient", _gradient, _shapes_gradient)

ad.primitive_jvps[_forward_p] = _jvp_forward
ad.primitive_jvps[_tangent_p] = _jvp_of(definition.tangents, _tangent_p.bind)
ad.primitive_jvps[_gradient_p] = _jvp_of(definition.gradients, _gradient_p.bind)
ad.primitive_transposes[_tangent_p] = _transpose_tangent
