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
from collections.abc import Callable, Mapping

import numpy as np

from experiments.breaking import _fooling as fooling
from experiments.breaking import _fooling_panels as panels
from experiments.breaking import _nets as lab
from experiments.breaking import _pixel_searches as spec_of
from experiments.breaking import _retraining as retraining
from jaxvision import cli
from jaxvision.adversarial.cppn import cppn
from jaxvision.adversarial.elites import map_elites, random_search
from jaxvision.adversarial.genomes import binary_noise, direct
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Share
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
MOST_COMPARED = 500  # test images whose nearest training image is looked for
RANDOM = ("noise", "binary", "painted")


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Images that the nets have learned.")
    color_dataset: str = flagged("shapes", "Color images that conv nets have learned.")
    seeds: int = flagged(6, "Nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    width: int = flagged(128, "Units of dense nets.", low=1, high=8192)
    steps: int = flagged(600, "Training steps of dense nets.", low=1, high=10**6)
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
    "gpu": Config(dataset="mnist", seeds=10, width=256, steps=2000, color_generations=1000),
    "paper": Config(dataset="mnist", width=1024, steps=10_000, color_generations=5000, rounds=15),
}


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that are fooled."""
    return [
        Wanted(spec, seeds_of(config)) for spec in (_dense(config), _linear(config), _conv(config))
    ]


def _dense(config: Config) -> Spec:
    return spec_of.dense_spec(config.dataset, config.width, config.steps)


def _linear(config: Config) -> Spec:
    return Spec(config.dataset, "linear", {}, learning_rate=0.1, steps=config.steps)


def _conv(config: Config) -> Spec:
    return spec_of.conv_spec(config.color_dataset, config.color_width, config.color_steps)


def measure(
    config: Config, progress: cli.ShowProgress, ways: Mapping[str, Way] = WAYS, knows: bool = True
) -> tuple[dict, dict]:
    """Return log odds by way and class, [S, K] at the end, [S, T, K] along evolution, and more.

    ``knows``: whether retrained nets are told of the fooling images.
    """
    seeds = seeds_of(config)
    nets = lab.trained(_dense(config), seeds)
    arrays = _searched(config, progress, nets, ways)
    ascended = fooling.ascend_nets(nets, seeds, config.ascent_steps)
    arrays |= {
        "ascent/log_odds": ascended.log_odds,
        "ascent/images": fooling.as_pixels(ascended.images[0]),
    }
    for name, spec in {"dense": _dense(config), "linear": _linear(config)}.items():
        found = fooling.rubbish(lab.trained(spec, seeds), seeds, config.n_rubbish)
        arrays[f"{name}/rubbish"], arrays[f"{name}/rubbish_confidence"] = found
    plan = retraining.Retraining(
        config.width,
        config.steps,
        config.rounds,
        config.evolutions,
        config.generations,
        config.children,
        knows,
    )
    with progress(1, "retraining") as bar:
        rounds = retraining.retrain(nets.data, WAYS["direct"].encoding, plan, seeds)
        bar.advance()
    arrays |= {f"rounds/{name}": array for name, array in rounds._asdict().items()}
    if config.color_generations:
        arrays |= _colored(config, progress, ways)
    some = lab.some_of(nets.data.test, MOST_COMPARED).images
    test, _ = fooling.nearest(some, nets.data.train.images)
    names = list(nets.data.class_names)
    return {"class_names": names, "test_distance": float(np.median(test))}, arrays


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


NGUYEN = "Nguyen et al. 2015"


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""
    Statistic = Callable[[Record], np.ndarray]

    def all_reach(name: str, odds: float) -> Statistic:
        return lambda record: (record.arrays[f"{name}/log_odds"] >= odds).all(1)

    def random_falls_short(record: Record) -> np.ndarray:
        best = np.max([record.arrays[f"{name}/log_odds"] for name in RANDOM], axis=0)
        return (best < fooling.NINES).any(1)

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
        return (last <= config.generations).all((1, 2))

    def rubbish(name: str) -> Statistic:
        return lambda record: record.arrays[f"{name}/rubbish"]

    mnist = f"{NGUYEN}, MNIST"
    appendix = "Goodfellow et al. 2015, appendix A"
    no_color = "" if config.color_generations else "needs --color_generations"
    question = "question"
    by = f"within {config.generations} generations"
    return [
        Claim("nines-direct", mnist, f"Evolved pixels: all classes reach 99.99 % {by}",
              all_reach("direct", fooling.NINES), Share()),
        Claim("nines-cppn", mnist, f"Evolved CPPNs: all classes reach 99.99 % {by}",
              all_reach("cppn", fooling.NINES), Share()),
        Claim("random-short", f"{question}, random search", "Random search with the same budget, "
              "the best of three kinds of draws, stays below 99.99 % in some class",
              random_falls_short, Share()),
        Claim("evolution-direct", f"{question}, random search", "Evolved pixels are surer than the "
              "best that random search finds with the same budget (log odds, mean over classes)",
              lead("direct", RANDOM), Greater()),
        Claim("evolution-cppn", f"{question}, random search", "Evolved CPPNs are surer than CPPNs "
              "drawn at random with the same budget (log odds, mean over classes)",
              lead("cppn", ("painted",)), Greater()),
        Claim("ascent", f"{NGUYEN}, gradient ascent", "Gradient ascent: all classes reach 99 % "
              f"within {config.ascent_steps} steps", all_reach("ascent", fooling.SURE), Share()),
        Claim("color-cppn", f"{NGUYEN}, ImageNet", f"{config.color_dataset}, conv nets: CPPNs "
              "reach a higher confidence than pixels in as many generations (median over classes)",
              color_lead, Greater(), not_run=no_color),
        Claim("second-direct", f"{NGUYEN}, generalization", "Evolved pixels: a second net sees the "
              "class oftener than by chance", second("direct"), Greater()),
        Claim("second-cppn", f"{NGUYEN}, generalization", "Evolved CPPNs: a second net sees the "
              "class oftener than by chance", second("cppn"), Greater()),
        Claim("far", f"{NGUYEN}, unrecognizable", "Evolved CPPNs lie farther from their nearest "
              "training image than test images do (ratio of medians)", far, Greater(1.0)),
        Claim("rubbish", appendix, "Dense nets give most images of N(0, I) a class above .5",
              rubbish("dense"), Greater(0.5)),
        Claim("rubbish-linear", appendix, "Dense nets give more images of N(0, I) a class above .5 "
              "than softmax regression does",
              lambda record: rubbish("dense")(record) - rubbish("linear")(record), Greater()),
        Claim("still", f"{NGUYEN}, retraining", f"After {config.rounds} trainings with fooling "
              f"images as a class all classes still reach 99 % {by}", still, Share()),
        Claim("harder", f"{question}, retraining", f"After {config.rounds} such trainings "
              "evolution needs more generations to 99 % (log2, mean over classes)",
              gain, Greater()),
        Claim("control", "negative control, other draws", "Two evolutions against one net need as "
              "many generations to 99 % (log2, mean over classes)",
              panels.redrawn, Equivalent(0.5)),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw images of every class, how sure nets are of them, and what retraining changes."""
    figure, axes = plots.new_figure(3, 2, 13.0)
    row = axes[0, 0].get_gridspec()[0, :]
    for ax in axes[0]:
        ax.remove()
    with plots.style():
        panels.draw_images(figure.add_subplot(row), record, WAYS)
        panels.draw_evolution(axes[1, 0], record, WAYS)
        panels.draw_ways(axes[1, 1], record, WAYS)
        panels.draw_rounds(axes[2, 0], record, config.generations)
        panels.draw_color(axes[2, 1], record, WAYS)
    titles = {
        ("nines-direct", "nines-cppn", "random-short"): (
            "Evolution makes a net sure of rubbish in every class; random search does not"
        ),
        ("nines-direct", "nines-cppn"): "Nets can be made sure of rubbish in every class",
    }
    title = plots.headline(record, titles, "Images that nets are sure of and nobody recognizes")
    nets = f"{config.dataset}: dense, {config.width} units"
    steps = f"{config.steps:,} steps"
    if config.color_generations:
        nets += f"; {config.color_dataset}: AlexNet's shape, {config.color_width} channels first"
        steps = f"{config.steps:,} and {config.color_steps:,} steps"
    optimizer = f"SGD, {steps}"
    return plots.finish(figure, record, title, net=nets, optimizer=optimizer, paper=NGUYEN)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
