"""Destruction rates: which shares of fooling images a transformation makes harmless.

Source: Kurakin et al. 2017 (arXiv 1607.02533), equation 1. The images that are counted:

* ``average``: right when clean, wrong when attacked, as in the paper: another set for each attack;
* ``prefiltered``: of them those where both answers have a probability of at least .8;
* ``paired``: right when clean, wrong under every attack: one set for all;
* ``kept``: of these those whose clean image outlives the transformation too.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.breaking._photographing import SHOWN, Answers, Artificial

SURE = 0.8  # the paper's probability of prefiltered images
_EDGES = np.array([0.5, 0.8, 0.95, 0.99])  # of probabilities that count as equal


class Cases(NamedTuple):
    """The answers of N nets, by A attacks (the last is noise) and E sizes, to B images.

    Attributes:
      clean: bool [N, B], right before anything happens.
      clean_sure: [N, B], probability of that answer.
      clean_after: bool [N, T, B], right after each way.
      fooled: bool [N, A, E, B], right when clean, wrong when attacked.
      sure: [N, A, E, B], probability of the answer to the attacked image.
      after: bool [N, A, E, T, B], right after each way.
    """

    clean: np.ndarray
    clean_sure: np.ndarray
    clean_after: np.ndarray
    fooled: np.ndarray
    sure: np.ndarray
    after: np.ndarray


def cases(found: Answers, sizes: int) -> Cases:
    """Return answers by attack and size."""

    def by_attack(sets: np.ndarray) -> np.ndarray:
        return sets.reshape(len(sets), -1, sizes, *sets.shape[2:])

    clean = found.before[:, 0]
    attacked = by_attack(found.before[:, 1:])
    return Cases(
        clean=clean,
        clean_sure=found.confidence[:, 0],
        clean_after=found.right[:, 0],
        fooled=clean[:, None, None] & ~attacked,
        sure=by_attack(found.confidence[:, 1:]),
        after=by_attack(found.right[:, 1:]),
    )


def rates(
    found: Answers,
    ways: Mapping[str, Artificial],
    sizes: int,
    photos: int,
) -> dict[str, np.ndarray]:
    """Return what a record keeps, A attacks and E sizes.

    * ``error`` [N], on clean images; ``success`` [N, A + 1, E], the last one of noise;
    * ``read/WAY`` [N, A + 1, E, strengths], accuracy on attacked images;
    * ``retained/WAY`` [N, strengths], accuracy on clean images over that without the way;
    * ``count/COUNTED`` [N, A, E], images that count;
    * ``rate/COUNTED/WAY`` [N, A, E, strengths], destruction rates, NaN where no image counts;
    * ``at_rest`` [N], fooling images that the camera at rest destroys;
    * ``equal`` [N, E], by how much more photographs destroy of the second attack than of the first
      at equal confidence.
    """
    every = cases(found, sizes)
    sets = counted(every)
    attacks = sets["average"].shape[1]
    destroyed = every.after[:, :attacks]
    clean = every.clean.mean(-1)
    right = np.maximum(every.clean.sum(-1), 1)
    arrays = {
        "error": 1 - clean,
        "success": every.fooled.sum(-1) / right[:, None, None],
        "at_rest": (sets["average"] & destroyed[..., 0, :]).sum((1, 2, 3)),
    }
    for name, some in sets.items():
        arrays[f"count/{name}"] = some.sum(-1)
    for name, rows in rows_of(ways, photos).items():
        arrays[f"read/{name}"] = every.after[..., rows, :].mean(-1)
        outlived = every.clean_after[:, rows]
        arrays[f"retained/{name}"] = _ratio(outlived.mean(-1), clean)
        arrays |= _of_way(name, destroyed[..., rows, :], outlived, sets)
    photographed = destroyed[..., rows_of(ways, photos)["photo"], :]
    arrays["equal"] = _by_confidence(photographed, every, sets["average"])
    return arrays


def _of_way(
    name: str,
    destroyed: np.ndarray,
    outlived: np.ndarray,
    sets: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Return a way's rates by what counts; destroyed [N, A, E, strengths, B].

    ``outlived``: bool [N, strengths, B], clean images that are right after the way.
    """
    among = {kind: some[..., None, :] for kind, some in sets.items()}
    among["kept"] = among["paired"] & outlived[:, None, None]
    return {f"rate/{kind}/{name}": share(destroyed, some) for kind, some in among.items()}


def counted(every: Cases) -> dict[str, np.ndarray]:
    """Return which images count, [N, A, E, B], without noise."""
    fooled = every.fooled[:, :-1]
    sure = every.sure[:, :-1] >= SURE
    clean_sure = every.clean_sure >= SURE
    by_all = fooled.all(1, keepdims=True)
    return {
        "average": fooled,
        "prefiltered": fooled & sure & clean_sure[:, None, None],
        "paired": np.broadcast_to(by_all, fooled.shape),
    }


def rows_of(ways: Mapping[str, Artificial], photos: int) -> dict[str, slice]:
    """Return where each way stands among all: photographs, then artificial ones by strength."""
    start = len(SHOWN) - 1  # the first photograph is shown
    rows = {"photo": slice(start, start + photos)}
    start += photos
    for name, way in ways.items():
        end = start + len(way.strengths)
        rows[name] = slice(start, end)
        start = end
    return rows


def share(hit: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the share of those ``among`` that are hit, over the last axis; NaN where none is."""
    hits = (hit & among).sum(-1)
    total = np.broadcast_to(among.sum(-1), hits.shape)
    shares = hits / np.maximum(total, 1)
    return np.where(total > 0, shares, np.nan)


def equal_confidence(
    one: np.ndarray,
    other: np.ndarray,
    sure: np.ndarray,
    other_sure: np.ndarray,
) -> float:
    """Return the mean of ``one`` minus that of ``other`` among images of equal confidence.

    Args:
      one: bool [B1], whether a fooling image was destroyed.
      other: bool [B2], likewise, of another attack.
      sure: [B1], probability of the wrong answer.
      other_sure: [B2].

    Returns:
      The difference in each interval of probability, weighted by the smaller number of images in
      it; NaN where no interval has images of both.
    """
    bins = np.digitize(sure, _EDGES)
    other_bins = np.digitize(other_sure, _EDGES)
    total = 0.0
    weights = 0
    for place in range(len(_EDGES) + 1):
        mine = one[bins == place]
        theirs = other[other_bins == place]
        weight = min(len(mine), len(theirs))
        if weight:
            gap = mine.mean() - theirs.mean()
            total += weight * gap
            weights += weight
    return total / weights if weights else np.nan


def undefined(
    arrays: Mapping[str, np.ndarray],
    labels: Sequence[str],
    levels: Sequence[int],
) -> list[str]:
    """Return a line for each cell in which some net has no image to count: its rate is NaN."""
    lines = []
    for kind in ("average", "prefiltered", "paired"):
        counts = arrays[f"count/{kind}"]
        for attack, size in np.ndindex(counts.shape[1:]):
            empty = int((counts[:, attack, size] == 0).sum())
            if empty:
                where = f"{labels[attack]}, {levels[size]} levels, {kind}"
                lines.append(f"{where}: no image counts on {empty} of {len(counts)} nets")
    return lines


def in_a_line(undefined: Sequence[str]) -> str:
    """Return a note on what ``undefined`` returns, one line at least: the first alone is told."""
    unit = "rate is" if len(undefined) == 1 else "rates are"
    return (
        f"{len(undefined)} {unit} not defined (NaN), as the record lists: {undefined[0]}"
        f"{', ...' if len(undefined) > 1 else ''}"
    )


def _ratio(accuracy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Return accuracies [N, strengths] over clean ones [N], NaN where these are 0."""
    some = np.where(clean > 0, clean, np.nan)
    return accuracy / some[:, None]


def _by_confidence(photographed: np.ndarray, every: Cases, fooled: np.ndarray) -> np.ndarray:
    """Return ``equal_confidence`` of the second attack and the first, [N, E]."""
    nets, _, sizes, photos, _ = photographed.shape
    gaps = np.empty((nets, sizes))

    def of(net: int, attack: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        some = fooled[net, attack, size]
        destroyed = photographed[net, attack, size][:, some]
        sure = every.sure[net, attack, size][some]
        return destroyed.ravel(), np.tile(sure, photos)

    for net, size in np.ndindex(nets, sizes):
        second, second_sure = of(net, 1, size)
        first, first_sure = of(net, 0, size)
        gaps[net, size] = equal_confidence(second, first, second_sure, first_sure)
    return gaps
