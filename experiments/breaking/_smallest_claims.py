"""Claims of minimal_perturbation that need every kind of net; their rules are fixed here."""

from collections.abc import Callable, Mapping

from experiments.breaking._smallest_nets import Kind
from jaxvision.report.claims import Claim, Greater, Statistic, Within

SZEGEDY = "Szegedy et al. 2014"


def of_decay(octaves: Callable) -> list[Claim]:
    """Return the claims on which kinds of nets need larger changes, read by ``octaves``."""
    source = f"{SZEGEDY}, table 1"
    return [
        Claim(
            "decay-more",
            source,
            "Decay makes softmax regression harder to fool: FC10(1) needs "
            "larger changes than FC10(1e-2) (octaves of distortion)",
            octaves("fc10_strong", "fc10_middle"),
            Greater(),
            needs=("fc10_strong", "fc10_middle"),
        ),
        Claim(
            "decay-some",
            source,
            "FC10(1e-2) needs larger changes than FC10(1e-4) (octaves of distortion)",
            octaves("fc10_middle", "fc10_weak"),
            Greater(),
            needs=("fc10_middle", "fc10_weak"),
        ),
        Claim(
            "width",
            source,
            "FC200-200-10 needs larger changes than FC100-100-10 (octaves of distortion)",
            octaves("fc200", "fc100"),
            Greater(),
            needs=("fc200", "fc100"),
        ),
        Claim(
            "autoencoder",
            source,
            "AE400-10 needs larger changes than FC100-100-10 (octaves of distortion)",
            octaves("autoencoder", "fc100"),
            Greater(),
            needs=("autoencoder", "fc100"),
        ),
        Claim(
            "robust-is-bad",
            "question, price",
            "Decay has a price: FC10(1) errs more on clean images than FC10(1e-4) (test error)",
            lambda r: r.arrays["fc10_strong/test_error"] - r.arrays["fc10_weak/test_error"],
            Greater(),
            needs=("fc10_strong", "fc10_weak"),
        ),
    ]


def of_halves(rate: Callable, minus: Callable, longer: float) -> list[Claim]:
    """Return the claims about nets that learned from the same or the other half of the images."""
    source, times = f"{SZEGEDY}, tables 3 and 4", f"made {longer:g} times as long"
    return [
        Claim(
            "same-half",
            source,
            "A net of another width that learned from the same half of the "
            "images errs more on FC100-100-10's images than one of the same width that learned "
            "from the other half",
            minus(rate("same"), rate("other")),
            Greater(),
            needs=("halves",),
        ),
        Claim(
            "same-half-longer",
            source,
            f"Of the same two nets, that of the same half errs more on perturbations {times}, too",
            minus(rate("same/longer"), rate("other/longer")),
            Greater(),
            needs=("halves",),
        ),
        Claim(
            "other-half",
            source,
            f"A net that learned from the other half errs more on "
            f"perturbations {times} than on noise as large",
            minus(rate("other/longer"), rate("other/noise")),
            Greater(),
            needs=("halves",),
        ),
    ]


def of_numbers(kinds: Mapping[str, Kind], dataset: str) -> list[Claim]:
    """Return the paper's own numbers, of MNIST alone."""
    other = "" if dataset == "mnist" else "the number is MNIST's: --dataset=mnist"

    def distortion(name: str) -> Statistic:
        return lambda r: r.arrays[f"{name}/distortion"]

    return [
        Claim(
            f"paper-{name}",
            f"{SZEGEDY}, table 1",
            f"{kind.label}: the mean distortion is {kind.published:g}, within a quarter",
            distortion(name),
            Within(kind.published, 0.25, relative=True),
            "paper",
            other,
            needs=(name,),
        )
        for name, kind in kinds.items()
    ]
