"""The verdicts of optimizers_and_rates follow the science: broken on purpose, they change."""

import dataclasses

import numpy as np
import pytest

from experiments.normalization import optimizers_and_rates as experiment
from experiments.normalization._rates import batch_grid, grid_of, sizes_of, warmed
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.training.optimizers import momentum_sgd
from jaxvision.types import UserError

SMALL = dataclasses.replace(
    experiment.PRESETS["tiny"],
    seeds=5,
    depth=3,
    width=32,
    steps=30,
    batch_size=16,
    learning_rates_sgd=(0.05,),
    learning_rates_momentum=(0.01,),
    learning_rates_adam=(0.001,),
    learning_rates_muon=(0.02,),
    batch_sizes=(8, 32),
    learning_rates_batch=(0.005, 0.01),
    n_images=2400,
)


def test_sentences_tell_the_rate_that_was_run():
    config = dataclasses.replace(SMALL, batch_sizes=(32, 48, 80))
    told = " ".join(claim.sentence for claim in experiment.claims(config))
    assert "batch 48 at 1.5 times the best rate of batch 32" in told
    assert "batch 80 at 2.5 times the best rate of batch 32" in told


def verdicts(numbers, arrays, config) -> dict[str, str]:
    fields = dataclasses.asdict(config)
    record = Record("optimizers_and_rates", "cpu", "x", "c", fields, numbers, arrays, [], {})
    judged = judge(experiment.claims(config), as_stored(record))
    return {claim.id: claim.verdict for claim in judged}


def measured(**changed) -> dict[str, str]:
    found = experiment.measure(SMALL, silent, experiment.ARMS | changed)
    return verdicts(*found, SMALL)


def test_muon_is_ahead_and_four_times_the_batch_takes_four_times_the_rate():
    found = measured()
    assert found["muon-momentum"] == "reproduced"
    assert found["limit-32"] == "contradicted"


def squared(weight_decay, hyper):
    """Momentum whose rate acts squared: four times as much is sixteen times as much."""
    rate = hyper["learning_rate"]
    return momentum_sgd(weight_decay, hyper | {"learning_rate": 100 * rate**2})


def still(weight_decay, hyper):
    return momentum_sgd(weight_decay, hyper | {"learning_rate": 0 * hyper["learning_rate"]})


def test_a_rate_that_acts_squared_and_a_muon_that_stands_still():
    arms = experiment.ARMS
    muons = {name: arm._replace(optimizer=still) for name, arm in arms.items() if "muon" in name}
    batched = arms[experiment.BATCHED]._replace(optimizer=squared)
    found = measured(**muons, **{experiment.BATCHED: batched})
    assert found["muon-adam"] == found["muon-momentum"] == found["muon-error"] == "contradicted"
    assert found["limit-32"] == "reproduced"


# Errors made up from what the claims say, arm by arm: (center, decades, error at best, loss).
CONFIG = experiment.PRESETS["cpu"]
TOLD = {
    "sgd_xavier": (-0.9, 0.6, 0.05, 0.2),
    "sgd_he": (-1.2, 1.2, 0.05, 0.2),
    "sgd_warm": (-1.1, 1.4, 0.05, 0.2),
    "momentum_xavier": (-1.9, 1.0, 0.05, 0.2),
    "momentum_he": (-2.2, 1.2, 0.05, 0.2),
    "momentum_warm": (-2.1, 1.4, 0.05, 0.2),
    "momentum_again": (-2.2, 1.2, 0.05, 0.2),
    "adam_xavier": (-2.6, 1.7, 0.05, 0.2),
    "adam_he": (-2.6, 1.7, 0.05, 0.2),
    "adam_warm": (-2.5, 1.9, 0.05, 0.2),
    "muon_xavier": (-2.0, 1.0, 0.04, 0.1),
    "muon_he": (-2.0, 1.0, 0.04, 0.1),
}
SCALED = {8: 0.03, 32: 0.03, 128: 0.03, 512: 0.3}  # error at the rate scaled up, by batch size
OWN = {8: 0.03, 32: 0.03, 128: 0.03, 512: 0.1}  # at its own best rate
WARM = {8: 0.03, 32: 0.03, 128: 0.02, 512: 0.2}
OWN_COLUMN = 1  # of that rate; those of the smallest batch's best rate and the quickest are 2
LATE = {8: 400, 32: 100, 128: 40, 512: 30}  # steps
EARLY = {8: 100, 32: 40, 128: 20, 512: 15}


def made_up(told=None, scaled=None, own=None, warm=None, late=None, early=None) -> dict[str, str]:
    """Return the verdicts on a record that says this where it does not say what the claims do."""
    rng = np.random.default_rng(0)
    seeds, columns = CONFIG.seeds, len(CONFIG.learning_rates_batch)

    def spread(value, shape=(seeds, 1)):
        return value * (1 + 0.01 * rng.normal(size=shape))

    numbers = {"best": {}, "batches": {}, "chance_error": 0.9}
    arrays = {}
    for name, (center, decades, error, loss) in (TOLD | (told or {})).items():
        log_rates = np.log10(grid_of(CONFIG, experiment.ARMS[name]))
        slope = CONFIG.usable_margin / (decades / 2)
        arrays[f"{name}/error"] = spread(error) + slope * np.abs(log_rates - spread(center))
        arrays[f"{name}/loss"] = np.broadcast_to(spread(loss), arrays[f"{name}/error"].shape)
        numbers["best"][name] = int(np.abs(log_rates - center).argmin())
    for size in sizes_of(CONFIG):
        given = {"error": SCALED | (scaled or {}), "steps_late": LATE | (late or {})}
        given["steps_early"] = EARLY | (early or {})
        for quantity, values in given.items():
            arrays[f"batch_{size}/{quantity}"] = np.tile(spread(values[size]), (1, columns))
        at_own = spread((OWN | (own or {}))[size], (seeds,))
        if size != 8:
            arrays[f"batch_{size}/error"][:, OWN_COLUMN] = at_own
        arrays[f"batch_{size}/warm_error"] = spread((WARM | (warm or {}))[size], (seeds,))
        chosen = ("best", "quickest_early", "quickest_late")
        numbers["batches"][str(size)] = dict.fromkeys(chosen, 2)
        if size != 8:
            numbers["batches"][str(size)]["best"] = OWN_COLUMN
    return verdicts(numbers, arrays, CONFIG)


def test_what_the_sources_say_is_reproduced():
    assert set(made_up().values()) == {"reproduced"}


BROKEN = {
    "adam-wider": {
        "told": {"adam_he": (-2.5, 0.4, 0.05, 0.2), "adam_xavier": (-2.5, 0.4, 0.05, 0.2)}
    },
    "start-moves-sgd": {"told": {"sgd_xavier": (-1.5, 1.2, 0.05, 0.2)}},
    "adam-steadier": {"told": {"adam_xavier": (-1.7, 1.7, 0.05, 0.2)}},
    "start-level": {"told": {f"{x}_xavier": (-1.9, 1.0, 0.2, 0.2) for x in ("sgd", "momentum")}},
    "momentum-tenfold": {"told": {"momentum_he": (-1.2, 1.2, 0.05, 0.2)}},
    "muon-adam": {"told": {"muon_he": (-2.0, 1.0, 0.04, 0.8)}},
    "muon-momentum": {"told": {"muon_he": (-2.0, 1.0, 0.04, 0.8)}},
    "muon-error": {"told": {"muon_he": (-2.0, 1.0, 0.09, 0.1)}},
    "warm-up-sgd_warm": {"told": {"sgd_warm": (-1.4, 1.2, 0.05, 0.2)}},
    "warm-up-momentum_warm": {"told": {"momentum_warm": (-2.4, 1.2, 0.05, 0.2)}},
    "warm-up-adam_warm": {"told": {"adam_warm": (-2.9, 1.7, 0.05, 0.2)}},
    "control": {"told": {"momentum_again": (-2.2, 0.4, 0.05, 0.2)}},
    "linear-32": {"scaled": {32: 0.1}},
    "linear-128": {"scaled": {128: 0.1}},
    "limit-512": {"scaled": {512: 0.03}},
    "warm-up-128": {"warm": {128: 0.05}},
    "warm-up-512": {"warm": {512: 0.4}},
    "perfect-scaling": {"late": {32: 250}},
    "diminishing": {"late": {512: 10}},
    "noise-grows": {"early": {8: 200}},
}


@pytest.mark.parametrize("claim", BROKEN)
def test_a_record_that_says_otherwise_contradicts(claim):
    assert made_up(**BROKEN[claim])[claim] == "contradicted"


def test_every_claim_has_been_broken():
    assert set(BROKEN) == {claim.id for claim in experiment.claims(CONFIG)}


def test_nets_that_are_equally_dead_are_not_equal():
    dead = {size: 0.9 for size in SCALED}
    found = made_up(scaled=dead)
    assert found["linear-32"] == found["linear-128"] == "inconclusive"
    dead = {name: (*told[:2], 0.88, told[3]) for name, told in TOLD.items()}
    assert made_up(told=dead)["start-level"] == "inconclusive"


def test_a_run_that_diverges_at_the_rate_scaled_up_has_failed():
    assert made_up(scaled={512: np.nan})["limit-512"] == "reproduced"


def test_too_few_steps_are_no_failure_of_linear_scaling():
    """Batch 512 errs as much at its own best rate, or learns nothing at any."""
    assert made_up(own={512: 0.29})["limit-512"] == "contradicted"
    assert made_up(own={512: 0.85}, scaled={512: 0.9})["limit-512"] == "inconclusive"


def test_the_title_names_the_batch_at_which_scaling_fails():
    titles = experiment.titles_of(CONFIG)
    told = {
        "linear-32": "The rate grows",
        "not linear-32": "At batch 32 linear scaling fails",
        "not linear-128": "At batch 128 linear scaling fails",
    }
    found = {names[0]: title for names, title in titles.items() if names[0] in told}
    assert all(found[name].startswith(start) for name, start in told.items())


def test_diverging_runs_of_other_batches_count_too():
    assert made_up(scaled={32: np.nan})["linear-32"] == "contradicted"
    assert made_up(scaled={512: np.nan})["warm-up-512"] == "reproduced"


def test_rates_of_a_batch_size_are_in_proportion():
    small, large = batch_grid(CONFIG, 8), batch_grid(CONFIG, 512)
    np.testing.assert_allclose(large, 64 * small)
    assert (np.diff(small) > 0).all()


def test_the_first_step_of_a_warm_up_moves_the_weights():
    hyper = {"learning_rate": np.float32(1), "momentum": np.float32(0)}
    moved = {}
    for steps in (0, 4):
        optimizer = warmed(momentum_sgd)(hyper | {"warm_up_steps": np.float32(steps)})
        params = {"kernel": np.ones(2, np.float32)}
        state = optimizer.init(params)
        updates, _ = optimizer.update(params, state, params, error=np.float32(0))
        moved[steps] = float(updates["kernel"][0])
    assert moved == {0: -1.0, 4: -0.25}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_sizes": (8,)}, "^--batch_sizes needs two sizes at least"),
        ({"n_images": 16, "batch_sizes": (8, 32)}, "^--n_images=16 is less than one batch of 32"),
        (
            {"batch_sizes": (8, 2000), "n_images": 4000},
            "^batch size 2000 exceeds the 1437 training",
        ),
        ({"batch_size": 2000}, "^batch size 2000 exceeds the 1437 training images"),
        ({"first_seed": 999}, "^seeds 999 to 1003 meet 1000"),
    ],
)
def test_mistakes_are_refused_before_anything_is_trained(change, message):
    with pytest.raises(UserError, match=message):
        experiment.measure(dataclasses.replace(SMALL, **change), silent)
