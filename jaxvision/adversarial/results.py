"""What an attack hands back, judged on the very images it returns."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jaxvision.adversarial.aims import Aim, Logits, predictions
from jaxvision.adversarial.threat import Norms, eight_bits, like, norms
from jaxvision.types import Array

Found = TypeVar("Found", bound=tuple)


class Result(NamedTuple):
    """B attacked images; with several epsilons every field has a leading axis [E].

    Attributes:
      images: [B, H, W, C], the best the attack has seen, not the last.
      success: bool [B]; images that were wrong from the start count as successes, and with targets
        those that start there: leave out images whose target is their label.
      success_8bit: bool [B], after ``threat.eight_bits``: what is left when the image is saved.
      predictions: int32 [B], the net's classes of ``images``; -1 where a logit is NaN or overflows.
      score: [B], see ``Aim.score``.
      norms: of ``images`` minus the clean ones, each [B].
      best_step: int32 [B], at which step ``images`` were found; 0 is the start.
      forwards: int32 [], forward passes that each image cost, those of this judgement too.
      backwards: int32 [], backward passes that each image cost.
    """

    images: Array
    success: Array
    success_8bit: Array
    predictions: Array
    score: Array
    norms: Norms
    best_step: Array
    forwards: Array
    backwards: Array


class Best(NamedTuple):
    """The best image seen so far, for every image of the batch."""

    images: Array
    score: Array
    step: Array


def nothing_yet(images: Array) -> Best:
    """Return a best that every score beats; NaN beats nothing."""
    count = len(images)
    return Best(images, jnp.full(count, -jnp.inf), jnp.zeros(count, jnp.int32))


def better(best: Best, images: Array, score: Array, step: Array | int) -> Best:
    """Return the better of the best and new images, image by image; the older one if equal."""
    wins = score > best.score
    return Best(
        jnp.where(like(wins, images), images, best.images),
        jnp.where(wins, score, best.score),
        jnp.where(wins, step, best.step).astype(jnp.int32),
    )


def judged(
    f: Logits,
    clean: Array,
    aim: Aim,
    images: Array,
    step: Array | int,
    forwards: Array | int,
    backwards: Array | int,
) -> Result:
    """Return the result of an attack that ends with ``images`` [B, H, W, C].

    Args:
      f: the net.
      clean: what the attack started from.
      aim: what counts as success.
      images: what it returns.
      step: [B] or a scalar, when they were found.
      forwards: passes of each image so far; two are added.
      backwards: likewise.
    """
    logits = f(images)
    found = predictions(logits)
    # A file holds nothing beyond black and white, where an attack without a box may have gone.
    file = jnp.clip(eight_bits(clean, images), 0.0, 1.0)
    saved = predictions(f(file))
    return Result(
        images=images,
        success=aim.reached(found),
        success_8bit=aim.reached(saved),
        predictions=found,
        score=aim.score(logits),
        norms=norms(images - clean),
        best_step=jnp.broadcast_to(jnp.asarray(step, jnp.int32), found.shape),
        forwards=jnp.asarray(forwards + 2, jnp.int32),
        backwards=jnp.asarray(backwards, jnp.int32),
    )


def over_epsilons(attack: Callable[[Array], Found], eps: Array | float) -> Found:
    """Return ``attack(eps)``; where ``eps`` is [E], all at once with E leading every field."""
    eps = jnp.asarray(eps, jnp.float32)
    return jax.vmap(attack)(eps) if eps.ndim else attack(eps)
