"""What the page of contested claims cites is there, and its answers are borne out by records."""

import functools
import importlib
from pathlib import Path

import pytest

from experiments import lecture
from experiments.catalog import CATALOG, module_name
from jaxvision.report import contested, gallery
from jaxvision.report.entries import collect

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"
NAMES = {entry.name for entry in CATALOG}
DISPUTES = [one for some in lecture.DISPUTES.values() for one in some]
named = pytest.mark.parametrize("dispute", DISPUTES, ids=lambda dispute: dispute.question)


@functools.cache
def claims_of(experiment):
    """Return the ids of an experiment's claims."""
    module = importlib.import_module(module_name(experiment))
    return {claim.id for claim in module.claims(module.PRESETS["cpu"])}


@functools.cache
def records():
    return contested.by_experiment(collect(RESULTS, CATALOG))


@named
def test_every_claim_exists(dispute):
    for one in [*dispute.tests, *dispute.upheld, *dispute.refuted]:
        assert one.experiment in NAMES
        assert one.claim in claims_of(one.experiment)


@named
def test_a_dispute_has_two_sides_and_cites_a_claim_once(dispute):
    assert len(dispute.sides) >= 2
    assert len(set(dispute.tests)) == len(dispute.tests) > 0
    assert dispute.question.endswith("?")
    assert all(side.says.endswith((".", ".)")) for side in dispute.sides)


@named
def test_an_answer_states_claims_of_its_dispute_that_came_out_so(dispute):
    stated = {*dispute.upheld, *dispute.refuted}
    assert bool(stated) == bool(dispute.answer)
    assert stated <= set(dispute.tests)
    recorded = all(one.experiment in records() for one in stated)
    assert contested.borne_out(dispute, records()) or not recorded


def test_questions_are_told_apart():
    assert len({dispute.question for dispute in DISPUTES}) == len(DISPUTES)


def test_the_page_is_among_those_that_the_gallery_writes():
    """So that the test of all pages holds the committed one to the records."""
    page = RESULTS.parent.parent / "docs" / "contested.md"
    assert page in gallery.pages(RESULTS, lecture.of(CATALOG))
