"""Camouflage: a patch beside an object that leads a net away from it, and a pattern worn by it.

Sources: Brown et al. 2017, "Adversarial patch" (arXiv 1712.09665), and the outputs kept in their
notebook; Harvey 2010, "CV Dazzle", which gives no numbers. Claim in one sentence: one small round
picture, made for one class and pasted anywhere, makes a net see that class in any scene, more than
a real object of the class does, and need not cover what was there.

Command: make exp-camouflage (four minutes on two cores; embedded set with masks, no download).

A patch is made for every class by expectation over scenes, places, sizes and turns, and judged on
test scenes of the other classes that a net answers right. Its rivals lie at the same places: noise,
gray, and real objects of the class, cut out of training images; where there are several, the best
of them for each class counts. Masks tell where the object is: patches lie anywhere, or where they
cover none of it. Patterns are made for every class of objects, seen through their masks only, and
lead away from the class. All that a class is known by here is its outline, which a pattern leaves
as it is.

What differs from the sources: small nets and images, and large objects: a real one in a patch of a
tenth of the scene is smaller than those that nets have learned. Off the object a large patch fits
into some scenes only; their share is in the record. Adam makes patches, since a rate of 5 for plain
descent suits other gradients; the disc has the edge of one pixel. A pattern stays in the frame
while its object moves, which on a body it would not. All patches meet the same places.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping

import numpy as np

from experiments.breaking import _nets
from experiments.breaking import _patch_nets as kinds
from experiments.breaking import _patch_panels as panels
from experiments.breaking import _patch_rates as rates
from experiments.breaking import _patch_scenes as scenes
from experiments.breaking import _patching as patching
from experiments.breaking._patch_rates import ANYWHERE, OFF
from jaxvision import cli
from jaxvision.fields import flagged
from jaxvision.nets import Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Within
from jaxvision.report.record import Record
from jaxvision.types import Figure

# How patches are made. The first way is the patch.
WAYS = {
    "patch": patching.Way("patch", moves=True),
    "one_place": patching.Way("one place", moves=False),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes16k", "Data set: shapes16k, a TFDS name, or a path to yours.")
    other: str = flagged(
        "alexnet", "Kind of the other nets.", choices=("alexnet", "resnet", "none")
    )
    seeds: int = flagged(6, "Nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    channels: int = flagged(8, "Channels of the first convolution.", low=1, high=1024)
    steps: int = flagged(1000, "Training steps.", low=10, high=10**6)
    batch_size: int = flagged(64, "Images in a step.", low=2, high=65_536)
    learning_rate: float = flagged(0.004, "Adam's, at its highest.", low=0)
    areas: tuple[float, ...] = flagged(
        (0.05, 0.1, 0.15, 0.2), "Areas of patches, shares of the scene.", low=0.001, high=1
    )
    area: float = flagged(0.1, "The one of them at which nets are compared.", low=0.001, high=1)
    side: int = flagged(12, "Pixels of a side of a patch.", low=2, high=512)
    n_made: int = flagged(1000, "Training images that patches are made on.", low=10, high=10**6)
    n_images: int = flagged(100, "Test images they are judged on.", low=1, high=10**6)
    draws: int = flagged(2, "Random patches, and real objects of each class.", low=2, high=100)
    patch_steps: int = flagged(300, "Steps in which a patch is made.", low=1, high=10**5)
    patch_draws: int = flagged(6, "Scenes of a patch in a step.", low=1, high=1000)
    patch_rate: float = flagged(0.1, "Adam's rate for patches.", low=0)


PRESETS = {
    "tiny": Config(
        dataset="digits",
        other="none",
        seeds=2,
        first_seed=0,
        channels=2,
        steps=10,
        areas=(0.1, 0.2),
        side=4,
        n_made=40,
        n_images=10,
        draws=2,
        patch_steps=3,
        patch_draws=1,
    ),
    "cpu": Config(),
    "gpu": Config(
        seeds=10,
        channels=32,
        steps=4000,
        n_made=4000,
        n_images=1000,
        patch_steps=500,
        patch_draws=16,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        channels=64,
        steps=100_000,
        areas=(0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
        side=32,
        n_made=100_000,
        n_images=1000,
        patch_steps=500,
        patch_draws=16,
    ),
}


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that a run asks for, those for which patches are made first."""
    return kinds.wanted(config)


def measure(
    config: Config, progress: cli.ShowProgress, ways: Mapping[str, patching.Way] = WAYS
) -> tuple[dict, dict]:
    """Make patches and patterns and show them: arrays "own/..." and "other/..." [S, ...]."""
    scenes.refuse(config)
    nets = [_nets.trained(each.spec, each.seeds) for each in wanted_nets(config)]
    data = nets[0].data
    given = scenes.given_of(config, data)
    effort = patching.Effort(config.patch_steps, config.patch_draws, config.patch_rate)
    arrays = scenes.checks(given)
    with progress(1 + len(nets), "patches and patterns") as bar:
        made = patching.make(nets[0], given, ways, effort)
        bar.advance()
        for net, of_net in zip(("own", "other"), nets, strict=False):
            patches, patterns = _shown(made, given, list(ways), net == "own")
            seen = patching.show(of_net, given, patches, patterns)
            rows = patching.rows_of(patches)
            found = rates.of_patches(seen, given, rows)
            found |= rates.of_patterns(seen, given, patching.rows_of(patterns))
            arrays |= {f"{net}/{name}": values for name, values in found.items()}
            arrays[f"{net}/error"] = of_net.test_error
            if net == "own":
                at = config.areas.index(config.area)
                worn = patching.rows_of(patterns)
                arrays |= panels.examples(made, seen, given, rows, worn, at)
            bar.advance()
    has_masks = given.masks is not None
    return {"class_names": list(data.class_names), "has_masks": has_masks}, arrays


def _shown(
    made: patching.Made, given: patching.Given, ways: list[str], is_own: bool
) -> tuple[patching.Pictures, patching.Pictures]:
    """Return what nets are shown: those that it was made for all of it, others what is handed."""
    names = ways if is_own else ways[:1]
    patches = {name: made.patches[:, i] for i, name in enumerate(names)}
    patterns = {}
    if made.patterns is not None:
        patterns["pattern"] = made.patterns[:, None]
    if is_own:
        patches["sibling"] = patching.of_next(patches[ways[0]])
    if is_own and patterns:
        patterns["sibling"] = patching.of_next(patterns["pattern"])
    patches |= patching.control_patches(given, len(made.patches))
    patterns |= patching.control_patterns(given, made.patterns)
    return patches, patterns


BROWN = "Brown et al. 2017"


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    Statistic = Callable[[Record], np.ndarray]
    at = config.areas.index(config.area) if config.area in config.areas else 0
    judged = [i for i, area in enumerate(config.areas) if area >= 0.05]

    def led(name: str, place: int = ANYWHERE, net: str = "own") -> Statistic:
        return lambda record: rates.led(record, net, name)[:, place, at]

    def rivals(place: int = ANYWHERE, net: str = "own") -> Statistic:
        return lambda record: rates.best_control(record, net)[:, place, at]

    def minus(one: Statistic, other: Statistic) -> Statistic:
        return lambda record: one(record) - other(record)

    def least_lead(record: Record) -> np.ndarray:
        patch, others = rates.led(record, "own", "patch"), rates.best_control(record, "own")
        return (patch - others)[:, ANYWHERE, judged].min(1)

    def least_gain(record: Record) -> np.ndarray:
        return np.diff(rates.led(record, "own", "patch")[:, ANYWHERE], axis=1).min(1)

    def largest(record: Record) -> np.ndarray:
        return rates.led(record, "own", "patch")[:, ANYWHERE, -1]

    def lost(name: str, place: int) -> Statistic:
        return lambda record: 1 - rates.kept(record, "own", name)[:, place, at]

    def part_lost(record: Record) -> np.ndarray:
        return rates.part(lost("gray", OFF)(record), lost("patch", OFF)(record))

    def worn_lead(name: str, net: str = "own") -> Statistic:
        return lambda record: rates.worn(record, net, name) - rates.best_worn(record, net)

    def halves(record: Record) -> np.ndarray:
        noise = record.arrays["own/led/noise"][:, ANYWHERE, at].mean(1)
        half = noise.shape[1] // 2
        return noise[:, :half].mean(1) - noise[:, half:].mean(1)

    area = f"{config.area:.0%} of the scene"
    masks = "" if config.dataset in scenes.MASKED else "a set with masks: --dataset=shapes16k"
    handed = "" if config.other != "none" else "another kind of nets: --other=resnet"
    few = "" if len(config.areas) > 1 else "several --areas"
    none = "" if judged else "--areas of .05 and more"
    dazzle = "CV Dazzle, Harvey 2010"
    question = "question"
    return [
        Claim("beats-controls", f"{BROWN}, figure 3", "Anywhere, at every area from 5 %: the patch "
              "leads to its class more often than the best of real object, noise and gray (least "
              "lead, share of scenes)", least_lead, Greater(), not_run=none),
        Claim("beats-object", f"{BROWN}, figure 3", f"Anywhere, at {area}: it leads there more "
              "often than a real object of the class does",
              minus(led("patch"), led("object")), Greater()),
        Claim("grows", f"{BROWN}, figure 3", "The larger it is, the more often it leads there "
              "(least gain from an area to the next)", least_gain, Greater(), not_run=few),
        Claim("most", f"{BROWN}, notebook", f"At {config.areas[-1]:.0%} of the scene it leads "
              "there in over half of the scenes (93 % on Xception at 20 %)",
              largest, Greater(0.5)),
        Claim("off-object", f"{question}, occlusion", "Off the object, none of it covered, at "
              f"{area}: it leads there more often than the best control",
              minus(led("patch", OFF), rivals(OFF)), Greater(), not_run=masks),
        Claim("led-away", f"{question}, occlusion", f"Off the object, at {area}: gray at the same "
              "place costs less than half of the right answers that the patch costs (ratio)",
              part_lost, Less(0.5), not_run=masks),
        Claim("costs", f"{question}, occlusion", f"Anywhere, at {area}: it costs more right "
              "answers than gray at the same place",
              minus(lost("patch", ANYWHERE), lost("gray", ANYWHERE)), Greater()),
        Claim("one-place", f"{question}, places", f"Anywhere, at {area}: a patch made at places "
              "drawn anew leads there more often than one made at one place",
              minus(led("patch"), led("one_place")), Greater()),
        Claim("sibling", f"{BROWN}, transfer", f"Anywhere, at {area}: a patch made for the next "
              "seed's net of the same kind leads there more often than the best control",
              minus(led("sibling"), rivals()), Greater()),
        Claim("other-kind", f"{BROWN}, transfer", f"Anywhere, at {area}: so does one made for a "
              "net of another kind",
              minus(led("patch", net="other"), rivals(net="other")), Greater(), not_run=handed),
        Claim("own", f"{question}, transfer", f"Anywhere, at {area}: a patch leads its own net "
              "there more often than the next seed's",
              minus(led("patch"), led("sibling")), Greater()),
        Claim("dazzle", dazzle, "A pattern worn by the object changes more right answers than the "
              "best of gray, noise and the pattern with its pixels in another order",
              worn_lead("pattern"), Greater(), not_run=masks),
        Claim("dazzle-sibling", dazzle, "So does one made for the next seed's net of the same kind",
              worn_lead("sibling"), Greater(), not_run=masks),
        Claim("dazzle-other", dazzle, "So does one made for a net of another kind",
              worn_lead("pattern", "other"), Greater(), not_run=masks or handed),
        Claim("overlap", "negative control, masks", "A patch off the object covers nothing of it "
              "(largest share of a pixel)", lambda r: r.arrays["overlap"], Within(0.0, 1e-9),
              "theory", not_run=masks),
        Claim("outside", "negative control, masks", "A pattern changes nothing but the object "
              "(largest change of another pixel)", lambda r: r.arrays["outside"],
              Within(0.0, 1e-9), "theory", not_run=masks),
        Claim("control", "negative control, noise", f"Anywhere, at {area}: random patches lead to "
              "a class as often as other random patches, within 2 points",
              halves, Equivalent(0.02)),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw scenes, patches, what they lead to by area and place, and what other nets say."""
    figure, axes = plots.new_figure(3, 2, 13.0)
    row = axes[0, 0].get_gridspec()[0, :]
    for ax in axes[0]:
        ax.remove()
    with plots.style():
        panels.draw_scenes(figure.add_subplot(row), record)
        panels.draw_led(axes[1, 0], record, config, ANYWHERE)
        panels.draw_handed(axes[2, 1], record, config, config.areas.index(config.area))
        if record.numbers["has_masks"]:
            panels.draw_led(axes[1, 1], record, config, OFF)
            panels.draw_kept(axes[2, 0], record, config)
        else:
            axes[1, 1].remove()
            axes[2, 0].remove()
    titles = {
        ("beats-controls", "off-object", "led-away"): "A small patch beside the object leads a net "
        "to any class, more than a real object does",
        ("beats-controls", "off-object"): "A small patch leads a net to any class, beside the "
        "object too",
        "beats-controls": "A small patch leads a net to any class",
    }
    title = plots.headline(record, titles, "What a net sees beside a patch")
    labels = [kinds.KINDS[kind].label for kind in kinds.kinds_of(config)]
    return plots.finish(
        figure,
        record,
        title,
        net=f"{' and '.join(labels)}, {config.channels} channels first",
        optimizer=f"Adam, {config.steps:,} steps; patches {config.patch_steps}",
        paper=f"{BROWN}; CV Dazzle",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
