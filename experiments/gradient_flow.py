"""How gradients vanish, explode, survive or shatter on their way down a deep net.

Sources: Schoenholz et al. 2017 (arXiv 1611.01232) and Hanin & Nica 2018 (1812.05994) for the slope
of the log gradient per layer, Yang et al. 2019 (1902.08129) for batch norm, De & Smith 2020
(2002.10444) for residual branches, Balduzzi et al. 2017 (1702.08591) for shattering. Claim in one
sentence: a gain off its critical value makes gradients vanish or explode, batch norm in a plain net
makes them explode at step 0, skip connections hold both their size and their correlation.

Command: make exp-gradient-flow (under 3 minutes on two cores; embedded 8x8 digits, no download).

Nets of 8 to 100 weight layers, no biases, weights drawn with the critical gain (chi_1 = 1) times
``below``, 1 and ``above``; three norms of every layer at steps 0, 1, 10 and 100 of plain SGD. The
shattering part has a net of its own, on a line of inputs as in the paper; see
``dynamics/shattering.py``.
"""

import dataclasses
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.cli import flagged
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.dynamics import mean_field, probes, shattering, theory
from jaxvision.models.deep_mlp import DeepMLP
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.report.claims import Claim, Equivalent, EverySeed, Greater, Less, Within
from jaxvision.training.arms import Arm, fit_arms, record_arrays
from jaxvision.training.fit import Trainer
from jaxvision.training.step import Task

ACTIVATIONS = {
    "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "linear": lambda x: x
}  # fmt: skip
# Name -> what the net has beside its activation. Those of the first line are ReLU nets.
VARIANTS = {
    "relu": {},
    "batch_norm": {"normalized": True},
    "residual": {"residual": True},
    "residual_batch_norm": {"residual": True, "normalized": True},
}
LABELS = {
    "relu": "plain",
    "batch_norm": "batch norm",
    "residual": "residual",
    "residual_batch_norm": "residual + BN",
}
LINES = ("relu", "batch_norm", "residual_batch_norm")  # nets of the shattering part
GAINS = ("below", "critical", "above")
STEPS = 101  # so that steps 0, 1, 10 and 100 are seen
FITTED = 60  # layers behind a slope, from where the signal comes
SETTLED = 3  # layers at that end which are left out


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(5, "Paired seeds of every net.", low=1, high=1000)
    depths: tuple[int, ...] = flagged((8, 30, 100), "Weight layers.", low=8, high=1000)
    width: int = flagged(64, "Units of every hidden layer.", low=2, high=8192)
    batch_size: int = flagged(32, "Images in a step.", low=4)
    learning_rate: float = flagged(0.01, "SGD's rate.", low=0)
    below: float = flagged(0.5**0.5, "Gain over the critical one; .707 is Xavier's.", low=0.1, high=1)
    above: float = flagged(2**0.5, "Gain over the critical one.", low=1, high=2)
    line_width: int = flagged(200, "Units of the nets on a line.", low=2, high=8192)
    line_points: int = flagged(256, "Inputs on the line.", low=32, high=4096)
    line_depth: int = flagged(64, "Layers of the nets on a line.", low=64, high=4096)


PRESETS = {
    "tiny": Config(seeds=2, depths=(8,), width=8, batch_size=8, line_width=8, line_points=32),
    "cpu": Config(),
    "gpu": Config(dataset="cifar10", seeds=20, depths=(8, 30, 100, 300), width=256, batch_size=128),
    "paper": Config(seeds=20, depths=(8, 30, 100, 300), width=1024, batch_size=256),
}


def measure(config: Config, progress) -> tuple[dict, dict]:
    """Train every net at every depth and gain; arrays are named 'net+depth/gain/quantity'.

    Nets of the other activations only at the largest depth, whose layers hold the smaller ones.
    """
    data = load(config.dataset)
    mean = per_pixel_mean(data.train.images)
    scale = float(np.std(data.train.images[:5000] - mean))
    deepest = max(config.depths)
    nets = [(name, depth) for name in VARIANTS for depth in config.depths]
    nets += [(name, deepest) for name in ACTIVATIONS if name not in VARIANTS]
    arrays = {}
    with progress(len(nets) * len(GAINS) * config.seeds * STEPS, "training") as bar:
        for name, depth in nets:
            activation = "relu" if name in VARIANTS else name
            shape = depth, config.width, data.num_classes, init.xavier_he2015()
            net = DeepMLP(*shape, ACTIVATIONS[activation], **VARIANTS.get(name, {}))
            task = Task(
                apply_function(net),
                lambda hyper: optax.sgd(hyper["learning_rate"]),
                lambda images, key: normalize(images, mean, scale),
                probes.per_layer,
            )
            arms = {}
            for gain, factor in _factors(config).items():
                gained = factor * mean_field.critical_gain(activation)
                start = partial(_start, net, data.train.images.shape[1:], gained)
                arms[gain] = Arm(start, {"learning_rate": config.learning_rate})
            trainer = Trainer(task, data.train, data.test, config.batch_size, STEPS)
            histories = fit_arms(trainer, arms, range(config.seeds), STEPS, bar.advance)
            for gain, history in histories.items():
                arrays |= record_arrays(f"{name}{depth}/{gain}", history, probes.LAYERWISE)
    return {}, arrays | _lines(config)


def _factors(config: Config) -> dict[str, float]:
    return dict(zip(GAINS, (config.below, 1.0, config.above), strict=True))


def _start(net: DeepMLP, image_shape: tuple, gain: float, keys: jax.Array) -> dict:
    """Draw nets with weights of variance ``gain^2 / fan_in``: gains share their draws."""
    variables = initialize_runs(net, keys, image_shape)
    scale = lambda path, leaf: gain * leaf if path[-1].key == "kernel" else leaf  # noqa: E731
    return jax.tree_util.tree_map_with_path(scale, variables)


def _lines(config: Config) -> dict[str, np.ndarray]:
    """Return the gradients' correlation by depth and, of one net, the gradients themselves."""
    positions = jnp.linspace(-2.0, 2.0, config.line_points)
    lag = config.line_points // 16
    keys = jnp.stack([stream(seed, "probe") for seed in range(config.seeds)])
    found = {"line/positions": np.asarray(positions)}
    for name in LINES:
        kind = {"residual": False, "normalized": False} | VARIANTS[name]

        def one(key, kind=kind):
            gradients = shattering.gradients_on_a_line(
                key, positions, config.line_width, config.line_depth, **kind
            )
            return shattering.autocorrelation(gradients, lag), gradients[..., 0]

        correlation, unit = jax.jit(jax.vmap(one))(keys)
        found[f"line/{name}/correlation"] = np.asarray(correlation)
        found[f"line/{name}/gradient"] = np.asarray(unit[0])  # [layers, P]
    return found


def values(record: Record, net: str, gain: str, quantity: str, step: int = 0) -> np.ndarray:
    """Return a quantity [S, L] of the deepest net after ``step`` steps."""
    name = f"{net}{max(record.config['depths'])}/{gain}"
    index = list(record.arrays[f"{name}/layer_steps"]).index(step)
    return record.arrays[f"{name}/{quantity}"][:, index]


def growth(layers: np.ndarray, upward: bool) -> np.ndarray:
    """Return the slope [S] of log ``layers`` [S, L] per layer, in the direction of travel."""
    hidden = np.log(layers[:, 1:-1])
    travelled = hidden if upward else hidden[:, ::-1]
    fitted = travelled[:, SETTLED : SETTLED + FITTED]
    return np.polyfit(np.arange(fitted.shape[1]), fitted.T, 1)[0]


def expected_growth(config: Config, activation: str, gain: str) -> float:
    """Return what theory says of the gradient: its exponent per layer."""
    sigma_w = _factors(config)[gain] * mean_field.critical_gain(activation)
    if activation == "relu":
        return float(theory.relu_exponent(sigma_w, config.width))
    q = mean_field.variance_fixed_point(sigma_w, 0.0, activation)
    return float(theory.exponent(mean_field.chi(sigma_w, q, activation)))


def correlation(record: Record, net: str, depth: int) -> np.ndarray:
    """Return the correlation [S] of the gradients at two near inputs, ``depth`` layers up."""
    return record.arrays[f"line/{net}/correlation"][:, depth - 1]


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    fitted = min(FITTED, max(config.depths) - 2 - SETTLED)
    band = 3 * theory.slope_std(config.width, fitted)

    def in_band(activation: str, quantity: str, upward: bool):
        def statistic(record: Record) -> np.ndarray:
            slopes = [growth(values(record, activation, g, quantity), upward) for g in GAINS]
            expected = [expected_growth(config, activation, g) for g in GAINS]
            return (np.abs(np.transpose(slopes) - expected) < band).all(1)

        return statistic

    def factor(gain: str = "critical"):  # of the squared delta, per layer
        return lambda r: np.exp(2 * growth(values(r, "batch_norm", gain, "delta_norm"), False))

    def relaxed(record: Record) -> np.ndarray:
        dw = [growth(values(record, "batch_norm", "critical", "dw_norm", t), False) for t in (0, 1)]
        return dw[1] / dw[0]

    def stream_variance(record: Record) -> np.ndarray:
        std = values(record, "residual_batch_norm", "critical", "signal_std")
        return (std[:, -2] ** 2 - std[:, 0] ** 2) / (std.shape[1] - 2)

    def rate(record: Record, net: str, depth: int) -> np.ndarray:  # of an exponential decay
        return -np.log(correlation(record, net, depth)) / depth

    def power(record: Record) -> np.ndarray:  # of a decay like a power of depth
        early, late = (correlation(record, "residual_batch_norm", d) for d in (16, 64))
        return np.log(early / late) / np.log(64 / 16)

    law = float(theory.batch_norm_squared_factor(config.batch_size, "relu"))
    positions = np.linspace(-2, 2, config.line_points)
    shattered = shattering.plain_autocorrelation(positions, config.line_points // 16, 16)[-1]
    yang, de, balduzzi = "Yang et al. 2019", "De & Smith 2020", "Balduzzi et al. 2017"
    schoenholz, textbook = "Schoenholz et al. 2017, section 3", "textbook reading, weight gradients"
    three_gains = f"below, at and above critical gain, delta grows by the exponent a layer (+-{band:.3f})"
    theory_tier = [  # id, source, sentence, statistic, rule
        *[(f"delta-{a}", schoenholz, f"{a}: {three_gains}", in_band(a, "delta_norm", False),
           EverySeed()) for a in ACTIVATIONS],
        ("signal-relu", "He et al. 2015, section 2.2", "relu: and so does the forward signal",
         in_band("relu", "signal_std", True), EverySeed()),
        ("batch-norm-factor", f"{yang}, theorem 3.9", "batch norm in a plain ReLU net: the squared "
         f"gradient grows by {law:.3f} a layer at step 0 (pi/(pi-1) = 1.467 in large batches)",
         factor(), Within(law, 0.03, relative=True)),
        ("residual-variance", f"{de}, section 3", "residual: the stream's variance doubles each "
         "block", lambda r: np.exp(2 * growth(values(r, "residual", "critical", "signal_std"),
                                              True)), Within(2.0, 0.1, relative=True)),
        ("residual-bn-variance", f"{de}, section 3", "residual + batch norm: it grows by 1 each "
         "block: batch norm scales block l's input down by sqrt(l)", stream_variance,
         Within(1.0, 0.1)),
        ("plain-correlation", "arc-cosine kernel, Cho & Saul 2009", "plain ReLU: the correlation of "
         "the gradients at two near inputs after 16 layers is the closed form's",
         lambda r: correlation(r, "relu", 16), Within(float(shattered), 0.1)),
    ]  # fmt: skip
    direction_tier = [
        ("dw-flat", textbook, "below critical gain a ReLU net's delta decays, its weight gradient "
         "does not: it is equally small everywhere (growth a layer)",
         lambda r: growth(values(r, "relu", "below", "dw_norm"), False), Equivalent(0.05)),
        ("batch-norm-gain", f"{yang}, abstract", "whatever the gain (log factor above minus below "
         "critical)", lambda r: np.log(factor("above")(r) / factor("below")(r)), Equivalent(0.01)),
        ("batch-norm-relaxes", f"{yang}, section 4", "one step of SGD takes most of the explosion "
         "away (growth of dW a layer, step 1 over step 0)", relaxed, Less(0.5)),
        ("plain-bn-shatters", f"{balduzzi}, abstract", "plain + batch norm: correlation decays "
         "exponentially or faster (rate a layer, to layer 8 minus to layer 4)",
         lambda r: rate(r, "batch_norm", 8) - rate(r, "batch_norm", 4), Greater()),
        ("plain-shatters", f"{balduzzi}, abstract", "plain without batch norm: it does so too "
         "(rate a layer, to layer 64 minus to layer 16)",
         lambda r: rate(r, "relu", 64) - rate(r, "relu", 16), Greater(-0.002)),
        ("residual-sublinear", f"{balduzzi}, abstract", "residual + batch norm: correlation decays "
         "sublinearly (as a power of depth below 1)", power, Less(1.0)),
        ("residual-resists", f"{balduzzi}, figure 1", "a 50-layer residual net's gradients are "
         "less shattered than a 24-layer plain net's", lambda r:
         correlation(r, "residual_batch_norm", 50) - correlation(r, "batch_norm", 24), Greater()),
    ]  # fmt: skip
    return [Claim(*row[:3], "theory", *row[3:]) for row in theory_tier] + [
        Claim(*row[:3], "direction", *row[3:]) for row in direction_tier
    ]


def plot(record: Record) -> Figure:
    """Draw what the gain, batch norm and skip connections do, each with the theory through it."""
    figure, axes = plots.new_figure(4, 2)
    config = Config(**record.config)
    colors = plots.arm_colors(list(VARIANTS))
    layers = np.arange(1, max(config.depths) + 1)
    (gain_ax, line_ax), (xavier_ax, depth_ax), (bn_ax, stream_ax), (trace_ax, shatter_ax) = axes
    _plot_gains(gain_ax, record, config, layers)
    _plot_exponents(line_ax, record, config)

    for quantity, label, color in (("delta_norm", "delta", 0), ("dw_norm", "dW", 1)):
        found = values(record, "relu", "below", quantity)
        plots.seed_band(xavier_ax, layers, found / found[:, -2:-1], plots.COLORS[color], label)
    plots.log_axis(xavier_ax, "y")
    plots.describe(xavier_ax, "Xavier in a ReLU net: delta vanishes, dW is flat", "layer", "norm over last")

    for name, label in LABELS.items():
        ratios = []
        for depth in config.depths:
            dw = record.arrays[f"{name}{depth}/critical/dw_norm"][:, 0]
            ratios.append(dw[:, 1] / dw[:, -2])
        plots.seed_band(depth_ax, config.depths, np.transpose(ratios), colors[name], label)
    for axis in "xy":
        plots.log_axis(depth_ax, axis)
    plots.describe(depth_ax, "dW of the first layer over the last", "weight layers", "ratio at step 0")

    steps = record.arrays[f"batch_norm{layers[-1]}/critical/layer_steps"]
    for step, color in zip(steps, plots.COLORS, strict=False):
        found = values(record, "batch_norm", "critical", "dw_norm", step)
        plots.seed_band(bn_ax, layers, found, color, f"step {step}")
    plots.log_axis(bn_ax, "y")
    plots.describe(bn_ax, "Batch norm explodes, then relaxes", "layer", "norm of dW")

    for name, label in LABELS.items():
        found = values(record, name, "critical", "signal_std")
        plots.seed_band(stream_ax, layers[:-1], found[:, :-1], colors[name], label)
    plots.log_axis(stream_ax, "y")
    plots.describe(stream_ax, "Signal", "layer", "std")

    _plot_lines(trace_ax, shatter_ax, record, colors)
    return plots.finish(figure, record, "Gradients vanish, explode or shatter")


def _plot_gains(ax, record, config, layers) -> None:
    labels = {"below": "0.71 x critical (Xavier)", "critical": "critical (He)", "above": "1.41 x"}
    for (gain, label), color in zip(labels.items(), plots.COLORS, strict=False):
        found = values(record, "relu", gain, "delta_norm")
        plots.seed_band(ax, layers, found, color, label)
        line = np.median(found, 0)[-2] * np.exp(
            expected_growth(config, "relu", gain) * (layers[-2] - layers)
        )
        ax.plot(layers, line, color=plots.THEORY_COLOR, linestyle=(0, (4, 3)), linewidth=1.6)
    plots.log_axis(ax, "y")
    plots.describe(ax, "ReLU", "layer", "norm of delta")


def _plot_exponents(ax, record, config) -> None:
    for activation, color in zip(ACTIVATIONS, plots.COLORS, strict=False):
        x = [expected_growth(config, activation, gain) for gain in GAINS]
        y = [growth(values(record, activation, gain, "delta_norm"), False) for gain in GAINS]
        ax.plot(np.repeat(x, config.seeds), np.ravel(y), "o", color=color, label=activation)
    ax.axline((0, 0), slope=1, color=plots.THEORY_COLOR, linestyle=(0, (4, 3)))
    ax.legend()
    plots.describe(ax, "measured = theory", "theory", "measured")


def _plot_lines(trace_ax, shatter_ax, record, colors) -> None:
    positions = record.arrays["line/positions"]
    for i, (name, depth) in enumerate((("relu", 1), ("batch_norm", 24), ("residual_batch_norm", 50))):
        trace = record.arrays[f"line/{name}/gradient"][depth - 1]
        trace_ax.plot(positions, trace / np.abs(trace).max() - 2.2 * i, color=colors[name], linewidth=1.2)
    plots.describe(trace_ax, "Gradient along a line of inputs", "input", "gradient")
    for name in LINES:
        found = record.arrays[f"line/{name}/correlation"]
        plots.seed_band(shatter_ax, np.arange(1, found.shape[1] + 1), found, colors[name], LABELS[name])
    plots.describe(shatter_ax, "Correlation", "layers", "correlation")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
