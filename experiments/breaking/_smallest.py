"""The smallest perturbations of many nets: how long they are, and whom else they fool."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._nets import Images, Nets
from jaxvision.adversarial.aims import Logits, predictions
from jaxvision.adversarial.checks import equal_norm, moved_by, noise
from jaxvision.adversarial.min_norm import min_norm
from jaxvision.adversarial.nets import over_nets
from jaxvision.adversarial.results import Result
from jaxvision.adversarial.threat import like, steepest
from jaxvision.random import stream
from jaxvision.types import Array, PyTree

MULTIPLES = 2.0 ** np.arange(0, 8.5, 0.5)  # of the distance, at which noise is tried


class Given(NamedTuple):
    """What every net is attacked with: images [B, H, W, C], classes and wrong targets [B]."""

    images: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


class Found(NamedTuple):
    """What N nets showed, image by image.

    Attributes:
      right: bool [N, B], of the clean images.
      aimed: Szegedy's objective, each image towards its target, fields [N, B, ...].
      free: the slide's objective, away from the label, likewise.
      noisy: [N, B, H, W, C], moved at random as far as ``aimed``.
      noise_flips: [N, B], share of the draws of such noise that change the class.
    """

    right: np.ndarray
    aimed: Result
    free: Result
    noisy: np.ndarray
    noise_flips: np.ndarray

    def usable(self) -> np.ndarray:
        """Return which images count, bool [N, B]: right at first, and wrong at the end."""
        return self.right & self.aimed.success & self.free.success


def given(some: Images, num_classes: int, seed: int) -> Given:
    """Return the images, each with a wrong class at random as its target."""
    rng = np.random.default_rng(seed)
    away = rng.integers(1, num_classes, len(some.labels))
    targets = (some.labels + away) % num_classes
    return Given(some.images, some.labels, targets.astype(np.int32))


def attacked(
    nets: Nets, given: Given, config: Any, attack: Callable[..., Result] = min_norm
) -> Found:
    """Return what the smallest perturbations, and noise as long, do to N nets.

    Args:
      nets: of one kind.
      given: the same for all.
      config: whose ``bisections``, ``attack_steps``, ``draws`` and ``first_seed`` count.
      attack: with the arguments of ``min_norm``.
    """
    smallest = partial(attack, bisections=config.bisections, steps=config.attack_steps)
    seed = config.first_seed

    def one(variables: PyTree, given: Given) -> Found:
        f = nets.of(variables)
        images, labels, targets = given
        aimed = smallest(f, images, labels, targets=targets)
        free = smallest(f, images, labels, penalty="squared")
        size = aimed.norms.l2
        keys = [stream(seed, "noise", use) for use in (0, 1)]
        (noisy,) = equal_norm(keys[0], images, size, 1)
        flips = noise(f, keys[1], images, size, config.draws).flipped
        right = predictions(f(images)) == labels
        return Found(right, aimed, free, noisy, flips.mean(0))

    return over_nets(one, nets.variables, given)


def apart(
    nets: Nets,
    given: Given,
    found: Found,
    config: Any,
    attack: Callable[..., Result] = min_norm,
) -> np.ndarray:
    """Return how much farther Szegedy's objective ends without targets than the slide's, [N].

    In octaves, the mean over the images of ``found`` that count.
    """

    def one(variables: PyTree, given: Given) -> Result:
        f = nets.of(variables)
        sizes = {"bisections": config.bisections, "steps": config.attack_steps}
        return attack(f, given.images, given.labels, **sizes)

    by_norm = over_nets(one, nets.variables, given)
    counted = found.usable() & by_norm.success
    szegedy = np.where(counted, by_norm.norms.l2, 1.0)
    slide = np.where(counted, found.free.norms.l2, 1.0)
    return mean_over(np.log2(szegedy / slide), counted)


def answers(nets: Nets, images: np.ndarray) -> np.ndarray:
    """Return the classes [N, M] that each of N nets gives its own images [N, M, H, W, C]."""

    def one(variables: PyTree, images: Array) -> Array:
        return predictions(nets.of(variables)(images))

    return np.asarray(jax.jit(jax.vmap(one))(nets.variables, images))


def mean_over(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the mean of values [N, B] over the images that count, [N]; NaN where none does."""
    total = np.where(counted, values, 0.0).sum(1)
    count = counted.sum(1)
    return total / np.where(count > 0, count, np.nan)


def distortion(
    images: np.ndarray,
    moved: np.ndarray,
) -> np.ndarray:
    """Return the rms change of a pixel [N, B] from images [B, ...] to moved ones [N, B, ...]."""
    squares = np.square(moved - images[None])
    pixels = tuple(range(2, moved.ndim))
    return np.sqrt(squares.mean(pixels))


def distances(
    name: str,
    nets: Nets,
    given: Given,
    found: Found,
) -> dict:
    """Return what one kind of net shows, each [S]."""
    counted = found.usable()
    aimed = distortion(given.images, found.aimed.images)
    free = distortion(given.images, found.free.images)
    right = found.right
    return {
        f"{name}/test_error": np.float32(nets.test_error),
        f"{name}/right": right.sum(1),
        f"{name}/success": mean_over(found.aimed.success & found.free.success, right),
        f"{name}/distortion": mean_over(aimed, counted),
        f"{name}/slide": mean_over(free, counted),
        f"{name}/noise_flips": mean_over(found.noise_flips, counted),
    }


def transfer(
    nets: list[Nets],
    given: Given,
    found: list[Found],
) -> dict[str, np.ndarray]:
    """Return who errs on whose images: ``adversarial`` and ``noise``, [A made for, A judge, N].

    Net i of one kind is handed what was made for net i of another, and noise of equal length. The
    images that count are those that net i of every kind gets right, and that fooled their own.
    """
    counted = np.logical_and.reduce([each.usable() for each in found])
    n, b = counted.shape
    both = np.concatenate([each.aimed.images for each in found], axis=1)
    noisy = np.concatenate([each.noisy for each in found], axis=1)
    shown = {"adversarial": both, "noise": noisy}
    rates = {"counted": counted.sum(1)}
    for name, images in shown.items():
        columns = []
        for judge in nets:
            classes = answers(judge, images).reshape(
                n,
                len(found),
                b,
            )
            wrong = classes != given.labels
            column = [mean_over(wrong[:, made], counted) for made in range(len(found))]
            columns.append(column)
        rates[name] = np.float32(columns).swapaxes(0, 1)
    return rates


def handed_on(
    judges: dict[str, Nets], given: Given, found: Found, longer: float
) -> dict[str, np.ndarray]:
    """Return error rates [N] of other nets on what was found for one, also ``longer`` times as far.

    Keys: judge, judge + "/longer", judge + "/noise" (as long as the longer ones).
    """
    counted = found.usable()
    clean = np.broadcast_to(given.images, found.aimed.images.shape)
    for judge in judges.values():
        right = answers(judge, clean) == given.labels
        counted = counted & right
    far, noisy = _made_longer(given, found, longer)
    shown = {"": found.aimed.images, "/longer": far, "/noise": noisy}
    rates = {}
    for name, judge in judges.items():
        for kind, images in shown.items():
            wrong = answers(judge, images) != given.labels
            rate = mean_over(wrong, counted)
            rates[f"{name}{kind}"] = np.float32(rate)
    return rates


def _made_longer(
    given: Given,
    found: Found,
    longer: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return images moved ``longer`` times as far as ``found`` moved them, and noise as long."""
    size = jnp.asarray(longer * found.aimed.norms.l2)
    delta = found.aimed.images - given.images[None]
    towards = jax.vmap(partial(steepest, "l2"))(delta)
    far = jax.vmap(moved_by, (None, 0, 0))(
        given.images,
        towards,
        size,
    )
    key = stream(0, "noise", 2)

    def at_random(size: Array) -> Array:
        (moved,) = equal_norm(key, given.images, size, 1)
        return moved

    return np.asarray(far), np.asarray(jax.vmap(at_random)(size))


def noise_curve(
    nets: Nets,
    given: Given,
    found: Found,
    draws: int,
    seed: int,
) -> np.ndarray:
    """Return the share of images [N, M] that noise flips at ``MULTIPLES`` of their distance.

    The noise is Gaussian in direction and not cut off by the box, as the law of Fawzi et al. has
    it; the distance is that of the slide's objective.
    """
    key = stream(seed, "noise", 3)
    counted = found.usable()

    def one(own: tuple[PyTree, Array], given: Given) -> Array:
        variables, distance = own
        return _flips(
            nets.of(variables),
            key,
            given.images,
            distance,
            draws,
        )

    own = nets.variables, found.free.norms.l2
    flips = np.asarray(jax.jit(jax.vmap(one, (0, None)))(own, given))
    curve = [mean_over(flips[:, m], counted) for m in range(len(MULTIPLES))]
    return np.stack(curve, axis=1)


def _flips(
    f: Logits,
    key: Array,
    images: Array,
    distance: Array,
    draws: int,
) -> Array:
    """Return the share of draws that flip each image, [M, B]."""
    clean = predictions(f(images))

    keys = jax.random.split(key, (len(MULTIPLES), draws))
    multiples = jnp.asarray(MULTIPLES, jnp.float32)

    def over_draws(pair: tuple[Array, Array]) -> Array:
        multiple, keys = pair
        size = like(multiple * distance, images)

        def one(key: Array) -> Array:
            drawn = jax.random.normal(key, images.shape)
            moved = images + size * steepest("l2", drawn)
            return predictions(f(moved)) != clean

        return lax.map(one, keys).mean(0)

    return lax.map(over_draws, (multiples, keys))


def half_flipped(curve: np.ndarray) -> np.ndarray:
    """Return the multiple [N] at which curves [N, M] cross one half; NaN where they do not."""
    found = []
    for rates in curve:
        above = np.flatnonzero(rates >= 0.5)
        if not len(above) or above[0] == 0:
            found.append(np.nan)
            continue
        around = slice(above[0] - 1, above[0] + 1)
        crossing = np.interp(
            0.5,
            rates[around],
            np.log2(MULTIPLES[around]),
        )
        found.append(2**crossing)
    return np.array(found)


def one_class_for_all(
    nets: Nets, some: Images, target: int, config: Any, attack: Callable[..., Result] = min_norm
) -> np.ndarray:
    """Return pictures [3, M, H, W, C] of the first net: images, difference x 10, what it errs on.

    One image of each other class, all to be taken for ``target``. A difference of 0 is gray, .5.
    """
    others = [label for label in np.unique(some.labels) if label != target]
    first = [np.flatnonzero(some.labels == label)[0] for label in others]
    images, labels = some.images[first], some.labels[first]
    f = nets.of(jax.tree.map(lambda leaf: leaf[0], nets.variables))
    sizes = {"bisections": config.bisections, "steps": config.attack_steps}

    def towards(images: Array, labels: Array) -> Array:
        targets = jnp.full_like(labels, target)
        return attack(f, images, labels, targets=targets, **sizes).images

    moved = np.asarray(jax.jit(towards)(images, labels))
    difference = 0.5 + 10 * (moved - images)
    return np.stack([images, difference, moved])
