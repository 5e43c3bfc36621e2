"""The list of runs: what differs from the preset, how claims came out, what cannot be read."""

import dataclasses
import threading

import numpy as np
import pytest

from jaxvision.longrun.workdir import config_hash
from jaxvision.report import record as records
from jaxvision.report import shelves
from jaxvision.report.judgement import Judgement
from jaxvision.report.record import Record
from jaxvision.types import UserError


def run(name, experiment="toy", verdicts=("reproduced",), flags="", started="2026-11-29"):
    claims = [
        Judgement(str(i), "Nobody 2000", "it gains", "direction", "above 0", verdict).to_dict()
        for i, verdict in enumerate(verdicts)
    ]
    command = f"python -m experiments {experiment} {flags}"
    known = {"device": "cpu: Z80", "started": f"{started}T10:00:00+00:00"}
    config = {"width": 8, "seeds": 5, "first_seed": 0}
    return Record(experiment, "cpu", name, command, config, {}, {}, claims, known)


@pytest.fixture
def shelf(tmp_path):
    """A folder with three records: one old, one of another experiment, one of many verdicts."""
    verdicts = ["contradicted", *["reproduced"] * 3, "not run"]
    made = [
        run("toy", started="2026-11-30"),
        run("toy-cpu-0a1b", verdicts=verdicts, flags="--width=8"),
        run("other_one", experiment="other_one", started="2026-01-01"),
    ]
    for each in made:
        records.save(each, None, tmp_path / "shelf" / each.run_name)
    return tmp_path / "shelf"


def test_runs_are_listed_with_what_tells_them_apart_the_newest_last(shelf, tmp_path, capsys):
    assert shelves.main([f"--results={shelf}"], tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{shelf}:"
    assert [line.split() for line in lines[1:5]] == [
        ["run", "changed", "claims", "device", "date"],
        ["other_one", "✓1", "cpu:", "Z80", "2026-01-01"],
        ["toy-cpu-0a1b", "--width=8", "✗1", "✓3", "–1", "cpu:", "Z80", "2026-11-29"],
        ["toy", "✓1", "cpu:", "Z80", "2026-11-30"],
    ]
    assert lines[-1].startswith("3 runs. ✗ contradicted, ")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["toy"], ["toy-cpu-0a1b", "toy"]),
        (["0a1b"], ["toy-cpu-0a1b"]),
        (["other-one"], ["other_one"]),
        (["0a1b", "other"], ["other_one", "toy-cpu-0a1b"]),
    ],
)
def test_names_filter(shelf, tmp_path, capsys, words, names):
    assert shelves.main([*words, f"--results={shelf}"], tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()[2:-2]
    assert [line.split()[0] for line in lines] == names


def test_what_is_not_there_is_one_line(shelf, tmp_path, capsys):
    for arguments in (["nothing"], ["--resluts=x"]):
        assert shelves.main([*arguments, f"--results={shelf}"], tmp_path) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert shelves.main(["other_on_", f"--results={shelf}"], tmp_path) == 2
    assert "did you mean other_one?" in capsys.readouterr().err
    assert shelves.main([], tmp_path / "none") == 2
    assert "there is no run in " in capsys.readouterr().err


def test_a_damaged_record_is_a_line_of_the_list_and_others_are_shown(shelf, tmp_path, capsys):
    (shelf / "toy" / "record.json").write_text("{\x1b[2J")
    (shelf / ".toy.new").mkdir()
    (shelf / ".toy.new" / "record.json").write_text("half")
    (shelf / "toy-sweep-1").mkdir()
    assert shelves.main([f"--results={shelf}"], tmp_path) == 0
    out = capsys.readouterr().out
    assert f"{shelf / 'toy'} holds a damaged or foreign record" in out
    assert "toy-cpu-0a1b" in out
    assert out.replace("\n", "").isprintable()


def test_long_flags_are_cut_not_the_rest(shelf):
    found = [shelves.Found(shelf, run("toy", flags=f"--data_dir={'x' * 200}"))]
    line = shelves.listed(found, width=60).splitlines()[1]
    assert len(line) == 60
    assert line.endswith("...  ✓1      cpu: Z80  2026-11-29")


def test_a_run_is_found_by_name_or_path(shelf, tmp_path):
    assert shelves.find("toy", [tmp_path, shelf]).directory == shelf / "toy"
    assert shelves.find(str(shelf / "toy"), [tmp_path]).record.run_name == "toy"
    records.save(run("toy"), None, tmp_path / "toy")
    with pytest.raises(UserError, match=r"there are .* and .*: say which by its path"):
        shelves.find("toy", [tmp_path, shelf])
    with pytest.raises(UserError, match="did you mean other_one"):
        shelves.find("other_on", [shelf])


def test_field_case_43_runs_that_begin_in_one_second_keep_apart(tmp_path):
    """Names say what is run, not when: eight set-ups are eight directories, whole each.

    Eight runs of one set-up are one directory, whole, with the record of one of them.
    """
    gate = threading.Barrier(16)

    def save(width, name, value):
        record = dataclasses.replace(
            run(name),
            config={"width": width},
            arrays={"value": np.full(1000, value)},
        )
        gate.wait()
        records.save(record, None, tmp_path / name)

    different = [(i, f"toy-cpu-{config_hash({'width': i})}", i) for i in range(8)]
    same = [(99, f"toy-cpu-{config_hash({'width': 99})}", i) for i in range(8)]
    threads = [threading.Thread(target=save, args=each) for each in different + same]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = shelves.collect([tmp_path])
    assert len(found) == 9
    assert {one.record.config["width"] for one in found} == {*range(8), 99}
    for one in found:
        (value,) = np.unique(one.record.arrays["value"])
        assert one.record.config["width"] in (value, 99)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
