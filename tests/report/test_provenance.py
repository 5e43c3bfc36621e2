"""Provenance: the commit is of this code only, and its hash sees what no commit holds."""

import datetime
import json
import os
import shutil
import subprocess

import pytest

from jaxvision.native import switch
from jaxvision.report import provenance


def test_provenance_names_everything():
    started = datetime.datetime(
        2026, 1, 2, 1, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
    )
    known = provenance.describe(started, 12)
    assert known["started"] == "2026-01-01T23:30:00+00:00"
    assert known["wall_time_s"] == 12
    assert known["device"]
    assert known["device_count"] >= 1
    assert known["host_cores"] >= 1
    assert set(known["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "numpy"}
    json.dumps(known, allow_nan=False)


@pytest.mark.parametrize("is_on", [True, False])
def test_provenance_says_whether_kernels_were_on(monkeypatch, is_on):
    monkeypatch.setattr(switch, "is_on", lambda: is_on)
    now = datetime.datetime.now(datetime.UTC)
    assert provenance.describe(now, 0)["native_kernels"] is is_on


def test_commit_is_of_this_code_only(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    if shutil.which("git") is None:
        pytest.skip("no git here")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # a hook's would lead to its own repository
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    module = tmp_path / "jaxvision" / "report" / "provenance.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(module))
    module.touch()
    assert provenance._checkout() == ("unknown", None)  # no repository
    git("init", "-q")
    assert provenance._checkout() == ("unknown", None)  # another project's repository
    git("add", ".")
    git("commit", "-q", "-m", "first")
    commit, dirty = provenance._checkout()
    assert len(commit) == 40
    assert not dirty
    results = tmp_path / "experiments" / "results" / "run"
    results.mkdir(parents=True)
    (results / "record.json").touch()
    assert provenance._checkout() == (commit, False)  # a run's output is no change of the code
    (tmp_path / "experiments" / "he_init.py").touch()
    assert provenance._checkout() == (commit, True)


def test_the_hash_of_the_code_sees_every_edit_and_nothing_else(tmp_path, monkeypatch):
    package = tmp_path / "jaxvision"
    module, script = package / "report" / "provenance.py", tmp_path / "he_init.py"
    module.parent.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(module))
    seen = []

    def edit(path, text):
        path.write_text(text)
        seen.append(provenance.code_hash(script))

    edit(module, "a = 1")
    edit(script, "b = 1")
    edit(script, "b = 2")
    edit(package / "fields.py", "")
    edit(package / "fields.py", "a = 1")
    edit(package / "kernels.cc", "int a;")
    edit(package / "kernels.cc", "int b;")
    (package / "fields.py").rename(package / "taps.py")
    seen.append(provenance.code_hash(script))
    assert len(set(seen)) == len(seen)
    for other in (package / "notes.txt", tmp_path / "another.py"):
        other.write_text("anything")
        assert provenance.code_hash(script) == seen[-1]
    assert provenance.code_hash() != seen[-1]
    edit(script, "b = 1")
    edit(script, "b = 2")
    assert seen[-1] == seen[-3]
