"""The same images as foolbox's FGSM and PGD, on the same net."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial.aims import cross_entropy
from jaxvision.adversarial.gradient import fgsm, pgd
from jaxvision.adversarial.threat import L2, LINF

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(9)
IMAGES = jnp.asarray(RNG.random((20, 6, 6, 1)), jnp.float32)
FIRST = jnp.asarray(RNG.normal(size=(36, 24)) / 4, jnp.float32)
SECOND = jnp.asarray(RNG.normal(size=(24, 5)), jnp.float32)
EPS = 0.1


def net(images):
    return jnp.tanh(images.reshape(len(images), 36) @ FIRST) @ SECOND


LABELS = jnp.argmax(net(IMAGES), 1).astype(jnp.int32)


@pytest.fixture(scope="module")
def theirs():
    """Return ``attacked(attack) -> (images, success)`` by foolbox, which promotes as NumPy does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        foolbox = pytest.importorskip("foolbox", exc_type=ImportError)

    def attacked(make):
        loose = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
        with loose[0], loose[1]:
            model = foolbox.JAXModel(net, bounds=(0, 1))
            attack = make(foolbox.attacks)
            _, images, success = attack(model, IMAGES, LABELS, epsilons=EPS)
        return np.asarray(images), np.asarray(success)

    return attacked


def test_fgsm(theirs):
    images, success = theirs(lambda attacks: attacks.FGSM())
    found = fgsm(net, IMAGES, LABELS, EPS)
    np.testing.assert_allclose(found.images, images, atol=1e-6)
    np.testing.assert_array_equal(found.success, success)
    assert 0 < success.mean() < 1


@pytest.mark.parametrize(
    ("name", "ball"), [("LinfPGD", LINF), pytest.param("L2PGD", L2, marks=pytest.mark.slow)]
)
def test_pgd_goes_the_same_way(theirs, name, ball):
    """Theirs is the last iterate. Ours is the best, so it is at least as far."""
    images, success = theirs(
        lambda attacks: getattr(attacks, name)(steps=10, rel_stepsize=0.1, random_start=False)
    )
    found = pgd(
        net,
        IMAGES,
        LABELS,
        EPS,
        ball=ball,
        steps=10,
        relative_step=0.1,
    )
    last = np.asarray(found.best_step) == 10
    assert last.mean() > 0.5
    np.testing.assert_allclose(
        np.asarray(found.images)[last],
        images[last],
        atol=1e-5,
    )
    assert (np.asarray(found.success) >= success).all()
    blind = pgd(
        net, IMAGES, LABELS, EPS, ball=ball, steps=10, relative_step=0.1, loss=cross_entropy
    )
    np.testing.assert_allclose(blind.images, found.images, atol=1e-4)
