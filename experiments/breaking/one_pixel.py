"""One pixel: how often a single pixel changes what a net says, and who finds it.

Source: Su, Vargas & Sakurai 2019, "One pixel attack for fooling deep neural networks" (arXiv
1710.08864), abstract. Claim in one sentence: a change of one pixel, found by differential evolution
without gradients, brings two thirds of CIFAR-10's test images into another class.

Command: make exp-one-pixel (four minutes on two cores; embedded sets, no download).

On 8x8 digits there is nothing to argue about: all 256 levels of all 64 pixels can be tried, so the
share of images that one pixel fools is known exactly, and the paper's search is held against it,
with the paper's budget (400 candidates, 100 generations) and with that of a common library (10 and
10: 110 passes instead of 40,400). On color images every pixel takes the eight corners of the color
cube: a lower bound, at a fifth of the search's passes. The masks of ``shapes`` tell whether the
pixels that matter lie on the object. Several pixels are searched by evolution, and pixel after
pixel. ``--dataset=cifar10 --color_net=cifar10_fast`` asks nets that are as good as the paper's; 23
minutes each, and resumable where ``python -m jaxvision.recipes cifar10_fast --seed=900 --count=6``
trains them first.

Counted are images that a net gets right. What differs from the paper: the search ranks by the lead
of the label's logit over the largest other one, which no softmax flattens; small nets and images.
The paper's 67.97 % is a rate of any of nine targets, which is the rate of leaving the label.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from experiments.breaking import _nets as lab
from experiments.breaking import _pixel_panels as panels
from experiments.breaking import _pixel_searches as searches
from experiments.breaking._pixel_claims import FOOLED, SU, claims_of
from jaxvision import cli
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Wanted
from jaxvision.recipes import RECIPES
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError


@dataclasses.dataclass(frozen=True)
class Attack:
    """A way to find pixels on gray images.

    Attributes:
      label: in the figure.
      pixels: numbers of pixels that are changed at most.
      search: see ``_pixel_searches``.
    """

    label: str
    pixels: tuple[int, ...]
    search: searches.Search


ATTACKS = {
    "exact": Attack("everything tried", (1,), searches.by_all_levels),
    "corners": Attack("black and white tried", (1, 3, 5), searches.by_corners),
    "evolution": Attack("evolution, paper's budget", (1, 3, 5), searches.by_evolution),
    "short": Attack("evolution, library's budget", (1,), searches.by_short_evolution),
}
ALEXNET = "alexnet"
COLOR_NETS = (ALEXNET, "cifar10_fast", "cifar10_wide")
# What is asked beside ATTACKS: nets of all widths, a random pixel, color images.
PARTS = ("family", "random", "color")


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    exact_dataset: str = flagged("digits", "Gray images on which everything is tried.")
    dataset: str = flagged("shapes", "Images whose pixels take the corners of the color cube.")
    seeds: int = flagged(6, "Nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    widths: tuple[int, ...] = flagged(
        (8, 16, 32, 64, 128),
        "Units of the family's nets; the last one is attacked.",
        low=1,
        high=8192,
    )
    steps: int = flagged(600, "Training steps of dense nets.", low=1, high=10**6)
    color_net: str = flagged(
        ALEXNET, "Net for color images: AlexNet's shape, or a recipe's.", choices=COLOR_NETS
    )
    width: int = flagged(12, "AlexNet's first channels, a multiple of 3.", low=3, high=768)
    conv_steps: int = flagged(2000, "AlexNet's training steps.", low=1, high=10**6)
    most_pixels: int = flagged(5, "Pixels that are changed at most.", low=1, high=5)
    n_exact_images: int = flagged(120, "Gray test images attacked.", low=1, high=10**6)
    n_images: int = flagged(36, "Color test images attacked.", low=1, high=10**6)
    candidates: int = flagged(400, "Candidates of the evolution.", low=3, high=10**5)
    generations: int = flagged(100, "Generations of the evolution.", low=0, high=10**5)

    def __post_init__(self) -> None:
        """Refuse a recipe for other images."""
        if self.color_net == ALEXNET:
            return
        its_own = RECIPES[self.color_net].dataset
        if self.dataset != its_own:
            mend = f"add --dataset={its_own}"
            raise UserError(f"--color_net={self.color_net} learns {its_own}: {mend}")


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        widths=(8,),
        steps=20,
        dataset="digits",
        width=3,
        conv_steps=2,
        most_pixels=1,
        n_exact_images=4,
        n_images=2,
        candidates=8,
        generations=2,
    ),
    "cpu": Config(),
    "gpu": Config(dataset="cifar10", seeds=10, width=48, conv_steps=20_000, n_images=500),
    "paper": Config(dataset="cifar10", width=96, conv_steps=100_000, n_images=500),
}


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that are attacked."""
    return [
        *[Wanted(spec, seeds_of(config)) for spec in _family(config)],
        Wanted(_conv(config), seeds_of(config)),
    ]


def _family(config: Config) -> list[searches.Spec]:
    dataset, steps = config.exact_dataset, config.steps
    return [
        searches.dense_spec(dataset, width, steps, learning_rate=0.1) for width in config.widths
    ]


def _conv(config: Config) -> searches.Spec:
    """Return the net for color images."""
    if config.color_net == ALEXNET:
        return searches.conv_spec(config.dataset, config.width, config.conv_steps)
    return RECIPES[config.color_net]


def measure(
    config: Config,
    progress: cli.ShowProgress,
    attacks: Mapping[str, Attack] = ATTACKS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return who is fooled: gray images [S, B] by attack, [S, W, B] by width, color [S, B]."""
    arrays = {}
    if attacks or {"family", "random"} & set(parts):
        arrays = _gray(config, progress, attacks, parts)
    if "color" not in parts:
        return {}, arrays
    names, color = _color(config, progress)
    return {"class_names": names}, arrays | color


def _gray(
    config: Config,
    progress: cli.ShowProgress,
    attacks: Mapping[str, Attack],
    parts: tuple[str, ...],
) -> dict[str, np.ndarray]:
    seeds = seeds_of(config)
    specs = _family(config) if "family" in parts else _family(config)[-1:]
    family = [lab.trained(spec, seeds) for spec in specs]
    some = lab.some_of(family[0].data.test, config.n_exact_images)
    arrays = {}
    with progress(len(attacks) + 1, "attacks on gray images") as bar:
        for name, attack in attacks.items():
            pixels = [number for number in attack.pixels if number <= config.most_pixels]
            search = partial(attack.search, config, pixels)
            found = searches.attack_nets(family[-1], seeds, some, search)
            for quantity in ("right", "success", "success_8bit", "forwards"):
                arrays[f"{name}/{quantity}"] = found._asdict()[quantity]
            bar.advance()
        if "family" in parts:
            arrays |= _by_width(config, family, some)
        if "random" in parts:
            arrays["random/share"] = searches.random_pixels(family[-1], seeds, some, draws=400)
        bar.advance()
    return arrays


def _by_width(config: Config, family: Sequence[lab.Nets], some: lab.Images) -> dict:
    """Return what one pixel, black or white, does to nets of every width."""
    search = partial(searches.by_corners, config, (1,))
    found = [searches.attack_nets(nets, seeds_of(config), some, search) for nets in family]
    return {
        "family/right": np.stack([each.right for each in found], 1),
        "family/success": np.stack([each.success[:, 0] for each in found], 1),
        "family/test_error": np.stack([nets.test_error for nets in family], 1),
    }


def _color(config: Config, progress: cli.ShowProgress) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the names of the classes, and what the corners of the color cube do."""
    nets = lab.trained(_conv(config), seeds_of(config))
    sample = nets.data.test.sample(config.n_images)
    some = lab.some_of(nets.data.test, config.n_images)
    with progress(1, "corners on color images") as bar:
        found = searches.map_of(nets, seeds_of(config), some)
        bar.advance()
    arrays = {
        "color/right": found.right,
        "color/success": found.result.success,
        "color/vulnerable": found.vulnerable,
        "color/test_error": nets.test_error,
        "color/images": sample.images,
        "color/labels": sample.labels,
        "color/attacked": np.rint(255 * found.result.images[0]).astype(np.uint8),
        "color/predictions": found.result.predictions[0],
    }
    if sample.masks is not None:
        arrays["color/masks"] = sample.masks
    return list(nets.data.class_names), arrays


def claims(config: Config) -> list[Claim]:
    """Return the source's claims and the questions beside them."""
    return claims_of(config, ATTACKS)


def plot(record: Record, config: Config) -> Figure:
    """Draw fooled images, who finds the pixel, for how many pixels, in which nets and where."""
    figure, axes = plots.new_figure(3, 2, 11.0)
    with plots.style():
        top = plots.merged(axes[0])
        panels.draw_images(top, record, record.numbers["class_names"])
        panels.draw_searches(axes[1, 0], record, ATTACKS)
        panels.draw_pixels(axes[1, 1], record, ATTACKS)
        panels.draw_family(axes[2, 0], record, config.widths)
        if "color/masks" in record.arrays:
            panels.draw_places(axes[2, 1], record)
        else:
            published = FOOLED if config.dataset == "cifar10" else None
            panels.draw_colors(axes[2, 1], record, published)
    titles = {
        ("fools", "evolution", "short"): (
            "One pixel fools many images; the paper's search finds nearly all of them, a library's "
            "budget does not"
        ),
        "fools": "One pixel is enough to fool many images",
    }
    title = plots.headline(record, titles, "How often one pixel changes what a net says")
    return plots.finish(
        figure,
        record,
        title,
        net=f"{config.exact_dataset}: dense, {config.widths[-1]} units; {config.dataset}: "
        f"{_words(config)}",
        optimizer=f"SGD, {config.steps:,} and {_conv(config).steps:,} steps",
        paper=SU,
    )


def _words(config: Config) -> str:
    """Return what the net for color images is, for the footer."""
    if config.color_net == ALEXNET:
        return f"AlexNet's shape, {config.width} channels first"
    return f"conv nets of the recipe {config.color_net}"


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
