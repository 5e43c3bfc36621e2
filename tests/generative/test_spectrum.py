"""The field of a game: eigenvalues by closed form, with and without the matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.generative import spectrum
from jaxvision.random import stream
from jaxvision.types import UserError
from tests.generative.two_numbers import at, bilinear, two_player_game


def key():
    return stream(0, "latent")


def field_of(game, theta=0.0, psi=0.0):
    return spectrum.field(game, at(game, theta, psi), None, key())


def test_the_field_is_minus_both_gradients():
    found = field_of(bilinear(0.1), 1.0, 0.5)
    np.testing.assert_allclose(found.velocity(found.point), [0.5, -1.0])
    assert found.generators == 1


@pytest.mark.parametrize("gamma", [0.1, 0.3, 1.0, 2.0])
def test_r1_damps_by_its_closed_form(gamma):
    """-g/2 +- sqrt(g^2/4 - 1/4): decays .0501, .1497, .5, .1340 with the half in the penalty."""

    def discriminator(theta, psi):
        lost = jax.nn.softplus(theta * psi) + jax.nn.softplus(0.0 * psi)
        return lost + 0.5 * gamma * psi**2

    players = two_player_game(
        lambda theta, psi: -jax.nn.softplus(theta * psi), discriminator, optax.sgd(0.1)
    )
    found = field_of(players)
    values = spectrum.eigenvalues(spectrum.jacobian(found.velocity, found.point))
    root = np.sqrt(gamma**2 / 4 - 1 / 4 + 0j)
    np.testing.assert_allclose(
        values.real, [-gamma / 2 + root.real, -gamma / 2 - root.real], atol=1e-3
    )
    np.testing.assert_allclose(np.abs(values.imag), abs(root.imag), atol=1e-3)


def test_eigenvalues_without_the_matrix_are_those_with_it():
    matrix = np.random.default_rng(0).normal(size=(30, 30)).astype(np.float32)

    def velocity(weights):
        return matrix @ weights

    point = jnp.zeros(30)
    whole = spectrum.eigenvalues(spectrum.jacobian(velocity, point))
    few = spectrum.leading_eigenvalues(velocity, point, count=4, which="LR")
    np.testing.assert_allclose(few.real, whole.real[:4], rtol=1e-4)
    np.testing.assert_allclose(np.abs(few.imag), np.abs(whole.imag[:4]), atol=1e-4)


def test_a_broken_game_has_no_eigenvalues():
    found = spectrum.eigenvalues(np.stack([np.eye(2), np.full((2, 2), np.nan)]))
    np.testing.assert_array_equal(found[0], [1, 1])
    assert np.isnan(found[1]).all()


def test_too_large_a_jacobian_is_refused_in_one_line():
    with pytest.raises(UserError, match="leading_eigenvalues"):
        spectrum.jacobian(lambda w: w, jnp.zeros(spectrum.LARGEST_DENSE + 1))


def test_a_path_into_a_sink_turns_its_sign_at_the_end():
    places = jnp.float32([-0.5, 0.5, 1.5])
    end = jnp.float32([1.0, 2.0])
    found = spectrum.path(lambda w: end - w, jnp.zeros(2), end, places)
    np.testing.assert_allclose(found.angle, [1, 1, -1], rtol=1e-5)
    length = np.sqrt(5)
    np.testing.assert_allclose(found.norm, [1.5 * length, 0.5 * length, 0.5 * length], rtol=1e-5)


def test_a_path_to_the_center_of_a_rotation_is_crossed_at_a_right_angle():
    turn = jnp.float32([[0, 1], [-1, 0]])
    found = spectrum.path(lambda w: turn @ w, jnp.ones(2), jnp.zeros(2), jnp.float32([0, 0.5]))
    np.testing.assert_allclose(found.angle, 0, atol=1e-6)
