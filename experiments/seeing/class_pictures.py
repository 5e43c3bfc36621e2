"""Class pictures: what one net calls a class, by gradient ascent on pixels, and who else sees it.

Sources: Simonyan et al. 2013 (arXiv 1312.6034), section 2; Yosinski et al. 2015 (arXiv 1506.06579),
section 3, and their code; Olah et al. 2017, Feature Visualization
(https://distill.pub/2017/feature-visualization).
Source: Simonyan et al. 2013. Claim in one sentence: gradient ascent on a class's score draws a
picture of what the net means by the class, and with a prior it is one that others recognize.

Command: make exp-class-pictures (five minutes on two cores; an embedded set, no download).

A picture is no evidence: beside each stands how many of the other nets, trained alike from other
seeds, put it into its class. The floor is the same pictures scored for the next class, the ceiling
test images. Every way starts from the same draws and takes as many steps; the lecture's softmax and
its logarithm are climbed too, as many steps. The softmax stops where the net is sure and travels
less, so the logit is also climbed as far as the softmax came; the logarithm is not.

Yosinski's sets take his steps, which should raise the logit by a given gain, and stand beside the
same steps without a prior. The gain is 2 as printed in sets 1 and 4; sets 2 and 3, which have one
rate for a net of other gradients, take 20: it balances what they take away. Rates have no bound.
His blurs are as wide in our pixels as in his, a seventh of which would be none at all. The blur
beside them gives pictures the contrast back that it took, so that it changes shapes alone.

What differs from the papers: nets of 45,000 weights and pictures of 32 pixels; fewer steps than
theirs. Jitter rolls pictures around the border instead of cropping them from larger ones; there is
no turning and no scaling. Priors other than Yosinski's are climbed by Adam.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.seeing import _ascents as ascents
from experiments.seeing import _making as making
from experiments.seeing import _nets as lab
from experiments.seeing import _picture_claims as verdicts
from experiments.seeing import _picture_panels as panels
from experiments.seeing import _picture_scores as scores
from jaxvision import cli
from jaxvision.attribution.objectives import log_probability, probability
from jaxvision.attribution.regularizers import LEVELS, YOSINSKI
from jaxvision.data import load
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Trained, Wanted, trained
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure

PIXELS = making.Way("no prior")
JITTERED = making.Way("Fourier + jitter", waves=True, jitter=2)
GAIN = YOSINSKI[0].gain  # 2: by which a step should raise the logit, to first order
LARGE_GAIN = 10 * GAIN


def _climbing(way: making.Way) -> dict[str, making.Way]:
    """Return the ways to climb otherwise than by the logit, and by less of it."""
    change = dataclasses.replace
    return {
        "softmax": change(way, label="p", objective=probability, leads=True),
        "log": change(way, label="log p", objective=log_probability),
        "near": change(way, label="logit, as far as p", near=True),
    }


def _prefixed(
    prefix: str,
    ways: Mapping[str, making.Way],
) -> dict[str, making.Way]:
    return {f"{prefix}-{name}": way for name, way in ways.items()}


def _set(number: int) -> making.Way:
    """Return one of Yosinski's sets, at its printed gain; a large one where none is printed."""
    recipe = YOSINSKI[number - 1]
    gain = recipe.gain if np.isfinite(recipe.gain) else LARGE_GAIN
    return making.Way(f"Yosinski {number}", recipe=recipe, gain=gain)


WAYS = {
    "none": PIXELS,
    "l2": making.Way("L2", l2=1.0),
    "blur": making.Way("blur", blur=0.5),
    "steps-2": making.Way("no prior, +2", gain=GAIN),
    "yosinski-1": _set(1),
    "yosinski-4": _set(4),
    "steps-20": making.Way("no prior, +20", gain=LARGE_GAIN),
    "yosinski-2": _set(2),
    "yosinski-3": _set(3),
    "fourier": making.Way("Fourier", waves=True),
    "jitter": JITTERED,
    **_prefixed("none", _climbing(PIXELS)),
    **_prefixed("jitter", _climbing(JITTERED)),
}
PRIORS = tuple(WAYS)[:11]
DRAWN = ("none", "l2", "yosinski-3", "blur", "fourier", "jitter")
PARTS = ("gradients", "drawn")  # along the way of "none"; pictures of DRAWN
EXAMPLES = 20  # test images of a class that pictures are compared with
POINTS = 11  # from a start towards its picture, where gradients are compared


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes16k", "Images that the nets have learned.")
    seeds: int = flagged(5, "Nets.", low=2, high=1000)
    first_seed: int = flagged(930, "First seed.", low=0, high=10**9)
    width: int = flagged(lab.CHANNELS[0], "Channels of the first layers.", low=2, high=1024)
    steps: int = flagged(lab.SURE_STEPS, "Training steps.", low=1, high=10**6)
    ascent_steps: int = flagged(250, "Steps of gradient ascent.", low=1, high=10**5)
    starts: int = flagged(2, "Pictures of a class.", low=2, high=100)


PRESETS = {
    "tiny": Config(dataset="digits", seeds=2, first_seed=0, width=2, steps=4, ascent_steps=2),
    "cpu": Config(),
    "gpu": Config(dataset="cifar10", seeds=10, width=64, steps=20_000, ascent_steps=512, starts=10),
    "paper": Config(
        dataset="cifar10", seeds=10, width=64, steps=70_000, ascent_steps=1000, starts=20
    ),
}


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets whose pictures are made."""
    return [Wanted(_spec(config), seeds_of(config))]


def _spec(config: Config) -> Spec:
    return lab.spec_of(config.dataset, width=config.width, steps=config.steps)


def measure(
    config: Config,
    progress: cli.ShowProgress,
    ways: Mapping[str, making.Way] = WAYS,
    judges: Callable[[int], np.ndarray] = scores.others,
    means: Callable[[np.ndarray, int], np.ndarray] = scores.shifted,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return scores by net and way [N, W], and pictures of the first net.

    ``judges``: number of nets -> which nets judge each one's pictures. ``means``: the classes that
    nets of permuted classes mean.

    Raises:
      UserError: a class has fewer test images than pictures are held against; nothing is trained.
    """
    making.refuse(load(config.dataset), EXAMPLES)
    nets = trained(_spec(config), seeds_of(config))
    count = nets.data.num_classes
    classes = np.tile(np.arange(count), config.starts)
    rows = making.rows(ways)
    with progress(1, "making pictures") as bar:
        made = making.make(nets, seeds_of(config), rows, config.starts, config.ascent_steps)
        bar.advance()
    pictures = making.as_shown(made.pictures)
    chosen = judges(config.seeds)
    logits = making.answers(nets, pictures)
    own = scores.own(logits, classes)
    shares = scores.votes(logits, classes, chosen)
    permuted = scores.votes(logits, means(classes, count), chosen)
    real = _real(nets, pictures, chosen)
    numbers = {"ways": list(ways), "class_names": list(nets.data.class_names)}
    arrays = {
        "agreement": shares.mean(-1),
        "permuted": permuted.mean(-1),
        "own_logit": own.logit,
        "own_probability": own.probability,
        "distance": made.distance.mean(-1),
        **real,
    }
    if "gradients" in parts:
        arrays |= _gradients(nets, made, classes, list(ways))
    if "drawn" in parts:
        arrays |= _shown(pictures, shares, list(ways), count)
    return numbers, arrays


def _real(
    nets: Trained,
    pictures: np.ndarray,
    judges: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return what test images score, and pictures relative to them."""
    images, labels = making.examples(nets.data, EXAMPLES)
    logits = making.answers(nets, images)
    right = (logits.argmax(-1) == labels).mean(-1)
    own = logits[:, np.arange(len(labels)), labels]
    count = nets.data.num_classes
    of_class = images.reshape(count, -1, *images.shape[1:]).swapaxes(0, 1)
    by_start = pictures.reshape(*pictures.shape[:2], -1, count, *images.shape[1:])
    rough = scores.variation(pictures).mean(-1)
    return {
        "ceiling": right[judges].mean(-1),
        "real_logit": own.mean(-1),
        "real_highest": own.max(-1),
        "variation": rough / scores.variation(images).mean(),
        "diversity": scores.spread(by_start) / scores.spread(of_class),
    }


def _gradients(
    nets: Trained,
    made: ascents.Made,
    classes: np.ndarray,
    names: list[str],
) -> dict[str, np.ndarray]:
    """Return the gradients of the three objectives on the way to a picture of every class."""
    count = nets.data.num_classes
    end = made.pictures[:, names.index("none"), :count]
    found = making.slopes(nets, made.start[:, :count], end, classes[:count], POINTS)
    return {
        "slopes": np.median(found.norms, axis=-1),
        "slope_probability": np.median(found.probability, axis=-1),
        "log_error": found.log_error.max((1, 2)),
        "p_error": found.p_error.max((1, 2)),
    }


def _shown(
    pictures: np.ndarray,
    shares: np.ndarray,
    names: list[str],
    count: int,
) -> dict[str, np.ndarray]:
    """Return the first net's first picture of every class, 8 bits, and its judges' share."""
    drawn = [names.index(name) for name in DRAWN]
    return {
        "pictures": np.rint(LEVELS * pictures[0, drawn, :count]).astype(np.uint8),
        "picture_agreement": shares[0, drawn, :count],
    }


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    del config
    return verdicts.all_claims()


def plot(record: Record, config: Config) -> Figure:
    """Draw a picture of every class by prior, what others see in them, and what objectives do."""
    figure, axes = plots.new_figure(3, 2, 15.0)
    axes[0, 0].get_gridspec().set_height_ratios([1.3, 1, 1])
    labels = {name: WAYS[name].label for name in PRIORS}
    with plots.style():
        panels.draw_pictures(plots.merged(axes[0]), record, WAYS, DRAWN, config.seeds)
        panels.draw_agreement(axes[1, 0], record, labels)
        panels.draw_liking(axes[1, 1], record, labels)
        panels.draw_objectives(axes[2, 0], record)
        panels.draw_slopes(axes[2, 1], record)
    titles = {
        ("unseen", "l2", "blur", "fourier", "jitter"): (
            "Others often miss what one net calls a class; L2, blur, waves and jitter help"
        ),
        ("unseen", "fourier"): "What one net calls a class, others see better in waves",
        "unseen": "What one net calls a class, other nets often do not see",
        ("l2", "blur", "fourier", "jitter"): (
            "In class pictures made with L2, blur, waves or jitter more other nets see the class"
        ),
    }
    return plots.finish(
        figure,
        record,
        plots.headline(record, titles, "Pictures of classes by gradient ascent"),
        net=f"Five convolutions, {config.width} to {4 * config.width} channels",
        optimizer=f"Adam, {config.steps} steps; pictures: {config.ascent_steps} steps",
        paper=f"{verdicts.SIMONYAN}; {verdicts.YOSINSKI_2015}; {verdicts.OLAH}",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
