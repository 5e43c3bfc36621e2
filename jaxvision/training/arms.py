"""Arms of a comparison: several ways to start and drive one net, each over the same paired seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.random import stream
from jaxvision.training.fit import History, Runs, Trainer
from jaxvision.types import Array, PyTree


class Arm(NamedTuple):
    """One arm.

    Attributes:
      initialize: keys [S] -> variables with a leading axis S (see ``models.layers``).
      hyper: the traced hyper-parameters, one number each; equal names in all arms of a trainer.
      replicate: counter of the init stream. Arms that share it start from the same draws, seed by seed.
    """

    initialize: Callable[[Array], PyTree]
    hyper: Mapping[str, float]
    replicate: int = 0


def fit_arms(
    trainer: Trainer,
    arms: Mapping[str, Arm],
    seeds: Sequence[int],
    steps: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, History]:
    """Train every arm on every seed in one sweep; divergence is a result.

    All arms see the same data order for a seed, so their differences are paired.

    Returns:
      The history of each arm, leaves [S, ...].
    """
    variables, hyper = [], []
    for arm in arms.values():
        keys = jnp.stack([stream(seed, "init", arm.replicate) for seed in seeds])
        variables.append(jax.device_get(arm.initialize(keys)))
        hyper.append({n: np.full(len(seeds), v, np.float32) for n, v in arm.hyper.items()})
    join = lambda *leaves: np.concatenate(leaves)  # noqa: E731
    runs = Runs(
        jax.tree.map(join, *variables),
        np.tile(np.asarray(seeds, np.int32), len(arms)),
        jax.tree.map(join, *hyper),
    )
    history = trainer.fit(runs, steps, advance, may_diverge=True)
    return {name: _rows(history, i * len(seeds), len(seeds)) for i, name in enumerate(arms)}


def _rows(history: History, first: int, count: int) -> History:
    train, test, variables = jax.tree.map(
        lambda leaf: leaf[first : first + count], (history.train, history.test, history.variables)
    )
    return History(train, test, history.test_steps, variables)


def choose(histories: Mapping[float, History]) -> tuple[float, dict[float, float]]:
    """Return the value whose runs end with the lowest training loss, and every value's loss (nats).

    The loss is the mean over seeds and the last tenth of the steps; a diverged seed counts as infinite.
    """
    losses = {}
    for value, history in histories.items():
        loss = history.train["loss"]
        mean = float(loss[:, -max(1, loss.shape[1] // 10) :].mean())
        losses[value] = mean if np.isfinite(mean) else float("inf")
    return min(losses, key=losses.__getitem__), losses
