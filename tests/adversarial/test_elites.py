"""MAP-Elites: who enters the archive, what evolution adds to drawing, and searches without aim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial.ascent import ascend
from jaxvision.adversarial.elites import Archive, admit, map_elites, random_search
from jaxvision.adversarial.genomes import binary_noise, direct, polynomial_mutation
from jaxvision.adversarial.odds import class_odds
from jaxvision.types import UserError

SHAPE = (4, 4, 1)
WEIGHTS = np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32)


def net(images):
    return images.reshape(len(images), -1) @ WEIGHTS


@pytest.mark.parametrize("start", [-300.0, -3.0, 4.0, 320.0])
def test_ascent_ends_with_a_number_however_sure_the_net_is(start):
    """One step raises p by .03 or .1 (1 - p), if it were straight; 1 of log odds at most."""
    image = jnp.full((1, *SHAPE), 0.5)

    def two(images):
        odds = start + (images - 0.5).sum((1, 2, 3))
        return jnp.stack([odds, 0 * odds], -1)

    found = ascend(two, image, jnp.zeros(1, int), image[0], steps=1)
    p = 1 / (1 + np.exp(-np.float64(start)))
    wanted = min(0.03, 0.1 * (1 - p)) if start < 300 else 0
    rise = min(1.0, wanted / (p * (1 - p))) if start < 300 else 0.1
    np.testing.assert_allclose(found.trace[:, 0], [start, start + rise], rtol=1e-4)
    np.testing.assert_array_equal(found.log_odds, found.trace[-1])


def test_the_best_child_of_each_class_takes_its_cell():
    archive = Archive(
        jnp.zeros((3, 1)),
        jnp.zeros((3, 2)),
        jnp.float32([0.0, 1.0, 2.0]),
    )
    genomes = jnp.float32([[1.0], [2.0]])
    odds = jnp.float32([[5.0, 0.5, 2.0], [1.0, 3.0, 2.0]])
    after = admit(
        archive,
        genomes,
        jnp.float32([[10.0, 10.0], [20.0, 20.0]]),
        odds,
    )
    assert after.genomes[:, 0].tolist() == [1.0, 2.0, 0.0]  # an equal takes nothing
    assert after.images[:, 1].tolist() == [10.0, 20.0, 0.0]
    assert after.log_odds.tolist() == [5.0, 3.0, 2.0]


def test_no_number_never_becomes_an_elite():
    """Field fault 22: ``argmax`` and ``maximum`` pick NaN."""
    archive = Archive(
        jnp.zeros((2, 1)),
        jnp.zeros((2, 1)),
        jnp.float32([0.0, -jnp.inf]),
    )
    genomes = jnp.float32([[1.0], [2.0]])
    odds = jnp.float32([[jnp.nan, jnp.nan], [1.0, jnp.nan]])
    after = admit(archive, genomes, genomes, odds)
    assert after.genomes[:, 0].tolist() == [2.0, 0.0]
    assert after.log_odds.tolist() == [1.0, -np.inf]


@pytest.fixture(scope="module")
def evolved():
    run = jax.jit(lambda key: map_elites(net, direct(SHAPE), key, generations=80, children=50))
    return run(jax.random.key(0))


def test_an_elite_is_what_its_trace_says_and_never_gets_worse(evolved):
    assert evolved.trace.shape == (81, 5)
    assert (np.diff(evolved.trace, axis=0) >= 0).all()
    np.testing.assert_array_equal(evolved.trace[-1], evolved.log_odds)
    own = np.diagonal(class_odds(net(evolved.images)))
    np.testing.assert_allclose(own, evolved.log_odds, rtol=1e-5)
    assert evolved.n_forward == 81 * 50


def test_it_comes_near_what_a_linear_net_can_be_made_to_say(evolved):
    """The odds of two classes of a linear net are greatest at a corner; no image beats ascent."""
    start = jnp.full((5, *SHAPE), 0.5)
    best = ascend(net, start, jnp.arange(5), start[0], steps=400).log_odds
    assert (evolved.log_odds > 0.8 * best).all()


def test_evolution_adds_to_drawing_at_equal_cost(evolved):
    for encoding in (direct(SHAPE), binary_noise(SHAPE)):
        drawn = random_search(
            net,
            encoding,
            jax.random.key(0),
            generations=80,
            children=50,
        )
        assert drawn.n_forward == evolved.n_forward
        assert (drawn.log_odds < evolved.log_odds).all()


def test_without_a_fitness_nothing_evolves():
    deaf = map_elites(
        lambda x: jnp.zeros((len(x), 5)),
        direct(SHAPE),
        jax.random.key(0),
        generations=10,
        children=8,
    )
    np.testing.assert_allclose(
        deaf.log_odds,
        -np.log(4),
        rtol=1e-6,
    )  # chance of one in five
    assert (deaf.images == deaf.images[:1]).all()  # the first drawn has every cell, and keeps it
    assert (deaf.trace == deaf.trace[:1]).all()


def test_polynomial_mutation_has_the_density_of_deb():
    """P(step <= d) = (1 + d)^(index + 1) / 2 below 0, and its mirror image above."""
    genes = jnp.full(40_000, 0.5)
    steps = np.asarray(polynomial_mutation(jax.random.key(0), genes, rate=0.25)) - 0.5
    moved = steps[steps != 0]
    assert abs(len(moved) / 40_000 - 0.25) < 0.01
    for d in (-0.1, -0.03):
        assert abs((moved <= d).mean() - (1 + d) ** 16 / 2) < 0.015
        assert abs((moved >= -d).mean() - (1 + d) ** 16 / 2) < 0.015


def test_genes_stay_in_the_box():
    genes = polynomial_mutation(
        jax.random.key(1),
        jnp.zeros(1000),
        rate=1.0,
    )
    assert genes.min() == 0.0
    assert 0 < genes.max() <= 1


def test_ascent_returns_the_surest_image_within_the_box():
    start = jnp.full((5, *SHAPE), 0.5)
    found = jax.jit(lambda x: ascend(net, x, jnp.arange(5), x[0], steps=50))(start)
    assert found.trace.shape == (51, 5)
    assert (np.diff(found.trace, axis=0) >= 0).all()
    assert (found.log_odds > class_odds(net(start))[0]).all()
    np.testing.assert_allclose(
        np.diagonal(class_odds(net(found.images))), found.log_odds, rtol=1e-5
    )
    assert (found.images >= 0).all()
    assert (found.images <= 1).all()


def test_ascent_of_a_flat_net_stands_still():
    start = jnp.full((2, *SHAPE), 0.3)
    found = ascend(
        lambda x: jnp.zeros((len(x), 3)),
        start,
        jnp.arange(2),
        start[0],
        steps=3,
    )
    np.testing.assert_allclose(found.images, start)
    assert not np.isnan(found.trace).any()


def test_a_search_of_nothing_is_refused_in_one_line():
    with pytest.raises(UserError, match="children=0, generations=3: use at least 1 and 0"):
        map_elites(
            net,
            direct(SHAPE),
            jax.random.key(0),
            generations=3,
            children=0,
        )
