"""The nets that are looked into: one spec for the whole theme, trained once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxvision import nets
from jaxvision.adversarial.nets import Layers, layers_of
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import Splits
from jaxvision.data.dataset import Dataset
from jaxvision.nets import Spec
from jaxvision.types import PyTree

# Of the ShallowConvNet: channels, and after which of its convolutions it pools. Small objects may
# be anywhere, and want a sixth; pooled after the first they are lost (errors of 11 % for 4).
CHANNELS = (16, 16, 32, 32, 64, 64)
POOLED = (False, True, False, True, True)
POOLED_FOR_SMALL = (False, True, True, False, True, True)
DEPTH = len(POOLED)
CONVOLUTIONS = tuple(f"conv{i}" for i in range(1, DEPTH + 1))
LAYERS = (*CONVOLUTIONS, "logits")
MASKED = ("shapes", "shapes16k", "small_shapes")  # sets with masks of their objects
LAST = CONVOLUTIONS[-1]  # whose maps are looked at

# 96 % of the test images of ``shapes16k`` in 31 CPU seconds a net; 640 steps of 64 give 90 %.
STEPS, BATCH_SIZE, LEARNING_RATE = 1600, 32, 0.003
SURE_STEPS = 2400  # 95.1 to 98.5 % in 44 CPU seconds: of 13 nets of 1600 steps three miss 94 %


class Nets(NamedTuple):
    """N nets of one spec, one for each seed.

    Attributes:
      of: weights of one net -> a function of images [B, H, W, C] in [0, 1] to logits [B, K] and
        pre-activations by layer.
      variables: weights, leaves [N, ...].
      snapshots: the same at each of T steps, leaves [N, T, ...]; None where there are none.
      test_error: float [N].
      data: what they have learned from and were tested on.
    """

    of: Callable[[PyTree], Layers]
    variables: PyTree
    snapshots: PyTree
    test_error: np.ndarray
    data: Splits


class Shown(NamedTuple):
    """Images that nets are asked about.

    Attributes:
      images: float32 [B, H, W, C] in [0, 1].
      labels: int32 [B].
      masks: bool [B, H, W] of the objects; None where the set has none.
      poses: float32 [B, 4] of them; None likewise.
    """

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    poses: np.ndarray | None


def spec_of(
    dataset: str,
    *,
    width: int = CHANNELS[0],
    pooled: tuple[bool, ...] = POOLED,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    images: int | None = None,
    normalized: bool = False,
    shuffled_labels: bool = False,
) -> Spec:
    """Return 3x3 convolutions of ``width`` channels first, and one dense layer.

    Adam, its rate climbing for a tenth of the steps and falling along half a cosine. ``pooled``: a
    convolution each, whether it is pooled. ``images``: as many of the training set; None takes all.
    ``normalized``: batch norm after each convolution.
    """
    channels = tuple(width * number // CHANNELS[0] for number in CHANNELS[: len(pooled)])
    sizes = {"channels": channels, "units": 0, "pooled": pooled}
    return Spec(
        dataset,
        "shallow",
        sizes | {"normalized": True} if normalized else sizes,
        learning_rate,
        steps,
        images=images,
        optimizer="adam",
        warm_up=steps // 10,
        batch_size=batch_size,
        shuffled_labels=shuffled_labels,
    )


def trained(spec: Spec, seeds: Sequence[int], snapshots: Sequence[int] = ()) -> Nets:
    """Return the nets of a spec; what nobody has trained yet is trained."""
    found = nets.trained(spec, seeds, snapshots=snapshots)

    def of(variables: PyTree) -> Layers:
        return layers_of(found.apply, found.preprocess, variables)

    return Nets(of, found.variables, found.snapshots, found.test_error, found.data)


def some_of(data: Dataset, count: int) -> Shown:
    """Return ``count`` examples, every class in its share; fewer where there are no more."""
    some = data.sample(count)
    images = some.images / np.float32(LEVELS)
    return Shown(images, some.labels.astype(np.int32), some.masks, some.poses)


def in_words(width: int, error: np.ndarray) -> str:
    """Return what nets are and how often they are right, for a figure's footer.

    ``error``: of the test images [S].
    """
    convolutions = f"Five convolutions, {width} channels first"
    return f"{convolutions}, right on {in_percent(error)} of test images"


def in_percent(error: np.ndarray) -> str:
    """Return how often nets are right, from the worst to the best."""
    worst, best = (100 * (1 - each) for each in (error.max(), error.min()))
    return f"{worst:.0f} to {best:.0f} %"
