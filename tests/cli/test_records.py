"""What a run leaves behind, and what is drawn again from it."""

import dataclasses

import numpy as np
import pytest

from jaxvision import cli, nets
from jaxvision.cli.help import help_text
from jaxvision.fields import flagged
from jaxvision.report import plots
from jaxvision.report import record as records
from jaxvision.report.claims import Greater
from tests.cli import toy as toys
from tests.cli.toy import ROOT, Config, call, claims, files, refusal


def test_a_run_leaves_a_whole_record(toy, results, capsys):
    flags = ["--seeds=6", "--depths=7,9", "--rates=0.5", "--augment", "--optimizer=adam"]
    assert call(toy, "--preset=cpu", f"--results={results}", "--run_name=mine", *flags) == 0
    out, _ = capsys.readouterr()
    assert "1 contradicted, 1 reproduced" in out  # a contradiction is a result: exit code 0
    assert "mine/ holds record.json, arrays.npz, figure.png and figure.svg" in out
    directory = results / "mine"
    assert sorted(path.name for path in directory.iterdir()) == [
        "arrays.npz",
        "figure.png",
        "figure.svg",
        "record.json",
    ]
    assert [path.name for path in results.iterdir()] == ["mine"]
    record = records.load(directory)
    assert (record.experiment, record.preset, record.run_name) == ("toy", "cpu", "mine")
    assert record.command.startswith("python -m experiments toy --preset=cpu --results=")
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


def test_plot_only_refuses_flags_that_the_run_did_not_have(toy, results, capsys):
    mine = (f"--results={results}", "--run_name=mine")
    assert call(toy, *mine, "--seeds=7") == 0
    before = files(results)
    capsys.readouterr()
    line = refusal(toy, capsys, *mine, "--plot_only", "--seeds=8")
    assert "mine was measured with --seeds=7" in line and "leave out --seeds" in line
    line = refusal(toy, capsys, *mine, "--plot_only", "--preset=tiny")
    assert "measured with --preset=cpu" in line
    assert files(results) == before
    assert call(toy, *mine, "--seeds=7", "--plot_only") == 0


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


def test_a_run_says_how_long_it_takes_where_that_is_known(toy, results, capsys):
    line = "jaxvision: toy: about 3 minutes on a laptop's two cores\n"
    for flags, told in (([], True), (["--seeds=3"], False), (["--preset=tiny"], False)):
        assert call(toy, f"--results={results}", *flags, minutes=3) == 0
        assert (line in capsys.readouterr().err) == told
    assert call(toy, f"--results={results}", minutes=1) == 0
    assert "about 1 minute on" in capsys.readouterr().err
    assert call(toy, f"--results={results}", "--plot_only", minutes=3) == 0
    assert "about" not in capsys.readouterr().err


def test_a_quiet_run_shows_verdicts_alone(toy, results, capsys):
    assert call(toy, f"--results={results}", "--quiet", minutes=3) == 0
    out, err = capsys.readouterr()
    assert "1 reproduced" in out
    assert err == ""
    assert call(toy, f"--results={results}") == 0
    assert "measuring: started" in capsys.readouterr().err


def test_a_record_names_the_nets_that_were_used(toy, results, tmp_path, capsys):
    """Whoever takes shared nets has the flag that says where they lie; others do not."""
    assert call(toy, "--preset=cpu", f"--nets={tmp_path}") == 2
    assert "unknown flag --nets" in capsys.readouterr().err
    spec = nets.Spec("digits", "mlp", {"depth": 3, "width": 4}, 0.05, 4, images=50, batch_size=20)

    def measure(config, progress):
        nets.trained(spec, (0,))
        return toys.measure(config, progress)

    toy.measure, toy.wanted_nets = measure, lambda config: [nets.Wanted(spec, (0,))]
    flags = [f"--results={results}", "--run_name=mine", f"--nets={tmp_path / 'nets'}"]
    for _ in range(2):
        assert call(toy, "--preset=cpu", *flags) == 0
        (used,) = records.load(results / "mine").provenance["nets"]
        (folder,) = (tmp_path / "nets").iterdir()
        assert used["key"] == folder.name
        assert used["spec"]["sizes"] == {"depth": 3, "width": 4}
        assert len(used["test_error"]) == 1
    assert "--nets: Directory of nets" in help_text(toy)
    nets.configure(None)
