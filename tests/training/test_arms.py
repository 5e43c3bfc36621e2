"""Arms over paired seeds: who shares what, which rate is chosen, what a record keeps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.data.augment import normalize
from jaxvision.data.dataset import Dataset
from jaxvision.dynamics import probes
from jaxvision.initializers import he_backward, xavier_he2015
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.random import stream
from jaxvision.training.arms import (
    Arm,
    best_rate,
    fit_arms,
    fit_rates,
    make_runs,
    probe_cost,
    record_arrays,
    summarize,
    tune,
)
from jaxvision.training.escape import plateau
from jaxvision.training.fit import History, Trainer
from jaxvision.training.optimizers import sgd
from jaxvision.training.step import Task

SEEDS = (0, 3)


def arm(rate, initializer=he_backward, replicate=0):
    start = partial(initialize_runs, MLP(5, 8, 10, initializer()), image_shape=(8, 8, 1))
    return Arm(start, {"learning_rate": rate, "train_biases": 1.0}, replicate)


@pytest.fixture(scope="module")
def trainer(lab):
    return lab.trainer("mlp", probes.per_layer)


@pytest.fixture(scope="module")
def histories(trainer):
    """Four arms: one, the same again, other draws, another rate."""
    arms = {
        "he": arm(0.02),
        "same": arm(0.02),
        "other_draws": arm(0.02, replicate=1),
        "other_rate": arm(0.05),
    }
    return fit_arms(trainer, arms, SEEDS, 8)


def test_rates_of_one_arm_are_arms_that_differ_by_the_rate(trainer, histories):
    found = fit_rates(
        trainer, arm(None)._replace(hyper={"train_biases": 1.0}), (0.02, 0.05), SEEDS, 8
    )
    assert list(found) == [0.02, 0.05]
    for rate, name in ((0.02, "he"), (0.05, "other_rate")):
        for quantity in ("loss", "error"):
            wanted = histories[name].train[quantity]
            np.testing.assert_allclose(found[rate].train[quantity], wanted, rtol=1e-5)


def test_the_rate_of_trained_histories_is_that_of_tune(trainer, histories):
    grid = {0.02: arm(0.02), 0.05: arm(0.05)}
    chosen, losses = tune(trainer, grid, SEEDS, 8)
    trained = {0.02: histories["he"], 0.05: histories["other_rate"]}
    again, of_trained = best_rate(trained)
    assert chosen == again
    assert losses == pytest.approx(of_trained, rel=1e-5)


def kernels(runs, rows):
    return runs.variables["params"]["hidden"]["kernel"][rows]


def test_runs_are_arm_by_arm_and_seed_by_seed():
    arms = {"a": arm(0.1), "b": arm(0.2, xavier_he2015), "c": arm(0.3, replicate=1)}
    runs = make_runs(arms, SEEDS)
    np.testing.assert_array_equal(runs.seeds, [0, 3, 0, 3, 0, 3])
    rates = np.float32([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    np.testing.assert_array_equal(runs.hyper["learning_rate"], rates)
    a, b, c = kernels(runs, [0, 1]), kernels(runs, [2, 3]), kernels(runs, [4, 5])
    # Arms of one replicate begin from the same draws, each scaled in its own way.
    np.testing.assert_allclose(a, b * np.sqrt(2), rtol=1e-5)
    assert not np.allclose(a, c, atol=0.1)
    assert not np.allclose(a[0], a[1], atol=0.1)


def test_a_start_is_drawn_from_the_named_stream_of_its_seed_and_replicate():
    runs = make_runs({"a": arm(0.1, replicate=2)}, SEEDS)
    keys = jnp.stack([stream(seed, "init", 2) for seed in SEEDS])
    expected = arm(0.1).initialize(keys)
    jax.tree.map(np.testing.assert_array_equal, runs.variables, jax.device_get(expected))


def test_equal_arms_are_equal_to_the_bit_and_arms_differ_where_they_should(histories):
    """The order of the data is the seed's alone: the same first batch for arms of equal start."""
    he, same = histories["he"], histories["same"]
    jax.tree.map(np.testing.assert_array_equal, he.train, same.train)
    jax.tree.map(np.testing.assert_array_equal, he.variables, same.variables)
    loss = {name: history.train["loss"] for name, history in histories.items()}
    np.testing.assert_array_equal(loss["he"][:, 0], loss["other_rate"][:, 0])
    assert (loss["he"][:, 1] != loss["other_rate"][:, 1]).all()
    assert (loss["he"][:, 0] != loss["other_draws"][:, 0]).all()


def test_a_history_has_a_row_for_each_seed(histories):
    for history in histories.values():
        assert history.train["loss"].shape == (2, 8)
        assert history.train["signal_std"].shape == (2, 8, 5)
        assert history.test["error"].shape == (2, 3)
        assert history.variables["params"]["input"]["kernel"].shape == (2, 64, 8)


PLATEAU = 4.0


class Stub:
    """A trainer whose runs have the losses they are given, by rate and seed."""

    def __init__(self, losses):
        self.losses = losses

    def fit(self, runs, steps, advance, *, look, may_diverge):
        assert may_diverge and look is None
        loss = np.array(
            [
                self.losses[round(float(rate), 3)][seed]
                for rate, seed in zip(runs.hyper["learning_rate"], runs.seeds, strict=True)
            ],
            np.float32,
        )
        assert loss.shape == (len(runs.seeds), steps)
        plateau = np.full(loss.shape, PLATEAU)
        return History({"loss": loss}, {}, np.array([0]), {}, plateau, PLATEAU)


def choose(losses):
    start = lambda keys: {"params": np.zeros(len(keys))}  # noqa: E731
    grid = {rate: Arm(start, {"learning_rate": rate}) for rate in losses}
    steps = max((len(loss) for seeds in losses.values() for loss in seeds.values()), default=0)
    return tune(Stub(losses), grid, (0, 1), steps)


def test_tune_takes_the_rate_whose_worst_seed_ends_lowest():
    """The last tenth of the steps counts: what came before, and the best seed, do not."""
    early = [9.0] * 18
    losses = {
        0.1: {0: [0.0] * 18 + [2.0, 2.0], 1: [0.0] * 18 + [2.0, 2.0]},
        0.2: {0: [*early, 1.0, 1.2], 1: [*early, 0.5, 0.7]},
        0.3: {0: [*early, 0.1, 0.1], 1: [*early, 2.0, 2.0]},
    }
    best, found = choose(losses)
    assert best == 0.2
    assert found == pytest.approx({"0.1": 2.0, "0.2": 1.1, "0.3": 2.0})


def test_where_nothing_leaves_the_plateau_the_largest_rate_that_stays_there_is_taken():
    on_it = {
        0.1: {0: [4.00, 3.99], 1: [4.00, 3.99]},
        0.2: {0: [4.02, 4.01], 1: [4.05, 4.01]},
    }
    assert choose(on_it)[0] == 0.2
    off_it = {0: [4.0, 20.0], 1: [4.0, 4.0]}
    assert choose(on_it | {0.3: off_it})[0] == 0.2
    left = {0: [3.0, 3.0], 1: [4.0, 4.0]}  # one seed says what the losses are worth
    assert choose(on_it | {0.3: left})[0] == 0.1


def test_tune_trains_nothing_where_there_is_no_choice():
    assert choose({0.1: {}}) == (0.1, {})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_tune_never_takes_a_rate_that_diverged_on_a_seed(bad):
    losses = {0.1: {0: [0.1, bad], 1: [0.1, 0.1]}, 0.2: {0: [3.0, 3.0], 1: [3.0, 3.0]}}
    best, found = choose(losses)
    assert best == 0.2
    assert found == {"0.1": float("inf"), "0.2": 3.0}


def test_tune_answers_even_where_every_rate_diverged():
    losses = {rate: {0: [np.nan], 1: [np.nan]} for rate in (0.1, 0.2)}
    best, found = choose(losses)
    assert best in losses
    assert set(found.values()) == {float("inf")}


def test_summarize_by_hand():
    loss = np.full((3, 30), 3.0)
    loss[0, 12:] = 2.0  # below .9 ln 10 = 2.07 from step 12 on
    loss[2, 7:] = np.nan
    error = np.array([[0.9, 0.5], [0.9, 0.8], [0.9, 0.9]])
    test = {"error": error, "loss": np.array([[2.3, 1.0], [2.3, 2.2], [2.3, np.nan]])}
    level = np.full(loss.shape, np.log(10))
    history = History({"loss": loss}, test, np.array([0, 30]), {}, level, np.log(10))
    found = summarize({"he": history})
    np.testing.assert_array_equal(found["escape_step"]["he"], [12, 30, 30])
    np.testing.assert_array_equal(found["diverged_step"]["he"], [-1, -1, 7])
    np.testing.assert_array_equal(found["test_error"]["he"], [0.5, 0.8, np.nan])
    curve = record_arrays("he", history)["he/test_error"]  # its last value is the figure's cross
    np.testing.assert_array_equal(curve[2], [0.9, np.nan])


def test_a_record_keeps_steps_whole_and_layers_at_few_steps(histories):
    history = histories["he"]
    found = record_arrays("net/he", history, probes.LAYERWISE)
    assert all(name.startswith("net/he/") for name in found)
    np.testing.assert_array_equal(found["net/he/loss"], history.train["loss"])
    np.testing.assert_array_equal(found["net/he/decay_cosine"], history.train["decay_cosine"])
    np.testing.assert_array_equal(found["net/he/layer_steps"], [0, 1, 7])
    for name in probes.LAYERWISE:
        np.testing.assert_array_equal(found[f"net/he/{name}"], history.train[name][:, [0, 1, 7]])
    np.testing.assert_array_equal(found["net/he/test_error"], history.test["error"])
    np.testing.assert_array_equal(found["net/he/test_steps"], [0, 4, 8])


@pytest.mark.parametrize(("steps", "kept"), [(1, [0]), (2, [0, 1]), (120, [0, 1, 10, 100, 119])])
def test_kept_steps_are_powers_of_ten_and_the_last(steps, kept):
    train = {"loss": np.zeros((1, steps)), "layers": np.arange(steps)[None, :, None]}
    test = dict.fromkeys(("loss", "error"), np.zeros((1, 2)))
    history = History(train, test, np.array([0, steps]), {}, train["loss"], 0.0)
    found = record_arrays("a", history, ("layers",))
    assert found["a/layers"].ravel().tolist() == found["a/layer_steps"].tolist() == kept
    assert "a/layer_steps" not in record_arrays("a", history)


def test_probe_cost_is_a_percentage_of_the_bare_step(trainer, monkeypatch):
    seconds = {True: iter([3.0, 9.0, 2.4]), False: iter([2.0, 2.0, 1.0])}

    def stopwatch(self, runs):
        assert len(runs.seeds) == self.mesh.size
        watched = self.task.probe is not None
        return lambda: next(seconds[watched])

    monkeypatch.setattr(type(trainer), "stopwatch", stopwatch)
    assert probe_cost(trainer, arm(0.02), repeats=3) == pytest.approx(50.0)  # medians 3 and 2


def test_a_stopwatch_can_be_read_again_and_again(trainer):
    """It trains from the start each time; what was donated must not be read twice."""
    clock = trainer.stopwatch(make_runs({"a": arm(0.02)}, SEEDS))
    assert all(clock() > 0 for _ in range(3))


def test_on_noise_with_unequal_classes_no_net_escapes():
    """What it learns are the shares, in a few steps, and their entropy is the plateau."""
    rng, shares = np.random.default_rng(0), [0.05, 0.10, 0.11, 0.615, 0.125]
    train, test = (
        Dataset(
            rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8),
            rng.choice(5, count, p=shares).astype(np.int32),
        )
        for count in (1500, 100)
    )
    net = MLP(30, 32, 5, xavier_he2015())
    task = Task(apply_function(net), partial(sgd, 5e-4), lambda x, key: normalize(x, 128.0, 74.0))
    start = partial(initialize_runs, net, image_shape=(8, 8, 3))
    noise = Arm(start, {"learning_rate": 0.03, "train_biases": 1.0})
    history = fit_arms(Trainer(task, train, test, 16, 100), {"x": noise}, range(3), 100)["x"]
    learned = history.train["loss"][:, -50:].mean(1)
    np.testing.assert_allclose(learned, history.label_entropy, rtol=0.08)
    assert (learned < 0.9 * np.log(5)).all()  # which is no plateau of this set
    np.testing.assert_array_equal(summarize({"x": history})["escape_step"]["x"], [100] * 3)


def test_a_history_carries_the_plateau_of_its_own_batches(lab, histories):
    level = plateau(lab.train.labels, SEEDS, 8, 16)
    for history in histories.values():
        np.testing.assert_array_equal(history.plateau, level)
        assert history.label_entropy == lab.train.label_entropy
