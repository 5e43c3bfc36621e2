"""Nets of any maker as compiled programs take them: what is compiled serves other weights too."""

import dataclasses
import functools
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxvision.models.foreign import parts
from jaxvision.types import Array, PyTree

_Jitted = type(jax.jit(len))
_FUNCTIONS = (types.FunctionType, types.MethodType, partial, _Jitted)


class Opened(NamedTuple):
    """A net in eval mode, in two parts.

    Attributes:
      call: ``(arrays, images) -> output``; equal for nets that one program serves.
      arrays: its weights and averages.
    """

    call: Callable[[PyTree, Array], Array]
    arrays: PyTree

    @property
    def function(self) -> Callable[[Array], Array]:
        """The net as a function of images."""
        return partial(self.call, self.arrays)


@dataclasses.dataclass(frozen=True)
class _OfImages:
    """The call of a function of images alone."""

    function: Callable[[Array], Array]

    def __call__(self, arrays: PyTree, images: Array) -> Array:
        del arrays
        return self.function(images)


class _OfLive(_OfImages):
    """The call of a function whose weights may change from one use to the next.

    It equals no other: a program has the weights that the function held when it was traced.
    """

    __hash__ = None


@dataclasses.dataclass(frozen=True)
class _OfParts:
    """The call of a net of some maker: see ``foreign.Parts``."""

    call: Callable[..., tuple[Array, PyTree]]

    def __call__(self, arrays: PyTree, images: Array) -> Array:
        params, state = arrays
        return self.call(params, state, images)[0]


class _OfHolder(_OfParts):
    """The call of a net that holds its own arrays: it equals no other, and dies with its use."""

    __hash__ = None


def opened(net: Any, variables: PyTree) -> Opened:
    """Return a net in two parts.

    Args:
      net: as in ``foreign.adapt``, or a function of images alone.
      variables: what ``adapt`` takes beside the net; None for a function of images alone.

    Raises:
      UserError: as ``adapt``.
    """
    if variables is None and isinstance(net, _FUNCTIONS):
        # JAX itself keeps the weights of what is jitted.
        made = _OfImages if isinstance(net, _Jitted) else _OfLive
        return Opened(made(net), ())
    call, params, state = parts(net, variables)
    made = _OfHolder if variables is None else _OfParts
    return Opened(made(call), (params, state))


def made_once(make: Callable[..., Callable], *choices: Any) -> Callable:
    """Return ``make(*choices)``, that of earlier, equal choices where they can be compared.

    Calls of Linen modules, of jitted functions and of functions with parameters can; what holds
    arrays, or may hold others the next time, cannot: it is made anew and not kept.
    """
    try:
        hash(choices)
    except TypeError:
        return make(*choices)
    return _kept(make, *choices)


@functools.lru_cache(maxsize=64)
def _kept(make: Callable[..., Callable], *choices: Any) -> Callable:
    return make(*choices)
