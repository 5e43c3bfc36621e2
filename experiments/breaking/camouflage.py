"""Camouflage: a patch beside an object that leads a net away from it, and a pattern worn by it.

Sources: Brown et al. 2017, "Adversarial patch" (arXiv 1712.09665), and the outputs kept in their
notebook; Harvey 2010, "CV Dazzle", which gives no numbers. Claim in one sentence: one small round
picture, made for one class and pasted anywhere, makes a net see that class in any scene, more than
a real object of the class does, and need not cover what was there; nets it was not made for, too.

Command: make exp-camouflage (five minutes on two cores; embedded set with masks, no download).

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
from collections.abc import Mapping

from experiments.breaking import _nets
from experiments.breaking import _patch_nets as kinds
from experiments.breaking import _patch_panels as panels
from experiments.breaking import _patch_rates as rates
from experiments.breaking import _patch_scenes as scenes
from experiments.breaking import _patching as patching
from experiments.breaking._patch_claims import BROWN, claims_of
from experiments.breaking._patch_rates import ANYWHERE, OFF
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import flagged
from jaxvision.nets import Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure

# How patches are made. The first way is the patch.
WAYS = {
    "patch": patching.Way("patch", moves=True),
    "one_place": patching.Way("one place", moves=False),
}
PARTS = ("other",)  # nets of another kind, which see what was made for the first


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes16k", "Data set: shapes16k, a TFDS name, or a path to yours.")
    other: str = flagged(
        "alexnet", "Kind of the other nets.", choices=("alexnet", "resnet", "none")
    )
    seeds: int = flagged(6, "Nets of each kind.", low=2, high=1000)
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
    config: Config,
    progress: cli.ShowProgress,
    ways: Mapping[str, patching.Way] = WAYS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Make patches and patterns and show them: arrays "own/..." and "other/..." [S, ...]."""
    scenes.refuse(config)
    data = load(config.dataset)
    given = scenes.given_of(config, data)
    arrays = scenes.checks(given)
    if ways:
        arrays |= _made_and_shown(config, progress, given, ways, parts)
    has_masks = given.masks is not None
    return {"class_names": list(data.class_names), "has_masks": has_masks}, arrays


def _made_and_shown(
    config: Config,
    progress: cli.ShowProgress,
    given: patching.Given,
    ways: Mapping[str, patching.Way],
    parts: tuple[str, ...],
) -> dict:
    """Return what patches in all ways, which share their draws, do to the nets."""
    wanted = wanted_nets(config) if "other" in parts else wanted_nets(config)[:1]
    nets = [_nets.trained(each.spec, each.seeds) for each in wanted]
    effort = patching.Effort(config.patch_steps, config.patch_draws, config.patch_rate)
    arrays = {}
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
    return arrays


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


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw scenes, patches, what they lead to by area and place, and what other nets say."""
    figure, axes = plots.new_figure(3, 2, 13.0)
    at = config.areas.index(config.area)
    with plots.style():
        panels.draw_scenes(plots.merged(axes[0]), record, at)
        panels.draw_led(axes[1, 0], record, config, ANYWHERE)
        panels.draw_handed(axes[2, 1], record, config, at)
        if record.numbers["has_masks"]:
            panels.draw_led(axes[1, 1], record, config, OFF)
            panels.draw_kept(axes[2, 0], record, config)
        else:
            axes[1, 1].remove()
            axes[2, 0].remove()
    titles = {
        ("beats-object", "off-object", "led-away"): "A patch that covers none of the object leads "
        "a net to its class more often than a real object does",
        ("beats-object", "beats-controls"): "A patch leads a net to its class more often than a "
        "real object does",
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
