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
from jaxvision.adversarial.threat import like
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
      images: [K, H, W, C], what they express.
      log_odds: float32 [K], log(p / (1 - p)) of the class; -inf where the cell is empty.
    """

    genomes: PyTree
    images: Array
    log_odds: Array


class Fooling(NamedTuple):
    """What a search over G generations found, for each of K classes.

    Attributes:
      images: [K, H, W, C], the elites.
      log_odds: float32 [K], log(p / (1 - p)) of the class.
      trace: float32 [G + 1, K], the same after every generation; the first one is the start.
      n_forward: int32 [], images that went through the net.
    """

    images: Array
    log_odds: Array
    trace: Array
    n_forward: Array


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


def admit(archive: Archive, genomes: PyTree, images: Array, odds: Array) -> Archive:
    """Return the archive after N children have been tried in every cell.

    The best child of each class takes its cell if it is surer than the elite. NaN takes none.

    Args:
      archive: before.
      genomes: leaves [N, ...].
      images: [N, H, W, C].
      odds: float32 [N, K].
    """
    odds = jnp.where(jnp.isnan(odds), -jnp.inf, odds)
    best = jnp.argmax(odds, 0)
    of_best = odds.max(0)
    surer = of_best > archive.log_odds

    def chosen(elites: Array, children: Array) -> Array:
        return jnp.where(like(surer, elites), children[best], elites)

    return Archive(
        jax.tree.map(chosen, archive.genomes, genomes),
        chosen(archive.images, images),
        jnp.where(surer, of_best, archive.log_odds),
    )


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

    def drawn(key: Array) -> PyTree:
        return jax.vmap(encoding.draw)(jax.random.split(key, children))

    def one_generation(archive: Archive, generation: Array) -> tuple[Archive, Array]:
        own = jax.random.fold_in(key, generation)
        # The start is a round of the loop too: the net and the encoding are compiled once.
        genomes = lax.cond(
            generation == 0,
            lambda: drawn(own),
            lambda: offspring(archive, own),
        )
        images = jax.vmap(encoding.express)(genomes)
        archive = admit(archive, genomes, images, class_odds(f(images)))
        return archive, archive.log_odds

    rounds = jnp.arange(1 + generations)
    last, trace = lax.scan(
        one_generation,
        _empty(f, encoding, drawn, key),
        rounds,
    )
    passes = jnp.int32((1 + generations) * children)
    return Fooling(last.images, last.log_odds, trace, passes)


def _empty(
    f: Logits,
    encoding: Encoding,
    drawn: Callable[[Array], PyTree],
    key: Array,
) -> Archive:
    """Return an archive without elites."""
    genomes = jax.eval_shape(drawn, key)
    images = jax.eval_shape(jax.vmap(encoding.express), genomes)
    classes = jax.eval_shape(f, images).shape[1]

    def zeros(leaf: jax.ShapeDtypeStruct) -> Array:
        return jnp.zeros((classes, *leaf.shape[1:]), leaf.dtype)

    elites = jax.tree.map(zeros, genomes)
    return Archive(elites, zeros(images), jnp.full(classes, -jnp.inf))
