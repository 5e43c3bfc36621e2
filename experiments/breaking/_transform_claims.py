"""The claims of transformations; their rules are fixed here."""

from typing import Any

import numpy as np

from experiments.breaking import _canvas as canvas
from experiments.breaking import _transform_panels as panels
from experiments.breaking._transforms import BORDERS, CANVAS, SYMMETRIC
from jaxvision.report.claims import Claim, Greater, Less, Share, Statistic, Within, minus
from jaxvision.report.record import Record
from jaxvision.report.stats import where_known

ZEILER, ENGSTROM = "Zeiler & Fergus 2014", "Engstrom et al. 2019"
AZULAY, ZHANG = "Azulay & Weiss 2019", "Zhang 2019"


def claims_of(config: Any) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""

    def more_area(one: str, other: str, net: str = "upright") -> Statistic:
        return lambda record: panels.area(record, net, one) - panels.area(record, net, other)

    def first_pixel(record: Record) -> np.ndarray:
        sizes, distance = panels.folded(record, "upright", "shift", "distance")
        at_one = distance[:, sizes == 1][:, 0]
        return at_one[:, 0] / at_one[:, 1]

    def straight(transform: str, layer: int) -> Statistic:
        return lambda record: panels.straightness(record, transform, layer)

    def straighter(record: Record) -> np.ndarray:
        return straight("shift", 1)(record) - straight("shift", 0)(record)

    def with_every_border(record: Record) -> np.ndarray:
        areas = record.arrays["upright/area_by_border"]
        shift, scale, turn = np.moveaxis(areas, 2, 0)
        return where_known((np.minimum(shift, scale) > turn).all(1), areas)

    def half_turn(record: Record) -> np.ndarray:
        symmetric, others = record.arrays["upright/half_turn"].T
        return symmetric - others

    def found(way: str, net: str = "upright") -> Statistic:
        return lambda record: record.arrays[f"{net}/{way}"]

    def consistency(net: str) -> Statistic:
        return lambda record: record.arrays[f"{net}/consistency"].mean(1)

    def error(net: str) -> Statistic:
        return lambda record: record.arrays[f"{net}/test_error"].mean(1)

    def change(net: str) -> Statistic:
        return lambda record: panels.change_between(record, net)

    def by_depth(record: Record) -> np.ndarray:
        doublings = np.log2(config.depths)
        return np.polyfit(doublings, record.arrays["strided/consistency"].T, 1)[0]

    no_classes = (
        ""
        if config.dataset in SYMMETRIC
        else ("no class of the set is known to be symmetric: --dataset=mnist")
    )
    no_torus = "" if len(config.depths) > 1 else "needs --depths=1,2,4"
    few_borders = "" if BORDERS.keys() <= set(config.borders) else "needs all borders"
    no_canvas = "" if CANVAS in config.borders else f"needs --borders with {CANVAS}"
    question = "question"
    return [
        Claim(
            "rest",
            "negative control, no transformation",
            "Images at rest keep features and answers (largest change over nets)",
            panels.change_at_rest,
            Within(0.0, 1e-4),
            "theory",
            needs=("upright",),
        ),
        Claim(
            "period",
            "negative control, total stride",
            "Nets on a torus: a shift by the total "
            "stride keeps the logits (largest relative change)",
            panels.change_at_period,
            Within(0.0, 1e-3),
            "theory",
            not_run=no_torus,
            needs=("strided", "blurred"),
        ),
        Claim(
            "layer1",
            f"{ZEILER}, figure 5",
            "A shift by one pixel moves the first layer more "
            "than the top layer (ratio of distances)",
            first_pixel,
            Greater(1.0),
            needs=("upright",),
        ),
        Claim(
            "linear-shift",
            f"{ZEILER}, section 4.1",
            "The top layer moves in a line with the shift (R squared above .9)",
            straight("shift", 1),
            Greater(0.9),
            needs=("upright",),
        ),
        Claim(
            "linear-scale",
            f"{ZEILER}, section 4.1",
            "The top layer moves in a line with the scale (R squared above .9)",
            straight("scale", 1),
            Greater(0.9),
            needs=("upright",),
        ),
        Claim(
            "straighter",
            f"{ZEILER}, section 4.1",
            "The top layer moves more in a line with the shift than the first layer (R squared)",
            straighter,
            Greater(),
            needs=("upright",),
        ),
        Claim(
            "shift-turn",
            f"{ZEILER}, section 4.1",
            "Shifts leave the probability of the class "
            "higher than turns do (mean over the paper's ranges)",
            more_area("shift", "turn"),
            Greater(),
            needs=("upright",),
        ),
        Claim(
            "scale-turn",
            f"{ZEILER}, section 4.1",
            "Scalings leave the probability of the class "
            "higher than turns do (mean over the paper's ranges)",
            more_area("scale", "turn"),
            Greater(),
            needs=("upright",),
        ),
        Claim(
            "symmetric",
            f"{ZEILER}, section 4.1",
            "Half a turn leaves the probability higher for classes that look alike after it",
            half_turn,
            Greater(),
            not_run=no_classes,
            needs=("upright",),
        ),
        Claim(
            "borders",
            f"{question}, borders",
            "Turns harm most whatever lies beyond the border: "
            "black, last pixel, mirror, torus, or nothing to cut",
            with_every_border,
            Share(),
            not_run=few_borders,
            needs=("upright", "borders"),
        ),
        canvas.claim_of(no_canvas),
        Claim(
            "learned",
            f"{question}, training",
            "Nets trained on turned images are harmed more by shifts than by turns",
            more_area("turn", "shift", "turned"),
            Greater(),
            needs=("turned",),
        ),
        Claim(
            "breaks",
            f"{ENGSTROM}, abstract",
            "Shifts by up to 3/32 of a side and turns by up "
            "to 30 degrees fool nets on over a fifth of the images (grid)",
            found("grid"),
            Greater(0.2),
            needs=("upright", "searches"),
        ),
        Claim(
            "augmented",
            f"{ENGSTROM}, abstract",
            "They still fool nets that were trained on turned images on over a tenth",
            found("grid", "turned"),
            Greater(0.1),
            needs=("turned", "searches"),
        ),
        Claim(
            "ten",
            f"{ENGSTROM}, search",
            "The grid fools over 2 points more than the worst of ten random poses",
            minus(found("grid"), found("ten")),
            Greater(0.02),
            needs=("upright", "searches"),
        ),
        Claim(
            "first-order",
            f"{ENGSTROM}, search",
            "The grid fools over 5 points more than a search along the gradient",
            minus(found("grid"), found("ascent")),
            Greater(0.05),
            needs=("upright", "searches"),
        ),
        Claim(
            "random-ascent",
            f"{ENGSTROM}, search",
            "The worst of ten random poses fools more than a search along the gradient",
            minus(found("ten"), found("ascent")),
            Greater(),
            needs=("upright", "searches"),
        ),
        Claim(
            "blur",
            f"{ZHANG}, tables",
            "A blur before each stride makes answers to two shifts agree more often",
            minus(consistency("blurred"), consistency("strided")),
            Greater(),
            not_run=no_torus,
            needs=("strided", "blurred"),
        ),
        Claim(
            "curve",
            f"{question}, total stride",
            "Between multiples of the total stride shifts "
            "move logits less where a blur is before each stride (relative change)",
            minus(change("strided"), change("blurred")),
            Greater(),
            not_run=no_torus,
            needs=("strided", "blurred"),
        ),
        Claim(
            "blur-error",
            f"{ZHANG}, tables",
            "A blur before each stride lowers the test error",
            minus(error("strided"), error("blurred")),
            Greater(),
            not_run=no_torus,
            needs=("strided", "blurred"),
        ),
        Claim(
            "deeper-better",
            f"{ZHANG}, tables",
            "Deeper strided nets give two shifts one answer more often (slope by doublings)",
            by_depth,
            Greater(),
            not_run=no_torus,
            needs=("strided",),
        ),
        Claim(
            "deeper-worse",
            f"{AZULAY}, first version",
            "Deeper strided nets give two shifts one answer less often (slope by doublings)",
            by_depth,
            Less(),
            not_run=no_torus,
            needs=("strided",),
        ),
    ]
