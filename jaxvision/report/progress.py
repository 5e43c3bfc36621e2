"""One live line while something long runs; plain lines where there is no terminal."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import tqdm

_BAR = "{desc} {percentage:3.0f}% |{bar:24}| {elapsed} elapsed, {remaining} left{postfix}"


class Progress:
    """What ``progress`` hands out."""

    def __init__(self, bar: tqdm.tqdm) -> None:
        self._bar = bar
        self.shown: dict[str, Any] = {}

    def advance(self, n: int = 1, **shown: Any) -> None:
        """Count ``n`` more steps as done and show the values (floats to three digits)."""
        self.shown = shown
        if shown:
            self._bar.set_postfix_str(_line(shown), refresh=False)
        self._bar.update(n)


@contextlib.contextmanager
def progress(total: int, description: str) -> Iterator[Progress]:
    """Show on stderr how far ``total`` steps have come.

    On a terminal: a live line with elapsed and remaining time. Elsewhere (a log file, CI): one
    plain line at the start and one at the end, with the seconds.
    """
    live = sys.stderr.isatty()
    started = time.perf_counter()
    if not live:
        print(f"{description}: started, {total} steps", file=sys.stderr, flush=True)
    outcome = "stopped"
    with tqdm.tqdm(
        total=total, desc=description, disable=not live, bar_format=_BAR, dynamic_ncols=True
    ) as bar:
        watched = Progress(bar)
        try:
            yield watched
            outcome = "done"
        finally:
            if not live:
                seconds = f"{time.perf_counter() - started:.1f} s"
                line = ", ".join(filter(None, [f"{outcome} in {seconds}", _line(watched.shown)]))
                print(f"{description}: {line}", file=sys.stderr, flush=True)


def _line(shown: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in shown.items()
    )
