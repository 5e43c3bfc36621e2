"""What nets say while a window is covered: probability, class, and the sum of the strongest map."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.seeing import _nets
from experiments.seeing._nets import Nets, Shown
from jaxvision.adversarial.nets import over_nets
from jaxvision.attribution import comparing, maps, occluding
from jaxvision.attribution.occluding import Windows
from jaxvision.types import Array, PyTree

GRAY = 0.5


class Panels(NamedTuple):
    """Zeiler & Fergus' panels of N nets and B images, by place of the window [N, B, R, Q].

    Attributes:
      strongest: sum of the map that responds most to the image uncovered, over its sum there.
      probability: of the right class, minus that of the image uncovered.
      predicted: int32, the class.
      projection: deconvnet's energy of that map [N, B, H, W].
      under: its sum under each window [N, B, R, Q].
      another: the same of the second strongest map.
      answer: int32 [N, B], the class of the image uncovered.
    """

    strongest: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray
    projection: np.ndarray
    under: np.ndarray
    another: np.ndarray
    answer: np.ndarray


class Falls(NamedTuple):
    """What belongs to places of the window where half of it or more is object, or none is.

    Attributes:
      object: [...].
      background: [...].
    """

    object: np.ndarray
    background: np.ndarray


def fills_of(images: np.ndarray, mean: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return what covers, by name, images [B, H, W, C].

    ``blur`` is the image itself out of focus, ``noise`` independent colors.
    """
    noise = np.random.default_rng(seed).random(images.shape)
    from scipy import ndimage  # what measures nothing does not wait for it

    blur = ndimage.gaussian_filter(images, (0, 4, 4, 0), mode="nearest")
    fills = {
        "gray": np.full_like(images, GRAY),
        "mean": np.broadcast_to(mean, images.shape),
        "blur": blur,
        "noise": noise,
    }
    return {name: np.float32(fill) for name, fill in fills.items()}


def panels(nets: Nets, some: Shown, places: Windows, layer: str = _nets.LAST) -> Panels:
    """Return the panels of every net; covered by gray."""

    def one(net: PyTree, given: tuple[Array, Array]) -> Panels:
        images, labels = given
        f = nets.of(net)
        logits, activations = f(images)
        sums = _sums(activations[layer])
        order = jnp.argsort(-sums, axis=1)
        best, second = order[:, 0], order[:, 1]
        whole = _taken(sums, best)

        def outputs(covered: Array, which: Array) -> PyTree:
            logits, activations = f(covered)
            strongest = _taken(_sums(activations[layer]), best[which])
            odds = maps.probability(logits, labels[which])
            return strongest, odds, logits.argmax(1).astype(jnp.int32)

        strongest, odds, predicted = occluding.sweep(outputs, images, places, GRAY)
        both = jnp.stack([best, second])
        energies = jax.lax.map(lambda index: _projected(f, images, layer, index), both)
        under, another = (occluding.within(energy, places) for energy in energies)
        return Panels(
            strongest / whole[:, None, None],
            odds - maps.probability(logits, labels)[:, None, None],
            predicted,
            energies[0],
            under,
            another,
            logits.argmax(1).astype(jnp.int32),
        )

    return over_nets(one, nets.variables, (some.images, some.labels))


def _sums(activation: Array) -> Array:
    """Return the sum of every map after its ReLU [B, K]."""
    return jax.nn.relu(activation).sum((1, 2))


def _taken(sums: Array, index: Array) -> Array:
    return jnp.take_along_axis(sums, index[:, None], axis=1)[:, 0]


def _projected(f: Callable, images: Array, layer: str, index: Array) -> Array:
    """Return the energy [B, H, W] that a deconvnet sends back from one map of each image.

    What goes back is the map itself (section 2.1): the gradient of half its squares. The gradient
    of its sum is 1 everywhere, and the deconvnet's rule lets that pass units that are shut.
    """

    def score(images: Array) -> Array:
        put_out = jax.nn.relu(f(images)[1][layer])
        halves = jnp.square(put_out).sum((1, 2)) / 2
        return _taken(halves, index)

    return (maps.signal(score, images, "deconvnet") ** 2).sum(-1)


def right(nets: Nets, some: Shown) -> np.ndarray:
    """Return the share of images [N] that each net gives their labels."""

    def one(net: PyTree, given: tuple[Array, Array]) -> Array:
        images, labels = given
        logits, _ = nets.of(net)(images)
        return (logits.argmax(1) == labels).mean(dtype=jnp.float32)

    return over_nets(one, nets.variables, (some.images, some.labels))


def falls_by_fill(
    nets: Nets, some: Shown, places: Windows, fills: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return by how much the right class's probability falls, by fill [N, B, R, Q]."""

    def one(net: PyTree, given: tuple[Array, Array, Array]) -> Array:
        images, labels, fills = given
        f = nets.of(net)
        whole = maps.probability(f(images)[0], labels)

        def outputs(covered: Array, which: Array) -> Array:
            return whole[which] - maps.probability(f(covered)[0], labels[which])

        return jax.lax.map(lambda fill: occluding.sweep(outputs, images, places, fill), fills)

    stacked = np.stack(list(fills.values()))
    found = over_nets(one, nets.variables, (some.images, some.labels, stacked))
    return {name: found[:, i] for i, name in enumerate(fills)}


def by_place(values: np.ndarray, inside: np.ndarray, places: Windows) -> Falls:
    """Return means of values [N, B, R, Q] on the object and beside it, by masks [B, H, W]."""
    found = where(inside, places)
    return Falls(values[:, found.object].mean(1), values[:, found.background].mean(1))


def where(inside: np.ndarray, places: Windows) -> Falls:
    """Return which places [B, R, Q] are on the object and which beside it, by masks [B, H, W]."""
    rows = places.over_rows.astype(np.float32)
    columns = places.over_columns.astype(np.float32)
    share = np.einsum("bhw,rh,qw->brq", inside, rows, columns) / places.size**2
    return Falls(share >= 0.5, share == 0)


def ranked_alike(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return rank correlations over places [N], of [N, B, R, Q], means over images."""
    return np.stack(
        [
            np.asarray(comparing.rank_correlation(one, other)).mean()
            for one, other in zip(values, others, strict=True)
        ]
    )


def apart(values: np.ndarray, others: np.ndarray, places: Windows) -> np.ndarray:
    """Return the share [N] of images whose lowest places lie more than a window apart."""
    where, there = (_lowest(each, places) for each in (values, others))
    return (np.abs(where - there).max(-1) > places.size).mean(1)


def _lowest(values: np.ndarray, places: Windows) -> np.ndarray:
    """Return the pixels [N, B, 2] at which values [N, B, R, Q] are lowest."""
    flat = values.reshape(*values.shape[:2], -1).argmin(-1)
    row, column = np.unravel_index(flat, values.shape[2:])
    return np.stack([places.rows[row], places.columns[column]], axis=-1)
