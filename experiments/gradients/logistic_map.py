"""One exponent, four systems: the logistic map and deep nets vanish or explode by one number.

Source: the logistic map x -> r x (1 - x) (May 1976) as lectures on vanishing and exploding
gradients draw it, and what it stands for: He et al. 2015 and Hanin & Nica 2018 (ReLU), Schoenholz
et al. 2017 (tanh), Yang et al. 2019 (batch norm). Claim in one sentence: a product of Jacobians
grows as exp(exponent x depth), and theory gives the exponent of all four systems.

Command: make exp-logistic-map (two minutes on two cores; no data).

The map's exponent is the mean of ln |f'| along an orbit: a product of 1 x 1 Jacobians. A net's is
the growth of ln |J u| per layer, J the Jacobian of random layers without biases, u a random
direction. A period doubles where the exponent touches zero between two negative stretches, so the
doubling is read off the measured exponent. ReLU nets see the gain as a factor of every layer and
batch norm takes it off again, so these two are measured at three gains only; what is asked of them
is the width and the batch size. What lectures leave out: batch norm explodes at every gain.
"""

import dataclasses
import itertools
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from experiments.gradients import _exponents as exponents
from experiments.gradients import _logistic as logistic
from experiments.gradients import _logistic_claims as stated
from experiments.gradients import _logistic_panels as panels
from jaxvision import cli
from jaxvision.dynamics import random_nets, theory
from jaxvision.dynamics.activations import ACTIVATIONS
from jaxvision.fields import flagged
from jaxvision.random import probe
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, Axes, Figure


@dataclasses.dataclass(frozen=True)
class Net:
    """A kind of net.

    Attributes:
      label: in the figure; its color stands for it.
      activate: what a layer does after its weights.
      scale_free: its layers answer to the gain by a factor, or not at all.
      homogeneous: as in ``random_nets.net_growth``.
    """

    label: str
    activate: Callable[[Array], Array]
    scale_free: bool
    homogeneous: bool = False


NETS = {
    "relu": Net("ReLU", ACTIVATIONS["relu"], scale_free=True, homogeneous=True),
    "tanh": Net("tanh", ACTIVATIONS["tanh"], scale_free=False),
    "batch_norm": Net("batch norm", exponents.batch_norm_relu, scale_free=True),
}
WINDOW = 0.05  # half the range of r around a doubling in which it is looked for
GAINS = 0.5, 3.0


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    seeds: int = flagged(30, "Random nets of each kind, and orbits at r = 4.", low=1, high=10_000)
    first_seed: int = flagged(5000, "First seed.", low=0, high=10**9)
    n_rates: int = flagged(800, "Number of values of r, from 2.6 to 4.", low=10, high=100_000)
    iterations: int = flagged(20_000, "Iterations behind the exponent.", low=10, high=10**6)
    n_gains: int = flagged(16, "Number of gains of tanh nets, from 0.5 to 3.", low=3, high=1000)
    width: int = flagged(128, "Units of a tanh layer.", low=2, high=8192)
    depth: int = flagged(500, "Layers of a tanh net.", low=2, high=100_000)
    relu_widths: tuple[int, ...] = flagged((32, 64), "Units of a ReLU layer.", low=2, high=8192)
    relu_depth: int = flagged(2000, "Layers of a ReLU net.", low=2, high=100_000)
    batch_norm_width: int = flagged(512, "Units of a batch-normalized layer.", low=2, high=8192)
    batch_norm_depth: int = flagged(80, "Layers of a batch-normalized net.", low=2, high=100_000)
    batch_sizes: tuple[int, ...] = flagged(
        (8, 16, 64), "Numbers of inputs that batch norm normalizes over.", low=4, high=8192
    )


PRESETS = {
    "tiny": Config(
        seeds=5,
        first_seed=0,
        n_rates=60,
        iterations=2000,
        n_gains=5,
        width=32,
        depth=20,
        relu_widths=(16,),
        relu_depth=100,
        batch_norm_width=32,
        batch_norm_depth=8,
        batch_sizes=(8, 16),
    ),
    "cpu": Config(),
    "gpu": Config(
        seeds=100,
        n_rates=4000,
        iterations=100_000,
        n_gains=51,
        width=512,
        depth=2000,
        relu_depth=8000,
        batch_norm_width=2048,
        batch_norm_depth=200,
        batch_sizes=(8, 32, 128),
    ),
    "paper": Config(
        seeds=20,
        n_rates=4000,
        iterations=100_000,
        n_gains=51,
        width=1024,
        depth=2000,
        relu_depth=8000,
        batch_norm_width=4096,
        batch_norm_depth=200,
        batch_sizes=(8, 32, 128, 512),
    ),
}


def gains_of(net: Net, config: Config) -> np.ndarray:
    """Return the gains sigma_w at which a net is measured, [G]."""
    if net.scale_free:
        return np.array([GAINS[0], math.sqrt(2), GAINS[1]])
    return np.linspace(*GAINS, config.n_gains)


def sizes_of(name: str, config: Config) -> list[tuple[int, int, int]]:
    """Return (width, depth, batch) of every size in which a net is measured."""
    if name == "relu":
        return [(width, config.relu_depth, 1) for width in config.relu_widths]
    if name == "tanh":
        return [(config.width, config.depth, 1)]
    width, depth = config.batch_norm_width, config.batch_norm_depth
    return [(width, depth, batch) for batch in config.batch_sizes]


def theory_of(name: str, gains: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Return what the closed forms say of a net's exponent at ``gains`` [G].

    To first order in 1 / width for ReLU and tanh; of infinite width for batch norm.
    """
    width, _, batch = size
    if name == "relu":
        return theory.relu_exponent(gains, width)
    if name == "tanh":
        return exponents.tanh_exponent(gains, width)
    return np.full(gains.shape, theory.exponent(theory.batch_norm_squared_factor(batch, "relu")))


def measure(
    config: Config, progress: cli.ShowProgress, nets: Mapping[str, Net] = NETS
) -> tuple[dict, dict]:
    """Iterate the map and random nets; a net's array is [seeds, sizes, gains]."""
    with progress(1 + len(nets), "exponents") as bar:
        numbers, arrays = measure_map(config)
        bar.advance()
        for name, net in nets.items():
            gains = gains_of(net, config)
            found = []
            for size in sizes_of(name, config):
                one = partial(_one_net, net, size)
                found.append(over_seeds(one, config.seeds, gains, config.first_seed))
            arrays[name] = np.stack(found, axis=1)
            bar.advance()
    return numbers, arrays


def _one_net(net: Net, size: tuple[int, int, int], seed: Array, gains: Array) -> Array:
    key = probe(seed, "nets")
    return random_nets.net_exponents(key, net.activate, gains, *size, homogeneous=net.homogeneous)


def rates_of(config: Config) -> np.ndarray:
    """Return the values of r at which the map is iterated."""
    return np.linspace(2.6, 4.0, config.n_rates)


def measure_map(
    config: Config, exponent: Callable[..., np.ndarray] = logistic.exponent
) -> tuple[dict, dict]:
    """Return numbers and arrays of the map whose ``exponent`` is given."""
    rates = rates_of(config)
    starts = np.random.default_rng(config.first_seed).uniform(0.05, 0.95, config.seeds)
    at_4 = [exponent(4.0, config.iterations, start=start) for start in starts]
    # An even number of points: none of them is the answer.
    near = logistic.SECOND_DOUBLING + np.linspace(-WINDOW, WINDOW, 350)
    doubling = near[exponent(near, config.iterations).argmax()]
    image = logistic.bifurcation_image(rates, 300, 2000)
    arrays = {"map": np.float32(exponent(rates, config.iterations)), "density": image}
    return {"exponent_at_4": at_4, "doubling-4": doubling}, arrays


def claims(config: Config) -> list[Claim]:
    """Return what theory says of the four systems."""
    tanh_gains = gains_of(NETS["tanh"], config)
    tanh_law = theory_of("tanh", tanh_gains, sizes_of("tanh", config)[0])
    sizes = sizes_of("batch_norm", config)
    laws = [float(theory_of("batch_norm", np.ones(1), size)[0]) for size in sizes]
    return [
        *stated.of_the_map(),
        *stated.of_tanh(config.width, tanh_gains, tanh_law),
        stated.of_batch_norm(config.batch_sizes[0], laws[0]),
        *stated.of_relu(config.relu_widths, gains_of(NETS["relu"], config)),
        *stated.of_batch_sizes(config.batch_sizes, laws),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw the map and its exponent on the left, the exponents of nets on the right."""
    figure, axes = plots.new_figure(2, 2, 8.8)
    (diagram, batches), (exponent, nets) = axes
    with plots.style():
        panels.draw_diagram(diagram, record, rates_of(config))
        panels.draw_map_exponent(exponent, record, rates_of(config))
        _draw_nets(nets, record, config)
        _draw_batches(batches, record, config)
    title = "A Lyapunov exponent below 0: a small change dies out; above 0 it grows"
    return plots.finish(
        figure,
        record,
        title,
        net=f"ReLU nets of width {config.relu_widths[-1]}, tanh {config.width}, "
        f"batch norm {config.batch_norm_width}, at the start",
        optimizer="Nothing is trained",
        paper="May 1976, Hanin & Nica 2018, Schoenholz et al. 2017, Yang et al. 2019",
        data="Gaussian inputs",
    )


def _draw_nets(ax: Axes, record: Record, config: Config) -> None:
    fine = np.linspace(*GAINS, 200)
    for name, net in NETS.items():
        size = sizes_of(name, config)[-1]
        gains = gains_of(net, config)
        color = plots.color_of(net.label)
        panels.draw_dots(ax, gains, record.arrays[name][:, -1], color, net.label)
        plots.theory_line(ax, fine, theory_of(name, fine, size), "_theory")
    panels.shade_fates(ax)
    ax.text(0.97, 0.95, "explodes", transform=ax.transAxes, ha="right", va="top")
    ax.text(0.97, 0.05, "vanishes", transform=ax.transAxes, ha="right")
    title = "Exponents of nets (dots, bars over\nall seeds) on theory (dashes)"
    plots.describe(ax, title, r"gain $\sigma_w$ of the weights", "ln of growth per layer")
    ax.set_xlim(0.4, 3.1)
    relu = [f"relu-{width}" for width in config.relu_widths]
    plots.mark_contradicted(ax, record, "tanh", "tanh-edge", *relu)


def _draw_batches(ax: Axes, record: Record, config: Config) -> None:
    color = plots.color_of("batch norm")
    measured = record.arrays["batch_norm"].mean(2)
    panels.draw_dots(ax, np.array(config.batch_sizes), measured, color, "_measured")
    fine = np.geomspace(config.batch_sizes[0], config.batch_sizes[-1], 100)
    factors = theory.batch_norm_squared_factor(fine, "relu")
    plots.theory_line(ax, fine, theory.exponent(factors), "_theory")
    ax.set_xscale("log")
    ax.set_xticks(config.batch_sizes, [str(size) for size in config.batch_sizes])
    ax.minorticks_off()
    pairs = itertools.pairwise(config.batch_sizes)
    names = [f"batch-norm-{few}-{many}" for few, many in pairs]
    title = plots.headline(
        record,
        {("batch-norm", *names): "Batch norm explodes at any gain,\nfaster over fewer inputs"},
        otherwise="Batch norm's exponent by inputs\n(dots: measured, dashes: theory)",
    )
    plots.describe(ax, title, "inputs it normalizes over", "ln of growth per layer")
    plots.mark_contradicted(ax, record, "batch-norm", *names)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
