"""The verdicts of curvature follow the science: broken on purpose, the right ones change."""

import dataclasses

import numpy as np
import pytest

from experiments.gradients import curvature
from experiments.gradients._descent import gradient_descent
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.types import UserError

SMALL = dataclasses.replace(
    curvature.Config(),
    seeds=9,
    first_seed=0,
    images=40,
    width=16,
    thresholds=(5.0,),
    steps=600,
    lanczos=12,
    widths=(16, 64),
    kernel_images=8,
    kernel_steps=50,
)


# What a mutation of the descent needs: kernels are broken by other tests.
SHORT = dataclasses.replace(SMALL, steps=100, widths=(8, 16), kernel_images=2, kernel_steps=1)


def measured(config=SMALL, **mutation):
    numbers, arrays = curvature.measure(config, silent, **mutation)
    fields = dataclasses.asdict(config)
    return Record("curvature", "cpu", "x", "", fields, numbers, arrays, [], {})


@pytest.fixture(scope="module")
def record():
    return measured()


def verdicts(record, config=SMALL, **arrays):
    """Verdicts of the record, some arrays replaced, as claimed of another config."""
    changed = dataclasses.replace(record, arrays=record.arrays | arrays)
    return {found.id: found.verdict for found in judge(curvature.claims(config), changed)}


def test_gradient_descent_lives_at_the_edge(record):
    found = verdicts(record)
    wanted = ("hovers-5", "sharpening", "calm", "lazy-bound")
    assert {found[claim] for claim in wanted} == {"reproduced"}
    assert found["loss-rises"] != "contradicted"  # as it is below, where nothing is learned


def test_nothing_hovers_where_nothing_is_learned():
    def still(loss, variables, rate, measure, **sizes):
        return gradient_descent(loss, variables, 0 * rate, measure, **sizes)

    found = verdicts(measured(SHORT, descent=still), SHORT)
    broken = {"hovers-5", "loss-rises", "loss-falls", "calm", "batch-norm-train", "sharpening"}
    assert not {claim for claim in broken if found[claim] == "reproduced"}
    assert found["hovers-5"] == found["loss-rises"] == found["loss-falls"] == "contradicted"


@pytest.mark.slow  # a step of length 0 contradicts this rule too
def test_a_step_a_tenth_too_long_is_not_the_promised_rate():
    def longer(loss, variables, rate, measure, **sizes):
        return gradient_descent(loss, variables, 1.1 * rate, measure, **sizes)

    assert verdicts(measured(descent=longer))["hovers-5"] == "contradicted"


def test_the_rate_at_the_edge_is_no_control(record):
    names = ("mlp/loss", "mlp/sharpness_train")
    at_the_edge = {name: record.arrays[name][[0, 0]] for name in names}
    assert verdicts(record, **at_the_edge)["calm"] == "contradicted"


def test_train_mode_in_place_of_eval_mode(record):
    train, evaluated = (record.arrays[f"batch_norm/sharpness_{mode}"] for mode in ("train", "eval"))
    assert not np.allclose(train, evaluated)
    swapped = {"batch_norm/sharpness_eval": train}
    assert verdicts(record, **swapped)["batch-norm-eval"] != "reproduced"


def test_kernels_under_each_others_name(record):
    lazy, feature = record.arrays["drift/lazy"], record.arrays["drift/feature"]
    found = verdicts(record, **{"drift/lazy": feature, "drift/feature": lazy})
    assert found["lazy-bound"] == found["lazy"] == found["feature"] == "contradicted"


@pytest.mark.parametrize("widths", [(64,), (512, 128, 32), ()])
def test_a_power_of_the_width_needs_two_from_narrow_to_wide(widths):
    with pytest.raises(UserError, match="name two or more, from narrow to wide"):
        dataclasses.replace(SMALL, widths=widths)
