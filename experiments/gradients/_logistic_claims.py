"""The claims of logistic_map; their rules are fixed here."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from experiments.gradients import _exponents as exponents
from experiments.gradients import _logistic as logistic
from jaxvision.dynamics import theory
from jaxvision.report.claims import Claim, Statistic, Within
from jaxvision.report.record import Record

YANG = "Yang et al. 2019, theorem 1"
SCHOENHOLZ = "Schoenholz et al. 2017, section 3"


def of_the_map() -> list[Claim]:
    """Return what is known of the logistic map."""
    return [
        Claim(
            "ln-2",
            "Lyapunov exponents, logistic map",
            "At r = 4 the map's exponent is ln 2",
            lambda r: np.array(r.numbers["exponent_at_4"]),
            Within(math.log(2), 1e-3),
            "theory",
            needs=(),
        ),
        Claim(
            "doubling-4",
            "May 1976, period doubling",
            "The cycle of period 4 is born at r = 1 + sqrt 6",
            lambda r: r.numbers["doubling-4"],
            Within(logistic.SECOND_DOUBLING, 1e-3),
            "theory",
            needs=(),
        ),
    ]


def of_tanh(width: int, gains: np.ndarray, law: np.ndarray) -> list[Claim]:
    """Return what theory says of tanh nets; ``law``: their exponent at ``gains``, both [G]."""

    def worst(record: Record) -> np.ndarray:
        """Return each seed's deviation from theory at the gain where their mean is farthest."""
        deviation = record.arrays["tanh"][:, 0] - law
        return deviation[:, np.abs(deviation.mean(0)).argmax()]

    def edge(record: Record) -> np.ndarray:
        return exponents.crossing(gains, record.arrays["tanh"][:, 0])

    return [
        Claim(
            "tanh",
            SCHOENHOLZ,
            f"A tanh net's exponent is ln(chi_1) / 2 less the term of width {width}, at "
            "every gain (deviation where it is largest)",
            worst,
            Within(0.0, 0.01),
            "theory",
            needs=("tanh",),
        ),
        Claim(
            "tanh-edge",
            SCHOENHOLZ,
            "A tanh net's exponent passes 0 at gain 1: order below, chaos above (gain where it "
            "does)",
            edge,
            Within(1.0, 0.1),
            "theory",
            needs=("tanh",),
        ),
    ]


def of_relu(widths: Sequence[int], gains: np.ndarray) -> list[Claim]:
    """Return what theory says of ReLU nets, by width."""
    infinite = theory.relu_exponent(gains)

    def excess_times_width(i: int, width: int) -> Statistic:
        """Return n times the exponent over that of infinite width, mean over the gains."""
        return lambda record: width * (record.arrays["relu"][:, i] - infinite).mean(1)

    return [
        Claim(
            f"relu-{width}",
            "Hanin & Nica 2018, theorem 1",
            f"ReLU, width {width}: the typical gradient shrinks by 5 / (4 width) a layer "
            "more than its mean square (times width)",
            excess_times_width(i, width),
            Within(-1.25, 0.3125),
            "theory",
            needs=("relu",),
        )
        for i, width in enumerate(widths)
    ]


def of_batch_norm(batch_size: int, law: float) -> Claim:
    """Return that batch norm explodes; ``law``: its exponent over this many inputs."""
    return Claim(
        "batch-norm",
        YANG,
        f"Batch norm explodes: its exponent is that of the theory (at {batch_size} inputs)",
        _batch_norm(0),
        Within(law, 0.01),
        "theory",
        needs=("batch_norm",),
    )


def of_batch_sizes(batch_sizes: Sequence[int], laws: Sequence[float]) -> list[Claim]:
    """Return that batch norm over more inputs explodes slower; ``laws``: its exponents."""

    def slower(i: int) -> Statistic:
        return lambda record: _batch_norm(i + 1)(record) - _batch_norm(i)(record)

    return [
        Claim(
            f"batch-norm-{few}-{many}",
            YANG,
            f"Batch norm over {many} inputs explodes slower than over {few}, as theory says "
            "(difference of the exponents)",
            slower(i),
            Within(laws[i + 1] - laws[i], 0.004),
            "theory",
            needs=("batch_norm",),
        )
        for i, (few, many) in enumerate(itertools.pairwise(batch_sizes))
    ]


def _batch_norm(i: int) -> Statistic:
    """Return the statistic: the exponent over the i-th number of inputs, mean over the gains."""
    return lambda record: record.arrays["batch_norm"][:, i].mean(1)
