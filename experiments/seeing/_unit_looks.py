"""How strongly units answer to images along training, and when what they prefer has settled."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.adversarial.nets import over_nets
from jaxvision.models.layers import Apply
from jaxvision.nets import Trained
from jaxvision.random import probe
from jaxvision.training.calls import joined
from jaxvision.types import Array, PyTree

TOP = 8  # images that a unit prefers
RHO = 0.9  # likeness from which on a unit is what it will be
MakeAxes = Callable[[Array, int], Array]  # key, channels C -> directions [C, C] in columns


class Answers(NamedTuple):
    """Answers to M images of N nets at T steps, by layer, fields {layer: float32 [N, T, M, C]}.

    The largest over positions of a map.

    Attributes:
      units: pre-activations.
      fired: of units, after the ReLU.
      axes: of random directions, after the ReLU.
    """

    units: dict[str, np.ndarray]
    fired: dict[str, np.ndarray]
    axes: dict[str, np.ndarray]


def random_axes(key: Array, channels: int) -> Array:
    """Return directions [C, C], each uniform over the sphere."""
    drawn = jax.random.normal(key, (channels, channels))
    lengths = jnp.sqrt(jnp.square(drawn).sum(0, keepdims=True))
    return drawn / lengths


def answers(
    nets: Trained,
    seeds: Sequence[int],
    images: np.ndarray,
    layers: Sequence[str],
    make_axes: MakeAxes = random_axes,
) -> Answers:
    """Show images uint8 [M, H, W, C] to nets along training, in one program.

    Batch norm answers with the images' own statistics: young running averages are those of the
    start.
    """

    def one(net: dict, images: Array) -> Answers:
        inputs = nets.preprocess(images, None)
        key = probe(net["seed"], "axes")

        def at(variables: PyTree) -> Answers:
            found = _maps(nets.apply, variables, inputs, layers)
            return _answers(found, key, make_axes)

        return lax.map(at, net["snapshots"])

    seeded = {"seed": np.array(seeds, np.int32), "snapshots": nets.snapshots}
    return over_nets(one, seeded | nets.variables, images)


def together(kinds: Sequence[Trained]) -> Trained:
    """Return nets of several kinds one behind the other; all but weights is the first kind's."""
    return kinds[0]._replace(
        variables=joined([nets.variables for nets in kinds]),
        snapshots=joined([nets.snapshots for nets in kinds]),
    )


def _maps(
    apply: Apply, variables: PyTree, inputs: Array, layers: Sequence[str]
) -> dict[str, Array]:
    weights = variables["params"], variables["batch_stats"]
    _, activations, _ = apply(*weights, inputs, train=True)
    return {name: activations[name] for name in layers}


def _answers(
    maps: dict[str, Array],
    key: Array,
    make_axes: MakeAxes,
) -> Answers:
    found = Answers({}, {}, {})
    for i, (name, activation) in enumerate(maps.items()):
        drawn = jax.random.fold_in(key, i)
        axes = make_axes(drawn, activation.shape[-1])
        positive = jax.nn.relu(activation)
        found.units[name] = activation.max((1, 2))
        found.fired[name] = positive.max((1, 2))
        found.axes[name] = (positive @ axes).max((1, 2))
    return found


def likeness(answers: np.ndarray) -> np.ndarray:
    """Return how much a unit's answers are like its last ones: [N, T, M, C] -> [N, T, C].

    The rank correlation over images; 0 where a unit answers to all alike.
    """
    from scipy.stats import rankdata  # what measures nothing does not wait for it

    ranks = rankdata(answers, axis=2)
    return _correlation(ranks, ranks[:, -1:])


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return correlations along the axis of images, the third."""
    one = one - one.mean(2, keepdims=True)
    other = other - other.mean(2, keepdims=True)
    squares = np.square(one).sum(2) * np.square(other).sum(2)
    return _ratio((one * other).sum(2), np.sqrt(squares))


def _ratio(product: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return product / scale, and 0 where both are."""
    return product / np.where(scale > 0, scale, 1)


def preferred(answers: np.ndarray) -> np.ndarray:
    """Return the ``TOP`` images that each unit answers most to, [..., M, C] -> [..., TOP, C]."""
    order = np.argsort(-answers, axis=-2, kind="stable")
    return order[..., :TOP, :]


def kept(answers: np.ndarray) -> np.ndarray:
    """Return the share of its last preferred images that a unit prefers already, [N, T, C]."""
    return shared(preferred(answers), preferred(answers[:, -1:]))


def shared(
    one: np.ndarray,
    other: np.ndarray,
) -> np.ndarray:
    """Return the share of equal images in two choices [..., TOP, C]: [..., C]."""
    down, across = one[..., :, None, :], other[..., None, :, :]
    equal = down == across
    return equal.any(-2).mean(-2)


def purity(
    answers: np.ndarray,
    labels: np.ndarray,
    classes: int,
) -> np.ndarray:
    """Return the share of the commonest class among preferred images, mean over units: [...].

    Args:
      answers: [..., M, C].
      labels: [M].
      classes: K.
    """
    found = labels[preferred(answers)]
    counts = [(found == label).sum(-2) for label in range(classes)]
    commonest = np.max(counts, axis=0) / found.shape[-2]
    return commonest.mean(-1)


def space(answers: np.ndarray) -> np.ndarray:
    """Return how much a layer's answers are like its last ones, [N, T, M, C] -> [N, T].

    Linear CKA, which no rotation of the units changes (Kornblith et al. 2019, arXiv 1905.00414).
    """
    centered = answers - answers.mean(2, keepdims=True)
    last = centered[:, -1:]
    squares = _overlap(centered, centered) * _overlap(last, last)
    return _ratio(_overlap(centered, last), np.sqrt(squares))


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the squared norm of one^T other, of answers [..., M, C]: [...]."""
    product = np.swapaxes(one, -2, -1) @ other
    return np.square(product).sum((-2, -1))


def settled(alike: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the first step from which on likeness stays at ``RHO`` or above, [N, ...].

    Args:
      alike: [N, T, ...], 1 at the last step.
      steps: [T].
    """
    backwards = alike[:, ::-1] >= RHO
    stays = np.logical_and.accumulate(backwards, axis=1)[:, ::-1]
    # The last one is like itself; a unit that never answers is not, and settles last.
    stays[:, -1] = True
    return steps[stays.argmax(1)]


def slope(times: np.ndarray) -> np.ndarray:
    """Return by how much times [N, L] rise from one layer to the next: least squares, [N]."""
    layers = np.arange(times.shape[1])
    depth = layers - layers.mean()
    return times @ depth / np.square(depth).sum()
