"""The verdicts as a terminal shows them."""

from jaxvision.report.judgement import SMOKE_TEST, Judgement
from jaxvision.report.table import table


def judged(id, verdict, sentence="He learns faster.", estimate=3.0, note=""):
    stated = (id, "He et al. 2015, figure 3", sentence, "direction", "above 0")
    numbers = (estimate, 1.5, 4.5, 5, 0.01) if estimate is not None else ()
    return Judgement(*stated, verdict, *numbers, note=note)


ALL = [
    judged("a", "reproduced", "He learns faster. " * 9),
    judged("b", "not run", "Of ImageNet.", estimate=None, note="make exp-he-init"),
    judged("c", "contradicted", "Xavier stalls."),
    judged("d", "inconclusive", "Adam leaves."),
]


def test_contradictions_come_first_and_counts_last():
    lines = table(ALL, width=60, color=False).splitlines()
    verdicts = [line.split("  ")[0] for line in lines if line and line[0] != " "]
    assert verdicts[:-1] == ["contradicted", "inconclusive", "reproduced", "not run"]
    assert lines[-1] == "1 contradicted, 1 inconclusive, 1 reproduced, 1 not run"
    assert max(map(len, lines)) <= 60


def test_everything_is_said():
    text = " ".join(table(ALL, width=60, color=False).split())
    for told in ("3 [1.5, 4.5], n=5, p=0.01", "above 0", "make exp-he-init", "(direction tier)"):
        assert told in text


def test_what_was_not_run_takes_a_line():
    lines = table([ALL[1]] * 2, width=100, color=False).splitlines()
    assert lines == ["not run       Of ImageNet. (make exp-he-init)"] * 2 + ["", "2 not run"]


def test_colors_only_where_they_are_seen(monkeypatch):
    assert "\x1b[31;1mcontradicted" in table(ALL, color=True)
    assert "\x1b" not in table(ALL)  # stdout is no terminal here
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b" in table(ALL)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in table(ALL)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in table(ALL)


def test_a_smoke_test_says_so_first():
    lines = table([judged("a", "not run", note=SMOKE_TEST)], color=False).splitlines()
    assert lines[0].startswith("This is a smoke test: it decides nothing.")


def test_a_table_of_nothing_is_empty():
    assert table([]) == ""
