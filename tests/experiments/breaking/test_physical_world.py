"""The verdicts of physical_world follow the science: broken on purpose, they change."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.breaking import _destruction as destruction
from experiments.breaking import _photographing as photographing
from experiments.breaking import physical_world as experiment
from jaxvision.adversarial.gradient import fgsm
from jaxvision.adversarial.jpeg import jpeg
from jaxvision.adversarial.threat import eight_bits
from jaxvision.progress import silent
from jaxvision.types import UserError
from tests.experiments.breaking.verdicts import verdicts

CONFIG = dataclasses.replace(experiment.PRESETS["tiny"], seeds=6)
judged = partial(verdicts, experiment)
KINDS = ("average", "prefiltered", "paired", "kept")
FILED = jax.jit(jpeg)
WAYS = ("photo", *experiment.WAYS)


def by_net(value):
    """Six numbers close to ``value``."""
    return value * (1 + 0.01 * np.linspace(-1, 1, 6))


def made_up(**changes):
    """Arrays of six nets as the paper has them; rates in the order fast, basic, least likely."""
    photo = {
        "average": (0.15, 0.4, 0.7),
        "paired": (0.2, 0.4, 0.7),
        "prefiltered": (0.05, 0.6, 0.9),
        "kept": (0.2, 0.4, 0.7),
    } | changes
    artificial = changes.get("artificial", (0.2, 0.4, 0.7))
    light = changes.get("light", (0.02, 0.03, 0.15))
    arrays = {"at_rest": np.full(6, changes.get("at_rest", 0))}
    for counted in KINDS:
        rates = dict.fromkeys(WAYS, artificial)
        rates |= {"photo": photo[counted], "brightness": light, "contrast": light}
        for way, values in rates.items():
            each = np.stack([by_net(value) for value in values], 1)
            arrays[f"rate/{counted}/{way}"] = each[:, :, None, None]
    success = changes.get("success", (0.6, 0.8, 0.4, 0.01))
    arrays["success"] = np.stack([by_net(value) for value in success], 1)[:, :, None]
    read = changes.get("read", (0.4, 0.5, 0.6, 0.8))
    arrays["read/photo"] = np.stack([by_net(value) for value in read], 1)[:, :, None, None]
    arrays["retained/photo"] = by_net(changes.get("retained", 0.95))[:, None]
    arrays["equal"] = by_net(changes.get("equal", 0.1))[:, None]
    return {}, arrays


def test_what_the_paper_has_is_reproduced():
    found = judged(CONFIG, *made_up())
    assert found.pop("published") == "not run"
    assert set(found.values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("changes", "contradicted"),
    [
        ({"at_rest": 1}, {"at-rest"}),
        ({"retained": 0.8}, {"readable"}),
        ({"read": (0.8, 0.8, 0.8, 0.8)}, {"fool"}),
        (
            {"average": (0.8, 0.6, 0.3)},
            {"survive-fast", "survive-basic", "most-least", "fast-photo"},
        ),
        ({"paired": (0.7, 0.5, 0.3)}, {"least-photo", "fast-paired"}),
        ({"kept": (0.7, 0.5, 0.3)}, {"least-kept"}),
        ({"equal": -0.1}, {"fast-equal"}),
        (
            {"prefiltered": (0.3, 0.2, 0.3)},
            {"prefiltered-fast", "prefiltered-basic", "prefiltered-least"},
        ),
        (
            {"artificial": (0.7, 0.5, 0.3)},
            {"least-blur", "least-noise", "least-jpeg", "fast-blur", "fast-noise", "fast-jpeg"},
        ),
        ({"light": (0.5, 0.5, 0.8)}, {"brightness", "small", "small-least"}),
        ({"success": (0.8, 0.6, 0.7, 0.0)}, {"success-fast", "success-least"}),
    ],
)
def test_the_opposite_is_contradicted(changes, contradicted):
    found = judged(CONFIG, *made_up(**changes))
    assert contradicted == {name for name, verdict in found.items() if verdict == "contradicted"}


def unmoved(f, images, labels, eps):
    """An attack that returns what it was given."""
    del f, labels
    return SimpleNamespace(images=jnp.broadcast_to(images, (len(eps), *images.shape)))


def untouched(images, strength, noise):
    """A transformation that does nothing."""
    del strength, noise
    return images


@pytest.fixture(scope="module")
def broken():
    """Return what is measured where nothing is transformed and one of three attacks does nothing.

    Both others are the same, which costs less than two.
    """
    finders = {"fast": fgsm, "basic": fgsm, "least": unmoved}
    attacks = {
        name: dataclasses.replace(attack, find=finders[name])
        for name, attack in experiment.ATTACKS.items()
    }
    ways = {
        name: dataclasses.replace(way, apply=untouched) for name, way in experiment.WAYS.items()
    }
    config = dataclasses.replace(
        CONFIG, seeds=5, first_seed=100, dense=24, steps=200, levels=(40,), n_images=40
    )
    return config, experiment.measure(config, silent, ways, attacks)


def test_without_a_transformation_nothing_is_destroyed(broken):
    """To the bit: equation 1 of the paper is 0 for the identity, and so are all its claims."""
    config, (numbers, arrays) = broken
    assert arrays["success"][:, 0].min() > 0.2
    assert arrays["at_rest"].max() == 0
    for way in experiment.WAYS:
        np.testing.assert_array_equal(arrays[f"rate/average/{way}"][:, :2], 0)
    assert np.nanmax(arrays["rate/average/photo"]) > 0
    found = judged(config, numbers, arrays)
    assert found["at-rest"] == "reproduced"
    claims = ("least-blur", "least-noise", "least-jpeg", "fast-blur", "fast-noise", "fast-jpeg")
    for name in (*claims, "brightness", "success-fast"):
        assert found[name] != "reproduced", name


def test_where_nobody_is_fooled_the_rate_is_no_number_and_its_count_0(broken):
    config, (numbers, arrays) = broken
    np.testing.assert_array_equal(arrays["count/average"][:, 2], 0)
    assert np.isnan(arrays["rate/average/photo"][:, 2]).all()
    assert (
        "least likely, 40 levels, average: no image counts on 5 of 5 nets" in (numbers["undefined"])
    )
    assert len(numbers["undefined"]) > 1
    assert len(destruction.in_a_line(numbers["undefined"])) < 150
    found = judged(config, numbers, arrays)
    assert found["most-least"] == found["least-photo"] == "inconclusive"


def test_the_record_tells_what_the_photographs_drew(broken):
    drawn = broken[1][0]["drawn"]
    low, high = drawn["quality"]
    assert 75 <= low < high <= 95
    assert -0.03 <= drawn["corners"][0] < drawn["corners"][1] <= 0.03


def test_rates_of_a_net_by_hand():
    """Eight images; two attacks and noise of one size; a photograph and one other way."""
    before = np.array([[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0, 0, 1]], bool)
    second = np.array([0, 0, 1, 1, 0, 1, 0, 0], bool)
    before = np.stack([before[0], before[1], second, before[0]])[None]
    confidence = np.full((1, 4, 8), 0.9)
    confidence[0, 1, 0] = 0.7
    confidence[0, 0, 1] = 0.7
    right = np.repeat(before[:, :, None], 4, 2)  # at rest, printed, photographed, another way
    right[0, 1, 2] = [1, 0, 1, 1, 1, 0, 0, 0]
    right[0, 2, 2] = [1, 1, 1, 1, 1, 1, 1, 1]
    right[0, 0, 2, 0] = False
    found = photographing.Answers(before, confidence, right, None, None)
    ways = {"other": dataclasses.replace(experiment.WAYS["blur"], strengths=(1.0,))}
    arrays = destruction.rates(found, ways, sizes=1, photos=1)
    np.testing.assert_allclose(arrays["error"], 0.25)
    np.testing.assert_allclose(arrays["success"][0, :, 0], [4 / 6, 3 / 6, 0])
    photographed = {kind: arrays[f"rate/{kind}/photo"][0, :, 0, 0] for kind in KINDS}
    np.testing.assert_allclose(photographed["average"], [2 / 4, 3 / 3])  # 0 1 2 5; 0 1 4
    np.testing.assert_allclose(photographed["prefiltered"], [1 / 2, 2 / 2])  # 2 5; 0 4
    np.testing.assert_allclose(photographed["paired"], [1 / 2, 2 / 2])  # 0 1
    np.testing.assert_allclose(photographed["kept"], [0 / 1, 1 / 1])  # 1
    np.testing.assert_array_equal(arrays["rate/average/other"], 0)
    np.testing.assert_array_equal(arrays["at_rest"], 0)
    np.testing.assert_allclose(arrays["retained/photo"], 5 / 6)
    np.testing.assert_allclose(arrays["read/photo"][0, :, 0, 0], [4 / 8, 1, 6 / 8])
    # At .9: second attack 3 of 3, first 1 of 3 (1 2 5); at .7 the first alone.
    np.testing.assert_allclose(arrays["equal"], 2 / 3)


def test_equal_confidence_compares_like_with_like():
    """The one is destroyed where it is unsure, the other likewise, and has more unsure images."""
    one = np.array([1, 1, 1, 1, 0], bool)
    one_sure = np.array([0.6, 0.6, 0.6, 0.6, 0.9])
    other = np.array([1, 0, 0, 0, 0], bool)
    other_sure = np.array([0.6, 0.9, 0.9, 0.9, 0.9])
    assert destruction.equal_confidence(one, other, one_sure, other_sure) == 0
    nothing = np.zeros(0, bool)
    assert np.isnan(destruction.equal_confidence(one, nothing, one_sure, np.zeros(0)))


def test_ways_stand_where_their_rows_say():
    ways = experiment.WAYS
    rows = destruction.rows_of(ways, 2)

    @jax.jit
    def shown(images):
        filed = eight_bits(images, images)
        chance = photographing._drawn(3, images.shape, 2)
        seen = photographing._seen(filed, chance, list(ways.values()))
        return filed, chance.noise, seen

    rng = np.random.default_rng(0)
    images, noise, seen = shown(rng.uniform(size=(2, 8, 8, 1)).astype(np.float32))
    np.testing.assert_array_equal(seen[0], images)
    strengths = ways["jpeg"].strengths
    for place, strength in zip(range(*rows["jpeg"].indices(99)), strengths, strict=True):
        expected = FILED(images, np.int32(100 - strength))
        np.testing.assert_allclose(seen[place], expected, atol=1e-6)
    noisy = np.clip(images + 0.08 * np.asarray(noise), 0, 1)
    np.testing.assert_allclose(seen[rows["noise"]][-1], noisy, atol=1e-6)
    brighter = np.clip(images + 0.05, 0, 1)
    np.testing.assert_allclose(seen[rows["brightness"]][0], brighter, atol=1e-6)
    assert rows["jpeg"].stop == len(seen)
    first, second = seen[rows["photo"]]
    assert np.abs(first - second).max() > 0.01


def test_images_are_shown_that_all_attacks_fool():
    before = np.ones((7, 4), bool)  # clean, three attacks of one size... of two, and noise
    before[[1, 3], 2:] = False
    before[1, 0] = False
    before[0, 2] = False
    shown = jax.jit(photographing._fooled_by_all, static_argnums=1)(before, 2)
    assert shown[0] == 3


@pytest.mark.parametrize("levels", [(2, 4), (4, 4)])
def test_levels_in_another_order_are_one_line(levels):
    config = dataclasses.replace(CONFIG, levels=levels)
    with pytest.raises(UserError, match=r"^--levels=\(\d, \d\): from the largest to the smallest"):
        experiment.measure(config, silent)
