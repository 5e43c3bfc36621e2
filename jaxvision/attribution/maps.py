"""Which pixels a score depends on: signals sent back from a class to the image.

Every method maps ``(f, images [B, H, W, C], classes [B])`` to maps, where ``f`` gives logits in
eval mode; ``signal`` does it for any score, such as one unit's. A map is signed, one number for
each channel, unless it says otherwise; ``strength`` and ``total`` make one number of a pixel's.
"""

import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.adversarial.aims import Logits
from jaxvision.arguments import is_whole, told
from jaxvision.attribution.rounds import in_rounds
from jaxvision.attribution.ruled import ruled
from jaxvision.relu import Rule
from jaxvision.types import Array, UserError

_PIXELS = 2**15  # of images that are explained at once
Score = Callable[[Array, Array], Array]  # logits [B, K], classes [B] -> numbers [B]


def logit(logits: Array, classes: Array) -> Array:
    """Return the unnormalized score: it rises with its own class alone."""
    return jnp.take_along_axis(logits, classes[:, None], axis=1)[:, 0]


def probability(logits: Array, classes: Array) -> Array:
    """Return the softmax: it rises where other classes fall, too."""
    return logit(jax.nn.softmax(logits), classes)


def log_probability(logits: Array, classes: Array) -> Array:
    """Return the logarithm of the softmax."""
    return logit(jax.nn.log_softmax(logits), classes)


def scored(score: Score, logits: Array, classes: Array) -> Array:
    """Return ``score(logits, classes)``, of logits as float32.

    Differences of scores of bfloat16 are lost in its rounding.

    Raises:
      UserError: it takes something else, computes with NumPy, or is not one number an image.
    """
    _check_takes(score, logits, classes)
    try:
        found = score(logits.astype(jnp.float32), classes)
    except jax.errors.TracerArrayConversionError as error:
        raise UserError(f"the score does not take logits: {told(error)}") from error
    if not isinstance(found, jax.Array | np.ndarray):
        raise UserError(
            f"the score gives a {type(found).__name__} and no array: give one number an image, such"
            " as jaxvision.attribution.maps.logit does"
        )
    if found.shape != classes.shape:
        raise UserError(
            f"the score of {len(classes)} images has the shape {list(found.shape)}: give one number"
            " an image, such as jaxvision.attribution.maps.logit does"
        )
    return found


def _check_takes(score: Score, logits: Array, classes: Array) -> None:
    """Refuse a score that is no function of logits and classes."""
    try:
        inspect.signature(score).bind(logits, classes)
    except ValueError:  # a few functions of Python's own do not say what they take
        return
    except TypeError as error:
        raise UserError(
            "the score is a function of logits [B, K] and classes [B], such as"
            f" jaxvision.attribution.maps.logit: {error}"
        ) from error


def signal(score: Callable[[Array], Array], images: Array, rule: Rule = "gradient") -> Array:
    """Return what comes back to the pixels [B, H, W, C] from a score of every image.

    Args:
      score: images -> numbers [B], each of its own image; ``gradient`` takes any function, the
        other rules one whose activations are ReLUs.
      images: [B, H, W, C], in the units that the net takes.
      rule: at the ReLUs, see ``jaxvision.relu``. Elsewhere the signal is the gradient's. Where
        values of a pool are tied, they share it.

    Raises:
      UserError: another rule than the gradient is asked of a net without ReLU, or with others.
    """
    function = score if rule == "gradient" else ruled(score, rule)
    return jax.grad(lambda images: function(images).sum())(images)


def gradient(f: Logits, images: Array, classes: Array, score: Score = logit) -> Array:
    """Return the gradient of each image's score [B, H, W, C]."""
    return _of_classes(f, images, classes, score, "gradient")


def deconvnet(f: Logits, images: Array, classes: Array, score: Score = logit) -> Array:
    """Return the deconvnet's projection [B, H, W, C] (Zeiler & Fergus 2013, section 2).

    The last operation is a filter, so there are negative pixels.
    """
    return _of_classes(f, images, classes, score, "deconvnet")


def guided(f: Logits, images: Array, classes: Array, score: Score = logit) -> Array:
    """Return guided backpropagation's map [B, H, W, C] (Springenberg et al. 2014, section 3.4)."""
    return _of_classes(f, images, classes, score, "guided")


def saliency(f: Logits, images: Array, classes: Array, score: Score = logit) -> Array:
    """Return the largest |gradient| over channels [B, H, W] (Simonyan et al. 2013, section 3.1)."""
    return strength(gradient(f, images, classes, score))


def input_gradient(
    f: Logits, images: Array, classes: Array, score: Score = logit, baseline: Array | float = 0.0
) -> Array:
    """Return gradient times (image - baseline) [B, H, W, C]: exact where the score is linear."""
    return gradient(f, images, classes, score) * (images - baseline)


def integrated_gradients(
    f: Logits,
    images: Array,
    classes: Array,
    score: Score = logit,
    baseline: Array | float = 0.0,
    steps: int = 32,
) -> Array:
    """Return integrated gradients [B, H, W, C]; they sum to the score's rise from the baseline.

    (image - baseline) times the mean gradient on the way between, at the middles of ``steps``
    pieces (Sundararajan et al. 2017, arXiv 1703.01365, equation 1). Of a linear score it is
    (image - baseline) * w; the half that Adebayo et al. 2018 print is a slip.

    Raises:
      UserError: the number of steps is not whole, or below 1.
    """
    if not is_whole(steps) or steps < 1:
        raise UserError(f"steps={steps!r}: a whole number, at least 1")
    away = images - baseline

    def add(total: Array, share: Array) -> tuple[Array, None]:
        return total + gradient(f, baseline + share * away, classes, score), None

    shares = (jnp.arange(steps, dtype=images.dtype) + 0.5) / steps
    total, _ = jax.lax.scan(add, jnp.zeros_like(images), shares)
    return away * total / steps


def strength(signals: Array) -> Array:
    """Return the largest absolute value over channels: [..., C] to [...], not negative.

    The largest of |.|, not |.| of the sum: colors that pull apart would cancel.
    """
    return jnp.abs(signals).max(-1)


def total(signals: Array) -> Array:
    """Return the signed sum over channels: [..., C] to [...]."""
    return signals.sum(-1)


def _of_classes(f: Logits, images: Array, classes: Array, score: Score, rule: Rule) -> Array:
    def some(images: Array, classes: Array) -> Array:
        def smooth(images: Array) -> Array:
            found = scored(score, f(images), classes)
            if not jnp.issubdtype(found.dtype, jnp.floating):
                raise UserError(f"the score gives {found.dtype}, of which there is no gradient")
            return found

        return signal(smooth, images, rule)

    at_once = max(1, _PIXELS // (images.shape[1] * images.shape[2]))
    return in_rounds(some, images, jnp.asarray(classes), at_once=at_once)
