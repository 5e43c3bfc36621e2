"""The verdicts of occlusion follow the science: broken on purpose, they change."""

import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.seeing import _correspondence as correspondence
from experiments.seeing import _covering as covering
from experiments.seeing import occlusion as experiment
from jaxvision.attribution import occluding
from jaxvision.data import embedded
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.types import UserError

CONFIG = dataclasses.replace(experiment.PRESETS["tiny"], seeds=5, first_seed=100)
PLACES = occluding.windows(12, 12, 4, 2)


def verdicts(config, arrays):
    """Return each claim's verdict on a record of these arrays."""
    fields = dataclasses.asdict(config)
    numbers = {"chance": 0.1}
    record = Record("occlusion", "cpu", "made", "a test", fields, numbers, arrays, [], {})
    found = judge(experiment.claims(config), as_stored(record))
    return {claim.id: claim.verdict for claim in found}


def made_up(*, upside_down=False):
    """Arrays of five nets as the source has them, or the other way round."""
    costly, cheap = ([0.2, 0.02], [0.1, 0.01])
    pairs = {f"true/window/{fill}/fall": costly for fill in experiment.FILLS}
    pairs |= {
        "true/window/gray/fall": [0.2, 0.03],
        "true/small/gray/fall": cheap,
        "shuffled/window/gray/fall": [0.01, 0.01],
        "shuffled/learned/gray/fall": [0.21, 0.2],
        "true/learned/gray/fall": costly,
        "panels/changed": costly,
        "panels/strongest": costly,
    }
    arrays = {name: np.array(pair) for name, pair in pairs.items()}
    arrays["true/window/self/largest"] = np.array(0.0)
    arrays |= {"shuffled/learned/right": np.array(0.97), "shuffled/error": np.array(0.9)}
    alone = {"projection": 0.5, "another": 0.2, "alike": 0.3, "apart": 0.5}
    arrays |= {f"panels/{name}": np.array(value) for name, value in alone.items()}
    for layer in correspondence.LAYERS:
        for moved in ("", "_moved"):
            arrays[f"alike/{layer}/part{moved}"] = np.full(3, 0.1)
            random = 0.2 if layer != "logits" else 0.1
            arrays[f"alike/{layer}/random{moved}"] = np.array(random)
    if upside_down:
        arrays = {name: 0.2 - array for name, array in arrays.items()}
        for images in ("window", "learned"):
            arrays[f"shuffled/{images}/gray/fall"] = np.array([0.2, 0.1])
        arrays["shuffled/error"] = np.array(0.5)
        arrays["panels/projection"] = np.array(-0.5)
        arrays["alike/logits/random"] = np.array(0.5)
    spread = 1 + 0.02 * np.arange(-2, 3)
    return {name: array * spread.reshape(5, *[1] * array.ndim) for name, array in arrays.items()}


@pytest.mark.parametrize("flag", ["window", "small_window"])
def test_a_window_larger_than_the_images_is_refused_before_a_net_is_trained(monkeypatch, flag):
    monkeypatch.setattr(experiment, "_nets", None)
    sizes = {"window": 4, "small_window": 4, flag: 9}
    config = dataclasses.replace(experiment.PRESETS["tiny"], dataset="digits", **sizes)
    with pytest.raises(UserError, match=f"--{flag}=9 does not fit into images of 8 x 8: at most 8"):
        experiment.measure(config, silent)


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ({"window": 32}, "--window=32 is nowhere half on an object in 6 images: use a smaller one"),
        ({"window": 20, "stride": 3}, "--window=20 is nowhere clear of the objects in 6 images"),
        (
            {"small_window": 20, "stride": 3},
            "--small_window=20 is nowhere clear of the objects in 6 images",
        ),
    ],
)
def test_a_window_that_has_no_place_is_refused_before_a_net_is_trained(monkeypatch, sizes, line):
    """The means over no places would be no numbers, and their claims would be judged on them."""
    monkeypatch.setattr(experiment._nets, "trained", None)
    config = dataclasses.replace(experiment.PRESETS["tiny"], **sizes)
    with pytest.raises(UserError, match=line):
        experiment.measure(config, silent)


def test_what_the_source_has_is_reproduced():
    found = verdicts(experiment.Config(), made_up())
    assert {name for name, verdict in found.items() if verdict != "reproduced"} == set()


def test_the_opposite_is_not():
    found = verdicts(experiment.Config(), made_up(upside_down=True))
    assert {name for name, verdict in found.items() if verdict == "reproduced"} == set()


def test_a_control_that_learned_true_labels_is_caught():
    """What it loses is then what the others lose, and it knows images that it has not seen."""
    arrays = made_up()
    arrays["shuffled/window/gray/fall"] = arrays["true/window/gray/fall"]
    arrays["shuffled/learned/gray/fall"] = arrays["true/learned/gray/fall"]
    arrays["shuffled/error"] = np.full(5, 0.3)
    found = verdicts(experiment.Config(), arrays)
    of_control = {"shuffled-chance", "shuffled", "shuffled-learned", "shuffled-less"}
    assert {name for name, verdict in found.items() if verdict != "reproduced"} == of_control
    for name in of_control - {"shuffled-less"}:
        assert found[name] == "contradicted", name


def test_a_control_that_has_learned_nothing_is_caught():
    """Nets that stay at chance have nothing to lose, so what they lose says nothing."""
    arrays = made_up()
    arrays["shuffled/learned/right"] = np.linspace(0.08, 0.14, 5)
    found = verdicts(experiment.Config(), arrays)
    assert found["shuffled-known"] == "contradicted"


def test_the_share_of_right_answers_is_of_the_labels_given():
    images = np.zeros((4, 2, 2, 1), np.float32)
    images[:2] = 1.0
    labels = np.array([1, 0, 0, 1], np.int32)

    def of(net):
        sign = net["params"]["sign"] * jnp.array([-1.0, 1.0])
        return lambda images: (images.mean((1, 2, 3))[:, None] * sign[None], {})

    variables = {"params": {"sign": np.float32([1.0, -1.0])}}
    nets = covering.Nets(of, variables, None, np.zeros(2), None)
    some = covering.Shown(images, labels, None, None)
    # The first net answers 1, 1, 0, 0, the second one 0, 0, 0, 0.
    np.testing.assert_allclose(covering.right(nets, some), [0.5, 0.5])


def test_where_half_the_window_is_object_and_where_none_is():
    masks = np.zeros((1, 12, 12), bool)
    masks[0, :6, :6] = True
    values = np.zeros((2, 1, 5, 5))
    values[:, 0, 0, 0] = 3.0  # all object
    values[:, 0, 4, 4] = 7.0  # none
    found = covering.by_place(values, masks, PLACES)
    # At least 8 of 16 pixels: rows and columns 0, 2, and 4 beside them: 4 x 4, 4 x 2.
    assert found.object == pytest.approx([3 / 8] * 2)
    assert found.background == pytest.approx([7 / 16] * 2)


def test_lowest_places_more_than_a_window_apart_are_counted():
    values, others = np.zeros((1, 3, 5, 5)), np.zeros((1, 3, 5, 5))
    values[0, :, 0, 0] = -1
    others[0, 0, 0, 0] = others[0, 1, 0, 2] = others[0, 2, 0, 3] = -1
    # 0, 4 and 6 pixels apart, of windows of 4.
    assert covering.apart(values, others, PLACES) == pytest.approx([1 / 3])


def test_a_deconvnet_sends_back_what_a_map_puts_out():
    """From units that are shut nothing comes back, from others as much as they put out."""

    def maps_of(images):
        return None, {"top": jnp.concatenate([images - 0.5, images - 0.9], axis=-1)}

    images = np.float32(np.random.default_rng(0).random((2, 4, 4, 1)))
    found = covering._projected(maps_of, jnp.asarray(images), "top", jnp.array([0, 1]))
    expected = np.maximum(images[..., 0] - np.array([0.5, 0.9])[:, None, None], 0) ** 2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_strongest_map_is_one_of_the_last_convolution():
    """Its maps look at the left half, those of all other layers at the right half."""
    images = np.float32(0.6 + 0.4 * np.random.default_rng(0).random((3, 12, 12, 1)))
    left = np.float32(np.arange(12) < 6)[None, None, :, None]

    def of(net):
        def layers(images):
            own, others = images * left, images * (1 - left)
            found = dict.fromkeys(covering._nets.LAYERS, jnp.concatenate([others, 4 * others], -1))
            found[covering._nets.LAST] = jnp.concatenate([own, 0.5 * others], -1)
            return net["params"]["weight"] * images.sum((1, 2)) * jnp.array([[1.0, -1.0]]), found

        return layers

    variables = {"params": {"weight": np.ones(1, np.float32)}}
    nets = covering.Nets(of, variables, None, np.zeros(1), None)
    some = covering.Shown(images, np.zeros(3, np.int32), None, None)
    found = covering.panels(nets, some, PLACES)
    own = (images * left)[..., 0]
    np.testing.assert_allclose(found.projection[0], own**2, rtol=1e-5)
    for row, y in enumerate(PLACES.rows):
        for column, x in enumerate(PLACES.columns):
            window = np.s_[:, y : y + 4, x : x + 4]
            covered = own.copy()
            covered[window] = covering.GRAY * left[0, :, x : x + 4, 0]
            share = covered.sum((1, 2)) / own.sum((1, 2))
            np.testing.assert_allclose(found.strongest[0, :, row, column], share, rtol=1e-5)
            energy = (own[window] ** 2).sum((1, 2))
            np.testing.assert_allclose(found.under[0, :, row, column], energy, rtol=1e-5, atol=1e-6)
            right = 0.25 * ((images[..., 0] - own)[window] ** 2).sum((1, 2))
            # Half a map goes back through half a weight: a quarter, of which the square is energy.
            np.testing.assert_allclose(
                found.another[0, :, row, column], right / 4, rtol=1e-5, atol=1e-6
            )


def test_objects_are_made_frontal():
    data = embedded.shapes(1, 100).test
    bars = data.labels == embedded.drawing.CLASS_NAMES.index("bar")
    masks = np.float32(data.masks[bars][..., None])
    turned = correspondence._turned(masks, data.poses[bars])[..., 0] > 0.5
    y, x = np.mgrid[:32, :32] + 0.5 - 16
    radius = correspondence.RADIUS
    inside = (np.abs(x) < 0.95 * radius) & (np.abs(y) < 0.23 * radius)
    assert len(turned) == 10
    assert (turned & inside).sum((1, 2)).min() > 0.8 * inside.sum()
    # Beyond its circle the picture may be mirrored at the border.
    beside = turned & ~inside & (np.hypot(x, y) < radius)
    assert beside.sum((1, 2)).max() < 0.15 * inside.sum()


def test_signs_of_changes_are_compared_over_pairs_of_a_class():
    change = jnp.zeros((2 * correspondence.ALIKE, 4)).at[:, 0].set(1.0)
    change = change.at[0, 1].set(1.0).at[1, 1].set(-1.0)
    whole, moved = jax.jit(correspondence._distances)(change)
    # Unit 1 of the first class: 1, -1, 0, 0, 0. All pairs but 3 x 2 of zeros differ: 14 of 20.
    assert float(whole) == pytest.approx(14 / (2 * 20 * 4))
    # Both move: unit 0 in all pairs (40, none differ), unit 1 in one pair, twice.
    assert float(moved) == pytest.approx(2 / 42)


def test_without_masks_nothing_is_said_of_objects(tiny_record):
    """Claims that ask where the object is are not run; the figure shows what is left."""
    measured = tiny_record(experiment)
    of_objects = ("/fall", "panels/changed", "panels/strongest", "alike/")
    left = {
        name: array
        for name, array in measured.arrays.items()
        if not any(part in name for part in of_objects)
    }
    config = dataclasses.replace(experiment.PRESETS["tiny"], dataset="digits", seeds=5)
    found = verdicts(config, left)
    run = {name for name, verdict in found.items() if verdict != "not run"}
    assert run == {
        "self",
        "projection",
        "projection-own",
        "together",
        "apart",
        "shuffled-known",
        "shuffled-chance",
    }
    unmasked = dataclasses.replace(measured, arrays=left)
    figure = experiment.plot(unmasked, config)
    assert len(figure.axes) == 3
    plt.close(figure)


@pytest.mark.slow
def test_few_images_of_true_labels_teach_more_than_chance():
    """The control by heart, its labels left as they are: it knows some of the test images."""
    learners = experiment.LEARNERS
    true_labels = learners["shuffled"]._replace(shuffled_labels=False)
    config = dataclasses.replace(CONFIG, width=8, memorized_images=200, memorizing_steps=300)
    dealt, broken = (
        experiment.measure(config, silent, learners | {"shuffled": learner})[1]
        for learner in (learners["shuffled"], true_labels)
    )
    assert dealt["shuffled/error"].mean() > 0.87
    assert broken["shuffled/error"].mean() < dealt["shuffled/error"].mean() - 0.03


@pytest.mark.slow
def test_masks_of_other_images_tell_nothing():
    def of_another(masks):
        return np.roll(masks, len(masks) // 2, axis=0)[:, ::-1, ::-1]

    config = dataclasses.replace(CONFIG, steps=400, width=8, n_images=40)
    config = dataclasses.replace(config, window=7, small_window=5, stride=5)
    own, other = (
        experiment.measure(config, silent, masks=masks)[1] for masks in (lambda m: m, of_another)
    )
    name = "true/window/gray/fall"
    lead = [np.subtract(*arrays[name].T).mean() for arrays in (own, other)]
    assert lead[1] < lead[0] / 2
    assert verdicts(config, own)["self"] == "reproduced"
