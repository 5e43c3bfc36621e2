"""The learnt priors of ``preferred_inputs``: nets that make images of codes, and how they learn."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.generating._subjects import Family, trained
from jaxvision.adversarial.nets import layers_of, over_nets
from jaxvision.data import Splits
from jaxvision.generative.inverting import InverterTask, Seen, authors_adam
from jaxvision.generative.pixels import levels, scaled
from jaxvision.generative.preferred import Bounds, bounds_of
from jaxvision.models import dcgan
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.inverter import WINDOW, Inverter, painting
from jaxvision.random import stream
from jaxvision.training.order import Orders
from jaxvision.types import Array, PyTree, UserError

READ = 1000  # training images that bounds are taken from
COMPARED = "conv3"  # layer whose features must come back


class Budget(NamedTuple):
    """How large inverters are and how long they learn.

    Attributes:
      width: channels at the images' side, and of the discriminator's first convolution.
      layers: up-convolutions, and convolutions of the discriminator.
      units: of the dense layer.
      steps: of training.
      batch_size: images a step.
      learning_rate: of Adam.
    """

    width: int
    layers: int
    units: int
    steps: int
    batch_size: int
    learning_rate: float


class Arm(NamedTuple):
    """What a net that makes images learns from.

    Attributes:
      adversarial: share of that loss.
      inverts: 1, or 0 for the generator of a GAN.
      beta1: Adam's: .9 is Dosovitskiy & Brox's, .5 Radford et al.'s.
    """

    adversarial: float
    inverts: float
    beta1: float = 0.9


ARMS = {
    "inverter": Arm(adversarial=1.0, inverts=1.0),
    "smooth": Arm(adversarial=0.0, inverts=1.0),
    "gan": Arm(adversarial=1.0, inverts=0.0, beta1=0.5),
}


class Learnt(NamedTuple):
    """Nets that make images of codes, for N nets that are inverted.

    Attributes:
      bounds: of codes, fields [N, Z].
      variables: leaves [1 + arms, N, ...]: before training, and by arm.
      rebuilt: what becomes of test images, uint8 [arms, N, B, H, W, C].
      broken_at: arm -> of each net, the step of the first loss that is not finite; -1: none.
    """

    bounds: Bounds
    variables: PyTree
    rebuilt: np.ndarray
    broken_at: dict[str, list[int]]


def encoding(subjects: Family, layer: str) -> Callable[[PyTree, Array], Seen]:
    """Return ``(encoder, images in [-1, 1]) -> what it sees``.

    An encoder is ``{'net', 'code', 'compared'}``: variables, and by what features are divided.
    """

    def encode(encoder: PyTree, images: Array) -> Seen:
        layers = layers_of(subjects.apply, subjects.preprocess, encoder["net"])
        shares = (images + 1) / 2
        logits, activations = layers(shares)
        if layer not in activations:
            known = ", ".join(activations)
            raise UserError(f"the nets have no layer {layer!r} to invert: use {known}")
        code = jax.nn.relu(activations[layer])
        compared = jax.nn.relu(activations[COMPARED])
        return Seen(
            code.reshape(len(images), -1) / encoder["code"],
            compared / encoder["compared"],
            logits,
        )

    return encode


def inverter_of(data: Splits, budget: Budget) -> Inverter:
    """Return the net that makes images of codes."""
    shape = data.train.images.shape[1:]
    return Inverter(shape, budget.width, budget.layers, (budget.units,))


def learn(
    subjects: Family,
    data: Splits,
    layer: str,
    budget: Budget,
    seeds: Sequence[int],
    shown_images: np.ndarray,
) -> Learnt:
    """Train for every net of the subjects a net by every arm; what breaks is marked.

    Args:
      subjects: N nets.
      data: what is learned from.
      layer: whose features are inverted.
      budget: of training.
      seeds: one for each net.
      shown_images: test images uint8 [B, H, W, C] that are rebuilt in the end.

    Raises:
      UserError: the nets have no such layer.
    """
    encode = encoding(subjects, layer)
    encoders, bounds = _encoders(subjects, data, encode)
    inverter = inverter_of(data, budget)
    paint = painting(inverter)
    judge = dcgan.Discriminator(budget.width, budget.layers, WINDOW)
    task = InverterTask(paint, dcgan.judging(judge), encode, authors_adam)
    start = _start(inverter, judge, bounds.high.shape[1:], data, encoders, seeds)
    orders = Orders(seeds, len(data.train.labels), budget.batch_size)
    rows = orders.rows(0, budget.steps)
    runs = _repeated((start, np.int32(seeds), rows))
    hyper = _hyper(budget.learning_rate, len(seeds))
    found, metrics = trained(task, runs[0], hyper, runs[1], runs[2], data.train)
    after = found["params"]["generator"]
    rebuilt = _rebuilt(encode, paint, encoders, after, shown_images)
    both = jax.tree.map(_stacked, start["params"]["generator"], after)
    return Learnt(
        bounds,
        {"params": both},
        _by_arm(rebuilt),
        _broken_at(metrics["loss"]),
    )


def _repeated(tree: PyTree) -> PyTree:
    """Return leaves [N, ...] once for every arm, [arms N, ...]."""
    return jax.tree.map(lambda leaf: np.concatenate([leaf] * len(ARMS)), tree)


def _by_arm(leaf: np.ndarray) -> np.ndarray:
    return leaf.reshape(len(ARMS), -1, *leaf.shape[1:])


def _stacked(start: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return weights before training and by arm, [1 + arms, N, ...]."""
    return np.concatenate([start[None], _by_arm(after)])


def _broken_at(losses: np.ndarray) -> dict[str, list[int]]:
    """Return by arm the step of each run's first loss [arms N, T] that is not finite, or -1."""
    broken = ~np.isfinite(losses)
    first = np.where(broken.any(1), broken.argmax(1), -1)
    return dict(zip(ARMS, _by_arm(first).tolist(), strict=True))


def _hyper(learning_rate: float, seeds: int) -> dict[str, np.ndarray]:
    """Return the hyper-parameters of every arm's runs, arm by arm."""
    adversarial = np.float32([arm.adversarial for arm in ARMS.values()])
    inverts = np.float32([arm.inverts for arm in ARMS.values()])
    beta1 = np.float32([arm.beta1 for arm in ARMS.values()])
    runs = len(ARMS) * seeds
    return {
        "adversarial": np.repeat(adversarial, seeds),
        "inverts": np.repeat(inverts, seeds),
        "beta1": np.repeat(beta1, seeds),
        "learning_rate": np.full(runs, learning_rate, np.float32),
    }


def _encoders(
    subjects: Family, data: Splits, encode: Callable[[PyTree, Array], Seen]
) -> tuple[PyTree, Bounds]:
    """Return the nets with the scale of their features, and the bounds of their codes."""
    count = len(jax.tree.leaves(subjects.variables)[0])
    ones = np.ones(count, np.float32)
    raw = {"net": subjects.variables, "code": ones, "compared": ones}

    def one(encoder: PyTree, images: Array) -> tuple[Array, Array]:
        seen = encode(encoder, scaled(images))
        return seen.code, jnp.square(seen.compared).mean()

    images = data.train.sample(READ).images
    codes, squares = over_nets(one, raw, images, mapping="map")
    spreads = codes.std(1).mean(1)
    found = []
    for each, spread in zip(codes, spreads, strict=True):
        found.append(bounds_of(each / spread))
    low = np.stack([bounds.low for bounds in found])
    high = np.stack([bounds.high for bounds in found])
    encoders = raw | {"code": spreads, "compared": np.sqrt(squares)}
    return encoders, Bounds(low, high)


def _start(
    inverter: Inverter,
    judge: dcgan.Discriminator,
    code_shape: tuple[int, ...],
    data: Splits,
    encoders: PyTree,
    seeds: Sequence[int],
) -> PyTree:
    """Return what the runs of one arm start from, leaves [N, ...]."""
    keys = [stream(seed, "init") for seed in seeds]
    others = [jax.random.fold_in(key, 1) for key in keys]
    image_shape = data.train.images.shape[1:]
    generator = initialize_runs(inverter, jnp.stack(keys), code_shape)
    discriminator = initialize_runs(judge, jnp.stack(others), image_shape)
    return {
        "params": {
            "generator": generator["params"],
            "discriminator": discriminator["params"],
        },
        "batch_stats": {
            "generator": generator["batch_stats"],
            "discriminator": discriminator["batch_stats"],
            "encoder": encoders,
        },
    }


def _rebuilt(
    encode: Callable[[PyTree, Array], Seen],
    paint: Callable[[PyTree, Array], Array],
    encoders: PyTree,
    inverters: PyTree,
    images: np.ndarray,
) -> np.ndarray:
    """Return what inverters [R, ...] make of images that the nets [N, ...] see, N after N."""
    runs = len(jax.tree.leaves(inverters)[0])
    net = np.arange(runs) % len(encoders["code"])
    nets = jax.tree.map(lambda leaf: leaf[net], encoders)

    def one(run: PyTree, images: Array) -> Array:
        code = encode(run["encoder"], scaled(images)).code
        return levels(paint({"params": run["inverter"]}, code))

    return over_nets(one, {"encoder": nets, "inverter": inverters}, images, mapping="map")
