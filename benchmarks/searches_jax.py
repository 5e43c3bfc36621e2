"""Our side of ``benchmarks.searches``: each call is one compiled program."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.dense_jax import answer
from benchmarks.searches import (
    CANDIDATES,
    DEEPFOOL_STEPS,
    EPSILON,
    GENERATIONS,
    PASSES,
    SIZES,
    WANTED,
    problem,
)
from benchmarks.worker import Case, serve
from jaxvision import runtime
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.cppn import cppn
from jaxvision.adversarial.elites import Encoding, map_elites
from jaxvision.adversarial.evolution import Budget, differential_evolution
from jaxvision.adversarial.genomes import direct
from jaxvision.adversarial.pixels import corners, every_pixel
from jaxvision.adversarial.universal import accumulate

LEVELS = np.arange(256, dtype=np.float32)[:, None] / 255


def searches(
    f: Logits,
    side: int,
) -> dict[str, Callable]:
    """Return the searches by name: images, labels -> success, of every image or class."""
    budget = Budget(CANDIDATES, GENERATIONS)
    key = jax.random.key(0)
    shape = (side, side, 1)

    def universal(images: jax.Array, labels: jax.Array) -> jax.Array:
        del labels  # the net's own answers, in all of the libraries
        plan = {"passes": PASSES, "wanted": WANTED, "steps": DEEPFOOL_STEPS}
        return accumulate(f, images, EPSILON, key, **plan).fooling

    def evolved(encoding: Encoding) -> jax.Array:
        return map_elites(f, encoding, key, generations=200, children=200).log_odds > 9.21

    return {
        "evolution": lambda x, y: differential_evolution(f, x, y, key, budget=budget).success,
        "universal": universal,
        "every": lambda x, y: every_pixel(f, x, y, LEVELS).result.success,
        "corners": lambda x, y: every_pixel(f, x, y, corners(1)).result.success,
        "elites": lambda x, y: evolved(direct(shape)),
        "painted": lambda x, y: evolved(cppn(shape)),
    }


def prepare(name: str) -> Case:
    """Build the net, search once, and return how to do it again."""
    search, size, count = name.split(":")
    kernels, images = problem(size, int(count))
    f = partial(answer, [jnp.asarray(kernel) for kernel in kernels])
    labels = jnp.argmax(f(images), 1)
    program = runtime.jit(searches(f, SIZES[size][0])[search])
    success = program(images, labels)

    def run(n: int) -> None:
        for _ in range(n):
            jax.block_until_ready(program(images, labels))

    return run, {"success": float(success.mean())}


if __name__ == "__main__":
    runtime.configure()
    serve(prepare)
