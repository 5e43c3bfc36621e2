"""What must be set before JAX starts, and the ``jit`` of the house.

Importing this module does nothing but define functions: whoever starts a program calls
``configure`` first, before any JAX array exists. Each piece has an off switch, a word in the
comma-separated environment variable ``JAXVISION_DISABLE``:

  devices    several single-threaded CPU devices, for sweeps that map seeds over cores
  cache      the compile cache on disk
  options    compiler options of ``jit``
  conv       the convolution of ``convolution.py``; ``lax``'s own is used where no kernel is
  native     the kernels of ``act_conv.py`` and ``conv_transpose.py``; JAX computes both instead
"""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jaxvision.types import UserError

SWITCHES = ("devices", "cache", "options", "conv", "native")

# Keeps convolutions from YNNPACK: it runs them on one thread, and weight gradients of large images
# 2 to 3 times slower than Eigen. On single-threaded devices it is the faster one for small images.
_MANY_THREADS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    ),
}
CPU_OPTIONS = {
    # This pass removes optimization barriers before fusion, which then repeats the work they guard.
    "xla_disable_hlo_passes": "cse_barrier_expander",
}


def disabled() -> frozenset[str]:
    """Return the words of ``JAXVISION_DISABLE``.

    Raises:
      UserError: a word is none of ``SWITCHES``.
    """
    text = os.environ.get("JAXVISION_DISABLE", "")
    words = frozenset(word.strip() for word in text.split(",") if word.strip())
    for word in sorted(words - set(SWITCHES)):
        raise UserError(f"JAXVISION_DISABLE={word}: unknown word, use any of {','.join(SWITCHES)}")
    return words


def configure(cpu_devices: int | None = None) -> None:
    """Set compile cache, CPU devices and precision, before JAX makes its first array.

    Calling it again is harmless.

    Args:
      cpu_devices: number of single-threaded CPU devices, usually ``os.cpu_count()``; None leaves
        JAX's one device that uses every core. Accelerators are not affected.

    Raises:
      UserError: JAX has already started with another number of CPU devices, or
        ``JAXVISION_DISABLE`` has an unknown word.
    """
    import jax

    off = disabled()
    # float32 means float32: the default rounds products to bfloat16 on TPU, to TF32 on a GPU.
    jax.config.update("jax_default_matmul_precision", "highest")
    if "cache" not in off:
        _use_compile_cache()
    if cpu_devices is not None and "devices" not in off:
        _split_cpu(cpu_devices)


def start() -> None:
    """Start JAX on its devices, after ``configure``.

    Raises:
      UserError: it cannot: ``JAX_PLATFORMS`` names a platform that is not here.
    """
    import jax

    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        # An assertion: the platform's plugin is there, its devices are not.
        asked = os.environ.get("JAX_PLATFORMS")
        why = (str(error).strip().splitlines() or ["no such device"])[0]
        mend = f"JAX_PLATFORMS is '{asked}': unset it or name one that is here" if asked else why
        raise UserError(f"JAX finds no device to run on; {mend}") from error


def usable_cores() -> int:
    """Return how many cores this process may use: fewer in a container or under ``taskset``.

    ``JAXVISION_CORES`` says another number, so that a run is laid out alike on any machine.

    Raises:
      UserError: it says no number.
    """
    if text := os.environ.get("JAXVISION_CORES"):
        if not re.fullmatch("[1-9][0-9]{0,4}", text):
            raise UserError(f"JAXVISION_CORES={text}: give a number of cores, from 1 on")
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory this process may use: less in a container or under SLURM.

    ``root`` is where ``/proc`` and ``/sys`` are.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *_group_limits(root)])


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the memory limits of this process's control group and of those that it lies in."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:  # number:controllers:group
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):  # version 1
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inner = base / group.lstrip("/")
        # In a container the group may have its outer name, but lies at the root.
        for directory in (inner, *(d for d in inner.parents if d.is_relative_to(base))):
            with contextlib.suppress(OSError, ValueError):  # none there, or 'max'
                yield int((directory / name).read_text(encoding="utf-8"))


def jit(fn: Callable, **jit_kwargs: Any) -> Callable:
    """Return ``jax.jit(fn, **jit_kwargs)`` with the compiler options that pay on this backend.

    For outermost functions only (JAX takes compiler options nowhere else). Starts JAX: do not call
    it at import time.
    """
    import jax

    return jax.jit(fn, compiler_options=compiler_options(), **jit_kwargs)


def jit_once(fn: Callable, **jit_kwargs: Any) -> Callable:
    """Return ``jax.jit(fn, **jit_kwargs)`` for a program that runs a few times: quick to compile.

    On CPU without optimization: drawing a net's weights then compiles five times faster.
    """
    import jax

    hurry = {"xla_backend_optimization_level": "0"} if compiler_options() else None
    return jax.jit(fn, compiler_options=hurry, **jit_kwargs)


def compile_together(*calls: tuple[Callable, tuple]) -> None:
    """Compile jitted functions for their arguments, side by side: each takes one core alone.

    A call with such arguments then finds its program; where there is one nothing is compiled.
    """
    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(lambda call: call[0].lower(*call[1]).compile(), calls))


def compiler_options() -> dict[str, str]:
    """Return the options that ``jit`` passes on: none off CPU, none that the compiler refuses."""
    import jax

    if "options" in disabled() or jax.default_backend() != "cpu":
        return {}
    options = CPU_OPTIONS if os.environ.get("PJRT_NPROC") == "1" else _MANY_THREADS | CPU_OPTIONS
    return {name: value for name, value in options.items() if _accepted(name, value)}


@functools.cache
def _accepted(name: str, value: str) -> bool:
    """Whether the installed compiler takes an option: compiles one trivial function to see."""
    import jax

    try:
        shape = jax.ShapeDtypeStruct((), "float32")
        jax.jit(lambda x: x, compiler_options={name: value}).lower(shape).compile()
    # Experimental options come and go, and how a refusal is reported differs between versions.
    except Exception:
        return False
    return True


def user_cache() -> Path:
    """Return ``$XDG_CACHE_HOME``, by default ``~/.cache``.

    Raises:
      UserError: this user has no home.
    """
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    try:
        return Path.home() / ".cache"
    except RuntimeError as error:
        raise UserError("there is no home folder here: set XDG_CACHE_HOME to one") from error


def _use_compile_cache() -> None:
    """Keep compiled programs in ``JAX_COMPILATION_CACHE_DIR`` or the user's cache folder."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        try:
            folder = user_cache() / "jaxvision"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Programs are run as they lie there: use no folder that another user can write to.
            if folder.stat().st_uid != os.getuid():
                return
            folder.chmod(0o700)
        except (OSError, UserError):
            return  # A home that cannot be written, or none, costs speed, never the run.
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _split_cpu(count: int) -> None:
    import jax

    # One intra-op thread per device; read by the CPU client when it starts.
    os.environ.setdefault("PJRT_NPROC", "1")
    if jax.config.jax_num_cpu_devices == count:
        return
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError as error:
        raise UserError(
            f"{count} CPU devices wanted but JAX has started: call runtime.configure first"
        ) from error
