"""He against Xavier: which nets of 14, 22 and 30 layers leave the plateau.

Source: He, Zhang, Ren & Sun 2015, "Delving Deep into Rectifiers" (arXiv 1502.01852), figures 2 and
3, section 2.2. Claim in one sentence: at 30 layers "Xavier" stalls and He converges, at 22 both
converge and He starts earlier, at 14 neither is better.

Command: make exp-he-init (under 4 minutes on two cores; embedded 8x8 digits, no download).

What differs from the paper: the nets keep its layer counts and kernel sizes, not its widths;
convolutions wrap around (zero padding on 4x4 maps would itself shrink the signal); inputs have unit
variance, so every layer can use one formula; the learning rate is constant and chosen for each arm
from its own grid on other seeds (one shared rate would be a confound); no augmentation, no dropout.
Hidden biases start at zero and train, as in the paper. "Converges" means a test error below half of
chance at the end of the run.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from experiments.initialization import _at_start as at_start
from experiments.initialization._claims import PAPER, claims_of
from experiments.initialization._lab import Lab, Net, Start, depths_of, runs_on
from experiments.initialization._panels import draw_layers
from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import load
from jaxvision.data.augment import standardizer
from jaxvision.dynamics import probes, theory
from jaxvision.fields import check_periods, disjoint_seeds, flagged
from jaxvision.models.plain import he2015_net
from jaxvision.progress import each
from jaxvision.random import probe
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim, Within
from jaxvision.report.record import Record
from jaxvision.training.arms import record_arrays
from jaxvision.training.optimizers import adam
from jaxvision.types import Axes, Figure, UserError

INITS = {"xavier": init.xavier_he2015(), "he": init.he_backward(), "flax": init.flax_default()}
FINITE = (50,) * 20  # widths of the nets that follow the finite-width law
SIGNALS = 64  # nets of each kind whose signal is looked at before training

ARMS = {
    "xavier": Start("Xavier", "xavier"),
    "he": Start("He", "he"),
    "he_again": Start("He, other draws", "he", tuned_as="he", depth="middle", replicate=1),
    "flax": Start("Flax", "flax", tuned_as="xavier", depth="deepest"),
    "adam": Start("Adam", "xavier", adam, depth="deepest", kinds=("mlp",)),
}
AT_LINES = {"adam": "Xavier, Adam", "flax": "Flax's own"}  # what says more than an arm's label
LABELS = {name: arm.label for name, arm in ARMS.items()}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(5, "Paired seeds of every arm.", low=1, high=1000)
    first_seed: int = flagged(200, "First of them.", low=0, high=10**9)
    depths: tuple[int, ...] = flagged((14, 22, 30), "Layers of the conv nets.", low=14, high=30)
    mlp_depths: tuple[int, ...] = flagged((22, 30), "Weight layers of the MLPs.", low=3, high=1000)
    width: int = flagged(8, "Channels of the conv nets' first layer.", low=1, high=1024)
    mlp_width: int = flagged(64, "Units of the MLPs' hidden layers.", low=1, high=8192)
    steps: int = flagged(330, "Steps of the conv nets.", low=1, high=10**6)
    mlp_steps: int = flagged(1320, "Steps of the MLPs.", low=1, high=10**6)
    period: int = flagged(55, "Steps between evaluations; divides all steps.", low=1, high=10**6)
    batch_size: int = flagged(16, "Images in a step.", low=1, high=65_536)
    weight_decay: float = flagged(5e-4, "Weight decay of every arm.", low=0)
    learning_rates_xavier: tuple[float, ...] = flagged((0.003, 0.01, 0.03), "Xavier's.", low=0)
    learning_rates_he: tuple[float, ...] = flagged((0.0003, 0.001), "He's.", low=0)
    learning_rates_adam: tuple[float, ...] = flagged((0.0003, 0.001, 0.003), "Adam's.", low=0)
    tuning_seeds: int = flagged(3, "Seeds for choosing rates; none is used again.", low=1, high=100)
    theory_nets: int = flagged(20_000, "Nets behind the finite-width law.", low=2, high=100_000)

    def __post_init__(self) -> None:
        if not (self.depths or self.mlp_depths):
            raise UserError("--depths= and --mlp_depths= leave no net to train: name a depth")


PRESETS = {
    "tiny": Config(
        seeds=2,
        depths=(),
        mlp_depths=(8,),
        mlp_width=8,
        mlp_steps=8,
        period=4,
        tuning_seeds=1,
        learning_rates_xavier=(0.01,),
        learning_rates_he=(0.001,),
        learning_rates_adam=(0.001,),
        theory_nets=50,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        seeds=10,
        width=32,
        mlp_width=256,
        steps=7800,
        mlp_steps=7800,
        period=390,
        batch_size=128,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64",
        width=64,
        mlp_depths=(),
        steps=90_000,
        period=1000,
        batch_size=128,
    ),
}


def nets_of(config: Config) -> list[Net]:
    """Return the nets of a run, conv nets first."""
    conv = [Net("conv", depth) for depth in config.depths]
    return conv + [Net("mlp", depth) for depth in config.mlp_depths]


def measure(
    config: Config,
    progress: cli.ShowProgress,
    arms: Mapping[str, Start] = ARMS,
    inits: Mapping[str, Callable] = INITS,
) -> tuple[dict, dict]:
    """Train every arm of every net; returns numbers and arrays named 'net/arm/quantity'."""
    for depth in config.depths:
        he2015_net(depth, config.width, 2, inits["he"], 8)  # refuses a depth that has none
    if config.depths:
        check_periods(config, "steps")
    if config.mlp_depths:
        check_periods(config, "mlp_steps")
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    data = load(config.dataset)
    lab = Lab(config, data, inits, standardizer(data.train), progress, seeds, tuning_seeds)
    numbers = {"chance_error": data.test.chance_error, "theory": _theory(lab), "nets": {}}
    arrays = {}
    for net in each(nets_of(config) if arms else [], "nets"):
        found, histories = lab.compare(net, arms)
        numbers["nets"][net.name] = found
        for arm, history in histories.items():
            kept = record_arrays(f"{net.name}/{arm}", history, probes.LAYERWISE)
            unread = ["loss", "error"]  # of every batch; escape steps are kept
            if arm != "xavier":
                unread.append("decay_cosine")  # it is asked of stalled nets only
            for quantity in unread:
                kept.pop(f"{net.name}/{arm}/{quantity}")
            arrays |= kept
    return numbers, arrays


def _theory(lab: Lab) -> dict:
    """Measure at initialization what the closed forms predict."""
    config = lab.config
    seed = config.first_seed
    nets_keys = jax.random.split(probe(seed, "nets"), config.theory_nets)
    signal_keys = jax.random.split(probe(seed, "signals"), SIGNALS)
    kernel_keys = jax.random.split(probe(seed, "kernels"), 4)
    images = lab.preprocess(lab.data.train.sample(64).images, None)
    nets = {name: lab.model(Net("mlp", 30), name) for name in ("xavier", "he")}
    log_squared = at_start.log_squared_norms(nets_keys, FINITE[0], len(FINITE))
    return {
        "log_norm_mean": log_squared.mean(),
        "log_norm_variance": log_squared.var(ddof=1),
        "signal_slope": at_start.signal_slopes(nets, signal_keys, images),
        "vgg_std_gap": at_start.vgg_std_gap(lab.inits["he"], kernel_keys),
    }


def finite_width_slope(width: int) -> float:
    """Return the octaves a ReLU layer of He's weights adds to the norm of its signal on average."""
    mean, _ = theory.relu_log_norm_moments([width])
    return float(mean / (2 * np.log(2)))


def claims(config: Config) -> list[Claim]:
    """Return the source's claims and the questions beside them; the rules are fixed here."""
    nets = nets_of(config)
    by_net = [claim for net in nets for claim in claims_of(net, config, ARMS)]
    law, rough = theory.relu_log_norm_moments(FINITE), theory.hanin_nica(FINITE)
    shrink = finite_width_slope(config.mlp_width)
    section, hanin = f"{PAPER}, section 2.2", "Hanin & Nica 2018, abstract"

    def measured(name: str) -> Callable:
        return lambda r: r.numbers["theory"][name]

    def signal(weights: str) -> Callable:
        return lambda r: r.numbers["theory"]["signal_slope"][weights]

    return [
        *by_net,
        Claim(
            "he-stds",
            section,
            "He draws kernels of 64, 128, 256, 512 output channels with stds "
            ".059, .042, .029, .021 (largest difference)",
            measured("vgg_std_gap"),
            Within(0.0, 6e-4),
            "theory",
            needs=(),
        ),
        Claim(
            "xavier-signal",
            section,
            "Under Xavier the signal's std falls by sqrt(2) a ReLU "
            f"layer (-1/2 octave, and {shrink:.3f} at this width)",
            signal("xavier"),
            Within(-0.5 + shrink, 0.02),
            "theory",
            needs=(),
        ),
        Claim(
            "he-signal",
            section,
            f"Under He the signal's std stays (0 octaves, and {shrink:.3f} at this width)",
            signal("he"),
            Within(shrink, 0.02),
            "theory",
            needs=(),
        ),
        Claim(
            "finite-width-mean",
            hanin,
            f"{config.theory_nets:,} He nets, width 50, 20 layers: "
            f"the mean of log |Ju|^2 follows the law's exact form (first order: {rough[0]:.3g})",
            measured("log_norm_mean"),
            Within(law[0], 0.05),
            "theory",
            needs=(),
        ),
        Claim(
            "finite-width-variance",
            hanin,
            f"{config.theory_nets:,} He nets, width 50, 20 "
            "layers: the variance of log |Ju|^2 follows the law's exact form (first order: "
            f"{rough[1]:.3g})",
            measured("log_norm_variance"),
            Within(law[1], 0.05, relative=True),
            "theory",
            needs=(),
        ),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw convergence of the two deeper nets of each kind, and what each layer sees at step 0."""
    nets = nets_of(config)
    shown = []
    for kind in ("mlp", "conv"):
        shown += [net for net in nets if net.kind == kind][-2:]
    rows = -(-len(shown) // 2)
    figure, axes = plots.new_figure(rows + 1, 2, height=3.0 * (rows + 1))
    panels = list(axes[:-1].flat)[: len(shown)]
    if len(shown) % 2:  # the last one has its row to itself
        panels[-1] = plots.merged(axes[-2])
    for ax, net in zip(panels, shown, strict=True):
        _draw_convergence(ax, record, config, net)
    _draw_start(axes[-1], record, config, max(nets, key=lambda net: (net.kind == "mlp", net.depth)))
    otherwise = "He against Xavier in deep ReLU nets"
    title = plots.headline(record, _titles(config), otherwise)
    grids = [config.learning_rates_xavier, config.learning_rates_he]
    and_adam = ""
    if config.mlp_depths:
        grids.append(config.learning_rates_adam)
        and_adam = " (and Adam)"
    return plots.finish(
        figure,
        record,
        title,
        net=_sizes(config),
        optimizer=f"SGD with momentum .9{and_adam}, {words.rates('arm', *grids)}",
        paper="He et al. 2015, figures 2 and 3",
    )


def _sizes(config: Config) -> str:
    """Return the kinds of nets and their widths, for the footer."""
    mlps = f"ReLU MLPs {config.mlp_width} wide"
    convs = f"conv nets from {config.width} channels"
    return ", ".join([mlps] * bool(config.mlp_depths) + [convs] * bool(config.depths))


def _draw_start(axes: Sequence[Axes], record: Record, config: Config, net: Net) -> None:
    """Draw signal and gradient by layer of a net's arms at step 0."""
    slope = finite_width_slope(config.mlp_width) if net.kind == "mlp" else 0.0
    draw_layers(axes[0], record, f"{net.name}/{{}}/signal_std", LABELS, slope - 0.5)
    plots.describe(axes[0], "Signal at step 0", "layer", "std of the\npre-activation")
    draw_layers(axes[1], record, f"{net.name}/{{}}/delta_norm", LABELS, 0.5 - slope)
    plots.describe(axes[1], "Gradient at step 0", "layer", "norm at the\npre-activation")


def _titles(config: Config) -> dict[tuple[str, ...], str]:
    """Return the titles that the verdicts on nets of 30 layers allow, the broadest first."""
    deep = {"mlp": 30 in config.mlp_depths, "conv": 30 in config.depths}
    ids = {kind: (f"{kind}30-he", f"{kind}30-xavier") for kind in deep}
    found = {}
    if all(deep.values()):
        found[ids["mlp"] + ids["conv"]] = "Xavier stalls at 30 layers, He converges"
    for kind, kind_words in {"mlp": "MLPs", "conv": "conv nets"}.items():
        if deep[kind]:
            found[ids[kind]] = f"In {kind_words} of 30 layers Xavier stalls, He converges"
    return found


def _draw_convergence(ax: Axes, record: Record, config: Config, net: Net) -> None:
    """Draw every arm's test error by step."""
    for name, arm in ARMS.items():
        if not runs_on(arm, net, depths_of(config, net)) or arm.replicate:
            continue
        steps, error = (record.arrays[f"{net.name}/{name}/test_{x}"] for x in ("steps", "error"))
        plots.seed_band(
            ax, steps, 100 * error, plots.color_of(arm.label), AT_LINES.get(name, arm.label)
        )
    ax.set_ylim(0, 100)
    plots.mark_contradicted(ax, record, *(claim.id for claim in claims_of(net, config, ARMS)))
    plots.describe(ax, net.words, "training step", "test error, %")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
