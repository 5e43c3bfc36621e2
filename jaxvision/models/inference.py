"""Which statistics a net with batch norm answers with, once it is trained: one choice of four.

============  ====================================  ==============================================
choice        mean and variance of a channel        known from
============  ====================================  ==============================================
batch         of the images asked about, biased     train mode left on; an image's answer depends
                                                    on its company
ema           the running averages as they are      eval mode of Flax and PyTorch; after k steps
                                                    momentum^k of the start, 0 and 1, is in them
ema_debiased  the same with the start taken out     Adam's correction of its moments
population    averages over training batches of     Ioffe & Szegedy 2015 (arXiv 1502.03167),
              the final weights' statistics         algorithm 2: variance m / (m - 1) E[var_B]
============  ====================================  ==============================================

``ema`` and ``population`` hold unbiased variances, as the paper and PyTorch have them; Flax's
running variance is biased, (m - 1) / m of ours. "Momentum .9" here and in Flax weighs the old
average; PyTorch calls it .1. Nothing here changes what training computes.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.models.layers import Apply
from jaxvision.models.normalization import BatchNorm, own_statistics
from jaxvision.types import Array, PyTree, UserError

Inference = Literal["batch", "ema", "ema_debiased", "population"]
INFERENCES: tuple[Inference, ...] = get_args(Inference)
_STARTS = {"mean": 0.0, "var": 1.0}  # what running statistics begin with


def answering(
    apply: Apply,
    variables: PyTree,
    inference: Inference,
    *,
    batches: Array | None = None,
    steps: int | Array | None = None,
    momentum: float = BatchNorm.momentum,
) -> Callable[[Array], Array]:
    """Return ``f(images [B, H, W, C]) -> logits [B, K]``: the net with the statistics chosen.

    Args:
      apply: see ``layers.apply_function``.
      variables: of the trained net, ``{'params', 'batch_stats'}``; they stay as they are.
      inference: the choice.
      batches: training images [N, B, H, W, C], as the net takes them; of ``population`` alone.
      steps: taken since the running statistics were at their start; of ``ema_debiased`` alone.
      momentum: of the net's layers; of ``ema_debiased`` alone.

    Raises:
      UserError: there is no such choice, or it lacks what it needs. The function that ``batch``
        returns refuses a batch that has one value a channel.
    """
    params, batch_stats = variables["params"], variables["batch_stats"]
    if inference == "batch":
        return lambda images: apply(params, batch_stats, images, train=True)[0]
    if inference == "ema_debiased":
        if steps is None:
            raise UserError("ema_debiased needs the number of steps behind the running statistics")
        batch_stats = debiased_statistics(batch_stats, steps, momentum)
    elif inference == "population":
        if batches is None:
            raise UserError("population needs batches of training images to take statistics of")
        batch_stats = population_statistics(apply, params, batch_stats, batches)
    elif inference != "ema":
        raise UserError(f"inference is one of {', '.join(INFERENCES)}, not {inference!r}")
    return lambda images: apply(params, batch_stats, images, train=False)[0]


def batch_statistics(apply: Apply, params: PyTree, batch_stats: PyTree, images: Array) -> PyTree:
    """Return each channel's mean and unbiased variance over one batch [B, H, W, C].

    A tree like ``batch_stats``, whose numbers do not matter.

    Raises:
      UserError: a channel has one value in the batch.
    """
    with own_statistics():
        return apply(params, batch_stats, images, train=True)[2]


def population_statistics(
    apply: Apply, params: PyTree, batch_stats: PyTree, batches: Array
) -> PyTree:
    """Return the statistics of algorithm 2 of Ioffe & Szegedy 2015: averages over batches.

    The mean is E[mean_B], the variance m / (m - 1) E[var_B], over N batches of equal size.

    Args:
      apply: see ``layers.apply_function``.
      params: the final weights.
      batch_stats: tells the tree; its numbers do not matter.
      batches: training images [N, B, H, W, C], as the net takes them.

    Raises:
      UserError: there is no batch, or a channel has one value in a batch.
    """
    if not len(batches):
        raise UserError("population statistics need at least one batch of training images")
    each = lax.map(lambda images: batch_statistics(apply, params, batch_stats, images), batches)
    return jax.tree.map(lambda leaf: leaf.mean(0), each)


def debiased_statistics(
    batch_stats: PyTree, steps: int | Array, momentum: float = BatchNorm.momentum
) -> PyTree:
    """Return running statistics without what they still hold of their start, momentum^steps.

    What is left is a weighted mean of the batches seen; of constant statistics it is exact. After
    no step there is none: NaN, or an error where ``steps`` is a plain number.

    Args:
      batch_stats: after ``steps`` steps from mean 0 and variance 1.
      steps: may be traced.
      momentum: weight of the old statistics at each step, below 1.

    Raises:
      UserError: ``steps`` is 0, or momentum is not from 0 to below 1.
    """
    if not 0 <= momentum < 1:
        raise UserError(f"momentum weighs the old statistics, 0 to below 1, and is not {momentum}")
    if isinstance(steps, int) and steps < 1:
        raise UserError("after no step the running statistics hold nothing but their start")
    # 1 - momentum^steps without cancellation, where momentum is almost 1.
    log = math.log(momentum) if momentum else -math.inf
    seen = -jnp.expm1(jnp.asarray(steps, jnp.float32) * log)

    def debiased(path: tuple, leaf: Array) -> Array:
        start = _STARTS.get(path[-1].key)
        if start is None:  # a whitening kernel lies among the statistics
            return leaf
        return (leaf - start * (1 - seen)) / seen

    return jax.tree_util.tree_map_with_path(debiased, batch_stats)
