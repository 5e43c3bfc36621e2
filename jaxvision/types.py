"""Words shared by every floor of the house.

Axis letters, used in shape comments everywhere: B batch, H W C image, K classes, S seeds, G grid
cells, R runs (seeds x grid cells), T time (steps), L layers, E epsilons, N nets.

Words, each with one meaning:
  run     one training of one net from one seed
  arm     a way to start and drive a net, over all seeds of a comparison
  call    the runs that one compiled call trains
  period  the steps between two evaluations
  part    a share of one step's batch
  net     a model with its weights
  look    what an experiment reads from a run while it trains
"""

from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:  # Matplotlib takes a quarter of a second, and only who draws should wait for it
    Axes = Figure = Any

Array = jax.Array
PyTree = Any
Hyper = dict[str, Array]  # a run's hyper-parameters, traced: one program serves a whole grid


class UserError(Exception):
    """A mistake the user can mend, shown as one line: what is wrong, how to mend it."""
