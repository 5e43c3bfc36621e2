"""The verdicts of minimal_perturbation follow the science: broken, the right ones change."""

import dataclasses

import numpy as np
import pytest

from experiments.breaking import _smallest as smallest
from experiments.breaking import _smallest_panels as panels
from experiments.breaking import minimal_perturbation
from jaxvision.adversarial.aims import Aim
from jaxvision.adversarial.min_norm import min_norm
from jaxvision.adversarial.results import judged
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record

KINDS = tuple(minimal_perturbation.KINDS)
WHOLE = minimal_perturbation.Config(noise_sets=("shapes",), seeds=6)
SMALL = minimal_perturbation.Config(
    noise_sets=(),
    kinds=("fc10_weak",),
    seeds=5,
    first_seed=0,
    steps=60,
    images=20,
    bisections=5,
    attack_steps=30,
    draws=3,
)


def around(value):
    """Six numbers whose mean is ``value``."""
    return value * (1 + 0.02 * np.linspace(-1, 1, 6))


def curve(half, spread=0.05):
    """Shares flipped [6, M] that cross one half at a multiple ``half``."""
    offsets = spread * np.linspace(-1, 1, 6)[:, None]
    return 1 / (1 + 2 ** (2 * (np.log2(half) + offsets - np.log2(smallest.MULTIPLES))))


def made_record(**changed):
    """A record in which everything is as the sources have it, but for what is changed."""
    sizes = dict(zip(KINDS, (0.06, 0.1, 0.14, 0.058, 0.065, 0.086), strict=True))
    errors = dict(zip(KINDS, (0.07, 0.09, 0.2, 0.016, 0.015, 0.019), strict=True))
    arrays = {}
    for name in KINDS:
        arrays[f"{name}/distortion"] = around(sizes[name])
        arrays[f"{name}/test_error"] = around(errors[name])
        arrays[f"{name}/success"] = np.ones(6)
        arrays[f"{name}/noise_flips"] = around(0.01)
    arrays["transfer/adversarial"] = np.full((6, 6, 1), 0.3) * around(1.0)
    arrays["transfer/noise"] = np.full((6, 6, 1), 0.02) * around(1.0)
    arrays["objectives"] = around(0.01)
    rates = {"same": 0.26, "same/longer": 0.98, "same/noise": 0.03}
    rates |= {"other": 0.06, "other/longer": 0.43, "other/noise": 0.026}
    arrays |= {f"halves/{name}": around(rate) for name, rate in rates.items()}
    arrays |= {"noise/digits": curve(8.0), "noise/shapes": curve(8.0 * 48**0.5)}
    numbers = {"pixels": {"digits": 64, "shapes": 3072}, "target": "8"}
    return Record(
        "x",
        "cpu",
        "x",
        "",
        {},
        numbers,
        arrays | changed,
        [],
        {},
    )


def verdicts(record, config=WHOLE):
    found = judge(minimal_perturbation.claims(config), record)
    return {each.id: each.verdict for each in found if each.verdict != "not run"}


def test_what_the_sources_found_is_reproduced():
    assert set(verdicts(made_record()).values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("changed", "fallen"),
    [
        ({"fc10_strong/success": np.full(6, 0.9)}, "success"),
        ({"fc200/noise_flips": around(0.2)}, "noise"),
        ({"transfer/adversarial": np.full((6, 6, 1), 0.01) * around(1.0)}, "transfer"),
        ({"objectives": around(0.5)}, "objectives"),
        ({"fc10_strong/distortion": around(0.05)}, "decay-more"),
        ({"fc10_weak/distortion": around(0.2)}, "decay-some"),
        ({"fc200/distortion": around(0.03)}, "width"),
        ({"autoencoder/distortion": around(0.03)}, "autoencoder"),
        ({"fc10_strong/test_error": around(0.01)}, "robust-is-bad"),
        ({"halves/other": around(0.5)}, "same-half"),
        ({"halves/same/longer": around(0.1)}, "same-half-longer"),
        ({"halves/other/noise": around(0.9)}, "other-half"),
        ({"noise/shapes": curve(8.0)}, "root-law"),
    ],
)
def test_each_rule_fails_where_its_number_turns(changed, fallen):
    found = verdicts(made_record(**changed))
    assert found[fallen] == "contradicted"
    kept = {verdict for name, verdict in found.items() if name != fallen}
    assert "contradicted" not in kept


def test_the_paper_s_numbers_are_judged_on_mnist_alone():
    mnist = dataclasses.replace(WHOLE, dataset="mnist")
    record = made_record()
    record.numbers["pixels"]["mnist"] = 784
    record.arrays["noise/mnist"] = curve(28.0)
    found = verdicts(record, mnist)
    assert {name for name in found if name.startswith("paper-")} == {f"paper-{k}" for k in KINDS}


def do_nothing(f, images, labels, *, targets=None, **_):
    return judged(f, images, Aim(labels, targets), images, 0, 0, 0)


@pytest.fixture(scope="module")
def measured():
    """Return ``found(attack)``: the verdicts of a small run with that attack."""

    def found(attack):
        numbers, arrays = minimal_perturbation.measure(SMALL, silent, attack)
        record = Record("x", "tiny", "x", "", {}, numbers, arrays, [], {})
        return verdicts(record, SMALL), arrays

    return found


def test_an_attack_that_does_nothing_is_found_out(measured):
    """Its distances would be 0, and no image would count."""
    found, arrays = measured(do_nothing)
    assert found["success"] == "contradicted"
    assert found["noise"] != "reproduced"
    assert np.isnan(arrays["fc10_weak/distortion"]).all()


def test_the_attack_beats_noise_on_softmax_regression(measured):
    found, arrays = measured(min_norm)
    assert arrays["fc10_weak/success"].min() == 1
    assert found["success"] == "reproduced"
    assert (arrays["fc10_weak/slide"] < arrays["fc10_weak/distortion"]).all()


def test_where_a_curve_crosses_one_half():
    np.testing.assert_allclose(
        smallest.half_flipped(curve(10.0, spread=0.0)),
        10.0,
        rtol=0.02,
    )
    assert np.isnan(smallest.half_flipped(np.zeros((1, len(smallest.MULTIPLES))))).all()
    slope = panels.noise_slope(made_record(), ["digits", "shapes"])
    np.testing.assert_allclose(slope, 0.5, atol=0.01)


def test_means_are_over_images_that_count():
    values = np.float32([[1.0, 5.0, 3.0], [2.0, 2.0, np.nan]])
    counted = np.array([[True, False, True], [False, False, False]])
    found = smallest.mean_over(values, counted)
    assert found[0] == 2.0
    assert np.isnan(found[1])
