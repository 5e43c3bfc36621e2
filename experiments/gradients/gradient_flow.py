"""How gradients vanish, explode or survive on their way down a deep net, before and in training.

Sources: Schoenholz et al. 2017 (arXiv 1611.01232) and Hanin & Nica 2018 (1812.05994) for the growth
of the gradient per layer, Yang et al. 2019 (1902.08129) for batch norm, De & Smith 2020
(2002.10444) for residual branches. Claim in one sentence: a gain off its critical value makes
gradients vanish or explode, batch norm in a plain net explodes them at step 0 whatever the gain,
and a residual net needs batch norm.

Command: make exp-gradient-flow (under 3 minutes on two cores; embedded 8x8 digits, no download).

Nets without biases; weights drawn with the critical gain (chi_1 = 1) times ``below``, 1, ``above``;
signal, delta (the loss's gradient at a pre-activation) and dW of every layer along plain SGD.
Theory speaks of one input: single images are followed through wide nets, which are not trained.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from experiments.gradients import _flow as flow
from experiments.gradients._flow_claims import claims_of
from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import Splits, load
from jaxvision.data.augment import standardizer
from jaxvision.dynamics import theory
from jaxvision.dynamics.activations import ACTIVATIONS
from jaxvision.fields import flagged, seeds_of
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.arms import fit_arms
from jaxvision.types import Axes, Figure

GAINS = ("below", "critical", "above")
WATCHED = (0, 1, 10, 100)
STEPS = max(WATCHED) + 1


class Net(NamedTuple):
    """A ReLU net that is trained."""

    label: str
    residual: bool = False
    normalized: bool = False
    gains: tuple[str, ...] = ("critical",)
    deepest: int = 1000  # beyond, its norms leave float32


NETS = {
    "relu": Net("plain", gains=GAINS),
    # Their squared norms grow by 1.5 and 2 a layer: float32 ends at some 230 and 120 layers.
    "batch_norm": Net("plain + BN", normalized=True, gains=GAINS, deepest=100),
    "residual": Net("residual", residual=True, deepest=100),
    "residual_batch_norm": Net("residual + BN", residual=True, normalized=True),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(8, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(700, "First seed.", low=0, high=10**9)
    depths: tuple[int, ...] = flagged((8, 30, 100), "Weight layers.", low=8, high=1000)
    width: int = flagged(64, "Units of every hidden layer.", low=2, high=8192)
    width_followed: int = flagged(256, "Units where one image is followed.", low=2, high=8192)
    activations: tuple[str, ...] = flagged(
        tuple(ACTIVATIONS), "Nets that images are followed through.", choices=ACTIVATIONS
    )
    batch_size: int = flagged(32, "Images in a step.", low=4, high=65_536)
    learning_rate: float = flagged(0.01, "SGD's rate.", low=0)
    below: float = flagged(0.5**0.5, "Gain over the critical one; .707: Xavier.", low=0.1, high=1)
    above: float = flagged(2**0.5, "Gain over the critical one.", low=1, high=2)


_DEEP = {"seeds": 20, "depths": (8, 30, 100, 300), "below": 0.9, "above": 1.1}  # float32 holds
PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        depths=(8,),
        width=8,
        width_followed=16,
        activations=("relu",),
        batch_size=4,
    ),
    "cpu": Config(),
    "gpu": Config(dataset="cifar10", width=256, batch_size=128, **_DEEP),
    "paper": Config(width=1024, width_followed=512, batch_size=256, **_DEEP),
}


def measure(
    config: Config, progress: cli.ShowProgress, nets: Mapping[str, Net] = NETS
) -> tuple[dict, dict]:
    """Train every net at every depth and gain; arrays are named 'net+depth/gain/quantity'.

    ``dw_norm`` [S, P, L] at the steps ``WATCHED``; ``signal_std`` and ``delta_norm`` [S, L] at step
    0. Images followed: 'image/activation/gain/quantity', [S, L].
    """
    data = load(config.dataset)
    preprocess = standardizer(data.train)
    sizes = [(name, depth) for name in nets for depth in depths_of(config, nets[name])]
    arms = sum(len(nets[name].gains) for name, _ in sizes)
    arrays = {}
    with progress(arms * config.seeds * STEPS, "training") as bar:
        for name, depth in sizes:
            found = train_net(config, data, preprocess, nets[name], depth, bar.advance)
            arrays |= {f"{name}{depth}/{key}": value for key, value in found.items()}
    if config.activations:
        drawn = flow.draw_followed(config, data)
        images = preprocess(data.train.sample(config.batch_size).images, None)
        for activation in config.activations:
            arrays |= flow.follow_images(config, drawn, images, activation)
    return {}, arrays


def depths_of(config: Config, net: Net) -> tuple[int, ...]:
    """Return the depths of a net at which float32 holds its norms (the least one always)."""
    deepest = max(net.deepest, min(config.depths))
    return tuple(depth for depth in config.depths if depth <= deepest)


def train_net(
    config: Config,
    data: Splits,
    preprocess: Callable,
    net: Net,
    depth: int,
    advance: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Train all gains and seeds of a net in one sweep, by one program; returns its arrays."""
    shape = depth, config.width, data.num_classes, init.xavier_he2015()
    model = ResidualMLP(*shape, jax.nn.relu, net.residual, net.normalized)
    gains = {gain: flow.sigma_ws("relu", flow.factors(config))[gain] for gain in net.gains}
    trainer = flow.trainer(config, data, preprocess, model, STEPS)
    arms = {gain: flow.arm(config, data, model, sigma) for gain, sigma in gains.items()}
    seeds = seeds_of(config)
    found = {}
    for gain, history in fit_arms(trainer, arms, seeds, STEPS, advance).items():
        found[f"{gain}/dw_norm"] = history.train["dw_norm"][:, WATCHED]
        for quantity in ("signal_std", "delta_norm"):
            found[f"{gain}/{quantity}"] = history.train[quantity][:, 0]
    return found


def values(
    record: Record, config: Config, net: str, gain: str, quantity: str, step: int = 0
) -> np.ndarray:
    """Return a quantity [S, L] of the deepest net after ``step`` steps."""
    found = record.arrays[f"{net}{max(depths_of(config, NETS[net]))}/{gain}/{quantity}"]
    return found[:, WATCHED.index(step)] if quantity == "dw_norm" else found


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims."""

    def at_the_start(record: Record, net: str, gain: str, quantity: str) -> np.ndarray:
        return values(record, config, net, gain, quantity)

    return claims_of(config, at_the_start, depths_of(config, NETS["batch_norm"]))


def plot(record: Record, config: Config) -> Figure:
    """Draw what gain, batch norm and skip connections do, each with the theory through it."""
    figure, axes = plots.new_figure(3, 2, height=11.2)
    _draw_gains(axes[0, 0], record, config)
    _draw_dw(axes[0, 1], record, config)
    _draw_depths(axes[1, 0], record, config)
    _draw_steps(axes[1, 1], record, config)
    _draw_streams(axes[2, 0], record, config)
    flow.draw_departures(axes[2, 1], record.arrays, config, flow.factors(config))
    ids = [f"{q}-{a}" for q in ("delta", "signal") for a in config.activations]
    plots.mark_contradicted(axes[2, 1], record, *ids)
    titles = {}
    if "relu" in config.activations:
        titles["delta-relu", "batch-norm-factor", "residual-gradient"] = (
            "Gain, batch norm and skip connections decide which gradient the first layers see"
        )
    if config.activations:
        growth = [f"delta-{activation}" for activation in config.activations]
        titles["delta-decays", *growth] = (
            "In plain nets the gain of the weights decides, as theory says, whether gradients fade"
        )
    title = plots.headline(
        record,
        titles,
        otherwise="What gain, batch norm and skip connections do to a deep net's gradient",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"MLPs {config.width} wide without biases ({config.width_followed}: last panel)",
        optimizer=f"SGD, rate {config.learning_rate:g}, batch {config.batch_size}",
        paper="Schoenholz et al. 2017, Yang et al. 2019, De & Smith 2020",
    )


def _draw_gains(ax: Axes, record: Record, config: Config) -> None:
    below, sigmas = np.arange(max(config.depths)), flow.sigma_ws("relu", flow.factors(config))
    for (gain, factor), color in zip(flow.factors(config).items(), plots.shades(3), strict=True):
        norms = values(record, config, "relu", gain, "delta_norm")[:, ::-1]
        plots.seed_band(ax, below, norms, color, f"{factor:.2g} x He")
        slope = theory.relu_exponent(sigmas[gain], config.width)
        plots.theory_line(ax, below, np.median(norms[:, 1]) * np.exp(slope * (below - 1)), "_")
    plots.log_axis(ax, "y")
    plots.mark_contradicted(ax, record, "delta-decays")
    title = "Plain ReLU net: the gain decides\n(dashed: theory)"
    plots.describe(ax, title, "layers below the output", "norm of delta, step 0")


def _draw_dw(ax: Axes, record: Record, config: Config) -> None:
    below = np.arange(max(config.depths))
    for quantity, label, color in zip(
        ("delta_norm", "dw_norm"), ("delta", "dW"), plots.shades(2), strict=True
    ):
        norms = values(record, config, "relu", "below", quantity)[:, ::-1]
        plots.seed_band(ax, below, norms, color, label)
    plots.log_axis(ax, "y")
    plots.mark_contradicted(ax, record, "dw-flat")
    at = f"At {config.below:.2g} x He"
    title = plots.headline(
        record,
        {("delta-decays", "dw-flat"): f"{at} delta fades,\nthe weight gradient dW does not"},
        otherwise=f"{at}: delta and\nthe weight gradient dW",
    )
    plots.describe(ax, title, "layers below the output", "norm, step 0")


def _draw_depths(ax: Axes, record: Record, config: Config) -> None:
    law = float(theory.batch_norm_squared_factor(config.batch_size, "relu")) ** 0.5
    for name, net in NETS.items():
        depths = np.array(depths_of(config, net))
        norms = [record.arrays[f"{name}{depth}/critical/dw_norm"][:, 0] for depth in depths]
        ratio = np.transpose([norm[:, 1] / norm[:, -2] for norm in norms])
        plots.seed_band(ax, depths, ratio, plots.color_of(net.label), net.label)
        if name == "batch_norm":
            plots.theory_line(ax, depths, law ** (depths - 3.0), "_")
    plots.log_axis(ax, "y")
    plots.mark_contradicted(ax, record, "batch-norm-factor", "batch-norm-gain")
    title = "Batch norm in a plain net explodes\n(dashed: theory)"
    plots.describe(ax, title, "weight layers", "dW, first over last layer, step 0")


def _draw_steps(ax: Axes, record: Record, config: Config) -> None:
    depths = depths_of(config, NETS["batch_norm"])
    below = np.arange(max(depths))
    for step, color in zip(WATCHED, plots.shades(len(WATCHED)), strict=True):
        norms = values(record, config, "batch_norm", "critical", "dw_norm", step)[:, ::-1]
        plots.seed_band(ax, below, norms, color, f"step {step}")
    plots.log_axis(ax, "y")
    shown = f"relaxes-{max(depths)}"
    plots.mark_contradicted(ax, record, shown)
    net = f"Plain + BN, {max(depths)} layers:"
    title = plots.headline(
        record,
        {shown: f"{net} one step\nof SGD takes most of the explosion"},
        otherwise=f"{net}\nthe explosion along SGD",
    )
    plots.describe(ax, title, "layers below the output", "norm of dW")


def _draw_streams(ax: Axes, record: Record, config: Config) -> None:
    deepest = min(max(depths_of(config, net)) for net in NETS.values())
    layers = np.arange(deepest - 1)
    for name, net in NETS.items():
        stream = values(record, config, name, "critical", "signal_std")[:, : len(layers)]
        plots.seed_band(ax, layers, stream, plots.color_of(net.label), net.label)
        if net.residual:
            first = np.median(stream[:, 0]) ** 2
            law = theory.residual_variance(layers, net.normalized)
            variance = law + first - 1 if net.normalized else first * law
            plots.theory_line(ax, layers, np.sqrt(variance), "_")
    plots.log_axis(ax, "y")
    ids = "residual-variance", "residual-gradient", "residual-bn-variance"
    plots.mark_contradicted(ax, record, *ids)
    title = "Forward: the size of the signal\n(dashed: theory of residual nets)"
    plots.describe(ax, title, "layer", "signal's std, step 0")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
