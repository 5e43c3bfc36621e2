"""The doors to the experiments: names, files, a Python without JAX, settings that are refused."""

import gc
import importlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import experiments
from experiments import __main__ as entrance
from experiments import catalog
from experiments.catalog import CATALOG
from jaxvision import __main__ as overview
from jaxvision import __version__, cli, nets

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, **variables):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_there_is_to_run_is_listed(capsys):
    for main, arguments in ((overview.main, []), (overview.main, ["--help"]), (entrance.main, [])):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert out.startswith("usage: python -m experiments NAME")
        assert all(entry.sentence in out for entry in CATALOG)
    assert overview.main(["nothing"]) == 2
    assert "there is no experiment 'nothing'" in capsys.readouterr().err
    assert __version__


def test_a_misspelt_experiment_is_one_line(capsys):
    assert entrance.main(["he_int"]) == 2
    err = capsys.readouterr().err
    assert err == "error: there is no experiment 'he_int': did you mean he_init?\n"


def test_the_records_that_come_with_the_experiments_are_listed(capsys):
    results = ROOT / "experiments" / "results"
    assert entrance.main(["runs", "logistic", f"--results={results}"]) == 0
    out = capsys.readouterr().out
    assert sum(line.startswith("logistic_map ") for line in out.splitlines()) == 1
    assert "he_init" not in out


def test_two_records_that_come_with_the_experiments_are_compared(tmp_path, monkeypatch, capsys):
    """Of the same seeds, on two data sets."""
    monkeypatch.chdir(tmp_path)
    assert entrance.main(["compare", "jacobian_spectrum", "jacobian_spectrum-mnist"]) == 0
    out = capsys.readouterr().out
    assert "set-up, A | B: --dataset=digits | mnist" in out
    assert "B - A is paired by seed" in out
    (figure,) = tmp_path.glob("runs/jacobian_spectrum-compare-*/figure.png")
    assert figure.stat().st_size > 10_000


def test_an_experiment_is_told_its_minutes(monkeypatch):
    called = []
    monkeypatch.setattr(cli, "main", lambda *arguments: called.append(arguments))
    entrance.main(["he-init", "--preset=tiny"])
    ((module, argv, minutes),) = called
    assert module.__name__ == "experiments.initialization.he_init"
    assert argv[1:] == ["--preset=tiny"]
    assert minutes == next(entry.minutes for entry in CATALOG if entry.name == "he_init")


@pytest.mark.parametrize(
    "arguments", [["experiments", "he_init"], ["experiments.he_init"], ["experiments", "runs"]]
)
def test_a_python_without_jax_is_one_line(arguments):
    done = run("-S", "-m", *arguments)  # -S: without what is installed
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot import jax (No module named 'jax'): run `make venv`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_lists_need_nothing_installed():
    for arguments in (["experiments"], ["experiments.catalog", "list"], ["jaxvision"]):
        done = run("-S", "-m", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "he" in done.stdout


def test_a_setting_that_a_library_refuses_is_one_line(monkeypatch):
    def refuse(name):
        raise ValueError('Invalid value "x"\n for JAX flag jax_num_cpu_devices')

    monkeypatch.setattr(importlib, "import_module", refuse)
    line = 'jax does not start: Invalid value "x"\\n for JAX flag jax_num_cpu_devices'
    assert experiments.why_none_can_run() == line
    monkeypatch.undo()
    assert experiments.why_none_can_run() == ""


def test_settings_of_matplotlib_do_not_matter(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    settings = {"MPLBACKEND": "nosuch", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    done = run("-c", "import experiments, matplotlib.figure", **settings)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_can_be_run_as_it_is():
    """With the path that `make venv` writes; from any directory."""
    file = ROOT / "experiments" / "gradients" / "logistic_map.py"
    done = run(str(file), "--help", PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "usage: python -m experiments logistic_map" in done.stdout


def test_nets_are_trained_for_those_who_ask(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spec = nets.Spec("digits", "mlp", {"depth": 3, "width": 8}, 0.05, 20, images=100, batch_size=20)
    asking = SimpleNamespace(
        PRESETS={"cpu": 2}, wanted_nets=lambda config: [nets.Wanted(spec, range(config), (10,))]
    )
    assert catalog.train_nets([asking, SimpleNamespace()]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("mlp (depth 3, width 8) on digits: 2 runs, test error ")
    assert "training mlp (depth 3, width 8) on digits: started, 40 steps" in err
    assert catalog.train_nets([asking]) == 0
    assert capsys.readouterr().err == ""
    asking.wanted_nets = lambda config: [nets.Wanted(replace(spec, net="nosuch"), range(config))]
    assert catalog.train_nets([asking]) == 2
    assert capsys.readouterr().err.startswith("error: there is no net 'nosuch'")
    assert catalog.train_nets([SimpleNamespace()]) == 0
    assert "nothing to train" in capsys.readouterr().out


def test_names_of_one_theme(capsys):
    assert catalog.main(["names", "initialization"]) == 0
    assert capsys.readouterr().out == "he_init\nescape_time\n"
    assert catalog.main(["names", "deth"]) == 2
    assert capsys.readouterr().err.startswith("There is no theme 'deth': initialization, ")


def test_no_search_for_garbage_delays_the_imports():
    with entrance.imports_kept():
        assert not gc.isenabled()
        imported = []
    later = []
    assert gc.isenabled()
    searched = {id(thing) for thing in gc.get_objects()}
    assert id(imported) not in searched
    assert id(later) in searched


def test_help_waits_for_nothing_that_it_does_not_use():
    """Each of these takes a quarter of a second or more to import."""
    code = """
import os, sys
from experiments import __main__ as entrance
from jaxvision import cli
from jaxvision.training import fit  # experiments share these imports: a child begins with them
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            entrance.main([name, "--help"])
        finally:
            slow = ("matplotlib", "scipy.stats", "scipy.special", "orbax.checkpoint")
            print("\\nimported:", name, *(name for name in slow if name in sys.modules), flush=True)
            os._exit(0)
    os.waitpid(child, 0)
"""
    names = [entry.name for entry in CATALOG]
    told = run("-c", code, *names).stdout.splitlines()
    assert sum(line.startswith("usage: ") for line in told) == len(names)
    found = [line for line in told if line.startswith("imported: ")]
    assert found == [f"imported: {name}" for name in names]
