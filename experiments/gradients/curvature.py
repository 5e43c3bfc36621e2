"""The edge of stability, and the kernel that moves: how the loss curves where training goes.

Sources: Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of
stability" (arXiv 2103.00065), abstract and figure 1; Lee et al. 2019, "Wide neural networks of any
depth evolve as linear models" (arXiv 1902.06720), and Yang & Hu 2021 (arXiv 2011.14522). Claim in
one sentence: under full-batch gradient descent sharpness rises to 2 / rate and hovers there while
the loss falls in fits and starts; the tangent kernel of a wide net stands still, unless its output
is scaled down so that it learns features.

Command: make exp-curvature (under 2 minutes on two cores; embedded 8x8 digits, no download).

As in the paper: a net of two hidden tanh layers, PyTorch's default weights, square loss on one-hot
labels, plain gradient descent on all images. Smaller: 8x8 digits for 5,000 CIFAR images, 64 units
for 200. Sharpness is the top eigenvalue by Lanczos. A net with batch norm has two losses: of train
mode, whose statistics move with the weights (what descends), and of eval mode, at the running ones.
"""

import dataclasses
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.gradients._descent import draw_wide_net, gradient_descent, squared_error, wide_net
from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.dynamics import spectra
from jaxvision.fields import flagged
from jaxvision.models.layers import apply_function, initialize
from jaxvision.models.residual_mlp import DeepMLP
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds

MODES = {"mlp": {"train": True}, "batch_norm": {"train": True, "eval": False}}
LAZY, FEATURE = "lazy", "feature"


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(10, "Random nets of every kind.", low=1, high=1000)
    first_seed: int = flagged(0, "First seed.", low=0)
    images: int = flagged(200, "Images, all in every step.", low=10)
    width: int = flagged(64, "Units of the two hidden layers.", low=2, high=8192)
    thresholds: tuple[float, ...] = flagged((5.0, 7.0, 10.0), "2 / learning rate.", low=0.1)
    calm_threshold: float = flagged(40.0, "A threshold that is never reached.", low=0.1)
    batch_norm_threshold: float = flagged(20.0, "2 / rate with batch norm.", low=0.1)
    steps: int = flagged(2000, "Steps of gradient descent, a multiple of period.", low=20)
    period: int = flagged(20, "Steps between two looks at the sharpness.", low=1)
    lanczos: int = flagged(16, "Hessian-vector products of a look.", low=2, high=1000)
    widths: tuple[int, ...] = flagged((32, 128, 512), "Widths of the nets with kernels.", low=2)
    kernel_images: int = flagged(32, "Images of the kernels.", low=2)
    kernel_steps: int = flagged(150, "Steps between the two kernels.", low=1)


PRESETS = {
    "tiny": Config(
        seeds=6, images=40, width=16, thresholds=(5.0,), steps=600, period=20, lanczos=8,
        widths=(16, 64), kernel_images=8, kernel_steps=50,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10", images=1000, width=200, thresholds=(20.0, 40.0, 80.0),
        calm_threshold=1000.0, batch_norm_threshold=100.0, steps=10_000, period=50,
        widths=(16, 64, 256, 1024, 4096), kernel_images=200, kernel_steps=1000,
    ),
    "paper": Config(
        dataset="cifar10", seeds=5, images=5000, width=200, thresholds=(40.0, 80.0, 160.0),
        calm_threshold=2000.0, batch_norm_threshold=200.0, steps=20_000, period=100,
        widths=(16, 64, 256, 1024, 4096), kernel_images=200, kernel_steps=5000,
    ),
}  # fmt: skip


def measure(config: Config, progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Return loss [G, S, T] and sharpness [G, S, M] by threshold, and the drifts [widths, S]."""
    train = load(config.dataset).train
    rows = np.random.default_rng(0).permutation(len(train.labels))[: config.images]
    mean = per_pixel_mean(train.images)
    scale = float(np.std(train.images[:5000] - mean))
    images = np.asarray(normalize(train.images[rows], mean, scale))
    labels = train.labels[rows]
    arrays = {}
    thresholds = {
        "mlp": (*config.thresholds, config.calm_threshold),
        "batch_norm": (config.batch_norm_threshold,),
    }
    with progress(len(thresholds) + len(config.widths), "nets") as bar:
        for net, grid in thresholds.items():
            descend = partial(_descend, config, net)
            shared = (2 / np.float32(grid), images, labels)
            loss, sharpness = over_seeds(descend, config.seeds, shared, config.first_seed)
            arrays[f"{net}/loss"] = np.swapaxes(loss, 0, 1)
            for mode, values in sharpness.items():
                arrays[f"{net}/sharpness_{mode}"] = np.swapaxes(values, 0, 1)
            bar.advance(1)
        shared = images[: config.kernel_images], labels[: config.kernel_images]
        drifts = []
        for width in config.widths:
            drift = partial(_drift, config, width)
            drifts.append(over_seeds(drift, config.seeds, shared, config.first_seed))
            bar.advance(1)
    for kind in (LAZY, FEATURE):
        arrays[f"drift/{kind}"] = np.stack([drift[kind] for drift in drifts])
    return {}, arrays


def _descend(config: Config, net: str, seed, shared) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Return one net's loss and sharpness at every rate, [G, T] and {mode: [G, M]}."""
    rates, images, labels = shared
    model = DeepMLP(3, config.width, 10, init.torch_default(), jnp.tanh, normalized="norm" in net)
    apply, key = apply_function(model), stream(seed, "probe")
    variables = initialize(model, stream(seed, "init"), images.shape[1:])

    def loss(params, batch_stats, train=True):
        logits, _, batch_stats = apply(params, batch_stats, images, train=train)
        return squared_error(logits, labels), batch_stats

    def look(params, batch_stats):
        return {
            mode: spectra.sharpness(
                lambda p, train=train: loss(p, batch_stats, train)[0], params, key, config.lanczos
            )
            for mode, train in MODES[net].items()
        }

    sizes = {"steps": config.steps, "period": config.period}
    run = jax.vmap(lambda rate: gradient_descent(loss, variables, rate, look, **sizes))(rates)
    return run.loss, run.measured


def _drift(config: Config, width: int, seed, shared) -> dict[str, jax.Array]:
    """Return how far the tangent kernel of a net of this width has moved when training ends."""
    images, labels = shared
    x, targets = images.reshape(len(images), -1), jnp.where(labels % 2 == 0, 1.0, -1.0)
    start = draw_wide_net(stream(seed, "init"), x.shape[1], width)

    def drift(gamma: float):
        outputs = lambda kernels: wide_net(kernels, x, gamma)  # noqa: E731
        first = outputs(start)  # taken off, so that every net starts from zero

        def loss(kernels, _):
            return jnp.mean(jnp.square(outputs(kernels) - first - targets)) / 2, {}

        run = gradient_descent(
            loss, {"params": start, "batch_stats": {}}, gamma**2, lambda *_: (),
            steps=config.kernel_steps, period=config.kernel_steps,
        )  # fmt: skip
        before, after = (
            spectra.neural_tangent_kernel(outputs, k) for k in (start, run.variables["params"])
        )
        return spectra.relative_drift(after, before)

    return {LAZY: drift(1.0), FEATURE: drift(float(np.sqrt(width / min(config.widths))))}


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims; the rules are fixed here."""
    edges = np.array(config.thresholds)[:, None]

    def hover(record: Record) -> np.ndarray:  # sharpness over 2 / rate, second half, [S]
        return (_second_half(record.arrays["mlp/sharpness_train"][:-1]) / edges).mean(0)

    def losses(record: Record) -> np.ndarray:  # at the edge, [G, S, T]
        return record.arrays["mlp/loss"][:-1]

    def falls(record: Record) -> np.ndarray:  # each fifth of the run lies below the one before
        fifths = np.stack([part.mean(-1) for part in np.array_split(losses(record), 5, axis=-1)])
        return (np.diff(fifths, axis=0) < 0).all((0, 1))

    def rises(record: Record) -> np.ndarray:  # does the loss of a step, in the second half
        late = losses(record)[..., config.steps // 2 :]
        return (np.diff(late) > 0).any(-1).all(0)

    def calm(record: Record) -> np.ndarray:
        below = record.arrays["mlp/sharpness_train"][-1] < config.calm_threshold
        return below.all(-1) & (np.diff(record.arrays["mlp/loss"][-1]) < 0).all(-1)

    def sharpening(record: Record) -> np.ndarray:
        sharpness = record.arrays["mlp/sharpness_train"][-1]
        return np.log(sharpness[:, -1] / sharpness[:, 0])

    def batch_norm(record: Record, mode: str) -> np.ndarray:  # as ``hover``
        values = record.arrays[f"batch_norm/sharpness_{mode}"][0]
        return _second_half(values) / config.batch_norm_threshold

    def slope(kind: str):  # of log drift over log width
        log_width = np.log(config.widths)
        return lambda r: np.polyfit(log_width, np.log(r.arrays[f"drift/{kind}"]), 1)[0]

    cohen, figure = "Cohen et al. 2021, abstract", "Cohen et al. 2021, figure 1"
    direction_tier = [  # id, source, sentence, statistic, rule
        ("hovers", figure, "at the edge sharpness stays at 2 / rate (their ratio, second half)",
         hover, Equivalent(0.1, target=1.0)),
        ("just-above", cohen, "it hovers just above, not below", hover, Greater(1.0)),
        ("loss-rises", cohen, "at the edge some steps raise the loss, at every rate", rises,
         Share()),
        ("loss-falls", cohen, "yet over long times the loss falls: each fifth of the run is below "
         "the one before, at every rate", falls, Share()),
        ("sharpening", "Cohen et al. 2021, section 3", "below the edge sharpness keeps rising (log "
         "of last over first at the smallest rate)", sharpening, Greater()),
        ("calm", "negative control, a rate too small", "below the edge the loss falls at every "
         "step", calm, Share()),
        ("batch-norm-train", "Cohen et al. 2021, batch norm", "with batch norm the sharpness of "
         "train mode stays at 2 / rate", lambda r: batch_norm(r, "train"),
         Equivalent(0.1, target=1.0)),
        ("batch-norm-eval", "question, batch norm", "that of eval mode lies above it (over 2 / "
         "rate, eval minus train)", lambda r: batch_norm(r, "eval") - batch_norm(r, "train"),
         Greater()),
        ("lazy-bound", "Lee et al. 2019, theorem on wide nets", "the kernel's relative change "
         "falls at least as 1 / sqrt(width) (power of width)", slope(LAZY), Less(-0.5)),
        ("lazy", "Dyer & Gur-Ari 2020, corrections of order 1 / width", "and closer to 1 / width",
         slope(LAZY), Less(-0.75)),
        ("feature", "Yang & Hu 2021, feature learning", "with the output scaled down by "
         "sqrt(width) the kernel moves alike at every width (power of width)", slope(FEATURE),
         Equivalent(0.15)),
    ]  # fmt: skip
    return [Claim(*row) for row in direction_tier]


def _second_half(values: np.ndarray) -> np.ndarray:
    return values[..., values.shape[-1] // 2 :].mean(-1)


def plot(record: Record, config: Config) -> Figure:
    """Draw sharpness and loss at the edge, both modes of batch norm, and how far kernels move."""
    figure, axes = plots.new_figure(2, 2, (13, 10.5))
    names = [f"2 / rate = {threshold:g}" for threshold in config.thresholds]
    names.append(f"2 / rate = {config.calm_threshold:g}:\nnot reached")
    steps = np.arange(0, config.steps, config.period)
    lines = record.arrays["mlp/sharpness_train"]
    for name, values, color in zip(names, lines, plots.COLORS, strict=False):
        plots.seed_band(axes[0, 0], steps, values, color, name)
    _edges(axes[0, 0], steps, *config.thresholds)
    plots.describe(axes[0, 0], "Sharpness climbs to 2 / rate and stays ...", "step", "sharpness")

    lines = record.arrays["mlp/loss"][:, :1]  # a median over seeds would hide the spikes
    for name, values, color in zip(names, lines, plots.COLORS, strict=False):
        plots.seed_band(axes[0, 1], np.arange(config.steps), values, color, name)
    plots.log_axis(axes[0, 1], "y")
    plots.describe(
        axes[0, 1], "... while the loss falls, not at every step", "step", "loss, first seed"
    )

    for mode, color in (("train", plots.COLORS[4]), ("eval", plots.COLORS[5])):
        values = record.arrays[f"batch_norm/sharpness_{mode}"][0]
        plots.seed_band(axes[1, 0], steps, values, color, f"{mode} mode")
    _edges(axes[1, 0], steps, config.batch_norm_threshold)
    plots.describe(axes[1, 0], "With batch norm the loss of train mode is at\nthe edge, that of "
                   "eval mode beyond it", "step", "sharpness")  # fmt: skip

    labels = {FEATURE: "learns features", LAZY: "lazy"}
    for (kind, label), color in zip(labels.items(), plots.COLORS[2:], strict=False):
        plots.seed_band(axes[1, 1], config.widths, record.arrays[f"drift/{kind}"].T, color, label)
    widths = np.array(config.widths)
    one_over = np.median(record.arrays[f"drift/{LAZY}"][-1]) * widths[-1] / widths
    plots.theory_line(axes[1, 1], widths, one_over, "1 / width")
    for which in "xy":
        plots.log_axis(axes[1, 1], which)
    plots.describe(axes[1, 1], "The tangent kernel of a wide net stands still,\nunless its output "
                   "is scaled down by sqrt(width)", "width", "relative change")  # fmt: skip
    return plots.finish(figure, record, "Gradient descent lives at the edge of stability")


def _edges(ax: Axes, steps: np.ndarray, *thresholds: float) -> None:
    for threshold in thresholds:
        plots.theory_line(ax, steps[[0, -1]], (threshold, threshold), "_edge")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
