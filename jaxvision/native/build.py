"""The kernels as a library: compiled once, at first use, into the user's cache folder.

An entry's name is a hash of all that it was made from (source, compiler, its options, processor,
jaxlib) and a hash of its own bytes. So a change of any of them makes a new entry, and an entry that
is damaged is seen and made anew. What a compiler failed with is kept for a day, so that not every
process waits for it again. The folder may be removed at any time.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxlib

from jaxvision import runtime
from jaxvision.progress import note
from jaxvision.types import UserError

SOURCE = Path(__file__).with_name("act_conv.cc")
VERSION_SECONDS = 60  # that it may take to tell its version
SECONDS = 180  # that a compiler may take, and that another process is waited for
FAILURE_HOLDS = 24 * 3600  # seconds: so long a compiler that has failed is not asked again
_OPTIONS = ("-O3", "-std=c++17", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared")
# What compilers say where it is not the source that they cannot compile.
_PASSING = (
    "No space left on device",
    "Disk quota exceeded",
    "Killed",
    "killed",
    "signal terminated",
    "memory exhausted",
    "out of memory",
    "Cannot allocate memory",
)
_OTHER_CACHE = "set XDG_CACHE_HOME to a folder of yours"


class Unavailable(Exception):
    """Why there are no kernels, and how to mend it."""


class PassingFailure(Unavailable):
    """The disk was full, or the compiler killed or too slow: the next time it may succeed."""


def load() -> ctypes.CDLL:
    """Return the library, compiled first where the cache has none.

    Raises:
      Unavailable: no compiler, or the cache cannot be written or not be run from.
    """
    path = library()
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:  # as on a file system that is mounted noexec
        raise Unavailable(
            f"{path} cannot be loaded ({error}): {_OTHER_CACHE} from which programs may be run"
        ) from error


def library() -> Path:
    """Return the library's file, compiled first where the cache has none.

    Raises:
      Unavailable: as in ``load``, but for a library that cannot be loaded.
    """
    compiler = _compiler()
    command = [*compiler, *_options()]
    key = _key(compiler, command)
    try:
        folder = _own_folder()
        if (found := _intact(folder, key)) is None:
            with _alone(folder):
                found = _intact(folder, key) or _compile_unless_it_failed(command, folder, key)
    except OSError as error:
        why = error.strerror or error
        raise Unavailable(f"the cache cannot be written ({why}): {_OTHER_CACHE}") from error
    except UserError as error:
        raise Unavailable(str(error)) from error
    return found


def directory() -> Path:
    """Return ``$XDG_CACHE_HOME/jaxvision/native`` (``~/.cache`` by default)."""
    return runtime.user_cache() / "jaxvision" / "native"


def _own_folder() -> Path:
    """Return the folder, which no other user can write to: its files are run as they lie there."""
    folder = directory()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_ours(folder):
        raise Unavailable(f"{folder} can be written by other users: {_OTHER_CACHE}")
    return folder


def _is_ours(path: Path) -> bool:
    found = path.lstat()
    open_to_others = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid == os.getuid() and not found.st_mode & open_to_others


def _compiler() -> list[str]:
    """Return the compiler's words: what CXX says, quoted as in a shell, else one that is here."""
    try:
        wanted = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise Unavailable(f"CXX cannot be read ({error}): quote it as in a shell") from error
    candidates = [wanted] if wanted else [["c++"], ["g++"], ["clang++"]]
    for words in candidates:
        if shutil.which(words[0]):
            break
    else:
        missing = f"CXX names {wanted[0]}, which is not here" if wanted else "no C++ compiler here"
        raise Unavailable(f"{missing}: install g++ or clang++, or name one in CXX")
    return words


def _options() -> list[str]:
    native = "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native"
    return [*_OPTIONS, native, f"-I{jax.ffi.include_dir()}"]


def _key(compiler: list[str], command: list[str]) -> str:
    """Return a hash of what the library is made from."""
    made_from = [
        SOURCE.read_bytes(),
        "\n".join(command).encode(),
        _version(compiler).encode(),
        _processor().encode(),
        jaxlib.__version__.encode(),
    ]
    digests = b"".join(hashlib.sha256(part).digest() for part in made_from)
    return hashlib.sha256(digests).hexdigest()[:20]


def _version(compiler: list[str]) -> str:
    """Return what the whole command says: a launcher such as ccache hands the question on."""
    try:
        done = subprocess.run(
            [*compiler, "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        named = shlex.join(compiler)
        raise Unavailable(f"{named} does not run ({error}): name another one in CXX") from error
    return done.stdout


def _processor() -> str:
    """Return the processor's name and what it can do: code for one may not run on another."""
    facts = {platform.machine(), platform.processor()}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "flags", "Features", "CPU part")):
                facts.add(line)
    return "\n".join(sorted(facts))


def _intact(folder: Path, key: str) -> Path | None:
    """Return the entry of a key, None where there is none or it is damaged or not ours."""
    for path in sorted(folder.glob(f"{key}-*.so")):
        with contextlib.suppress(OSError):
            if _is_ours(path) and path.stem == f"{key}-{_digest(path)}":
                return path
    return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let no other process compile meanwhile; waits for one that does."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"another process has held {folder / 'lock'} for {SECONDS} s: end it"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _compile_unless_it_failed(command: list[str], folder: Path, key: str) -> Path:
    """Compile, or raise what the same compiler failed with today: it may have taken minutes."""
    failure = folder / f"{key}.failed"
    with contextlib.suppress(FileNotFoundError):
        if time.time() - failure.stat().st_mtime < FAILURE_HOLDS and _is_ours(failure):
            again = f"remove {failure} to try it again"
            raise Unavailable(f"{failure.read_text(encoding='utf-8')}; {again}")
    try:
        return _compile(command, folder, key)
    except PassingFailure:
        raise
    except Unavailable as reason:
        note_of_it = folder / f"{key}.partial"
        note_of_it.touch(mode=0o600)
        note_of_it.write_text(str(reason), encoding="utf-8")
        os.replace(note_of_it, failure)
        raise


def _compile(command: list[str], folder: Path, key: str) -> Path:
    """Compile into the folder, alone; the entry is there whole or not at all."""
    for left in folder.glob("*.partial"):  # by a process that was killed
        left.unlink()
    for damaged in folder.glob(f"{key}-*.so"):
        damaged.unlink()
    partial = folder / f"{key}.partial"
    partial.touch(mode=0o700)  # a folder that cannot be written is met before the work
    note("compiling kernels for this processor: once, some ten seconds")
    try:
        _run([*command, str(SOURCE), "-o", str(partial)])
        partial.chmod(0o700)
        path = folder / f"{key}-{_digest(partial)}.so"
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _run(command: list[str]) -> None:
    mend = "name another compiler in CXX"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise PassingFailure(f"{command[0]} took more than {SECONDS} s: {mend}") from None
    if done.returncode != 0:
        told = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in told if "error" in line]
        why = [*errors, *reversed(told), f"exit code {done.returncode}"][0]
        passes = done.returncode < 0 or any(word in done.stderr for word in _PASSING)
        kind = PassingFailure if passes else Unavailable
        raise kind(f"{command[0]} cannot compile the kernels ({why}): {mend}")
