"""What a sweep leaves behind: arrays with named axes, and the trained nets."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxvision.dynamics.probes import LAYERWISE
from jaxvision.dynamics.traced.names import Remark
from jaxvision.models.foreign import Adapted
from jaxvision.report.named import NamedArray
from jaxvision.training.fit import History
from jaxvision.types import Array, PyTree, UserError

RUN_AXES = ("initializer", "learning_rate", "seed")


@dataclass(frozen=True, eq=False, repr=False)
class Swept:
    """What a sweep left behind.

    Attributes:
      arrays: ``loss``, ``error``, ``signal_std``, ``delta_norm``, ``dw_norm`` of every step, before
        its update, and ``test_loss``, ``test_error``; axes ``initializer``, ``learning_rate``,
        ``seed``, ``step`` and, of what is watched, ``layer``.
      layers: names.
      unseen: each parameter that no layer shows, with the reason.
      notes: what is unusual about layers.
      history: the same, run by run; see ``History``.
      places: the values on each axis of the runs.
      call: see ``models.foreign.Parts``.
    """

    arrays: Mapping[str, NamedArray]
    layers: tuple[str, ...]
    unseen: tuple[Remark, ...]
    notes: tuple[Remark, ...]
    history: History
    places: Mapping[str, list]
    call: Callable[..., tuple[Array, PyTree]]

    def __repr__(self) -> str:
        """Return where the runs lie and what was measured; the weights would fill the screen."""
        runs = " x ".join(f"{len(along)} {axis}" for axis, along in self.places.items())
        return f"Swept({runs}; {', '.join(self.arrays)})"

    def __getitem__(self, name: str) -> NamedArray:
        """Return one of the arrays."""
        return _of(self.arrays, name)

    def net(self, **chosen: Any) -> Adapted:
        """Return a trained net: ``net(initializer="He", learning_rate=0.1, seed=0)``.

        An axis with one place need not be named.

        Raises:
          UserError: there is no such run, or more than one.
        """
        sizes = _sizes(self.places)
        numbers = np.arange(math.prod(sizes)).reshape(sizes)
        runs = NamedArray(numbers, RUN_AXES, self.places)
        for axis, along in self.places.items():
            if len(along) == 1:
                chosen.setdefault(axis, along[0])
        left = runs.at(**chosen)
        if left.axes:
            raise UserError(f"which net? say its {' and '.join(left.axes)} too")
        number = int(left.values)
        variables = jax.tree.map(lambda leaf: leaf[number], self.history.variables)

        def apply(params: PyTree, images: Array) -> Array:
            return self.call(params, variables["batch_stats"], images)[0]

        return Adapted(apply, variables["params"])


@dataclass(frozen=True, eq=False, repr=False)
class Fitted:
    """What training one net left behind; see ``Swept``.

    Attributes:
      arrays: axes ``step`` and, of what is watched, ``layer``.
      net: the trained net, ``(apply, params)`` in eval mode.
      layers: names.
      unseen: each parameter that no layer shows, with the reason.
      notes: what is unusual about layers.
    """

    arrays: Mapping[str, NamedArray]
    net: Adapted
    layers: tuple[str, ...]
    unseen: tuple[Remark, ...]
    notes: tuple[Remark, ...]

    def __repr__(self) -> str:
        """Return what was measured; the weights would fill the screen."""
        return f"Fitted({', '.join(self.arrays)}; net)"

    def __getitem__(self, name: str) -> NamedArray:
        """Return one of the arrays."""
        return _of(self.arrays, name)


def arrays_of(
    history: History, places: Mapping[str, list], layers: tuple[str, ...]
) -> dict[str, NamedArray]:
    """Return a history's numbers by name, their axes named; ``places`` are those of the runs."""
    sizes = _sizes(places)

    def array(values: np.ndarray, along: dict[str, list]) -> NamedArray:
        shaped = values.reshape(*sizes, *values.shape[1:])
        return NamedArray(shaped, (*RUN_AXES, *along), {**places, **along})

    _, steps = history.train["loss"].shape
    every = {"step": list(range(steps))}
    some = {"step": history.test_steps.tolist()}
    found = {}
    for name in ("loss", "error"):
        found[name] = array(history.train[name], every)
        found[f"test_{name}"] = array(history.test[name], some)
    for name in LAYERWISE:
        found[name] = array(history.train[name], every | {"layer": list(layers)})
    return found


def _of(arrays: Mapping[str, NamedArray], name: str) -> NamedArray:
    if name not in arrays:
        raise UserError(f"there is no {name!r}: it is one of {', '.join(arrays)}")
    return arrays[name]


def _sizes(places: Mapping[str, list]) -> list[int]:
    return [len(places[axis]) for axis in RUN_AXES]
