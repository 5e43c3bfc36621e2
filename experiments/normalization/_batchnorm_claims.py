"""The claims of batchnorm; their rules are fixed here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.normalization import _factorial as factorial
from experiments.normalization import _shift as shifting
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within
from jaxvision.report.record import Record


def claims_of(config: Any, scales: Sequence[float]) -> list[Claim]:
    """Return the sources' claims; ``scales``: of the starting weights, beside 1."""

    def settled(name: str) -> Statistic:
        return lambda record: factorial.settled(record.arrays[f"{name}/error"])

    def worse(one: str, other: str) -> Statistic:
        return lambda record: settled(one)(record) - settled(other)(record)

    def of_chance(name: str) -> Statistic:
        return lambda record: settled(name)(record) / record.numbers["chance_error"]

    def sooner(name: str, base: str, than: float = 0.0) -> Statistic:
        """Return log2 of the base's steps to its own accuracy over another net's.

        Runs that never get there have at most this much: they can speak against more than ``than``,
        not for it.
        """

        def octaves(record: Record) -> np.ndarray:
            reached = factorial.steps_of(record, name, base)
            speed = np.log2(factorial.steps_of(record, base, base).steps / reached.steps)
            return _at_most(speed, reached.never, than)

        return octaves

    more = shifting.octaves

    def worst(gap: str) -> Statistic:
        return lambda record: record.arrays[f"gap/{gap}"].max(1)

    def fragile(record: Record) -> np.ndarray:
        """Return what other scales cost the plain net more than the normalized one, mean error."""
        cost = {}
        for net in ("plain", "bn"):
            scaled = [worse(f"{net}/scale{i}", net)(record) for i in range(len(scales))]
            cost[net] = np.mean(scaled, axis=0)
        return cost["plain"] - cost["bn"]

    def beyond(factor: str, part: float) -> Statistic:
        """Return a factor's share of the speed-up less a part of the whole, octaves."""

        def octaves(record: Record) -> np.ndarray:
            found = factorial.speed_up(record, times)
            return found.shares[factor] - part * found.worth[frozenset(factorial.FACTORS)]

        return octaves

    def inside(record: Record) -> np.ndarray:
        """Return how far batch norm alone is inside 0 to half of the whole, at the nearer end."""
        found = factorial.speed_up(record, times)
        only, whole = frozenset({"batch norm"}), frozenset(factorial.FACTORS)
        above, below = found.worth[only], found.worth[whole] / 2 - found.worth[only]
        never = found.bound[only]
        # Where batch norm alone never gets there, what it is worth at most is below 0 already.
        nearer = np.where(never, above, np.minimum(above, below))
        return _at_most(nearer, never | found.bound[whole], 0.0)

    def later(name: str, other: str) -> Statistic:
        """Return log2 of the steps of one cell to the base's accuracy over those of another."""

        def octaves(record: Record) -> np.ndarray:
            one, of_other = (factorial.steps_of(record, net, base) for net in (name, other))
            lead = np.log2(of_other.steps / one.steps)
            lead = np.where(of_other.never, np.nan, lead)
            return -_at_most(lead, one.never, 0.0)

        return octaves

    times = min(config.times)
    base, every = f"cells/{factorial.BASE.name}", factorial.Cell(True, times, True).name
    alone, fast = factorial.Cell(True, 1, False).name, factorial.Cell(False, times, False).name
    first, table = "Ioffe & Szegedy 2015, figure 1", "Ioffe & Szegedy 2015, table 3"
    of_scale, second = "Ioffe & Szegedy 2015, section 3.3", "Santurkar et al. 2018, section 2"
    found = [
        Claim(
            "higher",
            first,
            "with batch norm the net ends at a lower test error, both at their own rates",
            worse("plain", "bn"),
            Greater(),
            needs=("plain", "bn"),
        ),
        Claim(
            "sooner",
            first,
            "with batch norm it reaches the plain net's accuracy in less than "
            "half the steps (octaves; at most so many where it never gets there)",
            sooner("bn", "plain", 1.0),
            Greater(1.0),
            needs=("plain", "bn"),
        ),
        Claim(
            "steady",
            first,
            "at their own rates, moments of what enters the last "
            "hidden layer's sigmoids move less than half as far with batch norm (octaves)",
            more("shift", "plain", "bn"),
            Greater(1.0),
            needs=("plain", "bn"),
        ),
        Claim(
            "steady-shared",
            first,
            "at the plain net's rate, moments of what enters the last "
            "hidden layer's sigmoids move less than half as far with batch norm (octaves)",
            more("shift", "plain", "bn_shared"),
            Greater(1.0),
            needs=("plain", "bn_shared"),
        ),
        Claim(
            "scale-outputs",
            of_scale,
            "weights 10 times larger or smaller give the same logits "
            "under batch norm (relative distance)",
            worst("outputs"),
            Within(0, 1e-4),
            "theory",
            needs=("invariance",),
        ),
        Claim(
            "scale-gradients",
            of_scale,
            "weights a times larger have a gradient a times smaller (relative distance)",
            worst("gradients"),
            Within(0, 1e-3),
            "theory",
            needs=("invariance",),
        ),
        Claim(
            "scale-paths",
            of_scale,
            "weights a times larger at a^2 times the rate take the same "
            "path for 10 steps (relative distance)",
            worst("paths"),
            Within(0, 1e-3),
            "theory",
            needs=("invariance",),
        ),
        Claim(
            "resilient",
            of_scale,
            "weights 10 times larger or smaller cost the plain net over 2 "
            "points of error more than the normalized one",
            fragile,
            Greater(0.02),
            needs=("plain", "bn", "scales"),
        ),
        Claim(
            "alone",
            table,
            "batch norm alone reaches the base's accuracy in fewer steps (octaves; at most so many "
            "where it never gets there)",
            sooner(f"cells/{alone}", base),
            Greater(),
            needs=("cells",),
        ),
        Claim(
            "rate-alone",
            table,
            f"{times} times the rate alone ends at a higher error than the base",
            worse(f"cells/{fast}", base),
            Greater(),
            needs=("cells",),
        ),
        Claim(
            "all",
            table,
            f"batch norm, {times} times the rate and the rest together reach the "
            "base's accuracy in less than half the steps (octaves; at most so many where they "
            "never get there)",
            sooner(f"cells/{every}", base, 1.0),
            Greater(1.0),
            needs=("cells",),
        ),
        Claim(
            "first-share",
            table,
            "batch norm alone has between none and half of the log speed-up of all (31 % in the "
            "table; octaves inside, at the nearer end)",
            inside,
            Greater(),
            needs=("cells",),
        ),
        Claim(
            "share",
            "question, shares over all orders",
            "batch norm has more than half of the log speed-up (Shapley value less half of the "
            "whole, octaves)",
            beyond("batch norm", 0.5),
            Greater(),
            needs=("cells",),
        ),
        Claim(
            "share-rest",
            "question, shares over all orders",
            "the rest has less than a quarter of the log speed-up (Shapley value less a quarter of "
            "the whole, octaves)",
            beyond("rest", 0.25),
            Less(),
            needs=("cells",),
        ),
        Claim(
            "noise-moves",
            second,
            "noise after batch norm moves what enters those sigmoids further "
            "than the plain net's moves (octaves)",
            more("shift", "noisy", "plain"),
            Greater(),
            needs=("noisy", "plain"),
        ),
        Claim(
            "noise-learns",
            second,
            "the noisy net still reaches the plain net's accuracy in fewer steps (octaves; at most "
            "so many where it never gets there)",
            sooner("noisy", "plain"),
            Greater(),
            needs=("noisy", "plain"),
        ),
        Claim(
            "noise-costless",
            second,
            "noise costs the normalized net less than a point of test error",
            worse("noisy", "bn"),
            Equivalent(0.01),
            needs=("noisy", "bn"),
        ),
        Claim(
            "gradients-shift",
            second,
            "at the plain net's rate, updates of the layers below "
            "change a layer's gradient no less with batch norm (octaves above 0)",
            more("below", "bn_shared", "plain"),
            Greater(),
            needs=("bn_shared", "plain"),
        ),
        Claim(
            "predictive",
            second,
            "at the plain net's rate, the gradient changes less along the "
            "step with batch norm (octaves)",
            more("change", "bn_shared", "plain"),
            Less(),
            needs=("bn_shared", "plain"),
        ),
        Claim(
            "predictive-own",
            second,
            "at their own rates, the gradient changes less along the "
            "step with batch norm (octaves)",
            more("change", "bn", "plain"),
            Less(),
            needs=("plain", "bn"),
        ),
        Claim(
            "control",
            "negative control",
            "batch norm from other draws ends within half a point of test error",
            worse("bn_again", "bn"),
            Equivalent(0.005),
            needs=("bn", "bn_again"),
        ),
    ]
    if len(config.times) > 1:
        found += _of_the_highest_rate(config, later, worse)
    if config.deep:
        sigmoid = "Ioffe & Szegedy 2015, section 4.2.2"
        found += [
            Claim(
                "deep-plain",
                sigmoid,
                f"{config.deep} layers of sigmoids without batch norm "
                "stay at nine tenths of chance or worse",
                of_chance("plain/deep"),
                Greater(0.9),
                needs=("deep",),
            ),
            Claim(
                "deep-bn",
                sigmoid,
                f"with batch norm {config.deep} layers of sigmoids end below half of chance",
                of_chance("bn/deep"),
                Less(0.5),
                needs=("deep",),
            ),
        ]
    return found


def _of_the_highest_rate(config: Any, later: Callable, worse: Callable) -> list[Claim]:
    """Return what table 3 says of its highest rate beside the lowest of the others."""
    table = "Ioffe & Szegedy 2015, table 3"
    times, most = min(config.times), max(config.times)
    cells = [f"cells/{factorial.Cell(True, by, True).name}" for by in (times, most)]
    return [
        Claim(
            f"x{most}-later",
            table,
            f"with batch norm and the rest, {most} times the rate reaches the base's accuracy "
            f"later than {times} times (octaves; at least so many where it never gets there)",
            later(cells[1], cells[0]),
            Greater(),
            needs=("cells",),
        ),
        Claim(
            f"x{most}-higher",
            table,
            f"and {most} times the rate ends at a lower test error than {times} times",
            worse(cells[0], cells[1]),
            Greater(),
            needs=("cells",),
        ),
    ]


def _at_most(values: np.ndarray, bound: np.ndarray, than: float) -> np.ndarray:
    """Return numbers [S], NaN for bounds from above where their mean does not show it is below."""
    if values.mean() <= than:
        return values
    return np.where(bound, np.nan, values)
