"""Plain against residual nets: what depth costs, and what a shortcut gives back.

Sources: He, Zhang, Ren & Sun 2016, "Deep Residual Learning" (arXiv 1512.03385), sections 4.1 and
4.2, figures 6 and 7, table 6; Yang et al. 2019 (arXiv 1902.08129) on gradients under batch
normalization; Veit, Wilber & Belongie 2016 (arXiv 1605.06431) on leaving blocks out. Claim in one
sentence: a deeper plain net ends with a higher *training* error, a deeper residual net does not.

Command: make exp-plain-vs-residual (7 minutes on two cores; embedded shapes, no download). As run:
training error 4, 39, 72 % of plain nets with 8, 20, 32 layers, 1, 0, 0 % of residual ones (median).

Both nets are one code, the plain one with the shortcut left out; option A adds no parameters, so
their starting weights are equal too. What `cpu` changes: width 8 for 16, 16x16 pixels, 500 drawn
images without augmentation (fitting them is the question), rate .03, 320 steps. `paper` is the
paper's protocol: 64,000 steps of 128 images, rate .1 with drops at half and three quarters, decay
1e-4 on every leaf, pad-4 crops and flips, per-pixel mean, statistics of 64 images; 110 layers start
at .01 until 100 steps err below 80 %. The last step counts. Lesions are judged by test images, as
Veit's, where all training images are used; `cpu`'s 500 are learned by heart, and judge themselves.
"""

import dataclasses
import sys
from functools import partial

import jax
import numpy as np
from matplotlib.figure import Figure

from experiments.depth import _blocks as residual
from jaxvision import cli
from jaxvision.data import load
from jaxvision.data.augment import normalize, pad_crop_flip, per_pixel_mean, shrink
from jaxvision.dynamics import probes, theory
from jaxvision.fields import flagged
from jaxvision.longrun.long import fit_long
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.models.resnet import nets_of_depths
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Within
from jaxvision.report.record import Record
from jaxvision.training.arms import Arm, make_runs
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look
from jaxvision.training.optimizers import caffe_sgd
from jaxvision.training.schedules import Optimizer, scheduled, step_decay, warm_up
from jaxvision.training.step import Task
from jaxvision.types import UserError

KINDS = {"plain": "none", "resnet": "A"}  # names of the nets, and their shortcuts
WARMED_UP = ("resnet110", "resnet1202")  # start at a tenth of the rate
LOOKED_AT, LESIONED = 500, 10_000  # images at most behind the responses, and behind the lesions


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("shapes", "Data set: digits, shapes, or a TFDS name.")
    imagenet: bool = flagged(False, "Nets of table 1 instead: use it with --depths=18,34.")
    seeds: int = flagged(8, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(100, "The first seed.", low=0)
    depths: tuple[int, ...] = flagged((8, 20, 32), "Layers, 6n+2 each.", low=8, high=1202)
    width: int = flagged(8, "Channels of the first stage (the paper: 16; ImageNet 64).", low=1)
    images: int = flagged(500, "Training images that are used; 0 means all.", low=0)
    image_size: int = flagged(0, "Scale, crop TFDS images to so many pixels; 0: don't.", low=0)
    shrink: int = flagged(2, "Average squares of this many pixels before all else.", low=1)
    steps: int = flagged(320, "Optimizer steps of every net.", low=1)
    period: int = flagged(40, "Steps between two evaluations; divides the steps.", low=1)
    batch_size: int = flagged(50, "Images in a step.", low=2)
    learning_rate: float = flagged(0.03, "Rate; /10 at half and at 3/4 of the steps.", low=0)
    weight_decay: float = flagged(1e-4, "Weight decay, on every parameter.", low=0)
    pad: int = flagged(0, "Pixels of padding for random crops and flips; 0: none.", low=0)
    bn_parts: int = flagged(1, "Parts of a batch, each with its own statistics.", low=1)
    deterministic_reduction: bool = flagged(False, "Same bits on any devices: by 8 bn_parts.")
    watched: tuple[int, ...] = flagged((0, 1, 10, 100), "Steps of the gradients seen.", low=0)


_PAPER = Config(
    dataset="cifar10", seeds=5, depths=(20, 32, 44, 56, 110), width=16, images=0, shrink=1,
    steps=64_000, period=100, batch_size=128, learning_rate=0.1, pad=4, bn_parts=2,
)  # fmt: skip
PRESETS = {
    "tiny": Config(
        dataset="digits", seeds=2, depths=(8,), width=2, images=0, shrink=1, steps=4, period=4,
        batch_size=16, watched=(0, 1),
    ),
    "cpu": Config(),
    "gpu": dataclasses.replace(_PAPER, seeds=3, depths=(20, 32, 44, 56), steps=12_480, period=390),
    "paper": _PAPER,
}  # fmt: skip


def measure(config: Config, progress: cli.ShowProgress, workdir) -> tuple[dict, dict]:
    """Train every depth of both kinds; returns numbers and arrays named 'net/quantity'."""
    make = nets_of_depths(config.depths, config.imagenet)
    if max(config.watched) > config.steps:
        raise UserError(f"--watched={max(config.watched)} is beyond the {config.steps} steps")
    data = load(config.dataset, image_size=config.image_size or None)
    if config.shrink > (side := min(data.train.images.shape[1:3])):
        raise UserError(f"--shrink={config.shrink} leaves nothing of images of {side} pixels")
    data = data._replace(train=data.train.sample(config.images or len(data.train.labels)))
    mean = per_pixel_mean(data.train.images)

    def preprocess(images, key):
        inputs = shrink(normalize(images, mean), config.shrink)
        return pad_crop_flip(key, inputs, config.pad) if config.pad and key is not None else inputs

    numbers, arrays = {"parameters": {}, "num_classes": data.num_classes}, {}
    for depth in config.depths:
        for kind in KINDS:
            model = make(depth, data.num_classes, KINDS[kind], features=config.width)
            optimizer = he2016(config, warmed_up=f"{kind}{depth}" in WARMED_UP)
            task = Task(apply_function(model), optimizer, preprocess)
            found = _measure_net(config, f"{kind}{depth}", model, task, data, progress, workdir)
            numbers["parameters"][f"{kind}{depth}"] = found.pop("parameters")
            arrays |= {f"{kind}{depth}/{name}": value for name, value in found.items()}
    return numbers, arrays


def he2016(config: Config, warmed_up: bool) -> Optimizer:
    """Return the paper's optimizer: SGD whose rate falls at half and at 3/4 of the steps.

    Where it is warmed up the rate is a tenth until 100 steps err below 80 % (section 4.2).
    """
    drops = -(-config.steps // 2), -(-3 * config.steps // 4)
    rules = [step_decay(drops)] + ([warm_up(below=0.8, window=100)] if warmed_up else [])
    return scheduled(partial(caffe_sgd, config.weight_decay), *rules)


def _measure_net(config, name, model, task, data, progress, workdir) -> dict:
    shape = jax.eval_shape(lambda x: task.preprocess(x, None), data.train.images[:1]).shape[1:]
    hyper = {"learning_rate": config.learning_rate}
    arm = Arm(partial(initialize_runs, model, image_shape=shape), hyper)
    runs = make_runs({name: arm}, range(config.first_seed, config.first_seed + config.seeds))
    shards = config.bn_parts if config.bn_parts > 1 else 8 * config.deterministic_reduction or None
    trainer = Trainer(task, *data[1:3], config.batch_size, config.period, shards=shards)
    part = workdir and workdir.part(name)
    look = None
    if name.endswith(f"{max(config.depths)}"):
        look = Look(trainer.watch_step(probes.per_layer), config.watched)
    history = fit_long(trainer, runs, config.steps, part, look=look, progress=progress)
    images = task.preprocess(data.train.sample(LOOKED_AT).images, None)
    found = residual.layer_responses(model, task.apply, history.variables, images)
    found["parameters"] = sum(leaf[0].size for leaf in jax.tree.leaves(runs.variables["params"]))
    found["train_error"], found["test_error"] = history.train["error"], history.test["error"]
    found["steps"] = history.steps
    judges = (data.train if config.images else data.test).sample(LESIONED)
    found["lesion"] = residual.lesion_errors(model, task, history.variables, judges)
    if look is not None:
        norms = residual.gradient_norms(trainer, history.variables, history.looks)
        found["delta_norm"] = norms
    return found


YANG = float(theory.batch_norm_squared_factor(np.inf, "relu"))
HE, VEIT = "He et al. 2016", "Veit et al. 2016, section 4.1"
TABLE_6 = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.61, 1202: 7.93}  # 110: mean of 5


def _depths(depths) -> tuple[int, int, int]:
    """Return the lowest, the highest and a middle one."""
    return min(depths), max(depths), sorted(depths)[len(depths) // 2]


def final(record: Record, net: str, split: str = "train") -> np.ndarray:
    """Return the error [S] of the last period (training) or after the last step (test)."""
    return record.arrays[f"{net}/{split}_error"][:, -1]


def damage(record: Record, net: str) -> np.ndarray:
    """Return the share [S] of what a net has learned that leaving a block out costs (mean)."""
    return residual.lesion_damage(record.arrays[f"{net}/lesion"], record.numbers["num_classes"])


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""
    low, high, middle = _depths(config.depths)
    plain, res = (f"{kind}{high}" for kind in KINDS)
    section, figure7 = f"{HE}, section 4.2 and figure 6", f"{HE}, figure 7"
    net, above = f"the {high}-layer residual net", Greater(0, 3)
    judges = "training" if config.images else "test"
    lacking = "needs two depths" if low == high else ""

    def rise(kind, split="train"):
        return lambda r: np.subtract(*(final(r, f"{kind}{d}", split) for d in (high, low)))

    def more(first, second):
        return lambda r: r.arrays[first].mean(1) - r.arrays[second].mean(1)

    def gradient_ratio(r, i):  # of the first layer's norm of delta over the last one's
        return r.arrays[f"{plain}/delta_norm"][:, i, 0] / r.arrays[f"{plain}/delta_norm"][:, i, -1]

    rows = [  # id, source, sentence, statistic, rule, perhaps why it cannot be judged
        ("degradation", section, f"the {high}-layer plain net ends with a higher training error "
         f"than the {low}-layer one", rise("plain"), above, lacking),
        ("degradation-test", section, "... and test error", rise("plain", "test"), above, lacking),
        ("no-degradation", section, f"the training error of {net} is no higher (2 points at most)",
         rise("resnet"), Less(0.02, 3), lacking),
        ("cure", section, "depth costs the plain net more training error than the residual one",
         lambda r: rise("plain")(r) - rise("resnet")(r), above, lacking),
        ("responses-depth", figure7, f"layers of {net} respond less than the {low}-layer one's",
         more(f"resnet{low}/response_std", f"{res}/response_std"), above, lacking),
        ("modifies-less", figure7, f"its blocks add less, beside what they add to, than the "
         f"{low}-layer one's", more(f"resnet{low}/branch_ratio", f"{res}/branch_ratio"), above,
         lacking),
        ("responses", figure7, f"layers of {net} respond less than the plain net's (before the "
         "addition)", more(f"{plain}/response_std", f"{res}/response_std"), above),
        ("sums", "question, figure 7", "after the addition they respond more than the plain net's",
         more(f"{res}/sum_std", f"{plain}/sum_std"), above),
        ("learns", "control, unseen images", f"{net} beats chance on test images by over 2 points",
         lambda r: 1 - 1 / r.numbers["num_classes"] - final(r, res, "test"), Greater(0.02, 3)),
        ("lesion-mild", VEIT, f"a block less costs {net} under a quarter of what it has learned "
         f"({judges} images)", lambda r: damage(r, res), Less(0.25, 3)),
        ("lesion-fatal", VEIT, f"... the {middle}-layer plain net over half",
         lambda r: damage(r, f"plain{middle}"), Greater(0.5, 3)),
        ("lesion-order", VEIT, f"... at {middle} layers the plain net more than the residual one",
         lambda r: damage(r, f"plain{middle}") - damage(r, f"resnet{middle}"), above),
        *((f"faster-{d}", section, f"{d} layers: the residual net converges faster (mean training "
           "error over the run)", more(*(f"{kind}{d}/train_error" for kind in KINDS)), above)
          for d in config.depths),
    ]  # fmt: skip
    for i, step in enumerate(config.watched):
        rows += [
            (f"healthy-{step}", f"{HE}, section 4.1", f"step {step}: gradients of the {high}-layer "
             "plain net are healthy, first and last layer within a factor of 10 (decades)",
             lambda r, i=i: np.log10(gradient_ratio(r, i)), Equivalent(1.0, min_seeds=3)),
            (f"yang-{step}", "Yang et al. 2019, theorem on ReLU nets", f"step {step}: they explode "
             "instead, squared by pi/(pi - 1) a layer", lambda r, i=i: gradient_ratio(r, i)
             ** (2 / (high - 2)), Within(YANG, 0.1, relative=True)),
        ]  # fmt: skip
    found = [Claim(*row[:5], "direction", *row[5:]) for row in rows]
    found.append(Claim("same-parameters", f"{HE}, section 3.3", "option A adds no parameter to the "
                       "plain net", lambda r: np.float64(r.numbers["parameters"][res]
                       - r.numbers["parameters"][plain]), Within(0, 0.5), "theory"))  # fmt: skip
    return found + _paper_claims(config)


def _paper_claims(config: Config) -> list[Claim]:
    """Return the paper's own numbers, judged where the protocol is the paper's."""
    free = {name: getattr(_PAPER, name) for name in ("seeds", "first_seed", "depths", "watched")}
    followed = dataclasses.replace(config, **free) == _PAPER
    rows = [
        (f"table6-{d}", "table 6", f"ResNet-{d} has {error} % test error on CIFAR-10", "resnet", d,
         Within(error, 0.5)) for d, error in TABLE_6.items()
    ]  # fmt: skip
    rows.append(("plain-110", "section 4.2", "plain-110 has over 60 % (contested: Li et al. 2018 "
                 "trained one to 16 %)", "plain", 110, Greater(60.0, 3)))  # fmt: skip
    command = "python -m experiments plain_vs_residual --preset=paper --depths="
    return [
        Claim(id, f"{HE}, {place}", sentence,
              lambda r, n=f"{kind}{d}": 100 * final(r, n, "test"), rule, "paper",
              "" if followed and d in config.depths else f"{command}{d}")
        for id, place, sentence, kind, d, rule in rows
    ]  # fmt: skip


def plot(record: Record, config: Config) -> Figure:
    """Draw error by step and by depth, lesions, and what is seen inside the nets."""
    depths, arrays = sorted(record.config["depths"]), record.arrays
    low, high, middle = _depths(depths)
    verdicts = {claim["id"]: claim["verdict"] for claim in record.claims}
    moves, layers, by_depth = [], 1 + np.arange(high - 1), plots.arm_colors(depths)
    figure, axes = plots.new_figure(2, 4, size=(22.5, 9.6))
    for kind, word, claim, colors in (
        ("plain", "plain", "degradation", (0, 5, 2, 3)),  # a color for each watched step
        ("resnet", "residual", "no-degradation", (1,)),
    ):
        nets = [f"{kind}{depth}" for depth in depths]
        draw = partial(plots.seed_band, color=plots.COLORS[colors[0]], label=word)
        for net, its in zip(nets, by_depth.items(), strict=True):
            error, steps = (arrays[f"{net}/{name}"] for name in ("train_error", "steps"))
            ax = axes[0, int(kind == "resnet")]
            plots.seed_band(ax, steps[1:], 100 * error, its[1], f"{its[0]} layers")
        for split, style in (("train", "-"), ("test", "--")):
            ends = 100 * np.stack([final(record, net, split) for net in nets], 1)
            draw(axes[0, 2], depths, ends, label=word + ", test" * (split == "test"))
            axes[0, 2].get_lines()[-1].set_linestyle(style)
        moved = np.median(final(record, f"{kind}{high}") - final(record, f"{kind}{low}"))
        moves.append(f"by {round(100 * moved):+d} points in {word} nets ({verdicts[claim]})")
        lesion = 100 * arrays[f"{kind}{middle}/lesion"]
        blocks = np.flatnonzero(np.isfinite(lesion).all(0))  # a plain net keeps some, always
        draw(axes[0, 3], blocks, lesion[:, blocks])
        draw(axes[1, 0], layers, arrays[f"{kind}{high}/response_std"])
        draw(axes[1, 1], depths, np.stack([arrays[f"{n}/response_std"].mean(1) for n in nets], 1))
        norms = arrays[f"{kind}{high}/delta_norm"]
        norms = (norms / norms[..., -1:])[..., ::-1]
        for i, (step, its) in enumerate(zip(record.config["watched"], colors, strict=False)):
            label = f"{word}, step {step}"
            plots.seed_band(axes[1, 3], layers - 1, norms[:, i], plots.COLORS[its], label)
    for depth, color in by_depth.items():
        ratio = arrays[f"resnet{depth}/branch_ratio"]
        plots.seed_band(axes[1, 2], layers[: ratio.shape[1]], ratio, color, f"{depth} layers")
    plots.theory_line(axes[1, 3], layers - 1, YANG ** ((layers - 1) / 2), "Yang's law")
    plots.log_axis(axes[1, 3], "y")
    judges, std = "training" if record.config["images"] else "test", "std before the addition"
    texts = (
        *((f"{word} nets", "step", "training error, %") for word in ("Plain", "Residual")),
        ("At the end (dashed: test)", "weight layers", "error, %"),
        (f"One block left out, {middle} layers", "block (0: none)", f"{judges} error, %"),
        (f"Responses, {high} layers", "layer", std),
        ("Responses, mean over layers", "weight layers", std),
        ("Residual nets: added over carried", "block", "std of branch over std of shortcut"),
        (f"Gradients, {high} layers", "layers back from the last", "norm of delta, last layer 1"),
    )
    for ax, text in zip(axes.flat, texts, strict=True):
        plots.describe(ax, *text)
    for ax in axes[0]:
        ax.set_ylim(0, 100)
    for ax in (axes[0, 2], axes[1, 1]):
        ax.set_xticks(depths)
    title = f"From {low} to {high} layers training error moves {', '.join(moves)}"
    return plots.finish(figure, record, title)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
