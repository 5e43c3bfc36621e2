"""The verdicts of gan_objective follow the science: broken, the right ones change."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.special import log_expit

from experiments.generating import _line as line
from experiments.generating import gan_objective
from jaxvision.generative.losses import SATURATING
from jaxvision.progress import progress
from jaxvision.report.claims import judge
from jaxvision.report.record import Record

CONFIG = gan_objective.Config(
    seeds=5,
    first_seed=0,
    width=4,
    steps=30,
    batch_size=16,
    points=400,
    chances=60,
)
TRAINED = gan_objective.TRAINED
DISTANCES = np.array(list(gan_objective.DISTANCES))
SPREAD = 1e-4 * np.linspace(-1, 1, CONFIG.seeds)


def measured(**options):
    numbers, arrays = gan_objective.measure(CONFIG, progress, **options)
    fields = dataclasses.asdict(CONFIG)
    return Record(
        "gan_objective",
        "tiny",
        "x",
        "",
        fields,
        numbers,
        arrays,
        [],
        {},
    )


@pytest.fixture(scope="module")
def record():
    return measured()


@pytest.fixture
def verdicts(record):
    """Verdicts with some arrays replaced."""

    def judged(**replaced):
        arrays = {name.replace("__", "/"): array for name, array in replaced.items()}
        changed = dataclasses.replace(record, arrays=record.arrays | arrays)
        return {found.id: found.verdict for found in judge(gan_objective.claims(CONFIG), changed)}

    return judged


def of_logits(logits):
    """What discriminators with such logits leave in a record, alike on all seeds."""
    logits = np.stack([logits] * CONFIG.seeds) + SPREAD[:, None, None]
    values = [line.value_of(logits[:, i], distance) for i, distance in enumerate(TRAINED)]
    return {"fresh__logits": logits, "fresh__value": np.stack(values, 1)}


def best():
    return np.stack([line.best_logit(line.GRID, distance) for distance in TRAINED])


def test_integrals_and_chance_hold_whatever_is_trained(verdicts):
    found = verdicts()
    for id in ("divergence", "saturating", "non-saturating", "sum", "dies", "lives", "chance"):
        assert found[id] == "reproduced"


def test_the_best_answers_are_found_right_and_others_wrong(verdicts):
    found = verdicts(**of_logits(best()))
    assert found["optimal"] == found["value"] == "reproduced"
    for wrong in (-best(), 0 * best(), 2 * best()):
        found = verdicts(**of_logits(wrong))
        assert found["optimal"] == found["value"] == "contradicted"


def test_real_and_generated_taken_for_one_another(verdicts):
    """The discriminator then answers q / (p + q)."""
    setting = line.Setting(16, 200, 64, labels=-1)
    found = line.trained(setting, TRAINED, CONFIG.seeds, 0)
    judged = verdicts(fresh__logits=found.logits, fresh__value=found.value)
    assert judged["optimal"] == judged["value"] == "contradicted"


def test_one_loss_in_place_of_the_other(record, verdicts):
    one, other = (record.arrays[f"gradient/{name}"] for name in ("saturating", "non_saturating"))
    found = verdicts(gradient__saturating=other, gradient__non_saturating=one)
    for id in ("saturating", "non-saturating", "dies", "lives"):
        assert found[id] == "contradicted"
    assert found["sum"] == "reproduced"
    assert verdicts(gradient__saturating=other)["sum"] == "contradicted"


def test_a_generator_that_flees(verdicts):
    """The saturating loss with the wrong sign has the size of the right gradient."""
    fleeing = SATURATING._replace(generator=jax.nn.softplus)
    found = verdicts(gradient__saturating=line.gradients(fleeing, DISTANCES))
    for id in ("saturating", "sum", "dies"):
        assert found[id] == "contradicted"


def test_a_divergence_without_its_half(record, verdicts):
    assert verdicts(jsd=2 * record.arrays["jsd"])["divergence"] == "contradicted"


def test_chance_of_another_number_of_directions(verdicts):
    assert verdicts(chance=1.5 + SPREAD)["chance"] == "contradicted"


def test_a_discriminator_that_does_not_overfit(verdicts):
    honest = np.full((CONFIG.seeds, 3), -np.log(4)) + SPREAD[:, None]
    found = verdicts(again__own=honest, again__true=honest + 0.01)
    assert found["overfitted"] == found["overfitted-fresh"] == "contradicted"


def test_values_are_those_of_the_table():
    values = [-1.386294, -1.163451, -0.712633, -0.120854]
    found = [
        line.value_of(logits, d)
        for logits, d in zip(
            best(),
            TRAINED,
            strict=True,
        )
    ]
    np.testing.assert_allclose(found, values, atol=2e-5)


def test_the_fit_by_chance_beats_knowing_nothing_and_no_more_than_its_directions():
    found = [line.gained_by_chance(seed, 50, 400) for seed in range(4)]
    np.testing.assert_allclose(np.mean(found), 1, atol=0.2)
    assert log_expit(0.0) * 2 == pytest.approx(gan_objective.NOTHING)
