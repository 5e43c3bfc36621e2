"""Claims of robustness_in_training on random nets, sizes of nets, and batch norm in conv nets."""

from typing import Any

import numpy as np

from experiments.breaking import _along_start as start
from experiments.breaking._along_families import families_of, sizes_of, slopes
from experiments.breaking._along_normalized import octaves_a_layer
from experiments.breaking._along_pairs import missing_arms
from jaxvision.dynamics import theory
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within
from jaxvision.report.record import Record

GALLOWAY, ZHU = "Galloway et al. 2019", "Zhu et al. 2022"
SIMON, BUBECK = "Simon-Gabriel et al. 2019", "Bubeck et al. 2021"
HALF_NORMAL = float(np.sqrt(2 / np.pi))
GROWTH = float(np.log2(theory.batch_norm_squared_factor(np.inf, "relu")))  # octaves a layer


def of_random_nets(config: Any) -> list[Claim]:
    """Return the claims on what theory says before training."""

    def of_random(quantity: str, sizes: tuple[int, ...]) -> Statistic:
        return lambda r: slopes(r.arrays[f"start/{quantity}"], sizes)

    untrained = "" if config.snapshots[0] == 0 else "--snapshots from 0 on"
    pair = missing_arms(config, "he", "xavier") or untrained
    algebra = "algebra, ReLU nets are positively homogeneous"
    return [
        Claim(
            "regions",
            algebra,
            "Before training He and Xavier from the same draws give the "
            "same answers (share of images)",
            lambda r: r.arrays["start/alike"],
            Within(1.0, 5e-3),
            "theory",
            not_run=pair,
            needs=("he", "xavier"),
        ),
        Claim(
            "regions-gradient",
            algebra,
            "Before training He's gradients are 2^(layers / 2) "
            "times Xavier's from the same draws (octaves)",
            lambda r: r.arrays["start/octaves"],
            Within(config.depth / 2, 0.01),
            "theory",
            not_run=pair,
            needs=("he", "xavier"),
        ),
        Claim(
            "half-normal",
            f"{BUBECK}, abstract",
            "Random nets: the first-order distance "
            "of an input of norm sqrt(d) is sqrt(2 / pi) on average over depths",
            lambda r: r.arrays["start/distance"].mean(1),
            Within(HALF_NORMAL, 0.04),
            "theory",
            needs=("random",),
        ),
        Claim(
            "start-depth",
            f"{BUBECK}, abstract",
            "Random nets: the power of depth that the "
            f"distance follows from {start.DEPTHS[0]} to {start.DEPTHS[-1]} layers is 0",
            of_random("distance", start.DEPTHS),
            Within(0.0, 0.08),
            "theory",
            needs=("random",),
        ),
        Claim(
            "root-d",
            f"{SIMON}, abstract",
            "Random nets: the L1 norm of the gradient grows as the root of the pixels (power)",
            of_random("slope", start.PIXELS),
            Within(0.5, 0.03),
            "theory",
            needs=("random",),
        ),
        *_of_normalized_nets(),
    ]


def _of_normalized_nets() -> list[Claim]:
    theorem = "Yang et al. 2019, theorem on ReLU nets"
    return [
        Claim(
            "bn-start-gradient",
            theorem,
            "Random nets with batch norm: the square of the input's gradient grows by "
            "pi / (pi - 1) a layer (octaves)",
            lambda r: octaves_a_layer(r.arrays["start_bn/square"]),
            Within(GROWTH, 0.05),
            "theory",
            needs=("random",),
        ),
        Claim(
            "bn-start-distance",
            theorem,
            "Random nets with batch norm: so the first-order distance shrinks by the root of that "
            "a layer (octaves)",
            lambda r: octaves_a_layer(r.arrays["start_bn/distance"]),
            Within(-GROWTH / 2, 0.05),
            "theory",
            needs=("random",),
        ),
    ]


def of_sizes(config: Any) -> list[Claim]:
    """Return the claims on depth, width and pixels."""
    families = families_of(config)

    def power(family: str, quantity: str) -> Statistic:
        sizes = sizes_of(families[family]) if family in families else ()
        return lambda record: slopes(record.arrays[f"{family}/{quantity}"], sizes)

    def of_pixels(quantity: str) -> Statistic:
        return lambda r: slopes(r.arrays[f"pixels/{quantity}"], r.numbers["pixels"])

    def lacks(family: str, flags: str) -> str:
        return "" if family in families else flags

    enlarged = missing_arms(config, "he") or ("" if config.enlargements else "--enlargements")
    deep, he = "He and Xavier nets, --depths", lacks("depth_he", "arm he, --depths")
    return [
        Claim(
            "width-helps",
            f"{ZHU}, abstract",
            "Wider nets are farther from the boundary (power of width that the distance follows)",
            power("width", "distance"),
            Greater(),
            not_run=lacks("width", "arm he, --widths"),
            needs=("he", "width"),
        ),
        Claim(
            "depth-hurts",
            f"{ZHU}, abstract",
            "He: deeper nets are closer to it (power of depth)",
            power("depth_he", "distance"),
            Less(),
            not_run=he,
            needs=("he", "depth_he"),
        ),
        Claim(
            "depth-helps",
            f"{ZHU}, abstract",
            "Xavier, which is LeCun's variance: deeper nets are farther from it (power of depth)",
            power("depth_xavier", "distance"),
            Greater(),
            not_run=lacks("depth_xavier", deep),
            needs=("xavier", "depth_xavier"),
        ),
        Claim(
            "depth-trained",
            f"{BUBECK}, abstract",
            "He: after training, too, the distance does not depend on depth (power within .1)",
            power("depth_he", "distance"),
            Equivalent(0.1),
            not_run=he,
            needs=("he", "depth_he"),
        ),
        Claim(
            "root-d-trained",
            f"{SIMON}, abstract",
            "After training, too, the L1 norm of the "
            "loss's gradient grows as the root of the pixels (power .5, within .1)",
            of_pixels("loss_slope"),
            Equivalent(0.1, target=0.5),
            not_run=enlarged,
            needs=("he", "pixels"),
        ),
        Claim(
            "root-d-margin",
            f"{SIMON}, abstract",
            "After training, too, the L1 norm of the margin's gradient, which no confidence "
            "shrinks, grows as the root of the pixels (power .5, within .1)",
            of_pixels("margin_slope"),
            Equivalent(0.1, target=0.5),
            not_run=enlarged,
            needs=("he", "pixels"),
        ),
    ]


def of_conv_nets(config: Any) -> list[Claim]:
    """Return the claims on what batch norm costs conv nets."""

    def lead(quantity: str) -> Statistic:
        def difference(record: Record) -> np.ndarray:
            found = [record.arrays[f"{net}/{quantity}"] for net in ("conv_bn", "conv")]
            return found[0] - found[1]

        return difference

    def at_largest(record: Record) -> np.ndarray:
        return lead("stands")(record)[:, -1]

    largest = f"{255 * config.epsilons[-1]:.0f}/255"
    none = "" if config.channels else "--channels above 0"
    return [
        Claim(
            "conv-equal",
            "control, batch norm",
            "Conv nets with and without batch norm err alike on clean images (within 1.5 points)",
            lead("error"),
            Equivalent(0.015),
            not_run=none,
            needs=("conv",),
        ),
        Claim(
            "bn-cost",
            f"{GALLOWAY}, abstract",
            "Conv nets: batch norm leaves fewer images that stand PGD (mean over honest sizes)",
            lambda r: lead("stands")(r).mean(1),
            Less(),
            not_run=none,
            needs=("conv",),
        ),
        Claim(
            "bn-cost-large",
            f"{GALLOWAY}, published code",
            f"Conv nets: at {largest} it costs over ten points",
            at_largest,
            Less(-0.1),
            not_run=none,
            needs=("conv",),
        ),
        Claim(
            "bn-conv",
            f"{GALLOWAY}, abstract",
            "Conv nets: with batch norm the boundary is closer (octaves)",
            lambda r: np.log2(r.arrays["conv_bn/distance"] / r.arrays["conv/distance"]),
            Less(),
            not_run=none,
            needs=("conv",),
        ),
    ]
