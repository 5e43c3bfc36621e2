"""Small DCGANs on a data set: how they are trained, and what they paint."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision import runtime
from jaxvision.data import Splits
from jaxvision.generative import anchors
from jaxvision.generative.contest import Contest, Mixed, Nets
from jaxvision.generative.losses import NON_SATURATING
from jaxvision.generative.pixels import levels, scaled
from jaxvision.generative.players import Game, Player
from jaxvision.generative.trained import GameTask
from jaxvision.models import dcgan
from jaxvision.models.drawing import initialize_runs
from jaxvision.training import arms as training_arms
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look, Moment
from jaxvision.types import Array, Hyper, PyTree

_CHUNK = 256  # codes that are painted at a time


class Sizes(NamedTuple):
    """What the two nets are made of.

    Attributes:
      image_shape: H, W, C.
      codes: Z, coordinates of a code.
      width: channels of the generator's last hidden layer and of the discriminator's first.
      layers: strided convolutions of each.
      kernel: side of their windows.
    """

    image_shape: tuple[int, int, int]
    codes: int
    width: int
    layers: int
    kernel: int

    @property
    def generator(self) -> dcgan.Generator:
        """The net that paints."""
        return dcgan.Generator(self.image_shape, self.width, self.layers, self.kernel)

    @property
    def discriminator(self) -> dcgan.Discriminator:
        """The net that judges."""
        return dcgan.Discriminator(self.width, self.layers, self.kernel)


class Arm(NamedTuple):
    """A way to train.

    Attributes:
      label: in the figure.
      beta1: Adam's, of both nets.
      mixed: where the discriminator gets real and generated images as one batch: see ``Contest``.
    """

    label: str
    beta1: float
    mixed: Mixed = "never"


class Budget(NamedTuple):
    """How long, and how, games are played."""

    steps: int
    batch_size: int
    learning_rate: float
    looks: Sequence[int]


class Played(NamedTuple):
    """Games of one arm, a run for each of S seeds, at T looks."""

    generator: PyTree  # {'params', 'batch_stats'}, leaves [S, T, ...]
    discriminator: PyTree
    broken_at: np.ndarray  # [S], the first step that left a weight that is not finite; -1: none


def play(
    sizes: Sizes,
    budget: Budget,
    data: Splits,
    arms: Mapping[str, Arm],
    seeds: Sequence[int],
    advance: Callable[[int], None],
) -> dict[str, Played]:
    """Train a pair for every arm and every seed; what breaks is marked."""
    found = {}
    for mixed in dict.fromkeys(arm.mixed for arm in arms.values()):
        alike = {name: arm.beta1 for name, arm in arms.items() if arm.mixed == mixed}
        trainer = _trainer(sizes, budget, data, mixed)
        found |= _fitted(sizes, budget, trainer, alike, seeds, advance)
    return {name: found[name] for name in arms}


def _trainer(sizes: Sizes, budget: Budget, data: Splits, mixed: Mixed) -> Trainer:
    """Return what plays games by any beta1."""
    nets = _nets(sizes, budget.batch_size)
    contest = Contest(nets, NON_SATURATING, mixed=mixed)

    def game(hyper: Hyper) -> Game:
        optimizer = optax.adam(hyper["learning_rate"], hyper["beta1"])
        return Game(Player(contest.generator, optimizer), Player(contest.discriminator, optimizer))

    def judge(variables: PyTree, images: Array) -> Array:
        return dcgan.judging(sizes.discriminator)(variables, images, False)[0]

    task = GameTask(game, judge, NON_SATURATING, _scaled)
    return Trainer(task, data.train, data.test, budget.batch_size, budget.steps)


def _fitted(
    sizes: Sizes,
    budget: Budget,
    trainer: Trainer,
    betas: Mapping[str, float],
    seeds: Sequence[int],
    advance: Callable[[int], None],
) -> dict[str, Played]:
    """Return the games of arms that differ in beta1 alone: they share a program."""
    of_arms = {
        name: training_arms.Arm(
            partial(_start, sizes),
            {"learning_rate": budget.learning_rate, "beta1": beta1},
        )
        for name, beta1 in betas.items()
    }
    look = Look(_weights, budget.looks)
    found = training_arms.fit_arms(trainer, of_arms, seeds, budget.steps, advance, look)
    return {name: _played(history.looks) for name, history in found.items()}


def _nets(sizes: Sizes, batch_size: int) -> Nets:
    paint = dcgan.painting(sizes.generator)
    judge = dcgan.judging(sizes.discriminator)

    def latent(key: Array) -> Array:
        return jax.random.uniform(key, (batch_size, sizes.codes), minval=-1.0)

    return Nets(
        lambda variables, codes: paint(variables, codes, True),
        lambda variables, images: judge(variables, images, True),
        latent,
    )


def _scaled(images: Array, key: Array | None) -> Array:
    """Return uint8 images as float32 in [-1, 1]."""
    del key
    return scaled(images)


def _start(sizes: Sizes, keys: Array) -> PyTree:
    """Return both players' variables, leaves [S, ...]."""
    others = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    generator = initialize_runs(sizes.generator, keys, (sizes.codes,))
    discriminator = initialize_runs(sizes.discriminator, others, sizes.image_shape)
    both = {"generator": generator, "discriminator": discriminator}
    return {
        part: {name: variables[part] for name, variables in both.items()}
        for part in ("params", "batch_stats")
    }


def _weights(moment: Moment, data: None) -> dict[str, PyTree]:
    """Return both nets and when the first broke: the function of a look."""
    del data
    return {
        "generator": moment.state.generator.variables,
        "discriminator": moment.state.discriminator.variables,
        "broken_at": moment.state.broken_at,
    }


def _played(seen: dict[str, PyTree]) -> Played:
    return Played(seen["generator"], seen["discriminator"], seen["broken_at"][:, -1])


def painted(sizes: Sizes, variables: PyTree, codes: np.ndarray) -> np.ndarray:
    """Return the images uint8 [N, B, H, W, C] that N generators make of the same codes [B, Z].

    With their running statistics. A generator that is not finite paints noise.
    """
    program = _painter(sizes)
    count = len(codes)
    chunks = -(-count // _CHUNK)
    filled = np.resize(np.float32(codes), (chunks * _CHUNK, codes.shape[1]))
    found = []
    for net in range(len(jax.tree.leaves(variables)[0])):
        one = jax.tree.map(lambda leaf, net=net: leaf[net], variables)
        parts = [jax.device_get(program(one, part)) for part in np.split(filled, chunks)]
        images = np.concatenate([images for images, _ in parts])[:count]
        broken = not all(finite for _, finite in parts)
        found.append(anchors.noise(images.shape, net) if broken else images)
    return np.stack(found)


@functools.cache
def _painter(sizes: Sizes) -> Callable[[PyTree, Array], tuple[Array, Array]]:
    paint = dcgan.painting(sizes.generator)

    def one(variables: PyTree, codes: Array) -> tuple[Array, Array]:
        images, _ = paint(variables, codes, False)
        return levels(images), jnp.isfinite(images).all()

    return runtime.jit(one)


def judged(sizes: Sizes, variables: PyTree, images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the features float32 [B, F] that each of N discriminators has of images uint8."""

    def one(variables: PyTree, images: Array) -> Array:
        return dcgan.features(sizes.discriminator, variables, _scaled(images, None))

    program = runtime.jit(one)
    for net in range(len(jax.tree.leaves(variables)[0])):
        of_net = jax.tree.map(lambda leaf, net=net: leaf[net], variables)
        yield jax.device_get(program(of_net, images))


def flattened(variables: PyTree) -> PyTree:
    """Return leaves [S, T, ...] as [S * T, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), variables)


def at_look(variables: PyTree, look: int) -> PyTree:
    """Return leaves [S, T, ...] at one look, [S, ...]."""
    return jax.tree.map(lambda leaf: leaf[:, look], variables)
