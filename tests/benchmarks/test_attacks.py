"""The benchmark of attacks: both sides attack one net, and a fast failure is no success."""

import pytest

from benchmarks import attacks, attacks_jax
from benchmarks.attacks import FOOLBOX, ONE_BY_ONE, OURS


def side(ms, success=1.0, norm=1.0):
    facts = {"success": success, "norm": norm, "clean": 1, "samples": [{}]}
    return facts | {"ms": ms}


RESULTS = {
    "pgd:1": {OURS: side(1.0), FOOLBOX: side(100.0)},
    "pgd:32": {OURS: side(4.0), FOOLBOX: side(100.0)},
    "pgd8:1": {OURS: side(3.0), FOOLBOX: side(800.0)},
}


def test_ratios_and_goals():
    assert attacks.ratios(RESULTS)["pgd:32"] == pytest.approx(0.04)
    assert [goal.met for goal in attacks.goals(RESULTS)] == [True, False]
    table = attacks.markdown(RESULTS)
    assert "**missed**" in table
    assert attacks.CASES["pgd:32"].label in table


@pytest.mark.parametrize(
    ("ours", "line"), [(side(1.0, success=0.5), "succeeds"), (side(1.0, norm=2.0), "norms")]
)
def test_who_does_less_is_refused(ours, line):
    attacks.check("min_norm:32", side(1.0), side(9.0))
    with pytest.raises(RuntimeError, match=line):
        attacks.check("min_norm:32", ours, side(9.0))


def test_our_side_attacks(monkeypatch):
    monkeypatch.setattr(attacks_jax, "WIDTHS", (784, 16, 10))
    monkeypatch.setattr(attacks_jax, "STEPS", 3)
    run, facts = attacks_jax.prepare(OURS, "pgd8:2")
    run(1)
    assert 0 < facts["success"] <= 1
    assert facts["norm"] > 0
    assert attacks_jax.SIDES.keys() == {OURS, FOOLBOX}


def test_our_side_renders(monkeypatch):
    monkeypatch.setattr(attacks_jax, "SOLID_WIDTHS", (3072, 10))
    monkeypatch.setattr(attacks_jax, "EOT_STEPS", 4)
    run, facts = attacks_jax.prepare(OURS, "eot:3")
    run(1)
    assert 0 < facts["success"] <= 1
    assert 0 < facts["norm"] <= 24.0 + 1e-3


def test_renders_a_second_are_told():
    """16 textures, 40 steps, 4 renders in half a second."""
    results = {"eot:16": {OURS: side(500.0)}, "pgd:1": RESULTS["pgd:1"]}
    assert attacks.renders_a_second(results) == {"eot:16": pytest.approx(5120)}
    assert "5,120 renders a second" in attacks.markdown(results)


def test_a_sweep_finds_what_one_snapshot_at_a_time_finds(monkeypatch):
    for name, value in {"WIDTHS": (784, 8, 10), "SWEPT": 4, "RUNS": 1, "CROSSING": 3}.items():
        monkeypatch.setattr(attacks_jax, name, value)
    _, ours = attacks_jax.prepare(OURS, "sweep:2")
    _, theirs = attacks_jax.prepare(ONE_BY_ONE, "sweep:2")
    assert ours["norm"] == pytest.approx(theirs["norm"], rel=1e-4)
    assert ours["success"] == theirs["success"]


def test_the_sweep_s_ratio_is_printed_apart():
    sweep = {"sweep:48": {OURS: side(2.0), ONE_BY_ONE: side(50.0)}}
    results = RESULTS | sweep
    assert attacks.ratios(results)["sweep:48"] == pytest.approx(0.04)
    table = attacks.markdown(results)
    assert f"| snapshots | {OURS}, ms | {ONE_BY_ONE}, ms |" in table
    assert "0.04" in table.splitlines()[-4]
