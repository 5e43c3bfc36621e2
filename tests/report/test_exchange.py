"""Claims for other tools: by the schema, strict, complete, and no formula in a spreadsheet."""

import csv
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from experiments import lecture
from experiments.catalog import CATALOG
from jaxvision.report import exchange, gallery, record
from jaxvision.report.claims import Equivalent, Greater, Less, Share, Within, criterion
from jaxvision.report.lecture import Lecture
from tests.report.gallery_lab import CATALOG as TWO
from tests.report.gallery_lab import RULE, make

HERE = Path(exchange.__file__).parent
SCHEMA = json.loads((HERE / "claims.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def refuse(name):
    raise ValueError(f"{name} is no JSON")


def claims_of(results):
    gallery.write(results, Lecture(TWO))
    text = (results.parent / "claims.json").read_text("utf-8")
    return json.loads(text, parse_constant=refuse)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["format"]["const"] == SCHEMA["title"] == exchange.FORMAT


def test_all_claims_of_all_records_are_there_by_the_schema(results):
    told = claims_of(results)
    VALIDATOR.validate(told)
    he, other = told["records"]
    assert [claim["id"] for claim in he["claims"]] == ["b", "c d", "a", "é"]
    totals = {"contradicted": 2, "inconclusive": 2, "reproduced": 2, "not run": 2}
    assert told["totals"] == {"records": 2, "claims": 8} | totals
    assert he["theme"] == "initialization" and other["theme"] == ""
    contradicted, unsure, reproduced, _ = he["claims"]
    assert contradicted["evidence"]["estimate"] == 0.2
    assert unsure["evidence"]["estimate"] is None  # it is NaN in the record
    assert unsure["address"] == "pages/he_init.html#claim-c%20d"
    assert reproduced["evidence"]["p_adjusted"] == 0.02
    assert reproduced["rule"] == {"text": "He learns faster.", **RULE}


def test_the_committed_file_holds_what_the_records_hold():
    told = json.loads((EXPERIMENTS / "claims.json").read_text("utf-8"), parse_constant=refuse)
    VALIDATOR.validate(told)
    names = [one["record"] for one in told["records"]]
    assert sorted(names) == sorted(path.parent.name for path in EXPERIMENTS.glob("results/*/*.npz"))
    for one in told["records"]:
        claims = record.load(EXPERIMENTS / "results" / one["record"]).claims
        theirs = {claim["id"]: claim["verdict"] for claim in claims}
        assert {claim["id"]: claim["verdict"] for claim in one["claims"]} == theirs
        assert all("kind" in claim["rule"] for claim in one["claims"]), one["record"]
        assert (EXPERIMENTS / one["page"]).is_file()
    assert {one["theme"] for one in told["records"]} <= lecture.THEMES.keys()
    assert {one["experiment"] for one in told["records"]} <= {entry.name for entry in CATALOG}


@pytest.mark.parametrize(
    "rule",
    [
        Within(2.0, 0.1, relative=True),
        Greater(0.5, resolution=0.25),
        Less(1.0),
        Equivalent(0.1),
        Share(),
    ],
)
def test_every_rule_has_its_fields_in_the_schema(results, rule):
    told = claims_of(results)
    told["records"][0]["claims"][0]["rule"] = {"text": rule.text, **criterion(rule)}
    VALIDATOR.validate(told)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("verdict",), "failed"),
        (("tier",), "hope"),
        (("evidence", "p"), 1.5),
        (("evidence", "confidence"), 0.95),
        (("rule", "kind"), "magic"),
        (("rule", "than"), None),
        (("sentence",), None),
        (("more",), 1),
    ],
)
def test_what_is_wrong_fails(results, place, value):
    told = claims_of(results)
    inner = told["records"][0]["claims"][2]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert not VALIDATOR.is_valid(told)


def test_numbers_that_json_does_not_have_are_null(results):
    odd = make("odd")
    odd.config["rates"] = [float("nan"), float("-inf"), 1.0]
    record.save(odd, None, results / "odd")
    (config,) = [one["config"] for one in claims_of(results)["records"] if one["record"] == "odd"]
    assert config["rates"] == [None, None, 1.0]


def test_csv_has_a_row_a_claim_and_no_formulas(results):
    evil = '=HYPERLINK("http://x"),\n2'
    record.save(make("formula", text=evil), None, results / "formula")
    gallery.write(results, Lecture(TWO))
    text = (results.parent / "pages" / "formula.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["verdict"] for row in rows] == [
        "contradicted",
        "inconclusive",
        "reproduced",
        "not run",
    ]
    assert rows[0]["sentence"] == rows[0]["rule"] == f"'{evil}"
    np.testing.assert_allclose(float(rows[2]["p_adjusted"]), 0.02)
    assert rows[1]["estimate"] == ""  # NaN
    assert rows[1]["high"] == "2.0"
