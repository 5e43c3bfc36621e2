"""Making pictures that hold over poses, and judging them in fresh ones: what robust_3d measures."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.breaking._nets import Nets
from experiments.breaking._worlds import Given, World
from jaxvision import runtime
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.checks import moved_by
from jaxvision.adversarial.eot import Drawn, answers
from jaxvision.adversarial.nets import over_nets
from jaxvision.adversarial.threat import L2, like
from jaxvision.random import stream
from jaxvision.types import Array, PyTree, UserError

CLIMBING, JUDGING = range(2)  # counters of the stream ``attack``: poses to climb in, to judge by
ENOUGH = 0.9  # share of targets reached at which a size is large enough
KINDS = ("clean", "noise", "rival", "one_pose", "eot", "one_pose_equal", "eot_equal")

Attack = Callable[..., Drawn]


class Plan(NamedTuple):
    """How long and how hard.

    Attributes:
      sizes: E, rising, in L2.
      steps: of an attack.
      draws: poses in a step.
      relative_step: size of a step over that of the change.
      poses: to judge by.
    """

    sizes: tuple[float, ...]
    steps: int
    draws: int
    relative_step: float
    poses: int


class Made(NamedTuple):
    """What N nets' attacks made of B pictures.

    Attributes:
      pictures: [N, V, E, B, H, W, C], in the poses of each stage, of each size.
      noise: [N, B, H, W, C], random changes as long as the chosen ones of the last stage.
      equal: [N, 2, B, H, W, C], made in one pose and in those of the last stage, changes of each
        picture equally long.
      chosen: int [N], the first size at which the last stage's reach the target in ``ENOUGH`` of
        the poses of the last quarter of steps, seen before each step; the last one if none does.
      norm: [N, E], of the last stage's, mean over pictures.
      equal_norm: [N, B], of ``equal``.
    """

    pictures: np.ndarray
    noise: np.ndarray
    equal: np.ndarray
    chosen: np.ndarray
    norm: np.ndarray
    equal_norm: np.ndarray


class Judged(NamedTuple):
    """What N nets see in fresh poses, shares of the poses.

    Attributes:
      target: [N, K, B], see the target, by ``KINDS``, in poses of the last stage.
      right: [N, K, B], see the class.
      matrix: [N, V, V], see the target: made in the poses of one stage, seen in those of another.
      by_size: [N, V, E], see the target, made and seen in one stage.
    """

    target: np.ndarray
    right: np.ndarray
    matrix: np.ndarray
    by_size: np.ndarray


def refuse_sizes(**flags: tuple[float, ...]) -> None:
    """Raise UserError where sizes, given by the name of their flag, do not rise from above 0."""
    for name, sizes in flags.items():
        if list(sizes) != sorted(set(sizes)) or min(sizes, default=0) <= 0:
            raise UserError(f"--{name}={sizes}: rising from above 0, each once")


def make(
    nets: Nets,
    seeds: range,
    world: World,
    given: Given,
    plan: Plan,
    attack: Attack,
) -> Made:
    """Attack every picture in the poses of every stage, at every size."""
    attacked = _attacked(world, plan, attack)

    def one(f: Logits, seed: Array, given: Given) -> tuple[Array, ...]:
        def at(stage: PyTree) -> tuple[Array, Array]:
            found = attacked(f, seed, given, stage, jnp.float32(plan.sizes))
            late = found.reached[:, -max(1, plan.steps // 4) :]
            return found.images, late.mean((1, 2))

        pictures, rates = lax.map(at, given.stages)
        changes = pictures[-1] - given.pictures[None]
        norms = jax.vmap(L2.size)(changes)
        return pictures, norms, rates[-1]

    pictures, norms, rates = _over(one, nets, seeds, given)
    chosen = first_enough(rates)
    rows = np.arange(len(chosen))
    noise = _noise(given.pictures, norms[rows, chosen], seeds)
    one_pose = pictures[rows, 0, chosen]
    equal, equal_norm = _of_equal_norm(one_pose, nets, seeds, given, attacked)
    return Made(
        pictures,
        noise,
        equal,
        chosen,
        norm=norms.mean(2),
        equal_norm=equal_norm,
    )


# net, seed, given, stage, sizes [E] or [E, B] -> what is made in the poses of that stage
Attacked = Callable[[Logits, Array, Given, PyTree, Array], Drawn]


def _attacked(world: World, plan: Plan, attack: Attack) -> Attacked:
    def attacked(
        f: Logits,
        seed: Array,
        given: Given,
        stage: PyTree,
        sizes: Array,
    ) -> Drawn:
        return attack(
            f,
            world.posed(given.scene, stage),
            given.pictures,
            given.labels,
            sizes,
            stream(seed, "attack", CLIMBING),
            ball=L2,
            steps=plan.steps,
            draws=plan.draws,
            relative_step=plan.relative_step,
            targets=given.targets,
        )

    return attacked


def _of_equal_norm(
    one_pose: np.ndarray,
    nets: Nets,
    seeds: range,
    given: Given,
    attacked: Attacked,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``equal`` and ``equal_norm`` of ``Made``.

    A pose does not show all of a texture, so in balls of one size what is made in it comes out
    shorter. Here every picture has a ball of its own, as large as its change of one pose
    [N, B, H, W, C]. What is made in all poses may end inside it: the other is then drawn back along
    its line, which stays in the box.
    """

    def one(
        f: Logits,
        seed: Array,
        given: Given,
        one_pose: Array,
    ) -> tuple[Array, Array]:
        pictures = given.pictures
        longest = L2.size(one_pose - pictures)
        last = jax.tree.map(lambda leaf: leaf[-1], given.stages)
        found = attacked(f, seed, given, last, longest[None])
        (everywhere,), (norm,) = found.images, found.norms.l2
        back = norm / jnp.where(longest > 0, longest, 1.0)
        change = like(back, pictures) * (one_pose - pictures)
        shortened = L2.clip(pictures + change)
        return jnp.stack([shortened, everywhere]), norm

    return _over(one, nets, seeds, given, one_pose)


def _noise(pictures: np.ndarray, norms: np.ndarray, seeds: range) -> np.ndarray:
    """Return pictures [N, B, ...] moved at random by ``norms`` [N, B], by the seed of each net."""
    generators = [np.random.default_rng(seed) for seed in seeds]
    drawn = [rng.normal(size=pictures.shape) for rng in generators]
    directions = np.concatenate(drawn).astype(np.float32)
    squares = np.square(directions).sum((1, 2, 3), keepdims=True)
    units = directions / np.sqrt(squares)
    everywhere = np.concatenate([pictures] * len(norms))
    move = runtime.jit(moved_by)
    moved = np.asarray(move(everywhere, units, norms.ravel()))
    return moved.reshape(*norms.shape, *pictures.shape[1:])


def first_enough(rates: np.ndarray) -> np.ndarray:
    """Return the first size [N] whose rate, of [N, E], is enough; the last one if none is."""
    enough = rates >= ENOUGH
    last = rates.shape[1] - 1
    return np.where(enough.any(1), enough.argmax(1), last)


def judge(
    nets: Nets,
    seeds: range,
    world: World,
    given: Given,
    made: Made,
    poses: int,
) -> Judged:
    """Look at what was made, and at its rivals, in poses that nothing was made or chosen by."""
    rows = np.arange(len(made.chosen))
    at_size = made.pictures[rows, :, made.chosen]
    stages, sizes = made.pictures.shape[1:3]
    last = stages - 1
    everywhere = at_size[:, 0].shape
    controls = [
        np.broadcast_to(given.pictures, everywhere),
        made.noise,
        np.broadcast_to(given.rivals, everywhere),
    ]
    equal = list(np.moveaxis(made.equal, 1, 0))
    shown = [(each, last) for each in controls + equal]
    for stage in range(stages):
        own = at_size[:, stage]
        shown += [(own, seen) for seen in range(stages)]
    for stage in range(stages):
        own = made.pictures[:, stage]
        shown += [(own[:, size], stage) for size in range(sizes)]
    shares = _shares(nets, seeds, world, given, shown, poses)
    ends = np.cumsum([len(controls), len(equal), stages**2])
    by_control, of_equal, in_matrix, by_size = np.split(shares, ends, axis=1)
    in_matrix = in_matrix.reshape(-1, stages, stages, *in_matrix.shape[2:])
    attacked = in_matrix[:, [0, last], last]
    by_kind = np.concatenate([by_control, attacked, of_equal], 1)
    target, right = np.moveaxis(by_kind, -1, 0)
    reached = by_size[..., 0].mean(2)
    return Judged(
        target,
        right,
        matrix=in_matrix[..., 0].mean(3),
        by_size=reached.reshape(-1, stages, sizes),
    )


def _shares(
    nets: Nets,
    seeds: range,
    world: World,
    given: Given,
    shown: list[tuple[np.ndarray, int]],
    poses: int,
) -> np.ndarray:
    """Return the shares of poses that show target and class, [N, M, B, 2].

    ``shown``: M pictures [N, B, ...], each with the stage whose poses it is seen in.
    """
    stages = np.array([stage for _, stage in shown])
    seen_in = jax.tree.map(lambda leaf: leaf[stages], given.stages)
    pictures = np.stack([each for each, _ in shown], 1)

    def one(
        f: Logits,
        seed: Array,
        given: Given,
        pictures: Array,
    ) -> Array:
        def look(item: tuple[Array, PyTree]) -> Array:
            pictures, stage = item
            transform = world.posed(given.scene, stage)
            key = stream(seed, "attack", JUDGING)
            classes = answers(f, transform, pictures, key, poses)
            reached = classes == given.targets[None]
            right = classes == given.labels[None]
            both = jnp.stack([reached, right], 2)
            return both.mean(0)

        return lax.map(look, (pictures, given.stages))

    return _over(one, nets, seeds, given._replace(stages=seen_in), pictures)


def _over(
    function: Callable,
    nets: Nets,
    seeds: range,
    given: Given,
    *of_each: np.ndarray,
) -> PyTree:
    """Return ``function(f, seed, given, *arrays of one net)`` of N nets, leaves [N, ...]."""

    def one(net: dict, given: Given) -> PyTree:
        return function(nets.of(net), net["seed"], given, *net["of_each"])

    own = {"seed": np.array(seeds, np.int32), "of_each": of_each}
    # One after the other: side by side, dense nets would take longer to compile than to attack.
    return over_nets(one, nets.variables | own, given, mapping="map")


def budgets(by_size: np.ndarray, sizes: tuple[float, ...]) -> np.ndarray:
    """Return the log2 of the size at which curves [..., E] first reach ``ENOUGH``, [...].

    Between two sizes by a straight line over their logs; a curve that never gets there has the
    last size, so differences that involve it are too small rather than too large.
    """
    logs = np.log2(sizes)
    flat = by_size.reshape(-1, len(sizes))
    found = np.array([_crossing(curve, logs) for curve in flat])
    return found.reshape(by_size.shape[:-1])


def _crossing(curve: np.ndarray, logs: np.ndarray) -> float:
    enough = np.flatnonzero(curve >= ENOUGH)
    if not len(enough):
        return logs[-1]
    after = enough[0]
    if after == 0:
        return logs[0]
    low, high = curve[after - 1 : after + 1]
    share = (ENOUGH - low) / (high - low)
    step = logs[after] - logs[after - 1]
    return logs[after - 1] + share * step
