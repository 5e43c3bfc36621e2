"""The physical world: adversarial images are printed, photographed and shown to the net again.

Source: Kurakin, Goodfellow & Bengio 2017, "Adversarial examples in the physical world" (arXiv
1607.02533), sections 2 and 3, tables 1 to 3, figures of section 3.3. Claim in one sentence: many
adversarial images fool a net through a camera too, those of one step most, those made for the least
likely class least.

Command: make exp-physical-world (4 minutes on two cores; embedded drawn shapes, no download).

What differs from the paper: small conv nets on 32x32 pictures instead of Inception v3 on ImageNet;
the printer, the paper and the phone are simulated, their parameters guessed, drawn by the net's
seed, and the same for all attacks; a photograph keeps its color at full resolution, as a camera's
pixels are finer than a picture's, where the artificial JPEG halves it. The sizes are 4 and 2 gray
levels: these nets fall to nothing at the paper's 16 and 8. Of several iterates an attack returns
the best. Files hold 8 bits before they are printed. Only the first answer counts, as ten classes
have no five.

Two traps. Each attack fools another set of images, and the one that fools fewer keeps those that
were near the boundary anyway: ``paired`` rates count images that all three fool. And a photograph
that the net cannot read when clean tells nothing: ``kept`` rates leave it out. With gray images or
images that must not be mirrored say --pad=0.
"""

import dataclasses
import sys
from collections.abc import Mapping

import numpy as np

from experiments.breaking import _destruction as destruction
from experiments.breaking import _nets
from experiments.breaking import _photographing as photographing
from experiments.breaking import _physical_panels as panels
from experiments.breaking._photographing import Artificial
from jaxvision import cli
from jaxvision.adversarial.gradient import basic_iterative, fgsm, least_likely
from jaxvision.adversarial.threat import LEVELS
from jaxvision.fields import flagged, seeds_of
from jaxvision.nets import Spec, Wanted
from jaxvision.progress import note
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Greater, Less, Statistic, Within, minus
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError


@dataclasses.dataclass(frozen=True)
class Attack:
    """A way to make adversarial images, and what the paper found of it at 16 and 8 levels.

    Attributes:
      label: in the figure.
      find: see ``jaxvision.adversarial.gradient``.
      average: published shares destroyed by a photograph, of all fooling images (table 3).
      prefiltered: likewise, of those where the net was sure.
    """

    label: str
    find: photographing.Attacking
    average: tuple[float, float]
    prefiltered: tuple[float, float]


ATTACKS = {
    "fast": Attack("fast", fgsm, (0.125, 0.333), (0.051, 0.146)),
    "basic": Attack("basic iterative", basic_iterative, (0.404, 0.521), (0.6, 0.647)),
    "least": Attack("least likely", least_likely, (0.722, 0.863), (0.875, 0.889)),
}
WAYS = {
    "brightness": Artificial("brightness", "", (0.05, 0.1, 0.15, 0.2), photographing.brighter),
    "contrast": Artificial("contrast", "", (0.1, 0.2, 0.3, 0.4), photographing.flatter),
    "blur": Artificial("blur", "pixels", (0.4, 0.6, 0.8, 1.0), photographing.smoother),
    "noise": Artificial("noise", "", (0.02, 0.04, 0.06, 0.08), photographing.noisier),
    "jpeg": Artificial("JPEG", "below 100", (10, 30, 50, 70), photographing.filed),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(8, "Nets.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    net: str = flagged("alexnet", "AlexNet's shape, or dense.", choices=("alexnet", "mlp"))
    width: int = flagged(12, "Channels of AlexNet's shape, a multiple of 3.", low=3, high=768)
    dense: int = flagged(64, "Units of dense layers.", low=2, high=8192)
    steps: int = flagged(4000, "Training steps.", low=1, high=10**6)
    batch_size: int = flagged(32, "Images in a step.", low=2, high=65_536)
    learning_rate: float = flagged(0.003, "Adam's, at its highest.", low=0)
    pad: int = flagged(
        3, "Training images move by so many pixels, and half are mirrored.", low=0, high=64
    )
    levels: tuple[int, ...] = flagged(
        (4, 2),
        "Largest change of a pixel, gray levels; claims are about the first.",
        low=1,
        high=255,
    )
    n_images: int = flagged(250, "Test images attacked.", low=2, high=10**6)
    photos: int = flagged(2, "Photographs of each image.", low=1, high=1000)


PRESETS = {
    "tiny": Config(
        dataset="digits",
        seeds=2,
        first_seed=0,
        net="mlp",
        dense=8,
        steps=40,
        pad=0,
        levels=(8,),
        n_images=6,
        photos=1,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        seeds=10,
        width=48,
        dense=256,
        steps=20_000,
        batch_size=128,
        learning_rate=0.001,
        n_images=1000,
        photos=5,
    ),
    "paper": Config(
        dataset="cifar10",
        width=96,
        dense=1024,
        steps=100_000,
        batch_size=128,
        learning_rate=0.001,
        levels=(16, 8),
        n_images=10_000,
        photos=10,
    ),
}


def spec_of(config: Config) -> Spec:
    """Return what the nets are and how they are trained."""
    sizes = {
        "alexnet": {"width": config.width, "dense": config.dense},
        "mlp": {"depth": 3, "width": config.dense},
    }
    return Spec(
        config.dataset,
        config.net,
        sizes[config.net],
        config.learning_rate,
        config.steps,
        optimizer="adam",
        warm_up=config.steps // 20,
        batch_size=config.batch_size,
        pad=config.pad,
    )


def wanted_nets(config: Config) -> list[Wanted]:
    """Return the nets that a run asks for."""
    return [Wanted(spec_of(config), seeds_of(config))]


def measure(
    config: Config,
    progress: cli.ShowProgress,
    ways: Mapping[str, Artificial] = WAYS,
    attacks: Mapping[str, Attack] = ATTACKS,
) -> tuple[dict, dict]:
    """Return success and destruction rates by net, see ``_destruction.rates``, and pictures."""
    if list(config.levels) != sorted(set(config.levels), reverse=True):
        raise UserError(f"--levels={config.levels}: from the largest to the smallest, each once")
    nets = _nets.trained(spec_of(config), seeds_of(config))
    some = _nets.some_of(nets.data.test, config.n_images)
    epsilons = np.float32(config.levels) / LEVELS
    given = photographing.Given(some.images, some.labels, epsilons)
    finders = {name: attack.find for name, attack in attacks.items()}
    with progress(1, "attacks and photographs") as bar:
        found = photographing.answers(nets, seeds_of(config), given, finders, ways, config.photos)
        bar.advance()
    sizes = len(config.levels)
    arrays = destruction.rates(found, ways, sizes, config.photos)
    labels = [attack.label for attack in attacks.values()]
    empty = destruction.undefined(arrays, labels, config.levels)
    if empty:
        note(destruction.in_a_line(empty))
    first = slice(1, 1 + len(attacks) * sizes, sizes)
    arrays["pictures"] = np.concatenate([found.pictures[0][:1], found.pictures[0][first]])
    arrays["said"] = np.concatenate([found.said[0][:1], found.said[0][first]])
    drawn = photographing.parameters(seeds_of(config), some.images.shape, config.photos)
    names = list(nets.data.class_names)
    return {"undefined": empty, "drawn": drawn, "classes": names}, arrays


def claims(config: Config) -> list[Claim]:
    """Return the source's claims; the rules are fixed here. All at the first of ``levels``."""
    order = list(ATTACKS)

    def destroyed(attack: str, way: str, counted: str = "paired") -> Statistic:
        at = order.index(attack)
        return lambda record: record.arrays[f"rate/{counted}/{way}"][:, at, 0].mean(1)

    def more(one: str, other: str, way: str, counted: str) -> Statistic:
        return minus(destroyed(one, way, counted), destroyed(other, way, counted))

    def filtered(attack: str) -> Statistic:
        return minus(
            destroyed(attack, "photo", "prefiltered"), destroyed(attack, "photo", "average")
        )

    def largest(*attacks: str) -> Statistic:
        each = [
            destroyed(attack, way, "average")
            for attack in attacks
            for way in ("brightness", "contrast")
        ]
        return lambda record: np.max([rate(record) for rate in each], axis=0)

    def noisy(record: Record) -> np.ndarray:
        gaps = [minus(destroyed(name, "noise"), destroyed(name, "brightness")) for name in order]
        return np.mean([gap(record) for gap in gaps], axis=0)

    def success(attack: str) -> Statistic:
        at = order.index(attack)
        return lambda record: record.arrays["success"][:, at, 0]

    def read(at: int) -> Statistic:
        return lambda record: record.arrays["read/photo"][:, at, 0].mean(1)

    paper, table = "Kurakin et al. 2017", "Kurakin et al. 2017, table 3"
    section = f"{paper}, section 3.3"
    no_phone = "it takes Inception v3 on ImageNet, a printer and a phone"
    return [
        Claim("at-rest", "equation 1 of Kurakin et al. 2017", "A camera whose parameters do "
              "nothing destroys no adversarial image (largest number on a net)",
              lambda r: r.arrays["at_rest"].max(), Within(0.0, 1e-9), "theory", needs=()),
        Claim("readable", f"{paper}, table 1", "The nets read photographs of clean images: "
              "accuracy over that without a camera is above .9",
              lambda r: r.arrays["retained/photo"].mean(1), Greater(0.9), needs=()),
        Claim("fool", f"{paper}, section 3.2", "Photographs of fast adversarial images are read "
              "worse than those of images with noise of the same size, by .1",
              minus(read(-1), read(0)), Greater(0.1), needs=()),
        Claim("survive-fast", table, "Photographs destroy fewer than half of the fast attack's "
              "images, average case", destroyed("fast", "photo", "average"), Less(0.5), needs=()),
        Claim("survive-basic", table, "Photographs destroy fewer than half of the basic iterative "
              "attack's images, average case", destroyed("basic", "photo", "average"), Less(0.5),
              needs=()),
        Claim("most-least", table, "Photographs destroy more than half of the least likely "
              "attack's images, average case", destroyed("least", "photo", "average"),
              Greater(0.5), needs=()),
        Claim("least-photo", table, "Photographs destroy more of least likely than of basic "
              "images (of those that all three attacks fool)",
              more("least", "basic", "photo", "paired"), Greater(), needs=()),
        Claim("fast-photo", table, "Photographs destroy more of basic than of fast images, each "
              "among its own as in the paper", more("basic", "fast", "photo", "average"),
              Greater(), needs=()),
        Claim("fast-paired", "question, paired sets", "The same among images that all three "
              "attacks fool", more("basic", "fast", "photo", "paired"), Greater(), needs=()),
        Claim("fast-equal", "question, equal confidence", "The same among images of equal "
              "confidence in the wrong answer", lambda r: r.arrays["equal"][:, 0], Greater(),
              needs=()),
        Claim("least-kept", "question, clean photographs read right", "Photographs destroy more "
              "of least likely than of basic images, where the clean one is still read right",
              more("least", "basic", "photo", "kept"), Greater(), needs=()),
        Claim("prefiltered-fast", table, "Prefiltering to sure answers lowers what photographs "
              "destroy of fast images", filtered("fast"), Less(), needs=()),
        Claim("prefiltered-basic", table, "Prefiltering to sure answers raises what photographs "
              "destroy of basic images", filtered("basic"), Greater(), needs=()),
        Claim("prefiltered-least", table, "Prefiltering to sure answers raises what photographs "
              "destroy of least likely images", filtered("least"), Greater(), needs=()),
        Claim("least-blur", section, "Blur destroys more of least likely than of basic images "
              "(paired)", more("least", "basic", "blur", "paired"), Greater(), needs=("blur",)),
        Claim("least-noise", section, "Noise destroys more of least likely than of basic images "
              "(paired)", more("least", "basic", "noise", "paired"), Greater(), needs=("noise",)),
        Claim("least-jpeg", section, "JPEG destroys more of least likely than of basic images "
              "(paired)", more("least", "basic", "jpeg", "paired"), Greater(), needs=("jpeg",)),
        Claim("fast-blur", section, "Blur destroys more of basic than of fast images (paired)",
              more("basic", "fast", "blur", "paired"), Greater(), needs=("blur",)),
        Claim("fast-noise", section, "Noise destroys more of basic than of fast images (paired)",
              more("basic", "fast", "noise", "paired"), Greater(), needs=("noise",)),
        Claim("fast-jpeg", section, "JPEG destroys more of basic than of fast images (paired)",
              more("basic", "fast", "jpeg", "paired"), Greater(), needs=("jpeg",)),
        Claim("brightness", section, "Brightness destroys less than noise, mean over the attacks "
              "(paired)", noisy, Greater(), needs=("noise", "brightness")),
        Claim("small", section, "Brightness and contrast destroy less than 5 % of fast and basic "
              "images (the largest of the four)", largest("fast", "basic"), Less(0.05),
              needs=("brightness", "contrast")),
        Claim("small-least", section, "Brightness and contrast destroy less than 20 % of least "
              "likely images (the larger of the two)", largest("least"), Less(0.2),
              needs=("brightness", "contrast")),
        Claim("success-fast", f"{paper}, figure 2", "The fast attack fools fewer images than the "
              "basic iterative one", minus(success("basic"), success("fast")), Greater(), needs=()),
        Claim("success-least", "question, success beside destruction", "The least likely attack "
              "fools fewer images than the basic iterative one",
              minus(success("basic"), success("least")), Greater(), needs=()),
        Claim("published", table, "Real photographs destroy 87.5 % of prefiltered least likely "
              "images at 16 levels, within 10 points",
              destroyed("least", "photo", "prefiltered"), Within(0.875, 0.1), "paper", no_phone,
              needs=()),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw the pictures, what photographs destroy, against success, and by transformation."""
    figure, axes = plots.new_figure(3, 2, 13.2)
    with plots.style():
        sheet = plots.merged(axes[0])
        lines = plots.merged(axes[2])
        panels.draw_pictures(sheet, record, ATTACKS, config.levels)
        panels.draw_destroyed(axes[1, 0], record, ATTACKS)
        panels.draw_success(axes[1, 1], record, ATTACKS, config.levels)
        panels.draw_ways(lines, record, ATTACKS, WAYS)
    title = plots.headline(
        record,
        {
            ("most-least", "not survive-fast", "not survive-basic"): "Simulated photographs undo "
            "most adversarial images of three attacks",
            ("fool", "survive-fast", "least-photo"): "In simulated photographs adversarial images "
            "still mislead a net; those for the least likely class survive least",
            "fool": "In simulated photographs fast adversarial images still mislead a net",
        },
        "Adversarial images in simulated prints and photographs",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=_described(config),
        optimizer=f"Adam, {config.steps:,} steps",
        paper="Kurakin et al. 2017",
    )


def _described(config: Config) -> str:
    simulated = "printer, paper and camera simulated"
    if config.net == "mlp":
        return f"Dense nets of 3 layers, {config.dense} units; {simulated}"
    return f"AlexNet's shape, {config.width} channels first; {simulated}"


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
