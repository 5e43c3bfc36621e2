"""The public names: there, lazy, and used on their pages as they are."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

import jaxvision as jv

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
NOTEBOOK = ROOT / "docs" / "notebook_watch.py"


@pytest.fixture
def beside_results(tmp_path, monkeypatch):
    """Go where pages may write, and records are."""
    os.symlink(ROOT / "experiments", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(matplotlib, "rcParams", matplotlib.rcParams)
    return tmp_path


def test_every_public_name_is_there_and_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    assert dir(jv) == sorted(jv.__all__)
    for name in jv.__all__:
        assert getattr(jv, name).__doc__
        assert f"`jv.{name}" in text
    with pytest.raises(AttributeError, match="has no attribute 'tpyo'"):
        jv.tpyo  # noqa: B018


def test_the_names_are_those_that_an_editor_sees():
    source = (ROOT / "jaxvision" / "__init__.py").read_text(encoding="utf-8")
    (shown,) = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    names = {alias.asname or alias.name for node in shown.body for alias in node.names}
    assert names | {"__version__"} == set(jv.__all__)


@pytest.mark.parametrize(
    ("name", "absent"),
    [("__version__", "jax"), ("load_record", "flax matplotlib"), ("watch", "matplotlib")],
)
def test_a_name_waits_for_what_it_needs_alone(name, absent):
    code = f"import sys, jaxvision; jaxvision.{name}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not set(absent.split()) & set(done.stdout.split())


def test_the_page_runs(beside_results, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    namespace = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), namespace)
    printed = capsys.readouterr().out
    through = float(re.search(r"(\S+) of the gradient comes through", printed).group(1))
    assert 0.6 < through < 0.8, "Flax's default loses a factor of the square root of two"
    assert (beside_results / "net.png").stat().st_size > 10_000


def test_the_notebook_runs_and_is_one(beside_results, capsys):
    source = NOTEBOOK.read_text(encoding="utf-8")
    cells = re.split(r"^# %%", source, flags=re.MULTILINE)
    assert "format_name: percent" in cells[0]
    assert len(cells) > 8
    exec(compile(source, str(NOTEBOOK), "exec"), {"__name__": "notebook"})
    printed = capsys.readouterr().out
    first = dict(re.findall(r"(\w+): the first layer sees (\S+) of", printed))
    assert float(first["He"]) > 5 * float(first["Flax"])
    assert (beside_results / "watched.png").stat().st_size > 10_000
