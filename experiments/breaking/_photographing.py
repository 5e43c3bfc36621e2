"""What physical_world measures: nets' answers to attacked images that went through something."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._nets import Nets
from experiments.breaking._seeded import over_seeded
from jaxvision.adversarial import photo
from jaxvision.adversarial.aims import Logits, predictions
from jaxvision.adversarial.jpeg import jpeg
from jaxvision.adversarial.results import Result
from jaxvision.adversarial.threat import LEVELS, eight_bits
from jaxvision.random import stream
from jaxvision.types import Array

SHOWN = ("file", "print", "photo")  # the first ways, and columns of the pictures
EXAMPLES = 3  # images that are pictured
# A picture's pixel is many of a camera's: half the resolution for color would be too coarse for it.
CAMERA = photo.Camera(halved=False)
_WITHOUT_FILE = tuple(stage for stage in photo.STAGES if stage != "jpeg")


class Attacking(Protocol):
    """An attack of several sizes."""

    def __call__(
        self,
        f: Logits,
        images: Array,
        labels: Array,
        eps: Array,
    ) -> Result:
        """Attack images; sizes [E] lead every field of the result."""


@dataclass(frozen=True)
class Artificial:
    """A transformation without a camera.

    Attributes:
      label: in the figure.
      unit: of its strength.
      strengths: from weak to strong.
      apply: images [B, H, W, C], a strength that may be traced, noise like the images -> images.
    """

    label: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[Array, Array, Array], Array]


def brighter(images: Array, strength: Array, noise: Array) -> Array:
    """Add to every pixel."""
    del noise
    return jnp.clip(images + strength, 0.0, 1.0)


def flatter(images: Array, strength: Array, noise: Array) -> Array:
    """Take a share of every pixel's distance from gray."""
    del noise
    return 0.5 + (1 - strength) * (images - 0.5)


def smoother(images: Array, strength: Array, noise: Array) -> Array:
    """Blur by so many pixels."""
    del noise
    deviation = jnp.full(len(images), strength)
    return photo.blurred(images, deviation)


def noisier(images: Array, strength: Array, noise: Array) -> Array:
    """Add noise of this standard deviation."""
    return jnp.clip(images + strength * noise, 0.0, 1.0)


def filed(images: Array, strength: Array, noise: Array) -> Array:
    """Write a JPEG file, this far below the best quality."""
    del noise
    return jpeg(images, 100 - strength)


class Given(NamedTuple):
    """What every net meets.

    Attributes:
      images: [B, H, W, C] in [0, 1].
      labels: int32 [B].
      epsilons: [E], largest change of a pixel.
    """

    images: Array
    labels: Array
    epsilons: Array


class Chance(NamedTuple):
    """What chance decides for one net.

    Attributes:
      shots: of its photographs, leaves [P, B, ...].
      noise: standard normal, for artificial noise, [B, H, W, C].
    """

    shots: photo.Shots
    noise: Array


class Answers(NamedTuple):
    """What N nets say to S sets of B images that went T ways.

    The sets: clean images, then each attack's, size by size, last noise of the same sizes. The
    ways: as they were (the camera at rest), printed, photographed P times, artificial ones.

    Attributes:
      before: bool [N, S, B], whether the answer is right before anything happens.
      confidence: [N, S, B], probability of that answer.
      right: bool [N, S, T, B].
      pictures: uint8 [N, S, 3, 3, H, W, C], three images, the ways of ``SHOWN``.
      said: int32 [N, S, 3, 3], the answers to them.
    """

    before: np.ndarray
    confidence: np.ndarray
    right: np.ndarray
    pictures: np.ndarray
    said: np.ndarray


def answers(
    nets: Nets,
    seeds: range,
    given: Given,
    attacks: Mapping[str, Attacking],
    ways: Mapping[str, Artificial],
    photos: int,
) -> Answers:
    """Attack every net, transform what it is fooled by, and ask it again."""
    own = partial(_of_one, list(attacks.values()), list(ways.values()), photos)
    found = over_seeded(own, nets, seeds, given)
    return found._replace(pictures=found.pictures[:1], said=found.said[:1])


def _of_one(
    attacks: list[Attacking],
    ways: list[Artificial],
    photos: int,
    f: Logits,
    seed: Array,
    given: Given,
) -> Answers:
    labels = given.labels
    sets = _attacked(attacks, f, seed, given)
    logits = lax.map(f, sets)
    before = jax.vmap(predictions)(logits) == labels[None]
    confidence = jax.nn.softmax(logits).max(-1)
    shown = _fooled_by_all(before, len(given.epsilons))
    chance = _drawn(seed, given.images.shape, photos)

    def through(images: Array) -> tuple[Array, Array, Array]:
        seen = _seen(images, chance, ways)
        found = lax.map(lambda each: predictions(f(each)), seen)
        first = len(SHOWN)
        levels = jnp.round(LEVELS * seen[:first, shown])
        return found == labels[None], levels.astype(jnp.uint8), found[:first, shown]

    right, pictures, said = lax.map(through, sets)
    return Answers(before, confidence, right, pictures, said)


def _attacked(
    attacks: list[Attacking],
    f: Logits,
    seed: Array,
    given: Given,
) -> Array:
    """Return S sets of images as files of 8 bits hold them, [S, B, H, W, C]."""
    images, labels, epsilons = given
    signs = jax.random.rademacher(stream(seed, "attack"), images.shape, jnp.float32)
    sizes = epsilons.reshape(-1, 1, 1, 1, 1)
    noisy = jnp.clip(images[None] + sizes * signs[None], 0.0, 1.0)
    moved = [attack(f, images, labels, epsilons).images for attack in attacks]
    every = jnp.concatenate([images[None], *moved, noisy])
    return eight_bits(images[None], every)


def _fooled_by_all(before: Array, sizes: int) -> Array:
    """Return rows of images to show: right when clean, wrong under each attack's first size."""
    firsts = before[1:-sizes:sizes]
    wanted = before[0] & ~firsts.any(0)
    return jnp.argsort(~wanted)[:EXAMPLES]


def _seen(images: Array, chance: Chance, ways: list[Artificial]) -> Array:
    """Return images [B, H, W, C] after every way, [T, B, H, W, C]."""
    shots = chance.shots
    still = photo.at_rest(images.shape)
    at_rest = photo.photograph(images, still, stages=_WITHOUT_FILE)
    printed = photo.printed(images, jax.tree.map(lambda leaf: leaf[0], shots))
    take = partial(photo.photograph, camera=CAMERA)
    photographed = jax.vmap(take, (None, 0))(images, shots)
    seen = [at_rest[None], printed[None], photographed]
    for way in ways:
        changed = jax.vmap(way.apply, (None, 0, None))
        strengths = jnp.array(way.strengths)
        seen.append(changed(images, strengths, chance.noise))
    return jnp.concatenate(seen)


def _drawn(seed: Array, shape: tuple[int, ...], photos: int) -> Chance:
    """Return a net's chance: the same for all that is shown to it."""
    shots, noise = jax.random.split(stream(seed, "noise"))
    draw = jax.vmap(lambda key: photo.draw(key, shape, CAMERA))
    return Chance(
        draw(jax.random.split(shots, photos)),
        jax.random.normal(noise, shape),
    )


def parameters(seeds: range, shape: tuple[int, ...], photos: int) -> dict[str, list[float]]:
    """Return the least and the largest of every parameter that the nets' photographs drew.

    The parameters themselves are functions of a net's seed.
    """

    @jax.jit
    def ends(seeds: Array) -> dict[str, Array]:
        shots = jax.vmap(lambda seed: _drawn(seed, shape, photos).shots)(seeds)
        found = shots._replace(noise=jnp.zeros(1))._asdict()
        return {name: jnp.array([leaf.min(), leaf.max()]) for name, leaf in found.items()}

    found = ends(np.array(seeds, np.int32))
    return {name: np.asarray(both).tolist() for name, both in found.items()}
