"""The verdicts of backward_rules follow the science: broken on purpose, they change."""

import dataclasses
from functools import cache

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.seeing import _random_rules as random_rules
from experiments.seeing import _rule_parts as parts
from experiments.seeing import _rules as rules
from experiments.seeing import backward_rules as experiment
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.types import UserError

CONFIG = dataclasses.replace(
    experiment.PRESETS["tiny"],
    dataset="shapes",
    window=16,
    stride=16,
    small_dataset="shapes",
    small_steps=11,
    seeds=5,
    first_seed=100,
)
METHODS = experiment.METHODS
# Guided backpropagation that is the plain gradient, as where a library reaches no ReLU.
BROKEN = METHODS | {"guided": METHODS["guided"]._replace(rule="gradient")}
WHOLE = experiment.Config(small_dataset="small_shapes")
COUNTS = (4, 16, 64)
GRADIENT = {"gradient": METHODS["gradient"]}


@pytest.mark.parametrize(
    ("sizes", "line"),
    [
        ({"window": 9}, "a window of 9 pixels does not fit into images of 8 x 8"),
        ({"window": 2}, "a stride of 4 leaves pixels between windows of 2"),
    ],
)
def test_windows_that_cannot_be_are_refused_before_a_net_is_trained(sizes, line, monkeypatch):
    monkeypatch.setattr(experiment._nets, "trained", None)
    config = dataclasses.replace(experiment.PRESETS["tiny"], **sizes)
    with pytest.raises(UserError, match=line):
        experiment.measure(config, silent)


@pytest.mark.parametrize("filters", [(256, 4), (4, 4), (64,), ()])
def test_filters_that_do_not_rise_are_refused(filters):
    """From 256 to 4 the theory was contradicted."""
    with pytest.raises(UserError, match="name two or more, from few to many"):
        dataclasses.replace(experiment.PRESETS["tiny"], filters=filters)


def verdicts(config, arrays):
    """Return each claim's verdict on a record of these arrays."""
    fields = dataclasses.asdict(config)
    record = Record("backward_rules", "cpu", "made", "a test", fields, {}, arrays, [], {})
    found = judge(experiment.claims(config), as_stored(record))
    return {claim.id: claim.verdict for claim in found}


def images():
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(6, 10, 10, 3))
    smooth = rough + np.roll(rough, 1, axis=1) + np.roll(rough, 1, axis=2)
    return np.float32(smooth - smooth.mean((0, 1, 2)))


@cache
def random_nets(broken: bool):
    table = BROKEN if broken else METHODS
    plain = {name: table[name] for name in parts.PLAIN}
    return random_rules.measured(plain, images(), COUNTS, seeds=5, first_seed=0)


def test_a_random_net_returns_its_input_by_guided_backprop_alone():
    found = random_nets(broken=False).recovery
    for name in ("gradient", "deconvnet"):
        assert np.abs(found["conv"][name]).mean() < 0.05
    assert (np.diff(found["conv"]["guided"], axis=1) > 0.03).all()
    assert found["conv"]["guided"][:, -1].min() > 0.6
    assert (found["pool"]["deconvnet"][:, -1] > found["conv"]["deconvnet"][:, -1] + 0.1).all()


def test_maps_of_two_classes_are_alike_by_guided_backprop_alone():
    found = random_nets(broken=False).classes["conv"]
    assert found["guided"][:, -1].min() > 0.5
    assert np.abs(found["gradient"][:, -1]).mean() < 0.1


def test_integrated_gradients_of_a_linear_score_are_whole():
    np.testing.assert_allclose(random_nets(broken=False).half, 1, rtol=1e-4)


def made_up(*, upside_down=False):
    """Arrays of five nets as the sources have them, or the other way round."""
    arrays = {}
    recovery = {"gradient": 0.0, "deconvnet": 0.0, "guided": 0.75}
    rise = np.array([-0.2, -0.1, 0, 0.1])
    for name, middle in recovery.items():
        arrays[f"random/conv/{name}"] = middle + (rise if name == "guided" else 0 * rise)
        arrays[f"random/pool/{name}"] = middle + 0.3 + rise
        arrays[f"classes/conv/{name}"] = middle + 0 * rise
    arrays["linear/half"] = np.array(0.5)
    kept = {
        "unsigned/guided": [1, 0.95, 0.9, 0.9, 0.9, 0.9, 0.9],
        "unsigned/gradient": [1, 0.5, 0.5, 0.5, 0.4, 0.2, 0.2],
        "signed/gradient": [1, 0, 0, 0, 0, 0, 0],
    }
    arrays |= {f"cascade/{name}": np.array(ranks) for name, ranks in kept.items()}
    # pointing, IoU, mass
    large = {
        "gradient": (0.4, 0.3, 0.28),
        "softmax": (0.4, 0.3, 0.25),
        "deconvnet": (0.4, 0.3, 0.28),
        "guided": (0.5, 0.3, 0.29),
        "occlusion": (0.55, 0.4, 0.5),
        "random": (0.2, 0.1, 0.19),
        "center": (0.65, 0.4, 0.24),
        "edges": (0.2, 0.3, 0.28),
    }
    small = {"guided": (0.5, 0, 0), "gradient": (0.5, 0, 0), "center": (0.1, 0, 0)}
    arrays |= {f"large/{name}": np.array(scores) for name, scores in large.items()}
    arrays |= {f"small/{name}": np.array(scores) for name, scores in small.items()}
    arrays["large/area"] = np.array(0.19)
    arrays |= {"large/agreement/guided": np.array(0.4), "large/agreement/edges": np.array(0.2)}
    arrays["along/guided"] = np.array([0.3, 0.29, 0.3])
    arrays["along/gradient"] = np.array([0.3, 0.3, 0.3])
    if upside_down:
        arrays = {name: 1 - array for name, array in arrays.items()}
        arrays["large/random"] = np.array([0.2, 0.1, 0.5])
        arrays["large/edges"] = np.array([0.2, 0.3, 0.3])
    spread = 0.002 * np.arange(-2, 3)
    return {
        name: array + spread.reshape(5, *[1] * array.ndim) * (1 + (name == "large/guided"))
        for name, array in arrays.items()
    }


def test_what_the_sources_have_is_reproduced():
    arrays = made_up()
    arrays["linear/half"] = np.full(5, 0.5)
    found = verdicts(WHOLE, arrays)
    assert {name for name, verdict in found.items() if verdict != "reproduced"} == set()


def test_the_opposite_is_not():
    found = verdicts(WHOLE, made_up(upside_down=True))
    # Half is half upside down, and what does not move does not move either way.
    kept = {"ig-half", "pointing-guided", "flat"}
    upheld = {name for name, verdict in found.items() if verdict == "reproduced"}
    assert upheld <= kept


def test_where_no_relu_is_reached_guided_backprop_recovers_nothing():
    broken = random_nets(broken=True)
    arrays = made_up()
    arrays |= {f"random/conv/{name}": of for name, of in broken.recovery["conv"].items()}
    arrays |= {f"classes/conv/{name}": of for name, of in broken.classes["conv"].items()}
    config = dataclasses.replace(WHOLE, filters=COUNTS)
    found = verdicts(config, arrays)
    assert found["nie-guided"] == "contradicted"
    assert found["nie-classes"] == "contradicted"
    assert found["nie-more"] != "reproduced"


def test_a_signal_is_drawn_signed_with_zero_in_the_middle():
    """Neither its absolute value nor shifted to its least: no signal is gray."""
    signal = jnp.array([-0.8, 0.0, 0.8, 0.2]).reshape(1, 1, 4, 1)
    assert rules.as_pictures(signal).ravel().tolist() == [0, 128, 255, 191]
    # Every picture has its own scale, and one of no signal is gray.
    both = jnp.concatenate([1e-6 * signal, 0 * signal])
    first, second = rules.as_pictures(both)
    assert first.ravel().tolist() == [0, 128, 255, 191]
    assert second.ravel().tolist() == [128, 128, 128, 128]


def test_every_map_is_scored_on_the_same_images():
    """A map that points at one image's object alone scores on as many images as the others do."""
    masks = np.zeros((3, 4, 4), bool)
    masks[0, 1, 1] = masks[1, 2, 2] = masks[2, 3, 3] = True
    images = np.float32(np.random.default_rng(0).uniform(0.7, 1, (3, 4, 4, 1)))
    some = rules.Shown(images, np.zeros(3, np.int32), masks, None)

    def of(net):
        weight = net["params"]["weight"]
        scale = weight * jnp.array([1.0, 0.0])
        return lambda images: (images[:, 1, 1] * scale[None], {})

    variables = {"params": {"weight": np.float32([1.0, 2.0])}}
    nets = rules.Nets(of, variables, None, np.zeros(2), None)
    covering = rules.Covering(window=1, stride=1)
    found = rules.looked_at(nets, GRADIENT, some, range(2), covering, shown=1)
    for name in ("gradient", "occlusion"):
        np.testing.assert_allclose(found.scores[name].pointing, [1 / 3] * 2)


@pytest.mark.slow
def test_with_the_wrong_rule_the_cascade_and_the_masks_tell_nothing_apart():
    _, arrays = experiment.measure(CONFIG, silent, BROKEN)
    for part in ("large", "small", "cascade/unsigned", "cascade/signed", "random/conv", "along"):
        found = arrays[f"{part}/guided"]
        np.testing.assert_allclose(found, arrays[f"{part}/gradient"], atol=1e-5)
    found = verdicts(CONFIG, arrays)
    for name in ("cascade-guided", "mass-guided", "nie-guided", "nie-classes"):
        assert found[name] != "reproduced", name
