"""The claims of ``preferred_inputs``; the rules are fixed here, before the run."""

import numpy as np

from experiments.generating._preferred_scores import ANCHORS
from experiments.generating._subjects import KINDS
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share, Statistic
from jaxvision.report.record import Record
from jaxvision.report.stats import where_known

NGUYEN = "Nguyen et al. 2016"
PPGN = "Nguyen et al. 2017"
BROX = "Dosovitskiy & Brox 2016"
MEEHAN = "Meehan et al. 2020"
AGREE = "(share of pictures that other nets put into the class)"


def of_way(record: Record, name: str, way: str, ways: str = "ways") -> np.ndarray:
    """Return a score [S] of the pictures of one way; ``ways``: the number that lists them."""
    column = record.numbers[ways].index(way)
    return record.arrays[name][:, column]


def _of(name: str, way: str) -> Statistic:
    return lambda record: of_way(record, name, way)


def _permuted_over_chance(record: Record) -> np.ndarray:
    chance = 1 / len(record.numbers["class_names"])
    return of_way(record, "permuted", "none") - chance


def _lead(way: str, other: str) -> Statistic:
    def lead(record: Record) -> np.ndarray:
        return of_way(record, "agreement", way) - of_way(record, "agreement", other)

    return lead


def _octaves(name: str, way: str, other: str) -> Statistic:
    def octaves(record: Record) -> np.ndarray:
        return np.log2(of_way(record, name, way) / of_way(record, name, other))

    return octaves


def _stored(name: str) -> Statistic:
    return lambda record: record.arrays[name]


def _odd(kind: str, score: str) -> Statistic:
    return lambda record: of_way(record, f"odd/{kind}/{score}", "inverter", "odd_ways")


def _odd_rise(kind: str) -> Statistic:
    """Judges may call any picture of an inverter so: what counts is that these are oftener."""
    return lambda record: _odd(kind, "kind")(record) - _odd(kind, "elsewhere")(record)


def _odd_lead(record: Record) -> np.ndarray:
    return _odd(KINDS[1], "class")(record) - _odd(KINDS[2], "class")(record)


def _dense(way: str) -> Statistic:
    return lambda record: of_way(record, "dense/agreement", way, "dense_ways")


def _dense_gain(record: Record) -> np.ndarray:
    return _dense("inverter")(record) - _dense("none")(record)


def _loss_in_transfer(record: Record) -> np.ndarray:
    return of_way(record, "agreement", "inverter") - _dense("inverter")(record)


def _missing(record: Record) -> np.ndarray:
    return record.arrays["ceiling"] - of_way(record, "agreement", "inverter")


def _ordered(record: Record) -> np.ndarray:
    anchors = record.arrays["anchors"]
    real, blurred, noise = (anchors[:, i] for i in range(len(ANCHORS)))
    return where_known((real < blurred) & (blurred < noise), anchors)


def _smoother(record: Record) -> np.ndarray:
    plain = record.arrays["rebuilt/smooth"]
    return np.log2(plain / record.arrays["rebuilt/inverter"])


def claims_of() -> list[Claim]:
    """Return all claims."""
    return [*_of_priors(), *_of_likeness(), *_of_parts(), *_of_strangers()]


def _of_priors() -> list[Claim]:
    """Return the league."""
    return [
        Claim(
            "prior",
            f"{NGUYEN}, a learnt prior",
            f"Pictures through the inverter convince other nets more than pixels do {AGREE}",
            _lead("inverter", "none"),
            Greater(),
            needs=("none", "inverter"),
        ),
        Claim(
            "beats-yosinski",
            f"{NGUYEN}, against hand-made priors",
            f"Pictures through the inverter convince other nets more than Yosinski's set 3 {AGREE}",
            _lead("inverter", "yosinski"),
            Greater(),
            needs=("yosinski", "inverter"),
        ),
        Claim(
            "beats-fourier",
            "question, learnt against hand-made",
            "Pictures through the inverter convince other nets more than waves with jitter "
            f"{AGREE}",
            _lead("inverter", "fourier"),
            Greater(),
            needs=("fourier", "inverter"),
        ),
        Claim(
            "beats-gan",
            "question, two learnt priors",
            f"Pictures through the inverter convince other nets more than a GAN's {AGREE}",
            _lead("inverter", "gan"),
            Greater(),
            needs=("gan", "inverter"),
        ),
        Claim(
            "fourier",
            "Olah et al. 2017",
            f"Waves with jitter convince other nets more than pixels do {AGREE}",
            _lead("fourier", "none"),
            Greater(),
            needs=("none", "fourier"),
        ),
        Claim(
            "short",
            "question, ceiling",
            "Other nets still put test images into their class over 5 points oftener than pictures "
            "through the inverter",
            _missing,
            Greater(0.05),
            needs=("inverter",),
        ),
        Claim(
            "control",
            "negative control, permuted classes",
            "Nets of permuted classes put pictures by pixels alone into their class at most 5 "
            "points oftener than chance",
            _permuted_over_chance,
            Less(0.05),
            needs=("none",),
        ),
    ]


def _of_likeness() -> list[Claim]:
    """Return what is said of distance, diversity and copies."""
    return [
        Claim(
            "metric",
            "condition, a distance that is of use",
            "The distance to the class orders real < blurred < noise",
            _ordered,
            Share(),
            needs=("inverter",),
        ),
        Claim(
            "nearer",
            f"{NGUYEN}, against hand-made priors",
            "Pictures through the inverter lie nearer to real images of their class than those of "
            "waves with jitter (FCD, octaves)",
            _octaves("fcd", "inverter", "fourier"),
            Less(),
            needs=("fourier", "inverter"),
        ),
        Claim(
            "alike",
            f"{PPGN}, on DGN-AM's diversity",
            "Pictures of a class through the inverter differ less than half as much as test images "
            "of it (ratio of mean distances)",
            _of("diversity", "inverter"),
            Less(0.5),
            needs=("inverter",),
        ),
        Claim(
            "reverse",
            "question, diversity",
            "Pictures of a class through the inverter differ less than those of waves with jitter "
            "(octaves)",
            _octaves("diversity", "inverter", "fourier"),
            Less(),
            needs=("fourier", "inverter"),
        ),
        Claim(
            "no-copies",
            "question, memorizing",
            "Pictures through the inverter lie no nearer to training images than held-out images "
            "do (z, by pixels)",
            _stored("near/inverter/z"),
            Greater(-1.645),
            needs=("inverter",),
        ),
        Claim(
            "copies-found",
            f"{MEEHAN}, positive control",
            "Training images with a little noise are found to be copies (z, by pixels)",
            _stored("near/copies/z"),
            Less(-5.0),
            needs=("inverter",),
        ),
        Claim(
            "held-out",
            f"{MEEHAN}, negative control",
            "Other held-out images are not found to be copies (z, by pixels)",
            _stored("near/held_out/z"),
            Equivalent(1.645),
            needs=("inverter",),
        ),
    ]


def _of_parts() -> list[Claim]:
    """Return what each part of the method is good for."""
    return [
        Claim(
            "training",
            "negative control, untrained inverter",
            f"The inverter convinces other nets more than the same net before training {AGREE}",
            _lead("inverter", "untrained"),
            Greater(),
            needs=("inverter", "untrained"),
        ),
        Claim(
            "bounds",
            f"{NGUYEN}, bounds of codes",
            f"Codes within the bounds of real ones convince other nets more than free ones {AGREE}",
            _lead("inverter", "unbounded"),
            Greater(),
            needs=("inverter", "unbounded"),
        ),
        Claim(
            "blur",
            f"{BROX}, without the adversarial loss",
            "Without a discriminator the images that inverters rebuild are smoother than with one "
            "(total variation, octaves)",
            _smoother,
            Less(),
            needs=("inverter",),
        ),
        Claim(
            "smooth-short",
            f"{BROX}, without the adversarial loss",
            "Without a discriminator they are smoother than the test images themselves (ratio)",
            _stored("rebuilt/smooth"),
            Less(1.0),
            needs=("inverter",),
        ),
        Claim(
            "discriminator",
            "question, what sharpness buys",
            f"The discriminator's inverters convince other nets more than those without {AGREE}",
            _lead("inverter", "smooth"),
            Greater(),
            needs=("inverter", "smooth"),
        ),
    ]


def _of_strangers() -> list[Claim]:
    """Return what is said of nets and classes that the inverter never met."""
    return [
        Claim(
            "transfer",
            f"{NGUYEN}, other architectures",
            "Pictures of dense nets through the inverter of a conv net convince other conv nets "
            f"more than by pixels {AGREE}",
            _dense_gain,
            Greater(),
            needs=("none", "inverter"),
        ),
        Claim(
            "transfer-costs",
            f"{NGUYEN}, other architectures",
            "Pictures of dense nets through the inverter of a conv net convince fewer other conv "
            "nets than those of the conv nets themselves",
            _loss_in_transfer,
            Greater(),
            needs=("inverter",),
        ),
        Claim(
            "odd-mosaic",
            f"{NGUYEN}, control of odd classes",
            "Through an inverter that saw none, other nets see mosaics in pictures of mosaic "
            "classes oftener than in those of blurred classes",
            _odd_rise(KINDS[1]),
            Greater(),
            needs=("inverter",),
        ),
        Claim(
            "odd-blurred",
            f"{NGUYEN}, control of odd classes",
            "Through an inverter that saw none, other nets see blurred images in pictures of "
            "blurred classes oftener than in those of mosaic classes",
            _odd_rise(KINDS[2]),
            Greater(),
            needs=("inverter",),
        ),
        Claim(
            "odd-least",
            f"{NGUYEN}, control of odd classes",
            "Other nets put fewer pictures of blurred classes than of mosaic ones into the very "
            "class",
            _odd_lead,
            Greater(),
            needs=("inverter",),
        ),
    ]
