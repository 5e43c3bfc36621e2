"""Images that a net is sure of and nobody recognizes: MAP-Elites with one cell a class.

Source: Nguyen, Yosinski & Clune 2015, "Deep neural networks are easily fooled" (arXiv 1412.1897).
Every child is tried in every cell, parents are drawn evenly from the cells, and a child replaces
the elite of a class where it is surer. Crossover is left out.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.odds import class_odds
from jaxvision.adversarial.pixels import cell_of
from jaxvision.types import Array, PyTree, UserError


class Encoding(NamedTuple):
    """What images are evolved from.

    Attributes:
      draw: key -> a genome.
      mutate: key, genome -> a child of it.
      express: genome -> image [H, W, C] in [0, 1].
    """

    draw: Callable[[Array], PyTree]
    mutate: Callable[[Array, PyTree], PyTree]
    express: Callable[[PyTree], Array]


class Archive(NamedTuple):
    """The elite of each class.

    Attributes:
      genomes: leaves [K, ...].
      log_odds: float32 [K], log(p / (1 - p)) of the class; -inf where the cell is empty.
    """

    genomes: PyTree
    log_odds: Array


class Fooling(NamedTuple):
    """What a search over G generations found, for each of K classes.

    Attributes:
      images: [K, H, W, C], the elites.
      log_odds: float32 [K], log(p / (1 - p)) of the class.
      trace: float32 [G + 1, K], the same after every generation; the first one is the start.
      n_forward: images that went through the net.
    """

    images: Array
    log_odds: Array
    trace: Array
    n_forward: int


def map_elites(
    f: Logits, encoding: Encoding, key: Array, *, generations: int, children: int = 200
) -> Fooling:
    """Evolve an image for every class; to be traced.

    Args:
      f: images [B, H, W, C] in [0, 1] -> logits [B, K].
      encoding: of the images.
      key: typed.
      generations: G.
      children: of a generation, and genomes of the start.

    Raises:
      UserError: there are no children, or fewer than no generations.
    """

    def offspring(archive: Archive, key: Array) -> PyTree:
        choice, change = jax.random.split(key)
        places = jax.random.uniform(choice, (children,))
        parents = cell_of(places, len(archive.log_odds))
        genomes = jax.tree.map(lambda leaf: leaf[parents], archive.genomes)
        keys = jax.random.split(change, children)
        return jax.vmap(encoding.mutate)(keys, genomes)

    return _search(f, encoding, key, generations, children, offspring)


def random_search(
    f: Logits, encoding: Encoding, key: Array, *, generations: int, children: int = 200
) -> Fooling:
    """Return the surest of as many images that are all drawn: what evolution is held against.

    To be traced; the arguments are those of ``map_elites``.
    """

    def offspring(archive: Archive, key: Array) -> PyTree:
        del archive
        keys = jax.random.split(key, children)
        return jax.vmap(encoding.draw)(keys)

    return _search(f, encoding, key, generations, children, offspring)


def admit(archive: Archive, genomes: PyTree, odds: Array) -> Archive:
    """Return the archive after N children, leaves [N, ...], with log odds [N, K], have been tried.

    The best child of each class takes its cell if it is surer than the elite. NaN takes none.
    """
    odds = jnp.where(jnp.isnan(odds), -jnp.inf, odds)
    best = jnp.argmax(odds, 0)
    of_best = odds.max(0)
    surer = of_best > archive.log_odds

    def chosen(elites: Array, leaf: Array) -> Array:
        new = surer.reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.where(new, leaf[best], elites)

    genomes = jax.tree.map(chosen, archive.genomes, genomes)
    return Archive(genomes, jnp.where(surer, of_best, archive.log_odds))


def _search(
    f: Logits,
    encoding: Encoding,
    key: Array,
    generations: int,
    children: int,
    offspring: Callable[[Archive, Array], PyTree],
) -> Fooling:
    """Draw a start, then admit ``offspring(archive, key)`` for G generations."""
    if children < 1 or generations < 0:
        raise UserError(f"children={children}, generations={generations}: use at least 1 and 0")
    start_key, search_key = jax.random.split(key)

    def admitted(archive: Archive | None, genomes: PyTree) -> Archive:
        odds = class_odds(f(jax.vmap(encoding.express)(genomes)))
        if archive is None:
            classes = odds.shape[1]
            anyone = jnp.zeros(classes, jnp.int32)
            empty = jax.tree.map(lambda leaf: leaf[anyone], genomes)
            archive = Archive(empty, jnp.full(classes, -jnp.inf))
        return admit(archive, genomes, odds)

    def one_generation(archive: Archive, generation: Array) -> tuple[Archive, Array]:
        genomes = offspring(archive, jax.random.fold_in(search_key, generation))
        archive = admitted(archive, genomes)
        return archive, archive.log_odds

    drawn = jax.vmap(encoding.draw)(jax.random.split(start_key, children))
    first = admitted(None, drawn)
    last, later = lax.scan(one_generation, first, jnp.arange(generations))
    trace = jnp.concatenate([first.log_odds[None], later])
    images = jax.vmap(encoding.express)(last.genomes)
    return Fooling(images, last.log_odds, trace, (generations + 1) * children)
