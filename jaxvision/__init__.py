"""Training dynamics of vision nets in JAX: what is probed, and with which statistics.

    import jaxvision as jv

    watched = jv.watch(net, variables, images, labels)
    print(watched)
    jv.draw(watched).savefig("net.png")

The names below are the public ones; docs/api.md shows each. All else may change.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for whoever jumps to a definition
    from jaxvision import initializers as initializers
    from jaxvision.adversarial.api import attack
    from jaxvision.attribution.api import explain
    from jaxvision.data import load as load_data
    from jaxvision.dynamics.net_spectra import sharpness, spectra
    from jaxvision.dynamics.watching import watch
    from jaxvision.models.foreign import adapt
    from jaxvision.report.named import load_record
    from jaxvision.report.watch_figure import draw
    from jaxvision.sweeps import fit, sweep

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "adapt",
    "attack",
    "draw",
    "explain",
    "fit",
    "initializers",
    "load_data",
    "load_record",
    "sharpness",
    "spectra",
    "sweep",
    "watch",
]

# Imported at first use: a command that needs none of them does not wait for JAX.
_HOMES = {
    "adapt": ("jaxvision.models.foreign", "adapt"),
    "attack": ("jaxvision.adversarial.api", "attack"),
    "draw": ("jaxvision.report.watch_figure", "draw"),
    "explain": ("jaxvision.attribution.api", "explain"),
    "fit": ("jaxvision.sweeps", "fit"),
    "load_data": ("jaxvision.data", "load"),
    "load_record": ("jaxvision.report.named", "load_record"),
    "sharpness": ("jaxvision.dynamics.net_spectra", "sharpness"),
    "spectra": ("jaxvision.dynamics.net_spectra", "spectra"),
    "sweep": ("jaxvision.sweeps", "sweep"),
    "watch": ("jaxvision.dynamics.watching", "watch"),
}


def __getattr__(name: str) -> Any:
    if name == "initializers":
        return importlib.import_module("jaxvision.initializers")
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxvision' has no attribute {name!r}")
    module, own_name = _HOMES[name]
    return getattr(importlib.import_module(module), own_name)


def __dir__() -> list[str]:
    return sorted(__all__)
