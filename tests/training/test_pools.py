"""Runs that draw from rows of their own: one program for subsets of any size."""

import jax
import numpy as np
import pytest

from jaxvision.longrun.owner import facts
from jaxvision.training.arms import Arm, make_runs
from jaxvision.training.escape import plateau
from jaxvision.training.order import Orders
from jaxvision.types import UserError

STEPS = 8


def pools_of(*rows, length=32):
    return np.stack([np.resize(np.int32(each), length) for each in rows])


def test_an_epoch_visits_a_pool_as_often_as_its_rows_stand_there():
    pools = pools_of([3, 4, 7, 9], np.arange(20, 36))
    rows = Orders([5, 5], 50, 8, pools).rows(0, 4)
    assert rows.shape == (2, 4, 8)
    assert rows.dtype == np.int32
    counts = np.bincount(rows[0].ravel(), minlength=50)
    assert counts[[3, 4, 7, 9]].tolist() == [8] * 4
    assert counts.sum() == 32
    np.testing.assert_array_equal(np.bincount(rows[1].ravel(), minlength=50)[20:36], 2)


def test_runs_of_one_seed_take_the_same_places_of_their_pools():
    pools = pools_of(np.arange(32), 32 + np.arange(32))
    rows = Orders([5, 5], 64, 8, pools).rows(3, 6)
    np.testing.assert_array_equal(rows[0] + 32, rows[1])


def test_a_pool_of_all_images_is_none(lab):
    runs = lab.runs("mlp")
    everything = np.tile(np.arange(50, dtype=np.int32), (3, 1))
    one, other = (
        lab.trainer("mlp").fit(each, STEPS) for each in (runs, runs._replace(pools=everything))
    )
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_a_run_sees_its_own_images_alone(lab):
    """Weights do not depend on images outside the pool, nor on the runs beside."""
    runs = lab.runs("mlp")._replace(pools=pools_of([1, 2, 3], np.arange(16), np.arange(50)))
    trainer = lab.trainer("mlp")
    whole = trainer.fit(runs, STEPS)
    blank = trainer.train.images.copy()
    blank[16:] = 0
    cut = lab.trainer("mlp")
    object.__setattr__(cut, "train", cut.train._replace(images=blank))
    found = cut.fit(runs, STEPS)
    for run in (0, 1):
        np.testing.assert_array_equal(whole.train["loss"][run], found.train["loss"][run])
    assert (whole.train["loss"][2] != found.train["loss"][2]).any()


def test_the_plateau_is_that_of_the_pool_s_batches():
    labels = np.repeat([0, 1], [30, 10])
    level = plateau(labels, [0, 0], 3, 4, pools=pools_of([0, 1], [38, 39]))
    np.testing.assert_allclose(level, [[-np.log(0.75)] * 3, [-np.log(0.25)] * 3])


def test_a_pool_smaller_than_a_batch_is_refused(lab):
    runs = lab.runs("mlp")._replace(pools=pools_of([1], [2], [3], length=15))
    with pytest.raises(UserError, match=r"^batch size 16 exceeds the 15 images of a pool$"):
        lab.trainer("mlp").fit(runs, STEPS)


@pytest.mark.parametrize("row", [-1, 50])
def test_rows_that_there_are_not_are_refused(lab, row):
    runs = lab.runs("mlp")._replace(pools=pools_of([1], [2], [row]))
    with pytest.raises(ValueError, match="a pool names row"):
        lab.trainer("mlp").fit(runs, STEPS)


def arm(lab, pool):
    def start(keys):
        return jax.tree.map(lambda leaf: leaf[: len(keys)], lab.starts["mlp"])

    return Arm(start, {"learning_rate": 0.1}, pool=pool)


def test_arms_give_every_seed_a_pool(lab):
    arms = {
        "few": arm(lab, lambda seed: np.full(4, seed)),
        "many": arm(lab, lambda seed: seed + np.arange(4)),
    }
    runs = make_runs(arms, [7, 9])
    assert runs.pools.tolist() == [[7] * 4, [9] * 4, [7, 8, 9, 10], [9, 10, 11, 12]]
    assert make_runs({"all": arm(lab, None)}, [7]).pools is None
    with pytest.raises(ValueError, match="or none does"):
        make_runs(arms | {"all": arm(lab, None)}, [7, 9])


def test_a_checkpoint_of_other_pools_is_another_s(lab):
    trainer, runs = lab.trainer("mlp"), lab.runs("mlp")
    pooled = [runs._replace(pools=pools_of([1], [2], [row])) for row in (3, 4)]
    known = [facts(trainer, each, None) for each in (runs, *pooled)]
    assert "pools" not in known[0]
    assert known[1]["pools"] != known[2]["pools"]
