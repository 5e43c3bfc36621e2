"""The learning rate of a spec, chosen on seeds that no comparison uses."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxvision.nets.spec import Spec
from jaxvision.nets.training import Net
from jaxvision.training.arms import best_rate, fit_rates


class Tuned(NamedTuple):
    """What a grid of rates has shown.

    Attributes:
      learning_rate: the one whose runs end lowest.
      losses: by rate, nats, see ``training.arms.tune``; empty where there was no choice.
    """

    learning_rate: float
    losses: dict[str, float]


def tuned(spec: Spec, rates: Sequence[float], seeds: Sequence[int]) -> Tuned:
    """Train a spec at every rate on every seed by one program, and choose by the worst seed's loss.

    The rule is that of ``training.arms.tune``; a run that diverges has lost. Nothing is kept: the
    nets are small, and their seeds serve for nothing else. One rate is no choice, and trains none.

    Args:
      spec: its ``learning_rate`` is not read, its ``steps`` are those of the tuning.
      rates: to choose from.
      seeds: on which nothing is judged.

    Raises:
      UserError: the spec names what there is not, or the data cannot be loaded.
    """
    if len(rates) == 1:
        return Tuned(rates[0], {})
    net = Net(spec)
    trainer = net.trainer(by_epoch=False)
    histories = fit_rates(trainer, net.arm(spec.learning_rate), rates, seeds, spec.steps)
    return Tuned(*best_rate(histories))
