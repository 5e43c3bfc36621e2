"""The verdicts of identity_construction follow the science: broken on purpose, they change."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.depth import _growing as growing
from experiments.depth import identity_construction as experiment
from experiments.depth._growing_claims import NO_WORSE
from experiments.depth.identity_construction import ARMS, Arm
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record, as_stored
from jaxvision.types import UserError

SMALL = dataclasses.replace(
    experiment.PRESETS["tiny"],
    seeds=6,
    n_added=(3,),
    width=16,
    steps_shallow=176,
    steps=352,
    period=88,
    learning_rates=(0.002, 0.005),
    images=50,
)


def measured(config=SMALL, **mutation) -> Record:
    numbers, arrays = experiment.measure(config, silent, **mutation)
    fields = dataclasses.asdict(config)
    return as_stored(Record("identity", "cpu", "x", "", fields, numbers, arrays, [], {}))


def verdicts(record, config=SMALL) -> dict[str, str]:
    return {found.id: found.verdict for found in judge(experiment.claims(config), record)}


def swapped(**layers):
    """Arms under each other's name: how each comes by its added layers."""
    return ARMS | {name: Arm(ARMS[name].label, added) for name, added in layers.items()}


@pytest.fixture(scope="module")
def record():
    return measured()


def test_the_argument_holds(record):
    found = verdicts(record)
    undecided = {name for name, verdict in found.items() if verdict != "reproduced"}
    assert undecided <= {"scratch-3"}  # three layers more are few
    assert found["scratch-3"] != "contradicted"


def test_the_first_loss_is_that_of_the_shallow_net(record):
    """To the bit, in the compiled training programs too."""
    grown, shallow = (record.arrays[f"{net}/loss"][..., 0] for net in ("identity3", "shallow"))
    np.testing.assert_array_equal(grown, shallow)
    np.testing.assert_array_equal(shallow[0], record.arrays["before/loss"][:, -1])


def test_arms_under_each_others_name():
    arms = swapped(
        identity=growing.as_drawn,
        random=growing.identity,
        scratch=growing.identity,
    )
    found = verdicts(measured(arms=arms))
    assert found["exact-3"] == found["slow-3"] == found["random-3"] == "contradicted"
    assert found["best-3"] == found["fast-3"] == "contradicted"
    assert found["scratch-3"] == "contradicted"
    assert found["random-start-3"] != "reproduced"


@pytest.mark.slow  # layers under each other's name change this claim too
def test_a_gain_near_one_is_not_the_identity():
    short = dataclasses.replace(SMALL, steps_shallow=88, steps=88)
    arms = swapped(identity=lambda drawn: np.float32(0.999) * growing.identity(drawn))
    assert verdicts(measured(short, arms=arms))["exact-3"] == "contradicted"


def made_up(**loss) -> Record:
    """A record of nets whose seeds all do alike: the loss at the end, one number a rate."""
    rates = len(next(iter(loss.values())))
    arrays, rows = {}, {}
    for net in ("shallow", *(f"{arm}{added}" for arm in ARMS for added in (1, 4))):
        of_rates = np.array(loss.get(net, loss["shallow"]))
        arrays[f"{net}/loss"] = np.tile(of_rates[:, None, None], (1, 6, 2))
        arrays[f"{net}/error"] = np.zeros((rates, 6, 2))
        rows[net] = int(of_rates.argmin())
    arrays["before/error"] = np.zeros((6, 2))
    changed = {"1": 0.0, "4": 0.0}
    numbers = {"best_row": rows, "changed": changed, "changed_tanh": changed}
    return Record("identity", "cpu", "x", "", {}, numbers, arrays, [], {})


@pytest.fixture
def three_rates():
    return dataclasses.replace(SMALL, n_added=(1, 4), learning_rates=(0.01, 0.02, 0.04))


def test_the_rate_up_to_which_it_holds(three_rates):
    falls = made_up(shallow=(1, 0.5, 0.25), identity1=(1, 0.5, 0.2), identity4=(1, 0.9, 0.9))
    assert verdicts(falls, three_rates)["limit"] == "reproduced"
    rises = made_up(shallow=(1, 0.5, 0.25), identity4=(1, 0.5, 0.2), identity1=(1, 0.9, 0.9))
    assert verdicts(rises, three_rates)["limit"] == "contradicted"


def test_each_claim_reads_its_own_rate(three_rates):
    record = made_up(shallow=(1, 0.5, 0.8), identity4=(0.5, 2.0, 0.25))
    at = {
        where: growing.octaves("identity4", "shallow", where)(record)
        for where in ("lowest", "shallow", "own")
    }
    np.testing.assert_allclose(at["lowest"], -1)
    np.testing.assert_allclose(at["shallow"], 2)
    np.testing.assert_allclose(at["own"], -1)
    found = verdicts(record, three_rates)
    assert found["slow-4"] == found["best-4"] == "reproduced"
    assert found["fast-4"] == "contradicted"


def test_equal_nets_are_neither_worse_nor_lost(three_rates):
    found = verdicts(made_up(shallow=(1, 0.5, 0.25)), three_rates)
    assert found["best-4"] == "reproduced"
    assert found["random-4"] == "contradicted"
    assert found["scratch-4"] == "inconclusive"


def test_safe_rates():
    ratio = np.array([[0.0, 1.0, 0.0, 0.1], [0.0, 0.0, 1.0, 0.1], [0.0, 0.0, 0.0, 0.1]])
    found = growing.safe_rate(ratio, (0.25, 0.5, 1.0), NO_WORSE)
    np.testing.assert_allclose(found, [0, -3, -2, 0])
    assert growing.grid_step((0.25, 0.5, 2.0)) == 2
    assert growing.grid_step((0.25,)) == 1


def test_added_layers_lie_before_the_output():
    drawn = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    hidden = {"kernel": np.full((2, 1, 4, 4), -1.0), "bias": np.full((2, 1, 4), -2.0)}
    trained = {"params": {"hidden": hidden, "output": "kept"}, "batch_stats": {}}
    found = growing.grown(trained, drawn)["params"]
    np.testing.assert_array_equal(found["hidden"]["kernel"][:, :1], hidden["kernel"])
    np.testing.assert_array_equal(found["hidden"]["kernel"][:, 1:], drawn)
    np.testing.assert_array_equal(found["hidden"]["bias"][:, 1:], 0)
    assert found["output"] == "kept"
    assert jax.tree.structure(trained) == jax.tree.structure(growing.grown(trained, drawn))
    np.testing.assert_array_equal(growing.identity(drawn)[1, 2], np.eye(4))


def test_a_run_that_diverges_has_the_loss_of_chance():
    wild = dataclasses.replace(
        experiment.PRESETS["tiny"], learning_rates=(1e9,), steps_shallow=8, steps=8
    )
    record = measured(wild)
    loss = record.arrays["shallow/loss"][..., -1]
    np.testing.assert_allclose(loss, np.log(10), rtol=1e-3)
    np.testing.assert_allclose(record.arrays["shallow/error"][..., -1], 0.9, atol=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 10}, "^--steps=10 must be a multiple of --period=88"),
        ({"steps_shallow": 10}, "^--steps_shallow=10 must be a multiple of --period=88"),
        ({"learning_rates": (0.1, 0.01)}, "^--learning_rates must rise"),
        ({"first_seed": 996}, "^seeds 996 to 1001 meet 1000 to 1000"),
    ],
)
def test_mistakes_are_found_before_anything_is_read(change, message):
    unknown = dataclasses.replace(SMALL, dataset="no-such-set", **change)
    with pytest.raises(UserError, match=message):
        experiment.measure(unknown, silent)
