"""The Makefile as a user meets it: the list, a target's command, one line for a wrong name."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from experiments.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[1]


def make(*arguments):
    """Run make as from a shell: the suite itself may run below another make."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "ARGS"))}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


def test_list_names_every_experiment():
    done = make("list")
    targets = [line.split()[1] for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert targets == ["exp-" + entry.name.replace("_", "-") for entry in CATALOG]


@pytest.mark.parametrize("name", ["he-init", "he_init"])
def test_a_target_runs_its_module(name):
    for target, flags in ((f"exp-{name}", "--preset=cpu"), (f"plot-{name}", "--plot_only")):
        done = make("-n", target, "ARGS=--seeds=3")
        command = f".venv/bin/python -m experiments he_init {flags} --seeds=3"
        assert done.stdout.splitlines()[-1] == command


def test_both_sanitizers_see_this_machine_s_vectors():
    told = make("-n", "sanitize").stdout
    for sanitizer in ("address", "undefined"):
        assert f"'-fsanitize={sanitizer} -march=native'" in told
    cpuinfo = Path("/proc/cpuinfo")
    has_avx2 = cpuinfo.exists() and " avx2" in cpuinfo.read_text()
    assert ("'-fsanitize=undefined -mavx2 -mfma'" in told) == has_avx2


def test_arm_is_a_machine_too():
    told = make("-n", "sanitize-arm").stdout
    assert "aarch64-linux-gnu-g++" in told
    assert "-fsanitize=undefined" in told
    assert "qemu-aarch64" in told.splitlines()[-2]


@pytest.mark.parametrize("target", ["exp-nosuch", "plot-nosuch"])
def test_a_wrong_name_is_one_line(target):
    done = make(target)
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no experiment 'nosuch'; 'make list' shows them all" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not (ROOT / ".venv" / "bin" / "python").exists(), reason="make would install")
def test_plot_goes_through_to_the_experiment(tmp_path):
    pins = make("-n", "venv").stdout
    if "pip install" in pins:
        pytest.skip("the environment was made for other pins")
    done = make("plot-he-init", f"ARGS=--results={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("error: no whole record in")
    assert list(tmp_path.iterdir()) == []


def test_one_theme_s_experiments():
    done = make("-n", "exps", "THEME=depth")
    assert "experiments.catalog names 'depth'" in done.stdout
    done = make("-n", "exps")
    assert "experiments.catalog names ) ||" in done.stdout


def test_all_of_them_on_several_processes():
    done = make("-n", "exps", "DASK=--scheduler=tcp://a:1", "THEME=depth", "ARGS=--seeds=3")
    (command,) = [line for line in done.stdout.replace("\\\n", "").splitlines() if "exps" in line]
    asked = "--theme='depth' --scheduler=tcp://a:1 -- --preset=cpu --seeds=3"
    assert " ".join(command.split()) == f".venv/bin/python -m experiments exps {asked}"
    done = make("-n", "exps", "DASK=1")
    assert "experiments.catalog names" not in done.stdout
    assert "experiments exps " in done.stdout
