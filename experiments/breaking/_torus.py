"""Shifts around a torus, of which one knows when they change nothing."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._nets import Images, Nets
from jaxvision import data
from jaxvision.adversarial.nets import over_nets
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data.augment import per_pixel_mean
from jaxvision.nets import Spec
from jaxvision.types import Array, UserError

PERIOD = 4  # pixels, the total stride of the nets on a torus


def spec(dataset: str, depth: int, width: int, blur: int, steps: int) -> Spec:
    """Return a net on a torus; see ``models.shift_net``."""
    return Spec(
        dataset,
        "shift",
        {"depth": depth, "width": width, "blur": blur},
        learning_rate=0.004,
        steps=steps,
        optimizer="caffe_sgd",
        weight_decay=5e-4,
        batch_size=32,
    )


def check_size(dataset: str) -> None:
    """Ask for images that can be turned, and on which shifts have their law.

    Raises:
      UserError: they are not square, or the total stride does not divide their side.
    """
    height, width, _ = data.load(dataset).test.images.shape[1:]
    if height != width or height % PERIOD:
        raise UserError(
            f"transformations needs square images of a side that {PERIOD} divides, not "
            f"{height}x{width}: ask for another size, as in --dataset={dataset}@32px"
        )


class Shifted(NamedTuple):
    """What shifts around the torus do to N nets and B images.

    Attributes:
      right: bool [N, B], the net gets the image right as it is.
      agreement: [N, B], probability that two random shifts of an image get one answer.
      change: [N, 2 PERIOD + 1], relative change of the logits by pixels of shift downward.
    """

    right: np.ndarray
    agreement: np.ndarray
    change: np.ndarray


def on_torus(nets: Nets, some: Images, mean: np.ndarray) -> Shifted:
    """Shift images around; all answers to shifts are those of PERIOD x PERIOD of them.

    ``mean`` [H, W, C] is what nets take off their inputs. It stays where it is: what is left of an
    image moves, so that the law of the torus holds.
    """

    def one(variables: dict, shared: tuple[Array, Array, Array]) -> Shifted:
        images, labels, means = shared
        f = nets.of(variables)
        base = f(images)

        def shifted(down: Array, right: Array) -> Array:
            moved = jnp.roll(images - means, (down, right), (1, 2))
            return f(moved + means)

        def answers(place: Array) -> Array:
            logits = shifted(place // PERIOD, place % PERIOD)
            return jax.nn.one_hot(jnp.argmax(logits, 1), logits.shape[1])

        def change(down: Array) -> Array:
            moved = shifted(down, jnp.zeros_like(down))
            far = jnp.linalg.norm(moved - base, axis=1)
            return (far / jnp.linalg.norm(base, axis=1)).mean()

        shares = lax.map(answers, jnp.arange(PERIOD**2)).mean(0)
        return Shifted(
            right=jnp.argmax(base, 1) == labels,
            agreement=jnp.square(shares).sum(1),
            change=lax.map(change, jnp.arange(2 * PERIOD + 1)),
        )

    means = np.broadcast_to(mean, some.images.shape)
    return over_nets(one, nets.variables, (some.images, some.labels, means))


def mean_image(nets: Nets) -> np.ndarray:
    """Return what the nets take off images in [0, 1], [H, W, C]."""
    return per_pixel_mean(nets.data.train.images) / np.float32(LEVELS)


def consistency(found: Sequence[Shifted]) -> np.ndarray:
    """Return how often two shifts get one answer, [N, kinds].

    Over the images that the nets of all kinds get right, N nets a kind: one that gives a single
    answer to everything has few of them, and cannot look steady.
    """
    shared = np.all([each.right for each in found], axis=0)
    means = [_mean_where(each.agreement, shared) for each in found]
    return np.stack(means, 1)


def _mean_where(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the mean of values [N, B] where counted, [N]; not a number where nothing is."""
    total = np.where(counted, values, 0).sum(1)
    count = counted.sum(1)
    return np.where(count, total / np.maximum(count, 1), np.nan)
