"""How a long run is asked to end: SIGTERM and Ctrl-C become a request that is polled.

A signal handler written in Python runs only between two bytecodes, so not while a compiled period
of a minute runs. The interpreter's wakeup descriptor is written at once; a thread reads it, says
what will happen, and ends the process at a second Ctrl-C.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from jaxvision.parallel import distributed

EXIT_TERMINATED, EXIT_INTERRUPTED = 75, 130  # 75 (EX_TEMPFAIL): start me again
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
_END = b"\0"  # no signal has this number


class Stopped(BaseException):
    """The run was asked to end and has; what it did is on disk.

    Not an Exception, as KeyboardInterrupt is none: nothing on the way may take it for an error.

    Attributes:
      signum: SIGTERM or SIGINT.
      where: how far the run had come, for the user.
    """

    def __init__(self, signum: int, where: str) -> None:
        super().__init__(f"stopped by {_NAMES[signum]} {where}")
        self.exit_code = EXIT_INTERRUPTED if signum == signal.SIGINT else EXIT_TERMINATED


@contextlib.contextmanager
def on_sigterm(where: str) -> Iterator[None]:
    """While entered, SIGTERM raises ``Stopped`` with these words."""

    def stop(signum: int, frame: Any) -> None:
        del frame
        raise Stopped(signum, where)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """While entered, SIGTERM ends the process with a line: at once, in a compiled call too."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # the thread hears it
    watcher = threading.Thread(target=_end_at_sigterm, args=(reading,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.set_wakeup_fd(fd)
        os.write(writing, _END)
        watcher.join()
        os.close(reading)
        os.close(writing)


def _end_at_sigterm(reading: int) -> None:
    while (byte := os.read(reading, 1)) != _END:
        if byte[0] != signal.SIGTERM:
            continue
        with contextlib.suppress(OSError):
            begun = "\n" if sys.stderr.isatty() else ""  # the line of a bar
            os.write(2, f"{begun}stopped by SIGTERM: start it again\n".encode())
        with contextlib.suppress(SystemExit):  # of a process alone; it ends this thread only
            distributed.end(EXIT_TERMINATED)
        os._exit(EXIT_TERMINATED)


class StopRequest:
    """Listens for SIGTERM and Ctrl-C while it is entered; does nothing off the main thread.

    A request that nobody has acted on by the end is raised anew, for the handler outside.

    Attributes:
      signum: the first signal that this process heard, None before.
      agreed: the signal by which all processes stop, 0 before.
    """

    def __init__(self, listens: bool = True) -> None:
        self._listens = listens and threading.current_thread() is threading.main_thread()
        self.signum: int | None = None
        self.agreed = 0

    def should_stop(self) -> bool:
        """Whether to end now: the one place where that is decided.

        Every process asks as often as the others and at the same places, and gets their answer.
        """
        self.agreed = self.agreed or distributed.should_stop(self.signum or 0)
        return self.agreed != 0

    def __enter__(self) -> "StopRequest":
        if self._listens:
            self._reading, self._writing = os.pipe()
            os.set_blocking(self._writing, False)
            self._fd = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
            self._handlers = {
                signum: signal.signal(signum, self._note)
                for signum in _NAMES
                if signal.getsignal(signum) != signal.SIG_IGN  # as nohup and & in scripts ask for
            }
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            self._watcher.start()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if not self._listens:
            return
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._fd)
        os.write(self._writing, _END)
        self._watcher.join()
        os.close(self._reading)
        os.close(self._writing)
        if kind is None and self.signum is not None:
            signal.raise_signal(self.signum)

    def _note(self, signum: int, frame: Any) -> None:
        del frame
        self.signum = self.signum or signum

    def _watch(self) -> None:
        heard = 0
        while (byte := os.read(self._reading, 1)) != _END:
            if byte[0] not in _NAMES:
                continue
            heard += 1
            if heard == 1:
                self.signum = self.signum or byte[0]
                name = _NAMES[byte[0]]
                line = f"\n{name}: stopping at the end of this period (Ctrl-C again: at once)"
                print(line, file=sys.stderr, flush=True)
            elif byte[0] == signal.SIGINT:
                # No unwinding: the files are made to bear a kill at any moment.
                print("\nstopped at once; the last checkpoint stays", file=sys.stderr, flush=True)
                os._exit(EXIT_INTERRUPTED)
