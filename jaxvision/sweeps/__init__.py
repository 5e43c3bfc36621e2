"""Train any net, many times in one compiled program: seeds x learning rates x initializers.

Every layer is watched in every step, as ``dynamics.watching`` does it.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optax

from jaxvision.arguments import check_rate, check_whole
from jaxvision.data.augment import standardizer
from jaxvision.dynamics.traced import names as naming
from jaxvision.dynamics.traced.plan import Plan
from jaxvision.dynamics.watching import entries
from jaxvision.initializers import Initializer
from jaxvision.models.foreign import Parts, drawn
from jaxvision.random import stream
from jaxvision.sweeps import setup
from jaxvision.sweeps.results import Fitted, Swept, arrays_of
from jaxvision.sweeps.setup import Data, Optimizer
from jaxvision.training.fit import History, Trainer
from jaxvision.training.losses import Loss, cross_entropy
from jaxvision.types import Array, PyTree, UserError

Start = Callable[[Array], Any]
OWN = "own"  # the name of the weights that a net starts with by itself
momentum = partial(optax.sgd, momentum=0.9)


def fit(
    net: Any,
    data: Data,
    variables: PyTree = None,
    *,
    seed: int = 0,
    learning_rate: float = 0.01,
    **settings: Any,
) -> Fitted:
    """Train one net and watch every layer in every step.

    Args:
      net: see ``sweep``, as for all arguments that are not named here.
      data: likewise.
      variables: likewise.
      seed: of the start, of the order of the images and of dropout.
      learning_rate: handed to ``optimizer``.
      **settings: of ``sweep``.

    Raises:
      UserError: as ``sweep``.
    """
    setup.check_names("fit", _FIT_TAKES, net, settings)
    check_whole("seed", seed, 0)
    check_rate("learning_rate", learning_rate)
    swept = sweep(net, data, variables, seeds=[seed], learning_rates=[learning_rate], **settings)
    if len(swept.places["initializer"]) > 1:
        raise UserError("fit trains one net: several initializers are compared by sweep")
    alone = {axis: along[0] for axis, along in swept.places.items()}
    arrays = {name: array.at(**alone) for name, array in swept.arrays.items()}
    return Fitted(arrays, swept.net(), swept.layers, swept.unseen, swept.notes)


def sweep(
    net: Any,
    data: Data,
    variables: PyTree = None,
    *,
    start: Start | None = None,
    initializers: Mapping[str, Initializer | None] | None = None,
    seeds: Sequence[int] = range(5),
    learning_rates: Sequence[float] = (0.01,),
    steps: int = 200,
    batch_size: int = 32,
    optimizer: Optimizer = momentum,
    loss: Loss = cross_entropy,
    preprocess: Callable[[Array, Array | None], Array] | None = None,
    per_example: bool = False,
    **given: Any,
) -> Swept:
    """Train a net from every initializer, at every rate, from every seed, in one compiled program.

    All runs of a seed see the same images in the same order. A run that diverges is a result. The
    test set is evaluated at the start and at every tenth of the steps; where ten does not divide
    them, at the start and at the end alone.

    Args:
      net: see ``models.foreign.adapt``; its output is logits [B, K].
      data: the name or path of a data set, what ``load_data`` returns, or
        ``((train images, labels), (test images, labels))``.
      variables: what all runs start from. Without them a Linen module draws its own start.
      start: ``key -> variables``, or ``key -> net`` for a net that holds its own.
      initializers: by name; each draws the weights of every layer anew, None leaves the net's own.
      seeds: of the start, of the order of the images and of dropout.
      learning_rates: each is handed to ``optimizer``, traced.
      steps: of every run.
      batch_size: images a step.
      optimizer: ``rate -> optax transformation``, such as ``optax.adam``.
      loss: ``(logits, labels) -> [B]``.
      preprocess: ``(images, key) -> inputs``; None standardizes by the training images.
      per_example: the net takes one example.
      **given: handed to the net by name.

    Raises:
      UserError: the net is none, does not take the images, or a number makes no sense; or neither
        the net nor this function takes a name.
    """
    setup.check_names("sweep", _SWEEP_TAKES, net, given)
    _check(seeds, learning_rates, steps, batch_size, optimizer)
    setup.check_initializers(initializers or {})
    train, test = setup.datasets(data)
    preprocess = preprocess or standardizer(train)
    inputs = preprocess(np.asarray(train.images[:batch_size]), None)
    options = {"per_example": per_example, **given}
    draw = partial(drawn, net, variables, start, images=inputs, **options)
    first = draw(key=stream(seeds[0], "init"))
    plan = setup.watched_plan(first, inputs)
    if loss is cross_entropy:
        setup.check_classes((train, test), plan)
    starts = setup.starts_of(draw, plan, initializers or {OWN: None}, seeds)
    places = {
        "initializer": list(starts),
        "learning_rate": [float(rate) for rate in learning_rates],
        "seed": [int(seed) for seed in seeds],
    }
    task = setup.task_of(first.call, plan, optimizer, preprocess, loss)
    period = steps // 10 if steps % 10 == 0 else steps
    trainer = Trainer(task, train, test, batch_size, period, setup.mapping_of(plan))
    history = trainer.fit(setup.runs_of(starts, places), steps, may_diverge=True)
    return _swept(first, plan, history, places)


# What each takes beside net, data, variables and what is the net's own.
_SWEEP_TAKES = [*inspect.signature(sweep).parameters][3:-1]
_FIT_TAKES = ["seed", "learning_rate"]
_FIT_TAKES += [name for name in _SWEEP_TAKES if name not in ("seeds", "learning_rates")]


def _swept(first: Parts, plan: Plan, history: History, places: dict[str, list]) -> Swept:
    names = naming.layer_names(plan, first.params)
    layers = entries(plan, names)
    return Swept(
        arrays=arrays_of(history, places, layers),
        layers=layers,
        unseen=naming.unseen(plan, first.params),
        notes=naming.notes(plan, first.params, names),
        history=history,
        places=places,
        call=first.call,
    )


def _check(
    seeds: Sequence, rates: Sequence, steps: int, batch_size: int, optimizer: Optimizer
) -> None:
    for name, along, example in (
        ("seeds", seeds, "range(5)"),
        ("learning_rates", rates, "[0.01, 0.03]"),
    ):
        if not hasattr(along, "__len__") or isinstance(along, str):
            raise UserError(f"{name}={along!r}: a list, as in {name}={example}")
    if not len(seeds) or not len(rates):
        raise UserError("a sweep needs at least one seed and one learning rate")
    setup.check_seeds(seeds)
    setup.check_rates(rates)
    check_whole("steps", steps, 1)
    check_whole("batch_size", batch_size, 1)
    setup.check_optimizer(optimizer)
