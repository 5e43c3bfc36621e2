"""Nets that are told of the images which fool them, and fooled again, round after round."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._fooling import SURE, MakeEncoding
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.elites import Encoding, Fooling, map_elites
from jaxvision.adversarial.nets import logits_of
from jaxvision.adversarial.pixels import cell_of
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import Splits
from jaxvision.data.augment import standardizer
from jaxvision.initializers import he_forward
from jaxvision.models.builders import NETS
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.random import stream
from jaxvision.training.mapping import over_seeds
from jaxvision.training.optimizers import sgd
from jaxvision.training.step import Task, initial_state, take_steps
from jaxvision.types import Array, PyTree

BATCH = 128


class Rounds(NamedTuple):
    """What retraining did to S nets in R rounds; round 0 knows no fooling image.

    Attributes:
      generations: int32 [S, R, E, K], until the elite of a class is .99 sure, in E evolutions;
        one more than there are where it never is.
      log_odds: float32 [S, R, E, K] of the elites at the end.
      test_error: float32 [S, R].
    """

    generations: np.ndarray
    log_odds: np.ndarray
    test_error: np.ndarray


class Retraining(NamedTuple):
    """How nets are retrained.

    Attributes:
      width: units.
      steps: of each training, from the start.
      rounds: trainings after the first.
      evolutions: whose elites join the extra class after each one.
      generations: of an evolution.
      children: of a generation.
      learning_rate: of every training.
      knows: whether the extra class is told of the fooling images; False keeps it empty.
    """

    width: int
    steps: int
    rounds: int
    evolutions: int
    generations: int
    children: int
    learning_rate: float
    knows: bool = True


class _Known(NamedTuple):
    """What a round's training may learn from."""

    images: Array  # float32 [N, H, W, C], 0 to 255
    labels: Array
    pool: Array  # fooling images [M, H, W, C] in [0, 1], the first ``count`` of which are there
    count: Array


class _Held(NamedTuple):
    """What it is tested on."""

    images: Array
    labels: Array


def retrain(data: Splits, make_encoding: MakeEncoding, plan: Retraining, seeds: range) -> Rounds:
    """Train nets, evolve images that fool them, train anew with those as one class more, and so on.

    The extra class has its share of every batch, however few images it has.
    """
    shape = data.train.images.shape[1:]
    extra = data.num_classes
    model = NETS["mlp"](extra + 1, shape, he_forward(), depth=3, width=plan.width)
    preprocess = standardizer(data.train)
    task = Task(apply_function(model), partial(sgd, 0.0), preprocess)
    encoding = make_encoding(shape)
    new = plan.evolutions * extra  # fooling images of a round

    def one_round(
        seed: Array, held: _Held, known: _Known, number: Array
    ) -> tuple[_Known, tuple[Array, Array, Array]]:
        start = initialize(model, stream(seed, "init"), shape)
        variables = _trained(task, start, known, extra, plan, seed)
        f = logits_of(task.apply, preprocess, variables)
        found = _evolutions(f, encoding, plan, stream(seed, "attack", number))
        elites = found.images[:, :extra].reshape(new, *shape)
        known = known._replace(
            pool=lax.dynamic_update_slice_in_dim(known.pool, elites, number * new, 0),
            count=jnp.where(plan.knows, (number + 1) * new, 0),
        )
        answers = jnp.argmax(f(held.images / LEVELS), 1)
        error = jnp.mean(answers != held.labels)
        generations = _first_sure(found.trace[..., :extra])
        return known, (generations, found.log_odds[:, :extra], error)

    def one_seed(seed: Array, shared: tuple[Array, Array, _Held]) -> Rounds:
        images, labels, held = shared
        total = 1 + plan.rounds
        pool = jnp.zeros((total * new, *shape))
        known = _Known(images, labels, pool, jnp.int32(0))
        step = partial(one_round, seed, held)
        _, found = lax.scan(step, known, jnp.arange(total))
        return Rounds(*found)

    held = _Held(data.test.images.astype(np.float32), data.test.labels)
    shared = (data.train.images.astype(np.float32), data.train.labels, held)
    return over_seeds(one_seed, len(seeds), shared, seeds.start)


def _evolutions(f: Logits, encoding: Encoding, plan: Retraining, key: Array) -> Fooling:
    """Return several evolutions of one net, leaves [E, ...]."""
    sizes = {"generations": plan.generations, "children": plan.children}

    def one(key: Array) -> Fooling:
        return map_elites(f, encoding, key, **sizes)

    keys = jax.random.split(key, plan.evolutions)
    return lax.map(one, keys)


def _first_sure(trace: Array) -> Array:
    """Return the first generation [E, K] of traces [E, G + 1, K] that is sure; else G + 1."""
    reached = trace >= SURE
    first = jnp.argmax(reached, 1)
    return jnp.where(reached.any(1), first, trace.shape[1])


def _trained(
    task: Task, start: PyTree, known: _Known, extra: int, plan: Retraining, seed: Array
) -> PyTree:
    """Return a net's variables after training on what is known."""
    hyper = {"learning_rate": jnp.float32(plan.learning_rate), "train_biases": jnp.float32(1.0)}
    batch = partial(_batch, seed, known, extra)
    state = initial_state(task, start, hyper)
    state, _ = take_steps(task, state, batch, plan.steps, jnp.int32(plan.steps), hyper, seed)
    return {"params": state.params, "batch_stats": state.batch_stats}


def _batch(
    seed: Array,
    known: _Known,
    extra: int,
    step: Array,
) -> tuple[Array, Array]:
    """Return a batch in pixels 0 to 255: the extra class has its share once it has images."""
    key = stream(seed, "order", step)
    which, place = jax.random.uniform(key, (2, BATCH))
    share = jnp.where(known.count > 0, 1 / (extra + 1), 0.0)
    fooling = which < share
    row = cell_of(place, len(known.labels))
    pool_row = jnp.floor(place * known.count.astype(jnp.float32)).astype(jnp.int32)
    images = jnp.where(
        fooling[:, None, None, None],
        LEVELS * known.pool[pool_row],
        known.images[row],
    )
    return images, jnp.where(fooling, extra, known.labels[row])
