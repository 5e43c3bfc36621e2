"""What processes of one run hold against one another, and who of them speaks."""

import pytest

from jaxvision import cli, data
from jaxvision.cli import together
from jaxvision.native import switch
from jaxvision.parallel import distributed, peers
from jaxvision.types import UserError
from tests.cli.toy import Config, call


def identity(toy, *flags):
    values = cli.parse_flags(toy, ["toy.py", *flags])
    config = cli.make_config(toy, values.preset, values.flag_values_dict())
    return together.identity_of(toy, values, config)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--weight_decay=0.5"], "--weight_decay (0.5 there, 0.0005 here)"),
        (["--data_devices=2"], "--data_devices (2 there, 1 here)"),
        (["--native=off"], "--native (off there, auto here)"),
        (["--plot_only"], "--plot_only (True there, False here)"),
        (["--preset=tiny"], "--seeds (2 there, 5 here)"),
        (["--seeds=5", "--run_name=x", "--results=/there", "--quiet"], ""),
    ],
)
def test_what_changes_a_run_is_part_of_its_identity(toy, flags, told):
    assert peers.differences(identity(toy), identity(toy, *flags)) == told


def test_another_experiment_other_code_and_other_switches_differ(toy, tmp_path, monkeypatch):
    first = identity(toy)
    toy.__file__ = str(tmp_path / "toy.py")
    (tmp_path / "toy.py").write_text("rate = 1")
    changed = identity(toy)
    assert peers.differences(first, changed).startswith("code (")
    (tmp_path / "_helper.py").write_text("rate = 2")
    assert peers.differences(changed, identity(toy)).startswith("code (")
    toy.__file__ = str(tmp_path / "other.py")
    assert peers.differences(first, identity(toy)).startswith("experiment (other there, toy here)")
    before = identity(toy)
    monkeypatch.setenv("JAXVISION_DISABLE", "conv")
    told = peers.differences(before, identity(toy))
    assert told == "JAXVISION_DISABLE (conv there,  here)"


def test_long_values_stay_short_and_apart(toy):
    depths = [",".join(map(str, range(2, last))) for last in (90, 91)]
    first, second = (identity(toy, f"--depths={text}")["--depths"] for text in depths)
    assert first != second
    assert len(first) < 80


def test_the_identity_meets_the_others(toy, results, monkeypatch):
    met = []

    def start(values, identity):
        met.append(identity)
        raise UserError("enough")

    monkeypatch.setattr(distributed, "start_from_flags", start)
    assert call(toy, f"--results={results}") == 2
    assert met == [identity(toy)]


def test_where_jax_joined_the_processes_they_compare_themselves(toy, results, monkeypatch):
    compared = []
    monkeypatch.setattr(distributed, "joined_by_jax", lambda: True)
    monkeypatch.setattr(distributed, "agree", compared.append)
    assert call(toy, f"--results={results}") == 0
    assert compared[0] == identity(toy)


@pytest.mark.parametrize(("is_on", "told"), [(True, "on"), (False, "off")])
def test_processes_agree_whether_kernels_are_on(toy, results, monkeypatch, is_on, told):
    """One host may have a compiler and another none."""
    compared = []

    def agree(identity):
        compared.append(identity)
        raise UserError("this process differs: start every process on the same data")

    monkeypatch.setattr(switch, "is_on", lambda: is_on)
    monkeypatch.setattr(distributed, "several", lambda: True)
    monkeypatch.setattr(distributed, "joined_by_jax", lambda: False)
    monkeypatch.setattr(distributed, "agree", agree)
    with pytest.raises(UserError, match=r"same data, with a C\+\+ compiler on every host or"):
        together.agree_on_kernels()
    assert call(toy, f"--results={results}") == 2
    assert compared == [{"native kernels": told}] * 2


def test_data_are_compared_when_the_work_begins_and_at_its_end(toy, monkeypatch):
    """Two hosts may hold other data under one name."""
    compared = []
    monkeypatch.setattr(distributed, "several", lambda: True)
    monkeypatch.setattr(distributed, "agree", compared.append)

    def measure(config, progress):
        data.load("digits")
        with progress(1, "first"):
            compared.append("work")
        data.load("shapes")
        with progress(1, "second"):
            compared.append("work")
        return {}, {}

    toy.measure = measure
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    cli.run(toy, Config(), "cpu", "toy", "a test")
    first, work, again, last = compared
    assert work == again == "work"
    assert list(first) == ["data set digits"]
    assert list(last) == ["data set digits", "data set shapes"]
    known = data.load("digits").identity
    assert known.digest in first["data set digits"]


def test_the_record_names_the_data(toy):
    record = cli.run(toy, Config(), "cpu", "toy", "a test")
    (known,) = record.provenance["data"]
    assert known == data.load("digits").identity.recorded()
    toy.measure = lambda config, progress: ({}, {})
    assert cli.run(toy, Config(), "cpu", "toy", "a test").provenance["data"] == []
