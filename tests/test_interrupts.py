"""Ctrl-C that Python would swallow, and Ctrl-C that has to wait."""

import gc
import importlib
import signal
import time

import pytest

from jaxvision import interrupts
from jaxvision.report import plots


@pytest.fixture(autouse=True)
def handler():
    """Ctrl-C is heard, as it is not where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Careless:
    """Is told of Ctrl-C when it goes, where Python ignores what is raised."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_a_callback_of_the_collector_is_heard(capsys):
    """As in that of JAX."""

    def callback(phase, info):
        gc.callbacks.remove(callback)
        signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(callback)
    with pytest.raises(KeyboardInterrupt), interrupts.heard():
        gc.collect()
        time.sleep(10)
    assert capsys.readouterr().err == ""


def test_ctrl_c_while_an_object_goes_is_heard():
    careless = [Careless()]
    with pytest.raises(KeyboardInterrupt), interrupts.heard():
        careless.clear()
        time.sleep(10)


def test_ctrl_c_that_is_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts.heard(), interrupts.held_back():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_ctrl_c_that_is_held_back_comes_at_the_end():
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.held_back():
        signal.raise_signal(signal.SIGINT)
        done.append("all")
    assert done == ["all"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_matplotlib_is_imported_whole(monkeypatch):
    imported = importlib.import_module
    done = []

    def import_module(name):
        signal.raise_signal(signal.SIGINT)
        done.append(name)
        return imported(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(KeyboardInterrupt):
        plots.new_figure()
    assert done == ["jaxvision.report.drawing"]
