"""How fooling_images searches, looks at what it found, and trains nets that know such images."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._nets import Nets, logits_of_all
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.ascent import Ascended, ascend
from jaxvision.adversarial.elites import Encoding, Fooling, map_elites
from jaxvision.adversarial.genomes import ImageShape
from jaxvision.adversarial.nets import logits_of, over_nets
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
from jaxvision.training.step import Task, TrainState, initial_state, take_steps
from jaxvision.types import Array

BATCH = 128
RATE = 0.1
SURE = float(np.log(0.99 / 0.01))  # log odds of a probability of .99
NINES = float(np.log(0.9999 / 0.0001))

Search = Callable[..., Fooling]  # ``map_elites`` or ``random_search``
MakeEncoding = Callable[[ImageShape], Encoding]


def search_nets(
    nets: Nets,
    seeds: range,
    search: Search,
    make_encoding: MakeEncoding,
    generations: int,
    children: int,
) -> Fooling:
    """Return what a search found for N nets, leaves [N, ...]; draws are those of a net's seed."""
    encoding = make_encoding(nets.data.train.images.shape[1:])

    def one(net: dict, _: None) -> Fooling:
        key = stream(net["seed"], "attack")
        found = search(nets.of(net), encoding, key, generations=generations, children=children)
        return found._replace(n_forward=jnp.int32(found.n_forward))

    return over_nets(one, nets.variables | {"seed": np.array(seeds, np.int32)}, None)


def ascend_nets(nets: Nets, seeds: range, steps: int) -> Ascended:
    """Return what gradient ascent reaches for every class, from noise around the mean image."""
    train = nets.data.train.images
    mean = (train.mean(0, dtype=np.float64) / LEVELS).astype(np.float32)

    def one(net: dict, mean: Array) -> Ascended:
        classes = jnp.arange(nets.data.num_classes)
        key = stream(net["seed"], "noise")
        noise = jax.random.normal(key, (len(classes), *mean.shape)) / LEVELS
        start = jnp.clip(mean[None] + noise, 0.0, 1.0)
        return ascend(nets.of(net), start, classes, mean, steps=steps)

    return over_nets(one, nets.variables | {"seed": np.array(seeds, np.int32)}, mean)


def rubbish(nets: Nets, seeds: range, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of ``count`` images of N(0, I) get a class above .5, and how sure those are.

    A share and a mean, both [N]. Such pixels leave [0, 1]. Source: Goodfellow et al. 2015 (arXiv
    1412.6572), appendix A.
    """
    shape = nets.data.train.images.shape[1:]

    def one(net: dict, _: None) -> tuple[Array, Array]:
        images = jax.random.normal(stream(net["seed"], "noise", 1), (count, *shape))
        confidence = jax.nn.softmax(nets.of(net)(images)).max(-1)
        sure = confidence > 0.5
        mean = jnp.where(sure, confidence, 0.0).mean() / jnp.maximum(sure.mean(), 1 / count)
        return sure.mean(), mean

    return over_nets(one, nets.variables | {"seed": np.array(seeds, np.int32)}, None)


def second_opinions(nets: Nets, images: np.ndarray) -> np.ndarray:
    """Return how many of a net's K images the next net takes for the same class, [W, N].

    Args:
      nets: N of them.
      images: [W, N, K, H, W, C], by W ways; each was made for the class of its place.
    """
    ways, count, classes = images.shape[:3]
    logits = logits_of_all(nets, images.reshape(-1, *images.shape[3:]))
    answers = logits.argmax(-1).reshape(count, ways, count, classes)
    net = np.arange(count)
    others = answers[(net + 1) % count, :, net]  # [N, W, K]
    return (others == np.arange(classes)).mean(-1).T


def nearest(images: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return distance and index of the nearest of ``among`` to each image, [B], pixels in [0, 1].

    Args:
      images: float [B, H, W, C] in [0, 1].
      among: uint8 [N, H, W, C].
    """
    wanted = images.reshape(len(images), -1).astype(np.float32)
    known = among.reshape(len(among), -1).astype(np.float32) / LEVELS
    squares = np.square(wanted).sum(1)[:, None] + np.square(known).sum(1)[None]
    distances = np.sqrt(np.maximum(squares - 2 * wanted @ known.T, 0))
    best = distances.argmin(1)
    return distances[np.arange(len(images)), best], best


def first_above(trace: np.ndarray, odds: float) -> np.ndarray:
    """Return the first generation [..., K] of a trace [..., G + 1, K] that reaches log odds.

    G + 1 where none does.
    """
    reached = np.concatenate([trace >= odds, np.ones_like(trace[..., :1, :], bool)], -2)
    return reached.argmax(-2)


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Return images in [0, 1] as uint8."""
    return np.rint(LEVELS * images).astype(np.uint8)


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
      knows: whether the extra class is told of the fooling images; False keeps it empty.
    """

    width: int
    steps: int
    rounds: int
    evolutions: int
    generations: int
    children: int
    knows: bool = True


def retrain(data: Splits, make_encoding: MakeEncoding, plan: Retraining, seeds: range) -> Rounds:
    """Train nets, evolve images that fool them, train anew with those as one class more, and so on.

    The extra class has its share of every batch, however few images it has.
    """
    shape = data.train.images.shape[1:]
    classes = data.num_classes
    model = NETS["mlp"](classes + 1, shape, he_forward(), depth=3, width=plan.width)
    preprocess = standardizer(data.train)
    task = Task(apply_function(model), partial(sgd, 0.0), preprocess)
    encoding = make_encoding(shape)
    new = plan.evolutions * classes

    def one_round(carry: tuple[Array, Array], number: Array, seed: Array, shared: tuple) -> tuple:
        """Train, evolve, and put the elites into the pool [(R - 1) new, H, W, C], in [0, 1]."""
        pool, known = carry
        images, labels, test_images, test_labels = shared
        start = initial_state(task, initialize(model, stream(seed, "init"), shape), _hyper())
        batch = partial(_batch, seed, images, labels, pool, known, classes)
        state = _trained(task, start, batch, plan.steps, seed)
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        f = logits_of(task.apply, preprocess, variables)
        key = stream(seed, "attack", number)
        found = _evolutions(f, encoding, plan, key)
        elites = found.images[:, :classes].reshape(new, *shape)
        added = lax.dynamic_update_slice_in_dim(pool, elites, number * new, 0)
        known = jnp.where(plan.knows, (number + 1) * new, 0)
        error = jnp.mean(jnp.argmax(f(test_images / LEVELS), 1) != test_labels)
        reached = found.trace[..., :classes] >= SURE
        generations = jnp.where(reached.any(1), jnp.argmax(reached, 1), plan.generations + 1)
        return (added, known), (generations, found.log_odds[:, :classes], error)

    def one_seed(seed: Array, shared: tuple) -> Rounds:
        total = 1 + plan.rounds
        empty = jnp.zeros((total * new, *shape)), jnp.int32(0)
        step = partial(one_round, seed=seed, shared=shared)
        return Rounds(*lax.scan(step, empty, jnp.arange(total))[1])

    return over_seeds(one_seed, len(seeds), _arrays(data), seeds.start)


def _arrays(data: Splits) -> tuple[np.ndarray, ...]:
    """Return images as float32, 0 to 255, and labels: to learn from, and to be tested on."""
    train, test = data.train, data.test
    images = train.images.astype(np.float32), test.images.astype(np.float32)
    return images[0], train.labels, images[1], test.labels


def _evolutions(f: Logits, encoding: Encoding, plan: Retraining, key: Array) -> Fooling:
    """Return several evolutions of one net, leaves [E, ...]."""

    def one(key: Array) -> Fooling:
        sizes = {"generations": plan.generations, "children": plan.children}
        found = map_elites(f, encoding, key, **sizes)
        return found._replace(n_forward=jnp.int32(found.n_forward))

    return lax.map(one, jax.random.split(key, plan.evolutions))


def _batch(
    seed: Array,
    images: Array,
    labels: Array,
    pool: Array,
    known: Array,
    extra: int,
    step: Array,
) -> tuple[Array, Array]:
    """Return a batch in pixels 0 to 255: the extra class has its share once it has images."""
    which, place = jax.random.uniform(stream(seed, "order", step), (2, BATCH))
    share = jnp.where(known > 0, 1 / (extra + 1), 0.0)
    fooling = which < share
    row = jnp.floor(place * len(labels)).astype(jnp.int32)
    row_of_pool = jnp.floor(place * known.astype(jnp.float32)).astype(jnp.int32)
    chosen = fooling[:, None, None, None]
    return (
        jnp.where(chosen, LEVELS * pool[row_of_pool], images[row]),
        jnp.where(fooling, extra, labels[row]),
    )


def _hyper() -> dict[str, Array]:
    return {"learning_rate": jnp.float32(RATE), "train_biases": jnp.float32(1.0)}


def _trained(task: Task, start: TrainState, batch: Callable, steps: int, seed: Array) -> TrainState:
    return take_steps(task, start, batch, steps, jnp.int32(steps), _hyper(), seed)[0]
