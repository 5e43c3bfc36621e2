"""One live line while something long runs; plain lines where there is no terminal."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

import tqdm

from jaxvision import terminal

_BAR = "{desc} {percentage:3.0f}% |{bar:24}| {elapsed} elapsed, {remaining} left{postfix}"
SECONDS_BETWEEN_LINES = 30.0
_quiet = False
Item = TypeVar("Item")


@dataclasses.dataclass
class _Whole:
    """The whole of a run, of which each bar shows a part; times are those of ``perf_counter``.

    Attributes:
      known_end: when it ends by what it is known to take; 0 where nobody knows.
      likely_end: when it ends by what the items that are done have taken; 0 where none is.
      place: which item is at work, as in "3 of 6 nets, ".
    """

    known_end: float = 0.0
    likely_end: float = 0.0
    place: str = ""

    def left(self) -> str:
        """Return how long the whole will take yet, in words; "" where that is not known."""
        seconds = max(self.known_end, self.likely_end) - time.perf_counter()
        return f"about {_duration(seconds)} left in all" if seconds > 0 else ""


_whole = _Whole()


def begin(expected: float = 0.0) -> None:
    """Begin a run as a whole; ``expected``: the seconds that it takes, 0 where nobody knows."""
    global _whole
    _whole = _Whole(time.perf_counter() + expected if expected else 0.0)


def each(items: Iterable[Item], what: str) -> Iterator[Item]:
    """Yield the items; meanwhile every bar says which is at work, and how long all will take.

    Within another such loop it says where in both; the outer one knows how long.

    Args:
      items: what the run goes through, such as nets, each with bars of its own.
      what: they are, in the plural.
    """
    items = list(items)
    started, outer = time.perf_counter(), _whole.place
    try:
        for done, item in enumerate(items):
            _whole.place = f"{outer}{done + 1} of {len(items)} {what}, "
            if done and not outer:
                of_one = (time.perf_counter() - started) / done
                _whole.likely_end = started + of_one * len(items)
            yield item
    finally:
        _whole.place = outer
        if not outer:
            _whole.likely_end = 0.0


def configure(quiet: bool) -> None:
    """Set whether ``progress`` of this process shows nothing."""
    global _quiet
    _quiet = quiet


def note(line: str) -> None:
    """Tell the user, on stderr, what needs no action; nothing after ``configure(quiet=True)``."""
    if not _quiet:
        print(f"jaxvision: {terminal.one_line(line)}", file=sys.stderr, flush=True)


class Progress:
    """What ``progress`` hands out."""

    def __init__(self, bar: tqdm.tqdm, description: str, total: int, done: int) -> None:
        self._bar, self._description = bar, description
        self._total, self._begun, self._done = total, done, done
        self._started = self._told = time.perf_counter()
        self.shown: dict[str, Any] = {}

    def advance(self, n: int = 1, **shown: Any) -> None:
        """Count ``n`` more steps as done and show the values (floats to three digits)."""
        self.shown = shown
        if not self._bar.disable:
            told = ", ".join(filter(None, [_whole.left(), _line(shown)]))
            self._bar.set_postfix_str(told, refresh=False)
        self._bar.update(n)
        self._done += n
        if self._bar.disable and time.perf_counter() - self._told > SECONDS_BETWEEN_LINES:
            self._tell()

    def _tell(self) -> None:
        self._told = time.perf_counter()
        left = (self._told - self._started) * (self._total - self._done)
        left /= max(self._done - self._begun, 1)
        line = f"{100 * self._done / max(self._total, 1):.0f} %, {_duration(left)} left"
        line = ", ".join(filter(None, [line, _whole.left(), _line(self.shown)]))
        print(f"{self._description}: {line}", file=sys.stderr, flush=True)


class ShowProgress(Protocol):
    """What an experiment's ``measure`` is given: ``progress`` itself or ``silent``."""

    def __call__(
        self, total: int, description: str, done: int = 0
    ) -> contextlib.AbstractContextManager[Progress]:
        """See ``progress``."""


@contextlib.contextmanager
def progress(total: int, description: str, done: int = 0) -> Iterator[Progress]:
    """Show on stderr how far ``total`` steps have come.

    On a terminal: a live line with elapsed and remaining time. Elsewhere (a log file, CI): one
    plain line at the start, one every half minute, and one at the end with the seconds. Nothing
    after ``configure(quiet=True)``.

    Args:
      total: steps in all.
      description: what is done.
      done: steps that were done before, by a run that this one resumes.
    """
    if _quiet:
        with silent(total, description, done) as watched:
            yield watched
        return
    live = sys.stderr.isatty()
    started = time.perf_counter()
    description = _whole.place + description
    if not live:
        line = ", ".join(filter(None, [f"started, {total - done} steps", _whole.left()]))
        print(f"{description}: {line}", file=sys.stderr, flush=True)
    outcome = "stopped"
    with tqdm.tqdm(
        total=total,
        initial=done,
        desc=description,
        disable=not live,
        bar_format=_BAR,
        dynamic_ncols=True,
    ) as bar:
        watched = Progress(bar, description, total, done)
        try:
            yield watched
            outcome = "done"
        finally:
            if not live:
                seconds = f"{time.perf_counter() - started:.1f} s"
                line = ", ".join(filter(None, [f"{outcome} in {seconds}", _line(watched.shown)]))
                print(f"{description}: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def silent(total: int, description: str, done: int = 0) -> Iterator[Progress]:
    """Take what ``progress`` takes and show nothing."""
    with tqdm.tqdm(disable=True) as bar:
        watched = Progress(bar, description, total, done)
        watched.advance = lambda *_, **__: None
        yield watched


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _line(shown: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in shown.items()
    )
