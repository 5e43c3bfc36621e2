"""Problems for ``act_conv``, and its definition in double precision, loops and all."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxvision.act_conv import Scaled, act_conv


class Case(NamedTuple):
    """Shapes and options; ``pads`` are ((top, bottom), (left, right)) or 'WRAP'."""

    batch: int
    image: tuple[int, int]
    channels: tuple[int, int]
    window: int = 3
    stride: int = 1
    pads: object = ((1, 1), (1, 1))
    scaled: bool = True
    relu: bool = True
    residual: bool = False
    moments: bool = True


def draw(case, seed=0):
    """Return x, kernel, scale, bias, center and residual."""
    rng = np.random.default_rng(seed)  # jax.random compiles for every shape
    inputs, outputs = case.channels

    def normal(*shape, over=1.0):
        return jnp.asarray(rng.normal(size=shape) / over, jnp.float32)

    x, residual = (normal(case.batch, *case.image, inputs) for _ in range(2))
    window = case.window
    kernel = normal(window, window, inputs, outputs, over=window * inputs**0.5)
    scale, bias, center = (normal(inputs) for _ in range(3))
    return x, kernel, scale, bias, center, residual


def call(case, x, kernel, scale, bias, center, residual):
    return act_conv(
        Scaled(x, scale, bias, center) if case.scaled else x,
        kernel,
        case.stride,
        case.pads,
        relu=case.relu,
        residual=residual if case.residual else None,
        moments=case.moments,
        keep=case.residual,
    )


def loss(case, *arrays):
    """A number that every output has a part in, with a cotangent of its own."""
    out = call(case, *arrays)
    total = jnp.sum(jnp.sin(out.y))
    if out.moments is not None:
        total += jnp.sum(jnp.cos(out.moments.rest + 1.0) + 3 * jnp.sin(out.moments.var))
    if out.h is not None:
        total += jnp.sum(jnp.cos(out.h))
    return total


def used(case):
    """Which of the arrays the case has, by number."""
    return (0, 1, *((2, 3, 4) if case.scaled else ()), *((5,) if case.residual else ()))


def exact(case, x, kernel, scale, bias, center, residual):
    """Return y, mean, variance and h in double precision."""
    x, kernel, scale, bias, center, residual = (
        np.asarray(a, np.float64) for a in (x, kernel, scale, bias, center, residual)
    )
    h = scale * (x - center) + bias if case.scaled else x
    h = h + residual if case.residual else h
    h = np.maximum(h, 0) if case.relu else h
    k = case.window
    wrap = case.pads == "WRAP"
    pads = (((k - 1) // 2, k // 2),) * 2 if wrap else case.pads
    padded = np.pad(h, ((0, 0), *pads, (0, 0)), mode="wrap" if wrap else "constant")
    rows, columns = ((side - k) // case.stride + 1 for side in padded.shape[1:3])
    y = np.zeros((case.batch, rows, columns, case.channels[1]))
    for i in range(rows):
        for j in range(columns):
            top, left = i * case.stride, j * case.stride
            window = padded[:, top : top + k, left : left + k]
            y[:, i, j] = np.einsum("bhwc,hwco->bo", window, kernel)
    return y, y.mean((0, 1, 2)), y.var((0, 1, 2)), h


SHAPES = [
    Case(2, (8, 8), (16, 16)),
    Case(1, (5, 7), (16, 48)),
    Case(3, (1, 1), (5, 7)),
    Case(2, (9, 6), (3, 16), scaled=False, relu=False),
    Case(2, (6, 5), (20, 33), residual=True),
    Case(2, (6, 5), (16, 8), residual=True, relu=False),
    Case(9, (4, 4), (8, 8), 2, pads="WRAP", moments=False),
    Case(5, (2, 2), (32, 32), 2, pads="WRAP"),
    Case(2, (3, 5), (6, 10), 3, pads="WRAP", residual=True),
    Case(2, (8, 8), (16, 32), 3, 2),
    Case(2, (7, 9), (10, 12), 3, 2, ((0, 1), (1, 0)), residual=True),
    Case(2, (6, 6), (16, 24), 1, 1, ((0, 0), (0, 0))),
    Case(2, (7, 6), (16, 24), 1, 2, ((0, 0), (0, 0))),
    Case(2, (8, 6), (4, 9), 4, 1, ((1, 2), (3, 0))),
    Case(2, (8, 9), (4, 16), 5, 2, ((2, 2), (2, 2))),
    Case(1, (7, 8), (3, 8), 6, 1, ((5, 5), (5, 5)), relu=False),
    Case(2, (12, 11), (3, 20), 7, 2, ((3, 3), (3, 3)), scaled=False),
    Case(1, (3, 19), (17, 5), 2, 2, ((0, 0), (0, 0)), relu=False),
]
