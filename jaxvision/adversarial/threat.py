"""How far an image may move: norm balls around it, cut off by the box of legal pixels.

Images are [B, H, W, C] (or [B, D]: every coordinate is then a pixel) in the unit of the box, which
is [0, 1]: write 8/255, not 8. A size ``eps`` is a scalar or [B], and may be traced.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.types import Array, UserError

Norm = Literal["l0", "l1", "l2", "linf"]
Box = tuple[float, float]
LEVELS = 255  # of a pixel saved as 8 bits, above black


class Norms(NamedTuple):
    """The size of a perturbation in every norm, each [B].

    Attributes:
      l0: pixels that change, whatever number of their channels does.
      l1: sum of absolute values.
      l2: Euclidean.
      linf: largest absolute value.
    """

    l0: Array
    l1: Array
    l2: Array
    linf: Array


class Audit(NamedTuple):
    """What is wrong with an image that an attack returned, each [B].

    Attributes:
      in_box: whether every pixel is legal.
      in_ball: whether the norm is at most eps, but for float32 rounding.
      finite: whether every pixel is a number.
      excess: norm minus eps.
    """

    in_box: Array
    in_ball: Array
    finite: Array
    excess: Array

    @property
    def passed(self) -> Array:
        """Whether nothing is wrong, [B]."""
        return self.in_box & self.in_ball & self.finite


class Rows(NamedTuple):
    """Which images of a larger batch these are: each gets the random numbers that it has there.

    Attributes:
      numbers: int32 [B].
      count: images of the larger batch.
    """

    numbers: Array
    count: int


@dataclass(frozen=True)
class Ball:
    """All images at most eps away from one, inside the box.

    Attributes:
      norm: that measures the distance; "l0" counts pixels.
      box: smallest and largest legal pixel; None has none.

    Raises:
      UserError: there is no such norm.
    """

    norm: Norm = "linf"
    box: Box | None = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.norm not in Norms._fields:
            raise UserError(f"there is no norm {self.norm!r}: use {', '.join(Norms._fields)}")

    def size(self, delta: Array) -> Array:
        """Return the norm [B] of perturbations [B, ...]."""
        return norms(delta)._asdict()[self.norm]

    def diameter(self, shape: tuple[int, ...]) -> float:
        """Return the largest norm between two images [H, W, C] of the box."""
        if self.box is None:
            return math.inf
        low, high = self.box
        width = high - low
        count = math.prod(shape)
        pixels = math.prod(shape[:-1]) if len(shape) == 3 else count
        sizes = {
            "l0": pixels,
            "l1": count * width,
            "l2": math.sqrt(count) * width,
            "linf": width,
        }
        return float(sizes[self.norm])

    def clip(self, moved: Array) -> Array:
        """Return images with every pixel inside the box."""
        return moved if self.box is None else jnp.clip(moved, *self.box)

    def project(self, images: Array, moved: Array, eps: Array | float) -> Array:
        """Return the images [B, ...] of the ball that lie near ``moved``.

        The ball first, then the box: as ``images`` lie in the box, clipping can only shorten. At
        eps = 0 they come back to the bit. Sources: L1 Duchi et al. 2008, figure 1.
        """
        delta = moved - images
        eps = jnp.broadcast_to(jnp.asarray(eps, delta.dtype), delta.shape[:1])
        return self.clip(images + _PROJECTIONS[self.norm](delta, eps))

    def random_start(
        self, key: Array, images: Array, eps: Array | float, rows: Rows | None = None
    ) -> Array:
        """Return a point for each image, uniform in the ball (before the box cuts it).

        In "l0" it is not uniform: a random image of the box, of which the ``eps`` pixels that
        differ most are kept.
        """
        shape = (len(images) if rows is None else rows.count, *images.shape[1:])
        most = self.diameter(images.shape[1:])
        eps = jnp.minimum(eps, most).astype(images.dtype)
        eps = jnp.broadcast_to(eps, images.shape[:1])
        if self.norm == "l0":
            low, high = self.box or (0.0, 1.0)
            anywhere = jax.random.uniform(
                key,
                shape,
                images.dtype,
                low,
                high,
            )
            return self.project(images, _of(rows, anywhere), eps)
        delta = _DRAWS[self.norm](key, shape, eps, rows)
        # JAX draws in double precision where that is on.
        return self.clip(images + delta.astype(images.dtype))

    def audit(
        self,
        images: Array,
        moved: Array,
        eps: Array | float,
    ) -> Audit:
        """Check returned images against the ball and the box.

        float32 rounds x + eps - x: 6e-8 above 8/255 at 40 of 256 gray levels. A coordinate may be
        1.2e-7 off, the spacing of float32 below 2.
        """
        excess = self.size(moved - images) - eps
        shape = images.shape[1:]
        count = math.prod(shape)
        off = {
            "l0": 0.0,
            "l1": count,
            "l2": math.sqrt(count),
            "linf": 1.0,
        }
        rounding = 2.0**-23 * off[self.norm]
        # Sums of many terms round in proportion too.
        rounding = rounding + 1e-6 * jnp.minimum(eps, self.diameter(shape))
        flat = _flat(moved)
        in_box = jnp.ones(len(images), bool)
        if self.box is not None:
            low, high = self.box
            legal = (flat >= low) & (flat <= high)
            in_box = legal.all(1)
        finite = jnp.isfinite(flat).all(1)
        return Audit(in_box, excess <= rounding, finite, excess)


LINF, L2 = Ball("linf"), Ball("l2")


def norms(delta: Array) -> Norms:
    """Return the norms of perturbations [B, ...]."""
    flat = jnp.abs(_flat(delta))
    changed = _pixels(delta) > 0
    # Divided by the largest entry first: squares of small numbers are 0 in float32.
    largest = flat.max(1, initial=0.0)
    scale = jnp.where(largest > 0, largest, 1.0)
    unit = flat / scale[:, None]
    squares = jnp.square(unit).sum(1)
    return Norms(
        l0=changed.sum(1).astype(jnp.float32),
        l1=flat.sum(1),
        l2=scale * jnp.sqrt(squares),
        linf=largest,
    )


def steepest(norm: Norm, gradient: Array) -> Array:
    """Return the step of norm 1 along which a linear function of this gradient rises most.

    A gradient [B, ...] of 0 gives a step of 0, and leaves the other images of the batch alone.

    Raises:
      UserError: the norm is none of "l1", "l2", "linf".
    """
    if norm == "linf":
        return jnp.sign(gradient)
    flat = _flat(gradient)
    if norm == "l2":
        length = norms(gradient).l2[:, None]
        # A gradient of 0 stays 0.
        unit = flat / jnp.where(length > 0, length, 1.0)
        return unit.reshape(gradient.shape)
    if norm == "l1":
        largest = jnp.argmax(jnp.abs(flat), 1, keepdims=True)
        is_largest = largest == jnp.arange(flat.shape[1])[None]
        step = jnp.where(is_largest, jnp.sign(flat), 0.0)
        return step.reshape(gradient.shape)
    raise UserError(f"no steepest step in {norm!r}: use l1, l2, linf")


def eight_bits(images: Array, moved: Array) -> Array:
    """Return ``moved`` as a file of 8 bits holds it: whole levels, rounded towards ``images``.

    So the ball is kept: .031 is 7.905 levels and becomes 7. Images [B, ...] in [0, 1].
    """
    levels = jnp.round(LEVELS * images)
    change = LEVELS * moved - levels
    whole = jnp.trunc(change + 1e-3 * jnp.sign(change))  # 7.9999 levels are 8
    return (levels + whole) / LEVELS


def like(values: Array, images: Array) -> Array:
    """Return values [B] with axes of size 1, so that they broadcast against images [B, ...]."""
    return values.reshape(values.shape + (1,) * (images.ndim - 1))


def _flat(x: Array) -> Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def _pixels(delta: Array) -> Array:
    """Return the largest change of each pixel [B, P], over its channels."""
    size = jnp.abs(delta)
    return _flat(size.max(-1) if delta.ndim == 4 else size)


def _project_l0(delta: Array, eps: Array) -> Array:
    """Keep the ``eps`` pixels that change most."""
    pixels = _pixels(delta)
    order = jnp.argsort(-pixels, axis=1)
    rank = 1 + jnp.argsort(order, axis=1)
    keep = rank.astype(jnp.float32) <= eps[:, None]
    shape = delta.shape
    if delta.ndim == 4:  # a pixel's channels share its fate
        shape = (*shape[:-1], 1)
    return jnp.where(keep.reshape(shape), delta, 0.0)


def _project_l1(delta: Array, eps: Array) -> Array:
    """Take one threshold off every entry, so that the sum is ``eps``."""
    size = jnp.abs(_flat(delta))
    bound = eps[:, None]
    falling = -jnp.sort(-size, axis=1)
    over = jnp.cumsum(falling, 1) - bound
    entries = 1 + jnp.arange(size.shape[1], dtype=size.dtype)
    stays = falling * entries[None] > over
    kept = jnp.maximum(stays.sum(1, keepdims=True), 1)
    threshold = jnp.take_along_axis(over, kept - 1, 1)
    threshold = threshold / kept.astype(size.dtype)
    shrunk = jnp.maximum(size - threshold, 0.0)
    shrunk = jnp.where(bound > 0, shrunk, 0.0)
    inside = size.sum(1, keepdims=True) <= bound
    moved = jnp.where(inside, size, shrunk)
    return jnp.sign(delta) * moved.reshape(delta.shape)


def _project_l2(delta: Array, eps: Array) -> Array:
    length = norms(delta).l2
    shrink = eps / jnp.where(length > 0, length, 1.0)
    shrink = jnp.where(length > eps, shrink, 1.0)
    return delta * like(shrink, delta)


def _project_linf(delta: Array, eps: Array) -> Array:
    bound = like(eps, delta)
    return jnp.clip(delta, -bound, bound)


_PROJECTIONS = {"l0": _project_l0, "l1": _project_l1, "l2": _project_l2, "linf": _project_linf}


def _of(rows: Rows | None, drawn: Array) -> Array:
    """Return what is drawn for these images; None: for all."""
    return drawn if rows is None else drawn[rows.numbers]


def _draw_l1(
    key: Array,
    shape: tuple[int, ...],
    eps: Array,
    rows: Rows | None,
) -> Array:
    """Draw from the L1 ball: one share of each of d + 1 exponentials is left over."""
    sizes, signs = jax.random.split(key)
    images, *rest = shape
    count = math.prod(rest)
    drawn = _of(rows, jax.random.exponential(sizes, (images, count + 1)))
    shares = drawn / drawn.sum(1, keepdims=True)
    size = shares[:, :count].reshape(-1, *rest)
    sign = _of(rows, jax.random.rademacher(signs, shape, jnp.float32))
    return like(eps, size) * size * sign


def _draw_l2(
    key: Array,
    shape: tuple[int, ...],
    eps: Array,
    rows: Rows | None,
) -> Array:
    direction, radius = jax.random.split(key)
    images, *rest = shape
    drawn = _of(rows, jax.random.normal(direction, shape))
    unit = steepest("l2", drawn)
    share = _of(rows, jax.random.uniform(radius, (images,)))
    reach = share ** (1 / max(1, math.prod(rest)))
    return like(eps * reach, unit) * unit


def _draw_linf(
    key: Array,
    shape: tuple[int, ...],
    eps: Array,
    rows: Rows | None,
) -> Array:
    drawn = _of(rows, jax.random.uniform(key, shape, minval=-1.0, maxval=1.0))
    return like(eps, drawn) * drawn


_DRAWS = {"l1": _draw_l1, "l2": _draw_l2, "linf": _draw_linf}
