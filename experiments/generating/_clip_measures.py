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
    shifts = range(1, min(_OTHERS, len(masks) - 1) + 1)
    overlaps = [overlap(np.roll(masks, shift, axis=0), found).mean() for shift in shifts]
    return float(np.mean(overlaps))


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
    overlaps = [overlap(away > threshold, tuning.masks).mean() for threshold in _THRESHOLDS]
    threshold = float(_THRESHOLDS[np.argmax(overlaps)])
    found = departures(judging.frames) > threshold
    ceiling = overlap(found, judging.masks).mean()
    return Finder(threshold, float(ceiling), by_chance(judging.masks, found))


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
    speed, straightness = _ways(moving)
    return Motion(float(moving.mean()), speed, straightness, _flicker(frames, moving))


def _ways(moving: np.ndarray) -> tuple[float, float]:
    """Return speed and straightness of the center of moving pixels bool [N, T, H, W].

    Clips count in which something moves in every frame.
    """
    count = moving.sum((2, 3))
    whole = (count > 0).all(1)
    if not whole.any():
        return float("nan"), float("nan")
    kept = moving[whole]
    side = kept.shape[-1]
    places = (np.arange(side) + 0.5) / side
    rows = (kept.sum(3) * places).sum(2) / count[whole]
    columns = (kept.sum(2) * places).sum(2) / count[whole]
    centers = np.stack([rows, columns], axis=-1)
    steps = np.linalg.norm(np.diff(centers, axis=1), axis=-1).sum(1)
    reached = np.linalg.norm(centers[:, -1] - centers[:, 0], axis=-1)
    straightness = reached / np.maximum(steps, 1e-9)
    return float(steps.mean()), float(straightness.mean())


def _flicker(frames: np.ndarray, moving: np.ndarray) -> float:
    deviation = frames.astype(np.float32).std(1).mean(-1)
    still = ~moving.any(1)
    if not still.any():
        return float("nan")
    return float(deviation[still].mean())


def left_by_stills(frames: np.ndarray) -> np.ndarray:
    """Return the mean squared distance of clips from their mean picture, pixels in [-1, 1], [N].

    No picture that stands still is nearer.
    """
    return (frames / 127.5).var(1).mean((1, 2, 3))


def shuffled(frames: np.ndarray, seed: int) -> np.ndarray:
    """Return clips [N, T, ...] with their frames in random order, another for each clip."""
    draws = np.random.Generator(np.random.Philox(seed))
    order = draws.random(frames.shape[:2]).argsort(1)
    rows = np.arange(len(frames))[:, None]
    return frames[rows, order]


def anchor_clips(frames: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return clips between real and noise, made of real ones [N, T, H, W, C]."""
    first = np.repeat(frames[:, :1], frames.shape[1], axis=1)
    flat = frames.reshape(-1, *frames.shape[2:])
    return {
        "real": frames,
        "shuffled": shuffled(frames, seed),
        "frozen": first,
        "blurred": anchors.blurred(flat).reshape(frames.shape),
        "noise": anchors.noise(frames.shape, seed),
    }


def excess_change(streams: Streams) -> float:
    """Return by how much a clip changes more than its mask lets it, at most; 0 where nowhere.

    Where the background stands still, |x_t - x_s| <= m_t |f_t - b| + m_s |f_s - b|.
    """
    behind = streams.background[:, None]
    allowed = streams.mask * np.abs(streams.foreground - behind)
    change = np.abs(np.diff(streams.clip, axis=1))
    beyond = change - allowed[:, 1:] - allowed[:, :-1]
    return max(float(beyond.max()), 0.0)
