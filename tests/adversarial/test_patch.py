"""Patches: pasted to the bit, areas and places in closed form, gradients of covered pixels only."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.adversarial import patch
from jaxvision.adversarial.eot import answers, eot
from jaxvision.data.warps import Pose
from tests.adversarial.linear_nets import affine

RNG = np.random.default_rng(0)
SCENES = jnp.asarray(RNG.random((3, 12, 12, 2)), jnp.float32)
PATCHES = jnp.asarray(RNG.random((3, 5, 5, 2)), jnp.float32)
STILL = Pose()
CORNER = Pose(down=jnp.float32([-3, 0, 2.4]), right=jnp.float32([4, -1, 0.3]))
coverage = jax.jit(patch.coverage, static_argnums=(1, 2, 3))
paste = jax.jit(patch.paste, static_argnums=3)


def test_a_patch_as_large_as_the_scene_is_all_there_is_to_the_bit():
    found = paste(SCENES, SCENES[::-1], STILL, "square")
    np.testing.assert_array_equal(found, SCENES[::-1])


def test_what_a_patch_does_not_cover_is_the_scene_to_the_bit():
    found = paste(SCENES, PATCHES, CORNER)
    free = np.asarray(coverage(CORNER, 5, (12, 12))) == 0
    assert free.mean() > 0.5
    np.testing.assert_array_equal(np.asarray(found)[free], np.asarray(SCENES)[free])


def test_at_scale_1_and_whole_pixels_the_patch_lies_there_to_the_bit():
    """An even frame has its middle between pixels: half a pixel more puts an odd patch on them."""
    found = paste(
        SCENES,
        PATCHES,
        Pose(down=-3.5, right=2.5),
        "square",
    )
    np.testing.assert_array_equal(found[:, 0:5, 6:11], PATCHES)


def test_a_quarter_turn_turns_the_patch_and_not_the_scene():
    turned = paste(
        SCENES,
        PATCHES,
        Pose(
            0.5,
            0.5,
            90.0,
            1.0,
        ),
        "square",
    )
    upright = paste(
        SCENES,
        jnp.rot90(PATCHES, 1, (1, 2)),
        Pose(0.5, 0.5),
        "square",
    )
    np.testing.assert_allclose(turned, upright, atol=1e-5)


@pytest.mark.parametrize("across", [5.0, 8.3, 20.0])
def test_a_disc_covers_its_area(across):
    """And what its antialiased edge adds: the mean disc over radii from r - 1/2 to r + 1/2."""
    pose = Pose(down=0.3, right=-1.2, scale=across / 5)
    found = coverage(pose, 5, (32, 32)).sum()
    np.testing.assert_allclose(
        found,
        math.pi * (across**2 / 4 + 1 / 12),
        rtol=0.005,
    )


def test_the_frame_cuts_a_disc_at_its_edge_in_half_and_at_a_corner_in_quarters():
    edge = coverage(
        Pose(down=16.0, scale=2.0),
        8,
        (32, 32),
    ).sum()
    corner = coverage(
        Pose(
            down=-16.0,
            right=16.0,
            scale=2.0,
        ),
        8,
        (32, 32),
    ).sum()
    whole = coverage(Pose(scale=2.0), 8, (32, 32)).sum()
    np.testing.assert_allclose(
        [edge / whole, corner / whole],
        [0.5, 0.25],
        rtol=0.01,
    )


def test_a_turned_square_covers_as_much_as_an_upright_one():
    upright, turned = (
        coverage(
            Pose(turn=turn, scale=2.0),
            8,
            (32, 32),
            "square",
        ).sum()
        for turn in (0.0, 30.0)
    )
    np.testing.assert_allclose(upright, 16**2, rtol=1e-6)
    np.testing.assert_allclose(turned, upright, rtol=0.02)


def test_the_diameter_of_an_area():
    assert patch.diameter(math.pi / 4, (10, 10)) == pytest.approx(10.0)
    across = patch.diameter(0.1, (32, 32))
    share = coverage(Pose(scale=across / 8), 8, (32, 32)).mean()
    np.testing.assert_allclose(share, 0.1, rtol=0.01)


def test_only_covered_pixels_have_a_gradient():
    weights = jnp.asarray(RNG.random(SCENES.shape), jnp.float32)

    @jax.jit
    def gradients(scenes, patches):
        def total(scenes, patches):
            return jnp.vdot(
                weights,
                patch.paste(
                    scenes,
                    patches,
                    CORNER,
                ),
            )

        return jax.grad(total, (0, 1))(scenes, patches)

    of_scenes, of_patches = gradients(SCENES, PATCHES)
    over = coverage(CORNER, 5, (12, 12))[..., None]
    np.testing.assert_allclose(
        of_scenes,
        (1 - over) * weights,
        atol=1e-6,
    )
    # A bilinear patch hands on every weight that it covers, once.
    np.testing.assert_allclose(
        of_patches.sum((1, 2)),
        (over * weights).sum((1, 2)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("part", ["down", "right", "scale"])
def test_coverage_can_be_differentiated_by_the_pose(part):
    weights = jnp.asarray(RNG.random((1, 12, 12)), jnp.float32)
    pose = Pose(0.21, -0.37, 0.0, 1.13)

    def total(value):
        return jnp.vdot(
            weights,
            patch.coverage(
                pose._replace(**{part: value}),
                5,
                (12, 12),
            ),
        )

    at, step = jnp.float32(getattr(pose, part)), 1e-3
    slope = (total(at + step) - total(at - step)) / (2 * step)
    np.testing.assert_allclose(
        jax.grad(total)(at),
        slope,
        rtol=0.05,
        atol=0.02,
    )


def test_no_gradient_is_nan_in_the_middle_of_a_disc():
    slope = jax.grad(
        lambda down: patch.coverage(
            Pose(down=down),
            5,
            (5, 5),
        ).sum()
    )
    assert np.isfinite(slope(jnp.float32(0.0)))


def test_drawn_patches_lie_within_the_scene_and_fill_the_room():
    poses = patch.anywhere(
        jax.random.key(0),
        4000,
        8,
        (32, 24),
        (6.0, 12.0),
        22.5,
    )
    across = 8 * np.asarray(poses.scale)
    assert across.min() >= 6 and across.max() <= 12
    for places, side in ((poses.down, 32), (poses.right, 24)):
        reach = np.abs(np.asarray(places)) + across / 2
        assert reach.max() <= side / 2 + 1e-4
        assert reach.max() > side / 2 - 0.1
    np.testing.assert_allclose(
        np.abs(poses.turn).mean(),
        22.5 / 2,
        rtol=0.05,
    )
    np.testing.assert_allclose(
        np.mean(poses.down),
        0.0,
        atol=0.3,
    )


def test_a_patch_larger_than_the_scene_lies_in_the_middle():
    poses = patch.anywhere(
        jax.random.key(0),
        5,
        8,
        (8, 8),
        (10.0, 10.0),
    )
    np.testing.assert_array_equal(poses.down, 0)


def test_at_free_places_no_pixel_of_the_object_is_covered():
    """Objects of any outline, wherever the place is drawn; and the test would see one pixel."""
    objects = np.zeros((40, 16, 16), bool)
    for each, (row, column) in zip(
        objects,
        RNG.integers(
            2,
            14,
            (40, 2),
        ),
        strict=True,
    ):
        each[row - 2 : row + 2, column - 1 : column + 2] = True
    free = patch.free_places(objects, 5.0)
    assert free.any((1, 2)).all()
    poses = patch.at_free_places(
        jax.random.key(0),
        jnp.asarray(free),
        4,
        5.0,
        22.5,
    )
    over = np.asarray(coverage(poses, 4, (16, 16)))
    assert (over * objects).max() == 0
    np.testing.assert_allclose(
        over.sum((1, 2)),
        math.pi * 2.5**2,
        rtol=0.03,
    )
    beside = coverage(
        poses._replace(down=poses.down + 3),
        4,
        (16, 16),
    )
    assert (np.asarray(beside) * objects).max() > 0


def test_where_the_object_fills_the_scene_no_place_is_free():
    objects = np.ones((1, 8, 8), bool)
    assert not patch.free_places(objects, 2.0).any()
    assert patch.free_places(~objects, 2.0).sum() == 6 * 6


def test_a_patch_is_seen_on_the_scenes_that_it_may_get():
    eligible = np.array([[True, False, False], [False, True, True]])
    scenes = patch.scenes_of(SCENES, eligible)
    keys = jax.random.split(jax.random.key(0), 300)
    rows = jax.vmap(patch.some_rows, (0, None))(keys, scenes)
    assert set(np.asarray(rows[:, 0])) == {0}
    assert set(np.asarray(rows[:, 1])) == {1, 2}
    np.testing.assert_allclose(
        (rows[:, 1] == 1).mean(),
        0.5,
        atol=0.1,
    )
    with pytest.raises(ValueError, match="no scene"):
        patch.scenes_of(SCENES, np.zeros((2, 3), bool))


def test_a_pattern_is_seen_through_the_object_only():
    objects = jnp.zeros((3, 12, 12)).at[:, 3:6, 2:9].set(1.0)
    scenes = patch.scenes_of(SCENES, np.ones((2, 3), bool))
    patterns = jnp.stack([jnp.zeros((12, 12, 2)), jnp.ones((12, 12, 2))])
    found = patch.through_objects(scenes, objects)(patterns, jax.random.key(1))
    rows = patch.some_rows(jax.random.key(1), scenes)
    np.testing.assert_array_equal(found[:, 3:6, 2:9], patterns[:, 3:6, 2:9])
    np.testing.assert_array_equal(found[:, 6:], SCENES[rows][:, 6:])


def test_of_a_linear_net_the_patch_is_known():
    """Constant weights: the class is reached by white, and by a patch that is made for it."""
    weights = np.zeros((288, 2))
    weights[:, 1] = 1.0
    net = affine(weights, [0.0, -170.0])  # scenes alone sum up to some 144
    scenes = patch.scenes_of(SCENES, np.ones((1, 3), bool))
    size, across = (12, 12), (8.0, 8.0)

    def placing(key, rows):
        return patch.anywhere(key, len(rows), 5, size, across)

    transform = patch.on_scenes(scenes, placing)
    target = jnp.ones(1, jnp.int32)
    start = jnp.full((1, 5, 5, 2), 0.5)
    make = partial(
        eot,
        steps=30,
        draws=4,
        optimizer=optax.adam(0.1),
        targets=target,
    )
    made = jax.jit(
        lambda key: (
            make(
                net,
                transform,
                start,
                target,
                jnp.inf,
                key,
            ).images
        )
    )
    found = made(jax.random.key(0))
    np.testing.assert_allclose(found, 1.0)
    seen = answers(net, transform, found, jax.random.key(5), 50)
    plain = answers(net, transform, start, jax.random.key(5), 50)
    assert (seen == 1).mean() == 1.0
    assert (plain == 1).mean() < 0.1
