"""Claims of plain_vs_residual about depth, responses and lesions; their rules are fixed here."""

from typing import Any

import numpy as np

from experiments.depth import _blocks as blocks
from experiments.depth._claims import HE, final
from experiments.depth._protocol import Net, depths_of
from jaxvision.report.claims import Claim, Greater, Less, Statistic
from jaxvision.report.record import Record

SECTION, FIGURE_7 = f"{HE}, section 4.2 and figure 6", f"{HE}, figure 7"
VEIT = "Veit et al. 2016, section 4.1"


def claims_of(config: Any) -> list[Claim]:
    """Return what is claimed of nets of a low, a middle and a high depth."""
    return [
        *_of_degradation(config),
        *_of_the_cure(config),
        *_of_learning(config),
        *_of_responses(config),
        *_of_lesions(config),
    ]


def _residual_words(config: Any) -> str:
    return f"the {depths_of(config).high}-layer residual net"


def _lacking(config: Any) -> str:
    low, _, high = depths_of(config)
    return "needs two depths" if low == high else ""


def _rise(config: Any, kind: str, split: str = "train") -> Statistic:
    """Return the statistic: how much higher the error of the deepest net is."""
    low, _, high = depths_of(config)
    return lambda r: final(r, Net(kind, high), split) - final(r, Net(kind, low), split)


def _mean(record: Record, net: Net, quantity: str) -> np.ndarray:
    return record.arrays[f"{net.name}/{quantity}"].mean(1)


def _learned(record: Record, values: np.ndarray, net: Net) -> np.ndarray:
    """Return the values, NaN unless the net has learned."""
    enough = final(record, net).mean() < record.numbers["chance"]["train"] / 2
    return values if enough else np.full_like(values, np.nan)


def _of_degradation(config: Any) -> list[Claim]:
    low, _, high = depths_of(config)
    plain, lacking = Net("plain", high), _lacking(config)

    def longer(record: Record) -> np.ndarray:
        return record.arrays[f"{plain.name}/longer_train_error"][:, -1]

    return [
        Claim(
            "degradation",
            SECTION,
            f"the {high}-layer plain net ends with a higher training error than the {low}-layer "
            "one, each at its own best rate",
            _rise(config, "plain"),
            Greater(),
            not_run=lacking,
            needs=("plain",),
        ),
        Claim(
            "degradation-longer",
            f"{HE}, section 4.1, footnote",
            f"{f'{config.longer} times the' if config.longer else 'more'} steps leave the "
            f"{high}-layer plain net's training error above that of the {low}-layer one",
            lambda r: longer(r) - final(r, Net("plain", low)),
            Greater(),
            not_run=lacking or ("" if config.longer else "--longer=3"),
            needs=("plain",),
        ),
        Claim(
            "degradation-test",
            SECTION,
            f"the {high}-layer plain net ends with a higher test error than the {low}-layer one",
            _rise(config, "plain", "test"),
            Greater(),
            not_run=lacking,
            needs=("plain",),
        ),
    ]


def _of_the_cure(config: Any) -> list[Claim]:
    words, lacking = _residual_words(config), _lacking(config)
    residual = Net("resnet", depths_of(config).high)
    plain_rise, residual_rise = _rise(config, "plain"), _rise(config, "resnet")
    return [
        Claim(
            "no-degradation",
            SECTION,
            f"the training error of {words} is no higher (2 points at most)",
            lambda r: _learned(r, residual_rise(r), residual),
            Less(0.02),
            not_run=lacking,
            needs=("resnet",),
        ),
        Claim(
            "cure",
            SECTION,
            "depth costs the plain net more training error than the residual one",
            lambda r: plain_rise(r) - residual_rise(r),
            Greater(),
            not_run=lacking,
            needs=("plain", "resnet"),
        ),
    ]


def _of_learning(config: Any) -> list[Claim]:
    low, _, high = depths_of(config)
    words, residual = _residual_words(config), Net("resnet", high)

    def lead(record: Record) -> np.ndarray:
        plain, shallow = Net("plain", low), Net("resnet", low)
        return _mean(record, plain, "train_error") - _mean(record, shallow, "train_error")

    return [
        Claim(
            "faster",
            SECTION,
            f"{low} layers, which both fit: the residual net converges faster (mean training "
            "error over the run)",
            lead,
            Greater(),
            needs=("plain", "resnet"),
        ),
        Claim(
            "learns",
            "control, unseen images",
            f"{words} beats chance on test images by over 2 points",
            lambda r: r.numbers["chance"]["test"] - final(r, residual, "test"),
            Greater(0.02),
            needs=("resnet",),
        ),
    ]


def _of_responses(config: Any) -> list[Claim]:
    low, _, high = depths_of(config)
    words, lacking = _residual_words(config), _lacking(config)
    residual, plain, shallow = Net("resnet", high), Net("plain", high), Net("resnet", low)

    def less(quantity: str, first: Net, second: Net) -> Statistic:
        """Return the statistic: the second net's mean less the first one's, both having learned."""

        def difference(r: Record) -> np.ndarray:
            found = _mean(r, second, quantity) - _mean(r, first, quantity)
            return _learned(r, _learned(r, found, first), second)

        return difference

    return [
        Claim(
            "responses-depth",
            FIGURE_7,
            f"layers of {words} respond less than the {low}-layer one's",
            less("response_std", residual, shallow),
            Greater(),
            not_run=lacking,
            needs=("resnet",),
        ),
        Claim(
            "modifies-less",
            FIGURE_7,
            f"blocks of {words} add less, beside what they add to, than the {low}-layer one's",
            less("branch_ratio", residual, shallow),
            Greater(),
            not_run=lacking,
            needs=("resnet",),
        ),
        Claim(
            "responses",
            FIGURE_7,
            f"layers of {words} respond less than the plain net's (before the addition)",
            less("response_std", residual, plain),
            Greater(),
            needs=("plain", "resnet"),
        ),
    ]


def _of_lesions(config: Any) -> list[Claim]:
    _, middle, high = depths_of(config)
    words, residual = _residual_words(config), Net("resnet", high)
    mid_plain, mid_residual = Net("plain", middle), Net("resnet", middle)
    judges = "training" if config.images else "test"

    def damage(record: Record, net: Net) -> np.ndarray:
        """Return what leaving a block out costs."""
        chance = record.numbers["chance"]["train" if config.images else "test"]
        lost = blocks.lesion_damage(record.arrays[f"{net.name}/lesion"], chance)
        return _learned(record, lost, net)

    return [
        Claim(
            "lesion-mild",
            VEIT,
            f"a block less costs {words} under a quarter of what it has learned ({judges} images)",
            lambda r: damage(r, residual),
            Less(0.25),
            needs=("resnet",),
        ),
        Claim(
            "lesion-fatal",
            VEIT,
            f"a block less costs the {middle}-layer plain net over half of what it has learned",
            lambda r: damage(r, mid_plain),
            Greater(0.5),
            needs=("plain",),
        ),
        Claim(
            "lesion-order",
            VEIT,
            f"at {middle} layers a block less costs the plain net more than the residual one",
            lambda r: damage(r, mid_plain) - damage(r, mid_residual),
            Greater(),
            needs=("plain", "resnet"),
        ),
    ]
