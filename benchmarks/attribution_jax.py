"""Our side of ``benchmarks.attribution``: each call is one compiled program."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import attribution
from benchmarks.attribution import CENTER, PENALTY, RATE, STEPS, STRIDE, WINDOW, Problem
from benchmarks.worker import Case, serve
from jaxvision import runtime
from jaxvision.attribution import maps, objectives
from jaxvision.attribution.ascent import Maximized, maximize
from jaxvision.attribution.occluding import occlusion
from jaxvision.attribution.parametrizations import pixels
from jaxvision.initializers import he_forward
from jaxvision.models.shallow import ShallowConvNet
from jaxvision.types import Array

Variables = dict[str, dict[str, dict[str, Array]]]

METHODS = {
    "occlusion": partial(occlusion, window=WINDOW, stride=STRIDE, fill=CENTER),
    "guided": maps.guided,
    "saliency": maps.saliency,
}


def net(given: Problem) -> tuple[Callable[[Variables, Array], tuple[Array, dict]], Variables]:
    """Return variables, images -> logits and pre-activations, and the variables of the problem."""
    module = ShallowConvNet(
        attribution.CHANNELS, 0, attribution.CLASSES, he_forward(), attribution.POOLED
    )
    names = [f"conv{i}" for i in range(1, len(given.kernels))]
    layers = zip(given.kernels, given.biases, strict=True)
    params = {
        name: {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
        for name, (kernel, bias) in zip([*names, "logits"], layers, strict=True)
    }

    def call(variables: Variables, images: Array) -> tuple[Array, dict]:
        return module.apply(variables, images - CENTER)

    return call, {"params": params}


def explaining(method: str, call: Callable) -> Callable[[Variables, Array, Array], Array]:
    """Return the program of a method's maps."""

    def explained(variables: Variables, images: Array, classes: Array) -> Array:
        return METHODS[method](lambda shown: call(variables, shown)[0], images, classes)

    return runtime.jit(explained)


def prepare_maps(method: str, given: Problem, path: Path) -> Case:
    """Make the maps once, leave them at ``path``, and return how to make them again."""
    call, variables = net(given)
    program = explaining(method, call)
    images, classes = jnp.asarray(given.images), jnp.asarray(given.classes, jnp.int32)
    np.save(path, program(variables, images, classes))

    def run(n: int) -> None:
        for _ in range(n):
            jax.block_until_ready(program(variables, images, classes))

    return run, {"maps": str(path)}


def prepare_pictures(given: Problem) -> Case:
    """Make the class pictures once, and return how to make them again."""
    call, variables = net(given)
    parametrization = pixels(np.full(given.images.shape[1:], CENTER, np.float32))
    objective = objectives.logit(given.classes)
    start = parametrization.encode(attribution.first_pictures(given.images))

    @runtime.jit
    def program(variables: Variables, start: Array) -> Maximized:
        layers = partial(call, variables)
        adam = optax.adam(RATE)
        settings = {"steps": STEPS, "l2": PENALTY}
        return maximize(layers, objective, parametrization, start, adam, **settings)

    def run(n: int) -> None:
        for _ in range(n):
            jax.block_until_ready(program(variables, start))

    made = program(variables, start)
    score = float(made.trace[-1].mean())
    return run, {"steps": len(made.trace) - 1, "pictures": len(made.last), "score": score}


def prepare(name: str, folder: str) -> Case:
    """Build a case and run it once."""
    method, _, count = name.partition(":")
    given = attribution.problem(int(count))
    if method == "pictures":
        return prepare_pictures(given)
    return prepare_maps(method, given, Path(folder, f"{method}_jax.npy"))


if __name__ == "__main__":
    where = sys.argv[1]
    runtime.configure()
    serve(lambda name: prepare(name, where))
