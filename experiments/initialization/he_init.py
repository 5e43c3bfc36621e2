"""He against Xavier: which nets of 14, 22 and 30 layers leave the plateau.

Source: He, Zhang, Ren & Sun 2015, "Delving Deep into Rectifiers" (arXiv 1502.01852), figures 2 and
3, section 2.2. Claim in one sentence: at 30 layers "Xavier" stalls and He converges, at 22 both
converge and He starts earlier, at 14 neither is better.

Command: make exp-he-init (under 3 minutes on two cores; embedded 8x8 digits, no download).

What differs from the paper: the nets keep its layer counts and kernel sizes, not its widths;
convolutions wrap around (zero padding on 4x4 maps would itself shrink the signal); inputs have unit
variance, so every layer can use one formula; the learning rate is constant and chosen for each arm
from its own grid on other seeds (one shared rate would be a confound); no augmentation, no dropout.
Hidden biases start at zero and train, as in the paper.
"""

import dataclasses
import sys
from functools import partial

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments.initialization import _at_start as initial
from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.dynamics import probes, theory
from jaxvision.fields import flagged
from jaxvision.models.layers import apply_function, compile_initializers, initialize_runs
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import he2015_net
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Share, Within
from jaxvision.report.record import Record
from jaxvision.training.arms import Arm, fit_arms, probe_cost, record_arrays, summarize, tune
from jaxvision.training.escape import error_gap, escaped, octaves, stalled
from jaxvision.training.fit import Trainer, check_periods, disjoint_seeds
from jaxvision.training.optimizers import adam, sgd
from jaxvision.training.step import Task

INITS = {"xavier": init.xavier_he2015(), "he": init.he_backward(), "flax": init.flax_default()}
FINITE = (50,) * 20  # widths of the nets that follow the finite-width law


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(5, "Paired seeds of every arm.", low=1, high=1000)
    first_seed: int = flagged(100, "First of them; the set-up was chosen on 0 to 4.", low=0)
    depths: tuple[int, ...] = flagged((14, 22, 30), "Layers of the conv nets.", low=14, high=30)
    mlp_depths: tuple[int, ...] = flagged((22, 30), "Weight layers of the MLPs.", low=3, high=1000)
    width: int = flagged(8, "Channels of the conv nets' first layer.", low=1, high=1024)
    mlp_width: int = flagged(64, "Units of the MLPs' hidden layers.", low=1, high=8192)
    steps: int = flagged(330, "Steps of the conv nets.", low=1)
    mlp_steps: int = flagged(1320, "Steps of the MLPs.", low=1)
    period: int = flagged(55, "Steps between two evaluations; divides all steps.", low=1)
    batch_size: int = flagged(16, "Images in a step.", low=1)
    weight_decay: float = flagged(5e-4, "Weight decay of every arm.", low=0)
    rates_xavier: tuple[float, ...] = flagged((0.003, 0.01, 0.03), "Xavier's grid.", low=0)
    rates_he: tuple[float, ...] = flagged((0.0003, 0.001), "He's grid.", low=0)
    rates_adam: tuple[float, ...] = flagged((0.0003, 0.001, 0.003), "Adam's grid.", low=0)
    tuning_seeds: int = flagged(3, "Seeds that choose the rates; none is used again.", low=1)
    theory_nets: int = flagged(2000, "Random nets behind the finite-width law.", low=2)


PRESETS = {
    "tiny": Config(
        seeds=2, depths=(14,), mlp_depths=(30,), width=2, mlp_width=16, steps=4, mlp_steps=8,
        period=4, rates_xavier=(0.01,), rates_he=(0.001,), rates_adam=(0.001,), tuning_seeds=1,
        theory_nets=50,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10", seeds=10, width=32, mlp_width=256, steps=7800, mlp_steps=7800,
        period=390, batch_size=128,
    ),
    "paper": Config(
        dataset="imagenet_resized/64x64", seeds=5, width=64, mlp_depths=(), steps=90_000,
        period=1000, batch_size=128,
    ),
}  # fmt: skip


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Train every arm of every net; returns numbers and arrays named 'net/arm/quantity'."""
    for depth in config.depths:
        he2015_net(depth, config.width, 2, INITS["he"], 8)  # refuses a depth that has none
    trained = {"steps": config.depths, "mlp_steps": config.mlp_depths}
    check_periods(config, *(flag for flag, depths in trained.items() if depths))
    seeds = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    data = load(config.dataset)
    mean = per_pixel_mean(data.train.images)
    scale = float(np.std(data.train.images[:5000] - mean))

    def preprocess(images, key):
        return normalize(images, mean, scale)

    numbers, arrays = {"nets": {}, "theory": _theory(config, data, preprocess)}, {}
    nets = [("conv", d) for d in config.depths] + [("mlp", d) for d in config.mlp_depths]
    for kind, depth in nets:
        found, histories = _measure_net(config, kind, depth, data, preprocess, progress, *seeds)
        numbers["nets"][f"{kind}{depth}"] = found
        for arm, history in histories.items():
            arrays |= record_arrays(f"{kind}{depth}/{arm}", history, probes.LAYERWISE)
    return numbers, arrays


def _measure_net(config, kind, depth, data, preprocess, progress, seeds, tuning_seeds):
    mlp, steps = kind == "mlp", config.mlp_steps if kind == "mlp" else config.steps
    deepest = depth == max(config.mlp_depths if mlp else config.depths)
    shape, classes = data.train.images.shape[1:], data.num_classes
    if mlp:
        nets = {name: MLP(depth, config.mlp_width, classes, draw) for name, draw in INITS.items()}
    else:
        size = depth, config.width, classes
        nets = {name: he2015_net(*size, draw, shape[0]) for name, draw in INITS.items()}
    apply = apply_function(nets["he"])
    compile_initializers([net for name, net in nets.items() if deepest or name != "flax"], shape)

    def trainer(optimizer) -> Trainer:
        task = Task(apply, partial(optimizer, config.weight_decay), preprocess, probes.per_layer)
        sizes = config.batch_size, config.period
        # One size of call for tuning and training, whatever the number of runs: one compilation.
        per_call = 2 * config.seeds if mlp else None
        return Trainer(task, data.train, data.test, *sizes, runs_per_call=per_call)

    def arm(name: str, rate: float, train_biases: float = 1.0, replicate: int = 0) -> Arm:
        hyper = {"learning_rate": rate, "train_biases": train_biases}
        return Arm(partial(initialize_runs, nets[name], image_shape=shape), hyper, replicate)

    tuning_steps = max(config.period, steps // 2 // config.period * config.period)
    with_sgd, with_adam = trainer(sgd), trainer(adam)
    grids = {"xavier": (with_sgd, config.rates_xavier), "he": (with_sgd, config.rates_he)}
    if mlp and deepest:
        grids["adam"] = (with_adam, config.rates_adam)
    total = len(tuning_seeds) * tuning_steps * sum(len(grid) for _, grid in grids.values())
    rates, tuning = {}, {}
    with progress(total, f"{kind}{depth}: choosing rates") as bar:
        for name, (fitter, grid) in grids.items():
            tried = {rate: arm("he" if name == "he" else "xavier", rate) for rate in grid}
            rates[name], tuning[name] = tune(fitter, tried, tuning_seeds, tuning_steps, bar.advance)
    arms = {"xavier": arm("xavier", rates["xavier"]), "he": arm("he", rates["he"])}
    if deepest:
        arms["flax"] = arm("flax", rates["xavier"])
        arms["he_again"] = arm("he", rates["he"], replicate=1)
    if mlp and deepest:
        arms["xavier_at_he_rate"] = arm("xavier", rates["he"])
        arms["xavier_no_bias"] = arm("xavier", rates["xavier"], train_biases=0.0)
    total = config.seeds * steps * (len(arms) + ("adam" in grids))
    with progress(total, f"{kind}{depth}: training") as bar:
        histories = fit_arms(with_sgd, arms, seeds, steps, bar.advance)
        alone = {"adam": arm("xavier", rates["adam"])} if "adam" in grids else {}
        histories |= alone and fit_arms(with_adam, alone, seeds, steps, bar.advance)
    numbers = {"rates": rates, "tuning_loss": tuning, "steps": steps}
    numbers |= summarize(histories, data.num_classes)
    if deepest and not mlp:
        numbers["probe_cost_percent"] = probe_cost(with_sgd, arms["he"])
    return numbers, histories


def _theory(config: Config, data, preprocess) -> dict:
    """Measure at initialisation what the closed forms predict."""
    keys = jax.random.split(jax.random.key(config.first_seed), config.theory_nets)
    log_squared = initial.log_squared_norms(keys, FINITE[0], len(FINITE))
    images = preprocess(data.train.images[:64], None)
    size = 30, config.mlp_width, data.num_classes
    nets = {name: MLP(*size, INITS[name]) for name in ("xavier", "he")}
    return {
        "log_norm_mean": log_squared.mean(),
        "log_norm_variance": log_squared.var(ddof=1),
        "signal_slope": initial.signal_slopes(nets, keys[:64], images),
        "vgg_std_gap": initial.vgg_std_gap(INITS["he"], keys[:4]),
    }


PAPER = "He et al. 2015"
EXTRA = ("adam", "no-bias", "control", "flax")  # their arms belong to the deepest nets


def words(net: str) -> str:
    """Return a net's name as people say it."""
    return f"{net[4:]}-layer conv net" if net.startswith("conv") else f"{net[3:]}-layer MLP"


def claims(config: Config) -> list[Claim]:
    """Return the source's claims and the questions beside them; the rules are fixed here."""

    def hidden_slope(net, quantity):  # at step 0, without the first and the last layer
        return lambda r: probes.log2_slope(r.arrays[f"{net}/xavier/{quantity}"][:, 0, 1:-1])

    gradient_factor = theory.fixed_std_gradient_factor(0.01, 3, theory.VGG_B_CONV2_TO_CONV10)
    law, rough = theory.relu_log_norm_moments(FINITE), theory.hanin_nica(FINITE)
    figure2, figure3, section = (f"{PAPER}, {at}" for at in ("figure 2", "figure 3", "section 2.2"))
    hanin = "Hanin & Nica 2018, abstract"
    fixed = [  # id, source, sentence, statistic, rule
        ("vgg-gradient", section, "A fixed std of .01 shrinks VGG-B's gradient from conv10 to "
         "conv2 by 1/(1.7e4)", lambda r: gradient_factor, Within(1 / 1.7e4, 0.03, relative=True)),
        ("he-stds", section, "He draws kernels of 64, 128, 256, 512 output channels with stds "
         ".059, .042, .029, .021 (largest difference)",
         lambda r: r.numbers["theory"]["vgg_std_gap"], Within(0.0, 6e-4)),
        ("xavier-signal", section, "Under Xavier the signal's std falls by sqrt(2) a ReLU layer "
         "(-1/2 octave)", lambda r: r.numbers["theory"]["signal_slope"]["xavier"],
         Within(-0.5, 0.05)),
        ("he-signal", section, "Under He the signal's std stays (0 octaves a layer)",
         lambda r: r.numbers["theory"]["signal_slope"]["he"], Within(0.0, 0.05)),
        ("finite-width-mean", hanin, f"{config.theory_nets:,} He nets, width 50, 20 layers: the "
         f"mean of log |Ju|^2 follows the law's exact form (first order: {rough[0]:.3g})",
         lambda r: r.numbers["theory"]["log_norm_mean"], Within(law[0], 0.15)),
        ("finite-width-variance", hanin, f"... so does the variance (first order: {rough[1]:.3g})",
         lambda r: r.numbers["theory"]["log_norm_variance"], Within(law[1], 0.1, relative=True)),
    ]  # fmt: skip
    found = [Claim(*row, "theory") for row in fixed]
    measured = [  # net, id, source, sentence, statistic, rule
        ("conv14", "equal", f"{PAPER}, section 4.2", "no clear superiority (test error, Xavier "
         "minus He)", error_gap("conv14", "xavier", "he"), Equivalent(0.03)),
        ("mlp30", "adam", "question, optimizers", "Adam takes Xavier off the plateau",
         escaped("mlp30", "adam"), Share()),
        ("mlp30", "no-bias", "question, biases", "without hidden biases Xavier stalls",
         stalled("mlp30", "xavier_no_bias"), Share()),
    ]  # fmt: skip
    for kind in ("conv", "mlp"):
        deep, middle = f"{kind}30", f"{kind}22"
        cosine = f"{deep}/xavier/decay_cosine"
        measured += [
            (deep, "he", figure3, "He leaves the plateau", escaped(deep, "he"), Share()),
            (deep, "xavier", figure3, "Xavier stalls", stalled(deep, "xavier"), Share()),
            (middle, "both", figure2, "Xavier converges too", escaped(middle, "xavier"),
             Share()),
            (middle, "earlier", figure2, "He starts earlier (octaves of steps)",
             octaves(middle, "xavier", "he"), Greater()),
            (deep, "dw-flat", "textbook reading, weight gradients", "under Xavier dW is the same "
             "in every layer (octaves a layer)", hidden_slope(deep, "dw_norm"), Equivalent(0.1)),
            (deep, "delta-decays", "textbook reading, backward signal", "under Xavier delta falls "
             "by sqrt(2) a layer on its way down (octaves)", hidden_slope(deep, "delta_norm"),
             Within(0.5, 0.1)),
            (deep, "decay-only", f"{PAPER}, footnote 2", "weight decay alone moves a stalled net: "
             "cos(dw, -w) near 1", lambda r, c=cosine: r.arrays[c][:, -config.period :].mean(1),
             Greater(0.9)),
            (deep, "control", "negative control, He against He", "He from other draws starts no "
             "earlier (octaves)", octaves(deep, "he_again", "he"), Equivalent(1.0)),
            (deep, "flax", "question, frameworks", "Flax's default initialiser stalls like Xavier",
             stalled(deep, "flax"), Share()),
        ]  # fmt: skip
    nets = {f"conv{d}" for d in config.depths} | {f"mlp{d}" for d in config.mlp_depths}
    missing = "needs {}, for some claims as the deepest net"
    deepest = {f"conv{max(config.depths, default=0)}", f"mlp{max(config.mlp_depths, default=0)}"}

    found += [
        Claim(f"{net}-{id}", source, f"{words(net)}: {sentence}", statistic, rule, "direction",
              "" if net in (deepest if id in EXTRA else nets) else missing.format(net))
        for net, id, source, sentence, statistic, rule in measured
    ]  # fmt: skip
    return [
        *found,
        Claim("imagenet", figure3, "ImageNet top-1 error: 38.56 % with 30 layers by He (Xavier "
              "never converges), 33.82 % with 14", lambda r: np.nan, Within(38.56, 0.5), "paper",
              "python -m experiments he_init --preset=paper"),
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw convergence by depth, and signal and gradients by layer with the theory through them."""
    nets = record.numbers["nets"]
    deep = max(nets, key=lambda net: (net[:3] == "mlp", len(net), net))
    layerwise = {  # title, axis, theory in octaves a layer
        "signal_std": ("signal at step 0", "std of the pre-activation", -0.5),
        "delta_norm": ("backward signal delta at step 0", "norm of dloss/dpre-activation", 0.5),
        "dw_norm": ("weight gradient dW at step 0", "norm of dloss/dweights", 0.0),
    }
    names = {"he": "He", "xavier": "Xavier"}  # Xavier last: the theory is drawn through it
    colors = plots.arm_colors(list(names))
    figure, axes = plots.new_figure(-(-(len(nets) + len(layerwise)) // 2), 2)
    panels = iter(axes.flat)
    for net in nets:
        ax = next(panels)
        for arm, label in names.items():
            steps, error = (record.arrays[f"{net}/{arm}/test_{x}"] for x in ("steps", "error"))
            plots.seed_band(ax, steps, 100 * error, colors[arm], label)
        plots.describe(ax, words(net), "training step", "test error, %")
    for quantity, (title, label, slope) in layerwise.items():
        ax = next(panels)
        for arm, name in names.items():
            values = record.arrays[f"{deep}/{arm}/{quantity}"][:, 0]
            layers = np.arange(1, values.shape[1] + 1)
            plots.seed_band(ax, layers, values, colors[arm], name)
        anchor = 1 if slope < 0 else -2  # the theory starts where its signal comes from
        line = np.median(values, 0)[anchor] * 2.0 ** (slope * (layers - layers[anchor]))
        plots.theory_line(ax, layers, line, "theory for Xavier")
        plots.log_axis(ax, "y")
        plots.describe(ax, f"{words(deep)}: {title}", "layer, from input to output", label)
    for ax in panels:
        ax.set_axis_off()
    return plots.finish(figure, record, "Xavier stalls at 30 layers, He converges")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
