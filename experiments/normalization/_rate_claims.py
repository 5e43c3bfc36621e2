"""The claims of optimizers_and_rates; their rules are fixed here."""

import math
from collections.abc import Callable, Mapping

from experiments.normalization._rate_statistics import (
    Reader,
    absolute,
    learned,
    mean_of,
)
from experiments.normalization._rates import sizes_of
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, minus

OCTAVE = math.log10(2)  # decades: a step of the grids
STARTS = ("xavier", "he")
KINGMA, JORDAN = "Kingma & Ba 2015, abstract", "Jordan 2024, Muon"
GOYAL, SHALLUE = "Goyal et al. 2017", "Shallue et al. 2019, section 4.1"


def _between_starts(quantity: Callable[[str], Statistic], optimizer: str) -> Statistic:
    """Return the statistic: a quantity under Xavier minus that under He."""
    return minus(quantity(f"{optimizer}_xavier"), quantity(f"{optimizer}_he"))


def _over_starts(quantity: Callable[[str], Statistic], one: str, other: str) -> Statistic:
    """Return the statistic: an optimizer's quantity minus another's, mean over the starts."""
    gaps = (minus(quantity(f"{one}_{x}"), quantity(f"{other}_{x}")) for x in STARTS)
    return mean_of(*gaps)


def _from_both(*optimizers: str) -> tuple[str, ...]:
    """Return the arms of these optimizers, from both starts."""
    return tuple(f"{name}_{start}" for name in optimizers for start in STARTS)


def of_ranges(read: Reader, optimizers: tuple[str, ...]) -> list[Claim]:
    """Return what is claimed of the usable rates of the optimizers and starts."""
    sgd_shift = _between_starts(read.smallest_rate, "sgd")
    adam_shift = _between_starts(read.smallest_rate, "adam")
    start_gap = mean_of(*(_between_starts(read.learned_error, name) for name in optimizers))
    return [
        Claim(
            "adam-wider",
            KINGMA,
            "Adam needs less tuning: its usable rates span more decades than SGD's (difference, "
            "mean over the starts)",
            _over_starts(read.decades, "adam", "sgd"),
            Greater(),
            needs=_from_both("adam", "sgd"),
        ),
        Claim(
            "start-moves-sgd",
            "question, initializers",
            "under Xavier SGD needs a larger rate than under He (decades between the smallest "
            "usable rates)",
            sgd_shift,
            Greater(),
            needs=_from_both("sgd"),
        ),
        Claim(
            "adam-steadier",
            KINGMA,
            "the start moves Adam's smallest usable rate less than SGD's (decades)",
            minus(absolute(sgd_shift), absolute(adam_shift)),
            Greater(),
            needs=_from_both("adam", "sgd"),
        ),
        Claim(
            "start-level",
            "question, initializers at their best rates",
            "at each arm's best rate the start decides little (test error, Xavier minus He, mean "
            "over optimizers)",
            start_gap,
            Equivalent(0.02),
            needs=_from_both(*optimizers),
        ),
        Claim(
            "momentum-tenfold",
            "textbook reading, effective rate",
            "momentum .9 acts as ten times the rate: its smallest usable rate is a tenth of SGD's "
            "(decades)",
            minus(read.smallest_rate("momentum_he"), read.smallest_rate("sgd_he")),
            Equivalent(0.2, -1.0),
            needs=("momentum_he", "sgd_he"),
        ),
    ]


def of_muon(read: Reader) -> list[Claim]:
    """Return what is claimed of Muon beside Adam and momentum."""
    budget = f"in {read.config.steps:,} steps"
    return [
        Claim(
            "muon-adam",
            JORDAN,
            f"Muon learns more than Adam {budget}, each at its best rate (log of the ratio of "
            "training losses)",
            _over_starts(read.log_loss, "muon", "adam"),
            Less(),
            needs=_from_both("muon", "adam"),
        ),
        Claim(
            "muon-momentum",
            JORDAN,
            f"Muon learns more than momentum {budget}, each at its best rate (log of the ratio of "
            "training losses)",
            _over_starts(read.log_loss, "muon", "momentum"),
            Less(),
            needs=_from_both("muon", "momentum"),
        ),
        Claim(
            "muon-error",
            JORDAN,
            f"Muon's test error is below Adam's {budget}, each at its best rate",
            _over_starts(read.error, "muon", "adam"),
            Less(),
            needs=_from_both("muon", "adam"),
        ),
    ]


def of_warm_up(read: Reader, warmed: Mapping[str, str]) -> list[Claim]:
    """Return what a warm-up does; ``warmed``: each arm that has one, and the arm without."""
    return [
        Claim(
            f"warm-up-{name}",
            "question, warm-up at a small batch",
            f"{read.arms[name].label}: a warm-up raises the largest usable rate (decades)",
            minus(read.largest_rate(name), read.largest_rate(without)),
            Greater(),
            needs=(name, without),
        )
        for name, without in warmed.items()
    ]


def control(read: Reader) -> Claim:
    """Return the negative control: momentum against momentum."""
    return Claim(
        "control",
        "negative control, momentum against momentum",
        "with other draws of the weights the usable rates span as many decades",
        minus(read.decades("momentum_again"), read.decades("momentum_he")),
        Equivalent(OCTAVE),
        needs=("momentum_again", "momentum_he"),
    )


def of_linear_scaling(read: Reader) -> list[Claim]:
    """Return what is claimed of a batch k times as large at k times the rate."""
    base, *others = sizes_of(read.config)
    largest = others[-1]

    def scaled_gap(size: int) -> Statistic:
        return minus(read.scaled_error(size), learned(read.scaled_error(base)))

    scaled = [
        Claim(
            f"linear-{size}",
            f"{GOYAL}, section 2.1",
            f"batch {size} at {size / base:g} times the best rate of batch {base}: the same test "
            "error after as many images",
            scaled_gap(size),
            Equivalent(0.02),
            needs=("batches",),
        )
        for size in others[:-1]
    ]
    warm = [
        Claim(
            f"warm-up-{size}",
            f"{GOYAL}, section 2.2",
            f"batch {size} at the rate scaled up: a warm-up lowers the test error",
            minus(read.scaled_error(size), read.warm_error(size)),
            Greater(),
            needs=("batches",),
        )
        for size in others[-2:]
    ]
    return [
        *scaled,
        Claim(
            f"limit-{largest}",
            f"{GOYAL}, figure 1",
            f"batch {largest} at {largest / base:g} times the best rate of batch {base}: linear "
            "scaling fails (test error above that at its own best rate, after as many images)",
            minus(read.scaled_error(largest), learned(read.own_error(largest))),
            Greater(0.05),
            needs=("batches",),
        ),
        *warm,
    ]


def of_steps_to_a_target(read: Reader) -> list[Claim]:
    """Return how the steps to a target error fall as the batch grows."""
    base, second, *_ = sizes = sizes_of(read.config)
    largest = sizes[-1]
    return [
        Claim(
            "perfect-scaling",
            SHALLUE,
            f"from batch {base} to {second} the steps to the late target fall as the batch grows "
            "(power; 1: in proportion)",
            read.efficiency(base, second, "late"),
            Equivalent(0.15, 1.0),
            needs=("batches",),
        ),
        Claim(
            "diminishing",
            SHALLUE,
            f"from batch {sizes[-2]} to {largest} the steps to the late target fall with a power "
            "below one half",
            read.efficiency(sizes[-2], largest, "late"),
            Less(0.5),
            needs=("batches",),
        ),
        Claim(
            "noise-grows",
            "McCandlish et al. 2018, abstract",
            f"the batch size that pays grows as the loss falls: from batch {base} to {second} the "
            "steps to the late target fall more than those to the early one (powers)",
            minus(read.efficiency(base, second, "late"), read.efficiency(base, second, "early")),
            Greater(),
            needs=("batches",),
        ),
    ]
