"""One exponent, four systems: the logistic map and deep nets vanish or explode by one number.

Source: the logistic map x -> r x (1 - x) (May 1976; Feigenbaum 1978) as lectures on vanishing and
exploding gradients draw it, and what it stands for: He et al. 2015 and Hanin & Nica 2018 (ReLU),
Schoenholz et al. 2017 (tanh), Yang et al. 2019 (batch norm). Claim in one sentence: a product of
Jacobians grows as exp(exponent x depth), and theory gives the exponent of all four systems.

Command: make exp-logistic-map (under a minute on two cores; no data).

The map's exponent is the mean of ln |f'| along an orbit: a product of 1 x 1 Jacobians. A net's is
the growth of ln |J u| per layer, J the Jacobian of random layers without biases, u a random
direction. A period doubles where the exponent touches zero between two negative stretches, so the
doublings are read off the measured exponent. What lectures leave out: batch norm has no safe gain.
"""

import dataclasses
import math
import sys
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvision import cli
from jaxvision.dynamics import chaos, mean_field, theory
from jaxvision.fields import flagged
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Less, Share, Within
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds

NETS = {"relu": "ReLU", "tanh": "tanh", "batch_norm_relu": "batch norm"}
DOUBLINGS = {"doubling-2": 3.0, "doubling-4": 1 + math.sqrt(6)}
EDGES = {"tanh": (1.0, "1"), "relu": (math.sqrt(2), "√2")}  # gains at which a net is critical
WINDOW = 0.05  # half the range of r around a doubling in which it is looked for
CYCLE_RATE = 3.5
RANGE = 0.5, 4.0  # of r and of the gain: the one axis of all four systems
FATES = -1.3, 1.0  # of the exponent


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    seeds: int = flagged(20, "Random nets of each kind, and orbits at r = 4.", low=1, high=10_000)
    first_seed: int = flagged(0, "First seed.", low=0)
    rates: int = flagged(1400, "Values of r in the diagram, from 2.6 to 4.", low=10, high=100_000)
    iterations: int = flagged(20_000, "Iterations behind the map's exponent.", low=10)
    gains: int = flagged(16, "Values of the nets' gain sigma_w, from 0.5 to 3.", low=3, high=1000)
    width: int = flagged(128, "Units of a ReLU or tanh layer.", low=2, high=8192)
    depth: int = flagged(500, "Layers of a ReLU or tanh net.", low=2, high=100_000)
    batch_norm_width: int = flagged(256, "Units of a batch-normalized layer.", low=2, high=8192)
    batch_norm_depth: int = flagged(80, "Layers of a batch-normalized net.", low=2, high=100_000)
    batch_size: int = flagged(64, "Inputs that batch norm normalizes over.", low=4, high=8192)


PRESETS = {
    "tiny": Config(
        seeds=5, rates=60, iterations=2000, gains=5, width=32, depth=20, batch_norm_width=32,
        batch_norm_depth=8, batch_size=16,
    ),
    "cpu": Config(),
    "gpu": Config(
        seeds=100, rates=4000, iterations=100_000, gains=51, width=512, depth=2000,
        batch_norm_width=1024, batch_norm_depth=200, batch_size=128,
    ),
    "paper": Config(
        seeds=20, rates=4000, iterations=100_000, gains=51, width=1024, depth=2000,
        batch_norm_width=2048, batch_norm_depth=200, batch_size=512,
    ),
}  # fmt: skip


def gains_of(config: Config) -> np.ndarray:
    """Return the nets' gains [G]."""
    return np.linspace(0.5, 3.0, config.gains)


def theory_of(net: str, gains: np.ndarray, config: Config) -> np.ndarray:
    """Return what the closed forms say of a net's exponent at ``gains`` [G]."""
    if net == "relu":
        return theory.relu_exponent(gains, config.width)
    if net == "tanh":
        q = mean_field.variance_fixed_point(gains, 0.0, "tanh")
        return theory.exponent(mean_field.chi(gains, q, "tanh"))
    factor = theory.batch_norm_squared_factor(config.batch_size, "relu")
    return np.full(gains.shape, theory.exponent(factor))


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Iterate the map and random nets; returns numbers and arrays."""
    with progress(1 + len(NETS), "exponents") as bar:
        numbers, arrays = _measure_map(config)
        bar.advance()
        plain = config.width, config.depth
        normalized = config.batch_norm_width, config.batch_norm_depth, config.batch_size
        arrays["gains"] = gains_of(config)
        for net in NETS:
            size = normalized if net == "batch_norm_relu" else plain
            arrays[net] = over_seeds(
                partial(_exponents, net, size), config.seeds, arrays["gains"], config.first_seed
            )
            bar.advance()
    return numbers, arrays


def _exponents(net: str, size: tuple[int, ...], seed, gains):
    return chaos.net_exponents(stream(seed, "probe"), net, gains, *size)


def _measure_map(config: Config) -> tuple[dict, dict]:
    rates = np.linspace(2.6, 4.0, config.rates)
    starts = np.random.default_rng(config.first_seed).uniform(0.05, 0.95, config.seeds)
    steps = config.iterations
    exponent_at_4 = [chaos.logistic_exponent(4.0, steps, start=start) for start in starts]
    numbers = {"exponent_at_4": exponent_at_4, "superstable": chaos.superstable_rates(9)}
    for name, rate in DOUBLINGS.items():
        near = rate + np.linspace(-WINDOW, WINDOW, 350)  # no point of this grid is the answer
        numbers[name] = near[chaos.logistic_exponent(near, steps).argmax()]
    return numbers, {
        "rates": rates,
        "map_rates": (wide := np.linspace(*RANGE, 2 * config.rates)),
        "map": chaos.logistic_exponent(wide, steps),
        "density": chaos.bifurcation_density(rates, 400, 2000).astype(np.uint16),
        "iterates": chaos.logistic_iterates(CYCLE_RATE, 40, start=0.1),
    }


def claims(config: Config) -> list[Claim]:
    """Return what theory says of the four systems; the rules are fixed here."""
    gains = gains_of(config)
    expected = {net: theory_of(net, gains, config) for net in NETS}

    def farthest(net):  # over the gains, of the mean over seeds
        return lambda r: np.abs(r.arrays[net].mean(0) - expected[net]).max()

    def excess(r):  # over infinite width; the same at every gain
        return (r.arrays["relu"] - theory.relu_exponent(gains)).mean(1)

    def tanh_signs(r):  # far from the edge of chaos, at gain 1
        far = np.abs(gains - 1) > 0.25
        return (np.sign(r.arrays["tanh"]) == np.sign(gains - 1))[:, far].all(1)

    def feigenbaum(r):
        gaps = np.diff(r.numbers["superstable"])
        return gaps[-2] / gaps[-1]

    return [
        Claim("ln-2", "Lyapunov exponents, logistic map", "At r = 4 the map's exponent is ln 2",
              lambda r: np.array(r.numbers["exponent_at_4"]), Within(math.log(2), 1e-3), "theory"),
        Claim("doubling-2", "May 1976, period doubling", "The cycle of period 2 is born at r = 3",
              lambda r: r.numbers["doubling-2"], Within(DOUBLINGS["doubling-2"], 1e-3), "theory"),
        Claim("doubling-4", "May 1976, period doubling", "The cycle of period 4 is born at "
              "r = 1 + sqrt 6", lambda r: r.numbers["doubling-4"],
              Within(DOUBLINGS["doubling-4"], 1e-3), "theory"),
        Claim("feigenbaum", "Feigenbaum 1978, abstract", "Doublings follow each other 4.6692 times "
              "closer", feigenbaum, Within(4.669202, 1e-3), "theory"),
        Claim("relu", "He et al. 2015, equation 10", "A ReLU net's exponent is ln(sigma_w^2 / 2) "
              "/ 2 at every gain (largest deviation)", farthest("relu"),
              Within(0.0, 0.01), "theory"),
        Claim("relu-width", "Hanin & Nica 2018, theorem 1", "Finite width n adds -5 / (4 n) to it",
              excess, Within(-1.25 / config.width, 0.5 / config.width), "theory"),
        Claim("relu-shrinks", "Hanin & Nica 2018, theorem 1", "So at He's gain, exact for infinite "
              "width, gradients still vanish", excess, Less(0.0)),
        Claim("tanh", "Schoenholz et al. 2017, section 3", "A tanh net's exponent is ln(chi_1) / 2 "
              "at every gain (largest deviation)", farthest("tanh"),
              Within(0.0, 4 / config.width), "theory"),
        Claim("tanh-edge", "Schoenholz et al. 2017, section 3", "Without biases it changes sign at "
              "gain 1: order below, chaos above", tanh_signs, Share()),
        Claim("batch-norm", "Yang et al. 2019, theorem 1", "Batch norm's exponent is that of the "
              "theory at this batch size", lambda r: r.arrays["batch_norm_relu"].mean(1),
              Within(float(expected["batch_norm_relu"][0]), 0.01), "theory"),
        Claim("batch-norm-gain", "Yang et al. 2019, abstract", "... and explodes at every gain",
              lambda r: (r.arrays["batch_norm_relu"] > 0).all(1), Share()),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw the map above, and below it all four systems on one axis, theory through each."""
    figure, axes = plots.new_figure(2, 2, (13.0, 11.0))
    _draw_diagram(axes[0, 0], record)
    _draw_iterates(axes[0, 1], record.arrays["iterates"])
    row = axes[1, 0].get_gridspec()[1, :]
    for ax in axes[1]:
        ax.remove()
    with plots.style():
        _draw_systems(figure.add_subplot(row), record, config)
    title = "One number, four systems: below zero a small change dies out, above zero it explodes"
    return plots.finish(figure, record, title)


def _draw_diagram(ax: Axes, record: Record) -> None:
    rates, density = record.arrays["rates"], record.arrays["density"]
    share = density / density.max(0)  # of the most visited cell: cycles and chaos alike are dark
    ax.imshow(
        np.where(density > 0, 0.2 + share**0.4, np.nan), origin="lower", aspect="auto",
        extent=(rates[0], rates[-1], 0, 1), cmap="Blues", vmin=0, vmax=1.1, interpolation="none",
    )  # fmt: skip
    ax.grid(False)
    for rate, name in zip(DOUBLINGS.values(), ("r = 3", "1 + √6"), strict=True):
        ax.axvline(rate, color=plots.THEORY_COLOR, linestyle=":", linewidth=1.4)
        ax.text(rate, 0.04, f" {name}")
    plots.describe(ax, "Where x → r x (1 − x) settles, r by r", "r", "x")


def _draw_iterates(ax: Axes, iterates: np.ndarray) -> None:
    ax.plot(iterates, "o-", color=plots.COLORS[0], markersize=5, linewidth=1)
    for level in iterates[-4:]:
        ax.axhline(level, color=plots.COLORS[1], linewidth=1, zorder=0)
    ax.set_ylim(0, 1)
    plots.describe(ax, f"r = {CYCLE_RATE}: it settles on 4 values", "iteration t", "x")


def _draw_systems(ax: Axes, record: Record, config: Config) -> None:
    """Draw the exponents of the map (line) and of the nets (dots), theory through them."""
    arrays = record.arrays
    map_color, *colors = plots.arm_colors(["map", *NETS]).values()
    rates = arrays["map_rates"]
    ax.plot(rates, arrays["map"], color=map_color, linewidth=1.2, label="_map")
    closed_form = chaos.logistic_cycle_exponent(rates)
    # Where the map has a closed form its line is wide, to be seen under dashes, dots and bands.
    ax.plot(rates, np.where(np.isnan(closed_form), np.nan, arrays["map"]), color=map_color,
            linewidth=5, alpha=0.55, label="_map")  # fmt: skip
    plots.theory_line(ax, rates, closed_form, "_theory")
    gains = arrays["gains"]
    fine = np.linspace(gains[0], gains[-1], 200)
    for net, color in zip(NETS, colors, strict=True):
        dots = plots.seed_band(ax, gains, arrays[net], color, f"_{net}")
        dots.set(marker="o", linestyle="none", markersize=7)
        plots.theory_line(ax, fine, theory_of(net, fine, config), "_theory")
        above = -0.03 if net == "relu" else -0.11 if net == "batch_norm_relu" else 0.03
        last = arrays[net].mean(0)[-1]
        ax.text(gains[-1] + 0.04, last + above, NETS[net], color=color, fontweight="bold")
    ax.text(2.22, -0.85, "logistic map", color=map_color, fontweight="bold", ha="right")
    ax.plot(4, math.log(2), "o", color=map_color, clip_on=False, zorder=5)
    ax.annotate("ln 2", (4, math.log(2)), (-8, 4), textcoords="offset points", ha="right")
    for place, name in (*EDGES.values(), (3.0, "3"), (DOUBLINGS["doubling-4"], "1 + √6")):
        ax.axvline(place, color=plots.THEORY_COLOR, linestyle=":", linewidth=1.4, zorder=1)
        ax.text(place, FATES[1] - 0.05, f" {name}", va="top")
    ax.axhspan(0, FATES[1], color=plots.COLORS[1], alpha=0.08, zorder=0)
    ax.axhspan(FATES[0], 0, color=plots.COLORS[0], alpha=0.08, zorder=0)
    ax.axhline(0, color="black", linewidth=1.2)
    ax.text(0.01, 0.95, "explodes", transform=ax.transAxes, va="top", fontsize=15)
    ax.text(0.01, 0.04, "vanishes", transform=ax.transAxes, fontsize=15)
    ax.text(0.49, -0.05, "map =\ntanh", color=map_color, fontweight="bold", va="top")
    ax.set(xlim=(RANGE[0] - 0.05, RANGE[1]), ylim=FATES)
    title = "Growth of a small change per step or layer (dots, lines: measured; dashes: theory)"
    plots.describe(ax, title, r"$r$ of the map, gain $\sigma_w$ of the nets", "exponent")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
