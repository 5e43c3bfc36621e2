"""What has been done is known, and nothing else is taken for it."""

import pytest

from jaxvision.cluster import ledger

MADE_BY = {"arguments": ["-m", "experiments", "he_init"], "cores": 2, "code": "abc"}


@pytest.fixture
def record(tmp_path):
    directory = tmp_path / "he_init"
    directory.mkdir()
    (directory / "record.json").write_text("numbers")
    return directory


def test_a_noted_record_is_done(record):
    assert not ledger.is_done(record, MADE_BY)
    ledger.note(record, MADE_BY)
    assert ledger.is_done(record, MADE_BY)


@pytest.mark.parametrize("changed", [{"cores": 1}, {"code": "abd"}, {"arguments": ["-m"]}])
def test_another_maker_has_not_made_it(record, changed):
    ledger.note(record, MADE_BY)
    assert not ledger.is_done(record, MADE_BY | changed)


def test_a_record_that_was_replaced_or_removed_is_not_done(record):
    ledger.note(record, MADE_BY)
    (record / "record.json").write_text("other numbers")
    assert not ledger.is_done(record, MADE_BY)
    (record / "record.json").unlink()
    assert not ledger.is_done(record, MADE_BY)


def test_a_damaged_note_is_none(record):
    ledger.note(record, MADE_BY)
    place = record.parent / ledger.FOLDER / "he_init.json"
    place.write_text(place.read_text()[:-9])
    assert not ledger.is_done(record, MADE_BY)


def test_without_a_record_there_is_nothing_to_note(tmp_path):
    with pytest.raises(FileNotFoundError):
        ledger.note(tmp_path / "none", MADE_BY)
