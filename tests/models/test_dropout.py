"""Dropout: its values, its moments, and masks that are a function of (seed, step, layer)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.dropout import DropoutMLP, dropped
from jaxvision.models.layers import apply_function
from jaxvision.random import stream

IMAGES = jax.random.normal(jax.random.key(1), (6, 4, 4, 1))
ONES = jnp.ones(1000)


@pytest.fixture(scope="module", params=[False, True], ids=["bare", "batch norm"])
def net(request):
    """A net's apply function and its variables."""
    model = DropoutMLP(4, 8, 3, he_forward(), normalized=request.param)
    return apply_function(model), initialize(model, stream(0, "init"), IMAGES.shape[1:])


def test_values_are_zero_and_one_over_what_is_kept():
    """Of 2^16 draws, so that the mean is exact whatever the probability."""
    for keep, draws in ((0.5, 32768), (0.8, 52429), (1e-9, 1)):
        units = jnp.ones(400_000 if draws == 1 else 1000)
        found = np.unique(dropped(stream(0, "dropout"), units, jnp.float32(keep)))
        np.testing.assert_array_equal(found, np.float32([0, 65536 / draws]))


def test_keeping_all_is_the_identity_to_the_bit():
    x = jax.random.normal(jax.random.key(0), (100,))
    np.testing.assert_array_equal(dropped(stream(0, "dropout"), x, jnp.float32(1)), x)


@pytest.mark.parametrize("noise", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("keep", [0.25, 0.5, 0.8])
def test_noise_has_mean_one_and_variance_q_over_p(noise, keep):
    many = np.asarray(dropped(stream(3, "dropout"), jnp.ones(200_000), keep, noise))
    variance = (1 - keep) / keep
    assert abs(many.mean() - 1) < 5 * np.sqrt(variance / many.size)
    assert abs(many.var() / variance - 1) < 0.03


def test_gaussian_noise_is_normal():
    many = np.asarray(dropped(stream(3, "dropout"), jnp.ones(200_000), 0.5, "gaussian"))
    assert abs(((many - many.mean()) ** 4).mean() / many.var() ** 2 - 3) < 0.1
    assert many.min() < -2  # where Bernoulli noise stops at 0


def kept(seed, step, place):
    key = jax.random.fold_in(stream(seed, "dropout", step), place)
    return np.asarray(dropped(key, ONES, 0.5)) > 0


def test_masks_of_other_steps_seeds_and_layers_agree_by_chance_alone():
    """Met elsewhere: one mask at every step, or in all seeds of a vmapped sweep."""
    first = kept(0, 0, 0)
    for other in (kept(0, 1, 0), kept(1, 0, 0), kept(0, 0, 1)):
        assert abs((first == other).mean() - 0.5) < 0.05
    np.testing.assert_array_equal(first, kept(0, 0, 0))


def test_masks_under_vmap_are_those_of_each_seed_alone():
    together = jax.vmap(lambda seed: dropped(stream(seed, "dropout", 4), ONES, 0.5))(jnp.arange(3))
    for seed in range(3):
        np.testing.assert_array_equal(
            together[seed], dropped(stream(seed, "dropout", 4), ONES, 0.5)
        )


def test_evaluation_is_the_identity_to_the_bit(net):
    apply, start = net
    variables = start["params"], start["batch_stats"]
    plain, _, _ = apply(*variables, IMAGES, train=False)
    told, _, _ = apply(*variables, IMAGES, train=False, keep=0.1, keep_input=0.1, keep_last=0.1)
    np.testing.assert_array_equal(plain, told)


def test_a_key_asks_for_noise_in_evaluation_too(net):
    apply, start = net
    sampled = partial(apply, start["params"], start["batch_stats"], IMAGES, train=False, keep=0.5)
    one, two = (sampled(dropout_key=stream(0, "dropout", step))[0] for step in range(2))
    assert not np.array_equal(one, two)
    _, _, statistics = sampled(dropout_key=stream(0, "dropout", 0))
    jax.tree.map(np.testing.assert_array_equal, statistics, start["batch_stats"])


def test_training_without_a_key_is_refused(net):
    apply, start = net
    with pytest.raises(ValueError, match="dropout_key"):
        apply(start["params"], start["batch_stats"], IMAGES, train=True)


def test_each_place_has_a_probability_of_its_own():
    """Of 4 layers: the pixels, the two hidden layers, and the last hidden one."""
    model = DropoutMLP(4, 50, 3, he_forward())
    start = initialize(model, stream(0, "init"), IMAGES.shape[1:])
    apply = partial(apply_function(model), start["params"], {}, IMAGES, train=False)
    plain = apply()[1]

    def changed(**keeps):
        noisy = apply(dropout_key=stream(0, "dropout", 0), **keeps)[1]
        return [not np.array_equal(noisy[name], plain[name]) for name in plain]

    assert changed(keep_input=0.5) == [True, True, True, True]
    assert changed(keep=0.5, keep_last=1.0) == [False, True, True, True]
    assert changed(keep=1.0, keep_last=0.5) == [False, False, False, True]
    assert changed(keep=0.5) == changed(keep=0.5, keep_last=1.0)


def test_gradients_pass_where_units_are_kept():
    key = stream(0, "dropout")
    slope = jax.grad(lambda x: dropped(jax.random.clone(key), x, 0.5).sum())(ONES)
    np.testing.assert_array_equal(slope, dropped(key, ONES, 0.5))


def test_noise_keeps_the_type_of_what_it_multiplies():
    x = jnp.ones((4, 4), jnp.bfloat16)
    assert dropped(stream(0, "dropout"), x, 0.5).dtype == jnp.bfloat16
