"""The nearest mistakes: how small a change of an image makes a trained net err.

Source: Szegedy et al. 2014, "Intriguing properties of neural networks" (arXiv 1312.6199), section
4, tables 1 to 4; how far noise must go: Fawzi et al. 2016 (arXiv 1608.08967), abstract. Claim in
one sentence: every trained net errs on images that look like right ones, random changes as large
do nothing, and other nets, trained on other images, err on them too.

Command: make exp-minimal-perturbation (under four minutes on two cores; embedded sets).

The paper's nets: softmax regression at three decays (FC10), dense nets of sigmoids with 100 or 200
units in two layers, softmax on the code of an autoencoder of 400 sigmoids (AE400-10). The
objective c |r| + loss is solved in the box of legal pixels for a wrong class at random, c by
bisection; beside it stands the Lagrangian of lectures, which may end in any other class. Distortion
is the paper's: the root mean square change of a pixel, over images that the net gets right.

What differs from the paper: Adam in the box in place of L-BFGS; the largest c that succeeds, not
the smallest (its c multiplies the norm); 8x8 digits in place of MNIST (``--dataset=mnist``); the
second net on the same half of the images has 200 units a layer, not 123 and 456. Perturbations
made longer grow 1.7 times, as the paper's from .058 to .1. The law of noise is of no box. Its
slope has as many points as there are sets, two on embedded data, and the sets differ in more than
their number of pixels: on ``shapes`` such a dense net learns little (``noise_error/shapes``), so
that the law is asked there of boundaries that are near those of a net before training.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.breaking import _smallest as smallest
from experiments.breaking import _smallest_panels as panels
from experiments.breaking._nets import Nets, some_of
from experiments.breaking._smallest_claims import SZEGEDY, of_decay, of_halves, of_numbers
from experiments.breaking._smallest_nets import Kind, half_nets, nets_of
from jaxvision import cli
from jaxvision.adversarial.min_norm import min_norm
from jaxvision.data import Splits, load
from jaxvision.fields import flagged
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic, minus
from jaxvision.report.record import Record
from jaxvision.types import Figure

KINDS = {
    "fc10_weak": Kind("FC10(1e-4)", "FC10, 1e-4", "linear", {}, 1e-4, 0.062),
    "fc10_middle": Kind("FC10(1e-2)", "FC10, 1e-2", "linear", {}, 1e-2, 0.1),
    "fc10_strong": Kind("FC10(1)", "FC10, 1", "linear", {}, 1.0, 0.14),
    "fc100": Kind("FC100-100-10", "FC100", "sigmoid_mlp", {"depth": 3, "width": 100}, 0.0, 0.058),
    "fc200": Kind("FC200-200-10", "FC200", "sigmoid_mlp", {"depth": 3, "width": 200}, 0.0, 0.065),
    "autoencoder": Kind("AE400-10", "AE400", "", {}, 0.0, 0.086),
}
# Who is handed what was made for FC100 trained on one half of the images.
HALVES = {
    "same": ("fc200", False),
    "other": ("fc100", True),
}
# What is asked beside KINDS: who errs on whose images, both objectives, one class for all, how far
# noise must go, here and on other sets, and nets of both halves of the images.
PARTS = ("transfer", "objectives", "pictures", "noise", "halves")
TARGET = 8  # the class that pictures are all taken for: an ostrich in the paper


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set.")
    noise_sets: tuple[str, ...] = flagged(
        ("shapes",), "Sets of other image sizes, for the law of noise."
    )
    kinds: tuple[str, ...] = flagged(tuple(KINDS), "Kinds of nets.", choices=tuple(KINDS))
    seeds: int = flagged(6, "Nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    steps: int = flagged(2000, "Steps of every net's training.", low=1, high=10**6)
    batch_size: int = flagged(100, "Images in a step.", low=1, high=65_536)
    images: int = flagged(80, "Test images that are attacked.", low=2, high=10**5)
    bisections: int = flagged(10, "Values of c.", low=1, high=100)
    attack_steps: int = flagged(100, "Steps of a minimization.", low=1, high=10_000)
    draws: int = flagged(10, "Random perturbations of each image.", low=1, high=10_000)
    longer: float = flagged(1.7, "How much longer perturbations are made.", low=1, high=100)


PRESETS = {
    "tiny": Config(
        noise_sets=(),
        kinds=("fc10_weak", "fc100"),
        seeds=2,
        first_seed=0,
        steps=20,
        images=10,
        bisections=2,
        attack_steps=4,
        draws=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        noise_sets=("mnist@7px", "mnist@14px"),
        seeds=10,
        steps=10_000,
        images=500,
        bisections=16,
        attack_steps=200,
    ),
    "paper": Config(
        dataset="mnist",
        noise_sets=("mnist@7px", "mnist@14px"),
        steps=20_000,
        images=10_000,
        bisections=20,
        attack_steps=300,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    attack: Callable = min_norm,
    kinds: Mapping[str, Kind] = KINDS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return distances [S] by kind, who errs on whose images [A, A, S], curves of noise [S, M].

    ``attack`` has the arguments of ``min_norm``.
    """
    data = load(config.dataset)
    given = smallest.given(some_of(data.test, config.images), data.num_classes, config.first_seed)
    asked = [name for name in config.kinds if name in kinds]
    other_sets = config.noise_sets if "noise" in parts else ()
    arrays, nets, found = {}, {}, {}
    with progress(len(asked) + len(other_sets) + 2, "attacking") as bar:
        for name in asked:
            nets[name] = nets_of(kinds[name], data, config)
            found[name] = smallest.attacked(nets[name], given, config, attack)
            arrays |= smallest.distances(name, nets[name], given, found[name])
            bar.advance(1)
        if "transfer" in parts:
            errors = smallest.transfer(list(nets.values()), given, list(found.values()))
            arrays |= {f"transfer/{name}": rates for name, rates in errors.items()}
        bar.advance(1)
        if "fc100" in asked:
            arrays |= _of_fc100(config, data, given, nets["fc100"], found["fc100"], attack, parts)
        if "halves" in parts and len(config.kinds) == len(KINDS):
            arrays |= _of_halves(config, data, given, attack)
        bar.advance(1)
        for name in other_sets:
            arrays |= _noise_elsewhere(name, config, attack)
            bar.advance(1)
    sizes = {name: int(np.prod(load(name).train.images.shape[1:])) for name in config.noise_sets}
    here = {config.dataset: int(np.prod(data.train.images.shape[1:]))}
    target = data.class_names[_target(data)]
    return {"target": target, "pixels": here | sizes}, arrays


def _target(data: Splits) -> int:
    """Return the class that all pictures are taken for, the last one where there are fewer."""
    return min(TARGET, data.num_classes - 1)


def _of_fc100(
    config: Config,
    data: Splits,
    given: smallest.Given,
    nets: Nets,
    found: smallest.Found,
    attack: Callable,
    parts: tuple[str, ...],
) -> dict:
    """Return what is asked of FC100-100-10 alone: both objectives, pictures, noise."""
    arrays = {}
    if "objectives" in parts:
        arrays["objectives"] = smallest.apart(nets, given, found, config, attack)
    if "pictures" in parts:
        some = some_of(data.test, 500)
        pictures = smallest.one_class_for_all(nets, some, _target(data), config, attack)
        arrays["pictures"] = np.float16(pictures)
    if "noise" in parts:
        curve = smallest.noise_curve(nets, given, found, config.draws, config.first_seed)
        arrays[f"noise/{config.dataset}"] = curve
    return arrays


def _of_halves(config: Config, data: Splits, given: smallest.Given, attack: Callable) -> dict:
    """Return who errs on what is made for FC100-100-10 that learned from half of the images."""
    made = half_nets(KINDS["fc100"], data, config, left_out=False)
    judges = {
        name: half_nets(KINDS[kind], data, config, left_out)
        for name, (kind, left_out) in HALVES.items()
    }
    of_half = smallest.attacked(made, given, config, attack)
    rates = smallest.handed_on(judges, given, of_half, config.longer)
    return {f"halves/{name}": rate for name, rate in rates.items()}


def _noise_elsewhere(name: str, config: Config, attack: Callable) -> dict:
    """Return the curve of noise on another set."""
    data = load(name)
    given = smallest.given(some_of(data.test, config.images), data.num_classes, config.first_seed)
    nets = nets_of(KINDS["fc100"], data, config)
    found = smallest.attacked(nets, given, config, attack)
    curve = smallest.noise_curve(nets, given, found, config.draws, config.first_seed)
    return {f"noise/{name}": curve, f"noise_error/{name}": np.float32(nets.test_error)}


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""

    def least(what: str) -> Statistic:
        return lambda r: np.min([r.arrays[f"{name}/{what}"] for name in config.kinds], axis=0)

    def most(what: str) -> Statistic:
        return lambda r: np.max([r.arrays[f"{name}/{what}"] for name in config.kinds], axis=0)

    def octaves(name: str, other: str) -> Statistic:
        return lambda r: np.log2(r.arrays[f"{name}/distortion"] / r.arrays[f"{other}/distortion"])

    def rate(name: str) -> Statistic:
        return lambda r: r.arrays[f"halves/{name}"]

    def others(what: str) -> Statistic:
        return lambda r: panels.off_diagonal(r, what)

    tables, section = f"{SZEGEDY}, tables 1 and 2", f"{SZEGEDY}, section 4"
    found = [
        Claim(
            "success",
            section,
            "Every kind of net can be made to err on all but 1 % of the "
            "images that it gets right (share, the least of all kinds, both objectives)",
            least("success"),
            Greater(0.99),
            needs=config.kinds,
        ),
        Claim(
            "noise",
            section,
            "Random changes as large as the smallest adversarial ones flip "
            "fewer than 5 % of the images (the most of all kinds)",
            most("noise_flips"),
            Less(0.05),
            needs=config.kinds,
        ),
    ]
    if len(config.kinds) > 1:
        found.append(
            Claim(
                "transfer",
                tables,
                "Nets err more on images made for nets of another kind than "
                "on noise as large (mean over all pairs of kinds)",
                minus(others("adversarial"), others("noise")),
                Greater(),
                needs=(*config.kinds, "transfer"),
            )
        )
    if "fc100" in config.kinds:
        found.append(
            Claim(
                "objectives",
                "question, objectives",
                "FC100-100-10: the slide's Lagrangian and "
                "Szegedy's objective without a target end equally far away (octaves)",
                lambda r: r.arrays["objectives"],
                Equivalent(0.1),
                needs=("fc100", "objectives"),
            )
        )
    if len(config.kinds) == len(KINDS):
        found += of_decay(octaves) + of_halves(rate, minus, config.longer)
        found += of_numbers(KINDS, config.dataset)
    if config.noise_sets:
        on_sets = " and ".join([config.dataset, *config.noise_sets])
        found.append(
            Claim(
                "root-law",
                "Fawzi et al. 2016, abstract",
                f"FC100-100-10 on {on_sets}, however much it learns there: the norm at which "
                "noise flips half of the images, over the adversarial distance, grows as the "
                "root of the number of pixels (slope on log axes)",
                lambda r: panels.noise_slope(r, [config.dataset, *config.noise_sets]),
                Equivalent(0.1, target=0.5),
                needs=("fc100", "noise"),
            )
        )
    return found


def plot(record: Record, config: Config) -> Figure:
    """Draw images with their nearest mistakes, then how near they are and whom they fool."""
    figure, axes = plots.new_figure(3, 2, 12.5)
    top = plots.merged(axes[0])
    labels = {name: KINDS[name].short for name in config.kinds}
    panels.draw_pictures(top, record)
    # Published for MNIST alone.
    numbers = config.kinds if config.dataset == "mnist" else ()
    published = {name: KINDS[name].published for name in numbers}
    panels.draw_distortion(axes[1, 0], record, labels, published)
    panels.draw_transfer(axes[1, 1], record, labels)
    panels.draw_halves(axes[2, 0], record, config.longer)
    panels.draw_noise(axes[2, 1], record, [config.dataset, *config.noise_sets])
    title = plots.headline(
        record,
        {
            ("noise", "transfer"): "Small changes made for one net mislead others; noise as large "
            "does not",
            "noise": "Changes that mislead a net are smaller than noise that does nothing",
        },
        "How small a change makes a net err",
    )
    return plots.finish(
        figure,
        record,
        title,
        net="Softmax regression, dense nets of sigmoids",
        optimizer=f"SGD with momentum .9 or Adam, {config.steps:,} steps",
        paper="Szegedy et al. 2014",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
