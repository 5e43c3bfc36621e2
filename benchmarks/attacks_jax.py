"""The sides of ``benchmarks.attacks``, each in a process of its own."""

import itertools
import sys
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.attacks import EOT_DRAWS, EOT_STEPS, FOOLBOX, ONE_BY_ONE, OURS
from benchmarks.dense_jax import answer
from benchmarks.worker import Case, serve
from jaxvision import runtime

WIDTHS = (784, 256, 256, 10)
SOLID_WIDTHS = (3072, 256, 10)
EPS = 0.02
EIGHT = tuple(EPS * i / 4 for i in range(1, 9))
STEPS, RELATIVE_STEP = 40, 0.025
BISECTIONS, MINIMIZING, RATE = 10, 100, 0.02
SWEPT = 32  # images, on every snapshot
RUNS = 6
CROSSING = 10  # steps of DeepFool

# An attack on images and labels: returns adversarial images and whether they succeed.
Attack = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def net(widths: Sequence[int]) -> Callable[[jax.Array], jax.Array]:
    """Return the net, images [B, H, W, C] -> logits [B, 10]; the same in every process."""
    return partial(answer, drawn(widths))


def drawn(widths: Sequence[int]) -> list[jax.Array]:
    """Return the kernels of a random net."""
    rng = np.random.default_rng(0)
    return [
        jnp.asarray(rng.normal(size=(fan, out)) * np.sqrt(2 / fan), jnp.float32)
        for fan, out in itertools.pairwise(widths)
    ]


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


def snapshots(count: int) -> dict:
    """Return nets along training, leaves [R, T, ...]: one net, a little moved each time."""
    rng = np.random.default_rng(2)
    start = drawn(WIDTHS)
    steps = count // RUNS

    def moved(kernel: jax.Array) -> np.ndarray:
        noise = rng.normal(size=(RUNS, steps, *kernel.shape))
        clean = np.asarray(kernel)
        return np.float32(clean + 0.05 * clean.std() * noise)

    return {"params": {f"dense{i}": {"kernel": moved(k)} for i, k in enumerate(start)}}


def of_variables(variables: dict, images: jax.Array) -> jax.Array:
    """Return the logits of one of the snapshots."""
    return answer([layer["kernel"] for layer in variables["params"].values()], images)


def at_once(nets: dict, images: jax.Array, labels: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Attack all snapshots by one program; returns norms and success, [R, T, B]."""
    from jaxvision.adversarial.deepfool import deepfool
    from jaxvision.adversarial.nets import over_snapshots

    def one(variables: dict, shown: tuple) -> tuple[jax.Array, jax.Array]:
        found = deepfool(partial(of_variables, variables), *shown, steps=CROSSING)
        return found.norms.l2, found.success

    return over_snapshots(one, nets, (images, labels), "map")


def one_at_a_time(
    nets: dict, images: jax.Array, labels: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Attack one snapshot after the other by the public call, otherwise as ``at_once``."""
    from jaxvision.adversarial.api import attack
    from jaxvision.adversarial.deepfool import deepfool

    runs, steps = jax.tree.leaves(nets)[0].shape[:2]
    found = []
    for place in itertools.product(range(runs), range(steps)):
        variables = jax.tree.map(lambda leaf, place=place: jnp.asarray(leaf[place]), nets)
        given = of_variables, variables, images, labels
        found.append(attack(*given, method=deepfool, steps=CROSSING))
    cells = (runs, steps, len(images))
    norms = np.stack([each.norms.l2 for each in found]).reshape(cells)
    return norms, np.stack([each.success for each in found]).reshape(cells)


SWEEPS = {OURS: at_once, ONE_BY_ONE: one_at_a_time}


def prepare_sweep(side: str, count: int) -> Case:
    """Build the snapshots, attack once, and return how to do it again, compilation and all."""
    nets = snapshots(count)
    images, labels = examples(SWEPT)
    sweep = SWEEPS[side]
    norms, success = sweep(nets, images, labels)

    def run(n: int) -> None:
        for _ in range(n):
            jax.clear_caches()
            sweep(nets, images, labels)

    return run, {"success": float(success.mean()), "norm": float(np.median(norms))}


def examples(count: int) -> tuple[jax.Array, jax.Array]:
    """Return random images, and what the net says of them."""
    rng = np.random.default_rng(1)
    images = jnp.asarray(rng.random((count, 28, 28, 1)), jnp.float32)
    return images, jnp.argmax(net(WIDTHS)(images), 1)


def prepare(side: str, name: str) -> Case:
    """Build the net, attack once, and return how to do it again."""
    case, _, count = name.partition(":")
    if case == "eot":
        return over_poses(int(count))
    if case == "sweep":
        return prepare_sweep(side, int(count))
    f = net(WIDTHS)
    images, labels = examples(int(count))
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
