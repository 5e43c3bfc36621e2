"""The run with teams that are fakes: turns, steps a sample, losses that must agree, slow-downs."""

import argparse

import pytest

from benchmarks import run
from benchmarks.cases import FLAX, OURS, PURE, TORCH, TORCHES, Case

WALLS = {  # seconds a step, by team
    "torch": 0.02,
    "torches": 0.016,
    "sweep": 0.01,
    "sweep pure": 0.03,
    "flax": 0.04,
    "one": 0.1,
    "one pure": 0.2,
}
UNITS = {"sweep": 48, "sweep pure": 48, "one": 6, "one pure": 6}


class Fake:
    """A team that takes the seconds it is said to take, and twice as many beside others."""

    asked: list[tuple]

    def __init__(self, name, losses):
        self.name, self.losses = name, losses

    def prepare(self, case):
        return {"units": UNITS.get(self.name, 1), "losses": self.losses}

    def sample(self, case, n, beside=()):
        self.asked.append((self.name, n))
        wall = WALLS[self.name] * (1 + len(beside))
        return {"wall": wall, "cpu": wall / 2, "peak_mb": 1.0, "foreign": 0.0}

    def close(self):
        self.asked.append((self.name, "closed"))


@pytest.fixture
def options():
    return argparse.Namespace(
        nets=("conv16",), torch_python="python", rounds=2, seconds=0.5, losses={}
    )


@pytest.fixture(autouse=True)
def fakes(options, monkeypatch):
    """Let ``run`` start fakes; ``options.losses`` are those of a team that departs."""
    monkeypatch.setattr(Fake, "asked", [], raising=False)
    monkeypatch.setattr(run, "PAUSE", 0.0)
    usual = [2.3, 2.2, 2.1]

    def teams(wanted, torch_python, cores):
        return {name: Fake(name, options.losses.get(name, usual)) for name in wanted}

    monkeypatch.setattr(run, "teams", teams)


def test_every_case_is_timed_in_every_round_over_whole_periods(options, capsys):
    table = run.steps(options, 2)["conv16"]
    ms = {label: result["ms"] for label, result in table.items()}
    wanted = {OURS: 10, TORCH: 20, TORCHES: 16, FLAX: 40, PURE: 30}
    assert ms == {label: pytest.approx(value) for label, value in wanted.items()}
    assert {label: result["n"] for label, result in table.items()} == {
        OURS: 48,  # of .48 s, for half a second
        PURE: 48,  # at least a period of all seeds
        TORCH: 25,
        TORCHES: 31,
        FLAX: 12,
    }
    assert all(len(result["samples"]) == result["clean"] == 2 for result in table.values())
    rounds = [name for name, n in Fake.asked if n != "closed"][len(table) :]
    assert rounds[: len(table)] == rounds[len(table) :]  # in turns, always the same ones
    assert sum(n == "closed" for _, n in Fake.asked) == len(table)


def test_on_one_core_it_is_cpu_time(options):
    assert run.steps(options, 1)["conv16"][OURS]["ms"] == pytest.approx(5)


@pytest.mark.parametrize("losses", [[2.3, 2.2, 2.11], [2.3, float("nan"), 2.1]])
def test_losses_that_depart_end_the_run(options, losses):
    options.losses["flax"] = losses
    with pytest.raises(RuntimeError, match="losses"):
        run.steps(options, 2)


def test_the_slow_down_is_beside_over_alone(options):
    found = run.beside(options, 1)
    assert {name: result["slower"] for name, result in found.items()} == {
        OURS: pytest.approx(2),
        TORCH: pytest.approx(2),
    }


def test_memory_is_looked_at_after_few_and_after_many_steps(options, monkeypatch):
    monkeypatch.setattr(
        Fake, "prepare", lambda self, case: {"units": 6, "losses": [], "peak_mb": 500.0}
    )
    found = run.peak_memory(options)
    assert found == {name: {"6": 500.0, "102": 1.0} for name in (TORCH, OURS)}
    assert [n for _, n in Fake.asked if n != "closed"] == [96, 96]


def test_a_case_is_compared_with_the_first_of_its_net_alone():
    row = {"a": {"losses": [1.0]}, "b": {"losses": [2.0]}}
    run.check_losses(Case("mlp", "c", "torch", "mlp"), [1.0], row)
    with pytest.raises(RuntimeError):
        run.check_losses(Case("mlp", "c", "torch", "mlp"), [2.0], row)
