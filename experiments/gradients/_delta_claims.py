"""The claims of delta_orthogonal; their rules are fixed here."""

from typing import Any

import numpy as np

from experiments.gradients import _carrying as carrying
from jaxvision.report.claims import Claim, Greater, Less, Statistic, Within
from jaxvision.report.record import Record

XIAO = "Xiao et al. 2018, abstract"


def claims_of(config: Any) -> list[Claim]:
    """Return what the paper and theory say of these nets."""
    return [
        *_of_isometry(config),
        *_of_tanh(config),
        *_of_images_and_gaussian(config),
    ]


def theory_of(record: Record, config: Any) -> tuple[float, float, float]:
    """Return octaves: delta-orthogonal signal and gradient, and the Gaussian gradient."""
    squares = np.float64(record.arrays["pixel_squares"])
    signal, gradient = carrying.bent_octaves(squares, config.bend, config.channels)
    side = squares.shape[-1]
    return signal, gradient, carrying.gaussian_octaves(config.channels, config.depth - 1, side)


def _share(net: str, depth: int) -> Statistic:
    return lambda record: record.arrays[f"{net}/share"][:, depth]


def _bend(config: Any) -> str:
    return f"variance {config.bend:g} / depth"


def _of_isometry(config: Any) -> list[Claim]:
    shallow, deep = min(config.depths), max(config.depths)
    depths = f"{shallow} to {deep}" if shallow < deep else f"{deep}"
    return [
        Claim(
            "isometry",
            XIAO,
            f"Delta-orthogonal, {depths} layers, {_bend(config)}: nearly all singular "
            "values are within a factor 2 of 1 (smallest share of all depths)",
            lambda r: r.arrays["delta/share"].min(axis=1),
            Greater(0.95),
            needs=("delta",),
        ),
        Claim(
            "isometry-orthogonal",
            XIAO,
            f"{deep} layers: orthogonal kernels without the delta do not reach isometry (share "
            "within a factor 2 of 1)",
            _share("orthogonal", -1),
            Less(0.25),
            needs=("orthogonal",),
        ),
        Claim(
            "isometry-gaussian",
            XIAO,
            f"{deep} layers: Gaussian kernels do not reach isometry (share within a factor 2 of 1)",
            _share("gaussian", -1),
            Less(0.25),
            needs=("gaussian",),
        ),
        Claim(
            "fixed-variance",
            "question, over depth",
            f"Delta-orthogonal at one variance, {config.bend:g} / {shallow}: the share falls to "
            f"less than half from {shallow} to {deep} layers",
            _kept,
            Less(0.5),
            not_run="" if shallow < deep else "several --depths",
            needs=("delta_fixed",),
        ),
    ]


def _kept(record: Record) -> np.ndarray:
    shares = record.arrays["delta_fixed/share"]
    return shares[:, -1] / shares[:, 0]


def _of_tanh(config: Any) -> list[Claim]:
    """Return how tanh bends what delta-orthogonal nets carry, up and down."""
    first_order = "derived to first order in the variance, after Xiao et al. 2018"
    depth = f"{config.depth:,} layers"

    def signal_excess(record: Record) -> np.ndarray:
        std = record.arrays["delta/std"]
        return np.log2(std[:, -1] / std[:, 0]) - theory_of(record, config)[0]

    def gradient_excess(record: Record) -> np.ndarray:
        return record.arrays["delta/delta_octaves"][:, 0] - theory_of(record, config)[1]

    return [
        Claim(
            "signal",
            first_order,
            f"Delta-orthogonal, {depth}, {_bend(config)}: tanh bends the signal's std as a "
            "logistic equation says (octaves from it)",
            signal_excess,
            Within(0.0, 0.05),
            "theory",
            needs=("delta",),
        ),
        Claim(
            "gradient",
            first_order,
            f"Delta-orthogonal, {depth}, {_bend(config)}: tanh bends the gradient's norm as a "
            "logistic equation says (octaves from it)",
            gradient_excess,
            Within(0.0, 0.05),
            "theory",
            needs=("delta",),
        ),
    ]


def _of_images_and_gaussian(config: Any) -> list[Claim]:
    """Return what becomes of the images, and of Gaussian nets of the same depth."""
    depth = f"{config.depth:,} layers"

    def likeness(net: str) -> Statistic:
        return lambda record: record.arrays[f"{net}/likeness"][:, -1]

    def gaussian_ratio(record: Record) -> np.ndarray:
        return record.arrays["gaussian/delta_octaves"][:, 0] / theory_of(record, config)[2]

    return [
        Claim(
            "images",
            XIAO,
            f"Delta-orthogonal, {depth}, {_bend(config)}: which images are alike is kept "
            "(correlation with layer 1)",
            likeness("delta"),
            Greater(0.9),
            needs=("delta",),
        ),
        Claim(
            "gradient-gaussian",
            "products of random matrices, derived",
            f"Gaussian, {depth}: the gradient shrinks as products of random matrices do (octaves, "
            "over theory's)",
            gaussian_ratio,
            Within(1.0, 0.1),
            "theory",
            needs=("gaussian",),
        ),
        Claim(
            "images-gaussian",
            "question, Gaussian at the same depth",
            f"Gaussian, {depth}: which images are alike is lost (correlation with layer 1)",
            likeness("gaussian"),
            Less(0.5),
            needs=("gaussian",),
        ),
    ]
