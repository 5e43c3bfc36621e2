"""The verdicts of moving_shapes follow the science: broken on purpose, they change."""

import dataclasses
import io
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments.generating import _clip_game as game
from experiments.generating import _clip_measures as measures
from experiments.generating import _clip_painting as painting
from experiments.generating import _clip_panels as panels
from experiments.generating import _moving as moving
from experiments.generating import moving_shapes as experiment
from jaxvision import cli
from jaxvision.generative import metrics
from jaxvision.models import video
from jaxvision.progress import silent
from tests.experiments.breaking.verdicts import verdicts

CONFIG = dataclasses.replace(
    experiment.PRESETS["tiny"], frames=8, size=16, seeds=5, first_seed=100, n_clips=40
)
judged = partial(verdicts, experiment)


# The clips.


@pytest.fixture(scope="module")
def clips():
    return moving.draw(64, seed=3, part=0, frames=8, side=16)


def test_behind_the_object_nothing_changes(clips):
    """To the bit, wherever the object's edge is farther than a pixel in all frames."""
    grid = np.indices((16, 16)).transpose(1, 2, 0) + 0.5
    away = np.linalg.norm(grid - clips.centers[:, :, None, None], axis=-1)
    free = (away > 0.19 * 16 + 1).all(1)
    assert free.mean() > 0.2
    change = np.ptp(clips.frames, axis=1).max(-1)
    assert change[free].max() == 0
    assert change[~free].max() > 100


def test_masks_are_where_the_object_is(clips):
    """Their center is the object's, their area the outline's, and their pixels have its color."""
    grid = np.arange(16) + 0.5
    area = clips.masks.sum((2, 3))
    rows = (clips.masks.sum(3) * grid).sum(2) / area
    columns = (clips.masks.sum(2) * grid).sum(2) / area
    found = np.stack([rows, columns], axis=-1)
    assert np.abs(found - clips.centers).max() < 0.6
    assert np.abs(found - clips.centers).mean() < 0.12
    smallest, largest = 2 * (0.14 * 16) ** 2, np.pi * (0.19 * 16) ** 2
    assert smallest - 3 < area.mean(1).min()
    assert area.mean(1).max() < largest + 3
    away = measures.departures(clips.frames)
    inside = np.median(away[clips.masks])
    outside = np.median(away[~clips.masks])
    assert inside > 100 > 5 > outside


def test_objects_go_straight_their_way_and_stay_in_the_frame(clips):
    steps = np.diff(clips.centers, axis=1)
    assert np.ptp(steps, axis=1).max() < 1e-9
    rows, columns = steps[:, 0].T
    angles = np.degrees(np.arctan2(rows, columns))
    apart = (angles - 45 * clips.directions + 180) % 360 - 180
    np.testing.assert_allclose(apart, 0, atol=1e-6)
    assert (np.bincount(clips.directions) == 8).all()
    assert clips.centers.min() > 0.14 * 16
    assert clips.centers.max() < 16 - 0.14 * 16


def test_a_clip_does_not_depend_on_how_many_are_drawn(clips):
    few = moving.draw(5, seed=3, part=0, frames=8, side=16)
    jax.tree.map(np.testing.assert_array_equal, few, clips.rows(slice(5)))
    other = moving.draw(5, seed=3, part=1, frames=8, side=16)
    assert (few.frames != other.frames).mean() > 0.5


# The order of frames.


def test_twelve_frames_stay_in_the_order_of_their_numbers():
    """1, 2, ..., 12, not 1, 10, 11, 12, 2: on the way to the nets, in strip and animation."""
    numbers = 20 * np.arange(12, dtype=np.uint8)
    clip = np.broadcast_to(numbers[:, None, None, None], (12, 8, 8, 3))
    back = game.as_clips(game.as_images(clip[None]), 12)
    np.testing.assert_array_equal(back[0], clip)
    scaled = game._scaled(12, jnp.asarray(game.as_images(clip[None])), None)
    first_pixels = scaled[0, :, 0, 0, 0]
    np.testing.assert_allclose(first_pixels, numbers / 127.5 - 1, atol=1e-6)
    assert panels.frame_names(12) == ["1", "3", "4", "6", "7", "9", "10", "12"]
    assert (np.diff(panels.strip(numbers).astype(int)) > 0).all()
    gif = panels.animated(SimpleNamespace(arrays={"real/clips": clip[None]}))
    with Image.open(io.BytesIO(gif)) as animation:
        assert animation.n_frames == 12
        shown = []
        for frame in range(12):
            animation.seek(frame)
            shown.append(animation.convert("L").getpixel((9, 9)))
    assert (np.diff(shown) > 5).all()


# What is measured.


def masks_of(*rows):
    return np.array([list(row) for row in rows]) == "#"


def test_overlap_is_of_intersection_and_union():
    one = masks_of("##..", "##..", "....", "....")
    other = masks_of(".##.", "##..", "...#", "....")
    found = measures.overlap(one, other)
    np.testing.assert_allclose(found, [1 / 3, 1, 0, 0])


def test_the_finder_finds_what_moves_and_nothing_in_a_still_clip(clips):
    others = moving.draw(64, seed=4, part=0, frames=8, side=16)
    found = measures.finder(clips, others)
    assert found.overlap > 0.7
    assert found.by_chance < 0.2
    still = np.repeat(clips.frames[:, :1], 8, axis=1)
    assert not found.moving(still).any()
    assert measures.motion(still, found).share == 0


def test_motion_of_known_clips(clips):
    found = measures.finder(clips, clips)
    real = measures.motion(clips.frames, found)
    mixed = measures.motion(measures.shuffled(clips.frames, 0), found)
    assert real.straightness > 0.9
    assert mixed.straightness < 0.6
    assert real.speed == pytest.approx(0.56, abs=0.06)
    assert mixed.share == pytest.approx(real.share, rel=1e-6)
    noise = np.random.default_rng(0).integers(0, 20, clips.frames.shape)
    noisy = np.minimum(clips.frames + noise, 255)
    shaken = measures.motion(np.uint8(noisy), found)
    assert real.flicker < 2 < shaken.flicker


# The game.


@pytest.fixture(scope="module")
def played():
    """Two games of two streams, one of them at a rate that breaks any net."""
    config = experiment.PRESETS["tiny"]
    data, _ = experiment._drawn(config)
    arms = {"two": experiment.ARMS["two"]}
    budget = game.Budget(2, 8, 1e38, 0.1, (0, 2))
    games = game.play(config.sizes, budget, data, arms, [0, 1], lambda _: None)
    return config.sizes, games["two"]


def test_a_net_that_stops_being_finite_is_marked_with_its_step_and_counts_as_noise(played):
    sizes, games = played
    assert (games.broken_at >= 0).all()
    codes = painting.codes_of(0, 0, 6, sizes.codes)
    nets = painting.flattened(games.generator)
    start, end, *_ = painting.painted(sizes, nets, codes, True)
    assert start.clips.std() < 60
    assert end.clips.std() > 65
    assert (end.streams.mask == 1).all()


def test_the_penalty_is_its_weight_times_the_mean_mask(played):
    sizes, games = played
    generator = jax.tree.map(lambda leaf: leaf[0, 0], games.generator)
    start = game._start(sizes, jnp.stack([jax.random.key(0)]))
    judge = {
        part: jax.tree.map(lambda leaf: leaf[0], start[part]["discriminator"]) for part in start
    }

    @jax.jit
    def losses(weights, streams):
        def loss(weight):
            nets = game._nets(sizes, 8, streams)
            cost = game._generator_cost(sizes, nets, {"weight": weight, "streams": streams})
            value, aside = cost(generator, judge, None, jax.random.key(5))
            return value, aside.metrics["mask"]

        return jax.lax.map(loss, weights)

    weights = jnp.array([0.0, 0.25])
    (free, drawn), (mask, _) = np.float64(losses(weights, 2.0))
    assert drawn - free == pytest.approx(0.25 * mask, abs=1e-6)
    (alone, _), _ = np.float64(losses(weights, 1.0))
    assert abs(alone - free) > 1e-7  # another clip is judged


def test_a_search_comes_nearer_to_a_clip(played):
    sizes, games = played
    generator = jax.tree.map(lambda leaf: 20 * leaf[0, 0], games.generator)
    codes = painting.codes_of(7, 0, 4, sizes.codes)
    batched = jax.tree.map(lambda leaf: leaf[None], generator)
    (made,) = painting.painted(sizes, batched, codes, True)
    short, long = (
        painting.inverted(sizes, generator, made.clips, painting.Search(steps, 1), True)
        for steps in (1, 60)
    )
    assert (long.error < short.error).all()
    assert long.error.mean() < 0.5 * short.error.mean()


# The verdicts.


def composed(masks, drift=0.0):
    """Return a painter of real clips whose masks are made of the true ones, [N, T, H, W].

    ``drift`` lets the background change from frame to frame.
    """

    def paint(sizes, variables, codes, two_streams):
        drawn = moving.draw(len(codes), 50, 0, *sizes.clip_shape[:2])
        clip = np.float32(drawn.frames / 127.5 - 1)
        mask = np.float32(masks(drawn.masks))[..., None]
        behind = np.median(clip, axis=1)
        clip = np.where(drawn.masks[..., None], clip, behind[:, None])
        changes = drift * np.float32(np.arange(clip.shape[1]) % 2)
        clip = np.clip(clip + changes[:, None, None, None], -1, 1)
        streams = video.Streams(clip, clip, mask, behind)
        made = painting.Painted(metrics.quantized(clip), streams)
        for _ in range(len(jax.tree.leaves(variables)[0])):
            yield made

    return paint


@pytest.mark.parametrize(
    ("paint", "expected"),
    [
        pytest.param(
            composed(lambda masks: masks),
            {"still": "reproduced", "mask-half": "reproduced", "moves": "reproduced"},
            marks=pytest.mark.slow,
        ),
        (
            composed(lambda masks: np.roll(masks, 4, axis=0), drift=0.1),
            {"still": "contradicted", "mask-half": "contradicted", "mask-finds": "contradicted"},
        ),
    ],
)
def test_masks_of_the_object_pass_and_masks_of_another_do_not(paint, expected):
    arms = {"two": experiment.ARMS["two"]}
    found = judged_of_some(arms, *experiment.measure(CONFIG, silent, arms, paint))
    assert {name: found[name] for name in expected} == expected


def judged_of_some(arms, numbers, arrays):
    """Judge a run of some arms; what the others would have had is that of the first."""
    for name in experiment.ARMS.keys() - arms.keys():
        arrays |= {
            key.replace("two/", f"{name}/", 1): value
            for key, value in arrays.items()
            if key.startswith("two/")
        }
    return judged(CONFIG, numbers, arrays)


def made_up(**changes):
    """Arrays of six seeds as the paper has them."""
    values = {
        "anchor/real": 0.1,
        "anchor/shuffled": 2.0,
        "anchor/frozen": 3.0,
        "anchor/blurred": 1.0,
        "anchor/noise": 20.0,
        "finder/overlap": 0.8,
        "finder/by_chance": 0.1,
        "real/share": 0.07,
        "two/excess": [0.0, 0.0],
        "two/overlap": [0.01, 0.6],
        "two/by_chance": [0.01, 0.1],
        "two/covered": [0.5, 0.2],
        "two/fcd": [18.0, 4.0],
        "two/share": [0.01, 0.06],
        "two/straightness": [0.1, 0.8],
        "two/untimely": [0.1, 0.3],
        "two/flicker": [1.0, 2.0],
        "two/sought/mask": 0.5,
        "two/sought/by_chance": 0.1,
        "two/sought/moving": 0.5,
        "free/covered": [0.5, 0.6],
        "one/flicker": [1.0, 4.0],
        "one/fcd": [18.0, 6.0],
        "one/sought/moving": 0.4,
    } | changes
    spread = 1 + 0.01 * np.arange(-2, 4)
    arrays = {
        name: np.asarray(value) * spread.reshape(6, *[1] * np.ndim(value))
        for name, value in values.items()
    }
    return {}, arrays


def test_what_the_paper_has_is_reproduced():
    assert set(judged(CONFIG, *made_up()).values()) == {"reproduced"}


OPPOSITE = {
    "finder": {"finder/overlap": 0.4},
    "metric": {"anchor/frozen": 0.1},
    "still": {"two/excess": [0.0, 0.3]},
    "mask-finds": {"two/overlap": [0.01, 0.05]},
    "mask-half": {"two/overlap": [0.01, 0.2]},
    "untrained": {"two/overlap": [0.3, 0.6]},
    "mask-true": {"two/sought/mask": 0.05},
    "penalty": {"free/covered": [0.5, 0.1]},
    "small-mask": {"two/covered": [0.5, 0.9]},
    "falls": {"two/fcd": [3.0, 4.0]},
    "moves": {"two/share": [0.0, 0.0]},
    "straight": {"two/untimely": [0.1, 0.9]},
    "quiet": {"one/flicker": [1.0, 1.0]},
    "better": {"one/fcd": [18.0, 3.0]},
    "found-better": {"one/sought/moving": 0.7},
}


@pytest.mark.parametrize("claim", OPPOSITE)
def test_the_opposite_is_contradicted(claim):
    assert judged(CONFIG, *made_up(**OPPOSITE[claim]))[claim] == "contradicted"


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--size=18", "8 frames of 18x18 cannot be halved 2 times"),
        ("--frames=7", "frames and pixels of a side must be multiples of 4"),
        ("--train_clips=100", "--train_clips=100 are too few: take 400 or more"),
        ("--n_clips=32", "take more than --ruler_units=32"),
        ("--mask_weight=-1", "'-1' must be at least 0"),
        ("--looks=0,50", "--looks=0,50 must rise from 0 to --steps="),
    ],
)
def test_flags_that_do_not_fit_are_refused(flag, line, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(experiment, ["x", flag])
    assert ended.value.code == 2
    assert line in capsys.readouterr().err
