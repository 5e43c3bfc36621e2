"""JAX's side of ``benchmarks.run``.

Case names: ``net:R`` is jaxvision as it trains R runs, by the library's Trainer, the steps of a
period in one call (times are per step and run); ``net:flax`` is plain Flax, unrolled, no settings,
a jitted step a call. ``--devices=N`` has N single-threaded devices, 0 one device of all cores.
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import jax_nets, problems
from benchmarks.worker import Case, serve
from jaxvision import runtime
from jaxvision.data.dataset import Dataset
from jaxvision.models.layers import apply_function
from jaxvision.training.fit import Trainer
from jaxvision.training.optimizers import caffe_sgd
from jaxvision.training.step import Task
from jaxvision.types import Array


def prepare(name: str, depth: int = problems.DEPTH) -> Case:
    """Compile a case and take the first steps."""
    net, _, kind = name.partition(":")
    return flax_case(net) if kind == "flax" else trainer_case(net, int(kind), depth)


def trainer_case(net: str, count: int, depth: int) -> Case:
    """Return ``count`` runs of one net, all on the batch that everybody has."""
    module, variables = jax_nets.build(net, plain=False, depth=depth)
    data = Dataset(*problems.batch(net))
    optimizer = partial(caffe_sgd, 0.0)
    task = Task(apply_function(module), optimizer, lambda images, key: problems.inputs(images))
    trainer = Trainer(task, data, data, len(data.labels), problems.PERIOD)
    calls = list(trainer.calls(jax_nets.copies(variables, net, count)))
    states = [call.start() for call in calls]

    def period() -> np.ndarray:
        """Train all runs for a period; the losses of the first."""
        losses = []
        for i, call in enumerate(calls):
            states[i], metrics = call.advance(states[i], 0)
            losses.append(jax.block_until_ready(metrics["loss"])[0])
        return np.asarray(losses[0])

    def run(n: int) -> None:
        for _ in range(n // units):
            period()

    units = problems.PERIOD * count
    cpu = time.process_time()
    losses = period()
    facts = {"units": units, "first_cpu_s": time.process_time() - cpu}
    return run, facts | {"losses": losses.tolist()}


def flax_case(net: str) -> Case:
    """Return a net as one trains it in plain Flax."""
    module, variables = jax_nets.build(net, plain=True)
    optimizer = optax.sgd(problems.RATE[net], momentum=problems.MOMENTUM)
    images, labels = problems.batch(net)
    batch = jnp.asarray(problems.inputs(images)), jnp.asarray(labels)

    @partial(jax.jit, donate_argnums=0)
    def step(state: tuple, batch: tuple) -> tuple[tuple, Array]:
        params, stats, opt_state = state
        images, labels = batch

        def loss_function(params: dict) -> tuple:
            variables = {"params": params, "batch_stats": stats}
            (logits, _), updated = module.apply(
                variables, images, train=True, mutable=["batch_stats"]
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
            return loss, updated.get("batch_stats", {})

        (loss, new), gradients = jax.value_and_grad(loss_function, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state)
        return (optax.apply_updates(params, updates), new, opt_state), loss

    params = variables["params"]
    held = [(params, variables.get("batch_stats", {}), optimizer.init(params))]

    def run(n: int) -> Array:
        for _ in range(n):
            held[0], loss = step(held[0], batch)
        return loss.block_until_ready()

    cpu = time.process_time()
    losses = [float(run(1)) for _ in range(problems.PERIOD)]
    return run, {"units": 1, "losses": losses, "first_cpu_s": time.process_time() - cpu}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, help="none given: JAX as it is, for plain Flax")
    parser.add_argument("--first_steps", help="measure a start: prepare this case, then out")
    options = parser.parse_args()
    if options.devices is not None:
        runtime.configure(options.devices or None)
    if options.first_steps:
        prepare(options.first_steps)
    else:
        serve(prepare)
