"""Printing an image and taking a photograph of it, as a function that can be differentiated.

Seven stages, each a switch: the print (``print``), the picture found by its corners and pulled
straight (``warp``), the lens (``blur``), the lamp (``light``), the sensor (``noise``), the file
(``jpeg``) and its 256 levels (``bits``). What chance decides is drawn apart from what it does::

    shots = draw(key, images.shape)
    photographed = photograph(images, shots)
    printed = photograph(images, shots, stages=("print",))

So a record can hold the parameters, and two images can meet the same camera. The parameters of
``at_rest`` leave every stage but the file's without effect, to the bit.

No paper has this camera: it stands in for the paper and the phone of Kurakin et al. 2017 (arXiv
1607.02533, section 3.2), who found corners by QR codes too. Its ranges are a guess, and an image's
own pixels are the finest there is.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.adversarial.jpeg import check_quality, jpeg, whole_levels
from jaxvision.adversarial.perspective import side, straightened
from jaxvision.adversarial.threat import LEVELS, like
from jaxvision.types import Array, UserError

Stage = Literal["print", "warp", "blur", "light", "noise", "jpeg", "bits"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Range = tuple[float, float]
Shape = tuple[int, int, int, int]  # images, rows, columns, channels
BLUR_REACH = 3  # pixels, three standard deviations of the widest lens
_BLACK = 1e-6  # below it a gamma curve is too steep to be followed


@dataclass(frozen=True)
class Camera:
    """From which ranges the parameters of a print and its photograph are drawn, uniformly.

    Attributes:
      gain: what white becomes on paper, in each channel.
      lift: what black becomes.
      gamma: the exponent of the ink's curve.
      jitter: how far a corner lies off in the camera's frame, at most, in sides of the picture.
      residual: pixels by which a corner is missed when the picture is pulled straight, at most.
      blur: standard deviation of the lens's Gaussian, pixels, at most ``BLUR_REACH / 3``.
      slope: how much brighter the lamp makes an edge than the middle, at most, each way.
      balance: how far a channel's brightness is off, at most.
      shot: variance of a white pixel's photons.
      read: variance of the sensor at black.
      quality: of the JPEG file.
      halved: whether its color has half the resolution.

    Raises:
      UserError: a quality is out of range, or the blur too wide.
    """

    gain: Range = (0.85, 1.0)
    lift: Range = (0.0, 0.1)
    gamma: Range = (0.9, 1.2)
    jitter: float = 0.03
    residual: float = 0.5
    blur: Range = (0.5, 1.0)
    slope: float = 0.1
    balance: float = 0.05
    shot: float = 5e-4
    read: float = 1e-4
    quality: tuple[int, int] = (75, 95)
    halved: bool = True

    def __post_init__(self) -> None:
        check_quality(self.quality)
        if self.blur[1] > BLUR_REACH / 3:
            raise UserError(f"a camera blurs by at most {BLUR_REACH / 3:g} pixels, not {self.blur}")

    def margin(self, shape: Shape) -> int:
        """Return how far off a corner can lie in a frame of images of a shape, pixels, and one."""
        longest = max(shape[1:3])
        return math.ceil(self.jitter * longest + self.residual) + 1


OFFICE = Camera()  # an office printer, a phone held by hand, indoor light


class Shots(NamedTuple):
    """The parameters of B photographs.

    Attributes:
      gain: [B, C].
      lift: [B].
      gamma: [B].
      corners: [B, 4, 2], how far the picture's corners lie off in the camera's frame, in sides:
        (across, down), clockwise from the upper left.
      missed: [B, 4, 2], by how much they are missed when they are looked for, in sides.
      blur: [B], pixels.
      slope: [B, 2], brightness gained from the middle to an edge, across and down.
      balance: [B, C].
      shot: [B], variance of a white pixel.
      read: [B], variance at black.
      noise: [B, H, W, C], standard normal.
      quality: int32 [B].
    """

    gain: Array
    lift: Array
    gamma: Array
    corners: Array
    missed: Array
    blur: Array
    slope: Array
    balance: Array
    shot: Array
    read: Array
    noise: Array
    quality: Array


def draw(key: Array, shape: Shape, camera: Camera = OFFICE) -> Shots:
    """Draw the parameters of photographs of images of a shape; all from one key."""
    count, height, width, channels = shape
    chance, noise = jax.random.split(key)
    unit = _uniform(chance, count, channels)

    def within(name: str, ends: Range) -> Array:
        low, high = ends
        return low + (high - low) * unit[name]

    def around(name: str, reach: float) -> Array:
        return within(name, (-reach, reach))

    sides = np.float32([side(width), side(height)])
    missed = around("missed", camera.residual).reshape(count, 4, 2)
    low, high = camera.quality
    quality = jnp.floor(within("quality", (low, high + 1)))
    return Shots(
        gain=within("gain", camera.gain),
        lift=within("lift", camera.lift)[:, 0],
        gamma=within("gamma", camera.gamma)[:, 0],
        corners=around("corners", camera.jitter).reshape(count, 4, 2),
        missed=missed / sides.reshape(1, 1, 2),
        blur=within("blur", camera.blur)[:, 0],
        slope=around("slope", camera.slope),
        balance=1 + around("balance", camera.balance),
        shot=jnp.full(count, camera.shot),
        read=jnp.full(count, camera.read),
        noise=jax.random.normal(noise, shape),
        quality=jnp.minimum(quality[:, 0].astype(jnp.int32), high),
    )


def _uniform(key: Array, count: int, channels: int) -> dict[str, Array]:
    """Return numbers in [0, 1) by parameter, [B, size]: one draw, as each is a program's time."""
    sizes = {
        "gain": channels,
        "lift": 1,
        "gamma": 1,
        "corners": 8,
        "missed": 8,
        "blur": 1,
        "slope": 2,
        "balance": channels,
        "quality": 1,
    }
    ends = np.cumsum(list(sizes.values()))
    drawn = jax.random.uniform(key, (count, int(ends[-1])))
    parts = jnp.split(drawn, ends[:-1].tolist(), axis=1)
    return dict(zip(sizes, parts, strict=True))


def at_rest(shape: Shape) -> Shots:
    """Return parameters by which no stage changes a bit, but for the file's."""
    count, _, _, channels = shape
    none = jnp.zeros(count)
    return Shots(
        gain=jnp.ones((count, channels)),
        lift=none,
        gamma=jnp.ones(count),
        corners=jnp.zeros((count, 4, 2)),
        missed=jnp.zeros((count, 4, 2)),
        blur=none,
        slope=jnp.zeros((count, 2)),
        balance=jnp.ones((count, channels)),
        shot=none,
        read=none,
        noise=jnp.zeros(shape),
        quality=jnp.full(count, 100, jnp.int32),
    )


def photograph(
    images: Array,
    shots: Shots,
    *,
    camera: Camera = OFFICE,
    stages: Collection[Stage] = STAGES,
) -> Array:
    """Return photographs of printed images; a fixed number of operations, any of them traced.

    Args:
      images: float [B, H, W, C] in [0, 1].
      shots: their parameters, see ``draw``.
      camera: from which they were drawn: how far corners can lie off, and the file's color.
      stages: those that happen, in the order of ``STAGES`` whatever theirs.

    Returns:
      [B, H, W, C] in [0, 1].

    Raises:
      ValueError: there is no such stage, or no such number of channels.
    """
    if unknown := set(stages) - set(STAGES):
        raise ValueError(f"no stage {sorted(unknown)}: there are {', '.join(STAGES)}")
    seen = jnp.asarray(images)
    if "print" in stages:
        seen = printed(seen, shots)
    if "warp" in stages:
        seen = straightened(seen, shots.corners, shots.missed, camera.margin(seen.shape))
    if "blur" in stages:
        seen = blurred(seen, shots.blur)
    if "light" in stages:
        seen = lit(seen, shots)
    if "noise" in stages:
        seen = sensed(seen, shots)
    if "jpeg" in stages:
        seen = jpeg(seen, shots.quality, halved=camera.halved)
    if "bits" in stages:
        seen = whole_levels(LEVELS * seen) / LEVELS
    return seen


def printed(images: Array, shots: Shots) -> Array:
    """Return images as ink on paper: lift + (gain - lift) x^gamma, in each channel."""
    bright = images > _BLACK
    base = jnp.where(bright, images, 1.0)
    curve = base ** like(shots.gamma, images)
    ink = jnp.where(bright, curve, images)
    lift = like(shots.lift, images)
    span = _by_channel(shots.gain) - lift
    return jnp.clip(lift + span * ink, 0.0, 1.0)


def blurred(images: Array, deviation: Array) -> Array:
    """Return images under a Gaussian of ``deviation`` [B] pixels; 0 is none.

    The last pixels go on beyond the border, so what is constant stays so.
    """
    weights = _bells(deviation)
    down = _smoothed(images, weights).swapaxes(1, 2)
    return _smoothed(down, weights).swapaxes(1, 2)


def lit(images: Array, shots: Shots) -> Array:
    """Return images under a lamp of one side and of one color; the sensor's white is 1."""
    _, height, width, _ = images.shape
    down = jnp.linspace(-1, 1, height)
    across = jnp.linspace(-1, 1, width)
    slope = shots.slope[:, None, None]
    more_across = slope[..., 0] * across[None, None]
    more_down = slope[..., 1] * down[None, :, None]
    light = 1 + more_across + more_down
    colored = light[..., None] * _by_channel(shots.balance)
    return jnp.clip(images * colored, 0.0, 1.0)


def sensed(images: Array, shots: Shots) -> Array:
    """Return images with the noise of photons and of the sensor: variance shot x + read."""
    photons = like(shots.shot, images) * images
    variance = photons + like(shots.read, images)
    noisy = variance > 0
    some = jnp.where(noisy, variance, 1.0)  # the root is steep at 0
    deviation = jnp.where(noisy, jnp.sqrt(some), 0.0)
    return jnp.clip(images + deviation * shots.noise, 0.0, 1.0)


def _bells(deviation: Array) -> Array:
    """Return weights [B, taps] of sum 1; of a deviation of 0, the middle one alone."""
    steps = jnp.arange(-BLUR_REACH, BLUR_REACH + 1, dtype=jnp.float32)
    steps = steps[None]
    wide = deviation[:, None] > 0
    width = jnp.where(wide, deviation[:, None], 1.0)
    bell = jnp.exp(-jnp.square(steps / width) / 2)
    total = bell.sum(1, keepdims=True)
    alone = jnp.where(steps == 0, 1.0, 0.0)
    return jnp.where(wide, bell / total, alone)


def _smoothed(images: Array, weights: Array) -> Array:
    """Smooth [B, H, W, C] along H."""
    taps = weights.shape[1]
    height = images.shape[1]
    reach = taps // 2
    around = jnp.pad(
        images,
        ((0, 0), (reach, reach), (0, 0), (0, 0)),
        mode="edge",
    )
    moved = [around[:, tap : tap + height] for tap in range(taps)]
    return jnp.einsum("bk,kbhwc->bhwc", weights, jnp.stack(moved))


def _by_channel(values: Array) -> Array:
    """Return values [B, C] so that they broadcast against images."""
    return values[:, None, None]
