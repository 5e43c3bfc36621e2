"""What a program writes to whom: lines that can be shown, and readers who leave (``| head``)."""

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from typing import TextIO

# Exit code, as a shell has it, of a program whose output the next one reads no further.
UNREAD = 128 + signal.SIGPIPE
UNWRITABLE = 2  # as for any mistake of the user


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


def open_streams() -> None:
    """Make the standard streams such as can be written to, whatever the shell has made of them.

    What goes to one that is closed (``>&-``) goes nowhere, and a letter that the terminal's code
    lacks is shown as '?'.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would be taken for this stream
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = _nowhere()
    if sys.stderr is None:
        sys.stderr = _nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="replace")


@contextlib.contextmanager
def until_unread() -> Iterator[None]:
    """End the program without a traceback where its output cannot be written, or is read no more.

    Its exit code is that of ``lost_output``.
    """
    open_streams()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        sys.exit(lost_output(error))


def lost_output(error: OSError) -> int:
    """Return the exit code for output that cannot be written, and say why in one line.

    Where nobody reads it any more (``| head``) that is ``UNREAD``, and there is no line.

    Raises:
      OSError: ``error`` itself, where it is of something else.
    """
    if isinstance(error, BrokenPipeError):
        forget_output()
        return UNREAD
    streams = ("output", sys.stdout, sys.stderr), ("error", sys.stderr, sys.stdout)
    for name, stream, other in streams:
        try:
            print(file=stream, flush=True)  # what could not be written before may be forgotten
        except OSError as why:
            _forget(stream)
            line = f"error: standard {name} cannot be written: {why.strerror or why}"
            _say_if_possible(line, other)
            return UNWRITABLE
    raise error


def _say_if_possible(line: str, stream: TextIO) -> None:
    try:
        print(line, file=stream, flush=True)
    except OSError:
        _forget(stream)


def forget_output() -> None:
    """Let what is written from now on, and by Python at its end, go nowhere."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _forget(stream)


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _forget(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
