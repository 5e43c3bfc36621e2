"""Statistics of escape times: how long a net's runs stay on the plateau of the loss.

Each function returns a claim's statistic, ``Record -> [S]``, of numbers that ``arms.summarize``
wrote to ``record.numbers['nets'][net]``. A run that never escapes counts as the last step: its time
is censored, so a lead over it is a lower bound.
"""

import numpy as np

from jaxvision.report.claims import Statistic
from jaxvision.report.record import Record


def escaped(net: str, arm: str) -> Statistic:
    """Whether each seed left the plateau."""
    return lambda record: _steps(record, net, arm) < record.numbers["nets"][net]["steps"]


def stalled(net: str, arm: str) -> Statistic:
    """Whether each seed stayed on the plateau to the end; one that diverged did not."""

    def stayed(record: Record) -> np.ndarray:
        diverged = _numbers(record, net, "diverged_step", arm) >= 0
        return ~escaped(net, arm)(record) & ~diverged

    return stayed


def octaves(net: str, late: str, early: str) -> Statistic:
    """log2 of escape step of ``late`` over that of ``early``, seed by seed; NaN if neither left."""

    def lead(record: Record) -> np.ndarray:
        steps = [np.log2(np.maximum(_steps(record, net, arm), 1)) for arm in (late, early)]
        left = escaped(net, late)(record) | escaped(net, early)(record)
        return np.where(left, np.subtract(*steps), np.nan)

    return lead


def error_gap(net: str, one: str, other: str) -> Statistic:
    """Final test error of ``one`` minus that of ``other``; NaN unless both left the plateau."""

    def gap(record: Record) -> np.ndarray:
        errors = (_numbers(record, net, "test_error", arm) for arm in (one, other))
        left = escaped(net, one)(record) & escaped(net, other)(record)
        return np.where(left, np.subtract(*errors), np.nan)

    return gap


def error_of_chance(net: str, arm: str) -> Statistic:
    """Final test error over that of always answering the largest class; 1 where it diverged."""

    def share(record: Record) -> np.ndarray:
        error = _numbers(record, net, "test_error", arm)
        return np.nan_to_num(error / record.numbers["chance_error"], nan=1.0)

    return share


def _steps(record: Record, net: str, arm: str) -> np.ndarray:
    return _numbers(record, net, "escape_step", arm)


def _numbers(record: Record, net: str, quantity: str, arm: str) -> np.ndarray:
    # JSON holds a NaN as null: np.array would make objects of it.
    return np.array(record.numbers["nets"][net][quantity][arm], float)
