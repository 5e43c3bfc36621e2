"""Residual and plain nets: parameter counts, shapes, names, and what makes them residual."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.models.resnet import cifar_resnet, imagenet_resnet
from jaxvision.native import switch
from jaxvision.trees import named_leaves
from jaxvision.types import UserError


def shapes(model, size=32):
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images)


def count(model):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(model)["params"]))


@pytest.mark.parametrize(
    ("depth", "option_a", "option_b"),
    [
        (20, 269_722, 272_474),
        (32, 464_154, 466_906),
        (44, 658_586, 661_338),
        (56, 853_018, 855_770),
        (110, 1_727_962, 1_730_714),
        (1202, 19_421_274, 19_424_026),
    ],
)
def test_cifar_parameters(depth, option_a, option_b):
    assert count(cifar_resnet(depth)) == count(cifar_resnet(depth, shortcut="none")) == option_a
    assert count(cifar_resnet(depth, shortcut="B")) == option_b


@pytest.mark.parametrize(
    ("depth", "shortcut", "parameters"),
    [
        (18, "B", 11_689_512),
        (34, "B", 21_797_672),
        (50, "B", 25_557_032),
        (101, "B", 44_549_160),
        (152, "B", 60_192_808),
        (18, "A", 11_515_688),
        (34, "A", 21_623_848),
        (18, "none", 11_515_688),
        (34, "none", 21_623_848),
    ],
)
def test_imagenet_parameters(depth, shortcut, parameters):
    assert count(imagenet_resnet(depth, shortcut=shortcut)) == parameters


def test_option_c_projects_in_every_block():
    added = count(cifar_resnet(20, shortcut="C")) - count(cifar_resnet(20, shortcut="B"))
    # Three more projections at width 16, two at 32, two at 64, each with a scale and a bias.
    assert added == 3 * (16 * 16 + 32) + 2 * (32 * 32 + 64) + 2 * (64 * 64 + 128)


@pytest.mark.parametrize("size", [224, 97])
def test_imagenet_shapes(size):
    model = imagenet_resnet(50)
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    logits, activations = jax.eval_shape(model.apply, shapes(model, size), images)
    side = -(-size // 32)
    assert logits.shape == (1, 1000)
    assert activations["stage4_rest/conv3"].shape == (2, 1, side, side, 2048)


def sides_and_shortcuts():
    """Every size with one shortcut and every shortcut at one size; the other pairs are slow."""
    for sides in [(64, 3), (3, 64), (1, 32), (3, 3), (1, 1)]:
        for shortcut in ("none", "A", "B", "C"):
            quick = shortcut == "B" or sides == (1, 32)
            yield pytest.param(sides, shortcut, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("sides", "shortcut"), [*sides_and_shortcuts()])
@pytest.mark.parametrize("make", [partial(cifar_resnet, 14), partial(imagenet_resnet, 50)])
def test_thin_and_small_images_keep_a_pixel_on_every_side(make, sides, shortcut):
    height, width = sides
    model = make(num_classes=5, features=2, shortcut=shortcut)
    images = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
    init = partial(model.init_with_output, jax.random.key(0))
    (logits, activations), _ = jax.eval_shape(init, images)
    assert logits.shape == (2, 5)
    halvings = len(model.stages) - 1 + 2 * model.large_images
    last = [-(-side // 2**halvings) for side in (height, width)]
    end = f"stage{len(model.stages)}_rest/"
    (deepest,) = {x.shape[-3:-1] for name, x in activations.items() if name.startswith(end)}
    assert list(deepest) == last


@pytest.fixture(scope="module")
def net():
    """A small residual net, its variables and images."""
    model = cifar_resnet(14, shortcut="B")
    # Drawn with NumPy: compiling the draws of the init would take most of this file's time.
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, 16, 16, 3)).astype(np.float32)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            fan_in = np.prod(leaf.shape[-4:-1]) if leaf.ndim > 3 else leaf.shape[0]
            return np.float32(rng.normal(size=leaf.shape) * (2 / fan_in) ** 0.5)
        return np.full(leaf.shape, 1 if name in ("scale", "var") else 0, np.float32)

    return model, jax.tree_util.tree_map_with_path(draw, shapes(model)), images


def test_activations_are_named_after_their_kernels_in_depth_order(net):
    model, variables, images = net
    _, activations = jax.eval_shape(model.apply, variables, images)
    stems = [n.removesuffix("/kernel") for n in named_leaves(variables["params"]) if "kernel" in n]
    assert sorted(activations) == sorted(stems)
    depth = ["stem", "stage1_rest/conv1", "stage1_rest/conv2", "stage2_first/conv1"]
    depth += ["stage2_first/shortcut", "stage2_first/conv2", "stage2_rest/conv1"]
    ordered = []  # a tree that JAX returns is sorted by its names

    def names(variables):
        ordered.extend(model.apply(variables, images)[1])

    jax.eval_shape(names, variables)
    assert ordered[: len(depth)] == depth
    assert ordered[-1] == "logits"


def test_training_changes_statistics_and_taps_read_gradients(net):
    model, variables, images = net
    names = jax.eval_shape(model.apply, variables, images)[1]
    kernels = named_leaves(variables["params"])
    taps = {
        n: jnp.zeros(kernels[f"{n}/kernel"].shape[: kernels[f"{n}/kernel"].ndim % 2]) for n in names
    }

    def loss(params, taps):
        given = {"params": params, "batch_stats": variables["batch_stats"]}
        (logits, _), updated = model.apply(
            given, images, train=True, taps=taps, mutable=["batch_stats"]
        )
        return jnp.mean(jnp.sin(logits)), updated["batch_stats"]

    grad = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (gradients, squares), statistics = grad(variables["params"], taps)
    for before, after in zip(
        jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(statistics), strict=True
    ):
        assert not np.array_equal(before, after)
    assert all(np.all(np.asarray(leaf) > 0) for leaf in jax.tree.leaves(squares))
    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradients))


def test_a_block_whose_branch_is_silent_is_the_identity(net):
    """Scale zero in a block's last normalization leaves the shortcut alone; a plain net dies."""
    _, variables, images = net
    silent = jax.tree.map(lambda leaf: leaf, variables)
    norm = silent["params"]["stage1_rest"]["norm2"]
    norm["scale"] = 0 * norm["scale"]
    residual = jax.jit(cifar_resnet(14, shortcut="B").apply)(silent, images)[1]
    np.testing.assert_array_equal(
        residual["stage1_rest/conv2"][-1], np.maximum(residual["stem"], 0)
    )
    del silent["params"]["stage2_first"]["shortcut"], silent["params"]["stage3_first"]["shortcut"]
    plain = jax.jit(cifar_resnet(14, shortcut="none").apply)(silent, images)[1]
    np.testing.assert_array_equal(plain["stage1_rest/conv2"], 0)


def test_option_a_subsamples_and_pads(net):
    _, variables, images = net
    silent = jax.tree.map(lambda leaf: leaf, variables)
    for stage in ("stage2_first", "stage3_first"):
        norm = silent["params"][stage]["norm2"]
        norm["scale"] = 0 * norm["scale"]
        del silent["params"][stage]["shortcut"]
    activations = jax.jit(cifar_resnet(14, shortcut="A").apply)(silent, images)[1]
    before = np.maximum(activations["stage1_rest/conv2"][-1], 0)[:, ::2, ::2]
    first = np.asarray(activations["stage2_first/conv2"])
    np.testing.assert_array_equal(first[..., :16], before)
    np.testing.assert_array_equal(first[..., 16:], 0)


@pytest.mark.parametrize("native", ["auto", "off"])
def test_kernels_and_images_may_be_bfloat16(native, monkeypatch):
    """Vectors of batch norm stay float32, and do not make what they scale float32."""
    monkeypatch.setattr(switch, "_mode", native)
    model = cifar_resnet(14, shortcut="B", features=4)

    def halved(path, leaf):
        dtype = jnp.bfloat16 if path[-1].key == "kernel" else leaf.dtype
        return jax.ShapeDtypeStruct(leaf.shape, dtype)

    variables = jax.tree_util.tree_map_with_path(halved, shapes(model))
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.bfloat16)
    run = partial(model.apply, train=True, mutable=["batch_stats"])
    with jax.numpy_dtype_promotion("standard"):
        (_, activations), updated = jax.eval_shape(run, variables, images)
    activations.pop("logits")  # its bias is float32
    assert {x.dtype for x in activations.values()} == {jnp.dtype("bfloat16")}
    assert {x.dtype for x in jax.tree.leaves(updated)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (cifar_resnet, {"depth": 2}, r"^depth=2: a CIFAR net has 6n\+2 layers"),
        (cifar_resnet, {"depth": 21}, r"^depth=21: a CIFAR net has 6n\+2 layers"),
        (cifar_resnet, {"depth": 20, "shortcut": "D"}, "^shortcut=D: use none"),
        (imagenet_resnet, {"depth": 20}, "^depth=20: the ImageNet nets have"),
        (imagenet_resnet, {"depth": 18, "shortcut": "a"}, "^shortcut=a: use none"),
    ],
)
def test_mistakes_are_one_clear_line(make, options, message):
    with pytest.raises(UserError, match=message):
        make(**options)


def test_width_of_the_first_stage():
    wide, narrow = (count(cifar_resnet(8, features=f)) for f in (16, 8))
    blocks = [(3, 16)] + [(16, 16)] * 2 + [(16, 32), (32, 32), (32, 64), (64, 64)]
    assert wide == sum(9 * i * o + 2 * o for i, o in blocks) + 65 * 10
    assert narrow < wide / 3
    assert count(imagenet_resnet(18, features=32)) < count(imagenet_resnet(18)) / 3


@pytest.mark.parametrize("shortcut", ["none", "A"])
def test_blocks_left_out(net, shortcut):
    """A residual block that is left out passes on its shortcut, a plain one its input."""
    _, variables, images = net
    variables = jax.tree.map(lambda leaf: leaf, variables)
    del variables["params"]["stage2_first"]["shortcut"]
    del variables["params"]["stage3_first"]["shortcut"]
    model = cifar_resnet(14, shortcut=shortcut)
    assert model.keeps_shape == (True, True, False, True, False, True)
    apply = jax.jit(lambda keep: model.apply(variables, images, keep=keep)[1])
    whole = jax.jit(model.apply)(variables, images)[1]
    kept = apply(jnp.ones(6, bool))
    np.testing.assert_allclose(kept["logits"], whole["logits"], rtol=2e-4, atol=2e-4)
    left_out = apply(jnp.arange(6) != 1)
    first, second = np.maximum(left_out["stage1_rest/conv2"], 0)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(left_out["stem"], kept["stem"])
    left_out = apply(jnp.arange(6) != 2)["stage2_first/conv2"]
    before = np.maximum(kept["stage1_rest/conv2"][-1], 0)[:, ::2, ::2]
    if shortcut == "A":
        np.testing.assert_allclose(left_out[..., :16], before, rtol=1e-5)
    else:  # a plain block that changes the shape cannot be left out
        np.testing.assert_array_equal(left_out, kept["stage2_first/conv2"])
