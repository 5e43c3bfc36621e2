"""The claims of alexnet_removal; their rules are fixed here."""

from collections.abc import Mapping
from typing import Any

from experiments.depth import _removal_costs as costs
from experiments.depth._removal import Layers, words_of
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Within

TABLE, LECTURE = "Zeiler & Fergus 2014, table 3", "lecture, layers removed from AlexNet"


def claims_of(config: Any, removals: Mapping[str, Layers], off_the_table: float) -> list[Claim]:
    """Return the sources' claims and the questions beside them.

    ``removals``: the compared nets and the layers that they lack; ``off_the_table``: by how much
    the lecture's losses miss the table's nearer column (points).
    """
    return [
        *_of_costs(config),
        *_of_comparisons(config),
        *_of_the_lecture(config, off_the_table),
        *[_fatal(config, name, layers) for name, layers in removals.items()],
        _control(),
    ]


def _lacking(config: Any, *names: str) -> str:
    return "" if {*names} <= {*config.nets} else f"needs --nets={','.join(names)}"


def _of_costs(config: Any) -> list[Claim]:
    budget = f"{config.steps:,} steps"
    return [
        Claim(
            "no7-free",
            TABLE,
            f"without 7, {budget}: costs less than 3 points of test error (table: -.5)",
            costs.cost("no7"),
            Less(3.0),
            not_run=_lacking(config, "no7"),
            needs=("whole", "no7"),
        ),
        Claim(
            "no67-costs",
            TABLE,
            f"without 6, 7, {budget}: test error rises (table: +4.3)",
            costs.cost("no67"),
            Greater(),
            not_run=_lacking(config, "no67"),
            needs=("whole", "no67"),
        ),
        Claim(
            "no34-costs",
            TABLE,
            f"without 3, 4, {budget}: test error rises (table: +4.9)",
            costs.cost("no34"),
            Greater(),
            not_run=_lacking(config, "no34"),
            needs=("whole", "no34"),
        ),
        Claim(
            "collapse",
            TABLE,
            f"without 3, 4, 6, 7, {budget}: over a quarter of what the whole net has learned is "
            "lost (table: 52 %)",
            costs.lost("no3467", costs.final),
            Greater(0.25),
            not_run=_lacking(config, "no3467"),
            needs=("whole", "no3467"),
        ),
    ]


def _of_comparisons(config: Any) -> list[Claim]:
    budget = f"{config.steps:,} steps"
    return [
        Claim(
            "more-than-the-sum",
            TABLE,
            "removing 3, 4, 6, 7 costs more than removing 3, 4 and removing 6, 7 together (table: "
            "30.8 against 9.2 points)",
            costs.dearer("no3467", "no67", "no34"),
            Greater(),
            not_run=_lacking(config, "no34", "no67", "no3467"),
            needs=("whole", "no34", "no67", "no3467"),
        ),
        Claim(
            "not-parameters",
            TABLE,
            "removing 3, 4 costs more than removing 7, which has more parameters (test error, "
            "points)",
            costs.dearer("no34", "no7"),
            Greater(),
            not_run=_lacking(config, "no34", "no7"),
            needs=("whole", "no34", "no7"),
        ),
        Claim(
            "no7-trains-better",
            TABLE,
            f"without 7, {budget}: the training error falls (table: 35.1 to 27.4)",
            costs.training_gain("no7"),
            Greater(),
            not_run=_lacking(config, "no7"),
            needs=("whole", "no7"),
        ),
    ]


def _of_the_lecture(config: Any, off_the_table: float) -> list[Claim]:
    return [
        Claim(
            "no67-over-no34",
            LECTURE,
            "removing 6, 7 costs more than removing 3, 4 (lecture: 5.7 and 3.0; table: 4.3 and "
            "4.0 top-5, 4.3 and 4.9 top-1)",
            costs.dearer("no67", "no34"),
            Greater(),
            not_run=_lacking(config, "no34", "no67"),
            needs=("whole", "no34", "no67"),
        ),
        Claim(
            "lecture-numbers",
            LECTURE,
            "the lecture's losses are those of a column of the table (largest difference from the "
            "nearer one, points)",
            lambda r: off_the_table,
            Within(0.0, 0.05),
            "theory",
            needs=(),
        ),
    ]


def _fatal(config: Any, name: str, layers: Layers) -> Claim:
    return Claim(
        f"lesion-{name}",
        "question, lesions",
        f"{words_of(layers)} left out at test time, nothing retrained: over half of what the net "
        "has learned is lost",
        costs.lost(name, costs.lesioned),
        Greater(0.5),
        not_run=_lacking(config, name),
        needs=("whole", name),
    )


def _control() -> Claim:
    return Claim(
        "control",
        "negative control, other draws",
        "the whole net from other draws has the same test error (points)",
        costs.cost("again"),
        Equivalent(3.0),
        needs=("whole", "again"),
    )
