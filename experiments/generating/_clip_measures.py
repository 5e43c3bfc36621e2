"""What is measured of clips: what moves in them, how it moves, and whether a mask says where.

A generated clip has no true mask. What moves in it can be found from the clip alone: pixels far
from their median over time. How far is set on real clips, whose truth is known; how well the finder
does there is the most that a mask can be asked for.
"""

from typing import NamedTuple

import numpy as np

from experiments.generating._moving import Clips
from jaxvision.generative import anchors
from jaxvision.models.video import Streams

_THRESHOLDS = np.arange(8, 128, 8)  # grey levels
_OTHERS = 8  # clips whose masks are held against one clip


def departures(frames: np.ndarray) -> np.ndarray:
    """Return how far clips uint8 [N, T, H, W, C] are from their median over time, [N, T, H, W].

    In grey levels, by the channel that is farthest.
    """
    levels = frames.astype(np.float32)
    median = np.median(levels, axis=1, keepdims=True)
    return np.abs(levels - median).max(-1)


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the intersection over union of masks bool [N, ...], [N]; 0 where both are empty.

    An empty mask of a still clip has found nothing.
    """
    first = one.reshape(len(one), -1)
    second = other.reshape(len(other), -1)
    shared = (first & second).sum(1)
    together = (first | second).sum(1)
    return shared / np.maximum(together, 1)


def by_chance(masks: np.ndarray, found: np.ndarray) -> float:
    """Return the mean overlap of masks bool [N, ...] with those of other clips.

    Of up to eight others each, one after the other: drawn clips come in a round of eight
    directions, and clips of like directions overlap more.
    """
    others = min(_OTHERS, len(masks) - 1)
    total = 0.0
    for shift in range(1, others + 1):
        moved = np.roll(masks, shift, axis=0)
        total += overlap(moved, found).mean()
    return float(total / others)


class Finder(NamedTuple):
    """What finds moving pixels.

    Attributes:
      threshold: grey levels from the median.
      overlap: with the true masks, on other real clips than the threshold was set on.
      by_chance: the same with the mask of another clip.
    """

    threshold: float
    overlap: float
    by_chance: float

    def moving(self, frames: np.ndarray) -> np.ndarray:
        """Return the moving pixels of clips uint8, bool [N, T, H, W]."""
        return departures(frames) > self.threshold


def finder(tuning: Clips, judging: Clips) -> Finder:
    """Set the threshold where the found pixels overlap the true masks most."""
    away = departures(tuning.frames)
    overlaps = []
    for threshold in _THRESHOLDS:
        found = away > threshold
        overlaps.append(overlap(found, tuning.masks).mean())
    best = float(_THRESHOLDS[np.argmax(overlaps)])
    found = departures(judging.frames) > best
    ceiling = overlap(found, judging.masks).mean()
    floor = by_chance(judging.masks, found)
    return Finder(best, float(ceiling), floor)


class Motion(NamedTuple):
    """How a set of clips moves; each is a mean over clips.

    Attributes:
      share: of pixels that move, of 1.
      speed: of the moving pixels' center, in frame sides over a clip.
      straightness: how far that center gets, over how far it goes: 1 on a straight line.
      flicker: standard deviation over time in pixels that never move, grey levels.
    """

    share: float
    speed: float
    straightness: float
    flicker: float


def motion(frames: np.ndarray, found: Finder) -> Motion:
    """Measure clips uint8 [N, T, H, W, C]; NaN where nothing moves in any of them."""
    moving = found.moving(frames)
    share = float(moving.mean())
    speed, straightness = _ways(moving)
    flicker = _flicker(frames, moving)
    return Motion(share, speed, straightness, flicker)


def _ways(moving: np.ndarray) -> tuple[float, float]:
    """Return speed and straightness of the center of moving pixels bool [N, T, H, W].

    Clips count in which something moves in every frame.
    """
    count = moving.sum((2, 3))
    whole = (count > 0).all(1)
    if not whole.any():
        return float("nan"), float("nan")
    centers = _centers(moving[whole])
    steps = np.diff(centers, axis=1)
    gone = np.linalg.norm(steps, axis=-1).sum(1)
    reached = np.linalg.norm(steps.sum(1), axis=-1)
    straightness = reached / np.maximum(gone, 1e-9)
    return float(gone.mean()), float(straightness.mean())


def _centers(moving: np.ndarray) -> np.ndarray:
    """Return row and column of the center of moving pixels, of a frame's side, [N, T, 2]."""
    side = moving.shape[-1]
    places = (np.arange(side) + 0.5) / side
    count = moving.sum((2, 3))
    rows = moving.sum(3) @ places / count
    columns = moving.sum(2) @ places / count
    return np.stack([rows, columns], axis=-1)


def _flicker(frames: np.ndarray, moving: np.ndarray) -> float:
    levels = frames.astype(np.float32)
    deviation = levels.std(axis=1).mean(-1)
    still = ~moving.any(1)
    if not still.any():
        return float("nan")
    return float(deviation[still].mean())


def left_by_stills(frames: np.ndarray) -> np.ndarray:
    """Return the mean squared distance of clips from their mean picture, pixels in [-1, 1], [N].

    No picture that stands still is nearer.
    """
    pixels = frames / 127.5
    variance = pixels.var(axis=1)
    return variance.mean((1, 2, 3))


def shuffled(frames: np.ndarray, seed: int) -> np.ndarray:
    """Return clips [N, T, ...] with their frames in random order, another for each clip."""
    draws = np.random.Generator(np.random.Philox(seed))
    lots = draws.random(frames.shape[:2])
    order = lots.argsort(1)
    rows = np.arange(len(frames))[:, None]
    return frames[rows, order]


def anchor_clips(frames: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return clips between real and noise, made of real ones [N, T, H, W, C]."""
    first = frames[:, :1]
    flat = frames.reshape(-1, *frames.shape[2:])
    blurred = anchors.blurred(flat)
    return {
        "real": frames,
        "shuffled": shuffled(frames, seed),
        "frozen": np.broadcast_to(first, frames.shape),
        "blurred": blurred.reshape(frames.shape),
        "noise": anchors.noise(frames.shape, seed),
    }


def excess_change(streams: Streams) -> float:
    """Return by how much a clip changes more than its mask lets it, at most; 0 where nowhere.

    Where the background stands still, |x_t - x_s| <= m_t |f_t - b| + m_s |f_s - b|.
    """
    behind = streams.background[:, None]
    allowed = streams.mask * np.abs(streams.foreground - behind)
    most = allowed[:, 1:] + allowed[:, :-1]
    change = np.diff(streams.clip, axis=1)
    excess = np.abs(change) - most
    return max(float(excess.max()), 0.0)
