"""The same bits over layouts of devices and processes, and a state that moves between them."""

import itertools

import pytest

from tests.parallel.processes import run_alone, run_joined


@pytest.fixture(scope="module")
def travelled(tmp_path_factory):
    """Sixteen steps in several layouts, and in four of them by turns: 1x1, 1x4, 2x1, 2x2."""
    state = f"--state={tmp_path_factory.mktemp('state') / 'state.npz'}"
    options = ("--shards=4", state)
    jobs = ("train=1x1", "train=1x4", "move=1x1", "move=1x4")
    found = run_alone("--devices=4", *options, *jobs)
    for devices, layout in ((1, "1x2"), (2, "1x4")):
        each = run_joined(2, f"--devices={devices}", *options, f"train={layout}", f"move={layout}")
        assert [[line["main"] for line in lines] for lines in each] == [[True] * 2, [False] * 2]
        for first, second in zip(*each, strict=True):
            assert first | {"main": None} == second | {"main": None}
        found += each[0]
    return found


@pytest.mark.slow  # a short one: test_survival.py
def test_shards_give_the_same_bits_on_one_to_four_devices_of_one_or_two_processes(travelled):
    digests = {line["history"] for line in travelled if "train" in line}
    assert len([line for line in travelled if "train" in line]) == 4
    assert len(digests) == 1


@pytest.mark.slow
def test_a_state_moves_between_layouts_and_arrives_with_the_same_bits(travelled):
    moves = [line for line in travelled if "move" in line]
    assert [line["step"] for line in moves] == [4, 8, 12, 16]
    assert len({line["variables"] for line in moves}) == 4  # each did its part
    whole = next(line["variables"] for line in travelled if "train" in line)
    assert moves[-1]["variables"] == whole


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("net", "mapping"), [("dense", "vmap"), ("conv", "map"), ("resnet", "map")]
)
def test_all_layouts_have_the_same_bits(net, mapping):
    """One, two, four, eight devices, and two processes with one, two, four each."""
    options = ("--shards=8", f"--net={net}", f"--mapping={mapping}", "--steps=8")
    layouts = ["1x1", "1x2", "1x4", "1x8", "2x1", "2x2", "2x4"]
    found = run_alone("--devices=8", *options, *(f"train={layout}" for layout in layouts))
    for devices in (1, 2, 4):
        layouts = [f"train={run}x{2 * devices // run}" for run in (1, 2) if devices < 4 or run == 1]
        for lines in run_joined(2, f"--devices={devices}", *options, *layouts):
            found += lines
    assert len(found) == 17
    assert len({line["history"] for line in found}) == 1


@pytest.mark.slow
def test_two_processes_train_as_one_to_rounding():
    """Without shards: statistics and gradients over both, no bits promised."""
    options = ("--dropout=0", "--steps=8")
    (alone,) = run_alone(*options, "train=1x1")
    for lines in run_joined(2, *options, "train=1x2", "train=2x1"):
        for line in lines:
            for quantity in ("loss", "test_loss"):
                flat = (itertools.chain(*values[quantity]) for values in (line, alone))
                assert list(next(flat)) == pytest.approx(list(next(flat)), rel=1e-4)


@pytest.mark.slow
def test_streamed_to_two_processes_the_bits_are_those_of_data_held_by_one():
    """In chunks of one step and of two. A process gathers what its own devices need."""
    options = ("--shards=4", "--steps=8")
    (alone,) = run_alone(*options, "train=1x1")
    assert alone["gathered"] == 0
    for lines in run_joined(2, *options, f"--chunk={2 * 16 * 64}", "train=1x2", "train=2x1"):
        assert {line["history"] for line in lines} == {alone["history"]}
        # Two runs of eight steps of 16 images; with a process a run, each needs one.
        assert [line["gathered"] for line in lines] == [2 * 8 * 16, 8 * 16]
