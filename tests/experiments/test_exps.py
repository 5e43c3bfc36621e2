"""The series of all experiments: what is planned, cut, put together, refused and said."""

import contextlib
import dataclasses
import importlib
import io
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments import exps
from experiments.catalog import CATALOG, Entry, module_name
from jaxvision import cli
from jaxvision.cluster.runs import Outcome, SchedulerLost
from jaxvision.fields import flagged
from jaxvision.report import merging
from jaxvision.report import record as records
from tests.cli import toy as toys

ROOT = Path(__file__).resolve().parents[2]
QUICK = "delta_orthogonal"  # of those that may be cut, the one that every run of the tests cuts


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = flagged(5, "Paired seeds.", low=1, high=1000)
    first_seed: int = flagged(700, "First of them.", low=0, high=10**9)


def measure(config, progress):
    seeds = np.arange(config.first_seed, config.first_seed + config.seeds)
    return {"gain": np.cos(seeds) + 2.0}, {"curve": np.outer([3.0, 1.0], np.sin(seeds)).T}


@pytest.fixture
def two_toys(monkeypatch, tmp_path):
    """A catalog of two: the seeds of the first may be cut. Runs happen in this process."""
    made = {}
    for name in ("cut_toy", "whole_toy"):
        module = toys.make_toy()
        module.__file__ = str(ROOT / "experiments" / f"{name}.py")
        module.Config, module.measure = Config, measure
        module.PRESETS = {"tiny": Config(seeds=2), "cpu": Config()}
        made[name] = module
    entries = [
        Entry(name, "toys", name, "It gains.", minutes, (), by_seed=name == "cut_toy")
        for minutes, name in enumerate(made)
    ]
    monkeypatch.setattr(exps, "CATALOG", entries)
    monkeypatch.setattr(exps, "module_name", lambda name: name)
    finds = SimpleNamespace(import_module=made.__getitem__)
    monkeypatch.setattr(exps, "importlib", finds)
    monkeypatch.setattr(cli.runtime, "configure", lambda **_: None)
    monkeypatch.chdir(tmp_path)
    engine = SimpleNamespace(connected=lambda *_: contextlib.nullcontext())
    series = SimpleNamespace()
    monkeypatch.setattr(exps, "_engine", lambda: (engine, series))

    def in_process(client, runs, layout, tell):
        for run in reversed(runs):
            tell(run.name, "\x1b[31mmeasuring")
            _, _, name, *flags = run.arguments
            with pytest.raises(SystemExit) as ended, contextlib.redirect_stdout(io.StringIO()):
                cli.main(made[name], [name, *flags])
            yield run, Outcome(ended.value.code, ("error: it cannot",), 1.0)

    series.outcomes = in_process
    return made


def test_a_series_is_what_its_commands_make_one_by_one(two_toys, capsys, tmp_path):
    assert exps.main(["--parts=2", "--", "--preset=cpu", "--results=runs"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "1 of 3: cut_toy-703, 1 s: 2 inconclusive",
        "2 of 3: cut_toy-700, 1 s: 2 inconclusive",
        "cut_toy, of 2 parts: 1 contradicted, 1 reproduced",
        "3 of 3: whole_toy, 1 s: 1 contradicted, 1 reproduced",
    ]
    assert err.splitlines()[0] == "[cut_toy-703] \\x1b[31mmeasuring"
    for name, module in two_toys.items():
        with pytest.raises(SystemExit):
            cli.main(module, [name, "--preset=cpu", "--results=alone", "--quiet"])
        made, alone = (records.load(tmp_path / root / name) for root in ("runs", "alone"))
        assert made.numbers == alone.numbers
        assert made.claims == alone.claims
        assert made.config == alone.config
        assert made.run_name == alone.run_name
        assert made.arrays["curve"].tobytes() == alone.arrays["curve"].tobytes()
        assert made.command == f"python -m experiments {name} --preset=cpu --results=runs"


def test_a_failed_part_is_named_and_nothing_is_put_together(two_toys, capsys, tmp_path):
    def fails(config, progress):
        if config.first_seed == 703:
            raise cli.UserError("it cannot")
        return measure(config, progress)

    two_toys["cut_toy"].measure = fails
    assert exps.main(["--parts=2", "--quiet", "--", "--results=runs"]) == 1
    out, err = capsys.readouterr()
    assert "1 of 3: cut_toy-703 FAILED with exit code 2: error: it cannot" in out.splitlines()
    assert err.splitlines()[-1] == "These did not end well: cut_toy-703"
    assert not (tmp_path / "runs" / "cut_toy").exists()
    assert (tmp_path / "runs" / "whole_toy").exists()


def test_parts_that_do_not_fit_together_are_named(two_toys, capsys, tmp_path):
    """Only a mistake of the catalog gets so far: the others end well all the same."""

    def of_all_seeds(config, progress):
        numbers, arrays = measure(config, progress)
        return numbers, arrays | {"mean": numbers["gain"].mean()}

    two_toys["cut_toy"].measure = of_all_seeds
    assert exps.main(["--parts=2", "--quiet", "--", "--results=runs"]) == 1
    out, err = capsys.readouterr()
    assert "cut_toy FAILED: mean is of all seeds together" in out
    assert err.splitlines()[-1] == "These did not end well: cut_toy"
    assert (tmp_path / "runs" / "whole_toy").exists()


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "stopped; what is done stays, and the same command goes on"),
        (signal.SIGTERM, 75, "stopped by SIGTERM (what is done stays, and the same command goes"),
    ],
)
def test_a_series_that_is_stopped_says_how_it_goes_on(two_toys, capsys, number, code, line):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here

    def outcomes(client, runs, layout, tell):
        yield signal.raise_signal(number)

    _, series = exps._engine()
    series.outcomes = outcomes
    try:
        assert exps.main([]) == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.startswith(line)


def test_a_lost_scheduler_is_said_in_one_line(two_toys, capsys):
    def outcomes(client, runs, layout, tell):
        yield from ()
        raise SchedulerLost("the scheduler is gone")

    _, series = exps._engine()
    series.outcomes = outcomes
    assert exps.main([]) == 69
    line = "error: the scheduler is gone; what is done stays, and the same command goes on\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nosuch"], "there is no experiment 'nosuch'"),
        (["--processes=two"], "argument --processes: invalid int value: 'two'; exps --help shows"),
        (["--theme=nosuch"], "argument --theme: invalid choice: 'nosuch'"),
        (["--processes=0"], "--processes must be from 1 to 256"),
        (["--parts=3", "cut-toy", "--", "--seeds=3"], "cut_toy: 3 seeds cannot be cut"),
        (["cut-toy", "--", "--no_flag=1"], "cut_toy: unknown flag --no_flag"),
        (["cut-toy", "--", "--seeds=0"], "cut_toy: flag --seeds=0: '0' must be from 1 to 1000"),
        (["--", "--plot_only"], "runs experiments whole and alone: leave out --plot_only"),
        (["--", "--num_processes=2"], "whole and alone: leave out --num_processes"),
        (["--", "--run_name=mine"], "leave --run_name out"),
        (["--", "--results=file"], "cannot write to"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_run(two_toys, capsys, tmp_path, arguments, line):
    (tmp_path / "file").write_text("mine")
    assert exps.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert line in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_dask_it_is_said_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jaxvision.cluster.engine", None)  # importing it fails
    monkeypatch.delattr("jaxvision.cluster.engine", raising=False)
    assert exps.main(["he_init"]) == 2
    assert "error: exps needs Dask" in capsys.readouterr().err


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, marks=[pytest.mark.slow] if entry.name != QUICK else [])
        for entry in CATALOG
        if entry.by_seed
    ],
    ids=lambda entry: entry.name,
)
def test_the_parts_of_a_run_give_it_to_the_bit(entry, tiny_record):
    module = importlib.import_module(module_name(entry.name))
    first = tiny_record(module)  # of two seeds
    three = dataclasses.replace(module.PRESETS["tiny"], seeds=first.config["seeds"] + 1)
    configs = merging.cut(three, 2)
    assert dataclasses.asdict(configs[0])["seeds"] == first.config["seeds"]
    whole, second = (cli.run(module, config, "tiny", "x", "") for config in (three, configs[1]))
    numbers, arrays = merging.merged([first, second])
    assert numbers == whole.numbers
    assert arrays.keys() == whole.arrays.keys()
    for name, array in whole.arrays.items():
        assert arrays[name].tobytes() == array.tobytes(), name


@pytest.mark.slow
def test_a_real_series_on_two_processes_gives_the_bits_of_a_local_run(tmp_path):
    """Of one core each, from the command line."""
    command = [sys.executable, "-m", "experiments"]
    flags = ["--preset=tiny", f"--results={tmp_path / 'series'}"]
    names = ["model_sizes", "logistic_map"]
    own = ["--processes=2", "--cores=1"]
    subprocess.run([*command, "exps", *names, *own, "--", *flags], cwd=ROOT, check=True)
    flags[-1] = f"--results={tmp_path / 'alone'}"
    for name in names:
        one = exps.os.environ | {"JAXVISION_CORES": "1"}
        subprocess.run([*command, name, *flags], cwd=ROOT, check=True, env=one)
        series, alone = (
            records.load(tmp_path / root / f"{name}-tiny") for root in ("series", "alone")
        )
        assert series.numbers == alone.numbers
        assert series.claims == alone.claims
        for key, array in alone.arrays.items():
            assert series.arrays[key].tobytes() == array.tobytes()
