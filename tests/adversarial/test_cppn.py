"""Networks that paint: what they compute, and that their structure stays sound as it evolves."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial.cppn import INPUTS, Cppn, activate, cppn, hsv_to_rgb, mutate
from jaxvision.types import UserError

NODES = 10


def test_a_network_with_a_hidden_node_by_hand():
    """The column, doubled, into a Gaussian; that times 3, plus the constant, into a line."""
    weights = np.zeros((6, 6), np.float32)
    weights[0, 5] = 2.0
    weights[5, 4] = 3.0
    weights[3, 4] = 1.0
    network = Cppn(
        weights=jnp.asarray(weights),
        linked=jnp.asarray(weights != 0),
        depth=jnp.float32([0, 0, 0, 0, 1, 0.5]),
        alive=jnp.ones(6, bool),
        kind=jnp.int32([0, 0, 0, 0, 3, 2]),
    )
    columns = [0.0, 0.5, -1.0]
    inputs = jnp.float32([columns, [0, 0, 0], [0, 0, 0], [1, 1, 1]])
    said = activate(network, inputs, 1)
    heard = np.square([0.0, 1.0, -2.0])
    expected = 3 * np.exp(-heard) + 1
    np.testing.assert_allclose(
        said[0],
        expected,
        rtol=1e-5,
    )


@pytest.fixture(scope="module")
def lineage():
    """200 genomes after 30 mutations each, and those they began with."""
    encoding = cppn((5, 5, 1), NODES)
    drawn = jax.random.split(jax.random.key(0), 200)
    first = jax.jit(jax.vmap(encoding.draw))(drawn)

    def generation(genomes, key):
        keys = jax.random.split(key, 200)
        return jax.vmap(encoding.mutate)(keys, genomes), None

    keys = jax.random.split(jax.random.key(1), 30)

    def evolved(genomes):
        last, _ = jax.lax.scan(generation, genomes, keys)
        return last, jax.vmap(encoding.express)(last)

    last, images = jax.jit(evolved)(first)
    return first, last, images


def test_it_starts_without_hidden_nodes(lineage):
    first, _, _ = lineage
    assert (np.asarray(first.alive).sum(1) == INPUTS + 1).all()
    assert (np.asarray(first.linked).sum((1, 2)) == INPUTS).all()


def test_networks_grow_and_stay_sound(lineage):
    """Connections run forward between living nodes, so that there is no circle."""
    _, last, _ = lineage
    alive = np.asarray(last.alive)
    linked = np.asarray(last.linked)
    depth = np.asarray(last.depth)
    assert alive[:, : INPUTS + 1].all()
    hidden = alive[:, INPUTS + 1 :].sum(1)
    assert hidden.min() < 2
    assert hidden.max() > 3
    network, source, target = np.nonzero(linked)
    assert alive[network, source].all()
    assert alive[network, target].all()
    assert (depth[network, source] < depth[network, target]).all()
    assert np.abs(last.weights).max() <= 10.0


def test_every_kind_of_change_happens(lineage):
    first, last, _ = lineage
    joined = np.asarray(first.linked & last.linked)
    kept = joined.sum((1, 2))
    assert (kept < INPUTS).any()  # something was cut
    assert np.unique(last.kind).tolist() == [0, 1, 2, 3]


def test_what_they_paint_is_an_image(lineage):
    _, _, images = lineage
    assert images.shape == (200, 5, 5, 1)
    assert (images >= 0).all()
    assert (images <= 1).all()
    assert images.std((1, 2, 3)).max() > 0.2


def test_a_full_network_still_mutates():
    fixed = INPUTS + 1
    encoding = cppn((3, 3, 1), fixed)  # no room for hidden nodes
    genome = encoding.draw(jax.random.key(0))
    child = jax.jit(lambda key, genome: mutate(key, genome, fixed))
    for i in range(5):
        genome = child(jax.random.key(10 + i), genome)
    assert genome.alive.sum() == fixed


def test_color_is_that_of_the_standard_library():
    colors = np.random.default_rng(0).uniform(size=(50, 3)).astype(np.float32)
    expected = [colorsys.hsv_to_rgb(*color) for color in colors.tolist()]
    np.testing.assert_allclose(
        hsv_to_rgb(jnp.asarray(colors)),
        expected,
        atol=1e-5,
    )


def test_color_images_have_three_channels():
    encoding = cppn((4, 6, 3), NODES)
    image = jax.jit(lambda key: encoding.express(encoding.draw(key)))(jax.random.key(0))
    assert image.shape == (4, 6, 3)


@pytest.mark.parametrize(("shape", "nodes"), [((4, 4, 2), 10), ((4, 4, 3), 6)])
def test_impossible_networks_are_refused(shape, nodes):
    with pytest.raises(UserError, match=r"channels|nodes"):
        cppn(shape, nodes)
