"""The jump of 2012: what convolutions gave on ImageNet, and what they give at our scale.

Sources: Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional
neural networks", and the results pages of the ImageNet challenge, 2010 to 2017; features after
Dalal & Triggs 2005. Claim in one sentence: in 2012 a convolutional net answered 16.4 % of the
images wrongly (five guesses), the best entry with features made by hand 26.2 %.

Command: make exp-imagenet-2012 (4 minutes on two cores; embedded shapes, no download).

ImageNet is not run: its results are drawn as published, each from two sources. The same contest is
run on small images, one guess: an AlexNet scaled down, a dense net, and softmax regression on
histograms of gradients and colors. All learn from the same images, without augmentation: four
fifths of the training images. Width and rate of each are those with the lowest error on the rest,
on other seeds. The dense net may spend as many multiply-adds as the conv net, by more steps or by
more units; the regression spends less, it has converged (making features is not counted). The
control: the pixels of all images in one shuffled order. A dense net sees the same then, but
neighbors are lost, on which convolutions and gradients live.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.depth import _contest as contest
from experiments.depth import _contest_panels as panels
from experiments.depth import _published as published
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import check_periods, disjoint_seeds, flagged
from jaxvision.initializers import he_forward
from jaxvision.models.alexnet import AlexNet, alexnet
from jaxvision.models.linear import Linear
from jaxvision.models.mlp import MLP
from jaxvision.progress import each
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic
from jaxvision.report.record import Record
from jaxvision.types import Figure

ORDERS = {"pixels": contest.as_they_are, "shuffled": contest.shuffled}


def conv_net(config: "Config", width: int, classes: int, image_size: int) -> AlexNet:
    """Return AlexNet, scaled down."""
    return alexnet(width, config.dense, classes, he_forward(), image_size)


def dense_net(config: "Config", width: int, classes: int, image_size: int) -> MLP:
    """Return a dense net of a width."""
    del image_size
    return MLP(config.mlp_depth, width, classes, he_forward())


def regression(config: "Config", width: int, classes: int, image_size: int) -> Linear:
    """Return softmax regression: its width is that of what it is given."""
    del config, width, image_size
    return Linear(classes, he_forward())


KINDS = {
    "features": contest.Kind(
        label="histograms",
        given=contest.by_hand,
        model=regression,
        widths=lambda config: (0,),
        rates=lambda config: config.learning_rates_features,
    ),
    "mlp": contest.Kind(
        label="dense net",
        given=contest.raw,
        model=dense_net,
        widths=lambda config: config.mlp_widths,
        rates=lambda config: config.learning_rates_mlp,
    ),
    "conv": contest.Kind(
        label="conv net",
        given=contest.raw,
        model=conv_net,
        widths=lambda config: (config.width,),
        rates=lambda config: config.learning_rates_conv,
    ),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(6, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(700, "First of them.", low=0, high=10**9)
    tuning_seeds: int = flagged(2, "Seeds for choosing; none is used again.", low=1, high=100)
    width: int = flagged(12, "Channels of AlexNet's first layer, threefold.", low=3, high=1024)
    dense: int = flagged(128, "Units of AlexNet's two dense layers.", low=1, high=8192)
    mlp_widths: tuple[int, ...] = flagged((64, 128, 256), "Units of dense nets.", low=1, high=8192)
    mlp_depth: int = flagged(4, "Weight layers of the dense nets.", low=3, high=1000)
    steps: int = flagged(800, "Steps of the conv net; they set the compute.", low=1, high=10**6)
    most_steps: int = flagged(3200, "Steps of any net, at most.", low=1, high=10**6)
    period: int = flagged(80, "Steps between evaluations; divides the steps.", low=1, high=10**6)
    batch_size: int = flagged(50, "Images in a step.", low=1, high=65_536)
    weight_decay: float = flagged(5e-4, "Weight decay of every net.", low=0)
    learning_rates_features: tuple[float, ...] = flagged(
        (0.0003, 0.001, 0.003), "Tried on histograms.", low=0
    )
    learning_rates_mlp: tuple[float, ...] = flagged(
        (0.001, 0.003, 0.01), "Tried for dense nets.", low=0
    )
    learning_rates_conv: tuple[float, ...] = flagged(
        (0.01, 0.02, 0.04), "Tried for conv nets.", low=0
    )


PRESETS = {
    "tiny": Config(
        dataset="digits",
        seeds=2,
        first_seed=0,
        tuning_seeds=1,
        width=3,
        dense=4,
        mlp_widths=(4,),
        mlp_depth=3,
        steps=2,
        most_steps=2,
        period=2,
        batch_size=8,
        learning_rates_features=(0.01, 0.02),
        learning_rates_mlp=(0.01, 0.02),
        learning_rates_conv=(0.01, 0.02),
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        width=48,
        dense=512,
        mlp_widths=(256, 1024, 4096),
        steps=16_000,
        most_steps=64_000,
        period=1600,
        batch_size=128,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        width=96,
        dense=4096,
        mlp_widths=(1024, 4096),
        steps=450_000,
        most_steps=900_000,
        period=10_000,
        batch_size=128,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    kinds: Mapping[str, contest.Kind] = KINDS,
    orders: Mapping[str, Callable] = ORDERS,
) -> tuple[dict, dict]:
    """Return widths, rates and steps, and arrays 'kind/order/test_error' [S, E].

    Beside them 'kind/order/cost' [E]: multiply-adds of the training so far, forward, in units of an
    image.
    """
    check_periods(config, "steps")
    seeds, others = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    data = load(config.dataset)
    lab = contest.Lab(config, data, orders, seeds, others)
    conv = lab.model(kinds["conv"], config.width)
    budget = config.steps * contest.multiply_adds(conv, data.train.images.shape[1:])
    plans = {name: lab.plans(kind, budget) for name, kind in kinds.items()}
    chance = data.test.chance_error
    numbers = {"chance_error": chance, "budget": budget, "nets": {}}
    arrays = {}
    for name, kind in each(kinds.items(), "kinds of nets"):
        found = lab.compare(kind, plans[name], progress)
        for order, history in found.histories.items():
            key = f"{name}/{order}"
            told = found.told(order, plans[name])
            numbers["nets"][key] = told
            arrays[f"{key}/test_error"] = contest.error_of(history, chance)
            arrays[f"{key}/cost"] = history.test_steps * told["multiply_adds"]
    return numbers, arrays


def ended(key: str) -> Statistic:
    """Return the statistic: test error [S] of a net at the end."""
    return lambda record: record.arrays[f"{key}/test_error"][:, -1]


def gap(key: str, other: str) -> Statistic:
    """Return the statistic: how much larger the test error of one net is than the other's."""
    return lambda record: ended(key)(record) - ended(other)(record)


def share_of_best(record: Record) -> np.ndarray:
    """Return the conv net's error over the lowest error without convolutions, seed by seed."""
    others = np.minimum(ended("mlp/pixels")(record), ended("features/pixels")(record))
    return ended("conv/pixels")(record) / others


def lead_lost(record: Record) -> np.ndarray:
    """Return how much of the conv net's lead over the dense net the shuffled order takes away."""
    lead = gap("mlp/pixels", "conv/pixels")(record)
    return lead - gap("mlp/shuffled", "conv/shuffled")(record)


def claims(config: Config) -> list[Claim]:
    """Return what 2012 says of our contest, and the controls; the rules are fixed here.

    All need the conv net, whose compute the others may not exceed.
    """
    del config
    paper = "Krizhevsky et al. 2012, at our scale"
    control = "negative control, shuffled pixels"
    jump = published.jump()
    return [
        Claim(
            "beats-dense",
            paper,
            "the conv net errs less on test images than the best dense net "
            "of equal compute (share of images)",
            gap("mlp/pixels", "conv/pixels"),
            Greater(),
            needs=("conv", "mlp"),
        ),
        Claim(
            "beats-features",
            paper,
            "the conv net errs less than regression on histograms of "
            "gradients and colors (share of images)",
            gap("features/pixels", "conv/pixels"),
            Greater(),
            needs=("conv", "features"),
        ),
        Claim(
            "jump",
            paper,
            "the conv net's error is at most as large a share of the best other's "
            f"as in 2012, 16.4 of 26.2 ({jump:.2f})",
            share_of_best,
            Less(jump),
            needs=("conv", "mlp", "features"),
        ),
        Claim(
            "shuffled-dense",
            control,
            "a dense net errs alike with all pixels in one shuffled order (share of images)",
            gap("mlp/shuffled", "mlp/pixels"),
            Equivalent(0.05),
            needs=("conv", "mlp"),
        ),
        Claim(
            "shuffled-conv",
            control,
            "the conv net errs more with shuffled pixels (share of images)",
            gap("conv/shuffled", "conv/pixels"),
            Greater(),
            needs=("conv",),
        ),
        Claim(
            "shuffled-features",
            control,
            "regression on histograms errs more with shuffled pixels (share of images)",
            gap("features/shuffled", "features/pixels"),
            Greater(),
            needs=("conv", "features"),
        ),
        Claim(
            "lead-lost",
            control,
            "shuffled pixels take from the conv net's lead over the dense net (share of images)",
            lead_lost,
            Greater(),
            needs=("conv", "mlp"),
        ),
        Claim(
            "no-lead",
            control,
            "with shuffled pixels the conv net leads the dense net by less than 3 points",
            gap("mlp/shuffled", "conv/shuffled"),
            Less(0.03),
            needs=("conv", "mlp"),
        ),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw the published results by year, and our contest: its course and its end."""
    figure, axes = plots.new_figure(2, 2, height=8.8)
    top = plots.merged(axes[0])
    labels = {name: kind.label for name, kind in KINDS.items()}
    panels.draw_published(top)
    panels.draw_course(axes[1, 0], record, labels)
    panels.draw_ends(axes[1, 1], record, labels)
    plots.mark_contradicted(axes[1, 0], record, "beats-dense", "beats-features", "jump")
    controls = ("shuffled-dense", "shuffled-conv", "shuffled-features", "lead-lost", "no-lead")
    plots.mark_contradicted(axes[1, 1], record, *controls)
    title = plots.headline(
        record,
        {
            ("beats-dense", "beats-features", "no-lead"): "Convolutions cut the error, in 2012 "
            "and here; shuffle the pixels and their lead is gone",
            (
                "beats-dense",
                "not beats-features",
            ): "Convolutions beat a dense net of equal compute; hand-made histograms beat them",
            "beats-dense": "Convolutions cut the error of a dense net of equal compute",
        },
        otherwise="The jump of 2012, and the same contest at our scale",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"AlexNet of {config.width} channels first; dense nets of equal compute",
        optimizer="SGD with momentum .9; width and rate chosen on held-out images and other seeds",
        paper="results pages of ILSVRC; Krizhevsky et al. 2012",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
