"""Nets trained once on this machine, for every experiment that breaks or explains them.

``trained(SPEC, range(3))`` returns the weights of three runs, also along training, from the user's
cache directory where they lie there; else it trains them and puts them there::

    SPEC = Spec("digits", "mlp", {"depth": 5, "width": 32}, learning_rate=0.1, steps=400)
    nets = trained(SPEC, range(3), snapshots=(0, 100))
    run = jax.tree.map(lambda leaf: leaf[0], nets.variables)
    inputs = nets.preprocess(nets.data.test.images, None)
    logits, _, _ = nets.apply(run["params"], run["batch_stats"], inputs, train=False)

A net is filed under what makes it: its spec, the content of its data, and the code that trains.
Every run is a file of its own, sealed and hashed leaf by leaf. Its weights depend neither on the
runs beside it nor on the snapshots. Nets of specs and code that are no more stay on disk until
someone removes their folder, which is safe at any time.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvision.data import Splits
from jaxvision.models.layers import Apply
from jaxvision.nets.shelf import Shelf, default_directory
from jaxvision.nets.spec import Spec
from jaxvision.nets.training import Net, Run
from jaxvision.nets.tuning import Tuned, tuned
from jaxvision.parallel import distributed
from jaxvision.training.looks import Look, snapshot
from jaxvision.types import Array, PyTree

__all__ = [
    "Spec",
    "Trained",
    "Tuned",
    "Wanted",
    "configure",
    "forget_origins",
    "origins",
    "trained",
    "tuned",
]


class Wanted(NamedTuple):
    """Nets that an experiment asks for; the function ``wanted_nets(config)`` of it names them."""

    spec: Spec
    seeds: Sequence[int]
    snapshots: Sequence[int] = ()


class Trained(NamedTuple):
    """The weights of R runs, and what one needs to use them."""

    variables: PyTree  # {'params', 'batch_stats'} after the last step, leaves [R, ...]
    snapshots: PyTree  # the same at each of T steps, leaves [R, T, ...]; None where T is 0
    apply: Apply  # see ``models.layers.apply_function``
    preprocess: Callable[[Array, Array | None], Array]  # uint8 images, None -> inputs of ``apply``
    data: Splits  # what they have learned from, and were tested on
    test_error: np.ndarray  # [R], fraction
    seconds: np.ndarray  # [R] of training; runs that were trained together have them in common
    key: str  # 16 hex digits: of spec, data and code
    origin: dict[str, Any]  # for a record: key, spec, seeds, test error, and who trained them


_directory: Path | None = None
_origins: list[dict[str, Any]] = []


def configure(directory: str | os.PathLike | None) -> None:
    """Set where this process keeps nets; None: ``$XDG_CACHE_HOME/jaxvision/nets``."""
    global _directory
    _directory = None if directory is None else Path(directory).expanduser().absolute()


def origins() -> list[dict[str, Any]]:
    """Return the origins of the nets used since ``forget_origins``: for a record's provenance."""
    return list(_origins)


def forget_origins() -> None:
    """Begin anew, as at the start of another run in the same process."""
    _origins.clear()


def trained(
    spec: Spec,
    seeds: Sequence[int],
    *,
    snapshots: Sequence[int] = (),
    directory: str | os.PathLike | None = None,
    resumable: bool = False,
) -> Trained:
    """Return the nets of a spec, one for each seed; what nobody has trained yet is trained.

    Where several processes train together all make the same call; process 0 has the files.

    Args:
      spec: what they are.
      seeds: R of them.
      snapshots: T steps whose weights are wanted too; 0 is before the first update.
      directory: where nets are kept; None: where ``configure`` says.
      resumable: keep checkpoints beside them until they are trained, one an epoch, and go on from
        those that lie there: for trainings that take long enough to be stopped.

    Raises:
      UserError: the spec names what there is not, a snapshot is after the last step, the data
        cannot be loaded, or the loss is not finite. A directory that cannot be read or written
        costs time, never the nets: it is said in one line. But a resumable training needs it.
      Stopped: a signal ended a resumable training, and what was done is saved.
    """
    Look(snapshot, snapshots).check(spec.steps)
    net, seeds = Net(spec), [int(seed) for seed in seeds]
    shelf = Shelf(Path(directory or _directory or default_directory()), net)
    found = _gathered(net, shelf, seeds, {*snapshots, spec.steps}, resumable)
    runs = [found[seed] for seed in seeds]
    variables = _stacked([run.weights[spec.steps] for run in runs])
    along = [_stacked([run.weights[step] for step in snapshots]) for run in runs if snapshots]
    test_error, seconds = (
        np.array([run.note[name] for run in runs]) for name in ("test_error", "seconds")
    )
    return Trained(
        variables,
        _stacked(along) if along else None,
        net.apply,
        net.standardize,
        net.data,
        test_error,
        seconds,
        net.key,
        _origin(net, seeds, runs),
    )


def _gathered(
    net: Net, shelf: Shelf, seeds: Sequence[int], steps: set[int], resumable: bool
) -> dict[int, Run]:
    """Return the runs of the seeds with their weights at ``steps``, in every process."""

    def lacking() -> list[int]:
        return [seed for seed in dict.fromkeys(seeds) if not _has(found.get(seed), steps)]

    found = _read(net, shelf, seeds)
    if not lacking():
        return found
    with shelf.locked() if distributed.is_main() else nullcontext():
        found |= _read(net, shelf, lacking())  # another process may have trained them meanwhile
        if missing := lacking():
            kept = [found[seed].weights.keys() for seed in missing if seed in found]
            folder = shelf.unfinished if resumable else None
            for seed, run in net.train(missing, sorted(steps.union(*kept)), folder):
                found[seed] = run
                if distributed.is_main():
                    shelf.write(seed, run)
            if resumable and distributed.is_main():
                shutil.rmtree(shelf.unfinished, ignore_errors=True)
    return found


def _has(run: Run | None, steps: set[int]) -> bool:
    return run is not None and steps <= run.weights.keys()


def _read(net: Net, shelf: Shelf, seeds: Sequence[int]) -> dict[int, Run]:
    """Return the runs that process 0 finds, in every process."""
    found = {}
    if distributed.is_main():
        runs = {seed: shelf.read(seed) for seed in dict.fromkeys(seeds)}
        found = {seed: run for seed, run in runs.items() if run is not None}
    if not distributed.several():
        return found
    told = [[seed, sorted(run.weights), run.note] for seed, run in found.items()]
    empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), net.template())
    everywhere = {}
    for seed, steps, note in json.loads(distributed.text_from_main(json.dumps(told))):
        weights = found[seed].weights if found else dict.fromkeys(steps, empty)
        everywhere[seed] = Run(distributed.from_main(weights), note)
    return everywhere


def _origin(net: Net, seeds: list[int], runs: Sequence[Run]) -> dict[str, Any]:
    """Return what a record says of these nets, and remember it for ``origins``."""
    made = [run.note["made"] for run in runs]
    origin = {
        "key": net.key,
        "spec": dataclasses.asdict(net.spec),
        "seeds": seeds,
        "test_error": [run.note["test_error"] for run in runs],
        "made": [maker for i, maker in enumerate(made) if maker not in made[:i]],
    }
    if origin not in _origins:
        _origins.append(origin)
    return origin


def _stacked(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
