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
import functools
import sys
from functools import partial

import jax
import numpy as np
import optax

from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.cli import flagged
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.dynamics import chaos, probes, theory
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import he2015_net
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, EverySeed, Greater, Within
from jaxvision.training.arms import Arm, choose, fit_arms
from jaxvision.training.fit import Trainer
from jaxvision.training.step import Task

INITS = {"xavier": init.xavier_he2015, "he": init.he_backward, "flax": init.flax_default}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(5, "Paired seeds of every arm.", low=1, high=1000)
    depths: tuple[int, ...] = flagged(
        (14, 22, 30), "Weight layers of the conv nets: 14, 22, 30.", low=14, high=30
    )
    mlp_depths: tuple[int, ...] = flagged((22, 30), "Weight layers of the MLPs.", low=3, high=1000)
    width: int = flagged(8, "Channels of the conv nets' first layer.", low=1, high=1024)
    mlp_width: int = flagged(64, "Units of the MLPs' hidden layers.", low=1, high=8192)
    steps: int = flagged(440, "Steps of the conv nets.", low=1)
    mlp_steps: int = flagged(880, "Steps of the MLPs.", low=1)
    period: int = flagged(44, "Steps between two evaluations; divides all steps.", low=1)
    batch_size: int = flagged(16, "Images in a step.", low=1)
    weight_decay: float = flagged(5e-4, "Weight decay of every arm.", low=0)
    rates_xavier: tuple[float, ...] = flagged((0.003, 0.01, 0.03), "Xavier's grid.", low=0)
    rates_he: tuple[float, ...] = flagged((0.0003, 0.001, 0.003), "He's grid.", low=0)
    rates_adam: tuple[float, ...] = flagged((0.0003, 0.001, 0.003), "Adam's grid.", low=0)
    tuning_seeds: int = flagged(2, "Seeds that choose the rates; none is used again.", low=1)
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


def sgd(weight_decay: float, hyper: dict) -> optax.GradientTransformation:
    """SGD with momentum .9 (the paper's); ``train_biases`` 0 freezes the biases at zero."""
    freeze = optax.masked(optax.scale(hyper["train_biases"]), _is_bias)
    decay = optax.add_decayed_weights(weight_decay)
    return optax.chain(decay, freeze, optax.sgd(hyper["learning_rate"], momentum=0.9))


def adam(weight_decay: float, hyper: dict) -> optax.GradientTransformation:
    """Adam with the weight decay in its gradient, as SGD has it."""
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(hyper["learning_rate"]))


def _is_bias(params: dict) -> dict:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "bias", params)


def measure(config: Config, progress) -> tuple[dict, dict]:
    """Train every arm of every net; returns numbers and arrays named 'net/arm/quantity'."""
    data = load(config.dataset)
    mean = per_pixel_mean(data.train.images)
    scale = float(np.std(data.train.images[:5000] - mean))

    def preprocess(images, key):
        return normalize(images, mean, scale)

    numbers, arrays = {"nets": {}, "theory": _theory(config, data, preprocess)}, {}
    nets = [("conv", d) for d in config.depths] + [("mlp", d) for d in config.mlp_depths]
    for kind, depth in nets:
        found = _measure_net(config, kind, depth, data, preprocess, progress)
        numbers["nets"][f"{kind}{depth}"], histories = found
        for arm, history in histories.items():
            arrays |= _arrays(f"{kind}{depth}/{arm}", history)
    return numbers, arrays


def _measure_net(config, kind, depth, data, preprocess, progress) -> tuple[dict, dict]:
    shape = data.train.images.shape[1:]

    def start(name: str):
        size = data.num_classes, INITS[name]()
        if kind == "mlp":
            net = MLP(depth, config.mlp_width, *size)
        else:
            net = he2015_net(depth, config.width, *size, shape[0])
        return net, partial(initialize_runs, net, image_shape=shape)

    apply = apply_function(start("he")[0])

    def trainer(optimizer) -> Trainer:
        task = Task(apply, partial(optimizer, config.weight_decay), preprocess, probes.per_layer)
        return Trainer(task, data.train, data.test, config.batch_size, config.period)

    def hyper(rate: float, train_biases: float = 1.0) -> dict:
        return {"learning_rate": rate, "train_biases": train_biases}

    steps = config.mlp_steps if kind == "mlp" else config.steps
    tuning_steps = max(config.period, steps // 2 // config.period * config.period)
    with_sgd = trainer(sgd)
    deepest = depth == max(config.mlp_depths if kind == "mlp" else config.depths)
    grids = {"xavier": (with_sgd, config.rates_xavier), "he": (with_sgd, config.rates_he)}
    if kind == "mlp" and deepest:
        grids["adam"] = (trainer(adam), config.rates_adam)
    candidates = config.tuning_seeds * tuning_steps * sum(len(g) for _, g in grids.values())
    rates, tuning = {}, {}
    with progress(candidates, f"{kind}{depth}: choosing rates") as bar:
        for arm, (fitter, grid) in grids.items():
            begin = start("he" if arm == "he" else "xavier")[1]
            tried = fit_arms(
                fitter,
                {rate: Arm(begin, hyper(rate)) for rate in grid},
                range(1000, 1000 + config.tuning_seeds),
                tuning_steps,
                bar.advance,
            )
            rates[arm], tuning[arm] = choose(tried)
    xavier, he = hyper(rates["xavier"]), hyper(rates["he"])
    arms = {"xavier": Arm(start("xavier")[1], xavier), "he": Arm(start("he")[1], he)}
    if deepest:
        arms["he_again"] = Arm(start("he")[1], he, replicate=1)
        arms["flax"] = Arm(start("flax")[1], xavier)
    if kind == "mlp" and deepest:
        arms["xavier_no_bias"] = Arm(start("xavier")[1], hyper(rates["xavier"], 0.0))
        arms["xavier_at_he_rate"] = Arm(start("xavier")[1], he)
    with progress(config.seeds * steps * len(arms), f"{kind}{depth}: training") as bar:
        seeds = range(config.seeds)
        histories = fit_arms(with_sgd, arms, seeds, steps, bar.advance)
    if "adam" in grids:
        arm = {"adam": Arm(start("xavier")[1], hyper(rates["adam"]))}
        histories |= fit_arms(grids["adam"][0], arm, seeds, steps)
    threshold = 0.9 * np.log(data.num_classes)
    return {
        "rates": rates,
        "tuning_loss": {arm: {str(r): v for r, v in t.items()} for arm, t in tuning.items()},
        "steps": steps,
        "escape_step": {arm: h.escape_step(threshold) for arm, h in histories.items()},
        "diverged_step": {arm: h.diverged_step() for arm, h in histories.items()},
        "test_error": {arm: h.test["error"][:, -1] for arm, h in histories.items()},
    }, histories


def _theory(config: Config, data, preprocess) -> dict:
    """Measure at initialisation what the closed forms predict."""
    depth, width = 20, 50
    keys = jax.random.split(jax.random.key(0), config.theory_nets)
    grow = jax.jit(jax.vmap(lambda key: chaos.net_growth(key, "relu", np.sqrt(2), width, depth)))
    log_squared = 2 * np.asarray(grow(keys)).sum(1)  # log ||Ju||^2 of every net
    images = preprocess(data.train.images[:64], None)
    slopes = {}
    for name in ("xavier", "he"):
        net = MLP(30, config.mlp_width, data.num_classes, INITS[name]())
        variables = initialize_runs(net, keys[:64], images.shape[1:])
        signal = probes.initial_signal(apply_function(net), variables, images)
        slopes[name] = probes.log2_slope(signal[:, 1:-1])  # the hidden layers
    return {
        "log_norm_mean": log_squared.mean(),
        "log_norm_variance": log_squared.var(ddof=1),
        "log_norm_law": theory.relu_log_norm_moments([width] * depth),
        "signal_slope": slopes,
    }


def _arrays(name: str, history) -> dict[str, np.ndarray]:
    steps = history.train["loss"].shape[1]
    kept = [t for t in (0, 1, 10, 100, steps - 1) if t < steps]
    found = {f"{name}/{key}": history.train[key] for key in ("loss", "decay_cosine")}
    found |= {f"{name}/{key}": history.train[key][:, kept] for key in probes.LAYERWISE}
    found |= {f"{name}/test_error": history.test["error"], f"{name}/layer_steps": np.array(kept)}
    return found | {f"{name}/test_steps": history.test_steps}


PAPER = "He et al. 2015"


def claims(config: Config) -> list[Claim]:
    """Return the source's claims and the questions beside them; the rules are fixed here."""
    nets = {f"conv{d}" for d in config.depths} | {f"mlp{d}" for d in config.mlp_depths}

    def claim(id, place, sentence, tier, statistic, rule, net="") -> Claim:
        missing = "" if not net or net in nets else f"{net} is not in this run"
        return Claim(id, place, sentence, tier, statistic, rule, missing)

    def escape(r, net, arm):
        return np.array(r.numbers["nets"][net]["escape_step"][arm])

    def escaped(net, arm):
        return lambda r: escape(r, net, arm) < r.numbers["nets"][net]["steps"]

    def stalled(net, arm):
        return lambda r: ~escaped(net, arm)(r)

    def octaves(net, late, early):  # a censored time counts as the last step: a lower bound
        log2 = lambda r, arm: np.log2(np.maximum(escape(r, net, arm), 1))  # noqa: E731
        return lambda r: log2(r, late) - log2(r, early)

    def error_gap(net, a, b):
        return lambda r: np.subtract(*(r.numbers["nets"][net]["test_error"][x] for x in (a, b)))

    def hidden_slope(net, quantity):  # log2 per layer at step 0, without first and last layer
        layers = lambda r: r.arrays[f"{net}/xavier/{quantity}"][:, 0, 1:-1]  # noqa: E731
        return lambda r: probes.log2_slope(layers(r))

    def decay_cosine(net):
        return lambda r: r.arrays[f"{net}/xavier/decay_cosine"][:, -config.period :].mean(1)

    def theory_number(*path):
        return lambda r: functools.reduce(lambda tree, key: tree[key], path, r.numbers["theory"])

    gradient_factor = theory.fixed_std_gradient_factor(0.01, 3, theory.VGG_B_CONV2_TO_CONV10)
    stds = theory.he_std(3, (64, 128, 256, 512))
    law = theory.relu_log_norm_moments([50] * 20)
    section, law_source = f"{PAPER}, section 2.2", "Hanin & Nica 2018, theorem 1"
    found = [
        claim("vgg-gradient", section, "A fixed std of .01 shrinks VGG-B's gradient from conv10 to "
              "conv2 by 1/(1.7e4)", "theory", lambda r: gradient_factor,
              Within(1 / 1.7e4, 0.03, relative=True)),
        claim("he-stds", section, "He's stds for 64, 128, 256 and 512 channels are .059, .042, "
              ".029 and .021", "theory",
              lambda r: np.abs(stds - (0.059, 0.042, 0.029, 0.021)).max(), Within(0.0, 6e-4)),
        claim("xavier-signal", section, "Under Xavier the signal's std falls by sqrt(2) a ReLU "
              "layer (-1/2 octave)", "theory", theory_number("signal_slope", "xavier"),
              Within(-0.5, 0.05)),
        claim("he-signal", section, "Under He the signal's std stays (0 octaves a layer)", "theory",
              theory_number("signal_slope", "he"), Within(0.0, 0.05)),
        claim("finite-width-mean", law_source, "At width 50 and 20 layers log |Ju|^2 of a He net "
              "has the mean of the law", "theory", theory_number("log_norm_mean"),
              Within(law[0], 0.1)),
        claim("finite-width-variance", law_source, "... and its variance", "theory",
              theory_number("log_norm_variance"), Within(law[1], 0.1, relative=True)),
    ]  # fmt: skip
    for kind, of in (("conv", "conv net"), ("mlp", "MLP")):
        deep, middle = f"{kind}30", f"{kind}22"
        found += [
            claim(f"{deep}-he", f"{PAPER}, figure 3", f"30 layers, {of}: He leaves the plateau",
                  "direction", escaped(deep, "he"), EverySeed(), deep),
            claim(f"{deep}-xavier", f"{PAPER}, figure 3", f"30 layers, {of}: Xavier stalls",
                  "direction", stalled(deep, "xavier"), EverySeed(), deep),
            claim(f"{middle}-both", f"{PAPER}, figure 2", f"22 layers, {of}: Xavier converges too",
                  "direction", escaped(middle, "xavier"), EverySeed(), middle),
            claim(f"{middle}-earlier", f"{PAPER}, figure 2", f"22 layers, {of}: He starts earlier "
                  "(octaves of steps)", "direction", octaves(middle, "xavier", "he"), Greater(),
                  middle),
            claim(f"{deep}-dw-flat", "textbook reading, weight gradients", f"30 layers, {of}: under "
                  "Xavier dW is the same in every layer (octaves a layer)", "direction",
                  hidden_slope(deep, "dw_norm"), Equivalent(0.1), deep),
            claim(f"{deep}-delta-decays", "textbook reading, backward signal", f"30 layers, {of}: "
                  "under Xavier delta halves in two layers on its way down", "direction",
                  hidden_slope(deep, "delta_norm"), Within(0.5, 0.1), deep),
            claim(f"{deep}-decay-only", f"{PAPER}, footnote 2", f"30 layers, {of}: weight decay "
                  "alone moves Xavier's weights: cos(dw, -w) near 1", "direction",
                  decay_cosine(deep), Greater(0.9), deep),
            claim(f"{deep}-control", "negative control, He against He", f"30 layers, {of}: He with "
                  "other draws starts no earlier (octaves)", "direction",
                  octaves(deep, "he_again", "he"), Equivalent(1.0), deep),
            claim(f"{deep}-flax", "question, frameworks", f"30 layers, {of}: Flax's default "
                  "initialiser stalls like Xavier", "direction", stalled(deep, "flax"),
                  EverySeed(), deep),
        ]  # fmt: skip
    return found + [
        claim("conv14-equal", f"{PAPER}, section 4.2", "14 layers, conv net: no clear superiority "
              "(test error, Xavier minus He)", "direction", error_gap("conv14", "xavier", "he"),
              Equivalent(0.03), "conv14"),
        claim("adam", "question, optimizers", "30 layers, MLP: Adam takes Xavier off the plateau",
              "direction", escaped("mlp30", "adam"), EverySeed(), "mlp30"),
        claim("no-bias", "question, biases", "30 layers, MLP: without hidden biases Xavier stalls",
              "direction", stalled("mlp30", "xavier_no_bias"), EverySeed(), "mlp30"),
        Claim("imagenet-30", f"{PAPER}, table 1 text", "ImageNet, 30 layers: He ends at 38.56 top-1, "
              "Xavier never converges", "paper", lambda r: np.nan, Within(38.56, 0.5),
              "python -m experiments.he_init --preset=paper"),
        Claim("imagenet-14", f"{PAPER}, section 4.2", "ImageNet, 14 layers: Xavier 33.90, He 33.82 "
              "top-1", "paper", lambda r: np.nan, Within(33.9, 0.2),
              "python -m experiments.he_init --preset=paper"),
    ]  # fmt: skip


def plot(record):
    """Draw convergence by depth, and signal and gradients by layer with the theory through them."""
    nets = list(record.numbers["nets"])
    figure, axes = plots.new_figure(-(-(len(nets) + 3) // 2), 2)
    colors = plots.arm_colors(["he", "xavier"])
    names = {"he": "He", "xavier": "Xavier"}
    for ax, net in zip(axes.flat, nets, strict=False):
        for arm, color in colors.items():
            error = 100 * record.arrays[f"{net}/{arm}/test_error"]
            steps = record.arrays[f"{net}/{arm}/test_steps"]
            plots.seed_band(ax, steps, error, color, names[arm])
        depth = net.lstrip("convmlp")
        kind = "conv net" if net.startswith("conv") else "MLP"
        plots.describe(ax, f"{kind}, {depth} layers", "step", "test error, %")
    deep = nets[-1]
    panels = {
        "signal_std": ("Signal at step 0", "std of pre-activation", -0.5),
        "delta_norm": ("Backward signal delta at step 0", "norm of dloss/dpre-activation", 0.5),
        "dw_norm": ("Weight gradient dW at step 0", "norm of dloss/dkernel", None),
    }
    for ax, (quantity, (title, label, octaves)) in zip(
        axes.flat[len(nets) :], panels.items(), strict=False
    ):
        for arm, color in colors.items():
            values = record.arrays[f"{deep}/{arm}/{quantity}"][:, 0]
            layers = np.arange(1, values.shape[1] + 1)
            plots.seed_band(ax, layers, values, color, names[arm])
        if octaves is not None:
            fixed = 1 if octaves < 0 else -2  # theory goes through the layer the signal comes from
            at = np.median(record.arrays[f"{deep}/xavier/{quantity}"][:, 0], 0)[fixed]
            line = at * 2.0 ** (octaves * (layers - layers[fixed]))
            plots.theory_line(ax, layers, line, "theory: sqrt(2) a layer")
        plots.log_axis(ax, "y")
        plots.describe(ax, f"{title} ({deep})", "layer", label)
    for ax in axes.flat[len(nets) + len(panels) :]:
        ax.set_axis_off()
    return plots.finish(figure, record, "Xavier stalls at 30 layers, He converges")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
