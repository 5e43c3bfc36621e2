"""A linear probe in closed form: ridge regression of the classes, its penalty chosen held out."""

import numpy as np

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # times the mean square of a feature's column


def accuracy(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> float:
    """Return the share of test examples that the probe classifies right.

    The last fifth of the training examples chooses the penalty and is learned from afterwards.

    Args:
      train: features [N, D], in random order.
      labels: int [N].
      test: features [M, D].
      test_labels: int [M].
    """
    mean = train.mean(0)
    scale = train.std(0) + 1e-6 * train.std() + 1e-12
    train = np.float64((train - mean) / scale)
    test = np.float64((test - mean) / scale)
    fitting = len(train) - len(train) // 5
    learned, held_out = train[:fitting], train[fitting:]
    found = [
        _right(_fit(learned, labels[:fitting], penalty), held_out, labels[fitting:])
        for penalty in PENALTIES
    ]
    best = PENALTIES[int(np.argmax(found))]
    return _right(_fit(train, labels, best), test, test_labels)


def _fit(features: np.ndarray, labels: np.ndarray, penalty: float) -> np.ndarray:
    """Return weights [D + 1, K], the last row the biases, which are not penalized."""
    n, d = features.shape
    targets = np.eye(labels.max() + 1)[labels]
    bias = targets.mean(0)
    center = features.mean(0)
    centered = features - center
    gram = centered.T @ centered + penalty * n * np.eye(d)
    weights = np.linalg.solve(gram, centered.T @ (targets - bias))
    return np.vstack([weights, bias - center @ weights])


def _right(weights: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float:
    answers = features @ weights[:-1] + weights[-1]
    return float((answers.argmax(1) == labels).mean())
