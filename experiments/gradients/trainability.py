"""The map of what trains: depth against the scale of the random weights, 2,160 trainings.

Sources: Schoenholz et al. 2017, "Deep information propagation" (arXiv 1611.01232), figure 5 and
section 3.2; Yang et al. 2019 (1902.08129), figure 2, for batch norm. Claim in one sentence: a tanh
net trains when it is no deeper than some 6 xi_c, the depth over which two inputs become alike or
unrelated; xi_c diverges at criticality, dropout makes it finite, batch norm has a limit of its own.

Command: make exp-trainability (under 5 minutes on two cores; embedded 8x8 digits, no download).

As in the paper: sigma_b^2 = .05, sigma_w^2 from below to beyond the critical 1.76, plain SGD;
narrower nets and a larger rate than the paper's (width 300, 1e-3), on other images. A net "trains"
when the error of its last 20 batches averages below 5/9 of chance, the error of always answering
the largest class (one half where ten classes are equal); the edge lies between the last depth up
to which all do and the next. Edges are known to one step of the grid of depths, and no interval is
narrower. Batch norm's limit is judged at one batch size: a step of the grid is more than what
another one changes. Rates, steps and grids: chosen on seeds below 100.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import optax

from experiments.gradients import _phase_map as phase_map
from experiments.gradients._maps import MAPS, SIGMA_B, Map, correlation_limit
from jaxvision import cli
from jaxvision.data import Splits, load
from jaxvision.data.augment import standardizer
from jaxvision.fields import flagged
from jaxvision.progress import each
from jaxvision.report import plots, stats
from jaxvision.report.claims import Claim, Equivalent, Greater, Share
from jaxvision.report.record import Record
from jaxvision.training.depth_sweep import Cells, DepthSweep
from jaxvision.types import Axes, Figure

if TYPE_CHECKING:
    from matplotlib.collections import QuadMesh

TRAINS = 5 / 9  # of chance: the error below which a net counts as trained ...
LAST = 20  # ... over this many of its last steps


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(8, "Paired seeds of every map.", low=1, high=1000)
    first_seed: int = flagged(300, "The first seed.", low=0, high=10**9)
    n_gains: int = flagged(9, "Values of sigma_w.", low=4, high=1000)
    n_depths: int = flagged(10, "Values of depth.", low=2, high=1000)
    shallowest: int = flagged(8, "Weight layers.", low=2, high=10_000)
    deepest: int = flagged(128, "Weight layers.", low=3, high=10_000)
    width: int = flagged(64, "Units of every hidden layer.", low=2, high=8192)
    steps: int = flagged(400, "Steps of every training.", low=20, high=10**6)
    batch_size: int = flagged(16, "Images in a step.", low=4, high=65_536)
    learning_rate: float = flagged(0.03, "SGD's rate of the tanh nets.", low=0)
    learning_rate_batch_norm: float = flagged(0.03, "The same with batch norm.", low=0)
    keep: float = flagged(0.95, "Share of the units that dropout keeps.", low=0.1, high=1)
    runs_per_call: int = flagged(66, "Trainings side by side.", low=1, high=10_000)


PRESETS = {
    "tiny": Config(
        seeds=2,
        n_gains=4,
        n_depths=3,
        deepest=12,
        width=8,
        steps=20,
        runs_per_call=8,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        seeds=10,
        n_gains=40,
        n_depths=25,
        deepest=300,
        width=300,
        batch_size=32,
        learning_rate=0.01,
        runs_per_call=500,
    ),
    "paper": Config(
        dataset="cifar10",
        seeds=8,
        n_gains=40,
        n_depths=30,
        shallowest=10,
        deepest=300,
        width=300,
        batch_size=32,
        learning_rate=1e-3,
        runs_per_call=500,
    ),
}


def sigmas_of(config: Config) -> np.ndarray:
    """Return sigma_w [G], its squares evenly from .5 to 4: the ordered and the chaotic phase."""
    return np.sqrt(np.linspace(0.5, 4.0, config.n_gains))


def depths_of(config: Config) -> np.ndarray:
    """Return the depths, evenly on a log axis."""
    return np.unique(np.geomspace(config.shallowest, config.deepest, config.n_depths).round())


def measure(
    config: Config,
    progress: cli.ShowProgress,
    maps: Mapping[str, Map] = MAPS,
    cells: Callable[..., Cells] = Cells,
) -> tuple[dict, dict]:
    """Train every cell of every map; arrays 'map/loss' and 'map/error' [S, G, depths]."""
    data = load(config.dataset)
    preprocess = standardizer(data.train)
    arrays = {"sigma_w": sigmas_of(config), "depths": depths_of(config)}
    diverged = {}
    for name, its in each(maps.items(), "maps"):
        loss, error = _train_map(config, its, data, preprocess, cells, progress)
        finite = np.isfinite(loss)  # a training that diverged has failed
        arrays[f"{name}/loss"] = np.where(finite, loss, data.train.label_entropy)
        arrays[f"{name}/error"] = np.where(finite, error, 1.0)
        diverged[name] = int((~finite).sum())
    trainings = sum(arrays[f"{name}/loss"].size for name in maps)
    trains_below = TRAINS * data.train.chance_error
    return {"trainings": trainings, "diverged": diverged, "trains_below": trains_below}, arrays


def _train_map(
    config: Config,
    its: Map,
    data: Splits,
    preprocess: Callable,
    cells: Callable,
    progress: cli.ShowProgress,
) -> tuple[np.ndarray, np.ndarray]:
    """Return loss and error [S, G, depths] of the last steps of every cell of one map."""
    depths = depths_of(config)
    sweep = DepthSweep(
        nonlinearity=lambda h, key: its.layer(config, h, key),
        optimizer=lambda hyper: optax.sgd(hyper["learning_rate"]),
        preprocess=lambda images: preprocess(images, None),
        train=data.train,
        width=config.width,
        batch_size=config.batch_size,
        period=config.steps,
        deepest=int(depths[-1]),
        runs_per_call=config.runs_per_call,
    )
    seeds = np.arange(config.first_seed, config.first_seed + config.seeds)
    grid = np.meshgrid(seeds, sigmas_of(config), depths, indexing="ij")
    seed, sigma_w, depth = (axis.ravel() for axis in grid)
    runs = cells(
        depths=depth.astype(int),
        seeds=seed.astype(np.int32),
        sigma_w=sigma_w.astype(np.float32),
        sigma_b=np.full(len(seed), SIGMA_B, np.float32),
        hyper={"learning_rate": np.full(len(seed), its.rate(config), np.float32)},
    )
    with progress(len(seed), its.label) as bar:
        history = sweep.fit(runs, config.steps, bar.advance)
    loss, error = (history[key][:, -LAST:].mean(1) for key in ("loss", "error"))
    return loss.reshape(grid[0].shape), error.reshape(grid[0].shape)


def edges_of(record: Record, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log2 of the edge [S, G], and whether it lies above and below the grid (a bound)."""
    trains = record.arrays[f"{name}/error"] < record.numbers["trains_below"]
    return phase_map.edges(trains, record.arrays["depths"])


def line_of(record: Record, config: Config) -> np.ndarray:
    """Return intercept and slope [S, 2] of tanh's log2 edge on that of theory, both over 32."""
    limit = correlation_limit(config, record.arrays["sigma_w"])
    within = limit < config.deepest
    x = np.log2(limit[within]) - 5
    rows = zip(*(values[:, within] for values in edges_of(record, "tanh")), strict=True)
    return np.array([stats.censored_line(x, edge - 5, above, below) for edge, above, below in rows])


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    sigmas, depths = sigmas_of(config), np.log2(depths_of(config))
    step = float(np.diff(depths).max())  # of the grid: what one edge is known to
    coarse = "--n_depths with depths less than an octave apart" if step >= 1 else ""
    log_limits = {name: np.log2(its.limit(config, sigmas)) for name, its in MAPS.items()}
    critical = int(np.argmax(log_limits["tanh"]))
    phases = {"ordered": slice(0, critical + 1), "chaotic": slice(critical, None)}

    def within_grid(name: str) -> np.ndarray:
        # Beyond the grid an edge cannot be followed: theory ends where the grid ends, too.
        return np.clip(log_limits[name], depths[0], depths[-1])

    def rank(part: slice = slice(None)) -> Callable:
        expected = within_grid("tanh")[part]
        return lambda r: phase_map.rank_with(expected, edges_of(r, "tanh")[0][:, part])

    def nearer_to_dropout(r: Record) -> np.ndarray:  # octaves, mean over sigma_w
        edge = edges_of(r, "dropout")[0]
        away = [np.abs(edge - within_grid(theory)).mean(1) for theory in ("tanh", "dropout")]
        return np.subtract(*away)

    def edge_off(r: Record) -> np.ndarray:  # of the net with batch norm, octaves over theory
        return (edges_of(r, "batch_norm")[0] - log_limits["batch_norm"]).mean(1)

    def batch_norm_slope(r: Record) -> np.ndarray:
        rows = zip(*edges_of(r, "batch_norm"), strict=True)
        return np.array([stats.censored_line(np.log2(sigmas), *row)[1] for row in rows])

    def off_six(layers: int) -> Callable:  # the fitted line where theory says so many layers
        def octaves(r: Record) -> np.ndarray:
            intercept, slope = line_of(r, config).T
            return intercept + (slope - 1) * (np.log2(layers) - 5)

        return octaves

    beyond = depths[None] > log_limits["tanh"][:, None] + 2  # four times theory's depth
    tested = [phase for phase, part in phases.items() if beyond[part].any()]

    def far(r: Record) -> np.ndarray:  # does none of the nets beyond train?
        trains = r.arrays["tanh/error"] < r.numbers["trains_below"]
        return ~(trains & beyond).any((1, 2)) if beyond.any() else np.array([])

    def peak(r: Record) -> np.ndarray:  # the edge at criticality over that at both ends, octaves
        edge = edges_of(r, "tanh")[0]
        return edge[:, critical] - edge[:, [0, -1]].max(1)

    def lost(r: Record) -> np.ndarray:  # to dropout at criticality, octaves
        return (edges_of(r, "tanh")[0] - edges_of(r, "dropout")[0])[:, critical]

    paper = "Schoenholz et al. 2017"
    figure, drop, yang = f"{paper}, figure 5", f"{paper}, section 3.2", "Yang et al. 2019, figure 2"
    return [
        Claim("rank", figure, "the deepest net that trains goes with 6 xi_c over sigma_w (rank "
              "correlation)", rank(), Greater(0.7), needs=("tanh",)),
        Claim("rank-ordered", figure, "in the ordered phase the deepest net that trains gets "
              "deeper with sigma_w (rank correlation)", rank(phases["ordered"]), Greater(0.7),
              needs=("tanh",)),
        Claim("rank-chaotic", figure, "in the chaotic phase the deepest net that trains gets "
              "shallower with sigma_w (rank correlation)", rank(phases["chaotic"]), Greater(0.7),
              needs=("tanh",)),
        Claim("slope", figure, "the deepest net that trains goes in proportion to xi_c "
              "(slope of log edge on log xi_c, censored regression)",
              lambda r: line_of(r, config)[:, 1], Equivalent(0.3, 1.0), needs=("tanh",)),
        *[Claim(f"six-{layers}", figure, "the deepest net that trains has about 6 xi_c "
                f"layers where that is {layers} (edge over 6 xi_c on the fitted line, octaves)",
                off_six(layers), Equivalent(0.4), needs=("tanh",)) for layers in (16, 32, 64)],
        Claim("peak", f"{paper}, abstract", "nets train deeper near criticality than at both ends "
              "of sigma_w (edge there over the larger one at the ends, octaves)", peak,
              Greater(resolution=step), needs=("tanh",)),
        Claim("critical", f"{paper}, abstract", f"near criticality {config.deepest} layers of "
              f"width {config.width} train within {config.steps} steps",
              lambda r: r.arrays["tanh/error"][:, critical, -1] < r.numbers["trains_below"],
              Share(), needs=("tanh",)),
        Claim("far", figure, f"in the {' and in the '.join(tested or phases)} phase nothing trains "
              f"beyond four times 6 xi_c ({beyond.sum()} cells of the map)", far, Share(),
              needs=("tanh",)),
        Claim("dropout-theory", drop, "with dropout the edge is nearer to the theory with dropout "
              "than to that without (octaves)", nearer_to_dropout, Greater(), needs=("dropout",)),
        Claim("dropout-shallower", drop, "near criticality dropout takes depth away (octaves of "
              "the edge)", lost, Greater(resolution=step), needs=("tanh", "dropout")),
        Claim("batch-norm-depth", yang, "with batch norm nets train to some 16 / log(lambda_G) "
              f"layers at batch size {config.batch_size} (edge over it, octaves)", edge_off,
              Equivalent(0.5, resolution=0.0 if coarse else step), not_run=coarse,
              needs=("batch_norm",)),
        Claim("batch-norm-gain", yang, "with batch norm the deepest net that trains does "
              "not depend on sigma_w (slope of log2 edge on log2 sigma_w)", batch_norm_slope,
              Equivalent(0.15), needs=("batch_norm",)),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw the three maps with the edge measured and the depths of the theory; edge on edge."""
    figure, axes = plots.new_figure(2, 2)
    marked = {
        "tanh": ("rank", "peak", "critical", "far"),
        "dropout": ("dropout-theory", "dropout-shallower"),
        "batch_norm": ("batch-norm-depth", "batch-norm-gain"),
    }
    for ax, (name, ids) in zip(axes.flat, marked.items(), strict=False):
        image = _draw_map(ax, record, config, name)
        plots.mark_contradicted(ax, record, *ids)
    with plots.style():
        words = "final training loss, nats (light: trained)"
        figure.colorbar(image, ax=axes.ravel().tolist(), location="bottom", label=words, aspect=50)
    _draw_edges(axes[1, 1], record, config)
    title = plots.headline(
        record,
        {
            "slope": "Tanh nets train to a depth in proportion to 6 xi_c",
            ("peak", "not slope"): "Tanh nets train deepest near criticality, but not in "
            "proportion to 6 xi_c",
            "peak": "Tanh nets train deepest near criticality",
        },
        otherwise="How deep tanh nets train, by the scale of their weights",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"MLP {config.width} wide, {config.shallowest} to {config.deepest} layers",
        optimizer=f"SGD, rate {config.learning_rate:g}, {config.steps} steps",
        paper="Schoenholz et al. 2017, Yang et al. 2019",
    )


def _draw_map(ax: Axes, record: Record, config: Config, name: str) -> "QuadMesh":
    variances = record.arrays["sigma_w"] ** 2
    loss = np.median(record.arrays[f"{name}/loss"], 0).T
    image = phase_map.draw(ax, variances, record.arrays["depths"], loss, top=2.4)
    fine = np.linspace(max(ax.get_xlim()[0], 0.1), ax.get_xlim()[1], 400)
    its = MAPS[name]
    phase_map.curve(ax, fine, its.limit(config, np.sqrt(fine)), its.limit_words)
    phase_map.dots(ax, variances, edges_of(record, name)[0])
    title = f"{its.label}\n(dots: measured, dashes: theory)"
    plots.describe(ax, title, r"$\sigma_w^2$ (fan-in times Var[w])", "weight layers")
    return image


def _draw_edges(ax: Axes, record: Record, config: Config) -> None:
    limit = correlation_limit(config, record.arrays["sigma_w"])
    intercept, slope = line_of(record, config).mean(0)
    ends = np.array([config.shallowest, config.deepest])
    phase_map.edge_on_edge(ax, limit, edges_of(record, "tanh")[0], ends)
    fitted = 32 * 2**intercept * (ends / 32) ** slope
    phase_map.fit(ax, ends, fitted, f"fit, slope {slope:.2f}")
    plots.mark_contradicted(ax, record, "slope", "six-16", "six-32", "six-64")
    title = "tanh: the edge against theory\n(medians over seeds)"
    plots.describe(ax, title, r"theory: $6\,\xi_c$, layers", "measured edge, layers")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
