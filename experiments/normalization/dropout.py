"""Dropout: what it gains, at which probability, with how many images, and where it harms.

Sources: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting"
(JMLR 15), tables 2, 9 and 10, figures 7 to 10; Li et al. 2018, "Understanding the disharmony
between dropout and batch normalization by variance shift" (arXiv 1801.05134). Claim in one
sentence: dropout lowers the test error, max-norm lowers it further, any probability from .4 to .8
serves, few images gain nothing; before batch norm it shifts a variance and harms.

Command: make exp-dropout (under 4 minutes on two cores; embedded 8x8 digits, no download).

What differs from the paper: nets of two hidden layers of 200 units on 1,437 images, not of 1,024
and more on 60,000; 2,000 steps with a rate that falls to zero along a line, chosen for every way to
train by the error on images held out, on other seeds; max-norm binds the output's weights too.
Subsets of the images are drawn anew for every seed and hold all classes alike. Activations are
those of evaluation, where nothing is dropped. A probability means that of keeping a unit; nets with
dropout keep .8 of their inputs, nets with batch norm all.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.normalization import _dropout_panels as panels
from experiments.normalization import _inside as inside
from experiments.normalization._dropout_claims import claims_of
from experiments.normalization._noisy import Lab, Way
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import disjoint_seeds, flagged
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.fit import History
from jaxvision.types import Figure

WAYS = {
    "none": Way("no dropout"),
    "max_norm": Way("max-norm", bounded=True),
    "dropout": Way("dropout", keep_input=0.8, keep=0.5, keep_last=0.5),
    "both": Way("dropout + max-norm", keep_input=0.8, keep=0.5, keep_last=0.5, bounded=True),
    "again": Way(
        "dropout, other draws",
        keep_input=0.8,
        keep=0.5,
        keep_last=0.5,
        rate_of="dropout",
        replicate=1,
    ),
    "gaussian": Way("Gaussian dropout", keep_input=0.8, keep=0.5, keep_last=0.5, noise="gaussian"),
    "bn": Way("batch norm", normalized=True),
    "bn_before": Way("dropout before BN", keep=0.5, normalized=True),
    "bn_after": Way("dropout after BN", keep_last=0.5, normalized=True),
}
SHIFTED = ("bn", "bn_before", "bn_after")
ACTIVE = ("none", "dropout")  # whose units are looked at
PARTS = ("keeps", "scaled_keeps", "sizes")  # the sweeps, changed from rows of WAYS


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(10, "Paired seeds of every way to train.", low=1, high=1000)
    first_seed: int = flagged(740, "First of them.", low=0, high=10**9)
    depth: int = flagged(3, "Weight layers.", low=3, high=30)
    width: int = flagged(200, "Units of a hidden layer.", low=2, high=8192)
    keeps: tuple[float, ...] = flagged(
        (0.1, 0.4, 0.6, 0.8, 1.0), "Probabilities of keeping a unit.", low=0.01, high=1
    )
    kept_units: int = flagged(60, "Units kept of a layer as wide as that asks.", low=1, high=4096)
    scaled_keeps: tuple[float, ...] = flagged(
        (0.1, 0.4, 0.6, 1.0), "Probabilities at that many kept units.", low=0.01, high=1
    )
    sizes: tuple[int, ...] = flagged((100, 500, 1000), "Sizes of subsets.", low=10, high=10**6)
    max_norm: float = flagged(1.0, "Largest norm of a unit's weights.", low=0.01)
    steps: int = flagged(2000, "Steps of every run.", low=1, high=10**6)
    batch_size: int = flagged(50, "Images in a step.", low=2, high=65_536)
    learning_rates: tuple[float, ...] = flagged(
        (0.001, 0.003, 0.01, 0.03), "To choose from.", low=0
    )
    tuning_seeds: int = flagged(4, "Seeds for choosing rates; none is used again.", low=1, high=100)
    n_features: int = flagged(18, "Features of a net that are kept.", low=1, high=1024)


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        width=16,
        keeps=(0.5, 1.0),
        scaled_keeps=(),
        sizes=(50,),
        steps=8,
        learning_rates=(0.01,),
        n_features=2,
        tuning_seeds=1,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        width=1024,
        kept_units=256,
        sizes=(100, 500, 1000, 5000, 10_000),
        max_norm=3.0,
        steps=50_000,
        batch_size=100,
    ),
    "paper": Config(
        dataset="mnist",
        depth=4,
        width=2048,
        kept_units=256,
        max_norm=3.0,
        batch_size=100,
        sizes=(100, 500, 1000, 5000, 10_000, 48_000),
        steps=1_000_000,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    ways: Mapping[str, Way] = WAYS,
    parts: tuple[str, ...] = PARTS,
    law: Callable[..., inside.Shift] = inside.variance_shift,
) -> tuple[dict, dict]:
    """Train in every way; returns rates, and errors [S] and looks inside by way.

    ``law``: what measures the shift of a variance and says what it should be.
    """
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    lab = Lab(config, load(config.dataset), seeds, tuning_seeds, progress)
    every = {**WAYS, **ways}
    every |= swept(config, every)
    lab.check(every)
    lab.prepare(every)
    rates, histories = lab.compare({**ways, **swept(config, ways, parts)})
    arrays = {}
    for name, history in histories.items():
        finite = np.isfinite(history.test["loss"][:, -1])
        error = np.where(finite, history.test["error"][:, -1], np.nan)
        arrays[f"{name}/test_error"] = error
        arrays[f"{name}/test_loss"] = history.test["loss"][:, -1]
        arrays[f"{name}/train_loss"] = history.train["loss"][:, -20:].mean(1)
    arrays |= _look_inside(lab, ways, histories, law)
    return {"rates": rates, "chance_error": lab.data.test.chance_error}, arrays


def swept(
    config: Config, ways: Mapping[str, Way], parts: tuple[str, ...] = PARTS
) -> dict[str, Way]:
    """Return the ways of the sweeps, changed from those of the table, which has them."""
    keeps = config.keeps if "keeps" in parts else ()
    scaled_keeps = config.scaled_keeps if "scaled_keeps" in parts else ()
    sizes = config.sizes if "sizes" in parts else ()
    found = {}
    for keep in keeps:
        found[f"keep/{keep:g}"] = dataclasses.replace(ways["dropout"], keep=keep, keep_last=keep)
    for keep in scaled_keeps:
        same = f"keep/{keep:g}" if keep in config.keeps else "dropout"
        found[f"scaled/{keep:g}"] = dataclasses.replace(
            ways["dropout"],
            keep=keep,
            keep_last=keep,
            width=round(config.kept_units / keep),
            rate_of=same,
        )
    for size in sizes:
        for name in ACTIVE:
            found[f"size/{size}/{name}"] = dataclasses.replace(ways[name], images=size)
    return found


def _look_inside(
    lab: Lab,
    ways: Mapping[str, Way],
    histories: Mapping[str, History],
    law: Callable[..., inside.Shift],
) -> dict[str, np.ndarray]:
    """Return features, activity and shifts of variance."""
    config, data = lab.config, lab.data
    test = lab.preprocess(data.test.images, None), data.test.labels
    train = lab.preprocess(data.train.images, None)
    arrays = {}
    for name in [name for name in ACTIVE if name in ways]:
        net, variables = lab.net(lab.kind_of(ways[name])), histories[name].variables
        active = inside.last_hidden(net, variables, test[0])
        arrays[f"{name}/activation"] = active.mean((1, 2))
        arrays[f"{name}/histogram"] = inside.histogram(active)
        kernel = variables["params"]["layer1"]["kernel"][0]
        shape = data.train.images.shape[1:]
        arrays[f"{name}/features"] = kernel[:, : config.n_features].T.reshape(-1, *shape)
    for name in [name for name in SHIFTED if name in ways]:
        net, variables = lab.net(lab.kind_of(ways[name])), histories[name].variables
        shift = law(net, variables, ways[name].keep, train, test)
        arrays[f"{name}/shift"] = shift.measured
        arrays[f"{name}/shift_law"] = shift.predicted
        arrays[f"{name}/taken_again"] = shift.error
    return arrays


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw errors by way, by probability and by images; features, activity, kept variance."""
    figure, axes = plots.new_figure(3, 2, 12.0)
    labels = {name: WAYS[name].label for name in WAYS}
    panels.draw_ways(axes[0, 0], record, labels, config.steps)
    panels.draw_probabilities(axes[0, 1], record, config)
    panels.draw_sizes(axes[1, 0], record, config)
    panels.draw_activity(axes[1, 1], record)
    panels.draw_features(axes[2, 0], record)
    panels.draw_shift(axes[2, 1], record, {name: labels[name] for name in SHIFTED})
    after = f"After {config.steps:,} steps"
    title = plots.headline(
        record,
        {
            ("helps", "sparse"): f"{after}: dropout lowers the test error and silences units",
            ("sparse", "not helps"): f"{after}: dropout silences units and costs accuracy",
            ("sparse", "loss"): f"{after}: dropout silences units and lowers the test loss",
            "sparse": "Dropout silences units",
        },
        otherwise="Dropout: what it gains, and where",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"ReLU MLP of {config.depth} layers, {config.width} units",
        optimizer=f"SGD with momentum .95, {words.rates('way', config.learning_rates)}",
        paper="Srivastava et al. 2014, tables 2, 9, 10, figures 7 to 10; Li et al. 2018",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
