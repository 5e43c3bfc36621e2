"""The two sides of ``benchmarks.attacks``, each in a process of its own: ours, and foolbox."""

import itertools
import sys
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.attacks import EOT_DRAWS, EOT_STEPS, FOOLBOX, OURS
from benchmarks.worker import Case, serve
from jaxvision import runtime

WIDTHS = (784, 256, 256, 10)
SOLID_WIDTHS = (3072, 256, 10)
EPS = 0.02
EIGHT = tuple(EPS * i / 4 for i in range(1, 9))
STEPS, RELATIVE_STEP = 40, 0.025
BISECTIONS, MINIMIZING, RATE = 10, 100, 0.02

# An attack on images and labels: returns adversarial images and whether they succeed.
Attack = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def net(widths: Sequence[int]) -> Callable[[jax.Array], jax.Array]:
    """Return the net, images [B, H, W, C] -> logits [B, 10]; the same in every process."""
    rng = np.random.default_rng(0)
    layers = [
        jnp.asarray(rng.normal(size=(fan, out)) * np.sqrt(2 / fan), jnp.float32)
        for fan, out in itertools.pairwise(widths)
    ]

    def logits(images: jax.Array) -> jax.Array:
        x = images.reshape(len(images), widths[0]) - 0.5
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


def over_poses(count: int) -> Case:
    """Prepare EOT on textures of solids, in poses drawn at every step."""
    from jaxvision.adversarial.eot import eot
    from jaxvision.adversarial.threat import L2
    from jaxvision.data import raycast, solids

    f = net(SOLID_WIDTHS)
    some = solids.objects(count, 0, part=2)
    targets = (some.labels + 1) % len(solids.CLASS_NAMES)

    def transform(textures: jax.Array, key: jax.Array) -> jax.Array:
        numbers = jax.random.uniform(key, (count, raycast.NUMBERS))
        view = raycast.views(numbers, some.solids)
        hits = raycast.cast(some.solids, view, solids.SIZE)
        return raycast.render(textures, hits, view.background)

    @runtime.jit
    def attack(textures: jax.Array, seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        key = jax.random.key(seed)
        sizes = {"ball": L2, "steps": EOT_STEPS, "draws": EOT_DRAWS, "relative_step": 0.25}
        found = eot(f, transform, textures, some.labels, 24.0, key, targets=targets, **sizes)
        return found.images, found.reached[-1], found.norms.l2

    _, reached, norms = attack(some.textures, 0)

    def run(n: int) -> None:
        for _ in range(n):
            jax.block_until_ready(attack(some.textures, 0))

    return run, {"success": float(reached.mean()), "norm": float(jnp.median(norms))}


def prepare(side: str, name: str) -> Case:
    """Build the net, attack once, and return how to do it again."""
    case, _, count = name.partition(":")
    if case == "eot":
        return over_poses(int(count))
    f = net(WIDTHS)
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
