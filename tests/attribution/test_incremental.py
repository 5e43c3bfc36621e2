"""Nets evaluated in pieces against nets evaluated whole, for every operation that has a rule."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.attribution import occluding, pieces
from jaxvision.attribution.incremental import Traced
from jaxvision.attribution.windowed import multiplications
from jaxvision.convolution import conv2d
from jaxvision.dynamics.traced.plan import inner_programs
from jaxvision.initializers import he_forward
from jaxvision.models import builders
from jaxvision.models.layers import apply_function, initialize, max_pool
from jaxvision.native import switch
from jaxvision.relu import relu

RNG = np.random.default_rng(5)
IMAGES = np.float32(RNG.normal(size=(3, 13, 15, 4)))
KERNELS = {side: np.float32(RNG.normal(size=(side, side, 4, 4)) / side) for side in (1, 2, 3, 5)}
VECTORS = np.float32(RNG.normal(size=(3, 1, 1, 1, 4)))


def conv(x, side=3, **given):
    return conv2d(x, KERNELS[side], **given)


def flax_conv(x, **given):
    kernel = KERNELS[3][:, :, : 4 // given.get("feature_group_count", 1)]
    return nn.Conv(4, (3, 3), **given).apply(
        {"params": {"kernel": kernel, "bias": VECTORS[0].ravel()}}, x
    )


def channels_first(x):
    x = x.transpose(0, 3, 1, 2)
    kernel = KERNELS[3].transpose(3, 2, 0, 1)
    x = lax.conv_general_dilated(x, kernel, (1, 2), "SAME")
    return jax.nn.softmax(x * VECTORS[0].reshape(1, 4, 1, 1), axis=1).transpose(0, 2, 3, 1)


def normalized(x):
    return (x - VECTORS[0]) * lax.rsqrt(jnp.square(VECTORS[1]) + 0.1) + VECTORS[2]


def residual(x):
    branch = conv(relu(normalized(conv(x, stride=2))))
    shortcut = jnp.pad(x[:, ::2, ::2, :2], ((0, 0), (0, 0), (0, 0), (1, 1)))
    return relu(branch + shortcut)


def looped(x, reverse):
    def layer(x, vector):
        x = conv(jnp.tanh(x + vector))
        return x, x[:, 1:4, 0]

    return lax.scan(layer, x, VECTORS[:2], reverse=reverse)


def upsampled(x):
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def average_pool(x):
    return nn.pool(x, 0.0, lax.add, (3, 2), (2, 2), "SAME") / 6


def several_paths(x):
    pooled = nn.max_pool(x, (3, 3), (1, 1), "SAME")
    return jnp.concatenate([conv(x, 1), conv(x, 5), pooled, IMAGES[:1] + 0 * x], axis=-1)


def branched(x):
    clipped = jnp.clip(x, -0.5, 0.5)
    return jnp.where(conv(x) > 0, clipped, jax.checkpoint(jnp.sin)(x)), jnp.argmax(x, axis=-1)


def folded_columns(x):
    return x[:, :, :14].reshape(-1, 13, 7, 8) @ np.ones((8, 2), np.float32)


BLOCKS = {
    "same": conv,
    "valid": partial(conv, padding="VALID"),
    "uneven padding": partial(conv, side=5, padding=((0, 3), (2, 1))),
    "strided": partial(conv, stride=2),
    "stride beyond the window": lambda x: conv(conv(x), side=1, stride=3),
    "even window": lambda x: conv(conv(x, side=2), side=2, stride=2),
    "dilated": partial(flax_conv, kernel_dilation=2),
    "grouped": partial(flax_conv, feature_group_count=2),
    "channels first": channels_first,
    "max pool": lambda x: nn.max_pool(conv(x), (3, 3), (2, 2), "SAME"),
    "least of windows": lambda x: -nn.max_pool(-conv(x), (2, 3), (2, 1)),
    "average pool": lambda x: average_pool(conv(x)),
    "reshaped pool": lambda x: max_pool(relu(conv(x))),
    "pool by three": lambda x: max_pool(conv(x), 3),
    "normalized": lambda x: relu(normalized(conv(x))),
    "over channels": lambda x: nn.LayerNorm().apply(
        {"params": {"scale": VECTORS[0].ravel(), "bias": VECTORS[1].ravel()}}, x
    ),
    "residual": residual,
    "loop": partial(looped, reverse=False),
    "loop from behind": partial(looped, reverse=True),
    "upsampled": upsampled,
    "paths": several_paths,
    "branches": branched,
    "product": lambda x: jnp.einsum("oc,bwhc->bhwo", KERNELS[1][0, 0], x.swapaxes(1, 2)),
    "columns as channels": folded_columns,
    "activation with a gradient": lambda x: conv(nn.gelu(conv(x))),
    "cropped": lambda x: conv(x[:, 2:-3, 5:]),
}
# Operations through which everything changes, or that have no rule: they end what is local.
WHOLE = {
    "mean": lambda x: x - x.mean((1, 2), keepdims=True),
    "attention": lambda x: jax.nn.softmax(jnp.einsum("bhwc,bijc->bhwij", x, x), (3, 4)),
    "turned": lambda x: x[:, ::-1],
    "rolled": lambda x: jnp.roll(x, 1, axis=2),
    "flat": lambda x: x.reshape(len(x), -1) @ np.ones((780, 2), np.float32),
    "batch with rows": lambda x: x.reshape(-1, 15, 4) * 2,
    "running sum": lambda x: jnp.cumsum(x, axis=1),
    "resized": lambda x: jax.image.resize(x, (len(x), 9, 9, 4), "linear"),
    "zeros between": lambda x: lax.pad(
        x, np.float32(0), ((0, 0, 0), (0, 0, 1), (-1, 2, 0), (0, 0, 0))
    ),
}


def covered_one_by_one(function, images, places, fill):
    """Return leaves [B, R, Q, ...], of images covered in NumPy and evaluated as any others."""
    images = np.array(images)
    fill = np.broadcast_to(np.float32(fill), images.shape)
    program = jax.jit(function)
    found = []
    for top in places.rows:
        for left in places.columns:
            covered = images.copy()
            window = (slice(None), slice(top, top + places.size), slice(left, left + places.size))
            covered[window] = fill[window]
            found.append(program(covered))
    shape = (len(places.rows), len(places.columns))
    return jax.tree.map(
        lambda *leaves: np.stack(leaves, 1).reshape(len(images), *shape, *leaves[0].shape[1:]),
        *found,
    )


EVERY = (*BLOCKS, *WHOLE)
FEW = ("uneven padding", "strided", "max pool", "reshaped pool", "loop", "mean")


def blocks(x, names=EVERY):
    """Return what blocks make of images, images first."""
    made = {name: (BLOCKS | WHOLE)[name](x) for name in names}
    for name in ("loop", "loop from behind"):
        if name in names:
            last, rounds = made[name]
            made[name] = last, jnp.moveaxis(rounds, 1, 0)
    if "batch with rows" in names:
        made["batch with rows"] = made["batch with rows"].reshape(x.shape)
    return made


def is_local(block):
    """Whether what a block returns is known to be changed in part alone."""

    def product_of_channels(x):
        out, *_ = jax.tree.leaves(block(x))
        # So wide that the work of the block itself does not count.
        return out @ np.ones((out.shape[-1], 10**5), np.float32)

    traced = Traced(product_of_channels, jax.ShapeDtypeStruct(IMAGES.shape, np.float32))
    return traced.work(occluding.windows(13, 15, 2, 2).spans).share > 0.3


@pytest.mark.parametrize("name", [*BLOCKS, *WHOLE])
def test_what_is_local_stays_so(name):
    assert is_local((BLOCKS | WHOLE)[name]) == (name in BLOCKS)


@pytest.mark.parametrize(
    ("window", "stride", "pixels", "names"),
    [
        pytest.param(3, 3, 2**15, EVERY, id="all positions at once"),
        pytest.param(1, 1, 195, FEW, id="one position of one image"),
        pytest.param(4, 1, 2 * 195, EVERY, id="positions of two images", marks=pytest.mark.slow),
    ],
)
def test_pieces_give_what_the_whole_gives(window, stride, pixels, names, monkeypatch):
    monkeypatch.setattr(pieces, "_LEAST_SAVED", 0)
    monkeypatch.setattr(pieces, "_PIXELS", pixels)
    places = occluding.windows(13, 15, window, stride)
    function, fill = partial(blocks, names=names), IMAGES[:, ::-1]
    found = jax.jit(lambda x: occluding.sweep(lambda x, _: function(x), x, places, fill))(IMAGES)
    expected = covered_one_by_one(function, IMAGES, places, fill)
    for name in expected:
        for ours, theirs in zip(
            jax.tree.leaves(found[name]), jax.tree.leaves(expected[name]), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("shape", "window", "kernels"),
    [
        pytest.param((2, 8, 40, 4), 3, [(3, 3)] * 5, id="a wide image"),
        pytest.param((2, 40, 8, 4), 3, [(3, 3)] * 5, id="a high image"),
        pytest.param((2, 6, 21, 4), 6, [(3, 3)] * 2, id="a window as high as the image"),
        pytest.param((2, 16, 16, 4), 3, [(1, 7)] * 3, id="kernels along one axis"),
    ],
)
def test_a_change_may_fill_one_axis_and_not_the_other(shape, window, kernels, monkeypatch):
    monkeypatch.setattr(pieces, "_LEAST_SAVED", 0)
    images = np.float32(RNG.normal(size=shape))
    drawn = [np.float32(RNG.normal(size=(*kernel, 4, 4)) / 3) for kernel in kernels]

    def f(x):
        for kernel in drawn:
            x = nn.max_pool(jnp.tanh(conv2d(x, kernel)), (3, 3), (1, 1), "SAME")
        return x

    places = occluding.windows(*shape[1:3], window, window)
    found = jax.jit(lambda x: occluding.sweep(lambda x, _: f(x), x, places, 0.5))(images)
    expected = covered_one_by_one(f, images, places, 0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


SHAPE = (16, 16, 3)
# Sizes, and the share of multiplications that windows of 2 leave undone.
NETS = {
    "resnet": ({"depth": 8, "width": 4}, 0.455),
    "shallow": ({"channels": (4, 6), "units": 4}, 0.82),
}


def net(name):
    """Return images -> logits of a net of ours, biases and statistics drawn as well."""
    sizes, _ = NETS[name]
    model = builders.NETS[name](3, SHAPE, he_forward(), **sizes)
    shapes = jax.eval_shape(partial(initialize, model, image_shape=SHAPE), jax.random.key(0))
    variables = jax.tree.map(lambda leaf: np.float32(RNG.uniform(0.1, 0.5, leaf.shape)), shapes)
    apply = apply_function(model)

    def logits(images):
        return apply(variables["params"], variables["batch_stats"], images, train=False)[0]

    return logits


@pytest.mark.parametrize("native", ["auto", "off"])
@pytest.mark.parametrize("name", NETS)
def test_nets_of_ours(name, native, monkeypatch):
    monkeypatch.setattr(switch, "_mode", native)
    monkeypatch.setattr(pieces, "_LEAST_SAVED", 0)
    images = np.float32(RNG.normal(size=(2, *SHAPE)))
    f, places = net(name), occluding.windows(16, 16, 2, 2)
    share = Traced(f, jax.ShapeDtypeStruct(images.shape, np.float32)).work(places.spans).share
    assert share == pytest.approx(NETS[name][1], abs=1e-3)
    few = places._replace(rows=places.rows[[0, 3, 7]], columns=places.columns[[1, 7]])
    found = jax.jit(lambda x: occluding.sweep(lambda x, _: f(x), x, few, 0.5))(images)
    expected = covered_one_by_one(f, images, few, 0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_positions_near_the_border_have_smaller_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "_LEAST_SAVED", 0)
    monkeypatch.setattr(pieces, "_LEAST_DIVIDED", 0)
    places = occluding.windows(13, 15, 3, 2)
    parts = pieces._by_distance(places.spans, (1, 13, 15, 4))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(6 * 7))
    assert [len(part) for part in parts] == [16, 12, 8, 6]

    def f(x):
        return conv(relu(conv(x, 5)), 5)

    found = jax.jit(lambda x: occluding.sweep(lambda x, _: f(x), x, places, 0.5))(IMAGES)
    expected = covered_one_by_one(f, IMAGES, places, 0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    undivided, divided = multiplied(f, places, np.inf), multiplied(f, places, 0)
    assert divided < 0.9 * undivided


def made(jaxpr):
    """Return how many multiplications a program makes."""
    total = 0
    for eqn in jaxpr.eqns:
        rounds = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        inner = sum(made(program.jaxpr) for program in inner_programs(eqn))
        total += multiplications(eqn) + rounds * inner
    return total


def multiplied(f, places, least_divided):
    """Return how many multiplications a sweep makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "_LEAST_DIVIDED", least_divided)
        sweep = jax.make_jaxpr(lambda x: occluding.sweep(lambda x, _: f(x), x, places))(IMAGES)
    return made(sweep.jaxpr)


def test_less_is_multiplied(monkeypatch):
    # Three convolutions, a pool after the second: windows of 8 change 10, 12 and 8 pixels a side.
    kernels = [np.ones((3, 3, *pair), np.float32) for pair in ((3, 8), (8, 8), (8, 16))]
    last = np.ones((16 * 16 * 16, 10), np.float32)

    def f(x):
        x = conv2d(conv2d(x, kernels[0]), kernels[1])
        return conv2d(max_pool(x), kernels[2]).reshape(len(x), -1) @ last

    places = occluding.windows(32, 32, 8, 2)
    images = jax.ShapeDtypeStruct((4, 32, 32, 3), np.float32)

    def program(least):
        monkeypatch.setattr(pieces, "_LEAST_SAVED", least)
        sweep = jax.make_jaxpr(lambda x: occluding.sweep(lambda x, _: f(x), x, places))(images)
        return made(sweep.jaxpr)

    each = np.array([27 * 8, 72 * 8, 72 * 16]), np.array([1024, 1024, 256]), last.size
    whole = each[0] @ each[1] + each[2]
    parts = each[0] @ np.array([100, 144, 64]) + each[2]
    # Images are 4 x 169 in 11 rounds of 62; positions 22 rounds of 8, beside images as they are.
    assert program(np.inf) == 11 * 62 * whole
    assert program(0) == 22 * 8 * 4 * parts + 4 * whole
    assert program(0) < 0.3 * program(np.inf)
