"""Watching a net of any maker: what is shown, what is said, and that ours are seen alike."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxvision.training.step as steps
from jaxvision.dynamics import probes
from jaxvision.dynamics.watching import Watched, watch
from jaxvision.random import stream
from jaxvision.training.losses import cross_entropy
from jaxvision.types import UserError
from tests.dynamics.traced import foreign_nets as nets
from tests.lab import NETS, preprocess

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(6, 8)).astype(np.float32)
LABELS = np.arange(6, dtype=np.int32) % 3


def matrix(*shape):
    return RNG.normal(size=shape).astype(np.float32) / np.float32(np.sqrt(shape[-2]))


def said(remarks):
    return {remark.name: remark.reason for remark in remarks}


@pytest.mark.parametrize("kind", NETS)
def test_a_net_of_ours_is_seen_as_by_its_own_probe(lab, kind):
    """Golden: the model's activations and taps against the walk through its program."""
    task = lab.task(kind, probes.per_layer)
    variables = jax.tree.map(lambda leaf: leaf[0], lab.starts[kind])
    images, labels = lab.train.images[:16], lab.train.labels[:16]
    hyper = {"learning_rate": jnp.float32(0.1), "train_biases": jnp.float32(1)}
    state = steps.initial_state(task, variables, hyper)
    step = jax.jit(lambda state: steps.train_step(task, state, images, labels, hyper, 0))
    _, expected = step(state)
    found = watch(NETS[kind], variables, preprocess(images, None), labels, train=True)
    for name in probes.LAYERWISE:
        np.testing.assert_allclose(getattr(found, name), expected[name], rtol=2e-5)
    np.testing.assert_allclose(found.loss, expected["loss"], rtol=1e-5)
    assert found.notes == ()
    assert found.unseen == ()


def test_a_layer_used_three_times_is_shown_three_times():
    """Field case 46."""
    net = nets.Shared()
    variables = net.init(stream(0, "init"), ROWS)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 72
    found = watch(net, variables, ROWS, LABELS)
    assert found.layers == ("Dense_0", "Dense_0#2", "Dense_0#3")
    assert sum(leaf.size for leaf in jax.tree.leaves(found.gradients)) == 72
    assert said(found.notes)["Dense_0#2"] == "Dense_0/kernel is used 3 times; dW is of all uses"


def test_layers_of_other_methods_are_seen():
    """Field case 46."""

    class Two(nn.Module):
        def setup(self):
            self.encoder, self.head = nn.Dense(5), nn.Dense(3)

        def __call__(self, x):
            return self.head(self.encode(x))

        def encode(self, x):
            return jnp.tanh(self.encoder(x))

    net = Two()
    variables = net.init(stream(0, "init"), ROWS)
    assert watch(net, variables, ROWS, LABELS).layers == ("encoder", "head")
    alone = watch(net, variables, ROWS, LABELS, method="encode")
    assert alone.layers == ("encoder",)
    assert said(alone.unseen)["head/kernel"] == "the input never meets it"


def test_a_step_that_watches_is_compiled_once_and_trains():
    """Field case 46: what was seen is not fed back; the gradients are those of the step."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.BatchNorm(use_running_average=not train)(nn.Dense(5)(x))
            self.sow("intermediates", "x", x)
            return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(nn.relu(x)))

    net = Net()
    variables = jax.jit(partial(net.init, train=False))(stream(0, "init"), ROWS)

    @jax.jit
    def step(params, key):
        found = watch(net, variables | {"params": params}, ROWS, LABELS, train=True, key=key)
        return optax.apply_updates(params, jax.tree.map(lambda g: -0.1 * g, found.gradients)), found

    @jax.jit
    @jax.grad
    def gradient(params, key):
        given = variables | {"params": params}
        rngs = {"dropout": key}
        output, _ = net.apply(given, ROWS, train=True, rngs=rngs, mutable=["batch_stats"])
        return cross_entropy(output, LABELS).mean()

    params = variables["params"]
    for number in range(3):
        expected = gradient(params, stream(0, "dropout", number))
        params, found = step(params, stream(0, "dropout", number))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
            found.gradients,
            expected,
        )
    assert step._cache_size() == 1
    assert found.layers == ("Dense_0", "Dense_1")


def test_a_parameter_that_no_layer_shows_is_named_with_the_reason():
    names = ("scale", "code", "token", "left", "right", "idle")
    params = {name: {"value": np.full((1, 4), 0.5, "f")} for name in names}
    params |= {"dense": {"kernel": matrix(8, 4), "bias": np.zeros((1, 4), "f")}}
    params |= {"left": {"value": matrix(4, 4)}, "right": {"value": matrix(4, 4)}}

    def apply(params, x):
        value = {name: params[name]["value"] for name in names}
        x = x @ params["dense"]["kernel"] + params["dense"]["bias"]
        x = x * value["scale"] + value["code"]
        x = jnp.concatenate([x, value["token"]])[:6]
        left, right = (lambda: x @ value["left"]), (lambda: x @ value["right"])
        return jax.lax.cond(x.sum() > 0, left, right)

    found = watch(apply, params, ROWS, LABELS)
    branch = "it is used inside a branch (cond), which is not entered"
    assert found.layers == ("dense",)
    assert said(found.unseen) == {
        "scale/value": "it multiplies the signal element by element",
        "code/value": "it is added to the signal",
        "token/value": "it is put beside the signal",
        "left/value": branch,
        "right/value": branch,
        "idle/value": "the input never meets it",
    }


def test_weights_that_are_computed_first_or_tied_are_said():
    params = {"v": matrix(8, 3), "g": np.ones((1, 3), "f")}
    norm = lambda p: jnp.linalg.norm(p["v"], axis=0, keepdims=True)  # noqa: E731
    found = watch(lambda p, x: x @ (p["g"] * p["v"] / norm(p)), params, ROWS, LABELS)
    assert found.layers == ("v",)
    assert said(found.notes) == {"v": "its weights are computed first, from g, v"}
    gradients = jax.tree.leaves(found.gradients)
    np.testing.assert_allclose(found.dw_norm, [optax.tree.norm(gradients)], rtol=1e-5)

    def tied(params, words):
        table = params["table"]
        return table[words] @ table.T

    words = np.array([0, 2, 1, 2, 0, 1])
    found = watch(tied, {"table": matrix(3, 4)}, words, LABELS)
    assert found.layers == ("table", "table#2")
    assert [reason for _, reason in found.notes] == [
        "table is used 2 times; dW is of all uses",
        "it looks rows of its weights up",
        "table is used 2 times; dW is of all uses",
    ]


def test_a_product_with_a_derivative_of_its_own_is_one_layer():
    @jax.custom_vjp
    def doubling(x, w):
        return x @ w

    # A derivative that is wrong on purpose: it must be the one that is used.
    doubling.defvjp(
        lambda x, w: (x @ w, (x, w)), lambda kept, g: (2 * g @ kept[1].T, 3 * kept[0].T @ g)
    )
    params = {"first": matrix(8, 4), "last": matrix(4, 3)}
    found = watch(lambda p, x: doubling(doubling(x, p["first"]), p["last"]), params, ROWS, LABELS)
    assert found.layers == ("first", "last")
    plain = watch(lambda p, x: x @ p["first"] @ p["last"], params, ROWS, LABELS)
    np.testing.assert_allclose(found.delta_norm, plain.delta_norm * np.float32([2, 1]), rtol=1e-5)
    np.testing.assert_allclose(found.dw_norm, plain.dw_norm * np.float32([6, 3]), rtol=1e-5)


def test_dw_of_weights_that_are_cut_is_that_of_the_part():
    params = {"w": np.stack([matrix(8, 8) for _ in range(3)])}
    by_index = watch(
        lambda p, x: jnp.tanh(x @ p["w"][0]) @ p["w"][1] @ p["w"][2], params, ROWS, LABELS
    )
    loop = watch(
        lambda p, x: jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ p["w"][i]), x),
        params,
        ROWS,
        LABELS,
    )
    assert loop.layers == ("w[0]", "w[1]", "w[2]")
    assert by_index.layers == ("w", "w#2", "w#3")
    for found in (by_index, loop):
        norms = jnp.sqrt(jnp.square(found.gradients["w"]).sum((1, 2)))
        np.testing.assert_allclose(found.dw_norm, norms, rtol=1e-5)


def test_stacked_weights_give_a_number_a_layer_whatever_their_axis():
    net = nets.Scanned()
    variables = net.init(stream(0, "init"), ROWS[:, :4])
    found = watch(net, variables, ROWS[:, :4], LABELS)
    stack = [f"stack/Dense_0[{i}]" for i in range(3)]
    assert found.layers == (*stack, "Dense_0")
    kernel = found.gradients["stack"]["Dense_0"]["kernel"]
    np.testing.assert_allclose(found.dw_norm[:3], jnp.sqrt((kernel**2).sum((0, 2))), rtol=1e-5)
    assert (found.notes, found.unseen) == ((), ())


def test_a_layer_over_time_is_one():
    sequences = RNG.normal(size=(6, 5, 4)).astype(np.float32)
    net = nets.Recurrent()
    variables = jax.jit(net.init)(stream(0, "init"), sequences)
    found = watch(net, variables, sequences, LABELS)
    assert len(found.layers) == 9
    assert np.isfinite(found.dw_norm).all()
    kernel = found.gradients["LSTMCell_0"]["ii"]["kernel"]
    place = found.layers.index("LSTMCell_0/ii")
    np.testing.assert_allclose(found.dw_norm[place], np.linalg.norm(kernel), rtol=1e-5)
    outputs = sequences @ np.asarray(variables["params"]["LSTMCell_0"]["ii"]["kernel"])
    np.testing.assert_allclose(found.signal_std[place], outputs.std(), rtol=1e-5)


def test_nnx_and_one_example_at_a_time():
    net = nnx.Linear(8, 3, rngs=nnx.Rngs(0))
    whole = watch(net, None, ROWS, LABELS)
    single = watch(net, None, ROWS, LABELS, per_example=True)
    assert whole.layers == single.layers == ("kernel",)
    for name in probes.LAYERWISE:
        np.testing.assert_allclose(getattr(whole, name), getattr(single, name), rtol=1e-5)


def test_the_table_has_a_row_a_layer_and_the_slope_is_that_of_delta():
    gain = np.float32(0.5)
    stack = {str(i): np.eye(8, dtype="f") * gain for i in range(5)}

    def apply(params, x):
        for weights in params.values():
            x = x @ weights
        return x

    found = watch(apply, stack, ROWS, LABELS)
    np.testing.assert_allclose(found.octaves_per_layer(), -1, rtol=1e-4)
    assert len(str(found).splitlines()) == 6
    assert "nan" not in str(found)
    assert repr(found) == "Watched(5 layers; print shows their table)"


@pytest.mark.parametrize("delta", [[1.0], [1.0, 0.0, 0.5], [1.0, np.inf], [np.nan, 1.0]])
def test_there_is_no_slope_of_one_layer_or_of_a_dead_one(delta):
    """The fit of a line through one point raised an error of linear algebra."""
    found = Watched(("layer",), *[np.array(delta)] * 3, 0.0, None, {}, (), ())
    assert np.isnan(found.octaves_per_layer())


WEIGHTS = {"w": matrix(8, 3)}


def dense(params, x):
    return x @ params["w"]


class Dropped(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))


def test_dropout_in_train_mode_asks_for_a_key():
    variables = Dropped().init(stream(0, "init"), ROWS)
    with pytest.raises(UserError, match="the net draws at random in train mode: give key=KEY"):
        watch(Dropped(), variables, ROWS, LABELS, train=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((jnp.matmul, WEIGHTS["w"]), "nothing to watch"),
        ((jnp.matmul, WEIGHTS["w"], ROWS), "a loss needs labels"),
        (
            (lambda p, x: x @ p["w"], WEIGHTS, ROWS[:, :7], LABELS),
            "an input of shape (6, 7)",
        ),
        ((dense, WEIGHTS, ROWS, LABELS[:4]), "whole numbers [6], not int32 [4]"),
        ((dense, WEIGHTS, ROWS, np.eye(3)[LABELS]), "whole numbers [6], not float32 [6, 3]"),
        ((dense, WEIGHTS, ROWS, LABELS.tolist()), "whole numbers [6], not list"),
        ((dense, WEIGHTS, ROWS, LABELS + 5), "but the net has 3 classes, 0 up"),
        ((dense, WEIGHTS, ROWS, LABELS - 3), "count classes from 0"),
        ((dense, WEIGHTS, ROWS, ["a"] * 6), "labels are no numbers, as 'a' is"),
        ((dense, WEIGHTS, ROWS * np.nan, LABELS), "images have values that are no number (NaN)"),
        ((lambda p, x: np.asarray(x) @ p["w"], WEIGHTS, ROWS, LABELS), "write it with jax.numpy"),
        ((dense, WEIGHTS, ROWS[:0], LABELS[:0]), "there are no images"),
        ((dense, WEIGHTS, ROWS.tolist(), LABELS), "more (an array goes in, no list)"),
        ((lambda p, x: x * p["w"].sum(), WEIGHTS, ROWS, LABELS), "the net has no layer"),
        ((lambda p, x: x @ p["w"], WEIGHTS | {"n": 3}, ROWS, LABELS), "parameter n is int32"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, sentence):
    with pytest.raises(UserError) as caught:
        watch(*arguments)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
