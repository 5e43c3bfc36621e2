"""Ctrl-C: heard at last where Python would swallow it, and held back where it would do harm."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

_SHORTLY = 0.05  # seconds


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """While entered, Ctrl-C raises KeyboardInterrupt, unless it is ignored (``&``, ``nohup``).

    Python drops what is raised in a callback of its garbage collector, of which JAX has one, or in
    a ``__del__``. A KeyboardInterrupt that is dropped so is sent again a moment later.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    before = sys.unraisablehook

    def again(dropped: Any) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        later = threading.Timer(_SHORTLY, os.kill, (os.getpid(), signal.SIGINT))
        later.daemon = True
        later.start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C wait for the end: what it interrupts here cannot be taken up again.

    Not by the thread's signal mask: the other threads of this process would hear it.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(before):  # other threads hear nothing; or it is ignored
        yield
        return
    waiting = []
    signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        signal.raise_signal(signal.SIGINT)
