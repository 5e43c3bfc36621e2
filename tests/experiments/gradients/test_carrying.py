"""Closed forms of what deep nets carry, against nets and products of matrices."""

import numpy as np
import pytest

from experiments.gradients import _carrying as carrying
from jaxvision.dynamics import isometry

CHANNELS, BEND = 16, 0.25


def test_the_bend_is_that_of_dense_critical_orthogonal_nets():
    """Each pixel is one; the pixels have other mean squares."""
    rng = np.random.default_rng(0)
    depth, nets = 400, 40
    squares = np.array([0.0, 0.3, 1.0, 2.7])
    point = isometry.critical("tanh", BEND / depth)
    signal, gradient = [], []
    for _ in range(nets):
        x = rng.normal(size=(len(squares), CHANNELS))
        x *= np.sqrt(squares / np.mean(x**2, axis=1))[:, None]
        x *= np.sqrt(BEND / depth)
        slopes = rng.normal(size=x.shape)
        slopes /= np.linalg.norm(slopes)
        first = np.mean(x**2)
        for _ in range(depth):
            weight, _ = np.linalg.qr(rng.normal(size=(CHANNELS, CHANNELS)))
            slopes = (slopes * (1 - np.tanh(x) ** 2)) @ weight * point.sigma_w
            bias = point.sigma_b * rng.normal(size=CHANNELS)
            x = np.tanh(x) @ weight * point.sigma_w + bias[None]
        signal.append(np.mean(x**2) / first)
        gradient.append(np.sum(slopes**2))
    expected = carrying.bent_octaves(squares, BEND, CHANNELS)
    found = np.log2(np.mean(signal)) / 2, np.log2(np.mean(gradient)) / 2
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_equal_pixels_of_many_channels_stand_at_the_fixed_point():
    found = carrying.bent_octaves(np.ones(3), BEND, 10**9)
    np.testing.assert_allclose(found, 0, atol=1e-8)


def test_gaussian_gradients_are_the_largest_of_products_of_random_matrices():
    rng = np.random.default_rng(1)
    channels, layers, side, nets = 6, 400, 4, 200
    found = []
    for _ in range(nets):
        logs = []
        for shape, count in ((channels, (side**2 - 4) // 2), (channels / 2, 4)):
            steps = rng.gamma(shape, 1 / shape, size=(count, layers))
            logs.extend(np.log(steps).sum(axis=1) / 2)
        found.append(max(logs) / np.log(2))
    expected = carrying.gaussian_octaves(channels, layers, side)
    at_start = np.log2(2 / side**2) / 2
    assert np.mean(found) == pytest.approx(expected - at_start, rel=0.03)


def test_wider_nets_lose_less():
    narrow, wide = (carrying.gaussian_octaves(channels, 5000, 8) for channels in (16, 64))
    assert narrow < 3 * wide < 0
