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
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.gradients import _curvature_panels as panels
from experiments.gradients import _descent as descending
from experiments.gradients._curvature_claims import claims_of
from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.data import load
from jaxvision.data.augment import standardizer
from jaxvision.dynamics import spectra
from jaxvision.fields import flagged
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.random import probe, stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, Figure, PyTree, UserError


class Net(NamedTuple):
    """A net that descends, and the modes its sharpness is measured in."""

    normalized: bool
    modes: tuple[str, ...]


NETS = {
    "mlp": Net(normalized=False, modes=("train",)),
    "batch_norm": Net(normalized=True, modes=("train", "eval")),
}
# How a wide net learns: the label in the figure. Both start from the same draws.
WIDE = {"feature": "learns features", "lazy": "lazy"}
PARTS = ("kernels",)  # what is measured beside NETS: how far the kernels of wide nets move


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(10, "Random nets of every kind.", low=1, high=1000)
    first_seed: int = flagged(400, "First seed.", low=0, high=10**9)
    images: int = flagged(200, "Images, all in every step.", low=10, high=100_000)
    width: int = flagged(64, "Units of the two hidden layers.", low=2, high=8192)
    thresholds: tuple[float, ...] = flagged((5.0, 7.0, 10.0), "2 / learning rate.", low=0.1)
    calm_threshold: float = flagged(40.0, "A threshold that is never reached.", low=0.1)
    batch_norm_threshold: float = flagged(20.0, "2 / rate with batch norm.", low=0.1)
    steps: int = flagged(2000, "Steps of descent, a multiple of period.", low=20, high=10**6)
    period: int = flagged(20, "Steps between looks at the sharpness.", low=1, high=10**6)
    lanczos: int = flagged(16, "Hessian-vector products of a look.", low=2, high=1000)
    widths: tuple[int, ...] = flagged((32, 128, 512), "Widths of kernel nets.", low=2, high=8192)
    kernel_images: int = flagged(32, "Images of the kernels.", low=2, high=1000)
    kernel_steps: int = flagged(150, "Steps between the two kernels.", low=1, high=10**6)

    def __post_init__(self) -> None:
        widths = list(self.widths)
        if len(widths) < 2 or widths != sorted(widths):
            shown = ",".join(map(str, widths))
            raise UserError(f"--widths={shown}: name two or more, from narrow to wide")


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        images=20,
        width=8,
        thresholds=(5.0,),
        steps=40,
        period=20,
        lanczos=3,
        widths=(8, 16),
        kernel_images=4,
        kernel_steps=4,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="cifar10",
        images=1000,
        width=200,
        thresholds=(20.0, 40.0, 80.0),
        calm_threshold=1000.0,
        batch_norm_threshold=100.0,
        steps=10_000,
        period=50,
        widths=(16, 64, 256, 1024, 4096),
        kernel_images=200,
        kernel_steps=1000,
    ),
    "paper": Config(
        dataset="cifar10",
        seeds=5,
        images=5000,
        width=200,
        thresholds=(40.0, 80.0, 160.0),
        calm_threshold=2000.0,
        batch_norm_threshold=200.0,
        steps=20_000,
        period=100,
        widths=(16, 64, 256, 1024, 4096),
        kernel_images=200,
        kernel_steps=5000,
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    descent: Callable = descending.gradient_descent,
    nets: Mapping[str, Net] = NETS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Return loss [G, S, T] and sharpness [G, S, M] by threshold, and the drifts [widths, S].

    ``descent`` is the rule by which every net moves.
    """
    data = load(config.dataset)
    train = data.train
    few = train.sample(config.images)
    images = np.asarray(standardizer(train)(few.images, None))
    grids = {
        "mlp": (*config.thresholds, config.calm_threshold),
        "batch_norm": (config.batch_norm_threshold,),
    }
    arrays = {}
    widths = config.widths if "kernels" in parts else ()
    with progress(len(nets) + len(widths), "nets") as bar:
        for name, net in nets.items():
            descend = partial(_descend, config, net, data.num_classes, descent)
            shared = (2 / np.float32(grids[name]), images, few.labels)
            loss, sharpness = over_seeds(descend, config.seeds, shared, config.first_seed)
            arrays[f"{name}/loss"] = np.swapaxes(loss, 0, 1)
            for mode, values in sharpness.items():
                arrays[f"{name}/sharpness_{mode}"] = np.swapaxes(values, 0, 1)
            bar.advance(1)
        shared = images[: config.kernel_images], few.labels[: config.kernel_images]
        drifts = []
        for width in widths:
            drift = partial(_drift, config, width, descent)
            drifts.append(over_seeds(drift, config.seeds, shared, config.first_seed))
            bar.advance(1)
    for kind in WIDE if drifts else ():
        arrays[f"drift/{kind}"] = np.stack([drift[kind] for drift in drifts])
    return {}, arrays


def _descend(
    config: Config, net: Net, classes: int, descent: Callable, seed: Array, shared: PyTree
) -> tuple[Array, dict[str, Array]]:
    """Return one net's loss and sharpness at every rate, [G, T] and {mode: [G, M]}."""
    rates, images, labels = shared
    weights = init.torch_default()
    model = ResidualMLP(3, config.width, classes, weights, jnp.tanh, normalized=net.normalized)
    apply = apply_function(model)
    variables = initialize(model, stream(seed, "init"), images.shape[1:])

    def loss(params: PyTree, batch_stats: PyTree, mode: str = "train") -> tuple[Array, PyTree]:
        logits, _, batch_stats = apply(params, batch_stats, images, train=mode == "train")
        return descending.squared_error(logits, labels), batch_stats

    def sharpness(params: PyTree, batch_stats: PyTree) -> dict[str, Array]:
        found = {}
        for mode in net.modes:
            of_mode = lambda p, mode=mode: loss(p, batch_stats, mode)[0]  # noqa: E731
            start = probe(seed, "lanczos")  # the same whenever it is measured
            found[mode] = spectra.sharpness(of_mode, params, start, config.lanczos)
        return found

    def run(rate: Array) -> tuple[Array, dict[str, Array]]:
        ended = descent(loss, variables, rate, sharpness, steps=config.steps, period=config.period)
        return ended.loss, ended.measured

    return jax.vmap(run)(rates)


def _drift(
    config: Config, width: int, descent: Callable, seed: Array, shared: PyTree
) -> dict[str, Array]:
    """Return how far the tangent kernel of a net of this width has moved when training ends."""
    images, labels = shared
    x = images.reshape(len(images), -1)
    targets = jnp.where(labels % 2 == 0, 1.0, -1.0)
    start = descending.draw_wide_net(stream(seed, "init"), x.shape[1], width)
    scales = {"lazy": 1.0, "feature": float(np.sqrt(width / min(config.widths)))}

    def drift(gamma: float) -> Array:
        def outputs(kernels: list[Array]) -> Array:
            return descending.wide_net(kernels, x, gamma)

        first = outputs(start)  # taken off, so that every net starts from zero

        def loss(kernels: list[Array], _: PyTree) -> tuple[Array, dict]:
            return jnp.mean(jnp.square(outputs(kernels) - first - targets)) / 2, {}

        variables = {"params": start, "batch_stats": {}}
        steps = config.kernel_steps
        run = descent(loss, variables, gamma**2, lambda *_: (), steps=steps, period=steps)
        before = spectra.neural_tangent_kernel(outputs, start)
        after = spectra.neural_tangent_kernel(outputs, run.variables["params"])
        return spectra.relative_drift(after, before)

    return {kind: drift(gamma) for kind, gamma in scales.items()}


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw sharpness and loss at the edge, both modes of batch norm, and how far kernels move."""
    figure, axes = plots.new_figure(2, 2)
    panels.draw_sharpness(axes[0, 0], record, config)
    panels.draw_loss(axes[0, 1], record, config)
    panels.draw_batch_norm(axes[1, 0], record, config, NETS["batch_norm"].modes)
    panels.draw_drift(axes[1, 1], record, config, WIDE)
    title = plots.headline(
        record,
        {"just-above": "Gradient descent climbs to the edge of stability and stays there"},
        otherwise="Where gradient descent lives: sharpness against 2 / rate",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"tanh MLP, 2 x {config.width} units",
        optimizer=f"full-batch gradient descent on {config.images} images, square loss",
        paper="Cohen et al. 2021",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
