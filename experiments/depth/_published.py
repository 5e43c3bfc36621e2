"""Published results of the ImageNet challenge (ILSVRC), classification, 2010 to 2017."""

from typing import NamedTuple

HAND_MADE, CONVOLUTIONAL = "hand-made features", "convolutional nets"


class Entry(NamedTuple):
    """What a team handed in.

    Attributes:
      year: of the challenge.
      team: as the results page names it.
      shown: in the figure.
      top5: error on the test images, percent: the answer is not among five guesses.
      kind: of the features.
      place: 1 for the winner.
      sources: where the number stands; at least two.
    """

    year: int
    team: str
    shown: str
    top5: float
    kind: str
    place: int
    sources: tuple[str, ...]


def _page(year: int) -> str:
    return f"image-net.org/challenges/LSVRC/{year}/results"


COLLECTED = "results by year collected in gist.github.com/germank/a542f22be0dad004b18775a7976d1a0b"
ALEXNET = "Krizhevsky, Sutskever & Hinton 2012"
CAFFE = "github.com/BVLC/caffe/issues/32"

# With the challenge's own training images alone, wherever a team handed in both: with others
# besides, SuperVision reached 15.315 and Clarifai 11.197. Most winners average several nets.
ENTRIES = (
    Entry(
        2010,
        "NEC-UIUC",
        "NEC-UIUC",
        28.191,
        HAND_MADE,
        place=1,
        sources=(_page(2010), f"{ALEXNET}, table 1: 28.2"),
    ),
    Entry(2011, "XRCE", "XRCE", 25.770, HAND_MADE, 1, (_page(2011), COLLECTED)),
    Entry(
        2012,
        "SuperVision",
        "AlexNet",
        16.422,
        CONVOLUTIONAL,
        place=1,
        sources=(_page(2012), f"{CAFFE}: 16.4"),
    ),
    Entry(
        2012,
        "ISI",
        "ISI",
        26.172,
        HAND_MADE,
        place=2,
        sources=(_page(2012), f"{ALEXNET}, abstract: 26.2", COLLECTED),
    ),
    Entry(
        2013,
        "Clarifai",
        "Clarifai",
        11.743,
        CONVOLUTIONAL,
        place=1,
        sources=(_page(2013), f"{CAFFE}: 11.7"),
    ),
    Entry(2014, "GoogLeNet", "GoogLeNet", 6.656, CONVOLUTIONAL, 1, (_page(2014), COLLECTED)),
    Entry(2014, "VGG", "VGG", 7.325, CONVOLUTIONAL, 2, (_page(2014), COLLECTED)),
    Entry(
        2015,
        "MSRA",
        "ResNet",
        3.567,
        CONVOLUTIONAL,
        place=1,
        sources=(_page(2015), "He et al. 2016, abstract: 3.57", COLLECTED),
    ),
    Entry(2016, "Trimps-Soushen", "Trimps", 2.991, CONVOLUTIONAL, 1, (_page(2016), COLLECTED)),
    Entry(
        2017,
        "WMW",
        "SENet",
        2.251,
        CONVOLUTIONAL,
        place=1,
        sources=(_page(2017), "Hu et al. 2018 (arXiv 1709.01507), abstract: 2.251"),
    ),
)
# One expert who had trained on 500 images, on 1,500 test images; a second, with less training, made
# 12.0 % of errors: Russakovsky et al. 2015 (arXiv 1409.0575), table 6, and the gist above.
HUMAN = 5.1


def best(year: int, kind: str) -> Entry:
    """Return the best of the year's listed entries of a kind."""
    found = [entry for entry in ENTRIES if (entry.year, entry.kind) == (year, kind)]
    return min(found, key=lambda entry: entry.top5)


def jump() -> float:
    """Return the error of 2012's winner over that of the best without convolutions."""
    return best(2012, CONVOLUTIONAL).top5 / best(2012, HAND_MADE).top5
