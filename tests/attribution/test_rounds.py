import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.attribution import maps
from jaxvision.attribution.rounds import in_rounds


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_rounds_give_what_one_call_gives(count):
    x, y = jnp.arange(count), jnp.arange(2 * count).reshape(count, 2)

    def function(x, y):
        assert len(x) == len(y) <= 4
        return {"sum": x[:, None] + y, "square": x**2}

    found = in_rounds(function, x, y, at_once=4)
    np.testing.assert_array_equal(found["sum"], x[:, None] + y)
    np.testing.assert_array_equal(found["square"], x**2)


def test_maps_of_many_images_are_those_of_each(monkeypatch):
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=(16, 3)), jnp.float32)
    images = jnp.asarray(rng.normal(size=(7, 4, 4, 1)), jnp.float32)
    classes = jnp.arange(7) % 3

    def f(images):
        return jnp.tanh(images.reshape(len(images), -1) @ weights)

    whole = maps.gradient(f, images, classes)
    monkeypatch.setattr(maps, "_PIXELS", 48)  # three images at once
    np.testing.assert_allclose(maps.gradient(f, images, classes), whole, rtol=1e-6)
