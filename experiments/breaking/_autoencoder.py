"""AE400-10: softmax on the code of an autoencoder that never saw a label."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from experiments.breaking._nets import Nets
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import Splits
from jaxvision.random import stream
from jaxvision.training.losses import cross_entropy
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, PyTree

UNITS = 400
RATE = 3e-3  # of Adam


class Data(NamedTuple):
    """Images [B, D] in [0, 1] and their labels [B]."""

    images: np.ndarray
    labels: np.ndarray


def trained(
    data: Splits,
    seeds: range,
    steps: int,
    batch_size: int,
) -> Nets:
    """Return N nets: an autoencoder of sigmoids, then softmax regression on its frozen code."""
    train = _flat(data.train.images), data.train.labels
    one = partial(_one_seed, data.num_classes, steps, batch_size)
    params = over_seeds(one, len(seeds), train, seeds.start)
    test = _flat(data.test.images)
    logits = jax.jit(jax.vmap(_answer, (0, None)))(params, test)
    classes = np.asarray(logits).argmax(-1)
    error = (classes != data.test.labels).mean(1)
    variables = {"params": params, "batch_stats": {}}
    return Nets(_of, variables, error, data, None)


def _of(variables: PyTree) -> Logits:
    def logits(images: Array) -> Array:
        return _answer(variables["params"], images.reshape(len(images), -1))

    return logits


def _answer(params: PyTree, flat: Array) -> Array:
    return _dense(params["softmax"], _code(params, flat))


def _code(params: PyTree, flat: Array) -> Array:
    return jax.nn.sigmoid(_dense(params["encoder"], flat))


def _dense(layer: PyTree, x: Array) -> Array:
    return x @ layer["kernel"] + layer["bias"][None]


def _one_seed(
    num_classes: int, steps: int, batch_size: int, seed: Array, train: tuple[Array, Array]
) -> PyTree:
    """Train one net: first to give its images back, then the softmax alone."""
    images, labels = train
    size = images.shape[1]
    keys = jax.random.split(stream(seed, "init"), 3)
    coder = {
        "encoder": _drawn(keys[0], size, UNITS),
        "decoder": _drawn(keys[1], UNITS, size),
    }
    order = stream(seed, "order")

    def lost(coder: PyTree, rows: Array) -> Array:
        x = images[rows]
        code = _code(coder, x)
        back = jax.nn.sigmoid(_dense(coder["decoder"], code))
        return jnp.square(back - x).sum(1).mean()

    fitted = partial(_fitted, count=len(images), steps=steps, batch_size=batch_size)
    coder = fitted(lost, coder, jax.random.fold_in(order, 0))
    encoder = coder["encoder"]

    def wrong(softmax: PyTree, rows: Array) -> Array:
        net = {"encoder": encoder, "softmax": softmax}
        logits = _answer(net, images[rows])
        return cross_entropy(logits, labels[rows]).mean()

    softmax = _drawn(keys[2], UNITS, num_classes)
    softmax = fitted(wrong, softmax, jax.random.fold_in(order, 1))
    return {"encoder": encoder, "softmax": softmax}


def _fitted(
    loss: Callable, params: PyTree, key: Array, count: int, steps: int, batch_size: int
) -> PyTree:
    """Take steps of Adam on batches drawn with replacement; the rate falls in a line to 0."""
    rate = optax.linear_schedule(RATE, 0.0, steps)
    optimizer = optax.adam(rate)

    def step(
        carry: tuple[PyTree, PyTree],
        number: Array,
    ) -> tuple[tuple, None]:
        params, state = carry
        draw = jax.random.fold_in(key, number)
        rows = jax.random.randint(draw, (batch_size,), 0, count)
        gradients = jax.grad(loss)(params, rows)
        updates, state = optimizer.update(gradients, state)
        params = optax.apply_updates(params, updates)
        return (params, state), None

    start = params, optimizer.init(params)
    (params, _), _ = lax.scan(
        step,
        start,
        jnp.arange(steps, dtype=jnp.int32),
    )
    return params


def _drawn(key: Array, fan_in: int, fan_out: int) -> PyTree:
    bound = (6 / (fan_in + fan_out)) ** 0.5
    kernel = jax.random.uniform(
        key,
        (fan_in, fan_out),
        minval=-bound,
        maxval=bound,
    )
    return {"kernel": kernel, "bias": jnp.zeros(fan_out)}


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / np.float32(LEVELS)
