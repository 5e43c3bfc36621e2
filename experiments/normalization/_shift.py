"""What batchnorm's nets look like from inside while they train: moments, and how gradients change.

Two ways to speak of a shift. Ioffe & Szegedy: what enters a layer changes its distribution.
Santurkar et al., section 2.2: a layer's gradient changes because the layers below were updated.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.models.layers import Apply
from jaxvision.random import probe
from jaxvision.report.claims import Statistic
from jaxvision.report.record import Record
from jaxvision.training.looks import Moment
from jaxvision.training.losses import cross_entropy
from jaxvision.trees import squared_norm
from jaxvision.types import Array, PyTree

PERCENTILES = (15.0, 50.0, 85.0)
MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the step along which gradients are compared


class Inside(NamedTuple):
    """What one look sees of a run.

    Attributes:
      percentiles: [3] of what enters the sigmoid of the last hidden layer's first unit, after batch
        norm and its noise.
      mean, std: [F] of what enters every sigmoid of that layer.
      change: [M] of the gradient on the way along the step, |g' - g| / |g|, by multiple of the
        step that the run would take.
      below: [] the same change of the last hidden layer's gradient where only the layers below
        take their step.
    """

    percentiles: Array
    mean: Array
    std: Array
    change: Array
    below: Array


def look_inside(
    apply: Apply,
    preprocess: Callable,
    layer: str,
    moment: Moment,
    seen: tuple[Array, Array],
) -> Inside:
    """Return what enters the sigmoids of ``layer``, the last hidden one; how gradients change.

    In train mode, noise and all, on images that stay the same.

    Args:
      apply: of the net.
      preprocess: see ``Task``.
      layer: by its name in the activations.
      moment: the run.
      seen: images uint8 [B, H, W, C] and labels [B].
    """
    images, labels = seen
    inputs = preprocess(images, None)
    state = moment.state
    key = probe(moment.seed, "signals", state.step)

    def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
        net = params, state.batch_stats, inputs
        logits, activations, _ = apply(*net, train=True, dropout_key=key)
        return cross_entropy(logits, labels).mean(), activations

    gradient = jax.jit(jax.grad(loss, has_aux=True))
    here, activations = gradient(state.params)
    name = layer.partition("/")[0]
    step = jax.tree.map(lambda g: moment.hyper["learning_rate"] * g, here)

    def changes(taken: dict[str, Array]) -> tuple[Array, Array]:
        """Return the changes of all gradients and of the layer's, the step taken by part."""
        there, _ = gradient(_moved(state.params, step, taken))
        return _relative(there, here), _relative(there[name], here[name])

    # The whole step many times over, then one of the layers below alone.
    below = {part: 0.0 if part in (name, "output") else 1.0 for part in step}
    taken = {part: jnp.float32([*MULTIPLES, below[part]]) for part in step}
    whole, of_layer = jax.lax.map(changes, taken)
    entering = activations[layer]
    return Inside(
        percentiles=jnp.percentile(entering[:, 0], jnp.float32(PERCENTILES)),
        mean=entering.mean(0),
        std=entering.std(0),
        change=whole[:-1],
        below=of_layer[-1],
    )


def _moved(params: PyTree, step: PyTree, taken: dict[str, Array]) -> PyTree:
    """Return the weights after so much of the step in each part."""
    return {
        part: jax.tree.map(lambda w, d, by=taken[part]: w - by * d, params[part], step[part])
        for part in params
    }


def _relative(new: PyTree, old: PyTree) -> Array:
    difference = jax.tree.map(jnp.subtract, new, old)
    return jnp.sqrt(squared_norm(difference) / squared_norm(old))


def shift(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return how far moments [S, E, F] move from look to look, averaged over units: [S, E - 1]."""
    moved = np.abs(np.diff(mean, axis=1)) + np.abs(np.diff(std, axis=1))
    return moved.mean(-1)


def mean_of(looks: np.ndarray) -> np.ndarray:
    """Return the geometric mean over looks of [S, E], or of [S, E, M] at the whole step: [S]."""
    at_step = looks[..., MULTIPLES.index(1.0)] if looks.ndim == 3 else looks
    with np.errstate(divide="ignore"):  # what stood still once has mean 0
        return np.exp(np.log(at_step).mean(1))


def octaves(quantity: str, one: str, other: str) -> Statistic:
    """Return log2 of the mean of a quantity while training, of one net over another's."""

    def of_record(record: Record) -> np.ndarray:
        means = [mean_of(record.arrays[f"{net}/{quantity}"]) for net in (one, other)]
        return np.log2(means[0] / means[1])

    return of_record
