"""The counting of modes, and the verdicts of mode_collapse: broken, the right ones change."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.generating import _collapse as collapse
from experiments.generating import _mixtures as mixtures
from experiments.generating import _planes as planes
from experiments.generating import mode_collapse
from jaxvision.random import stream
from jaxvision.report.claims import judge
from jaxvision.report.record import Record

CONFIG = mode_collapse.Config(seeds=6, looks=2)


def test_a_ring_of_eight_has_eight_places_and_the_copied_one_seven():
    assert mixtures.distinct(mixtures.ring(8)) == 8
    assert mixtures.distinct(mixtures.ring(8, closed=True)) == 7
    assert mixtures.distinct(mixtures.grid(5)) == 25


@pytest.mark.parametrize(
    ("mixture", "modes"),
    [(mixtures.ring(), 8), (mixtures.ring(closed=True), 7), (mixtures.grid(), 25)],
)
def test_a_perfect_generator_and_how_it_is_counted(mixture, modes):
    """1 - exp(-9/2) = .9889 of a round Gaussian lies within 3 deviations."""
    samples = mixture.sample(stream(0, "latent"), 2500)
    found = mixtures.covered(samples, mixture)
    assert int(found.modes) == modes
    np.testing.assert_allclose(found.good, 0.9889, atol=0.006)
    most = 2 / 8 if modes == 7 else 1 / modes
    np.testing.assert_allclose(found.largest, most, atol=0.03)


def test_a_cloud_captures_modes_with_few_good_samples():
    cloud = 2 * jax.random.normal(stream(0, "latent"), (20_000, 2))
    found = mixtures.covered(cloud, mixtures.ring())
    assert int(found.modes) == 8
    assert float(found.good) < 0.01


def test_one_point_is_one_mode_and_a_point_between_is_none():
    ring = mixtures.ring()
    on = jnp.broadcast_to(ring.centers[3], (10, 2))
    found = mixtures.covered(on, ring)
    assert (int(found.modes), float(found.good), float(found.largest)) == (1, 1, 1)
    assert int(mixtures.covered(0 * on, ring).modes) == 0


def test_places_that_fill_up_a_ring_are_neither_drawn_nor_captured():
    setting = collapse.stacked(
        collapse.Setting(
            0,
            0,
            0,
            0,
            0,
            False,
            each.centers,
            each.deviation,
        )
        for each in (mixtures.ring(), mixtures.grid())
    )
    filled = mixtures.Mixture(setting.centers[0], setting.deviation[0])
    samples = filled.sample(stream(0, "latent"), 500, 8)
    assert np.abs(samples).max() < 3
    assert int(mixtures.covered(samples, filled).modes) == 8


def test_a_player_that_breaks_is_marked():
    """At an absurd rate weights leave the finite numbers; the other run of the program stays."""
    rates = np.float32([0.001, 1e38])
    centers, deviation = mode_collapse.RING
    settings = collapse.stacked(
        collapse.Setting(
            np.int32(0),
            rate,
            *np.float32([1, 0.5, 0]),
            np.bool_(False),
            centers,
            deviation,
        )
        for rate in rates
    )
    scale = collapse.Scale(
        planes.Shape(2, 4, 1),
        8,
        3,
        2,
    )
    (seen,) = collapse.play(scale, [(collapse.BY_TURNS, settings)])
    assert seen.broken_at[0] == -1
    assert 0 <= seen.broken_at[1] < 6
    assert np.isfinite(seen.samples[0]).all()


def test_nets_start_as_in_the_source_and_one_arm_steeper():
    """Orthogonal of gain .8: no direction is stretched by more; He's first layer stretches more."""
    shape = planes.Shape(8, 64)
    both = planes.orthogonal_variables(0, shape, collapse.GAIN_OF_METZ)
    for net in both:
        for layer in net["params"]:
            stretched = np.linalg.svd(layer["kernel"], compute_uv=False)
            np.testing.assert_allclose(stretched, 0.8, rtol=1e-5)
            assert not layer["bias"].any()
    wide = planes.variables(stream(0, "init"), shape)
    points = mode_collapse.RING.centers

    def spread(net, scale):
        return np.std(planes.dense(net["params"], scale * points, jax.nn.leaky_relu))

    steeper = spread(wide[1], planes.INPUT_SCALE) / spread(both[1], collapse.SCALE_OF_METZ)
    assert steeper > 5


USUAL = {
    "plain": 8,
    "wide": 5,
    "again": 8,
    "momentum": 4,
    "slow": 1,
    "closed": 7,
    "grid": 20,
    "grid_slow": 3,
    "momentum_r1": 4,
    "slow_r1": 1,
    "slow_r1_strong": 3,
    "slow_unrolled": 6,
}


REAL = tuple(
    collapse.counted_real(mixture, np.arange(6))
    for mixture in (mode_collapse.RING, mode_collapse.CLOSED)
)


def verdicts(good=0.06, real=REAL, **replaced):
    """Verdicts of modes at the end by arm, seeds around them."""
    few = 0.1 * np.linspace(-1, 1, CONFIG.seeds)
    arrays = {}
    for i, (arm, modes) in enumerate((USUAL | replaced).items()):
        ends = modes + np.roll(few, i)
        arrays[f"{arm}/modes"] = np.stack([0 * ends, ends], 1)
        arrays[f"{arm}/good"] = np.full((CONFIG.seeds, 2), good) + few[:, None] / 10
    arrays["plain/real"], arrays["closed/real"] = real
    fields = dataclasses.asdict(CONFIG)
    record = Record(
        "mode_collapse",
        "tiny",
        "x",
        "",
        fields,
        {},
        arrays,
        [],
        {},
    )
    return {found.id: found.verdict for found in judge(mode_collapse.claims(CONFIG), record)}


def test_the_usual_numbers_uphold_all():
    assert set(verdicts().values()) == {"reproduced"}


@pytest.mark.parametrize(
    ("id", "broken"),
    [
        ("covers", {"plain": 5}),
        ("no-difference", {"again": 5}),
        ("wide-loses", {"wide": 8.5}),
        ("slow-loses", {"slow": 8.5}),
        ("momentum-loses", {"momentum": 8.5}),
        ("grid-slow-loses", {"grid_slow": 22}),
        ("r1-slow", {"slow_r1": 6}),
        ("r1-beta1", {"momentum_r1": 8}),
        ("strong-r1", {"slow_r1_strong": 0}),
        ("unrolling", {"slow_unrolled": 0}),
    ],
)
def test_other_numbers_contradict(id, broken):
    assert verdicts(**broken)[id] == "contradicted"


def test_rings_with_both_ends_and_with_one_are_told_apart():
    found = verdicts(real=REAL[::-1])
    assert found["seven"] == found["eight"] == "contradicted"


def test_the_seed_in_the_middle_is_shown():
    modes = np.array([7.0, 8.0, 5.0, 7.0, 7.0])
    good = np.array([0.1, 0.9, 0.9, 0.3, 0.2])
    assert mode_collapse.middle_seed(modes, good) == 4
    assert mode_collapse.middle_seed(modes[:1], good[:1]) == 0


def test_good_samples_are_told_from_a_cloud():
    assert verdicts(good=0.9)["covers-badly"] == "contradicted"
