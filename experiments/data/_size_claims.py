"""The claims of data_size; their rules are fixed here."""

from collections.abc import Sequence

import numpy as np

from experiments.data import _power_law as power_law
from jaxvision.report.claims import Claim, Equivalent, Greater, Statistic
from jaxvision.report.record import Record

Sizes = Sequence[int]
MISHKIN = "Mishkin et al. 2016"
HESTNESS = "Hestness et al. 2017, abstract"
ROSENFELD = "Rosenfeld et al. 2020, abstract"


def claims_of(sizes: Sizes) -> list[Claim]:
    """Return the sources' claims and the questions beside them, for these numbers of images."""
    return [
        *_of_tables(sizes),
        *_of_power_laws(sizes),
        *_of_predictions(sizes),
        *_of_protocols(sizes),
        *_of_moved_copies(sizes),
        *_controls(sizes),
    ]


def _error(name: str, at: int) -> Statistic:
    return lambda record: power_law.errors_of(record, name)[:, at]


def _more(name: str, at: int, other: str, at_other: int) -> Statistic:
    """Return the statistic: by how much an arm errs more at a size than another at its own."""
    return lambda record: _error(name, at)(record) - _error(other, at_other)(record)


def _of_tables(sizes: Sizes) -> list[Claim]:
    most, second, third = (f"{size:,} images" for size in sizes[:-4:-1])
    table = f"{MISHKIN}, data size"
    return [
        Claim(
            "more-data",
            table,
            f"Equal steps: {most} leave less test error than {second}",
            _more("plain", -2, "plain", -1),
            Greater(),
            needs=("plain",),
        ),
        Claim(
            "gain-shrinks",
            table,
            f"Equal steps: the step from {third} to {second} buys more points than that to {most}",
            _slows,
            Greater(),
            needs=("plain",),
        ),
        Claim(
            "noise-half",
            f"{MISHKIN}, label noise",
            f"{most} with half of the labels random err more than {second} with clean ones",
            _more("half", -1, "plain", -2),
            Greater(),
            needs=("plain", "half"),
        ),
        Claim(
            "noise-tenth",
            f"{MISHKIN}, label noise",
            f"{most} with a tenth of the labels random err less than {second} with clean ones",
            _more("plain", -2, "tenth", -1),
            Greater(),
            needs=("plain", "tenth"),
        ),
        Claim(
            "width",
            f"{MISHKIN}, width",
            f"With {most} a net of a quarter of the width errs more",
            _more("narrow", -1, "plain", -1),
            Greater(),
            needs=("plain", "narrow"),
        ),
    ]


def _slows(record: Record) -> np.ndarray:
    earlier, last = _more("plain", -3, "plain", -2), _more("plain", -2, "plain", -1)
    return earlier(record) - last(record)


def _of_power_laws(sizes: Sizes) -> list[Claim]:
    def bend(name: str) -> Statistic:
        return lambda record: power_law.bends(sizes, power_law.errors_of(record, name))

    return [
        Claim(
            "power-law-steps",
            HESTNESS,
            "Equal steps: one power law (exponent of the larger half of the sizes minus that of "
            "the smaller)",
            bend("plain"),
            Equivalent(0.1),
            needs=("plain",),
        ),
        Claim(
            "power-law-epochs",
            HESTNESS,
            "Equal epochs: one power law (exponent of the larger half of the sizes minus that of "
            "the smaller)",
            bend("epochs"),
            Equivalent(0.1),
            needs=("epochs",),
        ),
        Claim(
            "width-shifts",
            HESTNESS,
            "A net of a quarter of the width has the same exponent (difference)",
            _exponent_gap(sizes, "narrow", "plain"),
            Equivalent(0.05),
            needs=("plain", "narrow"),
        ),
        Claim(
            "moved-shifts",
            HESTNESS,
            "Augmentation by moved copies leaves the exponent as it is (difference)",
            _exponent_gap(sizes, "moved", "plain"),
            Equivalent(0.05),
            needs=("plain", "moved"),
        ),
    ]


def _exponent_gap(sizes: Sizes, name: str, other: str) -> Statistic:
    """Return the statistic: an arm's exponent minus another's."""

    def exponents(record: Record, arm: str) -> np.ndarray:
        return power_law.exponents(sizes, power_law.errors_of(record, arm))

    return lambda record: exponents(record, name) - exponents(record, other)


def _of_predictions(sizes: Sizes) -> list[Claim]:
    most, known = f"{sizes[-1]:,} images", len(sizes) - 2

    def miss(name: str) -> Statistic:
        return lambda record: power_law.misses(sizes, power_law.errors_of(record, name), known)

    return [
        Claim(
            "predicts-steps",
            ROSENFELD,
            f"Equal steps: the power law through {sizes[0]} to {sizes[known - 1]:,} images "
            f"predicts the error of {most} within a tenth (log of measured over predicted)",
            miss("plain"),
            Equivalent(0.1),
            needs=("plain",),
        ),
        Claim(
            "predicts-epochs",
            ROSENFELD,
            f"Equal epochs: the power law through {sizes[0]} to {sizes[known - 1]:,} images "
            f"predicts the error of {most} within a tenth (log of measured over predicted)",
            miss("epochs"),
            Equivalent(0.1),
            needs=("epochs",),
        ),
    ]


def _of_protocols(sizes: Sizes) -> list[Claim]:
    question = "question, protocol"
    return [
        Claim(
            "protocol",
            question,
            "The exponent is the same at equal epochs and at equal steps (difference)",
            _exponent_gap(sizes, "epochs", "plain"),
            Equivalent(0.05),
            needs=("plain", "epochs"),
        ),
        Claim(
            "undertrained",
            question,
            f"Equal epochs: {sizes[0]} images get too few steps (error above that at equal steps)",
            _more("epochs", 0, "plain", 0),
            Greater(),
            needs=("plain", "epochs"),
        ),
    ]


def _of_moved_copies(sizes: Sizes) -> list[Claim]:
    most, question = f"{sizes[-1]:,} images", "question, augmentation"
    return [
        Claim(
            "moved-helps",
            question,
            "Moved copies lower the error (log of error without over error with, mean over sizes)",
            _helped,
            Greater(),
            needs=("plain", "moved"),
        ),
        Claim(
            "moved-buys",
            question,
            "Moved copies are worth more than the next size up (log of error there over error "
            "with copies, mean over sizes)",
            _bought,
            Greater(),
            needs=("plain", "moved"),
        ),
        Claim(
            "moved-late",
            question,
            f"Moved copies still lower the error of {most}",
            _more("plain", -1, "moved", -1),
            Greater(),
            needs=("plain", "moved"),
        ),
    ]


def _plain_and_moved(record: Record) -> list[np.ndarray]:
    """Return the log of the errors without moved copies and with them."""
    return [np.log(power_law.errors_of(record, name)) for name in ("plain", "moved")]


def _helped(record: Record) -> np.ndarray:
    plain, moved = _plain_and_moved(record)
    return (plain - moved).mean(1)


def _bought(record: Record) -> np.ndarray:
    plain, moved = _plain_and_moved(record)
    return (plain[:, 1:] - moved[:, :-1]).mean(1)


def _controls(sizes: Sizes) -> list[Claim]:
    most, control = f"{sizes[-1]:,} images", "negative control"
    return [
        Claim(
            "control-again",
            control,
            "Other initial weights leave the exponent as it is (difference)",
            _exponent_gap(sizes, "again", "plain"),
            Equivalent(0.05),
            needs=("plain", "again"),
        ),
        Claim(
            "control-random",
            control,
            f"With random labels {most} are no better than {sizes[0]} (points of error)",
            _more("random", 0, "random", -1),
            Equivalent(0.03),
            needs=("half", "random"),
        ),
    ]
