"""The verdicts of batchnorm_modes follow the science: broken on purpose, the right one changes."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.normalization import _answers as answers
from experiments.normalization import _modes as modes
from experiments.normalization import batchnorm_modes
from jaxvision.data import load
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.residual_mlp import ResidualMLP
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.types import UserError

NETS, WAYS = batchnorm_modes.NETS, batchnorm_modes.WAYS
CONFIG = dataclasses.replace(
    batchnorm_modes.Config(),
    seeds=5,
    first_seed=0,
    nets=("relu", "still", "one_class"),
    width=24,
    steps=480,
    looked_at=(12, 25, 50),
    companies=(2, 32),
    learning_rates=(1.0,),
)


def measured(config=CONFIG, **mutation):
    numbers, arrays = batchnorm_modes.measure(config, silent, **mutation)
    fields = dataclasses.asdict(config)
    record = Record("batchnorm_modes", "cpu", "x", "a test", fields, numbers, arrays, [], {})
    return as_stored(record)


def verdicts(record, config=CONFIG):
    return {claim.id: claim.verdict for claim in judge(batchnorm_modes.claims(config), record)}


@pytest.fixture(scope="module")
def record():
    return measured()


def test_the_figure_holds(record):
    found = verdicts(record)
    for id in ("young", "pairs", "sorted", "leak", "leak-chance", "control", "biased-64"):
        assert found[id] != "contradicted", id
    for id in ("young", "pairs", "sorted", "start-left"):
        assert found[id] == "reproduced", id


def test_ways_and_batches_swapped():
    """Population statistics by every name; and batches of one class that are mixed."""
    broken = {name: way._replace(inference="population") for name, way in WAYS.items()}
    nets = NETS | {"one_class": NETS["relu"]}
    quick = dataclasses.replace(CONFIG, nets=("relu", "one_class"), steps=120)
    found = verdicts(measured(quick, nets=nets, ways=broken), quick)
    assert found["young"] == "contradicted"
    assert found["leak"] == found["leak-chance"] == "contradicted"


def test_a_net_that_learns_nothing_answers_alike_in_every_mode():
    still = {name: net._replace(still=True) for name, net in NETS.items()}
    quick = dataclasses.replace(CONFIG, nets=("relu",), steps=56)
    found = verdicts(measured(quick, nets=still), quick)
    assert found["pairs"] == found["sorted"] == "contradicted"
    assert found["young"] != "reproduced"


@pytest.mark.parametrize(
    ("id", "net", "array", "points"),
    [
        ("debiased", "relu", "debiased", 3),
        ("control", "relu", "again", 2),
        ("biased-64", "relu", "biased", 2),
        ("hidden", "relu", "company_mixed", 10),
    ],
)
def test_what_costs_nothing_is_told_from_what_does(record, id, net, array, points):
    right = record.arrays[f"{net}/population"]
    noise = 1e-3 * np.linspace(-1, 1, CONFIG.seeds)[:, None]
    shape = record.arrays[f"{net}/{array}"].shape
    same = np.broadcast_to(right[:, -1:], shape) if "company" in array else right
    found = []
    for cost in (0, points / 100):
        arrays = record.arrays | {f"{net}/{array}": same + noise + cost}
        found.append(verdicts(dataclasses.replace(record, arrays=arrays))[id])
    assert found == ["reproduced", "contradicted"]


@pytest.mark.parametrize(
    ("id", "net", "cost"),
    [("size-2", "size_2", 0.2), ("size-4", "size_4", 0.05), ("parts", "parts", 0.0)],
)
def test_nets_are_held_against_the_one_beside_them(record, id, net, cost):
    config = dataclasses.replace(CONFIG, nets=tuple(NETS))
    right = record.arrays["relu/population"]
    noise = 1e-3 * np.linspace(-1, 1, CONFIG.seeds)[:, None]
    quantities = {key.partition("/")[2] for key in record.arrays}
    arrays = {f"{n}/{q}": record.arrays[f"relu/{q}"] for n in NETS for q in quantities}
    held = arrays | {f"{net}/population": right + noise + cost}
    broken = arrays | {f"{net}/population": right + noise + (0.3 if cost == 0 else -cost)}
    found = [verdicts(dataclasses.replace(record, arrays=a), config)[id] for a in (held, broken)]
    assert found == ["reproduced", "contradicted"]


@pytest.mark.parametrize(
    ("id", "net", "array", "told", "otherwise"),
    [
        ("young-sigmoid", "sigmoid", "ema_99", 0.1, 0.0),
        ("debiased-sigmoid", "sigmoid", "debiased", 0.0, 0.05),
        ("grown", "relu", "ema_99", 0.0, 0.05),
        ("biased-4", "size_4", "biased", 0.02, -0.02),
        ("mismatch-4", "size_4", "company_mixed", 0.2, 0.0),
    ],
)
def test_what_a_way_costs_a_net_is_told_either_way(record, id, net, array, told, otherwise):
    config = dataclasses.replace(CONFIG, nets=tuple(NETS))
    quantities = {key.partition("/")[2] for key in record.arrays}
    nets = {f"{n}/{q}": record.arrays[f"relu/{q}"] for n in NETS for q in quantities}
    right = nets[f"{net}/population"]
    noise = 1e-3 * np.linspace(-1, 1, CONFIG.seeds)[:, None]
    same = np.broadcast_to(right[:, -1:], nets[f"{net}/{array}"].shape)
    found = []
    for cost in (told, otherwise):
        base = same if "company" in array else right
        changed = nets | {f"{net}/{array}": base + noise + cost}
        found.append(verdicts(dataclasses.replace(record, arrays=changed), config)[id])
    assert found == ["reproduced", "contradicted"]


def test_weights_held_still_keep_less_of_their_start_at_a_lower_momentum():
    config = dataclasses.replace(CONFIG, nets=("still",), steps=56)
    slower = {name: way._replace(momentum=0.98) for name, way in WAYS.items()}
    assert verdicts(measured(config, ways=slower), config)["start-left"] == "contradicted"


def test_every_momentum_sees_the_same_training():
    model = ResidualMLP(3, 4, 3, he_forward(), normalized=True)
    apply = apply_function(model)
    drawn = initialize(model, jax.random.key(0), (2, 2, 1))
    images = jax.random.normal(jax.random.key(1), (6, 2, 2, 1))
    momenta = {0.9, 0.5}
    tracked = answers.tracking(apply, momenta)
    stats = {momentum: drawn["batch_stats"] for momentum in momenta}
    logits, _, new = tracked(drawn["params"], stats, images, train=True)
    expected, _, ninth = apply(drawn["params"], drawn["batch_stats"], images, train=True)
    np.testing.assert_array_equal(logits, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), new[0.9], ninth)
    own = jax.tree.map(lambda new, old: 10 * (new - 0.9 * old), ninth, drawn["batch_stats"])
    half = jax.tree.map(lambda own, old: (own + old) / 2, own, drawn["batch_stats"])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), new[0.5], half
    )


def test_the_biased_variance_is_the_smaller_one():
    found = answers.biased({"mean": jnp.float32(3), "var": jnp.float32(12)}, 3)
    assert found == {"mean": 3, "var": 8}


def test_batches_hold_each_image_once_and_one_class_where_asked():
    data = load("digits").test
    rows = answers.rows_of_batches(data, 16, 3)
    assert rows.shape == (360 // 16, 16) and len(np.unique(rows)) == rows.size
    sorted_rows = answers.rows_of_batches(data, 16, 3, one_class=True)
    labels = data.labels[sorted_rows]
    assert (labels == labels[:, :1]).all() and len(np.unique(labels[:, 0])) == 10
    assert len(np.unique(sorted_rows)) == sorted_rows.size
    groups = modes.one_class_batches(data, 16)
    assert groups.images.shape[1:] == (16, 8, 8, 1)
    assert groups.labels.shape == groups.images.shape[:1]
    assert sorted(np.unique(groups.labels)) == list(range(10))


def test_the_control_looks_at_other_batches():
    data = load("digits")
    lab = modes.Lab(CONFIG, data, WAYS, None, range(5), range(1000, 1002))
    seen = lab._look(NETS["relu"]).data
    first, second = seen.calibration.reshape(2, modes.CALIBRATION, -1)
    alike = (first[:, None] == second[None]).all(-1)
    assert not alike.any()


def test_small_batches_see_as_many_images():
    config = SimpleNamespace(steps=400, looked_at=(50, 500))
    seen = {n: net.steps(config) * net.batch_size for n, net in NETS.items() if "size" in n}
    assert set(seen.values()) == {400 * 64}
    assert NETS["whole"].steps(config) == 400
    assert NETS["relu"].looked_at(config) == [50, 400]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 50}, "^--steps=50 must be a multiple of 4"),
        ({"looked_at": (50, 480)}, "^--looked_at must rise and end before --steps=480"),
        ({"first_seed": 999}, "^seeds 999 to 1003 meet 1000"),
        ({"companies": (2, 100)}, "^360 images make no batch of one class of 100"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(change, message):
    config = dataclasses.replace(CONFIG, **change)
    with pytest.raises(UserError, match=message):
        batchnorm_modes.measure(config, silent)


def test_a_training_set_smaller_than_a_batch():
    data = load("digits")
    few = data._replace(train=data.train.first(100))
    lab = modes.Lab(CONFIG, few, WAYS, None, range(5), range(1000, 1002))
    with pytest.raises(UserError, match="batch size 256 exceeds the 100 training images"):
        lab.prepare(NETS["whole"])
    with pytest.raises(UserError, match="100 images make no batch of one class of 64"):
        lab.prepare(NETS["one_class"])
