"""Nets that are trained once: the same bits whoever asks, and never another's."""

import ast
import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvision import nets
from jaxvision.native import switch
from jaxvision.nets import Spec
from jaxvision.nets import training as nets_training
from jaxvision.nets.shelf import Shelf, default_directory
from jaxvision.nets.spec import TRAINING_CODE, key_of, training_code
from jaxvision.nets.training import Net, _optimizer
from jaxvision.trees import named_leaves
from jaxvision.types import UserError
from tests.test_architecture import imports, sources_of_the_house, within

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"depth": 3, "width": 8}
SPEC = Spec("digits", "mlp", SIZES, 0.05, 20, images=100, batch_size=20)


def spec_with(**changed):
    return dataclasses.replace(SPEC, **changed)


CONV = spec_with(net="resnet", sizes={"depth": 8, "width": 2}, steps=8)
BOTH, ALONG = (0, 1), (0, 10)  # the seeds and the snapshots that are filed


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def row(tree, *index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def trainings(capsys):
    """Return the number of steps of each training that was said to start, and the other lines."""
    lines = capsys.readouterr().err.splitlines()
    started = [re.search(r": started, (\d+) steps", line) for line in lines]
    steps = [int(found[1]) for found in started if found]
    others = [line for line in lines if not line.startswith("training ")]
    return steps, others


def last_kernel(trained):
    return trained.variables["params"]["output"]["kernel"]


@pytest.fixture(scope="module")
def filed(tmp_path_factory):
    """A directory with two runs of ``SPEC``, to be copied, and what they are."""
    directory = tmp_path_factory.mktemp("nets")
    return directory, nets.trained(SPEC, BOTH, snapshots=ALONG, directory=directory)


@pytest.fixture
def copy(filed, tmp_path, capsys):
    capsys.readouterr()
    return shutil.copytree(filed[0], tmp_path / "copy")


def test_they_are_what_they_say(filed):
    _, found = filed
    assert len(found.data.train.labels) == 100
    inputs = found.preprocess(found.data.test.images, None)
    for run, error in enumerate(found.test_error):
        variables = row(found.variables, run)
        logits, _, _ = found.apply(
            variables["params"], variables["batch_stats"], inputs, train=False
        )
        wrong = np.argmax(logits, -1) != found.data.test.labels
        assert wrong.mean() == pytest.approx(error)
    assert (found.test_error < 0.6).all()  # of ten classes


def test_they_are_trained_once(filed, copy, capsys):
    found = nets.trained(SPEC, BOTH, snapshots=ALONG, directory=copy)
    assert trainings(capsys) == ([], [])
    same(found.variables, filed[1].variables)
    same(found.snapshots, filed[1].snapshots)
    np.testing.assert_array_equal(found.test_error, filed[1].test_error)
    assert found.key == filed[1].key
    assert found.origin == filed[1].origin


def test_only_missing_seeds_are_trained(filed, copy, capsys):
    found = nets.trained(SPEC, (2, 1), directory=copy)
    assert trainings(capsys) == ([20], [])
    same(row(found.variables, 1), row(filed[1].variables, 1))
    again = nets.trained(SPEC, (2, 2, 0), directory=copy)
    assert trainings(capsys) == ([], [])
    same(row(again.variables, 0), row(found.variables, 0))
    same(row(again.variables, 1), row(found.variables, 0))
    same(row(again.variables, 2), row(filed[1].variables, 0))
    assert again.snapshots is None


@pytest.mark.parametrize(("spec", "count"), [(SPEC, 6), (CONV, 3)], ids=["dense", "conv"])
def test_a_run_depends_neither_on_the_others_nor_on_the_snapshots(spec, count, tmp_path):
    alone = nets.trained(spec, (1,), directory=tmp_path / "alone")
    many = nets.trained(spec, range(count), snapshots=(1, 5), directory=tmp_path / "many")
    same(row(alone.variables, 0), row(many.variables, 1))


def test_more_snapshots_are_added(filed, copy, capsys):
    found = nets.trained(SPEC, (0,), snapshots=(5,), directory=copy)
    assert trainings(capsys) == ([20], [])
    same(row(found.variables, 0), row(filed[1].variables, 0))
    for snapshots in ((0, 10), (5,), (10, 5, 0)):
        again = nets.trained(SPEC, (0,), snapshots=snapshots, directory=copy)
        assert trainings(capsys) == ([], [])
    same(row(again.snapshots, 0, 1), row(found.snapshots, 0, 0))
    same(row(again.snapshots, 0, 0), row(filed[1].snapshots, 0, 1))


@pytest.mark.parametrize("drops", [(), (10,)])
def test_a_snapshot_is_a_run_that_stopped_there(filed, tmp_path, drops):
    """And a rate that drops later has done nothing yet."""
    stopped = nets.trained(spec_with(steps=10), (0, 1), directory=tmp_path)
    dropping = spec_with(drops=drops)
    found = nets.trained(dropping, (0, 1), snapshots=(10,), directory=tmp_path)
    same(row(found.snapshots, slice(None), 0), stopped.variables)
    unchanged = np.array_equal(last_kernel(found), last_kernel(filed[1]))
    assert unchanged == (not drops)


@pytest.mark.parametrize("kind", [{"pad": 1}, {"turn": 30}, {"viewed": True}])
def test_augmentation_is_of_training_alone(filed, tmp_path, kind):
    found = nets.trained(spec_with(**kind), (0,), directory=tmp_path)
    images = found.data.test.images[:3]
    same(found.preprocess(images, None), filed[1].preprocess(images, None))
    assert not np.array_equal(last_kernel(found)[0], last_kernel(filed[1])[0])


def curve_of(spec, steps):
    """Return the rates of a spec's first steps."""
    transformation = _optimizer(spec)({"learning_rate": spec.learning_rate, "momentum": 0.9})
    params, rates = {"kernel": np.float32(0)}, []
    state = transformation.init(params)
    for _ in range(steps):
        _, state = transformation.update(params, state, params, error=np.float32(1))
        rates.append(float(state.learning_rate))
    return rates


def test_two_nets_may_learn_from_disjoint_images():
    """A sample, and what it leaves out, under two keys."""
    half = spec_with(images=700, steps=2)
    sample, rest = (Net(dataclasses.replace(half, left_out=left)) for left in (False, True))
    drawn = {image.tobytes() for image in sample.data.train.images}
    assert len(sample.data.train.labels) == 700
    assert not [image for image in rest.data.train.images if image.tobytes() in drawn]
    assert sample.key != rest.key
    with pytest.raises(UserError, match="leaves none"):
        Net(dataclasses.replace(half, images=None, left_out=True))


def test_a_warm_up_climbs_in_a_line_and_falls_along_half_a_cosine():
    spec = spec_with(optimizer="momentum_sgd", learning_rate=0.4, warm_up=5)
    rates = curve_of(spec, 20)
    np.testing.assert_allclose(rates[:5], 0.4 * np.arange(1, 6) / 5, rtol=1e-6)
    falling = 0.2 * (1 + np.cos(np.pi * np.arange(15) / 15))
    np.testing.assert_allclose(rates[5:], falling, rtol=1e-5)
    dropped = curve_of(dataclasses.replace(spec, drops=(10,)), 20)
    np.testing.assert_allclose(np.divide(dropped, rates), [1] * 10 + [0.1] * 10, rtol=1e-5)


def test_smoothed_labels_ask_for_smaller_logits(filed, tmp_path):
    smoothed = nets.trained(spec_with(label_smoothing=0.3), (0,), directory=tmp_path)

    def size(found):
        run, inputs = row(found.variables, 0), found.preprocess(found.data.train.images, None)
        logits, _, _ = found.apply(run["params"], run["batch_stats"], inputs, train=False)
        return np.abs(logits).mean()

    assert size(smoothed) < size(filed[1])


def test_decay_of_the_recipe_is_of_kernels_alone(tmp_path):
    """At rate 1e-3 and decay 100 kernels shrink to a third in 20 steps; scales stay near 1."""
    spec = dataclasses.replace(
        CONV, optimizer="momentum_sgd", steps=20, learning_rate=1e-3, weight_decay=100.0
    )
    found = nets.trained(spec, (0,), snapshots=(0,), directory=tmp_path)
    first, last = row(found.snapshots, 0, 0)["params"], row(found.variables, 0)["params"]
    assert np.abs(last["stem"]["kernel"]).max() < 0.4 * np.abs(first["stem"]["kernel"]).max()
    scales = [leaf for name, leaf in named_leaves(last).items() if name.endswith("scale")]
    assert scales
    for leaf in scales:
        np.testing.assert_allclose(leaf, 1, atol=0.1)


# Trainings that are stopped.


class Killed(Exception):
    pass


@contextlib.contextmanager
def killed_after_a_period(total, description, done=0):
    class Bar:
        def advance(self, *_, **__):
            raise Killed

    yield Bar()


@pytest.mark.parametrize("spec", [SPEC, dataclasses.replace(CONV, steps=10)], ids=["dense", "conv"])
def test_a_training_that_was_killed_goes_on_with_the_same_bits(spec, tmp_path, capsys, monkeypatch):
    plain = nets.trained(spec, (0,), snapshots=(0,), directory=tmp_path / "plain")
    with monkeypatch.context() as patch:
        patch.setattr(nets_training, "progress", killed_after_a_period)
        with pytest.raises(Killed):
            nets.trained(spec, (0,), snapshots=(0,), directory=tmp_path / "cut", resumable=True)
    capsys.readouterr()
    found = nets.trained(spec, (0,), snapshots=(0,), directory=tmp_path / "cut", resumable=True)
    assert f"going on at step 5 of {spec.steps}" in capsys.readouterr().err
    same(found.variables, plain.variables)
    same(found.snapshots, plain.snapshots)
    assert found.test_error == plain.test_error
    assert list(tmp_path.glob("cut/*/unfinished")) == []
    nets.trained(spec, (0,), directory=tmp_path / "cut", resumable=True)
    assert trainings(capsys) == ([], [])


def test_shuffled_labels_are_the_same_labels_on_other_images():
    true, dealt = Net(SPEC).data, Net(spec_with(shuffled_labels=True)).data
    same(true.train.images, dealt.train.images)
    same(true.test.labels, dealt.test.labels)
    assert sorted(true.train.labels) == sorted(dealt.train.labels)
    assert (true.train.labels == dealt.train.labels).mean() < 0.25


# The key.

OTHERS = {
    "dataset": "shapes",
    "net": "plain",
    "sizes": {"depth": 3, "width": 9},
    "learning_rate": 0.06,
    "steps": 21,
    "image_size": 8,
    "images": 101,
    "initializer": "flax_default",
    "optimizer": "adam",
    "drops": (10,),
    "warm_up": 5,
    "weight_decay": 1e-4,
    "batch_size": 21,
    "pad": 1,
    "turn": 30,
    "viewed": True,
    "label_smoothing": 0.1,
    "left_out": True,
    "shuffled_labels": True,
}


def test_the_key_changes_with_every_field_and_with_the_data():
    assert OTHERS.keys() == {field.name for field in dataclasses.fields(Spec)}
    specs = [spec_with(**{name: value}) for name, value in OTHERS.items()]
    keys = {key_of(spec, "d") for spec in [SPEC, *specs]}
    keys.add(key_of(SPEC, "e"))
    assert len(keys) == len(OTHERS) + 2
    turned = {name: SIZES[name] for name in reversed(SIZES)}
    assert key_of(spec_with(sizes=turned), "d") == key_of(SPEC, "d")


def test_the_key_changes_with_the_kernels(monkeypatch):
    monkeypatch.setattr(switch, "is_on", lambda: True)
    with_kernels = key_of(SPEC, "d")
    monkeypatch.setattr(switch, "is_on", lambda: False)
    assert key_of(SPEC, "d") != with_kernels


def test_the_key_changes_with_the_code_that_trains(tmp_path):
    package = ROOT / "jaxvision"

    def code(number, changed=None):
        copied = shutil.copytree(package, tmp_path / f"{number}")
        if changed:
            with open(copied / changed, "a") as file:
                file.write("# another line\n")
        return training_code(copied)

    assert code(0) == training_code()
    assert code(1, "report/plots.py") == training_code()
    for number, changed in enumerate(["models/mlp.py", "random.py", "training/step.py"], start=2):
        assert code(number, changed) != training_code()


# What the nets import beside the code that is hashed: no weight depends on it.
NOT_TRAINING = (
    "jaxvision.fields",
    "jaxvision.longrun",
    "jaxvision.progress",
    "jaxvision.report",
    "jaxvision.terminal",
    "jaxvision.types",
)


def test_all_code_that_trains_is_in_the_key():
    hashed = [f"jaxvision.{name.removesuffix('.py')}" for name in TRAINING_CODE]
    sources = sources_of_the_house()

    def imported(module):
        return imports(module, ast.parse(sources[module]), sources) & sources.keys()

    def is_in(module, rooms):
        return any(within(module, room) for room in rooms)

    reached, new = set(), {"jaxvision.nets"}
    while new:
        reached |= new
        wanted = set().union(*map(imported, new))
        new = {module for module in wanted - reached if is_in(module, hashed)}
        others = wanted - reached - new - {"jaxvision"}
        assert [module for module in others if not is_in(module, NOT_TRAINING)] == []
    assert {"jaxvision.training.step", "jaxvision.models.mlp", "jaxvision.random"} <= reached


# Files that cannot be trusted.


def file_of(directory, seed=0):
    (folder,) = directory.iterdir()
    return folder / f"seed{seed}.npz"


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def of_another_seed(path):
    shutil.copy(path.with_name("seed1.npz"), path)


def of_another_net(path):
    nets.trained(spec_with(steps=10), (0,), directory=path.parent / "other")
    (folder,) = (path.parent / "other").iterdir()
    shutil.copy(folder / "seed0.npz", path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "it cannot be read"),
        (flip, ""),
        (empty, "it cannot be read"),
        (of_another_seed, "it is of seed 1"),
        (of_another_net, "it is of key "),
    ],
)
def test_a_damaged_or_foreign_file_is_trained_anew(filed, copy, capsys, damage, reason):
    path = file_of(copy)
    damage(path)
    capsys.readouterr()
    found = nets.trained(SPEC, BOTH, snapshots=ALONG, directory=copy)
    started, (line,) = trainings(capsys)
    assert started == [20]
    assert line.startswith(f"jaxvision: the net in {path} cannot be used ({reason}")
    assert line.endswith("): training it anew")
    same(found.variables, filed[1].variables)
    nets.trained(SPEC, BOTH, snapshots=ALONG, directory=copy)
    assert trainings(capsys) == ([], [])


def test_a_disk_that_refuses_costs_no_net(filed, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        found = nets.trained(SPEC, range(3), directory=tmp_path)
    started, (line,) = trainings(capsys)
    assert started == [60]
    (folder,) = tmp_path.iterdir()
    assert line.startswith(f"jaxvision: cannot keep nets in {folder} (No space left on device): ")
    same(row(found.variables, slice(2)), filed[1].variables)
    assert sorted(os.listdir(folder)) == ["lock", "spec.json"]


def test_a_place_that_cannot_be_used_costs_no_net(filed, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    found = nets.trained(SPEC, (0,), directory=tmp_path / "file")
    started, lines = trainings(capsys)
    assert started == [20]
    assert [line for line in lines if "cannot keep nets" in line] == lines[-1:]
    same(row(found.variables, 0), row(filed[1].variables, 0))


def test_what_a_killed_process_left_is_removed(copy):
    left = file_of(copy).with_name("seed7.npz.new")
    left.write_bytes(b"half")
    nets.trained(SPEC, (2,), directory=copy)
    assert not left.exists()
    told = json.loads(left.with_name("spec.json").read_text())
    assert told == json.loads(json.dumps(dataclasses.asdict(SPEC)))


# Two at a time.


def test_who_comes_second_waits_and_takes_what_the_first_has_made(filed, tmp_path, capfd):
    """In one process: locks are between open files, so threads are to each other as processes."""
    found = []

    def ask_second():
        found.append(nets.trained(SPEC, BOTH, directory=tmp_path))

    second = threading.Thread(target=ask_second)
    net = Net(SPEC)
    shelf = Shelf(tmp_path, net)
    with shelf.locked():
        second.start()
        told = ""
        while "waiting for it" not in told:
            second.join(0.01)
            told += capfd.readouterr().err
        assert f"jaxvision: process {os.getpid()} is training mlp (depth 3, width 8) on" in told
        for seed, run in net.train((0, 1), (20,)):
            shelf.write(seed, run)
    second.join()
    same(found[0].variables, filed[1].variables)
    assert capfd.readouterr().err.count(": started, ") == 1


def ask(directory, seeds, **environment):
    """Start a process that asks for nets and prints the weights of its last one."""
    code = (
        "import sys; from jaxvision.nets import Spec, trained; "
        f"found = trained({SPEC!r}, {seeds}, directory=sys.argv[1]); "
        "print(found.variables['params']['output']['kernel'][-1].tobytes().hex())"
    )
    command = [sys.executable, "-c", code, str(directory)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **pipes)


def answers(children):
    found = [child.communicate(timeout=200) for child in children]
    assert [child.returncode for child in children] == [0] * len(children), found
    return [out for out, _ in found], [err for _, err in found]


@pytest.mark.slow
def test_of_processes_that_ask_at_once_one_trains(tmp_path):
    children = [ask(tmp_path, BOTH) for _ in range(3)]
    outs, errs = answers(children)
    assert len(set(outs)) == 1
    assert "".join(errs).count(": started, ") == 1


@pytest.mark.slow
def test_optimized_programs_round_alike_for_one_run_and_for_six(tmp_path):
    """Side by side on one device they would not: batched products are summed in another order."""
    one = ask(tmp_path / "one", (5,), XLA_FLAGS="")
    six = ask(tmp_path / "six", (0, 1, 2, 3, 4, 5), XLA_FLAGS="")
    outs, _ = answers([one, six])
    assert outs[0] == outs[1]


# What a record says, and what a user does wrong.


def test_the_origin_names_key_spec_and_error(copy):
    nets.forget_origins()
    found = nets.trained(SPEC, (1, 0), directory=copy)
    nets.trained(SPEC, (1, 0), directory=copy)
    (origin,) = nets.origins()
    assert json.loads(json.dumps(origin)) == origin | {
        "spec": json.loads(json.dumps(origin["spec"]))
    }
    assert origin["key"] == found.key == file_of(copy).parent.name
    assert Spec(**origin["spec"]) == SPEC
    assert origin["seeds"] == [1, 0]
    assert origin["test_error"] == list(found.test_error)
    (maker,) = origin["made"]
    assert maker["versions"]["jax"] == jax.__version__
    nets.forget_origins()
    assert nets.origins() == []


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"net": "MLP"}, "there is no net 'MLP': use mlp, "),
        ({"initializer": "he"}, "there is no initializer 'he': use "),
        ({"optimizer": "lion"}, "there is no optimizer 'lion': use sgd, "),
        ({"warm_up": 20}, "a warm-up of 20 steps does not fit into 20"),
        ({"warm_up": -1}, "a warm-up of -1 steps does not fit into 20"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: use a share from 0 to below 1"),
        ({"dataset": "digit"}, "unknown data set 'digit'"),
        ({"batch_size": 200}, "batch size 200 exceeds the 100 training images"),
    ],
)
def test_what_there_is_not_is_one_line(tmp_path, changed, line):
    with pytest.raises(UserError) as caught:
        nets.trained(spec_with(**changed), (0,), directory=tmp_path)
    assert line in str(caught.value)


def test_a_snapshot_after_the_end_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no step 21"):
        nets.trained(SPEC, (0,), snapshots=(21,), directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_rate_that_is_too_high_is_one_line_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="not finite"):
        nets.trained(spec_with(learning_rate=1e20), (0,), directory=tmp_path)
    assert list(tmp_path.rglob("*.npz")) == []


def test_where_nets_are_kept(filed, copy, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_directory() == tmp_path / "xdg" / "jaxvision" / "nets"
    nets.configure(copy)
    nets.trained(SPEC, (0,))
    assert trainings(capsys) == ([], [])
    nets.configure(None)
    nets.trained(SPEC, (0,))
    assert trainings(capsys) == ([20], [])
    assert file_of(default_directory()).is_file()


def test_the_rate_that_ends_lowest_is_chosen_and_nothing_is_kept(filed, copy, capsys):
    """At 1e-6 nothing is learned, at 1e4 everything is lost."""
    kept = sorted(copy.rglob("*"))
    nets.configure(copy)
    try:
        found = nets.tuned(SPEC, (1e-6, 0.05, 1e4), BOTH)
    finally:
        nets.configure(None)
    assert found.learning_rate == 0.05
    assert found.losses["0.05"] < found.losses["1e-06"] < found.losses["10000.0"]
    assert sorted(copy.rglob("*")) == kept


def test_one_rate_is_no_choice():
    assert nets.tuned(SPEC, (0.3,), BOTH) == (0.3, {})
