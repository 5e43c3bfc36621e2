"""Signal and gradient of single images through deep nets at initialization, against theory.

Theory of one input speaks of the norm of one image's gradient. The norm over a batch is another
quantity: where images decorrelate, the batch averages out what each does alone.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision import initializers as init
from jaxvision.data import Splits
from jaxvision.dynamics import mean_field, probes, theory
from jaxvision.dynamics.activations import ACTIVATIONS
from jaxvision.fields import seeds_of
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.report import plots
from jaxvision.training.arms import Arm, make_runs
from jaxvision.training.fit import Trainer
from jaxvision.training.step import Task, zero_taps
from jaxvision.types import Array, Axes, PyTree

QUANTITIES = ("signal", "delta")
COLORED = {"tanh": "tanh", "sigmoid": "sigmoid", "relu": "ReLU", "linear": "linear"}


def factors(config: Any) -> dict[str, float]:
    """Return the three gains over the critical one."""
    return {"below": config.below, "critical": 1.0, "above": config.above}


def trainer(
    config: Any, data: Splits, preprocess: Callable, model: ResidualMLP, steps: int
) -> Trainer:
    """Return what trains a net's runs for so many steps, with a probe in every layer."""
    task = Task(
        apply=apply_function(model),
        optimizer=lambda hyper: optax.sgd(hyper["learning_rate"]),
        preprocess=preprocess,
        probe=probes.per_layer,
    )
    return Trainer(task, data.train, data.test, config.batch_size, steps)


def arm(config: Any, data: Splits, model: ResidualMLP, sigma_w: float) -> Arm:
    """Return the arm of one gain: gains differ by the starting weights alone."""
    draw = partial(initialize_runs, model, image_shape=data.train.images.shape[1:])
    hyper = {"learning_rate": config.learning_rate}
    return Arm(lambda keys: init.with_gain(draw(keys), sigma_w), hyper)


def followed_net(config: Any, classes: int, activation: str) -> ResidualMLP:
    """Return the plain net that single images are followed through."""
    shape = max(config.depths), config.width_followed, classes, init.xavier_he2015()
    return ResidualMLP(*shape, ACTIVATIONS[activation])


def draw_followed(config: Any, data: Splits) -> PyTree:
    """Return the weights, leaves [S, ...], in which nets of all activations start, at gain 1."""
    model = followed_net(config, data.num_classes, config.activations[0])
    seeds = seeds_of(config)
    return make_runs({"unit": arm(config, data, model, 1.0)}, seeds).variables


def follow_images(
    config: Any, drawn: PyTree, images: Array, activation: str
) -> dict[str, np.ndarray]:
    """Return 'image/activation/gain/signal' and '.../delta', log norms [S, L] of single images.

    Args:
      config: gradient_flow's.
      drawn: the nets' weights at gain 1, leaves [S, ...].
      images: [B, H, W, C], as the nets take them.
      activation: of ``activations.ACTIVATIONS``.
    """
    classes = drawn["params"]["output"]["dense"]["kernel"].shape[-1]
    apply = apply_function(followed_net(config, classes, activation))
    found = image_log_norms(apply, drawn, images, sigma_ws(activation, factors(config)))
    return {f"image/{activation}/{name}": value for name, value in found.items()}


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
        return logits[0, 0], jnp.concatenate(squares)

    net = jax.tree.map(lambda leaf: leaf[0], variables)
    shapes = jax.eval_shape(partial(apply, train=False), net["params"], net["batch_stats"], images)
    names = list(shapes[1])  # in depth order, which jax.grad's dict does not keep

    def of_image(variables: PyTree, image: Array) -> tuple[Array, Array]:
        taps = zero_taps(variables["params"])
        found, signal = jax.grad(logit, has_aux=True)(taps, variables, image)
        delta = [found[name].reshape(-1) for name in names]
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


def departures(
    arrays: Mapping[str, np.ndarray],
    config: Any,
    factors: Mapping[str, float],
    activation: str,
    quantity: str,
) -> np.ndarray:
    """Return what ``statistic_of`` a quantity measures less what theory says of it, [gains, R].

    Args:
      arrays: of the record, 'image/activation/gain/quantity'.
      config: gradient_flow's.
      factors: the gains over the critical one.
      activation: of ``activations.ACTIVATIONS``.
      quantity: of ``QUANTITIES``.
    """
    statistic = statistic_of(quantity, activation)
    found = []
    for gain, sigma in sigma_ws(activation, factors).items():
        logs = {q: arrays[f"image/{activation}/{gain}/{q}"] for q in QUANTITIES}
        theirs = theory.log_norms(activation, sigma, config.width_followed, max(config.depths))
        expected = {q: log[None] for q, log in zip(QUANTITIES, theirs, strict=True)}
        found.append(statistic(logs) - statistic(expected))
    return np.array(found)


def largest(departures: np.ndarray) -> np.ndarray:
    """Return the row [R] of ``departures`` [gains, R] whose mean is farthest from 0."""
    return departures[np.argmax(np.abs(departures.mean(1)))]


def statistic_of(quantity: str, activation: str) -> Callable:
    """Return what is compared with theory: ``{'signal', 'delta'} [R, L] -> [R]``."""
    if quantity == "delta":
        return growth_of_delta
    # The signal of sigmoid nets has a level at every gain: it settles at once.
    return level if activation == "sigmoid" else growth_of_signal


def growth_of_signal(log_norms: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the slope per layer, upward, of the signal's logs, [R]."""
    return probes.growth(np.exp(log_norms["signal"]), upward=True)


def growth_of_delta(log_norms: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the slope per layer, downward, of the gradient's logs, [R]."""
    return probes.growth(np.exp(log_norms["delta"]), upward=False)


def level(log_norms: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the mean over the later half of the hidden layers of the signal's log, [R]."""
    hidden = log_norms["signal"][:, 1:-1]
    return hidden[:, hidden.shape[1] // 2 :].mean(1)


@plots.style()
def draw_departures(
    ax: Axes, arrays: Mapping[str, np.ndarray], config: Any, factors: Mapping[str, float]
) -> None:
    """Draw how far the gradient's growth is from theory's, every seed and gain, by activation."""
    names = list(config.activations)
    for row, activation in enumerate(names):
        off = departures(arrays, config, factors, activation, "delta")
        place = row + np.linspace(-0.2, 0.2, len(off))[:, None] * np.ones(off.shape)
        color = plots.color_of(COLORED[activation])
        ax.plot(off.ravel(), place.ravel(), "o", color=color, markersize=5, alpha=0.7)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.axvspan(-0.02, 0.02, color=plots.THEORY_COLOR, alpha=0.1, linewidth=0)
    ax.set_xlim(-0.06, 0.06)
    ax.set_xticks([-0.05, 0.0, 0.05])
    title = "One image's gradient against theory,\n3 gains each (gray: within .02)"
    plots.describe(ax, title, "growth a layer, measured less theory", "")
