"""The verdicts of occlusion follow the science: broken on purpose, they change."""

import dataclasses

import jax
import jax.numpy as jnp
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

CONFIG = dataclasses.replace(experiment.PRESETS["tiny"], seeds=5, first_seed=100)
PLACES = occluding.windows(12, 12, 4, 2)


def verdicts(config, arrays):
    """Return each claim's verdict on a record of these arrays."""
    fields = dataclasses.asdict(config)
    record = Record("occlusion", "cpu", "made", "a test", fields, {}, arrays, [], {})
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
        "panels/changed": costly,
        "panels/strongest": costly,
    }
    arrays = {name: np.array(pair) for name, pair in pairs.items()}
    arrays["true/window/self/largest"] = np.array(0.0)
    alone = {"projection": 0.5, "another": 0.2, "alike": 0.3, "apart": 0.5}
    arrays |= {f"panels/{name}": np.array(value) for name, value in alone.items()}
    for layer in correspondence.LAYERS:
        for moved in ("", "_moved"):
            arrays[f"alike/{layer}/part{moved}"] = np.full(3, 0.1)
            random = 0.2 if layer != "logits" else 0.1
            arrays[f"alike/{layer}/random{moved}"] = np.array(random)
    if upside_down:
        arrays = {name: 0.2 - array for name, array in arrays.items()}
        arrays["shuffled/window/gray/fall"] = np.array([0.2, 0.1])
        arrays["panels/projection"] = np.array(-0.5)
        arrays["alike/logits/random"] = np.array(0.5)
    spread = 1 + 0.02 * np.arange(-2, 3)
    return {name: array * spread.reshape(5, *[1] * array.ndim) for name, array in arrays.items()}


def test_what_the_source_has_is_reproduced():
    found = verdicts(experiment.Config(), made_up())
    assert {name for name, verdict in found.items() if verdict != "reproduced"} == set()


def test_the_opposite_is_not():
    found = verdicts(experiment.Config(), made_up(upside_down=True))
    assert {name for name, verdict in found.items() if verdict == "reproduced"} == set()


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
