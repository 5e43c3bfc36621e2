"""Shattered gradients: how long the gradients at two near inputs point the same way.

Source: Balduzzi et al. 2017, "The shattered gradients problem" (arXiv 1702.08591), abstract and
figure 1. Claim in one sentence: with depth the gradient of a plain net turns into white noise, its
correlation between inputs decaying exponentially; with skip connections it decays sublinearly.

Command: make exp-shattered-gradients (seconds on two cores, no data).

As in the paper, random ReLU nets of 200 units on 256 inputs along a line. Theory says what to
expect. If units fire independently at the two inputs, each plain layer halves the correlation:
batch norm brings a net there. Without it the signals of two inputs grow alike with depth, and so do
the units that fire: the correlation falls as a power of depth, slower than the abstract has it. The
law of residual nets with batch norm, 1 / sqrt(depth), assumes independent units too, and a branch
of variance 1; batch norm takes off its mean, which leaves 1 - 1 / pi, so the power should tend to
pi / (2 (pi - 1)) = .73. Its statistics are held constant in the gradient, which is then that of one
input alone. The band around the law was fixed after a record on other seeds had shown .58.
"""

import dataclasses
import sys
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from experiments.gradients import _shattering as shattering
from jaxvision import cli
from jaxvision.dynamics import theory
from jaxvision.fields import flagged
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Within
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds

NETS = {  # the label, what the net has, and the depth at which its gradient is shown
    "plain": ("plain", {"residual": False, "normalized": False}, 1),
    "batch_norm": ("plain + BN", {"residual": False, "normalized": True}, 24),
    "residual": ("residual", {"residual": True, "normalized": False}, None),
    "residual_batch_norm": ("residual + BN", {"residual": True, "normalized": True}, 50),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    seeds: int = flagged(40, "Random nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(2000, "First seed.", low=0)
    width: int = flagged(200, "Units of every layer.", low=2, high=8192)
    inputs: int = flagged(256, "Inputs, evenly on [-2, 2].", low=32, high=4096)
    depth: int = flagged(64, "Layers.", low=64, high=4096)


PRESETS = {
    "tiny": Config(seeds=10, first_seed=0, width=128, inputs=32),
    "cpu": Config(),
    "gpu": Config(seeds=100, width=1000, depth=128),
    "paper": Config(seeds=20),
}


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Return each net's correlation by depth [S, L] and, of one seed, its gradient [L, inputs]."""
    positions, lag = line(config)
    inputs = np.float32(positions)
    arrays = {}
    with progress(len(NETS) * config.seeds, "nets on a line") as bar:
        for name, (_, kind, _) in NETS.items():
            net = partial(shattering.gradients_on_a_line, **kind)

            def one(seed, inputs, net=net):
                gradients = net(stream(seed, "probe"), inputs, config.width, config.depth)
                return shattering.autocorrelation(gradients, lag), gradients[..., 0]

            arrays[f"{name}/correlation"], unit = over_seeds(
                one, config.seeds, inputs, config.first_seed
            )
            arrays[f"{name}/gradient"] = unit[0]
            bar.advance(config.seeds)
    return {}, arrays


def line(config: Config) -> tuple[np.ndarray, int]:
    """Return the inputs, and the lag between two near ones: a quarter of a unit."""
    return np.linspace(-2, 2, config.inputs), config.inputs // 16


def claims(config: Config) -> list[Claim]:
    """Return the source's claims; the rules are fixed here."""

    def correlation(net: str):
        return lambda r: r.arrays[f"{net}/correlation"]

    def steadiness(net: str, early: int, late: int):  # 1 for an exponential decay
        rate = lambda r, depth: shattering.decay_rate(correlation(net)(r), depth)  # noqa: E731
        return lambda r: rate(r, late) / rate(r, early)

    def power(net: str):
        return lambda r: shattering.decay_power(correlation(net)(r), 16, 64)

    def lead(net: str, depth: int, other: str, other_depth: int):
        return lambda r: (
            correlation(net)(r)[:, depth - 1] - correlation(other)(r)[:, other_depth - 1]
        )

    law = theory.shattered_correlation(1 + np.arange(64), "residual_batch_norm")
    law_power = float(shattering.decay_power(law[None], 16, 64)[0])
    closed_form = float(shattering.plain_autocorrelation(*line(config), 16)[-1])
    abstract = "Balduzzi et al. 2017, abstract"
    return [
        Claim("closed-form", "arc-cosine kernel, Cho & Saul 2009", "plain: after 16 layers the "
              "gradients of two near inputs correlate as the closed form says",
              lambda r: correlation("plain")(r)[:, 15], Within(closed_form, 0.05), "theory"),
        Claim("exponential-bn", abstract, "plain + batch norm: the correlation decays exponential"
              "ly or faster (rate to layer 8 over rate to layer 4)",
              steadiness("batch_norm", 4, 8), Greater(0.9)),
        Claim("exponential", abstract, "plain without batch norm: so it does (rate to layer 64 "
              "over rate to layer 16)", steadiness("plain", 16, 64), Greater(0.9)),
        Claim("square-root", "Balduzzi et al. 2017, law of residual nets", "residual + batch norm: "
              "from layer 16 to 64 it falls by the law of independent units, about 1 / sqrt(depth) "
              "(power of depth)", power("residual_batch_norm"),
              Equivalent(0.1, target=law_power)),
        Claim("faster", "question, what batch norm takes off", "... or faster, since batch norm "
              "takes off the branch's mean too (the same power)",
              power("residual_batch_norm"), Greater(law_power)),
        Claim("resists-bn", abstract, "with batch norm, 50 residual layers shatter less than 24 "
              "plain ones (correlation)",
              lead("residual_batch_norm", 50, "batch_norm", 24), Greater()),
        Claim("resists", abstract, "without batch norm, 24 residual layers shatter less than 24 "
              "plain ones (correlation)",
              lead("residual", 24, "plain", 24), Greater()),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw three gradients along the line, and how the correlation falls with depth."""
    figure, axes = plots.new_figure(1, 2, (13.5, 6.2))
    (left, right), colors = axes[0], plots.arm_colors(list(NETS))
    positions, lag = line(config)
    shown = [(name, label, depth) for name, (label, _, depth) in NETS.items() if depth]
    with plots.style():
        for row, (name, label, depth) in enumerate(shown):
            gradient = record.arrays[f"{name}/gradient"][depth - 1]
            curve = 0.8 * gradient / np.abs(gradient).max() - 2.2 * row
            left.plot(positions, curve, color=colors[name], linewidth=1.3)
            text = f"{label}, {depth} layer" + "s" * (depth > 1)
            left.text(-2, 0.95 - 2.2 * row, text, color=colors[name], fontweight="bold")
        left.set_yticks([])
        left.set_ylim(-5.4, 1.5)
    plots.describe(left, "The gradient of one unit\nas the input slides along a line", "input",
                   "gradient")  # fmt: skip
    for name, (label, _, _) in NETS.items():
        correlation = record.arrays[f"{name}/correlation"]
        layers = 1 + np.arange(correlation.shape[1])
        plots.quartile_band(right, layers, correlation, colors[name], label)
    closed_form = shattering.plain_autocorrelation(positions, lag, len(layers))
    plots.theory_line(right, layers, closed_form, "theory, plain")
    law = theory.shattered_correlation(layers, "residual_batch_norm")[15:]
    start = np.median(record.arrays["residual_batch_norm/correlation"][:, 15])
    plots.theory_line(right, layers[15:], start * law / law[0], "law, 1 / √layers")
    right.get_lines()[-1].set(color=colors["residual_batch_norm"], linestyle=":", linewidth=2.4)
    plots.describe(right, "Correlation of the gradients\nat two near inputs", "layers",
                   "correlation")  # fmt: skip
    title = "Batch norm shatters a plain net's gradients within ten layers; skip connections resist"
    return plots.finish(figure, record, title)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
