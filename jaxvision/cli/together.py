"""What the processes of one run must have in common, and who of them shows progress."""

import contextlib
import dataclasses
import hashlib
from types import ModuleType
from typing import Any

import jax
from absl import flags

from jaxvision import data, runtime
from jaxvision.cli.parsing import code_of, name_of
from jaxvision.native import switch
from jaxvision.parallel import distributed
from jaxvision.progress import ShowProgress, progress, silent
from jaxvision.types import UserError


def identity_of(experiment: ModuleType, values: flags.FlagValues, config: Any) -> dict[str, str]:
    """Return what all processes of this run have in common: name -> short text."""
    known = {
        "experiment": name_of(experiment),
        "code": code_of(experiment),
        "jax": jax.__version__,
        "JAXVISION_DISABLE": ",".join(sorted(runtime.disabled())),
        "--native": values.native,
        "--claim": values.claim,
        "--plot_only": values.plot_only,
        "--data_devices": values.data_devices,
    }
    known |= {f"--{name}": value for name, value in dataclasses.asdict(config).items()}
    return {name: _shortened(str(value)) for name, value in known.items()}


def data_identity() -> dict[str, str]:
    """Return which data sets this process has loaded, and their content."""
    return {
        f"data set {known.name}": " ".join(filter(None, (known.version, known.label, known.digest)))
        for known in data.identities()
    }


def agree_on_kernels() -> None:
    """Compare whether native kernels are on; with several processes a meeting.

    Raises:
      UserError: in every process, where ``--native=auto`` finds a compiler on some hosts alone.
    """
    if not distributed.several():
        return
    try:
        distributed.agree({"native kernels": "on" if switch.is_on() else "off"})
    except UserError as error:
        raise UserError(f"{error}, with a C++ compiler on every host or --native=off") from error


def _shortened(text: str) -> str:
    if len(text) <= 80:
        return text
    return f"{text[:60]}... {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def shown_by_one() -> ShowProgress:
    """Return what shows progress; of several processes the first alone does.

    Those compare their data sets as well, when the work that is shown begins: they are loaded then.
    """
    show = progress if distributed.is_main() else silent
    if not distributed.several():
        return show
    compared = False

    def compare_and_show(*arguments: Any, **options: Any) -> contextlib.AbstractContextManager:
        nonlocal compared
        if not compared:
            distributed.agree(data_identity())
        compared = True
        return show(*arguments, **options)

    return compare_and_show
