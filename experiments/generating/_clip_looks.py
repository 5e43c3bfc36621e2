"""What a run of ``moving_shapes`` finds of its games: arrays by name, ready for the record."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from experiments.generating import _clip_game as game
from experiments.generating import _clip_measures as measures
from experiments.generating import _clip_painting as painting
from experiments.generating import _moving as moving
from experiments.generating._ruler import Ruler
from jaxvision.fields import seeds_of
from jaxvision.generative import metrics
from jaxvision.types import PyTree

SHOWN = 3  # clips of a kind that the record keeps
ANCHORS = ("real", "shuffled", "frozen", "blurred", "noise")
Paint = Callable[[game.Sizes, PyTree, np.ndarray, bool], Iterator[painting.Painted]]
PAINT: Paint = painting.painted
_PART = 2  # of the drawn clips: those of training and test are others


class Wanted(Protocol):
    """The fields of the experiment's config that are read here."""

    frames: int
    size: int
    seeds: int
    first_seed: int
    codes: int
    looks: tuple[int, ...]
    n_clips: int
    n_sought: int
    seeking_steps: int


class Held(NamedTuple):
    """What one seed's generators are held against: real clips that nothing has seen.

    Attributes:
      clips: n of them.
      features: the ruler's, of these.
      finder: of moving pixels, judged on these.
      motion: of these.
      distances: from them to each of ``ANCHORS``, made of n other clips.
      untimely: how straight these go with their frames shuffled.
    """

    clips: moving.Clips
    features: np.ndarray
    finder: measures.Finder
    motion: measures.Motion
    distances: dict[str, float]
    untimely: float


class Given(NamedTuple):
    """What all games are measured with.

    Attributes:
      config: of the run.
      sizes: of the nets.
      ruler: the classifier.
      held: of each seed.
      paint: generators and codes to clips; a test hands over broken ones.
    """

    config: Wanted
    sizes: game.Sizes
    ruler: Ruler
    held: Sequence[Held]
    paint: Paint


def held_against(config: Wanted, ruler: Ruler, train: moving.Clips) -> list[Held]:
    """Draw each seed's own real clips and measure them."""
    return [_held(config, ruler, train, seed) for seed in seeds_of(config)]


def _held(config: Wanted, ruler: Ruler, train: moving.Clips, seed: int) -> Held:
    n = config.n_clips
    drawn = moving.draw(2 * n, seed, _PART, config.frames, config.size)
    clips = drawn.rows(slice(n))
    others = drawn.rows(slice(n, 2 * n))
    found = measures.finder(train.rows(slice(n)), clips)
    features = _features(ruler, clips.frames)
    anchors = measures.anchor_clips(others.frames, seed)
    distances = {
        name: metrics.frechet(features, _features(ruler, frames))
        for name, frames in anchors.items()
    }
    untimely = measures.motion(anchors["shuffled"], found).straightness
    real = measures.motion(clips.frames, found)
    return Held(clips, features, found, real, distances, untimely)


def _features(ruler: Ruler, frames: np.ndarray) -> np.ndarray:
    return ruler.read(game.as_images(frames)).features


def held_arrays(held: Sequence[Held]) -> dict[str, np.ndarray]:
    """Return anchors, real motion and the finder's reach, [S] each, and real clips to show."""
    arrays = {
        f"anchor/{name}": np.array([each.distances[name] for each in held]) for name in ANCHORS
    }
    for quantity in measures.Motion._fields:
        values = [getattr(each.motion, quantity) for each in held]
        arrays[f"real/{quantity}"] = np.array(values)
    arrays["real/untimely"] = np.array([each.untimely for each in held])
    arrays["finder/overlap"] = np.array([each.finder.overlap for each in held])
    arrays["finder/by_chance"] = np.array([each.finder.by_chance for each in held])
    arrays["finder/threshold"] = np.float64(held[0].finder.threshold)
    clips = held[0].clips
    arrays["real/clips"] = clips.frames[:SHOWN]
    arrays["real/masks"] = clips.masks[:SHOWN]
    arrays["real/covered"] = np.array([each.clips.masks.mean() for each in held])
    return arrays


class Quality(NamedTuple):
    """What one generator's clips are like.

    Attributes:
      fcd: distance to as many real clips.
      overlap: of the masks with what moves in their own clips.
      by_chance: the masks of other clips with it.
      covered: the masks' mean.
      excess: change that the masks do not allow.
      share, speed, straightness, flicker: see ``measures.Motion``.
      untimely: how straight the clips go with their frames shuffled.
    """

    fcd: float
    overlap: float
    by_chance: float
    covered: float
    excess: float
    share: float
    speed: float
    straightness: float
    flicker: float
    untimely: float


def quality(ruler: Ruler, held: Held, made: painting.Painted, seed: int) -> Quality:
    """Measure n generated clips."""
    found = held.finder.moving(made.clips)
    own = measures.overlap(made.masks, found)
    motion = measures.motion(made.clips, held.finder)
    mixed = measures.shuffled(made.clips, seed)
    return Quality(
        fcd=metrics.frechet(held.features, _features(ruler, made.clips)),
        overlap=float(own.mean()),
        by_chance=measures.by_chance(made.masks, found),
        covered=float(made.streams.mask.mean()),
        excess=measures.excess_change(made.streams),
        untimely=measures.motion(mixed, held.finder).straightness,
        **motion._asdict(),
    )


def along(given: Given, played: game.Played, name: str, arm: game.Arm) -> dict[str, np.ndarray]:
    """Return the quality of an arm's clips at every look, [S, T], and some of one seed's last."""
    config = given.config
    codes = painting.codes_of(config.first_seed, 0, config.n_clips, config.codes)
    nets = painting.flattened(played.generator)
    painted = given.paint(given.sizes, nets, codes, arm.two_streams)
    count = len(config.looks)
    found = []
    arrays = {}
    for net, made in enumerate(painted):
        seed = net // count
        found.append(quality(given.ruler, given.held[seed], made, seed))
        if net == count - 1:
            arrays = _shown(made, name)
    for quantity in Quality._fields:
        values = np.array([getattr(each, quantity) for each in found])
        arrays[f"{name}/{quantity}"] = values.reshape(-1, count)
    return arrays


def _shown(made: painting.Painted, name: str) -> dict[str, np.ndarray]:
    masks = made.streams.mask[:SHOWN, ..., 0]
    behind = made.streams.background[:SHOWN]
    return {
        f"{name}/clips": made.clips[:SHOWN],
        f"{name}/masks": np.rint(255 * masks).astype(np.uint8),
        f"{name}/backgrounds": metrics.quantized(behind),
    }


def sought(given: Given, played: game.Played, name: str, arm: game.Arm) -> dict[str, np.ndarray]:
    """Return what real clips sought in each generator say of its masks, [S] each.

    ``sought/mask``: overlap of the found clip's mask with the true one; ``sought/by_chance``: with
    that of another clip; ``sought/moving``: of what moves in the found clip with the true mask;
    ``sought/error``: mean squared distance, over that of the clips' own mean pictures.
    """
    config = given.config
    found = {}
    for net, held in enumerate(given.held):
        variables = painting.at_end(played.generator, net)
        search = painting.Search(config.seeking_steps, config.first_seed + net)
        frames = held.clips.frames[: config.n_sought]
        masks = held.clips.masks[: config.n_sought]
        ended = painting.inverted(given.sizes, variables, frames, search, arm.two_streams)
        of_net = {
            "mask": measures.overlap(ended.found.masks, masks).mean(),
            "by_chance": measures.by_chance(ended.found.masks, masks),
            "moving": measures.overlap(held.finder.moving(ended.found.clips), masks).mean(),
            "error": ended.error.mean() / measures.left_by_stills(frames).mean(),
        }
        for quantity, value in of_net.items():
            found.setdefault(quantity, []).append(value)
    return {f"{name}/sought/{quantity}": np.array(values) for quantity, values in found.items()}
