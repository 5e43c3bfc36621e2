"""Fast gradients: one step fools a net, and training on such steps hides how little it helps.

Sources: Goodfellow, Shlens & Szegedy 2014, "Explaining and harnessing adversarial examples" (arXiv
1412.6572), sections 4 to 9; Madry et al. 2018 (arXiv 1706.06083), table 5; Kurakin et al. 2017,
"Adversarial machine learning at scale" (arXiv 1611.01236), section 4; Andriushchenko & Flammarion
2020 (arXiv 2007.02617), section 5. Claim in one sentence: one step along the gradient's sign fools
nearly every image, and half such images in training bring the error from 89.4 down to 17.9 %.

Command: make exp-fast-gradient (under 4 minutes on two cores; embedded 8x8 digits, no download).

A slide that is often shown has "87 % of MNIST digits": the paper's 87.15 % are CIFAR-10's; MNIST's
are 99.9 % for softmax regression and 89.4 % for a maxout net. What differs from the paper: ReLU
nets for maxout; Adam, one rate for all ways to train. All sizes are in units of [0, 1]. Errors
count images that were wrong from the start, as the paper's do. Training attacks the net as it is
evaluated, and its gradient does not go through the attack. Run with --dataset=mnist for the paper's
own numbers.
"""

import dataclasses
import sys
from collections.abc import Mapping
from functools import partial

import numpy as np

from experiments.breaking import _fast_panels as panels
from experiments.breaking import _reports as reports
from experiments.breaking._hardening import Lab, Way
from experiments.breaking._nets import some_of
from experiments.breaking._strength import Attacked
from jaxvision import cli
from jaxvision.adversarial import train
from jaxvision.data import load
from jaxvision.fields import flagged
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, Within, minus
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError

WAYS = {
    "softmax": Way("softmax", "softmax"),
    "conv": Way("conv net", "conv"),
    "plain": Way("clean images"),
    "copy": Way("clean images, other draws", replicate=1),
    "mix": Way("half FGSM", recipe=train.mixed),
    "fgsm": Way("FGSM alone", recipe=train.fast_gradient),
    "corners": Way("noise at the corners", recipe=partial(train.noise, corners=True)),
    "uniform": Way("uniform noise", recipe=train.noise),
    "start": Way("random start", recipe=train.random_start),
    "honest_mix": Way("half FGSM, small", recipe=train.mixed, honest=True),
    "honest_pgd": Way("PGD, small", recipe=train.projected, honest=True),
    "filters": Way("FGSM alone", "filters", train.fast_gradient),
    "filters_pgd": Way("PGD", "filters", train.projected),
}
# Who makes images by FGSM, and who is asked about them.
HANDED = {"old_to_new": ("plain", "mix"), "new_to_old": ("mix", "plain"), "black": ("copy", "mix")}
# What is asked beside WAYS: images handed on, a margin between two classes, pictures.
PARTS = ("handed", "pair", "pictures")
SLIDE = 0.87  # "of MNIST digits"


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    others: tuple[str, ...] = flagged(
        ("conv", "filters"),
        "Nets beside softmax regression and the dense one.",
        choices=("conv", "filters"),
    )
    seeds: int = flagged(6, "Nets of every way to train.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    width: int = flagged(128, "Units of a hidden dense layer.", low=2, high=8192)
    channels: int = flagged(8, "Channels of the conv net's first layer.", low=1, high=1024)
    steps: int = flagged(1000, "Training steps.", low=10, high=10**6)
    filter_steps: int = flagged(1000, "Those of the net of 4 filters.", low=10, high=10**6)
    batch_size: int = flagged(64, "Images in a step.", low=2, high=65_536)
    learning_rate: float = flagged(0.003, "Adam's, at its highest.", low=0)
    filter_learning_rate: float = flagged(0.003, "That of the net of 4 filters.", low=0)
    epsilon: float = flagged(0.25, "Change of a pixel, of [0, 1].", low=0, high=1)
    honest_epsilon: float = flagged(0.1, "A smaller one.", low=0, high=1)
    filter_epsilon: float = flagged(0.15, "That of the net of 4 filters.", low=0, high=1)
    attack_steps: int = flagged(40, "Steps of PGD.", low=1, high=1000)
    test_images: int = flagged(360, "Test images.", low=10, high=10**6)
    draws: int = flagged(4, "Draws of noise.", low=1, high=1000)
    looks: int = flagged(8, "Looks at the net of 4 filters while it learns.", low=2, high=100)
    pair: tuple[int, ...] = flagged((3, 7), "Two classes to tell apart.", low=0, high=1000)


PRESETS = {
    "tiny": Config(
        others=(),
        seeds=2,
        first_seed=0,
        width=8,
        channels=2,
        steps=10,
        filter_steps=10,
        attack_steps=2,
        test_images=20,
        draws=1,
        looks=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        seeds=10,
        width=1600,
        channels=32,
        steps=20_000,
        filter_steps=20_000,
        batch_size=128,
        learning_rate=0.001,
        test_images=10_000,
        filter_epsilon=0.05,
    ),
    "paper": Config(
        dataset="mnist",
        seeds=5,
        width=1600,
        channels=32,
        steps=47_000,
        filter_steps=47_000,
        batch_size=128,
        learning_rate=0.001,
        test_images=10_000,
        filter_epsilon=0.05,
    ),
}


def sizes_of(config: Config) -> np.ndarray:
    """Return the sizes of change at which nets are attacked, float32 [E], with both of training."""
    small, large = config.honest_epsilon, config.epsilon
    return np.float32([0, small / 2, small, (small + large) / 2, large, 1.5 * large])


def measure(
    config: Config,
    progress: cli.ShowProgress,
    ways: Mapping[str, Way] = WAYS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Train every way on every seed and attack it; arrays 'way/quantity' [S, E]."""
    if not 0 < config.honest_epsilon < config.epsilon <= 2 / 3:
        raise UserError("--honest_epsilon must be above 0 and below --epsilon, that at most 2/3")
    data = load(config.dataset)
    _check_pair(config, data.num_classes)
    lab = Lab(config, data, range(config.first_seed, config.first_seed + config.seeds))
    some = some_of(data.test, config.test_images)
    given = Attacked(some.images, some.labels, sizes_of(config), config.first_seed)
    arrays, variables = {}, {}
    known = ("softmax", "mlp", *config.others)
    ways = {name: way for name, way in ways.items() if way.net in known}
    nets = [net for net in known if net in {way.net for way in ways.values()}]
    runs = config.seeds * sum(lab.steps(way.net) for way in ways.values())
    with progress(runs, "training") as bar:
        for net in nets:
            own = {name: way for name, way in ways.items() if way.net == net}
            look = reports.along(lab, given) if net == "filters" else None
            histories = lab.fit(own, bar, look)
            variables |= {name: history.variables for name, history in histories.items()}
            arrays |= reports.attacked(lab, net, histories, given)
    arrays["looks"] = reports.steps_of_looks(config)
    if "handed" in parts:
        pairs = {name: pair for name, pair in HANDED.items() if variables.keys() >= set(pair)}
        arrays |= reports.handed_to(lab, variables, pairs, given)
    if "pair" in parts:
        arrays |= reports.pair(lab, variables["softmax"], given)
    if "pictures" in parts:
        arrays |= reports.pictures(lab, variables["plain"], given)
    return {"sizes": sizes_of(config).tolist()}, arrays


def _check_pair(config: Config, classes: int) -> None:
    is_pair = len(config.pair) == len(set(config.pair)) == 2
    if not is_pair or max(config.pair) >= classes:
        raise UserError(f"--pair names two of the {classes} classes, from 0 up")


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here. Sizes: both of training."""
    large, small = 4, 2  # in ``sizes_of``
    no_conv, no_filters = (
        "" if net in config.others else f"--others with {net}" for net in ("conv", "filters")
    )
    is_the_paper_s = config.dataset == "mnist" and config.epsilon == 0.25
    on_mnist = "" if is_the_paper_s else "--dataset=mnist --epsilon=0.25"

    def error(way: str, attack: str, at: int = large) -> Statistic:
        return lambda record: record.arrays[f"{way}/{attack}"][:, at]

    def handed(pair: str) -> Statistic:
        return error("handed", pair)

    def along(way: str, quantity: str) -> Statistic:
        return lambda record: record.arrays[f"{way}/along_{quantity}"]

    def gap(way: str, look: int) -> Statistic:  # look 0 is before the first step
        return lambda r: along(way, "pgd")(r)[:, look] - along(way, "fgsm")(r)[:, look]

    def freed(record: Record) -> np.ndarray:  # NaN where clipped images leave no room for more
        free, clipped = (record.arrays[f"pair/{kind}"][:, 0] for kind in ("free", "clipped"))
        return np.where(clipped <= 0.98, free - clipped, np.nan)

    def turned(way: str) -> Statistic:
        cosine = along(way, "cosine")
        return lambda record: cosine(record)[:, 0] - cosine(record)[:, -1]

    def collapse(record: Record) -> np.ndarray:
        pgd = along("filters", "pgd")(record)[:, 1:]  # of nets that have learned
        lowest = pgd.min(1)  # above .95 there is no room to rise by .05
        return np.where(lowest < 0.95, pgd[:, -1] - lowest, np.nan)

    def lower(record: Record) -> np.ndarray:
        of_each = [error(way, "fgsm")(record) for way in ("softmax", "plain")]
        return np.min(of_each, axis=0)

    paper, masks = "Goodfellow et al. 2014", "Madry et al. 2018"
    at, below = f"at {config.epsilon:g}", f"at {config.honest_epsilon:g}"
    tiny = f"at {config.filter_epsilon:g}"
    few = "Andriushchenko & Flammarion 2020, section 5"
    clean = partial(error, attack="fgsm", at=0)
    return [
        Claim("slide", f"{paper}, section 4", "On MNIST FGSM at .25 fools softmax regression and "
              "dense nets on more than the slide's 87 %, which is CIFAR-10's number (the lower "
              "error)", lower, Greater(SLIDE), not_run=on_mnist, needs=("softmax", "plain")),
        Claim("exact-fall", f"{paper}, section 5", "Between two classes of softmax regression the "
              "margin falls by sum |w| min(eps, room) (largest gap, relative)",
              lambda r: r.arrays["pair/gap"].max(1), Within(0.0, 1e-4), "theory",
              needs=("softmax", "pair")),
        Claim("unclipped", "question, the box", f"Between two classes FGSM {below} fools over 2 "
              "points more images outside the box than clipped to it",
              freed, Greater(0.02),
              needs=("softmax", "pair")),
        Claim("softmax-mnist", f"{paper}, section 4", "MNIST, FGSM at .25: softmax regression "
              "errs on 99.9 %, within 2 points",
              error("softmax", "fgsm"), Within(0.999, 0.02), "paper", on_mnist, needs=("softmax",)),
        Claim("dense-mnist", f"{paper}, section 4", "MNIST, FGSM at .25: a dense net errs on 89.4 "
              "% (a maxout net's), within 2 points",
              error("plain", "fgsm"), Within(0.894, 0.02), "paper", on_mnist, needs=("plain",)),
        Claim("mix-mnist", f"{paper}, section 6", "MNIST, FGSM at .25: a net trained on half FGSM "
              "errs on 17.9 %, within 10 points",
              error("mix", "fgsm"), Within(0.179, 0.1), "paper", on_mnist, needs=("mix",)),
        Claim("noise-mnist", f"{paper}, section 7", "MNIST, FGSM at .25: a net trained on noise at "
              "the corners errs on 86.2 %, within 10 points",
              error("corners", "fgsm"), Within(0.862, 0.1), "paper", on_mnist, needs=("corners",)),
        Claim("softmax-falls", f"{paper}, section 4", f"FGSM {at} fools softmax regression more "
              "than noise of the same size does, by .3",
              minus(error("softmax", "fgsm"), error("softmax", "noise")), Greater(0.3),
              needs=("softmax",)),
        Claim("dense-falls", f"{paper}, section 4", f"FGSM {at} fools dense nets more than noise "
              "of the same size does, by .3",
              minus(error("plain", "fgsm"), error("plain", "noise")), Greater(0.3),
              needs=("plain",)),
        Claim("conv-falls", f"{paper}, section 4", f"FGSM {at} fools conv nets more than noise of "
              "the same size does, by .3",
              minus(error("conv", "fgsm"), error("conv", "noise")), Greater(0.3),
              not_run=no_conv, needs=("conv",)),
        Claim("mix-helps", f"{paper}, section 6", f"Training on half FGSM {at}: FGSM's error falls "
              "by .3 and more", minus(error("plain", "fgsm"), error("mix", "fgsm")), Greater(0.3),
              needs=("plain", "mix")),
        Claim("clean-gains", f"{paper}, section 6", "Training on half FGSM lowers the error on "
              "clean images", minus(clean("mix"), clean("plain")), Less(), needs=("plain", "mix")),
        Claim("noise-fails", f"{paper}, section 7", f"FGSM {at} fools nets trained on noise more "
              "than those trained on half FGSM, by .3",
              minus(error("corners", "fgsm"), error("mix", "fgsm")), Greater(0.3),
              needs=("corners", "mix")),
        Claim("transfer", f"{paper}, section 6", f"FGSM {at}: the new net's images fool the old "
              "net more than the old one's the new", minus(handed("new_to_old"),
              handed("old_to_new")), Greater(), needs=("plain", "mix", "handed")),
        Claim("masked-pgd", f"{masks}, section 4", f"Nets of half FGSM {at}: PGD fools more than "
              "FGSM, by .3", minus(error("mix", "pgd"), error("mix", "fgsm")), Greater(0.3),
              needs=("mix",)),
        Claim("masked-size", "sign of masking, Athalye et al. 2018", "Nets of half FGSM err more "
              f"{below} than {at}", minus(error("mix", "fgsm", small), error("mix", "fgsm")),
              Greater(), needs=("mix",)),
        Claim("masked-noise", "question, masking", f"Noise {at} fools nets of half FGSM more than "
              "clean ones", minus(error("mix", "noise"), error("plain", "noise")), Greater(),
              needs=("plain", "mix")),
        Claim("masked-black", f"{masks}, table 5", f"Another net's images {at} fool nets of half "
              "FGSM more than their own FGSM", minus(handed("black"), error("mix", "fgsm")),
              Greater(), needs=("copy", "mix", "handed")),
        Claim("worst", "question, worst case", f"Under the worst attack on each image {at}, half "
              "FGSM gains nothing", minus(error("plain", "worst"), error("mix", "worst")),
              Equivalent(0.05), needs=("plain", "mix")),
        Claim("leak", "Kurakin et al. 2017, section 4", f"Nets of FGSM alone err less on FGSM {at} "
              "than on clean images", minus(clean("fgsm"), error("fgsm", "fgsm")), Greater(),
              needs=("fgsm",)),
        Claim("leak-answer", "Kurakin et al. 2017, section 4", "They err more where FGSM follows "
              "their answer, not the label",
              minus(error("fgsm", "predicted"), error("fgsm", "fgsm")), Greater(), needs=("fgsm",)),
        Claim("honest", f"{masks}, section 5", f"PGD training {below}: PGD's error falls by .3 and "
              "more", minus(error("plain", "pgd", small), error("honest_pgd", "pgd", small)),
              Greater(0.3), needs=("plain", "honest_pgd")),
        Claim("honest-gap", f"{masks}, section 5", f"Nets of PGD training {below}: the worst of "
              "all attacks fools less than .1 more than FGSM",
              minus(error("honest_pgd", "worst", small), error("honest_pgd", "fgsm", small)),
              Less(0.1), needs=("honest_pgd",)),
        Claim("few-filters", few, f"One layer of 4 filters trained on FGSM {tiny}: the gap between "
              "PGD and FGSM opens from the first look at the learning net to the last",
              minus(gap("filters", -1), gap("filters", 1)), Greater(), not_run=no_filters,
              needs=("filters",)),
        Claim("few-turn", few, "4 filters: from the first weights on the gradient near an image "
              "turns away (fall of the cosine)",
              turned("filters"), Greater(), not_run=no_filters, needs=("filters",)),
        Claim("few-turn-pgd", few, "4 filters: trained on PGD, it turns away less",
              minus(turned("filters"), turned("filters_pgd")), Greater(), not_run=no_filters,
              needs=("filters", "filters_pgd")),
        Claim("few-collapse", few, "4 filters: PGD's error rises from its lowest by more "
              "than .05", collapse, Greater(0.05), not_run=no_filters, needs=("filters",)),
        Claim("few-pgd", few, "4 filters: trained on PGD, the gap stays smaller",
              minus(gap("filters", -1), gap("filters_pgd", -1)), Greater(), not_run=no_filters,
              needs=("filters", "filters_pgd")),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw the step, what it does, what training on it seems to do, and what it does."""
    figure, axes = plots.new_figure(3, 2, 11.5)
    sizes = sizes_of(config)
    panels.draw_pictures(axes[0, 0], record, sizes)
    panels.draw_nets(axes[0, 1], record, sizes, config.dataset == "mnist")
    panels.draw_masked(axes[1, 0], record, sizes, config.epsilon)
    panels.draw_ways(axes[1, 1], record, WAYS, config.epsilon)
    panels.draw_honest(axes[2, 0], record, sizes)
    panels.draw_filters(axes[2, 1], record)
    title = plots.headline(
        record,
        {
            ("dense-falls", "mix-helps", "masked-pgd", "worst"): "One step fools a net; training "
            f"on steps of {config.epsilon:g} hides that and mends nothing at that size",
            ("dense-falls", "mix-helps"): "One step fools a net, and training on it helps",
            "dense-falls": "One step along the gradient's sign fools a net",
        },
        "Fast gradients, and nets trained on them",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"Dense nets of 2 x {config.width} units and others",
        optimizer=f"Adam, {config.steps:,} steps",
        paper="Goodfellow et al. 2014",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
