"""The helpers of robustness_in_training: pairing, crossing in time, margins, random nets."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.breaking import _along as along
from experiments.breaking import _along_nets as along_nets
from experiments.breaking import _along_normalized as normalized
from experiments.breaking import _along_pairs as pairs
from experiments.breaking import _along_pixels as pixels
from experiments.breaking import _along_start as start
from experiments.breaking import robustness_in_training as experiment
from experiments.breaking._along_families import (
    compared,
    compared_along,
    families_of,
    measured_families,
    sizes_of,
    slopes,
)
from jaxvision.adversarial.universal import Universal
from jaxvision.data import load
from jaxvision.data.augment import standardizer
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.random import probe, stream


def test_only_images_that_all_have_right_count():
    he = np.ones((1, 2, 4), bool)
    he[0, 0, 2] = False
    bn = np.ones((1, 2, 4), bool)
    bn[0, 0, 1] = False
    counted = pairs.together_right([he, bn])
    expected = [[True, False, False, True]]
    np.testing.assert_array_equal(counted, expected)
    values = np.full((1, 2, 4), 9.0)
    values[0, :, 0] = 1.0, np.nan
    values[0, :, 3] = 3.0, 5.0
    np.testing.assert_array_equal(pairs.medians(values, counted), [[2.0, 5.0]])
    np.testing.assert_array_equal(pairs.shares(he, counted), [[1.0, 1.0]])
    nobody = np.zeros_like(counted)
    assert np.isnan(pairs.medians(values, nobody)).all()
    assert np.isnan(pairs.shares(he, nobody)).all()


def test_a_perturbation_knows_the_step_that_made_it_and_the_net_it_meets(monkeypatch):
    """Nets are numbers, their perturbations too; a net is fooled by 100 times itself plus that."""
    numbers = np.float32([[1, 2, 3], [4, 5, 6]])
    variables = {"params": {"number": numbers}, "batch_stats": {}}
    nets = along_nets.Snapshots(None, variables, 0.1)
    monkeypatch.setattr(along, "as_function", lambda *_: lambda net, _: net["params"]["number"])

    def ascend(f, images, **_):
        return Universal(jnp.full(images.shape[1:], f), jnp.float32(0), jnp.int32(0))

    def fooled(f, images, perturbations):
        del images
        return SimpleNamespace(rate=perturbations.sum((1, 2, 3)) + 100 * f)

    monkeypatch.setattr(along.universal, "ascend", ascend)
    monkeypatch.setattr(along.universal, "fooled", fooled)
    one = np.zeros((4, 1, 1, 1), np.float32)
    labels = np.zeros(4, np.int32)
    shown = along.Given(one, labels, one, labels, one, 0)
    config = experiment.Config(universal_epsilon=0.25)
    found = along.universal_along(nets, shown, config, "ema")
    made = numbers[0, :, None]
    met = numbers[0, None]
    np.testing.assert_allclose(found.crossed[0], made + 100 * met)
    assert found.crossed[1, 2, 0] == 406
    np.testing.assert_allclose(found.signs, 100 * numbers + 0.25)


def test_normalized_margins_have_no_scale():
    """A net of three homogeneous layers, all of its weights times 2: logits times 8."""
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(3, 2, 1, 5, 5))
    params = dict(zip("abc", kernels, strict=True))
    margins = np.array([[0.5], [-1.0]])

    def found(scale):
        scaled = jax.tree.map(lambda leaf: scale * leaf, params)
        nets = along_nets.Snapshots(None, {"params": scaled}, 0.1)
        seen = SimpleNamespace(least_margin=scale**3 * margins)
        return along.log_normalized_margins(nets, seen, 3)

    np.testing.assert_allclose(found(2.0)[0], found(1.0)[0])
    assert np.isnan(found(1.0)[1]).all()
    squares = np.square(kernels[:, 0]).sum()
    np.testing.assert_allclose(found(1.0)[0], np.log2(0.5 / squares**1.5))


def test_a_part_of_the_largest_random_net_is_a_net_of_its_size():
    """Of 4 layers and 16 pixels, written out."""
    found = start.at_start(3, 1, 8)
    keys = jax.random.split(probe(3, "nets"), 4)
    image = jax.random.normal(keys[0], (256,))[:16]
    first = jax.random.normal(keys[1], (256, 8))[:16]
    hidden = jax.random.normal(keys[2], (14, 8, 8))
    last = jax.random.normal(keys[3], (8,))

    def net(x):
        h = np.sqrt(2 / 16) * x @ first
        for kernel in hidden[:2]:
            h = np.sqrt(2 / 8) * jax.nn.relu(h) @ kernel
        return np.sqrt(2 / 8) * jax.nn.relu(h) @ last

    slope = jax.jit(jax.grad(net))(image * 4 / jnp.linalg.norm(image))
    np.testing.assert_allclose(found.slope[0, 0], jnp.abs(slope).sum(), rtol=1e-4)


def test_gradients_grow_with_normalized_layers_and_without_them_do_not():
    """By 1.47 a layer (Yang et al.), here of 64 units; He's weights alone keep them."""
    found = normalized.normalized_at_start(100, 4, width=64)
    growth = normalized.octaves_a_layer(found.square)
    np.testing.assert_allclose(growth.mean(), np.log2(np.pi / (np.pi - 1)), atol=0.08)
    nearing = normalized.octaves_a_layer(found.distance)
    np.testing.assert_allclose(nearing.mean(), -growth.mean() / 2, atol=0.08)
    plain = normalized.normalized_at_start(100, 4, width=64, normalize=lambda h: h)
    np.testing.assert_allclose(normalized.octaves_a_layer(plain.square).mean(), 0.0, atol=0.15)


def test_the_gradient_of_a_normalized_net_is_that_of_one_image():
    """Two layers, written out with the statistics of all images, which are held."""
    draws = normalized._drawn(probe(3, "signals"), 8)
    h = np.sqrt(2 / 64) * draws.images @ draws.first
    mean, deviation = h.mean(0), h.std(0)

    def net(image):
        h = np.sqrt(2 / 64) * image @ draws.first
        return np.sqrt(2 / 8) * jax.nn.relu((h - mean) / deviation) @ draws.last

    gradient = jax.jit(jax.vmap(jax.grad(net)))(draws.images)
    found = normalized.normalized_at_start(3, 1, width=8)
    np.testing.assert_allclose(found.square[0, 0], jnp.square(gradient).sum(1).mean(), rtol=1e-4)


def test_a_power_is_found():
    sizes = (16, 64, 256)
    np.testing.assert_allclose(slopes(3 * np.array(sizes)[None] ** 0.5, sizes), 0.5)


def test_families_hold_the_usual_size():
    config = experiment.Config()
    families = families_of(config)
    assert list(sizes_of(families["depth_he"])) == [3, 5, 9]
    assert list(sizes_of(families["width"])) == [16, 64, 256]
    assert families["width"].other(16) == (3, 16)
    assert not families_of(experiment.PRESETS["tiny"])


def seen_as(distance, right):
    """Return what S nets show at T steps: ``distance`` and ``right`` [S, T, B], all else zeros."""
    nothing = np.zeros_like(distance)
    fields = dict.fromkeys(along.Seen._fields, nothing)
    return along.Seen(**fields | {"distance": distance, "right": right})


def test_sizes_are_compared_along_training_on_images_that_all_always_have_right():
    """Two sizes, two steps, three images: the first is wrong early, the last wrong late."""
    small = seen_as(np.float32([[[9, 1, 7], [9, 2, 7]]]), np.ones((1, 2, 3), bool))
    right = np.array([[[False, True, True], [True, True, False]]])
    large = seen_as(np.float32([[[9, 3, 7], [5, 4, 7]]]), right)
    found = compared_along("width", [small, large])
    np.testing.assert_array_equal(found["width/along"], [[[1, 2], [3, 4]]])
    np.testing.assert_allclose(found["width/along_error"][0, 1], [1 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_array_equal(found["width/along_paired"], [1])
    at_the_end = compared("width", [small, large])
    np.testing.assert_array_equal(at_the_end["width/distance"], [[5.5, 4.5]])
    np.testing.assert_array_equal(at_the_end["width/paired"], [2])


def test_starts_of_one_size_share_a_sweep_and_keep_their_rows(monkeypatch):
    """Nets are numbers; what they show is themselves."""
    config = experiment.Config(seeds=2, depths=(5,), widths=())
    steps = along_nets.steps_of_sizes(config)
    assert steps == (300, 1000, 3000)
    first = {"He": 10, "Xavier": 20}
    sweeps = []

    def sized(kind, size):
        assert size == (5, config.width)
        numbers = first[kind.label] + np.float32([[1, 2, 3], [4, 5, 6]])
        return along_nets.Snapshots(None, numbers, 0.1)

    def sweep(snapshots, *_):
        sweeps.append(snapshots.variables.shape)
        distance = snapshots.variables[..., None]
        return seen_as(distance, np.ones_like(distance, bool))

    monkeypatch.setattr(along, "given", lambda *_: None)
    monkeypatch.setattr(along, "sweep", sweep)
    usual = np.arange(8, dtype=np.float32)[:, None] * np.ones((2, 1, 1), np.float32)
    watched = SimpleNamespace(seen=seen_as(usual, np.ones_like(usual, bool)))
    found = measured_families(
        SimpleNamespace(sized=sized),
        families_of(config),
        {"he": watched, "xavier": watched},
        experiment.ARMS,
        config,
        SimpleNamespace(advance=lambda: None),
    )
    assert sweeps == [(4, 3)]
    np.testing.assert_array_equal(found.arrays["depth_xavier/along"][1], [[4, 5, 6], [24, 25, 26]])
    np.testing.assert_array_equal(found.arrays["depth_he/distance"], [[6, 13], [6, 16]])
    assert found.rates == {"depth_he/5": 0.1, "depth_xavier/5": 0.1}


@pytest.fixture
def asked(monkeypatch):
    """What is tuned and trained, without doing it."""
    calls = []

    def tuned(spec, rates, seeds):
        calls.append(("tuned", spec, list(seeds)))
        return rates[-1], {}

    def trained(spec, seeds, snapshots):
        calls.append(("trained", spec, list(seeds)))
        return SimpleNamespace(snapshots=list(snapshots))

    monkeypatch.setattr(along_nets.nets, "tuned", tuned)
    monkeypatch.setattr(along_nets.nets, "trained", trained)
    return calls


def test_rates_are_chosen_apart_on_other_seeds(asked):
    config = experiment.Config(seeds=2, first_seed=900, tuning_seeds=2)
    lab = along_nets.Lab(config)
    for name in ("decay", "small", "he_again"):
        assert lab.along(experiment.ARMS[name]).learning_rate == 0.3
    whats, specs, seeds = zip(*asked, strict=True)
    assert whats == ("tuned", "trained") * 3
    assert seeds[::2] == ([1000, 1001],) * 3
    assert seeds[1::2] == ([900, 901], [900, 901], [1400, 1401])
    assert [spec.steps for spec in specs[:2]] == [1000, 10_000]
    assert [spec.weight_decay for spec in specs[::2]] == [1e-3, 0, 0]
    assert specs[2].initializer == "small_he"
    assert specs[1].learning_rate == 0.3


def test_other_sizes_are_kept_along_training(asked):
    config = experiment.Config(seeds=2)
    kept = along_nets.Lab(config).sized(experiment.ARMS["he"], along_nets.Size(9, 64))
    assert kept.variables == [300, 1000, 3000]
    assert asked[1][1].steps == 3000


def test_conv_nets_differ_by_batch_norm_alone(asked):
    lab = along_nets.Lab(experiment.Config())
    lab.conv(normalized=False)
    lab.conv(normalized=True)
    plain, normalized = (spec.sizes for _, spec, _ in asked[1::2])
    assert plain | {"normalized": True} == normalized


def test_an_enlarged_image_is_standardized_as_the_small_one():
    data = load("digits")
    base = SimpleNamespace(data=data, preprocess=standardizer(data.train))
    images = data.test.images[:2]
    small = base.preprocess(images, None)
    larger = pixels.enlarged(jnp.asarray(images), 2)
    found = pixels.standardizer_of_enlarged(base, 2)(larger.astype(jnp.float32), None)
    np.testing.assert_allclose(found[:, ::2, 1::2], small, atol=1e-5)


def test_an_answer_that_depends_on_its_company_is_seen():
    """Batch norm with the batch's statistics, and with the population's."""
    model = ResidualMLP(3, 8, 10, he_forward(), normalized=True)
    data = load("digits")
    keys = jnp.stack([stream(seed, "init") for seed in (0, 1)])
    weights = initialize_runs(model, keys, (8, 8, 1))
    variables = jax.tree.map(lambda leaf: leaf[:, None], weights)
    made = SimpleNamespace(
        apply=apply_function(model), preprocess=standardizer(data.train), data=data
    )
    nets = along_nets.Snapshots(made, variables, 0.1)
    config = experiment.PRESETS["tiny"]
    shown = along.given(nets, config)
    found = {
        inference: along.sweep(nets, shown, config, inference)
        for inference in ("batch", "population")
    }
    assert (found["batch"].alone > 0.01).all()
    assert (found["population"].alone < 1e-5).all()
    right = found["population"].right
    known = np.isfinite(found["population"].distance)
    assert not known[~right].any()
