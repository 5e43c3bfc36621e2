"""Shattered gradients: how long the gradients at two near inputs point the same way.

Source: Balduzzi et al. 2017, "The shattered gradients problem" (arXiv 1702.08591), abstract and
figure 1. Claim in one sentence: with depth the gradient of a plain net turns into white noise, its
correlation between inputs decaying exponentially; with skip connections it decays sublinearly.

Command: make exp-shattered-gradients (two minutes on two cores, no data).

As in the paper, random ReLU nets of 200 units on 256 inputs along a line. Theory says what to
expect. If units fire independently at the two inputs, each plain layer halves the correlation:
batch norm brings a net there. Without it the signals of two inputs grow alike with depth, and so do
the units that fire: the correlation falls as a power of depth, slower than the abstract has it.
Nets twice as wide are held to the closed forms of infinite width at 4 to 16 layers; at 64 layers a
net of 200 units departs from them by some .04. With skips and batch norm the paper's law is
1 / sqrt(depth), for a branch of variance 1; batch norm takes off the branch's mean, which leaves
1 - 1 / pi, and the power should tend to .73. Batch norm's statistics are held constant in the
gradient, which is then that of one input alone.
"""

import dataclasses
import sys
from collections.abc import Mapping
from functools import partial
from typing import Literal

import jax
import numpy as np

from experiments.gradients import _shattering as shattering
from jaxvision import cli
from jaxvision.fields import flagged
from jaxvision.random import probe
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Statistic, Within
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, Axes, Figure

Extent = Literal["shown", "long", "wide"]


@dataclasses.dataclass(frozen=True)
class Net:
    """A kind of net.

    Attributes:
      label: in the figure.
      residual: each layer adds its output to its input.
      normalized: batch norm.
      extent: "shown", ``depth`` layers; "long", ``long_depth``; "wide", twice the width and few
        layers, for closed forms.
      example: the depth at which its gradient is drawn; None: it is not.
      weight_variance: of a weight, times the width.
    """

    label: str
    residual: bool
    normalized: bool
    extent: Extent = "shown"
    example: int | None = None
    weight_variance: float = 2.0


NETS = {
    "plain": Net("plain", residual=False, normalized=False, example=1),
    "batch_norm": Net("plain + BN", residual=False, normalized=True, example=24),
    "residual": Net("residual", residual=True, normalized=False),
    "residual_batch_norm": Net(
        "residual + BN", residual=True, normalized=True, extent="long", example=50
    ),
    "plain_wide": Net("plain, wide", residual=False, normalized=False, extent="wide"),
    "residual_wide": Net("residual, wide", residual=True, normalized=False, extent="wide"),
}
WIDE_DEPTH = 16


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    seeds: int = flagged(160, "Random nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(6000, "First seed.", low=0, high=10**9)
    width: int = flagged(200, "Units of every layer.", low=2, high=8192)
    n_inputs: int = flagged(256, "Number of inputs, evenly on [-2, 2].", low=32, high=4096)
    depth: int = flagged(64, "Layers.", low=64, high=4096)
    long_depth: int = flagged(512, "Layers of residual nets with batch norm.", low=128, high=4096)


PRESETS = {
    "tiny": Config(seeds=8, first_seed=0, width=48, n_inputs=32, long_depth=128),
    "cpu": Config(),
    "gpu": Config(seeds=200, width=1000, depth=128),
    "paper": Config(seeds=20),
}


def measure(
    config: Config, progress: cli.ShowProgress, nets: Mapping[str, Net] = NETS
) -> tuple[dict, dict]:
    """Return each net's correlation by depth [S, L] and, of one seed, an example [n_inputs]."""
    positions, lag = line(config)
    arrays = {}
    with progress(len(nets) * config.seeds, "nets on a line") as bar:
        for extent in dict.fromkeys(net.extent for net in nets.values()):
            alike = {name: net for name, net in nets.items() if net.extent == extent}
            examples = np.array([(net.example or 1) - 1 for net in alike.values()])
            shared = np.float32(positions), _kinds(alike), examples
            one = partial(_one_seed, config, extent, lag)
            correlations, units = over_seeds(one, config.seeds, shared, config.first_seed)
            for i, (name, net) in enumerate(alike.items()):
                arrays[f"{name}/correlation"] = correlations[:, i]
                if net.example is not None:
                    arrays[f"{name}/gradient"] = units[0, i]
            bar.advance(len(alike) * config.seeds)
    return {}, arrays


def line(config: Config) -> tuple[np.ndarray, int]:
    """Return the inputs, and the lag between two near ones: a quarter of a unit."""
    return np.linspace(-2, 2, config.n_inputs), config.n_inputs // 16


def _kinds(nets: Mapping[str, Net]) -> shattering.Kind:
    """Return what N nets have, fields [N]."""
    return shattering.Kind(
        residual=np.array([net.residual for net in nets.values()]),
        normalized=np.array([net.normalized for net in nets.values()]),
        weight_variance=np.float32([net.weight_variance for net in nets.values()]),
    )


def _one_seed(
    config: Config,
    extent: Extent,
    lag: int,
    seed: Array,
    shared: tuple[Array, shattering.Kind, Array],
) -> tuple[Array, Array]:
    """Return N nets' correlations by depth [N, L] and an example of a gradient [N, n_inputs].

    ``shared``: the inputs, what each net has, and the layer of its example.
    """
    inputs, kinds, examples = shared
    width = 2 * config.width if extent == "wide" else config.width
    depth = {"shown": config.depth, "long": config.long_depth, "wide": WIDE_DEPTH}[extent]

    def one(net: tuple[shattering.Kind, Array]) -> tuple[Array, Array]:
        kind, example = net
        key = probe(seed, "nets")
        gradients = shattering.gradients_on_a_line(key, inputs, width, depth, kind)
        return shattering.autocorrelation(gradients, lag), gradients[example, :, 0]

    return jax.lax.map(one, (kinds, examples))


def claims(config: Config) -> list[Claim]:
    """Return the source's claims; the rules are fixed here."""

    def at(net: str, depth: int) -> Statistic:
        return lambda record: record.arrays[f"{net}/correlation"][:, depth - 1]

    def steadiness(net: str, early: int, late: int) -> Statistic:
        """Return the decay's rate late over its rate early: 1 for an exponential decay."""

        def ratio(record: Record) -> np.ndarray:
            correlation = record.arrays[f"{net}/correlation"]
            late_rate = shattering.decay_rate(correlation, late)
            return late_rate / shattering.decay_rate(correlation, early)

        return ratio

    def lead(net: str, depth: int, other: str, other_depth: int) -> Statistic:
        return lambda record: at(net, depth)(record) - at(other, other_depth)(record)

    def power(record: Record) -> np.ndarray:
        correlation = record.arrays["residual_batch_norm/correlation"]
        return shattering.decay_power(correlation, 64, config.long_depth)

    law = shattering.centered_branch_correlation(config.long_depth)
    law_power = float(shattering.decay_power(law[None], 64, config.long_depth)[0])
    positions, lag = line(config)
    plain = shattering.wide_autocorrelation(positions, lag, WIDE_DEPTH, residual=False)
    residual = shattering.wide_autocorrelation(positions, lag, WIDE_DEPTH, residual=True)
    kernels = "arc-cosine kernel, Cho & Saul 2009"
    abstract = "Balduzzi et al. 2017, abstract"
    return [
        Claim(
            "closed-form-4",
            kernels,
            "plain: after 4 layers the gradients of two near inputs "
            "correlate as in infinitely wide nets",
            at("plain_wide", 4),
            Within(float(plain[3]), 0.02),
            "theory",
            needs=("plain_wide",),
        ),
        Claim(
            "closed-form-16",
            kernels,
            "plain: after 16 layers the gradients of two near inputs "
            "correlate as in infinitely wide nets",
            at("plain_wide", 16),
            Within(float(plain[15]), 0.02),
            "theory",
            needs=("plain_wide",),
        ),
        Claim(
            "closed-form-residual",
            kernels,
            "residual, without batch norm: after 8 layers "
            "gradients of two near inputs correlate as in infinitely wide nets",
            at("residual_wide", 8),
            Within(float(residual[7]), 0.006),
            "theory",
            needs=("residual_wide",),
        ),
        Claim(
            "exponential-bn",
            abstract,
            "plain + batch norm: the correlation decays "
            "exponentially or faster (rate to layer 8 over rate to layer 4)",
            steadiness("batch_norm", 4, 8),
            Greater(0.9),
            needs=("batch_norm",),
        ),
        Claim(
            "exponential",
            abstract,
            "plain without batch norm: the correlation decays "
            "exponentially or faster (rate to layer 64 over rate to layer 16)",
            steadiness("plain", 16, 64),
            Greater(0.9),
            needs=("plain",),
        ),
        Claim(
            "power-law",
            "derived for branches without mean, after Balduzzi et al. 2017",
            f"residual + batch norm: from layer 64 to {config.long_depth} the correlation falls "
            f"as a power of depth near {law_power:.2f}, that of independent units (power)",
            power,
            Equivalent(0.05, target=law_power),
            needs=("residual_batch_norm",),
        ),
        Claim(
            "resists-bn",
            abstract,
            "with batch norm, 50 residual layers shatter less than 24 plain ones (correlation)",
            lead("residual_batch_norm", 50, "batch_norm", 24),
            Greater(),
            needs=("batch_norm", "residual_batch_norm"),
        ),
        Claim(
            "resists",
            abstract,
            "without batch norm, 24 residual layers shatter less than 24 plain ones (correlation)",
            lead("residual", 24, "plain", 24),
            Greater(),
            needs=("plain", "residual"),
        ),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw three gradients along the line, and how the correlation falls with depth."""
    figure, axes = plots.new_figure(2, 2, 8.6)
    with plots.style():
        _draw_gradients(plots.merged(axes[0]), record, config)
        _draw_correlations(axes[1, 0], record, config)
        _draw_powers(axes[1, 1], record, config)
    title = plots.headline(
        record,
        {"resists-bn": "Batch norm shatters gradients of plain nets; skips resist"},
        "Gradients of two near inputs lose their likeness with depth",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"ReLU nets of {config.width} units at the start",
        optimizer="Nothing is trained",
        paper="Balduzzi et al. 2017",
        data=f"{config.n_inputs} inputs on a line",
    )


def _draw_gradients(ax: Axes, record: Record, config: Config) -> None:
    positions, _ = line(config)
    shown = [(name, net) for name, net in NETS.items() if net.example]
    for row, (name, net) in enumerate(shown):
        gradient = record.arrays[f"{name}/gradient"]
        centered = gradient - gradient.mean()
        color = plots.color_of(net.label)
        height = -2.2 * row
        ax.plot(positions, height + centered / np.abs(centered).max(), color=color, linewidth=1.3)
        layers = "1 layer" if net.example == 1 else f"{net.example} layers"
        place = {"color": color, "fontweight": "bold", "va": "center"}
        ax.text(2.08, height, f"{net.label},\n{layers}", **place)
    ax.set(yticks=[], xlim=(-2, 2), ylim=(-5.5, 1.1))
    plots.describe(ax, "The gradient of one unit as the input slides along a line", "input", "")


def _draw_correlations(ax: Axes, record: Record, config: Config) -> None:
    positions, lag = line(config)
    layers = 1 + np.arange(config.depth)
    for name, net in NETS.items():
        if net.extent != "wide":
            shown = record.arrays[f"{name}/correlation"][:, : config.depth]
            plots.quartile_band(ax, layers, shown, plots.color_of(net.label), net.label)
    for residual in (False, True):
        form = shattering.wide_autocorrelation(positions, lag, config.depth, residual=residual)
        plots.theory_line(ax, layers, form, "_theory")
    ax.set_ylim(-0.05, 1.02)
    title = "Likeness of the gradients\nat two near inputs (dashes: theory)"
    plots.describe(ax, title, "layers", "correlation")
    plots.mark_contradicted(ax, record, "exponential", "resists", "resists-bn")


def _draw_powers(ax: Axes, record: Record, config: Config) -> None:
    """Draw the long nets on two log axes, where a power of depth is a straight line."""
    correlation = record.arrays["residual_batch_norm/correlation"]
    layers = 1 + np.arange(correlation.shape[1])
    color = plots.color_of("residual + BN")
    plots.quartile_band(ax, layers, correlation, color, "residual\n+ BN")
    law = shattering.centered_branch_correlation(layers.size)[63:]
    start = np.median(correlation[:, 63])
    corner = {"ha": "right", "va": "top"}
    plots.theory_line(ax, layers[63:], start * law / law[0], "_law")
    ax.text(0.97, 0.97, "dashes: law of\nindependent units", transform=ax.transAxes, **corner)
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    plots.describe(ax, "The same, far deeper:\na power of depth?", "layers", "correlation")
    plots.mark_contradicted(ax, record, "power-law")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
