"""``--claim``: what one claim needs is run, and its verdict is that of the whole run."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxvision import data
from jaxvision.cli import one_claim
from jaxvision.report import record as records
from jaxvision.report.claims import Claim, Greater, Within
from tests.cli.toy import call, refusal

ROWS = {"up": 1.0, "down": -1.0, "flat": 0.0}


@pytest.fixture
def tabled(toy):
    """A toy with a table of three rows, and the names of those that its last run measured."""
    measured = []

    def measure(config, progress, rows=ROWS):
        data.load(config.dataset)
        measured[:] = rows
        noise = np.random.default_rng(0).normal(size=config.seeds)
        return {}, {name: slope + 0.1 * noise for name, slope in rows.items()}

    def claims(config):
        value = lambda name: lambda record: record.arrays[name]  # noqa: E731
        rises = lambda record: record.arrays["up"] - record.arrays["down"]  # noqa: E731
        return [
            Claim("up", "Nobody 2000, a", "it rises", value("up"), Greater(), needs=("up",)),
            Claim("gap", "Nobody 2000, b", "more", rises, Greater(), needs=("up", "down")),
            Claim("flat", "Nobody 2000, c", "it stays", value("flat"), Within(0.0, 0.5)),
            Claim("big", "Nobody 2000", "more", value("up"), Greater(), not_run="--preset=gpu"),
        ]

    toy.measure, toy.claims = measure, claims
    toy.plot = lambda record, config: Figure((1, 1))
    return toy, measured


def test_claims_are_listed_and_nothing_is_run(tabled, results, capsys):
    toy, measured = tabled
    assert call(toy, f"--results={results}", "--claim=list") == 0
    assert capsys.readouterr().out == "up    it rises\ngap   more\nflat  it stays\nbig   more\n"
    assert measured == []
    assert not results.exists() or not list(results.iterdir())


def test_only_the_rows_that_the_claim_needs_are_measured(tabled, results, capsys):
    toy, measured = tabled
    assert call(toy, f"--results={results}", "--run_name=whole") == 0
    whole = {claim["id"]: claim for claim in records.load(results / "whole").claims}
    assert measured == list(ROWS)
    for name, rows in (("up", ["up"]), ("gap", ["up", "down"]), ("flat", list(ROWS))):
        capsys.readouterr()
        assert call(toy, f"--results={results}", f"--claim={name}", f"--run_name={name}") == 0
        out, err = capsys.readouterr()
        assert measured == rows
        record = records.load(results / name)
        (claim,) = record.claims
        alike = ("id", "verdict", "estimate", "low", "high", "n", "p", "smallest_effect")
        assert [claim[key] for key in alike] == [whole[name][key] for key in alike]
        assert record.provenance["claim"] == name
        assert f"toy --claim={name}\n" in out
        assert "record.json and arrays.npz (the figure needs the other claims too)" in out
        all_of_it = "needs the whole experiment: all of it is run"
        some = f"needs {len(rows)} of the 3 rows: {', '.join(rows)}"
        assert (all_of_it if name == "flat" else some) in err


def test_holm_s_correction_counts_the_claims_that_were_not_run(tabled, results):
    """So a verdict alone is never stronger than among all."""
    toy, _ = tabled
    assert call(toy, f"--results={results}", "--claim=up", "--run_name=alone") == 0
    (claim,) = records.load(results / "alone").claims
    assert claim["p_adjusted"] == pytest.approx(2 * claim["p"])


def test_a_run_of_one_claim_has_a_name_of_its_own_and_no_figure(tabled, results, capsys):
    toy, _ = tabled
    assert call(toy, f"--results={results}") == 0
    assert call(toy, f"--results={results}", "--claim=up") == 0
    (alone,) = [path for path in results.iterdir() if path.name != "toy"]
    assert {path.name for path in alone.iterdir()} == {"record.json", "arrays.npz"}
    capsys.readouterr()
    line = refusal(toy, capsys, f"--results={results}", f"--run_name={alone.name}", "--plot_only")
    assert "was run for claim up alone" in line


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--claim=upp", "toy has no claim 'upp': did you mean up? There are up, gap, flat, big"),
        ("--claim=", "toy has no claim '': there are up, gap"),
        ("--claim=big", "--claim=big cannot be run with this set-up: --preset=gpu"),
        ("--claim=up --plot_only", "--claim runs, --plot_only does not"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_run(tabled, results, capsys, flags, reason):
    toy, measured = tabled
    assert reason in refusal(toy, capsys, f"--results={results}", *flags.split())
    assert measured == []
    assert not results.exists()


def test_parts_are_left_out_beside_rows(tabled, capsys):
    toy, _ = tabled
    toy.measure = lambda config, progress, rows=ROWS, parts=("law", "looks"): None
    (claim, *_) = toy.claims(toy.PRESETS["cpu"])
    asked = dataclasses.replace(claim, needs=("down", "law"))
    assert one_claim.rows(toy, asked) == {"rows": {"down": -1.0}, "parts": ("law",)}
    assert "1 of the 3 rows: down, and 1 of the 2 parts: law" in capsys.readouterr().err
    assert one_claim.rows(toy, claim) == {"rows": {"up": 1.0}, "parts": ()}
    toy.measure = lambda config, progress, parts=("law", "looks"): None
    law = dataclasses.replace(claim, needs=("law",))
    assert one_claim.rows(toy, law) == {"parts": ("law",)}


def test_a_row_that_there_is_not_is_a_mistake_of_the_experiment(tabled):
    toy, _ = tabled
    (claim, *_) = toy.claims(toy.PRESETS["cpu"])
    with pytest.raises(ValueError, match="no rows of rows"):
        one_claim.rows(toy, dataclasses.replace(claim, needs=("upp",)))
    toy.measure = lambda config, progress, rows=ROWS, parts=("up",): None
    with pytest.raises(ValueError, match="two rows of one name"):
        one_claim.rows(toy, claim)
    toy.measure = lambda config, progress: None
    with pytest.raises(ValueError, match="toy has no table"):
        one_claim.rows(toy, claim)
