"""The convolution's three linear maps by the kernels: values, derivatives, JAX's transforms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from jaxvision.conv_transpose import conv_transpose2d
from jaxvision.convolution import conv2d
from jaxvision.native import linear

pytestmark = pytest.mark.usefixtures("native")

SHAPES = [
    # batch, maps, window, stride, padding, size of the images, channels of images and of maps
    (2, (4, 3), 5, 2, "SAME", None, (3, 20)),
    (1, (4, 4), 5, 2, "SAME", (7, 8), (16, 33)),
    (3, (2, 3), 4, 2, ((1, 1), (1, 1)), None, (5, 7)),
    (9, (3, 3), 3, 1, "SAME", None, (1, 4)),
    (2, (1, 5), 7, 2, "SAME", None, (8, 1)),
    (2, (4, 4), 1, 2, "VALID", None, (6, 6)),
    (5, (2, 2), 4, 1, "VALID", None, (17, 16)),
]


def draw(shape):
    batch, maps, window, stride, padding, size, (inputs, outputs) = shape
    rng = np.random.default_rng(1)
    y = jnp.asarray(rng.normal(size=(batch, *maps, outputs)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(window, window, inputs, outputs)), jnp.float32)
    return y, kernel, partial(conv_transpose2d, stride=stride, padding=padding, size=size)


def exact(shape, y, kernel, images):
    """The convolution as a sum over taps in double precision, turned round."""
    _, maps, window, stride, padding, *_ = shape
    sides = images.shape[1:3]
    pads = padding
    if isinstance(padding, str):
        pads = lax.padtype_to_pads(sides, (window, window), (stride, stride), padding)
    rows, columns = (side + sum(pad) for side, pad in zip(sides, pads, strict=True))
    laid = np.zeros((y.shape[0], rows, columns, images.shape[3]))
    for i in range(maps[0]):
        for j in range(maps[1]):
            top, left = i * stride, j * stride
            painted = np.einsum("no,hwco->nhwc", y[:, i, j], kernel)
            laid[:, top : top + window, left : left + window] += painted
    (top, _), (left, _) = pads
    return laid[:, top : top + sides[0], left : left + sides[1]]


def assert_close(got, wanted, terms=1000):
    wanted = np.asarray(wanted)
    bound = 2e-7 * (4 + terms**0.5) * (np.abs(wanted).max() + 0.1)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=bound)


def assert_trees_close(got, wanted):
    jax.tree.map(assert_close, got, wanted)


def names(function, *arrays):
    return str(jax.make_jaxpr(function)(*arrays))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_are_those_of_double_precision(shape):
    y, kernel, transposed = draw(shape)
    assert "conv_images" in names(transposed, y, kernel)
    images = transposed(y, kernel)
    doubles = np.float64(y), np.float64(kernel)
    assert_close(images, exact(shape, *doubles, images), shape[2] ** 2 * shape[6][1])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_three_maps_are_one_product(shape):
    """<images, x> = <y, conv(x)>, and Euler's rule for both gradients."""
    y, kernel, transposed = draw(shape)
    images = transposed(y, kernel)
    x = jnp.cos(images)
    product, (to_y, to_kernel) = jax.value_and_grad(
        lambda y, kernel: jnp.sum(transposed(y, kernel) * x), argnums=(0, 1)
    )(y, kernel)
    scale = float(jnp.linalg.norm(images) * jnp.linalg.norm(x))
    for other in (jnp.sum(to_y * y), jnp.sum(to_kernel * kernel)):
        assert abs(float(other - product)) < 1e-5 * scale
    assert_close(to_y, conv2d(x, kernel, shape[3], shape[4]), kernel[..., 0].size)


@pytest.mark.parametrize("derive", ["grad", "jvp of grad", "grad of grad", "hessian"])
def test_derivatives_stay_with_the_kernels_and_are_those_of_jax(plain, derive):
    y, kernel, transposed = draw((2, (2, 3), 4, 2, ((1, 1), (1, 1)), None, (2, 3)))

    def loss(y, kernel):
        return jnp.sum(jnp.sin(transposed(y, kernel)))

    first = jax.grad(loss, argnums=(0, 1))
    direction = (jnp.cos(y), jnp.cos(kernel))
    derivatives = {
        "grad": first,
        "jvp of grad": lambda *a: jax.jvp(first, a, direction)[1],
        "grad of grad": jax.grad(lambda *a: sum(jnp.sum(g**2) for g in first(*a)), (0, 1)),
        "hessian": jax.hessian(loss),
    }
    derivative = derivatives[derive]
    ours = jax.jit(lambda *a: derivative(*a))(y, kernel)
    assert "conv2d" not in names(derivative, y, kernel)
    with plain():
        assert "conv_images" not in names(derivative, y, kernel)
        assert_trees_close(ours, jax.jit(lambda *a: derivative(*a))(y, kernel))


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (1, 3)], ids=str)
def test_vmap_equals_a_loop(axes):
    y, kernel, transposed = draw(SHAPES[2])
    pile = [
        array if axis is None else jnp.stack([array, -2 * array, array + 1], axis)
        for array, axis in zip((y, kernel), axes, strict=True)
    ]

    def loss(y, kernel):
        return jnp.sum(jnp.sin(transposed(y, kernel)))

    def both(y, kernel):
        return transposed(y, kernel), jax.grad(loss, (0, 1))(y, kernel)

    mapped = jax.jit(jax.vmap(both, in_axes=axes))(*pile)
    for i in range(3):
        one = [
            a if axis is None else jnp.take(a, i, axis) for a, axis in zip(pile, axes, strict=True)
        ]
        assert_trees_close(jax.tree.map(lambda a, i=i: a[i], mapped), both(*one))


@pytest.mark.parametrize("check_vma", [False, True])
def test_shard_map_over_two_devices(check_vma):
    y, kernel, transposed = draw((4, (2, 3), 4, 2, ((1, 1), (1, 1)), None, (5, 7)))
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("part",))
    spread = jax.shard_map(
        transposed,
        mesh=mesh,
        in_specs=(P("part"), P()),
        out_specs=P("part"),
        check_vma=check_vma,
    )

    def gradients(function):
        return jax.jit(jax.grad(lambda *a: jnp.sum(jnp.sin(function(*a))), argnums=(0, 1)))

    assert_close(jax.jit(spread)(y, kernel), transposed(y, kernel))
    assert_trees_close(gradients(spread)(y, kernel), gradients(transposed)(y, kernel))


def test_mapped_over_nothing_gradients_are_zero():
    y, kernel, transposed = draw(SHAPES[2])
    none = jnp.zeros((0, *y.shape))

    def summed(none, kernel):
        return jnp.sum(jax.vmap(transposed, (0, None))(none, kernel))

    to_none, to_kernel = jax.grad(summed, argnums=(0, 1))(none, kernel)
    assert to_none.shape == none.shape
    np.testing.assert_array_equal(to_kernel, np.zeros(kernel.shape))


def test_types_are_strong():
    _, kernel, transposed = draw(SHAPES[2])
    weak = jnp.broadcast_to(jnp.asarray(1.0), (1, 2, 2, kernel.shape[3]))
    assert jax.typeof(weak).weak_type
    assert not jax.eval_shape(transposed, weak, kernel).weak_type


@pytest.mark.parametrize("wrong", ["batch", "channels"])
def test_operands_that_do_not_belong_together_are_refused(wrong):
    """The kernels look themselves: a program of another version may ask them."""
    x = jnp.ones((4, 8, 8, 6))
    y = jnp.ones((2, 4, 4, 5))
    geometry = linear.Geometry(3, 2, ((0, 1), (0, 1)), (8, 8))
    kernel = jnp.ones((3, 3, 6, 4))
    with pytest.raises(Exception, match="shapes do not fit"):
        if wrong == "batch":
            linear._kernel_p.bind(x, y, geometry=geometry).block_until_ready()
        else:
            linear.images(y, kernel, geometry).block_until_ready()


def test_a_training_loop_calls_the_kernels():
    y, kernel, transposed = draw(SHAPES[0])

    def step(kernel, y):
        return kernel - jax.grad(lambda kernel: jnp.mean(transposed(y, kernel) ** 2))(kernel), None

    trained = jax.jit(lambda *a: lax.scan(step, *a)[0]).lower(kernel, jnp.stack([y, y]))
    program = trained.as_text()
    assert "jaxvision_act_conv_backward" in program
    assert "stablehlo.convolution" not in program


def test_bits_do_not_depend_on_the_batch():
    y, kernel, transposed = draw(SHAPES[3])
    together = transposed(y, kernel)
    alone = jnp.concatenate([transposed(one[None], kernel) for one in y])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    ("maps", "kernel", "stride", "padding", "dtype"),
    [
        ((3, 4), (3, 4, 2, 3), 2, "VALID", "float32"),
        ((3, 4), (3, 3, 2, 3), (1, 2), "SAME", "float32"),
        ((3, 4), (3, 3, 2, 3), 3, "SAME", "float32"),
        ((3, 4), (9, 9, 2, 3), 2, "SAME", "float32"),
        ((3, 4), (3, 3, 2, 3), 2, "SAME", "bfloat16"),
        ((6, 6), (2, 2, 2, 3), 1, ((2, 2), (2, 2)), "float32"),
    ],
)
def test_what_the_kernels_do_not_take_is_computed_without(maps, kernel, stride, padding, dtype):
    y, kernel = jnp.ones((2, *maps, 3), dtype), jnp.ones(kernel, dtype)

    def function(y, kernel):
        return conv_transpose2d(y, kernel, stride, padding)

    assert "conv_images" not in names(function, y, kernel)
    assert function(y, kernel).dtype == dtype
