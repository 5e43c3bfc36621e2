"""Plain against residual nets: what depth costs, and what a shortcut gives back.

Sources: He, Zhang, Ren & Sun 2016, "Deep Residual Learning" (arXiv 1512.03385), sections 4.1 and
4.2, figures 6 and 7, table 6; Yang et al. 2019 (arXiv 1902.08129) on gradients under batch
normalization; Veit, Wilber & Belongie 2016 (arXiv 1605.06431) on leaving blocks out. Claim in one
sentence: a deeper plain net ends with a higher *training* error, a deeper residual net does not.

Command: make exp-plain-vs-residual (under 8 minutes on two cores; embedded shapes, no download).

Both nets are one code, the plain one with the shortcut left out; option A adds no parameters, so
their starting weights are equal too. What `cpu` changes: width 8 for 16, 16x16 pixels, 500 drawn
images without augmentation (fitting them is the question: on test images all nets err at 70 to 90
%, where chance is 90), 320 steps, and a rate for every net, the best of three on other seeds.
`paper` is the paper's protocol: 64,000 steps of 128 images, rate .1 with drops at half and three
quarters, decay 1e-4 on every leaf, pad-4 crops and flips, per-pixel mean, statistics of 64 images;
110 layers start at .01 until 100 steps err below 80 %. Lesions are judged by test images, as
Veit's, where all training images are used; `cpu`'s 500 are learned by heart, and judge themselves.
What speaks of trained nets is judged only where they have learned: where their training error is
below half of chance.
"""

import dataclasses
import sys
from collections.abc import Mapping

import jax
import numpy as np

from experiments.depth import _blocks as blocks
from experiments.depth import _panels as panels
from experiments.depth._claims import YANG, of_gradients, of_the_paper
from experiments.depth._depth_claims import claims_of
from experiments.depth._lab import Lab, seeds_of
from experiments.depth._protocol import Kind, Net, depths_of, he2016, preprocessing
from jaxvision import cli
from jaxvision.data import Splits, load
from jaxvision.dynamics import probes
from jaxvision.fields import flagged
from jaxvision.longrun.long import LongHistory
from jaxvision.longrun.workdir import Workdir
from jaxvision.models.layers import apply_function
from jaxvision.models.resnet import ResNet, nets_of_depths
from jaxvision.progress import each
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.looks import Look
from jaxvision.training.step import Task
from jaxvision.types import Figure, UserError

KINDS = {"plain": Kind("plain", "none"), "resnet": Kind("residual", "A")}
LOOKED_AT, LESIONED = 500, 2_000  # images at most behind the responses, and behind the lesions


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    imagenet: bool = flagged(False, "Nets of table 1 instead: use it with --depths=18,34.")
    seeds: int = flagged(8, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(300, "The first seed.", low=0, high=10**9)
    depths: tuple[int, ...] = flagged((8, 20, 32), "Layers, 6n+2 each.", low=8, high=1202)
    width: int = flagged(8, "First stage's channels (paper: 16; ImageNet: 64).", low=1, high=1024)
    images: int = flagged(500, "Training images used; 0 means all.", low=0, high=10**7)
    image_size: int = flagged(0, "Pixels images are scaled to; 0: don't.", low=0, high=1024)
    shrink: int = flagged(2, "Average squares of so many pixels first.", low=1, high=64)
    steps: int = flagged(320, "Optimizer steps of every net.", low=1, high=10**6)
    period: int = flagged(40, "Steps between evaluations; divides the steps.", low=1, high=10**6)
    batch_size: int = flagged(50, "Images in a step.", low=2, high=65_536)
    learning_rates: tuple[float, ...] = flagged(
        (0.01, 0.03, 0.1), "Rates tried for every net; /10 at half and at 3/4 of the steps.", low=0
    )
    tuning_seeds: int = flagged(
        2, "Seeds that choose the rates; none is used again.", low=1, high=1000
    )
    longer: int = flagged(
        3,
        "Times the steps for which the deepest plain net is trained again; 0: not.",
        low=0,
        high=100,
    )
    weight_decay: float = flagged(1e-4, "Weight decay, on every parameter.", low=0)
    pad: int = flagged(0, "Padding for random crops and flips, pixels; 0: none.", low=0, high=256)
    bn_parts: int = flagged(1, "Parts of a batch, each with its statistics.", low=1, high=1024)
    deterministic_reduction: bool = flagged(False, "Same bits on any devices: by 8 bn_parts.")
    watched: tuple[int, ...] = flagged(
        (0, 1, 10, 100), "Steps of the gradients seen.", low=0, high=10**6
    )


_PAPER = Config(
    dataset="cifar10",
    seeds=5,
    depths=(20, 32, 44, 56, 110),
    width=16,
    images=0,
    shrink=1,
    steps=64_000,
    period=100,
    batch_size=128,
    learning_rates=(0.1,),
    longer=0,
    pad=4,
    bn_parts=2,
)
PRESETS = {
    "tiny": Config(
        dataset="digits",
        seeds=2,
        depths=(8,),
        width=2,
        images=64,
        shrink=1,
        steps=4,
        period=4,
        batch_size=16,
        watched=(0, 4),
        learning_rates=(0.03,),
        longer=0,
    ),
    "cpu": Config(),
    "gpu": dataclasses.replace(_PAPER, seeds=5, depths=(20, 32, 44, 56), steps=12_480, period=390),
    "paper": _PAPER,
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    workdir: Workdir | None = None,
    kinds: Mapping[str, Kind] = KINDS,
) -> tuple[dict, dict]:
    """Train every depth of both kinds; returns numbers and arrays named 'net/quantity'."""
    make = nets_of_depths(config.depths, config.imagenet)
    if max(config.watched) > config.steps:
        raise UserError(f"--watched={max(config.watched)} is beyond the {config.steps} steps")
    data = load(config.dataset, image_size=config.image_size or None)
    side = min(data.train.images.shape[1:3])
    if config.shrink > side:
        raise UserError(f"--shrink={config.shrink} leaves nothing of images of {side} pixels")
    if config.images:
        data = data._replace(train=data.train.sample(config.images))
    seeds_of(config)  # refuses seeds that choose the rates
    preprocess = preprocessing(config, data)
    chance = {"train": data.train.chance_error, "test": data.test.chance_error}
    numbers = {"chance": chance, "parameters": {}, "rates": {}, "tuning_loss": {}}
    arrays = {}
    nets = [Net(kind, depth) for depth in config.depths for kind in kinds]
    for net in each(nets, "nets"):
        shortcut = kinds[net.kind].shortcut
        model = make(net.depth, data.num_classes, shortcut, features=config.width)
        task = Task(apply_function(model), he2016(config, net), preprocess)
        found = _measure_net(config, net, model, task, data, progress, workdir)
        for quantity in ("parameters", "rates", "tuning_loss"):
            numbers[quantity][net.name] = found.pop(quantity)
        arrays |= {f"{net.name}/{quantity}": value for quantity, value in found.items()}
    return numbers, arrays


def _measure_net(
    config: Config,
    net: Net,
    model: ResNet,
    task: Task,
    data: Splits,
    progress: cli.ShowProgress,
    workdir: Workdir | None,
) -> dict:
    """Train one net on all seeds, at the rate that suits it best, and look into it."""
    lab = Lab(config, net, model, task, data, progress, workdir)
    rate, losses = lab.choose_rate()
    trainer, runs = lab.trainer(), lab.runs(rate)
    is_watched = net == Net("plain", max(config.depths))
    look = Look(trainer.watch_step(probes.per_layer), config.watched) if is_watched else None
    history = lab.train(trainer, runs, look)
    found = _look_into(config, model, task, data, history)
    found["rates"], found["tuning_loss"] = rate, losses
    found["parameters"] = sum(leaf[0].size for leaf in jax.tree.leaves(runs.variables["params"]))
    if is_watched:
        found["delta_norm"] = blocks.gradient_norms(trainer, history.variables, history.looks)
    if is_watched and config.longer:
        found["longer_train_error"] = lab.train_longer(runs).train["error"]
    return found


def _look_into(
    config: Config, model: ResNet, task: Task, data: Splits, history: LongHistory
) -> dict[str, np.ndarray]:
    """Return the errors along training, and what the trained nets' blocks do."""
    seen = data.train.sample(LOOKED_AT)
    judges = (data.train if config.images else data.test).sample(LESIONED)
    found = blocks.look_inside(model, task, history.variables, seen, judges)
    found["train_error"], found["test_error"] = history.train["error"], history.test["error"]
    return found | {"steps": history.steps}


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed."""
    free = ("seeds", "first_seed", "depths", "watched", "tuning_seeds", "longer")
    same = dataclasses.replace(config, **{name: getattr(_PAPER, name) for name in free})
    deepest = Net("plain", depths_of(config).high)
    return [
        *claims_of(config),
        *of_gradients(config, deepest),
        *of_the_paper(config, followed=same == _PAPER),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw error by step and by depth, and gradients, lesions and responses inside the nets."""
    low, middle, high = depths_of(config)
    labels = {kind: its.label for kind, its in KINDS.items()}
    figure, axes = plots.new_figure(3, 2, height=11.2)
    depths = sorted(config.depths)
    panels.draw_training(axes[0, 0], record, "plain", depths, "Plain nets")
    panels.draw_training(axes[0, 1], record, "resnet", depths, "Residual nets")
    plots.mark_contradicted(axes[0, 1], record, "no-degradation", "faster")
    panels.draw_ends(axes[1, 0], record, labels, depths)
    plots.mark_contradicted(
        axes[1, 0], record, "degradation", "degradation-test", "degradation-longer", "cure"
    )
    panels.draw_gradients(axes[1, 1], record, f"plain{high}", config.watched, YANG)
    seen = [claim.id for claim in of_gradients(config, Net("plain", high))]
    plots.mark_contradicted(axes[1, 1], record, *seen)
    judges = "training" if config.images else "test"
    panels.draw_lesions(axes[2, 0], record, labels, middle, judges)
    plots.mark_contradicted(axes[2, 0], record, "lesion-mild", "lesion-fatal", "lesion-order")
    panels.draw_responses(axes[2, 1], record, labels, high)
    plots.mark_contradicted(axes[2, 1], record, "responses", "responses-depth", "modifies-less")
    title = plots.headline(
        record,
        {
            ("degradation", "no-degradation"): f"From {low} to {high} layers training error rises "
            "in plain nets, not in residual ones",
            "cure": "Depth costs a plain net more training error than a residual one",
        },
        otherwise="Plain against residual nets over depth",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"ResNet shapes of CIFAR, {config.width} channels first, batch norm",
        optimizer=f"SGD with momentum .9, {words.rates('net', config.learning_rates)}, "
        f"{config.steps:,} steps",
        paper="He et al. 2016",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
