"""What features_along_training keeps of units' answers: scores along training, and pictures."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from experiments.seeing import _making as making
from experiments.seeing import _picture_scores as scores
from experiments.seeing import _unit_looks as looks
from jaxvision.attribution.regularizers import LEVELS
from jaxvision.nets import Trained
from jaxvision.types import PyTree

WAY = making.Way("Fourier + jitter", waves=True, jitter=2)


def along(
    found: looks.Answers,
    layers: Sequence[str],
    labels: np.ndarray,
    classes: int,
    steps: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return what units of one kind of net prefer along training, in numbers; layers last.

    Args:
      found: answers to M images at T steps.
      layers: in their order.
      labels: [M].
      classes: K.
      steps: [T]; times of settling are shares of the last one.
    """
    by_layer = []
    for layer in layers:
        units = found.units[layer]
        alike = looks.likeness(units)
        space = looks.space(units)
        last = looks.preferred(units[:, -1])
        strange = looks.shared(last, np.roll(last, 1, axis=0))
        scored = {
            "alike": np.median(alike, -1),
            "kept": looks.kept(units).mean(-1),
            "space": space,
            "settled": looks.settled(alike, steps).mean(-1) / steps[-1],
            "space_settled": looks.settled(space, steps) / steps[-1],
            "stranger": strange.mean(-1),
            "purity": looks.purity(found.fired[layer], labels, classes),
            "axes_purity": looks.purity(found.axes[layer], labels, classes),
        }
        by_layer.append(scored)
    return {what: _last([one[what] for one in by_layer]) for what in by_layer[0]}


def _last(by_layer: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays stacked along a last axis."""
    return np.stack(by_layer, axis=-1)


def preferred(
    units: Mapping[str, np.ndarray],
    images: np.ndarray,
    layers: Sequence[str],
    rows: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return what two units a layer of the first net prefer at some looks, and how much it lasts.

    Those whose answers differ most in the end.
    """
    best, numbers = [], []
    for layer in layers:
        mine = units[layer][:1, rows]
        spread = mine[0, -1].std(0)
        widest = np.argsort(-spread)[:2]
        first = looks.preferred(mine)[0, :, 0, widest]
        best.append(images[first])
        lasting = looks.kept(mine)[0]
        numbers.append(lasting[:, widest].T)
    return {
        "preferred": np.concatenate(best),
        "preferred_kept": np.concatenate(numbers),
    }


def filters(
    nets: Trained,
    layer: str,
    rows: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return the first net's filters at some looks, [C, T, h, w, C_in]."""
    kernels = nets.snapshots["params"][layer]["kernel"][0, rows]
    return {"filters": np.moveaxis(kernels, -1, 0)}


def class_pictures(
    nets: Trained,
    seeds: Sequence[int],
    rows: np.ndarray,
    steps: int,
) -> dict[str, np.ndarray]:
    """Return class pictures at some looks, and how many of the other nets' ends see the class."""
    count = nets.data.num_classes
    classes = np.arange(count)
    then = nets._replace(variables=_flat(nets.snapshots, rows))
    ways = making.rows({"jitter": WAY})
    draws = np.repeat(seeds, len(rows))
    made = making.make(then, draws, ways, starts=1, steps=steps)
    shape = len(seeds), len(rows), *made.pictures.shape[2:]
    pictures = made.pictures.reshape(shape)
    logits = making.answers(nets, making.as_shown(pictures))
    shares = scores.votes(logits, classes, scores.others(len(seeds)))
    some = [0, count // 2]
    shown = np.rint(LEVELS * pictures[0][:, some])
    return {
        "picture_agreement": shares.mean(-1),
        "class_pictures": shown.swapaxes(0, 1).astype(np.uint8),
        "class_picture_agreement": shares[0][:, some].T,
    }


def _flat(snapshots: PyTree, rows: np.ndarray) -> PyTree:
    """Return the R chosen snapshots of N nets, leaves [N, T, ...], as [N R, ...]."""

    def flat(leaf: np.ndarray) -> np.ndarray:
        chosen = leaf[:, rows]
        return chosen.reshape(-1, *leaf.shape[2:])

    return jax.tree.map(flat, snapshots)
