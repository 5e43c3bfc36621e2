"""Moving shapes: whether a generator that may tell an object from its background does so.

Source: Vondrick, Pirsiavash & Torralba 2016, "Generating videos with scene dynamics" (arXiv
1609.02612), sections 2 to 4. Claim in one sentence: a generator of two streams, a moving foreground
by its mask over a background that stands still, finds the moving object without being told.

Command: make exp-moving-shapes (6 minutes on two cores; clips are drawn, no download).

The paper shows its masks as pictures; here they have numbers. A generated clip has no true mask, so
three are asked for. First, what moves in the clip itself: pixels far from their median over time.
Half of that is true by construction, for what lies outside of the mask cannot move; a mask may
still cover what stands still. Second, real clips are sought in the generator by descent on its
code: the mask of what is found is held against the true one, which no part of the training has
seen. Each is beside the mask of another clip, by chance, and beside what the finder of moving
pixels itself makes of real clips. Third, one stream, the same net with its mask held at 1, is
measured by the same numbers wherever it has them.

Pitfall: a small generator paints no given clip well. What is found misses a real clip by more than
the clip's own mean picture does, so the second number speaks of where masks lie, not of outlines.

What differs from the paper: drawn clips of 8 frames of 16x16, nets of two layers in place of four,
Adam at 1e-3, and numbers where the paper asks people. The penalty on the mask is over its elements
on average, as in the authors' code; the paper has their sum. Distances are Frechet's in the
features of a classifier of our own (FCD, no FID) that names the direction of the motion: clips that
stand still, or whose frames are shuffled, must be far. A net that is not finite any more counts as
noise.
"""

import dataclasses
import sys
from collections.abc import Mapping

from experiments.generating import _clip_game as game
from experiments.generating import _clip_looks as looks
from experiments.generating import _clip_panels as panels
from experiments.generating import _moving as moving
from experiments.generating import _moving_claims as moving_claims
from experiments.generating._ruler import BATCH, Ruler, small
from jaxvision import cli
from jaxvision.data import Dataset, Splits
from jaxvision.data.identity import Identity
from jaxvision.fields import flagged, seeds_of
from jaxvision.models import video
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError

ARMS = {
    "two": game.Arm("two streams", two_streams=True),
    "free": game.Arm("no penalty", two_streams=True, weight=0.0),
    "one": game.Arm("one stream", two_streams=False, weight=0.0),
}
SOUGHT = ("two", "one")  # in whose generators real clips are sought


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    frames: int = flagged(8, "Frames of a clip.", low=2, high=256)
    size: int = flagged(16, "Pixels of a side.", low=8, high=256)
    seeds: int = flagged(5, "Games of each arm.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    width: int = flagged(16, "Channels at the clips' side of both nets.", low=2, high=512)
    layers: int = flagged(2, "Strided convolutions of each net.", low=1, high=6)
    codes: int = flagged(32, "Coordinates of a code.", low=2, high=4096)
    steps: int = flagged(1600, "Steps of a game.", low=1, high=10**6)
    batch_size: int = flagged(16, "Real clips in a step, and generated ones.", low=2, high=4096)
    learning_rate: float = flagged(0.001, "Adam's, of both nets.", low=0)
    mask_weight: float = flagged(0.1, "Of the penalty on the mean mask.", low=0)
    looks: tuple[int, ...] = flagged(
        (0, 200, 400, 800, 1600), "Steps at which clips are painted.", low=0, high=10**6
    )
    train_clips: int = flagged(4000, "Clips to learn from.", low=2, high=10**6)
    n_clips: int = flagged(400, "Clips on both sides of a distance.", low=4, high=50_000)
    ruler_steps: int = flagged(500, "Training steps of the classifier.", low=1, high=10**6)
    ruler_units: int = flagged(32, "Its features.", low=2, high=4096)
    n_sought: int = flagged(32, "Real clips sought in each generator.", low=2, high=10_000)
    seeking_steps: int = flagged(100, "Steps of each search.", low=1, high=10**5)

    def __post_init__(self) -> None:
        video.base_of(self.clip_shape, self.layers)
        if list(self.looks) != sorted({0, *self.looks, self.steps}):
            raise UserError(
                f"--looks={','.join(map(str, self.looks))} must rise from 0 to --steps={self.steps}"
            )
        least = max(self.batch_size, self.n_clips, BATCH)
        if self.train_clips < least:
            raise UserError(
                f"--train_clips={self.train_clips} are too few: take {least} or more, a batch of "
                "the games and of the classifier, and --n_clips"
            )
        if self.n_clips <= self.ruler_units:
            raise UserError(
                f"--n_clips={self.n_clips} are too few for a distance: take more than "
                f"--ruler_units={self.ruler_units}"
            )
        if self.n_sought > self.n_clips:
            raise UserError(
                f"--n_sought={self.n_sought} clips are taken from --n_clips={self.n_clips}: take "
                "no more"
            )

    @property
    def clip_shape(self) -> video.ClipShape:
        """T, H, W, C."""
        return self.frames, self.size, self.size, 3

    @property
    def sizes(self) -> game.Sizes:
        """What the nets are made of."""
        return game.Sizes(self.clip_shape, self.codes, self.width, self.layers)


PRESETS = {
    "tiny": Config(
        frames=4,
        size=8,
        seeds=2,
        first_seed=0,
        width=2,
        layers=1,
        codes=4,
        steps=4,
        batch_size=8,
        looks=(0, 4),
        train_clips=64,
        n_clips=12,
        ruler_steps=4,
        ruler_units=4,
        n_sought=8,
        seeking_steps=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        frames=16,
        size=32,
        seeds=10,
        width=64,
        layers=3,
        codes=100,
        steps=20_000,
        batch_size=64,
        learning_rate=2e-4,
        looks=(0, 500, 2000, 5000, 10_000, 20_000),
        train_clips=20_000,
        n_clips=2000,
        ruler_steps=4000,
        ruler_units=128,
        n_sought=200,
        seeking_steps=500,
    ),
    "paper": Config(
        frames=32,
        size=64,
        seeds=5,
        width=64,
        layers=4,
        codes=100,
        steps=100_000,
        batch_size=64,
        learning_rate=2e-4,
        looks=(0, 1000, 5000, 20_000, 50_000, 100_000),
        train_clips=20_000,
        n_clips=2000,
        ruler_steps=10_000,
        ruler_units=512,
        n_sought=200,
        seeking_steps=1000,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    arms: Mapping[str, game.Arm] = ARMS,
    paint: looks.Paint = looks.PAINT,
) -> tuple[dict, dict]:
    """Train the games of every arm, then look into what they paint."""
    data, train = _drawn(config)
    ruler = Ruler(data, small(config.ruler_units, config.ruler_steps))
    budget = game.Budget(
        config.steps,
        config.batch_size,
        config.learning_rate,
        config.mask_weight,
        config.looks,
    )
    held = looks.held_against(config, ruler, train)
    with progress(len(arms) * config.seeds * config.steps, "games") as bar:
        games = game.play(config.sizes, budget, data, arms, seeds_of(config), bar.advance)
    given = looks.Given(config, config.sizes, ruler, held, paint)
    arrays = looks.held_arrays(held)
    numbers = {"ruler_error": ruler.test_error, "broken_at": {}}
    for name, played in games.items():
        arrays |= looks.along(given, played, name, arms[name])
        if name in SOUGHT:
            arrays |= looks.sought(given, played, name, arms[name])
        numbers["broken_at"][name] = played.broken_at.tolist()
    return numbers, arrays


def _drawn(config: Config) -> tuple[Splits, moving.Clips]:
    """Return clips as a set of images, named by direction, and the training clips themselves."""
    train, test = (
        moving.draw(count, 0, part, config.frames, config.size)
        for part, count in enumerate((config.train_clips, config.n_clips))
    )
    of_train, of_test = (
        Dataset(game.as_images(clips.frames), clips.directions) for clips in (train, test)
    )
    names = tuple(f"{45 * direction} degrees" for direction in range(moving.DIRECTIONS))
    identity = Identity(
        "moving shapes",
        version="",
        label="",
        digest="",
        train=config.train_clips,
        test=config.n_clips,
    )
    return Splits("moving shapes", of_train, of_test, names, identity), train


def claims(config: Config) -> list[Claim]:
    """Return the source's claims; the rules are fixed there."""
    del config
    return moving_claims.claims()


def plot(record: Record, config: Config) -> Figure:
    """Draw clips with their masks, and what is measured of them along training and at its end."""
    figure, axes = plots.new_figure(3, 2, 14.6)
    axes[0, 0].get_gridspec().set_height_ratios([1.4, 1, 1])
    top = plots.merged(axes[0])
    labels = {name: arm.label for name, arm in ARMS.items()}
    panels.draw_clips(top, record)
    plots.mark_contradicted(top, record, "moves", "straight", "quiet")
    panels.draw_overlaps(axes[1, 0], record, config.looks)
    plots.mark_contradicted(axes[1, 0], record, "mask-finds", "mask-half", "untrained")
    panels.draw_covered(axes[1, 1], record, labels, config.looks)
    plots.mark_contradicted(axes[1, 1], record, "penalty", "small-mask")
    panels.draw_distances(axes[2, 0], record, labels, config.looks)
    plots.mark_contradicted(axes[2, 0], record, "metric", "falls", "better")
    panels.draw_sought(axes[2, 1], record)
    plots.mark_contradicted(axes[2, 1], record, "finder", "mask-true", "found-better")
    title = plots.headline(
        record,
        {
            ("mask-finds", "mask-true", "not mask-half"): "A mask that nobody taught follows what "
            "moves, less than half as well as a finder of motion",
            ("mask-finds", "mask-true"): "A mask that nobody taught follows the moving object, "
            "better than by chance",
            "mask-finds": "A mask that nobody taught lies on what moves, better than by chance",
        },
        "Two streams for moving pictures, measured",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"Two-stream GAN, {config.width} channels, {config.codes} codes",
        optimizer=f"Adam, rate {config.learning_rate:g}, {config.steps:,} steps",
        paper="Vondrick et al. 2016",
        data=f"Drawn clips, {config.frames} frames of {config.size}x{config.size}",
    )


def animate(record: Record, config: Config) -> bytes:
    """Return the animation: real clips, two streams with masks and backgrounds, one stream."""
    del config
    return panels.animated(record)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
