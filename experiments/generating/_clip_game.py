"""Games of a generator of clips and its judge: how they are trained, and what they paint."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.data import Splits
from jaxvision.generative.contest import Contest, Nets
from jaxvision.generative.losses import NON_SATURATING
from jaxvision.generative.pixels import scaled
from jaxvision.generative.players import Aside, Cost, Game, Player, Variables
from jaxvision.generative.trained import GameTask
from jaxvision.models import video
from jaxvision.models.drawing import initialize_runs
from jaxvision.training import arms as training_arms
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look, Moment
from jaxvision.types import Array, Hyper, PyTree

BETA1 = 0.5  # Adam's, of both nets


class Sizes(NamedTuple):
    """What the two nets are made of.

    Attributes:
      clip_shape: T, H, W, C.
      codes: Z, coordinates of a code.
      width: channels of the generator's last hidden layer and of the discriminator's first.
      layers: strided convolutions of each.
    """

    clip_shape: video.ClipShape
    codes: int
    width: int
    layers: int

    @property
    def generator(self) -> video.Generator:
        """The net that paints."""
        return video.Generator(self.clip_shape, self.width, self.layers)

    @property
    def discriminator(self) -> video.Discriminator:
        """The net that judges."""
        return video.Discriminator(self.width, self.layers)


class Arm(NamedTuple):
    """A way to train.

    Attributes:
      label: in the figure.
      two_streams: whether there is a mask and a background; else the foreground is the clip.
      weight: of the penalty on the mask; None takes the run's.
    """

    label: str
    two_streams: bool
    weight: float | None = None


class Budget(NamedTuple):
    """How long, and how, games are played."""

    steps: int
    batch_size: int
    learning_rate: float
    mask_weight: float
    looks: Sequence[int]


class Played(NamedTuple):
    """Games of one arm, a run for each of S seeds, at T looks."""

    generator: PyTree  # {'params', 'batch_stats'}, leaves [S, T, ...]
    broken_at: np.ndarray  # [S], the first step that left a weight that is not finite; -1: none


def as_images(frames: np.ndarray) -> np.ndarray:
    """Return clips uint8 [N, T, H, W, C] as images [N, H, W, T * C], frame after frame."""
    n, t, h, w, c = frames.shape
    return frames.transpose(0, 2, 3, 1, 4).reshape(n, h, w, t * c)


def as_clips(images: Array, frames: int) -> Array:
    """Return images [N, H, W, T * C] as the clips [N, T, H, W, C] that they were made of."""
    n, h, w, channels = images.shape
    apart = images.reshape(n, h, w, frames, channels // frames)
    return apart.transpose(0, 3, 1, 2, 4)


def play(
    sizes: Sizes,
    budget: Budget,
    data: Splits,
    arms: Mapping[str, Arm],
    seeds: Sequence[int],
    advance: Callable[[int], None],
) -> dict[str, Played]:
    """Train a pair for every arm and every seed, all by one program; what breaks is marked.

    ``data`` holds clips ``as_images``.
    """
    if not arms:
        return {}

    def game(hyper: Hyper) -> Game:
        optimizer = optax.adam(hyper["learning_rate"], BETA1)
        nets = _nets(sizes, budget.batch_size, hyper["streams"])
        cost = _generator_cost(sizes, nets, hyper)
        contest = Contest(nets, NON_SATURATING)
        return Game(Player(cost, optimizer), Player(contest.discriminator, optimizer))

    def judge(variables: PyTree, clips: Array) -> Array:
        return video.judging(sizes.discriminator)(variables, clips, False)[0]

    task = GameTask(game, judge, NON_SATURATING, partial(_scaled, sizes.clip_shape[0]))
    trainer = Trainer(task, data.train, data.test, budget.batch_size, budget.steps)
    of_arms = {
        name: training_arms.Arm(
            partial(_start, sizes),
            {
                "learning_rate": budget.learning_rate,
                "weight": budget.mask_weight if arm.weight is None else arm.weight,
                "streams": 2.0 if arm.two_streams else 1.0,
            },
        )
        for name, arm in arms.items()
    }
    look = Look(_weights, budget.looks)
    found = training_arms.fit_arms(trainer, of_arms, seeds, budget.steps, advance, look)
    return {name: _played(history.looks) for name, history in found.items()}


def _nets(sizes: Sizes, batch_size: int, streams: Array) -> Nets:
    paint = video.painting(sizes.generator)
    judge = video.judging(sizes.discriminator)

    def generate(variables: Variables, codes: Array) -> tuple[Array, PyTree]:
        found, batch_stats = paint(variables, codes, True)
        return shown(found, streams), batch_stats

    def latent(key: Array) -> Array:
        return jax.random.normal(key, (batch_size, sizes.codes))

    return Nets(generate, lambda variables, clips: judge(variables, clips, True), latent)


def shown(found: video.Streams, streams: Array) -> Array:
    """Return the clips of two streams or of one, a number traced or not: [B, T, H, W, C]."""
    return jnp.where(streams > 1, found.clip, video.one_stream(found).clip)


def _generator_cost(sizes: Sizes, nets: Nets, hyper: Hyper) -> Cost:
    """Return the generator's loss: the judge's word, and ``weight`` times the mean mask.

    Source: Vondrick et al. 2016, equation 3, as the authors' code has it: there the penalty is over
    all of the mask's elements on average, in the paper it is their sum.
    """
    paint = video.painting(sizes.generator)

    def cost(own: Variables, other: Variables, batch: PyTree, key: Array) -> tuple[Array, Aside]:
        del batch
        found, batch_stats = paint(own, nets.latent(key), True)
        logits, _ = nets.judge(other, shown(found, hyper["streams"]))
        covered = found.mask.mean()
        loss = NON_SATURATING.generator(logits).mean() + hyper["weight"] * covered
        return loss, Aside(batch_stats, {"mask": covered})

    return cost


def _scaled(frames: int, images: Array, key: Array | None) -> Array:
    """Return clips as uint8 images as float32 clips in [-1, 1]."""
    del key
    return scaled(as_clips(images, frames))


def _start(sizes: Sizes, keys: Array) -> PyTree:
    """Return both players' variables, leaves [S, ...]."""
    others = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    generator = initialize_runs(sizes.generator, keys, (sizes.codes,))
    discriminator = initialize_runs(sizes.discriminator, others, sizes.clip_shape)
    both = {"generator": generator, "discriminator": discriminator}
    return {
        part: {name: variables[part] for name, variables in both.items()}
        for part in ("params", "batch_stats")
    }


def _weights(moment: Moment, data: None) -> dict[str, PyTree]:
    """Return the generator and when the first net broke: the function of a look."""
    del data
    return {
        "generator": moment.state.generator.variables,
        "broken_at": moment.state.broken_at,
    }


def _played(seen: dict[str, PyTree]) -> Played:
    return Played(seen["generator"], seen["broken_at"][:, -1])
