"""A batch cut into parts: the same step as a whole one, and the same bits wherever parts lie."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxvision.models.normalization import BatchNorm, batch_split_over
from jaxvision.parallel.mesh import configure, make_mesh
from jaxvision.parallel.shards import Split, over_parts, whole_batch
from jaxvision.training.step import evaluate, initial_state, train_step
from jaxvision.types import UserError
from tests.parallel import mesh_worker as worker

RNG = np.random.default_rng(0)


def on_devices(function, devices, *arguments):
    """Run ``function`` where the axis ``data`` is bound, on whole arguments."""
    mesh = make_mesh(1, devices)
    spread = jax.shard_map(function, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)
    return jax.jit(spread)(*arguments)


# How parts are made and summed.


def gradient(rows, key):
    """Sums that show rounding, and what a part was given."""
    x, y = rows
    return {"total": x.T @ y}, {"draw": jax.random.uniform(key, (1,)), "rows": x[:, 0]}


BATCH = tuple(jnp.asarray(RNG.normal(size=(16, 5)), jnp.float32) for _ in range(2))
KEY = jax.random.key(3)


@pytest.mark.parametrize(("devices", "shards"), [(1, 4), (2, 4), (2, 2), (2, None)])
def test_parts_cover_the_batch_once_and_draw_for_themselves(devices, shards):
    split = Split(devices, shards)
    total, apart = on_devices(lambda b, k: over_parts(gradient, b, k, split), devices, BATCH, KEY)
    np.testing.assert_allclose(total["total"], BATCH[0].T @ BATCH[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(whole_batch(apart["rows"], 0), BATCH[0][:, 0])
    draws = [jax.random.uniform(jax.random.fold_in(KEY, i), (1,)) for i in range(split.parts)]
    np.testing.assert_array_equal(apart["draw"], draws)


def test_shards_are_summed_in_one_order_on_any_number_of_devices():
    """As a balanced tree: numbers for which the order decides the result."""
    values = jnp.asarray([[1e8], [1.0], [-1e8], [1.0]], jnp.float32)
    part = lambda rows, _: (rows.sum(0), ())  # noqa: E731
    for devices in (1, 2):
        split = Split(devices, 4)
        total, _ = on_devices(lambda v, s=split: over_parts(part, v, KEY, s), devices, values)
        expected = np.float32(np.float32(1e8) + np.float32(1)) + np.float32(np.float32(-1e8) + 1)
        assert total == expected == 0  # from left to right it would be 1


def test_one_part_is_the_function_itself():
    found = over_parts(lambda rows, key: (rows, key), 1, 2, Split())
    assert found == (1, 2)
    assert over_parts(lambda rows, key: (rows, key), 1, 2, Split(1, 1)) == (1, 2)


@pytest.mark.parametrize(
    ("split", "size", "words"),
    [
        (Split(2), 15, "cannot be cut into 2 equal parts, one for each of the 2 devices"),
        (Split(1, 8), 12, "cannot be cut into 8 equal parts: the"),
        (Split(1, 3), 12, "a power of two"),
        (Split(4, 2), 16, "^a batch in 2 parts cannot be shared by 4 devices: .* that 4 divides"),
        (Split(4, 2), 12, "that 4 divides"),
        (Split(3, 8), 24, "that 3 divides"),
    ],
)
def test_what_cannot_be_cut_is_refused(split, size, words):
    with pytest.raises(UserError, match=words):
        split.check(size)


@pytest.mark.parametrize("split", [Split(), Split(2), Split(1, 8), Split(2, 8), Split(3)])
def test_what_can_be_cut_is_not(split):
    split.check(24)


# Batch normalization over two devices.

X = jnp.asarray(RNG.normal(3, 2, (8, 3, 5)), jnp.float32)
WEIGHT = jnp.asarray(RNG.normal(size=X.shape), jnp.float32)
PARAMS = {"scale": jnp.linspace(0.5, 2, 5), "bias": jnp.linspace(-1, 1, 5)}
STATS = {"mean": jnp.linspace(0, 1, 5), "var": jnp.linspace(1, 3, 5)}


def normalized(params, x, weight):
    """A loss that is a sum over images, and what it differentiates to."""

    def loss(params, x):
        variables = {"params": params, "batch_stats": STATS}
        y, updated = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
        return jnp.sum(weight * jnp.tanh(y)), (y, updated["batch_stats"])

    (_, (y, stats)), (d_params, dx) = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)
    return {"y": y, "dx": dx}, {"stats": stats, "d_params": d_params}


@pytest.fixture(scope="module")
def halves():
    """Return ``halves(axis)``: what each of two devices makes of its half of the images."""

    def found(axis):
        def half(params, x, weight):
            with batch_split_over(axis):
                return jax.tree.map(lambda leaf: leaf[None], normalized(params, x, weight))

        mesh, over = make_mesh(1, 2), P("data")
        specs = dict(in_specs=(P(), over, over), out_specs=over, check_vma=False)
        return jax.jit(jax.shard_map(half, mesh=mesh, **specs))(PARAMS, X, WEIGHT)

    return found


def test_statistics_over_two_devices_are_the_whole_batch_s(halves):
    """Values, running statistics and both kinds of gradients, through the statistics too."""
    (per_image, per_part), (whole, once) = halves("data"), normalized(PARAMS, X, WEIGHT)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(lambda a, b: close(a.reshape(b.shape), b), per_image, whole)
    for part in range(2):
        jax.tree.map(lambda a, b, i=part: close(a[i], b), per_part["stats"], once["stats"])
    jax.tree.map(lambda a, b: close(a.sum(0), b), per_part["d_params"], once["d_params"])


def test_without_an_axis_each_half_has_statistics_of_its_own(halves):
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    parts = [normalized(PARAMS, X[i : i + 4], WEIGHT[i : i + 4]) for i in (0, 4)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    jax.tree.map(close, halves(None), stacked)


# Whole trainings.


def fitted(layout, kind="dense", steps=8, **options):
    made = worker.trainer(layout, kind, **options)
    history = made.fit(worker.runs(kind), steps)
    return history.train, history.test, history.variables


def assert_close(a, b):
    close = partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-6)
    jax.tree.map(close, a, b)


@pytest.mark.parametrize(
    ("kind", "mapping"),
    [("dense", "vmap"), ("dense", "map"), pytest.param("resnet", "map", marks=pytest.mark.slow)],
)
def test_a_batch_on_two_devices_trains_as_on_one(kind, mapping):
    """Eight steps of momentum SGD with batch normalization, every layer watched."""
    one, two = (fitted((1, d), kind, mapping=mapping) for d in (1, 2))
    assert_close(one, two)


def test_shards_on_two_devices_have_the_bits_of_one():
    one, two = (fitted((1, d), shards=4, dropout=0.2) for d in (1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    # Statistics of four images are not those of sixteen.
    assert not np.allclose(one[0]["loss"], fitted((1, 1), mapping="map")[0]["loss"], rtol=1e-3)


def hand_out(observed):
    return {"gradients": observed.gradients, "taps": observed.tap_gradients} | {
        name: x for name, x in observed.activations.items()
    }


def test_a_step_in_shards_is_the_mean_of_steps_on_its_parts():
    """The statistics of the paper's two GPUs: batch 128, normalized in halves of 64."""
    trainer, runs = worker.trainer((1, 1)), worker.runs()
    variables, hyper = runs.variables, runs.hyper
    task = dataclasses.replace(trainer.task, probe=hand_out)
    variables, hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), (variables, hyper))
    state = initial_state(task, variables, hyper)
    # Augmentation is the whole batch's; without it halves are comparable.
    task = dataclasses.replace(task, preprocess=lambda i, _: worker.preprocess(i, None))
    images, labels = trainer.train.images[:16], trainer.train.labels[:16]
    step = jax.jit(partial(train_step, task), static_argnames="split")
    after, found = step(state, images, labels, hyper, 0, split=Split(1, 2))
    halves = [step(state, images[i : i + 8], labels[i : i + 8], hyper, 0) for i in (0, 8)]
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)

    def mean(pick):
        return jax.tree.map(lambda a, b: (a + b) / 2, *(pick(*half) for half in halves))

    for name in ("loss", "error", "gradients"):
        jax.tree.map(close, found[name], mean(lambda _, m, n=name: m[n]))
    jax.tree.map(close, after.batch_stats, mean(lambda s, _: s.batch_stats))
    # delta is the mean loss's: half of each half's, squares added.
    jax.tree.map(close, found["taps"], jax.tree.map(lambda t: t / 2, mean(lambda _, m: m["taps"])))
    for name, axis in (("stem", 0), ("rest", 1), ("logits", 0)):
        parts = [metrics[name] for _, metrics in halves]
        close(found[name], np.concatenate(parts, axis))


@pytest.mark.parametrize("count", [1, 5, 37, 256, 300])
def test_evaluation_has_the_same_bits_on_two_devices(count):
    trainer, runs = worker.trainer((1, 1)), worker.runs()
    variables, hyper = runs.variables, runs.hyper
    variables, hyper = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), (variables, hyper))
    state, task = initial_state(trainer.task, variables, hyper), trainer.task
    images, labels = trainer.test.images[:count], trainer.test.labels[:count]
    one, two = (
        on_devices(lambda s, i, l, d=d: evaluate(task, s, i, l, 64, d), d, state, images, labels)
        for d in (1, 2)
    )
    assert jax.device_get(one) == jax.device_get(two)


def test_a_trainer_refuses_a_batch_that_cannot_be_cut():
    with pytest.raises(UserError, match="cannot be cut into 32 equal parts"):
        worker.trainer((1, 1), shards=32)


@pytest.mark.parametrize(
    ("run", "data", "words"),
    [(None, 3, "groups of 3"), (3, 1, "3 x 1 devices wanted"), (2, 2, "there are 2")],
)
def test_a_mesh_needs_its_devices(run, data, words):
    with pytest.raises(UserError, match=words):
        make_mesh(run, data)


def test_neighbours_share_a_batch():
    assert make_mesh(data=2).devices.tolist() == [jax.devices()]


def test_the_process_says_how_many_devices_share_a_batch():
    try:
        configure(2)
        assert make_mesh().shape == {"run": 1, "data": 2}
        assert make_mesh(data=1).shape == {"run": 2, "data": 1}
        with pytest.raises(UserError, match="groups of 3"):
            configure(3)
        assert make_mesh().shape["data"] == 2
    finally:
        configure(1)
    assert make_mesh().shape == {"run": 2, "data": 1}
