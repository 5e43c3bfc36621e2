"""The claims of backward_rules; their rules are fixed here. Statistics are one number a net."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.seeing import _nets
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within, minus
from jaxvision.report.record import Record

NIE, ADEBAYO = "Nie et al. 2018", "Adebayo et al. 2018"
POINTING_GAME = "pointing game on VOC07, TorchRay"
FLOORS = "question, floors"
METHODS = "question, methods"
CLEANER = "Springenberg et al. 2014, section 3.4: cleaner"
CLARK = "Clark et al. 2023 (arXiv 2306.12816)"
SCORES = {"pointing": 0, "iou": 1, "mass": 2}


def claims_of(config: Any, methods: Mapping[str, Any]) -> list[Claim]:
    """Return all claims; those that ask where the object is are not run without masks."""
    masked = config.dataset in _nets.MASKED
    no_masks = "" if masked else "the set has no masks: --dataset=shapes16k"
    no_small = "" if config.small_dataset in _nets.MASKED else "--small_dataset=small_shapes"
    return [
        *_of_random_nets(config),
        *_of_lost_layers(),
        *_of_pointing(methods, no_masks, no_small),
        *_of_mass(no_masks),
        *_of_occlusion(no_masks),
        *_along_training(no_masks),
    ]


def _array(name: str, at: int = -1) -> Statistic:
    return lambda record: record.arrays[name][..., at]


def _whole(name: str) -> Statistic:
    return lambda record: record.arrays[name]


def _lead(size: str, score: str, one: str, other: str) -> Statistic:
    at = SCORES[score]
    return minus(_array(f"{size}/{one}", at), _array(f"{size}/{other}", at))


def _over_edges(name: str) -> Statistic:
    """Return a map's share on the object minus 1.1 times an edge detector's."""
    own, edges = (_array(f"large/{each}", SCORES["mass"]) for each in (name, "edges"))
    return lambda record: own(record) - 1.1 * edges(record)


def _of_random_nets(config: Any) -> list[Claim]:
    counts = config.filters
    many = counts.index(64) if 64 in counts else len(counts) - 1
    n = counts[many]

    def at(kind: str, rule: str, place: int = many) -> Statistic:
        return _array(f"random/{kind}/{rule}", place)

    alike = [_array(f"classes/conv/{rule}", many) for rule in ("guided", "gradient")]
    return [
        Claim(
            "nie-guided",
            NIE,
            f"A random conv net of {n} filters: guided backprop correlates with the centered "
            "input by more than .5",
            at("conv", "guided"),
            Greater(0.5),
            "theory",
            needs=("guided", "random"),
        ),
        Claim(
            "nie-gradient",
            NIE,
            f"There, {n} filters: the gradient does not correlate with the input",
            at("conv", "gradient"),
            Equivalent(0.05),
            "theory",
            needs=("gradient", "random"),
        ),
        Claim(
            "nie-deconvnet",
            NIE,
            f"There, {n} filters, no pooling: the deconvnet does not correlate with the input",
            at("conv", "deconvnet"),
            Equivalent(0.05),
            "theory",
            needs=("deconvnet", "random"),
        ),
        Claim(
            "nie-pool",
            NIE,
            "With max pooling the deconvnet recovers more of the input as filters are added (from "
            f"{counts[0]} to {counts[-1]})",
            minus(at("pool", "deconvnet", -1), at("pool", "deconvnet", 0)),
            Greater(),
            "theory",
            needs=("deconvnet", "random"),
        ),
        Claim(
            "nie-more",
            NIE,
            f"Guided backprop recovers more with {counts[-1]} filters than with {counts[0]}",
            minus(at("conv", "guided", -1), at("conv", "guided", 0)),
            Greater(),
            "theory",
            needs=("guided", "random"),
        ),
        Claim(
            "nie-classes",
            NIE,
            f"Random nets, {n} filters: maps of two classes are more alike under guided backprop "
            "than under the gradient, by .3",
            minus(*alike),
            Greater(0.3),
            "theory",
            needs=("gradient", "guided", "random"),
        ),
        Claim(
            "ig-half",
            f"{ADEBAYO}, appendix",
            "Integrated gradients of a linear score are half of (input - baseline) times weights "
            "(ratio)",
            _whole("linear/half"),
            Within(0.5, 0.001),
            "theory",
            needs=("gradient", "random"),
        ),
    ]


def _of_lost_layers() -> list[Claim]:
    def left(rule: str, layers: int, sign: str = "unsigned") -> Statistic:
        return _array(f"cascade/{sign}/{rule}", layers)

    return [
        Claim(
            "cascade-guided",
            f"{ADEBAYO}, figure 2",
            "With the dense layer drawn anew, |guided backprop| keeps more of its ranks than the "
            "|gradient|, by .1",
            minus(left("guided", 1), left("gradient", 1)),
            Greater(0.1),
            needs=("gradient", "guided", "large"),
        ),
        Claim(
            "cascade-upper",
            f"{ADEBAYO}, erratum",
            "|Guided backprop| keeps its ranks (above .8) when the dense layer and the last "
            "convolution are drawn anew",
            left("guided", 2),
            Greater(0.8),
            needs=("guided", "large"),
        ),
        Claim(
            "cascade-all",
            f"{ADEBAYO}, first version",
            "|Guided backprop| keeps its ranks (above .8) when all layers are drawn anew",
            left("guided", -1),
            Greater(0.8),
            needs=("guided", "large"),
        ),
        Claim(
            "cascade-signed",
            f"{ADEBAYO}, figure 2",
            "The signed gradient loses all ranks when the dense layer is drawn anew",
            left("gradient", 1, "signed"),
            Equivalent(0.1),
            needs=("gradient", "large"),
        ),
        Claim(
            "cascade-sign",
            "question, signs",
            "There the |gradient| keeps more ranks than the signed one, by .2: the sign decides "
            "what the check finds",
            minus(left("gradient", 1), left("gradient", 1, "signed")),
            Greater(0.2),
            needs=("gradient", "large"),
        ),
    ]


def _of_pointing(methods: Mapping[str, Any], no_masks: str, no_small: str) -> list[Claim]:
    def best(record: Record) -> np.ndarray:
        pointing = [_array(f"large/{name}", 0)(record) for name in (*methods, "occlusion")]
        return np.max(pointing, axis=0)

    return [
        Claim(
            "center-large",
            FLOORS,
            "Large objects: the center of the picture points better than the best of all methods",
            minus(_array("large/center", 0), best),
            Greater(),
            not_run=no_masks,
            needs=(*methods, "large"),
        ),
        Claim(
            "center-small",
            FLOORS,
            "Small objects: guided backprop points better than the center, by .1",
            _lead("small", "pointing", "guided", "center"),
            Greater(0.1),
            not_run=no_small,
            needs=("guided", "small"),
        ),
        Claim(
            "deconvnet-center",
            f"{POINTING_GAME}: 67.5 against 69.6",
            "Large objects: the deconvnet points worse than the center",
            _lead("large", "pointing", "deconvnet", "center"),
            Less(),
            not_run=no_masks,
            needs=("deconvnet", "large"),
        ),
        Claim(
            "pointing-guided",
            f"{POINTING_GAME}: 75.9 against 76.3",
            "Small objects: guided backprop points as well as the gradient, within .05",
            _lead("small", "pointing", "guided", "gradient"),
            Equivalent(0.05),
            not_run=no_small,
            needs=("gradient", "guided", "small"),
        ),
    ]


def _of_mass(no_masks: str) -> list[Claim]:
    return [
        Claim(
            "mass-guided",
            CLEANER,
            "Large objects: more of guided backprop than of the gradient lies on the object",
            _lead("large", "mass", "guided", "gradient"),
            Greater(),
            not_run=no_masks,
            needs=("gradient", "guided", "large"),
        ),
        Claim(
            "mass-deconvnet",
            CLEANER,
            "Large objects: more of guided backprop than of the deconvnet lies on the object",
            _lead("large", "mass", "guided", "deconvnet"),
            Greater(),
            not_run=no_masks,
            needs=("deconvnet", "guided", "large"),
        ),
        Claim(
            "edges-gradient",
            CLARK,
            "Large objects: less of the gradient than 1.1 times an edge detector's lies on the "
            "object",
            _over_edges("gradient"),
            Less(),
            not_run=no_masks,
            needs=("gradient", "large"),
        ),
        Claim(
            "edges-guided",
            CLARK,
            "Large objects: less of guided backprop than 1.1 times an edge detector's lies on the "
            "object",
            _over_edges("guided"),
            Less(),
            not_run=no_masks,
            needs=("guided", "large"),
        ),
        Claim(
            "softmax",
            "Simonyan et al. 2013, section 3: the unnormalized score",
            "Large objects: more of the logit's gradient than of the softmax's lies on the object",
            _lead("large", "mass", "gradient", "softmax"),
            Greater(),
            not_run=no_masks,
            needs=("gradient", "softmax", "large"),
        ),
    ]


def _of_occlusion(no_masks: str) -> list[Claim]:
    guided, edges = (_whole(f"large/agreement/{name}") for name in ("guided", "edges"))
    return [
        Claim(
            "occlusion-mass",
            METHODS,
            "Large objects: more of occlusion's map than of guided backprop lies on the object",
            _lead("large", "mass", "occlusion", "guided"),
            Greater(),
            not_run=no_masks,
            needs=("guided", "large"),
        ),
        Claim(
            "agreement",
            METHODS,
            "Guided backprop agrees with occlusion more than an edge detector does (rank "
            "correlation)",
            minus(guided, edges),
            Greater(),
            needs=("guided", "large"),
        ),
    ]


def _along_training(no_masks: str) -> list[Claim]:
    def since(rule: str, share: int) -> Statistic:
        return minus(_array(f"along/{rule}"), _array(f"along/{rule}", share))

    return [
        Claim(
            "flat",
            "hypothesis: guided backprop is blind to training",
            "Guided backprop's share on the object stays within .02 from the random net to the "
            "trained one",
            since("guided", 0),
            Equivalent(0.02),
            not_run=no_masks,
            needs=("guided", "large"),
        ),
        Claim(
            "late",
            "pilot of this gallery",
            "In the last half of training guided backprop's share on the object still rises by "
            "more than the gradient's",
            minus(since("guided", -2), since("gradient", -2)),
            Greater(),
            not_run=no_masks,
            needs=("gradient", "guided", "large"),
        ),
        Claim(
            "control",
            "negative control, a random map",
            "Large objects: a random map's share on the object is the object's share of the "
            "picture",
            minus(_array("large/random", SCORES["mass"]), _whole("large/area")),
            Equivalent(0.005),
            not_run=no_masks,
            needs=("gradient", "large"),
        ),
    ]
