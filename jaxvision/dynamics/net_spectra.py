"""Spectra of a net of any maker: the Hessian of its loss, the Jacobian of its output."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.arguments import check_numbers, check_taken, check_whole
from jaxvision.dynamics import spectra as of_functions
from jaxvision.dynamics.spectra import Quadrature
from jaxvision.models.foreign import adapt
from jaxvision.random import probe
from jaxvision.training.losses import check_labels, cross_entropy
from jaxvision.types import Array, PyTree, UserError


class Spectra(NamedTuple):
    """Two spectra of one net.

    Attributes:
      hessian: of the loss by the parameters, [probes, steps] nodes and weights: see ``Quadrature``.
      jacobian: singular values of each image's output by the image, descending, [B, r], r the
        smaller of the two sizes.
    """

    hessian: Quadrature
    jacobian: Array


def spectra(
    net: Any,
    variables: PyTree = None,
    images: Array = None,
    labels: PyTree = None,
    *,
    loss: Callable[[Array, PyTree], Array] = cross_entropy,
    steps: int = 30,
    probes: int = 4,
    seed: int = 0,
    **options: Any,
) -> Spectra:
    """Return the spectra of a net on some images, in eval mode.

    Args:
      net: see ``models.foreign.adapt``.
      variables: likewise.
      images: float [B, ...], as the net takes them.
      labels: int [B], or what ``loss`` takes.
      loss: ``(output, labels) -> numbers``, whose mean is meant.
      steps: Hessian-vector products a probe, at most the number of parameters.
      probes: random vectors; the mean over them estimates the density.
      seed: of these vectors.
      **options: of ``adapt``.

    Raises:
      UserError: it is no net, there are no images or labels, the net does not take the images, they
        are NaN, or a number makes no sense.
    """
    apply, params = _given(net, variables, images, labels, loss, options)
    kind = getattr(images, "dtype", type(images).__name__)
    if not (hasattr(images, "dtype") and jnp.issubdtype(kind, jnp.inexact)):
        raise UserError(f"the Jacobian is by an array of floats, not {kind}: make images one")
    _check_steps(steps, params)
    check_whole("probes", probes, 1)
    check_whole("seed", seed, 0)

    @jax.jit
    def program(params: PyTree, images: Array, labels: PyTree) -> Spectra:
        value = partial(_loss, apply, loss, images, labels)

        def of_probe(number: Array) -> Quadrature:
            key = _start(seed, number)
            return of_functions.hessian_quadrature(value, params, key, steps)

        def of_image(image: Array) -> Array:
            return of_functions.jacobian_singular_values(partial(_single, apply, params), image)

        hessian = jax.lax.map(of_probe, jnp.arange(probes))
        return Spectra(hessian, jax.lax.map(of_image, images))

    return program(params, images, labels)


def sharpness(
    net: Any,
    variables: PyTree = None,
    images: Array = None,
    labels: PyTree = None,
    *,
    loss: Callable[[Array, PyTree], Array] = cross_entropy,
    steps: int = 30,
    seed: int = 0,
    **options: Any,
) -> float:
    """Return the largest eigenvalue of the Hessian of the loss, a lower bound from Lanczos.

    Gradient descent at rate r is stable below 2 / r (Cohen et al. 2021, arXiv 2103.00065).
    Arguments and errors are those of ``spectra``.
    """
    apply, params = _given(net, variables, images, labels, loss, options)
    _check_steps(steps, params)
    check_whole("seed", seed, 0)

    @jax.jit
    def program(params: PyTree, images: Array, labels: PyTree) -> Array:
        value = partial(_loss, apply, loss, images, labels)
        return of_functions.sharpness(value, params, _start(seed), steps)

    return float(program(params, images, labels))


def _start(seed: int, *number: Array) -> Array:
    """Return the key of a starting vector; what is measured twice has the same one."""
    return probe(seed, "lanczos", *number)


def _given(
    net: Any, variables: PyTree, images: Array, labels: PyTree, loss: Callable, options: dict
) -> tuple[Callable, PyTree]:
    if images is None or (labels is None and loss is cross_entropy):
        raise UserError("a loss is of images and labels: give them after net and variables")
    check_numbers("images", images)
    if any(not jnp.shape(leaf) for leaf in jax.tree.leaves(images)):
        raise UserError("images are an array [B, ...], no list and no number: np.asarray makes one")
    if not len(images):
        raise UserError("there are no images: the input is empty")
    check_numbers("labels", labels)
    apply, params = adapt(net, variables, **options)
    check_taken(partial(apply, params), images)
    if loss is cross_entropy:
        output = jax.eval_shape(apply, params, images)
        check_labels(labels, output.shape[:-1], output.shape[-1])
    return apply, params


def _check_steps(steps: int, params: PyTree) -> None:
    count = sum(jnp.size(leaf) for leaf in jax.tree.leaves(params))
    check_whole("steps", steps, 1)
    if steps > count:
        raise UserError(f"steps={steps}: from 1 to {count}, the number of parameters")


def _single(apply: Callable, params: PyTree, image: Array) -> Array:
    return apply(params, image[None])[0]


def _loss(apply: Callable, loss: Callable, images: Array, labels: PyTree, params: PyTree) -> Array:
    return jnp.mean(loss(apply(params, images), labels))
