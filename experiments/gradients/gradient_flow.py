"""How gradients vanish, explode or survive on their way down a deep net, before and in training.

Sources: Schoenholz et al. 2017 (arXiv 1611.01232) and Hanin & Nica 2018 (1812.05994) for the growth
of the gradient per layer, Yang et al. 2019 (1902.08129) for batch norm, De & Smith 2020
(2002.10444) for residual branches. Claim in one sentence: a gain off its critical value makes
gradients vanish or explode, batch norm in a plain net explodes them at step 0 whatever the gain,
and a residual net needs batch norm.

Command: make exp-gradient-flow (some 4 minutes on two cores; embedded 8x8 digits, no download).
Nets without biases; weights drawn with the critical gain (chi_1 = 1) times ``below``, 1 and
``above``; signal, delta and dW of every layer at steps 0, 1, 10 and 100 of plain SGD.
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.gradients import _flow as flow
from experiments.gradients._flow import ACTIVATIONS
from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.data.dataset import Splits
from jaxvision.dynamics import probes, theory
from jaxvision.fields import flagged
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.models.residual_mlp import DeepMLP
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Less, Within
from jaxvision.report.record import Record
from jaxvision.training.arms import Arm, fit_arms, make_runs, probe_cost, record_arrays
from jaxvision.training.fit import Trainer
from jaxvision.training.step import Task

VARIANTS = {  # of the ReLU net: the label and what it has
    "relu": ("plain", {}),
    "batch_norm": ("batch norm", {"normalized": True}),
    "residual": ("residual", {"residual": True}),
    "residual_batch_norm": ("residual + BN", {"residual": True, "normalized": True}),
}
GAINS = ("below", "critical", "above")
TITLE = "Gain, batch norm and skip connections decide which gradient the first layers see"
STEPS = 101  # so that steps 0, 1, 10 and 100 are seen
# Their squared norms grow by 1.5 and 2 a layer: float32 ends at some 230 and 120 layers.
DEEPEST = {"batch_norm": 100, "residual": 100}
GROWTHS = {q: partial(flow.growth, quantity=q) for q in flow.QUANTITIES}
SIGNAL = dict.fromkeys(ACTIVATIONS, GROWTHS["signal"]) | {"sigmoid": flow.level}
TOLERANCE = 0.02  # of a growth per layer; a gain wrong by 10 % is off by .05 to .1


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(8, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(200, "First seed.", low=0)
    depths: tuple[int, ...] = flagged((8, 30, 100), "Weight layers.", low=8, high=1000)
    width: int = flagged(64, "Units of every hidden layer.", low=2, high=8192)
    wide: int = flagged(256, "Units where one image is followed.", low=2, high=8192)
    batch_size: int = flagged(32, "Images in a step.", low=4)
    learning_rate: float = flagged(0.01, "SGD's rate.", low=0)
    below: float = flagged(0.5**0.5, "Gain over the critical one; .707: Xavier.", low=0.1, high=1)
    above: float = flagged(2**0.5, "Gain over the critical one.", low=1, high=2)


_DEEP = {"seeds": 20, "depths": (8, 30, 100, 300), "below": 0.9, "above": 1.1}  # float32 holds
PRESETS = {
    "tiny": Config(seeds=5, first_seed=0, depths=(24,), width=32, wide=512, batch_size=8),
    "cpu": Config(),
    "gpu": Config(dataset="cifar10", width=256, batch_size=128, **_DEEP),
    "paper": Config(width=1024, wide=512, batch_size=256, **_DEEP),
}


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Train every net at every depth and gain; arrays are named 'net+depth/gain/quantity'.

    Nets of the other activations only at the largest depth, whose layers hold the smaller ones.
    """
    data, deepest = load(config.dataset), max(config.depths)
    nets = [(name, depth) for name in VARIANTS for depth in depths_of(config, name)]
    nets += [(name, deepest) for name in ACTIVATIONS if name not in VARIANTS]
    numbers, arrays = {}, {}
    with progress(len(nets) * len(GAINS) * config.seeds * STEPS, "training") as bar:
        for name, depth in nets:
            trainer, arms = make_arms(config, data, name, depth)
            arrays |= train_arms(config, f"{name}{depth}", trainer, arms, bar.advance)
            if name == "relu" and depth == deepest:
                numbers["probe_cost_percent"] = probe_cost(trainer, arms["critical"])
    for name in ACTIVATIONS:
        arrays |= follow_images(config, data, name)
    return numbers, arrays


def depths_of(config: Config, net: str) -> tuple[int, ...]:
    """Return the depths of a net at which float32 holds its norms (the least one always)."""
    deepest = max(DEEPEST.get(net, np.inf), min(config.depths))
    return tuple(depth for depth in config.depths if depth <= deepest)


def follow_images(config: Config, data: Splits, activation: str) -> dict[str, np.ndarray]:
    """Return 'image/activation/gain/signal' and '.../delta', log norms [S, L] of single images."""
    wide = dataclasses.replace(config, width=config.wide)
    trainer, arms = make_arms(wide, data, activation, max(config.depths))
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    nets = make_runs({"critical": arms["critical"]}, seeds).variables
    images = trainer.task.preprocess(data.train.images[: config.batch_size], None)
    found = flow.image_log_norms(trainer.task.apply, nets, images, factors(config))
    return {f"image/{activation}/{name}": value for name, value in found.items()}


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
        probe=probes.per_layer,
    )
    gains = flow.sigma_ws(activation, factors(config))
    arms = {g: Arm(lambda keys, g=g: init.with_gain(draw(keys), gains[g]), hyper) for g in gains}
    return Trainer(task, data.train, data.test, config.batch_size, STEPS), arms


def train_arms(config: Config, net: str, trainer: Trainer, arms: dict, advance) -> dict:
    """Train all gains and seeds of a net in one sweep, by one program; returns its arrays."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    found = {}
    for gain, history in fit_arms(trainer, arms, seeds, STEPS, advance).items():
        found |= record_arrays(f"{net}/{gain}", history, probes.LAYERWISE)
    return found


def values(record: Record, net: str, gain: str, quantity: str, step: int = 0) -> np.ndarray:
    """Return a quantity [S, L] of the deepest net after ``step`` steps."""
    config = cli.make_config_from(sys.modules[__name__], record)
    name = f"{net}{max(depths_of(config, net))}/{gain}"
    index = list(record.arrays[f"{name}/layer_steps"]).index(step)
    return record.arrays[f"{name}/{quantity}"][:, index]


def delta_growth(record: Record, net: str) -> list[np.ndarray]:
    """Return the slope of log |delta| per layer, on its way down, [S] for each gain."""
    return [probes.growth(values(record, net, g, "delta_norm"), upward=False) for g in GAINS]


def factors(config: Config) -> dict[str, float]:
    """Return the three gains over the critical one."""
    return dict(zip(GAINS, (config.below, 1.0, config.above), strict=True))


def measured(record: Record, activation: str, statistic: Callable) -> np.ndarray:
    """Return a statistic of ``flow.image_log_norms`` at each gain, [gains, S]."""
    return flow.by_gain(record.arrays, f"image/{activation}", GAINS, statistic)


def expected(config: Config, activation: str, statistic: Callable) -> np.ndarray:
    """Return what theory says of ``measured``, [gains, 1]."""
    size, sigmas = (config.wide, max(config.depths)), flow.sigma_ws(activation, factors(config))
    return flow.expected(activation, sigmas.values(), *size, statistic)


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""

    def departure(activation: str, statistic: Callable):  # [S], at the gain of the largest
        theirs = expected(config, activation, statistic)
        return lambda r: flow.largest(measured(r, activation, statistic) - theirs)

    def dw_growth(net: str, gain: str, step: int = 0):
        return lambda r: probes.growth(values(r, net, gain, "dw_norm", step), upward=False)

    def residual_factor(quantity: str, upward: bool):  # of its square, per block
        net = "residual", "critical", quantity
        return lambda r: np.exp(2 * probes.growth(values(r, *net), upward))

    law = float(theory.batch_norm_squared_factor(config.batch_size, "relu"))
    stream = "residual_batch_norm", "critical", "signal_std"
    bn, doubles = ("batch_norm", "critical"), Within(2.0, 0.1, relative=True)
    yang, de = "Yang et al. 2019", "De & Smith 2020"
    theory_tier = [  # id, source, sentence, statistic, rule
        *[(f"delta-{a}", "Schoenholz et al. 2017, chi_1", f"{a}: below, at and above critical gain "
           "one image's gradient grows as theory says (log a layer less theory's, the worst gain)",
           departure(a, GROWTHS["delta"]), Within(0.0, TOLERANCE)) for a in ACTIVATIONS],
        *[(f"signal-{a}", "Poole et al. 2016, variance map", f"{a}: and so does its signal "
           "(sigmoid, whose signal stands still: its level)", departure(a, SIGNAL[a]),
           Within(0.0, TOLERANCE)) for a in ACTIVATIONS],
        ("batch-norm-factor", f"{yang}, at initialization", "batch norm in a plain ReLU net: the "
         f"squared gradient grows by {law:.3f} a layer (pi/(pi-1) = 1.467 in large batches)",
         lambda r: np.exp(2 * delta_growth(r, "batch_norm")[1]), Within(law, 0.03, relative=True)),
        ("residual-variance", f"{de}, without batch norm", "residual: the stream's variance "
         "doubles each block", residual_factor("signal_std", True), doubles),
        ("residual-gradient", f"{de}, without batch norm", "residual: so does the squared "
         "gradient, on its way down", residual_factor("delta_norm", False), doubles),
        ("residual-bn-variance", f"{de}, abstract", "residual + batch norm: it grows by 1 each "
         "block, so that batch norm scales the input of block l down by sqrt(l)",
         lambda r: probes.variance_per_block(values(r, *stream)), Within(1.0, 0.1)),
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
         lambda r: 2 * np.subtract(*delta_growth(r, "batch_norm")[::-2]), Equivalent(0.02)),
        ("batch-norm-relaxes", f"{yang}, along training", "one step of SGD takes most of it away "
         "(growth of dW a layer, after over before)",
         lambda r: np.divide(*(dw_growth(*bn, t)(r) for t in (1, 0))), Less(0.5)),
    ]  # fmt: skip
    tiers = {"theory": theory_tier, "direction": direction_tier}
    return [Claim(*row, tier) for tier, rows in tiers.items() for row in rows]


def plot(record: Record, config: Config) -> Figure:
    """Draw what gain, batch norm and skip connections do, each with the theory through it."""
    figure, axes = plots.new_figure(3, 2, (12.5, 14.2))
    _plot_gains(axes[0, 0], axes[1, 0], record, config)
    _plot_slopes(axes[0, 1], record, config)
    _plot_batch_norm(axes[1, 1], axes[2, 0], record, config)
    _plot_streams(axes[2, 1], record)
    return plots.finish(figure, record, TITLE)


def _plot_gains(ax: Axes, below_ax: Axes, record: Record, config: Config) -> None:
    words = f"{config.below:.2f} x He", "He", f"{config.above:.2f} x He"
    lines = [values(record, "relu", g, "delta_norm")[:, ::-1] for g in GAINS]
    below = np.arange(max(config.depths))
    plots.log_panel(ax, below, dict(zip(words, lines, strict=True)), "Off its critical gain a ReLU "
                    "net's\ngradient explodes or vanishes", "layers below the output",
                    "norm of delta (step 0)")  # fmt: skip
    slopes = theory.relu_exponent([*flow.sigma_ws("relu", factors(config)).values()], config.width)
    for slope, y, label in zip(slopes, lines, ("_", "theory", "_"), strict=True):
        plots.theory_line(ax, below, np.median(y[:, 1]) * np.exp(slope * (below - 1)), label)
    both = {"delta": lines[0], "dW": values(record, "relu", "below", "dw_norm")[:, ::-1]}
    words = f"Below critical ({config.below:.2f} x He): delta fades\non its way down, dW does not"
    plots.log_panel(below_ax, below, both, words, "layers below the output", "norm (step 0)")


def _plot_batch_norm(depth_ax: Axes, step_ax: Axes, record: Record, config: Config) -> None:
    law = float(theory.batch_norm_squared_factor(config.batch_size, "relu")) ** 0.5
    depths, lines = np.array(depths_of(config, "batch_norm")), {}
    for net, (label, _) in VARIANTS.items():
        dw = (record.arrays[f"{net}{depth}/critical/dw_norm"][:, 0] for depth in depths)
        lines[label] = np.transpose([y[:, 1] / y[:, -2] for y in dw])
    plots.log_panel(depth_ax, depths, lines, "Weight gradient, first layer over last:\n"
                    "batch norm in a plain net skews it", "weight layers",
                    "ratio of dW (step 0)")  # fmt: skip
    plots.theory_line(depth_ax, depths, law ** (depths - 3.0))
    dw = {f"step {t}": values(record, "batch_norm", "critical", "dw_norm", t)[:, ::-1]
          for t in (0, 1, 10, 100)}  # fmt: skip
    below = np.arange(max(depths))
    plots.log_panel(step_ax, below, dw, "Plain net with batch norm: a single step\nof SGD ends "
                    "most of the explosion", "layers below the output", "norm of dW")  # fmt: skip
    plots.theory_line(step_ax, below, np.median(dw["step 0"][:, 1]) * law ** (below - 1.0))


def _plot_streams(ax: Axes, record: Record) -> None:
    streams = [values(record, net, "critical", "signal_std")[:, :-1] for net in VARIANTS]
    layers = np.arange(min(stream.shape[1] for stream in streams))
    lines = {VARIANTS[n][0]: y[:, : layers.size] for n, y in zip(VARIANTS, streams, strict=True)}
    plots.log_panel(ax, layers, lines, "Forward, skip connections double the variance\neach "
                    "layer; batch norm tames it", "layer", "signal's std (step 0)")  # fmt: skip
    first = np.median(lines["residual"][:, 0]) ** 2  # the variance; theory starts from 1
    for start, normalized in ((first, False), (1.0, True)):
        law = start * theory.residual_variance(layers, normalized) + (first - start) * normalized
        plots.theory_line(ax, layers, np.sqrt(law), "_" if normalized else "theory")


def _plot_slopes(ax: Axes, record: Record, config: Config) -> None:
    for name, color in zip(ACTIVATIONS, plots.COLORS, strict=False):
        for slope, marker in zip(GROWTHS.values(), "^o", strict=True):
            x, y = expected(config, name, slope), measured(record, name, slope)
            label = name if marker == "o" else "_"
            ax.plot(np.repeat(x, config.seeds), y.ravel(), marker, color=color, label=label)
    plots.theory_line(ax, ends := np.array(ax.get_xlim()), ends)
    ax.legend(loc="lower right", fontsize=10)
    plots.describe(ax, "Theory foresees every slope\n(circles: delta, triangles: signal)",
                   "theory: growth of one image's log norm per layer", "measured")  # fmt: skip


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
