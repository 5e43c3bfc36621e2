"""The nets that are broken: trained once, as functions of images in [0, 1]."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxvision import nets
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.nets import Layers, layers_of, logits_of, over_nets
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import Splits
from jaxvision.data.dataset import Dataset
from jaxvision.nets import Spec
from jaxvision.types import Array, PyTree


class Nets(NamedTuple):
    """N nets of one spec, one for each seed.

    Attributes:
      of: weights of one net -> a function of images [B, H, W, C] in [0, 1] to logits [B, K].
      variables: weights, leaves [N, ...].
      test_error: float [N].
      data: what they have learned from and were tested on.
      layers: as ``of``, to a function that gives pre-activations by layer beside the logits; None
        where nobody asks for them.
    """

    of: Callable[[PyTree], Logits]
    variables: PyTree
    test_error: np.ndarray
    data: Splits
    layers: Callable[[PyTree], Layers] | None


class Images(NamedTuple):
    """Images to attack: float32 [B, H, W, C] in [0, 1], and their classes int32 [B]."""

    images: np.ndarray
    labels: np.ndarray


def trained(spec: Spec, seeds: Sequence[int]) -> Nets:
    """Return the nets of a spec; what nobody has trained yet is trained."""
    found = nets.trained(spec, seeds)

    def of(variables: PyTree) -> Logits:
        return logits_of(found.apply, found.preprocess, variables)

    def layers(variables: PyTree) -> Layers:
        return layers_of(found.apply, found.preprocess, variables)

    return Nets(of, found.variables, found.test_error, found.data, layers)


def some_of(data: Dataset, count: int) -> Images:
    """Return ``count`` examples, every class in its share; fewer where there are no more."""
    some = data.sample(count)
    return Images(some.images / np.float32(LEVELS), some.labels.astype(np.int32))


def logits_of_all(nets: Nets, images: np.ndarray) -> np.ndarray:
    """Return the logits [N, B, K] of every net for the same images [B, H, W, C]."""

    def one(variables: PyTree, images: Array) -> Array:
        return nets.of(variables)(images)

    return over_nets(one, nets.variables, images)


def right(nets: Nets, some: Images) -> np.ndarray:
    """Return which images every net classifies right, bool [N, B]."""
    return logits_of_all(nets, some.images).argmax(-1) == some.labels
