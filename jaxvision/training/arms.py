"""Arms of a comparison: several ways to start and drive one net, over the same paired seeds."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.random import stream
from jaxvision.training.calls import Runs
from jaxvision.training.fit import History, Trainer
from jaxvision.training.looks import Look
from jaxvision.types import Array, PyTree

STABLE = 1.05  # times the plateau: what the loss of a run that stays on it may end at


class Arm(NamedTuple):
    """One arm.

    Attributes:
      initialize: keys [S] -> variables with a leading axis S (see ``models.layers``).
      hyper: the traced hyper-parameters, one number each; equal names in all arms of a trainer.
      replicate: counter of the init stream; arms that share it start from the same draws.
      pool: seed -> rows [M] of the training set that the run draws from (see ``calls.Runs``), as
        many for every arm of a trainer; None: all of them.
    """

    initialize: Callable[[Array], PyTree]
    hyper: Mapping[str, float]
    replicate: int = 0
    pool: Callable[[int], np.ndarray] | None = None


def make_runs(arms: Mapping[str, Arm], seeds: Sequence[int]) -> Runs:
    """Return the runs of every arm on every seed, arm by arm."""
    of_arms = [_runs_of(arm, seeds) for arm in arms.values()]
    with_pool = [runs.pools is not None for runs in of_arms]
    if any(with_pool) and not all(with_pool):
        raise ValueError("all arms of a trainer draw from pools, or none does")
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *of_arms)


def _runs_of(arm: Arm, seeds: Sequence[int]) -> Runs:
    keys = [stream(seed, "init", arm.replicate) for seed in seeds]
    variables = jax.device_get(arm.initialize(jnp.stack(keys)))
    hyper = {name: np.full(len(seeds), value, np.float32) for name, value in arm.hyper.items()}
    pools = None
    if arm.pool is not None:
        pools = np.stack([np.asarray(arm.pool(seed), np.int32) for seed in seeds])
    return Runs(variables, np.asarray(seeds, np.int32), hyper, pools)


def fit_arms(
    trainer: Trainer,
    arms: Mapping[str, Arm],
    seeds: Sequence[int],
    steps: int,
    advance: Callable[[int], None] = lambda _: None,
    look: Look | None = None,
) -> dict[str, History]:
    """Train every arm on every seed in one sweep; divergence is a result.

    All arms see the same data order for a seed, so their differences are paired. ``advance`` and
    ``look`` are those of ``Trainer.fit``.

    Returns:
      The history of each arm, leaves [S, ...].
    """
    runs = make_runs(arms, seeds)
    history = trainer.fit(runs, steps, advance, look=look, may_diverge=True)
    return {name: rows(history, i * len(seeds), len(seeds)) for i, name in enumerate(arms)}


def fit_rates(
    trainer: Trainer,
    arm: Arm,
    rates: Sequence[float],
    seeds: Sequence[int],
    steps: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[float, History]:
    """Train one arm at every learning rate on every seed; divergence is a result.

    As ``fit_arms`` of arms that differ by the hyper-parameter ``learning_rate`` alone, but their
    common weights are drawn once. Returns the history of each rate, leaves [S, ...].
    """
    of_one = make_runs({"": arm}, seeds)
    runs = jax.tree.map(lambda leaf: np.concatenate([leaf] * len(rates)), of_one)
    runs.hyper["learning_rate"] = np.repeat(np.float32(rates), len(seeds))
    history = trainer.fit(runs, steps, advance, may_diverge=True)
    return {rate: rows(history, i * len(seeds), len(seeds)) for i, rate in enumerate(rates)}


def rows(history: History, first: int, count: int) -> History:
    """Return the history of ``count`` of the runs, from the ``first`` on."""
    names = "train", "test", "variables", "plateau", "looks"
    by_run = {name: getattr(history, name) for name in names}
    return history._replace(**jax.tree.map(lambda leaf: leaf[first : first + count], by_run))


def tune(
    trainer: Trainer,
    grid: Mapping[float, Arm],
    seeds: Sequence[int],
    steps: int,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[float, dict[str, float]]:
    """Return the learning rate whose runs end lowest, and ``{str(rate): training loss}`` (nats).

    The loss is the mean over the last tenth of the steps, of the worst seed: a rate that kills one
    run in five is no good rate. A diverged seed makes it infinite. Where no run of any rate leaves
    the plateau the losses there are noise, and the best rate for leaving it is the largest one that
    stays on it. Give seeds that the comparison itself does not use. A grid of one rate is no
    choice: nothing is trained, no loss returned.
    """
    if len(grid) == 1:
        return next(iter(grid)), {}
    return best_rate(fit_arms(trainer, grid, seeds, steps, advance))


def best_rate(histories: Mapping[float, History]) -> tuple[float, dict[str, float]]:
    """Return what ``tune`` does, of a grid of rates that is trained: ``{rate: history}``."""
    losses = {rate: _worst_loss(history) for rate, history in histories.items()}
    best = min(losses, key=losses.__getitem__)
    if not any(_has_left(history) for history in histories.values()):
        level = {rate: STABLE * history.plateau.mean() for rate, history in histories.items()}
        best = max((rate for rate in histories if losses[rate] <= level[rate]), default=best)
    return best, {str(rate): loss for rate, loss in losses.items()}


def _has_left(history: History) -> bool:
    """Whether one of the runs has left the plateau."""
    return bool((history.escape_step() < history.train["loss"].shape[1]).any())


def _worst_loss(history: History) -> float:
    """Return the loss of the last tenth of the steps, of the worst seed; inf if it diverged."""
    loss = history.train["loss"]
    worst = float(loss[:, -max(1, loss.shape[1] // 10) :].mean(1).max())
    return worst if np.isfinite(worst) else float("inf")


def summarize(histories: Mapping[str, History]) -> dict[str, dict]:
    """Return per arm and seed [S]: ``escape_step``, ``diverged_step``, and final ``test_error``.

    The error of a run that has diverged is NaN: whatever its net answers, it has learned nothing.

    A run has left the plateau, the loss of a net that has learned how frequent each class is and
    nothing else, when its loss falls below nine tenths of it (see ``History.escape_step``).
    """
    return {
        "escape_step": {n: h.escape_step() for n, h in histories.items()},
        "diverged_step": {n: h.diverged_step() for n, h in histories.items()},
        "test_error": {n: _test_error(h)[:, -1] for n, h in histories.items()},
    }


def _test_error(history: History) -> np.ndarray:
    return np.where(np.isfinite(history.test["loss"]), history.test["error"], np.nan)


def probe_cost(trainer: Trainer, arm: Arm, repeats: int = 5) -> float:
    """Return what the task's probe adds to a step's time, in percent (medians, taking turns)."""
    bare = dataclasses.replace(trainer, task=dataclasses.replace(trainer.task, probe=None))
    runs = make_runs({"arm": arm}, range(trainer.mesh.size))
    clocks = [each.stopwatch(runs) for each in (trainer, bare)]
    seconds = np.median([[clock() for clock in clocks] for _ in range(repeats)], axis=0)
    return float(100 * (seconds[0] / seconds[1] - 1))


def record_arrays(
    name: str, history: History, layerwise: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Return what a record keeps of an arm, keys ``name/quantity``.

    Per-step quantities [S, T] whole; the ``layerwise`` ones [S, T, L] at the steps ``layer_steps``
    (0, 1, 10, 100, ... and the last), [S, P, L]; ``test_error`` [S, E] at ``test_steps``.
    """
    steps = history.train["loss"].shape[1]
    kept = sorted({0, *(10**i for i in range(10) if 10**i < steps), steps - 1})
    found = {key: value for key, value in history.train.items() if key not in layerwise}
    found |= {key: history.train[key][:, kept] for key in layerwise}
    found |= {"test_error": _test_error(history), "test_steps": history.test_steps}
    return {f"{name}/{key}": value for key, value in found.items()} | (
        {f"{name}/layer_steps": np.array(kept)} if layerwise else {}
    )
