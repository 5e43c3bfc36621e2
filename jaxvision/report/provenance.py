"""Where numbers come from: code, versions, device, time, data."""

import datetime
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess
from typing import Any, NotRequired, Required, TypedDict

from jaxvision import runtime

# What runs and `make gallery` write.
_WRITTEN = (
    "README.md",
    "experiments/results",
    "experiments/pages",
    "experiments/README.md",
    "experiments/index.html",
    "experiments/explore.html",
    "experiments/claims.json",
    "docs/contested.md",
)
SOURCES = (".py", ".cc")  # of modules and native kernels
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


class DataSet(TypedDict):
    """A set that was loaded: ``data.Identity.recorded``."""

    name: str
    version: str
    label: str
    digest: str
    train: int
    test: int
    classes: NotRequired[list[str]]


class Known(TypedDict, total=False):
    """What a record says of its making; an old one may lack any of it.

    ``claim`` is the only one that was asked for. ``earlier`` lists who else made a part of it, the
    first first. ``code`` is the ``code_hash`` with the experiment's files. ``native_kernels`` says
    whether they were on: they round otherwise than JAX.
    """

    commit: str
    dirty: bool | None
    versions: dict[str, str]
    device: str
    device_count: int
    host_cores: int
    native_kernels: bool
    started: str
    wall_time_s: float
    data: list[DataSet]
    claim: str
    code: str
    earlier: "list[Earlier]"


class Earlier(Known, total=False):
    """An earlier maker, and the names of what differs from now: code, versions, device, ..."""

    differs: Required[list[str]]


def describe(started: datetime.datetime, wall_time_s: float) -> dict[str, Any]:
    """Return where and on what a run is made, all of ``Known`` but code, data and earlier makers.

    ``started`` is an aware time, stored as UTC; ``wall_time_s`` is in seconds.
    """
    # The rest of the report works without JAX.
    import jax

    from jaxvision.native import switch

    device = jax.devices()[0]
    name = _processor() if device.platform == "cpu" else device.device_kind
    commit, dirty = _checkout()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "device": f"{device.platform}: {name}",
        "device_count": jax.device_count(),
        "host_cores": runtime.usable_cores(),
        "native_kernels": switch.is_on(),
        "started": started.astimezone(datetime.UTC).isoformat(timespec="seconds"),
        "wall_time_s": float(wall_time_s),
    }


def _processor() -> str:
    """Return the processor's model; JAX calls every one 'cpu'."""
    file = pathlib.Path("/proc/cpuinfo")
    if not file.exists():
        return platform.machine()
    model = re.search("model name.*: (.+)", file.read_text(errors="replace"))
    return model[1] if model else platform.machine()


def line(known: dict[str, Any]) -> str:
    """Return device, commit and date, of what ``describe`` said, in one line."""
    device, count = known.get("device", "unknown device"), known.get("device_count", 1)
    parts = [
        f"{device}" if count == 1 else f"{count} x {device}",
        f"commit {str(known.get('commit', 'unknown'))[:10]}"
        + (" with changes" if known.get("dirty") else ""),
        str(known.get("started", ""))[:10],
    ]
    return ", ".join(filter(None, parts))


def data_line(known: dict[str, Any]) -> str:
    """Return the data sets of a run, their sizes and content in one line; "" where none is known.

    The digits after the size change with any pixel, any label and the order of the images.
    """
    return ", ".join(_data_set(one) for one in known.get("data", []))


def _data_set(one: DataSet) -> str:
    name = f"{one['name']}@{one['label']}" if one["label"] else one["name"]
    named = f"{name} {one['version']}".strip()
    images = f"{one['train']:,} training and {one['test']:,} test images"
    return f"{named} ({images}, content {one['digest']})"


def code_hash(*files: str | os.PathLike) -> str:
    """Return 16 hexadecimal digits that stand for the source of this package and of ``files``.

    Unlike a commit it sees changes that are not committed, and stays where only other files change.
    """
    package = pathlib.Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    sources = sorted(path for path in package.rglob("*") if path.suffix in SOURCES)
    for path in [*sources, *map(pathlib.Path, files)]:
        name = path.relative_to(package) if path.is_relative_to(package) else path.name
        source = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:16]


def _checkout() -> tuple[str, bool | None]:
    """Return the commit of this code and whether it is changed; ("unknown", None) if unknowable."""
    here = pathlib.Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        done = subprocess.run(command, check=True, capture_output=True, timeout=30)
        return done.stdout.decode(errors="replace").strip()  # names of files may be no text

    try:
        # Installed into some other project's checkout, its commit says nothing about this code.
        git("ls-files", "--error-unmatch", here.name)
        # Results are written by runs: they must not make the next run's code look changed.
        but = [f":(top,exclude){name}" for name in _WRITTEN]
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", ":/", *but))
    except (OSError, subprocess.SubprocessError):
        return "unknown", None
