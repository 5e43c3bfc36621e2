"""Whether the native kernels are used: by what the user says, and by what this machine has.

``auto`` uses them where they can be had and says nothing where they cannot, ``on`` fails then, and
``off`` is without them. The word ``native`` in ``JAXVISION_DISABLE`` is ``off`` too.
"""

import functools
import threading
from typing import Literal

import jax

from jaxvision import runtime
from jaxvision.native import build
from jaxvision.types import UserError

Mode = Literal["auto", "on", "off"]
MODES: tuple[Mode, ...] = ("auto", "on", "off")
FORWARD, BACKWARD = "jaxvision_act_conv_forward", "jaxvision_act_conv_backward"

_mode: Mode = "auto"
_loading = threading.Lock()  # programs are traced on several threads


def configure(mode: Mode) -> None:
    """Set the mode for this process. Starts JAX where the mode is ``on``.

    Programs that are already traced stay as they are.

    Raises:
      UserError: the mode is ``on`` and there are no kernels; says why and how to mend it.
    """
    global _mode
    if mode not in MODES:
        raise UserError(f"native={mode}: use one of {', '.join(MODES)}")
    if mode == "on" and (why := why_not()):
        raise UserError(f"--native=on cannot be: {why}")
    _mode = mode


def is_on() -> bool:
    """Whether the kernels are there and wanted; the first call may compile them."""
    return _mode != "off" and why_not() == ""


def why_not() -> str:
    """Return why kernels cannot be used and how to mend it, '' where they can."""
    if "native" in runtime.disabled():
        return "JAXVISION_DISABLE has the word native: take it out"
    platform = jax.default_backend()
    if platform != "cpu":
        return f"JAX runs on {platform} and the kernels are for CPUs: set JAX_PLATFORMS=cpu"
    with _loading:
        return _load()


@functools.cache
def _load() -> str:
    """Load the library and tell XLA of it; returns why it cannot be, else ''."""
    try:
        library = build.load()
    except build.Unavailable as reason:
        return str(reason)
    for name, symbol in ((FORWARD, "ActConvForward"), (BACKWARD, "ActConvBackward")):
        handler = jax.ffi.pycapsule(getattr(library, symbol))
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
    return ""
