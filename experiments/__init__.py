"""One module an experiment, in a folder a theme: ``python -m experiments he_init``.

Their imports take seconds. A SIGTERM that comes meanwhile ends the program as one that comes later,
with exit code 75, start it again, and Ctrl-C with 130; ``jaxvision.cli.main`` then decides for
itself.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

# A name has no theme in it, so it stays what it is when a file moves: old records print
# ``python -m experiments.he_init``, which finds experiments/initialization/he_init.py.
__path__ += [str(path.parent) for path in sorted(Path(__file__).parent.glob("*/__init__.py"))]


def _stop(signum: int, frame: Any) -> None:
    del frame
    if signum == signal.SIGINT:
        os.write(2, b"stopped; nothing was written\n")
        os._exit(130)
    os.write(2, b"stopped by SIGTERM: start it again\n")
    os._exit(os.EX_TEMPFAIL)


if sys.argv[:1] == ["-m"]:  # Python is looking for the module that it was told to run
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored: started with & or nohup
        signal.signal(signal.SIGINT, _stop)
