"""The verdicts of transformations follow the science: broken on purpose, they change."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.breaking import _canvas as canvas
from experiments.breaking import _pose_search as searched
from experiments.breaking import _torus as torus
from experiments.breaking import _transform_panels as panels
from experiments.breaking import _transforming as measured
from experiments.breaking import transformations
from experiments.breaking._nets import Images, Nets
from experiments.breaking._transforms import BORDERS, TRANSFORMS, all_poses, rows_of
from jaxvision.data import load
from jaxvision.data.warps import Pose, warp
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.types import UserError

SEEDS, SIDE = 6, 8
FULL = transformations.PRESETS["cpu"]


def judged(arrays, config=FULL) -> dict[str, str]:
    fields = dataclasses.asdict(config)
    record = Record("transformations", "cpu", "broken", "a test", fields, {}, arrays, [], {})
    found = judge(transformations.claims(config), as_stored(record))
    return {claim.id: claim.verdict for claim in found}


def by_seed(value, spread=0.01):
    """A number for each net, close to ``value``."""
    return value + spread * np.linspace(-1, 1, SEEDS)


def curve(transform, drop, floor=0.1):
    """P(true) [S, P] that falls in a line by ``drop`` over the range."""
    sizes = TRANSFORMS[transform].sizes(SIDE)
    fallen = 1 - drop * sizes / sizes.max()
    return np.maximum(fallen, floor) + 0.001 * np.arange(SEEDS)[:, None]


def distances(transform, power, top):
    """Distances [S, P, 2]: the first layer jumps, the top one grows with a power of the size."""
    sizes = TRANSFORMS[transform].sizes(SIDE)
    share = sizes / sizes.max()
    both = np.stack([share**0.2, top * share**power], 1)
    return both * (1 + 0.01 * np.arange(SEEDS)[:, None, None])


def made_up(
    drops=(0.3, 0.3, 0.9),
    turned=(0.5, 0.5, 0.05),
    power=1.0,
    top=0.6,
    half_turn=(0.8, 0.2),
    by_border=(0.8, 0.8, 0.4),
    on_canvas=(0.8, 0.8, 0.4),
    grid=(0.6, 0.3),
    ten=0.4,
    ascent=0.3,
    consistency=(0.8, 0.9),
    slope=0.02,
    errors=(0.06, 0.04),
    at_rest=0.0,
    at_period=0.0,
    between=(0.6, 0.2),
):
    """Arrays of six nets of each kind."""
    arrays = {"examples/strip": np.zeros((3, 5, SIDE, SIDE, 1), np.uint8)}
    for net, falls in {"upright": drops, "turned": turned}.items():
        for transform, drop in zip(TRANSFORMS, falls, strict=True):
            arrays[f"{net}/{transform}/p_true"] = curve(transform, drop)
            arrays[f"{net}/{transform}/distance"] = distances(transform, power, top) + at_rest
    borders = np.broadcast_to(by_border, (SEEDS, len(BORDERS), 3))
    arrays["upright/area_by_border"] = borders
    arrays["canvas/area"] = np.broadcast_to(on_canvas, (SEEDS, 3))
    arrays["upright/half_turn"] = np.stack([by_seed(value) for value in half_turn], 1)
    for net, rate in zip(("upright", "turned"), grid, strict=True):
        arrays[f"{net}/grid"] = by_seed(rate)
    arrays["upright/ten"], arrays["upright/ascent"] = by_seed(ten), by_seed(ascent, 0.02)
    doublings = np.arange(3)
    on_torus = zip(("strided", "blurred"), consistency, errors, between, strict=True)
    for net, mean, error, of_shifts in on_torus:
        arrays[f"{net}/consistency"] = by_seed(mean)[:, None] + slope * (doublings - 1)
        arrays[f"{net}/consistency"] += 0.001 * np.arange(SEEDS)[:, None] * doublings
        arrays[f"{net}/test_error"] = np.stack([by_seed(error, 0.001)] * 3, 1)
        changes = by_seed(of_shifts)[:, None, None] + np.zeros((3, 9))
        changes[..., :: torus.PERIOD] = at_period
        arrays[f"{net}/change"] = changes
    return arrays


def test_what_the_sources_have_is_reproduced():
    found = judged(made_up())
    assert found.pop("deeper-worse") == "contradicted"
    assert set(found.values()) == {"reproduced"}


def test_nets_that_get_no_image_right_neither_uphold_nor_contradict():
    """Nothing is counted there: the means are NaN, which is above and below no number."""
    nothing = (np.nan,) * 3
    found = judged(made_up(by_border=nothing, on_canvas=nothing))
    assert found["borders"] == found["canvas"] == "inconclusive"


@pytest.mark.parametrize(
    ("changes", "contradicted"),
    [
        ({"at_rest": 0.1}, {"rest"}),
        ({"at_period": 0.1}, {"period"}),
        ({"top": 3.0}, {"layer1"}),
        ({"power": 0.1}, {"linear-shift", "linear-scale", "straighter"}),
        ({"drops": (0.9, 0.3, 0.3)}, {"shift-turn"}),
        ({"drops": (0.3, 0.9, 0.3)}, {"scale-turn"}),
        ({"half_turn": (0.2, 0.8)}, {"symmetric"}),
        ({"by_border": (0.4, 0.8, 0.6)}, {"borders"}),
        ({"on_canvas": (0.8, 0.4, 0.6)}, {"canvas"}),
        ({"between": (0.2, 0.6)}, {"curve"}),
        ({"turned": (0.1, 0.1, 0.9)}, {"learned"}),
        ({"grid": (0.1, 0.3), "ten": 0.1, "ascent": 0.05}, {"breaks", "ten"}),
        ({"grid": (0.6, 0.05)}, {"augmented"}),
        ({"ten": 0.6}, {"ten"}),
        ({"ascent": 0.6}, {"first-order", "random-ascent"}),
        ({"consistency": (0.9, 0.8)}, {"blur"}),
        ({"errors": (0.04, 0.06)}, {"blur-error"}),
    ],
)
def test_the_opposite_is_contradicted(changes, contradicted):
    found = judged(made_up(**changes))
    assert found.pop("deeper-worse") == "contradicted"
    assert contradicted <= {name for name, verdict in found.items() if verdict == "contradicted"}


def test_without_a_symmetric_image_nothing_is_said_of_them():
    """A mean over no image is no low probability."""
    right = np.ones((2, 4), bool)
    p_true = np.full((2, len(all_poses(TRANSFORMS, 8).turn), 4), 0.5)
    looked = measured.Looked(right, p_true, None)
    symmetric, others = measured.half_turn(looked, 8, np.zeros(4, bool)).T
    assert np.isnan(symmetric).all()
    np.testing.assert_allclose(others, 0.5)
    assert judged(made_up(half_turn=(np.nan, 0.8)))["symmetric"] == "inconclusive"


def test_depth_is_judged_for_both_sources():
    found = judged(made_up(slope=-0.02))
    assert found["deeper-worse"] == "reproduced"
    assert found["deeper-better"] == "contradicted"


def linear_nets(weights):
    """Nets that answer by a product with weights [N, D, K]; their layers are the image itself."""

    def of(variables):
        def logits(images):
            return images.reshape(len(images), -1) @ variables["params"]["w"]

        return logits

    def layers(variables):
        def both(images):
            return of(variables)(images), dict.fromkeys(measured.LAYERS, images)

        return both

    variables = {"params": {"w": np.asarray(weights, np.float32)}, "batch_stats": {}}
    return Nets(of, variables, np.zeros(len(weights)), None, layers)


RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(6, SIDE, SIDE, 1)).astype(np.float32)


def test_distances_and_probabilities_of_a_linear_net():
    """The features are the images: shifts by whole pixels are a difference of arrays."""
    weights = RNG.normal(size=(2, SIDE * SIDE, 3))
    labels = np.array([0, 1, 2, 0, 1, 2], np.int32)
    nets, pose = linear_nets(weights), all_poses(TRANSFORMS, SIDE)
    found = measured.look(nets, Images(IMAGES, labels), pose, BORDERS["wrap"])
    right = np.argmax(IMAGES.reshape(6, -1) @ weights, -1) == labels
    np.testing.assert_array_equal(found.right, right)
    amounts = TRANSFORMS["shift"].amounts(SIDE)
    for place, amount in enumerate(amounts):
        moved = np.roll(IMAGES, int(amount), 1).reshape(6, -1)
        logits = moved @ weights
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        p_true = (odds / odds.sum(-1, keepdims=True))[:, np.arange(6), labels]
        np.testing.assert_allclose(found.p_true[:, place], p_true, atol=1e-4)
        far = np.linalg.norm(moved - IMAGES.reshape(6, -1), axis=1)
        apart = IMAGES - np.roll(IMAGES, 1, 0)
        unit = np.linalg.norm(apart.reshape(6, -1), axis=1).mean()
        for net in range(2):
            expected = far[right[net]].mean() / unit
            np.testing.assert_allclose(found.distance[net, place], expected, rtol=1e-4)


def test_a_net_that_answers_by_the_place_of_a_dot_is_fooled_by_every_search():
    """Two classes: whether the bright row is above or below the middle; a pixel decides."""
    images = np.zeros((4, 32, 32, 1), np.float32)
    images[:, 17] = 1
    weights = np.zeros((1, 32, 32, 2))
    weights[0, :16, :, 0], weights[0, 16:, :, 1] = 1, 1
    nets = linear_nets(weights.reshape(1, -1, 2))
    seeds = np.array([0], np.int32)
    some = Images(images, np.ones(4, np.int32))
    found = searched.worst_poses(nets, seeds, some, searched.Search(3, 3, 20))
    for way in searched.WAYS:
        np.testing.assert_array_equal(searched.rate(found, way), 1.0)
    images[:, 17], images[:, 25] = 0, 1  # three pixels and 30 degrees do not reach the middle
    found = searched.worst_poses(nets, seeds, some, searched.Search(3, 3, 20))
    for way in searched.WAYS:
        np.testing.assert_array_equal(searched.rate(found, way), 0.0)


def test_shifts_that_change_no_answer_are_consistent():
    """A net of one sum does not see shifts; one that reads a single column does."""
    weights = np.zeros((2, SIDE, SIDE, 2))
    weights[0, ..., 1] = 1
    weights[1, :, 0, 1] = 1
    images = np.zeros((3, SIDE, SIDE, 1), np.float32)
    images[:, :, 0] = 1
    nets = linear_nets(weights.reshape(2, -1, 2))
    labels = np.array([1, 1, 0], np.int32)
    found = torus.on_torus(nets, Images(images, labels), np.zeros_like(images[0]))
    # The bright column leaves in three of four shifts to the right: 1/16 + 9/16.
    np.testing.assert_allclose(found.agreement, [[1.0] * 3, [0.625] * 3])
    np.testing.assert_array_equal(found.right, [[True, True, False]] * 2)
    np.testing.assert_allclose(torus.consistency([found, found]), [[1.0] * 2, [0.625] * 2])


def test_a_net_of_one_answer_does_not_look_steady():
    labels = np.arange(4) % 2
    steady = np.ones((1, 4))
    constant = torus.Shifted((labels == 0)[None], steady, None)
    good = torus.Shifted(np.ones((1, 4), bool), np.array([[0.5, 1, 0.5, 1]]), None)
    np.testing.assert_allclose(torus.consistency([constant, good]), [[1.0, 0.5]])
    nothing = torus.Shifted(np.zeros((1, 4), bool), steady, None)
    assert np.isnan(torus.consistency([nothing, good])).all()


def test_the_mean_image_stays_in_place_on_the_torus():
    """A net on a torus that takes a mean off: a shift by the total stride changes nothing."""
    mean = RNG.uniform(size=(SIDE, SIDE, 1)).astype(np.float32)
    # The weights repeat with the cells of 4x4 pixels.
    tiled = np.tile(RNG.normal(size=(4, 4, 3)), (SIDE // 4, SIDE // 4, 1)).reshape(1, -1, 3)
    plain = linear_nets(tiled)
    means = np.broadcast_to(mean, IMAGES.shape)
    nets = plain._replace(of=lambda variables: lambda x: plain.of(variables)(x - means))
    found = torus.on_torus(nets, Images(IMAGES, np.zeros(6, np.int32)), mean)
    np.testing.assert_allclose(found.change[0, [0, 4, 8]], 0, atol=1e-4)
    assert found.change[0, [1, 2, 3]].min() > 0.01


@pytest.mark.parametrize("shape", [(8, 12), (10, 10)])
def test_images_that_cannot_be_turned_are_one_line(tmp_path, shape):
    arrays = {
        "images": RNG.integers(0, 256, size=(40, *shape, 1)).astype(np.uint8),
        "labels": np.arange(40) % 2,
    }
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(UserError, match=r"^transformations needs square images of a side that 4"):
        torus.check_size(str(tmp_path / "own.npz"))


def test_rows_of_poses_are_in_order():
    poses, rows = all_poses(TRANSFORMS, SIDE), rows_of(TRANSFORMS, SIDE)
    np.testing.assert_array_equal(poses.down[rows["shift"]], [-2, -1, 0, 1, 2])
    np.testing.assert_allclose(poses.scale[rows["scale"]], np.linspace(1, 1.8, 9), rtol=1e-6)
    np.testing.assert_array_equal(poses.turn[rows["turn"]], np.arange(0, 360, 10))
    sizes = TRANSFORMS["turn"].sizes(SIDE)
    assert sizes[35] == sizes[1] == 10
    assert sizes.max() == 180


def test_both_directions_are_one_size():
    record = Record("x", "cpu", "x", "", {}, {}, made_up(), [], {})
    sizes, values = panels.folded(record, "upright", "shift", "p_true")
    np.testing.assert_array_equal(sizes, [0, 1, 2])
    whole = record.arrays["upright/shift/p_true"]
    np.testing.assert_allclose(values[:, 1], (whole[:, 1] + whole[:, 3]) / 2)


def test_a_disc_is_round_and_keeps_the_middle():
    disc = measured._disc(8)[..., 0]
    np.testing.assert_array_equal(disc, np.rot90(disc))
    assert disc[0, 0] == 0
    assert disc[3:5].min() == 1


def test_nothing_leaves_the_canvas():
    """In no pose is light lost, as it is where the image fills its frame."""
    splits = load("digits")
    framed = canvas.framed(splits).test.images[:1] / np.float32(255)
    image = splits.test.images[:1] / np.float32(255)
    np.testing.assert_array_equal(framed, warp(image, Pose(), size=(16, 16)))
    poses = all_poses(TRANSFORMS, SIDE)

    @jax.jit
    def light_of(image):
        moved = warp(jnp.repeat(image, len(poses.turn), 0), poses)
        return moved.sum((1, 2, 3)) / image.sum()

    light = np.asarray(light_of(framed))
    np.testing.assert_allclose(light, np.asarray(poses.scale) ** 2, rtol=0.05)
    assert (np.asarray(light_of(image)) < 0.9 * light).sum() > 5


def test_nets_of_a_canvas_are_judged_over_the_ranges_of_the_images():
    spec = transformations._alexnet(
        dataclasses.replace(transformations.PRESETS["tiny"], steps=4),
        transformations.NETS["upright"],
    )
    nets = canvas.trained(spec, range(2))
    assert nets.data.test.images.shape[1:] == (16, 16, 1)
    found = canvas.measured_on(nets, 60)  # each net gets some of them right
    assert found["canvas/area"].shape == (2, 3)
    assert found["canvas/test_error"].shape == (2,)
    assert (found["canvas/area"] >= 0).all() and (found["canvas/area"] < 1).all()


@pytest.mark.slow
def test_nets_that_know_turns_flip_the_claim():
    config = dataclasses.replace(
        transformations.PRESETS["tiny"],
        seeds=6,
        first_seed=100,
        width=6,
        steps=1500,
        n_images=200,
    )
    kinds = transformations.NETS
    upright = transformations.measure(config, silent)[1]
    assert judged(upright, config)["learned"] == "reproduced"
    swapped = kinds | {"upright": kinds["turned"], "turned": kinds["upright"]}
    assert judged(transformations.measure(config, silent, swapped)[1], config)["learned"] != (
        "reproduced"
    )
