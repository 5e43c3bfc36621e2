"""Optimizers whose hyper-parameters are traced: one compiled program serves a whole grid."""

import jax
import jax.numpy as jnp
import optax

from jaxvision.types import Array, Hyper, PyTree


def sgd(weight_decay: float, hyper: Hyper) -> optax.GradientTransformation:
    """SGD with momentum .9 and weight decay in the gradient, biases too (He et al. 2015).

    Reads ``learning_rate`` and ``train_biases``: 0 keeps the biases at their start, 1 trains them.
    """
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.masked(optax.scale(hyper["train_biases"]), _is_bias),
        optax.sgd(hyper["learning_rate"], momentum=0.9),
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
        optax.trace(0.9),
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

        return jax.tree_util.tree_map_with_path(inside, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _is_bias(params: PyTree) -> PyTree:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "bias", params)
