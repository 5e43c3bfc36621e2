"""What a net is, in plain values, and the key under which it is filed."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from jaxvision.native import switch
from jaxvision.report.provenance import SOURCES

_PACKAGE = Path(__file__).resolve().parents[1]

# Modules and packages on whose code a net's numbers depend.
TRAINING_CODE = (
    "act_conv.py",
    "conv_transpose.py",
    "convolution.py",
    "data",
    "initializers.py",
    "models",
    "native",
    "nets",
    "parallel",
    "random.py",
    "relu.py",
    "runtime.py",
    "taps.py",
    "training",
    "trees.py",
)


@dataclasses.dataclass(frozen=True)
class Spec:
    """A net and how it is trained.

    Attributes:
      dataset: a name for ``data.load``.
      net: one of ``models.builders.NETS``.
      sizes: what that builder takes, by name.
      learning_rate: at the start.
      steps: optimizer steps.
      image_size: pixels of a side; None takes the images as they are.
      images: training images, drawn with every class in its share; None takes them all.
      left_out: learn from the images that the sample of ``images`` leaves out, not from the sample.
      initializer: of every kernel, one of ``models.builders.INITIALIZERS``.
      optimizer: one of ``nets.training.OPTIMIZERS``.
      drops: steps at which the rate falls to a tenth.
      warm_up: steps in which the rate climbs in a line to ``learning_rate``, from which it falls
        along half a cosine to nothing at the end; None lets it be.
      weight_decay: as the optimizer takes it.
      batch_size: images a step.
      pad: shift training images by up to so many pixels and mirror half of them; 0 does neither.
      turn: turn every training image by up to so many degrees either way, black beyond its border.
      viewed: show every training image as ``data.views`` draws it, in the views of ``PAPER``.
      label_smoothing: share of every training label that is spread over all classes.
      shuffled_labels: deal the training labels to the images at random: a control that has nothing
        to learn but the images by heart.
    """

    dataset: str
    net: str
    sizes: Mapping[str, int | tuple[int, ...]]
    learning_rate: float
    steps: int
    image_size: int | None = None
    images: int | None = None
    left_out: bool = False
    initializer: str = "he_forward"
    optimizer: str = "sgd"
    drops: tuple[int, ...] = ()
    warm_up: int | None = None
    weight_decay: float = 0.0
    batch_size: int = 128
    pad: int = 0
    turn: int = 0
    viewed: bool = False
    label_smoothing: float = 0.0
    shuffled_labels: bool = False

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
        return f"{self.net} ({sizes}) on {self.dataset}"


def key_of(spec: Spec, digest: str) -> str:
    """Return 16 hex digits for a spec, the digest of its data, and the code that trains.

    Whether the native kernels are on is part of the code: they round otherwise than JAX.
    """
    facts = {
        "spec": dataclasses.asdict(spec),
        "data": digest,
        "code": training_code(),
        "native": switch.is_on(),
    }
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def training_code(package: Path = _PACKAGE) -> str:
    """Return 64 hex digits that change with the source of ``TRAINING_CODE``, with nothing else."""
    digest = hashlib.sha256()
    for name in TRAINING_CODE:
        room = package / name
        for file in _sources(room):
            source = file.read_bytes()
            digest.update(f"{file.relative_to(package)} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _sources(room: Path) -> list[Path]:
    """Return a module's file, or the sources of a package, kernels too."""
    if not room.is_dir():
        return [room]
    return sorted(file for file in room.rglob("*") if file.suffix in SOURCES)
