"""What the blocks of trained plain and residual nets do: branches, responses, lesions."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.dataset import Dataset
from jaxvision.models.layers import Apply, by_layer, is_stacked
from jaxvision.models.resnet import ResNet, stem_pool, subsample_and_pad
from jaxvision.training.fit import Trainer
from jaxvision.training.mapping import over_seeds
from jaxvision.training.step import Task, TrainState, evaluate
from jaxvision.types import Array, PyTree


def residual_branches(
    model: ResNet, activations: Mapping[str, Array]
) -> dict[str, tuple[Array, Array]]:
    """Return what a residual net's blocks add, and to what, by the name of their last layer.

    Args:
      model: the net that made them, residual.
      activations: of ``model``, none of its blocks left out.

    Returns:
      ``{'stage1_rest/conv2': (branch, shortcut), ...}``, shapes as in ``activations``. A branch is
      a difference of two activations, so it carries their rounding.
    """
    if model.shortcut == "none":
        raise ValueError("branches are read from a residual net whose blocks end in an addition")
    found = {}
    before = activations["stem"]
    if model.large_images:
        before = stem_pool(before)
    for name, y in activations.items():
        block, _, layer = name.partition("/")
        if layer != _last_layer(model):
            continue
        stacked = is_stacked(name, y)
        entering = jnp.concatenate([before[None], y[:-1]]) if stacked else before
        shortcut = activations.get(f"{block}/shortcut")
        if shortcut is None:
            shortcut = _bare_shortcut(jax.nn.relu(entering), y)
        found[name] = (y - shortcut, shortcut)
        before = y[-1] if stacked else y
    return found


def _bare_shortcut(carried: Array, y: Array) -> Array:
    """Return what a block without a projection adds its branch to, shaped as its output ``y``."""
    sides = zip(carried.shape[-3:-1], y.shape[-3:-1], strict=True)
    stride = max(-(-before // after) for before, after in sides)
    return subsample_and_pad(carried, stride, y.shape[-1])


def depth_order(activations: Mapping[str, Array]) -> list[int]:
    """Return where the convolutions of the main path lie, in depth order, among all layers.

    ``dynamics.probes`` strings layers together name by name, stacked ones whole, so that the first
    convolutions of a stage's blocks come before all second ones. Indexing that axis [L] with the
    list gives the net's own order, stem first; shortcuts and logits are left out.

    Args:
      activations: of a ``ResNet``, or their shapes.
    """
    names = [name.partition("/")[0] for name in activations]
    stages = list(dict.fromkeys(names))
    depths = {}  # of each place on the axis: stage, block within it, layer within that
    at = 0
    for name, x in activations.items():
        stage, _, layer = name.partition("/")
        length = x.shape[0] if is_stacked(name, x) else 1
        if layer.startswith("conv") or stage == "stem":
            for i in range(length):
                depths[at + i] = (stages.index(stage), i, layer)
        at += length
    return sorted(depths, key=depths.__getitem__)


def look_inside(
    model: ResNet, task: Task, variables: PyTree, seen: Dataset, judges: Dataset
) -> dict[str, np.ndarray]:
    """Return the ``responses`` and ``lesions`` of R trained nets, by one program.

    Args:
      model: plain or residual.
      task: its ``apply`` is ``model``'s.
      variables: leaves [R, ...].
      seen: images that the responses are measured on.
      judges: images that the lesions are judged by.
    """

    def measure(run: Array, shared: PyTree) -> dict[str, Array]:
        variables, seen, judges = shared
        net = jax.tree.map(lambda leaf: leaf[run], variables)
        images = task.preprocess(seen, None)
        return responses(model, task.apply, net, images) | lesions(model, task, net, *judges)

    count = len(jax.tree.leaves(variables)[0])
    found = over_seeds(measure, count, (variables, seen.images, (judges.images, judges.labels)))
    if model.shortcut == "none":
        found["lesion"] = np.where([True, *model.keeps_shape], found["lesion"], np.nan)
    return found


def responses(model: ResNet, apply: Apply, net: PyTree, images: Array) -> dict[str, Array]:
    """Measure how the layers of one net respond to images [B, H, W, C], preprocessed.

    Source: He et al. 2016, figure 7 and its text: a response is a layer's output "after BN and
    before other nonlinearity (ReLU/addition)", in a residual net that of the branch alone.

    Returns:
      ``response_std`` [L] by layer in depth order, over batch and units; ``sum_std`` [L] the same
      after the additions; ``branch_ratio`` [blocks]: std of what a block adds over that of what it
      adds to (residual nets only).
    """
    _, sums, _ = apply(net["params"], net["batch_stats"], images, train=False)
    order = jnp.array(depth_order(sums))
    found = {"sum_std": _stds(sums)[order]}
    if model.shortcut == "none":
        return found | {"response_std": found["sum_std"]}
    parts = residual_branches(model, sums)
    branches = dict(sums)
    ratios = []
    for name, (branch, shortcut) in parts.items():
        branches[name] = branch
        ratios.append(_stds({name: branch}) / _stds({name: shortcut}))
    return found | {
        "response_std": _stds(branches)[order],
        "branch_ratio": jnp.concatenate(ratios),
    }


def lesions(
    model: ResNet, task: Task, net: PyTree, images: Array, labels: Array, batch_size: int = 250
) -> dict[str, Array]:
    """Return ``lesion`` [1 + blocks]: one net's error, then with each block left out in turn.

    Of a plain net's blocks those that change the shape cannot be left out: ``look_inside`` makes
    their numbers NaN. Source: Veit, Wilber & Belongie 2016 (arXiv 1605.06431), section 4.1.

    Args:
      model: plain or residual.
      task: its ``apply`` is ``model``'s.
      net: its weights.
      images: uint8 [N, H, W, C].
      labels: [N].
      batch_size: images evaluated at a time.
    """
    blocks = len(model.keeps_shape)
    keeps = np.vstack([np.ones(blocks, bool), ~np.eye(blocks, dtype=bool)])
    state = TrainState(net["params"], net["batch_stats"], opt_state=(), step=jnp.int32(0))

    def error(keep: Array) -> Array:
        lesioned = replace(task, apply=partial(task.apply, keep=keep))
        return evaluate(lesioned, state, images, labels, batch_size)["error"]

    return {"lesion": jax.lax.map(error, jnp.asarray(keeps))}


def gradient_norms(
    trainer: Trainer, variables: PyTree, watched: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the norm of delta (dloss/dpre-activation), [R, steps, L] in depth order.

    Args:
      trainer: of a ``ResNet``.
      variables: leaves [R, ...].
      watched: what a look through ``trainer.watch_step(probes.per_layer)`` has seen.
    """
    one = jax.tree.map(lambda leaf: leaf[0], variables)
    preprocess = lambda x: trainer.task.preprocess(x, None)  # noqa: E731
    images = jax.eval_shape(preprocess, trainer.train.images[:1])
    apply = partial(trainer.task.apply, train=False)
    _, activations, _ = jax.eval_shape(apply, one["params"], one["batch_stats"], images)
    return watched["delta_norm"][..., depth_order(activations)]


def lesion_damage(errors: np.ndarray, chance: float) -> np.ndarray:
    """Return the share [R] of what a net has learned that leaving a block out costs, on average.

    What it has learned is how far its error lies below ``chance``, that of always answering the
    largest class; NaN for a net that does not. ``errors``: [R, 1 + blocks], see ``lesions``.
    """
    whole = errors[:, 0]
    learned = chance - whole
    costs = errors[:, 1:] - whole[:, None]
    cost = np.nanmean(costs, 1)
    nothing = np.full_like(cost, np.nan)
    return np.divide(cost, learned, out=nothing, where=learned > 0)


def _last_layer(model: ResNet) -> str:
    return "conv3" if model.bottleneck else "conv2"


def _stds(activations: Mapping[str, Array]) -> Array:
    """Return each layer's std over batch and units [L], stacked layers one after the other."""
    return jnp.concatenate([by_layer(name, x).std(1) for name, x in activations.items()])
