"""Dynamical isometry: which deep nets keep every direction of their input, and for how long.

Source: Pennington, Schoenholz & Ganguli 2017, "Resurrecting the sigmoid in deep learning through
dynamical isometry" (arXiv 1711.04735). Claim in one sentence: the singular values of a deep net's
input-output Jacobian stay near 1 with orthogonal weights and tanh, never with Gaussian weights or
ReLU, and nets that start so learn faster.

Command: make exp-jacobian-spectrum (under 3 minutes on two cores; embedded 8x8 digits).

Nets stand on the edge of chaos, where the variance of their pre-activations is ``bend`` / depth, so
that tanh bends alike over the whole net, however deep; biases are next to nothing there. Conv nets
are in ``delta_orthogonal``. What differs from the paper: small widths, 8x8 digits, SGD at each
arm's best rate of one grid; and the spectrum is followed while the nets train. Its laws are those
of infinite width, which hold to a tenth up to width / 8 layers; that of orthogonal tanh alone
needs, and has, a correction (``_critical_nets.expected_spread``).
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import optax

from experiments.gradients import _critical_nets as critical_nets
from experiments.gradients import _spectrum_panels as panels
from experiments.gradients._spectrum_claims import of_other_nets, of_the_laws, of_training
from jaxvision import cli
from jaxvision.data import Splits, load
from jaxvision.data.augment import standardizer
from jaxvision.dynamics import isometry
from jaxvision.fields import check_periods, disjoint_seeds, flagged
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.arms import Arm, fit_arms, tune
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look, Moment
from jaxvision.training.mapping import over_seeds
from jaxvision.training.step import Task
from jaxvision.types import Array, Figure, Hyper, UserError

IMAGES = 8  # at which the spectra of trained nets are taken
N_TUNING_SEEDS = 2


NETS = {
    "orthogonal_tanh": critical_nets.Net("orthogonal tanh", "orthogonal", "tanh", trained=True),
    "gaussian_tanh": critical_nets.Net("Gaussian tanh", "gaussian", "tanh", trained=True),
    "orthogonal_relu": critical_nets.Net("orthogonal ReLU", "orthogonal", "relu", trained=True),
    "gaussian_relu": critical_nets.Net("Gaussian ReLU", "gaussian", "relu"),
}
TRAINED = {name: net for name, net in NETS.items() if net.trained}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(60, "Random nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(3000, "First seed.", low=0, high=10**9)
    bend: float = flagged(0.25, "Variance of the pre-activations times depth.", low=1e-3, high=10)
    width: int = flagged(128, "Units of the random nets.", low=8, high=4096)
    depth: int = flagged(64, "Layers behind the spectra.", low=8, high=1024)
    train_seeds: int = flagged(5, "Paired seeds of every trained arm.", low=1, high=1000)
    train_depth: int = flagged(32, "Weight layers of the trained MLPs.", low=4, high=1000)
    train_width: int = flagged(64, "Units of the trained MLPs.", low=8, high=8192)
    steps: int = flagged(500, "Steps of training, a multiple of period.", low=1, high=10**6)
    period: int = flagged(20, "Steps between two evaluations.", low=1, high=10**6)
    checkpoints: tuple[int, ...] = flagged(
        (5, 10, 20, 50, 100, 200, 500), "Steps with a spectrum, beside 0.", low=1, high=10**6
    )
    batch_size: int = flagged(32, "Images in a step.", low=1, high=65_536)
    learning_rates: tuple[float, ...] = flagged((0.003, 0.01, 0.03, 0.1), "Grid of rates.", low=0)


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        width=16,
        depth=8,
        train_seeds=2,
        train_depth=4,
        train_width=8,
        steps=4,
        period=2,
        checkpoints=(2, 4),
        learning_rates=(0.03,),
    ),
    "cpu": Config(),
    "gpu": Config(
        width=512,
        depth=256,
        train_seeds=10,
        train_depth=200,
        train_width=400,
        steps=10_000,
        period=100,
        checkpoints=(10, 30, 100, 300, 1000, 3000, 10_000),
    ),
    "paper": Config(
        dataset="cifar10",
        width=1024,
        depth=1024,
        train_depth=200,
        train_width=400,
        steps=100_000,
        period=1000,
        checkpoints=(10, 100, 1000, 10_000, 100_000),
        batch_size=128,
    ),
}


def depths_of(config: Config) -> np.ndarray:
    """Return the depths at which spectra are taken: 1, 2, 4, ... layers."""
    return 2 ** np.arange(config.depth.bit_length())


def measure(
    config: Config,
    progress: cli.ShowProgress,
    nets: Mapping[str, critical_nets.Net] = NETS,
    critical: critical_nets.Critical = isometry.critical,
) -> tuple[dict, dict]:
    """Return arrays 'net/quantity' of random nets and 'trained/net/quantity' of trained ones.

    ``critical`` gives the weights' and biases' scale by activation and variance.
    """
    check_periods(config, "steps")
    if (last := config.checkpoints[-1]) > config.steps:
        raise UserError(f"--checkpoints={last} lies beyond --steps={config.steps}")
    judged = max(config.seeds, config.train_seeds)
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, judged, N_TUNING_SEEDS)
    with progress(1, "random nets") as bar:
        q = config.bend / config.depth
        depths = tuple(int(depth) for depth in depths_of(config))
        spectra = partial(critical_nets.random_spectra, nets, critical, config.width, q, depths)
        found = over_seeds(spectra, config.seeds, first=config.first_seed)
        bar.advance(1)
    arrays = {f"{net}/{name}": values for net in nets for name, values in found[net].items()}
    arms = {name: net for name, net in nets.items() if net.trained}
    both = seeds[: config.train_seeds], tuning_seeds
    rates, trained = _train_all(config, arms, critical, *both, progress)
    return {"rates": rates}, arrays | trained


def _train_all(
    config: Config,
    arms: Mapping[str, critical_nets.Net],
    critical: critical_nets.Critical,
    seeds: range,
    tuning_seeds: range,
    progress: cli.ShowProgress,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Return the best rate of every arm, and what its runs at that rate have shown."""
    data = load(config.dataset)
    rates, arrays = {}, {}
    runs = len(tuning_seeds) * len(config.learning_rates) + len(seeds)
    with progress(len(arms) * runs * config.steps, "training") as bar:
        for activation in dict.fromkeys(net.activation for net in arms.values()):
            alike = {name: net for name, net in arms.items() if net.activation == activation}
            point = critical(activation, config.bend / config.train_depth)
            train = partial(_train, config, data, activation, point, advance=bar.advance)
            for name, (rate, history) in train(alike, seeds, tuning_seeds).items():
                half = history.escape_step(share=0.5)
                rates[name] = rate
                arrays[f"trained/{name}/share"] = history.looks
                arrays[f"trained/{name}/half_step"] = half
                arrays[f"trained/{name}/test_loss"] = history.test["loss"]
                arrays["test_steps"] = history.test_steps
    return rates, arrays


def _train(
    config: Config,
    data: Splits,
    activation: str,
    point: isometry.Critical,
    nets: Mapping[str, critical_nets.Net],
    seeds: range,
    tuning_seeds: range,
    advance: Callable[[int], None],
) -> dict[str, tuple[float, History]]:
    """Return every net's best rate and the history at it; the nets differ in their weights."""
    size = config.train_depth, config.train_width, data.num_classes
    any_weights = critical_nets.WEIGHTS["orthogonal"]
    apply = apply_function(MLP(*size, any_weights, isometry.ACTIVATIONS[activation]))
    preprocess = partial(critical_nets.scaled_inputs, point.input_std, standardizer(data.train))
    task = Task(apply, _sgd, preprocess)
    trainer = Trainer(task, data.train, data.test, config.batch_size, config.period)

    def share(moment: Moment, images: Array) -> Array:
        return isometry.trained_share(apply, moment.variables, images)

    images = preprocess(data.test.sample(IMAGES).images, None)
    look = Look(share, (0, *config.checkpoints), images)
    found = {}
    for name, net in nets.items():
        # Of gain 1 and whatever nonlinearity, so that nets of the same weights share a program.
        drawn = MLP(*size, critical_nets.WEIGHTS[net.weights])
        begin = partial(
            critical_nets.initialize_with_gain, drawn, data.train.images.shape[1:], point.sigma_w
        )
        grid = {rate: Arm(begin, {"learning_rate": rate}) for rate in config.learning_rates}
        rate, _ = tune(trainer, grid, tuning_seeds, config.steps, advance)
        history = fit_arms(trainer, {name: grid[rate]}, seeds, config.steps, advance, look)[name]
        found[name] = rate, history
    return found


def _sgd(hyper: Hyper) -> optax.GradientTransformation:
    return optax.sgd(hyper["learning_rate"])


def claims(config: Config) -> list[Claim]:
    """Return the paper's claims and the questions beside them."""
    return [
        *of_the_laws(config, NETS, depths_of(config)),
        *of_other_nets(config),
        *of_training(config, IMAGES),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw the spectrum of a deep net, and what depth and training do to it."""
    figure, axes = plots.new_figure(2, 2)
    panels.draw_spectrum(axes[0, 0], record, config, TRAINED)
    panels.draw_depth(axes[0, 1], record, depths_of(config), TRAINED)
    panels.draw_learning(axes[1, 0], record, TRAINED)
    panels.draw_training(axes[1, 1], record, config, TRAINED)
    can = "At the start orthogonal tanh nets keep every direction of their input; others lose most"
    keeps = ("weakest", "bulk", "gaussian-cannot", "relu-cannot")
    title = plots.headline(
        record,
        {
            (*keeps, "sooner-than-gaussian", "sooner-than-relu"): "Orthogonal tanh nets keep every "
            "direction of their input at the start, and learn soonest",
            keeps: can,
        },
        otherwise="Which deep nets keep the directions of their input",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"Top: random nets of width {config.width}. Bottom: MLPs of {config.train_depth} "
        f"layers, width {config.train_width}",
        optimizer="SGD at each arm's best rate",
        paper="Pennington et al. 2017",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
