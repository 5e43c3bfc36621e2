"""Features off the shelf: what the layers of a trained net are worth for classes it never saw.

Source: Razavian et al. 2014 (arXiv 1403.6382), accuracy by layer, and tables.
Claim in one sentence: a linear classifier on the features of a trained conv net does well on tasks
that the net has not learned, better the deeper the layer, except for the last ones.

Command: make exp-features-off-the-shelf (four minutes on two cores; embedded sets, no download).

A net in AlexNet's shape learns half of the classes of a set; which half is a seed's own draw. A
linear probe on each layer then tells the other half apart, and the classes of a second set. Beside
it stand raw pixels, the same net before its first step (random features: the control that
papers leave out), and nets trained from scratch on the same images. All of
a seed's comparisons are paired: which classes are held out moves every number by several points.

What differs from the paper: small nets and images, a logistic regression instead of a support
vector machine, no augmentation, 300 images instead of thousands. The probe is fit to the end, on
standardized features, its penalty chosen on held-out images; a layer is chosen by them too. Layers
have different numbers of features; where they are few, a linear probe has less to work with.
"""

import dataclasses
import sys
from collections.abc import Mapping

import numpy as np

from experiments.data import _shelf_panels as panels
from experiments.data._probing import Task, check_second, check_sizes, probe_seed
from experiments.data._transfer import LAYERS, Way, make_lab
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import disjoint_seeds, flagged
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, minus
from jaxvision.report.record import Record
from jaxvision.training.looks import Look, snapshot
from jaxvision.types import Figure

# What probes tell apart, and at which steps: before the first one, along training, after the last.
TASKS = {
    "other": Task("other classes", "other", ("start", "along", "end")),
    "own": Task("its own classes", "own", ("end",)),
    "second": Task("another set", "second", ("start", "end")),
    "shuffled": Task("shuffled labels", "other", ("end",), orders=8),
}
PARTS = ("sizes",)  # probes of fewer images beside nets trained on them from scratch


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes", "Data set whose classes are halved.")
    second_dataset: str = flagged("digits", "Data set that no net learns.")
    seeds: int = flagged(8, "Nets, each with its own half of the classes.", low=1, high=1000)
    first_seed: int = flagged(700, "First seed.", low=0, high=10**9)
    width: int = flagged(12, "Channels of the first layer, a multiple of 3.", low=3, high=768)
    dense: int = flagged(128, "Units of layers 6 and 7.", low=1, high=8192)
    steps: int = flagged(1000, "Steps of every net.", low=1, high=10**6)
    snapshots: tuple[int, ...] = flagged(
        (30, 100, 300), "Steps at which nets are probed on the way.", low=1, high=10**6
    )
    batch_size: int = flagged(32, "Images in a step.", low=1, high=65_536)
    sizes: tuple[int, ...] = flagged(
        (30, 100, 300), "Images of the other classes, from few to many.", low=1, high=10**7
    )
    test_images: int = flagged(500, "Test images of a probe.", low=1, high=10**6)
    learning_rates: tuple[float, ...] = flagged(
        (0.005, 0.01, 0.02, 0.04), "Tried by each arm.", low=0
    )
    tuning_seeds: int = flagged(2, "Seeds for choosing rates; none is used again.", low=1, high=100)


PRESETS = {
    "tiny": Config(
        dataset="digits",
        second_dataset="shapes",
        seeds=1,
        first_seed=0,
        width=3,
        dense=8,
        steps=4,
        snapshots=(2,),
        sizes=(20, 40),
        test_images=40,
        learning_rates=(0.03,),
        tuning_seeds=1,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        second_dataset="mnist",
        seeds=10,
        width=48,
        dense=512,
        steps=6000,
        snapshots=(60, 200, 600, 2000),
        batch_size=128,
        sizes=(50, 200, 1000, 4000),
        test_images=2000,
        learning_rates=(0.01, 0.03, 0.1),
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        second_dataset="caltech_birds2011",
        width=96,
        dense=4096,
        steps=450_000,
        snapshots=(5000, 50_000),
        batch_size=128,
        sizes=(1000, 5000),
        test_images=5000,
        learning_rates=(0.01, 0.03, 0.1),
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    tasks: Mapping[str, Task] = TASKS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Train the nets and probe their layers; accuracies [S, T, L] by task, [S, N] by size."""
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    data = load(config.dataset)
    second = load(config.second_dataset)
    lab = make_lab(config, data)
    check_sizes(config, lab.train, data.num_classes)
    check_second(config, second)
    ways = {"own": Way(scratch=False)}
    tuned = {"own": ways["own"]}
    if "sizes" in parts:
        ways |= {str(size): Way(scratch=True, images=size) for size in config.sizes}
        tuned["scratch"] = ways[str(config.sizes[-1])]
    rates, tuning = {}, {}
    tried = len(config.learning_rates) * len(tuning_seeds)
    with progress(len(tuned) * tried * config.steps, "choosing rates") as bar:
        for name, way in tuned.items():
            rates[name], tuning[name] = lab.choose_rate(way, tuning_seeds, bar.advance)
    look = Look(snapshot, (0, *config.snapshots, config.steps))
    at_rate = {
        name: (way, rates["scratch" if way.scratch else "own"]) for name, way in ways.items()
    }
    with progress(len(ways) * len(seeds) * config.steps, "training") as bar:
        nets = lab.fit(at_rate, seeds, look, bar.advance)
    found = []
    with progress(len(seeds), "probing") as bar:
        for i, seed in enumerate(seeds):
            found.append(probe_seed(lab, second, nets, tasks, i, seed, sized="sizes" in parts))
            bar.advance(1)
    arrays = {name: np.float32([each[name] for each in found]) for name in found[0]}
    others = data.num_classes - data.num_classes // 2
    return {"rates": rates, "tuning_error": tuning, "others": others}, arrays


RAZAVIAN = "Razavian et al. 2014"


def claims(config: Config) -> list[Claim]:
    """Return the source's claims and the questions beside them; the rules are fixed here."""

    def at(task: str, layer: str, moment: int = -1) -> Statistic:
        place = LAYERS.index(layer)
        return lambda record: record.arrays[f"{task}/accuracy"][:, moment, place]

    def chosen(task: str, moment: int = -1) -> Statistic:
        return lambda record: panels.at_chosen_layer(record, task, moment)

    def by_size(place: int) -> Statistic:
        return lambda record: (
            panels.probed_by_size(record)[:, place] - record.arrays["scratch/accuracy"][:, place]
        )

    by_layer = f"{RAZAVIAN}, accuracy by layer"
    tables = f"{RAZAVIAN}, tables"
    question = "question"
    few, many = config.sizes[0], config.sizes[-1]
    on = "on classes that the net has not learned"
    return [
        Claim(
            "rises-first",
            by_layer,
            f"Probes {on}: conv3 is worth more than pixels",
            minus(at("other", "conv3"), at("other", "pixels")),
            Greater(),
            needs=("other",),
        ),
        Claim(
            "rises-late",
            by_layer,
            f"Probes {on}: conv5 is worth more than conv1",
            minus(at("other", "conv5"), at("other", "conv1")),
            Greater(),
            needs=("other",),
        ),
        Claim(
            "drops",
            by_layer,
            f"Probes {on}: fc7 is worth less than conv5",
            minus(at("other", "fc7"), at("other", "conv5")),
            Less(),
            needs=("other",),
        ),
        Claim(
            "drops-last",
            by_layer,
            f"Probes {on}: the outputs are worth less than fc7",
            minus(at("other", "fc8"), at("other", "fc7")),
            Less(),
            needs=("other",),
        ),
        Claim(
            "rises-second",
            by_layer,
            "Probes on another set: conv5 is worth more than conv1",
            minus(at("second", "conv5"), at("second", "conv1")),
            Greater(),
            needs=("second",),
        ),
        Claim(
            "drops-second",
            by_layer,
            "Probes on another set: fc7 is worth less than conv5",
            minus(at("second", "fc7"), at("second", "conv5")),
            Less(),
            needs=("second",),
        ),
        Claim(
            "beats-pixels",
            tables,
            f"Probes {on}: the layer chosen on held-out images beats pixels by over 5 points",
            minus(chosen("other"), at("other", "pixels")),
            Greater(0.05),
            needs=("other",),
        ),
        Claim(
            "scratch-few",
            tables,
            f"With {few} images a probe beats training from scratch",
            by_size(0),
            Greater(),
            needs=("sizes",),
        ),
        Claim(
            "scratch-many",
            tables,
            f"With {many} images a probe beats training from scratch",
            by_size(-1),
            Greater(),
            not_run="" if few < many else "several --sizes",
            needs=("sizes",),
        ),
        Claim(
            "beats-random",
            f"{question}, random features",
            f"Probes {on}: layers chosen on "
            "held-out images, the trained net beats the net before its first step",
            minus(chosen("other"), chosen("other", 0)),
            Greater(),
            needs=("other",),
        ),
        Claim(
            "beats-random-second",
            f"{question}, random features",
            "Probes on another set: "
            "layers chosen on held-out images, the trained net beats the net before its first "
            "step",
            minus(chosen("second"), chosen("second", 0)),
            Greater(),
            needs=("second",),
        ),
        Claim(
            "random-beats-pixels",
            f"{question}, random features",
            f"Probes {on}: conv3 before the first step is worth more than pixels",
            minus(at("other", "conv3", 0), at("other", "pixels")),
            Greater(),
            needs=("other",),
        ),
        Claim(
            "own-rises",
            f"{question}, generality",
            "Probes on the classes that the net has learned: fc7 is worth more than conv3",
            minus(at("own", "fc7"), at("own", "conv3")),
            Greater(),
            needs=("own",),
        ),
        Claim(
            "specializes",
            f"{question}, generality",
            "From conv5 to fc7 probes lose more on other classes than on the net's own",
            minus(
                minus(at("own", "fc7"), at("own", "conv5")),
                minus(at("other", "fc7"), at("other", "conv5")),
            ),
            Greater(),
            needs=("own", "other"),
        ),
        Claim(
            "still-gains",
            f"{question}, along training",
            f"Probes {on}: conv5 is worth more "
            f"after {config.steps:,} steps than after {config.snapshots[-1]:,}",
            minus(at("other", "conv5"), at("other", "conv5", -2)),
            Greater(),
            needs=("other",),
        ),
        Claim(
            "control",
            "negative control",
            f"Probes on shuffled labels are at chance "
            f"(accuracy times classes, {on}, mean over layers and orders of labels)",
            lambda record: (
                record.numbers["others"] * record.arrays["shuffled/accuracy"][:, -1].mean(-1)
            ),
            Equivalent(0.15, 1.0),
            needs=("shuffled",),
        ),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw what each layer is worth: to whom, when, and for how many images."""
    figure, axes = plots.new_figure(2, 2, 8.6)
    panels.draw_layers(axes[0, 0], record)
    panels.draw_second(axes[0, 1], record)
    panels.draw_training(axes[1, 0], record, (0, *config.snapshots, config.steps))
    panels.draw_sizes(axes[1, 1], record, config.sizes)
    otherwise = "What layers are worth for classes that the net never saw"
    title = plots.headline(record, panels.TITLES, otherwise)
    return plots.finish(
        figure,
        record,
        title,
        net=f"AlexNet's shape, {config.width} channels first, {config.dense} dense units",
        optimizer=f"SGD with momentum .9, {config.steps:,} steps, "
        f"{words.rates('net', config.learning_rates)}",
        paper="Razavian et al. 2014",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
