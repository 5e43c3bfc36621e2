"""Fooling images: what nets are sure of and nobody recognizes, and what evolution adds.

Source: Nguyen, Yosinski & Clune 2015, "Deep neural networks are easily fooled" (arXiv 1412.1897),
MNIST; Goodfellow et al. 2015 (arXiv 1412.6572), appendix A. Claim in one sentence: within 200
generations evolution makes, for every class, an image of noise or of regular patterns that a net
takes for the class with 99.99 % confidence.

Command: make exp-fooling-images (four minutes on two cores; embedded sets, no download).

MAP-Elites keeps the surest image of each class and mutates it: pixels (direct) or a small network
that paints (CPPN). The question that the paper leaves open is what of it is evolution's doing, so
random search has the same budget: even noise, black-and-white noise of any density, networks drawn
at random. Beside them stand gradient ascent, images of N(0, I), what a second net says to the
images, and which training image is nearest. Then nets are trained anew with the fooling images as
one class more, and fooled again, round after round.

What differs from the paper: small nets and images; mutation without crossover; probabilities are
ranked by their log odds, which do not end at 1 in float32; retraining uses the direct encoding.
"""

import dataclasses
import sys
from collections.abc import Mapping

import numpy as np

from experiments.breaking import _fooling as fooling
from experiments.breaking import _fooling_panels as panels
from experiments.breaking import _nets as lab
from experiments.breaking import _pixel_searches as spec_of
from experiments.breaking import _retraining as retraining
from experiments.breaking._fooling_claims import NGUYEN, claims_of
from jaxvision import cli
from jaxvision.adversarial.cppn import cppn
from jaxvision.adversarial.elites import map_elites, random_search
from jaxvision.adversarial.genomes import binary_noise, direct
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to find fooling images.

    Attributes:
      label: in the figure.
      encoding: image shape -> encoding.
      search: evolution, or random search with as many images.
      colored: also tried on color images.
    """

    label: str
    encoding: fooling.MakeEncoding
    search: fooling.Search
    colored: bool = False


WAYS = {
    "direct": Way("evolved pixels", direct, map_elites, colored=True),
    "cppn": Way("evolved CPPN", cppn, map_elites, colored=True),
    "noise": Way("random pixels", direct, random_search),
    "binary": Way("random black and white", binary_noise, random_search),
    "painted": Way("random CPPN", cppn, random_search),
}
# What is asked beside WAYS: gradient ascent, images of N(0, I), trainings with fooling images, and
# color images.
PARTS = ("ascent", "rubbish", "retraining", "color")
MOST_COMPARED = 500  # test images whose nearest training image is looked for


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Images that the nets have learned.")
    color_dataset: str = flagged("shapes", "Color images that conv nets have learned.")
    seeds: int = flagged(6, "Nets of each kind.", low=2, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    width: int = flagged(128, "Units of dense nets.", low=1, high=8192)
    steps: int = flagged(600, "Training steps of dense nets.", low=1, high=10**6)
    learning_rate: float = flagged(0.1, "Of dense and linear nets.", low=0)
    color_width: int = flagged(12, "Channels of conv nets, a multiple of 3.", low=3, high=768)
    color_steps: int = flagged(2000, "Training steps of conv nets.", low=1, high=10**6)
    generations: int = flagged(200, "Generations of an evolution.", low=1, high=10**5)
    color_generations: int = flagged(
        40, "Generations on color images; 0 leaves them out.", low=0, high=10**5
    )
    children: int = flagged(200, "Children of a generation.", low=2, high=10**5)
    ascent_steps: int = flagged(300, "Steps of gradient ascent.", low=1, high=10**5)
    n_rubbish: int = flagged(1000, "Images of N(0, I).", low=1, high=10**6)
    rounds: int = flagged(5, "Trainings with fooling images.", low=1, high=100)
    evolutions: int = flagged(3, "Evolutions of a round.", low=2, high=100)


PRESETS = {
    "tiny": Config(
        color_dataset="digits",
        seeds=2,
        first_seed=0,
        width=8,
        steps=4,
        color_width=3,
        color_steps=2,
        generations=2,
        color_generations=0,
        children=4,
        ascent_steps=2,
        n_rubbish=10,
        rounds=1,
        evolutions=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        seeds=10,
        width=256,
        steps=2000,
        learning_rate=0.01,
        color_generations=1000,
    ),
    "paper": Config(
        dataset="mnist",
        width=1024,
        steps=10_000,
        learning_rate=0.01,
        color_generations=5000,
        rounds=15,
    ),
}


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that are fooled."""
    return [
        Wanted(spec, seeds_of(config)) for spec in (_dense(config), _linear(config), _conv(config))
    ]


def _dense(config: Config) -> Spec:
    return spec_of.dense_spec(config.dataset, config.width, config.steps, config.learning_rate)


def _linear(config: Config) -> Spec:
    return Spec(
        config.dataset, "linear", {}, learning_rate=config.learning_rate, steps=config.steps
    )


def _conv(config: Config) -> Spec:
    return spec_of.conv_spec(config.color_dataset, config.color_width, config.color_steps)


def measure(
    config: Config,
    progress: cli.ShowProgress,
    ways: Mapping[str, Way] = WAYS,
    knows: bool = True,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return log odds by way and class, [S, K] at the end, [S, T, K] along evolution, and more.

    ``knows``: whether retrained nets are told of the fooling images.
    """
    seeds = seeds_of(config)
    nets = lab.trained(_dense(config), seeds)
    arrays = _searched(config, progress, nets, ways) if ways else {}
    if "ascent" in parts:
        ascended = fooling.ascend_nets(nets, seeds, config.ascent_steps)
        arrays["ascent/log_odds"] = ascended.log_odds
        arrays["ascent/images"] = fooling.as_pixels(ascended.images[0])
    if "rubbish" in parts:
        for name, spec in {"dense": _dense(config), "linear": _linear(config)}.items():
            found = fooling.rubbish(lab.trained(spec, seeds), seeds, config.n_rubbish)
            arrays[f"{name}/rubbish"], arrays[f"{name}/rubbish_confidence"] = found
    if "retraining" in parts:
        arrays |= _retrained(config, progress, nets, knows)
    if "color" in parts and config.color_generations:
        arrays |= _colored(config, progress, {**WAYS, **ways})  # alone it needs no row of the table
    some = lab.some_of(nets.data.test, MOST_COMPARED).images
    test, _ = fooling.nearest(some, nets.data.train.images)
    names = list(nets.data.class_names)
    return {"class_names": names, "test_distance": float(np.median(test))}, arrays


def _retrained(
    config: Config, progress: cli.ShowProgress, nets: lab.Nets, knows: bool
) -> dict[str, np.ndarray]:
    """Return what evolution finds after each training with fooling images."""
    plan = retraining.Retraining(
        config.width,
        config.steps,
        config.rounds,
        config.evolutions,
        config.generations,
        config.children,
        config.learning_rate,
        knows,
    )
    with progress(1, "retraining") as bar:
        rounds = retraining.retrain(nets.data, WAYS["direct"].encoding, plan, seeds_of(config))
        bar.advance()
    return {f"rounds/{name}": array for name, array in rounds._asdict().items()}


def _searched(
    config: Config, progress: cli.ShowProgress, nets: lab.Nets, ways: Mapping[str, Way]
) -> dict[str, np.ndarray]:
    """Return what each way found, and what other nets and the training images say to it."""
    arrays, images = {}, []
    with progress(len(ways), "searching") as bar:
        for name, way in ways.items():
            sizes = config.generations, config.children
            found = fooling.search_nets(nets, seeds_of(config), way.search, way.encoding, *sizes)
            images.append(found.images)
            arrays[f"{name}/log_odds"] = found.log_odds
            arrays[f"{name}/images"] = fooling.as_pixels(found.images[0])
            if way.search is map_elites:
                arrays[f"{name}/trace"] = found.trace
            bar.advance()
    seconds = fooling.second_opinions(nets, np.stack(images))
    train = nets.data.train.images
    for name, found, second in zip(ways, images, seconds, strict=True):
        count, classes = found.shape[:2]
        distances, rows = fooling.nearest(found.reshape(-1, *found.shape[2:]), train)
        arrays[f"{name}/second"] = second
        arrays[f"{name}/distance"] = distances.reshape(count, classes)
        arrays[f"{name}/nearest"] = train[rows[:classes]]
    return arrays


def _colored(
    config: Config, progress: cli.ShowProgress, ways: Mapping[str, Way]
) -> dict[str, np.ndarray]:
    nets = lab.trained(_conv(config), seeds_of(config))
    colored = {name: way for name, way in ways.items() if way.colored}
    arrays = {"color/test_error": nets.test_error}
    with progress(len(colored), "searching color images") as bar:
        for name, way in colored.items():
            sizes = config.color_generations, config.children
            found = fooling.search_nets(nets, seeds_of(config), way.search, way.encoding, *sizes)
            arrays[f"color/{name}/log_odds"] = found.log_odds
            arrays[f"color/{name}/images"] = fooling.as_pixels(found.images[0])
            bar.advance()
    return arrays


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw images of every class, how sure nets are of them, and what retraining changes."""
    figure, axes = plots.new_figure(3, 2, 13.0)
    with plots.style():
        panels.draw_images(plots.merged(axes[0]), record, WAYS)
        panels.draw_evolution(axes[1, 0], record, WAYS)
        panels.draw_ways(axes[1, 1], record, WAYS)
        panels.draw_rounds(axes[2, 0], record, config.generations)
        if config.color_generations:
            panels.draw_color(axes[2, 1], record, WAYS)
        else:
            panels.draw_rubbish(axes[2, 1], record)
    titles = {
        ("nines-direct", "nines-cppn", "random-short"): (
            "Evolution makes a net sure of rubbish in every class; random search does not"
        ),
        ("nines-direct", "random-short"): (
            "Evolved pixels make a net sure of rubbish in every class; random search does not"
        ),
        ("nines-direct", "nines-cppn"): "Nets can be made sure of rubbish in every class",
        "not nines-direct": "Evolution does not make these nets sure of rubbish in every class",
    }
    title = plots.headline(record, titles, "How sure nets can be made of rubbish")
    nets = f"{config.dataset}: dense, {config.width} units"
    steps = f"{config.steps:,} steps"
    if config.color_generations:
        nets += f"; {config.color_dataset}: AlexNet's shape, {config.color_width} channels first"
        steps = f"{config.steps:,} and {config.color_steps:,} steps"
    optimizer = f"SGD, {steps}"
    return plots.finish(figure, record, title, net=nets, optimizer=optimizer, paper=NGUYEN)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
