"""Watch any net: signal, delta and dW of every layer, inside the compiled step.

The net knows nothing of it. Its traced program is read (``dynamics.traced``), a tap is put on the
output of every layer, and one backward pass brings all of it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.arguments import check_numbers, told
from jaxvision.dynamics.traced import names as naming
from jaxvision.dynamics.traced.layers import trace
from jaxvision.dynamics.traced.names import Remark
from jaxvision.dynamics.traced.plan import Layer, Plan
from jaxvision.dynamics.traced.tapped import NORMS, Moments, Tap, run, zeros
from jaxvision.models.foreign import adapt
from jaxvision.training.losses import check_labels, cross_entropy
from jaxvision.types import Array, PyTree, UserError

Loss = Callable[[Array, PyTree], Array]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["signal_std", "delta_norm", "dw_norm", "loss", "output", "gradients"],
    meta_fields=["layers", "unseen", "notes"],
)
@dataclass(frozen=True, eq=False, repr=False)
class Watched:
    """What flowed through a net, a number for each of its L layers in the order of computation.

    Layers of one shape that run in a loop are ``NAME[0]``, ``NAME[1]``, ... A layer that a loop
    uses again and again, as over time, is one: its rounds count as a larger batch.

    Attributes:
      layers: names.
      signal_std: float32 [L], standard deviation of the pre-activation over batch and units.
      delta_norm: float32 [L], norm of the loss gradient at the pre-activation.
      dw_norm: float32 [L], norm of the loss gradient of the layer's weights; NaN where they are
        cut from a parameter and used again and again.
      loss: mean over the batch.
      output: of the net.
      gradients: of the loss, like the parameters.
      unseen: each parameter that no layer shows as weights or bias, with the reason.
      notes: what is unusual about layers, such as weights that are computed first.
    """

    layers: tuple[str, ...]
    signal_std: Array
    delta_norm: Array
    dw_norm: Array
    loss: Array
    output: Array
    gradients: PyTree
    unseen: tuple[Remark, ...]
    notes: tuple[Remark, ...]

    def __repr__(self) -> str:
        """Return a line: a session shows it, and all the gradients would fill the screen."""
        return f"Watched({len(self.layers)} layers; print shows their table)"

    def octaves_per_layer(self) -> float:
        """Return the slope of log2 delta from the output down: below 0 it vanishes.

        NaN where a delta is 0 or not finite, and of one layer alone.
        """
        delta = np.asarray(self.delta_norm, np.float64)
        if len(delta) < 2 or not (np.isfinite(delta) & (delta > 0)).all():
            return math.nan
        layers = np.arange(len(delta))
        return -float(np.polyfit(layers, np.log2(delta), 1)[0])

    def __str__(self) -> str:
        """Return a table of the layers, and below it what is not in it."""
        width = max(len("layer"), *(len(name) for name in self.layers))
        lines = [f"{'layer':{width}}  signal std  delta norm     dW norm"]
        columns = zip(self.layers, self.signal_std, self.delta_norm, self.dw_norm, strict=True)
        for name, signal, delta, dw in columns:
            lines.append(f"{name:{width}}  {signal:10.3g}  {delta:10.3g}  {dw:10.3g}")
        lines += [f"note: {name}: {reason}" for name, reason in self.notes]
        lines += [f"in no layer: {name}: {reason}" for name, reason in self.unseen]
        return "\n".join(lines)


def watch(
    net: Any,
    variables: PyTree = None,
    images: PyTree = None,
    labels: PyTree = None,
    *,
    loss: Loss = cross_entropy,
    train: bool = False,
    key: Array | None = None,
    per_example: bool = False,
    **given: Any,
) -> Watched:
    """Return signal, delta and dW of every layer of a net, of any maker.

    A layer is a product of the signal with weights: a matrix product, a convolution, a lookup.
    Inside a function that is compiled it is a part of it: ``watch(...).gradients`` are what a step
    needs, and the rest comes with the same backward pass. Called outside it compiles each time.

    Args:
      net: see ``models.foreign.adapt``, as for all arguments that are not named here.
      variables: likewise.
      images: the net's input [B, ...], handed to it as it is: uint8 pixels are not divided by 255,
        as ``attack`` and ``explain`` do it.
      labels: int [B]; or what ``loss`` takes.
      loss: ``(output, labels) -> numbers``, whose mean is differentiated.
      train: watch the net in train mode.
      key: for dropout in train mode.
      per_example: the net takes one example.
      **given: handed to the net by name.

    Raises:
      UserError: it is no net, there is no input, the net does not take it, it holds NaN, or the net
        has no layer.
    """
    if images is None:
        raise UserError("nothing to watch: call watch(net, variables, images, labels)")
    if labels is None and loss is cross_entropy:
        raise UserError("a loss needs labels: watch(net, variables, images, labels) or loss=...")
    check_numbers("images", images)
    check_numbers("labels", labels)
    options = {"train": train, "key": key, "per_example": per_example}
    apply, params = adapt(net, variables, **options, **given)
    check_real(params)
    program = jax.jit(partial(watched, apply, loss=loss))
    found = program(params, images, labels)
    if loss is cross_entropy:
        check_labels(labels, found.output.shape[:-1], found.output.shape[-1])
    return found


def watched(
    apply: Callable[[PyTree, PyTree], Array],
    params: PyTree,
    images: PyTree,
    labels: PyTree,
    loss: Loss,
) -> Watched:
    """Return what flows through ``apply(params, images)``; to be traced. Errors as ``watch``."""
    plan = plan_of(apply, params, images)
    if loss is cross_entropy:
        check_labels(labels, plan.output.shape[:-1], plan.output.shape[-1])
    taps = zeros(plan, NORMS)

    def objective(params: PyTree, taps: PyTree) -> tuple[Array, tuple]:
        output, read = run(plan, NORMS, params, images, taps)
        return jnp.mean(loss(output, labels)), (output, read)

    differentiated = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)
    (value, (output, read)), (gradients, deltas) = differentiated(params, taps)
    names = naming.layer_names(plan, params)
    return Watched(
        layers=entries(plan, names),
        **per_layer(plan, read, deltas, gradients),
        loss=value,
        output=output,
        gradients=gradients,
        unseen=naming.unseen(plan, params),
        notes=naming.notes(plan, params, names),
    )


def plan_of(apply: Callable, params: PyTree, images: PyTree) -> Plan:
    """Return the layers of a net.

    Raises:
      UserError: the net does not take the images, or has no layer.
    """
    if any(0 in jnp.shape(leaf) for leaf in jax.tree.leaves(images)):
        raise UserError("there are no images: the input is empty")
    try:
        plan = trace(apply, params, images)
    except UserError:
        raise
    except Exception as error:  # of the net's own, and each framework has its kinds
        leaves = jax.tree.leaves(images)
        shapes = ", ".join(str(jnp.shape(leaf)) for leaf in leaves[:3])
        if len(leaves) > 3:
            shapes += f" and {len(leaves) - 3} more (an array goes in, no list)"
        raise UserError(
            f"the net does not take an input of shape {shapes}: {told(error)}"
        ) from error
    if not plan.layers:
        raise UserError("the net has no layer: it multiplies its input by none of its parameters")
    return plan


def check_real(params: PyTree) -> None:
    """Raise UserError where a parameter has no gradient."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            kind = jnp.result_type(leaf)
            raise UserError(f"parameter {name} is {kind}, which has no gradient: close over it")


def per_layer(
    plan: Plan, read: Mapping[int, Moments], squared: Mapping[int, Tap], gradients: PyTree
) -> dict[str, Array]:
    """Return ``signal_std``, ``delta_norm`` and ``dw_norm``, [L] each.

    Args:
      plan: of the net.
      read: what ``NORMS`` read of each layer.
      squared: the gradients of its taps.
      gradients: of the parameters.
    """
    leaves = jax.tree.leaves(gradients)
    signal, delta, dw = [], [], []
    for index, layer in enumerate(plan.layers):
        again = tuple(i for i, own in enumerate(layer.is_stacked) if not own)
        mean, var = read[index]
        signal.append(jnp.ravel(var.mean(again) + mean.var(again)))
        delta.append(jnp.ravel(squared[index].output.sum(again)))
        dw.append(_squared_dw(layer, squared[index], leaves))
    return {
        "signal_std": jnp.sqrt(jnp.concatenate(signal)),
        "delta_norm": jnp.sqrt(jnp.concatenate(delta)),
        "dw_norm": jnp.sqrt(jnp.concatenate(dw)),
    }


def entries(plan: Plan, names: list[str]) -> tuple[str, ...]:
    """Return a name for each number of ``per_layer``."""
    found = []
    for name, layer in zip(names, plan.layers, strict=True):
        stacked = [layer.rounds[level] for level in layer.own_levels]
        for place in np.ndindex(*stacked):
            found.append("".join([name, *(f"[{i}]" for i in place)]))
    return tuple(found)


def _squared_dw(layer: Layer, squared: Tap, gradients: list[Array]) -> Array:
    """Return the squared norm of the gradient of each layer's weights, flat."""
    levels = layer.own_levels
    count = math.prod(layer.rounds[level] for level in levels)
    if squared.weights is not None:
        # Uses that follow one another in a loop add up before they are squared.
        is_one_use = all(layer.is_stacked)
        return jnp.ravel(squared.weights) if is_one_use else jnp.full(count, jnp.nan)
    total = jnp.zeros(count)
    for param, slices in layer.kernel.params.items():
        axes = [slices[level] for level in levels]
        squares = jnp.square(gradients[param].astype(jnp.float32))
        others = [axis for axis in range(squares.ndim) if axis not in axes]
        flat = squares.transpose(*axes, *others).reshape(count, -1)
        total += flat.sum(1)
    return total
