"""Class pictures by every prior, in one program: a way to climb is a row of numbers.

Codes are rows of as many numbers as the largest prior needs; a decoder reads its own part.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.generating._learnt_priors import ARMS
from experiments.generating._subjects import Family
from jaxvision.adversarial.nets import layers_of, over_nets
from jaxvision.attribution.ascent import Layers, maximize
from jaxvision.attribution.parametrizations import SPREAD, Parametrization, color_root, fourier
from jaxvision.attribution.regularizers import LEVELS, Recipe, decayed, progress
from jaxvision.data.augment import per_pixel_mean
from jaxvision.generative.pixels import levels
from jaxvision.generative.preferred import DECAY, FIRST_STEP, Bounds, clipped, falling_steps
from jaxvision.random import stream
from jaxvision.types import Array, PyTree

Medium = Literal["pixels", "waves", "codes"]
MEDIA: tuple[Medium, ...] = get_args(Medium)
NOISE = 10 / 255  # of a start in pixels, around the mean image: Yosinski et al. 2015
COLORED = 2000  # training images whose colors are decorrelated


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to make class pictures.

    Attributes:
      label: in the figure.
      medium: what codes are.
      rate: of Adam; None: steps fall as the source's.
      recipe: one of Yosinski's, whose steps and decay take Adam's place.
      jitter: pixels.
      learnt: the arm of the net that makes images; "" is before training.
      bounded: codes stay within bounds: those of real ones, or of the cube of a GAN's.
    """

    label: str
    medium: Medium
    rate: float | None = None
    recipe: Recipe | None = None
    jitter: int = 0
    learnt: str = ""
    bounded: bool = True


class Rows(NamedTuple):
    """Ways as numbers, fields [R, ...].

    Attributes:
      medium: int32, a row of ``MEDIA``.
      adam: bool.
      rate: of Adam.
      progress: bool, steps are Yosinski's.
      most: their rate.
      first: mean absolute change by the first of the falling steps, over all P numbers of a code.
      decay: share of the codes.
      jitter: int32, pixels.
      spread: of the first codes.
      low, high: bounds [P].
    """

    medium: np.ndarray
    adam: np.ndarray
    rate: np.ndarray
    progress: np.ndarray
    most: np.ndarray
    first: np.ndarray
    decay: np.ndarray
    jitter: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Priors(NamedTuple):
    """What all ways of all nets are climbed with.

    Attributes:
      center: [H, W, C], the mean image in [0, 1].
      colors: see ``fourier``.
      paint: (variables, codes) -> images in [-1, 1].
      bounds: of inverters' codes, fields [N, Z].
    """

    center: np.ndarray
    colors: np.ndarray
    paint: Callable[[PyTree, Array], Array]
    bounds: Bounds

    def sizes(self) -> dict[Medium, int]:
        """Return the numbers of a code by medium."""
        pixels = self.center.size
        return {
            "pixels": pixels,
            "waves": pixels,
            "codes": self.bounds.high.shape[1],
        }


def of_images(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of images uint8 [N, H, W, C] in [0, 1], and the root of their colors."""
    mean = per_pixel_mean(images) / np.float32(LEVELS)
    return mean, color_root(images[:COLORED])


def rows_of(ways: Sequence[Way], nets: Sequence[int], priors: Priors) -> Rows:
    """Return a row for every way and the net, counted from 0, that it climbs."""
    found = [_row(way, net, priors) for way, net in zip(ways, nets, strict=True)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def _row(way: Way, net: int, priors: Priors) -> Rows:
    sizes = priors.sizes()
    most = max(sizes.values())
    used = sizes[way.medium]
    low = np.zeros(most, np.float32)
    high = np.zeros(most, np.float32)
    low[:used], high[:used] = _bounds(way, net, priors)
    spreads = {"pixels": NOISE, "waves": SPREAD, "codes": 1.0}
    recipe = way.recipe
    falls = way.rate is None and recipe is None
    decay = DECAY if falls else 0.0
    most_rate = 0.0
    if recipe is not None:
        decay = recipe.decay
        most_rate = recipe.most / LEVELS**2
    return Rows(
        medium=np.int32(MEDIA.index(way.medium)),
        adam=np.bool_(way.rate is not None),
        rate=np.float32(way.rate or 0.0),
        progress=np.bool_(recipe is not None),
        most=np.float32(most_rate),
        first=np.float32(FIRST_STEP * used / most),
        decay=np.float32(decay),
        jitter=np.int32(way.jitter),
        spread=np.float32(spreads[way.medium]),
        low=low,
        high=high,
    )


def _bounds(way: Way, net: int, priors: Priors) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Return where the codes of a way may lie."""
    if way.medium == "pixels":
        middle = priors.center.ravel()
        return -middle, 1 - middle
    if way.medium == "waves" or not way.bounded:
        return -np.inf, np.inf
    if way.learnt and not ARMS[way.learnt].inverts:
        return -1.0, 1.0
    return priors.bounds.low[net], priors.bounds.high[net]


class Climb(NamedTuple):
    """R climbs, leaves [R, ...].

    Attributes:
      conv: variables of a conv net.
      dense: variables of a dense net.
      is_dense: bool, which of the two is climbed.
      seed: of the draws, int32.
      classes: [R, B].
      rows: how.
      learnt: variables of the net that makes images.
    """

    conv: PyTree
    dense: PyTree
    is_dense: np.ndarray
    seed: np.ndarray
    classes: np.ndarray
    rows: Rows
    learnt: PyTree


def climbed(conv: Family, dense: Family, climbs: Climb, priors: Priors, steps: int) -> np.ndarray:
    """Return the pictures after the last step, uint8 [R, B, H, W, C]; all in one program."""

    def one(climb: PyTree, shared: None) -> Array:
        del shared
        return _climb(conv, dense, Climb(**climb), priors, steps)

    return over_nets(one, climbs._asdict(), None, mapping="map")


def _climb(conv: Family, dense: Family, climb: Climb, priors: Priors, steps: int) -> Array:
    row = climb.rows
    classes = climb.classes

    def of_class(logits: Array, activations: dict[str, Array]) -> Array:
        del activations
        return logits[jnp.arange(len(classes)), classes]

    drawn, shifts = jax.random.split(stream(climb.seed, "noise"))
    noise = jax.random.normal(drawn, (len(classes), row.low.size))
    low = row.low[None]
    high = row.high[None]
    found = maximize(
        _layers(conv, dense, climb),
        of_class,
        Parametrization(_decoder(climb, priors), None, lambda codes: jnp.clip(codes, low, high)),
        jnp.clip(row.spread * noise, low, high),
        _optimizer(row, steps),
        steps=steps,
        touches=(clipped(low, high), decayed(row.decay)),
        jitter=row.jitter,
        key=shifts,
    )
    return levels(2 * found.last - 1)


def _layers(conv: Family, dense: Family, climb: Climb) -> Layers:
    """Return the net of the row; a dense one has zeros for the classes that it does not know."""
    of_conv = layers_of(conv.apply, conv.preprocess, climb.conv)
    of_dense = layers_of(dense.apply, dense.preprocess, climb.dense)

    def layers(pictures: Array) -> tuple[Array, dict[str, Array]]:
        outputs = jax.eval_shape(of_conv, pictures)[0].shape[1]

        def padded(pictures: Array) -> Array:
            logits, _ = of_dense(pictures)
            return jnp.pad(logits, ((0, 0), (0, outputs - logits.shape[1])))

        logits = lax.cond(climb.is_dense, padded, lambda x: of_conv(x)[0], pictures)
        return logits, {}

    return layers


def _decoder(climb: Climb, priors: Priors) -> Callable[[Array], Array]:
    """Return codes [B, P] -> pictures [B, H, W, C] in [0, 1], by the medium of the row."""
    height, width, _ = priors.center.shape
    waves = fourier(height, width, priors.colors)
    sizes = priors.sizes()

    def as_pictures(codes: Array) -> Array:
        own = codes[:, : priors.center.size]
        return own.reshape(-1, *priors.center.shape)

    def by_net(codes: Array) -> Array:
        return (priors.paint(climb.learnt, codes[:, : sizes["codes"]]) + 1) / 2

    decoders: Mapping[Medium, Callable[[Array], Array]] = {
        "pixels": lambda codes: priors.center[None] + as_pictures(codes),
        "waves": lambda codes: waves.decode(as_pictures(codes)),
        "codes": by_net,
    }
    branches = [decoders[medium] for medium in MEDIA]
    return lambda codes: lax.switch(climb.rows.medium, branches, codes)


def _optimizer(row: Rows, steps: int) -> optax.GradientTransformation:
    """Return Adam, Yosinski's steps at one rate, or falling ones, as the row has it."""
    adam = optax.adam(row.rate)
    rising = progress(np.inf, row.most)
    falling = falling_steps(steps, row.first)

    def init(codes: Array) -> tuple[PyTree, PyTree]:
        return adam.init(codes), falling.init(codes)

    def update(
        gradient: Array, state: tuple[PyTree, PyTree], params: Array | None = None
    ) -> tuple[Array, tuple[PyTree, PyTree]]:
        by_adam, of_adam = adam.update(gradient, state[0], params)
        by_progress, _ = rising.update(gradient, optax.EmptyState())
        by_falling, of_falling = falling.update(gradient, state[1])
        move = jnp.where(row.progress, by_progress, by_falling)
        return jnp.where(row.adam, by_adam, move), (of_adam, of_falling)

    return optax.GradientTransformation(init, update)
