"""Own data from the command line, and the page about them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from experiments.initialization import escape_time
from jaxvision import cli
from jaxvision.data import load

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def command(tmp_path, capsys):
    """Return ``command(*flags) -> (exit code, stderr)`` of escape_time at its tiny preset."""

    def ran(*flags):
        with pytest.raises(SystemExit) as ended:
            cli.main(
                escape_time,
                ["escape_time", "--preset=tiny", f"--results={tmp_path / 'out'}", *flags],
            )
        return ended.value.code, capsys.readouterr().err

    return ran


def test_a_folder_is_trained_on_and_its_content_recorded(
    command, tmp_path, make_folder, noise, monkeypatch
):
    """Not even the order of the labels is left to the name of the folder."""
    files = {f"{k}/{i}.jpg": noise(i, (20, 12 + i)) for k in ("b10", "b9") for i in range(20)}
    make_folder(tmp_path / "mine", files)
    monkeypatch.chdir(tmp_path)
    code, said = command("--dataset=./mine@8px", "--run_name=own")
    assert code == 0 and said.count("./mine: 2 classes (b9 20, b10 20), 32 training and 8") == 1
    record = json.loads((tmp_path / "out" / "own" / "record.json").read_text())
    assert record["config"]["dataset"] == "./mine@8px"
    digest = load("./mine@8px").identity.digest
    assert record["provenance"]["data"] == [
        {
            "name": "mine",
            "version": "",
            "label": "",
            "digest": digest,
            "train": 32,
            "test": 8,
            "classes": ["b9", "b10"],
        }
    ]


@pytest.mark.parametrize(
    "dataset, said",
    [
        ("./mine", "--dataset=./mine@64px scales all of them to 64 x 64 pixels"),
        ("mine", "of what lies in this directory say './mine'"),
        ("./nowhere", "nothing is at 'nowhere', looked for from"),
        ("./mine@hue", "leave out @hue"),
        ("./mine/a", "holds images but no class folders"),
        ("./notes.txt", "'notes.txt' is nothing that can be learned from: that is a folder"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(
    command, tmp_path, make_folder, noise, monkeypatch, dataset, said
):
    files = {f"{k}/{i}.jpg": noise(i, (20, 12 + i)) for k in "ab" for i in range(5)}
    make_folder(tmp_path / "mine", files)
    (tmp_path / "notes.txt").write_text("none")
    monkeypatch.chdir(tmp_path)
    code, line = command(f"--dataset={dataset}")
    assert code == 2 and said in line
    assert line.startswith("error: ") and line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "own_data.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, "own_data.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "('day', 'night') (32, 16, 16, 3) (8, 16, 16, 3)"
    assert printed[1].startswith("('dark', 'gray', 'light') ")
    assert printed[2] == "('left', 'right') 32 8"
    # The classes of the first can be told apart by their brightness, as they were drawn.
    skies = load("./skies@16px").train
    brightness = skies.images.mean((1, 2, 3))
    assert (np.where(brightness > 120, 0, 1) == skies.labels).all()
