"""Differential evolution against scipy's, against an exhaustive search, and on nothing at all."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxvision.adversarial import evolution
from jaxvision.adversarial.api import attack
from jaxvision.adversarial.evolution import (
    PAPER,
    TORCHATTACKS,
    Budget,
    differential_evolution,
)
from jaxvision.adversarial.pixels import corners, every_pixel
from jaxvision.types import UserError

evolve = jax.jit(evolution.evolve, static_argnames=("energy", "scale"))


def valley(genomes):
    """Rosenbrock's, its minimum 0 at (.75, .75) of the unit square."""
    x, y = 4 * genomes[..., 0] - 2, 4 * genomes[..., 1] - 2
    return 100 * (y - x**2) ** 2 + (1 - x) ** 2


def test_it_finds_the_minimum_that_scipy_finds():
    start = jax.random.uniform(jax.random.key(0), (60, 2))
    found = jax.jit(lambda key: evolve(valley, start, key, 150))(jax.random.key(1))
    theirs = optimize.differential_evolution(
        lambda x: float(valley(x)),
        [(0, 1), (0, 1)],
        strategy="rand1bin",
        mutation=0.5,
        recombination=1.0,
        init=np.asarray(start),
        maxiter=150,
        seed=0,
        polish=False,
        tol=0,
    )
    assert theirs.fun < 1e-4
    assert found.energy < 1e-4
    np.testing.assert_allclose(found.genome, [0.75, 0.75], atol=0.01)
    assert found.evaluations == 60 * 151


def test_a_child_that_is_worse_replaces_nobody():
    """So the best energy never rises, and a search for longer finds no less."""
    start = jax.random.uniform(jax.random.key(0), (8, 2))
    run = jax.jit(lambda n: evolve(valley, start, jax.random.key(1), n).energy)
    energies = [run(n) for n in range(6)]
    assert (np.diff(energies) <= 0).all()
    assert energies[0] == valley(start).min()


def test_it_ends_in_the_generation_of_its_goal():
    start = jax.random.uniform(jax.random.key(0), (8, 2))
    found = evolve(valley, start, jax.random.key(1), 100, goal=1e9)
    assert (found.generation, found.evaluations) == (0, 8)
    found = evolve(
        valley,
        start,
        jax.random.key(1),
        100,
        goal=0.01,
    )
    assert found.energy < 0.01
    assert found.evaluations == 8 * (1 + found.generation)


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan, np.inf])
def test_equal_energies_find_nothing(value):
    """Field fault 21: a division by their spread, which is 0."""
    start = jax.random.uniform(jax.random.key(0), (5, 2))
    found = evolve(
        lambda x: jnp.full(len(x), value),
        start,
        jax.random.key(1),
        3,
    )
    assert found.generation == 0
    assert not np.isnan(found.energy)
    assert (found.genome == start[0]).all()


@pytest.fixture(scope="module")
def problem():
    """A linear net of three classes on small color images, with labels that it gives them."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(48, 3)).astype(np.float32)
    images = rng.uniform(size=(12, 4, 4, 3)).astype(np.float32)
    labels = (images.reshape(12, -1) @ weights).argmax(1).astype(np.int32)
    return lambda x: x.reshape(len(x), -1) @ weights, images, labels


def attacked(problem, **options):
    f, images, labels = problem
    run = jax.jit(lambda key: differential_evolution(f, images, labels, key, **options))
    return run(jax.random.key(0))


def test_with_the_paper_s_budget_it_finds_what_corners_find(problem):
    f, images, labels = problem
    oracle = every_pixel(f, images, labels, corners(3))
    assert 0 < oracle.result.success.mean() < 1
    found = attacked(problem, budget=Budget(100, 60))
    assert found.success.tolist() == oracle.result.success.tolist()
    unsolved = ~np.asarray(found.success)
    np.testing.assert_allclose(
        found.score[unsolved],
        oracle.scores[unsolved, 0],
        atol=0.02,
    )


def test_one_pixel_changes_and_passes_are_counted(problem):
    """Field fault 21: one pixel differs, whatever was drawn."""
    found = attacked(problem, budget=TORCHATTACKS)
    assert (found.norms.l0 == 1).all()
    assert (found.images >= 0).all()
    assert (found.images <= 1).all()
    unsolved = ~np.asarray(found.success)
    assert (found.forwards[unsolved] == 110 + 2).all()
    assert PAPER.candidates * (1 + PAPER.generations) == 40_400


def test_what_an_image_meets_does_not_depend_on_the_others(problem):
    f, images, labels = problem
    few = (f, images[:3], labels[:3])
    together = attacked(problem, budget=Budget(20, 5))
    alone = attacked(few, budget=Budget(20, 5))
    np.testing.assert_array_equal(alone.images, together.images[:3])


def test_a_target_is_reached_or_it_is_no_success(problem):
    f, _, labels = problem
    targets = (labels + 1) % 3
    found = attacked(
        problem,
        pixels=3,
        budget=Budget(100, 30),
        targets=targets,
    )
    assert found.success.any()
    hits = f(found.images).argmax(1) == targets
    assert hits.tolist() == found.success.tolist()


def test_a_net_that_hears_nothing_is_not_fooled(problem):
    _, images, labels = problem
    deaf = (lambda x: jnp.zeros((len(x), 3)), images, labels)
    found = attacked(deaf, budget=TORCHATTACKS)
    assert not found.success[np.asarray(labels) == 0].any()
    assert not np.isnan(found.images).any()
    assert (found.norms.l0 == 1).all()
    assert (found.forwards == 110 + 2).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"pixels": 0}, "pixels=0: a pixel attack changes at least 1"),
        ({"budget": Budget(2, 5)}, "candidates=2: a child has three different parents"),
        ({"budget": Budget(9, -1)}, "generations=-1: use 0 or more"),
    ],
)
def test_impossible_searches_are_refused_in_one_line(problem, options, line):
    with pytest.raises(UserError) as refused:
        attacked(problem, **options)
    assert str(refused.value) == line


def test_the_public_call_takes_it_and_refuses_what_no_attack_takes(problem):
    f, images, labels = problem
    evolved = partial(attack, f, None, method=differential_evolution, seed=0)
    found = evolved(images, labels, budget=Budget(10, 3), pixels=2)
    assert found.norms.l0.max() <= 2
    with pytest.raises(UserError, match="not in"):
        evolved(2 * images, labels)
