"""What every test shares: how JAX is set up before it starts, and where prepared image sets lie."""

import functools
import gc
import importlib.metadata
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Environment rather than jax.config, so that commands started by a test are set up alike; and
# before the first import of JAX, which reads it only once.
CACHE = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
# One folder a test process: JAX writes an entry in place, and another would read it half written.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):  # it has inherited CACHE from its controller
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(CACHE) / worker)
# A test process a core: NumPy's linear algebra on all of them would make them wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Most of a test's time is LLVM optimizing programs that run for milliseconds. What XLA makes of a
# program (fusion, layouts, convolutions) stays as it is. XLA_FLAGS= (empty) runs them optimized.
# The emitters of fused loops cost as much again.
_QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if importlib.metadata.version("jaxlib").startswith("0.10."):  # flags come and go
    _QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _QUICK)
# A forgotten axis broadcasts silently ([B] with [B, K]); in a test it is an error.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# Two draws from one key are the same numbers in disguise.
os.environ.setdefault("JAX_DEBUG_KEY_REUSE", "1")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax._src.interpreters import mlir  # noqa: E402

from jaxvision import cli, runtime  # noqa: E402
from jaxvision.data import Splits, embedded  # noqa: E402
from jaxvision.report.record import Record  # noqa: E402
from tests.lab import lab  # noqa: E402, F401 (a fixture of every folder)

# Numbers of two types are mixed by mistake, or by a cast that says so. Not in the environment, and
# not inside Adam of optax, which raises a decay to a whole number of steps.
jax.config.update("jax_numpy_dtype_promotion", "strict")
optax.tree.bias_correction = jax.numpy_dtype_promotion("standard")(optax.tree.bias_correction)

# Every lowering makes a context of MLIR anew, a quarter of what a small program costs; one serves
# all. Where JAX has moved the function, tests are slower and no more.
if make_ir_context := getattr(mlir, "make_ir_context", None):
    mlir.make_ir_context = functools.cache(make_ir_context)

# Two devices, so that mapping runs over devices is really exercised, on any machine.
runtime.configure(cpu_devices=2)

# The same examples in every run; no deadline, because the first example pays for compiling.
hypothesis.settings.register_profile("jaxvision", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("jaxvision")


CPU_SECONDS = 30  # of a test that is not slow: three times what one may take, on a slow machine
_STARTED = pytest.StashKey[float]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked ``gpu`` where JAX finds no accelerator."""
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if needing and jax.default_backend() == "cpu":
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="JAX finds no accelerator here"))


def pytest_collection_finish() -> None:
    """Leave what has been imported out of every later search for garbage: a fifteenth of a test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start the test's clock; what it waits for does not count."""
    item.stash[_STARTED] = time.process_time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Fail a test that takes very long, its fixtures included, and is not marked ``slow``."""
    result = yield
    spent = time.process_time() - item.stash[_STARTED]
    if spent > CPU_SECONDS and not item.get_closest_marker("slow"):
        pytest.fail(f"{spent:.0f} s of CPU: shorten it to {CPU_SECONDS / 3:.0f}, or mark it slow")
    return result


@pytest.fixture(scope="module")
def optimized():
    """Let LLVM optimize a module's runs a little: those that compute longer than they compile."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(runtime.CPU_OPTIONS, "xla_backend_optimization_level", "1")
        yield


@pytest.fixture(scope="session")
def tfds_data_dir() -> str:
    """Return the directory of prepared TensorFlow Datasets sets, or skip the test."""
    beside = ROOT.parent / "shared" / "tensorflow_datasets"
    directory = os.environ.get("TFDS_DATA_DIR") or str(beside)
    if not Path(directory).is_dir():
        pytest.skip("no prepared image sets: TFDS_DATA_DIR does not name a directory")
    return directory


@pytest.fixture(scope="session")
def tiny_record():
    """Return ``record(module)``: an experiment at its tiny preset, measured once a session."""

    @functools.cache
    def measured(module: ModuleType) -> Record:
        name = module.__name__.rpartition(".")[2]
        command = f"python -m experiments {name} --preset=tiny"
        before = time.process_time()
        record = cli.run(module, module.PRESETS["tiny"], "tiny", f"{name}-tiny", command)
        measured.cpu_seconds[module] = time.process_time() - before
        return record

    measured.cpu_seconds = {}
    return measured


@pytest.fixture
def relabelled(monkeypatch):
    """Return ``register(name, draw)``: the digits under labels ``draw(rng, labels)``, by a name."""

    def register(name: str, draw: Callable) -> None:
        def splits() -> Splits:
            digits = embedded.digits()
            labels = draw(np.random.default_rng(0), digits.train.labels).astype(np.int32)
            return digits._replace(name=name, train=digits.train._replace(labels=labels))

        monkeypatch.setitem(embedded.EMBEDDED, name, splits)

    return register
