"""What a worker of this machine does first: Dask imports this module in it."""

import signal
from typing import Any


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C to the process that submits; its end is the end of the workers."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
