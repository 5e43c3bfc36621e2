"""The claims of class_pictures; their rules are fixed here."""

import numpy as np

from experiments.seeing._picture_panels import of_way
from jaxvision.report.claims import Claim, Greater, Less, Statistic, Within
from jaxvision.report.record import Record

SIMONYAN = "Simonyan et al. 2013"
YOSINSKI_2015 = "Yosinski et al. 2015"
OLAH = "Olah et al. 2017"
NGUYEN = "Nguyen et al. 2015"
AGREE = "(share of pictures that other nets put into the class)"
SETS = {1: "steps-2", 2: "steps-20", 3: "steps-20", 4: "steps-2"}  # Yosinski's, and their steps


def all_claims() -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return [
        *_closed_forms(),
        *_without_prior(),
        *_with_priors(),
        *_sets(),
        *_in_waves(),
        *_of_probabilities(),
        *_at_equal_distance(),
        *_controls(),
    ]


def _of(name: str, way: str) -> Statistic:
    return lambda record: of_way(record, name, way)


def _over_chance(name: str, way: str) -> Statistic:
    """Return by how much oftener pictures are put into their class than by chance."""

    def over(record: Record) -> np.ndarray:
        return of_way(record, name, way) - 1 / len(record.numbers["class_names"])

    return over


def _lead(way: str, other: str) -> Statistic:
    """Return by how much oftener others see the class in one way's pictures than in another's."""

    def lead(record: Record) -> np.ndarray:
        return of_way(record, "agreement", way) - of_way(record, "agreement", other)

    return lead


def _missing(way: str) -> Statistic:
    """Return by how much oftener others see the class in test images."""

    def missing(record: Record) -> np.ndarray:
        return record.arrays["ceiling"] - of_way(record, "agreement", way)

    return missing


def _stored(name: str) -> Statistic:
    return lambda record: record.arrays[name]


def _beyond(record: Record) -> np.ndarray:
    return of_way(record, "own_logit", "none") / record.arrays["real_highest"]


def _closed_forms() -> list[Claim]:
    return [
        Claim(
            "log-gradient",
            "closed form",
            "grad log p = grad S_c - sum_k p_k grad S_k on the way from start to picture (largest "
            "error over |grad S_c|)",
            _stored("log_error"),
            Within(0.0, 1e-3),
            "theory",
            needs=("none", "gradients"),
        ),
        Claim(
            "p-gradient",
            "closed form",
            "grad p = p grad log p on the way from start to picture (largest error over "
            "|grad S_c|)",
            _stored("p_error"),
            Within(0.0, 1e-3),
            "theory",
            needs=("none", "gradients"),
        ),
    ]


def _without_prior() -> list[Claim]:
    question = "question, no prior"
    return [
        Claim(
            "sure",
            NGUYEN,
            "No prior: the net gives its pictures p above .9 (mean)",
            _of("own_probability", "none"),
            Greater(0.9),
            needs=("none",),
        ),
        Claim(
            "unseen",
            NGUYEN,
            "No prior: the other nets put test images into their class over 20 points oftener "
            "than the pictures",
            _missing("none"),
            Greater(0.2),
            needs=("none",),
        ),
        Claim(
            "beyond-real",
            question,
            "No prior: the pictures' logit, on average, is above that of every test image "
            "compared (ratio)",
            _beyond,
            Greater(1.0),
            needs=("none",),
        ),
        Claim(
            "rough",
            question,
            "No prior: the pictures' total variation is above that of test images (ratio)",
            _of("variation", "none"),
            Greater(1.0),
            needs=("none",),
        ),
    ]


def _with_priors() -> list[Claim]:
    return [
        Claim(
            "meaning",
            SIMONYAN,
            f"L2: other nets see the class oftener than by chance {AGREE}",
            _over_chance("agreement", "l2"),
            Greater(),
            needs=("l2",),
        ),
        Claim(
            "l2",
            SIMONYAN,
            f"L2 convinces other nets more than no prior does {AGREE}",
            _lead("l2", "none"),
            Greater(),
            needs=("l2", "none"),
        ),
        Claim(
            "blur",
            YOSINSKI_2015,
            f"A blur that keeps the contrast convinces other nets more than no prior does {AGREE}",
            _lead("blur", "none"),
            Greater(),
            needs=("blur", "none"),
        ),
    ]


def _sets() -> list[Claim]:
    return [
        Claim(
            f"yosinski-{number}",
            YOSINSKI_2015,
            f"Set {number} convinces other nets more than no prior does in the same steps {AGREE}",
            _lead(f"yosinski-{number}", steps),
            Greater(),
            needs=(f"yosinski-{number}", steps),
        )
        for number, steps in SETS.items()
    ]


def _in_waves() -> list[Claim]:
    return [
        Claim(
            "fourier",
            OLAH,
            f"Fourier convinces other nets more than pixels do {AGREE}",
            _lead("fourier", "none"),
            Greater(),
            needs=("fourier", "none"),
        ),
        Claim(
            "jitter",
            OLAH,
            f"Jitter convinces other nets more than Fourier alone {AGREE}",
            _lead("jitter", "fourier"),
            Greater(),
            needs=("jitter", "fourier"),
        ),
        Claim(
            "short",
            "question, ceiling",
            "Fourier + jitter: the other nets still put test images into their class over 5 "
            "points oftener",
            _missing("jitter"),
            Greater(0.05),
            needs=("jitter",),
        ),
    ]


PRIORS = {"none": "No prior", "jitter": "Fourier + jitter"}  # under which objectives compete


def _of_probabilities() -> list[Claim]:
    claims = []
    for name, prior in PRIORS.items():
        claims += [
            Claim(
                f"softmax-{name}",
                OLAH,
                f"{prior}: the logit convinces other nets more than p does in as many steps "
                f"{AGREE}",
                _lead(name, f"{name}-softmax"),
                Greater(),
                needs=(name, f"{name}-softmax"),
            ),
            Claim(
                f"log-{name}",
                OLAH,
                f"{prior}: log p convinces other nets by no more than 5 points more than p does "
                "in as many steps",
                _lead(f"{name}-log", f"{name}-softmax"),
                Less(0.05),
                needs=(f"{name}-log", f"{name}-softmax"),
            ),
        ]
    return claims


def _at_equal_distance() -> list[Claim]:
    return [
        Claim(
            f"near-{name}",
            "question, equal distance",
            f"{prior}: as far from the start as p's pictures, the logit's convince other nets more",
            _lead(f"{name}-near", f"{name}-softmax"),
            Greater(),
            needs=(f"{name}-near", f"{name}-softmax"),
        )
        for name, prior in PRIORS.items()
    ]


def _controls() -> list[Claim]:
    return [
        Claim(
            "alike",
            "question, diversity",
            "Fourier + jitter: two pictures of a class differ less than two test images of it "
            "(ratio)",
            _of("diversity", "jitter"),
            Less(1.0),
            needs=("jitter",),
        ),
        Claim(
            "control",
            "negative control, permuted classes",
            "Nets of permuted classes put the pictures of Fourier + jitter into their class at "
            "most 5 points oftener than chance",
            _over_chance("permuted", "jitter"),
            Less(0.05),
            needs=("jitter",),
        ),
    ]
