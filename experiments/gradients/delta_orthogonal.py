"""A plain conv net of 10,000 layers that carries its signal: delta-orthogonal kernels.

Source: Xiao et al. 2018, "Dynamical isometry and a mean field theory of CNNs: how to train
10,000-layer vanilla convolutional neural networks" (arXiv 1806.05393). Claim in one sentence: near
criticality a tanh conv net with an orthogonal matrix on the kernels' central tap, zeros elsewhere,
hands signal and gradient through any number of layers, and Gaussian kernels lose both.

Command: make exp-delta-orthogonal (two minutes and 2.5 GB on two cores; embedded 8x8 digits).

Nothing is trained: whether such a net also learns is not asked here. Nets stand on the edge of
chaos, where the variance of their pre-activations is ``bend`` / depth, so that tanh bends alike
over the whole net, however deep; at 10,000 layers a single layer is all but linear. That the share
of singular values near 1 stays at any depth is built into this choice. So the bend itself is held
against theory, which an identity in the place of tanh fails, and the same kernels are looked at
with one variance at all depths, too. Convolutions wrap around. Spectra come from Lanczos.
"""

import dataclasses
import sys
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gradients._delta_claims import claims_of, theory_of
from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import load
from jaxvision.dynamics import isometry, spectra
from jaxvision.fields import flagged
from jaxvision.models.layers import Initializer
from jaxvision.random import probe, stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, Axes, Figure


@dataclasses.dataclass(frozen=True)
class Net:
    """A kind of net.

    Attributes:
      label: in the figure.
      color: the meaning its color stands for.
      kernels: of gain 1; ``isometry.scale_layers`` puts them on the edge of chaos.
      fixed_variance: the same variance at every depth, that of ``bend`` at the shallowest.
      deep: carries the images through ``depth`` layers, too.
    """

    label: str
    color: str
    kernels: Initializer
    fixed_variance: bool = False
    deep: bool = False


DELTA = init.delta_orthogonal(1.0)
NETS = {
    "delta": Net("delta-orthogonal", "delta-orthogonal", DELTA, deep=True),
    "gaussian": Net("Gaussian", "Gaussian", init.xavier_he2015(), deep=True),
    "orthogonal": Net("orthogonal", "orthogonal", init.orthogonal(1.0)),
    "delta_fixed": Net("delta-orthogonal,\none variance", "tanh", DELTA, fixed_variance=True),
}
N_IMAGES, LANCZOS_STEPS, N_PICTURES = 8, 40, 5


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(12, "Random nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(7000, "First seed.", low=0, high=10**9)
    bend: float = flagged(0.25, "Variance of the pre-activations times depth.", low=1e-3, high=10)
    channels: int = flagged(16, "Channels of every layer.", low=2, high=1024)
    depths: tuple[int, ...] = flagged(
        (4, 16, 64, 256), "Depths at which singular values are counted.", low=1, high=1024
    )
    depth: int = flagged(10_000, "Layers that carry the images.", low=10, high=100_000)


PRESETS = {
    "tiny": Config(seeds=2, first_seed=0, channels=8, depths=(16,), depth=100),
    "cpu": Config(),
    "gpu": Config(channels=64, depths=(4, 16, 64, 256, 1024)),
    "paper": Config(dataset="cifar10", channels=256),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    nets: Mapping[str, Net] = NETS,
    activation: str = "tanh",
) -> tuple[dict, dict]:
    """Measure random nets; arrays are named 'net/quantity'."""
    images = load(config.dataset).test.sample(N_IMAGES).images
    gray = jnp.mean(jnp.float32(images), axis=-1, keepdims=True)
    arrays = {
        "layers": shown_layers(config),
        "pictured": pictured_layers(config),
        "pixel_squares": np.square(np.asarray(gray[..., 0])),
    }
    deep = {name: net for name, net in nets.items() if net.deep}
    with progress(2, "random nets") as bar:
        spectrum = partial(_spectra, config, nets, activation)
        found = over_seeds(spectrum, config.seeds, gray, config.first_seed)
        for i, name in enumerate(nets):
            arrays[f"{name}/share"] = found[:, i]
        bar.advance()
        signal = partial(_signals, config, deep, activation)
        carried = over_seeds(signal, config.seeds, gray, config.first_seed) if deep else {}
        for quantity, array in carried.items():  # [S, net, ...]
            for i, name in enumerate(deep):
                arrays[f"{name}/{quantity}"] = array[:, i]
        bar.advance()
    return {}, arrays


def shown_layers(config: Config) -> np.ndarray:
    """Return the layers of the deepest nets that are kept, 1 to the last."""
    even = np.linspace(1, config.depth, 60).round().astype(int)
    return np.union1d(even, pictured_layers(config))


def pictured_layers(config: Config) -> np.ndarray:
    """Return the layers that are shown as pictures of the first image: 1, 10, ..., 10,000."""
    return np.geomspace(1, config.depth, N_PICTURES).round().astype(int)


def _draw(config: Config, net: Net, seed: Array, depth: int) -> isometry.Layers:
    shape = (3, 3, config.channels, config.channels)
    return isometry.draw_layers(stream(seed, "init"), net.kernels, shape, depth)


def _spectra(
    config: Config, nets: Mapping[str, Net], activation: str, seed: Array, images: Array
) -> Array:
    """Return the share of singular values near 1 at a random 8x8 input, by net and depth."""
    del images
    x = isometry.unit_variance(jax.random.normal(probe(seed, "inputs"), (1, 8, 8, config.channels)))
    deepest = max(config.depths)
    # Nets of the same kernels share their draw.
    once = {net.kernels: _draw(config, net, seed, deepest) for net in nets.values()}
    drawn = [once[net.kernels] for net in nets.values()]
    shares = []
    for depth in sorted(config.depths):
        found = quadratures(config, nets, activation, seed, drawn, x, depth)
        shares.append(isometry.isometric_share(*found))
    return jnp.stack(shares, axis=1)


def quadratures(
    config: Config,
    nets: Mapping[str, Net],
    activation: str,
    seed: Array,
    drawn: list[isometry.Layers],
    x: Array,
    depth: int,
) -> spectra.Quadrature:
    """Return the spectra of the first ``depth`` layers of nets, each depth critical anew."""
    scaled, inputs = [], []
    for net, layers in zip(nets.values(), drawn, strict=True):
        depth_of_bend = min(config.depths) if net.fixed_variance else depth
        point = isometry.critical("tanh", config.bend / depth_of_bend)
        first = jax.tree.map(lambda leaf: leaf[:depth], layers)
        scaled.append(isometry.scale_layers(first, point))
        inputs.append(point.input_std * x)

    def spectrum(net: tuple[isometry.Layers, Array]) -> spectra.Quadrature:
        layers, x = net
        function = partial(isometry.apply_layers, layers, activation)
        return spectra.jacobian_quadrature(function, x, probe(seed, "lanczos"), LANCZOS_STEPS)

    return isometry.map_nets(spectrum, list(zip(scaled, inputs, strict=True)))


def _signals(
    config: Config, nets: Mapping[str, Net], activation: str, seed: Array, images: Array
) -> dict[str, Array]:
    """Return what the shown layers of a seed's deepest nets carry of the images, by net."""
    point = isometry.critical("tanh", config.bend / config.depth)
    drawn = [_draw(config, net, seed, config.depth) for net in nets.values()]
    scaled = [isometry.scale_layers(layers, point) for layers in drawn]
    x = images * jax.random.normal(probe(seed, "channels"), (1, 1, 1, config.channels))
    x = point.input_std * x / jnp.sqrt(jnp.mean(jnp.square(x)))
    shown = shown_layers(config) - 1

    def carried(layers: isometry.Layers) -> dict[str, Array]:
        signal = isometry.carry(layers, activation, x, probe(seed, "directions"))
        kept = jax.tree.map(lambda leaf: leaf[shown], signal)._asdict()
        return kept | {"pixel_rms": signal.pixel_rms[pictured_layers(config) - 1, 0]}

    return isometry.map_nets(carried, scaled)


def claims(config: Config) -> list[Claim]:
    """Return what the paper and theory say of these nets."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw an image on its way up, a gradient on its way down, and singular values near 1."""
    figure, axes = plots.new_figure(2, 2, 8.4)
    with plots.style():
        _draw_pictures(plots.merged(axes[0]), record, config)
        _draw_gradients(axes[1, 0], record, config)
        _draw_shares(axes[1, 1], record, config)
    carries = f"{config.depth:,} plain conv layers carry a digit, if delta-orthogonal"
    title = plots.headline(record, {"images": carries}, "What very deep plain conv nets carry")
    return plots.finish(
        figure,
        record,
        title,
        net=f"tanh conv nets of {config.channels} channels at the start",
        optimizer="Nothing is trained",
        paper="Xiao et al. 2018",
    )


def _draw_pictures(ax: Axes, record: Record, config: Config) -> None:
    """Draw the first image as some layers hold it: the RMS over channels, pixel by pixel."""
    deep = [name for name, net in NETS.items() if net.deep]
    pictures = np.stack([record.arrays[f"{name}/pixel_rms"][0] for name in deep])
    brightest = pictures.max(axis=(2, 3), keepdims=True)
    labels = []
    for name in deep:
        alike = np.median(record.arrays[f"{name}/likeness"][:, -1])
        labels.append(f"{NETS[name].label} \n(likeness at the \nend: {alike:.2f}) ")
    columns = [f"layer {layer:,}" for layer in record.arrays["pictured"]]
    # Below white, so that a picture of one brightness can be told from the page.
    image_grid(ax, (pictures / brightest)[..., None], rows=labels, columns=columns, high=1.2)
    for text, name in zip(ax.texts, deep, strict=False):  # the rows' names come first
        text.set_color(plots.color_of(NETS[name].color))
    ax.set_title("A digit on its way up, each picture as bright as it can be", pad=26)
    plots.mark_contradicted(ax, record, "images", "images-gaussian")


def _draw_gradients(ax: Axes, record: Record, config: Config) -> None:
    layers = record.arrays["layers"]
    for name, net in NETS.items():
        if net.deep:
            decades = np.float64(record.arrays[f"{name}/delta_octaves"]) * np.log10(2)
            color = plots.color_of(net.color)
            plots.seed_band(ax, layers, decades, color, f"_{net.label}")
            middle = np.median(decades[:, len(layers) // 2])
            place = {"va": "top", "color": color, "fontweight": "bold"}
            ax.text(0.02 * config.depth, middle - 2, net.label, **place)
    expected = theory_of(record, config)[2] * np.log10(2)
    plots.theory_line(ax, [1, config.depth], [expected, 0], "_theory")
    title = "A gradient on its way down\n(dashes: theory)"
    plots.describe(ax, title, "layer", "log10 of its norm, top = 0")
    ax.set_xticks([1, config.depth // 2, config.depth])
    plots.mark_contradicted(ax, record, "gradient", "gradient-gaussian")


def _draw_shares(ax: Axes, record: Record, config: Config) -> None:
    depths = sorted(config.depths)
    for name, net in NETS.items():
        share = 100 * record.arrays[f"{name}/share"]
        plots.seed_band(ax, depths, share, plots.color_of(net.color), net.label)
    ax.set_xscale("log")
    ax.set_xticks(depths, [str(depth) for depth in depths])
    ax.minorticks_off()
    ax.set_ylim(0, 104)
    title = "Directions kept within\na factor 2, at every depth"
    plots.describe(ax, title, "layers", "% of singular values")
    names = "isometry", "isometry-orthogonal", "isometry-gaussian", "fixed-variance"
    plots.mark_contradicted(ax, record, *names)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
