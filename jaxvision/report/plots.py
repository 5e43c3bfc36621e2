"""What ``drawing`` has, and Matplotlib with it imported at first use.

A command that draws nothing, ``--help`` above all, does not wait for it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxvision import interrupts
from jaxvision.report.colors import color_of as color_of  # what tables and decorators need
from jaxvision.report.style import style as style

if TYPE_CHECKING:  # for whoever jumps to a definition
    from jaxvision.report.drawing import *  # noqa: F403


def __getattr__(name: str) -> Any:
    with interrupts.held_back():  # half imported, Matplotlib's compiled modules abort the program
        drawing = importlib.import_module("jaxvision.report.drawing")
    return getattr(drawing, name)
