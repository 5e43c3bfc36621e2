"""Subsets are nested, balanced and what their arm says; narrow nets lie within wide ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data import _size_lab as size_lab
from experiments.data import _subsets as subsets
from experiments.data.data_size import PRESETS, RECIPES
from jaxvision.data import Dataset, load
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.random import stream
from jaxvision.training.fit import History

LABELS = np.repeat(np.arange(3), [8, 6, 10]).astype(np.int32)


def test_subsets_are_balanced_and_a_seed_s_own():
    first, second = (subsets.subset(LABELS, seed) for seed in (1, 2))
    assert first.tolist() != second.tolist()
    for size in (3, 7, 18):
        counts = np.bincount(LABELS[first[:size]], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_images_move_by_a_pixel_and_keep_their_edge():
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1)
    down = subsets.moved_by(image, 1, 0)[0, ..., 0]
    assert down.tolist() == [[0, 1, 2], [0, 1, 2]]
    left = subsets.moved_by(image, 0, -1)[0, ..., 0]
    assert left.tolist() == [[1, 2, 2], [4, 5, 5]]


def test_noisy_labels_are_nested_and_some_right_by_luck():
    tenth, half, everything = (subsets.noisy_blocks(3, 4000, 10, x) for x in (0.1, 0.5, 1.0))
    np.testing.assert_allclose((tenth != 0).mean(), 0.09, atol=0.02)
    np.testing.assert_allclose((half != 0).mean(), 0.45, atol=0.03)
    assert (half[tenth != 0] == tenth[tenth != 0]).all()
    np.testing.assert_allclose(np.bincount(everything) / 4000, 0.1, atol=0.03)
    assert not subsets.noisy_blocks(3, 100, 10, 0.0).any()
    assert (subsets.noisy_blocks(4, 4000, 10, 1.0) != everything).mean() > 0.8  # a seed's own


def test_every_label_is_a_block_where_classes_are_few():
    assert subsets.label_shifts(3).tolist() == [0, 1, 2]
    assert subsets.label_shifts(10).tolist() == list(range(10))
    assert subsets.label_shifts(200).tolist() == list(range(0, 200, 20))


def test_blocks_hold_the_same_images_in_the_same_order():
    train = Dataset(np.random.default_rng(0).integers(0, 255, (24, 4, 4, 1), np.uint8), LABELS)
    found = subsets.blocks(train, 3)
    assert len(found.labels) == 7 * 24
    for block in range(3):
        np.testing.assert_array_equal(found.images[24 * block :][:24], train.images)
        np.testing.assert_array_equal(found.labels[24 * block :][:24], (LABELS + block) % 3)
    for block in range(3, 7):
        np.testing.assert_array_equal(found.labels[24 * block :][:24], LABELS)
    moved = found.images[72:96, 1:]
    np.testing.assert_array_equal(moved, train.images[:, :-1])


@pytest.fixture(scope="module")
def lab():
    return size_lab.make_lab(PRESETS["tiny"], load("digits"))


@pytest.mark.parametrize("name", ["plain", "moved", "half"])
def test_a_run_gets_its_images_and_no_others(lab, name):
    """Nested: what 20 images are, 40 hold. Equally often, in as many rows for every arm."""
    images, pools = len(lab.labels), {}
    for size in (20, 40):
        pools[size] = lab._pool(size_lab.Cell(RECIPES[name], size, 0.1), 3)
        originals = np.unique(pools[size] % images)
        assert len(originals) == size
        counts = np.unique(pools[size], return_counts=True)[1]
        assert counts.min() == counts.max()
        assert len(pools[size]) == 5 * 160
    assert np.isin(pools[20], pools[40]).all()
    copies = {"plain": 1, "moved": 5, "half": 1}[name]
    assert len(np.unique(pools[40])) == 40 * copies


def test_equal_epochs_end_in_proportion():
    config = PRESETS["tiny"]
    assert [size_lab.last_step(config, size) for size in config.sizes] == [2, 4, 8, 16]


@pytest.mark.parametrize(("name", "told"), [("epochs", 0.4), ("plain", np.nan)])
def test_a_run_that_diverges_after_its_own_end_has_its_error(lab, name, told):
    """At equal epochs 80 images end with step 8; what their run does later is of no account."""
    loss = np.ones((2, 16), np.float32)
    loss[0, 12] = np.inf
    error = np.float32([[0.7, 0.6, 0.4, 0.9], [0.7, 0.6, 0.5, 0.3]])
    looks = {"test": {"error": error, "loss": np.float32([[1, 1, 1, np.inf], [1, 1, 1, 1]])}}
    empty = dict.fromkeys(History._fields)
    history = History(**empty | {"train": {"loss": loss}, "looks": looks})
    found = lab._errors(size_lab.Cell(RECIPES[name], 80, 0.1), history)["test"]
    np.testing.assert_allclose(found, [told, 0.5 if name == "epochs" else 0.3])


def test_a_narrow_net_within_a_wide_one_is_the_narrow_net():
    """Outputs, gradients, and the weights' variance; what is zero has no gradient."""
    wide = MLP(3, 64, 10, he_forward())
    narrow = MLP(3, 16, 10, he_forward())
    keys = jnp.stack([stream(0, "init")])
    drawn = initialize_runs(wide, keys, image_shape=(8, 8, 1))
    inside = jax.tree.map(lambda leaf: leaf[0], subsets.narrowed(drawn, 64, 16))["params"]
    cuts = {"input": np.s_[:, :16], "hidden": np.s_[:, :16, :16], "output": np.s_[:16]}
    alone = {
        name: {
            "kernel": inside[name]["kernel"][cut],
            "bias": np.zeros(inside[name]["kernel"][cut].shape[-1], np.float32),
        }
        for name, cut in cuts.items()
    }
    alone["hidden"]["bias"] = np.zeros((1, 16), np.float32)
    images = np.random.default_rng(0).normal(size=(7, 8, 8, 1)).astype(np.float32)

    def loss(apply, params):
        logits, _, _ = apply(params, {}, images, train=False)
        return jnp.square(logits).sum(), logits

    grads = {}
    for name, net, params in (("wide", wide, inside), ("narrow", narrow, alone)):
        of_net = jax.grad(partial(loss, apply_function(net)), has_aux=True)
        grads[name] = of_net(params)
    np.testing.assert_allclose(grads["wide"][1], grads["narrow"][1], rtol=1e-5, atol=1e-5)
    for name, cut in cuts.items():
        whole = np.array(grads["wide"][0][name]["kernel"])
        expected = grads["narrow"][0][name]["kernel"]
        np.testing.assert_allclose(whole[cut], expected, rtol=1e-4, atol=1e-4)
        whole[cut] = 0
        assert not whole.any()
    variance = alone["hidden"]["kernel"].var()
    np.testing.assert_allclose(variance, 2 / 16, rtol=0.25)
