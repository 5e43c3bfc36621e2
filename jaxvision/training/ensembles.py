"""What several nets predict together, and how good a prediction is, on the host.

Logits are NumPy arrays [..., B, K]; the last two axes are images and classes. An ensemble predicts
the mean of its members' probabilities (Lakshminarayanan et al. 2017, arXiv 1612.01474).
"""

import numpy as np
from scipy import optimize, special


def log_mean_probability(logits: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the logarithm of the members' mean probability, the ensemble's logits.

    Not the mean of the logits: that is a geometric mean, and lets a sure member outvote all others.

    Args:
      logits: of M members along ``axis``.
      axis: which is dropped.
    """
    members = special.log_softmax(np.asarray(logits, np.float64), -1)
    return special.logsumexp(members, axis) - np.log(members.shape[axis])


def error(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of wrong answers [...]."""
    return (logits.argmax(-1) != labels).mean(-1)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean cross-entropy [...] in nats."""
    logs = special.log_softmax(np.asarray(logits, np.float64), -1)
    return -logs[..., np.arange(len(labels)), labels].mean(-1)


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 10) -> np.ndarray:
    """Return by how much confidence and accuracy differ [...], mean over bins of confidence.

    Each bin counts as often as it has images. Source: Guo et al. 2017 (arXiv 1706.04599), Eq. 3.
    """
    probabilities = special.softmax(np.asarray(logits, np.float64), -1)
    confidence, right = probabilities.max(-1), logits.argmax(-1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.zeros(confidence.shape[:-1])
    for i in range(bins):
        inside = place == i
        gap += np.abs((np.where(inside, confidence, 0) - (inside & right)).sum(-1))
    return gap / len(labels)


def disagreement(logits: np.ndarray) -> np.ndarray:
    """Return how often two members [M, B, K] answer differently, mean over all pairs."""
    answers = logits.argmax(-1)
    different = (answers[:, None] != answers[None]).mean(-1)
    members = len(answers)
    return different.sum() / (members * (members - 1))


def error_correlation(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the correlation over images of two members' errors, mean over pairs: [M, B, K].

    1 where all err alike, 0 where a member's errors say nothing about another's. NaN where one
    member never errs.
    """
    wrong = (logits.argmax(-1) != labels).astype(np.float64)
    centered = wrong - wrong.mean(-1, keepdims=True)
    covariance = centered @ centered.T / len(labels)
    deviation = np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = covariance / np.outer(deviation, deviation)
    members = len(wrong)
    return float((correlation.sum() - np.trace(correlation)) / (members * (members - 1)))


def independent_error(rate: float, members: int) -> float:
    """Return the error of a majority of ``members`` that each err independently at ``rate``.

    Wrong answers are taken to agree, and a tie is decided by a coin: an upper bound for more than
    two classes.
    """
    count = np.arange(members + 1)
    chance = special.binom(members, count) * rate**count * (1 - rate) ** (members - count)
    lost = np.where(2 * count > members, 1.0, np.where(2 * count == members, 0.5, 0.0))
    return float(chance @ lost)


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T by which logits [B, K] are to be divided for the least log loss on these images.

    Found to convergence on log T in [-5, 5]: the loss is convex in 1 / T. It never rises there,
    and no answer changes. Source: Guo et al. 2017 (arXiv 1706.04599), section 4.2.
    """

    def loss(log_temperature: float) -> float:
        return float(log_loss(logits / np.exp(log_temperature), labels))

    options = {"xatol": 1e-9}
    found = optimize.minimize_scalar(loss, bounds=(-5, 5), method="bounded", options=options)
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0
