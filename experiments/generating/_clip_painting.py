"""What trained generators of clips paint, and what they paint nearest to a given clip."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.generating._clip_game import Sizes, shown
from jaxvision import runtime
from jaxvision.generative import anchors, metrics
from jaxvision.models import video
from jaxvision.random import stream
from jaxvision.types import Array, PyTree

_CHUNK = 128  # codes that are painted at a time
_INVERTING_RATE = 0.1  # Adam's, on codes
_STARTS = 2  # codes that a search starts from; the better end counts


class Painted(NamedTuple):
    """What one generator makes of B codes.

    Attributes:
      clips: uint8 [B, T, H, W, C].
      streams: what they are composed of, float32; see ``video.Streams``.
    """

    clips: np.ndarray
    streams: video.Streams

    @property
    def masks(self) -> np.ndarray:
        """Where the foreground has the larger part, bool [B, T, H, W]."""
        return self.streams.mask[..., 0] > 0.5


def codes_of(seed: int, counter: int, count: int, size: int) -> np.ndarray:
    """Return codes [count, size] of the prior, N(0, 1)."""
    key = stream(seed, "latent", counter)
    return np.asarray(jax.random.normal(key, (count, size)))


def painted(
    sizes: Sizes, variables: PyTree, codes: np.ndarray, two_streams: bool
) -> Iterator[Painted]:
    """Yield what each of N generators, leaves [N, ...], makes of the same codes [B, Z].

    With their running statistics. A generator that is not finite paints noise.
    """
    program = _painter(sizes)
    for net in range(count_of(variables)):
        one = jax.tree.map(lambda leaf, net=net: leaf[net], variables)
        parts = []
        for part in _chunks(codes):
            parts.append(jax.device_get(program(one, part)))
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        whole = jax.tree.map(lambda leaf: leaf[: len(codes)], joined)
        yield _told(whole, two_streams, net)


def count_of(variables: PyTree) -> int:
    """Return N, of how many nets the leaves [N, ...] are."""
    first = jax.tree.leaves(variables)[0]
    return len(first)


def _chunks(codes: np.ndarray) -> list[np.ndarray]:
    """Return codes in chunks of one size, the last filled up."""
    count = -(-len(codes) // _CHUNK)
    shape = count * _CHUNK, codes.shape[1]
    filled = np.resize(np.float32(codes), shape)
    return np.split(filled, count)


def _told(streams: video.Streams, two_streams: bool, seed: int) -> Painted:
    """Return streams with their clips in 8 bits, noise where one is not finite."""
    whole = np.ones_like(streams.mask)
    if not all(np.isfinite(leaf).all() for leaf in streams):
        levels = anchors.noise(streams.clip.shape, seed)
        noise = np.float32(levels / 127.5 - 1)
        streams = video.Streams(noise, noise, whole, noise[:, 0])
    if not two_streams:
        streams = streams._replace(clip=streams.foreground, mask=whole)
    return Painted(metrics.quantized(streams.clip), streams)


@functools.cache
def _painter(sizes: Sizes) -> Callable[[PyTree, Array], video.Streams]:
    paint = video.painting(sizes.generator)

    def one(variables: PyTree, codes: Array) -> video.Streams:
        return paint(variables, codes, False)[0]

    return runtime.jit(one)


class Inverted(NamedTuple):
    """What a generator paints nearest to N given clips.

    Attributes:
      found: those clips.
      error: their mean squared distance from the given ones, pixels in [-1, 1], [N].
    """

    found: Painted
    error: np.ndarray


class Search(NamedTuple):
    """How codes of given clips are sought.

    Attributes:
      steps: of Adam.
      seed: of the codes that it starts from.
    """

    steps: int
    seed: int


def inverted(
    sizes: Sizes, variables: PyTree, clips: np.ndarray, search: Search, two_streams: bool
) -> Inverted:
    """Return what gradient descent on the code of one generator finds for clips uint8.

    Each search has two starts from the prior; the end of smaller error counts.
    """
    program = _inverter(sizes, search.steps)
    scaled = np.float32(clips / 127.5 - 1)
    targets = np.concatenate([scaled] * _STARTS)
    starts = codes_of(search.seed, 1, len(targets), sizes.codes)
    streams = np.float32(2 if two_streams else 1)
    found, errors = jax.device_get(program(variables, starts, targets, streams))
    finite = np.nan_to_num(errors, nan=np.inf)
    by_start = finite.reshape(_STARTS, -1)
    best = by_start.argmin(0)
    rows = best * len(clips) + np.arange(len(clips))
    chosen = jax.tree.map(lambda leaf: leaf[rows], found)
    told = _told(chosen, two_streams, search.seed)
    return Inverted(told, by_start.min(0))


_Carry = tuple[Array, PyTree]  # codes, and the optimizer's memory
# (variables, codes [B, Z] to start from, targets, streams) -> (what is found, errors [B])
Seek = Callable[[PyTree, Array, Array, Array], tuple[video.Streams, Array]]


@functools.cache
def _inverter(sizes: Sizes, steps: int) -> Seek:
    paint = video.painting(sizes.generator)
    optimizer = optax.adam(_INVERTING_RATE)

    def search(
        variables: PyTree, codes: Array, targets: Array, streams: Array
    ) -> tuple[video.Streams, Array]:
        def errors(codes: Array) -> tuple[Array, video.Streams]:
            found = paint(variables, codes, False)[0]
            away = jnp.square(shown(found, streams) - targets)
            return away.mean((1, 2, 3, 4)), found

        def total(codes: Array) -> Array:
            return errors(codes)[0].sum()

        def step(carry: _Carry, _: None) -> tuple[_Carry, None]:
            codes, state = carry
            slope = jax.grad(total)(codes)
            updates, state = optimizer.update(slope, state)
            moved = optax.apply_updates(codes, updates)
            return (moved, state), None

        start = codes, optimizer.init(codes)
        (codes, _), _ = jax.lax.scan(step, start, length=steps)
        distances, found = errors(codes)
        return found, distances

    return runtime.jit(search)


def flattened(variables: PyTree) -> PyTree:
    """Return leaves [S, T, ...] as [S * T, ...]."""

    def flat(leaf: np.ndarray) -> np.ndarray:
        return leaf.reshape(-1, *leaf.shape[2:])

    return jax.tree.map(flat, variables)


def at_end(variables: PyTree, net: int) -> PyTree:
    """Return one seed's leaves [S, T, ...] at the last look, [...]."""
    return jax.tree.map(lambda leaf: leaf[net, -1], variables)
