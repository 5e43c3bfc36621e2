"""Affine nets, whose distances are known in closed form, and exact solutions by scipy."""

import jax.numpy as jnp
import numpy as np
from scipy import optimize


def two_class(weights, bias=0.0):
    """Return a net whose class 1 leads class 0 by w.x + b."""
    weights, bias = jnp.asarray(weights, jnp.float32), jnp.float32(bias)

    def f(images):
        lead = images.reshape(len(images), -1) @ weights + bias
        return jnp.stack([jnp.zeros_like(lead), lead], 1)

    return f


def affine(weights, bias):
    """Return the net x -> W.x + b, weights [D, K], bias [K]."""
    weights, bias = jnp.asarray(weights, jnp.float32), jnp.asarray(bias, jnp.float32)[None]
    return lambda images: images.reshape(len(images), -1) @ weights + bias


def nearest_in_box(x, weights, gap):
    """Return the smallest L2 step of x [D] inside [0, 1] that lowers w.x by ``gap``: by SLSQP."""
    found = optimize.minimize(
        lambda r: 0.5 * r @ r,
        -weights * gap / (weights @ weights),
        jac=lambda r: r,
        bounds=list(zip(-x, 1 - x, strict=True)),
        constraints={"type": "eq", "fun": lambda r: weights @ r + gap, "jac": lambda r: weights},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return found.x if found.success else None


def nearest_linf_in_box(x, weights, gap):
    """Return the smallest Linf size inside [0, 1] that lowers w.x by ``gap``: by linprog."""
    count = len(x)
    cost = np.r_[np.zeros(count), 1.0]
    bound = np.block(
        [[np.eye(count), -np.ones((count, 1))], [-np.eye(count), -np.ones((count, 1))]]
    )
    found = optimize.linprog(
        cost,
        A_ub=bound,
        b_ub=np.zeros(2 * count),
        A_eq=np.r_[weights, 0.0][None],
        b_eq=[-gap],
        bounds=[*zip(-x, 1 - x, strict=True), (0, None)],
    )
    return found.fun if found.success else None
