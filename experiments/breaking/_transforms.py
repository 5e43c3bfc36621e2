"""The ways in which transformations moves images, and what it lets lie beyond their border."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from jaxvision.data.warps import Padding, Pose

ZEILER_SHIFT = 60 / 224  # of a side


@dataclasses.dataclass(frozen=True)
class Transform:
    """A way to transform images, by an amount.

    Attributes:
      label: in the figure.
      amounts: pixels of a side -> amounts [P] over the source's range.
      pose: amounts -> poses, leaves [P].
      rest: the amount that changes nothing.
      around: amount after which it begins anew; None where it does not.
    """

    label: str
    amounts: Callable[[int], np.ndarray]
    pose: Callable[[np.ndarray], Pose]
    rest: float
    around: float | None = None

    def sizes(self, side: int) -> np.ndarray:
        """Return how far each amount is from rest, [P]; 350 degrees are 10."""
        away = np.abs(self.amounts(side) - self.rest)
        return away if self.around is None else np.minimum(away, self.around - away)


def _shifts(side: int) -> np.ndarray:
    reach = round(side * ZEILER_SHIFT)
    return np.arange(-reach, reach + 1, dtype=np.float32)  # whole pixels: nothing is blurred


def _scales(side: int) -> np.ndarray:
    del side
    return np.linspace(1, 1.8, 9, dtype=np.float32)


def _turns(side: int) -> np.ndarray:
    del side
    return np.arange(0, 360, 10, dtype=np.float32)


def _poses(count: int, **parts: np.ndarray) -> Pose:
    rest = Pose()
    leaves = {name: np.full(count, value, np.float32) for name, value in rest._asdict().items()}
    return Pose(**(leaves | parts))


def _shifted(amounts: np.ndarray) -> Pose:
    return _poses(len(amounts), down=amounts)


def _scaled(amounts: np.ndarray) -> Pose:
    return _poses(len(amounts), scale=amounts)


def _turned(amounts: np.ndarray) -> Pose:
    return _poses(len(amounts), turn=amounts)


TRANSFORMS = {
    "shift": Transform("shift", _shifts, _shifted, 0.0),
    "scale": Transform("scale", _scales, _scaled, 1.0),
    "turn": Transform("turn", _turns, _turned, 0.0, around=360.0),
}


@dataclasses.dataclass(frozen=True)
class Border:
    """What lies beyond the border of an image.

    Attributes:
      label: in the figure.
      padding: see ``warps.sample_at``.
      disc: black outside the inscribed disc before anything moves, so that turning cuts nothing.
    """

    label: str
    padding: Padding
    disc: bool = False


BORDERS = {
    "zero": Border("black", "zero"),
    "edge": Border("last pixel", "edge"),
    "reflect": Border("mirrored", "reflect"),
    "wrap": Border("torus", "wrap"),
    "disc": Border("black disc", "zero", disc=True),
}


# Classes that look (nearly) the same after half a turn.
SYMMETRIC = {
    "digits": ("0", "1", "8"),
    "mnist": ("0", "1", "8"),
    "shapes": ("disk", "ring", "square", "cross", "bar"),
}

CANVAS = "canvas"  # the image in the middle of a larger one; with nets of its own


def rows_of(transforms: Mapping[str, Transform], side: int) -> dict[str, slice]:
    """Return where the poses of each transform stand among those of all."""
    counts = [len(each.amounts(side)) for each in transforms.values()]
    ends = np.cumsum(counts)
    starts = ends - counts
    return {
        name: slice(int(start), int(end))
        for name, start, end in zip(transforms, starts, ends, strict=True)
    }


def all_poses(transforms: Mapping[str, Transform], side: int) -> Pose:
    """Return the poses of all transforms after one another, leaves [P]."""
    poses = [each.pose(each.amounts(side)) for each in transforms.values()]
    return Pose(*[np.concatenate(parts) for parts in zip(*poses, strict=True)])
