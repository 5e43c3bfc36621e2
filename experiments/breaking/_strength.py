"""How wrong a net is under attacks of each size, one after the other and the worst of all."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.adversarial.aims import Aim, Logits, log_odds_against, predictions
from jaxvision.adversarial.gradient import fgsm, pgd
from jaxvision.adversarial.threat import steepest
from jaxvision.random import stream
from jaxvision.types import Array


class Attacked(NamedTuple):
    """Images and how they are attacked; arrays but the counts.

    Attributes:
      images: [B, H, W, C] in [0, 1].
      labels: int32 [B].
      epsilons: [E].
      seed: of random starts and of noise.
    """

    images: Array
    labels: Array
    epsilons: Array
    seed: Array | int


class Strength(NamedTuple):
    """Shares of images that a net takes for another class, those that it gets wrong anyway too.

    An image is not counted where a logit is no number: that is no answer.

    Attributes:
      fgsm: [E], the fast gradient sign method.
      predicted: [E], the same against the net's own answer: it leaks no label.
      pgd: [E], projected gradient ascent from random points.
      noise: [E], every pixel up or down by epsilon, the mean over draws.
      worst: [E], images that any of these fools.
      confidence: [E], mean probability of the wrong answers under FGSM; NaN where there is none.
    """

    fgsm: Array
    predicted: Array
    pgd: Array
    noise: Array
    worst: Array
    confidence: Array


def strength(
    f: Logits,
    given: Attacked,
    steps: int,
    draws: int,
) -> Strength:
    """Attack a net at every size; ``steps`` of ascent, ``draws`` of noise."""
    images, labels, epsilons, seed = given
    starts, noises = jax.random.split(stream(seed, "attack"))
    fast = fgsm(f, images, labels, epsilons)
    blind = fgsm(f, images, predictions(f(images)), epsilons)
    slow = pgd(f, images, labels, epsilons, steps=steps, key=starts)
    unlucky = noise_hits(f, noises, given, draws)
    of_blind = Aim(labels[None]).reached(blind.predictions)
    any_of_all = fast.success | slow.success | of_blind | unlucky.any(0)
    return Strength(
        fgsm=fast.success.mean(1),
        predicted=of_blind.mean(1),
        pgd=slow.success.mean(1),
        noise=unlucky.mean((0, 2)),
        worst=any_of_all.mean(1),
        confidence=jax.vmap(partial(sureness, f))(fast.images, fast.success),
    )


def noise_hits(
    f: Logits,
    key: Array,
    given: Attacked,
    draws: int,
) -> Array:
    """Return whether random corners of each ball are misclassified, bool [draws, E, B]."""

    def one(key: Array) -> Array:
        signs = jax.random.rademacher(key, given.images.shape, jnp.float32)

        def at(epsilon: Array) -> Array:
            moved = jnp.clip(given.images + epsilon * signs, 0.0, 1.0)
            return Aim(given.labels).reached(predictions(f(moved)))

        return jax.vmap(at)(given.epsilons)

    return lax.map(one, jax.random.split(key, draws))


def sureness(f: Logits, images: Array, wrong: Array) -> Array:
    """Return the mean probability of the answers to the images that are ``wrong`` [B]."""
    probability = jax.nn.softmax(f(images)).max(1)
    return jnp.sum(jnp.where(wrong, probability, 0.0)) / wrong.sum().astype(jnp.float32)


def handed_over(source: Logits, target: Logits, given: Attacked) -> Array:
    """Return the share [E] that one net gets wrong of images made against another by FGSM."""
    made = fgsm(source, given.images, given.labels, given.epsilons).images

    def wrong(images: Array) -> Array:
        return Aim(given.labels).reached(predictions(target(images))).mean()

    return jax.vmap(wrong)(made)


def alignment(f: Logits, given: Attacked, epsilon: Array | float) -> Array:
    """Return the mean cosine between the loss's gradients at images and near them.

    Near: at a random point of the ball (Andriushchenko & Flammarion 2020, equation 6). A net that
    is linear there has 1.
    """
    images, labels = given.images, given.labels
    uphill = jax.grad(lambda x: log_odds_loss(f, x, labels))
    noise = jax.random.uniform(
        stream(given.seed, "noise"),
        images.shape,
        minval=-1.0,
    )
    here = steepest("l2", uphill(images))
    there = steepest("l2", uphill(jnp.clip(images + epsilon * noise, 0.0, 1.0)))
    axes = tuple(range(1, images.ndim))
    return jnp.sum(here * there, axis=axes).mean()


def log_odds_loss(f: Logits, images: Array, labels: Array) -> Array:
    """Return the sum of log odds against the labels: its gradient points where the loss's does."""
    return log_odds_against(f(images), labels).sum()


class Fall(NamedTuple):
    """Two classes of softmax regression under FGSM, beside what algebra says.

    Attributes:
      clean, clipped, free: shares of images that are wrong: as they are, attacked inside the box,
        attacked without one.
      gap: largest difference between the margin's fall in the box and the closed form, over the
        largest fall.
    """

    clean: Array
    clipped: Array
    free: Array
    gap: Array


def fall(
    f: Logits,
    images: Array,
    labels: Array,
    classes: tuple[int, int],
    epsilon: float,
) -> Fall:
    """Attack the choice between two classes; images of others count for nothing.

    The margin of a two-class linear net falls by sum_i |w_i| min(epsilon, room_i): the fast
    gradient is its exact maximizer, with the box too.
    """
    first, second = classes
    concerned = (labels == first) | (labels == second)
    sign = jnp.where(labels == first, 1.0, -1.0)

    def margin(images: Array) -> Array:
        logits = f(images)
        return sign * (logits[:, first] - logits[:, second])

    weights = jax.grad(lambda x: margin(x).sum())(images)
    moved = images - epsilon * jnp.sign(weights)
    clipped = jnp.clip(moved, 0.0, 1.0)
    room = jnp.where(weights > 0, images, 1 - images)
    axes = tuple(range(1, images.ndim))
    predicted = jnp.sum(jnp.abs(weights) * jnp.minimum(epsilon, room), axis=axes)
    off = jnp.abs(margin(images) - margin(clipped) - predicted)

    def wrong(images: Array) -> Array:
        hits = concerned & (margin(images) <= 0)
        return hits.sum() / concerned.sum()

    largest = jnp.where(concerned, predicted, 0.0).max()
    gap = jnp.where(concerned, off, 0.0).max() / largest
    return Fall(
        wrong(images),
        wrong(clipped),
        wrong(moved),
        gap,
    )
