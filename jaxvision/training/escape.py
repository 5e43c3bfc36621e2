"""When a run leaves the plateau: the loss of a net that knows the shares of the classes alone.

Where all K classes are equally frequent that is ln K at every step. Else it goes up and down with
the labels of a step's batch, by more than a net needs to learn to be called off the plateau; so a
run is held to what its own batches cost.
"""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from jaxvision.training.order import Orders


def plateau(
    labels: np.ndarray,
    seeds: Sequence[int],
    steps: int,
    batch_size: int,
    chunk: int = 100,
    pools: np.ndarray | None = None,
) -> np.ndarray:
    """Return the loss [R, steps], in nats, of a net that knows the shares of the classes alone.

    On the very batches of each run; over an epoch its mean is the labels' entropy.

    Args:
      labels: of the training images, int [N].
      seeds: of the runs [R].
      steps: of a run.
      batch_size: images a step.
      chunk: steps whose order is drawn at a time.
      pools: what the runs draw from, see ``calls.Runs``; the shares are those of all ``labels``.
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    if (counts == counts[0]).all():
        return np.full((len(seeds), steps), np.log(len(counts)))
    shares = np.bincount(labels) / len(labels)
    surprise = -np.log(shares, out=np.zeros_like(shares), where=shares > 0)[labels]
    orders = Orders(seeds, len(labels), batch_size, pools)
    parts = []
    for start in range(0, steps, chunk):
        rows = orders.rows(start, min(chunk, steps - start))
        parts.append(surprise[rows].mean(-1))
    return np.concatenate(parts, axis=1)


def escape_step(loss: np.ndarray, threshold: float | np.ndarray, window: int = 10) -> np.ndarray:
    """Return the first step [R] whose next ``window`` losses [R, T] average below ``threshold``.

    T for a run that never does: a censored time. Where there is a threshold for every loss [R, T]
    their averages over the window are compared.
    """
    below = _means(loss, window) < (_means(threshold, window) if np.ndim(threshold) else threshold)
    return np.where(below.any(1), below.argmax(1), loss.shape[1])


def _means(values: np.ndarray, window: int) -> np.ndarray:
    return sliding_window_view(values, min(window, values.shape[1]), axis=1).mean(-1)
