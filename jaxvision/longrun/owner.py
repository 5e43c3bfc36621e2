"""Whose a checkpoint is: what a training depends on, beside the code and the starting weights.

``Checkpoints`` keeps it in every seal and refuses another's, naming what differs.
"""

import hashlib

import numpy as np

from jaxvision.data.dataset import Dataset
from jaxvision.longrun.checkpoint import Owner
from jaxvision.training.calls import Runs
from jaxvision.training.fit import Trainer
from jaxvision.training.looks import Look

_HASHED_IMAGES = 256  # of a split, evenly spread: a set larger than memory is not read whole


def facts(trainer: Trainer, runs: Runs, look: Look | None) -> Owner:
    """Return what the numbers of a training depend on, in words."""
    known = {
        "seeds": _short(runs.seeds),
        **{name: _short(values) for name, values in runs.hyper.items()},
        "batch size": trainer.batch_size,
        "parts of a batch": trainer.shards or "one a device",
        "training images": _content(trainer.train),
        "test images": _content(trainer.test),
        "looked at": _short(np.array(() if look is None else look.at, int)),
    }
    if runs.pools is not None:
        known["pools"] = _sha256(runs.pools)
    return known


def _short(values: np.ndarray) -> str:
    """Return a few numbers as they are, of many the ends and a digest."""
    if len(values) <= 8:
        return ", ".join(map(str, values)) or "none"
    return f"{values.min()} to {values.max()}, {len(values)} in all ({_sha256(values)})"


def _content(data: Dataset) -> str:
    """Return the number of images and a digest: of every label, and of images all over the set."""
    count = len(data.labels)
    rows = np.unique(np.linspace(0, count - 1, _HASHED_IMAGES).astype(int))
    return f"{count:,} ({_sha256(data.labels, data.images[rows])})"


def _sha256(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()[:12]
