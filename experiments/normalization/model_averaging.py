"""Train many models: what an average of predictions gains, and what an average of weights does.

Sources: Lakshminarayanan et al. 2017 (arXiv 1612.01474), deep ensembles; Srivastava et al. 2014
(JMLR 15), figure 11, and Gal & Ghahramani 2016 (arXiv 1506.02142), Monte-Carlo dropout; Izmailov et
al. 2018 (arXiv 1803.05407), stochastic weight averaging; Wortsman et al. 2022 (arXiv 2203.05482),
model soups; Dietterich 2000, independent errors. Claim in one sentence: many nets together err less
and know better how sure to be, and averages of weights do as well only from one start.

Command: make exp-model-averaging (under 3 minutes on two cores; embedded 8x8 digits, no download).

What differs from the sources: small dense nets on 500 images, so that there is something to gain;
a seed is a group of nets, its members differ by start, order and nothing else. All rates fall to
zero along a line, but for those of SWA and of the moving average, which stay; these runs have
dropout, for without noise such nets end at a loss of zero, where nothing moves that could be
averaged. Rates are chosen for every way to train by the error on images held out, on other seeds.
Branches of a shared start go on from the first member's weights with a fresh schedule, each in an
order of its own. As much compute means as many times the steps, as many weights means a wider net.
No net has batch norm, so averaged weights need no statistics.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.normalization import _averaging_panels as panels
from experiments.normalization import _groups as groups
from experiments.normalization._noisy import Lab, Way
from experiments.normalization._together import Judge
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import disjoint_seeds, flagged
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater
from jaxvision.report.record import Record
from jaxvision.training import ensembles
from jaxvision.training.averaging import exponential, stochastic
from jaxvision.training.looks import Look, snapshot
from jaxvision.types import Figure

WAYS = {
    "single": Way("one net"),
    "wide": Way("one net, as many weights"),  # the width follows from the config
    "long": Way("one net, as many steps"),
    "dropout": Way("dropout", keep_input=0.8, keep=0.5, keep_last=0.5),
    "constant": Way(
        "dropout, constant rate",
        keep_input=0.8,
        keep=0.5,
        keep_last=0.5,
        constant=True,
        rate_of="dropout",
    ),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    images: int = flagged(500, "Training images.", low=30, high=10**6)
    seeds: int = flagged(16, "Groups of nets.", low=1, high=1000)
    first_seed: int = flagged(700, "First; a group has one a member.", low=0, high=10**9)
    members: int = flagged(8, "Nets of a group.", low=2, high=64)
    n_branches: int = flagged(4, "Nets of a soup, at most the members.", low=2, high=64)
    shared_steps: tuple[int, ...] = flagged(
        (0, 5, 20), "Steps before branches part.", low=0, high=10**6
    )
    depth: int = flagged(3, "Weight layers.", low=3, high=30)
    width: int = flagged(128, "Units of a hidden layer.", low=2, high=8192)
    steps: int = flagged(1000, "Steps of a member.", low=2, high=10**6)
    batch_size: int = flagged(50, "Images in a step.", low=2, high=65_536)
    learning_rates: tuple[float, ...] = flagged((0.003, 0.01, 0.03), "To choose from.", low=0)
    tuning_seeds: int = flagged(2, "Seeds for choosing rates; none is used again.", low=1, high=100)
    max_norm: float = flagged(3.0, "Largest norm of a unit's weights, where bounded.", low=0.01)
    samples: int = flagged(100, "Masks of Monte-Carlo dropout.", low=50, high=10_000)
    ema_decay: float = flagged(0.99, "Of the moving average, a step.", low=0, high=0.999999)
    n_snapshots: int = flagged(8, "Snapshots of the second half of a run.", low=2, high=100)


PRESETS = {
    "tiny": Config(
        images=60,
        seeds=2,
        first_seed=0,
        members=2,
        n_branches=2,
        shared_steps=(2,),
        width=8,
        steps=8,
        learning_rates=(0.01,),
        tuning_seeds=1,
        samples=50,
        n_snapshots=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        images=5000,
        width=1024,
        steps=20_000,
        batch_size=100,
        shared_steps=(0, 20, 200),
    ),
    "paper": Config(
        dataset="mnist",
        images=50_000,
        width=2048,
        steps=200_000,
        batch_size=100,
        members=16,
        n_branches=8,
        shared_steps=(0, 20, 200, 2000),
    ),
}


def measure(
    config: Config, progress: cli.ShowProgress, ways: Mapping[str, Way] = WAYS
) -> tuple[dict, dict]:
    """Train all nets; returns rates, and scores [S] by what predicts."""
    groups.check(config)
    runs = config.seeds * config.members
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, runs, config.tuning_seeds)
    data, rest = groups.few_images(config.images, load(config.dataset))
    ways = groups.sized(ways, config, data.train.images.shape[1:], data.num_classes)
    times = groups.snapshots_of(config.steps, config.n_snapshots)
    rules = {
        "ema": exponential(config.ema_decay),
        "swa": stochastic(times[0], times[1] - times[0]),
    }
    lab = Lab(config, data, seeds, tuning_seeds, progress, rules)
    rates, found = lab.compare({"single": ways["single"]}, look=Look(snapshot, config.shared_steps))
    firsts = dataclasses.replace(lab, seeds=seeds[:: config.members])
    alone = {name: ways[name] for name in ("wide", "long", "dropout")}
    rates, histories = firsts.compare(alone, rates)
    along = Look(groups.with_averages, times)
    rates, constant = firsts.compare({"constant": ways["constant"]}, rates, along)
    judge = Judge(firsts, rest)
    members = groups.grouped(found["single"].variables, config.members)
    arrays = judge.members(ways["single"], members, sizes_of(config))
    for name in ("wide", "long"):
        arrays |= judge.alone(name, ways[name], histories[name].variables)
    arrays |= judge.masks(ways["dropout"], histories["dropout"].variables, config.samples)
    arrays |= judge.averages(ways["constant"], constant["constant"].looks)
    arrays |= judge.soups(lab, ways["single"], rates["single"], found["single"])
    return {"rates": rates, "width": ways["wide"].width}, arrays


def sizes_of(config: Config) -> list[int]:
    """Return the sizes of the ensembles: 1, 2, 4, ..., half of the members, and all."""
    powers = {2**i for i in range(10) if 2**i < config.members}
    return sorted(powers | {config.members // 2, config.members})


def points(one: str, other: str) -> Callable[[Record], np.ndarray]:
    """Return the statistic: error of one thing less that of another, percentage points [S]."""
    return lambda r: 100 * (r.arrays[f"{one}/error"] - r.arrays[f"{other}/error"])


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""
    half = sizes_of(config).index(config.members // 2)

    def whole(quantity: str) -> Callable[[Record], np.ndarray]:
        return lambda r: r.arrays[f"ensemble/{quantity}"][:, -1]

    def gained(name: str) -> Callable[[Record], np.ndarray]:
        return lambda r: 100 * (r.arrays[f"{name}/error"] - whole("error")(r))

    def of_half(r: Record) -> np.ndarray:
        return r.arrays["ensemble/error"][:, half]

    def halves(r: Record) -> np.ndarray:
        return 100 * (of_half(r) - r.arrays["other_half/error"])

    def more_members(r: Record) -> np.ndarray:
        return 100 * (of_half(r) - whole("error")(r))

    def calibration(r: Record) -> np.ndarray:
        return r.arrays["single/calibration"] - whole("calibration")(r)

    def loss(quantity: str) -> Callable[[Record], np.ndarray]:
        together = "ensemble/calibrated_loss"
        if quantity == "loss":
            return lambda r: r.arrays["wide/loss"] - whole("loss")(r)
        return lambda r: r.arrays["wide/calibrated_loss"] - r.arrays[together]

    def dependence(r: Record) -> np.ndarray:
        single = r.arrays["single/error"]
        expected = [ensembles.independent_error(rate, config.members) for rate in single]
        return 100 * (whole("error")(r) - expected)

    def masks(count: int, fewer: int = 0) -> Callable[[Record], np.ndarray]:
        def difference(r: Record) -> np.ndarray:
            error = r.arrays["masks/error"]
            other = error[:, fewer - 1] if fewer else r.arrays["scaled/error"]
            return 100 * (error[:, count - 1] - other)

        return difference

    def masks_loss(r: Record) -> np.ndarray:
        return r.arrays["scaled/loss"] - r.arrays["masks/loss"][:, -1]

    many, deep = f"{config.members} nets", "Lakshminarayanan et al. 2017"
    masked, swa = "Srivastava et al. 2014, figure 11", "Izmailov et al. 2018"
    found = [
        Claim("errs-less", f"{deep}, section 3", f"{many} together err less than one (points)",
              gained("single"), Greater()),
        Claim("calibrated", f"{deep}, section 3", f"{many} together are better calibrated than "
              "one (expected calibration error)", calibration, Greater()),
        Claim("few-members", "question, how many", f"of {many} the second half changes the error "
              "by less than a quarter of a point", more_members, Equivalent(0.25)),
        Claim("as-many-weights", "question, equal weights", f"{many} together err less than one "
              "net of as many weights (points)", gained("wide"), Greater()),
        Claim("as-many-weights-loss", "question, equal weights and log loss", f"{many} together "
              "have less log loss than one net of as many weights (nats)", loss("loss"),
              Greater()),
        Claim("temperature", "question, equal temperatures", "so they have with a temperature for "
              "each, chosen on other images (nats)", loss("calibrated"), Greater()),
        Claim("as-much-compute", "question, equal compute", f"{many} together err less than one "
              "trained for as many steps (points)", gained("long"), Greater()),
        Claim("dependent", "Dietterich 2000, section 1", f"{many} together err more than as many "
              "that err independently (points)", dependence, Greater()),
        Claim("fifty-masks", masked, "the mean over 50 masks errs as often as scaled weights "
              "(points)", masks(50), Equivalent(0.4)),
        Claim("one-mask", masked, "one mask errs more than scaled weights (points)", masks(1),
              Greater()),
        Claim("five-masks", masked, "five masks err more than 50 (points)",
              masks(5, 50), Greater()),
        Claim("masks-loss", "Gal & Ghahramani 2016, abstract", f"the mean over {config.samples} "
              "masks has less log loss than scaled weights (nats)", masks_loss, Greater()),
        Claim("swa", swa, "at a constant rate averaged weights err less than the last ones "
              "(points)", points("last", "swa"), Greater()),
        Claim("swa-decay", swa, "they err less than a run whose rate falls to zero (points)",
              points("scaled", "swa"), Greater()),
        Claim("swa-ensemble", f"{swa}, section 3.5", "they err as often as the ensemble of the "
              "same snapshots (points)", points("swa", "snapshots"), Equivalent(0.25)),
        Claim("ema", "question, moving averages", "a debiased moving average errs less than the "
              "last weights (points)", points("last", "ema"), Greater()),
        Claim("control", "negative control, half against half", f"two ensembles of "
              f"{config.members // 2} err as often (points)", halves, Equivalent(0.75)),
    ]  # fmt: skip
    return found + _soup_claims(config)


def _soup_claims(config: Config) -> list[Claim]:
    """Return what is claimed of averages over nets; branches are those that part first."""
    soups, apart = "Wortsman et al. 2022, section 2", "Frankle et al. 2020, section 3"
    early, late = min(config.shared_steps), max(config.shared_steps)
    one, other = f"shared/{early}", f"shared/{late}"

    def disagreement(r: Record) -> np.ndarray:
        return 100 * (r.arrays["own/disagreement"] - r.arrays[f"{one}/disagreement"])

    def parting(r: Record) -> np.ndarray:
        early_gain = points(f"{one}/parts", f"{one}/soup")(r)
        return early_gain - points(f"{other}/parts", f"{other}/soup")(r)

    found = [
        Claim(
            "soup-apart",
            apart,
            "weights averaged over nets of different starts err more "
            "than those nets, by ten points at least",
            points("own/soup", "own/parts"),
            Greater(10.0),
        ),
        Claim(
            "soup",
            soups,
            f"weights averaged over branches that share {early} steps err less "
            "than the branches (points)",
            points(f"{one}/parts", f"{one}/soup"),
            Greater(),
        ),
        Claim(
            "soup-ensemble",
            soups,
            "they err as often as the branches' ensemble (points)",
            points(f"{one}/soup", f"{one}/ensemble"),
            Equivalent(0.4),
        ),
        Claim(
            "diverse",
            "Fort et al. 2019, figure 2",
            "nets of different starts disagree more than those branches (points)",
            disagreement,
            Greater(),
        ),
    ]
    if early < late:
        found.append(
            Claim(
                "late",
                "question, when to part",
                f"they gain more than branches that share {late} steps (points)",
                parting,
                Greater(),
            ),
        )
    return found


def plot(record: Record, config: Config) -> Figure:
    """Draw ensembles by size and their rivals, losses, masks, averages along a run, soups."""
    figure, axes = plots.new_figure(3, 2, 12.0)
    panels.draw_ensembles(axes[0, 0], record, sizes_of(config))
    panels.draw_rivals(axes[0, 1], record, config.members)
    panels.draw_losses(axes[1, 0], record, config.members)
    panels.draw_masks(axes[1, 1], record)
    panels.draw_averages(axes[2, 0], record)
    panels.draw_soups(axes[2, 1], record, config)
    title = plots.headline(
        record,
        {
            ("errs-less", "soup-apart"): "Averages of predictions help; of weights, only from one "
            "start",
            "errs-less": "Many nets together err less than one",
        },
        otherwise="Averages of predictions and averages of weights",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"{config.images} images of them, ReLU MLP of {config.depth} layers, "
        f"{config.width} units",
        optimizer="SGD with momentum .95, rates chosen on other seeds",
        paper="Lakshminarayanan et al. 2017; Srivastava et al. 2014; Izmailov et al. 2018; "
        "Wortsman et al. 2022",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
