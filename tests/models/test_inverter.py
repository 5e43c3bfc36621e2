"""The inverter: images exactly as large as asked, a signal that neither dies nor grows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.models.drawing import initialize_runs
from jaxvision.models.inverter import Inverter, painting
from jaxvision.random import stream
from jaxvision.types import UserError


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 16, 3), (10, 21, 3)])
def test_images_are_exactly_as_large_as_asked(shape):
    inverter = Inverter(shape, 2, 3, (5,))
    variables = jax.eval_shape(inverter.init, jax.random.key(0), jnp.zeros((1, 4)))
    codes = jax.ShapeDtypeStruct((7, 4), jnp.float32)
    images = jax.eval_shape(painting(inverter), variables, codes)
    assert images.shape == (7, *shape)


def test_it_has_the_layers_of_its_docstring():
    inverter = Inverter((16, 16, 3), 4, 2, (6, 5))
    shapes = jax.eval_shape(inverter.init, jax.random.key(0), jnp.zeros((1, 7)))["params"]
    kernels = {name: layer["kernel"].shape for name, layer in shapes.items()}
    assert kernels == {
        "dense1": (7, 6),
        "dense2": (6, 5),
        "maps": (5, 4 * 4 * 16),
        "up1": (4, 4, 8, 16),
        "conv1": (3, 3, 8, 8),
        "up2": (4, 4, 4, 8),
        "image": (3, 3, 4, 3),
    }


def test_an_up_convolution_starts_with_the_variance_of_four_taps_a_pixel():
    """A kernel of 4x4 at stride 2 lays four taps of each channel on a pixel: 2 / (4 C)."""
    inverter = Inverter((16, 16, 1), 16, 2)
    params = initialize_runs(inverter, stream(0, "init")[None], (8,))["params"]
    for name, channels in (("up1", 64), ("up2", 32)):
        wanted = np.sqrt(2 / (4 * channels))
        assert np.std(params[name]["kernel"]) == pytest.approx(wanted, rel=0.05)


def test_a_net_of_one_channel_is_refused():
    with pytest.raises(UserError, match="at least 2 channels, not 1"):
        jax.eval_shape(
            Inverter((8, 8, 1), 1, 2).init,
            jax.random.key(0),
            jnp.zeros((1, 4)),
        )
