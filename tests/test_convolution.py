"""The convolution against a slow reference, against ``lax``, and in the program XLA makes of it."""

import contextlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from jaxvision import convolution
from jaxvision.convolution import conv2d

GEOMETRIES = [
    # image H x W, kernel, stride, padding
    ((8, 8), (3, 3), 1, "SAME"),
    ((7, 6), (2, 2), 1, "SAME"),
    ((5, 6), (1, 1), 1, "SAME"),
    ((8, 7), (3, 3), 2, "SAME"),
    ((8, 7), (1, 1), 2, "SAME"),
    ((11, 12), (7, 7), 2, "SAME"),
    ((7, 8), (2, 2), 2, "VALID"),
    ((9, 8), (3, 2), (3, 1), "VALID"),
    ((6, 5), (3, 3), 2, ((1, 1), (1, 1))),
    ((6, 5), (3, 4), (1, 2), ((2, 0), (0, 3))),
]


@contextlib.contextmanager
def plain_lax():
    """Trace ``conv2d`` as ``lax.conv_general_dilated``: the off switch, for a while."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXVISION_DISABLE", "conv")
        yield


def draw(geometry, batch=2, inputs=3, outputs=4):
    """Images, a kernel and the keyword arguments of one geometry."""
    image, window, stride, padding = geometry
    rng = np.random.default_rng(len(str(geometry)))  # jax.random compiles for every shape
    x = jnp.asarray(rng.normal(size=(batch, *image, inputs)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*window, inputs, outputs)), jnp.float32)
    return x, kernel, {"stride": stride, "padding": padding}


def slow_conv(x, kernel, stride, pads):
    """The definition: each output pixel is the inner product of a window with the kernel."""
    x = np.pad(np.asarray(x, np.float64), ((0, 0), *pads, (0, 0)))
    h, w, _, outputs = kernel.shape
    rows = (x.shape[1] - h) // stride[0] + 1
    columns = (x.shape[2] - w) // stride[1] + 1
    out = np.zeros((x.shape[0], rows, columns, outputs))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0], j * stride[1]
            window = x[:, top : top + h, left : left + w]
            out[:, i, j] = np.einsum("bhwc,hwco->bo", window, np.asarray(kernel, np.float64))
    return out


@pytest.mark.parametrize(
    ("geometry", "pads"),
    [
        (((6, 5), (3, 3), 1, "SAME"), ((1, 1), (1, 1))),
        (((6, 5), (2, 2), 1, "SAME"), ((0, 1), (0, 1))),
        (((7, 6), (3, 3), 2, "SAME"), ((1, 1), (0, 1))),
        (((7, 6), (3, 2), (2, 1), "VALID"), ((0, 0), (0, 0))),
        (((6, 5), (3, 4), (1, 2), ((2, 0), (0, 3))), ((2, 0), (0, 3))),
    ],
)
def test_equals_the_definition(geometry, pads):
    x, kernel, options = draw(geometry)
    stride = options["stride"]
    stride = stride if isinstance(stride, tuple) else (stride, stride)
    expected = slow_conv(x, kernel, stride, pads)
    np.testing.assert_allclose(conv2d(x, kernel, **options), expected, rtol=1e-5, atol=1e-5)


def gradients(loss, x, kernel):
    return jax.grad(loss, argnums=(0, 1))(x, kernel)


def first_derivatives(loss, x, kernel):
    return loss(x, kernel), gradients(loss, x, kernel)


def second_derivatives(loss, x, kernel):
    """Derivatives in one direction: forward mode, and both modes over reverse mode."""
    direction = (jnp.cos(x), jnp.cos(kernel))

    def slope(x, kernel):
        pairs = zip(gradients(loss, x, kernel), direction, strict=True)
        return sum(jnp.vdot(gradient, part) for gradient, part in pairs)

    forward = jax.jvp(loss, (x, kernel), direction)[1]
    over = jax.jvp(lambda *a: gradients(loss, *a), (x, kernel), direction)[1]
    return forward, over, gradients(slope, x, kernel)


@pytest.mark.parametrize(
    ("derive", "geometries"),
    [(first_derivatives, GEOMETRIES), (second_derivatives, GEOMETRIES[3:10:2])],
)
def test_derivatives_equal_lax(derive, geometries):
    def derive_all(arguments):
        return [
            derive(lambda x, k, o=options: jnp.sum(jnp.sin(conv2d(x, k, **o))), x, kernel)
            for (x, kernel), options in zip(arguments, choices, strict=True)
        ]

    drawn = [draw(geometry) for geometry in geometries]
    choices = [options for _, _, options in drawn]
    arguments = [(x, kernel) for x, kernel, _ in drawn]
    ours = jax.jit(lambda a: derive_all(a))(arguments)
    with plain_lax():
        theirs = jax.jit(lambda a: derive_all(a))(arguments)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), ours, theirs)


@pytest.mark.parametrize("stride", [1, 2])
def test_padding_wider_than_the_window(stride):
    """Its gradients have negative padding, with which ``lax`` on CPU reads outside the image."""
    pads = ((1, 5), (4, 3))
    x, kernel, _ = draw(((4, 4), (2, 3), stride, pads))

    def loss(x, kernel, padding):
        return jnp.sum(jnp.sin(conv2d(x, kernel, stride, padding)))

    def padded_first(x, kernel):
        with plain_lax():
            return loss(jnp.pad(x, ((0, 0), *pads, (0, 0))), kernel, "VALID")

    ours = jax.grad(loss, argnums=(0, 1))(x, kernel, pads)
    theirs = jax.grad(padded_first, argnums=(0, 1))(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, theirs)


@pytest.mark.parametrize(("columns", "channels"), [(2, 4), (3, 16), (4, 1), (5, 3)])
def test_folding_small_channels_changes_no_number(columns, channels, monkeypatch):
    x, kernel, options = draw(((5, 6), (3, columns), 1, "SAME"), inputs=channels, outputs=channels)
    folded = conv2d(x, kernel, **options)
    monkeypatch.setattr(convolution, "_is_foldable", lambda *_: False)
    np.testing.assert_allclose(conv2d(x, kernel, **options), folded, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (2, 4)], ids=str)
def test_vmap_equals_a_loop(axes):
    x, kernel, _ = draw(GEOMETRIES[3])
    pile = [
        jnp.stack([a, -2 * a, a + 1], axis) if axis is not None else a
        for a, axis in zip((x, kernel), axes, strict=True)
    ]

    def gradient(x, kernel):
        return jax.grad(lambda *a: jnp.sum(conv2d(*a, stride=2) ** 2), argnums=(0, 1))(x, kernel)

    mapped = jax.vmap(gradient, in_axes=axes)(*pile)
    for i in range(3):
        one = [
            jnp.take(a, i, axis) if axis is not None else a
            for a, axis in zip(pile, axes, strict=True)
        ]
        for got, expected in zip(mapped, gradient(*one), strict=True):
            np.testing.assert_allclose(got[i], expected, rtol=1e-4, atol=1e-3)


def test_bfloat16_keeps_its_dtype():
    x, kernel, _ = draw(GEOMETRIES[0])
    x, kernel = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    gradient = jax.grad(lambda k: jnp.sum(conv2d(x, k).astype(jnp.float32)))(kernel)
    assert conv2d(x, kernel).dtype == gradient.dtype == jnp.bfloat16


def test_the_off_switch_is_lax():
    assert "conv2d" in program()
    with plain_lax():
        assert "conv2d" not in program()
        assert "conv_general_dilated" in program()


def test_accelerators_get_lax(monkeypatch):
    monkeypatch.setattr(convolution.jax, "default_backend", lambda: "gpu")
    assert "conv_general_dilated" in program()


def program():
    """What is traced; the lambda is new at each call because JAX remembers traces by function."""
    return str(jax.make_jaxpr(lambda x, kernel: conv2d(x, kernel))(*draw(GEOMETRIES[0])[:2]))


def swept_step_hlo(layers, mapping=lax.map, options=None):
    """Optimised HLO of the gradients of a scanned conv net, mapped over two sets of kernels."""

    def loss(params, images):
        def layer(x, kernel):
            return jax.nn.relu(conv2d(x, kernel)), None

        x = conv2d(images, params["first"], stride=2)
        x, _ = lax.scan(layer, x, params["rest"])
        return jnp.mean(x**2)

    params = {
        "first": jnp.zeros((2, 3, 3, 3, 16)),
        "rest": jnp.zeros((2, layers, 2, 2, 16, 16)),
    }

    def step(params, images):
        return mapping(lambda p: jax.grad(loss)(p, images))(params)

    images = jnp.zeros((4, 9, 8, 3))
    return jax.jit(step, compiler_options=options).lower(params, images).compile().as_text()


def in_turn(function):
    return lambda runs: lax.map(function, runs)


def convolutions(hlo):
    return [line for line in hlo.splitlines() if re.search(r"= \S+ convolution\(", line)]


@pytest.mark.parametrize("mapping", [in_turn, jax.vmap], ids=["lax.map", "vmap"])
def test_swept_step_has_only_fast_convolutions(mapping):
    found = convolutions(swept_step_hlo(3, mapping))
    assert found
    for line in found:
        assert "dim_labels=b01f_01io->b01f" in line
        assert "feature_group_count" not in line


def test_plain_lax_has_slow_convolutions_in_the_same_step():
    """The control: if this fails XLA has learned, and the module may no longer be needed."""
    with plain_lax():
        slow = convolutions(swept_step_hlo(3, in_turn))
        grouped = convolutions(swept_step_hlo(3, jax.vmap))
    assert any("dim_labels=b01f_01io->b01f" not in line for line in slow)
    assert any("feature_group_count" in line for line in grouped)


def test_program_does_not_grow_with_depth():
    shallow, deep = (convolutions(swept_step_hlo(layers, in_turn)) for layers in (2, 9))
    assert len(shallow) == len(deep)


@pytest.mark.parametrize(("images", "outputs"), [(0, 4), (2, 0)])
def test_nothing_gives_nothing(images, outputs):
    x, kernel = jnp.zeros((images, 8, 8, 3)), jnp.zeros((3, 3, 3, outputs))
    assert conv2d(x, kernel).shape == (images, 8, 8, outputs)


@pytest.mark.parametrize("spread", [P(), P("part")], ids=["whole", "spread"])
@pytest.mark.parametrize("devices", [1, 2])
def test_types_may_name_the_axes_of_a_mesh(devices, spread):
    x, kernel, options = draw(((8, 7), (3, 3), 2, "SAME"))

    @jax.jit
    def value_and_gradients(x, kernel):
        out, pull = jax.vjp(lambda *operands: conv2d(*operands, **options), x, kernel)
        return out, pull(jnp.cos(out))

    expected = value_and_gradients(x, kernel)
    axes = jax.make_mesh((devices,), ("part",), (jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(axes):
        operands = jax.device_put((x, kernel), (spread, P()))
        out, gradients = value_and_gradients(*operands)
    assert jax.typeof(out).sharding.spec == P(*spread, *[None] * (4 - len(spread)))
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
        (out, gradients),
        expected,
    )
