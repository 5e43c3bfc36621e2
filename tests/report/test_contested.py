"""The page of contested claims: words from data, numbers from records, no more than they say."""

import dataclasses

import pytest

from jaxvision.report import contested, gallery, record
from jaxvision.report.contested import Dispute, Side, cited
from jaxvision.report.lecture import Lecture
from tests.report.gallery_lab import CATALOG, EVIL, make

DISPUTE = Dispute(
    question="Does it hold (100 %)?",
    sides=(
        Side("Somebody 2015 (arXiv 1), figure 2", "It does.", cited("he_init", "a")),
        Side("Another 2016, table 1", "It does not.", cited("he_init", "b")),
        Side("A third 2017", "Who knows."),
    ),
    beside=cited("he_init", "é"),
    answer="It holds.",
    upheld=cited("he_init", "a"),
    refuted=cited("he_init", "b"),
)


def page_of(results, *disputes):
    """Return the page that the gallery writes below the folder of the records' own."""
    page = results.parent.parent / "docs" / "contested.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(f"# {contested.TITLE}\n", "utf-8")
    gallery.write(results, Lecture(CATALOG, disputes={"Part": disputes or (DISPUTE,)}))
    return page.read_text("utf-8").replace("\\", "")


def rows_of(page):
    """Return the cells of the rows below the first side's heading."""
    table = page.partition("| side | ")[2]
    return [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]


def test_each_claim_has_its_side_verdict_number_and_record(results):
    page = page_of(results)
    first, second, beside = rows_of(page)
    assert first[:2] == ["| A", "✓ **reproduced**"]
    assert second[:2] == ["| B", "✗ **contradicted**"]
    assert beside[:2] == ["| ", "– **not run**"]
    assert "1.5 [1, 2], n=5, p=0.02" in first[3]
    assert "[he_init](../experiments/results/he_init/README.md)" in first[4]
    assert "1,437 training images" in first[4]
    assert "**A. Somebody 2015 (arXiv 1), figure 2:** It does." in page
    assert "Who knows. (It has no claim of its own here.)" in page
    told = "Somebody 2015: 1 reproduced <br>Another 2016: 1 contradicted <br>A third 2017: no claim"
    assert f"| [Does it hold (100 %)?](#does-it-hold-100-) | {told} |" in page


def test_every_record_of_an_experiment_is_told_its_own_first(results):
    for name, experiment in (("a-again", "he_init"), ("he_init-mnist", "he_init")):
        record.save(make(name, experiment=experiment), None, results / name)
    places = [row[4].partition("]")[0] for row in rows_of(page_of(results))[:3]]  # of one claim
    assert places == ["[he_init", "[a-again", "[he_init-mnist"]


def test_a_claim_that_some_record_has_run_is_not_told_as_not_run(results):
    run = make("he_init-mnist", experiment="he_init")
    claims = [claim | {"verdict": "reproduced"} for claim in run.claims if claim["id"] == "é"]
    record.save(dataclasses.replace(run, claims=claims), None, results / "he_init-mnist")
    assert [row[1] for row in rows_of(page_of(results))[2:]] == ["✓ **reproduced**"]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, True),
        ({"upheld": cited("he_init", "c d")}, False),
        ({"refuted": cited("he_init", "a")}, False),
        ({"upheld": cited("he_init", "nosuch")}, False),
        ({"upheld": cited("unrun", "a")}, False),
    ],
)
def test_an_answer_stands_only_while_the_records_bear_it_out(results, change, shown):
    page = page_of(results, dataclasses.replace(DISPUTE, **change))
    assert ("**It holds.**" in page) == shown


def test_a_record_of_another_name_bears_no_answer_out(results):
    record.save(make("unrun-mnist", experiment="unrun"), None, results / "unrun-mnist")
    page = page_of(results, dataclasses.replace(DISPUTE, upheld=cited("unrun", "a")))
    assert "**It holds.**" not in page


@pytest.mark.parametrize(
    ("claim", "verdict", "shown"),
    [
        ("a", "contradicted", False),
        ("b", "reproduced", False),
        ("a", "inconclusive", True),
        ("c d", "contradicted", True),
    ],
)
def test_a_record_that_has_a_stated_claim_the_other_way_round_silences_the_answer(
    results, claim, verdict, shown
):
    """An answer stood above a table in which another set of images showed the opposite."""
    other = make("he_init-mnist", experiment="he_init")
    claims = [one | {"verdict": verdict} if one["id"] == claim else one for one in other.claims]
    record.save(dataclasses.replace(other, claims=claims), None, results / "he_init-mnist")
    assert ("**It holds.**" in page_of(results)) == shown


def test_a_dispute_without_records_is_left_out(results):
    awaited = Dispute("Will it?", (Side("Nobody 2030", "Yes.", cited("unrun", "a")),))
    page = page_of(results, DISPUTE, awaited)
    assert "Will it?" not in page
    assert "Does it hold" in page


def test_all_text_is_escaped(results):
    page = page_of(results, Dispute(EVIL, (Side(EVIL, EVIL, cited("he_init", "a")),), answer=EVIL))
    assert "<script" not in page
    assert "<img" not in page


def test_no_page_is_written_where_none_is_and_none_of_others_replaced(results):
    gallery.write(results, Lecture(CATALOG, disputes={"Part": (DISPUTE,)}))
    docs = results.parent.parent / "docs"
    assert not docs.exists()
    assert "contested" not in (results.parent / "README.md").read_text("utf-8")
    docs.mkdir()
    (docs / "contested.md").write_text("# Mine\n")
    gallery.write(results, Lecture(CATALOG, disputes={"Part": (DISPUTE,)}))
    assert (docs / "contested.md").read_text() == "# Mine\n"


def test_the_index_leads_to_the_page(results):
    page_of(results)
    index = (results.parent / "README.md").read_text("utf-8")
    assert "[contested claims](../docs/contested.md)" in index
