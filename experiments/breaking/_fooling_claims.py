"""The claims of fooling_images; their rules are fixed here."""

from typing import Any

import numpy as np

from experiments.breaking import _fooling as fooling
from experiments.breaking import _fooling_panels as panels
from jaxvision.report.claims import Claim, Equivalent, Greater, Share, Statistic
from jaxvision.report.record import Record
from jaxvision.report.stats import where_known

RANDOM = ("noise", "binary", "painted")
NGUYEN = "Nguyen et al. 2015"


def claims_of(config: Any) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""

    def all_reach(name: str, odds: float) -> Statistic:
        def reached(record: Record) -> np.ndarray:
            found = record.arrays[f"{name}/log_odds"]
            return where_known((found >= odds).all(1), found)

        return reached

    def random_falls_short(record: Record) -> np.ndarray:
        best = np.max([record.arrays[f"{name}/log_odds"] for name in RANDOM], axis=0)
        return where_known((best < fooling.NINES).any(1), best)

    def lead(name: str, others: tuple[str, ...]) -> Statistic:
        def ahead(record: Record) -> np.ndarray:
            best = np.max([record.arrays[f"{other}/log_odds"] for other in others], axis=0)
            return (record.arrays[f"{name}/log_odds"] - best).mean(1)

        return ahead

    def color_lead(record: Record) -> np.ndarray:
        medians = [
            np.median(panels.probability(record.arrays[f"color/{name}/log_odds"]), axis=1)
            for name in ("cppn", "direct")
        ]
        return medians[0] - medians[1]

    def second(name: str) -> Statistic:
        return lambda record: (
            record.arrays[f"{name}/second"] - 1 / len(record.numbers["class_names"])
        )

    def far(record: Record) -> np.ndarray:
        distance = np.median(record.arrays["cppn/distance"], axis=1)
        return distance / record.numbers["test_distance"]

    def gain(record: Record) -> np.ndarray:
        effort = panels.efforts(record)
        return effort[:, -1] - effort[:, 0]

    def still(record: Record) -> np.ndarray:
        last = record.arrays["rounds/generations"][:, -1]
        effort = panels.efforts(record)[:, -1]
        return where_known((last <= config.generations).all((1, 2)), effort)

    def rubbish(name: str) -> Statistic:
        return lambda record: record.arrays[f"{name}/rubbish"]

    mnist = f"{NGUYEN}, MNIST"
    appendix = "Goodfellow et al. 2015, appendix A"
    no_color = "" if config.color_generations else "needs --color_generations"
    question = "question"
    by = f"within {config.generations} generations"
    return [
        Claim(
            "nines-direct",
            mnist,
            f"Evolved pixels: all classes reach 99.99 % {by}",
            all_reach("direct", fooling.NINES),
            Share(),
            needs=("direct",),
        ),
        Claim(
            "nines-cppn",
            mnist,
            f"Evolved CPPNs: all classes reach 99.99 % {by}",
            all_reach("cppn", fooling.NINES),
            Share(),
            needs=("cppn",),
        ),
        Claim(
            "random-short",
            f"{question}, random search",
            "Random search with the same budget, "
            "the best of three kinds of draws, stays below 99.99 % in some class",
            random_falls_short,
            Share(),
            needs=RANDOM,
        ),
        Claim(
            "evolution-direct",
            f"{question}, random search",
            "Evolved pixels are surer than the "
            "best that random search finds with the same budget (log odds, mean over classes)",
            lead("direct", RANDOM),
            Greater(),
            needs=("direct", *RANDOM),
        ),
        Claim(
            "evolution-cppn",
            f"{question}, random search",
            "Evolved CPPNs are surer than CPPNs "
            "drawn at random with the same budget (log odds, mean over classes)",
            lead("cppn", ("painted",)),
            Greater(),
            needs=("painted", "cppn"),
        ),
        Claim(
            "ascent",
            f"{NGUYEN}, gradient ascent",
            f"Gradient ascent: all classes reach 99 % within {config.ascent_steps} steps",
            all_reach("ascent", fooling.SURE),
            Share(),
            needs=("ascent",),
        ),
        Claim(
            "color-cppn",
            f"{NGUYEN}, ImageNet",
            f"{config.color_dataset}, conv nets: CPPNs "
            "reach a higher confidence than pixels in as many generations (median over classes)",
            color_lead,
            Greater(),
            not_run=no_color,
            needs=("color",),
        ),
        Claim(
            "second-direct",
            f"{NGUYEN}, generalization",
            "Evolved pixels: a second net sees the class oftener than by chance",
            second("direct"),
            Greater(),
            needs=("direct",),
        ),
        Claim(
            "second-cppn",
            f"{NGUYEN}, generalization",
            "Evolved CPPNs: a second net sees the class oftener than by chance",
            second("cppn"),
            Greater(),
            needs=("cppn",),
        ),
        Claim(
            "far",
            f"{NGUYEN}, unrecognizable",
            "Evolved CPPNs lie farther from their nearest "
            "training image than test images do (ratio of medians)",
            far,
            Greater(1.0),
            needs=("cppn",),
        ),
        Claim(
            "rubbish",
            appendix,
            "Dense nets give most images of N(0, I) a class above .5",
            rubbish("dense"),
            Greater(0.5),
            needs=("rubbish",),
        ),
        Claim(
            "rubbish-linear",
            appendix,
            "Dense nets give more images of N(0, I) a class above .5 than softmax regression does",
            lambda record: rubbish("dense")(record) - rubbish("linear")(record),
            Greater(),
            needs=("rubbish",),
        ),
        Claim(
            "still",
            f"{NGUYEN}, retraining",
            f"After {config.rounds} trainings with fooling "
            f"images as a class all classes still reach 99 % {by}",
            still,
            Share(),
            needs=("retraining",),
        ),
        Claim(
            "harder",
            f"{question}, retraining",
            f"After {config.rounds} such trainings "
            "evolution needs more generations to 99 % (log2, mean over classes)",
            gain,
            Greater(),
            needs=("retraining",),
        ),
        Claim(
            "control",
            "negative control, other draws",
            "Two evolutions against one net need as "
            "many generations to 99 % (log2, mean over classes)",
            panels.redrawn,
            Equivalent(0.5),
            needs=("retraining",),
        ),
    ]
