"""What layers are worth: numbers that alexnet_removal's claims and figure read from its record."""

from collections.abc import Callable

import numpy as np

from jaxvision.report.claims import Statistic
from jaxvision.report.record import Record

LEARNED = 2 / 3  # of chance: the test error of a whole net that has learned is below it


def final(record: Record, name: str) -> np.ndarray:
    """Return a net's test error [S] after the last step, percent."""
    return 100 * record.arrays[f"{name}/test_error"][:, -1]


def trained(record: Record, name: str) -> np.ndarray:
    """Return a net's training error [S] over the last period, percent."""
    return 100 * record.arrays[f"{name}/train_error"][:, -1]


def lesioned(record: Record, name: str) -> np.ndarray:
    """Return the whole net's test error [S] without a net's layers, percent."""
    return 100 * record.arrays[f"{name}/lesion"]


def chance(record: Record) -> float:
    """Return the test error of always answering the largest class, percent."""
    return 100 * record.numbers["chance_error"]


def learned(record: Record, values: np.ndarray) -> np.ndarray:
    """Return the values, NaN where the whole net has not learned."""
    if final(record, "whole").mean() < LEARNED * chance(record):
        return values
    return np.full_like(values, np.nan)


def cost(name: str) -> Statistic:
    """Return the points of test error that a removal costs, as a function of the record."""

    def points(record: Record) -> np.ndarray:
        return learned(record, final(record, name) - final(record, "whole"))

    return points


def dearer(name: str, *others: str) -> Statistic:
    """Return by how many points a removal costs more than others together."""

    def points(record: Record) -> np.ndarray:
        together = sum(cost(other)(record) for other in others)
        return cost(name)(record) - together

    return points


def lost(name: str, errors: Callable[[Record, str], np.ndarray]) -> Statistic:
    """Return the share of what the whole net has learned that is missing at these errors."""

    def share(record: Record) -> np.ndarray:
        whole = final(record, "whole")
        room = learned(record, chance(record) - whole)
        return (errors(record, name) - whole) / room

    return share


def training_gain(name: str) -> Statistic:
    """Return by how many points the training error falls."""

    def points(record: Record) -> np.ndarray:
        return learned(record, trained(record, "whole") - trained(record, name))

    return points
