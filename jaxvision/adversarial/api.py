"""The public call: check what is given, attack, hand back NumPy arrays."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.adversarial.aims import Logits, predictions
from jaxvision.adversarial.calls import check_call
from jaxvision.adversarial.gradient import pgd
from jaxvision.adversarial.results import Result
from jaxvision.adversarial.rounds import in_rounds
from jaxvision.adversarial.threat import LEVELS, LINF, Ball
from jaxvision.arguments import MOST, check_taken, check_whole
from jaxvision.models.opened import opened
from jaxvision.random import stream
from jaxvision.types import Array, PyTree, UserError

_ROUNDING = 1e-4  # a pixel so far outside the box is no other unit
_LOOKED_AT = 64  # images on which a net is checked before it is attacked


def attack(
    net: Any,
    variables: PyTree,
    images: np.ndarray | Array,
    labels: np.ndarray | Array,
    eps: float | np.ndarray | None = None,
    *,
    method: Callable[..., Result] = pgd,
    seed: int | None = None,
    **options: Any,
) -> Result:
    """Attack any net that maps images in [0, 1] to logits.

    Args:
      net: a function ``images float32 [B, H, W, C] -> logits [B, K]``, normalization inside, in
        eval mode; or a net of any maker, see ``models.foreign.adapt``.
      variables: what ``adapt`` takes beside the net; None for a function of images alone.
      images: [B, H, W, C], float in [0, 1], or uint8.
      labels: integers [B], the true classes.
      eps: how far an image may move, in [0, 1] (write 8/255), or several sizes [E], all attacked at
        once; infinite for no bound. None for methods that look for the smallest distance.
      method: ``pgd``, ``fgsm``, ``basic_iterative``, ``least_likely``, ``deepfool``, ``min_norm``,
        or any function of the same kind.
      seed: of random starts, where the method takes a ``key``; None starts at the image, once.
      options: the method's own, such as ``ball``, ``steps``, ``targets``.

    Returns:
      See ``Result``, arrays on the host; of no images, empty. Robust accuracy is
      ``(result.predictions == labels).mean()``: images that are wrong from the start are wrong.

    Raises:
      UserError: images outside [0, 1] or of a size that the net does not take, labels out of range,
        an impossible eps, options that the method does not take, a net in train mode, one that
        gives probabilities, or one that classifies no image right.
    """
    check_call(method, eps, seed, options)
    images = as_images(images)
    labels = as_labels(labels, images)
    if "targets" in options and options["targets"] is not None:
        options["targets"] = as_targets(options["targets"], images, labels)
    ball = options.get("ball", LINF)
    check_box(ball, images)
    if eps is not None:
        eps = as_sizes(eps, ball, images)
    if seed is not None:
        check_whole("seed", seed, 0)
        options["key"] = stream(seed, "attack")
    known = opened(net, variables)
    f = known.function
    check_taken(f, images)
    if not len(images):
        return _empty(f, method, images, eps, options)
    check_net(f, images, labels, options.get("targets"))
    return in_rounds(known, method, images, labels, eps, options)


def as_images(images: np.ndarray | Array) -> np.ndarray:
    """Return images as float32 [B, ...] in [0, 1]; uint8 ones are divided by 255.

    Raises:
      UserError: they are not in the box, or no images.
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        images = images / np.float32(LEVELS)
    if images.ndim < 2 or not np.issubdtype(images.dtype, np.floating):
        raise UserError(
            f"images are float [B, H, W, C] in [0, 1] or uint8, not {images.dtype}"
            f" {list(images.shape)}"
        )
    if not np.isfinite(images).all():
        raise UserError("images have pixels that are no number (NaN or infinite)")
    if images.size and (images.min() < 0 or images.max() > 1):
        off_by_rounding = images.min() > -_ROUNDING and images.max() < 1 + _ROUNDING
        mend = "hand over uint8 or pixels / 255, and put normalization inside the net"
        raise UserError(
            f"images lie in [{images.min()}, {images.max()}], not in [0, 1]:"
            f" {'clip what rounding left' if off_by_rounding else mend}"
        )
    return images.astype(np.float32)


def as_labels(labels: np.ndarray | Array, images: np.ndarray, name: str = "labels") -> np.ndarray:
    """Return classes as int32 [B].

    Raises:
      UserError: they are not one whole number for each image.
    """
    labels = np.asarray(labels)
    if labels.size == 0:
        labels = labels.astype(np.int32)
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"{name} are one whole number for each of {len(images)} images, not {labels.dtype}"
            f" {list(labels.shape)}{_hint(labels, images)}"
        )
    if labels.size and labels.min() < 0:
        raise UserError(f"{name} count from 0, and one is {labels.min()}")
    if labels.size and labels.max() > MOST:  # as int32 it would be another class
        raise UserError(f"{name} reach {labels.max()}: they are classes, and count from 0")
    return labels.astype(np.int32)


def as_targets(targets: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the classes to be reached as int32 [B].

    Raises:
      UserError: as ``as_labels``, or they are the labels: every image would be there already.
    """
    targets = as_labels(targets, images, "targets")
    if len(targets) and (targets == labels).all():
        raise UserError("targets are the labels, which is no attack: give other classes, or none")
    return targets


def check_box(ball: Ball, images: np.ndarray) -> None:
    """Refuse a box in another unit than the images', and one that some of them lie outside of.

    Such an image would be moved by more than eps to begin with.

    Raises:
      UserError: naming the box.
    """
    if ball.box is None:
        return
    low, high = ball.box
    if not 0 <= low < high <= 1:
        raise UserError(f"the ball's box {ball.box} is no part of [0, 1], the unit of images")
    if images.size and (images.min() < low or images.max() > high):
        raise UserError(
            f"images lie in [{images.min()}, {images.max()}], not in the ball's box {ball.box}"
        )


def _hint(labels: np.ndarray, images: np.ndarray) -> str:
    """Return what is likely meant where images [B, ...] and labels are not as many."""
    if images.ndim == 3:
        return ": images are [B, H, W, C], one image is handed over as images[None]"
    if labels.ndim == 0:
        return f": one class for all is np.full({len(images)}, {labels})"
    return ""


def as_sizes(eps: float | np.ndarray, ball: Ball, images: np.ndarray) -> np.ndarray:
    """Return sizes as float32, [] or [E].

    Raises:
      UserError: one is negative, no number, beyond what the box allows, or infinite without one.
    """
    try:
        sizes = np.asarray(eps, np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"eps={eps!r} is no number: write 8/255 without quotes") from error
    if sizes.ndim > 1:
        raise UserError(f"eps is a number or a list of numbers, not {list(sizes.shape)}")
    if not sizes.size:
        raise UserError("eps holds no size: give a number, or a list of one at least")
    if np.isnan(sizes).any():
        raise UserError("eps is no number (NaN)")
    if (sizes < 0).any():
        raise UserError(f"eps={sizes.min():g} is negative: a size is at least 0")
    if ball.box is None and np.isinf(sizes).any():
        raise UserError("eps is infinite and the ball has no box: give one of the two a bound")
    most = ball.diameter(images.shape[1:])
    beyond = sizes[np.isfinite(sizes) & (sizes > most * (1 + 1e-6))]
    if beyond.size:
        mend = f"write {beyond[0]:g}/255" if ball.norm == "linf" else "use a smaller one"
        raise UserError(
            f"eps={beyond[0]:g} is more than any two images of [0, 1] differ ({most:g} in"
            f" {ball.norm}): {mend}, or infinity for no bound"
        )
    return sizes


def check_net(
    f: Logits, images: np.ndarray, labels: np.ndarray, targets: np.ndarray | None = None
) -> None:
    """Refuse nets that cannot be attacked as they are; looks at up to 64 images.

    Raises:
      UserError: see ``check_logits``, or the net classifies no image right.
    """
    check_logits(f, images, {"labels": labels, "targets": targets})
    if not _any_right(f, images, labels):
        raise UserError(
            f"the net classifies none of {len(images)} images right, so there is nothing to"
            " attack: look at labels and normalization"
        )


def check_logits(f: Logits, images: np.ndarray, classes: Mapping[str, np.ndarray | None]) -> None:
    """Refuse nets that do not give logits, in eval mode; looks at up to 64 images.

    Args:
      f: the net.
      images: float32 [B, H, W, C] in [0, 1].
      classes: by what the user calls them, int32 [B] or None.

    Raises:
      UserError: classes are beyond the net's, the net is in train mode, or gives probabilities.
    """
    some = jnp.asarray(images[:_LOOKED_AT])
    logits = f(some)
    if not isinstance(logits, np.ndarray | jax.Array):
        raise UserError(
            f"the net gives a {type(logits).__name__}, not one array of logits [B, K]: wrap it,"
            " as in lambda images: net(images)[0]"
        )
    logits = np.asarray(logits)
    if logits.ndim != 2 or len(logits) != len(some) or logits.shape[1] < 2:
        raise UserError(
            f"the net must give logits [B, K] of at least 2 classes, not {list(logits.shape)} for"
            f" {len(some)} images"
        )
    known = logits.shape[1]
    for name, values in classes.items():
        if values is not None and values.max() >= known:
            raise UserError(f"{name} reach {values.max()}, but the net has {known} classes, 0 up")
    if not np.array_equal(logits, np.asarray(f(some)), equal_nan=True):
        raise UserError(
            "the net answers differently when asked again: switch dropout and noise off (eval mode)"
        )
    alone = np.asarray(f(some[:1]))
    if len(some) > 1 and not np.allclose(alone, logits[:1], rtol=1e-2, atol=1e-3, equal_nan=True):
        raise UserError(
            "the net answers an image alone otherwise than in a batch: it is in train mode, use"
            " batch norm's running statistics (eval mode)"
        )
    if _are_probabilities(logits):
        raise UserError(
            "the net gives probabilities (every row is positive and sums to 1): hand over logits,"
            " without softmax"
        )


def _any_right(f: Logits, images: np.ndarray, labels: np.ndarray) -> bool:
    for first in range(0, len(images), 256):
        found = predictions(jnp.asarray(f(jnp.asarray(images[first : first + 256]))))
        if (np.asarray(found) == labels[first : first + 256]).any():
            return True
    return False


def _are_probabilities(logits: np.ndarray) -> bool:
    return bool((logits >= 0).all() and np.allclose(logits.sum(1), 1.0, atol=1e-4))


def _empty(
    f: Logits,
    method: Callable[..., Result],
    images: np.ndarray,
    eps: np.ndarray | None,
    options: dict[str, Any],
) -> Result:
    """Return the result of no images: the axis of the batch is the one that grows with it."""
    sizes = () if eps is None else (eps,)
    shapes = []
    for count in (1, 2):
        some = np.zeros((count, *images.shape[1:]), np.float32)
        classes = np.zeros(count, np.int32)
        given = dict(options)
        if given.get("targets") is not None:
            given["targets"] = classes
        called = partial(method, f, **given)
        shapes.append(jax.eval_shape(called, some, classes, *sizes))

    def empty(one: jax.ShapeDtypeStruct, two: jax.ShapeDtypeStruct) -> np.ndarray:
        pairs = zip(one.shape, two.shape, strict=True)
        shape = [0 if a != b else a for a, b in pairs]
        return np.zeros(shape, one.dtype)

    return jax.tree.map(empty, *shapes)
