"""Fixtures of the command line's tests."""

import pytest

from jaxvision import cli
from tests.cli import toy as toys


@pytest.fixture
def toy():
    """A whole experiment that takes no time."""
    return toys.make_toy()


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


@pytest.fixture(autouse=True)
def as_configured(monkeypatch):
    """JAX has started in this process: leave it and the environment as they are."""
    monkeypatch.setattr(cli.runtime, "configure", lambda **_: None)
    monkeypatch.setenv("TFDS_DATA_DIR", "/nowhere")
    yield
    cli.progress_lib.configure(quiet=False)
    cli.switch.configure("auto")


@pytest.fixture
def long_toy(toy, tmp_path):
    """A toy whose ``measure`` takes a work directory, and flags that keep it in ``tmp_path``."""

    def long_measure(config, progress, workdir):
        workdir.part("net").earlier_seconds = 1000.0
        (workdir.directory / "net" / "checkpoints" / "4").mkdir(parents=True, exist_ok=True)
        return toys.measure(config, progress)

    toy.measure = long_measure
    return toy, [f"--results={tmp_path / 'results'}", f"--workdir={tmp_path / 'work'}"]
