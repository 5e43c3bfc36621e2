"""Optimizers whose hyper-parameters are traced: one compiled program serves a whole grid.

``sgd``, ``caffe_sgd`` and ``adam`` decay every leaf, as the papers did that they are named after.
``momentum_sgd``, ``nesterov_sgd``, ``adamw`` and ``muon`` decay kernels alone.
"""

import jax.numpy as jnp
import optax
from jax.tree_util import keystr, tree_map_with_path
from optax import contrib

from jaxvision.models.stacks import stacked_axes
from jaxvision.trees import zeros_of_32_bits
from jaxvision.types import Array, Hyper, PyTree

BIAS_RATE = 64  # of ``nesterov_sgd``, over the rate of all else


def sgd(weight_decay: float, hyper: Hyper) -> optax.GradientTransformation:
    """SGD with momentum .9 and weight decay in the gradient, biases too (He et al. 2015).

    Reads ``learning_rate`` and ``train_biases``: 0 keeps the biases at their start, 1 trains them.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.masked(optax.scale(hyper["train_biases"]), _is_bias),
        optax.chain(_velocity(0.9), optax.scale_by_learning_rate(hyper["learning_rate"])),
    )


def caffe_sgd(weight_decay: float, hyper: Hyper) -> optax.GradientTransformation:
    """SGD with momentum .9 as He et al. 2016 trained; reads ``learning_rate``.

    v <- .9 v + rate (gradient + decay w), w <- w - v. The rate stands inside the momentum: after a
    drop the old velocity runs on at the old rate, where ``sgd`` scales it down at once. The decay
    is on every leaf, batch normalization's scales and biases too, as is Caffe's default.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.scale(hyper["learning_rate"]),
        _velocity(0.9),
        optax.scale(-1.0),
    )


def adam(weight_decay: float, hyper: Hyper) -> optax.GradientTransformation:
    """AdamW with optax's defaults; reads what ``sgd`` reads.

    The decay is apart from the gradient: inside it, Adam's division by the gradient's size would
    blow the decay up wherever the gradient has vanished, and shrink the weights to nothing.
    """
    return optax.chain(
        optax.adamw(hyper["learning_rate"], weight_decay=weight_decay),
        # After the decay: before it, biases that are not trained would shrink all the same.
        optax.masked(optax.scale(hyper["train_biases"]), _is_bias),
    )


def max_norm(radius: Array | float) -> optax.GradientTransformation:
    """Keep every unit's incoming weights inside a ball, by projection after the step.

    The last link of a chain. A kernel's columns, its weights to one unit, end at most ``radius``
    long; a step that stays inside is not touched, so an infinite radius changes no bit. Dense
    kernels [..., I, O], stacked ones too; biases are free. Source: Srivastava et al. 2014, section
    5.1.

    Args:
      radius: the largest norm, may be traced.
    """

    def update(updates: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        def inside(path: tuple, update: Array, weights: Array) -> Array:
            if path[-1].key != "kernel":
                return update
            moved = weights + update
            norm = jnp.sqrt(jnp.square(moved).sum(-2, keepdims=True))
            shrunk = moved * (radius / jnp.maximum(norm, radius))
            return jnp.where(norm > radius, shrunk - weights, update)

        return tree_map_with_path(inside, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def momentum_sgd(weight_decay: float, hyper: Hyper) -> optax.GradientTransformation:
    """SGD with a traced momentum, 0 for plain SGD; reads ``learning_rate`` and ``momentum``.

    v <- momentum v + gradient + decay w, w <- w - rate v: a change of the rate acts at once.
    """
    return optax.chain(
        decay_kernels(weight_decay),
        _velocity(hyper["momentum"]),
        optax.scale_by_learning_rate(hyper["learning_rate"]),
    )


def nesterov_sgd(weight_decay: float, hyper: Hyper) -> optax.GradientTransformation:
    """SGD with Nesterov's momentum, biases at 64 times the rate; reads what ``momentum_sgd`` does.

    v <- momentum v + gradient + decay w, w <- w - rate (momentum v + gradient + decay w). In a net
    with batch norm its biases are steered by gradients far smaller than their unit, and a rate that
    suits kernels would hardly move them in a training of a few epochs (Page 2018, "How to train
    your ResNet", part 8).
    """
    return optax.chain(
        decay_kernels(weight_decay),
        _velocity(hyper["momentum"], nesterov=True),
        optax.masked(optax.scale(BIAS_RATE), _is_bias),
        optax.scale_by_learning_rate(hyper["learning_rate"]),
    )


def adamw(weight_decay: float, hyper: Hyper) -> optax.GradientTransformation:
    """AdamW with optax's defaults; reads ``learning_rate``."""
    return optax.adamw(hyper["learning_rate"], weight_decay=weight_decay, mask=_is_kernel)


def muon(weight_decay: float, hyper: Hyper) -> optax.GradientTransformation:
    """Muon (Jordan 2024) with optax's defaults; reads ``learning_rate``.

    Every kernel moves along its momentum made orthogonal, each layer of a stack by itself and a
    convolution as the matrix of its window's inputs by its outputs. All other leaves are Adam's, at
    the same rate.
    """
    return contrib.muon(
        hyper["learning_rate"],
        weight_decay=weight_decay,
        muon_weight_dimension_numbers=_matrices,
    )


def _velocity(momentum: Array | float, nesterov: bool = False) -> optax.GradientTransformation:
    """Return v <- momentum v + gradient, optax's ``trace`` with a v of 32 bits at least.

    Rates are float32: in the type of weights of 16 bits v would change its type in the first step.
    """
    plain = optax.trace(momentum, nesterov)

    def start(params: PyTree) -> PyTree:
        return plain.init(zeros_of_32_bits(params))

    return optax.GradientTransformation(start, plain.update)


def decay_kernels(weight_decay: float) -> optax.GradientTransformation:
    """Add ``weight_decay`` times the weights to the gradient of kernels alone, known by name.

    Not by their number of axes: the biases of stacked layers are matrices too. A scale of 1 with no
    gradient stays 1; decayed at rate .1 by 5e-4 it is .607 after 10,000 steps, and .0066 where the
    decay goes through a momentum of .9.
    """
    return optax.add_decayed_weights(weight_decay, mask=_is_kernel)


def _matrices(params: PyTree) -> PyTree:
    """Return which axes of a kernel are inputs and which is outputs; None for all other leaves."""

    def axes(path: tuple, leaf: Array) -> contrib.MuonDimensionNumbers | None:
        if path[-1].key != "kernel":
            return None
        own = leaf.ndim - stacked_axes(keystr(path, simple=True, separator="/"), leaf)
        return contrib.MuonDimensionNumbers(tuple(range(-own, -1)), -1)

    return tree_map_with_path(axes, params)


def _is_kernel(params: PyTree) -> PyTree:
    return tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _is_bias(params: PyTree) -> PyTree:
    return tree_map_with_path(lambda path, _: path[-1].key == "bias", params)
