"""AlexNet without some of its layers, trained anew: which ones does it need.

Sources: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks" (arXiv
1311.2901), table 3; the lecture, whose numbers (teaching notes repeat them after R. Fergus's
slides) are those of no column of that table. Claim in one sentence: without layer 7 AlexNet is as
good as before, without 6 and 7 or 3 and 4 it loses a little, without all four it falls apart.

Command: make exp-alexnet-removal (under 4 minutes on two cores; embedded shapes, no download).

What differs from the source: drawn shapes instead of ImageNet, 32x32 pixels, an eighth of the
channels, a sixteenth of the dense units, no groups, no response normalization, no dropout, weights
drawn as He et al. 2015 have it (a std of .01 does not leave the plateau at this size), 2,000 steps.
Every net has a learning rate of its own, the best of three on other seeds. A net without layers is
trained from its start, as in the table; beside it stands the lesion: the same layers of the trained
whole net are left out at test time, their input taking the place of their output. The training
error is that of the last epoch's batches; the table's train column falls when layer 7 goes, so its
whole net was not trained to the end, which flatters the removal. What speaks of trained nets is
judged only where the whole net has learned: where its test error is below two thirds of chance.
"""

import dataclasses
import sys
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.depth import _removal_costs as costs
from experiments.depth import _removal_panels as panels
from experiments.depth._removal import Lab, Layers, Start, curves, model_of, seeds_of
from experiments.depth._removal_claims import TABLE, claims_of
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import check_periods, flagged
from jaxvision.models.alexnet import checked_layers
from jaxvision.models.published import alexnet_parameters
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Axes, Figure


class Published(NamedTuple):
    """A row of Zeiler & Fergus's table 3, errors in percent; and what the lecture says it loses."""

    train: float
    top1: float
    top5: float
    lecture: float


@dataclasses.dataclass(frozen=True)
class Net:
    """A net of the comparison.

    Attributes:
      removed: the layers it lacks, as the papers number them.
      published: what is known of AlexNet without them; None: nothing.
      replicate: which draw of the weights it starts from.
    """

    removed: Layers
    published: Published | None = None
    replicate: int = 0


NETS = {
    "whole": Net((), Published(35.1, 40.5, 18.1, lecture=0.0)),
    "no7": Net((7,), Published(27.4, 40.0, 18.4, lecture=1.1)),
    "no67": Net((6, 7), Published(27.4, 44.8, 22.4, lecture=5.7)),
    "no34": Net((3, 4), Published(41.8, 45.4, 22.1, lecture=3.0)),
    "no3467": Net((3, 4, 6, 7), Published(71.1, 71.3, 50.1, lecture=33.5)),
    "again": Net((), replicate=1),
}
COMPARED = tuple(name for name, net in NETS.items() if net.removed)
CHOSEN = "chosen"  # the net of --removed


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    image_size: int = flagged(0, "Pixels images are scaled to; 0: don't.", low=0, high=1024)
    seeds: int = flagged(10, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(700, "The first seed.", low=0, high=10**9)
    nets: tuple[str, ...] = flagged(COMPARED, "Nets compared with the whole one.", choices=COMPARED)
    removed: tuple[int, ...] = flagged((), "Layers that one more net lacks.", low=1, high=8)
    width: int = flagged(12, "Channels of layer 1, a multiple of 3 (paper: 96).", low=3, high=768)
    dense: int = flagged(256, "Units of layers 6 and 7 (paper: 4096).", low=1, high=8192)
    large_images: bool = flagged(False, "The published windows, for images of 67 pixels and more.")
    dropout: float = flagged(0.0, "Share of layers 6 and 7 that training drops.", low=0, high=0.95)
    steps: int = flagged(2000, "Optimizer steps of every net.", low=1, high=10**7)
    period: int = flagged(250, "Steps between evaluations; divides the steps.", low=1, high=10**6)
    batch_size: int = flagged(16, "Images in a step.", low=1, high=65_536)
    learning_rates: tuple[float, ...] = flagged(
        (0.00175, 0.0035, 0.007, 0.014),
        "Rates tried for every net; /10 in the last quarter.",
        low=0,
    )
    tuning_seeds: int = flagged(2, "Seeds for choosing rates; none is used again.", low=1, high=100)
    weight_decay: float = flagged(5e-4, "Weight decay, on every parameter.", low=0)


PRESETS = {
    "tiny": Config(
        dataset="digits",
        nets=("no3467",),
        seeds=2,
        width=3,
        dense=32,
        steps=4,
        period=2,
        batch_size=8,
        learning_rates=(0.01,),
        tuning_seeds=1,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        width=48,
        dense=1024,
        steps=20_000,
        period=2000,
        batch_size=128,
        dropout=0.5,
    ),
    "paper": Config(
        dataset="imagenet2012",
        image_size=227,
        seeds=5,
        width=96,
        dense=4096,
        large_images=True,
        dropout=0.5,
        steps=700_000,
        period=10_000,
        batch_size=128,
        learning_rates=(0.01,),
    ),
}


def nets_of(config: Config, nets: Mapping[str, Net] = NETS) -> dict[str, Net]:
    """Return the nets of a run: those of the table, and the one that the user asks for."""
    unwanted = {*COMPARED} - {*config.nets}
    found = {name: net for name, net in nets.items() if name not in unwanted}
    if config.removed:
        found[CHOSEN] = Net(checked_layers(config.removed))
    return found


def measure(
    config: Config, progress: cli.ShowProgress, nets: Mapping[str, Net] = NETS
) -> tuple[dict, dict]:
    """Train every net; returns numbers, and arrays named 'net/quantity'."""
    nets = nets_of(config, nets)
    check_periods(config, "steps")
    seeds_of(config)  # refuses seeds that choose the rates
    model_of(config, 2, 32, ())  # refuses widths that there are not
    data = load(config.dataset, image_size=config.image_size or None)
    lab = Lab(config, data, progress)
    lab.check_lesions()
    numbers, histories = lab.compare(
        {name: Start(net.removed, net.replicate) for name, net in nets.items()}
    )
    arrays = {}
    for name, history in histories.items():
        arrays |= curves(name, history, config.period)
    lesions = {name: nets[name].removed for name in nets if nets[name].removed}
    if lesions:
        found = lab.lesions(histories["whole"].variables, lesions)
        arrays |= {f"{name}/lesion": errors for name, errors in found.items()}
    return numbers | {"chance_error": data.test.chance_error}, arrays


def losses(net: Net) -> Published:
    """Return what a removal costs by the table and by the lecture, points."""
    row, whole = net.published, NETS["whole"].published
    return Published(
        row.train - whole.train,
        row.top1 - whole.top1,
        row.top5 - whole.top5,
        row.lecture,
    )


def off_the_table() -> float:
    """Return by how much the lecture's losses miss the nearer column, at the worst row (points)."""
    rows = [losses(NETS[name]) for name in COMPARED]
    top1 = max(abs(row.lecture - row.top1) for row in rows)
    top5 = max(abs(row.lecture - row.top5) for row in rows)
    return min(top1, top5)


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    removals = {name: NETS[name].removed for name in COMPARED}
    return claims_of(config, removals, off_the_table())


def plot(record: Record, config: Config) -> Figure:
    """Draw the table with the sources' columns beside ours, errors by net, and lesions."""
    nets = {name: net for name, net in nets_of(config).items() if not net.replicate}
    figure, wide, (left, right) = panels.new_figure()
    unlike = {"not lecture-numbers": "The lecture's numbers match no column of table 3."}
    note = plots.headline(record, unlike, otherwise="")
    panels.draw_table(wide, [_row(record, name, net) for name, net in nets.items()], note)
    plots.mark_contradicted(wide, record, "lecture-numbers", "no67-over-no34")
    test = [costs.final(record, name) for name in nets]
    train = [costs.trained(record, name) for name in nets]
    ends = [
        panels.End("test", plots.color_of("test"), test),
        panels.End("training", plots.color_of("train"), train),
    ]
    panels.draw_ends(left, [net.removed for net in nets.values()], ends)
    plots.describe(left, "Removed and trained anew", "layers removed", "error, %")
    of_removal = [claim.id for claim in claims(config) if claim.source == TABLE]
    plots.mark_contradicted(left, record, *of_removal)
    _draw_lesions(right, record, {name: net for name, net in nets.items() if net.removed})
    titles = {
        ("no34-costs", "collapse"): "AlexNet's shape falls apart without layers 3, 4, 6, 7",
        ("no34-costs", "no7-free"): "AlexNet's shape needs layers 3 and 4, hardly layer 7",
        "no34-costs": "Without layers 3 and 4 AlexNet's shape errs more",
        "not collapse": "Trained without layers 3, 4, 6, 7 AlexNet's shape does not fall apart",
    }
    title = plots.headline(record, titles, "Which layers does AlexNet's shape need?")
    return plots.finish(
        figure,
        record,
        title,
        net=f"AlexNet's shape, {config.width} channels first, {config.dense} dense units",
        optimizer=f"SGD with momentum .9, {words.rates('net', config.learning_rates)}",
        paper="Zeiler & Fergus 2014, table 3",
    )


def _row(record: Record, name: str, net: Net) -> panels.Row:
    """Return a row of the figure's table: the whole net's errors, what the others lose."""
    train, test = costs.trained(record, name), costs.final(record, name)
    published = net.published
    if net.removed:
        train = train - costs.trained(record, "whole")
        test = test - costs.final(record, "whole")
        published = None if published is None else losses(net)
    else:
        published = published._replace(lecture=published.top5)
    parameters = sum(alexnet_parameters(net.removed).values())
    return panels.Row(net.removed, parameters, published, (train, test))


def _draw_lesions(ax: Axes, record: Record, nets: Mapping[str, Net]) -> None:
    """Draw the test error with layers left out of the trained net, beside that of new training."""
    left_out = [costs.lesioned(record, name) for name in nets]
    anew = [costs.final(record, name) for name in nets]
    ends = [
        panels.End("left out", plots.color_of("lesion"), left_out),
        panels.End("trained\nanew", plots.color_of("test"), anew),
    ]
    panels.draw_ends(ax, [net.removed for net in nets.values()], ends)
    panels.draw_level(ax, costs.chance(record), "chance")
    panels.draw_level(ax, np.nanmedian(costs.final(record, "whole")), "whole net")
    plots.describe(ax, "Left out of the trained net", "layers left out", "test error, %")
    plots.mark_contradicted(ax, record, *[f"lesion-{name}" for name in COMPARED])


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
