"""Lyapunov exponents: of the logistic map, and of random nets with depth for time.

|f'(x_0) f'(x_1) ...| = exp(lambda T) is a product of 1 x 1 Jacobians; a net's own exponent is the
growth of log ||J u|| per layer. The map is iterated in NumPy, float64; the nets run in JAX.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from jaxvision.types import Array

# An orbit from the critical point 1/2 finds every attracting cycle, but at r = 4 it falls on 0.
_START = 0.3


def logistic_iterates(
    rates: ArrayLike, steps: int, start: float = _START, skip: int = 0
) -> np.ndarray:
    """Return x_skip, ..., x_{skip + steps - 1} of x -> r x (1 - x), [steps, *shape of rates].

    With ``skip`` beyond the transient, plotted against the rates: the bifurcation diagram.
    """
    rates = np.asarray(rates, float)
    x = np.full(rates.shape, start)
    orbit = np.empty((steps, *rates.shape))
    for t in range(skip + steps):
        if t >= skip:
            orbit[t - skip] = x
        x = rates * x * (1 - x)
    return orbit


def bifurcation_density(rates: ArrayLike, bins: int, steps: int, skip: int = 1000) -> np.ndarray:
    """Return how often each orbit visits each of ``bins`` equal cells of [0, 1], [bins, R].

    The bifurcation diagram as an image, ``steps`` visits a column.
    """
    rates = np.asarray(rates, float)
    counts = np.zeros((bins, rates.size), int)
    columns = np.arange(rates.size)
    x = logistic_iterates(rates, 1, skip=skip)[0]
    for _ in range(steps):
        counts[np.minimum((x * bins).astype(int), bins - 1), columns] += 1
        x = rates * x * (1 - x)
    return counts


def logistic_exponent(
    rates: ArrayLike, steps: int = 20_000, skip: int = 1000, start: float = _START
) -> np.ndarray:
    """Return the Lyapunov exponent, the mean of ln |r (1 - 2 x)| over an orbit; ln 2 at r = 4.

    -inf where the orbit meets 1/2: a superstable cycle.
    """
    rates = np.asarray(rates, float)
    x = np.asarray(logistic_iterates(rates, 1, start, skip)[0])
    total = np.zeros(rates.shape)
    with np.errstate(divide="ignore"):
        for _ in range(steps):
            total += np.log(np.abs(rates * (1 - 2 * x)))
            x = rates * x * (1 - x)
    return total / steps


def logistic_cycle_exponent(rates: ArrayLike) -> np.ndarray:
    """Return the exponent in closed form where it has one, 0 < r < 1 + sqrt 6; NaN elsewhere.

    ln r on the fixed point 0, up to r = 1; ln |2 - r| on the fixed point 1 - 1/r, up to r = 3; then
    ln |4 + 2 r - r^2| / 2 on the 2-cycle.
    """
    rates = np.asarray(rates, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        fixed, pair = np.log(np.abs(2 - rates)), np.log(np.abs(4 + 2 * rates - rates**2)) / 2
        origin = np.log(rates)
    known = np.where(rates <= 1, origin, np.where(rates <= 3, fixed, pair))
    return np.where((rates > 0) & (rates < 1 + np.sqrt(6)), known, np.nan)


def superstable_rates(count: int) -> np.ndarray:
    """Return the rates at which 1/2 lies on the cycle of period 1, 2, 4, ..., [count].

    The ratio of successive gaps tends to Feigenbaum's 4.669.
    """
    rates = [2.0, 1 + np.sqrt(5)]
    ratio = 4.7
    while len(rates) < count:
        gap = rates[-1] - rates[-2]
        period = 2 ** len(rates)
        near = rates[-1] + gap / ratio
        # A secant from this close stays on its own root; the next ones are a fifth as far again.
        rates.append(
            optimize.newton(lambda r, p=period: _cycle(0.5, r, p)[0], near, x1=near + 1e-3 * gap)
        )
        ratio = gap / (rates[-1] - rates[-2])
    return np.array(rates[:count])


def _cycle(x: float, rate: float, period: int) -> tuple[float, float]:
    """Return f^period(x) - x, and its multiplier, the product of f' along the way."""
    start, multiplier = x, 1.0
    for _ in range(period):
        multiplier *= rate * (1 - 2 * x)
        x = rate * x * (1 - x)
    return x - start, multiplier


def net_growth(
    key: Array, net: str, sigma_w: float | Array, width: int, depth: int, batch: int = 1
) -> Array:
    """Return log ||J_l u|| - log ||J_{l-1} u|| of each layer of one random net, [depth].

    J_l is the Jacobian of layer l's output by the input, u a random direction; the mean over layers
    is the net's exponent. No biases, Gaussian kernels of variance sigma_w^2 / width, input N(0, 1).
    ``vmap`` over keys (seeds) and ``sigma_w`` (gains) at will; memory does not grow with the depth.

    Args:
      key: of the net, its input and u.
      net: 'relu', 'tanh' or 'batch_norm_relu' (over ``batch`` inputs, J of all of them at once).
      sigma_w: the gain; may be traced.
      width: units of each layer and of the input.
      depth: number of layers.
      batch: inputs of the net.

    Raises:
      KeyError: another ``net``.
    """
    activate = _NETS[net]
    input_key, direction_key, kernel_key = jax.random.split(key, 3)

    def step(carry: tuple[Array, Array], layer: Array) -> tuple[tuple[Array, Array], Array]:
        x, direction = carry
        kernel = jax.random.normal(jax.random.fold_in(kernel_key, layer), (width, width))
        # The gain scales the product, not the kernel, which all gains of a vmap then share.
        scale = sigma_w / jnp.sqrt(width)
        x, direction = jax.jvp(lambda x: activate(scale * (x @ kernel)), (x,), (direction,))
        if net == "relu":
            # Homogeneous: its Jacobian does not see the scale of x, which would leave float32.
            x = x / jnp.sqrt(jnp.mean(jnp.square(x)))
        growth = jnp.linalg.norm(direction)
        return (x, direction / growth), jnp.log(growth)

    x = jax.random.normal(input_key, (batch, width))
    direction = jax.random.normal(direction_key, (batch, width))
    start = (x, direction / jnp.linalg.norm(direction))
    return jax.lax.scan(step, start, jnp.arange(depth))[1]


def net_exponents(
    key: Array, net: str, gains: ArrayLike, width: int, depth: int, batch: int = 1
) -> Array:
    """Return the exponent of one random net at every gain, [G]; arguments as in ``net_growth``.

    The growth is averaged over the deeper half of the layers: the upper one forgets the input.
    """
    growth = jax.vmap(lambda gain: net_growth(key, net, gain, width, depth, batch))
    return growth(jnp.asarray(gains, jnp.float32))[:, depth // 2 :].mean(-1)


def _batch_norm_relu(h: Array) -> Array:
    centered = h - jnp.mean(h, axis=0, keepdims=True)
    return jax.nn.relu(centered / jnp.std(h, axis=0, keepdims=True))


_NETS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "batch_norm_relu": _batch_norm_relu}
