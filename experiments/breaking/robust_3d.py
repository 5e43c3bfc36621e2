"""Adversarial objects: pictures and textures that fool a net in every pose, not in one.

Source: Athalye, Engstrom, Ilyas & Kwok 2018, "Synthesizing robust adversarial examples" (arXiv
1707.07397). Claim in one sentence: what is optimized in expectation over poses (EOT) shows a chosen
class in nearly all fresh poses, flat or on a solid, where a plain attack holds in one.

Command: make exp-robust-3d (3 minutes on two cores; embedded 8x8 digits and ray-cast solids, no
download). A turntable of an attacked solid lies beside the figure, ``animation.gif``.

What differs from the paper: small conv nets on small images; ten textures on spheres, cylinders,
cubes and boards instead of scanned objects; a ball in L2 instead of a penalty on the distance in
Lab; shifts go up to a tenth of a side. A net's size is the smallest one that reaches the target in
90 % of the poses of its last steps; the largest one where none does. All is judged in further
poses, the same for all pictures, by the share of poses that show the target: a loss would hide a
flat failure, and a mean over objects those that never work. The attack in one pose is PGD from the
picture in a ball as large; of a solid it moves what its pose shows, a fifth to two fifths of the
texels, so its change is shorter (a net's means are 17 to 18, EOT's 27 to 28). So both are compared
at equal norms, too: EOT then has for each picture a ball as large as PGD's change, which is drawn
back where EOT's ends inside. Objects are not picked: those that the net gets wrong count too. The
turntable shows the first object that the first net sees as the target in no frame and gets right in
most.
"""

import dataclasses
import sys
from collections.abc import Mapping
from typing import NamedTuple

from experiments.breaking import _nets as lab
from experiments.breaking import _robust as robust
from experiments.breaking import _robust_panels as panels
from experiments.breaking import _robust_turn as turn
from experiments.breaking import _worlds as worlds
from experiments.breaking._robust_claims import ATHALYE, claims_of
from jaxvision import cli
from jaxvision.adversarial.eot import eot
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure


class Kind(NamedTuple):
    """Nets, and the world in which they look at pictures.

    Attributes:
      label: in the figure.
      stages: distributions of poses, from one pose to all.
      viewed: trained on pictures in the poses that are attacked.
      solid: the pictures are textures on solids.
      reach: length of an attack's steps together, over the size of the change. A texture has texels
        that a pose does not show.
    """

    label: str
    stages: tuple[str, ...] = (worlds.STILL, worlds.FLAT.names[-1])
    viewed: bool = False
    solid: bool = False
    reach: float = 2.5


KINDS = {
    "flat": Kind("flat", worlds.FLAT.names),
    "viewed": Kind("poses\nlearned", viewed=True),
    "solid": Kind("solids", worlds.ROUND.names, solid=True, reach=8.0),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Flat pictures: digits, shapes, a TFDS name, or a path.")
    seeds: int = flagged(6, "Nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    kinds: tuple[str, ...] = flagged(tuple(KINDS), "Kinds of nets.", choices=tuple(KINDS))
    channels: int = flagged(
        8, "Channels of the first convolution; 0: dense nets.", low=0, high=1024
    )
    units: int = flagged(
        64, "Units of the dense layer that nets on flat pictures have.", low=1, high=8192
    )
    steps: int = flagged(600, "Training steps on flat pictures.", low=10, high=10**6)
    solid_steps: int = flagged(2000, "Training steps on solids.", low=10, high=10**6)
    pad: int = flagged(
        2,
        "Pixels that training solids shift by, half of them mirrored; 0: neither.",
        low=0,
        high=31,
    )
    sizes: tuple[float, ...] = flagged(
        (1.0, 1.5, 2.0, 3.0, 4.0), "Sizes of changes of flat pictures, in L2.", low=0
    )
    solid_sizes: tuple[float, ...] = flagged(
        (16.0, 32.0), "Sizes of changes of textures, in L2.", low=0
    )
    n_images: int = flagged(16, "Flat pictures attacked.", low=2, high=10**5)
    n_objects: int = flagged(12, "Textured solids attacked.", low=2, high=10**5)
    attack_steps: int = flagged(40, "Steps of an attack on flat pictures.", low=1, high=10**5)
    solid_attack_steps: int = flagged(80, "Steps of an attack on solids.", low=1, high=10**5)
    draws: int = flagged(4, "Poses of each picture in a step.", low=1, high=10**4)
    poses: int = flagged(60, "Poses to judge each picture by.", low=2, high=10**5)


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        kinds=("flat",),
        channels=0,
        units=4,
        steps=10,
        solid_steps=10,
        pad=0,
        sizes=(1.0, 2.0),
        solid_sizes=(8.0, 16.0),
        n_images=2,
        n_objects=2,
        attack_steps=2,
        solid_attack_steps=2,
        draws=2,
        poses=4,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        seeds=10,
        channels=32,
        units=256,
        steps=10_000,
        solid_steps=10_000,
        n_images=200,
        n_objects=200,
        attack_steps=200,
        solid_attack_steps=400,
        draws=20,
        poses=200,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        channels=64,
        units=1024,
        steps=100_000,
        solid_steps=100_000,
        sizes=(1.0, 2.0, 4.0, 8.0),
        n_images=1000,
        n_objects=200,
        attack_steps=1000,
        solid_attack_steps=1000,
        draws=40,
        poses=1000,
    ),
}


def spec_of(config: Config, kind: Kind) -> Spec:
    """Return what the nets of a kind are and how they are trained."""
    if kind.solid:
        return Spec(
            "solids",
            "shallow",
            {"channels": _channels(config, 3), "units": 0},
            learning_rate=0.01,
            steps=config.solid_steps,
            optimizer="adam",
            warm_up=config.solid_steps // 10,
            batch_size=32,
            pad=config.pad,
        )
    return Spec(
        config.dataset,
        "shallow",
        {"channels": _channels(config, 2), "units": config.units},
        learning_rate=0.005,
        steps=config.steps,
        optimizer="adam",
        warm_up=config.steps // 10,
        batch_size=64,
        viewed=kind.viewed,
    )


def _channels(config: Config, layers: int) -> tuple[int, ...]:
    return tuple(config.channels * 2**layer for layer in range(layers) if config.channels)


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that a run asks for."""
    return [Wanted(spec_of(config, kind), seeds_of(config)) for kind in kinds_of(config).values()]


def kinds_of(config: Config) -> dict[str, Kind]:
    """Return the kinds of nets that are asked for."""
    return {name: KINDS[name] for name in config.kinds}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    attack: robust.Attack = eot,
    kinds: Mapping[str, Kind] = KINDS,
) -> tuple[dict, dict]:
    """Attack and judge the nets of every kind; arrays 'kind/quantity' [S, ...], and a turntable."""
    robust.refuse_sizes(sizes=config.sizes, solid_sizes=config.solid_sizes)
    arrays = {}
    kinds = {name: kinds[name] for name in config.kinds if name in kinds}
    with progress(2 * len(kinds), "attacking") as bar:
        for name, kind in kinds.items():
            nets = lab.trained(spec_of(config, kind), seeds_of(config))
            world = worlds.ROUND if kind.solid else worlds.FLAT
            given = _given(config, kind, nets)
            plan = _plan(config, kind)
            made = robust.make(nets, seeds_of(config), world, given, plan, attack)
            bar.advance()
            judged = robust.judge(nets, seeds_of(config), world, given, made, plan.poses)
            bar.advance()
            found = judged._asdict() | {"chosen": made.chosen, "norm": made.norm}
            found |= {"equal_norm": made.equal_norm, "error": nets.test_error}
            arrays |= {f"{name}/{quantity}": values for quantity, values in found.items()}
            if kind.solid:
                arrays |= turn.turned(nets, given, made)
    return {}, arrays


def _given(config: Config, kind: Kind, nets: lab.Nets) -> worlds.Given:
    if kind.solid:
        return worlds.textured(config.n_objects)
    return worlds.flat(nets.data, config.n_images, kind.stages)


def _plan(config: Config, kind: Kind) -> robust.Plan:
    sizes = config.solid_sizes if kind.solid else config.sizes
    steps = config.solid_attack_steps if kind.solid else config.attack_steps
    return robust.Plan(sizes, steps, config.draws, kind.reach / steps, config.poses)


def claims(config: Config) -> list[Claim]:
    """Return the source's claims and questions; the rules are fixed in ``_robust_claims``."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw a turntable, how often the target is seen, the tail, the budgets and the matrix."""
    figure, axes = plots.new_figure(3, 2, 11.0)
    with plots.style():
        top = plots.merged(axes[0])
        labels = {name: kind.label for name, kind in kinds_of(config).items()}
        panels.draw_rates(axes[1, 0], record, labels)
        if "solid" in labels:
            turn.draw_turntable(top, record)
            panels.draw_tail(axes[1, 1], record)
        if "flat" in labels:
            panels.draw_budgets(axes[2, 0], record, config.sizes)
            panels.draw_matrix(axes[2, 1], record)
    titles = {
        ("gap-solid", "equal-solid"): "On solids, textures made over poses fool far more often "
        "than those made in one",
        ("gap-solid", "not equal-solid", "not gap-flat"): "On solids, textures made over poses "
        "fool far more often than those made in one; at equal norm, or flat, the lead is smaller",
        "gap-solid": "On solids and on the same budget, textures made over poses fool far more "
        "often than those made in one",
    }
    title = plots.headline(record, titles, "Pictures made to fool in every pose, and in one")
    return plots.finish(
        figure,
        record,
        title,
        net=f"Conv nets, {config.channels} channels first",
        optimizer=f"Adam, {config.steps:,} steps; on solids {config.solid_steps:,}",
        paper=ATHALYE,
    )


def animate(record: Record, config: Config) -> bytes | None:
    """Return the turntable as a GIF, with a net's answers; None where no solid was attacked."""
    return turn.animation(record) if "solid" in config.kinds else None


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
