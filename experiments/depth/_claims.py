"""Claims of plain_vs_residual beside those about depth: of gradients, and the paper's numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.depth._protocol import Net
from jaxvision.dynamics import theory
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Within
from jaxvision.report.record import Record

YANG = float(theory.batch_norm_squared_factor(np.inf, "relu"))
HE = "He et al. 2016"
# By layers; 110 is the table's best of five, as the others are single runs.
TABLE_6 = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43}


def final(record: Record, net: Net, split: str = "train") -> np.ndarray:
    """Return the error [S] of the last period (training) or after the last step (test)."""
    return record.arrays[f"{net.name}/{split}_error"][:, -1]


def of_gradients(config: Any, net: Net) -> list[Claim]:
    """Return what is claimed of the gradients of the deepest plain net, step by step."""

    def ratio(r: Record, step: int) -> np.ndarray:  # of the first layer's norm over the last one's
        norms = r.arrays[f"{net.name}/delta_norm"][:, config.watched.index(step)]
        return norms[:, 0] / norms[:, -1]

    layers = net.depth - 2  # between the first convolution and the last
    first = config.watched[0]
    return [
        *[
            Claim(
                f"healthy-{step}",
                f"{HE}, section 4.1",
                f"step {step}: gradients of the "
                f"{net.depth}-layer plain net are healthy; our reading: first and last layer "
                "within a factor of 10 (decades)",
                lambda r, step=step: np.log10(ratio(r, step)),
                Equivalent(1.0),
                needs=("plain",),
            )
            for step in config.watched
        ],
        Claim(
            f"yang-{first}",
            "Yang et al. 2019, theorem on ReLU nets",
            f"step {first}: gradients explode, squared by pi/(pi - 1) a layer",
            lambda r: ratio(r, first) ** (2 / layers),
            Within(YANG, 0.1, relative=True),
            needs=("plain",),
        ),
        *[
            Claim(
                f"relaxed-{step}",
                "Yang et al. 2019, along training",
                f"step {step}: training has "
                f"taken most of the explosion away (log growth over that of step {first})",
                lambda r, step=step: np.log(ratio(r, step)) / np.log(ratio(r, first)),
                Less(0.5),
                needs=("plain",),
            )
            for step in config.watched[1:]
        ],
    ]


def of_the_paper(config: Any, followed: bool) -> list[Claim]:
    """Return the paper's own numbers, judged where its protocol is ``followed``."""
    command = "python -m experiments plain_vs_residual --preset=paper"

    def missing(*depths: int) -> str:
        return "" if followed and set(depths) <= set(config.depths) else command

    def percent(net: Net) -> Callable:
        return lambda r: 100 * final(r, net, "test")

    def order(r: Record) -> np.ndarray:  # the smallest gain of three steps in depth, points
        errors = [percent(Net("resnet", depth))(r) for depth in (20, 32, 44, 56)]
        return -np.diff(errors, axis=0).max(0)

    return [
        *[
            Claim(
                f"table6-{depth}",
                f"{HE}, table 6",
                f"ResNet-{depth} has {error} % test error on CIFAR-10",
                percent(Net("resnet", depth)),
                Within(error, 0.5),
                "paper",
                missing(depth),
                needs=("resnet",),
            )
            for depth, error in TABLE_6.items()
        ],
        Claim(
            "table6-order",
            f"{HE}, table 6",
            "the error falls from 20 to 32, 44 and 56 layers (smallest gain, points)",
            order,
            Greater(),
            "paper",
            missing(20, 32, 44, 56),
            needs=("resnet",),
        ),
        Claim(
            "plain-110",
            f"{HE}, section 4.2",
            "plain-110 has over 60 % (contested: Li et al. 2018 trained one to 16 %)",
            percent(Net("plain", 110)),
            Greater(60.0),
            "paper",
            missing(110),
            needs=("plain",),
        ),
    ]
