"""The nets of camouflage: those for which patches are made, and others."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxvision.fields import seeds_of
from jaxvision.nets import Spec, Wanted


class Kind(NamedTuple):
    """A kind of net.

    Attributes:
      label: in the figure.
      net: its name in a spec.
      sizes: channels of its first layer -> its sizes.
    """

    label: str
    net: str
    sizes: Callable[[int], Mapping[str, int | tuple[int | bool, ...]]]


def _five_convolutions(channels: int) -> dict[str, int | tuple[int | bool, ...]]:
    return {
        "channels": (channels, channels, 2 * channels, 2 * channels, 4 * channels),
        "units": 0,
        "pooled": (False, True, False, True, True),
    }


def _alexnet(channels: int) -> dict[str, int | tuple[int | bool, ...]]:
    return {"width": 3 * -(-channels // 2), "dense": 8 * channels}  # a multiple of 3


# Patches are made for the first kind; another one is shown them.
KINDS = {
    "conv": Kind("conv net", "shallow", _five_convolutions),
    "alexnet": Kind("AlexNet's shape", "alexnet", _alexnet),
    "resnet": Kind("ResNet", "resnet", lambda channels: {"depth": 8, "width": channels}),
}


def spec_of(config: Any, kind: str) -> Spec:
    """Return what a kind of net is and how it is trained."""
    return Spec(
        config.dataset,
        KINDS[kind].net,
        KINDS[kind].sizes(config.channels),
        config.learning_rate,
        config.steps,
        optimizer="adam",
        warm_up=config.steps // 10,
        batch_size=config.batch_size,
    )


def kinds_of(config: Any) -> list[str]:
    """Return the kinds of nets of a run, that for which patches are made first."""
    return ["conv"] if config.other == "none" else ["conv", config.other]


def wanted(config: Any) -> list[Wanted]:
    """Return the nets of a run, in the order of ``kinds_of``."""
    return [Wanted(spec_of(config, kind), seeds_of(config)) for kind in kinds_of(config)]
