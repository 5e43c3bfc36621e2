"""The nets of plain_vs_residual and the protocol they are trained by."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from jaxvision.data import Splits
from jaxvision.data.augment import normalize, pad_crop_flip, per_pixel_mean, shrink
from jaxvision.training.optimizers import caffe_sgd
from jaxvision.training.schedules import Optimizer, scheduled, step_decay, warm_up
from jaxvision.types import Array

WARMED_UP = {("resnet", 110), ("resnet", 1202)}  # they start at a tenth of the rate


class Kind(NamedTuple):
    """One of the two kinds of net."""

    label: str
    shortcut: str  # as ``models.resnet`` calls it


class Net(NamedTuple):
    """A net of the comparison."""

    kind: str
    depth: int

    @property
    def name(self) -> str:
        """The net's name in the record and in the work directory."""
        return f"{self.kind}{self.depth}"


def preprocessing(config: Any, data: Splits) -> Callable:
    """Return ``(images, key or None) -> inputs``: mean off, shrunk, and with a key augmented."""
    mean = per_pixel_mean(data.train.images)

    def preprocess(images: Array, key: Array | None) -> Array:
        inputs = shrink(normalize(images, mean), config.shrink)
        if config.pad and key is not None:
            return pad_crop_flip(key, inputs, config.pad)
        return inputs

    return preprocess


def he2016(config: Any, net: Net) -> Optimizer:
    """Return the paper's optimizer: SGD whose rate falls at half and at 3/4 of the steps.

    Where it is warmed up the rate is a tenth until 100 steps err below 80 % (section 4.2).
    """
    rules = [step_decay((-(-config.steps // 2), -(-3 * config.steps // 4)))]
    if (net.kind, net.depth) in WARMED_UP:
        rules.append(warm_up(below=0.8, window=100))
    return scheduled(partial(caffe_sgd, config.weight_decay), *rules)


def parts_of(config: Any) -> int | None:
    """Return how many parts a batch has whatever the devices, None for one a device."""
    if config.bn_parts > 1:
        return config.bn_parts
    return 8 if config.deterministic_reduction else None


class Depths(NamedTuple):
    """Which nets the claims speak of."""

    low: int
    middle: int
    high: int


def depths_of(config: Any) -> Depths:
    """Return the lowest, a middle and the highest depth."""
    depths = sorted(config.depths)
    return Depths(depths[0], depths[len(depths) // 2], depths[-1])
