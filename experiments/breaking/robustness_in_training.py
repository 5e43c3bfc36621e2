"""Robustness along training: how far the nearest mistake is while a net learns, arm by arm.

Sources: Mickisch et al. 2020, "Understanding the decision boundary of deep neural networks" (arXiv
2002.01810), which has the boundary move closer to the images; Lyu & Li 2020 (arXiv 1906.05890),
whose normalized margin grows, which may help; Galloway et al. 2019 (arXiv 1905.02161), to whom
batch norm costs robustness; Simon-Gabriel et al. 2019 (arXiv 1802.01421), gradients that grow as
the root of the pixels; Bubeck et al. 2021 (arXiv 2104.03863), distances of random nets; Zhu et al.
2022 (arXiv 2209.07263), width helps and depth hurts under He; Yang et al. 2019 (arXiv 1902.08129),
gradients that grow with every layer that is normalized. Claim in one sentence: whether more
training brings the boundary closer or moves it away depends on the arm (start, weight decay, batch
norm), and the norm of the loss's gradient does not tell.

Command: make exp-robustness-in-training (4 minutes on two cores; embedded 8x8 digits, no download).

What differs from the sources: small dense nets (the pair with and without batch norm is convolved)
on 8x8 digits; sizes in units of [0, 1] (Galloway's code has them of normalized images, an eps of
.03 being about 1.5/255); the rate is chosen for each arm and size on other seeds; hidden biases
train, so a net is only nearly homogeneous. Distances are DeepFool's in L2, drawn back to the
boundary by bisection, and medians over test images that all arms of a seed classify right at every
late snapshot, or all sizes: else easy images would be compared with hard ones. A net that has not
learned has no honest distance. Batch norm answers with statistics of the training set, taken anew
at every snapshot.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping

from experiments.breaking import _along_normalized as normalized
from experiments.breaking import _along_panels as panels
from experiments.breaking import _along_start as start
from experiments.breaking._along_claims import claims_of
from experiments.breaking._along_families import families_of, measured_families
from experiments.breaking._along_nets import Kind, Lab
from experiments.breaking._along_pairs import conv_arrays, paired_arrays, watch
from experiments.breaking._along_pixels import measured_pixels
from jaxvision import cli
from jaxvision.fields import flagged
from jaxvision.models.inference import Inference
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, UserError

ARMS = {
    "he": Kind("He"),
    "xavier": Kind("Xavier", initializer="xavier_he2015"),
    "decay": Kind("He + decay", decayed=True),
    "bn": Kind("He + BN", net="normalized_mlp"),
    "small": Kind("He / 10", initializer="small_he"),
    "he_again": Kind("He, other draws", others=True),
}
# What is measured beside ARMS: three families of sizes, enlarged images, conv nets, random nets.
PARTS = ("depth_he", "depth_xavier", "width", "pixels", "conv", "random")


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    arms: tuple[str, ...] = flagged(tuple(ARMS), "Arms.", choices=tuple(ARMS))
    seeds: int = flagged(6, "Nets of each kind.", low=1, high=1000)
    first_seed: int = flagged(900, "First seed.", low=0, high=10**9)
    depth: int = flagged(3, "Weight layers of the arms.", low=3, high=1000)
    width: int = flagged(64, "Units of a layer.", low=2, high=8192)
    steps: int = flagged(10_000, "Training steps of the arms.", low=1, high=10**7)
    snapshots: tuple[int, ...] = flagged(
        (0, 10, 30, 100, 300, 1000, 3000, 10_000), "Steps that are attacked.", low=0, high=10**7
    )
    reference: int = flagged(
        300, "The one of them from which on nets are compared.", low=0, high=10**7
    )
    batch_size: int = flagged(64, "Images in a step.", low=2, high=65_536)
    weight_decay: float = flagged(1e-3, "Weight decay of its arm.", low=0)
    learning_rates: tuple[float, ...] = flagged(
        (0.01, 0.03, 0.1, 0.3), "To choose from, apart for each arm and size.", low=0
    )
    tuning_seeds: int = flagged(2, "Seeds for choosing; none is used again.", low=1, high=100)
    tuning_steps: int = flagged(1000, "Steps for choosing.", low=1, high=10**7)
    depths: tuple[int, ...] = flagged((5, 9), "Other depths, He and Xavier.", low=3, high=1000)
    widths: tuple[int, ...] = flagged((16, 256), "Other widths, He.", low=2, high=8192)
    enlargements: tuple[int, ...] = flagged(
        (2, 4), "Times that images are enlarged, rising.", low=2, high=64
    )
    channels: int = flagged(8, "First channels of conv nets; 0: none.", low=0, high=1024)
    size_steps: int = flagged(
        3000, "Steps of these nets, attacked at snapshots since --reference.", low=1, high=10**7
    )
    epsilons: tuple[float, ...] = flagged(
        (2 / 255, 4 / 255, 8 / 255), "PGD's sizes for conv nets, of [0, 1].", low=0, high=1
    )
    universal_epsilon: float = flagged(0.15, "Size of universal perturbations.", low=0, high=1)
    test_images: int = flagged(200, "Test images that are attacked.", low=2, high=10**6)
    train_images: int = flagged(400, "Training images for margins.", low=2, high=10**6)
    statistics_batches: int = flagged(20, "Batches for batch norm's.", low=1, high=10**6)
    deepfool_steps: int = flagged(12, "DeepFool's steps.", low=1, high=1000)
    ascent_steps: int = flagged(100, "Steps of an ascent.", low=10, high=10**6)
    pgd_steps: int = flagged(20, "PGD's steps.", low=1, high=10**6)
    draws: int = flagged(10, "Draws of noise, and of random signs.", low=2, high=1000)
    theory_nets: int = flagged(
        1500, "Random nets before training; of every 50 one is normalized, too.", low=2, high=10**6
    )

    def __post_init__(self) -> None:
        """Refuse flags that do not fit together."""
        for name in ("reference", "size_steps"):
            if getattr(self, name) not in self.snapshots:
                raise UserError(f"--{name}={getattr(self, name)} must be one of --snapshots")
        if max(self.snapshots) != self.steps:
            raise UserError(f"the last of --snapshots must be --steps={self.steps}")
        if list(self.snapshots) != sorted(set(self.snapshots)):
            raise UserError("--snapshots must rise")
        if self.size_steps < self.reference:
            raise UserError(
                f"--size_steps={self.size_steps} must not be before --reference={self.reference}"
            )


PRESETS = {
    "tiny": Config(
        arms=("he", "xavier"),
        seeds=2,
        first_seed=0,
        width=8,
        steps=20,
        snapshots=(0, 10, 20),
        reference=10,
        learning_rates=(0.1,),
        depths=(),
        widths=(),
        enlargements=(),
        channels=0,
        size_steps=20,
        test_images=12,
        train_images=16,
        statistics_batches=2,
        deepfool_steps=3,
        ascent_steps=10,
        draws=2,
        theory_nets=8,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        seeds=10,
        width=1024,
        steps=100_000,
        snapshots=(0, 100, 300, 1000, 3000, 10_000, 30_000, 100_000),
        reference=3000,
        batch_size=128,
        depths=(5, 9),
        widths=(256, 4096),
        enlargements=(2,),
        channels=64,
        size_steps=30_000,
        universal_epsilon=8 / 255,
        test_images=1000,
        train_images=2000,
        ascent_steps=500,
    ),
    "paper": Config(
        dataset="cifar10",
        seeds=5,
        width=512,
        steps=300_000,
        snapshots=(0, 100, 1000, 3000, 10_000, 30_000, 100_000, 300_000),
        reference=3000,
        batch_size=128,
        enlargements=(2,),
        channels=64,
        size_steps=100_000,
        universal_epsilon=8 / 255,
        test_images=1000,
        train_images=2000,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    arms: Mapping[str, Kind] = ARMS,
    inference: Inference = "population",
    judged_on: str = "test",
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Attack every arm and size along training, conv nets at their end, and random nets.

    Returns:
      Chosen rates and numbers of images, and arrays 'arm/quantity' [S, T, ...], of sizes
      'family/quantity' [S, sizes] at their end and 'family/along' [S, sizes, T].
    """
    lab = Lab(config)
    asked = [name for name in config.arms if name in arms]
    families = {name: one for name, one in families_of(config).items() if name in parts}
    numbers = {"rates": {}, "pixels": []}
    arrays = {}
    with progress(len(asked) + len(families) + 4, "arms, sizes, conv nets") as bar:
        nets = {}
        for name in asked:
            nets[name] = lab.along(arms[name])
            numbers["rates"][name] = nets[name].learning_rate
            bar.advance()
        watched = watch(arms, nets, config, inference, judged_on)
        bar.advance()
        if watched:
            arrays |= paired_arrays(watched, config)
        found = measured_families(lab, families, watched, arms, config, bar)
        arrays |= found.arrays
        numbers["rates"] |= found.rates
        if config.enlargements and "he" in watched and "pixels" in parts:
            larger = measured_pixels(lab, watched["he"], config)
            arrays |= larger.arrays
            numbers["rates"] |= larger.rates
            numbers["pixels"] = larger.pixels
        bar.advance()
        if config.channels and "conv" in parts:
            arrays |= conv_arrays(lab, config, inference)
        bar.advance()
        if "random" in parts:
            arrays |= _random_nets(config)
        bar.advance()
    return numbers, arrays


def _random_nets(config: Config) -> dict:
    """Return what nets show before training, without batch norm and with it."""
    plain = start.at_start(config.first_seed, config.theory_nets, start.WIDTH)
    few = math.ceil(config.theory_nets / 50)
    scaled = normalized.normalized_at_start(config.first_seed, few)
    arrays = {f"start/{key}": value for key, value in plain._asdict().items()}
    return arrays | {f"start_bn/{key}": value for key, value in scaled._asdict().items()}


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims, arm by arm; the rules are fixed in ``_along_claims``."""
    return claims_of(config, ARMS)


def plot(record: Record, config: Config) -> Figure:
    """Draw the distance along training, and what moves with it or does not."""
    figure, axes = plots.new_figure(3, 2, 11.5)
    hero = plots.merged(axes[0])
    panels.draw_distances(hero, record, config, ARMS)
    panels.draw_friends(axes[1, 0], record, config, ARMS)
    panels.draw_crossed(axes[1, 1], record, config)
    panels.draw_sizes(axes[2, 0], record, config)
    panels.draw_conv(axes[2, 1], record, config)
    title = plots.headline(
        record,
        {
            ("still-he", "still-xavier", "still-small"): "From three starts, nets of "
            f"{config.depth} layers that train on keep their distance to the nearest mistake",
            ("farther-decay", "closer-bn", "closer-xavier", "closer-small"): "While nets train on, "
            "mistakes move away with weight decay, and closer with batch norm, from Xavier and "
            "from a small start",
            ("farther-decay", "closer-bn"): "While nets train on, mistakes move away with weight "
            "decay, and closer with batch norm",
        },
        "How far the nearest mistake is while a net learns, arm by arm",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"ReLU MLPs of {config.depth} layers, {config.width} units",
        optimizer="SGD with momentum .9, rates chosen on other seeds",
        paper="Mickisch et al. 2020; Lyu & Li 2020; Galloway et al. 2019; Zhu et al. 2022",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
