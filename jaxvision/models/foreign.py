"""One door for nets that know nothing of this library: Linen, NNX, Equinox-like, any function.

    apply, params = adapt(net, variables)
    logits = apply(params, images)

``apply`` is a pure function of arrays, in eval mode; ``params`` is a tree of arrays. All that looks
into a net, breaks or explains it takes these two, and a net of our own comes through the same door.
``parts`` is what stands behind the door: both modes, and what a net carries beside its parameters.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import errors, linen, nnx

from jaxvision.types import Array, PyTree, UserError

# What a module calls the switch between its modes -> its value in training.
_SWITCHES = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}


class Adapted(NamedTuple):
    """A net as everything here takes it.

    Attributes:
      apply: ``(params, images [B, ...]) -> output [B, ...]``, pure, in eval mode.
      params: what is trained, dictionaries of arrays for a Flax net.
    """

    apply: Callable[[PyTree, Array], Array]
    params: PyTree


class Parts(NamedTuple):
    """A net in its parts.

    Attributes:
      call: ``(params, state, images, train=False, key=None) -> (output, state)``, pure. ``key``
        draws dropout; in eval mode the state comes back as it was. Those of one Linen module, or
        of one function, are equal: what is compiled for a call serves other weights.
      params: what is trained.
      state: what training changes beside, such as the averages of batch norm.
    """

    call: Callable[..., tuple[Array, PyTree]]
    params: PyTree
    state: PyTree


def adapt(
    net: Any,
    variables: PyTree = None,
    *,
    train: bool = False,
    key: Array | None = None,
    per_example: bool = False,
    **given: Any,
) -> Adapted:
    """Return a net as a function of its parameters and images.

    The switch between training and evaluation is found by its name (``train``, ``training``,
    ``is_training``, ``deterministic``, ``use_running_average``). Of a net that returns several
    things the first is the output.

    Args:
      net: a Flax Linen module; a Flax NNX module, which is left as it is; a callable that is a tree
        of arrays, as Equinox has them; or any function ``(params, images) -> output``, which
        programs read once: what changes is among its parameters, not among what it closes over.
      variables: of a Linen module what ``init`` returned; of a function its parameters; of the
        others nothing, they hold their own.
      train: train mode instead: batch norm by the batch, dropout drawn from ``key``; the changed
        averages are dropped.
      key: for dropout in train mode.
      per_example: the net takes one example, without the batch axis, and is mapped over the batch.
      **given: handed to the net by name at every call.

    Raises:
      UserError: ``net`` is none of these, or ``variables`` are not what it takes.
    """
    call, params, state = parts(net, variables, per_example=per_example, **given)

    def apply(params: PyTree, images: Array) -> Array:
        return call(params, state, images, train=train, key=key)[0]

    return Adapted(apply, params)


def parts(net: Any, variables: PyTree = None, *, per_example: bool = False, **given: Any) -> Parts:
    """Return a net in its parts; arguments and errors are those of ``adapt``."""
    if isinstance(net, type):
        name = net.__name__
        raise UserError(f"{name} is a class: hand over one net of it, {name}(...)")
    call, params, state = _parts_of(net, variables, given)
    if per_example:
        call = _OverBatch(call)
    return Parts(_FirstOutput(call), params, state)


def drawn(
    net: Any,
    variables: PyTree,
    start: Callable[[Array], Any] | None,
    key: Array,
    images: Array,
    *,
    per_example: bool = False,
    **given: Any,
) -> Parts:
    """Return a net in its parts, its weights drawn from ``key`` where it is known how.

    Args:
      net: as in ``adapt``.
      variables: fixed ones; None lets a Linen module draw its own.
      start: key -> variables, or a net that holds its own.
      key: of the draw.
      images: an input, for a Linen module to know its shapes by.
      per_example: as in ``adapt``.
      **given: likewise.

    Raises:
      UserError: as ``adapt``.
    """
    if start is not None:
        found = start(key)
        net, variables = (found, None) if callable(found) else (net, found)
    elif variables is None and isinstance(net, linen.Module):
        options = _switches(type(net).__call__)(False) | given
        image = images[0] if per_example else images
        variables = jax.jit(partial(net.init, **options))(key, image)
    return parts(net, variables, per_example=per_example, **given)


def _parts_of(net: Any, variables: PyTree, given: Mapping[str, Any]) -> Parts:
    if isinstance(net, linen.Module):
        return _linen(net, variables, given)
    if not callable(net):
        kinds = "a Linen or NNX module, a callable tree of arrays, or a function"
        raise UserError(f"{type(net).__name__} is no net: it must be {kinds}")
    if isinstance(net, nnx.Module):
        _refuse_variables(net, variables)
        return _nnx(net, given)
    if _holds_arrays(net):
        _refuse_variables(net, variables)
        return _tree(net, given)
    if variables is None:
        raise UserError("a function comes with its parameters: give them after it, (apply, params)")
    return Parts(_FunctionCall(net, tuple(given.items())), variables, {})


def _refuse_variables(net: Any, variables: PyTree) -> None:
    if variables is not None:
        name = type(net).__name__
        raise UserError(f"{name} holds its own parameters: hand over the net alone")


def _linen(net: Any, variables: PyTree, given: Mapping[str, Any]) -> Parts:
    if not isinstance(variables, Mapping) or "params" not in variables:
        wanted = "{'params': ...}, as net.init(key, images) returns them"
        raise UserError(f"{type(net).__name__} is a Linen module: its variables are {wanted}")
    state = dict(variables)
    params = state.pop("params")
    # What modules have sown is an output of an earlier call, and grows when it is fed back.
    state.pop("intermediates", None)
    return Parts(_LinenCall(net, tuple(given.items())), params, state)


@dataclasses.dataclass(frozen=True)
class _LinenCall:
    """The call of a Linen module with what it is given by name, as (name, value) pairs."""

    net: linen.Module
    given: tuple[tuple[str, Any], ...]

    def __call__(self, params, state, images, train, key):
        whole = {"params": params, **state}
        given = dict(self.given)
        method = given.get("method", "__call__")
        if isinstance(method, str):
            method = getattr(type(self.net), method)
        options = _switches(method)(train) | given
        if key is not None:
            options["rngs"] = {"dropout": key}
        if not train:
            return self.net.apply(whole, images, **options), state
        try:
            out, changed = self.net.apply(whole, images, mutable=list(state), **options)
        except errors.InvalidRngError as error:
            raise UserError("the net draws at random in train mode: give key=KEY") from error
        return out, dict(changed)


def _nnx(net: Any, given: Mapping[str, Any]) -> Parts:
    kinds = (nnx.Param, nnx.RngState, ...)
    graph, params, draws, rest = nnx.split(net, *kinds)
    switches = _switches(type(net).__call__)

    def call(values, state, images, train, key):
        # A copy: which mode it is in, and what it counts, is the caller's business.
        copy = nnx.merge(
            graph,
            _filled(params, values),
            _drawing(draws, key),
            _filled(rest, state),
        )
        if train:
            copy.train()
        else:
            copy.eval()
        options = switches(train) | dict(given)
        out = copy(images, **options)
        *_, changed = nnx.split(copy, *kinds)
        return out, nnx.to_pure_dict(changed)

    return Parts(call, nnx.to_pure_dict(params), nnx.to_pure_dict(rest))


def _filled(template: Any, values: PyTree) -> Any:
    """Return an NNX state like ``template`` with other arrays."""
    state = jax.tree.map(lambda leaf: leaf, template)
    nnx.replace_by_pure_dict(state, values)
    return state


def _drawing(draws: Any, key: Array | None) -> Any:
    """Return the random state of an NNX net, started anew from ``key``: each stream its own."""
    if key is None:
        return draws
    leaves, structure = jax.tree.flatten(nnx.to_pure_dict(draws))
    for place, leaf in enumerate(leaves):
        if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            continue
        own = jax.random.fold_in(key, place)
        if leaf.ndim:
            own = jax.random.split(own, leaf.shape)
        leaves[place] = own
    return _filled(draws, jax.tree.unflatten(structure, leaves))


def _holds_arrays(net: Any) -> bool:
    return any(_is_trained(leaf) for leaf in jax.tree.leaves(net))


def _is_trained(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


def _tree(net: Any, given: Mapping[str, Any]) -> Parts:
    """Take a callable tree apart: its arrays of real numbers are what is trained."""
    leaves, structure = jax.tree.flatten(net)
    trained = [leaf if _is_trained(leaf) else None for leaf in leaves]

    def function(params: PyTree, images: Array) -> PyTree:
        filled = [
            leaf if own is None else own
            for own, leaf in zip(structure.flatten_up_to(params), leaves, strict=True)
        ]
        whole = jax.tree.unflatten(structure, filled)
        return whole(images, **given)

    return Parts(_FunctionCall(function), jax.tree.unflatten(structure, trained), {})


@dataclasses.dataclass(frozen=True)
class _FunctionCall:
    """The call of a function ``(params, images)``, which has neither state nor modes."""

    function: Callable[..., PyTree]
    given: tuple[tuple[str, Any], ...] = ()

    def __call__(self, params, state, images, train, key):
        del train, key
        return self.function(params, images, **dict(self.given)), state


def _switches(function: Callable) -> Callable[[bool], dict[str, bool]]:
    """Return ``train -> arguments`` that set the mode by the names which ``function`` has."""
    names = inspect.signature(function).parameters.keys() & _SWITCHES.keys()
    return lambda train: {name: _SWITCHES[name] == train for name in names}


@dataclasses.dataclass(frozen=True)
class _OverBatch:
    """The call of a net that takes one example, mapped over the batch."""

    call: Callable[..., tuple[Array, PyTree]]

    def __call__(self, params, state, images, train, key):
        keys = None if key is None else jax.random.split(key, len(images))

        def one(image, key):
            return self.call(params, state, image, train, key)[0]

        return jax.vmap(one)(images, keys), state


@dataclasses.dataclass(frozen=True)
class _FirstOutput:
    """A call that returns the first of several outputs, and only arrays."""

    call: Callable[..., tuple[Array, PyTree]]

    def __call__(self, params, state, images, train=False, key=None):
        out, state = self.call(params, state, images, train, key)
        first = out[0] if isinstance(out, tuple) else out
        if not isinstance(first, jax.Array):
            kind = type(out).__name__
            raise UserError(f"the net returns {kind}, no array: hand over a function that does")
        return first, state
