"""The experiment's verdicts must follow the science: break it, and the right claims fall."""

import dataclasses

import numpy as np
import pytest

from experiments.initialization import escape_time
from experiments.initialization._escape_claims import slopes
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record

pytestmark = pytest.mark.usefixtures("optimized")

CONFIG = escape_time.Config()
DEPTHS = np.array(CONFIG.depths)
SMALL = escape_time.Config(
    seeds=6,
    depths=(4, 6, 8, 10, 12, 14),
    width=32,
    steps=600,
    period=100,
    learning_rate_sgd=0.02,
    first_seed=100,
)
SLOW = 7.0  # octaves of steps at the first depth


def made_up(config=CONFIG, **octaves):
    """The record of escapes at 2 ** octaves[arm] steps, [depths], with 10 % noise by seed."""
    depths = np.array(config.depths)
    growth = {
        "sgd": SLOW + 0.4 * (depths - depths[0]),
        "sgd_bias": SLOW + 2.2 * np.log2(depths / depths[0]),
        "adam": 3 + 0.05 * depths,
        "adam_bias": 3 + 0.05 * depths,
        "he": 4 + 0 * depths,
    } | octaves
    noise = np.random.default_rng(0).normal(0, 0.15, (config.seeds, len(depths)))
    arrays = {}
    for arm, value in growth.items():
        times = 2 ** (value + noise)
        arrays[f"{arm}/escaped"] = times < config.steps
        arrays[f"{arm}/step"] = np.minimum(times, config.steps)
        arrays[f"{arm}/diverged"] = np.zeros(times.shape, bool)
    fields = dataclasses.asdict(config)
    return Record("escape_time", "cpu", "x", "", fields, {}, arrays, [], {})


def verdicts(record, config=CONFIG):
    return {found.id: found.verdict for found in judge(escape_time.claims(config), record)}


def test_slopes_are_found_through_the_censoring():
    record = made_up()
    assert not record.arrays["sgd/escaped"].all()
    found = slopes("sgd")(record)
    assert found.mean() == pytest.approx(0.4, abs=0.02)
    assert abs(found.mean() - 0.4) < 3 * found.std() / np.sqrt(len(found)) + 0.005


def test_growth_of_point_four_is_exponential_and_less_than_half():
    found = verdicts(made_up())
    assert found["half"] == "contradicted"
    for id in ("less-than-half", "bends", "biases-help", "adam", "adam_bias", "sgd", "control"):
        assert found[id] == "reproduced", id


def test_growth_of_half_an_octave_is_seen():
    found = verdicts(made_up(sgd=SLOW - 3 + 0.5 * (DEPTHS - DEPTHS[0])))
    assert found["half"] == "reproduced"
    assert found["less-than-half"] != "reproduced"


def test_growth_that_does_not_bend_with_biases_is_caught():
    found = verdicts(made_up(sgd_bias=SLOW - 3 + 0.4 * (DEPTHS - DEPTHS[0])))
    assert found["bends"] != "reproduced"
    assert found["biases-help"] != "reproduced"


def test_growth_that_bends_without_biases_is_not_exponential():
    bent = SLOW - 2 + 4 * np.log2(DEPTHS / DEPTHS[0])
    assert verdicts(made_up(sgd=bent))["straight"] == "contradicted"


def test_an_adam_that_stays_contradicts_h1():
    found = verdicts(made_up(adam=np.full(len(DEPTHS), 20.0)))
    assert found["adam"] == found["lead"] == "contradicted"
    assert found["adam_bias"] == "reproduced"


def test_an_adam_that_stays_or_diverges_has_no_lead():
    record = made_up()
    for seed, step in ((0, CONFIG.steps), (1, 3)):  # to the end; to where it diverged
        record.arrays["adam_bias/escaped"][seed, -1] = False
        record.arrays["adam_bias/step"][seed, -1] = step
    record.arrays["sgd_bias/step"][:2, -1] = CONFIG.steps / 2
    lead = {claim.id: claim for claim in escape_time.claims(CONFIG)}["lead_bias"]
    np.testing.assert_allclose(lead.statistic(record)[:2], -1)
    assert (lead.statistic(record)[2:] > 3).all()


def test_an_sgd_that_escapes_contradicts_its_half_of_h1():
    assert verdicts(made_up(sgd=np.full(len(DEPTHS), 8.0)))["sgd"] == "contradicted"


def trained(config=SMALL, **arms):
    """Train the SGD arms; Adam's are made up."""
    kept = {name: escape_time.ARMS[name] for name in ("sgd", "he")}
    _, arrays = escape_time.measure(config, silent, kept | arms)
    record = made_up(config)
    return dataclasses.replace(record, arrays=record.arrays | arrays)


def test_small_nets_wait_longer_with_depth_under_xavier_only():
    record = trained()
    assert 0.1 < slopes("sgd")(record).mean() < 0.7
    control = {claim.id: claim for claim in escape_time.claims(SMALL)}["control"]
    assert control.statistic(record).all()


def test_he_weights_called_xavier_have_no_plateau():
    gentle = dataclasses.replace(SMALL, learning_rate_sgd=SMALL.learning_rate_he)
    record = trained(gentle, sgd=escape_time.ARMS["sgd"]._replace(variance=2.0))
    assert np.abs(slopes("sgd")(record)).mean() < 0.15
    assert verdicts(record, SMALL)["half"] == "contradicted"


def test_a_rate_of_zero_escapes_nowhere():
    still = dataclasses.replace(SMALL, learning_rate_sgd=0.0, learning_rate_he=0.0)
    found = verdicts(trained(still), SMALL)
    assert found["control"] == "contradicted"
    assert found["less-than-half"] == "inconclusive"  # every time is censored
