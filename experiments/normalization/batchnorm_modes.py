"""The two modes of batch norm: whose statistics a net answers with, and what goes wrong there.

Sources: Ioffe & Szegedy 2015, "Batch Normalization" (arXiv 1502.03167), algorithm 2, and bugs that
people meet. Claim in one sentence: a trained net answers with the statistics of the population,
and whatever stands in for them (running averages too young, the batch at hand, a batch of two,
batches of one class) changes the answers of the very same weights.

Command: make exp-batchnorm-modes (under 3 minutes on two cores; embedded 8x8 digits, no download).

Nets of three hidden layers learn by plain SGD, each at a rate chosen on other seeds. Every curve
has the right one beside it: the same weights with population statistics over 16 training batches.
"EMA .99" is the default of Flax: after k steps .99^k of its start is left, which for a hundred
steps can pass for a net that learns slowly. A batch of one has no statistics: train mode refuses
it. Small batches see as many images as large ones, in more steps. Batches of one class hold 64
images of the class, grouped at random, anew until there are 800 of them.
"""

import dataclasses
import sys
from collections.abc import Mapping

import jax
import numpy as np

from experiments.normalization import _modes_panels as panels
from experiments.normalization._answers import Way
from experiments.normalization._modes import Lab, Net
from jaxvision import cli
from jaxvision.data import load
from jaxvision.data.augment import standardizer
from jaxvision.fields import disjoint_seeds, flagged
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim, Equivalent, Greater, Statistic, Within
from jaxvision.report.record import Record
from jaxvision.training.fit import History
from jaxvision.types import Figure, UserError

NETS = {
    "relu": Net("batches of 64"),
    "sigmoid": Net("sigmoid", jax.nn.sigmoid),
    "still": Net("weights held still", still=True),
    "size_2": Net("batches of 2", batch_size=2),
    "size_4": Net("batches of 4", batch_size=4),
    "size_8": Net("batches of 8", batch_size=8),
    "size_16": Net("batches of 16", batch_size=16),
    "whole": Net("batches of 256", batch_size=256),
    "parts": Net("256, statistics per 64", batch_size=256, parts=4),
    "one_class": Net("batches of one class", one_class=True),
}
WAYS = {
    "population": Way("population", "population"),
    "again": Way("population, other batches", "population", again=True),
    "biased": Way("population, biased", "population", biased=True),
    "ema_9": Way("EMA .9", "ema"),
    "ema_99": Way("EMA .99", "ema", momentum=0.99),
    "debiased": Way("EMA .99, debiased", "ema_debiased", momentum=0.99),
}
BY_SIZE = ("size_2", "size_4", "size_8", "size_16", "relu")
SHOWN = (  # claims, by panel
    ("young", "debiased", "quick", "grown"),
    ("young-sigmoid", "debiased-sigmoid"),
    ("size-2", "size-4", "mismatch-4"),
    ("pairs", "hidden", "sorted"),
    ("leak", "leak-chance"),
    ("biased-64", "biased-4", "parts", "control"),
)
KINDS = ("mixed", "one_class")  # companies in which train mode answers
BINS = 50  # of the training error that is kept


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(12, "Runs of every net.", low=1, high=1000)
    first_seed: int = flagged(700, "First seed.", low=0, high=10**9)
    nets: tuple[str, ...] = flagged(tuple(NETS), "Nets to train.", choices=tuple(NETS))
    width: int = flagged(64, "Units of every hidden layer.", low=2, high=8192)
    steps: int = flagged(400, "Steps on batches of 64; a multiple of 4.", low=4, high=10**6)
    looked_at: tuple[int, ...] = flagged(
        (6, 12, 25, 50, 100, 200), "Steps at which nets answer, beside the end.", low=1, high=10**6
    )
    companies: tuple[int, ...] = flagged(
        (2, 4, 8, 16, 32), "Test images that train mode answers together.", low=2, high=65_536
    )
    learning_rates: tuple[float, ...] = flagged(
        (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), "Rates of every net's grid.", low=0
    )
    tuning_seeds: int = flagged(2, "Seeds for choosing rates; none is used again.", low=1, high=100)

    @property
    def early(self) -> int:
        """The step at which young running averages are judged."""
        return self.looked_at[len(self.looked_at) // 2]


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        nets=("relu", "one_class"),
        width=8,
        steps=8,
        looked_at=(2, 4),
        companies=(2,),
        learning_rates=(0.1,),
        tuning_seeds=1,
    ),
    "cpu": Config(),
    "gpu": Config(dataset="mnist", seeds=20, width=256, steps=2000),
    "paper": Config(dataset="mnist", seeds=5, width=100, steps=50_000),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    nets: Mapping[str, Net] = NETS,
    ways: Mapping[str, Way] = WAYS,
) -> tuple[dict, dict]:
    """Train the nets; returns numbers and arrays named 'net/quantity', errors [S, looks]."""
    if config.steps % 4:
        raise UserError(f"--steps={config.steps} must be a multiple of 4")
    late = [at for at in config.looked_at if at >= config.steps]
    if late or list(config.looked_at) != sorted(config.looked_at):
        raise UserError(f"--looked_at must rise and end before --steps={config.steps}")
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    data = load(config.dataset)
    lab = Lab(config, data, ways, standardizer(data.train), seeds, tuning_seeds)
    asked = [name for name in config.nets if name in nets]
    prepared = {name: lab.prepare(nets[name]) for name in asked}
    numbers = {"chance_error": data.test.chance_error, "rates": {}}
    arrays = {}
    with progress(sum(lab.work(nets[name]) for name in asked), "nets") as bar:
        for name in asked:
            rate, history = lab.train(nets[name], *prepared[name], bar.advance)
            numbers["rates"][name] = rate
            arrays[f"{name}/steps"] = np.array(nets[name].looked_at(config))
            arrays |= {f"{name}/{key}": array for key, array in _kept(history).items()}
    return numbers, arrays


def _kept(history: History) -> dict[str, np.ndarray]:
    """Return what a record keeps of a net."""
    seen = dict(history.looks)
    companies = seen.pop("company")
    kept = {name: np.float32(values) for name, values in seen.items()}
    for kind in KINDS:  # at the end, [S, sizes]
        ends = [errors[:, -1] for errors in companies[kind].values()]
        kept[f"company_{kind}"] = np.stack(ends, axis=1)
    bins = np.array_split(history.train["error"], BINS, axis=1)
    kept["train_error"] = np.stack([part.mean(1) for part in bins if part.size], axis=1)
    return kept


def claims(config: Config) -> list[Claim]:
    """Return what is claimed of the nets that the run has; the rules are fixed here."""
    early, smallest, largest = config.early, min(config.companies), max(config.companies)
    four = min(config.companies, key=lambda size: abs(size - 4))
    look = config.looked_at.index(early)

    def error(net: str, way: str, at: int = -1) -> Statistic:
        return lambda record: record.arrays[f"{net}/{way}"][:, at]

    def cost(net: str, way: str, at: int = -1) -> Statistic:
        """Return a way's error minus that of population statistics."""
        return lambda record: error(net, way, at)(record) - error(net, "population", at)(record)

    def more(net: str, other: str) -> Statistic:
        """Return a net's error minus another's, with population statistics."""
        return lambda r: error(net, "population")(r) - error(other, "population")(r)

    def company(net: str, kind: str, size: int) -> Statistic:
        """Return the error of train mode minus that of population statistics."""
        column = list(config.companies).index(size)

        def difference(record: Record) -> np.ndarray:
            together = record.arrays[f"{net}/company_{kind}"][:, column]
            return together - error(net, "population")(record)

        return difference

    def sorted_company(record: Record) -> np.ndarray:
        mixed, one_class = (company("relu", kind, largest)(record) for kind in KINDS)
        return one_class - mixed

    def of_chance(record: Record) -> np.ndarray:
        return error("one_class", "population")(record) / record.numbers["chance_error"]

    def leak(record: Record) -> np.ndarray:
        return -company("one_class", "one_class", largest)(record)

    paper, flax = "Ioffe & Szegedy 2015, algorithm 2", "question, momentum .99"
    small, left_on = "question, small batches", "question, train mode left on"
    found = [
        (("still",), Claim("start-left", "closed form", f"weights held still: after {early} steps "
         f"the running means of momentum .99 still hold {0.99**early:.3f} of their start",
         error("still", "start_left", look), Within(0.99**early, 0.01), "theory")),
        (("relu",), Claim("young", flax, f"ReLU: after {early} steps EMA .99 shows an error over 2 "
         "points above that of the same weights", cost("relu", "ema_99", look), Greater(0.02))),
        (("sigmoid",), Claim("young-sigmoid", flax, f"sigmoid: after {early} steps EMA .99 shows "
         "an error over 2 points above that of the same weights",
         cost("sigmoid", "ema_99", look), Greater(0.02))),
        (("relu",), Claim("debiased", flax, f"ReLU: after {early} steps the debiased average is "
         "within a point of population statistics",
         cost("relu", "debiased", look), Equivalent(0.01))),
        (("sigmoid",), Claim("debiased-sigmoid", flax, f"sigmoid: after {early} steps the debiased "
         "average is within a point of population statistics",
         cost("sigmoid", "debiased", look), Equivalent(0.01))),
        (("relu",), Claim("quick", flax, f"ReLU: after {early} steps EMA .9 is within a point of "
         "population statistics", cost("relu", "ema_9", look), Equivalent(0.01))),
        (("relu",), Claim("grown", flax, f"ReLU: after {config.steps} steps EMA .99 is within a "
         "point of population statistics", cost("relu", "ema_99"), Equivalent(0.01))),
        (("relu",), Claim("biased-64", paper, "batches of 64: the biased variance is within half a "
         "point of the unbiased", cost("relu", "biased"), Equivalent(0.005))),
        (("size_4",), Claim("biased-4", paper, "batches of 4: the biased variance errs more than "
         "the unbiased", cost("size_4", "biased"), Greater())),
        (("size_2", "relu"), Claim("size-2", small, "batches of 2 cost over 10 points of test "
         "error, for as many images", more("size_2", "relu"), Greater(0.1))),
        (("size_4", "relu"), Claim("size-4", small, "batches of 4 cost test error, for as many "
         "images", more("size_4", "relu"), Greater())),
        (("size_4",), Claim("mismatch-4", small, "trained in batches of 4, a net errs over 5 "
         f"points more in train mode on batches of {four} than with population statistics",
         company("size_4", "mixed", four), Greater(0.05))),
        (("relu",), Claim("pairs", left_on, f"trained in batches of 64 and answering {smallest} at "
         "once in train mode, a net errs over 20 points more",
         company("relu", "mixed", smallest), Greater(0.2))),
        (("relu",), Claim("hidden", left_on, f"answering {largest} at once in train mode costs "
         "under 2 points", company("relu", "mixed", largest), Equivalent(0.02))),
        (("relu",), Claim("sorted", left_on, f"train mode on {largest} test images of one class "
         "errs over 50 points more than on mixed ones", sorted_company, Greater(0.5))),
        (("one_class",), Claim("leak-chance", "question, one class a batch", "trained on batches "
         "of one class, a net errs on single images at nine tenths of chance or worse",
         of_chance, Greater(0.9))),
        (("one_class",), Claim("leak", "question, one class a batch", "the same net reads the "
         f"label off {largest} test images of one class: over 20 points better in train mode",
         leak, Greater(0.2))),
        (("whole", "parts"), Claim("parts", "question, statistics per device", "batches of 256 "
         "with statistics per 64 images end within a point of those of the whole batch",
         more("parts", "whole"), Equivalent(0.01))),
        (("relu",), Claim("control", "negative control", "population statistics of other training "
         "batches are within half a point", cost("relu", "again"), Equivalent(0.005))),
    ]  # fmt: skip
    runs = set(config.nets)
    return [
        dataclasses.replace(claim, needs=needed)
        for needed, claim in found
        if runs.issuperset(needed)
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw the error of the same weights by whose statistics they answer with."""
    figure, axes = plots.new_figure(3, 2, height=11.0)
    ways = {name: WAYS[name].label for name in ("ema_99", "debiased", "population")}
    for ax, net in zip(axes[0], ("relu", "sigmoid"), strict=True):
        if net in config.nets:
            panels.draw_ways(ax, record, net, ways)
    plots.describe(axes[0, 0], "ReLU: one net, whose statistics?", "step", "test error, %")
    plots.describe(axes[0, 1], "Sigmoid: the same", "step", "test error, %")
    sizes = {NETS[name].batch_size: name for name in config.nets if name in BY_SIZE}
    panels.draw_sizes(axes[1, 0], record, sizes, config.companies)
    panels.draw_companies(axes[1, 1], record, "relu", config.companies)
    batches = {"relu": "mixed", "one_class": "one class"}
    panels.draw_leak(
        axes[2, 0], record, {name: batches[name] for name in batches if name in config.nets}
    )
    panels.draw_beside(axes[2, 1], record, beside(config))
    for ax, ids in zip(axes.flat, SHOWN, strict=True):
        known = {claim.id for claim in claims(config)}
        plots.mark_contradicted(ax, record, *(name for name in ids if name in known))
    titles = {}
    if "relu" in config.nets:
        titles["young", "pairs"] = "The same weights, other statistics, other answers"
    title = plots.headline(record, titles, "Batch norm: whose statistics a net answers with")
    return plots.finish(
        figure,
        record,
        title,
        net=f"Three hidden layers of {config.width} units with batch norm",
        optimizer=f"SGD, {words.rates('net', config.learning_rates)}",
        paper="Ioffe & Szegedy 2015, algorithm 2",
    )


def beside(config: Config) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    """Return what should cost nothing: label -> (net, way) and the right (net, way) beside it."""
    right = "population"
    pairs = {
        "biased, 64": (("relu", "biased"), ("relu", right)),
        "biased, 4": (("size_4", "biased"), ("size_4", right)),
        "256, per 64": (("parts", right), ("whole", right)),
    }
    runs = set(config.nets)
    return {label: pair for label, pair in pairs.items() if runs.issuperset({n for n, _ in pair})}


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
