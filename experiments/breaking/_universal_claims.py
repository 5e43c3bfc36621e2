"""The claims of universal_perturbation; their rules are fixed here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.breaking import _universal_panels as panels
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within
from jaxvision.report.record import Record


def claims_of(config: Any, linear: Sequence[str]) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here. Statistics are means over kinds."""
    at = config.epsilons.index(config.epsilon) if config.epsilon in config.epsilons else 0
    few = len(config.epsilons) < 2

    def mean(read: Callable[[Record, str], np.ndarray]) -> Statistic:
        return lambda record: np.mean([read(record, name) for name in config.kinds], axis=0)

    def rate(quantity: str) -> Callable[[Record, str], np.ndarray]:
        return lambda record, name: record.arrays[f"{name}/{quantity}"][:, at]

    def best(quantity: str) -> Callable[[Record, str], np.ndarray]:
        return lambda record, name: record.arrays[f"{name}/{quantity}"][:, at].max(-1)

    def lead(one: Callable, other: Callable) -> Statistic:
        return mean(lambda record, name: one(record, name) - other(record, name))

    def drawn(quantity: str) -> Callable[[Record, str], np.ndarray]:
        return lambda record, name: record.arrays[f"{name}/{quantity}"].mean(-1)

    def size(which: int) -> Callable[[Record, str], np.ndarray]:
        return lambda record, name: record.arrays[f"{name}/by_size"][:, which]

    def handed(record: Record) -> np.ndarray:
        return panels.off_diagonal(record.arrays["transfer"]).mean((1, 2))

    def own(record: Record) -> np.ndarray:
        return np.trace(record.arrays["transfer"], axis1=1, axis2=2) / len(config.kinds)

    def dominance(record: Record, name: str) -> np.ndarray:
        return record.numbers["classes"] * record.arrays[f"{name}/dominant"][:, at]

    def outside(record: Record) -> np.ndarray:
        return 1 - record.arrays[f"{linear[0]}/energy"][:, record.numbers["classes"] - 2]

    def directions(record: Record, name: str) -> np.ndarray:
        return panels.directions_for(record.arrays[f"{name}/energy"], 0.9)

    def crowding(record: Record) -> np.ndarray:
        pixels = record.arrays["image"].size
        return mean(directions)(record) / min(pixels, config.n_images)

    paper, ascent = "Moosavi-Dezfooli et al. 2017", "Shafahi et al. 2018"
    eps = f"at {config.epsilon:g}"
    return [
        Claim(
            "linear-rank",
            "algebra, after Moosavi-Dezfooli et al. 2017, figure 9",
            "Normals of "
            "softmax regression of K classes span K - 1 directions (share of energy outside)",
            outside,
            Within(0.0, 1e-4),
            "theory",
            not_run="" if linear else "--kinds with softmax",
            needs=(*linear, "spans"),
        ),
        Claim(
            "beats-random",
            f"{paper}, figure 4",
            f"Fooling of held-out images {eps}: the "
            "ascent's perturbation over the best of the random signs",
            lead(rate("ascent"), best("random")),
            Greater(),
            needs=config.kinds,
        ),
        Claim(
            "beats-patterns",
            "question, fixed patterns",
            f"Fooling {eps}: the ascent's perturbation over the best fixed pattern",
            lead(rate("ascent"), best("structured")),
            Greater(),
            needs=config.kinds,
        ),
        Claim(
            "most",
            f"{paper}, table 1",
            "On average over kinds of nets the ascent's perturbation fools more than half of "
            f"held-out images {eps}",
            mean(rate("ascent")),
            Greater(0.5),
            needs=config.kinds,
        ),
        Claim(
            "few-images",
            f"{paper}, figure 6",
            f"Made from {config.sizes[0]} images it fools "
            f"more than the best of the random signs {eps}",
            lead(size(0), best("random")),
            Greater(),
            needs=config.kinds,
        ),
        Claim(
            "more-images",
            f"{paper}, figure 6",
            f"Made from {config.sizes[-1]} images it fools more than from {config.sizes[0]}",
            lead(size(-1), size(0)),
            Greater(),
            not_run="" if len(config.sizes) > 1 else "several --sizes",
            needs=config.kinds,
        ),
        Claim(
            "transfers",
            f"{paper}, table 2",
            f"On another kind of net {eps} it fools more than the best of the random signs there",
            lambda r: handed(r) - mean(best("random"))(r),
            Greater(),
            needs=(*config.kinds, "transfer"),
        ),
        Claim(
            "own",
            f"{paper}, table 2",
            "On its own net it fools more than on other kinds",
            lambda r: own(r) - handed(r),
            Greater(),
            needs=(*config.kinds, "transfer"),
        ),
        Claim(
            "sibling",
            "question, transfer",
            "On the next seed's net of its kind it fools more than on other kinds",
            lambda r: r.arrays["sibling"].mean(1) - handed(r),
            Greater(),
            needs=(*config.kinds, "transfer"),
        ),
        Claim(
            "handed-patterns",
            "question, fixed patterns",
            f"On another kind of net it fools more than the best fixed pattern does {eps}",
            lambda r: handed(r) - mean(best("structured"))(r),
            Greater(),
            needs=(*config.kinds, "transfer"),
        ),
        Claim(
            "ascent",
            f"{ascent}, section 4",
            f"Ascent fools more than DeepFool's sum {eps}",
            lead(rate("ascent"), rate("deepfool")),
            Greater(),
            needs=config.kinds,
        ),
        Claim(
            "dominant",
            f"{paper}, section 4",
            "A dominant class takes over twice its part of what is fooled (largest share times K)",
            mean(dominance),
            Greater(2.0),
            needs=config.kinds,
        ),
        Claim(
            "few-directions",
            f"{paper}, figure 9",
            "Normals of the boundaries lie in few "
            "directions: 90 % of their energy in less than half of those there are",
            crowding,
            Less(0.5),
            needs=(*config.kinds, "spans"),
        ),
        Claim(
            "span",
            f"{paper}, section 5",
            f"Random directions in the span of {config.directions}"
            " of the normals' fool more than in all",
            lead(drawn("in_span"), drawn("anywhere")),
            Greater(),
            needs=(*config.kinds, "spans"),
        ),
        Claim(
            "grows",
            f"{paper}, section 3",
            f"It fools more at {config.epsilons[-1]:g} than at {config.epsilons[0]:g}",
            mean(lambda r, n: r.arrays[f"{n}/ascent"][:, -1] - r.arrays[f"{n}/ascent"][:, 0]),
            Greater(),
            not_run="several --epsilons" if few else "",
            needs=config.kinds,
        ),
        Claim(
            "control",
            "negative control, pixels in another order",
            "With its pixels shuffled it "
            f"fools as many as random signs do on average {eps}, within 10 points",
            lead(rate("shuffled"), lambda r, n: r.arrays[f"{n}/random"][:, at].mean(-1)),
            Equivalent(0.1),
            needs=config.kinds,
        ),
    ]
