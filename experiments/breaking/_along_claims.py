"""The claims of robustness_in_training; their rules are fixed here."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.breaking._along_larger_claims import of_larger_nets
from experiments.breaking._along_nets import Kind
from experiments.breaking._along_pairs import late_steps, missing_arms
from experiments.breaking._along_sides import LYU, STILL, above_zero, both_sides, neither_side
from experiments.breaking._along_size_claims import of_conv_nets, of_random_nets, of_sizes
from jaxvision.report import stats
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within
from jaxvision.report.record import Record

GALLOWAY = "Galloway et al. 2019"
FREE = ("he", "xavier", "small")  # arms without decay or normalization


def claims_of(config: Any, arms: Mapping[str, Kind]) -> list[Claim]:
    """Return all claims; what a run has no nets for is not run.

    Distances and gradients are of images that all arms of a seed have right: one arm needs all.
    """
    return [
        *of_random_nets(config),
        *_along_training(config, arms),
        *_between_arms(config),
        *_of_gradients(config),
        *_of_universal(config),
        *of_sizes(config),
        *of_larger_nets(config),
        *of_conv_nets(config),
        *_controls(config),
    ]


def ranks_together(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of each row of [S, N] with the other's: [S]."""
    return np.array([stats.spearman(*pair).estimate for pair in zip(a, b, strict=True)])


def _change(config: Any, arm: str, quantity: str, first: int | None = None) -> Statistic:
    """Return by how many octaves a quantity changes from a step, the reference, to the end."""
    early = config.snapshots.index(config.reference if first is None else first)

    def octaves(record: Record) -> np.ndarray:
        values = above_zero(record.arrays[f"{arm}/{quantity}"])
        return np.log2(values[:, -1] / values[:, early])

    return octaves


def _apart(arm: str, other: str) -> Statistic:
    """Return by how many octaves an arm ends farther than another."""

    def octaves(record: Record) -> np.ndarray:
        ends = [above_zero(record.arrays[f"{name}/distance"][:, -1]) for name in (arm, other)]
        return np.log2(ends[0] / ends[1])

    return octaves


def _along_training(config: Any, arms: Mapping[str, Kind]) -> list[Claim]:
    span = f"from step {config.reference:,} to {config.steps:,}"
    claims = []
    for name, arm in arms.items():
        if arm.others:
            continue
        octaves, lacks = _change(config, name, "distance"), missing_arms(config, name)
        told = (name, arm.label, span, octaves, lacks, config.arms)
        claims += both_sides(*told)
        if name in FREE:
            claims.append(neither_side(*told))
    return [*claims, _margin_grows(config)]


def _margin_grows(config: Any) -> Claim:
    early = config.snapshots.index(config.size_steps)

    def growth(record: Record) -> np.ndarray:
        margins = record.arrays["he/log_margin"]
        return margins[:, -1] - margins[:, early]

    return Claim(
        "margin-grows",
        f"{LYU}, abstract",
        f"He: the normalized margin of the training images grows from step {config.size_steps:,} "
        f"to {config.steps:,} (octaves)",
        growth,
        Greater(),
        not_run=missing_arms(config, "he"),
        needs=("he",),
    )


def _between_arms(config: Any) -> list[Claim]:
    at_end = "at the end"
    return [
        Claim(
            "xavier-farther",
            "question, initialization",
            "Xavier ends farther from the boundary than He (octaves)",
            _apart("xavier", "he"),
            Greater(),
            not_run=missing_arms(config, "he", "xavier"),
            needs=config.arms,
        ),
        Claim(
            "decay-farther",
            f"{GALLOWAY}, abstract",
            "Weight decay ends farther than none (octaves)",
            _apart("decay", "he"),
            Greater(),
            not_run=missing_arms(config, "he", "decay"),
            needs=config.arms,
        ),
        Claim(
            "small-closer",
            "question, initialization",
            f"A small start is closer {at_end} than He (octaves)",
            _apart("small", "he"),
            Less(),
            not_run=missing_arms(config, "he", "small"),
            needs=config.arms,
        ),
        Claim(
            "bn-dense",
            f"{GALLOWAY}, abstract",
            f"Dense nets: batch norm is closer {at_end} than none (octaves)",
            _apart("bn", "he"),
            Less(),
            not_run=missing_arms(config, "he", "bn"),
            needs=config.arms,
        ),
    ]


def _of_gradients(config: Any) -> list[Claim]:
    late = late_steps(config)

    def friendship(arm: str, quantity: str) -> Statistic:
        def correlation(record: Record) -> np.ndarray:
            pair = [record.arrays[f"{arm}/{name}"][:, late] for name in (quantity, "distance")]
            return ranks_together(*pair)

        return correlation

    def over_arms(quantity: str) -> Statistic:
        def correlation(record: Record) -> np.ndarray:
            def pooled(name: str) -> np.ndarray:
                return np.concatenate(
                    [record.arrays[f"{arm}/{name}"][:, late] for arm in config.arms], 1
                )

            return ranks_together(pooled(quantity), pooled("distance"))

        return correlation

    friend = "question, gradient norm as a friend"
    few = "" if len(config.snapshots[late]) > 2 else "three snapshots from --reference on"
    return [
        Claim(
            "gradient-falls",
            friend,
            f"He: the loss's gradient falls by over two octaves from "
            f"step {config.reference:,} to {config.steps:,}",
            _change(config, "he", "loss_slope"),
            Less(-2.0),
            not_run=missing_arms(config, "he"),
            needs=config.arms,
        ),
        Claim(
            "friend",
            friend,
            "Over late snapshots of all arms a smaller gradient of the loss "
            "goes with a boundary farther off (rank correlation below -.5)",
            over_arms("loss_slope"),
            Less(-0.5),
            not_run=few,
            needs=config.arms,
        ),
        Claim(
            "false-friend",
            friend,
            "With batch norm it is the other way round: the gradient "
            "falls while the boundary comes closer (rank correlation over late snapshots)",
            friendship("bn", "loss_slope"),
            Greater(),
            not_run=few or missing_arms(config, "bn"),
            needs=config.arms,
        ),
        Claim(
            "margin-friend",
            friend,
            "Margin over its gradient's norm, which has no scale, "
            "tells the distance: over late snapshots of all arms (rank correlation above .5)",
            over_arms("first_order"),
            Greater(0.5),
            not_run=few,
            needs=config.arms,
        ),
    ]


def _of_universal(config: Any) -> list[Claim]:
    reference = config.snapshots.index(config.reference)
    ours = "question, one perturbation along training"

    def handed(made: int, met: int) -> Statistic:
        return lambda r: r.arrays["he/crossed"][:, made, met] - r.arrays["he/signs"][:, met]

    def own_lead(record: Record) -> np.ndarray:
        crossed = record.arrays["he/crossed"]
        return crossed[:, -1, -1] - crossed[:, reference, -1]

    lacks, early = missing_arms(config, "he"), f"step {config.reference:,}"
    return [
        Claim(
            "universal-early",
            ours,
            f"He: what is made for the net of {early} fools the last "
            "one more than the best of the random signs",
            handed(reference, -1),
            Greater(),
            not_run=lacks,
            needs=("he",),
        ),
        Claim(
            "universal-late",
            ours,
            "He: what is made for the last net fools that of "
            f"{early} more than the best of the random signs",
            handed(-1, reference),
            Greater(),
            not_run=lacks,
            needs=("he",),
        ),
        Claim(
            "universal-own",
            ours,
            f"He: the last net's own fools it more than that of {early}",
            own_lead,
            Greater(),
            not_run=lacks,
            needs=("he",),
        ),
    ]


def _controls(config: Any) -> list[Claim]:
    again = missing_arms(config, "he", "he_again")

    def company(record: Record) -> np.ndarray:
        answers = [record.arrays[f"{arm}/alone"][:, -1] for arm in config.arms]
        return np.max(answers, axis=0)

    return [
        Claim(
            "control",
            "negative control, other draws",
            "He from other draws ends as far from the boundary (octaves)",
            _apart("he_again", "he"),
            Equivalent(STILL),
            not_run=again,
            needs=config.arms,
        ),
        Claim(
            "noise",
            "control, random directions",
            "He: noise as long as the distance changes less than 5 % of answers at the end",
            lambda r: r.arrays["he/noise"][:, -1],
            Less(0.05),
            not_run=missing_arms(config, "he"),
            needs=config.arms,
        ),
        Claim(
            "alone",
            "control, batch norm's statistics",
            "An image's answer does not depend on "
            "its company (largest change of logits over their size)",
            company,
            Within(0.0, 1e-3),
            "theory",
            needs=config.arms,
        ),
    ]
