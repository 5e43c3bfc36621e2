"""What orbax says of its own accord, held back: an error is told once, in one line, by us."""

import contextlib
import functools
import logging
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back orbax's log: what went wrong is said once, by whoever catches the error."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@functools.cache
def hush_orphans() -> None:
    """Keep from stderr what orbax leaves behind when one of many reads or writes fails.

    The first failure ends its event loop. The others are then reported by whoever finds them, later
    and with tracebacks, though the failure itself has been caught and told in one line.
    """
    hook = sys.unraisablehook

    def without_orphans(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = without_orphans
    said_by = logging.getLogger("asyncio")
    said_by.addFilter(lambda record: "exception was never retrieved" not in record.getMessage())
