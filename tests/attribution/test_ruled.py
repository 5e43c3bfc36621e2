"""One backward rule at every ReLU of every net, ours or not, and no net without."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.attribution import relus
from jaxvision.attribution.ruled import ruled
from jaxvision.initializers import he_forward
from jaxvision.models import builders
from jaxvision.models.layers import apply_function, initialize
from jaxvision.relu import RULES, backward_rule, relu
from jaxvision.types import UserError

SHAPE = (16, 16, 3)
# Of every net: its sizes, and how many ReLUs a signal passes or meets.
NETS = {
    "mlp": ({"depth": 5, "width": 8}, 4),
    "normalized_mlp": ({"depth": 5, "width": 8}, 4),
    "he2015": ({"depth": 14, "width": 2}, 13),
    "plain": ({"depth": 14, "width": 2}, 13),
    "resnet": ({"depth": 20, "width": 2}, 19),
    "shallow": ({"channels": (2, 3), "units": 4}, 3),
    "alexnet": ({"width": 3, "dense": 4}, 7),
    "shift": ({"depth": 2, "width": 2}, 6),
    "whitened": ({"widths": (4, 6)}, 5),  # the whitened images pass one too
}


def net(name, sizes, draws=jax.eval_shape):
    """Return images -> the sum of the first logit; of weights 0 where none are drawn."""
    model = builders.NETS[name](3, SHAPE, he_forward(), **sizes)
    variables = draws(partial(initialize, model, image_shape=SHAPE), jax.random.key(0))
    if draws is jax.eval_shape:
        variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), variables)
    apply = apply_function(model)

    def score(images):
        logits, *_ = apply(variables["params"], variables["batch_stats"], images, train=False)
        return logits[:, 0].sum()

    return score


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(1), (2, *SHAPE))


def test_all_our_nets_with_relus_are_looked_at():
    assert NETS.keys() == builders.NETS.keys() - {"linear", "sigmoid_mlp"}


@pytest.mark.parametrize("name", NETS)
def test_every_relu_of_our_nets_is_reached(name, images):
    sizes, count = NETS[name]
    function = net(name, sizes)
    assert relus.find(function, images).count == count


@pytest.mark.parametrize("name", ["he2015", pytest.param("resnet", marks=pytest.mark.slow)])
def test_the_walk_and_the_one_relu_of_our_nets_agree(name, images):
    function = net(name, NETS[name][0], draws=lambda draw, key: jax.jit(draw)(key))

    @jax.jit
    def maps(images):
        walked, traced = {}, {}
        for rule in RULES:
            walked[rule] = jax.value_and_grad(ruled(function, rule))(images)
            with backward_rule(rule):
                traced[rule] = jax.value_and_grad(lambda images: function(images))(images)
        return walked, traced

    walked, traced = maps(images)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), walked, traced)
    for rule in ("deconvnet", "guided"):
        np.testing.assert_allclose(walked[rule][0], walked["gradient"][0], rtol=1e-5)
        assert np.abs(walked[rule][1] - walked["gradient"][1]).max() > 0.01


def test_the_rules_are_those_of_the_papers():
    x = jnp.array([-1.0, -1.0, 2.0, 2.0])
    signal = jnp.array([-3.0, 3.0, -3.0, 3.0])
    expected = {
        "gradient": [0, 0, -3, 3],
        "deconvnet": [0, 3, 0, 3],
        "guided": [0, 0, 0, 3],
    }
    for rule, back in expected.items():
        with backward_rule(rule):
            value, pull = jax.vjp(lambda x: relu(x), x)
        np.testing.assert_array_equal(value, [0, 0, 2, 2])
        np.testing.assert_array_equal(pull(signal)[0], back)


def test_a_relu_without_a_rule_is_jaxs_to_the_bit():
    x = jax.random.normal(jax.random.key(0), (50,))
    assert str(jax.make_jaxpr(relu)(x)) == str(jax.make_jaxpr(jax.nn.relu)(x))


KERNEL = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)


def two_layers(activation):
    """Return x [6] -> number, with a bias so that zero is no corner."""
    return lambda x: jnp.sum(KERNEL[0] * activation(KERNEL @ activation(KERNEL @ x)))


def in_scan(activation):
    def function(x):
        x, _ = jax.lax.scan(lambda x, _: (activation(KERNEL @ x), None), x, None, length=2)
        return jnp.sum(KERNEL[0] * x)

    return function


def as_loop(activation):
    def function(x):
        x = jax.lax.fori_loop(0, 2, lambda _, x: activation(KERNEL @ x), x)
        return jnp.sum(KERNEL[0] * x)

    return function


WRITTEN = {  # field-wings 28: all these are one net
    "nn": two_layers(nn.relu),
    "jax": two_layers(jax.nn.relu),
    "maximum": two_layers(lambda x: jnp.maximum(x, 0)),
    "swapped": two_layers(lambda x: jnp.maximum(jnp.zeros_like(x), x)),
    "closed": two_layers(partial(jnp.maximum, jnp.zeros(()))),
    "array": two_layers(lambda x: jnp.maximum(x, np.zeros(6, np.float32))),
    "array_of_one": two_layers(lambda x: jnp.maximum(np.zeros(1), x)),
    "clip": two_layers(lambda x: jnp.clip(x, 0)),
    "clip_to_infinity": two_layers(lambda x: jnp.clip(x, 0, jnp.inf)),
    "clamp": two_layers(lambda x: jax.lax.clamp(0.0, x, jnp.inf)),
    "fmax": two_layers(lambda x: jnp.fmax(x, 0)),
    "fmax_swapped": two_layers(lambda x: jnp.fmax(np.zeros(6, np.float32), x)),
    "times": two_layers(lambda x: x * (x > 0).astype(x.dtype)),
    "times_swapped": two_layers(lambda x: jnp.float32(x >= 0) * x),
    "where": two_layers(lambda x: jnp.where(x > 0, x, 0)),
    "where_not": two_layers(lambda x: jnp.where(~(x > 0), jnp.zeros_like(x), x)),
    "where_below": two_layers(lambda x: jnp.where(x <= 0, 0, x)),
    "select": two_layers(lambda x: jax.lax.select(x >= 0, x, jnp.zeros_like(x))),
    "select_of_array": two_layers(lambda x: jax.lax.select(x > 0, x, np.zeros(6, np.float32))),
    "jit": jax.jit(two_layers(jax.jit(jax.nn.relu))),
    "remat": jax.checkpoint(two_layers(jax.nn.relu)),
    "scan": in_scan(jax.nn.relu),
    "fori_loop": as_loop(nn.relu),
    "cond": two_layers(lambda x: jax.lax.cond(x[0] > -1e9, jax.nn.relu, lambda x: x, x)),
}


def test_a_guard_of_the_pixels_is_no_relu():
    guarded = two_layers(jax.nn.relu)
    x = jnp.arange(6.0) - 2.5
    for guard in (lambda x: jnp.clip(x, 0, 1), lambda x: jnp.minimum(1.0, jnp.maximum(0.0, x))):
        assert relus.find(lambda x, guard=guard: guarded(guard(x)), x).count == 2
    assert relus.find(lambda x: jnp.clip(x, 0, 1).sum(), x).places == {}


@pytest.mark.parametrize(
    "bounded", [lambda x: jnp.clip(x, 0, 6), lambda x: jnp.minimum(jnp.maximum(x, 0), 6)]
)
def test_a_relu_with_an_upper_bound_is_refused(bounded):
    with pytest.raises(UserError, match="the net has ReLU6 or another activation with an upper"):
        relus.find(two_layers(bounded), jnp.arange(6.0))


@pytest.mark.parametrize("written", WRITTEN)
def test_a_relu_is_found_however_it_is_written(written):
    x = jnp.arange(6.0) - 2.5
    function = WRITTEN[written]
    assert relus.find(function, x).count == 2
    for rule in RULES:
        with backward_rule(rule):
            expected = jax.grad(two_layers(relu))(x)
        np.testing.assert_allclose(jax.grad(ruled(function, rule))(x), expected, rtol=1e-5)
    # Nothing of a rule stays behind in a function that was compiled before or since.
    plain = jax.grad(two_layers(jax.nn.relu))(x)
    np.testing.assert_allclose(jax.grad(function)(x), plain, rtol=1e-5)


@pytest.mark.parametrize("norm", [nn.LayerNorm, partial(nn.GroupNorm, num_groups=2)])
def test_the_variance_of_a_normalization_is_no_relu(norm):
    """Flax bounds it by 0: a rule there would cut the signal through it where it is negative."""

    def score(x, rectify):
        x = norm(use_bias=False, use_scale=False).apply({}, x @ KERNEL)
        return (rectify(x) @ KERNEL[0]).sum()

    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    assert relus.find(lambda x: score(x, nn.relu), x).count == 1
    for rule in RULES:
        with backward_rule(rule):
            expected = jax.jit(jax.grad(lambda x: score(x, relu)))(x)
        found = jax.jit(jax.grad(ruled(lambda x: score(x, nn.relu), rule)))(x)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_rule_gradient_is_the_gradient_to_the_bit():
    for x in (jnp.arange(6.0) - 2.5, jnp.zeros(6)):  # at the corner too, where forms differ
        for written in ("nn", "maximum", "fmax", "times_swapped", "select"):
            found = jax.grad(ruled(WRITTEN[written], "gradient"))(x)
            np.testing.assert_array_equal(found, jax.grad(WRITTEN[written])(x))


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.silu, "SiLU"),
        (nn.gelu, "GELU"),
        (partial(nn.gelu, approximate=False), "GELU"),
        (nn.leaky_relu, "leaky ReLU"),
        (lambda x: jnp.where(x > 0, x, 0.1 * x), "leaky ReLU"),
        (nn.elu, "ELU"),
        (jax.nn.relu6, "ReLU6"),
        (nn.softplus, "softplus"),
        (nn.sigmoid, "sigmoid"),
        (nn.tanh, "tanh"),
        (lambda x: jnp.logaddexp(x, 0.0), "derivative of its own"),
        (lambda x: jnp.maximum(x, 0.1 * x), "leaky ReLU"),
        (lambda x: jnp.maximum(x / 10, x), "leaky ReLU"),
        (lambda x: jnp.maximum(x, 0) + 0.1 * jnp.minimum(x, 0), "leaky ReLU"),
        (lambda x: -jnp.minimum(-x, 0), "a minimum with 0"),
        (lambda x: jnp.maximum(x, -x), "another maximum of a value and its multiple"),
        (lambda x: jax.jit(jnp.maximum)(x, KERNEL[0] * x), "leaky ReLU"),
        (lambda x: jnp.clip(x, -1, 1), "hard tanh"),
        (lambda x: jax.lax.clamp(-1.0, x, 1.0), "hard tanh"),
        (lambda x: jnp.maximum(x, np.float32(0.5)), "lower bound that is not the number 0"),
        (lambda x: jnp.maximum(x, KERNEL[0]), "lower bound that is not the number 0"),
        (lambda x: jnp.minimum(x, 1.0), "upper bound"),
        (lambda x: jnp.minimum(jax.nn.relu(x), 6.0), "upper bound"),
        (lambda x: x * jnp.float32(x > 0.5), r"x \* \(x > 0.5\)"),
        (lambda x: x * (x >= 0.1).astype(x.dtype), r"x \* \(x > 0.5\)"),
        (lambda x: x * jnp.float32(x < 0), "by cases"),
        (lambda x: jnp.where(x > 0, x, 0.5), "by cases"),
        (lambda x: jnp.where(x > 0, 0, x), "by cases"),
        (lambda x: jnp.where(x > 0, 2 * x, 0), "by cases"),
        (lambda x: jnp.where(x > 0, x[::-1], 0), "by cases"),
        (lambda x: jnp.where(x > 0.5, x, 0), "by cases"),
        (lambda x: jnp.where(~(x > 0.5), 0, x), "by cases"),
        (lambda x: jnp.where((x > 0) & (jnp.arange(6) > 2), x, 0), "by cases"),
        # These are ReLUs, but not at one operation: they are not missed, at least.
        (lambda x: jnp.select([x > 0], [x], 0), "by cases"),
        (lambda x: jnp.piecewise(x, [x > 0], [lambda x: x, 0.0]), "by cases"),
        (lambda x: jnp.stack([x, jnp.zeros_like(x)]).max(0), "write jax.nn.relu"),
        (lambda x: jnp.stack([x, 0.1 * x], -1).max(-1), "write jax.nn.relu"),
        (lambda x: jnp.concatenate([x[None], np.zeros((1, 6))]).max(0), "write jax.nn.relu"),
        (lambda x: x * (1 + jnp.sign(x)) / 2, "by cases"),
        (lambda x: (x + jnp.abs(x)) / 2, "by cases"),
        (lambda x: 0.5 * x + 0.5 * jnp.abs(x), "by cases"),
        (lambda x: x / (1 + jnp.abs(x)), "by cases"),
        (lambda x: x / (1 + jnp.exp(-x)), "SiLU"),
        (lambda x: jnp.log1p(jnp.exp(x)), "softplus"),
        (lambda x: jnp.log(1 + jnp.exp(x)), "softplus"),
    ],
)
def test_other_activations_are_refused_by_name(activation, name):
    # The ReLU beside it must not hide it.
    function = two_layers(lambda x: activation(jax.nn.relu(x)))
    with pytest.raises(UserError, match=name) as raised:
        ruled(function, "guided")(jnp.arange(6.0))
    assert "\n" not in str(raised.value)


def own_softmax(x):
    raised = jnp.exp(x - x.max())
    return raised / (raised.sum() + 1e-9)


def indexed(x):
    """A loop that takes its weights by its number, which JAX holds against 0."""
    biases = jnp.asarray(KERNEL)
    return jax.lax.fori_loop(0, 2, lambda i, x: x + biases[i] + jnp.maximum(i, 0), x)


@pytest.mark.parametrize(
    "part",
    [
        jax.nn.softmax,
        jax.nn.log_softmax,
        own_softmax,
        lambda x: jax.nn.softmax(jnp.stack([x, jnp.zeros(6)]), axis=0)[0],
        lambda x: jax.nn.log_softmax(jnp.stack([x, jnp.zeros(6)]), axis=0)[0],
        lambda x: jax.nn.logsumexp(jnp.stack([x, jnp.zeros(6)]), axis=0),
        lambda x: own_softmax(jnp.concatenate([x, jnp.zeros(3)]))[:6],
        lambda x: jnp.concatenate([x[:, None], jnp.zeros((6, 2))], 1).max(0)[0] + x,
        lambda x: jnp.where(x > 1e-12, x, 1e-12),
        lambda x: jnp.where(jnp.isnan(x), 0, x),
        indexed,
        lambda x: jnp.logaddexp(x, x[::-1]),
        lambda x: x / jnp.maximum(jnp.linalg.norm(x), 1e-12),
        lambda x: x / jnp.sqrt(jnp.square(x).mean() + 1e-5),
        lambda x: jnp.max(x, initial=-jnp.inf) + x,
        lambda x: jnp.max(x.reshape(3, 2), axis=1, where=x.reshape(3, 2) > -9, initial=-9e9)[0] + x,
        lambda x: jnp.repeat(jnp.maximum(x[::2], x[1::2]), 2),
        lambda x: jnp.maximum(jax.nn.relu(x), jax.nn.relu(KERNEL @ x)) - jax.nn.relu(x),
        lambda x: jnp.maximum(x[:, None], x[None]).sum(1),
        lambda x: x * jax.nn.one_hot(x.argmax(), 6),
        lambda x: x * jnp.float32(jnp.arange(6) > 2),
        lambda x: x + jnp.abs(KERNEL @ x),
        lambda x: jnp.where(jnp.arange(6) > 2, x, -jnp.inf).max() + x,
        lambda x: jnp.concatenate([jax.nn.relu(x[:3]), jax.nn.relu(-x[:3])]),
    ],
)
def test_what_is_no_activation_passes(part):
    function = two_layers(lambda x: part(jax.nn.relu(x)))
    assert np.isfinite(jax.grad(ruled(function, "guided"))(jnp.arange(6.0))).all()


@pytest.mark.parametrize(
    "prepared",
    [
        lambda x: jnp.clip((x - 0.5) / 0.25, -1, 1),
        lambda x: jnp.clip(x * 2 - 1, -1, 1),
        lambda x: jax.lax.clamp(0.0, x, 1.0),
        lambda x: jnp.minimum(x, 1),
        lambda x: x * jnp.float32(x > 0.5),
        lambda x: jnp.where(x > 0, x, 0.5),
        lambda x: jnp.abs(x - 0.5) + x,
    ],
)
def test_pixels_may_be_prepared_in_any_way(prepared):
    x = jnp.linspace(0, 1, 6)
    net = two_layers(jax.nn.relu)
    assert relus.find(lambda x: net(prepared(x)), x).count == 2


def test_a_net_without_relus_is_refused():
    with pytest.raises(UserError, match=r"^no ReLU was reached"):
        ruled(lambda x: jnp.sum(KERNEL @ x), "guided")(jnp.arange(6.0))


def test_relus_of_weights_alone_do_not_count():
    def function(x):
        return jnp.sum(jax.nn.relu(jnp.asarray(KERNEL)) @ x)

    with pytest.raises(UserError, match=r"^no ReLU was reached"):
        ruled(function, "guided")(jnp.arange(6.0))


def test_a_while_loop_is_refused():
    def function(x):
        return jax.lax.while_loop(lambda x: x.sum() > 9, lambda x: jax.nn.relu(x) - 1, x).sum()

    with pytest.raises(UserError, match="while loop"):
        ruled(function, "guided")(jnp.arange(6.0))


def test_an_unknown_rule_is_one_line():
    with (
        pytest.raises(UserError, match="use one of gradient, deconvnet, guided"),
        backward_rule("guide"),
    ):
        pass
