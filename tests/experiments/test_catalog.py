"""What is said of the experiments says no more than their records, and is made from them."""

from pathlib import Path

import pytest

from experiments import lecture
from experiments.catalog import CATALOG
from jaxvision.report import gallery
from jaxvision.report import record as records

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"
RECORDED = [entry for entry in CATALOG if (RESULTS / entry.name).exists()]


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: entry.name)
def test_a_sentence_says_no_more_than_its_claims(entry):
    verdicts = {
        claim["id"]: claim["verdict"] for claim in records.load(RESULTS / entry.name).claims
    }
    stated = {name: verdicts.get(name, "no such claim") for name in entry.claims}
    assert stated == dict.fromkeys(entry.claims, "reproduced")
    against = {name: verdicts.get(name, "no such claim") for name in entry.contradicts}
    assert against == dict.fromkeys(entry.contradicts, "contradicted")


def test_every_sentence_states_something():
    for entry in CATALOG:
        assert entry.claims or entry.contradicts
        assert entry.sentence.endswith(".")


def test_the_pages_are_those_of_the_records():
    """``make gallery`` makes them: the web site, the index, a page each, the front page's table."""
    pages = gallery.pages(RESULTS, lecture.of(CATALOG))
    assert RESULTS.parent.parent / "README.md" in pages
    old = [str(path) for path, text in pages.items() if path.read_text("utf-8") != text]
    assert old == []
    assert list(gallery.left_over(RESULTS, pages)) == []
