"""Titles of runs: they name what was changed, as it is typed."""

import dataclasses

import pytest

from jaxvision.report.changes import changed_flags, run_title
from jaxvision.report.record import Record

CONFIG = {"width": 8, "rates": [0.1, 0.2], "augment": False, "dataset": "mnist"}
PLAIN = Record("toy", "cpu", "toy", "", CONFIG, {}, {}, [], {})


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("", ""),
        ("--preset=cpu", ""),
        ("--width=8", "--width=8"),
        ("--width 8 --quiet", "--width=8"),
        ("-width=08", "--width=8"),
        ("--rates=.1,.2 --dataset=mnist", "--rates=0.1,0.2 --dataset=mnist"),
        ("--noaugment", "--augment=False"),
        ("--width=4 --dataset=mnist --width=8", "--width=8 --dataset=mnist"),
        ("--results=there --run_name=mine --plot_only --noresume --workdir=w", ""),
        ('--native=off --data_dir "/my data"', "--native=off --data_dir=/my data"),
        ("--claim=mlp30-he", "--claim=mlp30-he"),
        ("'an open quote", ""),
    ],
)
def test_changed_flags_are_those_of_the_set_up(flags, told):
    command = f"python -m experiments toy {flags}"
    assert changed_flags(dataclasses.replace(PLAIN, command=command)) == told


def test_a_title_has_no_hash():
    command = "python -m experiments toy --preset=tiny --width=8"
    run = dataclasses.replace(PLAIN, preset="tiny", run_name="toy-tiny-0a1b2c3d", command=command)
    assert run_title(run) == "toy --preset=tiny --width=8"
    assert run_title(PLAIN) == "toy"
