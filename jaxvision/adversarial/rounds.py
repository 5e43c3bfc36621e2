"""Many images in rounds of a few: memory stays bounded, progress shows, and Ctrl-C is heard."""

import inspect
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxvision import runtime
from jaxvision.adversarial.deepfool import deepfool
from jaxvision.adversarial.evolution import differential_evolution
from jaxvision.adversarial.gradient import basic_iterative, fgsm, least_likely, pgd
from jaxvision.adversarial.min_norm import min_norm
from jaxvision.adversarial.pixels import corner_pixels
from jaxvision.adversarial.results import Result
from jaxvision.adversarial.threat import Rows
from jaxvision.attribution.rounds import rows_of_a_round
from jaxvision.models.opened import Opened, made_once
from jaxvision.progress import progress
from jaxvision.types import Array, PyTree

# What these find for an image does not depend on the others; of any other method nobody knows.
_SIDE_BY_SIDE = (fgsm, pgd, basic_iterative, least_likely, deepfool, min_norm)
_ONE_BY_ONE = (corner_pixels, differential_evolution)
_TRACED = ("key", "targets")  # options that are arrays
_VALUES = 2**20  # of the images that are attacked side by side: 341 of 32 x 32 x 3
_FEW = 16  # images a round where they are searched one after the other


def in_rounds(
    net: Opened,
    method: Callable[..., Result],
    images: np.ndarray,
    labels: np.ndarray,
    eps: np.ndarray | None,
    options: dict[str, Any],
) -> Result:
    """Attack in rounds where the method takes each image for itself, else all at once.

    One program, compiled once for each net, method and options. Other weights of a Linen module, or
    of a function that comes with its parameters, are attacked by the program that is there. Random
    numbers are those of one call for all images.

    Args:
      net: in two parts.
      method: of the attack.
      images: float32 [B, H, W, C], B at least 1.
      labels: int32 [B].
      eps: float32, [] or [E]; None: the method takes none.
      options: the method's own.

    Raises:
      KeyboardInterrupt: on Ctrl-C, with how many images were attacked.
    """
    count, sizes = len(images), () if eps is None else (eps,)
    traced = {name: options[name] for name in _TRACED if name in options}
    fixed = {name: value for name, value in options.items() if name not in traced}
    at_once = count if "rows" in options else _at_once(method, images.shape[1:], eps, options)
    rounds = list(_rounds(count, at_once))
    draws = "rows" in inspect.signature(method).parameters and traced.get("key") is not None
    of = count if draws and len(rounds) > 1 else None
    program = made_once(_program, net.call, method, tuple(sorted(fixed.items())), of)

    def attacked(rows: np.ndarray) -> Result:
        own = dict(traced)
        if own.get("targets") is not None:
            own["targets"] = own["targets"][rows]
        if own.get("key") is not None:  # every round draws for all images and takes its own
            own["key"] = jax.random.clone(own["key"])
        return jax.device_get(program(net.arrays, images[rows], labels[rows], sizes, own, rows))

    if len(rounds) == 1:
        return attacked(rounds[0])
    return _joined(_watched(attacked, rounds, count), 0 if eps is None else eps.ndim, count)


def _at_once(
    method: Callable[..., Result],
    shape: tuple[int, ...],
    eps: np.ndarray | None,
    options: dict[str, Any],
) -> int | float:
    """Return how many images a round may have."""
    if method in _ONE_BY_ONE:
        return _FEW
    if method not in _SIDE_BY_SIDE:
        return math.inf
    copies = (1 if eps is None else eps.size) * options.get("restarts", 1)
    return max(1, _VALUES // (math.prod(shape) * copies))


def _rounds(count: int, at_once: int | float) -> Iterator[np.ndarray]:
    """Yield each round's rows, as many in all; the last round is filled up from the first row."""
    size = rows_of_a_round(count, min(count, at_once))
    for first in range(0, count, size):
        yield np.arange(first, first + size, dtype=np.int32) % count


def _program(
    call: Callable, method: Callable[..., Result], fixed: tuple, of: int | None
) -> Callable[..., Result]:
    def attacked(
        arrays: PyTree,
        images: Array,
        labels: Array,
        eps: tuple,
        traced: dict[str, Any],
        rows: Array,
    ) -> Result:
        drawn = {} if of is None else {"rows": Rows(rows, of)}
        return method(partial(call, arrays), images, labels, *eps, **dict(fixed), **traced, **drawn)

    return runtime.jit(attacked)


def _watched(
    attacked: Callable[[np.ndarray], Result], rounds: list[np.ndarray], count: int
) -> list[Result]:
    """Return what each round finds, and tell the user how far they have come."""
    found, done = [], 0
    try:
        with progress(count, "attacking images") as bar:
            for rows in rounds:
                found.append(attacked(rows))
                new = min(len(rows), count - done)
                bar.advance(new)
                done += new
    except KeyboardInterrupt:
        line = f"{done} of {count} images were attacked, and their results are not kept"
        raise KeyboardInterrupt(line) from None
    return found


def _joined(found: list[Result], axis: int, count: int) -> Result:
    """Return one result of all images; what has no axis of images is the same in every round."""

    def joined(*leaves: np.ndarray) -> np.ndarray:
        if leaves[0].ndim <= axis:
            return leaves[0]
        whole = np.concatenate(leaves, axis)
        return np.take(whole, np.arange(count), axis)

    return jax.tree.map(joined, *found)
