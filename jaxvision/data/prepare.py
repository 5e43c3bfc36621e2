"""Prepare a set of TensorFlow Datasets: what ``make data-<name>`` runs.

    python -m jaxvision.data.prepare cifar10 [--data_dir=DIR]

Building a set needs TensorFlow, reading it does not. So TensorFlow goes into an environment of its
own in a temporary directory, which is removed at the end, whatever the end. Only the standard
library is used: the file also runs by itself, ``python jaxvision/data/prepare.py cifar10``. Names
are read as everywhere, see ``names.py``: ``cifar10:3.0.2`` prepares that version.
"""

import argparse
import dataclasses
import difflib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

if __package__:
    from jaxvision.data.names import SetName, parse
else:  # run as a file: its own directory is where Python looks
    from names import SetName, parse

# Runs inside the throw-away environment; leaves the first line of an error in a file.
_BUILD = """
import logging, sys
name, data_dir, reason = sys.argv[1:]
logging.getLogger("urllib3").setLevel(logging.ERROR)
try:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader
    downloader.MAX_RETRIES = 5  # its own ten wait for four minutes where there is no network
    tfds.builder(name, data_dir=data_dir, file_format="array_record").download_and_prepare()
except Exception as error:
    lines = str(error).strip().splitlines() or [""]
    with open(reason, "w", encoding="utf-8") as file:
        file.write(f"{type(error).__name__}: {lines[0]}")
    sys.exit(1)
"""


class PrepareError(Exception):
    """The set cannot be prepared: one line that says why."""


def packages(system: str, machine: str) -> list[str]:
    """Return what to install; the small TensorFlow without CUDA is made for x86 Linux alone."""
    tensorflow = "tensorflow-cpu" if (system, machine) == ("Linux", "x86_64") else "tensorflow"
    # importlib_resources: imported by tensorflow-datasets, not declared; scipy: reads .mat sources.
    libraries = ["tensorflow-datasets>=4.9.10,<5", "array_record", "importlib_resources", "scipy"]
    return [tensorflow, *libraries]


def install_command(python: Path) -> list[str]:
    """Return the command that fills the environment of ``python``."""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # pip's own five retries make a machine without a network wait for a minute.
    return [*pip, "--retries=1", "--timeout=15", *packages(platform.system(), platform.machine())]


def build_command(python: Path, name: str, data_dir: Path, reason: Path) -> list[str]:
    """Return the command that downloads and prepares the set."""
    return [str(python), "-c", _BUILD, name, str(data_dir), str(reason)]


def prepare(text: str, data_dir: Path) -> None:
    """Download and prepare a set (``mnist``, ``imagenet_resized/32x32``) as array_record.

    Raises:
      PrepareError: the name is unknown, the network is missing, or the build failed.
    """
    wanted = _parsed(text)
    name = str(wanted)
    _check_name(wanted.base)
    if _is_prepared(wanted, data_dir):
        print(f"{name} is already prepared in {data_dir}")
        return
    with tempfile.TemporaryDirectory(prefix="jaxvision-prepare-") as scratch:
        environment, reason = Path(scratch) / "env", Path(scratch) / "reason"
        python = environment / "bin" / "python"
        print(f"installing TensorFlow for the time being in {environment}", flush=True)
        make = [sys.executable, "-m", "venv", str(environment)]
        _must(_run(make, scratch), "cannot make an environment")
        installed = _run(install_command(python), scratch)
        _must(installed, "cannot install TensorFlow (is there a network?)")
        print(f"preparing {name} in {data_dir}", flush=True)
        code, _ = _run(build_command(python, name, data_dir, reason), scratch, show=True)
        if code:
            why = reason.read_text("utf-8") if reason.exists() else "the process died"
            raise PrepareError(f"cannot prepare {name!r}: {why}")
    print(f"{name} is ready in {data_dir} (its downloads stay in {data_dir / 'downloads'})")


def _run(command: list[str], scratch: str, show: bool = False) -> tuple[int, str]:
    """Return a command's exit code and what it printed (nothing where it is shown instead).

    Whatever ends us ends the command and all it has started, so that nothing goes on writing into
    ``scratch`` while it is removed.
    """
    quiet = {"TMPDIR": scratch, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    process = subprocess.Popen(
        command,
        env={**os.environ, **quiet},
        stdout=None if show else subprocess.PIPE,
        stderr=None if show else subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # the pipe closes when the last of the group is gone
        raise
    return process.returncode, output or ""


def _must(result: tuple[int, str], failure: str) -> None:
    code, output = result
    if code:
        lines = output.strip().splitlines() or ["no message"]
        raise PrepareError(f"{failure}: {lines[-1]}")


def _parsed(text: str) -> SetName:
    """Return what is to be prepared: a name with its version. All labels come, in full size."""
    try:
        name = parse(text)
    except ValueError as error:
        raise PrepareError(str(error)) from None
    if name.is_path:
        raise PrepareError(f"{text!r} is a path, and a set is prepared by its name: see --data_dir")
    return dataclasses.replace(name, label="", size=0)


def _check_name(base: str) -> None:
    """Refuse an unknown name before half a gigabyte is installed, where TFDS is there to ask."""
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        return
    known = tfds.list_builders(with_community_datasets=False)
    first = base.split("/")[0]
    if first not in known:
        near = difflib.get_close_matches(first, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise PrepareError(f"TensorFlow Datasets has no set {first!r}{hint}")


def _is_prepared(name: SetName, data_dir: Path) -> bool:
    """Say whether a version is there as array_record; refuse to mix it with another format."""
    base = name.directory(data_dir)
    formats = [
        json.loads(path.read_text("utf-8")).get("fileFormat", "tfrecord")
        for path in base.glob("*/dataset_info.json")
        if path.is_file() and name.fits(path.parent.name)
    ]
    if formats and "array_record" not in formats:
        raise PrepareError(
            f"{base} holds the set as {formats[0]}: move it away or choose another --data_dir"
        )
    return bool(formats)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="jaxvision.data.prepare", description=__doc__.split("\n")[0]
    )
    parser.add_argument("name", help="a name of TensorFlow Datasets, such as cifar10")
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    parser.add_argument(
        "--data_dir", default=default, help="where to put it (default: %(default)s)"
    )
    chosen = parser.parse_args(arguments)
    try:
        prepare(chosen.name, Path(chosen.data_dir).expanduser())
    except PrepareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; the temporary environment is removed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    # A plain SIGTERM would end the process without removing the environment.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
