"""DCGAN's nets: published parameter counts, any size, batch norm that keeps batches apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.models import dcgan
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.normalization import BatchNorm
from jaxvision.random import stream
from jaxvision.types import UserError


def count(model, *shape):
    """The parameters that a net has for inputs [1, *shape]."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def test_the_published_nets_have_their_parameters():
    """Those that the authors released for SVHN, 32x32, and for faces, 64x64."""
    assert count(dcgan.Generator((32, 32, 3), 64, 3), 100) == 1_446_976
    assert count(dcgan.Discriminator(64, 3), 32, 32, 3) == 1_033_664
    assert count(dcgan.Generator((64, 64, 3), 128, 4), 100) == 18_885_760
    assert count(dcgan.Discriminator(128, 4), 64, 64, 3) == 17_232_768


def test_sizes_round_up():
    assert dcgan.sizes(28, 4) == [28, 14, 7, 4, 2]
    assert dcgan.sizes(32, 3) == [32, 16, 8, 4]
    with pytest.raises(UserError, match="images of 5 pixels cannot be halved 4 times"):
        dcgan.sizes(5, 4)


@pytest.mark.parametrize("shape", [(28, 28, 1), (16, 16, 3), (10, 21, 3)])
def test_images_are_exactly_as_large_as_asked(shape):
    generator = dcgan.Generator(shape, 2, 3)
    variables = jax.eval_shape(generator.init, jax.random.key(0), jnp.zeros((1, 5)))
    codes = jax.ShapeDtypeStruct((7, 5), jnp.float32)
    images = jax.eval_shape(lambda v, z: generator.apply(v, z), variables, codes)
    assert images.shape == (7, *shape)


@pytest.fixture(scope="module")
def pair():
    """A generator and a discriminator for 8x8 images, with the starts of one run."""
    generator, discriminator = dcgan.Generator((8, 8, 1), 4, 2), dcgan.Discriminator(4, 2)
    key = stream(3, "init")[None]
    starts = [
        jax.tree.map(lambda leaf: leaf[0], initialize_runs(net, key, shape))
        for net, shape in ((generator, (6,)), (discriminator, (8, 8, 1)))
    ]
    return generator, discriminator, *starts


def test_weights_begin_at_two_hundredths(pair):
    _, _, generator, discriminator = pair
    kernels = [generator["params"]["dense"]["kernel"], discriminator["params"]["conv2"]["kernel"]]
    for kernel in kernels:
        assert np.std(kernel) == pytest.approx(0.02, rel=0.1)


def test_an_image_alone_is_what_it_is_in_a_batch(pair):
    generator, _, variables, _ = pair
    paint = jax.jit(dcgan.painting(generator), static_argnums=2)
    codes = jax.random.uniform(jax.random.key(1), (8, 6), minval=-1)
    _, stats = paint(variables, codes, True)
    trained = variables | {"batch_stats": stats}
    images, after = paint(trained, codes, False)
    alone, _ = paint(trained, codes[:1], False)
    np.testing.assert_allclose(images[:1], alone, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, after, stats)
    by_batch, _ = paint(trained, codes, True)
    in_company, _ = paint(trained, codes[:4], True)
    assert np.abs(by_batch[:4] - in_company).max() > 1e-3  # the published way: company counts


def test_a_joint_batch_tells_real_from_fake_and_separate_ones_do_not():
    """Batch norm of both halves together hands the discriminator the answer."""
    spread = 0.0952 * np.resize([1, -1], (32, 1))
    real, fake = np.float32(1 + spread), np.float32(-1 + spread)
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), real, train=True)

    def normalized(x):
        return norm.apply(variables, jnp.asarray(x), train=True, mutable=["batch_stats"])[0]

    joint = normalized(np.concatenate([real, fake]))
    assert joint[:32].mean() == pytest.approx(0.9955, abs=1e-4)
    assert joint[32:].mean() == pytest.approx(-0.9955, abs=1e-4)
    assert abs(normalized(real).mean()) < 1e-5
    assert abs(normalized(fake).mean()) < 1e-5


def test_features_are_all_convolutions_pooled_to_four_cells_a_side(pair):
    _, discriminator, _, variables = pair
    images = jax.random.normal(jax.random.key(2), (3, 8, 8, 1))
    found = jax.jit(lambda v, x: dcgan.features(discriminator, v, x))(variables, images)
    assert found.shape == (3, 4 * 4 * 4 + 2 * 2 * 8)
    maps = jnp.arange(36.0).reshape(1, 6, 6, 1)
    pooled = dcgan._pooled(maps, 4)[0, :, :, 0]
    np.testing.assert_array_equal(pooled, [[7, 9, 11], [19, 21, 23], [31, 33, 35]])
    uneven = dcgan._pooled(-maps[:, :5, :5], 4)[0, :, :, 0]
    np.testing.assert_array_equal(uneven, -np.float32([[0, 2, 4], [12, 14, 16], [24, 26, 28]]))
