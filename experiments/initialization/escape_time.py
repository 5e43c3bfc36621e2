"""How long Xavier keeps a deep ReLU net on its plateau: escape step against depth.

Source: He, Zhang, Ren & Sun 2015 (arXiv 1502.01852), section 2.2: a 30-layer net drawn by "Xavier"
(variance 1 / fan-in, half of He's) stalls. Two questions beside it, open after a pilot: does Adam,
whose steps do not depend on the gradient's size, leave the plateau where SGD does not? And does
SGD's escape time grow by sqrt 2 a layer, as the gradient shrinks, or less?

Command: make exp-escape-time (under 4 minutes on two cores; embedded 8x8 digits, no download).

ReLU nets of width 64, zero biases, which train or do not; SGD with momentum .9 and Adam, constant
rates. A run escapes at the first step whose next ten losses average below nine tenths of ln 10; one
that never does, or diverges first, is censored there and enters slopes and survival curves as such;
in Adam's lead it counts the steps of the whole run. Rates and depths are those of an earlier pilot
on random clusters, which put the growth at .39 octaves a layer without biases, and of ``he_init``;
the rules of the claims were fixed and committed before the recorded run, whose seeds, from
``first_seed``, no pilot has used; only how a net that stays counts in Adam's lead came later.
"""

import dataclasses
import sys
from functools import partial

import jax
import numpy as np
from matplotlib.figure import Figure
from scipy import stats as scipy_stats

from experiments.initialization._escape import Statistic
from jaxvision import cli
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.fields import flagged
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share
from jaxvision.report.record import Record
from jaxvision.report.stats import censored_line
from jaxvision.training.depth_sweep import Cells, DepthSweep
from jaxvision.training.escape import escape_step, plateau
from jaxvision.training.optimizers import adam, sgd

ARMS = {  # name: optimizer, variance of the weights times fan-in, are biases trained
    "sgd_bias": ("sgd", 1.0, True),
    "sgd": ("sgd", 1.0, False),
    "adam_bias": ("adam", 1.0, True),
    "adam": ("adam", 1.0, False),
    "he": ("sgd", 2.0, True),
}
LABELS = {
    "sgd": "SGD, no biases",
    "sgd_bias": "SGD, biases",
    "adam": "Adam, no biases",
    "adam_bias": "Adam, biases",
    "he": "He, SGD",
}
OPTIMIZERS = {"sgd": sgd, "adam": adam}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(32, "Paired seeds of every arm.", low=1, high=1000)
    first_seed: int = flagged(100, "The first seed.", low=0)
    depths: tuple[int, ...] = flagged(
        (8, 10, 12, 14, 16, 18, 20, 30), "Weight layers, at least 6 values for slopes.", low=3
    )
    width: int = flagged(64, "Units of every hidden layer.", low=1, high=8192)
    steps: int = flagged(4000, "Budget of every run, in steps.", low=1)
    period: int = flagged(100, "Steps between two looks at who has escaped.", low=1)
    batch_size: int = flagged(16, "Images in a step.", low=1)
    rate_sgd: float = flagged(0.003, "SGD's rate under Xavier.", low=0)
    rate_adam: float = flagged(0.001, "Adam's rate.", low=0)
    rate_he: float = flagged(0.001, "SGD's rate under He.", low=0)


PRESETS = {
    "tiny": Config(seeds=2, depths=(4, 6, 8), width=8, steps=40, period=20, batch_size=8),
    "cpu": Config(),
    "gpu": Config(dataset="mnist", seeds=100, steps=20_000, batch_size=64),
    "paper": Config(dataset="cifar10", seeds=20, width=512, steps=50_000, batch_size=128),
}


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Train every arm; arrays 'arm/step', 'arm/escaped' and 'arm/diverged' [S, depths]."""
    data = load(config.dataset)
    mean = per_pixel_mean(data.train.images)
    scale = float(np.std(data.train.images[:5000] - mean))
    seed, depth = (
        axis.ravel()
        for axis in np.meshgrid(
            np.arange(config.seeds) + config.first_seed, config.depths, indexing="ij"
        )
    )

    level = plateau(data.train.labels, seed, config.steps, config.batch_size)
    threshold = level - 0.1 * data.train.label_entropy

    def done(cells: np.ndarray, loss: np.ndarray) -> np.ndarray:
        steps = loss.shape[1]
        escaped = escape_step(loss, threshold[cells, :steps]) < steps
        return escaped | ~np.isfinite(loss[:, -1])

    arrays = {}
    sweeps = {
        name: DepthSweep(
            lambda h, key: jax.nn.relu(h),
            partial(optimizer, 0.0),
            partial(normalize, mean=mean, std=scale),
            data.train,
            config.width,
            config.batch_size,
            config.period,
            max(config.depths),
            config.seeds,
        )
        for name, optimizer in OPTIMIZERS.items()
    }
    for arm, (optimizer, variance, biases) in ARMS.items():
        rate = config.rate_he if arm == "he" else getattr(config, f"rate_{optimizer}")
        fill = partial(np.full, len(seed), dtype=np.float32)
        hyper = {"learning_rate": fill(rate), "train_biases": fill(biases)}
        cells = Cells(depth, seed.astype(np.int32), fill(variance**0.5), fill(0.0), hyper)
        with progress(len(seed), LABELS[arm]) as bar:
            found = sweeps[optimizer].fit(cells, config.steps, bar.advance, done)
        # Steps saved by stopping early have no error either; a diverged net still has one.
        bad = np.isfinite(found["error"]) & ~np.isfinite(found["loss"])
        escape = escape_step(found["loss"], threshold)
        escaped = escape < config.steps
        ended = np.where(bad.any(1), bad.argmax(1), config.steps)
        shape = config.seeds, len(config.depths)
        arrays[f"{arm}/step"] = np.where(escaped, escape, ended).reshape(shape)
        arrays[f"{arm}/escaped"] = escaped.reshape(shape)
        arrays[f"{arm}/diverged"] = bad.any(1).reshape(shape)
    return {}, arrays


def _octaves(record: Record, arm: str) -> np.ndarray:
    return np.log2(np.maximum(record.arrays[f"{arm}/step"], 1))


def slopes(arm: str, part: slice = slice(None)) -> Statistic:
    """Return the statistic: growth of log2(escape step) per layer, over a part of the depths."""

    def statistic(record: Record) -> np.ndarray:
        depths = np.array(record.config["depths"])[part]
        steps = _octaves(record, arm)[:, part]
        censored = ~record.arrays[f"{arm}/escaped"][:, part]
        rows = zip(steps, censored, strict=True)
        return np.array([censored_line(depths, y, bounds)[1] for y, bounds in rows])

    return statistic


def claims(config: Config) -> list[Claim]:
    """Return the questions; the rules are fixed here."""
    deep, middle = int(np.argmax(config.depths)), len(config.depths) // 2
    deepest = f"at {config.depths[deep]} layers"
    kinds = {"_bias": "with biases", "": "without biases"}

    def escaped(arm: str) -> Statistic:
        return lambda r: r.arrays[f"{arm}/escaped"][:, deep]

    def lead(kind: str) -> Statistic:  # of Adam, in octaves of the steps within the run
        adam = f"adam{kind}"

        def octaves(r: Record) -> np.ndarray:  # one that diverged has not left either
            left = r.arrays[f"{adam}/escaped"]
            return np.where(left, _octaves(r, adam), np.log2(config.steps))

        return lambda r: (_octaves(r, f"sgd{kind}") - octaves(r))[:, deep]

    def bend(arm: str) -> Statistic:  # growth over the deeper depths less that over the shallower
        deeper, shallower = slopes(arm, slice(middle - 1, None)), slopes(arm, slice(0, middle))
        return lambda r: deeper(r) - shallower(r)

    h1, h2, he = "question h1, optimizers", "question h2, growth", "He et al. 2015, figure 3"
    rows = []  # id, source, sentence, statistic, rule
    for kind, words in kinds.items():
        rows += [
            (f"adam{kind}", h1, f"{deepest}, {words}: Adam leaves Xavier's plateau",
             escaped(f"adam{kind}"), Share()),
            (f"sgd{kind}", h1, f"{deepest}, {words}: SGD does not in {config.steps} steps",
             lambda r, kind=kind: ~escaped(f"sgd{kind}")(r), Share()),
            (f"lead{kind}", h1, f"{deepest}, {words}: SGD stays at least 8 times as long as Adam "
             f"(octaves; a net that never leaves counts {config.steps} steps)", lead(kind),
             Greater(3.0)),
        ]  # fmt: skip
    rows += [
        ("half", h2, "without biases SGD's escape step grows as the gradient shrinks, by half an "
         "octave a layer", slopes("sgd"), Equivalent(0.05, 0.5)),
        ("less-than-half", h2, "... or by less than half an octave a layer", slopes("sgd"),
         Less(0.5)),
        ("straight", h2, "without biases growth is exponential (octaves a layer, deeper less "
         "shallower depths)", bend("sgd"), Equivalent(0.1)),
        ("bends", h2, "with biases growth slows with depth (the same)", bend("sgd_bias"),
         Less(0.0)),
        ("biases-help", h2, "with biases it grows more slowly than without (octaves a layer)",
         lambda r: slopes("sgd_bias")(r) - slopes("sgd")(r), Less(0.0)),
        ("control", he, "control: He, SGD: no plateau at any depth, every net escapes within "
         "200 steps",
         lambda r: (r.arrays["he/escaped"] & (r.arrays["he/step"] < 200)).all(1), Share()),
    ]  # fmt: skip
    return [Claim(*row) for row in rows]


def plot(record: Record, config: Config) -> Figure:
    """Draw who is still on the plateau at the largest depth, and escape steps against depth."""
    figure, (row,) = plots.new_figure(1, 2, (13.5, 6.0))
    colors = plots.arm_colors(list(ARMS))
    deep = int(np.argmax(config.depths))
    with plots.style():
        for arm in ARMS:
            times = np.maximum(record.arrays[f"{arm}/step"][:, deep], 1)
            escaped = record.arrays[f"{arm}/escaped"][:, deep]
            data = scipy_stats.CensoredData(uncensored=times[escaped], right=times[~escaped])
            curve = scipy_stats.ecdf(data).sf
            x = np.concatenate([[1], curve.quantiles, [config.steps]])
            share = np.concatenate([[1], curve.probabilities, curve.probabilities[-1:]])
            row[0].step(x, 100 * share, where="post", color=colors[arm], label=LABELS[arm])
        depths = np.array(config.depths)
        for arm, (_, _, biases) in ARMS.items():
            steps, color = np.maximum(record.arrays[f"{arm}/step"], 1), colors[arm]
            median = np.median(steps, 0)
            bound = median == config.steps
            row[1].plot(depths, median, ":", color=color, linewidth=1.4, label=LABELS[arm])
            plots.quartile_band(row[1], depths[~bound], steps[:, ~bound], color, "_band")
            aside = 0.5 if biases else -0.5  # two arms may end at one place
            row[1].plot(depths[bound] + aside, median[bound], "^", color=color, markersize=10,
                        markerfacecolor="white", markeredgewidth=2, label="_bound")  # fmt: skip
        row[1].axhline(config.steps, color=plots.THEORY_COLOR, linestyle=":", linewidth=1.4)
        row[1].annotate("end of the runs (△: median beyond it)", (min(config.depths), config.steps),
                        (0, 6), textcoords="offset points", fontsize=11)  # fmt: skip
    first = np.median(np.maximum(record.arrays["sgd/step"][:, 0], 1))
    law = first * 2 ** ((depths - depths[0]) / 2)
    seen = law <= config.steps
    plots.theory_line(row[1], depths[seen], law[seen], "_half an octave a layer")
    plots.log_axis(row[0], "x")
    plots.log_axis(row[1], "y")
    plots.describe(row[0], f"Nets of {config.depths[deep]} layers still on the plateau",
                   "training step", "share of the seeds, %")  # fmt: skip
    plots.describe(row[1], "Escape against depth\n(dashed: half an octave a layer)",
                   "weight layers", "step of the escape")  # fmt: skip
    title = "Xavier's plateau holds SGD ever longer with depth; Adam walks off it"
    return plots.finish(figure, record, title)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
