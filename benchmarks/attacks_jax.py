"""The two sides of ``benchmarks.attacks``, each in a process of its own: ours, and foolbox."""

import itertools
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.attacks import FOOLBOX, OURS
from benchmarks.worker import Case, serve
from jaxvision import runtime

WIDTHS = (784, 256, 256, 10)
EPS = 0.02
EIGHT = tuple(EPS * i / 4 for i in range(1, 9))
STEPS, RELATIVE_STEP = 40, 0.025
BISECTIONS, MINIMIZING, RATE = 10, 100, 0.02

# An attack on images and labels: returns adversarial images and whether they succeed.
Attack = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def net() -> Callable[[jax.Array], jax.Array]:
    """Return the net, images [B, 28, 28, 1] -> logits [B, 10]; the same in every process."""
    rng = np.random.default_rng(0)
    layers = [
        jnp.asarray(rng.normal(size=(fan, out)) * np.sqrt(2 / fan), jnp.float32)
        for fan, out in itertools.pairwise(WIDTHS)
    ]

    def logits(images: jax.Array) -> jax.Array:
        x = images.reshape(len(images), WIDTHS[0]) - 0.5
        for kernel in layers[:-1]:
            x = jax.nn.relu(x @ kernel)
        return x @ layers[-1]

    return logits


def ours(case: str, f: Callable) -> Attack:
    """Return our side of a case, compiled."""
    from jaxvision.adversarial.gradient import pgd
    from jaxvision.adversarial.min_norm import min_norm

    sizes = {"steps": STEPS, "relative_step": RELATIVE_STEP}
    found = {
        "pgd": lambda x, y: pgd(f, x, y, EPS, **sizes),
        "pgd8": lambda x, y: pgd(f, x, y, jnp.float32(EIGHT), **sizes),
        "min_norm": lambda x, y: min_norm(f, x, y, bisections=BISECTIONS, steps=MINIMIZING),
    }[case]

    @runtime.jit
    def attack(
        images: jax.Array,
        labels: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        result = found(images, labels)
        return result.images, result.success

    return attack


def foolbox(case: str, f: Callable) -> Attack:
    """Return foolbox's side of a case."""
    import foolbox as theirs

    model = theirs.JAXModel(f, bounds=(0, 1))
    pgd = theirs.attacks.LinfPGD(
        steps=STEPS,
        rel_stepsize=RELATIVE_STEP,
        random_start=False,
    )
    smallest = theirs.attacks.L2CarliniWagnerAttack(
        binary_search_steps=BISECTIONS, steps=MINIMIZING, stepsize=RATE
    )
    attack, sizes = {
        "pgd": (pgd, EPS),
        "pgd8": (pgd, list(EIGHT)),
        "min_norm": (smallest, None),
    }[case]

    def attacked(
        images: jax.Array,
        labels: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        _, moved, success = attack(model, images, labels, epsilons=sizes)
        return jnp.asarray(moved), jnp.asarray(success)

    return attacked


SIDES = {OURS: ours, FOOLBOX: foolbox}


def prepare(side: str, name: str) -> Case:
    """Build the net, attack once, and return how to do it again."""
    case, _, count = name.partition(":")
    f = net()
    rng = np.random.default_rng(1)
    images = jnp.asarray(rng.random((int(count), 28, 28, 1)), jnp.float32)
    labels = jnp.argmax(f(images), 1)
    attack = SIDES[side](case, f)
    moved, success = attack(images, labels)
    delta = moved - jnp.broadcast_to(images, moved.shape)
    norms = jnp.sqrt(jnp.square(delta).sum((-3, -2, -1)))

    def run(n: int) -> None:
        for _ in range(n):
            jax.block_until_ready(attack(images, labels))

    return run, {"success": float(success.mean()), "norm": float(jnp.median(norms))}


if __name__ == "__main__":
    side = sys.argv[1]
    runtime.configure()
    serve(lambda name: prepare(side, name))
