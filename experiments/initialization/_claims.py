"""What he_init claims of each of its nets, by depth; the rules are fixed here."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments.initialization._escape import (
    error_gap,
    error_of_chance,
    escaped,
    octaves,
    stalled,
)
from experiments.initialization._lab import Net, Start, depths_of, runs_on
from jaxvision.dynamics import probes
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share, Within
from jaxvision.report.record import Record

PAPER = "He et al. 2015"
EQUAL_SEEDS = 57  # with which a gap of errors that spreads by .076 is known to within .03
FIGURE_2, FIGURE_3, TEXTBOOK = f"{PAPER}, figure 2", f"{PAPER}, figure 3", "textbook reading"


def claims_of(net: Net, config: Any, arms: Mapping[str, Start]) -> list[Claim]:
    """Return what is claimed of one net: first what its depth decides, then the arms beside."""
    by_depth = {14: _claims_at_14, 22: _claims_at_22, 30: _claims_at_30}
    found = by_depth[net.depth](net, config) if net.depth in by_depth else []
    for arm, claim in _claims_beside(net, config).items():
        if runs_on(arms[arm], net, depths_of(config, net)):
            found.append(claim)
    return found


def _budget(net: Net, config: Any) -> str:
    steps = config.mlp_steps if net.kind == "mlp" else config.steps
    return f"within {steps:,} steps"


def _claims_at_14(net: Net, config: Any) -> list[Claim]:
    return [
        Claim(
            f"{net.name}-equal",
            f"{PAPER}, section 4.2",
            f"{net.words}: no clear superiority (test error, Xavier minus He)",
            error_gap(net.name, "xavier", "he"),
            Equivalent(0.03, min_seeds=EQUAL_SEEDS),
            needs=("xavier", "he"),
        ),
    ]


def _claims_at_22(net: Net, config: Any) -> list[Claim]:
    name, words = net.name, net.words
    return [
        Claim(
            f"{name}-both",
            FIGURE_2,
            f"{words}: Xavier converges too, {_budget(net, config)} (test error over chance)",
            error_of_chance(name, "xavier"),
            Less(0.5),
            needs=("xavier",),
        ),
        Claim(
            f"{name}-earlier",
            FIGURE_2,
            f"{words}: He starts earlier (octaves of steps)",
            octaves(name, "xavier", "he"),
            Greater(),
            needs=("xavier", "he"),
        ),
    ]


def _claims_at_30(net: Net, config: Any) -> list[Claim]:
    name, words, budget = net.name, net.words, _budget(net, config)

    def hidden(quantity: str) -> Callable:  # at step 0, without the first and the last layer
        return lambda r: r.arrays[f"{name}/xavier/{quantity}"][:, 0, 1:-1]

    def dw_ratio(r: Record) -> np.ndarray:  # of the first hidden layer over the last, octaves
        norms = hidden("dw_norm")(r)
        return np.log2(norms[:, 0] / norms[:, -1])

    def decay(r: Record) -> np.ndarray:
        return r.arrays[f"{name}/xavier/decay_cosine"][:, -config.period :].mean(1)

    return [
        Claim(
            f"{name}-he",
            FIGURE_3,
            f"{words}: He converges {budget} (test error over chance)",
            error_of_chance(name, "he"),
            Less(0.5),
            needs=("he",),
        ),
        Claim(
            f"{name}-xavier",
            FIGURE_3,
            f"{words}: Xavier stalls, {budget}",
            stalled(name, "xavier"),
            Share(),
            needs=("xavier",),
        ),
        Claim(
            f"{name}-dw-flat",
            f"{TEXTBOOK}, weight gradients",
            f"{words}: under Xavier dW of "
            "the first and of the last hidden layer are within a factor 2 (octaves)",
            dw_ratio,
            Equivalent(1.0),
            needs=("xavier",),
        ),
        Claim(
            f"{name}-delta-decays",
            f"{TEXTBOOK}, backward signal",
            f"{words}: under Xavier delta falls by sqrt(2) a layer on its way down (octaves)",
            lambda r: probes.log2_slope(hidden("delta_norm")(r)),
            Within(0.5, 0.1),
            needs=("xavier",),
        ),
        Claim(
            f"{name}-decay-only",
            f"{PAPER}, footnote 2",
            f"{words}: weight decay alone moves the kernels of a stalled net: cos(dw, -w) near 1",
            decay,
            Greater(0.9),
            needs=("xavier",),
        ),
    ]


def _claims_beside(net: Net, config: Any) -> dict[str, Claim]:
    """Return a claim for each arm but He and Xavier, by the arm that it is about."""
    name, words = net.name, net.words
    return {
        "flax": Claim(
            f"{name}-flax",
            "question, frameworks",
            f"{words}: Flax's default initializer stalls like Xavier",
            stalled(name, "flax"),
            Share(),
            needs=("xavier", "flax"),  # at Xavier's rate
        ),
        "adam": Claim(
            f"{name}-adam",
            "question, optimizers",
            f"{words}: Adam takes Xavier off the plateau {_budget(net, config)}",
            escaped(name, "adam"),
            Share(),
            needs=("adam",),
        ),
        "he_again": Claim(
            f"{name}-control",
            "negative control, He against He",
            f"{words}: He from other draws starts no earlier (octaves)",
            octaves(name, "he_again", "he"),
            Equivalent(1.0),
            needs=("he", "he_again"),
        ),
    }
