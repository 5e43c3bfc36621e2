"""What claims and figure of optimizers_and_rates read off a record.

A statistic is a function ``Record -> [S]``, one number a seed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.normalization._rates import Arm, batch_grid, grid_of, sizes_of
from experiments.normalization._sensitivity import usable_range
from jaxvision.report.claims import Statistic, minus
from jaxvision.report.record import Record


def absolute(one: Statistic) -> Statistic:
    """Return the size of a statistic."""
    return lambda record: np.abs(one(record))


def mean_of(*statistics: Statistic) -> Statistic:
    """Return the mean of several statistics, seed by seed."""
    return lambda record: np.mean([each(record) for each in statistics], axis=0)


def learned(error: Statistic) -> Statistic:
    """Return a test error where it is below half of chance, else NaN: dead nets are no equals."""

    def known(record: Record) -> np.ndarray:
        values = error(record)
        return np.where(values < record.numbers["chance_error"] / 2, values, np.nan)

    return known


@dataclasses.dataclass(frozen=True)
class Reader:
    """Statistics of a run.

    Attributes:
      config: of the experiment.
      arms: that it has.
    """

    config: Any
    arms: Mapping[str, Arm]

    def usable_range(self, record: Record, arm: str) -> tuple[np.ndarray, np.ndarray]:
        """Return log10 of an arm's smallest and largest usable rate, each [S]."""
        return usable_range(
            grid_of(self.config, self.arms[arm]),
            record.arrays[f"{arm}/error"],
            record.numbers["best"][arm],
            self.config.usable_margin,
        )

    def smallest_rate(self, arm: str) -> Statistic:
        """Return the statistic: log10 of the smallest usable rate."""
        return lambda record: self.usable_range(record, arm)[0]

    def largest_rate(self, arm: str) -> Statistic:
        """Return the statistic: log10 of the largest usable rate."""
        return lambda record: self.usable_range(record, arm)[1]

    def decades(self, arm: str) -> Statistic:
        """Return the statistic: how many decades the usable rates span."""
        return minus(self.largest_rate(arm), self.smallest_rate(arm))

    def error(self, arm: str) -> Statistic:
        """Return the statistic: the test error at the arm's best rate."""
        return lambda record: self._at_best(record, arm, "error")

    def learned_error(self, arm: str) -> Statistic:
        """Return the statistic: the same, NaN for a seed that has not learned."""
        return learned(self.error(arm))

    def log_loss(self, arm: str) -> Statistic:
        """Return the statistic: log of the training loss at the arm's best rate."""
        return lambda record: np.log(self._at_best(record, arm, "loss"))

    def _at_best(self, record: Record, arm: str, quantity: str) -> np.ndarray:
        best = record.numbers["best"][arm]
        return record.arrays[f"{arm}/{quantity}"][:, best]

    def scaled_error(self, size: int) -> Statistic:
        """Return the statistic: a batch size's error at the smallest one's best rate, scaled up."""

        def error(record: Record) -> np.ndarray:
            smallest = sizes_of(self.config)[0]
            column = self._batch(record, smallest)["best"]
            return _whole(record.arrays[f"batch_{size}/error"][:, column])

        return error

    def warm_error(self, size: int) -> Statistic:
        """Return the statistic: the same after a warm-up."""
        return lambda record: _whole(record.arrays[f"batch_{size}/warm_error"])

    def own_error(self, size: int) -> Statistic:
        """Return the statistic: a batch size's error at its own best rate."""

        def error(record: Record) -> np.ndarray:
            column = self._batch(record, size)["best"]
            return _whole(record.arrays[f"batch_{size}/error"][:, column])

        return error

    def steps(self, size: int, target: str) -> Statistic:
        """Return the statistic: the steps to one of ``TARGETS`` at the rate that needs fewest."""

        def steps(record: Record) -> np.ndarray:
            column = self._batch(record, size)[f"quickest_{target}"]
            return record.arrays[f"batch_{size}/steps_{target}"][:, column]

        return steps

    def efficiency(self, small: int, large: int, target: str) -> Statistic:
        """Return the statistic: how the steps to a target fall as the batch grows, as a power.

        1: in proportion, as many times fewer steps as there are more images in each; 0: not at all.
        """

        def power(record: Record) -> np.ndarray:
            fewer = self.steps(small, target)(record) / self.steps(large, target)(record)
            return np.log(fewer) / np.log(large / small)

        return power

    def _batch(self, record: Record, size: int) -> dict:
        return record.numbers["batches"][str(size)]


def _whole(error: np.ndarray) -> np.ndarray:
    """Return errors without a gap: a run that has diverged errs on all images."""
    return np.nan_to_num(error, nan=1.0)


def rate_per_image(config: Any, size: int) -> np.ndarray:
    """Return the rates of a batch size [G] over its number of images."""
    return batch_grid(config, size) / size
