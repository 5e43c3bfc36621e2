"""What class pictures are worth, in numbers: who else sees the class, how rough, how alike."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def others(count: int) -> np.ndarray:
    """Return for each of N nets the nets beside it, which judge its pictures: [N, N - 1]."""
    nets = np.arange(count)
    return np.stack([nets[nets != net] for net in nets])


def votes(
    logits: np.ndarray,
    classes: np.ndarray,
    judges: np.ndarray,
) -> np.ndarray:
    """Return the share of its judges that put a picture into its class, [N, W, B].

    Args:
      logits: [J, N, W, B, K], of net j for the pictures of net n, J = N.
      classes: [B].
      judges: [N, ...], nets that judge each net's pictures.

    Raises:
      ValueError: a net would judge its own pictures: that it likes them says nothing.
    """
    found = []
    for net, chosen in enumerate(judges):
        if net in chosen:
            raise ValueError(f"net {net} is among the judges of its own pictures")
        answers = logits[chosen, net].argmax(-1)
        found.append((answers == classes).mean(0))
    return np.stack(found)


class Own(NamedTuple):
    """What nets say of their own pictures: the class's logit and p [N, W], means over pictures."""

    logit: np.ndarray
    probability: np.ndarray


def own(
    logits: np.ndarray,
    classes: np.ndarray,
) -> Own:
    """Return what every net says of the pictures made for it; logits as in ``votes``."""
    nets = np.arange(len(logits))
    mine = logits[nets, nets].astype(np.float64)  # [N, W, B, K]
    pictures = np.arange(len(classes))
    of_class = mine[:, :, pictures, classes]
    largest = mine.max(-1)
    relative = mine - largest[..., None]
    total = np.exp(relative).sum(-1)
    p = np.exp(of_class - largest) / total
    return Own(of_class.mean(-1), p.mean(-1))


def variation(pictures: np.ndarray) -> np.ndarray:
    """Return the mean step between neighbors, down plus across, [..., H, W, C] -> [...]."""
    axes = (-3, -2, -1)
    down = np.diff(pictures, axis=-3)
    across = np.diff(pictures, axis=-2)
    return np.abs(down).mean(axes) + np.abs(across).mean(axes)


def spread(pictures: np.ndarray) -> np.ndarray:
    """Return the mean L2 distance of pictures of one class, [..., S, K, H, W, C] -> [...].

    Over pairs of the S pictures, and over classes.
    """
    count = pictures.shape[-5]
    pairs = itertools.combinations(range(count), 2)
    distances = [_distance(pictures, a, b) for a, b in pairs]
    return np.mean(distances, axis=0)


def _distance(
    pictures: np.ndarray,
    a: int,
    b: int,
) -> np.ndarray:
    one = np.take(pictures, a, axis=-5)
    other = np.take(pictures, b, axis=-5)
    apart = np.square(one - other)
    return np.sqrt(apart.sum((-3, -2, -1))).mean(-1)


def shifted(
    classes: Sequence[int],
    count: int,
) -> np.ndarray:
    """Return every class's successor: a net of permuted classes means it by the same output."""
    return (np.asarray(classes) + 1) % count
