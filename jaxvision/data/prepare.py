"""Prepare a set of TensorFlow Datasets: what ``make data-<name>`` runs.

    python -m jaxvision.data.prepare cifar10 [--data_dir=DIR]

Building a set needs TensorFlow, reading it does not. So TensorFlow goes into an environment of its
own in a temporary directory, which is removed at the end, whatever the end. Only the standard
library is used: the file also runs by itself, ``python jaxvision/data/prepare.py cifar10``.
"""

import argparse
import difflib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

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
    with open(reason, "w") as file:
        file.write(f"{type(error).__name__}: {lines[0]}")
    sys.exit(1)
"""


class PrepareError(Exception):
    """The set cannot be prepared: one line that says why."""


def packages(system: str, machine: str) -> list[str]:
    """Return what to install; a CPU-only TensorFlow exists for x86 Linux and Windows alone."""
    light = system in ("Linux", "Windows") and machine.lower() in ("x86_64", "amd64")
    tensorflow = "tensorflow-cpu" if light else "tensorflow"
    # importlib_resources: imported by tensorflow-datasets, not declared; scipy: reads .mat sources.
    return [
        tensorflow,
        "tensorflow-datasets>=4.9.10,<5",
        "array_record",
        "importlib_resources",
        "scipy",
    ]


def install_command(python: Path) -> list[str]:
    """Return the command that fills the environment of ``python``."""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # pip's own five retries make a machine without a network wait for a minute.
    return [*pip, "--retries=1", "--timeout=15", *packages(platform.system(), platform.machine())]


def build_command(python: Path, name: str, data_dir: Path, reason: Path) -> list[str]:
    """Return the command that downloads and prepares the set."""
    return [str(python), "-c", _BUILD, name, str(data_dir), str(reason)]


def prepare(name: str, data_dir: Path) -> None:
    """Download and prepare ``name`` (``mnist``, ``imagenet_resized/32x32``) as array_record.

    Raises:
      PrepareError: the name is unknown, the network is missing, or the build failed.
    """
    _check_name(name)
    if _is_prepared(name, data_dir):
        print(f"{name} is already prepared in {data_dir}")
        return
    with tempfile.TemporaryDirectory(prefix="jaxvision-prepare-") as scratch:
        environment, reason = Path(scratch) / "env", Path(scratch) / "reason"
        python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        print(f"installing TensorFlow for the time being in {environment}", flush=True)
        _run([sys.executable, "-m", "venv", str(environment)], "cannot make an environment")
        _run(install_command(python), "cannot install TensorFlow (is there a network?)")
        print(f"preparing {name} in {data_dir}", flush=True)
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TMPDIR": scratch}
        command = build_command(python, name, data_dir, reason)
        # Its output is the progress of the download: let it through.
        if subprocess.run(command, env={**os.environ, **quiet}).returncode:
            why = reason.read_text() if reason.exists() else "the process died"
            raise PrepareError(f"cannot prepare '{name}': {why}")
    print(f"{name} is ready in {data_dir} (its downloads stay in {data_dir / 'downloads'})")


def _run(command: list[str], failure: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["no message"]
        raise PrepareError(f"{failure}: {lines[-1]}")


def _check_name(name: str) -> None:
    """Refuse an unknown name before half a gigabyte is installed, where TFDS is there to ask."""
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        return
    known = tfds.list_builders(with_community_datasets=False)
    base = name.replace(":", "/").split("/")[0]
    if base not in known:
        near = difflib.get_close_matches(base, known, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise PrepareError(f"TensorFlow Datasets has no set '{base}'{hint}")


def _is_prepared(name: str, data_dir: Path) -> bool:
    """Say whether a version is there as array_record; refuse to mix it with another format."""
    base = data_dir / name.replace(":", "/")
    formats = [
        json.loads(path.read_text()).get("fileFormat", "tfrecord")
        for path in [base / "dataset_info.json", *base.glob("*/dataset_info.json")]
        if path.is_file()
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
    # A plain SIGTERM would end the process without removing the environment.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        prepare(chosen.name, Path(chosen.data_dir).expanduser())
    except PrepareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the temporary environment is removed", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
