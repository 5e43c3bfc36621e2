"""Differential evolution, and the one-pixel attack that is searched by it.

Source: Su, Vargas & Sakurai 2019, "One pixel attack for fooling deep neural networks" (arXiv
1710.08864): 400 candidates, as many children a generation, child = x1 + .5 (x2 - x3) of three
candidates that differ, no crossover; a child replaces its parent if it is fitter. It ends with the
first success or the last generation.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.adversarial.aims import Aim, Logits
from jaxvision.adversarial.pixels import cell_of, of_pixels
from jaxvision.adversarial.results import Result, judged
from jaxvision.adversarial.threat import Rows
from jaxvision.types import Array, UserError


class Budget(NamedTuple):
    """How long differential evolution may search.

    Attributes:
      candidates: N, at least 3.
      generations: G, of N children each.
      scale: F, what a difference of two candidates is multiplied by.
    """

    candidates: int = 400
    generations: int = 100
    scale: float = 0.5


PAPER = Budget()
TORCHATTACKS = Budget(candidates=10, generations=10)  # what its ``OnePixel`` does by default


class Evolved(NamedTuple):
    """The best candidate.

    Attributes:
      genome: float32 [D].
      energy: float32 [], infinite where every candidate's was NaN.
      generation: int32 [], in which it came up; 0 is the start.
      evaluations: int32 [], energies that were computed.
    """

    genome: Array
    energy: Array
    generation: Array
    evaluations: Array


class _Population(NamedTuple):
    genomes: Array  # [N, D]
    energies: Array  # [N]
    generation: Array  # int32 []
    improved: Array  # int32 [], the last generation in which the best one was replaced


def evolve(
    energy: Callable[[Array], Array],
    start: Array,
    key: Array,
    generations: int,
    *,
    scale: float = PAPER.scale,
    goal: float = -jnp.inf,
) -> Evolved:
    """Lower an energy on the unit cube by DE/rand/1; to be traced.

    Children outside the cube are moved to its surface. A NaN energy is worse than any number.

    Args:
      energy: genomes [N, D] in [0, 1] -> [N].
      start: the first candidates, float32 [N, D], N at least 3.
      key: typed.
      generations: at most.
      scale: F of the source.
      goal: the search ends in the generation that gets below it.
    """

    def measured(genomes: Array) -> Array:
        energies = energy(genomes)
        return jnp.where(jnp.isnan(energies), jnp.inf, energies)

    def goes_on(population: _Population) -> Array:
        unsolved = population.energies.min() >= goal
        return (population.generation < generations) & unsolved

    def one_generation(before: _Population) -> _Population:
        children = _children(jax.random.fold_in(key, before.generation), before.genomes, scale)
        energies = measured(children)
        fitter = energies < before.energies
        after = jnp.where(fitter, energies, before.energies)
        generation = before.generation + 1
        return _Population(
            jnp.where(fitter[:, None], children, before.genomes),
            after,
            generation,
            jnp.where(after.min() < before.energies.min(), generation, before.improved),
        )

    zero = jnp.int32(0)
    first = _Population(start, measured(start), zero, zero)
    last = lax.while_loop(goes_on, one_generation, first)
    best = jnp.argmin(last.energies)
    evaluations = len(start) * (1 + last.generation)
    return Evolved(last.genomes[best], last.energies[best], last.improved, evaluations)


def _children(key: Array, genomes: Array, scale: float) -> Array:
    """Return as many children [N, D] of three candidates each, no two of a trio the same."""
    count = len(genomes)
    even = jax.random.uniform(key, (3, count))
    first = cell_of(even[0], count)
    # How far behind the first one the others stand, in a ring: 1, ..., N - 1, and not the same.
    to_second = 1 + cell_of(even[1], count - 1)
    to_third = 1 + cell_of(even[2], count - 2)
    to_third = jnp.where(to_third >= to_second, to_third + 1, to_third)
    second = genomes[(first + to_second) % count]
    third = genomes[(first + to_third) % count]
    return jnp.clip(genomes[first] + scale * (second - third), 0.0, 1.0)


def differential_evolution(
    f: Logits,
    images: Array,
    labels: Array,
    key: Array,
    *,
    pixels: int = 1,
    budget: Budget = PAPER,
    targets: Array | None = None,
    rows: Rows | None = None,
) -> Result:
    """Change ``pixels`` pixels of each image until the attack succeeds; to be traced.

    A candidate holds rows, columns and colors. Places are drawn evenly, colors from N(128, 127) of
    255, cut to the box. Fitter is what has the higher ``Aim.score``, above zero at success, so no
    success is missed; the source ranks by the label's probability. Images are searched one after
    the other, each with a key of its own: what one finds does not depend on the others.

    Args:
      f: the net.
      images: float32 [B, H, W, C] in [0, 1].
      labels: int32 [B].
      key: typed.
      pixels: P, at most; two of them may fall on one place.
      budget: how long.
      targets: int32 [B], classes to be reached; None leaves the labels for any other.
      rows: of a larger batch, whose random numbers these images get.

    Returns:
      A result whose ``forwards`` are [B]: the search ends with an image's success.

    Raises:
      UserError: images have other axes, no pixel may change, or the budget has fewer than 3
        candidates or no generations.
    """
    _check(pixels, budget)
    images = of_pixels(images)
    height, width, channels = images.shape[1:]
    aim = Aim(labels, targets)
    numbers = jnp.arange(len(images)) if rows is None else rows.numbers

    def changed(image: Array, genome: Array) -> Array:
        genes = genome.reshape(pixels, 2 + channels)
        rows = cell_of(genes[:, 0], height)
        columns = cell_of(genes[:, 1], width)
        return image.at[rows, columns].set(genes[:, 2:])

    def one(example: tuple[Array, Aim, Array]) -> tuple[Array, Evolved]:
        image, its_aim, number = example
        start_key, search_key = jax.random.split(jax.random.fold_in(key, number))
        everywhere = jax.tree.map(lambda leaf: jnp.full(budget.candidates, leaf), its_aim)

        def energy(genomes: Array) -> Array:
            return -everywhere.score(f(jax.vmap(changed, (None, 0))(image, genomes)))

        start = _first_candidates(start_key, budget.candidates, pixels, channels)
        found = evolve(energy, start, search_key, budget.generations, scale=budget.scale, goal=0.0)
        return changed(image, found.genome), found

    moved, found = lax.map(one, (images, aim, numbers))
    return judged(f, images, aim, moved, found.generation, found.evaluations, 0)


def _check(pixels: int, budget: Budget) -> None:
    if pixels < 1:
        raise UserError(f"pixels={pixels}: a pixel attack changes at least 1")
    if budget.candidates < 3:
        raise UserError(f"candidates={budget.candidates}: a child has three different parents")
    if budget.generations < 0:
        raise UserError(f"generations={budget.generations}: use 0 or more")


def _first_candidates(key: Array, count: int, pixels: int, channels: int) -> Array:
    """Return genomes [count, pixels (2 + channels)] in [0, 1]."""
    place_key, color_key = jax.random.split(key)
    places = jax.random.uniform(place_key, (count, pixels, 2))
    normal = jax.random.normal(color_key, (count, pixels, channels))
    colors = jnp.clip((128 + 127 * normal) / 255, 0.0, 1.0)
    return jnp.concatenate([places, colors], -1).reshape(count, -1)
