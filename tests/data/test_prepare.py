"""Preparing a set: commands, clear failures, nothing left behind. No TensorFlow is installed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxvision.data import prepare

FAKE_TFDS = """
import sys, types
class Builder:
    def __init__(self, name, data_dir, file_format): self.asked = (name, data_dir, file_format)
    def download_and_prepare(self):
        if self.asked[0] == "broken": raise ValueError("first line\\nsecond line")
        print(*self.asked)
tfds = types.ModuleType("tensorflow_datasets")
core, download = types.ModuleType("core"), types.ModuleType("download")
tfds.builder = Builder
sys.modules.update({"tensorflow_datasets": tfds, "tensorflow_datasets.core": core,
                    "tensorflow_datasets.core.download": download})
download.downloader = types.ModuleType("downloader")
"""


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Return the directory that the temporary environments are made in."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setattr(prepare.tempfile, "tempdir", str(path))
    return path


@pytest.fixture
def commands(monkeypatch):
    """Record the commands instead of running them; ``fail`` maps a word to (code, output)."""
    ran, fail = [], {}

    def run(command, scratch, show=False):
        ran.append(command)
        return next((fail[word] for word in fail if word in command), (0, ""))

    monkeypatch.setattr(prepare, "_run", run)
    return ran, fail


def test_environment_install_build_in_this_order_and_all_removed(scratch, commands, tmp_path):
    ran, _ = commands
    assert prepare.main(["cifar10", f"--data_dir={tmp_path / 'sets'}"]) == 0
    environment, install, build = ran
    assert environment[1:3] == ["-m", "venv"] and environment[3].startswith(str(scratch))
    assert install[0] == build[0] and install[0].startswith(environment[3])
    assert install[1:4] == ["-m", "pip", "install"]
    assert build[3:5] == ["cifar10", str(tmp_path / "sets")]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    "system, machine, wanted",
    [
        ("Linux", "x86_64", "tensorflow-cpu"),
        ("Linux", "aarch64", "tensorflow"),
        ("Darwin", "arm64", "tensorflow"),
    ],
)
def test_the_lightest_tensorflow_there_is(system, machine, wanted):
    assert prepare.packages(system, machine)[0] == wanted


@pytest.mark.parametrize(
    "word, output, wanted",
    [
        ("venv", "ensurepip is not available", "cannot make an environment: ensurepip"),
        (
            "pip",
            "Retrying\nERROR: No matching distribution",
            "is there a network?): ERROR: No match",
        ),
        ("-c", "", "cannot prepare 'cifar10': the process died"),
    ],
)
def test_each_failure_is_one_line_and_leaves_nothing(
    scratch, commands, tmp_path, capsys, word, output, wanted
):
    commands[1][word] = (1, output)
    assert prepare.main(["cifar10", f"--data_dir={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert wanted in error and error.count("\n") == 1
    assert list(scratch.iterdir()) == []


def test_ctrl_c_removes_the_environment(scratch, tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "_run", interrupted)
    assert prepare.main(["cifar10", f"--data_dir={tmp_path}"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(scratch.iterdir()) == []


def test_sigterm_removes_the_environment(scratch, tmp_path):
    command = [sys.executable, prepare.__file__, "mnist", f"--data_dir={tmp_path / 'sets'}"]
    process = subprocess.Popen(command, env={"TMPDIR": str(scratch), "PATH": ""}, stdout=-1)
    process.stdout.readline()
    while not list(scratch.glob("*/env")):  # now the environment is being made
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    process.stdout.close()
    assert list(scratch.iterdir()) == []


def test_an_unknown_name_installs_nothing(scratch, commands, tmp_path, capsys):
    assert prepare.main(["cifar1o", f"--data_dir={tmp_path}"]) == 2
    assert "did you mean 'cifar10'?" in capsys.readouterr().err
    assert commands[0] == []


def test_what_is_prepared_stays(scratch, commands, tmp_path, capsys):
    version = tmp_path / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    info = version / "dataset_info.json"
    info.write_text(json.dumps({"fileFormat": "array_record"}))
    for name in ("mnist", "mnist:3.0.1"):
        assert prepare.main([name, f"--data_dir={tmp_path}"]) == 0
        assert "already prepared" in capsys.readouterr().out
    info.write_text(json.dumps({"name": "mnist"}))  # TFDS's default format goes unnamed
    assert prepare.main(["mnist", f"--data_dir={tmp_path}"]) == 2
    assert "holds the set as tfrecord" in capsys.readouterr().err
    assert commands[0] == []


@pytest.mark.parametrize("name", ["mnist:3.0.1", "mnist/3.0.1", "mnist:3.*.*", "mnist@label"])
def test_names_are_read_as_where_sets_are_loaded(scratch, commands, tmp_path, capsys, name):
    version = tmp_path / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text(json.dumps({"fileFormat": "array_record"}))
    assert prepare.main([name, f"--data_dir={tmp_path}"]) == 0
    assert "already prepared" in capsys.readouterr().out
    assert commands[0] == []


@pytest.mark.parametrize(
    "name, asked",
    [
        ("mnist/3.0.0", "mnist:3.0.0"),
        ("imagenet_resized//8x8:0.1.0@label", "imagenet_resized/8x8:0.1.0"),
    ],
)
def test_tfds_is_asked_in_its_own_spelling(scratch, commands, tmp_path, name, asked):
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)  # another version, in another format
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").write_text("{}")
    assert prepare.main([name, f"--data_dir={tmp_path}"]) == 0
    assert commands[0][-1][3] == asked


def test_a_path_is_no_name_to_prepare(scratch, commands, tmp_path, capsys):
    assert prepare.main(["./mnist", f"--data_dir={tmp_path}"]) == 2
    assert "'./mnist' is a path" in capsys.readouterr().err
    assert commands[0] == []


def run_build(tmp_path: Path, name: str) -> tuple[subprocess.CompletedProcess, Path]:
    """Run the program of the throw-away environment against a stand-in for TFDS."""
    reason = tmp_path / "reason"
    command = prepare.build_command(Path(sys.executable), name, tmp_path, reason)
    command[2] = FAKE_TFDS + command[2]
    return subprocess.run(command, capture_output=True, text=True), reason


def test_the_build_asks_for_array_record(tmp_path):
    ran, reason = run_build(tmp_path, "mnist")
    assert (ran.returncode, ran.stdout.split()) == (0, ["mnist", str(tmp_path), "array_record"])
    assert not reason.exists()


def test_a_failing_build_leaves_its_first_line(tmp_path):
    ran, reason = run_build(tmp_path, "broken")
    assert ran.returncode == 1 and reason.read_text() == "ValueError: first line"


def test_it_runs_with_the_standard_library_alone():
    # -S: no site-packages. The file imports nothing of ours and nothing installed.
    command = [sys.executable, "-S", prepare.__file__, "--help"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--data_dir" in ran.stdout
