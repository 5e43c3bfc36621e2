"""Backward rules: what gradient, deconvnet and guided backpropagation show, and what it is worth.

Sources: Springenberg et al. 2014, "Striving for simplicity" (arXiv 1412.6806); Zeiler & Fergus 2013
(arXiv 1311.2901); Simonyan et al. 2013 (arXiv 1312.6034); Nie, Zhang & Patel 2018 (arXiv
1805.07039); Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv 1810.03292).
Source: the lecture's "which pixels affect the neuron?". Claim in one sentence: guided
backpropagation draws the image and not the net: at random weights it recovers its input, and it
survives the loss of the upper layers.

Command: make exp-backward-rules (5 minutes on two cores, drawn shapes, no download).

What differs from the sources: small nets on drawn shapes, whose objects have exact masks; large
objects, which cover the center of most pictures, and small ones, which do not
(``--small_dataset=small_shapes``: their nets need another five minutes). Scores are means over
images, one number a net; each stands beside maps that have never seen a net. Where a net's values
are tied in a pool the signal is shared, not switched. A random net's weights are those that
another seed's net began with.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.seeing import _nets, _rules
from experiments.seeing import _rule_panels as panels
from experiments.seeing import _rule_parts as parts
from experiments.seeing._rules import Method
from jaxvision import cli
from jaxvision.attribution.maps import probability
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Within
from jaxvision.report.record import Record
from jaxvision.types import Figure

METHODS = {
    "gradient": Method("gradient", "gradient"),
    "softmax": Method("softmax's gradient", "gradient", probability),
    "deconvnet": Method("deconvnet", "deconvnet"),
    "guided": Method("guided backprop", "guided"),
}
SHARES = (0, 1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # of the training, where nets are looked at


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes16k", "Data set: digits, shapes, a TFDS name, or a path.")
    small_dataset: str = flagged("none", "One of small objects: small_shapes.")
    seeds: int = flagged(5, "Nets.", low=2, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    width: int = flagged(16, "Channels of the first convolution.", low=1, high=1024)
    steps: int = flagged(_nets.STEPS, "Training steps.", low=10, high=10**6)
    small_steps: int = flagged(3200, "Those on small objects.", low=10, high=10**6)
    batch_size: int = flagged(_nets.BATCH_SIZE, "Images in a step.", low=2, high=65_536)
    learning_rate: float = flagged(_nets.LEARNING_RATE, "Adam's, at its highest.", low=0)
    n_images: int = flagged(100, "Test images that are explained.", low=10, high=10**5)
    covered_images: int = flagged(50, "Those that are covered.", low=2, high=10**5)
    window: int = flagged(7, "Pixels of the covering window's side.", low=1, high=512)
    stride: int = flagged(3, "Pixels between two of its places.", low=1, high=512)
    filters: tuple[int, ...] = flagged(
        (4, 16, 64, 256), "Filters of random nets, ascending.", low=1, high=10**5
    )
    random_images: int = flagged(40, "Images for random nets.", low=2, high=10**4)


PRESETS = {
    "tiny": Config(
        dataset="digits",
        seeds=2,
        first_seed=0,
        width=2,
        steps=11,
        batch_size=20,
        n_images=10,
        covered_images=4,
        window=4,
        stride=4,
        filters=(2, 4),
        random_images=4,
    ),
    "cpu": Config(),
    "gpu": Config(
        small_dataset="small_shapes",
        seeds=10,
        width=64,
        steps=5000,
        small_steps=10_000,
        n_images=1000,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        width=96,
        steps=100_000,
        batch_size=128,
        learning_rate=0.001,
        n_images=1000,
    ),
}


def specs_of(config: Config) -> dict[str, Spec]:
    """Return the nets by the size of their objects."""
    shared = {
        "width": config.width,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
    }
    specs = {"large": _nets.spec_of(config.dataset, steps=config.steps, **shared)}
    if config.small_dataset != "none":
        specs["small"] = _nets.spec_of(
            config.small_dataset, depth=len(_nets.CHANNELS), steps=config.small_steps, **shared
        )
    return specs


def looks_of(config: Config) -> tuple[int, ...]:
    """Return the steps at which nets are looked at."""
    return _rules.steps_of_looks(config.steps, SHARES)


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that a run asks for."""
    seeds = seeds_of(config)
    specs = specs_of(config)
    wanted = [Wanted(specs["large"], seeds, looks_of(config))]
    return wanted + [Wanted(spec, seeds) for size, spec in specs.items() if size != "large"]


def measure(
    config: Config, progress: cli.ShowProgress, table: Mapping[str, Method] = METHODS
) -> tuple[dict, dict]:
    """Train nets, and look at them; arrays 'part/method' [S, ...]."""
    looks = looks_of(config)
    arrays: dict[str, np.ndarray] = {}
    with progress(len(specs_of(config)) + 1, "maps") as bar:
        for size, spec in specs_of(config).items():
            nets = _nets.trained(spec, seeds_of(config), looks if size == "large" else ())
            some = _nets.some_of(nets.data.test, config.n_images)
            arrays |= parts.of_size(config, size, nets, some, table)
            bar.advance()
            if size == "large":
                arrays |= parts.random(config, nets, table)
                bar.advance()
    return {"looks": looks}, arrays


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here. Statistics are one number a net."""
    scores = {"pointing": 0, "iou": 1, "mass": 2}
    masked = config.dataset in _nets.MASKED
    no_masks = "" if masked else "the set has no masks: --dataset=shapes16k"
    no_small = "" if config.small_dataset in _nets.MASKED else "--small_dataset=small_shapes"
    many = config.filters.index(64) if 64 in config.filters else len(config.filters) - 1
    n = config.filters[many]

    def array(name: str, at: int = -1) -> Callable[[Record], np.ndarray]:
        return lambda record: record.arrays[name][..., at]

    def whole(name: str) -> Callable[[Record], np.ndarray]:
        return lambda record: record.arrays[name]

    def minus(one: Callable, other: Callable) -> Callable[[Record], np.ndarray]:
        return lambda record: one(record) - other(record)

    def lead(size: str, score: str, one: str, other: str) -> Callable[[Record], np.ndarray]:
        at = scores[score]
        return minus(array(f"{size}/{one}", at), array(f"{size}/{other}", at))

    def best(record: Record) -> np.ndarray:
        methods = [*METHODS, "occlusion"]
        return np.max([record.arrays[f"large/{name}"][:, 0] for name in methods], axis=0)

    def drawn_anew(rule: str, layers: int, sign: str = "unsigned") -> Callable:
        return array(f"cascade/{sign}/{rule}", layers)

    def since(rule: str, share: int) -> Callable[[Record], np.ndarray]:
        return minus(array(f"along/{rule}"), array(f"along/{rule}", share))

    nie, adebayo = "Nie et al. 2018", "Adebayo et al. 2018"
    pointing_game = "pointing game on VOC07, TorchRay"
    return [
        Claim("nie-guided", nie, f"A random conv net of {n} filters: guided backprop correlates "
              "with the centered input by more than .5", array("random/conv/guided", many),
              Greater(0.5), "theory"),
        Claim("nie-gradient", nie, f"There, {n} filters: the gradient does not correlate with the "
              "input", array("random/conv/gradient", many), Equivalent(0.05), "theory"),
        Claim("nie-deconvnet", nie, f"There, {n} filters, no pooling: the deconvnet does not "
              "correlate with the input", array("random/conv/deconvnet", many), Equivalent(0.05),
              "theory"),
        Claim("nie-pool", nie, "With max pooling the deconvnet recovers more of the input as "
              f"filters are added (from {config.filters[0]} to {config.filters[-1]})",
              minus(array("random/pool/deconvnet"), array("random/pool/deconvnet", 0)), Greater(),
              "theory"),
        Claim("nie-more", nie, f"Guided backprop recovers more with {config.filters[-1]} filters "
              f"than with {config.filters[0]}", minus(array("random/conv/guided"),
              array("random/conv/guided", 0)), Greater(), "theory"),
        Claim("nie-classes", nie, f"Random nets, {n} filters: maps of two classes are more alike "
              "under guided backprop than under the gradient, by .3",
              minus(array("classes/conv/guided", many), array("classes/conv/gradient", many)),
              Greater(0.3), "theory"),
        Claim("ig-half", f"{adebayo}, appendix", "Integrated gradients of a linear score are half "
              "of (input - baseline) times weights (ratio)", whole("linear/half"),
              Within(0.5, 0.001), "theory"),
        Claim("cascade-guided", f"{adebayo}, figure 2", "With the dense layer drawn anew, |guided "
              "backprop| keeps more of its ranks than the |gradient|, by .1",
              minus(drawn_anew("guided", 1), drawn_anew("gradient", 1)), Greater(0.1)),
        Claim("cascade-upper", f"{adebayo}, erratum", "|Guided backprop| keeps its ranks (above "
              ".8) when the dense layer and the last convolution are drawn anew",
              drawn_anew("guided", 2), Greater(0.8)),
        Claim("cascade-all", f"{adebayo}, first version", "|Guided backprop| keeps its ranks "
              "(above .8) when all layers are drawn anew", drawn_anew("guided", -1), Greater(0.8)),
        Claim("cascade-signed", f"{adebayo}, figure 2", "The signed gradient loses all ranks when "
              "the dense layer is drawn anew", drawn_anew("gradient", 1, "signed"),
              Equivalent(0.1)),
        Claim("cascade-sign", "question, signs", "There the |gradient| keeps more ranks than the "
              "signed one, by .2: the sign decides what the check finds",
              minus(drawn_anew("gradient", 1), drawn_anew("gradient", 1, "signed")),
              Greater(0.2)),
        Claim("center-large", "question, floors", "Large objects: the center of the picture points "
              "better than the best of all methods", minus(array("large/center", 0), best),
              Greater(), not_run=no_masks),
        Claim("center-small", "question, floors", "Small objects: guided backprop points better "
              "than the center, by .1", lead("small", "pointing", "guided", "center"),
              Greater(0.1), not_run=no_small),
        Claim("deconvnet-center", f"{pointing_game}: 67.5 against 69.6", "Large objects: the "
              "deconvnet points worse than the center", lead("large", "pointing", "deconvnet",
              "center"), Less(), not_run=no_masks),
        Claim("pointing-guided", f"{pointing_game}: 75.9 against 76.3", "Small objects: guided "
              "backprop points as well as the gradient, within .05",
              lead("small", "pointing", "guided", "gradient"), Equivalent(0.05),
              not_run=no_small),
        Claim("mass-guided", "Springenberg et al. 2014, section 3.4: cleaner", "Large objects: "
              "more of guided backprop than of the gradient lies on the object",
              lead("large", "mass", "guided", "gradient"), Greater(), not_run=no_masks),
        Claim("mass-deconvnet", "Springenberg et al. 2014, section 3.4: cleaner", "Large objects: "
              "more of guided backprop than of the deconvnet lies on the object",
              lead("large", "mass", "guided", "deconvnet"), Greater(), not_run=no_masks),
        Claim("edges-gradient", "Clark et al. 2023 (arXiv 2306.12816)", "Large objects: less of "
              "the gradient than 1.1 times an edge detector's lies on the object",
              lambda r: r.arrays["large/gradient"][:, 2] - 1.1 * r.arrays["large/edges"][:, 2],
              Less(), not_run=no_masks),
        Claim("edges-guided", "Clark et al. 2023 (arXiv 2306.12816)", "Large objects: less of "
              "guided backprop than 1.1 times an edge detector's lies on the object",
              lambda r: r.arrays["large/guided"][:, 2] - 1.1 * r.arrays["large/edges"][:, 2],
              Less(), not_run=no_masks),
        Claim("softmax", "Simonyan et al. 2013, section 3: the unnormalized score", "Large "
              "objects: more of the logit's gradient than of the softmax's lies on the object",
              lead("large", "mass", "gradient", "softmax"), Greater(), not_run=no_masks),
        Claim("occlusion-mass", "question, methods", "Large objects: more of occlusion's map than "
              "of guided backprop lies on the object",
              lead("large", "mass", "occlusion", "guided"), Greater(), not_run=no_masks),
        Claim("agreement", "question, methods", "Guided backprop agrees with occlusion more than "
              "an edge detector does (rank correlation)",
              minus(whole("large/agreement/guided"), whole("large/agreement/edges")), Greater()),
        Claim("flat", "hypothesis: guided backprop is blind to training", "Guided backprop's share "
              "on the object stays within .02 from the random net to the trained one",
              since("guided", 0), Equivalent(0.02), not_run=no_masks),
        Claim("late", "pilot of this gallery", "In the last half of training guided backprop's "
              "share on the object still rises by more than the gradient's",
              minus(since("guided", -2), since("gradient", -2)), Greater(), not_run=no_masks),
        Claim("control", "negative control, a random map", "Large objects: a random map's share on "
              "the object is the object's share of the picture",
              lambda r: r.arrays["large/random"][:, 2] - r.arrays["large/area"], Equivalent(0.005),
              not_run=no_masks),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw the maps, what they are at random weights, and what they are worth."""
    figure, axes = plots.new_figure(3, 2, 13.0)
    row = axes[0, 0].get_gridspec()[0, :]
    for ax in axes[0]:
        ax.remove()
    with plots.style():
        panels.draw_pictures(figure.add_subplot(row), record, METHODS)
    panels.draw_recovery(axes[1, 0], record, METHODS, config.filters)
    panels.draw_cascade(axes[1, 1], record, METHODS)
    panels.draw_scores(axes[2, 0], record, METHODS)
    panels.draw_along(axes[2, 1], record, METHODS)
    title = plots.headline(
        record,
        {
            ("nie-guided", "nie-gradient", "cascade-guided"): "Guided backprop draws its input: at "
            "random weights too, and after the loss of upper layers",
            ("nie-guided", "nie-gradient"): "At random weights guided backprop draws its input, "
            "the gradient does not",
        },
        "What gradient, deconvnet and guided backprop show",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"Five convolutions, {config.width} channels first",
        optimizer=f"Adam, {config.steps:,} steps",
        paper="Springenberg et al. 2014; Nie et al. 2018; Adebayo et al. 2018",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
