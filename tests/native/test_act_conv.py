"""The operation against double precision, against its definition, and under JAX's transforms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from jaxvision.act_conv import Scaled, act_conv
from jaxvision.types import UserError
from tests.native.cases import SHAPES, Case, call, draw, exact, loss, used

pytestmark = pytest.mark.usefixtures("native")
SMALL = Case(2, (4, 5), (6, 10), residual=True)


def assert_close(got, wanted, terms):
    """Errors of a sum of so many terms, beside the largest number there is."""
    wanted = np.asarray(wanted)
    bound = 2e-7 * (4 + terms**0.5) * (np.abs(wanted).max() + 0.1)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=bound)


def assert_trees_close(got, wanted, terms=1000.0):
    jax.tree.map(partial(assert_close, terms=terms), got, wanted)


def is_native(function, *arrays):
    return "act_conv" in str(jax.make_jaxpr(function)(*arrays))


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_values_are_those_of_double_precision(case):
    arrays = draw(case)
    out = call(case, *arrays)
    y, mean, var, h = exact(case, *arrays)
    terms = case.window**2 * case.channels[0]
    assert_close(out.y, y, terms)
    if case.moments:
        assert_close(out.moments.center + out.moments.rest, mean, terms)
        assert_close(out.moments.var, var, terms)
    if case.residual:
        assert_close(out.h, h, 3)


def test_gradients_are_those_of_the_definition(plain):
    """All shapes in one program each, which compiles faster."""
    arrays = [draw(case) for case in SHAPES]

    def gradients(arrays):
        return [
            jax.grad(partial(loss, case), argnums=used(case))(*mine)
            for case, mine in zip(SHAPES, arrays, strict=True)
        ]

    ours = jax.jit(lambda a: gradients(a))(arrays)
    with plain():
        theirs = jax.jit(lambda a: gradients(a))(arrays)
    assert_trees_close(ours, theirs)


def test_gradients_of_some_operands_alone():
    arrays = draw(SMALL)
    gradient = jax.jit(jax.grad(partial(loss, SMALL), argnums=used(SMALL)))
    wanted = dict(zip(used(SMALL), gradient(*arrays), strict=True))
    for chosen in ((0,), (1,), (5,), (3, 1)):
        found = jax.jit(jax.grad(partial(loss, SMALL), argnums=chosen))(*arrays)
        for i, gradient in zip(chosen, found, strict=True):
            assert_close(gradient, wanted[i], 100)


@pytest.mark.parametrize("ratio", [1e2, 1e4])
def test_moments_of_a_large_mean_do_not_cancel(ratio):
    """And normalizing by them does not either: the scaled input is centered first."""
    case = Case(16, (8, 8), (16, 16), 1, 1, ((0, 0), (0, 0)), scaled=False, relu=False)
    x, *_ = draw(case)
    x = x + ratio
    eye = jnp.eye(16)[None, None]
    out = act_conv(x, eye, padding=case.pads, relu=False, moments=True)
    wanted = np.asarray(out.y, np.float64)
    var = wanted.var((0, 1, 2))
    np.testing.assert_allclose(out.moments.var, var, rtol=1e-5)
    mean = np.float64(out.moments.center) + np.float64(out.moments.rest)
    np.testing.assert_allclose(mean, wanted.mean((0, 1, 2)), rtol=1e-12)
    scale = lax.rsqrt(out.moments.var)
    normal = Scaled(out.y, scale, -out.moments.rest * scale, out.moments.center)
    again = act_conv(normal, eye, padding=case.pads, relu=False).y
    exactly = (wanted - wanted.mean((0, 1, 2))) / np.sqrt(var)
    np.testing.assert_allclose(again, exactly, atol=1e-4)
    np.testing.assert_allclose(normal.value(), exactly, atol=1e-4)


def test_the_first_image_may_be_unlike_the_others():
    """Sums run about its mean."""
    case = Case(64, (4, 4), (8, 8), 1, 1, ((0, 0), (0, 0)), scaled=False, relu=False)
    x, *_ = draw(case)
    x = x.at[1:].add(1e4)
    out = act_conv(x, jnp.eye(8)[None, None], padding=case.pads, relu=False, moments=True)
    var = np.asarray(out.y, np.float64).var((0, 1, 2))
    np.testing.assert_allclose(out.moments.var, var, rtol=1e-5)


def test_scan_and_jit(plain):
    x, kernel, scale, bias, center, _ = draw(Case(2, (4, 4), (6, 6)))

    def net(kernel, x):
        def layer(x, _):
            return act_conv(Scaled(x, scale, bias, center), kernel).y, None

        return jnp.sum(lax.scan(layer, x, length=3)[0] ** 2)

    gradient = jax.jit(jax.grad(net))
    ours, program = gradient(kernel, x), gradient.lower(kernel, x).as_text()
    assert "jaxvision_act_conv_backward" in program
    with plain():
        assert_trees_close(ours, jax.jit(jax.grad(net))(kernel, x))
        assert "jaxvision" not in jax.jit(jax.grad(net)).lower(kernel, x).as_text()


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (1, 3)], ids=str)
@pytest.mark.parametrize("moments", [True, False])
def test_vmap_equals_a_loop(axes, moments):
    case = SMALL._replace(residual=False, scaled=False, moments=moments)
    x, kernel, *rest = draw(case)
    pile = [
        array if axis is None else jnp.stack([array, -2 * array, array + 1], axis)
        for array, axis in zip((x, kernel), axes, strict=True)
    ]

    def both(x, kernel):
        function = partial(loss, case)
        return call(case, x, kernel, *rest), jax.grad(function, (0, 1))(x, kernel, *rest)

    mapped = jax.jit(jax.vmap(both, in_axes=axes))(*pile)
    summed = jax.grad(lambda *a: jnp.sum(jax.vmap(partial(loss, case))(*a)), argnums=(0, 1))
    for i in range(3):
        one = [
            a if axis is None else jnp.take(a, i, axis) for a, axis in zip(pile, axes, strict=True)
        ]
        assert_trees_close(jax.tree.map(lambda a, i=i: a[i], mapped), both(*one))
    if axes == (0, 0):
        alike = [jnp.stack([a] * 3) for a in rest]
        assert_trees_close(summed(*pile, *alike), mapped[1])


@pytest.mark.parametrize("check_vma", [False, True])
def test_shard_map_over_two_devices(check_vma):
    """Parts of a batch on two devices; moments are joined as means."""
    case = Case(4, (4, 4), (6, 10), moments=True)
    x, kernel, scale, bias, center, _ = draw(case)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("part",))

    def part(x, kernel):
        out = act_conv(Scaled(x, scale, bias, center), kernel, moments=True)
        mean = out.moments.center + out.moments.rest
        whole = lax.pmean(mean, "part")
        return out.y, whole, lax.pmean(out.moments.var + (mean - whole) ** 2, "part")

    spread = jax.shard_map(
        part,
        mesh=mesh,
        in_specs=(P("part"), P()),
        out_specs=(P("part"), P(), P()),
        check_vma=check_vma,
    )

    def value(function, x, kernel):
        y, mean, var = function(x, kernel)
        return jnp.sum(jnp.sin(y)) + jnp.sum(mean) + jnp.sum(var**2)

    def whole(x, kernel):
        out = act_conv(Scaled(x, scale, bias, center), kernel, moments=True)
        return out.y, out.moments.center + out.moments.rest, out.moments.var

    assert_trees_close(jax.jit(spread)(x, kernel), whole(x, kernel))
    got, wanted = (
        jax.jit(jax.grad(partial(value, f), argnums=(0, 1)))(x, kernel) for f in (spread, whole)
    )
    assert_trees_close(got, wanted)


@pytest.mark.parametrize("derive", ["jvp", "jvp of grad", "grad of grad", "hessian"])
def test_further_derivatives_are_those_of_the_definition(plain, derive):
    case = SMALL if derive != "hessian" else Case(1, (2, 2), (2, 2))
    arrays = draw(case)
    first = jax.grad(partial(loss, case), argnums=used(case))
    direction = tuple(jnp.cos(a) for a in arrays)
    derivatives = {
        "jvp": lambda *a: jax.jvp(partial(loss, case), a, direction)[1],
        "jvp of grad": lambda *a: jax.jvp(first, a, direction)[1],
        "grad of grad": jax.grad(lambda *a: sum(jnp.sum(g**2) for g in first(*a)), used(case)),
        "hessian": jax.hessian(partial(loss, case), argnums=1),
    }
    ours = jax.jit(lambda *a: derivatives[derive](*a))(*arrays)
    with plain():
        theirs = jax.jit(lambda *a: derivatives[derive](*a))(*arrays)
    assert_trees_close(ours, theirs, 1e5)


def test_nan_goes_through_and_denormals_stay():
    x = jnp.ones((1, 4, 4, 3)).at[0, 0, 0, 1].set(jnp.nan)
    kernel = jnp.ones((3, 3, 3, 4))
    out = act_conv(x, kernel, moments=True)
    assert np.isnan(out.y[0, :2, :2]).all()
    assert np.isfinite(out.y[0, 2:, 2:]).all()
    assert np.isnan(out.moments.var).all()
    tiny = np.float32(1e-40)
    small, one = jnp.full((1, 2, 2, 1), tiny), jnp.ones((1, 1, 1, 1))
    out = act_conv(small, one, moments=True)
    assert (np.asarray(out.y) == tiny).all()
    assert np.asarray(out.moments.center) + np.asarray(out.moments.rest) == tiny
    gradient = jax.grad(lambda kernel: act_conv(small, kernel).y.sum())(one)
    np.testing.assert_allclose(np.asarray(gradient, np.float64), 4 * np.float64(tiny), rtol=1e-4)


def test_bits_do_not_depend_on_threads():
    """One of the two devices has one thread, a process without split devices has many."""
    import os
    import subprocess
    import sys

    environment = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"}
    told = [
        subprocess.run(
            [sys.executable, "-c", BITS, str(devices)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for devices in (0, 2)
    ]
    assert told[0] == told[1]
    assert len(told[0]) > 60


BITS = """
import hashlib, sys, jax, numpy as np
from functools import partial
from jaxvision import runtime
runtime.configure(int(sys.argv[1]) or None)
from jaxvision.native import switch
switch.configure("on")
from tests.native.cases import *
case = Case(37, (6, 7), (12, 20), residual=True)
arrays = draw(case)
found = call(case, *arrays), jax.grad(partial(loss, case), argnums=used(case))(*arrays)
print(hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in jax.tree.leaves(found))).hexdigest())
"""


def test_an_empty_batch_is_refused():
    with pytest.raises(UserError, match="empty batch"):
        act_conv(jnp.zeros((0, 4, 4, 3)), jnp.zeros((3, 3, 3, 4)))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dtype"),
    [
        ((3, 2, 3, 4), 1, "SAME", "float32"),
        ((9, 9, 3, 4), 1, "SAME", "float32"),
        ((3, 3, 3, 4), 3, "SAME", "float32"),
        ((1, 1, 3, 4), 1, ((1, 1), (1, 1)), "float32"),
        ((3, 3, 3, 4), 1, "SAME", "bfloat16"),
        ((3, 3, 3, 0), 1, "SAME", "float32"),
        ((3, 3, 3, 4), 1, "SAME", "float32"),
    ],
)
def test_other_shapes_fall_back_to_the_definition(kernel, stride, padding, dtype):
    x, w = jnp.ones((2, 9, 9, 3), dtype), jnp.ones(kernel, dtype)
    ordinary = (kernel, stride, padding, dtype) == ((3, 3, 3, 4), 1, "SAME", "float32")

    def function(x, w):
        return act_conv(x, w, stride, padding, relu=False).y

    assert is_native(function, x, w) == ordinary
    assert function(x, w).dtype == dtype


@pytest.mark.parametrize("wrong", ["kernel", "residual", "scale", "rank"])
def test_shapes_that_do_not_fit_are_refused(wrong):
    """By the definition: kernels would read beyond the arrays."""
    x, kernel, scale, bias, center, residual = draw(SMALL)
    if wrong == "kernel":
        kernel = kernel[:, :, :-1]
    elif wrong == "residual":
        residual = residual[:, 1:]
    elif wrong == "scale":
        scale, bias, center = scale[1:], bias[1:], center[1:]
    else:
        x = x[0]
    with pytest.raises((TypeError, ValueError)):
        act_conv(Scaled(x, scale, bias, center), kernel, residual=residual)


def test_h_is_put_out_where_it_is_asked_for():
    x, kernel, scale, bias, center, _ = draw(SMALL)
    scaled = Scaled(x, scale, bias, center)
    kept = act_conv(scaled, kernel, keep=True)
    assert_close(kept.h, jax.nn.relu(scaled.value()), 3)
    for residual in (None, x):
        out = act_conv(scaled, kernel, residual=residual)
        assert (out.h, out.moments) == (None, None)

    def loss(x, kernel, keep):
        out = act_conv(Scaled(x, scale, bias, center), kernel, keep=keep)
        return jnp.sum(out.y**2)

    gradients = [jax.grad(loss, argnums=(0, 1))(x, kernel, keep) for keep in (True, False)]
    assert_trees_close(*gradients)


def test_mapped_over_nothing_gradients_are_zero():
    case = Case(2, (4, 4), (3, 4), residual=True, moments=False)
    x, kernel, *vectors, _ = draw(case)
    none = jnp.zeros((0, *x.shape))

    def summed(none, kernel, residuals):
        def one(x, residual):
            return call(case, x, kernel, *vectors, residual).y

        return jnp.sum(jax.vmap(one)(none, residuals))

    to_none, to_kernel, to_residuals = jax.grad(summed, argnums=(0, 1, 2))(none, kernel, none)
    assert to_none.shape == to_residuals.shape == none.shape
    np.testing.assert_array_equal(to_kernel, np.zeros(kernel.shape))


def test_types_are_strong_as_without_kernels(plain):
    x = jnp.broadcast_to(jnp.asarray(1.0), (2, 4, 4, 3))
    assert jax.typeof(x).weak_type
    kernel = jnp.ones((3, 3, 3, 4))

    def values(x):
        out = act_conv(x, kernel, moments=True)
        gradient = jax.grad(lambda x: jnp.sum(act_conv(x, kernel).y))(x)
        return out.y, out.moments, gradient

    ours = jax.eval_shape(values, x)
    with plain():
        assert jax.eval_shape(values, x) == ours
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(ours))


def test_a_torus_has_stride_one():
    with pytest.raises(UserError, match="stride 1"):
        act_conv(jnp.zeros((1, 4, 4, 3)), jnp.zeros((3, 3, 3, 4)), 2, "WRAP")
