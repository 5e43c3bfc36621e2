"""The command line: every mistake is one clear line and exit code 2, and nothing is written."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from experiments.initialization import he_init
from jaxvision import cli, data
from jaxvision.fields import flagged
from jaxvision.report import plots
from jaxvision.report import record as records
from jaxvision.report.claims import Claim, Greater, Share
from jaxvision.types import UserError

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = flagged("digits", "Data set.")
    optimizer: str = flagged("sgd", "Optimizer.", choices=("sgd", "adam"))
    seeds: int = flagged(5, "Paired seeds.", low=1, high=1000)
    depths: tuple[int, ...] = flagged((3, 5), "Weight layers.", low=2, high=99)
    rates: tuple[float, ...] = flagged((0.1, 0.2), "Learning rates.", low=0)
    weight_decay: float = flagged(5e-4, "Weight decay.", low=0)
    batch: int = flagged(16, "Images in a step.", low=1)
    augment: bool = flagged(False, "Shift and mirror.")


def measure(config, progress):
    splits = data.load(config.dataset)
    with progress(config.seeds, "measuring") as bar:
        bar.advance(config.seeds)
    gain = np.arange(config.seeds) + 1.0
    return {"images": len(splits.train.labels), "gain": gain}, {"curve": np.outer(gain, [3, 1, 2])}


def claims(config):
    gain = lambda record: np.array(record.numbers["gain"])  # noqa: E731
    return [
        Claim("gain", "Nobody 2000, figure 1", "it gains", gain, Greater()),
        Claim("loss", "Nobody 2000, figure 2", "it loses",
              lambda record: gain(record) < 0, Share()),
    ]  # fmt: skip


def plot(record, config):
    figure, axes = plots.new_figure(1, 1)
    plots.seed_band(axes[0, 0], [0, 1, 2], record.arrays["curve"], "k", "gain")
    return plots.finish(figure, record, "It gains")


@pytest.fixture
def toy():
    """A whole experiment that takes no time."""
    module = types.ModuleType("experiments.toy")
    module.__file__ = str(ROOT / "experiments" / "toy.py")
    module.__doc__ = "A toy that gains.\n\nSource: Nobody 2000.\n"
    module.Config, module.measure, module.claims, module.plot = Config, measure, claims, plot
    module.PRESETS = {"tiny": Config(seeds=2), "cpu": Config(), "gpu": Config(seeds=9)}
    return module


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture(autouse=True)
def as_configured(monkeypatch):
    """JAX has started in this process: leave it and the environment as they are."""
    monkeypatch.setattr(cli.runtime, "configure", lambda **_: None)
    monkeypatch.setenv("TFDS_DATA_DIR", "/nowhere")


def call(experiment, *flags):
    with pytest.raises(SystemExit) as caught:
        cli.main(experiment, [f"{experiment.__name__}.py", *flags])
    return caught.value.code


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


BAD = [
    (["--weight_decay=nan"], "'nan' is not a finite number"),
    (["--weight_decay=inf"], "'inf' is not a finite number"),
    (["--weight_decay=-1"], "'-1' must be at least 0"),
    (["--weight_decay=much"], "'much' is not a number"),
    (["--weight_decay="], "'' is not a number"),
    (["--rates=0.1,nan"], "'nan' is not a finite number"),
    (["--rates=0.1,0.10"], "'0.1,0.10' names a value twice"),
    (["--rates="], "'' is not a number"),
    (["--seeds=0"], "'0' must be from 1 to 1000"),
    (["--seeds=1001"], "'1001' must be from 1 to 1000"),
    (["--batch=3000000000"], "'3000000000' is too large: at most 1000000"),
    (["--seeds=1.5"], "'1.5' is not a whole number"),
    (["--seeds=five"], "'five' is not a whole number"),
    (["--seeds"], "seeds"),
    (["--depths=3,1"], "'1' must be from 2 to 99"),
    (["--depths=3,3"], "'3,3' names a value twice"),
    (["--depths=3,,5"], "'' is not a whole number"),
    (["--optimizer=lion"], "'lion' is none of sgd, adam"),
    (["--dataset="], "it must not be empty"),
    (["--dataset=no_such_set"], "no_such_set"),
    (["--augment=perhaps"], "perhaps"),
    (["--weight_decai=1"], "Did you mean: weight_decay"),
    (["--sede=3"], "Did you mean: seeds"),
    (["--zzz"], "zzz"),
    (["surplus"], "stray argument 'surplus'"),
    (["--seeds=3", "4"], "stray argument '4'"),
    (["--results="], "--results must not be empty"),
    (["--run_name=../x"], "run name '../x'"),
    (["--run_name=a/b"], "run name 'a/b'"),
    (["--run_name=/tmp/x"], "run name '/tmp/x'"),
    (["--run_name=.."], "run name '..'"),
    (["--run_name=.hidden"], "run name '.hidden'"),
    (["--run_name="], "run name ''"),
    (["--preset=nosuch"], "nosuch"),
    (["--plot_only"], "run the experiment first"),
    (["--data_devices=3"], "2 devices cannot be shared out in groups of 3"),
    (["--data_devices=0"], "data_devices"),
    (["--num_processes=2"], "several processes need --coordinator and --process_id too"),
    (["--coordinator=a:1", "--num_processes=1", "--process_id=1"], "count from 0"),
]


@pytest.mark.parametrize(("flags", "reason"), BAD, ids=[" ".join(flags) for flags, _ in BAD])
def test_a_mistake_is_one_clear_line_and_nothing_is_written(toy, results, capsys, flags, reason):
    assert call(toy, f"--results={results}", *flags) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert reason in err
    assert "Traceback" not in err
    assert not results.exists()


def test_the_mistake_names_the_flag(toy, results, capsys):
    for flags in (["--weight_decay=nan"], ["--seeds=0"], ["--depths=3,3"]):
        call(toy, f"--results={results}", *flags)
        assert flags[0].split("=")[0].strip("-") in capsys.readouterr().err


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_results_below_a_file_fail_before_the_run(toy, tmp_path, capsys, below):
    toy.measure = None  # calling it would be a TypeError
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    assert call(toy, f"--results={blocked / below}") == 2
    assert "cannot write to" in capsys.readouterr().err
    assert blocked.read_text() == "mine"


def test_results_without_permission_fail_before_the_run(toy, results, capsys, monkeypatch):
    toy.measure = None

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(cli.tempfile, "TemporaryDirectory", refuse)  # root may write anywhere
    assert call(toy, f"--results={results}") == 2
    assert "choose another directory with --results" in capsys.readouterr().err
    assert not results.exists()


def test_help_shows_the_docstring_and_every_flag(toy, results, capsys):
    for experiment in (toy, he_init):
        for flag in ("--help", "-h"):
            assert call(experiment, flag, f"--results={results}") == 0
            out, err = capsys.readouterr()
            assert err == ""
            assert experiment.__doc__.strip() in out
            common = ["preset", "run_name", "results", "data_dir", "plot_only"]
            for field in dataclasses.fields(experiment.Config):
                assert field.metadata["help"].split()[0] in out
                common.append(field.name)
            for name in common:
                assert f"--{name}" in out or f"--[no]{name}" in out
    assert not results.exists()


def test_help_shows_what_is_legal(toy, capsys):
    assert call(toy, "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    for line in (
        "Paired seeds. (from 1 to 1000) [cpu default: 5]",
        "Learning rates. (at least 0) [cpu default: 0.1,0.2]",
        "Optimizer. (one of sgd, adam) [cpu default: sgd]",
        "Data set. [cpu default: digits]",
    ):
        assert line in out


def test_a_run_leaves_a_whole_record(toy, results, capsys):
    flags = ["--seeds=6", "--depths=7,9", "--rates=0.5", "--augment", "--optimizer=adam"]
    assert call(toy, "--preset=tiny", f"--results={results}", "--run_name=mine", *flags) == 0
    out, _ = capsys.readouterr()
    assert "1 reproduced, 1 contradicted" in out  # a contradiction is a result: exit code 0
    assert "mine/ holds record.json, arrays.npz and figure.png" in out
    directory = results / "mine"
    assert sorted(path.name for path in directory.iterdir()) == [
        "arrays.npz", "figure.png", "record.json",
    ]  # fmt: skip
    assert [path.name for path in results.iterdir()] == ["mine"]
    record = records.load(directory)
    assert (record.experiment, record.preset, record.run_name) == ("toy", "tiny", "mine")
    assert record.command.startswith("python -m experiments toy --preset=tiny --results=")
    assert record.command.endswith(" ".join(["--run_name=mine", *flags]))
    wanted = Config(seeds=6, depths=(7, 9), rates=(0.5,), augment=True, optimizer="adam")
    assert cli.make_config_from(toy, record) == wanted
    assert record.numbers == {"images": 1437, "gain": [1, 2, 3, 4, 5, 6]}
    np.testing.assert_array_equal(record.arrays["curve"][1], [6, 2, 4])
    assert [claim["verdict"] for claim in record.claims] == ["reproduced", "contradicted"]
    assert record.provenance["wall_time_s"] >= 0


def test_the_command_of_a_record_joins_no_processes(toy, results):
    joined = ["--coordinator=127.0.0.1:1", "--num_processes", "1", "--process_id=0"]
    assert call(toy, "--seeds=6", *joined, f"--results={results}", "--run_name=it") == 0
    command = records.load(results / "it").command
    assert command == f"python -m experiments toy --seeds=6 --results={results} --run_name=it"


def test_the_command_can_be_pasted_into_a_shell(toy, tmp_path):
    results = tmp_path / "with a space; and $more"
    assert call(toy, f"--results={results}") == 0
    assert f"'--results={results}'" in records.load(results / "toy").command


def test_plot_only_redraws_without_measuring(toy, results, capsys):
    assert call(toy, f"--results={results}") == 0
    before = files(results)
    toy.measure = None
    assert call(toy, f"--results={results}", "--plot_only") == 0
    assert files(results) == before
    # Claims are judged anew: they may have become stricter since.
    toy.claims = lambda config: [dataclasses.replace(claims(config)[0], rule=Greater(100.0))]
    assert call(toy, f"--results={results}", "--plot_only") == 0
    (judged,) = records.load(results / "toy").claims
    assert judged["verdict"] == "contradicted"


def test_the_first_verdict_sees_what_later_ones_read(toy, results):
    """A seventh of a float32 number is not that of the same number from JSON."""
    toy.measure = lambda config, progress: ({"gain": np.array([0.1, 0.7, 0.3], np.float32)}, {})
    seventh = lambda record: np.array(record.numbers["gain"]) / 7  # noqa: E731
    toy.claims = lambda config: [dataclasses.replace(claims(config)[0], statistic=seventh)]
    toy.plot = lambda record, config: plots.new_figure(1, 1)[0]
    assert call(toy, f"--results={results}") == 0
    before = files(results)
    (judged,) = records.load(results / "toy").claims
    read = np.array([0.1, 0.7, 0.3], np.float32).astype(float)
    assert judged["estimate"] == pytest.approx((read / 7).mean(), rel=1e-12)
    assert call(toy, f"--results={results}", "--plot_only") == 0
    assert files(results) == before


def test_plot_only_takes_the_record_s_config_not_the_preset_s(toy, results):
    seen = []
    assert call(toy, f"--results={results}", "--run_name=mine", "--seeds=7") == 0
    toy.claims = lambda config: seen.append(config) or claims(config)
    assert call(toy, f"--results={results}", "--run_name=mine", "--plot_only") == 0
    assert seen == [Config(seeds=7)]


def test_plot_only_of_a_record_made_by_another_version_is_one_clear_line(toy, results, capsys):
    assert call(toy, f"--results={results}") == 0
    before = files(results)

    @dataclasses.dataclass(frozen=True)
    class Renamed:
        runs: int = flagged(5, "Runs.")

    toy.Config, toy.PRESETS = Renamed, {"tiny": Renamed(), "cpu": Renamed()}
    capsys.readouterr()
    assert call(toy, f"--results={results}", "--plot_only") == 2
    err = capsys.readouterr().err
    assert "made by another version of toy" in err
    assert err.count("\n") == 1
    assert files(results) == before


def test_plot_only_of_another_experiment_s_record_is_one_clear_line(toy, results, capsys):
    assert call(toy, f"--results={results}", "--run_name=shared") == 0
    before = files(results)
    toy.__file__ = str(ROOT / "experiments" / "other.py")
    capsys.readouterr()
    assert call(toy, f"--results={results}", "--run_name=shared", "--plot_only") == 2
    err = capsys.readouterr().err
    assert "is a record of toy" in err
    assert err.count("\n") == 1
    assert files(results) == before


def interrupted(config, progress):
    with progress(10, "measuring") as bar:
        bar.advance(3)
        raise KeyboardInterrupt


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


@pytest.mark.parametrize("function", ["measure", "claims", "plot"])
def test_a_mistake_of_the_experiment_is_a_traceback_and_writes_nothing(toy, results, function):
    def broken(*_):
        raise ZeroDivisionError

    setattr(toy, function, broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(toy, ["toy.py", f"--results={results}"])
    assert not results.exists()


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "toy"),
        (["--preset=cpu"], "toy"),
        (["--seeds=5"], "toy"),  # the default, said aloud
        (["--preset=tiny"], "toy-tiny"),
        (["--preset=gpu"], "toy-gpu"),
    ],
)
def test_an_untouched_preset_has_its_own_name(toy, results, flags, name):
    assert call(toy, f"--results={results}", *flags) == 0
    assert [path.name for path in results.iterdir()] == [name]


def test_a_touched_preset_never_replaces_another_record(toy):
    names = {
        cli.default_run_name(toy, preset, dataclasses.replace(toy.PRESETS[preset], **changes))
        for preset in ("tiny", "cpu")
        for changes in ({}, {"seeds": 7}, {"seeds": 8}, {"rates": (0.1,)}, {"augment": True})
    }
    assert len(names) == 10
    assert all(records.RUN_NAME.fullmatch(name) for name in names)
    again = cli.default_run_name(toy, "cpu", Config(seeds=7))
    assert again in names
    assert again.startswith("toy-cpu-")


def test_data_dir_is_where_prepared_sets_are_looked_for(toy, results, tmp_path, monkeypatch):
    seen = []
    toy.measure = lambda config, progress: (
        seen.append(cli.os.environ["TFDS_DATA_DIR"]) or measure(config, progress)
    )
    assert call(toy, f"--results={results}", f"--data_dir={tmp_path}/a/../b") == 0
    assert seen == [str(tmp_path / "b")]


# Experiments with long runs.


@pytest.fixture
def long_toy(toy, tmp_path):
    """A toy whose ``measure`` takes a work directory, and flags that keep it in ``tmp_path``."""

    def long_measure(config, progress, workdir):
        workdir.part("net").earlier_seconds = 1000.0
        (workdir.directory / "net" / "checkpoints" / "4").mkdir(parents=True, exist_ok=True)
        return measure(config, progress)

    toy.measure = long_measure
    return toy, [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'work'}"]


def test_only_long_runs_have_the_flags_of_a_workdir(long_toy, capsys):
    toy, _ = long_toy
    long_flags = ["--workdir", "--[no]resume", "--[no]tensorboard"]
    assert call(toy, "--help") == 0
    told = capsys.readouterr().out
    assert all(flag in told for flag in long_flags)
    toy.measure = measure
    assert call(toy, "--help") == 0
    assert not any(flag in capsys.readouterr().out for flag in long_flags)
    assert call(toy, "--noresume") == 2


def test_a_long_run_keeps_its_directory_and_counts_earlier_seconds(long_toy, tmp_path, capsys):
    toy, flags = long_toy
    assert call(toy, *flags, "--preset=tiny") == 0
    record = records.load(tmp_path / "results" / "toy-tiny")
    assert 1000 <= record.provenance["wall_time_s"] < 1060
    (kept,) = (tmp_path / "work").iterdir()
    assert kept.name.startswith("toy-tiny-")
    assert sorted(path.name for path in kept.iterdir()) == ["config.json", "lock", "net"]
    assert call(toy, *flags, "--seeds=7") == 0
    assert len(list((tmp_path / "work").iterdir())) == 2
    capsys.readouterr()
    assert call(toy, *flags, "--preset=tiny") == 0
    assert capsys.readouterr().err.count("starting afresh") == 0
    assert call(toy, *flags, "--preset=tiny", "--noresume") == 0
    assert f"starting afresh: emptying {kept}" in capsys.readouterr().err


def test_a_record_of_nets_that_other_code_trained_says_so(long_toy, tmp_path, monkeypatch, capsys):
    """They are not trained again; the commit of today is not theirs."""
    toy, flags = long_toy
    toy.__file__ = str(tmp_path / "toy.py")
    provenances = []
    for text in ("decay = 1", "decay = 2", "decay = 2"):
        Path(toy.__file__).write_text(text)
        assert call(toy, *flags, "--preset=tiny") == 0
        provenances.append(records.load(tmp_path / "results" / "toy-tiny"))
    assert "the code has changed" in capsys.readouterr().err
    first, second, third = provenances
    assert "earlier" not in first.provenance
    assert "begun" not in first.origin()
    for later in (second, third):
        (maker,) = later.provenance["earlier"]
        assert maker["commit"] == first.provenance["commit"]
        assert f"; begun with other code: 2 x {maker['device']}" in later.origin()
    assert call(toy, *flags, "--preset=tiny", "--noresume") == 0
    assert "earlier" not in records.load(tmp_path / "results" / "toy-tiny").provenance


def test_plot_only_of_a_long_run_needs_no_workdir(long_toy, tmp_path):
    toy, flags = long_toy
    assert call(toy, *flags) == 0
    assert call(toy, flags[0], "--plot_only", f"--workdir={tmp_path / 'other'}") == 0
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("stops", "code", "words"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 75, "stopped by SIGTERM between two parts"),
        (lambda: interrupted(None, cli.progress), 130, "stopped by Ctrl-C between two parts"),
    ],
)
def test_a_long_run_that_is_stopped_says_how_to_go_on(
    long_toy, tmp_path, capsys, stops, code, words
):
    toy, flags = long_toy
    toy.measure = lambda config, progress, workdir: stops()
    assert call(toy, *flags, "--seeds=7", "--noresume") == code
    out, err = capsys.readouterr()
    assert out == ""
    command = f"python -m experiments toy {' '.join(flags)} --seeds=7"
    assert err.endswith(f"{words}\nto go on: {command}\n")
    assert not (tmp_path / "results").exists()


def test_sigterm_before_the_first_net_is_a_stop_too(long_toy, tmp_path, capsys, monkeypatch):
    toy, flags = long_toy
    before, seen = signal.getsignal(signal.SIGTERM), []

    def configure(cpu_devices):
        seen.append(signal.getsignal(signal.SIGTERM))
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(cli.runtime, "configure", configure)
    assert call(toy, *flags) == 75
    how = f"to go on: python -m experiments toy {' '.join(flags)}\n"
    assert capsys.readouterr().err == f"stopped by SIGTERM before its first net\n{how}"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "kill", lambda *_: None)
    toy.measure = measure  # no long run: it is ended, and at once
    assert call(toy, flags[0]) == 0
    assert seen[1] == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("sent", "code", "line"),
    [
        (signal.SIGTERM, 75, "stopped by SIGTERM: start it again"),
        (signal.SIGINT, 130, "stopped; nothing was written"),
    ],
)
def test_a_stop_while_python_imports_is_one_line_too(tmp_path, sent, code, line):
    command = [sys.executable, "-X", "importtime", "-m", "experiments", "plain_vs_residual"]
    places = [f"--results={tmp_path / 'r'}", f"--workdir={tmp_path / 'w'}", "--preset=tiny"]
    # Tests that run in the background ignore Ctrl-C, and so would the child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = subprocess.Popen([*command, *places], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    for done in child.stderr:  # a line for every import that is done
        if done.split()[-1] == "experiments":
            break
    child.send_signal(sent)
    last = child.communicate(timeout=60)[1].splitlines()[-1]
    assert child.returncode == code
    assert last == line
    assert list(tmp_path.iterdir()) == []


def test_a_workdir_that_cannot_be_used_is_one_clear_line(long_toy, tmp_path, capsys):
    toy, flags = long_toy
    (tmp_path / "file").write_text("mine")
    for place, reason in ((tmp_path / "file", "--workdir"), ("", "--workdir must not be empty")):
        assert call(toy, flags[0], f"--workdir={place}") == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert reason in err
        assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("flags", "platform", "line"), [
    (["--lr=nan"], "cpu", "lr"),
    (["--mlp_width=0"], "cpu", "'0' must be from 1"),
    (["--preset=tiny"], "nosuch", "JAX_PLATFORMS is 'nosuch': unset it"),
])  # fmt: skip
def test_as_the_user_types_it(tmp_path, flags, platform, line):
    command = [sys.executable, "-m", "experiments", "he_init", f"--results={tmp_path}/r", *flags]
    env = {**os.environ, "JAX_PLATFORMS": platform}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert line in done.stderr
    assert not (tmp_path / "r").exists()
