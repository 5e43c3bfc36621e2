"""Learning rates: how wide the usable range is, and how the rate goes with the batch size.

Sources: Goyal et al. 2017, "Accurate, large minibatch SGD" (arXiv 1706.02677), linear scaling and
warm-up; Shallue et al. 2019, "Measuring the effects of data parallelism" (arXiv 1811.03600), steps
to a target; Kingma & Ba 2015 (arXiv 1412.6980), Adam; Jordan 2024, Muon. Claim in one sentence: a
batch k times as large takes k times the rate, up to a batch size and no further, and a warm-up
moves that limit; Adam needs little tuning; Muon learns more in the same steps.

Command: make exp-optimizers-and-rates (under 3 minutes on two cores; embedded 8x8 digits).

ReLU MLPs of 8 layers; every optimizer, start and rate trains for the same few steps, so what counts
is how fast a net learns. A rate is usable where the test error is within ``usable_margin`` of that
of the arm's best rate, which other seeds choose by the training loss. Batch sizes are compared
after the same number of images, and by the steps to a target error at the quickest rate, as Shallue
et al. do. What differs from the sources: dense nets on 8x8 digits in place of ResNets on ImageNet,
no weight decay, no decay of the rate. Muon drives every kernel, the first and the last too, and
Adam the biases at the same rate, as in optax. Pitfall: the range is read off a grid, so an edge is
known to an octave of the rate where the error jumps.
"""

import dataclasses
import sys
from collections.abc import Mapping

from experiments.normalization import _rate_claims as stated
from experiments.normalization import _rate_panels as panels
from experiments.normalization._rate_statistics import (
    Reader,
)
from experiments.normalization._rates import (
    Arm,
    Lab,
    check_sizes,
    sizes_of,
    sweep_arms,
    sweep_batches,
)
from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import load
from jaxvision.data.augment import standardizer
from jaxvision.fields import disjoint_seeds, flagged
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.optimizers import adamw, momentum_sgd, muon
from jaxvision.types import Figure, UserError

INITS = {"xavier": init.xavier_he2015(), "he": init.he_backward()}
SGD, MOMENTUM = "learning_rates_sgd", "learning_rates_momentum"
ADAM, MUON = "learning_rates_adam", "learning_rates_muon"

ARMS = {
    "sgd_xavier": Arm("SGD", momentum_sgd, "xavier", SGD),
    "sgd_he": Arm("SGD", momentum_sgd, "he", SGD),
    "sgd_warm": Arm("SGD", momentum_sgd, "he", SGD, warm=True),
    "momentum_xavier": Arm("momentum", momentum_sgd, "xavier", MOMENTUM, momentum=0.9),
    "momentum_he": Arm("momentum", momentum_sgd, "he", MOMENTUM, momentum=0.9),
    "momentum_warm": Arm("momentum", momentum_sgd, "he", MOMENTUM, momentum=0.9, warm=True),
    "momentum_again": Arm("momentum", momentum_sgd, "he", MOMENTUM, momentum=0.9, replicate=1),
    "adam_xavier": Arm("Adam", adamw, "xavier", ADAM),
    "adam_he": Arm("Adam", adamw, "he", ADAM),
    "adam_warm": Arm("Adam", adamw, "he", ADAM, warm=True),
    "muon_xavier": Arm("Muon", muon, "xavier", MUON),
    "muon_he": Arm("Muon", muon, "he", MUON),
}
OPTIMIZERS = ("sgd", "momentum", "adam", "muon")
WARMED = {"sgd_warm": "sgd_he", "momentum_warm": "momentum_he", "adam_warm": "adam_he"}
BATCHED = "momentum_he"  # the arm that is trained with several batch sizes
PARTS = ("batches",)  # that training, beside the arms


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(12, "Paired seeds of every arm.", low=1, high=1000)
    first_seed: int = flagged(800, "First of them.", low=0, high=10**9)
    tuning_seeds: int = flagged(3, "Seeds for choosing rates; none is used again.", low=1, high=100)
    depth: int = flagged(8, "Weight layers.", low=3, high=1000)
    width: int = flagged(64, "Units of every hidden layer.", low=1, high=8192)
    steps: int = flagged(150, "Steps of every arm.", low=2, high=10**6)
    batch_size: int = flagged(32, "Images in a step of every arm.", low=1, high=65_536)
    learning_rates_sgd: tuple[float, ...] = flagged(
        (0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024), "SGD's.", low=0
    )
    learning_rates_momentum: tuple[float, ...] = flagged(
        (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128), "Momentum's.", low=0
    )
    learning_rates_adam: tuple[float, ...] = flagged(
        (0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512), "Adam's.", low=0
    )
    learning_rates_muon: tuple[float, ...] = flagged(
        (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128), "Muon's.", low=0
    )
    usable_margin: float = flagged(
        0.05, "Error above the best rate's that a usable rate may have, a share.", low=0, high=1
    )
    warm_up_share: float = flagged(0.3, "Share of the steps that warm up.", low=0, high=1)
    batch_sizes: tuple[int, ...] = flagged(
        (8, 32, 128, 512), "Batch sizes that are compared.", low=1, high=65_536
    )
    learning_rates_batch: tuple[float, ...] = flagged(
        (0.00015625, 0.0003125, 0.000625, 0.00125, 0.0025, 0.005, 0.01, 0.02),
        "Rates of the smallest batch; larger ones take them in proportion.",
        low=0,
    )
    n_images: int = flagged(9600, "Images of a run of any batch size.", low=1, high=10**8)
    most_steps: int = flagged(100, "Steps that large batches train at least.", low=1, high=10**6)
    target_error_early: float = flagged(0.15, "Test error to reach, a share.", low=0, high=1)
    target_error_late: float = flagged(0.05, "A lower one, later to reach.", low=0, high=1)

    def __post_init__(self) -> None:
        if len(self.batch_sizes) < 2:
            raise UserError(
                "--batch_sizes needs two sizes at least: a rule of scaling compares them"
            )


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        tuning_seeds=1,
        depth=3,
        width=8,
        steps=6,
        batch_size=8,
        learning_rates_sgd=(0.1, 0.2),
        learning_rates_momentum=(0.01, 0.02),
        learning_rates_adam=(0.001, 0.002),
        learning_rates_muon=(0.001, 0.002),
        batch_sizes=(4, 16),
        learning_rates_batch=(0.01, 0.02),
        n_images=64,
        most_steps=8,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        seeds=20,
        width=512,
        steps=600,
        batch_size=128,
        batch_sizes=(8, 32, 128, 512, 2048),
        n_images=240_000,
        most_steps=1000,
        target_error_early=0.08,
        target_error_late=0.03,
    ),
    "paper": Config(
        dataset="cifar10",
        seeds=20,
        width=1024,
        steps=4000,
        batch_size=128,
        batch_sizes=(8, 32, 128, 512, 2048, 8192),
        n_images=500_000,
        most_steps=2000,
        target_error_early=0.6,
        target_error_late=0.5,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    arms: Mapping[str, Arm] = ARMS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Train every arm at its rates, and one arm with every batch size.

    Arrays [S, G]: 'ARM/error' and 'ARM/loss' by rate; 'batch_B/error' after ``n_images``, and
    'batch_B/steps_early' and '..._late' to the two targets; 'batch_B/warm_error' [S] at the rate
    scaled up, with a warm-up.
    """
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    data = load(config.dataset)
    check_sizes(config, data)
    preprocess = standardizer(data.train)
    lab = Lab(config, data, INITS, preprocess, progress, seeds, tuning_seeds)
    numbers, arrays = sweep_arms(lab, arms)
    if "batches" in parts:
        numbers["batches"], found = sweep_batches(lab, arms.get(BATCHED, ARMS[BATCHED]))
        arrays |= found
    return numbers | {"chance_error": data.test.chance_error}, arrays


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    read = Reader(config, ARMS)
    return [
        *stated.of_ranges(read, OPTIMIZERS),
        *stated.of_muon(read),
        *stated.of_warm_up(read, WARMED),
        stated.control(read),
        *stated.of_linear_scaling(read),
        *stated.of_steps_to_a_target(read),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw the usable rates of every arm, and what becomes of a rate as the batch grows."""
    figure, axes = plots.new_figure(3, 2, height=12.5)
    read = Reader(config, ARMS)
    panels.draw_curves(axes[0, 0], record, read, [f"{name}_he" for name in OPTIMIZERS])
    panels.draw_batches(axes[0, 1], record, read)
    panels.draw_ranges(axes[1, 0], record, read)
    panels.draw_losses(axes[1, 1], record, read)
    panels.draw_scaling(axes[2, 0], record, read)
    panels.draw_steps(axes[2, 1], record, read)
    title = plots.headline(
        record,
        titles_of(config),
        otherwise="Which learning rates work, by optimizer, start and batch size",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"ReLU MLPs, {config.depth} layers of {config.width} units",
        optimizer=f"Constant rates, {config.steps} steps of {config.batch_size} images",
        paper="Goyal et al. 2017, Shallue et al. 2019, Kingma & Ba 2015, Jordan 2024",
    )


def titles_of(config: Config) -> dict[tuple[str, ...], str]:
    """Return the titles that verdicts allow, best first: how far the rate grows with the batch."""
    *others, largest = sizes_of(config)[1:]
    limit, wider = f"limit-{largest}", "Adam has more decades of usable rates than SGD"
    titles = {}
    if 32 in others:
        titles["linear-32", limit] = "The rate grows with the batch, up to a limit"
    for size in others:
        fails = f"At batch {size} linear scaling fails; {wider}"
        titles[f"not linear-{size}", "adam-wider"] = fails
    if others:
        grown = f"The rate grows with the batch up to {others[-1]}; larger batches save few steps"
        titles[*(f"linear-{size}" for size in others), "diminishing"] = grown
    titles[limit, "adam-wider"] = f"At batch {largest} linear scaling fails; {wider}"
    return titles


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
