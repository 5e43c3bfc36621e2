"""From answers to rates: what camouflage keeps of what nets said."""

from collections.abc import Mapping

import numpy as np

from experiments.breaking._patching import Given, Seen
from jaxvision.report.record import Record

ANYWHERE, OFF = 0, 1  # of places
CONTROLS = ("object", "noise", "gray")
OF_NO_CLASS = ("noise", "gray")


def shares(
    hits: np.ndarray, targets: np.ndarray, counted: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Return the share of scenes that are hits, [..., P]; those of a patch's class do not count.

    NaN where no scene counts: of a large patch off the object, for instance.

    Args:
      hits: bool [..., P, B].
      targets: [P], class of each patch.
      counted: bool, broadcast against hits.
      labels: [B].
    """
    trials = counted & (labels != targets[:, None])
    count = trials.sum(-1)
    return (hits & trials).sum(-1) / np.where(count > 0, count, np.nan)


def of_patches(
    seen: Seen,
    given: Given,
    rows: Mapping[str, slice],
) -> dict[str, np.ndarray]:
    """Return rates of S nets over the scenes that each answers right, with room for the patch.

    "led/NAME" [S, W, A, K, R]: lead to class K, with R pictures of the name for each class;
    "kept/NAME", of the same shape: are still answered right.
    """
    classes = np.arange(len(given.crops))
    right = seen.clean == given.labels
    counted = right[:, None, None, None] & given.room[None, :, :, None]
    found = {}
    for name, some in rows.items():
        shown = seen.patched[:, :, :, some]
        if name in OF_NO_CLASS:  # held against every class
            pictures = shown.shape[3]
            shown = np.tile(shown, (1, 1, 1, len(classes), 1))
        else:
            pictures = shown.shape[3] // len(classes)
        targets = np.repeat(classes, pictures)
        shape = (*shown.shape[:3], len(classes), pictures)
        led = shares(
            shown == targets[:, None],
            targets,
            counted,
            given.labels,
        )
        kept = shares(
            shown == given.labels,
            targets,
            counted,
            given.labels,
        )
        found[f"led/{name}"] = led.reshape(shape)
        found[f"kept/{name}"] = kept.reshape(shape)
    return found


def of_patterns(
    seen: Seen,
    given: Given,
    rows: Mapping[str, slice],
) -> dict[str, np.ndarray]:
    """Return the share of right answers that each of n patterns changes, "worn/NAME" [S, n]."""
    if seen.worn is None:
        return {}
    right = (seen.clean == given.labels)[:, None]
    changed = (seen.worn != given.labels) & right
    count = right.sum(-1)
    rates = changed.sum(-1) / np.where(count > 0, count, np.nan)
    return {f"worn/{name}": rates[:, some] for name, some in rows.items()}


# Of a record.


def led(
    record: Record,
    net: str,
    name: str,
) -> np.ndarray:
    """Return how often the best picture of a name leads to a class, mean over classes [S, W, A]."""
    return record.arrays[f"{net}/led/{name}"].max(-1).mean(-1)


def best_control(record: Record, net: str) -> np.ndarray:
    """Return how often the best of the controls does, [S, W, A]."""
    return np.max([led(record, net, name) for name in CONTROLS], axis=0)


def kept(
    record: Record,
    net: str,
    name: str,
) -> np.ndarray:
    """Return the right answers left, mean over classes and pictures of a name, [S, W, A]."""
    return record.arrays[f"{net}/kept/{name}"].mean((-1, -2))


def worn(
    record: Record,
    net: str,
    name: str,
) -> np.ndarray:
    """Return the share of answers that the best pattern of a name changes, [S]."""
    return record.arrays[f"{net}/worn/{name}"].max(-1)


def best_worn(record: Record, net: str) -> np.ndarray:
    """Return the same of the best of the controls, [S]."""
    return np.max([worn(record, net, name) for name in ("shuffled", "gray", "noise")], axis=0)


def part(some: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return what part of a loss another one is; 1 where there is no loss."""
    return np.divide(some, whole, out=np.ones_like(whole), where=~(whole <= 0))
