"""The claims of gradient_flow; their rules are fixed here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.gradients import _flow as flow
from jaxvision.dynamics import probes, theory
from jaxvision.report.claims import Claim, Equivalent, Less, Statistic, Within
from jaxvision.report.record import Record

# (record, net, gain, quantity) -> [S, L]: of the deepest net, before it trains.
Values = Callable[[Record, str, str, str], np.ndarray]
TOLERANCE = 0.02  # of a growth per layer; a gain wrong by 10 % is off by .05 to .1
YANG, DE, TEXTBOOK = "Yang et al. 2019", "De & Smith 2020", "textbook reading"


def claims_of(config: Any, values: Values, normalized_depths: Sequence[int]) -> list[Claim]:
    """Return the sources' claims; ``normalized_depths``: of the plain nets with batch norm."""
    return [
        *_of_one_image(config),
        _of_batch_norm(config, values),
        *_of_residual_nets(values),
        *_below_the_critical_gain(config, values),
        _of_gains(values),
        *_along_training(normalized_depths),
    ]


def _of_one_image(config: Any) -> list[Claim]:
    """Return that one image's gradient and signal follow theory, activation by activation."""

    def departure(activation: str, quantity: str) -> Statistic:
        """Return the statistic: the departure from theory at the worst gain."""
        given = config, flow.factors(config), activation, quantity
        return lambda record: flow.largest(flow.departures(record.arrays, *given))

    stated = (  # id, source, words
        ("delta", "Schoenholz et al. 2017, chi_1", "gradient grows as theory says"),
        ("signal", "Poole et al. 2016, variance map", "signal is theory's (sigmoid: its level)"),
    )
    return [
        Claim(
            f"{quantity}-{activation}",
            source,
            f"{activation}: below, at and above critical gain one image's {words} (log a layer "
            "less theory's, the worst gain)",
            departure(activation, quantity),
            Within(0.0, TOLERANCE),
            "theory",
            needs=(),
        )
        for activation in config.activations
        for quantity, source, words in stated
    ]


def _delta_growth(values: Values, net: str, gain: str) -> Statistic:
    """Return the statistic: log of the gradient's growth a layer, on its way down."""
    return lambda record: probes.growth(values(record, net, gain, "delta_norm"), upward=False)


def _of_batch_norm(config: Any, values: Values) -> Claim:
    law = float(theory.batch_norm_squared_factor(config.batch_size, "relu"))
    growth = _delta_growth(values, "batch_norm", "critical")
    return Claim(
        "batch-norm-factor",
        f"{YANG}, at initialization",
        f"batch norm in a plain ReLU net: the squared gradient grows by {law:.3f} a layer "
        "(pi/(pi-1) = 1.467 in large batches)",
        lambda r: np.exp(2 * growth(r)),
        Within(law, 0.01, relative=True),
        "theory",
        needs=("batch_norm",),
    )


def _of_residual_nets(values: Values) -> list[Claim]:
    growth = _delta_growth(values, "residual", "critical")

    def stream_growth(record: Record) -> np.ndarray:
        """Return the log of the growth of the variance, per block."""
        return 2 * probes.growth(values(record, "residual", "critical", "signal_std"), upward=True)

    def normalized_growth(record: Record) -> np.ndarray:
        signal = values(record, "residual_batch_norm", "critical", "signal_std")
        return probes.variance_per_block(signal)

    return [
        Claim(
            "residual-variance",
            f"{DE}, without batch norm",
            "residual: the stream's variance doubles each block (log)",
            stream_growth,
            Within(float(np.log(2)), 0.02),
            "theory",
            needs=("residual",),
        ),
        Claim(
            "residual-gradient",
            f"{DE}, without batch norm",
            "residual: the squared gradient doubles each block, on its way down (log)",
            lambda r: 2 * growth(r),
            Within(float(np.log(2)), 0.02),
            "theory",
            needs=("residual",),
        ),
        Claim(
            "residual-bn-variance",
            f"{DE}, abstract",
            "residual + batch norm: the variance grows by 1 each block, so batch norm scales the "
            "input of block l down by sqrt(l)",
            normalized_growth,
            Within(1.0, 0.1),
            "theory",
            needs=("residual_batch_norm",),
        ),
    ]


def _below_the_critical_gain(config: Any, values: Values) -> list[Claim]:
    def ratio(record: Record) -> np.ndarray:
        """Return the first hidden layer's weight gradient over the last one's, in octaves."""
        norms = values(record, "relu", "below", "dw_norm")
        return np.log2(norms[:, 1] / norms[:, -2])

    return [
        Claim(
            "delta-decays",
            f"{TEXTBOOK}, backward signal",
            "below critical gain delta decays on its way down (growth a layer; theory: twice this "
            "bound)",
            _delta_growth(values, "relu", "below"),
            Less(float(np.log(config.below)) / 2),
            needs=("relu",),
        ),
        Claim(
            "dw-flat",
            f"{TEXTBOOK}, weight gradients",
            "below critical gain the weight gradient does not decay: first and last hidden layer "
            "within a factor 2 (octaves)",
            ratio,
            Equivalent(1.0),
            needs=("relu",),
        ),
    ]


def _of_gains(values: Values) -> Claim:
    above, below = (_delta_growth(values, "batch_norm", gain) for gain in ("above", "below"))
    return Claim(
        "batch-norm-gain",
        f"{YANG}, abstract",
        "batch norm's explosion does not depend on the gain (log factor, above minus below "
        "critical)",
        lambda r: 2 * (above(r) - below(r)),
        Equivalent(0.02),
        needs=("batch_norm",),
    )


def _along_training(depths: Sequence[int]) -> list[Claim]:
    return [
        Claim(
            f"relaxes-{depth}",
            f"{YANG}, along training",
            f"one step of SGD takes most of batch norm's explosion away at {depth} layers (growth "
            "of dW a layer, after over before)",
            _relaxation(depth),
            Less(0.5),
            needs=("batch_norm",),
        )
        for depth in depths
    ]


def _relaxation(depth: int) -> Statistic:
    """Return the statistic: the growth of dW a layer after a step over that before."""

    def ratio(record: Record) -> np.ndarray:
        norms = record.arrays[f"batch_norm{depth}/critical/dw_norm"]
        after, before = (probes.growth(norms[:, i], upward=False) for i in (1, 0))
        return after / before

    return ratio
