"""Names of the layers that were found, and a reason for each parameter that none of them shows."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import jax

from jaxvision.dynamics.traced.layers import Layer, Plan
from jaxvision.types import PyTree

_WAYS = {
    "add": "it is added to the signal",
    "add_any": "it is added to the signal",
    "sub": "it is added to the signal, or subtracted",
    "mul": "it multiplies the signal element by element",
    "div": "it divides the signal element by element",
    "concatenate": "it is put beside the signal",
    "while": "it is used inside a while loop, which has no backward pass",
    "cond": "it is used inside a branch (cond), which is not entered",
}


class Remark(NamedTuple):
    """What is to be said about a layer or a parameter."""

    name: str
    reason: str


def layer_names(plan: Plan, params: PyTree) -> list[str]:
    """Return a name for each layer: its module's path, or its weights' where the module has more.

    The second layer of the same weights is ``NAME#2``.
    """
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    sizes = [jax.numpy.size(leaf) for leaf in jax.tree.leaves(params)]
    weights = [_main(layer, sizes) for layer in plan.layers]
    in_module = Counter(paths[weight][:-1] for weight in set(weights))
    names, used = [], Counter()
    for weight in weights:
        path = paths[weight]
        is_only = in_module[path[:-1]] == 1 and len(path) > 1
        name = _text(path[:-1] if is_only else path)
        used[name] += 1
        names.append(name if used[name] == 1 else f"{name}#{used[name]}")
    return names


def unseen(plan: Plan, params: PyTree) -> tuple[Remark, ...]:
    """Return the parameters that no layer shows as its weights or its bias, with the reason."""
    shown = set(plan.bias_params)
    for layer in plan.layers:
        shown |= layer.kernel.params.keys()
    remarks = []
    for index, name in enumerate(_param_names(params)):
        if index not in shown:
            remarks.append(Remark(name, _reason(plan.ways.get(index, set()))))
    return tuple(remarks)


def notes(plan: Plan, params: PyTree, names: Sequence[str]) -> tuple[Remark, ...]:
    """Return what is unusual about layers: weights that are computed first, a part, used twice."""
    params_by_index = _param_names(params)
    uses = Counter(param for layer in plan.layers for param in layer.kernel.params)
    remarks = []
    for name, layer in zip(names, plan.layers, strict=True):
        kernel = layer.kernel
        sources = ", ".join(params_by_index[param] for param in kernel.params)
        if kernel.view is None:
            remarks.append(Remark(name, f"its weights are computed first, from {sources}"))
        elif not kernel.view.is_whole:
            remarks.append(Remark(name, f"its weights are a part of {sources}"))
        elif uses[kernel.view.param] > 1:
            count = uses[kernel.view.param]
            remarks.append(Remark(name, f"{sources} is used {count} times; dW is of all uses"))
        if layer.primitive == "gather":
            remarks.append(Remark(name, "it looks rows of its weights up"))
    return tuple(remarks)


def _main(layer: Layer, sizes: Sequence[int]) -> int:
    """Return the parameter that a layer is named after: the largest, where it has several."""
    return max(layer.kernel.params, key=lambda param: sizes[param])


def _param_names(params: PyTree) -> list[str]:
    return [_text(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _text(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/") or "params"


def _reason(ways: set[str]) -> str:
    if not ways:
        return "the input never meets it"
    told = [_WAYS.get(way, f"it meets the signal in {way}, which is no product") for way in ways]
    return "; ".join(sorted(told))
