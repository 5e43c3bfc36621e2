"""Signal and gradient of single images through deep nets at initialization, against theory.

Theory of one input speaks of the norm of one image's gradient. The norm over a batch is another
quantity: where images decorrelate, the batch averages out what each does alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import initializers as init
from jaxvision.dynamics import mean_field, probes, theory
from jaxvision.training.step import zero_taps
from jaxvision.types import Array, PyTree

ACTIVATIONS = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "linear": lambda x: x,
}
QUANTITIES = ("signal", "delta")


def image_log_norms(
    apply: Callable, variables: PyTree, images: Array, gains: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Return the mean over images of the log of ONE image's signal and gradient, by layer.

    For R nets without batch norm; compiled once for all gains.

    Args:
      apply: see ``models.layers.apply_function``.
      variables: leaves [R, ...].
      images: [B, H, W, C], as the nets take them.
      gains: what the weights are multiplied by.

    Returns:
      For each gain, keys 'gain/quantity':
      ``signal`` [R, L]: log of the pre-activations' root mean square over units; ``delta`` [R, L]:
      log of the norm of the first logit's gradient at the pre-activations.
    """

    def logit(taps: PyTree, variables: PyTree, image: Array) -> tuple[Array, tuple]:
        net = variables["params"], variables["batch_stats"]
        logits, activations, _ = apply(*net, image[None], train=True, taps=taps)
        squares = [
            jnp.mean(jnp.square(x.reshape(-1, x.shape[-1])), axis=1) for x in activations.values()
        ]
        names.extend(activations)
        return logits[0, 0], jnp.concatenate(squares)

    names: list[str] = []  # in depth order, which jax.grad's dict does not keep

    def of_image(variables: PyTree, image: Array) -> tuple[Array, Array]:
        taps = zero_taps(variables["params"])
        found, signal = jax.grad(logit, has_aux=True)(taps, variables, image)
        delta = [found[name].reshape(-1) for name in dict.fromkeys(names)]
        return signal, jnp.concatenate(delta)

    def one(variables: PyTree) -> Array:
        squares = jax.vmap(lambda image: jnp.stack(of_image(variables, image)))(images)
        return jnp.mean(jnp.log(squares), axis=0) / 2

    run = jax.jit(lambda nets: jax.lax.map(one, nets))
    found = {}
    for name, gain in gains.items():
        logs = np.asarray(run(init.with_gain(variables, gain)), np.float64)
        found |= {f"{name}/{quantity}": logs[:, i] for i, quantity in enumerate(QUANTITIES)}
    return found


def sigma_ws(activation: str, factors: Mapping[str, float]) -> dict[str, float]:
    """Return sigma_w at each multiple of the critical gain."""
    critical = mean_field.critical_gain(activation)
    return {gain: factor * critical for gain, factor in factors.items()}


def by_gain(
    arrays: Mapping[str, np.ndarray], prefix: str, gains: Sequence[str], statistic: Callable
) -> np.ndarray:
    """Return a statistic of ``image_log_norms`` kept as 'prefix/gain/quantity', [gains, R]."""
    logs = [{q: arrays[f"{prefix}/{gain}/{q}"] for q in QUANTITIES} for gain in gains]
    return np.array([statistic(log) for log in logs])


def expected(
    activation: str, sigmas: Iterable[float], width: int, depth: int, statistic: Callable
) -> np.ndarray:
    """Return what theory says of ``by_gain``, the mean over nets, at each sigma_w, [gains, 1]."""
    logs = [theory.log_norms(activation, sigma, width, depth) for sigma in sigmas]
    return np.array(
        [statistic({"signal": signal[None], "delta": delta[None]}) for signal, delta in logs]
    )


def largest(departures: np.ndarray) -> np.ndarray:
    """Return the row [R] of ``departures`` [gains, R] whose mean is farthest from 0."""
    return departures[np.argmax(np.abs(departures.mean(1)))]


def growth(log_norms: Mapping[str, np.ndarray], quantity: str) -> np.ndarray:
    """Return the slope per layer, in the direction of travel, of a quantity's logs, [R]."""
    return probes.growth(np.exp(log_norms[quantity]), upward=quantity == "signal")


def level(log_norms: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the mean over the later half of the hidden layers of the signal's log, [R]."""
    hidden = log_norms["signal"][:, 1:-1]
    return hidden[:, hidden.shape[1] // 2 :].mean(1)
