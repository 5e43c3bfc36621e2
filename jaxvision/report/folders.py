"""Folders that are replaced whole, by writers and before readers any of whom may die."""

import contextlib
import errno
import fcntl
import glob
import os
import pathlib
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence

from jaxvision.types import UserError


def place(text: str | os.PathLike) -> pathlib.Path:
    """Return the whole path that a user's text names, whether something is there or not.

    Raises:
      UserError: it cannot be followed: a loop of links, a name too long, ``~nosuchuser``.
    """
    try:
        path = pathlib.Path(text).expanduser().resolve()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{str(text)[:100]} cannot be followed: {why}") from error
    return path


def read(directory: pathlib.Path, names: Sequence[str]) -> list[bytes]:
    """Return the contents of files of one folder, all of one state of it.

    Raises:
      OSError: one is missing, or is no regular file.
    """
    while True:
        descriptor = _open(directory)
        try:
            return [_content(name, descriptor) for name in names]
        except FileNotFoundError:
            with _locked(directory.parent):
                if _is_at(_put_back(directory), descriptor):
                    raise  # nobody has exchanged the folder meanwhile: it lacks the file
        finally:
            os.close(descriptor)


def replace(
    directory: pathlib.Path, files: Mapping[str, bytes], ours: Collection[str] = ()
) -> None:
    """Make the folder hold these files, durably, with no half state in sight.

    Whatever else lies in the old folder goes over into the new one.

    Everything is written and flushed to a sibling folder first. Then the old folder is parked and
    the new one takes its place; a process that dies between these two renames leaves the old one
    parked, where ``read`` and the next ``replace`` find it. What is equal is not touched.

    Args:
      directory: its parents are made.
      files: name -> content.
      ours: names of files that go with the old folder where ``files`` lacks them.

    Raises:
      OSError: the file system refuses. The old folder stays.
    """
    parent, parked = directory.parent, _parked(directory)
    parent.mkdir(parents=True, exist_ok=True)
    with _locked(parent) as alone:
        if alone:
            _tidy(directory)
        names = {*files, *ours}
        if files == _contents(directory, names):
            return
        fresh = parent / f".{directory.name}.new-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            _write(fresh, files, beside=_others(directory, names))
            while not _exchange(fresh, directory, parked):
                pass  # another process has put a folder there
            _sync(parent)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(parked, ignore_errors=True)


def write_file(path: pathlib.Path, content: bytes) -> None:
    """Replace a file in one step; a link is replaced and never followed.

    Raises:
      OSError: the file system refuses. The old file stays.
    """
    fresh = path.with_name(f".{path.name}.new-{secrets.token_hex(4)}")
    try:
        with open(fresh, "xb") as file:  # x: never through a link that lies there
            file.write(content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(parent: pathlib.Path) -> Iterator[bool]:
    """Keep other writers below ``parent`` waiting; yields whether the file system can do that."""
    descriptor = os.open(parent, os.O_RDONLY)
    alone = True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            alone = False
        yield alone
    finally:
        os.close(descriptor)  # and with it the lock


def _tidy(directory: pathlib.Path) -> None:
    """Put back what a dead writer has parked, remove what dead writers left half written."""
    _put_back(directory)
    for left in directory.parent.glob(f".{glob.escape(directory.name)}.new-*"):
        shutil.rmtree(left, ignore_errors=True)


def _open(directory: pathlib.Path) -> int:
    """Return a descriptor of the folder, wherever it is moved from now on."""
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return os.open(directory, flags)
    except FileNotFoundError:
        with _locked(directory.parent):  # while nobody is exchanging it
            return os.open(_put_back(directory), flags)


def _put_back(directory: pathlib.Path) -> pathlib.Path:
    parked = _parked(directory)
    if parked.is_dir() and not directory.exists():
        try:
            os.rename(parked, directory)
        except OSError:  # read-only, or another process was faster
            return directory if directory.exists() else parked
    return directory


def _write(fresh: pathlib.Path, files: Mapping[str, bytes], beside: Sequence[pathlib.Path]) -> None:
    """Make the folder of the files and of what lies at ``beside``."""
    fresh.mkdir()
    for name, content in files.items():
        with open(fresh / name, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for path in beside:
        _take_over(path, fresh / path.name)
    _sync(fresh)


def _take_over(there: pathlib.Path, fresh: pathlib.Path) -> None:
    """Make ``fresh`` the same file, link or folder; what is there stays until all is done."""
    if there.is_dir() and not there.is_symlink():
        shutil.copytree(there, fresh, symlinks=True, copy_function=_link)
    else:
        _link(there, fresh)


def _link(there: str | pathlib.Path, fresh: str | pathlib.Path) -> None:
    try:
        os.link(there, fresh, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(there, fresh, follow_symlinks=False)


def _exchange(fresh: pathlib.Path, directory: pathlib.Path, parked: pathlib.Path) -> bool:
    """Park the old folder, put the new one in its place; False: something came in between.

    Under the lock nothing does; file systems without locks need the second try.
    """
    try:
        if directory.exists():
            shutil.rmtree(parked, ignore_errors=True)  # older than the folder that is in place
            os.rename(directory, parked)
        os.rename(fresh, directory)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and directory.is_dir():
            return False
        if parked.exists() and not directory.exists():
            os.rename(parked, directory)
        raise
    return True


def _contents(directory: pathlib.Path, names: Collection[str]) -> dict[str, bytes]:
    """Return those of the files that are there."""
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            found[name] = _content(str(directory / name))
    return found


def _others(directory: pathlib.Path, names: Collection[str]) -> list[pathlib.Path]:
    """Return what lies in a folder under other names; nothing where there is no folder."""
    try:
        return [path for path in directory.iterdir() if path.name not in names]
    except FileNotFoundError:
        return []


def _content(path: str, directory: int | None = None) -> bytes:
    # Not blocking: a pipe in place of a file would be waited for without end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, f"{path} is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _is_at(path: pathlib.Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _parked(directory: pathlib.Path) -> pathlib.Path:
    # No run name begins with a dot, so no run can be called this.
    return directory.parent / f".{directory.name}.old"


def _sync(directory: pathlib.Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
