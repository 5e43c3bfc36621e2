"""The transposed convolution: sizes, direction, the exact adjoint, and derivatives."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.conv_transpose import conv_transpose2d
from jaxvision.convolution import conv2d
from jaxvision.native import switch
from jaxvision.types import UserError
from tests.test_convolution import plain_lax


@pytest.fixture(autouse=True, params=["auto", "off"])
def native(request):
    """Everything is asked of the kernels, and of what there is without them."""
    switch.configure(request.param)
    yield request.param
    switch.configure("auto")


GEOMETRIES = [
    # maps h x w, window, stride, padding, size of the images (None: the default)
    ((3, 4), (3, 3), 1, "SAME", None),
    ((4, 3), (5, 5), 2, "SAME", None),
    ((4, 4), (5, 5), 2, "SAME", (7, 7)),
    ((2, 3), (4, 4), 2, ((1, 1), (1, 1)), None),
    ((2, 3), (3, 4), (3, 2), "VALID", None),
    ((3, 2), (3, 4), (1, 2), ((2, 0), (0, 3)), None),
]


def draw(geometry, inputs=3, outputs=4):
    """Maps [2, h, w, outputs], a kernel, and the keyword arguments of one geometry."""
    maps, window, stride, padding, size = geometry
    rng = np.random.default_rng(len(str(geometry)))  # jax.random compiles for every shape
    y = jnp.asarray(rng.normal(size=(2, *maps, outputs)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*window, inputs, outputs)), jnp.float32)
    return y, kernel, {"stride": stride, "padding": padding}, size


def ones(*shape):
    return jnp.ones(shape, jnp.float32)


@pytest.mark.parametrize(
    ("n", "k", "s", "p", "size"),
    [(4, 4, 2, 1, 8), (1, 4, 1, 0, 4), (5, 3, 2, 1, 9), (4, 5, 2, 2, 7)],
)
def test_size_is_that_of_the_textbook(n, k, s, p, size):
    pads = ((p, p), (p, p))
    images = conv_transpose2d(ones(1, n, n, 1), ones(k, k, 1, 1), s, pads)
    assert images.shape == (1, size, size, 1)
    assert size == (n - 1) * s - 2 * p + k


@pytest.mark.parametrize(
    ("n", "k", "s", "p", "flax", "ours"), [(4, 4, 2, 1, 6, 8), (1, 4, 1, 0, 0, 4)]
)
def test_flax_pads_the_spread_maps_instead(n, k, s, p, flax, ours):
    """Its padding of k - 1 - p a side is the textbook's p."""

    def side(padding):
        layer = nn.ConvTranspose(1, (k, k), (s, s), padding=((padding, padding),) * 2)
        maps = jax.ShapeDtypeStruct((1, n, n, 1), jnp.float32)
        return jax.eval_shape(layer.init_with_output, jax.random.key(0), maps)[0].shape[1]

    assert side(p) == flax
    assert side(k - 1 - p) == ours


def test_an_impulse_lays_the_kernel_down_as_it_is():
    row = jnp.float32([1, 2, 3]).reshape(1, 3, 1, 1)
    impulse = ones(1, 1, 1, 1)
    assert conv_transpose2d(impulse, row, 1, "VALID").ravel().tolist() == [1, 2, 3]
    layout = {"strides": (1, 1), "padding": "VALID", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    turned = lax.conv_transpose(impulse, row, **layout)
    assert turned.ravel().tolist() == [3, 2, 1]  # what Flax's layer does unless it is told
    told = lax.conv_transpose(impulse, row, transpose_kernel=True, **layout)
    assert told.ravel().tolist() == [1, 2, 3]


@pytest.mark.parametrize(("k", "inner"), [(3, [2, 1, 2, 1]), (4, [2, 2, 2, 2]), (5, [3, 2, 3, 2])])
def test_kernels_overlap_evenly_only_where_the_stride_divides_them(k, inner):
    laid = conv_transpose2d(ones(1, 1, 8, 1), ones(1, k, 1, 1), (1, 2), "VALID").ravel()
    assert laid[4:8].tolist() == inner


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_it_is_the_convolutions_matrix_transposed(geometry):
    y, kernel, options, size = draw(geometry, 2, 3)
    images = conv_transpose2d(y, kernel, **options, size=size)
    shape = images.shape[1:]
    basis = jnp.eye(images[0].size).reshape(-1, *shape)
    matrix = np.asarray(conv2d(basis, kernel, **options), np.float64).reshape(basis.shape[0], -1)
    expected = np.asarray(y, np.float64).reshape(2, -1) @ matrix.T
    np.testing.assert_allclose(images.reshape(2, -1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES[1:4], ids=str)
def test_it_is_the_convolutions_gradient(geometry):
    y, kernel, options, size = draw(geometry)
    images = conv_transpose2d(y, kernel, **options, size=size)
    _, pull = jax.vjp(lambda x: conv2d(x, kernel, **options), jnp.zeros_like(images))
    np.testing.assert_allclose(images, pull(y)[0], rtol=1e-6, atol=2e-6)


def test_elsewhere_it_is_the_gradient_to_the_bit(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    y, kernel, options, size = draw(GEOMETRIES[2])
    images = conv_transpose2d(y, kernel, **options, size=size)
    _, pull = jax.vjp(lambda x: conv2d(x, kernel, **options), jnp.zeros_like(images))
    np.testing.assert_array_equal(images, pull(y)[0])


def test_it_is_laxs_with_the_kernel_transposed():
    y, kernel, options, _ = draw(GEOMETRIES[1])
    layout = {"padding": "SAME", "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    theirs = lax.conv_transpose(y, kernel, (2, 2), transpose_kernel=True, **layout)
    ours = conv_transpose2d(y, kernel, **options)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_derivatives_of_both_orders_equal_lax():
    y, kernel, options, _ = draw(GEOMETRIES[1])

    def loss(y, kernel):
        return jnp.sum(jnp.sin(conv_transpose2d(y, kernel, **options)))

    def derivatives(y, kernel):
        first = jax.grad(loss, argnums=(0, 1))
        return first(y, kernel), jax.jvp(first, (y, kernel), (jnp.cos(y), jnp.cos(kernel)))[1]

    ours = jax.jit(lambda *a: derivatives(*a))(y, kernel)
    switch.configure("off")
    with plain_lax():
        theirs = jax.jit(lambda *a: derivatives(*a))(y, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), ours, theirs)


def test_in_a_loop_it_stays_fast(native):
    """Every convolution of a scanned training step has the layout that XLA:CPU runs fast."""
    if native == "auto":
        pytest.skip("the kernels compute it: there is no convolution of XLA's")

    def step(kernel, y):
        def loss(kernel):
            return jnp.mean(conv_transpose2d(y, kernel, 2) ** 2)

        return kernel - jax.grad(loss)(kernel), None

    def train(kernel, maps):
        return lax.scan(step, kernel, maps)[0]

    hlo = jax.jit(train).lower(ones(5, 5, 3, 16), ones(3, 2, 4, 4, 16)).compile().as_text()
    found = [line for line in hlo.splitlines() if re.search(r"= \S+ convolution\(", line)]
    assert found
    for line in found:
        assert "dim_labels=b01f_01io->b01f" in line


@pytest.mark.parametrize(
    ("maps", "options", "size"),
    [((4, 4), {"stride": 2}, (9, 8)), ((1, 1), {"padding": ((1, 1), (1, 1))}, None)],
)
def test_a_size_that_no_convolution_maps_there_is_refused(maps, options, size):
    window = ones(2, 2, 1, 1)
    with pytest.raises(UserError, match=rf"gives maps of {maps[0]}x{maps[1]}: choose another size"):
        conv_transpose2d(ones(1, *maps, 1), window, size=size, **options)


@pytest.mark.parametrize(
    ("maps", "kernel"),
    [((2, 4, 4, 5, 3), (3, 3, 6, 5)), ((2, 4, 5), (3, 3, 6, 5)), ((2, 4, 4, 5), (3, 3, 6, 4))],
    ids=str,
)
def test_maps_that_do_not_fit_the_kernel_are_refused(maps, kernel):
    with pytest.raises(UserError, match="do not fit a kernel of shape"):
        conv_transpose2d(ones(*maps), ones(*kernel), 2)
