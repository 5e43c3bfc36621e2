"""How gradients vanish, explode or survive on their way down a deep net, before and in training.

Sources: Schoenholz et al. 2017 (arXiv 1611.01232) and Hanin & Nica 2018 (1812.05994) for the growth
of the gradient per layer, Yang et al. 2019 (1902.08129) for batch norm, De & Smith 2020
(2002.10444) for residual branches. Claim in one sentence: a gain off its critical value makes
gradients vanish or explode, batch norm in a plain net makes them explode at step 0 whatever the
gain, and a residual net needs batch norm.

Command: make exp-gradient-flow (under 3 minutes on two cores; embedded 8x8 digits, no download).

Nets without biases; weights drawn with the critical gain (chi_1 = 1) times ``below``, 1 and
``above``; signal, delta and dW of every layer at steps 0, 1, 10 and 100 of plain SGD. Theory holds
for wide nets, to first order in 1 / width.
"""

import dataclasses
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.cli import flagged
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.data.dataset import Splits
from jaxvision.dynamics import mean_field, probes, theory
from jaxvision.models.deep_mlp import DeepMLP
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, EverySeed, Less, Within
from jaxvision.report.record import Record
from jaxvision.training.arms import Arm, fit_arms, probe_cost, record_arrays
from jaxvision.training.fit import Trainer
from jaxvision.training.step import Task

ACTIVATIONS = {
    "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "linear": lambda x: x
}  # fmt: skip
VARIANTS = {  # of the ReLU net: the label and what it has
    "relu": ("plain", {}),
    "batch_norm": ("batch norm", {"normalized": True}),
    "residual": ("residual", {"residual": True}),
    "residual_batch_norm": ("residual + BN", {"residual": True, "normalized": True}),
}
GAINS = ("below", "critical", "above")
STEPS = 101  # so that steps 0, 1, 10 and 100 are seen


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(8, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(0, "First seed.", low=0)
    depths: tuple[int, ...] = flagged((8, 30, 100), "Weight layers.", low=8, high=1000)
    width: int = flagged(64, "Units of every hidden layer.", low=2, high=8192)
    batch_size: int = flagged(32, "Images in a step.", low=4)
    learning_rate: float = flagged(0.01, "SGD's rate.", low=0)
    below: float = flagged(0.5**0.5, "Gain over the critical one; .707: Xavier.", low=0.1, high=1)
    above: float = flagged(2**0.5, "Gain over the critical one.", low=1, high=2)


PRESETS = {
    "tiny": Config(seeds=5, depths=(24,), width=32, batch_size=8),
    "cpu": Config(),
    "gpu": Config(dataset="cifar10", seeds=20, depths=(8, 30, 100, 300), width=256, batch_size=128),
    "paper": Config(seeds=20, depths=(8, 30, 100, 300), width=1024, batch_size=256),
}


def measure(config: Config, progress) -> tuple[dict, dict]:
    """Train every net at every depth and gain; arrays are named 'net+depth/gain/quantity'.

    Nets of the other activations only at the largest depth, whose layers hold the smaller ones.
    """
    data, deepest = load(config.dataset), max(config.depths)
    nets = [(name, depth) for name in VARIANTS for depth in config.depths]
    nets += [(name, deepest) for name in ACTIVATIONS if name not in VARIANTS]
    numbers, arrays = {}, {}
    with progress(len(nets) * len(GAINS) * config.seeds * STEPS, "training") as bar:
        for name, depth in nets:
            trainer, arms = make_arms(config, data, name, depth)
            arrays |= train_arms(config, f"{name}{depth}", trainer, arms, bar.advance)
            if name == "relu" and depth == deepest:
                numbers["probe_cost_percent"] = probe_cost(trainer, arms["critical"])
    return numbers, arrays


def make_arms(config: Config, data: Splits, name: str, depth: int) -> tuple[Trainer, dict]:
    """Return a net's trainer and its arms: gains differ by the starting weights alone."""
    mean = per_pixel_mean(data.train.images)
    scale = float(np.std(data.train.images[:5000] - mean))
    activation, kind = ("relu", VARIANTS[name][1]) if name in VARIANTS else (name, {})
    shape = depth, config.width, data.num_classes, init.xavier_he2015()
    net = DeepMLP(*shape, ACTIVATIONS[activation], **kind)
    draw = partial(initialize_runs, net, image_shape=data.train.images.shape[1:])
    hyper = {"learning_rate": config.learning_rate}
    task = Task(
        apply_function(net),
        lambda hyper: optax.sgd(hyper["learning_rate"]),
        lambda images, key: normalize(images, mean, scale),
        probes.per_layer,
    )
    gains = sigma_ws(config, activation)
    arms = {g: Arm(lambda keys, g=g: init.with_gain(draw(keys), gains[g]), hyper) for g in gains}
    return Trainer(task, data.train, data.test, config.batch_size, STEPS), arms


def train_arms(config: Config, net: str, trainer: Trainer, arms: dict, advance) -> dict:
    """Train all gains and seeds of a net in one sweep, by one program; returns its arrays."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    found = {}
    for gain, history in fit_arms(trainer, arms, seeds, STEPS, advance).items():
        found |= record_arrays(f"{net}/{gain}", history, probes.LAYERWISE)
    return found


def sigma_ws(config: Config, activation: str) -> dict[str, float]:
    """Return sigma_w at each of the three gains."""
    critical = mean_field.critical_gain(activation)
    return {
        "below": config.below * critical,
        "critical": critical,
        "above": config.above * critical,
    }


def values(record: Record, net: str, gain: str, quantity: str, step: int = 0) -> np.ndarray:
    """Return a quantity [S, L] of the deepest net after ``step`` steps."""
    name = f"{net}{max(record.config['depths'])}/{gain}"
    index = list(record.arrays[f"{name}/layer_steps"]).index(step)
    return record.arrays[f"{name}/{quantity}"][:, index]


def delta_growth(record: Record, net: str) -> list[np.ndarray]:
    """Return the slope of log |delta| per layer, on its way down, [S] for each gain."""
    return [probes.growth(values(record, net, g, "delta_norm"), upward=False) for g in GAINS]


def expected_growth(config: Config, activation: str) -> np.ndarray:
    """Return what theory says of ``delta_growth``: mean and std over nets, [2, gains]."""
    size = config.width, min(60, max(config.depths) - 5)  # layers: as ``probes.growth`` does
    sigmas = sigma_ws(config, activation).values()
    return np.transpose([theory.log_norm_slope(activation, sigma, *size) for sigma in sigmas])


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""

    def follows(activation: str):
        mean, std = expected_growth(config, activation)
        return lambda r: (np.abs(np.transpose(delta_growth(r, activation)) - mean) < 3 * std).all(1)

    def squared_factor(gain: int):  # of delta, per layer
        return lambda r: np.exp(2 * delta_growth(r, "batch_norm")[gain])

    def dw_growth(net: str, gain: str, step: int = 0):
        return lambda r: probes.growth(values(r, net, gain, "dw_norm", step), upward=False)

    def stream_variance(record: Record) -> np.ndarray:  # growth per block
        std = values(record, "residual_batch_norm", "critical", "signal_std")
        return (std[:, -2] ** 2 - std[:, 0] ** 2) / (std.shape[1] - 2)

    relaxation = [dw_growth("batch_norm", "critical", step) for step in (1, 0)]
    law = float(theory.batch_norm_squared_factor(config.batch_size, "relu"))
    yang, de = "Yang et al. 2019", "De & Smith 2020"
    theory_tier = [  # id, source, sentence, statistic, rule
        *[(f"delta-{a}", "Schoenholz et al. 2017, chi_1", f"{a}: below, at and above critical gain "
           "the gradient grows as theory says, within 3 sd of one net", follows(a), EverySeed())
          for a in ACTIVATIONS],
        ("batch-norm-factor", f"{yang}, at initialization", "batch norm in a plain ReLU net: the "
         f"squared gradient grows by {law:.3f} a layer (pi/(pi-1) = 1.467 in large batches)",
         squared_factor(1), Within(law, 0.03, relative=True)),
        ("residual-variance", f"{de}, without batch norm", "residual: the stream's variance "
         "doubles each block", lambda r: np.exp(2 * probes.growth(
             values(r, "residual", "critical", "signal_std"), upward=True)),
         Within(2.0, 0.1, relative=True)),
        ("residual-gradient", f"{de}, without batch norm", "residual: so does the squared "
         "gradient, on its way down", lambda r: np.exp(2 * probes.growth(
             values(r, "residual", "critical", "delta_norm"), upward=False)),
         Within(2.0, 0.1, relative=True)),
        ("residual-bn-variance", f"{de}, abstract", "residual + batch norm: it grows by 1 each "
         "block, so that batch norm scales the input of block l down by sqrt(l)", stream_variance,
         Within(1.0, 0.1)),
    ]  # fmt: skip
    direction_tier = [
        ("delta-decays", "textbook reading, backward signal", "below critical gain delta decays on "
         "its way down (growth a layer; theory: twice this bound)",
         lambda r: delta_growth(r, "relu")[0], Less(float(np.log(config.below)) / 2)),
        ("dw-flat", "textbook reading, weight gradients", "... the weight gradient does not, it is "
         "equally small everywhere (growth a layer)",
         dw_growth("relu", "below"), Equivalent(0.05)),
        ("batch-norm-gain", f"{yang}, abstract", "the explosion does not depend on the gain (log "
         "factor, above minus below critical)",
         lambda r: np.log(squared_factor(2)(r) / squared_factor(0)(r)), Equivalent(0.02)),
        ("batch-norm-relaxes", f"{yang}, along training", "one step of SGD takes most of it away "
         "(growth of dW a layer, after over before)",
         lambda r: np.divide(*(growth(r) for growth in relaxation)), Less(0.5)),
    ]  # fmt: skip
    return [Claim(*row[:3], "theory", *row[3:]) for row in theory_tier] + [
        Claim(*row[:3], "direction", *row[3:]) for row in direction_tier
    ]


def plot(record: Record) -> Figure:
    """Draw what gain, batch norm and skip connections do, each with the theory through it."""
    config = cli.make_config_from(sys.modules[__name__], record)
    figure, axes = plots.new_figure(3, 2, (12.5, 14.2))
    _plot_gains(axes[0, 0], record, config)
    _plot_slopes(axes[0, 1], record, config)
    delta, dw = (values(record, "relu", "below", name) for name in ("delta_norm", "dw_norm"))
    lines = {"delta": delta[:, ::-1], "dW": dw[:, ::-1]}
    _lines(axes[1, 0], np.arange(max(config.depths)), lines)
    _words(axes[1, 0], "Below critical (0.71 x He is Xavier): delta\nfades on its way "
           "down, dW is tiny everywhere", "layers below the output", "norm (step 0)")  # fmt: skip
    _plot_batch_norm(axes[1, 1], axes[2, 0], record, config)
    _plot_streams(axes[2, 1], record)
    words = "Gain, batch norm and skip connections decide which gradient the first layers see"
    return plots.finish(figure, record, words)


def _lines(ax: Axes, x: np.ndarray, lines: dict[str, np.ndarray]) -> None:
    for (label, y), color in zip(lines.items(), plots.COLORS, strict=False):
        plots.seed_band(ax, x, y, color, label)


_theory = partial(plots.theory_line, label="_theory")  # the second panel's legend explains it


def _words(ax: Axes, *words: str) -> None:
    plots.log_axis(ax, "y")
    plots.describe(ax, *words)


def _plot_gains(ax: Axes, record: Record, config: Config) -> None:
    labels = {"below": f"{config.below:.2f} x He", "critical": "He"}
    labels["above"] = f"{config.above:.2f} x He"
    lines = {labels[g]: values(record, "relu", g, "delta_norm")[:, ::-1] for g in GAINS}
    below = np.arange(max(config.depths))
    _lines(ax, below, lines)
    for slope, y in zip(expected_growth(config, "relu")[0], lines.values(), strict=True):
        _theory(ax, below, np.median(y[:, 1]) * np.exp(slope * (below - 1)))
    _words(ax, "Off its critical gain a ReLU net's\ngradient explodes or vanishes",
           "layers below the output", "norm of delta (step 0)")  # fmt: skip


def _plot_batch_norm(depth_ax: Axes, step_ax: Axes, record: Record, config: Config) -> None:
    law = float(theory.batch_norm_squared_factor(config.batch_size, "relu")) ** 0.5
    depths, below = np.array(config.depths), np.arange(max(config.depths))
    lines = {}
    for net, (label, _) in VARIANTS.items():
        dw = (record.arrays[f"{net}{depth}/critical/dw_norm"][:, 0] for depth in depths)
        lines[label] = np.transpose([y[:, 1] / y[:, -2] for y in dw])
    _lines(depth_ax, depths, lines)
    _theory(depth_ax, depths, law ** (depths - 3.0))
    _words(depth_ax, "Weight gradient of the first layer over the last:\nbatch norm in a plain net "
           "skews it with depth", "weight layers", "ratio of dW (step 0)")  # fmt: skip
    steps = (0, 1, 10, 100)
    lines = [values(record, "batch_norm", "critical", "dw_norm", t)[:, ::-1] for t in steps]
    _lines(step_ax, below, {f"step {t}": y for t, y in zip(steps, lines, strict=True)})
    _theory(step_ax, below, np.median(lines[0][:, 1]) * law ** (below - 1.0))
    _words(step_ax, "Plain net with batch norm: a single step\nof SGD ends most of the explosion",
           "layers below the output", "norm of dW")  # fmt: skip


def _plot_streams(ax: Axes, record: Record) -> None:
    streams = {net: values(record, net, "critical", "signal_std")[:, :-1] for net in VARIANTS}
    lines = {VARIANTS[net][0]: stream for net, stream in streams.items()}
    first = np.median(lines["residual"][:, 0]) ** 2  # the variance; theory starts from 1
    layers = np.arange(lines["residual"].shape[1])
    _lines(ax, layers, lines)
    _theory(ax, layers, np.sqrt(first * theory.residual_variance(layers, normalized=False)))
    _theory(ax, layers, np.sqrt(first - 1 + theory.residual_variance(layers, normalized=True)))
    _words(ax, "Forward, skip connections double the variance\neach layer; batch norm tames it",
           "layer", "std of the signal (step 0)")  # fmt: skip


def _plot_slopes(ax: Axes, record: Record, config: Config) -> None:
    law = theory.exponent(theory.batch_norm_squared_factor(config.batch_size, "relu"))
    points = {a: (expected_growth(config, a)[0], delta_growth(record, a)) for a in ACTIVATIONS}
    points["relu + batch norm"] = [law] * len(GAINS), delta_growth(record, "batch_norm")
    for (name, (x, y)), color in zip(points.items(), plots.COLORS, strict=False):
        x = np.repeat(x, config.seeds)
        ax.plot(x, np.ravel(y), "o", color=color, alpha=0.7, label=name)
    plots.theory_line(ax, ends := np.array(ax.get_xlim()), ends, "dashed: theory")
    ax.legend(loc="lower right", fontsize=11, frameon=False)
    plots.describe(ax, "Theory foresees every slope\n(a dot is a net)",
                   "theory: growth of log |delta| per layer", "measured")  # fmt: skip


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
