"""Perturbations made for one net, and what they do to it and to others."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.breaking._nets import Nets
from jaxvision.adversarial import patterns, universal
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.nets import over_nets
from jaxvision.adversarial.universal import Fooled, Universal
from jaxvision.random import stream
from jaxvision.training.mapping import choose_mapping
from jaxvision.types import Array, PyTree, UserError

Maker = Callable[..., Universal]  # (f, images, eps, key) -> one perturbation


class Ways(NamedTuple):
    """How perturbations are made."""

    ascent: Maker
    deepfool: Maker


class Given(NamedTuple):
    """What every net is looked at with; arrays.

    Attributes:
      made_from: images [N, H, W, C] that perturbations are made from, each class in its share.
      held_out: other images [B, H, W, C].
      epsilons: [E].
      epsilon: [], where the sizes of sets and the spans are compared.
      sizes: int32 [Z], so many of ``made_from`` are used.
      patterns: fixed ones [P, H, W, C] of -1 and 1.
      seed: of batches, orders and noise.
    """

    made_from: Array
    held_out: Array
    epsilons: Array
    epsilon: Array
    sizes: Array
    patterns: Array
    seed: Array | int


class Found(NamedTuple):
    """Fooling rates on held-out images of one net, and the perturbations that it was asked about.

    Attributes:
      ascent, deepfool: [E].
      dominant: [E], the largest class's share of what the ascent's perturbation fools.
      by_size: [Z], ascent from fewer images.
      random: [E, R], signs drawn at random.
      shuffled: [E], the ascent's perturbation, its pixels in another order.
      structured: [E, P], fixed patterns.
      anywhere: [R], Gaussian directions of the L2 norm of signs.
      normals: [N, D], of the nearest boundaries, of norm 1.
      perturbation: [H, W, C], the ascent's at ``epsilon``.
    """

    ascent: Array
    deepfool: Array
    dominant: Array
    by_size: Array
    random: Array
    shuffled: Array
    structured: Array
    anywhere: Array
    normals: Array
    perturbation: Array


def refuse(config: Any) -> None:
    """Raise UserError where flags of universal_perturbation contradict each other."""
    if config.epsilon not in config.epsilons:
        raise UserError(f"--epsilon={config.epsilon:g} must be one of --epsilons")
    if max(config.sizes) > config.n_images:
        raise UserError(
            f"--sizes={max(config.sizes)} asks for more images than --n_images={config.n_images}"
        )
    if len(config.kinds) < 2:
        raise UserError("--kinds needs two kinds of nets at least: one hands over to another")


def looked_at(f: Logits, given: Given, ways: Ways, draws: int) -> Found:
    """Make all perturbations of one net and judge them; ``draws`` random ones of each kind."""
    batches, orders, noise, mixing, few, lines = jax.random.split(stream(given.seed, "attack"), 6)
    images, epsilons = given.made_from, given.epsilons
    shape = images.shape[1:]
    ascents, smaller = _ascents(f, given, ways.ascent, (batches, few))
    deepfool = ways.deepfool(f, images, epsilons, orders)
    signs = patterns.random_signs(noise, draws, shape)
    at_size = jnp.argmin(jnp.abs(epsilons - given.epsilon))

    def at_all(units: Array) -> Array:
        return epsilons.reshape(-1, 1, 1, 1, 1) * units[None]

    found = _judged(
        f,
        given.held_out,
        {
            "ascent": ascents,
            "deepfool": deepfool.perturbation,
            "by_size": smaller,
            "random": at_all(signs),
            "shuffled": _shuffled(mixing, ascents),
            "structured": at_all(given.patterns),
            "anywhere": patterns.random_directions(lines, draws, signs_norm(given), shape),
        },
    )
    return Found(
        **{name: of_name.rate for name, of_name in found.items()},
        dominant=found["ascent"].dominant,
        normals=patterns.normals(f, images),
        perturbation=ascents[at_size],
    )


def _judged(f: Logits, images: Array, groups: dict[str, Array]) -> dict[str, Fooled]:
    """Return what groups of perturbations [..., H, W, C] do to images, leaves [...] or [..., K].

    One loop judges them all, because every further one compiles the net once more.
    """
    shape = images.shape[1:]
    every = [group.reshape(-1, *shape) for group in groups.values()]
    found = universal.fooled(f, images, jnp.concatenate(every))
    ends = np.cumsum([len(group) for group in every])[:-1]
    rates = jnp.split(found.rate, ends)
    classes = jnp.split(found.classes, ends)
    return {
        name: Fooled(rate.reshape(group.shape[:-3]), share.reshape(*group.shape[:-3], -1))
        for (name, group), rate, share in zip(groups.items(), rates, classes, strict=True)
    }


def _ascents(
    f: Logits, given: Given, ascent: Maker, keys: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Return perturbations [E, H, W, C] of all sizes, and [Z, H, W, C] from the first images.

    One loop makes both, because an ascent takes long to compile. Fewer images are repeated as often
    as they fit in.
    """
    count, n_epsilons = len(given.made_from), len(given.epsilons)
    n_images = jnp.concatenate([jnp.full(n_epsilons, count, jnp.int32), given.sizes])
    epsilons = jnp.concatenate([given.epsilons, jnp.full(len(given.sizes), given.epsilon)])
    each = jnp.where(jnp.arange(len(epsilons)) < n_epsilons, *keys)  # sizes share their draws

    def one(entry: tuple[Array, Array, Array]) -> Array:
        size, epsilon, key = entry
        rows = jnp.arange(count) % size
        return ascent(f, given.made_from[rows], epsilon, key).perturbation

    made = jax.lax.map(one, (n_images, epsilons, each))
    return made[:n_epsilons], made[n_epsilons:]


def _shuffled(key: Array, perturbations: Array) -> Array:
    """Return perturbations [E, H, W, C] with their pixels in another order, the same for all."""
    flat = perturbations.reshape(len(perturbations), -1)
    order = jax.random.permutation(key, flat.shape[1])
    return flat[:, order].reshape(perturbations.shape)


def signs_norm(given: Given) -> Array:
    """Return the L2 norm of a perturbation by ``epsilon`` in every pixel."""
    return given.epsilon * np.sqrt(np.float32(given.made_from[0].size))


def look_at(nets: Nets, given: Given, ways: Ways, draws: int) -> Found:
    """Return ``looked_at`` of every net of a spec, leaves [S, ...] on the host."""

    def one(variables: PyTree, given: Given) -> Found:
        return looked_at(nets.of(variables), given, ways, draws)

    return over_nets(one, nets.variables, given)


def in_spans(
    nets: Nets, normals: np.ndarray, given: Given, draws: int, directions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Judge random perturbations in the span of the boundaries' normals [S, N, D].

    Returns:
      Fooling rates [S, R] at the L2 norm of signs, and the energy of the first 1, 2, ... directions
      [S, min(N, D)].
    """
    spans, energy = patterns.span(normals, directions)
    drawn = patterns.random_in(stream(given.seed, "noise"), spans, draws, signs_norm(given))
    shaped = drawn.reshape(*drawn.shape[:2], *given.made_from.shape[1:])
    return hand_over(nets, np.float32(shaped), given.held_out), energy


def hand_over(nets: Nets, perturbations: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return fooling rates [S, P] of the nets by perturbations [S, P, H, W, C], its own of each."""

    def one(pair: PyTree, images: Array) -> Array:
        return universal.fooled(nets.of(pair["net"]), images, pair["perturbations"]).rate

    pairs = {"net": nets.variables, "perturbations": perturbations}
    return over_nets(one, pairs, images, choose_mapping(nets.variables["params"]))


def transfer(
    nets: Mapping[str, Nets], made: Mapping[str, np.ndarray], images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each kind of net's perturbations [S, H, W, C] do to each kind.

    Returns:
      Fooling rates [S, A, A], by the kind they were made for and the kind they meet, on the
      diagonal the very net; and [S, A], by the next seed's net of the same kind.
    """
    own = np.stack(list(made.values()), axis=1)
    by_target, siblings = [], []
    for name, kind in nets.items():
        next_seed = np.roll(made[name], 1, axis=0)[:, None]
        rates = hand_over(kind, np.concatenate([own, next_seed], axis=1), images)
        by_target.append(rates[:, :-1])
        siblings.append(rates[:, -1])
    return np.stack(by_target, axis=2), np.stack(siblings, axis=1)
