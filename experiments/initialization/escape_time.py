"""How long Xavier keeps a deep ReLU net on its plateau: escape step against depth.

Source: He, Zhang, Ren & Sun 2015 (arXiv 1502.01852), section 2.2: a 30-layer net drawn by "Xavier"
(variance 1 / fan-in, half of He's) stalls. Two questions beside it, open after a pilot: does Adam,
whose steps do not depend on the gradient's size, leave the plateau where SGD does not? And does
SGD's escape time grow by sqrt 2 a layer, as the gradient shrinks, or less?

Command: make exp-escape-time (under 4 minutes on two cores; embedded 8x8 digits, no download).

ReLU nets of width 64, zero biases, which train or do not; SGD with momentum .9 and Adam, constant
rates. A run escapes at the first step whose next ten losses average by a tenth of the labels'
entropy below what its batches cost a net that knows the shares of the classes alone (nine tenths of
ln 10 where ten classes are equal); one that never does, or diverges first, is censored there and
enters slopes and survival curves as such; in Adam's lead it counts the steps of the whole run.
Rates and depths are those of an earlier pilot on random clusters, which put the growth at .39
octaves (doublings) a layer without biases, and of ``he_init``.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import scipy

from experiments.initialization._escape_claims import claims_of
from jaxvision import cli
from jaxvision.data import Splits, load
from jaxvision.data.augment import standardizer
from jaxvision.fields import flagged
from jaxvision.progress import each
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.depth_sweep import Cells, DepthSweep
from jaxvision.training.escape import escape_step, plateau
from jaxvision.training.optimizers import adam, sgd
from jaxvision.types import Axes, Figure

PLATEAU = 0.9  # a loss below this share of the plateau has left it


class Arm(NamedTuple):
    """A way to start a net and to drive it."""

    label: str
    optimizer: Callable
    variance: float  # of the weights, times fan-in
    biases: bool  # whether they train
    rate: str  # the flag of its learning rate


ARMS = {
    "sgd_bias": Arm("SGD, biases", sgd, 1.0, True, "learning_rate_sgd"),
    "sgd": Arm("SGD", sgd, 1.0, False, "learning_rate_sgd"),
    "adam_bias": Arm("Adam, biases", adam, 1.0, True, "learning_rate_adam"),
    "adam": Arm("Adam", adam, 1.0, False, "learning_rate_adam"),
    "he": Arm("He", sgd, 2.0, True, "learning_rate_he"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(32, "Paired seeds of every arm.", low=1, high=1000)
    first_seed: int = flagged(500, "The first seed.", low=0, high=10**9)
    depths: tuple[int, ...] = flagged(
        (8, 10, 12, 14, 16, 18, 20, 30), "Weight layers, 6 or more for slopes.", low=3, high=1000
    )
    width: int = flagged(64, "Units of every hidden layer.", low=1, high=8192)
    steps: int = flagged(4000, "Budget of every run, in steps.", low=1, high=10**6)
    period: int = flagged(100, "Steps between looks at who has left.", low=1, high=10**6)
    batch_size: int = flagged(16, "Images in a step.", low=1, high=65_536)
    learning_rate_sgd: float = flagged(0.003, "SGD's rate under Xavier.", low=0)
    learning_rate_adam: float = flagged(0.001, "Adam's rate.", low=0)
    learning_rate_he: float = flagged(0.001, "SGD's rate under He.", low=0)


PRESETS = {
    "tiny": Config(seeds=2, depths=(4, 6, 8), width=8, steps=40, period=20, batch_size=8),
    "cpu": Config(),
    "gpu": Config(dataset="mnist", seeds=100, steps=20_000, batch_size=64),
    "paper": Config(dataset="cifar10", seeds=20, width=512, steps=50_000, batch_size=128),
}


def measure(
    config: Config, progress: cli.ShowProgress, arms: Mapping[str, Arm] = ARMS
) -> tuple[dict, dict]:
    """Train every arm; arrays 'arm/step', 'arm/escaped' and 'arm/diverged' [S, depths]."""
    data = load(config.dataset)
    threshold = _thresholds(config, data)
    optimizers = {arm.optimizer for arm in arms.values()}
    preprocess = standardizer(data.train)
    sweeps = {rule: _sweep(config, data, preprocess, rule) for rule in optimizers}
    arrays = {}
    for name, arm in each(arms.items(), "arms"):
        with progress(config.seeds * len(config.depths), arm.label) as bar:
            found = sweeps[arm.optimizer].fit(
                _cells(config, arm),
                config.steps,
                bar.advance,
                lambda cells, loss: _is_over(loss, threshold[cells, : loss.shape[1]]),
            )
        escape = escape_step(found["loss"], threshold)
        escaped = escape < config.steps
        # Steps saved by stopping early have no error either; a diverged net still has one.
        bad = np.isfinite(found["error"]) & ~np.isfinite(found["loss"])
        ended = np.where(bad.any(1), bad.argmax(1), config.steps)
        shape = config.seeds, len(config.depths)
        arrays[f"{name}/step"] = np.where(escaped, escape, ended).reshape(shape)
        arrays[f"{name}/escaped"] = escaped.reshape(shape)
        arrays[f"{name}/diverged"] = bad.any(1).reshape(shape)
    return {}, arrays


def _sweep(config: Config, data: Splits, preprocess: Callable, optimizer: Callable) -> DepthSweep:
    return DepthSweep(
        nonlinearity=lambda h, key: jax.nn.relu(h),
        optimizer=partial(optimizer, 0.0),
        preprocess=lambda images: preprocess(images, None),
        train=data.train,
        width=config.width,
        batch_size=config.batch_size,
        period=config.period,
        deepest=max(config.depths),
        runs_per_call=config.seeds,
    )


def _thresholds(config: Config, data: Splits) -> np.ndarray:
    """Return the loss [R, T] below which a run has left the plateau, on its very batches."""
    seeds = np.repeat(
        np.arange(config.first_seed, config.first_seed + config.seeds), len(config.depths)
    )
    level = plateau(data.train.labels, seeds, config.steps, config.batch_size)
    return level - (1 - PLATEAU) * data.train.label_entropy


def _cells(config: Config, arm: Arm) -> Cells:
    """Return the trainings of one arm: every seed at every depth, seed by seed."""
    seeds = np.arange(config.first_seed, config.first_seed + config.seeds)
    seed, depth = (axis.ravel() for axis in np.meshgrid(seeds, config.depths, indexing="ij"))

    def fill(value: float) -> np.ndarray:
        return np.full(len(seed), value, np.float32)

    hyper = {
        "learning_rate": fill(getattr(config, arm.rate)),
        "train_biases": fill(float(arm.biases)),
    }
    return Cells(depth, seed.astype(np.int32), fill(arm.variance**0.5), fill(0.0), hyper)


def _is_over(loss: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return which runs [R] need no further step: they have escaped, or diverged."""
    return (escape_step(loss, threshold) < loss.shape[1]) | ~np.isfinite(loss[:, -1])


def claims(config: Config) -> list[Claim]:
    """Return the questions."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw who is still on the plateau at the largest depth, and escape steps against depth."""
    figure, ((left, right),) = plots.new_figure(1, 2, height=5.4)
    _draw_survival(left, record, config)
    _draw_growth(right, record, config)
    title = plots.headline(
        record,
        {
            "half": "Xavier's plateau holds SGD 1.4 times as long with every layer",
            "less-than-half": "Xavier's plateau holds SGD ever longer with depth, "
            "by less than √2 a layer",
        },
        otherwise="How long Xavier's plateau holds a ReLU net",
    )
    rates = f"rates {config.learning_rate_sgd:g} (SGD), {config.learning_rate_adam:g} (Adam)"
    return plots.finish(
        figure,
        record,
        title,
        net=f'ReLU MLP {config.width} wide, drawn by Xavier ("He": by He)',
        optimizer=f"SGD with momentum .9 or Adam, {rates}, batch {config.batch_size}",
        paper="He et al. 2015, questions beside it",
    )


@plots.style()
def _draw_survival(ax: Axes, record: Record, config: Config) -> None:
    """Draw the share of seeds still on the plateau, Kaplan and Meier's estimate."""
    deep = int(np.argmax(config.depths))
    for name, arm in ARMS.items():
        times = np.maximum(record.arrays[f"{name}/step"][:, deep], 1)
        escaped = record.arrays[f"{name}/escaped"][:, deep]
        data = scipy.stats.CensoredData(uncensored=times[escaped], right=times[~escaped])
        curve = scipy.stats.ecdf(data).sf
        x = np.concatenate([[1], curve.quantiles, [config.steps]])
        share = np.concatenate([[1], curve.probabilities, curve.probabilities[-1:]])
        color = plots.color_of(arm.label)
        ax.step(x, 100 * share, where="post", color=color, label=arm.label)
    plots.log_axis(ax, "x")
    ids = ("adam", "adam_bias", "sgd", "sgd_bias", "lead", "lead_bias")
    plots.mark_contradicted(ax, record, *ids)
    title = f"Nets of {config.depths[deep]} layers\nstill on the plateau"
    plots.describe(ax, title, "training step", "share of the seeds, %")


@plots.style()
def _draw_growth(ax: Axes, record: Record, config: Config) -> None:
    """Draw the median escape step by depth; a triangle where it lies beyond the runs' end."""
    depths = np.array(config.depths)
    for name, arm in ARMS.items():
        steps, color = np.maximum(record.arrays[f"{name}/step"], 1), plots.color_of(arm.label)
        median = np.median(steps, 0)
        beyond = median == config.steps
        plots.quartile_band(ax, depths[~beyond], steps[:, ~beyond], color, arm.label)
        aside = 0.5 if arm.biases else -0.5  # two arms may end at one place
        ax.plot(depths[beyond] + aside, median[beyond], "^", color=color, mfc="white", ms=9, mew=2)
    ax.axhline(config.steps, color=plots.THEORY_COLOR, linestyle=":", linewidth=1.4)
    end = {"textcoords": "offset points", "fontsize": 10, "color": plots.THEORY_COLOR}
    ax.annotate("end of the runs", (depths[0], config.steps), (0, 4), **end)
    first = np.median(np.maximum(record.arrays["sgd/step"][:, 0], 1))
    law = first * 2 ** ((depths - depths[0]) / 2)
    seen = law <= config.steps
    plots.theory_line(ax, depths[seen], law[seen], "√2 a layer")
    plots.log_axis(ax, "y")
    ax.set_ylim(top=2 * config.steps)  # room for the name above the dots
    ids = ("half", "less-than-half", "straight", "bends", "biases-help", "control")
    plots.mark_contradicted(ax, record, *ids)
    title = "When they leave it\n(△: half of the seeds do not)"
    plots.describe(ax, title, "weight layers", "step of the escape")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
