"""Statistics of escape times: how long a net's runs stay on the plateau of the loss.

``escape_step`` finds them. Each other function returns a claim's statistic, ``Record -> [S]``, of
numbers that ``arms.summarize`` wrote to ``record.numbers['nets'][net]``. A run that never escapes
counts as the last step: its time is censored, so a lead over it is a lower bound.
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from jaxvision.report.record import Record

Statistic = Callable[[Record], np.ndarray]


def escape_step(loss: np.ndarray, threshold: float, window: int = 10) -> np.ndarray:
    """Return the first step [R] whose next ``window`` losses [R, T] average below ``threshold``.

    T for a run that never does: a censored time.
    """
    below = sliding_window_view(loss, min(window, loss.shape[1]), axis=1).mean(-1) < threshold
    return np.where(below.any(1), below.argmax(1), loss.shape[1])


def escaped(net: str, arm: str) -> Statistic:
    """Whether each seed left the plateau."""
    return lambda record: _steps(record, net, arm) < record.numbers["nets"][net]["steps"]


def stalled(net: str, arm: str) -> Statistic:
    """Whether each seed stayed on the plateau to the end."""
    return lambda record: ~escaped(net, arm)(record)


def octaves(net: str, late: str, early: str) -> Statistic:
    """log2 of escape step of ``late`` over that of ``early``, seed by seed."""
    return lambda record: np.subtract(
        *(np.log2(np.maximum(_steps(record, net, arm), 1)) for arm in (late, early))
    )


def _steps(record: Record, net: str, arm: str) -> np.ndarray:
    return np.array(record.numbers["nets"][net]["escape_step"][arm])
