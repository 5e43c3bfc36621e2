"""A plain conv net of 1,000 layers that carries its signal: delta-orthogonal kernels.

Source: Xiao et al. 2018, "Dynamical isometry and a mean field theory of CNNs: how to train
10,000-layer vanilla convolutional neural networks" (arXiv 1806.05393). Claim in one sentence: near
criticality a tanh conv net with an orthogonal matrix on the kernels' central tap, zeros elsewhere,
hands signal and gradient through any number of layers, and Gaussian kernels lose both.

Command: make exp-delta-orthogonal (under a minute on two cores; embedded 8x8 digits).

Nets stand on the edge of chaos, where the variance of their pre-activations is ``bend`` / depth, so
that tanh bends alike over the whole net, however deep. Nothing is trained: 10,000 layers are a
matter of ``--preset=gpu``. Convolutions wrap around. Spectra come from Lanczos, which tells small
singular values apart only down to some hundredths; there the curves end.
"""

import dataclasses
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.cli import flagged
from jaxvision.data import load
from jaxvision.dynamics import isometry, spectra
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Greater, Less, Within
from jaxvision.report.record import Record
from jaxvision.training.sweep import over_seeds

# Of gain 1; ``isometry.scale_layers`` puts them on the edge of chaos.
KERNELS = {
    "delta": init.delta_orthogonal(1.0),
    "gaussian": init.xavier_he2015(),
    "orthogonal": init.orthogonal(1.0),
}
NAMES = {"delta": "delta-orthogonal", "gaussian": "Gaussian", "orthogonal": "orthogonal"}
DEEP = ("delta", "gaussian")
IMAGES, LANCZOS_STEPS, PICTURES = 8, 40, 4


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(10, "Random nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(0, "First seed.", low=0)
    bend: float = flagged(0.25, "Variance of the pre-activations times depth.", low=1e-3, high=10)
    channels: int = flagged(16, "Channels of every layer.", low=2, high=1024)
    spectrum_depth: int = flagged(64, "Layers behind the spectra.", low=1, high=1024)
    depth: int = flagged(1000, "Layers that carry the images.", low=10, high=100_000)


PRESETS = {
    "tiny": Config(seeds=6, channels=8, spectrum_depth=32, depth=500),
    "cpu": Config(),
    "gpu": Config(seeds=20, channels=64, spectrum_depth=256, depth=10_000),
    "paper": Config(dataset="cifar10", seeds=20, channels=256, depth=10_000),
}


def measure(config: Config, progress) -> tuple[dict, dict]:
    """Measure random nets; arrays are named 'part/kernels/quantity'."""
    images = load(config.dataset).test.images[:IMAGES]
    gray = jnp.mean(jnp.float32(images), axis=-1, keepdims=True)
    arrays = {"layers": shown_layers(config), "pictured": pictured_layers(config)}
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
    even = np.geomspace(1, config.depth, 60).round().astype(int)
    return np.union1d(even, pictured_layers(config))


def pictured_layers(config: Config) -> np.ndarray:
    """Return the layers that are shown as pictures of the first image: 1, 10, 100, 1,000."""
    return np.geomspace(1, config.depth, PICTURES).round().astype(int)


def _layers(config: Config, kernels: str, seed, depth: int) -> isometry.Layers:
    shape = (3, 3, config.channels, config.channels)
    layers = isometry.draw_layers(stream(seed, "init"), KERNELS[kernels], shape, depth)
    return isometry.scale_layers(layers, isometry.critical("tanh", config.bend / depth))


def _spectra(config: Config, seed, images) -> dict:
    """Return quadratures of the spectra of a seed's nets at a random 8x8 input, by kernels."""
    nets = [_layers(config, kernels, seed, config.spectrum_depth) for kernels in KERNELS]
    x = jax.random.normal(stream(seed, "probe"), (1, 8, 8, config.channels))
    std = isometry.critical("tanh", config.bend / config.spectrum_depth).input_std
    x = std * isometry.unit_variance(x)

    def spectrum(layers: isometry.Layers) -> spectra.Quadrature:
        net = partial(isometry.apply_layers, layers, "tanh")
        return spectra.jacobian_quadrature(net, x, stream(seed, "probe", 1), LANCZOS_STEPS)

    values, mass = isometry.map_nets(spectrum, nets)
    return {"values": values, "mass": mass, "share": isometry.isometric_share(values, mass)}


def _signals(config: Config, seed, images) -> dict:
    """Return what the shown layers of a seed's deepest nets carry of the images, by kernels."""
    nets = [_layers(config, kernels, seed, config.depth) for kernels in DEEP]
    x = images * jax.random.normal(stream(seed, "probe"), (1, 1, 1, config.channels))
    std = isometry.critical("tanh", config.bend / config.depth).input_std
    x = std * x / jnp.sqrt(jnp.mean(jnp.square(x)))
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

    def share(kernels):
        return lambda r: r.arrays[f"spectrum/{kernels}/share"]

    def last(name):
        return lambda r: r.arrays[f"signal/{name}"][:, -1]

    def octaves(name):  # from the first layer to the last
        array = f"signal/{name}"
        return lambda r: np.log2(r.arrays[array][:, -1] / r.arrays[array][:, 0])

    stated = [
        ("isometry", xiao, f"Delta-orthogonal, {spectrum_depth}: the singular values of the "
         "Jacobian are near 1 (share within a factor 2)", share("delta"), Greater(0.95)),
        ("isometry-gaussian", xiao, "Gaussian kernels: few are", share("gaussian"), Less(0.25)),
        ("isometry-orthogonal", xiao, "Orthogonal kernels without the delta: few are",
         share("orthogonal"), Less(0.25)),
        ("signal", xiao, f"Delta-orthogonal, {depth}: the signal's std stays within a factor 2 "
         "(octaves)", octaves("delta/std"), Within(0.0, 1.0)),
        ("gradient", xiao, "... the gradient's norm too (octaves)", octaves("delta/delta_norm"),
         Within(0.0, 1.0)),
        ("images", xiao, "... and which images are alike is kept (correlation with layer 1)",
         last("delta/likeness"), Greater(0.9)),
        ("gradient-gaussian", gaussian, f"Gaussian, {depth}: the gradient shrinks on its way down "
         "more than a hundred times (octaves)", octaves("gaussian/delta_norm"),
         Greater(float(np.log2(100)))),
        ("images-gaussian", gaussian, "... and which images are alike is lost",
         last("gaussian/likeness"), Less(0.5)),
    ]  # fmt: skip
    enough = config.depth >= 10_000
    return [
        *(Claim(id, source, *rest[:1], "direction", *rest[1:]) for id, source, *rest in stated),
        Claim("ten-thousand", xiao, "10,000 layers: which images are alike is kept", "paper",
              last("delta/likeness"), Greater(0.9),
              "" if enough else "python -m experiments.delta_orthogonal --preset=gpu"),
        Claim("trained", xiao, "10,000 layers are trained", "paper", lambda r: np.nan,
              Greater(0.0), "needs a training run that is not part of this experiment"),
    ]  # fmt: skip


def plot(record: Record) -> Figure:
    """Draw the spectra, the gradient's way down, and an image on its way up."""
    arrays = record.arrays
    depth, spectrum_depth = record.config["depth"], record.config["spectrum_depth"]
    figure, axes = plots.new_figure(1, 3, (17.0, 5.6))
    left, middle, right = axes[0]
    colors = plots.arm_colors(list(KERNELS))
    _draw_pictures(left, arrays, colors)
    plots.describe(left, "A digit on its way up", "layer", "")
    for kernels in DEEP:
        norm = arrays[f"signal/{kernels}/delta_norm"]
        plots.seed_band(middle, arrays["layers"], norm, colors[kernels], NAMES[kernels])
    for axis in "xy":
        plots.log_axis(middle, axis)
    middle.legend(loc="lower right")
    plots.describe(middle, "The gradient on its way down", "layer", "norm of the gradient, top = 1")
    for kernels, color in colors.items():
        _draw_spectrum(right, arrays, kernels, color)
    right.axhspan(0.5, 2, color=plots.THEORY_COLOR, alpha=0.12, zorder=0)
    plots.log_axis(right, "y")
    right.set_ylim(1e-3, 100)
    right.legend(loc="upper right")
    right.text(14, 0.07, "the rest is lost")
    title = f"Why: what {spectrum_depth} layers keep"
    plots.describe(right, title, "directions of the input, %", "singular value of the Jacobian")
    title = (
        f"A plain {depth:,}-layer conv net carries its signal if its kernels are delta-orthogonal"
    )
    return plots.finish(figure, record, title)


def _draw_spectrum(ax: Axes, arrays: dict, kernels: str, color: str) -> None:
    """Draw singular values over the share of directions above them, where Lanczos resolves them."""
    values, mass = (arrays[f"spectrum/{kernels}/{part}"].ravel() for part in ("values", "mass"))
    order = np.argsort(values)[::-1]
    share = 100 * np.cumsum(mass[order]) / mass.sum()
    resolved = mass[order] < 0.2
    ax.plot(share[resolved], values[order][resolved], color=color, label=NAMES[kernels])


def _draw_pictures(ax: Axes, arrays: dict, colors: dict) -> None:
    """Draw the first image as some layers hold it: the RMS over channels, pixel by pixel."""
    rows = []
    for kernels in DEEP:
        pictures = arrays[f"signal/{kernels}/pixel_rms"][0]
        pictures = pictures / pictures.max((1, 2), keepdims=True)
        rows.append(np.hstack([np.pad(p, 1, constant_values=np.nan) for p in pictures]))
    image = np.vstack(rows)
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    places = image.shape[0] / len(DEEP) * (np.arange(PICTURES) + 0.5) - 0.5
    ax.set_xticks(places, [f"{layer:,}" for layer in arrays["pictured"]])
    ax.set_yticks(places[: len(DEEP)], ["delta-\northogonal", "Gaussian"])
    for label, kernels in zip(ax.get_yticklabels(), DEEP, strict=True):
        label.set(color=colors[kernels], fontweight="bold", rotation=90, va="center", ha="center")
    ax.tick_params(axis="both", length=0)
    ax.tick_params(axis="y", pad=14)
    ax.grid(False)
    ax.spines[:].set_visible(False)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
