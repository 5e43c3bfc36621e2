"""The claims of jacobian_spectrum; their rules are fixed here."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.gradients import _critical_nets as critical_nets
from jaxvision.dynamics import isometry, mean_field
from jaxvision.report.claims import Claim, Greater, Less, Statistic, Within
from jaxvision.report.record import Record

PAPER = "Pennington et al. 2017"


def of_the_laws(
    config: Any, nets: Mapping[str, critical_nets.Net], depths: np.ndarray
) -> list[Claim]:
    """Return the law of every net's spectrum, and what bounds that of orthogonal tanh."""
    tested = depths[depths <= max(1, config.width // 8)]
    reach = f"at every depth up to {tested[-1]} layers the variance of the squared singular values"
    laws = [
        Claim(
            id=f"law-{name.replace('_', '-')}",
            source=f"{PAPER}, variance of the spectrum",
            sentence=f"{net.label}: {reach} is L (mu_2 / mu_1^2 - 1 - s_1) (over it, worst depth)",
            statistic=_worst(config, name, net, tested),
            rule=Within(1.0, 0.1, relative=True),
            tier="theory",
            needs=(name,),
        )
        for name, net in nets.items()
    ]
    return [*laws, *_of_orthogonal_tanh(config, depths[-1])]


def _worst(config: Any, name: str, net: critical_nets.Net, tested: np.ndarray) -> Statistic:
    """Return the variance over the law's at the depth where their mean is farthest off."""
    q = config.bend / config.depth

    def over_law(record: Record) -> np.ndarray:
        measured = record.arrays[f"{name}/spread"][:, : len(tested)]
        ratio = measured / critical_nets.expected_spread(net, tested, q, config.width)
        return ratio[:, np.argmax(np.abs(ratio.mean(0) - 1))]

    return over_law


def _of_orthogonal_tanh(config: Any, deepest: int) -> list[Claim]:
    q = config.bend / config.depth
    law = mean_field.jacobian_spread(deepest, q, "tanh", orthogonal=True)
    return [
        Claim(
            "weakest",
            "derived, fixed point of the variance",
            f"orthogonal tanh, {config.depth} layers: the weakest direction is the signal's own, "
            "shrunk to exp(-2 bend)",
            _weakest,
            Within(float(np.exp(-2 * config.bend)), 0.05, relative=True),
            "theory",
            needs=("orthogonal_tanh",),
        ),
        Claim(
            "bulk",
            "derived, semicircle of radius 2 sd",
            "orthogonal tanh: all directions but the weakest are close: ln of their largest over "
            "their smallest is twice the square root of the law's variance",
            _bulk,
            Within(2 * float(np.sqrt(law)), 0.1, relative=True),
            "theory",
            needs=("orthogonal_tanh",),
        ),
    ]


def _weakest(record: Record) -> np.ndarray:
    return record.arrays["orthogonal_tanh/values"][:, -1]


def _bulk(record: Record) -> np.ndarray:
    """Return ln of the largest singular value over the smallest, the weakest left out."""
    values = record.arrays["orthogonal_tanh/values"]
    floor = isometry.RESOLUTION * values[:, 0]
    return np.log(values[:, 0] / np.maximum(values[:, -2], floor))


def of_other_nets(config: Any) -> list[Claim]:
    """Return what ReLU and Gaussian weights cannot."""
    return [
        Claim(
            "relu-cannot",
            f"{PAPER}, section on ReLU",
            "one layer of orthogonal ReLU sets half of the singular values to zero, which no gain "
            "brings back (their share)",
            lambda r: r.arrays["orthogonal_relu/silent"][:, 0],
            Within(0.5, 0.03),
            "theory",
            needs=("orthogonal_relu",),
        ),
        Claim(
            "gaussian-cannot",
            f"{PAPER}, abstract",
            f"Gaussian tanh, {config.depth} layers: few singular values are near 1 (share within "
            "a factor 2)",
            lambda r: r.arrays["gaussian_tanh/share"][:, -1],
            Less(0.25, resolution=1 / config.width),
            needs=("gaussian_tanh",),
        ),
    ]


def of_training(config: Any, images: int) -> list[Claim]:
    """Return who learns sooner, and what training does to the spectrum at some images."""
    return [
        Claim(
            "sooner-than-gaussian",
            f"{PAPER}, abstract",
            "orthogonal tanh halves its loss sooner than Gaussian tanh (octaves of steps)",
            _later("gaussian_tanh"),
            Greater(),
            needs=("orthogonal_tanh", "gaussian_tanh"),
        ),
        Claim(
            "sooner-than-relu",
            f"{PAPER}, abstract",
            "orthogonal tanh halves its loss sooner than orthogonal ReLU (octaves of steps)",
            _later("orthogonal_relu"),
            Greater(),
            needs=("orthogonal_tanh", "orthogonal_relu"),
        ),
        Claim(
            "isometry-lost",
            "question, along training",
            "training leaves isometry: the share of singular values near 1 is lower after "
            f"{config.checkpoints[-1]} steps",
            _lost,
            Greater(resolution=1 / (images * config.train_width)),
            needs=("orthogonal_tanh",),
        ),
    ]


def _later(name: str) -> Statistic:
    """Return by how many octaves a net halves its loss later than orthogonal tanh."""

    def octaves(record: Record) -> np.ndarray:
        # A run that never halves its loss has the last step, a lower bound.
        steps, least = (
            record.arrays[f"trained/{arm}/half_step"] for arm in (name, "orthogonal_tanh")
        )
        return np.log2((steps + 1) / (least + 1))

    return octaves


def _lost(record: Record) -> np.ndarray:
    shares = record.arrays["trained/orthogonal_tanh/share"]
    return shares[:, 0] - shares[:, -1]
