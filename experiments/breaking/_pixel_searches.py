"""What one_pixel searches with, and on which nets."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.breaking._nets import Images, Nets
from experiments.breaking._seeded import over_seeded
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.evolution import TORCHATTACKS, Budget, differential_evolution
from jaxvision.adversarial.pixels import corners, every_pixel
from jaxvision.adversarial.results import Result
from jaxvision.nets import Spec
from jaxvision.random import stream
from jaxvision.types import Array

LEVELS = np.arange(256, dtype=np.float32)[:, None] / 255


class HasBudget(Protocol):
    """The flags that say how long differential evolution searches."""

    candidates: int
    generations: int


class Found(NamedTuple):
    """What a search did with 1, 3, ... pixels, P numbers of them, on B images.

    Attributes:
      right: bool [B], the net gets the image right as it is.
      success: bool [P, B].
      success_8bit: bool [P, B], after rounding to 8 bits.
      forwards: int32 [P, B], passes that the image cost.
    """

    right: Array
    success: Array
    success_8bit: Array
    forwards: Array


class Search(Protocol):
    """Finds pixels to change, in numbers of ``pixels``."""

    def __call__(
        self,
        config: HasBudget,
        pixels: Sequence[int],
        f: Logits,
        some: Images,
        key: Array,
    ) -> Found:
        """Attack images; to be traced."""


def by_all_levels(
    config: HasBudget, pixels: Sequence[int], f: Logits, some: Images, key: Array
) -> Found:
    """Try all 256 levels of every pixel of gray images: nothing that 8 bits can hold is left."""
    del config, key
    return _tried(pixels, f, some, LEVELS)


def by_corners(
    config: HasBudget, pixels: Sequence[int], f: Logits, some: Images, key: Array
) -> Found:
    """Try the corners of the color cube at every pixel, pixel after pixel."""
    del config, key
    return _tried(pixels, f, some, corners(some.images.shape[-1]))


def by_evolution(
    config: HasBudget, pixels: Sequence[int], f: Logits, some: Images, key: Array
) -> Found:
    """Search by differential evolution with the paper's budget."""
    budget = Budget(config.candidates, config.generations)
    return _evolved(pixels, f, some, key, budget)


def by_short_evolution(
    config: HasBudget, pixels: Sequence[int], f: Logits, some: Images, key: Array
) -> Found:
    """Search by differential evolution with the budget that torchattacks has by default."""
    del config
    return _evolved(pixels, f, some, key, TORCHATTACKS)


def _tried(pixels: Sequence[int], f: Logits, some: Images, values: np.ndarray) -> Found:
    rounds = max(pixels)
    tried = every_pixel(f, some.images, some.labels, values, rounds)
    success = tried.scores.T[np.array(pixels) - 1] > 0
    passes = tried.result.forwards // rounds
    forwards = jnp.stack([jnp.full(len(some.labels), number * passes) for number in pixels])
    # The values are levels of 8 bits, and so is what they make of an image.
    return Found(_right(f, some), success, success, forwards)


def _evolved(pixels: Sequence[int], f: Logits, some: Images, key: Array, budget: Budget) -> Found:
    def attack(number: int) -> Result:
        own = jax.random.fold_in(key, number)
        return differential_evolution(
            f, some.images, some.labels, own, pixels=number, budget=budget
        )

    results = [attack(number) for number in pixels]
    return Found(
        _right(f, some),
        jnp.stack([result.success for result in results]),
        jnp.stack([result.success_8bit for result in results]),
        jnp.stack([result.forwards for result in results]),
    )


def _right(f: Logits, some: Images) -> Array:
    return jnp.argmax(f(some.images), 1) == some.labels


def dense_spec(dataset: str, width: int, steps: int, learning_rate: float) -> Spec:
    """Return a dense net of three layers."""
    sizes = {"depth": 3, "width": width}
    return Spec(dataset, "mlp", sizes, learning_rate=learning_rate, steps=steps)


def conv_spec(dataset: str, width: int, steps: int) -> Spec:
    """Return a net in AlexNet's shape."""
    return Spec(
        dataset,
        "alexnet",
        {"width": width, "dense": 64},
        learning_rate=0.007,
        steps=steps,
        optimizer="caffe_sgd",
        weight_decay=5e-4,
        batch_size=16,
    )


def attack_nets(nets: Nets, seeds: range, some: Images, search: Callable) -> Found:
    """Return ``search(f, some, key)`` of N nets, leaves [N, ...] on the host."""

    def one(f: Logits, seed: Array, some: Images) -> Found:
        return search(f, some, stream(seed, "attack"))

    return over_seeded(one, nets, seeds, some)


class Map(NamedTuple):
    """Where one pixel is enough, N nets on B images.

    Attributes:
      right: bool [N, B], the net gets the image right as it is.
      vulnerable: bool [N, B, H, W], some corner of the color cube succeeds at the place.
      result: of the best pixel, leaves [N, B, ...].
    """

    right: np.ndarray
    vulnerable: np.ndarray
    result: Result


def map_of(nets: Nets, seeds: range, some: Images) -> Map:
    """Try the corners of the color cube at every pixel."""

    def one(f: Logits, seed: Array, some: Images) -> Map:
        del seed
        values = corners(some.images.shape[-1])
        tried = every_pixel(f, some.images, some.labels, values)
        return Map(_right(f, some), tried.flips > 0, tried.result)

    return over_seeded(one, nets, seeds, some)


def rate(success: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the share [N] of the images that a net gets right on which it is fooled, [N, B]."""
    return share_of((success & right).sum(1), right.sum(1))


def share_of(part: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return part over count; NaN of nothing, which is neither fooled nor robust."""
    return part / np.where(count > 0, count, np.nan)


def share_inside(vulnerable: np.ndarray, right: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Return the share [N] of a region's pixels, bool [B, H, W], at which one is enough.

    Over the images that a net gets right, [N, B].
    """
    counted = right[:, :, None, None] & region[None]
    pixels = (1, 2, 3)
    return share_of((vulnerable & counted).sum(pixels), counted.sum(pixels))


def random_pixels(nets: Nets, seeds: range, some: Images, draws: int) -> np.ndarray:
    """Return the share [N, B] of random pixels of random color that change a net's answer.

    The control of equal norm: one pixel, drawn ``draws`` times for each image.
    """

    def one(f: Logits, seed: Array, some: Images) -> Array:
        def of_image(example: tuple[Array, Array, Array]) -> Array:
            image, label, number = example
            changed = _randomly_changed(image, stream(seed, "noise", number), draws)
            answers = jnp.argmax(f(changed), 1)
            return jnp.mean(answers != label)

        numbers = jnp.arange(len(some.labels))
        return jax.lax.map(of_image, (some.images, some.labels, numbers))

    return over_seeded(one, nets, seeds, some)


def _randomly_changed(image: Array, key: Array, draws: int) -> Array:
    """Return an image [H, W, C] with one random pixel each time, [draws, H, W, C]."""
    place_key, color_key = jax.random.split(key)
    height, width, channels = image.shape
    places = jax.random.randint(place_key, (draws,), 0, height * width)
    colors = jax.random.uniform(color_key, (draws, channels))

    def painted(place: Array, color: Array) -> Array:
        return image.at[place // width, place % width].set(color)

    return jax.vmap(painted)(places, colors)
