"""What every snapshot of every run shows: one compiled sweep for all nets of a kind."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.breaking import _nets
from experiments.breaking._along_nets import Snapshots, training_batches
from jaxvision.adversarial import patterns, universal
from jaxvision.adversarial.aims import Logits, cross_entropy, margin, predictions
from jaxvision.adversarial.checks import noise
from jaxvision.adversarial.deepfool import deepfool, nearer
from jaxvision.adversarial.gradient import pgd
from jaxvision.adversarial.nets import over_snapshots
from jaxvision.adversarial.threat import LEVELS, norms
from jaxvision.models.inference import Inference, answering
from jaxvision.random import stream
from jaxvision.types import Array, PyTree


class Given(NamedTuple):
    """What every net is shown.

    Attributes:
      images: [B, H, W, C] in [0, 1], on which distances are measured.
      labels: int32 [B].
      learned: training images [M, H, W, C], from which a universal perturbation is made.
      learned_labels: int32 [M].
      batches: training images [N, B', H, W, C] as the net takes them, for statistics.
      seed: of noise and of the ascent's batches.
    """

    images: Array
    labels: Array
    learned: Array
    learned_labels: Array
    batches: Array
    seed: int


class Seen(NamedTuple):
    """One net on B images.

    Attributes:
      classes: int32 [B], its answers.
      right: bool [B].
      distance: [B], L2 norm of the smallest perturbation that DeepFool and bisection find; NaN
        where it is wrong, or none was found.
      first_order: [B], margin over the L2 norm of the margin's gradient.
      loss_slope: [B], L1 norm of the cross-entropy's gradient.
      margin_slope: [B], L1 norm of the margin's gradient.
      noise: [B], share of draws as long as ``distance`` that change the answer.
      least_margin: [], over the training images.
      alone: [], by how much the logits of two images change with their company, over their size.
    """

    classes: Array
    right: Array
    distance: Array
    first_order: Array
    loss_slope: Array
    margin_slope: Array
    noise: Array
    least_margin: Array
    alone: Array


def given(snapshots: Snapshots, config: Any, judged_on: str = "test") -> Given:
    """Return what the nets are shown; ``judged_on`` "train" measures on images they know."""
    data = snapshots.trained.data
    some = _nets.some_of(getattr(data, judged_on), config.test_images)
    learned = _nets.some_of(data.train, config.train_images)
    batches = training_batches(snapshots.trained, config.statistics_batches, config.batch_size)
    return Given(
        some.images,
        some.labels,
        learned.images,
        learned.labels,
        batches,
        config.first_seed,
    )


def as_function(snapshots: Snapshots, inference: Inference) -> Callable[[PyTree, Array], Logits]:
    """Return how weights and training batches become a function of images in [0, 1].

    Batch norm answers with ``inference``; a net without it has nothing to choose.
    """
    apply, preprocess = snapshots.trained.apply, snapshots.trained.preprocess

    def of(variables: PyTree, batches: Array) -> Logits:
        choice = inference if variables["batch_stats"] else "ema"
        known = batches if choice == "population" else None
        answer = answering(apply, variables, choice, batches=known)

        def logits(images: Array) -> Array:
            return answer(preprocess(LEVELS * images, None))

        return logits

    return of


def sweep(snapshots: Snapshots, shown: Given, config: Any, inference: Inference) -> Seen:
    """Attack all snapshots of all runs by one program; fields [S, T, ...].

    One net after the other on every device: side by side, 40 nets of 64 units take a third longer
    on a CPU, and 40 times the memory.
    """
    of = as_function(snapshots, inference)

    def one(variables: PyTree, shown: Given) -> Seen:
        return _seen(of(variables, shown.batches), shown, config)

    return over_snapshots(one, snapshots.variables, shown, "map")


def _seen(f: Logits, shown: Given, config: Any) -> Seen:
    images, labels = shown.images, shown.labels
    logits = f(images)
    right = predictions(logits) == labels
    crossed = deepfool(f, images, labels, steps=config.deepfool_steps)
    found = nearer(f, images, labels, crossed)
    known = right & found.success
    size = jnp.where(known, found.norms.l2, 0.0)
    margin_slopes = norms(_slope(f, margin, images, labels))
    key = stream(shown.seed, "noise")
    flips = noise(f, key, images, size, config.draws).flipped.mean(0)
    few = f(images[:2])
    alone = jnp.abs(few - logits[:2]).max() / jnp.abs(logits[:2]).max()
    return Seen(
        classes=predictions(logits),
        right=right,
        distance=jnp.where(known, size, jnp.nan),
        first_order=-margin(logits, labels) / margin_slopes.l2,
        loss_slope=norms(_slope(f, cross_entropy, images, labels)).l1,
        margin_slope=margin_slopes.l1,
        noise=flips,
        least_margin=-margin(f(shown.learned), shown.learned_labels).max(),
        alone=alone,
    )


def _slope(f: Logits, loss: Callable, images: Array, labels: Array) -> Array:
    """Return the gradient [B, H, W, C] of every image's loss."""

    def total(images: Array) -> Array:
        return loss(f(images), labels).sum()

    return jax.grad(total)(images)


class Fooling(NamedTuple):
    """Universal perturbations along training, fooling rates on held-out images.

    Attributes:
      crossed: [S, made at step s, met at step t]; its diagonal is each net's own.
      signs: [S, T], the best of random signs of the same size.
    """

    crossed: np.ndarray
    signs: np.ndarray


def universal_along(
    snapshots: Snapshots, shown: Given, config: Any, inference: Inference
) -> Fooling:
    """Make one perturbation for each snapshot, and hand it to all snapshots of its run."""
    of = as_function(snapshots, inference)
    climb = partial(
        universal.ascend,
        eps=config.universal_epsilon,
        steps=config.ascent_steps,
        batch_size=min(config.batch_size, config.train_images),
    )

    def make(variables: PyTree, shown: Given) -> Array:
        f = of(variables, shown.batches)
        return climb(f, shown.learned, key=stream(shown.seed, "attack")).perturbation

    def meet(pair: PyTree, shown: Given) -> Array:
        f = of(pair["net"], shown.batches)
        return universal.fooled(f, shown.images, pair["perturbations"]).rate

    made = over_snapshots(make, snapshots.variables, shown, "map")
    handed = _handed(made, config, shown.seed)
    pairs = {"net": snapshots.variables, "perturbations": handed}
    rates = over_snapshots(meet, pairs, shown, "map")
    steps = made.shape[1]
    crossed = rates[..., :steps].swapaxes(1, 2)
    return Fooling(crossed, rates[..., steps:].max(-1))


def _handed(made: np.ndarray, config: Any, seed: int) -> np.ndarray:
    """Return what each snapshot meets, [S, T, P, H, W, C]: its run's perturbations, and signs."""
    runs, steps, *shape = made.shape
    key = stream(seed, "noise", 1)
    signs = config.universal_epsilon * patterns.random_signs(key, config.draws, tuple(shape))
    signs = np.broadcast_to(signs, (runs, *signs.shape))
    of_run = np.concatenate([made, signs], axis=1)[:, None]
    return np.broadcast_to(of_run, (runs, steps, *of_run.shape[2:]))


def under_pgd(snapshots: Snapshots, shown: Given, config: Any, inference: Inference) -> np.ndarray:
    """Return whether the last snapshot stands PGD at every size, bool [S, E, B]."""
    of = as_function(snapshots, inference)
    sizes = jnp.asarray(config.epsilons, jnp.float32)

    def one(variables: PyTree, shown: Given) -> Array:
        f = of(variables, shown.batches)
        return ~pgd(f, shown.images, shown.labels, sizes, steps=config.pgd_steps).success

    return over_snapshots(one, snapshots.variables, shown, "map")[:, -1]


def log_normalized_margins(snapshots: Snapshots, seen: Seen, depth: int) -> np.ndarray:
    """Return log2 of the least training margin over norm(weights)^depth, [S, T].

    Lyu & Li 2020, equation 3, of a net homogeneous of degree ``depth`` (hidden biases make ours
    only nearly so); NaN where a training image is wrong.
    """
    leaves = jax.tree.leaves(snapshots.variables["params"])
    squares = [np.square(leaf).reshape(*leaf.shape[:2], -1).sum(-1) for leaf in leaves]
    length = np.sqrt(np.sum(squares, axis=0))
    margins = np.where(seen.least_margin > 0, seen.least_margin, np.nan)
    return np.log2(margins) - depth * np.log2(length)
