"""The verdicts of gan_dynamics follow the science: broken, the right ones change."""

import dataclasses

import numpy as np
import pytest

from experiments.generating import _dirac as dirac
from experiments.generating import _dynamics as dynamics
from experiments.generating import gan_dynamics
from experiments.generating._small_gan import turning
from jaxvision.progress import progress
from jaxvision.report.claims import judge
from jaxvision.report.record import Record

CONFIG = gan_dynamics.Config(
    seeds=5,
    first_seed=0,
    seconds=100,
    width=2,
    hidden_layers=1,
    points=8,
    looks=1,
    steps_between=1,
)
RULES = {name: row.rules for name, row in gan_dynamics.GAMES.items()}
READ_AS_A_RULE = "imaginary-stays"
MISPRINT = "r1-critical-misprint"


@pytest.fixture(scope="module")
def record():
    numbers, arrays = gan_dynamics.measure(CONFIG, progress)
    fields = dataclasses.asdict(CONFIG)
    return Record("gan_dynamics", "tiny", "x", "", fields, numbers, arrays, [], {})


@pytest.fixture
def verdicts(record):
    """Verdicts with some arrays replaced."""

    def judged(replaced=None):
        arrays = {name: np.asarray(array) for name, array in (replaced or {}).items()}
        changed = dataclasses.replace(record, arrays=record.arrays | arrays)
        return {found.id: found.verdict for found in judge(gan_dynamics.claims(CONFIG), changed)}

    return judged


def renamed(record, one, other):
    """Arrays of two names taken for one another."""
    swapped = {}
    for name, array in record.arrays.items():
        if f"/{one}" in name:
            swapped[name.replace(f"/{one}", f"/{other}")] = array
        elif f"/{other}" in name:
            swapped[name.replace(f"/{other}", f"/{one}")] = array
    return {name: array for name, array in swapped.items() if name in record.arrays}


def test_every_closed_form_holds_but_the_two_that_are_wrong(verdicts):
    found = {id: verdict for id, verdict in verdicts().items() if not id.startswith("nets")}
    assert found.pop(READ_AS_A_RULE) == found.pop(MISPRINT) == "contradicted"
    assert set(found.values()) == {"reproduced"}


def test_a_saturating_loss_in_place_of_the_other(verdicts):
    games = RULES | {"non_saturating": RULES["saturating"]}
    starts = dynamics.starts_of(0, 5)
    found = verdicts(dynamics.flowing(games, starts, 100, 1.0))
    assert found["falls-in"] == "contradicted"
    assert found[READ_AS_A_RULE] == "reproduced"


def test_r1_without_the_half(verdicts):
    """As in its authors' code: all that was said of gamma happens at half of it."""
    found = verdicts(dynamics.eigenvalues_of(RULES, slope_of_r1=2.0))
    assert found["r1-critical"] == found["eigenvalues"] == "contradicted"
    assert found["noise-critical"] == "reproduced"


def test_both_at_once_in_place_of_by_turns(record, verdicts):
    found = verdicts(renamed(record, "simultaneous", "alternating"))
    for id in ("edge", "momentum", "negative-momentum"):
        assert found[id] == "contradicted"


def test_a_step_of_another_order_grows_otherwise(verdicts):
    starts = dynamics.starts_of(0, 5)
    by_turns = gan_dynamics.ORDERS["alternating"]
    found = verdicts(dynamics.growing(RULES["saturating"], by_turns, starts))
    assert found["grows"] == "contradicted"


@pytest.mark.parametrize(
    ("id", "name", "broken"),
    [
        ("circle", "flow/saturating/departure", 0.5),
        ("circle-wasserstein", "flow/wasserstein/departure", 0.5),
        ("end-circle", "steps/circle", 2.0),
        ("r1-rates", "flow/r1/decay", 1.0),
        ("falls-in-by-turns", "steps/non_saturating/slope", 0.25),
        ("stays-clipped", "steps/clipped/swing", 0.0),
        ("stays-penalty", "steps/penalty/swing", 0.0),
        ("nets-turn", "small/turning", 0.0),
        ("nets-saddle", "small/lowest", 0.5),
    ],
)
def test_other_numbers_contradict(record, verdicts, id, name, broken):
    array = record.arrays[name]
    spread = 1e-6 * np.linspace(-1, 1, len(array)).reshape(-1, *[1] * (array.ndim - 1))
    assert verdicts({name: np.full_like(array, broken) + spread})[id] == "contradicted"


def test_momentum_of_another_table(record, verdicts):
    shifted = {
        f"radius/{order}/momentum": record.arrays[f"radius/{order}/momentum"][::-1]
        for order in gan_dynamics.ORDERS
    }
    assert verdicts(shifted)["adam-order"] == "contradicted"


def test_r1_that_makes_the_game_turn_more(verdicts):
    seeds = 0.01 * np.arange(5)[:, None, None]
    share = np.array([[0.2], [0.6]]) + seeds * np.array([[1.0], [2.0]])
    assert verdicts({"small/turning": share})["nets-calmer"] == "contradicted"
    assert verdicts({"small/turning": share[:, ::-1]})["nets-calmer"] == "reproduced"


def test_closed_forms_are_those_of_the_table():
    np.testing.assert_allclose(-dirac.damped(2.0).real.max(), 0.1340, atol=1e-4)
    np.testing.assert_allclose(-dirac.damped(1.0).real, 0.5)
    assert dirac.damped(0.3).imag.any()
    sigma = np.sqrt(2)
    np.testing.assert_allclose(dirac.damped(sigma**2 / 2).imag, 0, atol=1e-7)
    betas = dynamics.BETAS
    by_turns = [dirac.radius_by_turns(0.2, beta) for beta in betas]
    at_once = [dirac.radius_at_once(0.2, beta) for beta in betas]
    np.testing.assert_allclose(by_turns, [0.9985, 0.9987, 1, 1.032, 1.192], atol=5e-4)
    np.testing.assert_allclose(at_once, [1.0007, 1.002, 1.005, 1.046, 1.198], atol=5e-4)
    gammas = np.arange(0, 3, 0.001)
    printed = gammas[np.argmax(-dirac.misprinted(gammas).real.max(-1))]
    np.testing.assert_allclose(printed, np.sqrt(2), atol=2e-3)


def test_what_turns_of_a_spectrum():
    np.testing.assert_allclose(turning(np.array([3 + 4j, 3 - 4j, 0, -6])), 8 / 16)


@pytest.mark.slow
def test_the_mutations_are_arguments_of_the_experiment(verdicts):
    _, arrays = gan_dynamics.measure(CONFIG, progress, slope_of_r1=2.0)
    assert verdicts(arrays)["r1-rates"] == "contradicted"
