"""Transposed convolution: the gradient of a convolution, and checkerboards before any training.

Sources: Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning" (arXiv
1603.07285), sections 4.1 to 4.6; Odena, Dumoulin & Olah 2016, "Deconvolution and checkerboard
artifacts" (Distill, doi 10.23915/distill.00003); Radford, Metz & Chintala 2015 (arXiv 1511.06434).
Claim in one sentence: a transposed convolution multiplies by the transpose of a convolution's
matrix, which is its gradient and no inverse; where the stride does not divide the kernel it paints
a checkerboard before it has learned anything, and resizing before a convolution does not.

Command: make exp-transposed-convolution (under a minute on two cores, no data).

What differs from the sources: the checkerboard is measured, not shown. With random weights of mean
0 the mean square of a pixel is proportional to how many kernel values reach it, so of stride 2 the
fullest phase has (ceil(k/2) / floor(k/2))^2 times the power of the emptiest: 4 for k = 3, 9/4 for
DCGAN's own k = 5, 1 for the k = 4 of its ports. Two layers with a ReLU between follow the same
count over 4 x 4 phases. The ratio is read at the phases that the law names: the largest over the
smallest of measured numbers is above 1 by noise alone. What training adds is not asked here.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.generating import _enlarging as enlarging
from experiments.generating import _enlarging_panels as panels
from jaxvision import cli
from jaxvision.fields import flagged
from jaxvision.random import probe
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Statistic, Within
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, Figure


class Way(NamedTuple):
    """A way to make images twice as large.

    Attributes:
      label: in the figure.
      kernel: pixels of its side.
      enlarge: maps and a kernel to images.
      layers: how many times in a row.
      laid: whether kernels are laid down at every second pixel: their overlaps are its law.
    """

    label: str
    kernel: int
    enlarge: enlarging.Enlarge = enlarging.transposed
    layers: int = 1
    laid: bool = True

    @property
    def law(self) -> np.ndarray:
        """The power by phase that is expected, of mean 1."""
        if self.laid:
            return enlarging.law(self.kernel, self.layers)
        return np.ones((enlarging.STRIDE, enlarging.STRIDE))


WAYS = {
    "k2": Way("transposed", 2),
    "k3": Way("transposed", 3),
    "k4": Way("transposed", 4),
    "k5": Way("transposed", 5),
    "k6": Way("transposed", 6),
    "k7": Way("transposed", 7),
    "twice": Way("transposed, two layers", 5, layers=2),
    "resized3": Way("resized first", 3, enlarging.resized, laid=False),
    "resized5": Way("resized first", 5, enlarging.resized, laid=False),
    "gradient": Way("gradient", 3, enlarging.gradient),
}
CHECKED = "k3"  # the way that is held against the matrix
SHOWN_SIZE = 5  # pixels of a side of the images whose matrix is shown
SMALL = 4  # of the maps that are held against a matrix
LARGEST = max(way.kernel for way in WAYS.values())


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    seeds: int = flagged(40, "Draws of kernels and maps.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    channels: int = flagged(64, "Channels of maps and images.", low=4, high=1024)
    size: int = flagged(16, "Pixels of a side of the maps.", low=12, high=256)
    n_images: int = flagged(4, "Maps of each seed.", low=1, high=4096)


PRESETS = {
    "tiny": Config(seeds=2, first_seed=0, channels=8, size=12, n_images=2),
    "cpu": Config(),
    "gpu": Config(channels=256),
    "paper": Config(channels=512, size=32),
}


def measure(
    config: Config, progress: cli.ShowProgress, ways: Mapping[str, Way] = WAYS
) -> tuple[dict, dict]:
    """Return each way's power by phase [S, p, p], its picture, and what the matrix says [S]."""
    with progress(config.seeds, "random kernels") as bar:
        found = over_seeds(partial(_one_seed, config, ways), config.seeds, None, config.first_seed)
        bar.advance(config.seeds)
    arrays = {f"{name}/phases": phases for name, phases in found["phases"].items()}
    arrays |= {f"{name}/power": power.mean(0) for name, power in found["power"].items()}
    if CHECKED in ways:
        arrays["matrix"] = found["matrix"][0]
        arrays |= {name: found[name] for name in ("from_matrix", "from_gradient", "no_inverse")}
    return {}, arrays


def _one_seed(config: Config, ways: Mapping[str, Way], seed: Array, shared: None) -> dict:
    """Return what ``measure`` does, of one seed; all ways take their kernels from one draw."""
    del shared
    n, c = config.size, config.channels
    maps = jax.random.normal(probe(seed, "inputs"), (config.n_images, n, n, c))
    drawn = jax.random.normal(probe(seed, "kernels"), (2, LARGEST, LARGEST, c, c))
    found = {"phases": {}, "power": {}}
    for name, way in ways.items():
        kernels = drawn[: way.layers, : way.kernel, : way.kernel]
        power = enlarging.powers(maps, list(kernels), way.enlarge)
        found["phases"][name] = enlarging.by_phase(power, enlarging.STRIDE**way.layers)
        found["power"][name] = panels.middle_of(power)
    if CHECKED in ways:
        way = ways[CHECKED]
        kernel = drawn[0, : way.kernel, : way.kernel, :1, :4]
        found |= _held_against_the_matrix(kernel, maps, way)
    return found


def _held_against_the_matrix(kernel: Array, drawn: Array, way: Way) -> dict[str, Array]:
    """Return the matrix of a convolution, and how far from it and its gradient a way is.

    Args:
      kernel: [k, k, 1, C].
      drawn: white noise, more than is needed, from which maps and images are cut.
      way: what is held against it.
    """
    side = 2 * SMALL
    channels = kernel.shape[-1]
    matrix = enlarging.matrix_of(kernel, side)
    maps = drawn[:, :SMALL, :SMALL, :channels].reshape(-1, SMALL, SMALL, channels)
    images = way.enlarge(maps, kernel)
    by_matrix = (maps.reshape(len(maps), -1) @ matrix).reshape(images.shape)
    by_gradient = enlarging.gradient(maps, kernel)
    largest = jnp.abs(by_gradient).max()
    return {
        "matrix": enlarging.matrix_of(kernel[..., :1], SHOWN_SIZE),
        "from_matrix": jnp.abs(images - by_matrix).max() / largest,
        "from_gradient": jnp.abs(images - by_gradient).max() / largest,
        "no_inverse": enlarging.least_error(matrix, drawn[:, :side, :side, 0].reshape(-1, side**2)),
    }


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    del config
    guide = "Dumoulin & Visin 2016"
    odena = "Odena et al. 2016, uneven overlap"

    def largest(quantity: str) -> Callable[[Record], float]:
        return lambda record: record.arrays[quantity].max()

    def ratio(name: str) -> Statistic:
        return lambda record: enlarging.fullest_over_emptiest(
            record.arrays[f"{name}/phases"], WAYS[name].law
        )

    def farthest(record: Record) -> np.ndarray:
        """Return the largest relative distance from the law over 4 x 4 phases, mean over seeds."""
        mean = record.arrays["twice/phases"].mean(0)
        return np.abs(mean / WAYS["twice"].law - 1).max()

    def at(kernel: int) -> str:
        target = enlarging.unevenness(kernel)
        return f"kernel {kernel}, stride 2: the fullest phase has {target:.4g} times the power"

    twice = float(WAYS["twice"].law.max() / WAYS["twice"].law.min())
    return [
        Claim(
            "matrix",
            f"{guide}, section 4.1",
            "A transposed convolution multiplies by the "
            "transpose of the convolution's matrix (largest difference, relative)",
            largest("from_matrix"),
            Within(0.0, 1e-6),
            "theory",
            needs=(CHECKED,),
        ),
        Claim(
            "gradient",
            f"{guide}, section 4.1",
            "A transposed convolution is the gradient of "
            "a convolution with respect to its images (largest difference, relative)",
            largest("from_gradient"),
            Within(0.0, 1e-6),
            "theory",
            needs=(CHECKED,),
        ),
        Claim(
            "no-inverse",
            f"{guide}, section 4.1",
            "A convolution and then its transpose do not "
            "give the images back: at best scale they miss by more than a quarter (relative)",
            lambda record: record.arrays["no_inverse"],
            Greater(0.25),
            needs=(CHECKED,),
        ),
        Claim(
            "checkers-3",
            odena,
            f"{at(3)} before training",
            ratio("k3"),
            Within(enlarging.unevenness(3), 0.03, relative=True),
            "theory",
            needs=("k3",),
        ),
        Claim(
            "checkers-5",
            odena,
            f"{at(5)} before training (DCGAN's own)",
            ratio("k5"),
            Within(enlarging.unevenness(5), 0.03, relative=True),
            "theory",
            needs=("k5",),
        ),
        Claim(
            "checkers-7",
            odena,
            f"{at(7)} before training",
            ratio("k7"),
            Within(enlarging.unevenness(7), 0.03, relative=True),
            "theory",
            needs=("k7",),
        ),
        Claim(
            "even-4",
            odena,
            "kernel 4, stride 2: no phase has more power (as in DCGAN's ports)",
            ratio("k4"),
            Within(1.0, 0.03),
            "theory",
            needs=("k4",),
        ),
        Claim(
            "even-2-6",
            odena,
            "kernels 2 and 6, stride 2: no phase has more power (mean)",
            lambda record: (ratio("k2")(record) + ratio("k6")(record)) / 2,
            Within(1.0, 0.03),
            "theory",
            needs=("k2", "k6"),
        ),
        Claim(
            "twice",
            "question, two layers",
            "Two layers of kernel 5 with a ReLU between: the "
            f"fullest of 16 phases has {twice:.3g} times the power of the emptiest",
            ratio("twice"),
            Within(twice, 0.05, relative=True),
            "theory",
            needs=("twice",),
        ),
        Claim(
            "twice-all",
            "question, two layers",
            "Two layers of kernel 5: every one of 16 phases "
            "has the power that overlaps predict (largest relative distance of the mean)",
            farthest,
            Within(0.0, 0.05),
            "theory",
            needs=("twice",),
        ),
        Claim(
            "in-gradients",
            f"{odena}, artifacts in gradients",
            f"The gradient of a strided convolution of {at(3)}",
            ratio("gradient"),
            Within(enlarging.unevenness(3), 0.03, relative=True),
            "theory",
            needs=("gradient",),
        ),
        Claim(
            "resized-3",
            f"{odena}, resize-convolution",
            "Resized first, kernel 3: no phase has more power",
            ratio("resized3"),
            Equivalent(0.03, target=1.0),
            needs=("resized3",),
        ),
        Claim(
            "resized-5",
            f"{odena}, resize-convolution",
            "Resized first, kernel 5: no phase has more power",
            ratio("resized5"),
            Equivalent(0.03, target=1.0),
            needs=("resized5",),
        ),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw the matrix and its transpose, the checkerboards, and their power by kernel."""
    figure, axes = plots.new_figure(3, 2, 11.0)
    panels.draw_matrices(axes[0, 0], axes[0, 1], record.arrays["matrix"])
    plots.mark_contradicted(axes[0, 1], record, "matrix", "gradient", "no-inverse")
    panels.draw_overlaps(axes[1, 0])
    panels.draw_pictures(axes[1, 1], record)
    panels.draw_ratios(axes[2, 0], record, WAYS)
    names = ("checkers-3", "checkers-5", "checkers-7", "even-4", "even-2-6")
    plots.mark_contradicted(axes[2, 0], record, *names, "resized-3", "resized-5")
    panels.draw_two_layers(axes[2, 1], record, WAYS["twice"].law)
    plots.mark_contradicted(axes[2, 1], record, "twice", "twice-all")
    title = plots.headline(
        record,
        {
            ("gradient", "checkers-5", "resized-5"): "A transposed convolution is a gradient, and "
            "its checkerboard is there before training",
            ("checkers-5", "resized-5"): "The checkerboard of odd kernels is there before training",
        },
        "Transposed convolution: its matrix, and its checkerboard",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"Random kernels, {config.channels} channels, {config.size}x{config.size} maps",
        optimizer="Nothing is trained",
        paper="Dumoulin & Visin 2016; Odena et al. 2016",
        data="White noise",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
