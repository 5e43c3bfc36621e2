"""What several nets predict together, and how good a prediction is, on the host.

Logits are NumPy arrays [..., B, K]; the last two axes are images and classes. An ensemble predicts
the mean of its members' probabilities (Lakshminarayanan et al. 2017, arXiv 1612.01474).
"""

import numpy as np
import scipy

_LOG_TEMPERATURES = (-5.0, 5.0)


def log_mean_probability(logits: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the logarithm of the members' mean probability, the ensemble's logits.

    Not the mean of the logits: that is a geometric mean, and lets a sure member outvote all others.

    Args:
      logits: of M members along ``axis``.
      axis: which is dropped.
    """
    members = scipy.special.log_softmax(_wide(logits), -1)
    total = scipy.special.logsumexp(members, axis)
    return total - np.log(members.shape[axis])


def error(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the share of wrong answers [...]."""
    wrong = _wrong(logits, labels)
    return wrong.mean(-1)


def log_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mean cross-entropy [...] in nats."""
    logs = scipy.special.log_softmax(_wide(logits), -1)
    images = np.arange(len(labels))
    of_label = logs[..., images, labels]
    return -of_label.mean(-1)


def calibration_error(
    logits: np.ndarray,
    labels: np.ndarray,
    bins: int = 10,
) -> np.ndarray:
    """Return by how much confidence and accuracy differ [...], mean over bins of confidence.

    Each bin counts as often as it has images. NaN where a logit is not finite: such a net has no
    confidence. Source: Guo et al. 2017 (arXiv 1706.04599), Eq. 3.
    """
    known = np.isfinite(logits).all((-1, -2))
    confidence = scipy.special.softmax(np.nan_to_num(_wide(logits)), -1).max(-1)
    right = ~_wrong(logits, labels)
    surplus = confidence - right
    place = (confidence * bins).astype(int)
    place = np.minimum(place, bins - 1)
    gap = np.zeros(confidence.shape[:-1])
    for i in range(bins):
        in_bin = np.where(place == i, surplus, 0.0)
        gap += np.abs(in_bin.sum(-1))
    return np.where(known, gap / len(labels), np.nan)


def disagreement(logits: np.ndarray) -> float:
    """Return how often two members [M, B, K] answer differently, mean over all pairs."""
    answers = logits.argmax(-1)
    different = answers[:, None] != answers[None]
    return _mean_of_pairs(different.mean(-1))


def error_correlation(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the correlation over images of two members' errors, mean over pairs: [M, B, K].

    1 where all err alike, 0 where a member's errors say nothing about another's. NaN where one
    member never errs.
    """
    wrong = _wrong(logits, labels).astype(np.float64)
    centered = wrong - wrong.mean(-1, keepdims=True)
    covariance = centered @ centered.T
    deviation = np.sqrt(np.diag(covariance))
    scale = np.outer(deviation, deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _mean_of_pairs(covariance / scale)


def independent_error(rate: float, members: int) -> float:
    """Return the error of a majority of ``members`` that each err independently at ``rate``.

    Wrong answers are taken to agree, and a tie is decided by a coin: an upper bound for more than
    two classes. Source: Dietterich 2000, "Ensemble methods in machine learning", section 1.
    """
    wrong = np.arange(members + 1)
    right = members - wrong
    ways = scipy.special.binom(members, wrong)
    chance = ways * rate**wrong * (1 - rate) ** right
    lost = np.where(wrong > right, 1.0, 0.0)
    lost[wrong == right] = 0.5
    return float(chance @ lost)


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T by which logits [B, K] are to be divided for the least log loss on these images.

    Found to convergence on log T in [-5, 5]: the loss is convex in 1 / T. It never rises there,
    and no answer changes. Source: Guo et al. 2017 (arXiv 1706.04599), section 4.2.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(log_loss(scaled, labels))

    found = scipy.optimize.minimize_scalar(
        loss,
        bounds=_LOG_TEMPERATURES,
        method="bounded",
        options={"xatol": 1e-9},
    )
    is_better = found.fun < loss(0.0)
    return float(np.exp(found.x)) if is_better else 1.0


def _wide(logits: np.ndarray) -> np.ndarray:
    return np.asarray(logits, np.float64)


def _wrong(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    answers = logits.argmax(-1)
    return answers != labels


def _mean_of_pairs(matrix: np.ndarray) -> float:
    """Return the mean of what is off the diagonal."""
    members = len(matrix)
    off_diagonal = matrix.sum() - np.trace(matrix)
    return float(off_diagonal / (members * (members - 1)))
