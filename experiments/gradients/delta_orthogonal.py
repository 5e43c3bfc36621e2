"""A plain conv net of 10,000 layers that carries its signal: delta-orthogonal kernels.

Source: Xiao et al. 2018, "Dynamical isometry and a mean field theory of CNNs: how to train
10,000-layer vanilla convolutional neural networks" (arXiv 1806.05393). Claim in one sentence: near
criticality a tanh conv net with an orthogonal matrix on the kernels' central tap, zeros elsewhere,
hands signal and gradient through any number of layers, and Gaussian kernels lose both.

Command: make exp-delta-orthogonal (a minute and 2.5 GB on two cores; embedded 8x8 digits).

Nets stand on the edge of chaos, where the variance of their pre-activations is ``bend`` / depth, so
that tanh bends alike over the whole net, however deep. Nothing is trained: whether such a net also
learns is not asked here. Convolutions wrap around. Spectra come from Lanczos, which tells small
singular values apart only down to some hundredths; there the curves end. A delta-orthogonal net
never mixes pixels: each is a dense net of its own, whose weakest direction, one in ``channels``, is
the pixel's own norm, shrunk by some exp(-2 bend) at any depth.
"""

import dataclasses
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import load
from jaxvision.dynamics import isometry, spectra
from jaxvision.fields import flagged
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Greater, Less, Within
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds

# Of gain 1; ``isometry.scale_layers`` puts them on the edge of chaos.
KERNELS = {
    "delta": init.delta_orthogonal(1.0),
    "gaussian": init.xavier_he2015(),
    "orthogonal": init.orthogonal(1.0),
}
NAMES = {"delta": "delta-orthogonal", "gaussian": "Gaussian", "orthogonal": "orthogonal"}
DEEP = ("delta", "gaussian")
IMAGES, LANCZOS_STEPS, PICTURES = 8, 40, 5


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(10, "Random nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(0, "First seed.", low=0)
    bend: float = flagged(0.25, "Variance of the pre-activations times depth.", low=1e-3, high=10)
    channels: int = flagged(16, "Channels of every layer.", low=2, high=1024)
    spectrum_depth: int = flagged(64, "Layers behind the spectra.", low=1, high=1024)
    other_depths: tuple[int, ...] = flagged(
        (4, 16, 256), "More depths at which singular values near 1 are counted.", low=1, high=1024
    )
    depth: int = flagged(10_000, "Layers that carry the images.", low=10, high=100_000)


PRESETS = {
    "tiny": Config(seeds=6, channels=8, spectrum_depth=32, other_depths=(2,), depth=500),
    "cpu": Config(first_seed=200),
    "gpu": Config(seeds=20, channels=64, spectrum_depth=256, other_depths=(4, 16, 64, 1024)),
    "paper": Config(dataset="cifar10", seeds=20, channels=256),
}


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Measure random nets; arrays are named 'part/kernels/quantity'."""
    images = load(config.dataset).test.images[:IMAGES]
    gray = jnp.mean(jnp.float32(images), axis=-1, keepdims=True)
    arrays = {
        "layers": shown_layers(config),
        "pictured": pictured_layers(config),
        "depths": spectrum_depths(config),
    }
    with progress(2, "random nets") as bar:
        for part, measured in {"spectrum": _spectra, "signal": _signals}.items():
            found = over_seeds(partial(measured, config), config.seeds, gray, config.first_seed)
            for name, array in found.items():  # [S, kind of kernels, ...]
                for i, kernels in enumerate(KERNELS if part == "spectrum" else DEEP):
                    arrays[f"{part}/{kernels}/{name}"] = array[:, i]
            bar.advance()
    return {}, arrays


def shown_layers(config: Config) -> np.ndarray:
    """Return the layers of the deepest nets that are kept, 1 to the last."""
    even = np.linspace(1, config.depth, 60).round().astype(int)
    return np.union1d(even, pictured_layers(config))


def pictured_layers(config: Config) -> np.ndarray:
    """Return the layers that are shown as pictures of the first image: 1, 10, ..., 10,000."""
    return np.geomspace(1, config.depth, PICTURES).round().astype(int)


def spectrum_depths(config: Config) -> np.ndarray:
    """Return the depths at which spectra are taken, ascending."""
    return np.union1d(config.other_depths, config.spectrum_depth)


def _draw(config: Config, kernels: str, seed, depth: int) -> isometry.Layers:
    shape = (3, 3, config.channels, config.channels)
    return isometry.draw_layers(stream(seed, "init"), KERNELS[kernels], shape, depth)


def _point(config: Config, depth: int) -> isometry.Critical:
    return isometry.critical("tanh", config.bend / depth)


def _spectra(config: Config, seed, images) -> dict:
    """Return what a seed's nets do to a random 8x8 input, by kernels and depth."""
    depths = spectrum_depths(config)
    drawn = [_draw(config, kernels, seed, depths[-1]) for kernels in KERNELS]
    x = isometry.unit_variance(jax.random.normal(stream(seed, "probe"), (1, 8, 8, config.channels)))
    found = [_quadratures(config, seed, drawn, x, depth) for depth in depths]
    values, mass = found[np.searchsorted(depths, config.spectrum_depth)]
    share = jnp.stack([isometry.isometric_share(*quadrature) for quadrature in found], axis=1)
    return {"values": values, "mass": mass, "share": share}


def _quadratures(config: Config, seed, drawn, x, depth: int) -> spectra.Quadrature:
    """Return the spectra of the first ``depth`` layers of some nets, each depth critical anew."""
    point = _point(config, depth)
    first = jax.tree.map(lambda leaf: leaf[:depth], drawn)

    def spectrum(layers: isometry.Layers) -> spectra.Quadrature:
        net = partial(isometry.apply_layers, layers, "tanh")
        key = stream(seed, "probe", 1)
        return spectra.jacobian_quadrature(net, point.input_std * x, key, LANCZOS_STEPS)

    return isometry.map_nets(spectrum, [isometry.scale_layers(net, point) for net in first])


def _signals(config: Config, seed, images) -> dict:
    """Return what the shown layers of a seed's deepest nets carry of the images, by kernels."""
    point = _point(config, config.depth)
    drawn = [_draw(config, kernels, seed, config.depth) for kernels in DEEP]
    nets = [isometry.scale_layers(net, point) for net in drawn]
    x = images * jax.random.normal(stream(seed, "probe"), (1, 1, 1, config.channels))
    x = point.input_std * x / jnp.sqrt(jnp.mean(jnp.square(x)))
    shown = shown_layers(config) - 1

    def carried(layers: isometry.Layers) -> dict:
        signal = isometry.carry(layers, "tanh", x, stream(seed, "probe", 1))
        kept = jax.tree.map(lambda leaf: leaf[shown], signal)._asdict()
        return kept | {"pixel_rms": signal.pixel_rms[pictured_layers(config) - 1, 0]}

    return isometry.map_nets(carried, nets)


def claims(config: Config) -> list[Claim]:
    """Return what the paper claims of these nets; the rules are fixed here."""
    xiao, gaussian = "Xiao et al. 2018, abstract", "question, Gaussian at the same depth"
    depth, spectrum_depth = f"{config.depth:,} layers", f"{config.spectrum_depth} layers"
    depths = spectrum_depths(config)
    shallow, deep = depths[0], depths[-1]

    def shares(kernels):  # [S, depths]
        return lambda r: r.arrays[f"spectrum/{kernels}/share"]

    def share(kernels):
        return lambda r: shares(kernels)(r)[:, np.searchsorted(depths, config.spectrum_depth)]

    def last(name):
        return lambda r: r.arrays[f"signal/{name}"][:, -1]

    def octaves(name):  # from the first layer to the last
        array = f"signal/{name}"
        return lambda r: np.log2(r.arrays[array][:, -1] / r.arrays[array][:, 0])

    def gradient_octaves(kernels):  # from the first layer to the last, where they are 0
        return lambda r: -r.arrays[f"signal/{kernels}/delta_octaves"][:, 0]

    stated = [
        ("isometry", xiao, f"Delta-orthogonal, {spectrum_depth}: the singular values of the "
         "Jacobian are near 1 (share within a factor 2)", share("delta"), Greater(0.95)),
        ("isometry-gaussian", xiao, "Gaussian kernels: few are", share("gaussian"), Less(0.25)),
        ("isometry-orthogonal", xiao, "Orthogonal kernels without the delta: few are",
         share("orthogonal"), Less(0.25)),
        ("isometry-depth", "question, over depth", f"Delta-orthogonal, {shallow} to {deep} layers: "
         "the share stays (the smallest of all depths)", lambda r: shares("delta")(r).min(axis=1),
         Greater(0.95)),
        ("isometry-depth-gaussian", "question, over depth", f"Gaussian, {shallow} to {deep} "
         "layers: the share falls to less than half (last over first)",
         lambda r: shares("gaussian")(r)[:, -1] / shares("gaussian")(r)[:, 0], Less(0.5)),
        ("signal", xiao, f"Delta-orthogonal, {depth}: the signal's std stays within a factor 2 "
         "(octaves)", octaves("delta/std"), Within(0.0, 1.0)),
        ("gradient", xiao, "... the gradient's norm too (octaves)", gradient_octaves("delta"),
         Within(0.0, 1.0)),
        ("images", xiao, "... and which images are alike is kept (correlation with layer 1)",
         last("delta/likeness"), Greater(0.9)),
        ("gradient-gaussian", gaussian, f"Gaussian, {depth}: the gradient shrinks on its way down "
         "more than a hundred times (octaves)", gradient_octaves("gaussian"),
         Greater(float(np.log2(100)))),
        ("images-gaussian", gaussian, "... and which images are alike is lost",
         last("gaussian/likeness"), Less(0.5)),
    ]  # fmt: skip
    enough = config.depth >= 10_000
    return [
        *(Claim(*row) for row in stated),
        Claim("ten-thousand", xiao, "10,000 layers, the paper's depth: which images are alike is "
              "kept (before training)", last("delta/likeness"), Greater(0.9), "paper",
              "" if enough else "python -m experiments delta_orthogonal --preset=cpu"),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw an image on its way up, a gradient on its way down, and the spectra behind both."""
    arrays, config = record.arrays, record.config
    depth, spectrum_depth = f"{config['depth']:,}", config["spectrum_depth"]
    figure, axes = plots.new_figure(2, 2, (14.0, 10.4))
    (pictures, gradient), (spectrum, near) = axes
    colors = plots.arm_colors(list(KERNELS))
    _draw_pictures(pictures, arrays, colors)
    likeness = [f"{arrays[f'signal/{k}/likeness'][:, -1].mean():.2f} {NAMES[k]}" for k in DEEP]
    alike = f"Are the same digits alike at layer {depth} as at layer 1?\nCorrelation: "
    plots.describe(pictures, "A digit on its way up", f"layer\n\n{alike}{', '.join(likeness)}", "")
    for kernels in DEEP:
        norm = np.exp2(np.float64(arrays[f"signal/{kernels}/delta_octaves"]))
        plots.seed_band(gradient, arrays["layers"], norm, colors[kernels], NAMES[kernels])
    plots.log_axis(gradient, "y")
    gradient.legend(loc="lower right")
    y = "norm of the gradient, top = 1"
    plots.describe(gradient, "The gradient on its way down", "layer", y)
    _draw_spectra(spectrum, arrays, config, colors)
    title, y = f"Why: what {spectrum_depth} layers keep", "singular value of the Jacobian"
    plots.describe(spectrum, title, "directions of the input, %", y)
    for kernels, color in colors.items():
        share = 100 * arrays[f"spectrum/{kernels}/share"]
        plots.seed_band(near, arrays["depths"], share, color, NAMES[kernels])
    near.set_xscale("log")
    near.set_xticks(arrays["depths"], arrays["depths"])
    near.minorticks_off()
    near.set_ylim(0, 104)
    plots.describe(near, "... and at every depth", "layers", "singular values near 1, %")
    title = f"A plain {depth}-layer conv net carries its signal if its kernels are delta-orthogonal"
    return plots.finish(figure, record, title)


def _draw_spectra(ax: Axes, arrays: dict, config: dict, colors: dict) -> None:
    """Draw singular values over the share of directions above them, where Lanczos resolves them."""
    ends = []
    for kernels, color in colors.items():
        values, mass = (arrays[f"spectrum/{kernels}/{part}"].ravel() for part in ("values", "mass"))
        order = np.argsort(values)[::-1]
        share = 100 * np.cumsum(mass[order]) / mass.sum()
        resolved = mass[order] < 0.2
        ax.plot(share[resolved], values[order][resolved], color=color, label=NAMES[kernels])
        ends.append((share[resolved][-1], values[order][resolved][-1]))
    ax.axhspan(0.5, 2, color=plots.THEORY_COLOR, alpha=0.12, zorder=0)
    ax.text(30, 0.68, "near 1: within a factor 2", va="center")
    arrow, (share, value) = {"arrowstyle": "->"}, max(ends[1:])
    lost = f"Gaussian, orthogonal: {100 - share:.0f} % of the\ndirections are smaller still: lost"
    ax.annotate(lost, (share, value), (share + 5, value / 9), arrowprops=arrow)
    start, weakest = 100 * (1 - 1 / config["channels"]), np.exp(-2 * config["bend"])
    plots.theory_line(ax, [start, 100], [weakest, weakest], "_")
    norm = f"1 direction in {config['channels']}, each pixel's own\nnorm, shrinks by exp(-2 bend)"
    ax.annotate(norm, (start, weakest), (48, 5), arrowprops=arrow)
    plots.log_axis(ax, "y")
    ax.set_ylim(1e-3, 100)
    ax.legend(loc="lower right")


def _draw_pictures(ax: Axes, arrays: dict, colors: dict) -> None:
    """Draw the first image as some layers hold it: the RMS over channels, pixel by pixel."""
    gap = 1.1
    for row, kernels in enumerate(DEEP):
        for column, picture in enumerate(arrays[f"signal/{kernels}/pixel_rms"][0]):
            x, y = gap * column, gap * row
            frame = (x, x + 1, y + 1, y)
            ax.imshow(picture, cmap="gray", vmin=0, vmax=picture.max(), extent=frame)
            ax.add_patch(Rectangle((x, y), 1, 1, fill=False, color=colors[kernels]))
            if picture.std() < 0.05 * picture.mean():
                ax.text(x + 0.5, y + 0.5, "uniform:\nthe digit\nis gone", ha="center", va="center")
    ax.set_xlim(-0.02, gap * PICTURES)
    ax.set_ylim(gap * len(DEEP), -0.02)
    layers = [f"{layer:,}" for layer in arrays["pictured"]]
    ax.set_xticks(gap * np.arange(PICTURES) + 0.5, layers)
    ax.set_yticks(gap * np.arange(len(DEEP)) + 0.5, ["delta-\northogonal", "Gaussian"])
    for label, kernels in zip(ax.get_yticklabels(), DEEP, strict=True):
        label.set(color=colors[kernels], fontweight="bold")
    ax.tick_params(length=0)
    ax.set_anchor("NW")  # its title level with its neighbor's
    ax.grid(False)
    ax.spines[:].set_visible(False)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
