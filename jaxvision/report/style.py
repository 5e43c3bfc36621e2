"""The house style of figures."""

import contextlib
from collections.abc import Iterator

from jaxvision import interrupts

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 11.5,
    "axes.titlesize": 12.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.2,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.frameon": False,
    "figure.titlesize": 15,
    "figure.titleweight": "bold",
    "svg.hashsalt": "jaxvision",  # names of clip paths: the same in every file
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Apply the house style; also works as a decorator of a plotting function.

    Matplotlib reads its settings when an artist is made, so own calls to ``ax`` belong inside. The
    user's matplotlibrc is set aside: the same record gives the same figure everywhere.
    """
    with interrupts.held_back():  # see plots
        import matplotlib  # only who draws waits for it

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield
