"""The benchmark of searches: its problem, its ratios and its tables; nothing is timed."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.dense_jax import answer
from benchmarks.searches import ART, CASES, OURS, TORCHATTACKS, check, markdown, problem, ratios


def test_the_problem_is_images_of_which_the_net_is_most_and_least_sure():
    kernels, images = problem("digits", 5)
    assert images.shape == (5, 8, 8, 1)
    logits = np.sort(answer([jnp.asarray(kernel) for kernel in kernels], images), 1)
    leads = logits[:, -1] - logits[:, -2]
    assert (np.diff(leads) <= 1e-3).all()
    assert leads[2] > 10 * leads[3]
    more = problem("digits", 9)[1]
    np.testing.assert_array_equal(more[:3], images[:3])
    np.testing.assert_array_equal(more[-2:], images[-2:])


def test_a_universal_perturbation_is_compared_with_art_without_a_goal():
    case = "universal:mnist:100"
    page = markdown({case: {OURS: side(10.0), ART: side(100.0)}})
    assert f"| {CASES[case].label} (ART) | 10 | 100 | 0.1 |" in page
    assert "0.05" not in page


def side(ms, success=0.5):
    return {"ms": ms, "success": success, "clean": 2, "samples": [0, 0]}


def test_ratios_and_goals_are_of_what_both_sides_ran():
    both, alone = "evolution:mnist:2", "every:digits:8"
    results = {both: {OURS: side(10.0), TORCHATTACKS: side(1000.0)}, alone: {OURS: side(3.0)}}
    assert ratios(results) == {both: 0.01}
    page = markdown(results)
    assert f"| {CASES[both].label} (torchattacks) | 10 | 1e+03 | 0.01 | 0.50, 0.50 | 4/4 |" in page
    assert f"| {CASES[alone].label} | 3 |  |  | 0.50 | 2/2 |" in page
    assert "| 0.01 | 0.05 | met |" in page
    results[both][OURS] = side(100.0)
    assert "**missed**" in markdown(results)


def test_a_search_that_finds_much_less_is_refused():
    check("evolution:mnist:2", side(1.0, success=0.5), side(9.0, success=1.0))
    with pytest.raises(RuntimeError, match=r"ours succeeds 0\.0, theirs 1\.0"):
        check("evolution:mnist:2", side(1.0, success=0.0), side(9.0, success=1.0))
