"""What backward rules show of trained nets: maps, their scores, and ranks as weights are lost."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.seeing import _nets
from experiments.seeing._nets import Nets, Shown
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.nets import over_nets
from jaxvision.attribution import comparing, maps, masks
from jaxvision.attribution.occluding import occlusion
from jaxvision.attribution.ruled import ruled
from jaxvision.random import stream
from jaxvision.relu import Rule
from jaxvision.types import Array, PyTree

FLOORS = ("random", "center", "edges")


class Method(NamedTuple):
    """A map of a net.

    Attributes:
      label: in the figure.
      rule: at the ReLUs.
      score: of a class, from the logits.
    """

    label: str
    rule: Rule
    score: maps.Score = maps.logit


class Covering(NamedTuple):
    """The occlusion that maps are held against.

    Attributes:
      window: pixels of the window's side.
      stride: pixels between two places.
    """

    window: int
    stride: int


def logits_of(nets: Nets, variables: PyTree) -> Logits:
    """Return one net as a function of images to logits."""
    layers = nets.of(variables)
    return lambda images: layers(images)[0]


def signals(
    table: Mapping[str, Method], f: Logits, images: Array, labels: Array
) -> tuple[dict[str, Array], Array]:
    """Return what comes back to the pixels, by method [B, H, W, C], and the logits."""
    found = {}
    for rule in dict.fromkeys(method.rule for method in table.values()):
        function = f if rule == "gradient" else ruled(f, rule)
        logits, pull = jax.vjp(function, images)
        own = {name: method.score for name, method in table.items() if method.rule == rule}
        sent = jnp.stack([_risen(score, logits, labels) for score in own.values()])
        back = jax.lax.map(lambda signal, pull=pull: pull(signal)[0], sent)
        found |= dict(zip(own, back, strict=True))
    return found, logits


def _risen(score: maps.Score, logits: Array, labels: Array) -> Array:
    """Return the gradient of scores by the logits [B, K]."""
    return jax.grad(lambda logits: score(logits, labels).sum())(logits)


class Looked(NamedTuple):
    """What is found of N nets; T snapshots, L layers, means over images.

    Attributes:
      scores: of every method, floor and occlusion against the masks, fields [N]; None without.
      agreement: rank correlation of every map with occlusion's [N].
      accuracy: at every snapshot [N, T].
      mass: share on the object at every snapshot, by method [N, T]; None without masks.
      signed: rank correlation with the trained net's map, the last 0, 1, ..., L layers drawn anew,
        by method [N, L + 1]; None without snapshots.
      unsigned: the same of absolute values.
      pictures: by method, of the trained net and of the one without its weights, uint8
        [N, 2, shown, H, W, C], gray where the signal is 0; None without snapshots.
    """

    scores: dict[str, masks.Scores] | None
    agreement: dict[str, Array]
    accuracy: Array
    mass: dict[str, Array] | None
    signed: dict[str, Array] | None
    unsigned: dict[str, Array] | None
    pictures: dict[str, Array] | None


def looked_at(
    nets: Nets,
    table: Mapping[str, Method],
    some: Shown,
    seeds: range,
    covering: Covering,
    shown: int,
) -> Looked:
    """Return what there is to know of nets' maps, in one program.

    New weights are those that another seed's net began with.
    """

    def one(net: dict, given: tuple[Array, Array, Array | None]) -> Looked:
        images, labels, inside = given
        stages, last = _stages(net)
        found, right = jax.lax.map(
            lambda stage: _explained(nets, table, stage, images, labels), stages
        )
        final = {name: maps.strength(signal[last]) for name, signal in found.items()}
        covered = _covered(logits_of(nets, net["trained"]), images, labels, covering)
        shown_maps = final | floors(net["seed"], images)
        agreement = _over(lambda each: comparing.rank_correlation(covered, each).mean(), shown_maps)
        scores, mass = None, None
        if inside is not None:
            scored = shown_maps | {"occlusion": covered}
            scores = _over(lambda each: _means(each, inside), scored)
            along = {name: signal[: last + 1] for name, signal in found.items()}
            mass = _over(lambda signal: _along(signal, inside), along)
        lost = _lost(found, last, shown) if "fresh" in net else (None,) * 3
        return Looked(scores, agreement, right[: last + 1], mass, *lost)

    own = {"trained": nets.variables, "params": nets.variables["params"]}
    own["seed"] = np.array(seeds, np.int32)
    if nets.snapshots is not None:
        own["along"] = nets.snapshots
        own["fresh"] = jax.tree.map(lambda leaf: np.roll(leaf[:, 0], 1, axis=0), nets.snapshots)
    return over_nets(one, own, (some.images, some.labels, some.masks))


def _stages(net: dict) -> tuple[PyTree, int]:
    """Return variables [M, ...]: along training, then as layers are lost; and where it ends."""
    trained = net["trained"]
    if "fresh" not in net:
        return jax.tree.map(lambda leaf: leaf[None], trained), 0
    along = net["along"]
    lost = comparing.cascade(trained["params"], net["fresh"]["params"], _nets.LAYERS)
    params = jax.tree.map(lambda *pair: jnp.concatenate(pair), along["params"], lost)
    looks = len(jax.tree.leaves(along)[0])
    return trained | {"params": params}, looks - 1


def _explained(
    nets: Nets, table: Mapping[str, Method], stage: PyTree, images: Array, labels: Array
) -> tuple[dict[str, Array], Array]:
    """Return signals by method [B, H, W, C] of one stage, and its accuracy."""
    found, logits = signals(table, logits_of(nets, stage), images, labels)
    return found, (logits.argmax(1) == labels).mean(dtype=jnp.float32)


def _covered(f: Logits, images: Array, labels: Array, covering: Covering) -> Array:
    return occlusion(f, images, labels, maps.probability, covering.window, covering.stride)


def floors(seed: Array, images: Array) -> dict[str, Array]:
    """Return maps that have not seen the net [B, H, W]."""
    shape = images.shape[:3]
    return {
        "random": masks.random(stream(seed, "noise"), shape),
        "center": masks.center(shape),
        "edges": masks.edges(images),
    }


def _over(function: Callable[[Array], PyTree], by_name: dict[Any, Array]) -> dict[Any, PyTree]:
    """Return ``function`` of every array, all of one shape, traced once."""
    found = jax.lax.map(function, jnp.stack(list(by_name.values())))
    return {
        name: jax.tree.map(lambda leaf, place=place: leaf[place], found)
        for place, name in enumerate(by_name)
    }


def _means(shown: Array, inside: Array) -> masks.Scores:
    return masks.Scores(*[score.mean() for score in masks.scores(shown, inside)])


def _along(signal: Array, inside: Array) -> Array:
    """Return the mean share on the object [T] of signals [T, B, H, W, C]."""
    return jax.lax.map(lambda each: masks.mass(maps.strength(each), inside).mean(), signal)


def _lost(
    found: dict[str, Array], last: int, shown: int
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Return signed and unsigned ranks that are left, and pictures, by method."""
    stages = {name: signal[last + 1 :] for name, signal in found.items()}
    signed = {("signed", name): signal for name, signal in stages.items()}
    unsigned = {("unsigned", name): jnp.abs(signal) for name, signal in stages.items()}
    ranks = _over(_ranks, signed | unsigned)
    ends = jnp.array([0, -1])
    return (
        {name: ranks["signed", name] for name in stages},
        {name: ranks["unsigned", name] for name in stages},
        {name: as_pictures(signal[ends, :shown]) for name, signal in stages.items()},
    )


def _ranks(found: Array) -> Array:
    """Return the mean rank correlation of the first [1, B, ...] with each [M, B, ...]."""
    ranked = jax.lax.map(comparing.ranks, found)
    return jax.lax.map(lambda each: comparing.correlation(ranked[0], each).mean(), ranked)


def as_pictures(signal: Array) -> Array:
    """Return signals [..., H, W, C] as uint8, 128 where nothing comes back.

    Each is on its own scale: half its largest absolute value and more is white, or black where it
    is negative.
    """
    most = jnp.abs(signal).max((-3, -2, -1), keepdims=True)
    shade = 127.5 * (1 + jnp.clip(2 * signal / jnp.where(most == 0, 1, most), -1, 1))
    return jnp.round(shade).astype(jnp.uint8)


def steps_of_looks(steps: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Return the steps at shares of the training, each once."""
    return tuple(sorted({round(share * steps) for share in shares}))
