"""One module an experiment, in a folder a theme: ``python -m experiments he_init``.

Their imports take seconds. A SIGTERM that comes meanwhile ends the program as one that comes later,
with exit code 75, start it again, and Ctrl-C with 130; ``jaxvision.cli.main`` then decides for
itself.
"""

import importlib
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

from jaxvision import terminal

# A name has no theme in it, so it stays what it is when a file moves: old records print
# ``python -m experiments.he_init``, which finds experiments/initialization/he_init.py.
__path__ += [str(path.parent) for path in sorted(Path(__file__).parent.glob("*/__init__.py"))]

# A figure is the same whatever the user has set, and a setting that is wrong ends no run.
os.environ |= {"MATPLOTLIBRC": os.devnull, "MPLBACKEND": "agg"}


def why_none_can_run() -> str:
    """Return why no experiment can run on this Python, in one line; "" where it can."""
    mend = "run `make venv` in the repository, then use .venv/bin/python"
    try:
        importlib.import_module("jax")
    except ImportError as error:
        return terminal.one_line(f"{sys.executable} cannot import jax ({error}): {mend}")
    except Exception as error:  # an environment variable that it refuses
        return terminal.one_line(f"jax does not start: {error}")
    if importlib.util.find_spec("matplotlib") is None:  # imported after the work
        return terminal.one_line(f"{sys.executable} has no matplotlib: {mend}")
    return ""


def _stop(signum: int, frame: Any) -> None:
    del frame
    if signum == signal.SIGINT:
        os.write(2, b"stopped; nothing was written\n")
        os._exit(130)
    os.write(2, b"stopped by SIGTERM: start it again\n")
    os._exit(os.EX_TEMPFAIL)


def _while_python_imports() -> None:
    """Prepare for what may come before the experiment's own first line."""
    terminal.open_streams()
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored: started with & or nohup
        signal.signal(signal.SIGINT, _stop)
    wanted = next((word for word in sys.orig_argv if word.startswith("experiments.")), "")
    if wanted not in ("", "experiments.catalog") and (why := why_none_can_run()):
        print(f"error: {why}", file=sys.stderr)
        sys.exit(2)


if sys.argv[:1] == ["-m"]:  # Python is looking for the module that it was told to run
    _while_python_imports()
