"""Per-layer statistics against slow versions: unrolled nets, and gradients by additive zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxvision.dynamics import probes
from jaxvision.initializers import he_backward, xavier_he2015
from jaxvision.models import layers
from jaxvision.models.drawing import initialize, initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.models.plain import PlainConvNet, Stage
from jaxvision.random import stream
from jaxvision.training.step import Observed, Task, initial_state, train_step
from jaxvision.trees import named_leaves

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), np.uint8)
LABELS = np.arange(6, dtype=np.int32) % 4
RATE, WEIGHT_DECAY = 0.05, 0.01
NETS = {
    # Names that do not sort in depth order: input, hidden, output.
    "mlp": MLP(5, 8, 4, he_backward()),
    "conv": PlainConvNet(2, (Stage(3, 4, 2), Stage(3, 4, 3)), 8, 4, he_backward()),
}


def floats(images, key):
    del key
    return images.astype(jnp.float32) / 128 - 1


def optimizer(hyper):
    return optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), optax.sgd(hyper["rate"]))


def start(net):
    variables = jax.jit(lambda key: initialize(net, key, (8, 8, 1)))(stream(0, "init"))
    # Biases begin at zero: move them, so that they count where they should not.
    moved = lambda leaf: leaf + np.float32(0.02 * leaf.ndim)  # noqa: E731
    return variables | {"params": jax.tree.map(moved, jax.device_get(variables["params"]))}


@pytest.fixture(scope="module", params=NETS)
def measured(request):
    """The net's name, its variables and what one watched step reports, under jit."""
    task = Task(apply_function(NETS[request.param]), optimizer, floats, probe=probes.per_layer)
    variables, hyper = start(NETS[request.param]), {"rate": jnp.float32(RATE)}
    state = initial_state(task, variables, hyper)
    step = jax.jit(lambda state: train_step(task, state, IMAGES, LABELS, hyper, 0))
    return request.param, variables["params"], step(state)[1]


def cross_entropy(logits):
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), LABELS[:, None], 1)
    return -jnp.mean(picked)


def slow_mlp(params):
    """Activations, deltas and weight gradients of an unrolled MLP, a list in depth order each."""
    hidden = params["hidden"]
    kernels = [params["input"]["kernel"], *hidden["kernel"], params["output"]["kernel"]]
    biases = [params["input"]["bias"], *hidden["bias"], params["output"]["bias"]]

    def forward(kernels, zeros):
        x, found = floats(IMAGES, None).reshape(6, -1), []
        for kernel, bias, zero in zip(kernels, biases, zeros, strict=True):
            found.append(x @ kernel + bias[None] + zero)
            x = jax.nn.relu(found[-1])
        return cross_entropy(found[-1]), found

    zeros = [np.zeros((6, kernel.shape[1]), np.float32) for kernel in kernels]
    gradient = jax.jit(jax.grad(forward, argnums=(0, 1), has_aux=True))
    (dw, delta), found = gradient(kernels, zeros)
    return found, delta, dw


def slow_conv(params):
    """The same of the conv net: a tap that adds its array instead of reading what flows through.

    The net itself is held against an unrolled one in tests/models/test_plain.py.
    """
    apply = apply_function(NETS["conv"])

    def loss(params, taps):
        logits, activations, _ = apply(params, {}, floats(IMAGES, None), train=True, taps=taps)
        return cross_entropy(logits), activations

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "gradient_tap", lambda x, tap: x + tap)
        forward = jax.jit(lambda params: apply(params, {}, floats(IMAGES, None), train=True)[1])
        activations = jax.device_get(forward(params))
        zeros = {name: np.zeros_like(x) for name, x in activations.items()}
        gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
        (dw, delta), _ = gradient(params, zeros)
    dw = {name: named_leaves(dw)[f"{name}/kernel"] for name in activations}
    return [in_depth_order(tree, activations) for tree in (activations, delta, dw)]


def in_depth_order(tree, names):
    found = []
    for name in names:
        found += list(tree[name]) if name.endswith("_rest") else [tree[name]]
    return found


def norms(arrays):
    return [np.linalg.norm(np.asarray(array, np.float64)) for array in arrays]


def test_layerwise_statistics_equal_the_slow_version_in_depth_order(measured):
    kind, params, found = measured
    activations, delta, dw = (slow_mlp if kind == "mlp" else slow_conv)(params)
    assert len(activations) == {"mlp": 5, "conv": 10}[kind]
    stds = [np.std(np.asarray(x, np.float64)) for x in activations]
    np.testing.assert_allclose(found["signal_std"], stds, rtol=1e-4)
    np.testing.assert_allclose(found["delta_norm"], norms(delta), rtol=1e-4)
    np.testing.assert_allclose(found["dw_norm"], norms(dw), rtol=1e-4)
    # No two layers alike, or a wrong order would pass.
    for name in probes.LAYERWISE:
        assert len(set(np.asarray(found[name]).tolist())) == len(activations)


def test_decay_cosine_is_between_the_update_of_the_kernels_and_minus_the_kernels(measured):
    kind, params, found = measured
    _, _, dw = (slow_mlp if kind == "mlp" else slow_conv)(params)
    # The first step of SGD: -rate (gradient + decay times weight).
    kernels = {n: k for n, k in named_leaves(params).items() if n.endswith("kernel")}
    order = apply_function(NETS[kind])(params, {}, floats(IMAGES, None), train=True)[1]
    w = []
    for name in order:
        kernel = kernels[f"{name}/kernel"]
        w += list(kernel) if kernel.ndim % 2 else [kernel]
    w = np.concatenate([np.ravel(kernel) for kernel in w]).astype(np.float64)
    update = -RATE * (np.concatenate([np.ravel(g) for g in dw]) + WEIGHT_DECAY * w)
    expected = update @ -w / np.linalg.norm(update) / np.linalg.norm(w)
    assert found["decay_cosine"].shape == ()
    np.testing.assert_allclose(found["decay_cosine"], expected, rtol=1e-4)


def observed(updates):
    params = {"a": {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([7.0, 7.0])}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    kernel_update = {"a": {"kernel": jnp.array([updates]), "bias": jnp.array([9.0, -9.0])}}
    one = jnp.ones((2, 2))
    return Observed({"a": one}, {"a": jnp.float32(0)}, zeros, params, kernel_update)


@pytest.mark.parametrize(
    ("update", "cosine"),
    [((-0.3, -0.4), 1.0), ((0.3, 0.4), -1.0), ((0.4, -0.3), 0.0), ((-1.0, 0.0), 0.6)],
)
def test_decay_cosine_by_hand(update, cosine):
    """1: decay alone moves the kernels; biases have no part in it."""
    found = probes.per_layer(observed(update))["decay_cosine"]
    assert found == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize("kind", NETS)
def test_initial_signal_is_each_run_s_own(kind):
    net = NETS[kind]
    keys = jnp.stack([stream(seed, "init") for seed in range(3)])
    runs = initialize_runs(net, keys, (8, 8, 1))
    images = floats(IMAGES, None)
    found = probes.initial_signal(apply_function(net), runs, images)
    assert isinstance(found, np.ndarray)
    apply = jax.jit(lambda params: apply_function(net)(params, {}, images, train=False)[1])
    for row in range(3):
        params = jax.tree.map(lambda leaf, row=row: leaf[row], runs["params"])
        activations = apply(params)
        stacked = ("hidden", "_rest")
        expected = []
        for name, x in activations.items():
            expected += [np.std(layer) for layer in (x if name.endswith(stacked) else x[None])]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5)


@pytest.mark.parametrize(("initializer", "slope"), [(he_backward, 0.0), (xavier_he2015, -0.5)])
def test_signal_of_a_wide_net_follows_the_closed_form(initializer, slope):
    """He et al. 2015, section 2.2: a ReLU layer halves the variance that Xavier keeps."""
    net = MLP(12, 256, 4, initializer())
    runs = initialize_runs(net, stream(0, "init")[None], (8, 8, 1))
    signal = probes.initial_signal(apply_function(net), runs, floats(IMAGES, None))
    assert probes.log2_slope(signal[:, 1:-1])[0] == pytest.approx(slope, abs=0.05)


@pytest.mark.parametrize("octaves", [-0.5, 0.0, 1.0])
def test_log2_slope_of_a_geometric_sequence_is_exact(octaves):
    values = np.outer([1.0, 3.0, 1e-8], 2.0 ** (octaves * np.arange(28)))
    np.testing.assert_allclose(probes.log2_slope(values), [octaves] * 3, atol=1e-12)


def test_log2_slope_is_least_squares():
    noise = np.array([0.3, -0.1, 0.0, 0.2, -0.4])
    layers = np.arange(5.0)
    expected = np.cov(layers, noise, ddof=0)[0, 1] / np.var(layers) + 2
    found = probes.log2_slope(2.0 ** (2 * layers + noise)[None])
    np.testing.assert_allclose(found, [expected], rtol=1e-12)


@pytest.mark.parametrize("strange", [0.0, np.inf, np.nan])
def test_a_seed_without_a_slope_leaves_the_others_theirs(strange):
    values = np.array([[1, 0.5, 0.25], [1, strange, 0.25], [1, 2, 4]])
    np.testing.assert_allclose(probes.log2_slope(values), [-1, np.nan, 1], atol=1e-12)
    assert np.isnan(probes.log2_slope(values[1:2])).all()


@pytest.mark.parametrize("upward", [True, False])
def test_growth_is_the_slope_in_the_direction_of_travel(upward):
    logs = np.random.default_rng(0).normal(size=(2, 20)).cumsum(1)
    hidden = logs[:, 1:-1] if upward else logs[:, 1:-1][:, ::-1]
    wanted = [np.polyfit(range(5), row[2:7], 1)[0] for row in hidden]
    found = probes.growth(np.exp(logs), upward, settled=2, fitted=5)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
