"""Runs that end early: one line where a user can mend it, a traceback where we must."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision import cli, terminal
from jaxvision.report import provenance
from jaxvision.report import record as records
from jaxvision.types import UserError
from tests.cli.toy import call, files, interrupted, refusal


def diverged(config, progress):
    raise UserError("the loss is not finite at step 3: lower the learning rate")


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize(
    ("stops", "code", "line"),
    [
        (interrupted, 130, "stopped; nothing was written"),
        (diverged, 2, "error: the loss is not finite at step 3: lower the learning rate"),
    ],
)
def test_a_run_that_ends_early_writes_nothing(
    toy, results, capsys, stops, code, line, there_before
):
    if there_before:
        assert call(toy, f"--results={results}") == 0
    before = files(results)
    capsys.readouterr()
    toy.measure = stops
    assert call(toy, f"--results={results}") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == line
    assert "Traceback" not in err
    assert files(results) == before
    assert results.exists() == there_before


def broken(*_):
    raise ZeroDivisionError


@pytest.mark.parametrize("function", ["measure", "claims"])
def test_a_mistake_of_the_experiment_is_a_traceback_and_writes_nothing(toy, results, function):
    setattr(toy, function, broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(toy, ["toy.py", f"--results={results}"])
    assert not results.exists()


def test_a_figure_that_cannot_be_drawn_costs_the_figure_alone(toy, results):
    toy.plot = broken
    with pytest.raises(ZeroDivisionError):
        cli.main(toy, ["toy.py", f"--results={results}"])
    assert sorted(path.name for path in (results / "toy").iterdir()) == [
        "arrays.npz",
        "record.json",
    ]


def interrupt(record, config):
    raise KeyboardInterrupt


def test_ctrl_c_while_the_figure_is_drawn_keeps_what_was_measured(toy, results, capsys):
    draw, toy.plot = toy.plot, interrupt
    assert call(toy, f"--results={results}") == 130
    line = "stopped; the record is kept; --plot_only draws the figure"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert len(records.load(results / "toy").claims) == 2
    toy.plot = draw
    assert call(toy, f"--results={results}", "--plot_only") == 0
    before = files(results)
    assert results / "toy" / "figure.png" in before
    toy.plot = interrupt
    assert call(toy, f"--results={results}", "--plot_only") == 130
    assert files(results) == before


def test_want_of_memory_is_one_line(toy, results, capsys):
    def measure(config, progress):
        np.empty((1 << 40, 1 << 10))

    toy.measure = measure
    line = refusal(toy, capsys, f"--results={results}")
    assert line.startswith("out of memory (Unable to allocate")
    assert "choose a smaller set-up" in line
    toy.measure = lambda config, progress: jnp.zeros((1 << 20, 1 << 26)).block_until_ready()
    line = refusal(toy, capsys, f"--results={results}")
    assert line.startswith("out of memory (RESOURCE_EXHAUSTED: ")
    assert not results.exists()


def test_what_jax_raises_otherwise_is_a_traceback(toy, results):
    def measure(config, progress):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    toy.measure = measure
    with pytest.raises(jax.errors.JaxRuntimeError):
        cli.main(toy, ["toy.py", f"--results={results}"])


def test_a_config_out_of_bounds_is_not_measured(toy):
    """Whoever calls ``run`` from Python gets the bounds of the flags too."""
    toy.measure = None
    config = dataclasses.replace(toy.PRESETS["cpu"], seeds=0)
    with pytest.raises(UserError, match=r"^--seeds: '0' must be from 1 to 1000$"):
        cli.run(toy, config, "cpu", "toy", "a test")


def test_provenance_is_asked_for_before_measuring(toy, results, monkeypatch):
    """Where it cannot be had, no work is lost."""

    def refuse(*_):
        raise UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "a file name that git prints raw")

    monkeypatch.setattr(provenance, "describe", refuse)
    toy.measure = None
    with pytest.raises(UnicodeDecodeError):
        cli.main(toy, ["toy.py", f"--results={results}"])


def test_where_nobody_reads_on_a_run_ends_without_a_traceback(toy, results, monkeypatch, tmp_path):
    """As in ``| head``: its record is written by then."""
    for flags in (["--help"], [f"--results={results}"]):
        with (tmp_path / "output").open("w") as file:
            monkeypatch.setattr(sys, "stdout", Closed(file))
            assert call(toy, *flags) == terminal.UNREAD == 141
    assert (results / "toy" / "record.json").exists()


class Closed:
    """A standard output whose reader has left."""

    def __init__(self, file):
        self.fileno = file.fileno

    def write(self, _):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError
