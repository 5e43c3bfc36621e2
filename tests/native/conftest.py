"""The kernels of this machine, and how to do without them for a while."""

import contextlib

import jax
import pytest

from jaxvision.native import switch


@pytest.fixture
def native():
    """Make sure that the kernels are used: else skip, where there is no compiler."""
    switch.configure("auto")
    if why := switch.why_not():
        pytest.skip(why)


@pytest.fixture
def plain():
    """Return a context in which ``act_conv`` is traced as its definition."""

    @contextlib.contextmanager
    def without_kernels():
        switch.configure("off")
        jax.clear_caches()
        try:
            yield
        finally:
            switch.configure("auto")
            jax.clear_caches()

    return without_kernels
