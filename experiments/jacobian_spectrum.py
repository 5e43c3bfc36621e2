"""Dynamical isometry: which deep nets keep every direction of their input, and for how long.

Source: Pennington, Schoenholz & Ganguli 2017, "Resurrecting the sigmoid in deep learning through
dynamical isometry" (arXiv 1711.04735), and Xiao et al. 2018, "Dynamical isometry and a mean field
theory of CNNs" (arXiv 1806.05393). Claim in one sentence: all singular values of the input-output
Jacobian stay near 1 with orthogonal weights and tanh, never with Gaussian weights or ReLU; so a
plain conv net of 1,000 (10,000) layers carries its signal if its kernels are delta-orthogonal.

Command: make exp-jacobian-spectrum (under 2 minutes on two cores; embedded 8x8 digits).

Every net stands on the edge of chaos, where its activation's variance is ``bend`` / depth: tanh is
bent by the same amount over the whole net, however deep. Dense spectra are exact, those of conv
nets come from Lanczos. What differs from the papers: small widths; the nets that train are MLPs on
8x8 digits, each at the best rate of its own grid; and they are followed as they leave isometry.
"""

import dataclasses
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.cli import flagged
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.dynamics import isometry, mean_field, spectra
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.models.mlp import MLP
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Greater, Less, Within
from jaxvision.training.arms import Arm, fit_arms, tune
from jaxvision.training.fit import Trainer
from jaxvision.training.step import Task

# Initializers of gain 1; ``isometry.scale_layers`` puts them on the edge of chaos.
WEIGHTS = {
    "orthogonal": init.orthogonal(1.0),
    "gaussian": init.xavier_he2015(),
    "delta_orthogonal": init.delta_orthogonal(1.0),
}
ARMS = {  # of the dense nets: the label, weights and activation
    "orthogonal/tanh": "orthogonal tanh",
    "gaussian/tanh": "Gaussian tanh",
    "orthogonal/relu": "orthogonal ReLU",
}
DEEP = {"delta_orthogonal": "delta-orthogonal", "gaussian": "Gaussian"}
IMAGES = 8
LANCZOS_STEPS = 40


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(10, "Random nets of each kind.", low=1, high=1000)
    bend: float = flagged(0.5, "Variance of the pre-activations times depth.", low=1e-3, high=10)
    width: int = flagged(128, "Units of the dense nets.", low=8, high=4096)
    depth: int = flagged(64, "Layers behind the spectra, a power of 2.", low=8, high=1024)
    channels: int = flagged(16, "Channels of the conv nets.", low=2, high=1024)
    signal_depth: int = flagged(1000, "Layers of the deepest conv nets.", low=10, high=100_000)
    train_seeds: int = flagged(5, "Paired seeds of every trained arm.", low=1, high=1000)
    train_depth: int = flagged(32, "Weight layers of the trained MLPs.", low=4, high=1000)
    train_width: int = flagged(64, "Units of the trained MLPs.", low=8, high=8192)
    checkpoints: tuple[int, ...] = flagged(
        (20, 100, 500), "Steps at which the spectrum is taken, multiples of the first.", low=1
    )
    batch_size: int = flagged(32, "Images in a step.", low=1)
    rates: tuple[float, ...] = flagged((0.01, 0.03, 0.1), "Grid of learning rates.", low=0)


PRESETS = {
    "tiny": Config(
        seeds=2, width=16, depth=8, channels=4, signal_depth=20, train_seeds=2, train_depth=6,
        train_width=16, checkpoints=(2, 4), rates=(0.03,),
    ),
    "cpu": Config(),
    "gpu": Config(
        seeds=20, width=512, depth=256, channels=64, signal_depth=10_000, train_seeds=10,
        train_depth=200, train_width=400, checkpoints=(100, 1000, 10_000),
        rates=(0.001, 0.003, 0.01, 0.03),
    ),
    "paper": Config(
        dataset="cifar10", seeds=20, width=1024, depth=1024, channels=256, signal_depth=10_000,
        train_seeds=5, train_depth=200, train_width=400, checkpoints=(100, 1000, 10_000, 100_000),
        rates=(0.001, 0.003, 0.01, 0.03),
    ),
}  # fmt: skip


def depths_of(config: Config) -> tuple[int, ...]:
    """Return the depths at which spectra are taken: 1, 2, 4, ..., the whole."""
    return tuple(2**i for i in range(config.depth.bit_length()))


def edge(activation: str, depth: int, config: Config) -> tuple[float, float, float]:
    """Return (sigma_w, sigma_b, std of the input) of the critical net of this depth."""
    q = config.bend / depth
    sigma_w, sigma_b = mean_field.edge_of_chaos(q, activation)
    return float(sigma_w), float(sigma_b), float(np.sqrt(mean_field.second_moment(activation, q)))


_draw = jax.jit(isometry.draw_layers, static_argnums=(1, 2, 3))
_singular_values = jax.jit(isometry.singular_values, static_argnums=(1, 3))
_carry = jax.jit(isometry.carry, static_argnums=1)


@partial(jax.jit, static_argnums=3)
def _quadrature(layers: isometry.Layers, x, key, steps: int) -> spectra.Quadrature:
    return spectra.jacobian_quadrature(
        lambda x: isometry.apply_layers(layers, "tanh", x), x, key, steps
    )


def measure(config: Config, progress) -> tuple[dict, dict]:
    """Measure random nets and train some; returns numbers and arrays."""
    data = load(config.dataset)
    parts = (_dense_spectra, _conv_spectra, partial(_deep_signal, data=data))
    arrays = {}
    with progress(len(parts) * config.seeds, "random nets") as bar:
        for part in parts:
            seeds = []
            for seed in range(config.seeds):
                seeds.append(jax.device_get(part(config, seed)))
                bar.advance()
            arrays |= jax.tree.map(lambda *leaves: np.stack(leaves), *seeds)
    rates, trained = _training(config, data, progress)
    return {"rates": rates, "lanczos_error": _lanczos_error()}, arrays | trained


def _dense_spectra(config: Config, seed: int) -> dict:
    """Return what there is to know of the spectra of each kind of dense net, at every depth [D]."""
    found = {}
    for weights in ("orthogonal", "gaussian"):
        shape = (config.width, config.width)
        layers = _draw(stream(seed, "init"), WEIGHTS[weights], shape, config.depth)
        x = jax.random.normal(stream(seed, "probe"), shape[:1])
        for activation in ("tanh", "relu"):
            *gains, std = edge(activation, config.depth, config)
            scaled = isometry.scale_layers(layers, *gains)
            values = _singular_values(scaled, activation, std * x, depths_of(config))
            squares = jnp.square(values)
            name = f"dense/{weights}/{activation}"
            found |= {
                f"{name}/values": values[-1],
                f"{name}/spread": jnp.var(squares, axis=-1) / jnp.mean(squares, axis=-1) ** 2,
                f"{name}/share": isometry.isometric_share(values),
                f"{name}/best_share": isometry.best_isometric_share(values[-1]),
            }
    return found


def _conv_spectra(config: Config, seed: int) -> dict:
    """Return a quadrature of the spectrum of each kind of tanh conv net on 8x8 maps."""
    *gains, std = edge("tanh", config.depth, config)
    shape = (3, 3, config.channels, config.channels)
    x = std * jax.random.normal(stream(seed, "probe"), (1, 8, 8, config.channels))
    found = {}
    for weights, initializer in WEIGHTS.items():
        layers = _draw(stream(seed, "init"), initializer, shape, config.depth)
        layers = isometry.scale_layers(layers, *gains)
        nodes, mass = _quadrature(layers, x, stream(seed, "probe", 1), LANCZOS_STEPS)
        found |= {
            f"conv/{weights}/values": nodes,
            f"conv/{weights}/weights": mass,
            f"conv/{weights}/share": isometry.isometric_share(nodes, mass),
        }
    return found


def _lanczos_error() -> float:
    """Return the largest error of Lanczos on a conv net that is small enough to be exact."""
    layers = _draw(stream(0, "init"), WEIGHTS["gaussian"], (3, 3, 4, 4), 3)
    layers = isometry.scale_layers(layers, 1.0, 0.1)
    x = jax.random.normal(stream(0, "probe"), (1, 4, 4, 4))
    exact = spectra.jacobian_singular_values(lambda x: isometry.apply_layers(layers, "tanh", x), x)
    nodes = _quadrature(layers, x, stream(0, "probe", 1), x.size).nodes[::-1]
    return float(jnp.max(jnp.abs(nodes - exact)) / exact[0])


def shown_layers(config: Config) -> np.ndarray:
    """Return the layers of the deepest nets that are kept: 1, ..., the last, even on a log axis."""
    return np.unique(np.geomspace(1, config.signal_depth, 60).round().astype(int))


def pictured_layers(config: Config) -> np.ndarray:
    """Return the four layers whose image of the input is shown: 1, ..., the last."""
    return np.geomspace(1, config.signal_depth, 4).round().astype(int)


def _deep_signal(config: Config, seed: int, data) -> dict:
    """Return what the layers of the deepest tanh conv nets carry of some images."""
    *gains, std = edge("tanh", config.signal_depth, config)
    shape = (3, 3, config.channels, config.channels)
    images = jnp.mean(jnp.float32(data.test.images[:IMAGES]), axis=-1, keepdims=True)
    x = images * jax.random.normal(stream(seed, "probe"), (1, 1, 1, config.channels))
    x = std * x / jnp.sqrt(jnp.mean(jnp.square(x)))
    kept, found = shown_layers(config) - 1, {}
    for weights in DEEP:
        layers = _draw(stream(seed, "init"), WEIGHTS[weights], shape, config.signal_depth)
        layers = isometry.scale_layers(layers, *gains)
        signal = _carry(layers, "tanh", x, stream(seed, "probe", 1))
        found |= {
            f"deep/{weights}/std": signal.std[kept],
            f"deep/{weights}/delta_norm": signal.delta_norm[kept],
            f"deep/{weights}/likeness": isometry.kept_likeness(signal.correlation)[kept],
            f"deep/{weights}/pictures": signal.pixel_rms[pictured_layers(config) - 1, 0],
        }
    return found


def _training(config: Config, data, progress) -> tuple[dict, dict]:
    """Train the dense arms and take the spectrum at the checkpoints, each a run from the start."""
    steps, classes = max(config.checkpoints), data.num_classes
    mean = per_pixel_mean(data.train.images)
    spread = float(np.std(data.train.images[:5000] - mean))
    rates, found, trainers = {}, {}, {}
    runs = 2 * len(config.rates) * steps + config.train_seeds * sum(config.checkpoints)
    with progress(len(ARMS) * runs, "training") as bar:
        for arm in ARMS:
            weights, activation = arm.split("/")
            sigma_w, _, std = edge(activation, config.train_depth, config)
            net = MLP(
                config.train_depth, config.train_width, classes,
                partial(_scaled, sigma_w, WEIGHTS[weights]), isometry.ACTIVATIONS[activation],
            )  # fmt: skip
            preprocess = partial(_preprocess, mean, spread / std)
            task = Task(apply_function(net), _sgd, preprocess)
            trainer = Trainer(task, data.train, data.test, config.batch_size, config.checkpoints[0])
            trainer = trainers.setdefault(activation, trainer)  # initializers do not matter to it
            begin = partial(initialize_runs, net, image_shape=data.train.images.shape[1:])
            grid = {rate: Arm(begin, {"learning_rate": rate}) for rate in config.rates}
            rates[arm], _ = tune(trainer, grid, (1000, 1001), steps, bar.advance)
            images = preprocess(data.test.images[:IMAGES], None)
            keys = jnp.stack([stream(seed, "init") for seed in range(config.train_seeds)])
            shares = [_shares(task.apply, begin(keys), images)]
            for count in config.checkpoints:
                chosen = {arm: grid[rates[arm]]}
                history = fit_arms(trainer, chosen, range(config.train_seeds), count, bar.advance)
                shares.append(_shares(task.apply, history[arm].variables, images))
            found[f"train/{arm}/share"] = np.stack(shares, axis=1)
            found[f"train/{arm}/loss"] = history[arm].train["loss"]
            found[f"train/{arm}/half_step"] = history[arm].escape_step(0.5 * np.log(classes))
    return rates, found


def _scaled(gain: float, initializer, key, shape, dtype=jnp.float32):
    return gain * initializer(key, shape, dtype)


def _sgd(hyper: dict) -> optax.GradientTransformation:
    return optax.sgd(hyper["learning_rate"])


def _preprocess(mean, scale: float, images, key):
    return normalize(images, mean, scale)


def _shares(apply, variables, images) -> np.ndarray:
    """Return the share [R] of singular values near 1, image to last hidden layer, of R nets."""

    def one(variables):
        def last_hidden(image):
            nets = variables["params"], variables["batch_stats"]
            return apply(*nets, image[None], train=False)[1]["hidden"][-1, 0]

        values = jax.lax.map(partial(spectra.jacobian_singular_values, last_hidden), images)
        return jnp.mean(isometry.isometric_share(values))

    return np.asarray(jax.jit(lambda nets: jax.lax.map(one, nets))(variables))


PENNINGTON, XIAO = "Pennington et al. 2017", "Xiao et al. 2018"


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them; the rules are fixed here."""
    q, law_depth = config.bend / config.depth, config.depth // 4
    row = depths_of(config).index(law_depth)

    def law(arm):  # of the squared singular values, their mean taken to 1
        weights, activation = arm.split("/")
        expected = mean_field.jacobian_spread(law_depth, q, activation, weights == "orthogonal")
        return Claim(f"law-{weights}-{activation}", f"{PENNINGTON}, variance of the spectrum",
                     f"{ARMS[arm]}, {law_depth} layers: squared singular values vary by "
                     "L (mu_2 / mu_1^2 - 1 - s_1)", "theory",
                     lambda r: r.arrays[f"dense/{arm}/spread"][:, row],
                     Within(float(expected), 0.15, relative=True))  # fmt: skip

    def share(net):
        return lambda r: r.arrays[f"{net}/share"].reshape(config.seeds, -1)[:, -1]

    def last(weights, quantity):
        return lambda r: r.arrays[f"deep/{weights}/{quantity}"][:, -1]

    def octaves(weights, quantity):  # of change from the first layer to the last
        array = f"deep/{weights}/{quantity}"
        return lambda r: np.log2(r.arrays[array][:, -1] / r.arrays[array][:, 0])

    def later(arm):  # than orthogonal tanh, in octaves of steps; a censored time is a lower bound
        step = lambda r, arm: np.log2(r.arrays[f"train/{arm}/half_step"] + 1)  # noqa: E731
        return lambda r: step(r, arm) - step(r, "orthogonal/tanh")

    def share_lost(r):
        shares = r.arrays["train/orthogonal/tanh/share"]
        return shares[:, 0] - shares[:, -1]

    deep = config.signal_depth
    abstract = f"{PENNINGTON}, abstract"
    not_deep = "" if deep >= 10_000 else "python -m experiments.jacobian_spectrum --preset=gpu"
    return [
        *(law(arm) for arm in ARMS),
        Claim("tanh-can", abstract, f"Orthogonal tanh, {config.depth} layers: all singular values "
              "are near 1 (share within a factor 2)", "direction", share("dense/orthogonal/tanh"),
              Greater(0.95)),
        Claim("gaussian-cannot", abstract, "Gaussian tanh: few are", "direction",
              share("dense/gaussian/tanh"), Less(0.25)),
        Claim("relu-cannot", abstract, "Orthogonal ReLU: few are alike, whatever the gain",
              "direction", lambda r: r.arrays["dense/orthogonal/relu/best_share"], Less(0.25)),
        Claim("lanczos", "control, exact spectrum", "Lanczos finds the singular values of a small "
              "conv net (largest error)", "theory", lambda r: r.numbers["lanczos_error"],
              Within(0.0, 1e-3)),
        Claim("conv-delta", f"{XIAO}, section 3", f"Delta-orthogonal conv net, {config.depth} "
              "layers: all are near 1", "direction", share("conv/delta_orthogonal"), Greater(0.95)),
        Claim("conv-orthogonal", f"{XIAO}, section 3", "Orthogonal kernels do not make a conv net "
              "isometric", "direction", share("conv/orthogonal"), Less(0.25)),
        Claim("conv-gaussian", f"{XIAO}, section 3", "Nor do Gaussian ones", "direction",
              share("conv/gaussian"), Less(0.25)),
        Claim("deep-signal", f"{XIAO}, abstract", f"Delta-orthogonal, {deep} layers: the signal's "
              "std stays (octaves)", "direction", octaves("delta_orthogonal", "std"),
              Within(0.0, 1.0)),
        Claim("deep-gradient", f"{XIAO}, abstract", "... the gradient's norm too (octaves)",
              "direction", octaves("delta_orthogonal", "delta_norm"), Within(0.0, 1.0)),
        Claim("deep-images", f"{XIAO}, abstract", "... and which images are alike (correlation "
              "with the first layer)", "direction", last("delta_orthogonal", "likeness"),
              Greater(0.9)),
        Claim("deep-gaussian-gradient", "question, Gaussian at the same depth", "Gaussian: the "
              "gradient arrives a hundred times smaller or less (octaves)", "direction",
              lambda r: -octaves("gaussian", "delta_norm")(r), Less(-np.log2(100))),
        Claim("deep-gaussian-images", "question, Gaussian at the same depth", "Gaussian: which "
              "images are alike is lost", "direction", last("gaussian", "likeness"), Less(0.5)),
        Claim("faster-than-gaussian", abstract, "Orthogonal tanh halves its loss sooner than "
              "Gaussian tanh (octaves of steps)", "direction", later("gaussian/tanh"), Greater()),
        Claim("faster-than-relu", abstract, "... and sooner than orthogonal ReLU", "direction",
              later("orthogonal/relu"), Greater()),
        Claim("isometry-lost", "question, along training", "Training leaves isometry: the share "
              "near 1 falls", "direction", share_lost, Greater()),
        Claim("ten-thousand", f"{XIAO}, abstract", "10,000 layers: which images are alike is kept",
              "paper", last("delta_orthogonal", "likeness"), Greater(0.9), not_deep),
    ]  # fmt: skip


def plot(record):
    """Draw spectra, their way with depth and training, and what a very deep conv net carries."""
    config = Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.config.items()})
    arrays = record.arrays
    figure, axes = plots.new_figure(2, 3, (17.0, 9.6))
    for arm, color in plots.arm_colors(list(ARMS)).items():
        values = arrays[f"dense/{arm}/values"]
        directions = 100 * (np.arange(config.width) + 0.5) / config.width
        plots.seed_band(axes[0, 0], directions, values, color, ARMS[arm])
        share = 100 * arrays[f"dense/{arm}/share"]
        plots.seed_band(axes[0, 1], depths_of(config), share, color, ARMS[arm])
        trained = 100 * arrays[f"train/{arm}/share"]
        plots.seed_band(axes[0, 2], (1, *config.checkpoints), trained, color, ARMS[arm])
    _draw_conv(axes[1, 0], record, config)
    _draw_gradient(axes[1, 1], record, config)
    _draw_pictures(axes[1, 2], record, config)
    of = "of singular values near 1"
    for ax in (axes[0, 0], axes[1, 0]):
        plots.log_axis(ax, "y")
        ax.set_ylim(1e-4, 100)
        ax.axhspan(0.5, 2, color=plots.THEORY_COLOR, alpha=0.12, zorder=0)
    for ax in axes[0, 1:]:
        plots.log_axis(ax, "x")
        ax.set_ylim(0, 104)
    ticks = (1, *config.checkpoints)
    axes[0, 2].set_xticks(ticks, ("start", *map(str, config.checkpoints)))
    title = f"What {config.depth} dense layers do to each direction"
    plots.describe(axes[0, 0], title, "directions, %", "singular value of the Jacobian")
    plots.describe(axes[0, 1], "The deeper, the fewer survive", "layers", f"% {of}")
    plots.describe(axes[0, 2], "Training gives isometry up", "step", f"% {of}")
    title = "Orthogonal tanh nets keep every direction; Gaussian weights and ReLU cannot"
    return plots.finish(figure, record, title)


def _draw_conv(ax, record, config: Config) -> None:
    """Draw the singular values of the conv nets against the share of directions above them."""
    names = DEEP | {"orthogonal": "orthogonal"}
    colors = dict(zip(names, (plots.COLORS[0], plots.COLORS[1], plots.COLORS[3]), strict=True))
    for weights, name in names.items():
        parts = (record.arrays[f"conv/{weights}/{part}"].ravel() for part in ("values", "weights"))
        values, mass = (part for part in parts)
        order = np.argsort(values)[::-1]
        share = 100 * np.cumsum(mass[order]) / mass.sum()
        ax.plot(share, values[order], color=colors[weights], label=name)
    title = f"The same for {config.depth} tanh conv layers"
    plots.describe(ax, title, "directions, %", "singular value of the Jacobian")


def _draw_gradient(ax, record, config: Config) -> None:
    layers = shown_layers(config)
    for (weights, name), color in zip(DEEP.items(), plots.COLORS, strict=False):
        plots.seed_band(ax, layers, record.arrays[f"deep/{weights}/delta_norm"], color, name)
    plots.log_axis(ax, "x")
    plots.log_axis(ax, "y")
    title = f"The gradient's way down {config.signal_depth:,} conv layers"
    plots.describe(ax, title, "layer", "norm of the gradient, top = 1")


def _draw_pictures(ax, record, config: Config) -> None:
    """Draw what the layers hold of the first image: the RMS over channels, pixel by pixel."""
    rows = []
    for weights in DEEP:
        pictures = record.arrays[f"deep/{weights}/pictures"][0]
        pictures = pictures / pictures.max((1, 2), keepdims=True)
        rows.append(np.hstack([np.pad(p, 1, constant_values=np.nan) for p in pictures]))
    ax.imshow(np.vstack(rows), cmap="gray", vmin=0, vmax=1)
    height, width = (
        size // count for size, count in zip(np.vstack(rows).shape, (2, 4), strict=True)
    )
    layers = [f"{layer:,}" for layer in pictured_layers(config)]
    ax.set_xticks(width * (np.arange(4) + 0.5) - 0.5, layers)
    ax.set_yticks(height * (np.arange(2) + 0.5) - 0.5, DEEP.values(), rotation=90, va="center")
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    plots.describe(ax, "What is left of a digit", "conv layer", "")


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
