"""Nets learn their half of the classes alone, and a layer's features are what the net sees."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.data import _probing as probing
from experiments.data import _transfer as transfer
from experiments.data._transfer import Way
from experiments.data.features_off_the_shelf import PRESETS
from jaxvision.data import load
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import max_pool
from jaxvision.random import stream

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def lab():
    return transfer.make_lab(TINY, load("digits"))


def test_halves_are_the_classes_and_a_seed_s_own():
    for classes in (4, 7, 10):
        half = transfer.halves(classes, 3)
        assert sorted([*half.own, *half.other]) == list(range(classes))
        assert len(half.own) == classes // 2
    drawn = {tuple(transfer.halves(10, seed).own.tolist()) for seed in range(8)}
    assert len(drawn) > 5


@pytest.mark.parametrize("scratch", [False, True])
def test_a_run_learns_from_its_classes_alone(lab, scratch):
    half = transfer.halves(10, 5)
    rows = lab._pool(Way(scratch), 5)
    labels = np.unique(lab.train.labels[rows])
    np.testing.assert_array_equal(labels, half.other if scratch else half.own)


def test_nets_from_scratch_get_the_images_of_the_probes(lab):
    images = probing.images_of(lab, load("digits"), 5)
    for size in TINY.sizes:
        rows = np.unique(lab._pool(Way(True, size), 5))
        assert len(rows) == size
        probed = images["other"].train.images[:size]
        known = {image.tobytes() for image in probed}
        assert known == {lab.train.images[row].tobytes() for row in rows}
        counts = np.bincount(images["other"].train.labels[:size], minlength=10)
        assert set(counts.tolist()) == {0, size // 5}


def test_no_test_image_is_trained_on(lab):
    images = probing.images_of(lab, load("digits"), 5)
    test = {image.tobytes() for part in ("own", "other") for image in images[part].test.images}
    learned = {image.tobytes() for image in lab.train.images}
    assert not test & learned


def test_images_take_another_shape():
    image = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    large = transfer.images_like(image, (4, 4, 3))
    assert large.shape == (1, 4, 4, 3)
    np.testing.assert_array_equal(
        large[0, :, :, 1], np.repeat(np.repeat(image[0, ..., 0], 2, 0), 2, 1)
    )
    color = np.stack([image[..., 0], image[..., 0] + 3, image[..., 0] + 6], -1)
    np.testing.assert_array_equal(transfer.images_like(color, (2, 2, 1)), image + 3)
    np.testing.assert_array_equal(transfer.images_like(color, (2, 2, 3)), color)


def test_features_are_rectified_and_pooled_activations(lab):
    keys = jax.numpy.stack([stream(0, "init")])
    drawn = initialize_runs(lab.model, keys, image_shape=(8, 8, 1))
    net = jax.tree.map(lambda leaf: leaf[0], drawn)
    images = lab.train.images[:130]  # no whole number of batches
    found = lab.features(net, images)
    assert tuple(found) == transfer.LAYERS
    task = lab.trainer.task
    inputs = task.preprocess(images, None)
    logits, layers, _ = task.apply(net["params"], net["batch_stats"], inputs, train=False)
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(found["fc8"], logits, **close)
    np.testing.assert_allclose(found["pixels"], inputs.reshape(130, -1), **close)
    pooled = np.maximum(max_pool(layers["conv2"]), 0).reshape(130, -1)
    np.testing.assert_allclose(found["conv2"], pooled, **close)
    np.testing.assert_allclose(found["fc7"], np.maximum(layers["fc7"], 0), **close)


def test_only_the_classes_asked_for_count():
    logits = np.array([[9.0, 1.0, 2.0], [9.0, 3.0, 2.0]])
    assert transfer.right_among(logits, np.array([2, 2]), np.array([1, 2])) == 0.5


def test_a_seed_s_probes_do_not_depend_on_other_seeds(lab):
    config = dataclasses.replace(TINY, sizes=(10, 20))
    small = dataclasses.replace(lab, config=config)
    one = probing.images_of(small, load("digits"), 7)["own"].train.labels
    again = probing.images_of(lab, load("digits"), 7)["own"].train.labels
    np.testing.assert_array_equal(one, again[:20])
