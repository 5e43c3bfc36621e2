"""What an attack wants of the logits, and how near it is.

``log_odds_against`` is the log of the odds against a class, o = log((1 - p) / p). It rises with the
cross-entropy, log(1 + e^o), so both have one direction of steepest ascent. But where float32's
cross-entropy is flat (its gradient is exactly 0 from a margin of 88 on) the odds are not: a net
cannot look robust by being sure.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.types import Array

Logits = Callable[[Array], Array]  # images [B, H, W, C] in [0, 1] -> logits [B, K]
Loss = Callable[[Array, Array], Array]  # logits [B, K], classes [B] -> [B], to be raised


class Aim(NamedTuple):
    """What counts as success.

    Attributes:
      labels: int32 [B], to get away from.
      targets: int32 [B], to be reached instead; None for any other class.
    """

    labels: Array
    targets: Array | None = None

    def score(self, logits: Array) -> Array:
        """Return by how much the logits [B, K] are where they should be; success is above 0.

        -inf where a logit overflows or is no number: that is no answer, and no success.
        """
        if self.targets is None:
            lead = margin(logits, self.labels)
        else:
            lead = -margin(logits, self.targets)
        return jnp.where(predictions(logits) >= 0, lead, -jnp.inf)

    def rise(self, loss: Loss, logits: Array) -> Array:
        """Return what an attack raises: the loss of the label, or minus that of the target."""
        if self.targets is None:
            return loss(logits, self.labels)
        return -loss(logits, self.targets)

    def reached(self, predictions: Array) -> Array:
        """Return whether predicted classes [B] are what was wanted; -1, no answer, never is."""
        if self.targets is None:
            return (predictions >= 0) & (predictions != self.labels)
        return predictions == self.targets


def log_odds_against(logits: Array, classes: Array) -> Array:
    """Return log((1 - p) / p) [B] of each image's class under the softmax of logits [B, K]."""
    own, others = _apart(logits, classes)
    return jax.nn.logsumexp(others, axis=1) - own


def margin(logits: Array, classes: Array) -> Array:
    """Return the best other logit minus the class's own [B]: above 0 where another class wins."""
    own, others = _apart(logits, classes)
    return others.max(1) - own


def cross_entropy(logits: Array, classes: Array) -> Array:
    """Return -log p [B]; as an attack's loss it is blind where the net is sure."""
    return jax.nn.softplus(log_odds_against(logits, classes))


def predictions(logits: Array) -> Array:
    """Return the class [B] of logits [B, K], and -1 where one is NaN or overflows.

    A class may be ruled out by a logit of -inf, but not all of them.
    """
    answered = jnp.isfinite(logits.max(1))  # the largest is NaN where any logit is
    return jnp.where(answered, jnp.argmax(logits, 1), -1).astype(jnp.int32)


def ensemble(members: Sequence[Logits]) -> Logits:
    """Return the net of several nets: the log of their mean probability, which is what they answer.

    The mean of logits is another net: members (4, 0) and (-1, 0) give class 0 a probability of
    .62548, their mean logits .81757.
    """

    def logits(images: Array) -> Array:
        each = jnp.stack([jax.nn.log_softmax(member(images)) for member in members])
        return jax.nn.logsumexp(each, axis=0) - jnp.log(jnp.float32(len(members)))

    return logits


def _apart(logits: Array, classes: Array) -> tuple[Array, Array]:
    """Return each image's own logit [B], and the others [B, K] with -inf in its place."""
    is_own = classes[:, None] == jnp.arange(logits.shape[1])[None]
    own = jnp.sum(jnp.where(is_own, logits, 0.0), axis=1)
    return own, jnp.where(is_own, -jnp.inf, logits)
