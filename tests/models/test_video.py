"""The nets of clips: the paper's parameter counts, composition by the mask, any multiple of 2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvision.models import video
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.space_time import conv3d, conv_transpose3d
from jaxvision.random import stream
from jaxvision.types import UserError

_LAYOUT = ("NDHWC", "DHWIO", "NDHWC")


def shapes_of(model, *shape):
    """Return the parameters' shapes of a net for inputs [1, *shape]; computes nothing."""
    return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)))["params"]


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_paper_s_nets_have_its_parameters():
    """Kernels from the paper's table: 4x4x4 but for the first and last layer; 64 frames' pixels."""
    generator = shapes_of(video.Generator((32, 64, 64, 3), 64, 4), 100)
    kernels = {name: leaf["kernel"].size for name, leaf in generator.items() if "kernel" in leaf}
    assert kernels == {
        "start": 100 * 2 * 4 * 4 * 512,
        "up1": 4**3 * 512 * 256,
        "up2": 4**3 * 256 * 128,
        "up3": 4**3 * 128 * 64,
        "up4": 4**3 * 64 * (3 + 1),
        "still_start": 100 * 4 * 4 * 512,
        "still1": 4**2 * 512 * 256,
        "still2": 4**2 * 256 * 128,
        "still3": 4**2 * 128 * 64,
        "still4": 4**2 * 64 * 3,
    }
    discriminator = shapes_of(video.Discriminator(64, 4), 32, 64, 64, 3)
    convolutions = 4**3 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    others = 64 + 2 * (128 + 256 + 512) + 2 * 4 * 4 * 512 + 1
    assert count(discriminator) == convolutions + others


@pytest.mark.parametrize("size", [(8, 6, 4), (5, 8, 3)])
def test_convolutions_over_time_are_lax_s_and_their_transposes_adjoint(size):
    keys = jax.random.split(jax.random.key(1), 3)
    x = jax.random.normal(keys[0], (2, *size, 3))
    kernel = jax.random.normal(keys[1], (4, 4, 4, 3, 5))

    @jax.jit
    def both(x, kernel, key):
        ours = conv3d(x, kernel, 2)
        theirs = lax.conv_general_dilated(x, kernel, (2, 2, 2), "SAME", dimension_numbers=_LAYOUT)
        y = jax.random.normal(key, ours.shape)
        back = conv_transpose3d(y, kernel, 2, size)
        return ours, theirs, jnp.vdot(ours, y), jnp.vdot(x, back)

    ours, theirs, forward, backward = both(x, kernel, keys[2])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(forward, backward, rtol=1e-4)


@pytest.mark.parametrize("shape", [(7, 16, 16, 3), (8, 18, 16, 3), (8, 16, 6, 3)])
def test_sizes_that_do_not_halve_are_refused(shape):
    with pytest.raises(UserError, match="must be multiples of 4"):
        video.base_of(shape, 2)


@pytest.fixture(scope="module")
def painted():
    """A generator, one start of it, and its clips of four codes in both modes."""
    generator = video.Generator((4, 8, 8, 3), 2, 2)
    variables = initialize_runs(generator, stream(3, "init")[None], (5,))
    variables = jax.tree.map(lambda leaf: 30 * leaf[0], variables)
    paint = jax.jit(video.painting(generator), static_argnums=2)
    codes = jax.random.normal(jax.random.key(1), (4, 5))
    return paint, variables, codes, paint(variables, codes, False)[0]


def test_a_clip_is_foreground_where_its_mask_is_one_and_background_where_it_is_zero(painted):
    streams = jax.device_get(painted[3])
    m, f, b = streams.mask, streams.foreground, streams.background[:, None]
    assert m.min() < 0.1
    assert m.max() > 0.9
    np.testing.assert_allclose(streams.clip, m * f + (1 - m) * b, atol=1e-6)
    whole, nothing = np.ones_like(m), np.zeros_like(m)
    behind = np.broadcast_to(b, f.shape)
    np.testing.assert_array_equal(video.composed(f, whole, streams.background), f)
    np.testing.assert_array_equal(video.composed(f, nothing, streams.background), behind)
    alone = video.one_stream(streams)
    np.testing.assert_array_equal(alone.clip, f)
    assert (alone.mask == 1).all()


def test_a_clip_alone_is_what_it_is_in_a_batch(painted):
    paint, variables, codes, streams = painted
    alone, _ = paint(variables, codes[:1], False)
    np.testing.assert_allclose(alone.clip, streams.clip[:1], atol=1e-5)


def test_the_judge_reads_the_order_of_frames():
    """It is a net over time: the same frames backwards get another logit."""
    model = video.Discriminator(2, 2)
    variables = initialize_runs(model, stream(4, "init")[None], (4, 8, 8, 3))
    variables = jax.tree.map(lambda leaf: 30 * leaf[0], variables)
    judge = jax.jit(video.judging(model), static_argnums=2)
    clips = jax.random.normal(jax.random.key(2), (2, 4, 8, 8, 3))
    logits, _ = judge(variables, clips, False)
    backwards, _ = judge(variables, clips[:, ::-1], False)
    assert np.abs(logits - backwards).min() > 1e-3
