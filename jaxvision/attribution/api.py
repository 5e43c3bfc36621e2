"""The public call: check what is given, compile once, explain, hand back NumPy arrays."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import runtime
from jaxvision.adversarial.aims import predictions
from jaxvision.adversarial.api import as_images, as_labels, check_logits
from jaxvision.adversarial.calls import check_method
from jaxvision.adversarial.threat import LEVELS
from jaxvision.arguments import check_taken
from jaxvision.attribution.maps import guided
from jaxvision.models.opened import made_once, opened
from jaxvision.types import Array, PyTree, UserError

_TRACED = ("baseline", "fill")  # options that may be arrays


class Explanation(NamedTuple):
    """Maps of B images.

    Attributes:
      maps: [B, H, W], or [B, H, W, C] of methods that give each channel its own: signed, never
        rescaled.
      classes: int32 [B], whose scores are explained.
      probability: [B], the net's own for them.
    """

    maps: np.ndarray
    classes: np.ndarray
    probability: np.ndarray


def explain(
    net: Any,
    variables: PyTree,
    images: np.ndarray | Array,
    classes: np.ndarray | Array | None = None,
    *,
    method: Callable[..., Array] = guided,
    **options: Any,
) -> Explanation:
    """Return which pixels the score of a class depends on, for any net.

    Args:
      net: a function ``images float32 [B, H, W, C] -> logits [B, K]``, normalization inside, in
        eval mode; or a net of any maker, see ``models.foreign.adapt``.
      variables: what ``adapt`` takes beside the net; None for a function of images alone.
      images: [B, H, W, C], float in [0, 1], or uint8.
      classes: integers [B]; None explains what the net answers.
      method: ``guided``, ``deconvnet``, ``gradient``, ``saliency``, ``input_gradient`` and
        ``integrated_gradients`` of ``attribution.maps``, ``occlusion`` of
        ``attribution.occluding``, or any function ``(f, images, classes) -> maps``.
      options: the method's own, such as ``score``, ``window``, ``fill``.

    Raises:
      UserError: images outside [0, 1] or of a size that the net does not take, classes out of
        range, options that the method does not take, a window larger than the image, a fill or a
        baseline that does not fit the images, a score that is no function or not one number an
        image, a net in train mode, one that gives probabilities, one whose answers are NaN, one
        without ReLUs, or with an activation that ``attribution.relus`` knows to be another, where
        the method is about them.
    """
    _check_call(method, options)
    images = as_images(images)
    if images.ndim != 4 or not len(images):
        raise UserError(f"images are [B, H, W, C], at least one, not {list(images.shape)}")
    known = opened(net, variables)
    f = known.function
    check_taken(f, images)
    if classes is not None:
        classes = as_labels(classes, images, "classes")
    check_logits(f, images, {"classes": classes})
    traced = {name: _fitted(name, options[name], images) for name in _TRACED if name in options}
    fixed = {name: value for name, value in options.items() if name not in traced}
    # Types too: 3.0 equals 3, and a method may take one of them alone.
    types = tuple(type(fixed[name]) for name in sorted(fixed))
    program = made_once(_program, known.call, method, tuple(sorted(fixed.items())), types)
    found = Explanation(*jax.device_get(program(known.arrays, images, classes, traced)))
    _check_answers(found.probability)
    return found


def _check_call(method: Callable[..., Array], options: dict[str, Any]) -> None:
    """Refuse a method that is none, and options that it does not take."""
    given = ("net", "images", "classes")
    check_method(method, given, options, "jaxvision.attribution.maps.saliency")
    if "score" in options and not callable(options["score"]):
        example = "jaxvision.attribution.maps.logit"
        raise UserError(f"score={options['score']!r} is no function: take one such as {example}")


def _fitted(name: str, value: Array | float, images: np.ndarray) -> Array:
    """Return an option that goes with the images, as an array in their unit."""
    try:
        array = np.asarray(value)
        if array.dtype == np.uint8:
            array = array / np.float32(LEVELS)
        fits = np.broadcast_shapes(array.shape, images.shape) == images.shape
        fits &= np.issubdtype(array.dtype, np.number)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        shape = " x ".join(str(side) for side in images.shape)
        raise UserError(f"{name} does not fit images of {shape}: use a number, or a color [C]")
    if not ((array >= 0) & (array <= 1)).all():
        raise UserError(f"{name} is not in [0, 1], as images are: write 128/255, or a uint8 array")
    return jnp.asarray(array, jnp.float32)


def _check_answers(probability: np.ndarray) -> None:
    """Refuse to explain what is no answer."""
    lacking = np.isnan(probability).sum()
    if lacking:
        raise UserError(
            f"the net's answer to {lacking} of {len(probability)} images is no number (NaN or"
            " infinite), so there is nothing to explain: look at its weights and normalization"
        )


def _program(
    call: Callable, method: Callable[..., Array], fixed: tuple, types: tuple
) -> Callable[..., tuple]:
    del types  # that tell equal options apart

    def explained(
        arrays: PyTree, images: Array, classes: Array | None, traced: dict[str, Array]
    ) -> tuple:
        f = partial(call, arrays)
        logits = f(images)
        classes = predictions(logits) if classes is None else classes
        odds = jax.nn.softmax(logits.astype(jnp.float32))
        own = jnp.take_along_axis(odds, classes[:, None], axis=1)[:, 0]
        return method(f, images, classes, **dict(fixed), **traced), classes, own

    return runtime.jit(explained)
