"""The verdicts of camouflage follow the science: broken on purpose, they change."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from experiments.breaking import _patch_rates as rates
from experiments.breaking import _patch_scenes as scenes
from experiments.breaking import _patching as patching
from experiments.breaking import camouflage as experiment
from jaxvision.data import embedded
from jaxvision.data.dataset import Dataset
from jaxvision.data.warps import warp
from jaxvision.progress import silent
from jaxvision.report.record import Record
from jaxvision.types import UserError
from tests.experiments.breaking.verdicts import verdicts

CONFIG = dataclasses.replace(
    experiment.PRESETS["tiny"],
    seeds=5,
    first_seed=100,
    channels=4,
    steps=40,
    n_images=60,
    patch_steps=5,
)
judged = partial(verdicts, experiment)


@pytest.fixture
def masked(monkeypatch):
    """Digits whose ink is their mask, by the name of a set that has masks."""

    def splits():
        digits = embedded.digits()
        parts = (digits.train, digits.test)
        train, test = (
            Dataset(
                each.images,
                each.labels,
                each.images[..., 0] > 100,
            )
            for each in parts
        )
        return digits._replace(
            name="shapes",
            train=train,
            test=test,
        )

    monkeypatch.setitem(embedded.EMBEDDED, "shapes", splits)
    return dataclasses.replace(
        CONFIG,
        dataset="shapes",
        areas=(0.05, 0.1),
        area=0.1,
    )


def test_a_patch_made_at_one_place_leads_no_more_than_another_one(masked):
    """The mutation: no place is drawn anew. Masks hold whatever is pasted and worn."""
    still = {name: patching.Way(name, moves=False) for name in experiment.WAYS}
    numbers, arrays = experiment.measure(masked, silent, still)
    found = judged(masked, numbers, arrays)
    assert found["one-place"] != "reproduced"
    assert found["overlap"] == found["outside"] == "reproduced"
    assert 0 < arrays["room"][1].min() <= arrays["room"][0].min() == 1
    np.testing.assert_allclose(
        arrays["area"],
        [masked.areas] * 2,
        rtol=0.2,
    )


def test_a_patch_that_is_never_changed_is_gray_and_leads_nowhere():
    unchanged = dataclasses.replace(CONFIG, patch_rate=0.0)
    found = judged(unchanged, *experiment.measure(unchanged, silent))
    for name in ("beats-controls", "beats-object", "most", "costs", "one-place", "sibling", "own"):
        assert found[name] != "reproduced", name


@pytest.mark.slow
def test_a_patch_that_is_made_beats_its_controls():
    trained = dataclasses.replace(
        CONFIG,
        steps=200,
        areas=(0.1, 0.3),
        area=0.3,
    )
    made = dataclasses.replace(
        trained,
        patch_steps=150,
        patch_draws=4,
    )
    found = judged(made, *experiment.measure(made, silent))
    assert found["beats-controls"] == found["beats-object"] == "reproduced"


MASKED = dataclasses.replace(experiment.PRESETS["cpu"], seeds=5)
PLACES, AREAS, CLASSES = 2, 4, 10


def made_up(changes=(), worn=(), **whole):
    """Arrays of five seeds as the sources have them, rates by name."""
    led = {
        "own/led/patch": (0.2, 0.5, 0.8, 0.9),
        "own/led/sibling": (0.1, 0.3, 0.6, 0.7),
        "own/led/one_place": (0.1, 0.2, 0.3, 0.4),
        "own/led/object": (0.05, 0.1, 0.2, 0.3),
        "own/led/noise": (0.01, 0.02, 0.03, 0.04),
        "own/led/gray": (0.01, 0.01, 0.02, 0.03),
        "other/led/patch": (0.1, 0.2, 0.4, 0.5),
        "other/led/object": (0.05, 0.1, 0.2, 0.3),
        "other/led/noise": (0.01, 0.02, 0.03, 0.04),
        "other/led/gray": (0.01, 0.01, 0.02, 0.03),
        "own/kept/patch": (0.8, 0.5, 0.2, 0.1),
        "own/kept/object": (0.95, 0.9, 0.9, 0.8),
        "own/kept/noise": (0.97, 0.95, 0.92, 0.9),
        "own/kept/gray": (0.98, 0.97, 0.95, 0.9),
    } | dict(changes)
    spread = 1 + 0.01 * np.arange(-2, 3)
    arrays = {}
    for name, by_area in led.items():
        pictures = MASKED.draws if name.endswith(("object", "noise")) else 1
        shape = (5, PLACES, AREAS, CLASSES, pictures)
        found = spread[:, None, None, None, None] * np.reshape(by_area, (AREAS, 1, 1))
        arrays[name] = np.broadcast_to(found, shape)
    changed = {"pattern": 0.9, "sibling": 0.6, "shuffled": 0.2, "gray": 0.1, "noise": 0.2}
    for name, rate in (changed | dict(worn)).items():
        arrays[f"own/worn/{name}"] = arrays[f"other/worn/{name}"] = spread[:, None] * rate
    arrays |= {"overlap": np.float32(0), "outside": np.float32(0)} | whole
    return {"class_names": list("abcdefghij"), "has_masks": True}, arrays


def test_what_the_sources_have_is_reproduced():
    assert set(judged(MASKED, *made_up()).values()) == {"reproduced"}


def test_the_opposite_is_contradicted():
    weak = {
        "own/led/patch": (0.3, 0.2, 0.1, 0.05),
        "own/led/sibling": (0.3, 0.3, 0.15, 0.1),
        "other/led/patch": (0.01, 0.01, 0.01, 0.01),
        "own/led/one_place": (0.4, 0.4, 0.4, 0.4),
        "own/led/object": (0.5, 0.5, 0.5, 0.5),
        "own/kept/patch": (0.9, 0.9, 0.9, 0.9),
        "own/kept/gray": (0.5, 0.5, 0.5, 0.5),
    }
    worn = {"pattern": 0.1, "sibling": 0.05, "shuffled": 0.4}
    whole = {"overlap": np.float32(0.5), "outside": np.float32(0.1)}
    found = judged(MASKED, *made_up(weak, worn, **whole))
    found.pop("control")
    assert set(found.values()) == {"contradicted"}


@pytest.mark.parametrize("classes", [slice(None), slice(0, 5)])
def test_noise_that_leads_by_its_draw_contradicts_the_control(classes):
    """Also where each draw leads to classes of its own, and all of them as often."""
    numbers, arrays = made_up()
    noise = arrays["own/led/noise"].copy()
    noise[..., classes, :1] += 0.2
    noise[..., 5:, 1:] += 0.0 if classes == slice(None) else 0.2
    found = judged(
        MASKED,
        numbers,
        arrays | {"own/led/noise": noise},
    )
    assert found["control"] == "contradicted"


def test_the_figure_of_a_set_with_masks(monkeypatch):
    """The contract draws one without."""
    pictures = np.zeros((3, 5, 8, 8, 1), np.float32)
    answers = np.tile(np.arange(5, dtype=np.int8), (3, 1))
    some = {"pictures": pictures, "answers": answers, "wanted": np.array([3, 1, 2])}
    numbers, arrays = made_up(**some, patches=np.zeros((3, 4, 4, 1), np.float32))
    arrays["room"] = np.array([[1.0, 1.0, 1.0], [0.9, 0.8, 0.5]])
    fields = dataclasses.asdict(MASKED)
    record = Record(
        "camouflage",
        "cpu",
        "made up",
        "a test",
        fields,
        numbers,
        arrays,
        [],
        {},
    )
    figure = experiment.plot(record, MASKED)
    words = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert {"a", "b", "c", "d", "e"} <= words


def given_of(
    labels,
    room,
    classes=2,
):
    """Two classes, as far as rates ask for them."""
    fields = dict.fromkeys(patching.Given._fields)
    crops = np.zeros((classes, 1, 1, 1, 1))
    room = np.array(room)[None, None]
    return patching.Given(**fields | {"labels": np.array(labels), "room": room, "crops": crops})


def test_rates_leave_out_wrong_answers_the_class_itself_and_scenes_without_room():
    """Four scenes: one is answered wrong, one has no room, and of the rest one is of each class."""
    given = given_of([0, 1, 0, 1], [True, True, True, False])
    clean = np.array([[0, 1, 1, 1]])
    to_0, to_1, gray = [0, 0, 0, 0], [1, 0, 1, 1], [0, 1, 0, 1]
    patched = np.array([to_0, to_1, gray])[None, None, None]
    seen = patching.Seen(clean, patched, None)
    found = rates.of_patches(
        seen,
        given,
        {"patch": slice(0, 2), "gray": slice(2, 3)},
    )
    np.testing.assert_array_equal(found["led/patch"][0, 0, 0, :, 0], [1, 1])
    np.testing.assert_array_equal(found["kept/patch"][0, 0, 0, :, 0], [0, 0])
    np.testing.assert_array_equal(found["led/gray"][0, 0, 0, :, 0], [0, 0])
    np.testing.assert_array_equal(found["kept/gray"][0, 0, 0, :, 0], [1, 1])


def test_no_scene_with_room_is_no_rate():
    given = given_of([0, 1], [False, False])
    clean = np.array([[0, 1]])
    patched = np.array([[0, 1], [1, 1]])[None, None, None]
    found = rates.of_patches(patching.Seen(clean, patched, None), given, {"patch": slice(0, 2)})
    assert all(np.isnan(values).all() for values in found.values())
    off = {name: (np.nan,) * AREAS for name in made_up()[1] if "/kept/" in name or "/led/" in name}
    told = judged(MASKED, *made_up(off))
    assert told["off-object"] == told["led-away"] == "inconclusive"


def test_a_pattern_counts_right_answers_that_it_changes():
    given = given_of([0, 1, 0, 1], [True] * 4)
    worn = np.array([[[1, 1, 1, 0], [0, 1, 0, 0]]])
    seen = patching.Seen(np.array([[0, 1, 1, 1]]), None, worn)
    found = rates.of_patterns(
        seen,
        given,
        {"pattern": slice(0, 1), "gray": slice(1, 2)},
    )
    np.testing.assert_allclose(found["worn/pattern"], [[2 / 3]])
    np.testing.assert_allclose(found["worn/gray"], [[1 / 3]])


def test_each_net_gets_what_was_made_for_the_next_seed():
    np.testing.assert_array_equal(patching.of_next(np.arange(3)), [1, 2, 0])


def test_pictures_stand_where_their_rows_say():
    pictures = {"a": np.zeros((2, 3)), "b": np.ones((2, 1)), "c": np.full((2, 2), 2.0)}
    joined = np.concatenate(list(pictures.values()), axis=1)
    for name, some in patching.rows_of(pictures).items():
        np.testing.assert_array_equal(joined[:, some], pictures[name])


def test_a_crop_shows_the_whole_object():
    """A white square of 6 pixels, up and left of the middle, fills a crop but for its margin."""
    image = np.zeros((1, 16, 16, 1), np.float32)
    image[0, 3:9, 4:10] = 1
    pose = scenes._around(image[0, ..., 0] > 0, 12)
    crop = np.asarray(
        warp(
            image,
            pose,
            "edge",
            (12, 12),
        )
    )[0, ..., 0]
    np.testing.assert_allclose(
        crop.mean(),
        1 / scenes.MARGIN**2,
        rtol=0.03,
    )
    np.testing.assert_allclose(crop, crop[::-1, ::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"area": 0.15}, "--area=0.15 must be one of --areas"),
        ({"areas": (0.2, 0.1)}, "--areas must rise"),
        ({"n_made": 10}, "fewer than its --draws=2"),
    ],
)
def test_impossible_flags_are_refused_before_a_net_is_trained(change, message, monkeypatch):
    monkeypatch.delattr(experiment._nets, "trained")
    with pytest.raises(UserError, match=message):
        experiment.measure(dataclasses.replace(CONFIG, **change), silent)
