"""What a program writes to whom: lines that can be shown, and readers who leave (``| head``)."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

# Exit code, as a shell has it, of a program whose output the next one reads no further.
UNREAD = 128 + signal.SIGPIPE


def one_line(text: str) -> str:
    """Return ``text`` as one line that does nothing to a terminal.

    Line feeds, escape sequences and bytes that are no UTF-8 come from names that a user or a file
    gave; they are shown as Python writes them.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def first_line(error: BaseException) -> str:
    """Return what an error says first; the name of its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def shell_code(code: int) -> int:
    """Return a process's exit code as a shell gives it: 128 and the signal that ended it."""
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def until_unread() -> Iterator[None]:
    """End the program without a traceback, with ``UNREAD``, where nobody reads its output on."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        forget_output()
        sys.exit(UNREAD)


def forget_output() -> None:
    """Let what is written from now on, and by Python at its end, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
