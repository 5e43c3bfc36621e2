"""The comparison of two environments: its table and its check; nothing is timed."""

import sys

import jax
import pytest

from benchmarks.cases import ours
from benchmarks.run import check_losses
from benchmarks.stacks import HERE, OTHER, markdown, version


def side(ms, losses=(2.3, 2.2)):
    return {"ms": ms, "losses": list(losses), "clean": 2, "samples": [0, 0]}


def test_the_other_stack_may_take_a_twentieth_more():
    versions = {HERE: "0.1", OTHER: "0.2"}
    table = markdown({"mlp": {HERE: side(10.0), OTHER: side(10.4)}}, versions)
    assert "| jax 0.1 | jax 0.2 |" in table
    assert "| 10 | 10.4 | 1.04 | 1.05 | met | 4/4 |" in table
    assert "**missed**" in markdown({"mlp": {HERE: side(10.0), OTHER: side(10.6)}}, versions)


def test_nets_that_learn_otherwise_are_refused():
    check_losses("mlp", [2.3001, 2.2], {HERE: side(1)})
    for losses in ((2.3, 2.1), (2.3, float("nan"))):
        with pytest.raises(RuntimeError, match="mlp: losses"):
            check_losses("mlp", list(losses), {HERE: side(1)})


def test_one_big_run_and_eight_small_ones():
    assert [case.name for case in ours(["resnet20", "mlp"])] == ["resnet20:1", "mlp:8"]


def test_an_interpreter_is_asked_which_jax_it_has():
    assert version(sys.executable) == jax.__version__
