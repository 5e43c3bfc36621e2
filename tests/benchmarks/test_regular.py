"""The benchmark of regularized nets: what it hands to PyTorch is what jaxvision trains on."""

import numpy as np
import pytest

from benchmarks import regular, regular_jax

LOSSES = [[2.0, 1.9], [2.2, 2.0]]


@pytest.fixture(params=regular.NETS)
def prepared(request, monkeypatch, tmp_path):
    """A sweep of two levels and two seeds on a few images, and the folder's arrays."""
    small = {"IMAGES": 200, "TEST_IMAGES": 20, "BATCH": 10, "PERIOD": 3, "STEPS": 6, "SEEDS": 2}
    runs = tuple((level, seed) for level in (0, 5) for seed in range(2))
    for name, value in (small | {"RUNS": runs, "CHECKED": (0, 3)}).items():
        monkeypatch.setattr(regular, name, value)
    monkeypatch.setattr(regular_jax, "RUNS_PER_CALL", 4)
    run, facts = regular_jax.prepare(f"{request.param}:8", str(tmp_path))
    with np.load(tmp_path / f"{request.param}8.npz") as arrays:
        return request.param, run, facts, dict(arrays)


def first_loss(net, arrays, seed):
    """Return the loss of the first batch, in float64, of a net that drops nothing."""
    rows = arrays["rows"][seed][0]
    x = (arrays["images"][rows] - float(arrays["mean"])) / float(arrays["std"])
    for layer in range(3):
        x = x @ arrays[f"kernel{layer}"][seed].astype(float)
        if layer < 2 and net == "batch_norm":
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        x = np.maximum(x, 0) if layer < 2 else x
    labels = arrays["labels"][rows]
    return (np.log(np.exp(x).sum(1)) - x[np.arange(len(x)), labels]).mean()


def test_the_first_loss_is_that_of_the_weights_and_batches_left_for_pytorch(prepared):
    net, _, facts, arrays = prepared
    assert facts["losses"][0][0] == pytest.approx(first_loss(net, arrays, 0), rel=1e-4)
    assert facts["n"] == 4 * 6
    assert np.shape(facts["losses"]) == (2, 6)
    assert np.isfinite(facts["losses"]).all()


def test_every_seed_meets_every_level():
    assert len(set(regular.RUNS)) == len(regular.RUNS) == regular.SEEDS * len(regular.KEEPS) == 48
    assert len(regular.KEEPS) == len(regular.RATES)
    assert regular.KEEPS[regular.RUNS[regular.CHECKED[0]][0]] == 1  # nothing is drawn in it


@pytest.mark.parametrize(
    "wrong",
    [
        [[2.0, 1.91], [2.2, 2.0]],
        [[2.0, float("nan")], [2.2, 2.0]],
        [[2.0, 1.9], [2.2, 3.0]],
        [[2.0, 1.9], [2.2, float("nan")]],
    ],
)
def test_losses_of_another_net_are_refused(wrong):
    regular.check("x", LOSSES, LOSSES)
    regular.check("x", [LOSSES[0], [2.0, 2.3]], LOSSES)  # other masks
    with pytest.raises(RuntimeError, match="jaxvision"):
        regular.check("x", wrong, LOSSES)


def test_ratios_and_goals_of_a_made_up_run():
    def case(group, ms):
        told = {"group": group, "case": "dropout:64", "ms": ms, "clean": 1, "samples": [0]}
        return told | {"first_cpu_s": 1.0}

    times = {"jaxvision": 0.1, "torch": 1.0, "torches": 0.2}
    results = {f"dropout:64 {name}": case(name, ms) for name, ms in times.items()}
    assert regular.ratios(results) == {"dropout:64 torch": 0.1, "dropout:64 torches": 0.5}
    table = regular.markdown(results)
    assert "| 0.10 | 0.2: met |" in table
    assert "| 0.50 | 0.35: missed |" in table
