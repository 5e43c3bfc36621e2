"""The experiments, in the order in which the lecture tells them: data, and nothing else.

A line here gives the file ``experiments/<theme>/<name>.py`` its make target, its gallery entry and
its contract test.
"""

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from jaxvision import terminal


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes:
      name: the module's name, as in ``python -m experiments he_init``.
      theme: the folder it lies in.
      title: what the gallery calls it.
      sentence: the finding in one sentence. It says no more than its claims.
      minutes: what the ``cpu`` preset takes on a laptop's two cores, rounded up.
      claims: ids of the claims that the sentence states: the record must have reproduced them.
      contradicts: ids of those whose contradiction it states.
      by_seed: a run may be cut into runs of fewer seeds that give its record together, to the bit:
        a test holds it.
    """

    name: str
    theme: str
    title: str
    sentence: str
    minutes: int
    claims: tuple[str, ...]
    contradicts: tuple[str, ...] = ()
    by_seed: bool = False


CATALOG = (
    Entry(
        name="he_init",
        theme="initialization",
        title="He against Xavier",
        sentence="At 30 layers Xavier stalls, and He's MLP converges.",
        minutes=4,
        claims=("conv30-xavier", "mlp30-xavier", "mlp30-he"),
    ),
    Entry(
        name="escape_time",
        theme="initialization",
        title="How long the plateau holds",
        sentence="At 30 layers Xavier holds SGD at least eight times as long as Adam.",
        minutes=4,
        claims=("lead", "lead_bias"),
    ),
    Entry(
        name="gradient_flow",
        theme="gradients",
        title="How gradients vanish and explode",
        sentence="The gain decides which gradient the first layers see, as theory says.",
        minutes=2,
        claims=("delta-relu", "delta-tanh", "delta-decays"),
    ),
    Entry(
        name="logistic_map",
        theme="gradients",
        title="One exponent, four systems",
        sentence="One number says what vanishes and what explodes, in the logistic map as in nets.",
        minutes=2,
        claims=("ln-2", "relu-64", "tanh", "batch-norm"),
    ),
    Entry(
        name="trainability",
        theme="gradients",
        title="The map of what trains",
        sentence="The depth that trains goes with xi_c, less than in proportion; dropout lowers "
        "it.",
        minutes=5,
        claims=("rank", "dropout-shallower"),
        contradicts=("slope",),
    ),
    Entry(
        name="jacobian_spectrum",
        theme="gradients",
        title="Dynamical isometry",
        sentence="Orthogonal tanh nets keep every direction of their input, and learn soonest.",
        minutes=3,
        claims=(
            *("weakest", "bulk", "gaussian-cannot", "relu-cannot"),
            *("sooner-than-gaussian", "sooner-than-relu"),
        ),
    ),
    Entry(
        name="delta_orthogonal",
        theme="gradients",
        title="Ten thousand plain conv layers",
        sentence="A 10,000-layer plain conv net carries its signal, if delta-orthogonal.",
        minutes=2,
        claims=("signal", "images", "images-gaussian"),
        by_seed=True,
    ),
    Entry(
        name="shattered_gradients",
        theme="gradients",
        title="Shattered gradients",
        sentence="Batch norm shatters a plain net's gradients in ten layers; skips resist.",
        minutes=2,
        claims=("exponential-bn", "resists-bn", "resists"),
    ),
    Entry(
        name="curvature",
        theme="gradients",
        title="The edge of stability",
        sentence="Gradient descent climbs to the edge of stability and stays there.",
        minutes=2,
        claims=("hovers-5", "hovers-7", "hovers-10", "just-above", "sharpening"),
        by_seed=True,
    ),
    Entry(
        name="batchnorm",
        theme="normalization",
        title="What batch norm speeds up, and why",
        sentence="Batch norm lets a net of sigmoids end at a lower error, from any scale of "
        "weights.",
        minutes=4,
        claims=("higher", "resilient"),
    ),
    Entry(
        name="batchnorm_modes",
        theme="normalization",
        title="Two modes of batch norm",
        sentence="The same weights, other statistics, other answers.",
        minutes=3,
        claims=("young", "pairs", "leak"),
    ),
    Entry(
        name="dropout",
        theme="normalization",
        title="What dropout gains",
        sentence="Dropout silences units; it gains most with few images, where its paper has none.",
        minutes=4,
        claims=("sparse",),
        contradicts=("few-images", "more-images"),
    ),
    Entry(
        name="model_averaging",
        theme="normalization",
        title="Train many models",
        sentence="Many nets together err less than one; averaged weights of different starts err "
        "more.",
        minutes=3,
        claims=("errs-less", "soup-apart"),
    ),
    Entry(
        name="optimizers_and_rates",
        theme="normalization",
        title="Which learning rates work",
        sentence="A batch 16 times as large takes 16 times the rate; larger ones save few steps.",
        minutes=3,
        claims=("linear-32", "linear-128", "diminishing"),
    ),
    Entry(
        name="imagenet_2012",
        theme="depth",
        title="The jump of 2012",
        sentence="A conv net errs less than dense nets and histograms, until pixels are shuffled.",
        minutes=4,
        claims=("beats-dense", "beats-features", "shuffled-conv", "no-lead"),
    ),
    Entry(
        name="alexnet_removal",
        theme="depth",
        title="AlexNet without its layers",
        sentence="AlexNet's shape errs more without layers 3, 4, yet without 3, 4, 6, 7 it does "
        "not fall apart.",
        minutes=4,
        claims=("no34-costs",),
        contradicts=("collapse",),
    ),
    Entry(
        name="model_sizes",
        theme="depth",
        title="Millions of parameters",
        sentence="ResNet-152 is as large as AlexNet; GoogLeNet is not 12 times smaller.",
        minutes=1,
        claims=("same-size",),
        contradicts=("twelve-times",),
    ),
    Entry(
        name="identity_construction",
        theme="depth",
        title="Identity layers",
        sentence="Identity layers change no bit of a ReLU net; trained on, sixteen end worse.",
        minutes=2,
        claims=("exact-1", "exact-4", "exact-16"),
        contradicts=("best-16",),
    ),
    Entry(
        name="plain_vs_residual",
        theme="depth",
        title="Plain against residual",
        sentence="Training error rises with depth in plain nets, not in residual ones.",
        minutes=8,
        claims=("degradation", "no-degradation", "cure"),
    ),
    Entry(
        name="data_size",
        theme="data",
        title="How much data",
        sentence="The test error falls as one power of the images; width and copies change it.",
        minutes=4,
        claims=("power-law-steps", "power-law-epochs"),
        contradicts=("width-shifts", "moved-shifts"),
    ),
    Entry(
        name="features_off_the_shelf",
        theme="data",
        title="Features off the shelf",
        sentence="Deep features serve classes that the net never saw, but not another set.",
        minutes=4,
        claims=("rises-late", "beats-random"),
        contradicts=("rises-second",),
    ),
    Entry(
        name="minimal_perturbation",
        theme="breaking",
        title="The nearest mistakes",
        sentence="Small changes made for one net mislead others; noise as large does not.",
        minutes=4,
        claims=("transfer", "noise"),
    ),
    Entry(
        name="fast_gradient",
        theme="breaking",
        title="Fast gradients",
        sentence="One step fools a net; training on it hides that, and mends nothing at its size.",
        minutes=4,
        claims=("dense-falls", "mix-helps", "masked-pgd", "worst"),
    ),
    Entry(
        name="universal_perturbation",
        theme="breaking",
        title="One change for all images",
        sentence="On average over nets one change fools on most images; on other nets, a plain "
        "pattern does more.",
        minutes=4,
        claims=("beats-random", "beats-patterns", "most"),
        contradicts=("handed-patterns",),
    ),
    Entry(
        name="one_pixel",
        theme="breaking",
        title="One pixel",
        sentence="One pixel fools over a tenth of images; the paper's search finds nearly all.",
        minutes=4,
        claims=("fools", "fools-color", "evolution"),
    ),
    Entry(
        name="fooling_images",
        theme="breaking",
        title="Fooling images",
        sentence="Evolution makes nets sure of rubbish in every class; drawing at random does too.",
        minutes=4,
        claims=("nines-direct", "nines-cppn"),
        contradicts=("random-short",),
    ),
    Entry(
        name="physical_world",
        theme="breaking",
        title="The physical world",
        sentence="Simulated photographs undo most adversarial images, least likely ones above all.",
        minutes=4,
        claims=("fool", "least-photo", "most-least"),
        contradicts=("survive-fast", "survive-basic"),
    ),
    Entry(
        name="robust_3d",
        theme="breaking",
        title="Adversarial objects",
        sentence="Made over poses, textures fool nets as a solid turns; flat pictures gain less, "
        "and so do textures at equal norms.",
        minutes=3,
        claims=("gap-solid", "accuracy"),
        contradicts=("gap-flat", "equal-flat", "equal-solid"),
    ),
    Entry(
        name="camouflage",
        theme="breaking",
        title="Patches and dazzle",
        sentence="A patch beside the object leads a net to its class more than a real one, yet in "
        "under half of the scenes.",
        minutes=5,
        claims=("beats-object", "off-object", "led-away"),
        contradicts=("most",),
    ),
    Entry(
        name="transformations",
        theme="breaking",
        title="Moving, scaling, turning",
        sentence="Turning harms most, small poses fool over a fifth, deeper nets are less steady.",
        minutes=4,
        claims=("shift-turn", "scale-turn", "breaks", "deeper-worse"),
        contradicts=("deeper-better",),
    ),
    Entry(
        name="robustness_in_training",
        theme="breaking",
        title="Robustness along training",
        sentence="Three layers that train on keep their distance, He's nine move away; batch norm "
        "costs less than ten points.",
        minutes=4,
        claims=("still-he", "still-xavier", "still-small", "farther-deepest-he"),
        contradicts=("bn-cost-large",),
    ),
    Entry(
        name="occlusion",
        theme="seeing",
        title="Covering the image",
        sentence="Covering the object costs more than covering the background, in nets of dealt "
        "labels, too.",
        minutes=5,
        claims=("object",),
        contradicts=("shuffled-learned",),
    ),
    Entry(
        name="backward_rules",
        theme="seeing",
        title="Which pixels affect a neuron",
        sentence="Guided backprop returns its input at random weights, yet training changes it.",
        minutes=5,
        claims=("nie-guided",),
        contradicts=("flat",),
    ),
    Entry(
        name="class_pictures",
        theme="seeing",
        title="What one net calls a class",
        sentence="Others often miss the class in a net's pictures; L2, blur, waves, jitter help.",
        minutes=5,
        claims=("unseen", "l2", "blur", "fourier", "jitter"),
    ),
    Entry(
        name="features_along_training",
        theme="seeing",
        title="What units prefer along training",
        sentence="Units settle from below: the higher the layer, the later.",
        minutes=5,
        claims=("lower-first-he",),
    ),
    Entry(
        name="gan_objective",
        theme="generating",
        title="What a discriminator measures",
        sentence="The best discriminator is worth -log 4 + 2 JSD; the saturating gradient dies.",
        minutes=1,
        claims=("value", "dies"),
    ),
    Entry(
        name="gan_dynamics",
        theme="generating",
        title="A GAN is a rotation",
        sentence="The saturating game circles, the non-saturating one falls in all the same, R1 "
        "damps fastest at gamma = 1.",
        minutes=2,
        claims=("circle", "falls-in", "r1-critical"),
        contradicts=("imaginary-stays", "r1-critical-misprint"),
    ),
    Entry(
        name="mode_collapse",
        theme="generating",
        title="Who loses modes",
        sentence="A slow discriminator or momentum loses modes of a ring; unrolling regains them.",
        minutes=4,
        claims=("slow-loses", "momentum-loses", "unrolling"),
    ),
    Entry(
        name="transposed_convolution",
        theme="generating",
        title="Transposed convolution",
        sentence="A transposed convolution is a gradient; odd kernels paint checkers untrained.",
        minutes=1,
        claims=("matrix", "gradient", "checkers-3", "checkers-5", "resized-5"),
    ),
    Entry(
        name="dcgan",
        theme="generating",
        title="DCGAN",
        sentence="A small DCGAN learns; batch norm over real and generated images at once sets it "
        "back in one player's loss, and helps in both.",
        minutes=7,
        claims=("falls", "copied"),
        contradicts=("mixed",),
    ),
    Entry(
        name="moving_shapes",
        theme="generating",
        title="Moving shapes in two streams",
        sentence="A mask that nobody taught follows what moves better than chance, less than half "
        "as well as a finder of motion does.",
        minutes=6,
        claims=("mask-finds", "mask-true"),
        contradicts=("mask-half",),
    ),
    Entry(
        name="preferred_inputs",
        theme="generating",
        title="Preferred inputs through a learnt prior",
        sentence="Other nets see a net's classes best in pictures climbed in an inverter's codes.",
        minutes=4,
        claims=("prior", "beats-yosinski", "beats-fourier", "beats-gan"),
    ),
)
THEMES = tuple(dict.fromkeys(entry.theme for entry in CATALOG))  # in the order of the lecture

_USAGE = "python -m experiments.catalog list|names [THEME]|gallery|nets"


def module_name(name: str) -> str:
    """Return the full name of an experiment's module."""
    theme = next(entry.theme for entry in CATALOG if entry.name == name)
    return f"experiments.{theme}.{name}"


def train_nets(experiments: Iterable[ModuleType]) -> int:
    """Train the nets that cpu presets ask for, unless it has been done; return the exit code."""
    from jaxvision import nets
    from jaxvision.types import UserError

    asking = [each for each in experiments if hasattr(each, "wanted_nets")]
    wanted = [net for each in asking for net in each.wanted_nets(each.PRESETS["cpu"])]
    if not wanted:
        print("No experiment asks for nets: there is nothing to train.")
    try:
        for spec, seeds, snapshots in wanted:
            found = nets.trained(spec, seeds, snapshots=snapshots)
            error = found.test_error.mean()
            print(f"{spec}: {len(seeds)} runs, test error {error:.1%} (mean), key {found.key}")
    except UserError as error:
        print(f"error: {terminal.one_line(str(error))}", file=sys.stderr)
        return 2
    return 0


def main(arguments: list[str]) -> int:
    """Answer the command of ``_USAGE``; return the exit code."""
    match arguments:
        case ["list"]:
            for entry in CATALOG:
                target = "make exp-" + entry.name.replace("_", "-")
                print(f"{target:29} {entry.sentence} (about {entry.minutes} min)")
        case ["names"]:
            print("\n".join(entry.name for entry in CATALOG))
        case ["names", theme] if theme in THEMES:
            print("\n".join(entry.name for entry in CATALOG if entry.theme == theme))
        case ["names", theme]:
            print(f"There is no theme '{theme}': {', '.join(THEMES)}", file=sys.stderr)
            return 2
        case ["gallery", *flags]:
            # Imported here because `list` must answer before anything is installed.
            from experiments import lecture
            from jaxvision.report import gallery

            return gallery.main(flags, lecture.of(CATALOG))
        case ["nets"]:
            from jaxvision import runtime

            runtime.configure(cpu_devices=runtime.usable_cores())
            return train_nets(importlib.import_module(module_name(each.name)) for each in CATALOG)
        case _:
            print(f"usage: {_USAGE}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    with terminal.until_unread():
        sys.exit(main(sys.argv[1:]))
