"""A converged linear probe: multinomial logistic regression on features, fit to the end.

A probe that is stopped early measures how well features suit an optimizer. Here L-BFGS runs until
the gradient is gone, from the strongest penalty to the weakest, each start being the last solution;
the penalty is chosen on held-out examples. Features come standardized and in the coordinates of
their Gram matrix: as many as there are examples, whatever the layer.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxvision.types import UserError

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4)
TOLERANCE = 1e-4  # of the largest entry of the gradient
MOST_STEPS = 2000
MEMORY = 10  # steps that the Hessian is made from


class Examples(NamedTuple):
    """Features float [n, D] and labels int [n]."""

    features: np.ndarray
    labels: np.ndarray


class Probe(NamedTuple):
    """What a probe found.

    Attributes:
      accuracy: on the test examples.
      held_out_accuracy: by which the penalty was chosen.
      penalty: the one chosen.
      gradient: largest entry of the last gradient: how far from the end the fit is.
    """

    accuracy: float
    held_out_accuracy: float
    penalty: float
    gradient: float


def probe(train: Examples, test: Examples, held_out: int) -> Probe:
    """Return what a linear probe makes of the test examples.

    Args:
      train: to learn from; the last ``held_out`` of them choose the penalty, and are then learned
        from like the others.
      test: to judge by.
      held_out: number of examples.

    Raises:
      UserError: a test example has a label that no example to learn from has.
    """
    classes, labels = np.unique(train.labels, return_inverse=True)
    unknown = np.setdiff1d(test.labels, classes)
    if len(unknown):
        raise UserError(f"a probe has not learned label {unknown[0]}, which test images have")
    own, of_test = coordinates(train.features, test.features)
    fitting = len(labels) - held_out
    solution, chosen = None, (-1.0, PENALTIES[0])
    for penalty in PENALTIES:
        solution, _ = fit(own[:fitting], labels[:fitting], len(classes), penalty, solution)
        right = accuracy(solution, own[fitting:], labels[fitting:])
        if right > chosen[0]:
            chosen = right, penalty
    final, gradient = fit(own, labels, len(classes), chosen[1], None)
    wanted = np.searchsorted(classes, test.labels)
    return Probe(accuracy(final, of_test, wanted), *chosen, gradient)


def coordinates(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return train and test features as [n, r] and [m, r], r at most n, with equal inner products.

    Standardized by the training examples first, a feature that never changes being 0, and divided
    by the root of their number: a row's mean square norm is 1 whatever the layer. A penalized fit
    lies in the span of the training examples, so it is the same in these coordinates.
    """
    train = np.asarray(train, np.float64)
    mean, deviation = train.mean(0), train.std(0)
    live = deviation > 1e-6 * max(deviation.max(), 1e-30)
    scale = deviation[live] * np.sqrt(max(live.sum(), 1))
    ours = (train - mean)[:, live] / scale
    theirs = (np.asarray(test, np.float64) - mean)[:, live] / scale
    if ours.shape[1] <= ours.shape[0]:
        _, axes = np.linalg.eigh(ours.T @ ours)
        return ours @ axes, theirs @ axes
    squares, axes = np.linalg.eigh(ours @ ours.T)
    kept = squares > 1e-10 * squares[-1]
    lengths = np.sqrt(squares[kept])
    axes = axes[:, kept]
    return axes * lengths, theirs @ (ours.T @ (axes / lengths))


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    penalty: float,
    start: np.ndarray | None,
) -> tuple[np.ndarray, float]:
    """Return weights [r + 1, K], biases last, and the largest entry of the gradient there.

    They minimize the mean cross-entropy, in nats, plus half the penalty times the squared weights;
    biases are free.
    """
    count, size = features.shape
    wanted = np.eye(classes)[labels]
    # In units in which the curvature is at most 1 along every axis: Boehning's bound.
    units = np.sqrt(np.square(features).mean(0) / 2 + penalty)[:, None]
    features = features / units.T
    pull = penalty / np.square(units)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(size + 1, classes)
        logits = features @ weights[:-1] + weights[-1]
        logits -= logits.max(1, keepdims=True)
        shares = np.exp(logits)
        total = shares.sum(1, keepdims=True)
        wrong = (shares / total - wanted) / count
        gradient = np.concatenate([features.T @ wrong, wrong.sum(0, keepdims=True)])
        gradient[:-1] += pull * weights[:-1]
        value = (np.log(total).sum() - logits[np.arange(count), labels].sum()) / count
        value += (pull * np.square(weights[:-1])).sum() / 2
        return value, gradient.ravel()

    begin = np.zeros((size + 1, classes))
    if start is not None:
        begin = start * np.append(units, [[1.0]], axis=0)
    solution, gradient = minimized(loss, begin.ravel())
    weights = solution.reshape(size + 1, classes)
    weights[:-1] /= units
    return weights, float(np.abs(gradient).max())


def minimized(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where a convex function is least, and its gradient there: L-BFGS to ``TOLERANCE``.

    Source: Nocedal & Wright, "Numerical Optimization", algorithm 7.4, with steps that are halved
    until they lower the loss enough: convexity gives every pair of differences its positive
    product. SciPy's takes ten times as long where other threads share the cores.

    Args:
      loss: point [P] -> value and gradient [P].
      start: where to begin.
    """
    point, (value, gradient) = start, loss(start)
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=MEMORY)
    for _ in range(MOST_STEPS):
        if np.abs(gradient).max() <= TOLERANCE:
            break
        direction = -_times_inverse_hessian(gradient, pairs)
        slope = gradient @ direction
        length = 1.0 if pairs else 1.0 / max(1.0, np.abs(gradient).sum())
        new_value, new_gradient = loss(point + length * direction)
        while new_value > value + 1e-4 * length * slope and length > 1e-12:
            length /= 2
            new_value, new_gradient = loss(point + length * direction)
        moved, changed = length * direction, new_gradient - gradient
        if moved @ changed <= 1e-14 * (changed @ changed):
            break  # nothing but rounding is left
        pairs.append((moved, changed))
        point, value, gradient = point + moved, new_value, new_gradient
    return point, gradient


def _times_inverse_hessian(
    vector: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Return the inverse Hessian that the last steps suggest, times a vector: two loops."""
    result, weights = vector.copy(), []
    for moved, changed in reversed(pairs):
        weights.append((moved @ result) / (moved @ changed))
        result -= weights[-1] * changed
    if pairs:
        moved, changed = pairs[-1]
        result *= (moved @ changed) / (changed @ changed)
    for (moved, changed), weight in zip(pairs, reversed(weights), strict=True):
        result += (weight - (changed @ result) / (moved @ changed)) * moved
    return result


def accuracy(weights: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of examples whose largest logit is their label's."""
    logits = features @ weights[:-1] + weights[-1]
    return float((logits.argmax(1) == labels).mean())
