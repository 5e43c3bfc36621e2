"""The map of what trains: depth against the scale of the random weights, 1,950 trainings.

Sources: Schoenholz et al. 2017, "Deep information propagation" (arXiv 1611.01232), figure 5 and
section 3.2; Yang et al. 2019 (1902.08129), figure 2, for batch norm. Claim in one sentence: a tanh
net trains when it is no deeper than some 6 xi_c, the depth over which two inputs become alike or
unrelated; xi_c diverges at criticality, dropout makes it finite, batch norm has a limit of its own.

Command: make exp-trainability (under 5 minutes on two cores; embedded 8x8 digits, no download).

As in the paper: sigma_b^2 = .05, sigma_w^2 from below to beyond the critical 1.76, plain SGD;
narrower nets and a larger rate than the paper's (width 300, 1e-3), on other images. A net "trains"
when the error of its last 20 batches averages below one half (chance: 90 %); the edge lies between
the last depth up to which all do and the next. Rates, steps and grids: chosen on seeds below 100.
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from experiments.gradients import _phase_map as phase_map
from jaxvision import cli
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.dynamics import mean_field, theory
from jaxvision.fields import flagged
from jaxvision.report import plots, stats
from jaxvision.report.claims import Claim, Equivalent, Greater, Share
from jaxvision.report.record import Record
from jaxvision.training.depth_sweep import Cells, DepthSweep
from jaxvision.types import Array

SIGMA_B = 0.05**0.5
CRITICAL = 1.76  # sigma_w^2 of a critical tanh net with these biases
SCALES = 6  # trainable depth in units of xi_c (Schoenholz et al. 2017)
BATCH_NORM_SCALES = 16  # ... of 1 / log(lambda_G) (Yang et al. 2019)
TRAINS = 0.5  # error below which a net counts as trained ...
LAST = 20  # ... over this many of its last steps
MAPS = {"tanh": "tanh", "dropout": "tanh + dropout", "batch_norm": "ReLU + batch norm"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(5, "Paired seeds of every map.", low=1, high=1000)
    first_seed: int = flagged(100, "The first seed.", low=0)
    gains: int = flagged(13, "Values of sigma_w.", low=4, high=1000)
    depths: int = flagged(10, "Values of depth.", low=2, high=1000)
    shallowest: int = flagged(8, "Weight layers.", low=2)
    deepest: int = flagged(128, "Weight layers.", low=3, high=10_000)
    width: int = flagged(64, "Units of every hidden layer.", low=2, high=8192)
    steps: int = flagged(400, "Steps of every training.", low=20)
    batch_size: int = flagged(16, "Images in a step.", low=4)
    learning_rate: float = flagged(0.03, "SGD's rate of the tanh nets.", low=0)
    batch_norm_rate: float = flagged(0.03, "SGD's rate of the nets with batch norm.", low=0)
    keep: float = flagged(0.95, "Share of the units that dropout keeps.", low=0.1, high=1)
    runs_per_call: int = flagged(66, "Trainings side by side.", low=1)


PRESETS = {
    "tiny": Config(seeds=2, gains=4, depths=3, deepest=12, width=8, steps=20,
                   runs_per_call=8),
    "cpu": Config(),
    "gpu": Config(dataset="mnist", seeds=10, gains=40, depths=25, deepest=300,
                  width=300, batch_size=32, learning_rate=0.01, runs_per_call=500),
    "paper": Config(dataset="cifar10", seeds=5, gains=40, depths=30, shallowest=10, deepest=300,
                    width=300, batch_size=32, learning_rate=1e-3, runs_per_call=500),
}  # fmt: skip


def sigmas_of(config: Config) -> np.ndarray:
    """Return sigma_w [G], its squares evenly from .5 to 4: the ordered and the chaotic phase."""
    return np.sqrt(np.linspace(0.5, 4.0, config.gains))


def depths_of(config: Config) -> np.ndarray:
    """Return the depths, evenly on a log axis."""
    return np.unique(np.geomspace(config.shallowest, config.deepest, config.depths).round())


def limit_of(name: str, config: Config, sigma_w: np.ndarray) -> np.ndarray:
    """Return the depth that theory gives a net: 6 xi_c, or 16 / log(lambda_G) with batch norm."""
    if name == "batch_norm":
        factor = float(theory.batch_norm_squared_factor(config.batch_size, "relu"))
        return np.full(np.shape(sigma_w), BATCH_NORM_SCALES / np.log(factor))
    keep = config.keep if name == "dropout" else 1.0
    return SCALES * mean_field.correlation_depth_scale(sigma_w, SIGMA_B, "tanh", keep)


def nonlinearity_of(name: str, config: Config) -> Callable:
    """Return what a layer computes before its weights, ``(h [B, width], key) -> [B, width]``."""

    def dropout(h: Array, key: Array) -> Array:
        kept = jax.random.bernoulli(key, config.keep, h.shape)
        return jnp.where(kept, jnp.tanh(h), 0.0) / config.keep

    def batch_norm(h: Array, key: Array) -> Array:
        centered = h - h.mean(0, keepdims=True)
        return jax.nn.relu(centered * jax.lax.rsqrt(jnp.square(centered).mean(0) + 1e-3)[None])

    return {"tanh": lambda h, key: jnp.tanh(h), "dropout": dropout, "batch_norm": batch_norm}[name]


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Train every cell of every map; arrays 'map/loss' and 'map/error' [S, G, depths]."""
    data = load(config.dataset)
    mean = per_pixel_mean(data.train.images)
    scale = float(np.std(data.train.images[:5000] - mean))
    sigmas, depths = sigmas_of(config), depths_of(config)
    arrays, diverged = {"sigma_w": sigmas, "depths": depths}, {}
    for name in MAPS:
        sweep = DepthSweep(
            nonlinearity_of(name, config), lambda hyper: optax.sgd(hyper["learning_rate"]),
            partial(normalize, mean=mean, std=scale), data.train, config.width, config.batch_size,
            config.steps, int(depths[-1]), config.runs_per_call,
        )  # fmt: skip
        seeds = np.arange(config.seeds) + config.first_seed
        grid = np.meshgrid(seeds, sigmas, depths, indexing="ij")
        seed, sigma_w, depth = (axis.ravel() for axis in grid)
        rate = config.batch_norm_rate if name == "batch_norm" else config.learning_rate
        fill = partial(np.full_like, sigma_w, dtype=np.float32)
        cells = Cells(
            depth.astype(int), seed.astype(np.int32), np.float32(sigma_w), fill(SIGMA_B),
            {"learning_rate": fill(rate)},
        )  # fmt: skip
        with progress(len(seed), MAPS[name]) as bar:
            history = sweep.fit(cells, config.steps, bar.advance)
        final = {key: values[:, -LAST:].mean(1) for key, values in history.items()}
        finite = np.isfinite(final["loss"])  # a training that diverged has failed
        final["loss"] = np.where(finite, final["loss"], np.log(data.num_classes))
        final["error"] = np.where(finite, final["error"], 1.0)
        arrays |= {f"{name}/{key}": value.reshape(grid[0].shape) for key, value in final.items()}
        diverged[name] = int((~finite).sum())
    trainings = sum(arrays[f"{name}/loss"].size for name in MAPS)
    return {"trainings": trainings, "diverged": diverged}, arrays


def edges_of(record: Record, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log2 of the edge [S, G], and whether it lies above and below the grid (a bound)."""
    return phase_map.edges(record.arrays[f"{name}/error"] < TRAINS, record.arrays["depths"])


def line_of(record: Record, config: Config) -> np.ndarray:
    """Return intercept and slope [S, 2] of tanh's log2 edge on that of theory, both over 32."""
    limit = limit_of("tanh", config, record.arrays["sigma_w"])
    within = limit < config.deepest
    rows = zip(*(values[:, within] for values in edges_of(record, "tanh")), strict=True)
    x = np.log2(limit[within]) - 5
    return np.array([stats.censored_line(x, edge - 5, *bounds) for edge, *bounds in rows])


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    sigmas, depths = sigmas_of(config), np.log2(depths_of(config))
    log_limits = {name: np.log2(limit_of(name, config, sigmas)) for name in MAPS}
    critical = int(np.argmax(log_limits["tanh"]))
    phases = {"ordered": slice(0, critical + 1), "chaotic": slice(critical, None)}

    def rank(name: str, part: slice = slice(None)):
        # Beyond the grid an edge cannot be followed: theory ends where the grid ends, too.
        expected = np.clip(log_limits[name], depths[0], depths[-1])[part]

        def correlation(edge: np.ndarray) -> float:
            found = stats.spearman(expected, edge[part]).estimate
            return 0.0 if np.ptp(edge[part]) == 0 else found  # constant: it follows nothing

        return lambda r: np.array([correlation(edge) for edge in edges_of(r, name)[0]])

    def edge_off(r: Record) -> np.ndarray:  # of the net with batch norm, octaves over theory
        return (edges_of(r, "batch_norm")[0] - log_limits["batch_norm"]).mean(1)

    beyond = depths[None] > log_limits["tanh"][:, None] + 2  # four times theory's depth
    tested = [phase for phase, part in phases.items() if beyond[part].any()]

    def far(r: Record) -> np.ndarray:  # does none of the nets beyond train?
        trains = r.arrays["tanh/error"] < TRAINS
        return ~(trains & beyond).any((1, 2)) if beyond.any() else np.array([])

    def peak(r: Record) -> np.ndarray:  # the edge at criticality over that at both ends, octaves
        edge = edges_of(r, "tanh")[0]
        return edge[:, critical] - edge[:, [0, -1]].max(1)

    def lost(r: Record) -> np.ndarray:  # to dropout at criticality, octaves
        return (edges_of(r, "tanh")[0] - edges_of(r, "dropout")[0])[:, critical]

    paper = "Schoenholz et al. 2017"
    figure, drop, yang = f"{paper}, figure 5", f"{paper}, section 3.2", "Yang et al. 2019, figure 2"
    rows = [  # id, source, sentence, statistic, rule
        ("rank", figure, "the deepest net that trains goes with 6 xi_c over sigma_w (rank "
         "correlation)", rank("tanh"), Greater(0.7)),
        *[(f"rank-{phase}", figure, f"... in the {phase} phase alone, {len(sigmas[part])} values "
           "of sigma_w (rank correlation)", rank("tanh", part), Greater(0.7))
          for phase, part in phases.items()],
        ("slope", figure, "... in proportion to it (slope of log edge on log xi_c, censored "
         "regression)", lambda r: line_of(r, config)[:, 1], Equivalent(0.3, 1.0)),
        ("six", figure, "... and the factor is about 6 (edge over 6 xi_c, octaves, where theory "
         "says 32 layers)", lambda r: line_of(r, config)[:, 0], Equivalent(1.0)),
        ("peak", f"{paper}, abstract", "nets train deeper near criticality than at both ends of "
         "sigma_w (edge there over the larger one at the ends, octaves)", peak, Greater(0.0)),
        ("critical", f"{paper}, abstract", f"near criticality {config.deepest} layers train",
         lambda r: r.arrays["tanh/error"][:, critical, -1] < TRAINS, Share()),
        ("far", figure, f"in the {' and in the '.join(tested or phases)} phase nothing trains "
         f"beyond four times 6 xi_c ({beyond.sum()} cells of the map)", far, Share()),
        ("dropout-finite", drop, "with dropout the edge lies inside the map at every sigma_w, "
         "near criticality too", lambda r: ~edges_of(r, "dropout")[1].any(1), Share()),
        *[(f"dropout-{by}", source, f"near criticality dropout takes depth away{more} (octaves of "
           "the edge)", lost, Greater(bound)) for by, source, more, bound in
          (("shallower", drop, "", 0.0), ("octave", "question", ", over an octave", 1.0))],
        ("dropout-rank", drop, "the edge goes with 6 xi_c of the theory with dropout (rank "
         "correlation)", rank("dropout"), Greater(0.5)),
        ("batch-norm-depth", yang, "with batch norm nets train to some 16 / log(lambda_G) layers "
         "(edge over it, octaves)", edge_off, Equivalent(1.0)),
        ("batch-norm-gain", yang, "... whatever sigma_w (slope of log2 edge on log2 sigma_w)",
         lambda r: np.array([stats.censored_line(np.log2(sigmas), *row)[1]
                             for row in zip(*edges_of(r, "batch_norm"), strict=True)]),
         Equivalent(0.5)),
    ]  # fmt: skip
    return [Claim(*row) for row in rows]


def plot(record: Record, config: Config) -> Figure:
    """Draw the three maps with the edge measured and the depths of the theory; edge on edge."""
    figure, axes = plots.new_figure(2, 2, (13.4, 10.4))
    highest = 2 ** np.median(edges_of(record, "tanh")[0], 0).max()
    titles = {
        "tanh": rf"tanh: the edge goes with $6\,\xi_c$, up to {highest:.0f} layers",
        "dropout": f"{100 * (1 - config.keep):.0f} % dropout: no critical point, a lower edge",
        "batch_norm": r"ReLU with batch norm: one limit for every $\sigma_w$",
    }
    for ax, (name, title) in zip(axes.flat, titles.items(), strict=False):
        image = _draw_map(ax, record, config, name)
        plots.describe(ax, title, r"$\sigma_w^2$, fan-in times Var[w]", "weight layers")
    with plots.style():
        figure.colorbar(image, ax=axes[0, 1], label="final training loss, nats")
    _draw_edges(axes[1, 1], record, config)
    title = f"How deep can it be and still train? {record.numbers['trainings']:,} small nets"
    return plots.finish(figure, record, title)


@plots.style()
def _draw_map(ax: Axes, record: Record, config: Config, name: str) -> QuadMesh:
    variances, depths = record.arrays["sigma_w"] ** 2, record.arrays["depths"]
    loss = np.median(record.arrays[f"{name}/loss"], 0).T
    image = phase_map.draw(ax, variances, depths, loss, top=2.4)
    fine = np.linspace(max(ax.get_xlim()[0], 0.1), ax.get_xlim()[1], 400)
    limit = limit_of(name, config, np.sqrt(fine))
    lines = {r"$6\,\xi_c$": (limit, "--"), r"$\xi_c$": (limit / SCALES, ":")}
    if name == "batch_norm":
        lines = {r"16 / ln $\lambda_G$": (limit, "--")}
    for label, (line, dashes) in lines.items():
        phase_map.curve(ax, fine, line, label, dashes)
    if name == "tanh":
        ax.axvline(CRITICAL, color="black", linewidth=1.2, **phase_map.HALO)
        ax.annotate(f"critical: {CRITICAL}", (CRITICAL, 0), (5, 5), ("data", "axes fraction"),
                    "offset points")  # fmt: skip
    edge = 2 ** np.median(edges_of(record, name)[0], 0)
    look = {"color": plots.COLORS[1], "markersize": 8, "markeredgecolor": "white"}
    dots = ax.plot(variances, edge, "o", label="measured edge", **look)
    ax.legend(handles=dots, loc="upper right", frameon=True, framealpha=0.9, fontsize=11)
    return image


@plots.style()
def _draw_edges(ax: Axes, record: Record, config: Config) -> None:
    limit = limit_of("tanh", config, record.arrays["sigma_w"])
    edge = edges_of(record, "tanh")[0]
    apart = np.linspace(-0.09, 0.09, len(edge))[:, None]  # seeds agree: side by side, not on top
    after = 1 + int(np.argmax(limit))  # the sigma_w nearest to criticality
    phases = ("ordered phase", slice(None, after)), ("chaotic phase", slice(after, None))
    for (phase, part), color in zip(phases, plots.COLORS, strict=False):
        x, y = limit[part], edge[:, part]
        ax.plot(x * 2 ** (apart / 3), 2 ** (y + apart), "o", color=color, markersize=4, alpha=0.4)
        ax.plot(x, 2 ** np.median(y, 0), "o", color=color, markersize=10, label=phase)
    ends = np.array([config.shallowest, config.deepest])
    ax.plot(ends, ends, color=plots.THEORY_COLOR, linestyle="--", label="equal")
    intercept, slope = line_of(record, config).mean(0)
    ax.plot(ends, 32 * 2**intercept * (ends / 32) ** slope, color=plots.THEORY_COLOR,
            linewidth=1.2, label=f"fit: slope {slope:.2f}")  # fmt: skip
    ax.legend(loc="lower right", fontsize=11)
    for which in "xy":
        plots.log_axis(ax, which)
    ax.set_ylim(ends[0] * 0.9, ends[1] * 1.1)
    plots.describe(ax, "tanh: edge against theory (small dots: seeds)",
                   r"theory: $6\,\xi_c$, layers", "measured edge, layers")  # fmt: skip


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
