"""Dynamical isometry: which deep nets keep every direction of their input, and for how long.

Source: Pennington, Schoenholz & Ganguli 2017, "Resurrecting the sigmoid in deep learning through
dynamical isometry" (arXiv 1711.04735). Claim in one sentence: the singular values of a deep net's
input-output Jacobian stay near 1 with orthogonal weights and tanh, never with Gaussian weights or
ReLU, and nets that start so learn faster.

Command: make exp-jacobian-spectrum (under 2 minutes on two cores; embedded 8x8 digits).

Nets stand on the edge of chaos, where the variance of their pre-activations is ``bend`` / depth, so
that tanh bends alike over the whole net, however deep. Conv nets are in ``delta_orthogonal``. What
differs from the paper: small widths, 8x8 digits, SGD at each arm's best rate of one grid; and the
spectrum is followed while the nets train.
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
from jaxvision.data import Splits, load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.dynamics import isometry, mean_field
from jaxvision.fields import flagged
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.models.mlp import MLP
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Greater, Less, Within
from jaxvision.report.record import Record
from jaxvision.training.arms import Arm, fit_arms, tune
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look, Moment
from jaxvision.training.mapping import over_seeds
from jaxvision.training.step import Task

# Of gain 1; ``isometry.scale_layers`` puts them on the edge of chaos.
WEIGHTS = {"orthogonal": init.orthogonal(1.0), "gaussian": init.xavier_he2015()}
NETS = [f"{weights}/{activation}" for weights in WEIGHTS for activation in isometry.ACTIVATIONS]
TRAINED = {
    "orthogonal/tanh": "orthogonal tanh",
    "gaussian/tanh": "Gaussian tanh",
    "orthogonal/relu": "orthogonal ReLU",
}
IMAGES, TUNING_SEEDS = 8, (1000, 1001)


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(10, "Random nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(0, "First seed.", low=0)
    bend: float = flagged(0.25, "Variance of the pre-activations times depth.", low=1e-3, high=10)
    width: int = flagged(128, "Units of the random nets.", low=8, high=4096)
    depth: int = flagged(64, "Layers behind the spectra.", low=8, high=1024)
    train_seeds: int = flagged(5, "Paired seeds of every trained arm.", low=1, high=1000)
    train_depth: int = flagged(32, "Weight layers of the trained MLPs.", low=4, high=1000)
    train_width: int = flagged(64, "Units of the trained MLPs.", low=8, high=8192)
    checkpoints: tuple[int, ...] = flagged(
        (20, 100, 500), "Steps at which the spectrum is taken, multiples of the first.", low=1
    )
    batch_size: int = flagged(32, "Images in a step.", low=1)
    rates: tuple[float, ...] = flagged((0.003, 0.01, 0.03, 0.1), "Grid of learning rates.", low=0)


PRESETS = {
    "tiny": Config(
        seeds=6, width=96, depth=16, train_seeds=2, train_depth=6, train_width=16,
        checkpoints=(2, 4), rates=(0.03,),
    ),
    "cpu": Config(),
    "gpu": Config(
        seeds=20, width=512, depth=256, train_seeds=10, train_depth=200, train_width=400,
        checkpoints=(100, 1000, 10_000),
    ),
    "paper": Config(
        dataset="cifar10", seeds=20, width=1024, depth=1024, train_seeds=5, train_depth=200,
        train_width=400, checkpoints=(100, 1000, 10_000, 100_000), batch_size=128,
    ),
}  # fmt: skip


def depths_of(config: Config) -> np.ndarray:
    """Return the depths at which dense spectra are taken: 1, 2, 4, ... layers."""
    return 2 ** np.arange(config.depth.bit_length())


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Measure random nets, then train some; arrays are named 'part/net/quantity'."""
    with progress(1, "random nets") as bar:
        nets = over_seeds(partial(_spectra, config), config.seeds, first=config.first_seed)
        bar.advance()
    arrays = {
        f"random/{net}/{name}": array
        for net, found in nets.items()
        for name, array in found.items()
    }
    rates, trained = _training(config, progress)
    return {"rates": rates}, arrays | trained


def _spectra(config: Config, seed, shared) -> dict:
    """Describe the spectra of a seed's nets at a random input, at every depth [D]."""
    start = isometry.unit_variance(jax.random.normal(stream(seed, "probe"), (config.width,)))
    shape = (config.width, config.width)
    found = {}
    for weights, initializer in WEIGHTS.items():
        drawn = isometry.draw_layers(stream(seed, "init"), initializer, shape, config.depth)
        for activation in isometry.ACTIVATIONS:
            point = isometry.critical(activation, config.bend / config.depth)
            layers, x = isometry.scale_layers(drawn, point), point.input_std * start
            values = isometry.singular_values(layers, activation, x, tuple(depths_of(config)))
            described = isometry.describe_spectrum(values)
            found[f"{weights}/{activation}"] = described | {"values": values[-1]}
    return found


def _training(config: Config, progress) -> tuple[dict, dict]:
    """Train the arms at their best rates; look at the spectrum at the checkpoints."""
    data, steps = load(config.dataset), max(config.checkpoints)
    mean = per_pixel_mean(data.train.images)
    spread = float(np.std(data.train.images[:5000] - mean))
    rates, found, trainers, looks = {}, {}, {}, {}
    runs = len(TUNING_SEEDS) * len(config.rates) + config.train_seeds
    with progress(len(TRAINED) * runs * steps, "training") as bar:
        for arm in TRAINED:
            weights, activation = arm.split("/")
            point = isometry.critical(activation, config.bend / config.train_depth)
            size = config.train_depth, config.train_width, data.num_classes
            kernel_init = partial(_scaled, point.sigma_w, WEIGHTS[weights])
            net = MLP(*size, kernel_init, isometry.ACTIVATIONS[activation])
            task = Task(
                apply_function(net), _sgd, partial(_preprocess, mean, spread / point.input_std)
            )
            trainer = Trainer(task, data.train, data.test, config.batch_size, config.checkpoints[0])
            trainer = trainers.setdefault(activation, trainer)  # the same but for the weights
            begin = partial(initialize_runs, net, image_shape=data.train.images.shape[1:])
            grid = {rate: Arm(begin, {"learning_rate": rate}) for rate in config.rates}
            rates[arm], _ = tune(trainer, grid, TUNING_SEEDS, steps, bar.advance)
            seeds = range(config.first_seed, config.first_seed + config.train_seeds)
            look = looks.setdefault(activation, _look(config, task, data))
            arms = {arm: grid[rates[arm]]}
            history = fit_arms(trainer, arms, seeds, steps, bar.advance, look)[arm]
            found[f"trained/{arm}/share"] = history.looks
            found[f"trained/{arm}/half_step"] = history.escape_step(share=0.5)
            found[f"trained/{arm}/test_loss"] = history.test["loss"]
            found["test_steps"] = history.test_steps
    return rates, found


def _look(config: Config, task: Task, data: Splits) -> Look:
    """Return the look at the share of singular values near 1: at the start and the checkpoints."""

    def share(moment: Moment, images: jax.Array) -> jax.Array:
        return isometry.trained_share(task.apply, moment.variables, images)

    return Look(share, (0, *config.checkpoints), task.preprocess(data.test.images[:IMAGES], None))


def _scaled(gain: float, initializer, key, shape, dtype=jnp.float32):
    return gain * initializer(key, shape, dtype)


def _sgd(hyper: dict) -> optax.GradientTransformation:
    return optax.sgd(hyper["learning_rate"])


def _preprocess(mean, scale: float, images, key):
    return normalize(images, mean, scale)


def claims(config: Config) -> list[Claim]:
    """Return the paper's claims and the questions beside them; the rules are fixed here."""
    paper = "Pennington et al. 2017"
    depths = depths_of(config)
    row = len(depths) - 3  # a quarter of the depth: finite width shows below it
    q = config.bend / config.depth

    def last(name):
        return lambda r: r.arrays[f"random/{name}"][:, -1]

    def later(arm):  # than orthogonal tanh, in octaves of steps; a censored time is a lower bound
        step = lambda r, arm: np.log2(r.arrays[f"trained/{arm}/half_step"] + 1)  # noqa: E731
        return lambda r: step(r, arm) - step(r, "orthogonal/tanh")

    def share_lost(r):
        shares = r.arrays["trained/orthogonal/tanh/share"]
        return shares[:, 0] - shares[:, -1]

    def law(net):
        weights, activation = net.split("/")
        expected = mean_field.jacobian_spread(depths[row], q, activation, weights == "orthogonal")
        return ("law-" + net.replace("/", "-"), f"{paper}, variance of the spectrum",
                f"{net}, {depths[row]} layers: the variance of the squared singular values is "
                "L (mu_2 / mu_1^2 - 1 - s_1)", lambda r: r.arrays[f"random/{net}/spread"][:, row],
                Within(float(expected), 0.25, relative=True))  # fmt: skip

    theory = [law(net) for net in NETS if net != "orthogonal/linear"] + [
        ("rotation", "Saxe et al. 2014, section 3", "Orthogonal and linear: isometric at any depth",
         last("orthogonal/linear/spread"), Within(0.0, 1e-4)),
        ("weakest", "derived, fixed point of the variance", "Orthogonal tanh: the weakest "
         "direction is the input's own norm, shrunk by exp(-2 bend)",
         last("orthogonal/tanh/values"),
         Within(float(np.exp(-2 * config.bend)), 0.1, relative=True)),
    ]  # fmt: skip
    direction = [
        ("tanh-can", f"{paper}, abstract", f"Orthogonal tanh, {config.depth} layers: the singular "
         "values are near 1 (share within a factor 2)", last("orthogonal/tanh/share"),
         Greater(0.95)),
        ("gaussian-cannot", f"{paper}, abstract", "Gaussian tanh: few are",
         last("gaussian/tanh/share"), Less(0.25)),
        ("relu-cannot", f"{paper}, abstract", "Orthogonal ReLU: few are alike, whatever the gain",
         last("orthogonal/relu/best_share"), Less(0.25)),
        ("sooner-than-gaussian", f"{paper}, abstract", "Orthogonal tanh halves its loss sooner "
         "than Gaussian tanh (octaves of steps)", later("gaussian/tanh"), Greater()),
        ("sooner-than-relu", f"{paper}, abstract", "... and sooner than orthogonal ReLU",
         later("orthogonal/relu"), Greater()),
        ("isometry-lost", "question, along training", "Training leaves isometry: the share near 1 "
         "falls", share_lost, Greater()),
    ]  # fmt: skip
    tiers = {"theory": theory, "direction": direction}
    return [
        Claim(id, source, sentence, statistic, rule, tier)
        for tier, stated in tiers.items()
        for id, source, sentence, statistic, rule in stated
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw the spectrum of a deep net, and what depth and training do to it."""
    arrays, config = record.arrays, record.config
    depths = 2 ** np.arange(arrays["random/orthogonal/tanh/share"].shape[1])
    ticks = ("start", *config["checkpoints"])
    figure, axes = plots.new_figure(2, 2, (15.0, 9.6))
    (spectrum, kept), (learning, along) = axes
    for arm, color in plots.arm_colors(list(TRAINED)).items():
        values = arrays[f"random/{arm}/values"]
        directions = 100 * (np.arange(values.shape[1]) + 0.5) / values.shape[1]
        for ax, x, measured in (
            (spectrum, directions, values),
            (kept, depths, 100 * arrays[f"random/{arm}/share"]),
            (learning, arrays["test_steps"], arrays[f"trained/{arm}/test_loss"]),
            (along, range(len(ticks)), 100 * arrays[f"trained/{arm}/share"]),
        ):
            plots.seed_band(ax, x, measured, color, TRAINED[arm])
    spectrum.axhspan(0.5, 2, color=plots.THEORY_COLOR, alpha=0.12, zorder=0)
    spectrum.text(30, 3, "gray: near 1, within a factor 2")
    plots.log_axis(spectrum, "y")
    spectrum.set_ylim(1e-4, 100)
    spectrum.legend(loc="center right")
    learning.set_ylim(bottom=0)
    kept.set_xscale("log", base=2)
    kept.set_xticks(depths, depths)
    along.set_xticks(range(len(ticks)), ticks)
    for ax in (kept, along):
        ax.set_ylim(0, 104)
    near = "singular values near 1, %"
    random, trained = (f"(n = {config[name]})" for name in ("seeds", "train_seeds"))
    title = f"What {config['depth']} layers do to each direction {random}"
    plots.describe(spectrum, title, "directions of the input, %", "singular value of the Jacobian")
    plots.describe(kept, f"The deeper, the fewer survive {random}", "layers", near)
    title = f"Those that keep all learn first {trained}"
    plots.describe(learning, title, "step", "test loss, nats")
    plots.describe(along, f"... and training gives isometry up {trained}", "step", near)
    title = (
        "Orthogonal tanh nets keep every direction of their input; Gaussian and ReLU nets cannot"
    )
    return plots.finish(figure, record, title)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
