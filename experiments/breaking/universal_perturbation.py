"""Universal perturbations: one change for all images, held against noise and fixed patterns.

Sources: Moosavi-Dezfooli, Fawzi, Fawzi & Frossard 2017, "Universal adversarial perturbations"
(arXiv 1610.08401), figures 4 to 9, table 2; Shafahi et al. 2018, "Universal adversarial training"
(arXiv 1811.11304), algorithm 2. Claim in one sentence: one small perturbation, made from a few
images, changes a net's answer to most others, serves other nets too, and sends what it fools to a
few dominant classes, because the boundaries' normals lie in few directions.

Command: make exp-universal-perturbation (3 minutes on two cores; embedded 8x8 digits, no download).

What differs from the papers: small nets on small images, all sizes in units of [0, 1]; perturbed
images are clipped to it, which the published code leaves out. A perturbation is made from training
images and judged on test images; fooling is a change of prediction, right or wrong. Random signs
are the usual control and a weak one: the best of 20 and fixed patterns (checkerboards, stripes,
waves, brighter, darker) are the rivals here. Nets of one seed, one of each kind, count as one draw.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.breaking import _nets, _sharing
from experiments.breaking import _universal_panels as panels
from experiments.breaking._universal_claims import claims_of
from jaxvision import cli
from jaxvision.adversarial import patterns, universal
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure

Sizes = Mapping[str, int | tuple[int, ...]]


class Kind(NamedTuple):
    """A kind of net.

    Attributes:
      label: in the figure.
      net: its name in a spec.
      sizes: channels of its first layer and units of its dense ones -> its sizes.
      linear: of which algebra knows the normals.
    """

    label: str
    net: str
    sizes: Callable[["Config"], Sizes]
    linear: bool = False


KINDS = {
    "softmax": Kind("softmax", "linear", lambda config: {}, linear=True),
    "mlp": Kind("MLP", "mlp", lambda config: {"depth": 3, "width": config.width}),
    "deep": Kind("deep MLP", "mlp", lambda config: {"depth": 6, "width": config.width}),
    "conv": Kind(
        "conv net",
        "shallow",
        lambda config: {
            "channels": (config.channels, 2 * config.channels),
            "units": config.width,
        },
    ),
    "resnet": Kind("ResNet", "resnet", lambda config: {"depth": 8, "width": config.channels}),
}
PARTS = ("spans", "transfer")  # normals of the boundaries; what nets make of each other's
WAYS = _sharing.Ways(
    ascent=partial(universal.ascend, steps=200), deepfool=partial(universal.accumulate, passes=2)
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    kinds: tuple[str, ...] = flagged(tuple(KINDS), "Kinds of nets.", choices=tuple(KINDS))
    seeds: int = flagged(6, "Nets of each kind.", low=2, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    width: int = flagged(64, "Units of dense layers.", low=2, high=8192)
    channels: int = flagged(8, "Channels of the first convolution.", low=1, high=1024)
    steps: int = flagged(600, "Training steps.", low=10, high=10**6)
    batch_size: int = flagged(64, "Images in a step.", low=2, high=65_536)
    learning_rate: float = flagged(0.003, "Adam's, at its highest.", low=0)
    epsilons: tuple[float, ...] = flagged(
        (0.1, 0.2, 0.3), "Largest changes of a pixel, of [0, 1].", low=0, high=1
    )
    epsilon: float = flagged(0.2, "The one of them at which nets are compared.", low=0, high=1)
    n_images: int = flagged(100, "Training images it is made from.", low=20, high=10**6)
    sizes: tuple[int, ...] = flagged(
        (10, 30, 100), "How many of them, to compare.", low=1, high=10**6
    )
    test_images: int = flagged(360, "Test images it is judged on.", low=1, high=10**6)
    draws: int = flagged(20, "Random perturbations of each kind.", low=2, high=1000)
    directions: int = flagged(9, "Directions that span the normals.", low=1, high=1000)


PRESETS = {
    "tiny": Config(
        kinds=("softmax", "mlp"),
        seeds=2,
        first_seed=0,
        width=8,
        steps=20,
        epsilons=(0.2,),
        n_images=20,
        sizes=(20,),
        test_images=20,
        draws=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        seeds=10,
        width=256,
        channels=32,
        steps=8000,
        batch_size=128,
        learning_rate=0.001,
        epsilons=(4 / 255, 8 / 255, 16 / 255),
        epsilon=8 / 255,
        n_images=5000,
        sizes=(10, 100, 1000, 5000),
        test_images=5000,
        directions=100,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        kinds=("conv", "resnet"),
        width=1024,
        channels=64,
        steps=100_000,
        batch_size=128,
        learning_rate=0.001,
        epsilons=(10 / 255,),
        epsilon=10 / 255,
        n_images=10_000,
        sizes=(500, 1000, 4000, 10_000),
        test_images=50_000,
        directions=100,
    ),
}


def specs_of(config: Config) -> dict[str, Spec]:
    """Return what each kind of net is and how it is trained."""
    return {
        name: Spec(
            config.dataset,
            KINDS[name].net,
            KINDS[name].sizes(config),
            config.learning_rate,
            config.steps,
            optimizer="adam",
            warm_up=config.steps // 10,
            batch_size=config.batch_size,
        )
        for name in config.kinds
    }


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that a run asks for."""
    return [Wanted(spec, seeds_of(config)) for spec in specs_of(config).values()]


def measure(
    config: Config,
    progress: cli.ShowProgress,
    ways: _sharing.Ways = WAYS,
    kinds: Mapping[str, Kind] = KINDS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Make perturbations for every net and judge them; arrays 'kind/quantity' [S, ...]."""
    _sharing.refuse(config)
    specs = {name: spec for name, spec in specs_of(config).items() if name in kinds}
    nets = {name: _nets.trained(spec, seeds_of(config)) for name, spec in specs.items()}
    data = next(iter(nets.values())).data
    given = _given(config, data)
    arrays, made = {}, {}
    with progress(len(nets), "perturbations") as bar:
        for name, kind in nets.items():
            found = _sharing.look_at(kind, given, ways, config.draws)._asdict()
            made[name] = found.pop("perturbation")
            normals = found.pop("normals")
            if "spans" in parts:
                found["in_span"], found["energy"] = _sharing.in_spans(
                    kind, normals, given, config.draws, config.directions
                )
            arrays |= {f"{name}/{key}": value for key, value in found.items()}
            arrays[f"{name}/error"] = kind.test_error
            bar.advance()
    if "transfer" in parts:
        arrays["transfer"], arrays["sibling"] = _sharing.transfer(nets, made, given.held_out)
    arrays |= {f"{name}/perturbation": of_seeds[0] for name, of_seeds in made.items()}  # shown
    arrays["image"] = given.held_out[0]
    numbers = {"classes": data.num_classes, "patterns": list(patterns.structured(data_shape(data)))}
    return numbers, arrays


def data_shape(data: _nets.Splits) -> tuple[int, int, int]:
    """Return height, width and channels of the images."""
    return data.train.images.shape[1:]


def _given(config: Config, data: _nets.Splits) -> _sharing.Given:
    made_from = _nets.some_of(data.train, config.n_images)
    held_out = _nets.some_of(data.test, config.test_images)
    fixed = patterns.structured(data_shape(data))
    return _sharing.Given(
        made_from.images,
        held_out.images,
        np.float32(config.epsilons),
        np.float32(config.epsilon),
        np.int32(config.sizes),
        np.stack(list(fixed.values())),
        config.first_seed,
    )


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config, [name for name in config.kinds if KINDS[name].linear])


def plot(record: Record, config: Config) -> Figure:
    """Draw the perturbations, their rivals, their transfer, and what they are made from."""
    figure, axes = plots.new_figure(3, 2, 11.5)
    labels = {name: KINDS[name].label for name in config.kinds}
    panels.draw_pictures(axes[0, 0], record, labels, config.epsilon)
    panels.draw_rivals(axes[0, 1], record, labels, config)
    panels.draw_sizes(axes[1, 0], record, labels, config.epsilons)
    panels.draw_transfer(axes[1, 1], record, labels)
    panels.draw_counts(axes[2, 0], record, labels, config.sizes)
    panels.draw_directions(axes[2, 1], record, labels)
    title = plots.headline(
        record,
        {
            ("most", "beats-random", "beats-patterns"): "One perturbation changes most answers on "
            "average over nets, more than noise and fixed patterns do",
            ("beats-random", "beats-patterns"): "One perturbation beats noise and fixed patterns",
            "beats-random": "One perturbation for all images beats noise",
        },
        "One perturbation for all images, against noise and fixed patterns",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"{len(config.kinds)} kinds of nets, {config.width} units, "
        f"{config.channels} channels first",
        optimizer=f"Adam, {config.steps:,} steps",
        paper="Moosavi-Dezfooli et al. 2017; Shafahi et al. 2018",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
