"""The claims of dcgan; their rules are fixed here."""

import numpy as np

from experiments.generating import _codes as codes_lib
from experiments.generating import _gan_measures as measures
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share, Statistic, Within
from jaxvision.report.record import Record
from jaxvision.report.stats import where_known

RADFORD = "Radford et al. 2015"
MEEHAN = "Meehan et al. 2020"
MAIN = "half"  # the arm whose nets are looked into
ONLY_MAIN = (MAIN,)
SPACES = ("pixels", "features")  # where copies are looked for, as the arrays have them


def all_claims() -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return [
        *_of_the_distance(),
        *_of_training(),
        *_of_anchors(),
        *_of_statistics(),
        *_of_jumps(),
        *_of_middles(),
        *of_copies(),
        *_of_features(),
    ]


def _stored(name: str) -> Statistic:
    return lambda record: record.arrays[name]


def _at_the_end(name: str) -> Statistic:
    return lambda record: record.arrays[name][:, -1]


def _octaves(one: Statistic, other: Statistic) -> Statistic:
    """Return how many times one number has doubled until it is the other."""
    return lambda record: np.log2(one(record) / other(record))


def _ordered(record: Record) -> np.ndarray:
    anchors = [record.arrays[f"anchor/{name}"] for name in measures.ANCHORS]
    real, blurred, half, single, noise = anchors
    rises = (real < blurred) & (blurred < noise)
    sees_classes = (half > 2 * real) & (single > half)
    return where_known(rises & sees_classes, *anchors)


def _of_the_distance() -> list[Claim]:
    return [
        Claim(
            "metric",
            "condition, a distance that is of use",
            "FCD orders real < blurred < noise, and half the classes are at twice the floor, one "
            "class further",
            _ordered,
            Share(),
            needs=(),
        ),
        Claim(
            "floor-law",
            "closed form, two samples of one Gaussian law",
            "Real against real: FCD is what the formula has for as many images (ratio)",
            lambda record: record.arrays["anchor/real"] / record.arrays["floor_law"],
            Within(1.0, 0.25),
            "theory",
            needs=(),
        ),
        Claim(
            "few-images",
            "Heusel et al. 2017, notes of their code",
            "With few images the distance is underestimated (real against real, a quarter of the "
            "images less all)",
            lambda record: record.arrays["quarter"] - record.arrays["anchor/real"],
            Less(),
            "theory",
            needs=(),
        ),
    ]


def _of_training() -> list[Claim]:
    section = f"{RADFORD}, section 4"
    end = _at_the_end("half/fcd")

    def falls(record: Record) -> np.ndarray:
        fcd = record.arrays["half/fcd"][:, [0, -1]]
        return where_known(fcd[:, 1] < fcd[:, 0], fcd)

    def paints_all(record: Record) -> np.ndarray:
        shares = record.arrays["half/shares"][:, -1]
        equal = 1 / shares.shape[1]
        return (shares > 0.1 * equal).all(1)

    return [
        Claim(
            "falls",
            section,
            "FCD is smaller after training than before",
            falls,
            Share(),
            needs=ONLY_MAIN,
        ),
        Claim(
            "all-classes",
            section,
            "Every class is painted, by more than a tenth of an equal share of the images",
            paints_all,
            Share(),
            needs=ONLY_MAIN,
        ),
        Claim(
            "momentum",
            section,
            "With beta1 = .9 FCD ends larger than with .5 (octaves)",
            _octaves(_at_the_end("momentum/fcd"), end),
            Greater(),
            needs=(MAIN, "momentum"),
        ),
    ]


def _of_anchors() -> list[Claim]:
    return [
        Claim(
            "beats-blur",
            "question, anchors",
            "FCD after training is below that of blurred real images (octaves)",
            _octaves(_at_the_end("half/fcd"), _stored("anchor/blurred")),
            Less(),
            needs=ONLY_MAIN,
        ),
        Claim(
            "above-floor",
            "question, anchors",
            "FCD after training is more than twice the floor (octaves)",
            _octaves(_at_the_end("half/fcd"), _stored("anchor/real")),
            Greater(1.0),
            needs=ONLY_MAIN,
        ),
    ]


def _of_statistics() -> list[Claim]:
    rule_4 = "question, rule 4 of ganhacks (Chintala et al. 2016)"
    end = _at_the_end("half/fcd")
    return [
        Claim(
            "mixed",
            rule_4,
            "Where batch norm sees real and generated images at once, in both players' losses, FCD "
            "ends larger than where it sees them apart (octaves)",
            _octaves(_at_the_end("mixed/fcd"), end),
            Greater(),
            needs=(MAIN, "mixed"),
        ),
        Claim(
            "copied",
            rule_4,
            "Where batch norm sees them at once in the discriminator's loss alone, as copied code "
            "has it, FCD ends larger than where it sees them apart (octaves)",
            _octaves(_at_the_end("copied/fcd"), end),
            Greater(),
            needs=(MAIN, "copied"),
        ),
    ]


def _of_jumps() -> list[Claim]:
    return [
        Claim(
            "no-jump",
            f"{RADFORD}, section 6.1",
            "On a straight line between codes the largest step over the mean step is less than a "
            "quarter of a memorizer's (octaves)",
            _octaves(_stored("jump/line"), _stored("jump/memorizer")),
            Less(-2.0),
            needs=ONLY_MAIN,
        ),
    ]


def _of_middles() -> list[Claim]:
    uniform = "closed form, uniform codes"
    return [
        Claim(
            "line-middle",
            uniform,
            "The middle of a straight line has a mean square of 1/6, codes 1/3",
            _stored("line_middle"),
            Within(codes_lib.MIDDLE_OF_LINE, 0.01),
            "theory",
            needs=ONLY_MAIN,
        ),
        Claim(
            "slerp-outside",
            uniform,
            "The middle of a great circle has 8.6 % of its coordinates outside of the cube",
            _stored("slerp_outside"),
            Within(codes_lib.OUTSIDE_BY_SLERP, 0.01),
            "theory",
            needs=ONLY_MAIN,
        ),
        Claim(
            "slerp-better",
            "White 2016, section 2",
            "Middles of great circles are better images than those of straight lines (FCD of lines "
            "over circles, octaves)",
            _octaves(_stored("middle/line"), _stored("middle/slerp")),
            Greater(),
            needs=ONLY_MAIN,
        ),
        Claim(
            "scores-better",
            "question, uniform codes",
            "Middles that keep the prior are better images than those of straight lines (FCD, "
            "octaves)",
            _octaves(_stored("middle/line"), _stored("middle/scores")),
            Greater(),
            needs=ONLY_MAIN,
        ),
    ]


def of_copies() -> list[Claim]:
    """Return the test for copies in each space: the two may disagree, so none is averaged."""
    return [claim for space in SPACES for claim in _of_copies_in(space)]


def _of_copies_in(space: str) -> list[Claim]:
    def z(kind: str) -> Statistic:
        return lambda record: record.arrays[f"copying/{kind}"][:, SPACES.index(space)]

    return [
        Claim(
            f"no-copies-{space}",
            f"{RADFORD}, section 4.1",
            f"By {space}, generated images lie no nearer to training images than held-out ones do "
            "(z)",
            z("generated"),
            Greater(-1.645),
            needs=ONLY_MAIN,
        ),
        Claim(
            f"copies-found-{space}",
            f"{MEEHAN}, positive control",
            f"By {space}, training images with a little noise are found to be copies (z)",
            z("copies"),
            Less(-5.0),
            needs=ONLY_MAIN,
        ),
        Claim(
            f"held-out-{space}",
            f"{MEEHAN}, negative control",
            f"By {space}, held-out images are not (z of one half against the other)",
            z("held_out"),
            Equivalent(1.645),
            needs=ONLY_MAIN,
        ),
    ]


def _of_features() -> list[Claim]:
    section = f"{RADFORD}, section 5"

    def gain(record: Record) -> np.ndarray:
        probe = record.arrays["probe"]
        return probe[:, -1] - probe[:, 0]

    def over_pixels(record: Record) -> np.ndarray:
        return record.arrays["probe"][:, -1] - record.arrays["probe_pixels"]

    return [
        Claim(
            "features",
            section,
            "A linear probe on the trained discriminator's features is right more often than on "
            "those of the same net before training",
            gain,
            Greater(),
            needs=ONLY_MAIN,
        ),
        Claim(
            "over-pixels",
            section,
            "A linear probe on the trained discriminator's features is right more often than on "
            "pixels",
            over_pixels,
            Greater(),
            needs=ONLY_MAIN,
        ),
    ]
