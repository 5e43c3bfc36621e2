"""Averages of weights: along a run, inside the compiled step, and over nets.

An average is a sum of weights and the sum of what they were weighted with: begun at nothing and
divided when it is read, so no share of a random start stays in it. ``averaging`` adds one to an
optimizer; a look or a final state reads it with ``averages``. Statistics of batch norm that go with
averaged weights are those of no net of the run: they have to be taken anew.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvision.training.schedules import Optimizer
from jaxvision.trees import zeros_of_32_bits
from jaxvision.types import Array, Hyper, PyTree


class Average(NamedTuple):
    """A weighted mean of trees.

    Its leaves have 32 bits at least, whatever the trees have: in the 8 bits of bfloat16 a share of
    a thousandth would be lost.
    """

    mean: PyTree
    weight: Array  # float32 [], sum of the weights; 0 before the first

    @staticmethod
    def empty(tree: PyTree) -> "Average":
        """Return the average of nothing, for trees shaped as ``tree``."""
        return Average(zeros_of_32_bits(tree), jnp.float32(0))

    def plus(self, tree: PyTree, weight: Array | float, decay: Array | float = 1.0) -> "Average":
        """Return the mean with ``tree`` added, the weights so far multiplied by ``decay``.

        Constant trees stay as they are, whatever the weights: only a difference is added.
        """
        total = decay * self.weight + weight
        divisor = jnp.where(total > 0, total, 1.0)
        share = jnp.asarray(weight / divisor)

        def moved(mean: Array, new: Array) -> Array:
            # In the type that it began with: what a scan carries keeps its type.
            return mean + share.astype(mean.dtype) * (new.astype(mean.dtype) - mean)

        mean = jax.tree.map(moved, self.mean, tree)
        return Average(mean, jnp.float32(total))


Rule = Callable[[Average, PyTree, Array, Hyper], Average]


def exponential(decay: float) -> Rule:
    """Return the rule of an exponential moving average of every step's weights, debiased.

    The weights t steps ago count decay^t times as much, and all of them sum to one: this is a
    start at zero divided by 1 - decay^t (Kingma & Ba 2014, section 3).
    """

    def add(average: Average, params: PyTree, step: Array, hyper: Hyper) -> Average:
        del step, hyper
        return average.plus(params, 1 - decay, decay)

    return add


def stochastic(start: int, every: int) -> Rule:
    """Return the rule of SWA: the plain mean of the weights at ``start``, ``start + every``, ...

    Source: Izmailov et al. 2018, "Averaging weights leads to wider optima" (arXiv 1803.05407),
    algorithm 1.

    Args:
      start: steps done before the first weights that count.
      every: steps between two of them.
    """

    def add(average: Average, params: PyTree, step: Array, hyper: Hyper) -> Average:
        del hyper
        after = step - start
        counts = (after >= 0) & (after % every == 0)
        weight = jnp.where(counts, 1.0, 0.0)
        return average.plus(params, weight)

    return add


class AveragingState(NamedTuple):
    """The state of an optimizer that averages the weights it makes."""

    step: Array  # int32 []
    averages: dict[str, Average]
    inner: PyTree  # of the optimizer itself


def averaging(optimizer: Optimizer, rules: dict[str, Rule]) -> Optimizer:
    """Return ``optimizer`` that also keeps an average of the weights after every step, by name.

    The training itself is not touched: its updates are those of ``optimizer``, bit by bit.
    """

    def of(hyper: Hyper) -> optax.GradientTransformationExtraArgs:
        inner = optax.with_extra_args_support(optimizer(hyper))

        def init(params: PyTree) -> AveragingState:
            averages = {name: Average.empty(params) for name in rules}
            return AveragingState(jnp.int32(0), averages, inner.init(params))

        def update(
            gradients: PyTree, state: AveragingState, params: PyTree, **others: Any
        ) -> tuple[PyTree, AveragingState]:
            updates, inner_state = inner.update(gradients, state.inner, params, **others)
            moved = optax.apply_updates(params, updates)
            step = state.step + 1
            averages = {
                name: rule(state.averages[name], moved, step, hyper) for name, rule in rules.items()
            }
            return updates, AveragingState(step, averages, inner_state)

        return optax.GradientTransformationExtraArgs(init, update)

    return of


def averages(opt_state: PyTree) -> dict[str, PyTree]:
    """Return the averaged weights by name out of the state of an optimizer that averages.

    It may lie within another one, as in ``scheduled``. Averages of weights of 16 bits have 32.
    """
    while not isinstance(opt_state, AveragingState):
        opt_state = opt_state.inner
    return {name: average.mean for name, average in opt_state.averages.items()}


def soup(variables: PyTree) -> PyTree:
    """Return the mean of N nets, leaves [N, ...] -> [...]; whole numbers are those of the first.

    Source: Wortsman et al. 2022, "Model soups" (arXiv 2203.05482), the uniform soup. Statistics of
    batch norm are averaged too: of equal nets that is their own, of others it is not.
    """

    def mean(leaf: Array) -> Array:
        # By JAX's types: to NumPy bfloat16 is no number.
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf[0]
        # NumPy would add up bfloat16 in its 8 bits.
        wide = leaf.dtype if leaf.dtype.itemsize >= 4 else jnp.float32
        return leaf.mean(0, dtype=wide).astype(leaf.dtype)

    return jax.tree.map(mean, variables)
