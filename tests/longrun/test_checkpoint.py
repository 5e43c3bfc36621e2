"""Checkpoints: what was saved comes back to the bit, or an older one does and says why."""

import contextlib
import logging
import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from jaxvision.longrun import checkpoint
from jaxvision.longrun.checkpoint import Checkpoints
from jaxvision.types import UserError


class State(NamedTuple):
    params: dict
    batch_stats: dict
    opt_state: tuple
    step: np.ndarray


def state(step, width=40):
    """A training state whose values depend on ``step``; its kernels fill a file of their own."""
    rng = np.random.default_rng(step)
    params = {
        "stem": {"kernel": rng.normal(size=(3, width, width)).astype(np.float32)},
        "logits": {"bias": rng.normal(size=(3, 1)).astype(np.float32)},
    }
    opt_state = jax.device_get(optax.adam(0.1).init(params))
    return State(params, {}, opt_state, np.full(3, step, np.int32))


def same(found, step, **options):
    assert found.step == step
    assert found.note == {"at": step}
    wanted = state(step, **options)
    assert jax.tree.structure(found.state) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, found.state, wanted)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(found.state))


def save(directory, *steps):
    with Checkpoints(directory) as checkpoints:
        for step in steps:
            checkpoints.save(step, state(step), {"at": step})


def restore(directory, template=None):
    with Checkpoints(directory) as checkpoints:
        return checkpoints.restore(state(0) if template is None else template)


def files(directory):
    return {p.relative_to(directory): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def refused(call, *parts):
    """``call`` raises one line that has all ``parts``."""
    with pytest.raises(UserError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    for part in parts:
        assert part in line
    return line


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A directory with steps 10, 20 and 30, to be copied."""
    directory = tmp_path_factory.mktemp("three") / "checkpoints"
    save(directory, 10, 20, 30)
    return directory


@pytest.fixture
def copy(three, tmp_path):
    return shutil.copytree(three, tmp_path / "copy")


def test_the_newest_of_the_last_three_comes_back_to_the_bit(tmp_path, capsys):
    assert restore(tmp_path) is None
    save(tmp_path, 0, 10, 20, 30)
    same(restore(tmp_path), 30)
    assert sorted(os.listdir(tmp_path)) == ["10", "20", "30"]
    assert capsys.readouterr() == ("", "")


def test_every_dtype_and_shape(tmp_path):
    arrays = {
        "bfloat16": np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3),
        "bool": np.array([True, False]),
        "int": np.arange(3, dtype=np.int64),
        "scalar": np.float32(0.1),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "zeros": np.array([0.0, -0.0, 5e-324]),
    }
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, arrays, None)
        found = checkpoints.restore(arrays).state
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == np.shape(array)
        assert found[name].tobytes() == array.tobytes()


def test_a_relative_directory_is_where_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("here", 1)
    same(restore(tmp_path / "here"), 1)


@pytest.mark.parametrize("step", [5, 10, 30])
def test_a_step_that_is_not_new_is_refused(copy, step):
    """Orbax would return False and keep what is there."""
    before = files(copy)
    refused(lambda: save(copy, step), f"step {step} is not newer than step 30")
    assert files(copy) == before


def changed(path, leaf):
    """``state`` with another leaf at one place."""
    tree = state(0)
    tree.params["stem"][path] = leaf
    return tree


@pytest.mark.parametrize(
    ("template", "there", "here"),
    [
        (changed("kernel", np.zeros((3, 40, 40), np.int32)), "float32[3, 40, 40]", "int32[3"),
        (changed("kernel", np.zeros((3, 40, 40), ml_dtypes.bfloat16)), "float32", "bfloat16"),
        (changed("kernel", np.zeros((3, 40, 40), np.float64)), "float32", "float64"),
        (changed("kernel", np.zeros((4, 40, 40), np.float32)), "[3, 40, 40]", "[4, 40, 40]"),
        (changed("bias", np.zeros(3, np.float32)), "nothing there", "float32[3] here"),
        (state(0)._replace(params={}), "float32", "nothing here"),
    ],
    ids=["int32", "bfloat16", "float64", "shape", "missing", "surplus"],
)
def test_another_dtype_shape_or_leaf_is_refused(copy, template, there, here):
    """Orbax would cast the first three without a word."""
    before = files(copy)
    refused(lambda: restore(copy, template), "is of another run", there, here)
    assert files(copy) == before


def test_numbers_that_are_not_finite_are_not_saved_unless_allowed(copy):
    before = files(copy)
    bad = state(40)
    bad.params["stem"]["kernel"][2, 0, 0] = np.inf
    with Checkpoints(copy) as checkpoints:
        line = refused(lambda: checkpoints.save(40, bad, None), "params/stem/kernel", "step 40")
        assert "lower the learning rate" in line
        assert files(copy) == before
        checkpoints.save(40, bad, None, may_diverge=True)
        found = checkpoints.restore(bad)
    np.testing.assert_array_equal(
        found.state.params["stem"]["kernel"], bad.params["stem"]["kernel"]
    )


# Damage.


def damages(rng, names):
    """Yield (what, how) for the files of one step: flips and cuts of each, and its deletion."""
    for name in names:

        def flip(path):
            content = bytearray(path.read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)

        def cut(path):
            path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])

        # The large file holds the arrays: bits flipped there are what orbax does not see.
        for _ in range(20 if name.parent.name == "d" else 4):
            yield name, flip
        yield from ((name, cut), (name, os.remove))


def outcome(directory, capsys):
    """Restore, and return which of the three steps came back, and whether that was said."""
    capsys.readouterr()
    found = restore(directory)
    same(found, found.step)
    err = capsys.readouterr().err
    return found.step, err


def trials(three, tmp_path, capsys, chosen):
    """Damage the newest step in each way on its own; returns how often which step came back."""
    counts = {30: 0, 20: 0}
    for number, (name, damage) in enumerate(chosen):
        directory = shutil.copytree(three, tmp_path / f"{number}")
        damage(directory / "30" / name)
        step, err = outcome(directory, capsys)
        counts[step] += 1
        if step == 30:  # what was hit is read by nobody, or says the same
            assert err == ""
        else:
            assert err.count("\n") == 1
            assert err.startswith(f"checkpoint {directory}/30 skipped: ")
            assert sorted(os.listdir(directory)) == ["10", "20", "30.damaged"]
        shutil.rmtree(directory)
    return counts


def all_damages(three, seed):
    names = sorted(p.relative_to(three / "30") for p in (three / "30").rglob("*") if p.is_file())
    return list(damages(random.Random(seed), names))


def test_damage_is_never_silent(three, tmp_path, capsys):
    chosen = random.Random(1).sample(all_damages(three, 0), 40)
    counts = trials(three, tmp_path, capsys, chosen)
    assert counts[20] > 3  # most files are metadata that nobody reads; a few hits must be found


@pytest.mark.slow
def test_damage_is_never_silent_anywhere(three, tmp_path, capsys):
    counts = {20: 0, 30: 0}
    for seed in range(1, 6):
        for step, count in trials(three, tmp_path, capsys, all_damages(three, seed)).items():
            counts[step] += count
    with capsys.disabled():
        print(f"\n{sum(counts.values())} damages: {counts[20]} fell back, {counts[30]} harmless")
    assert counts[20] > 100


def test_orbax_alone_does_not_see_a_flipped_bit(three, tmp_path):
    """The reason for the hashes; when this fails, orbax has learned it."""
    directory = shutil.copytree(three, tmp_path / "copy")
    large = max((directory / "30").rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    content = bytearray(large.read_bytes())
    content[len(content) // 2] ^= 1
    large.write_bytes(content)
    with Checkpoints(directory) as checkpoints:
        target = ocp.args.StandardRestore(jax.tree.map(checkpoint._empty, state(0)))
        items = ocp.args.Composite(state=target)
        found = checkpoints._manager.restore(30, args=items).state
        wrong = jax.tree.map(lambda a, b: (a != b).any(), found, state(30))
        assert any(jax.tree.leaves(wrong))
        same(checkpoints.restore(state(0)), 20)


@pytest.mark.parametrize("emptied", ["30", "30/state", "30/seal"])
def test_an_emptied_directory_is_skipped_and_training_goes_on(copy, capsys, emptied):
    shutil.rmtree(copy / emptied)
    (copy / emptied).mkdir()
    step, err = outcome(copy, capsys)
    assert step == 20
    assert "30 skipped: it cannot be read" in err
    save(copy, 30, 40)
    same(restore(copy), 40)
    assert sorted(os.listdir(copy)) == ["20", "30", "30.damaged", "40"]


def test_a_step_under_another_s_name_is_not_trusted(copy, capsys):
    """An old checkpoint copied to a new number is whole, but it is not that step."""
    shutil.rmtree(copy / "30")
    shutil.copytree(copy / "10", copy / "30")
    assert outcome(copy, capsys)[0] == 20
    shutil.rmtree(copy / "20" / "state")
    shutil.copytree(copy / "10" / "state", copy / "20" / "state")
    assert outcome(copy, capsys)[0] == 10


def test_where_none_can_be_trusted_it_fails_and_changes_nothing(copy, capsys):
    for step in (10, 20, 30):
        shutil.rmtree(copy / f"{step}" / "state")
    before = files(copy)
    line = refused(lambda: restore(copy), "none of the 3 checkpoints", "--noresume")
    assert "start afresh" in line
    assert [line.split("skipped")[0][-3:] for line in capsys.readouterr().err.splitlines()] == [
        "30 ",
        "20 ",
        "10 ",
    ]
    assert files(copy) == before


def test_what_a_killed_save_left_is_removed(copy):
    for name in ("40.orbax-checkpoint-tmp", "40.orbax-checkpoint-tmp-3"):
        (copy / name / "state").mkdir(parents=True)
    same(restore(copy), 30)
    assert sorted(os.listdir(copy)) == ["10", "20", "30"]


def test_what_a_failed_save_writes_late_is_removed_too(copy, monkeypatch):
    """Its threads still write for a while: they put back what has just been removed."""
    remove, late = shutil.rmtree, iter(range(3))

    def removed_and_put_back(path, **options):
        remove(path, **options)
        if next(late, None) is not None:
            (Path(path) / "state").mkdir(parents=True)

    (copy / "40.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.shutil, "rmtree", removed_and_put_back)
        same(restore(copy), 30)
    assert sorted(os.listdir(copy)) == ["10", "20", "30"]


# Whose it is.

OWNER = {"part": "plain8", "run": "toy-tiny-0123abcd", "data": "digits"}


@pytest.mark.parametrize(
    ("there", "here", "told"),
    [
        (OWNER, OWNER | {"part": "resnet8"}, "part is plain8 there and resnet8 here"),
        (
            OWNER,
            OWNER | {"run": "toy-tiny-ffff"},
            "run is toy-tiny-0123abcd there and toy-tiny-ffff",
        ),
        (OWNER, OWNER | {"data": "mine"}, "data is digits there and mine here"),
        (OWNER, None, "part is plain8 there and nothing here"),
        (None, OWNER, "part is nothing there and plain8 here"),
    ],
)
def test_another_s_checkpoint_is_refused(tmp_path, there, here, told):
    """All its hashes fit: it is whole, and not this one's."""
    with Checkpoints(tmp_path, there) as checkpoints:
        checkpoints.save(10, state(10), {"at": 10})
    before = files(tmp_path)
    with Checkpoints(tmp_path, here) as checkpoints:
        refused(lambda: checkpoints.restore(state(0)), "is of another run", told, "--noresume")
    assert files(tmp_path) == before
    with Checkpoints(tmp_path, there) as checkpoints:
        same(checkpoints.restore(state(0)), 10)


def test_an_owner_cannot_be_forged_without_the_seal_s_hash(tmp_path, capsys):
    with Checkpoints(tmp_path, OWNER) as checkpoints:
        for step in (10, 20):
            checkpoints.save(step, state(step), {"at": step})
    path = tmp_path / "20" / "seal" / "metadata"
    path.write_text(path.read_text().replace("plain8", "resnet8"))
    with Checkpoints(tmp_path, OWNER) as checkpoints:
        same(checkpoints.restore(state(0)), 10)
    assert "20 skipped: its seal has changed on disk" in capsys.readouterr().err


# A disk that refuses.


@contextlib.contextmanager
def small_files(directory):
    """No file of this process may grow beyond 4 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def full_disk(directory):
    """The rest of the directory's file system is filled up."""
    filler = directory / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    yield
    filler.unlink()


@pytest.fixture
def tiny_disk(tmp_path):
    """A directory on a file system of one megabyte."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no permission to mount a small file system")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.fixture(params=["full disk", "small files"])
def refusing(request, tmp_path):
    """A directory, and a context in which it takes no more."""
    if request.param == "small files":
        return tmp_path, small_files, "File too large"
    return request.getfixturevalue("tiny_disk"), full_disk, "No space left on device"


def test_a_refusing_disk_is_one_line_and_the_older_stay_good(refusing, capfd):
    directory, refuses, reason = refusing
    place = directory / "checkpoints"
    save(place, 10, 20)
    with refuses(directory):
        refused(lambda: save(place, 30), "cannot save step 30", reason, "older checkpoints stay")
        same(restore(place), 20)
    assert sorted(os.listdir(place)) == ["10", "20"]
    assert capfd.readouterr() == ("", "")
    save(place, 30)
    same(restore(place), 30)


def test_a_save_that_has_returned_would_survive_a_power_cut(tmp_path, monkeypatch):
    """Every file of the step and every folder on the way to it, from below."""
    waited = []
    monkeypatch.setattr(checkpoint, "_wait_for", waited.append)
    save(tmp_path, 10)
    step = tmp_path / "10"
    assert set(waited) == {*step.rglob("*"), step, tmp_path}
    assert waited[-2:] == [step, tmp_path]


SAVES = """
import resource, sys
import numpy as np
from jaxvision.longrun.checkpoint import Checkpoints
from jaxvision.types import UserError

state = {f"{i}": np.full((30, 30, i + 1), i / 7, np.float32) for i in range(40)}
try:
    with Checkpoints(sys.argv[1]) as checkpoints:
        resource.setrlimit(getattr(resource, sys.argv[2]), (int(sys.argv[3]),) * 2)
        checkpoints.save(1, state, None)
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
"""


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [("RLIMIT_FSIZE", 4096, "File too large"), ("RLIMIT_NOFILE", 12, "Too many open files")],
)
def test_to_the_end_of_the_process_it_is_one_line(tmp_path, limit, value, reason):
    """Orbax's threads and coroutines outlive the call that failed."""
    done = subprocess.run(
        [sys.executable, "-c", SAVES, str(tmp_path), limit, f"{value}"],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},  # JAX names an accelerator that it cannot use
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot save step 1 in ")
    assert reason in line


LEAVES = """
import sys
from orbax.checkpoint.type_handlers import NumpyHandler, ScalarHandler, StringHandler
from jaxvision.longrun.checkpoint import Checkpoints

with Checkpoints(sys.argv[1]):
    for handler in (NumpyHandler(), ScalarHandler(), StringHandler()):
        handler.metadata([])
        handler.serialize([], [])
        handler.deserialize([])
    NumpyHandler()._background_serialize([], [])
"""


def test_whichever_coroutine_a_failure_leaves_is_not_reported(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LEAVES, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},  # JAX names an accelerator that it cannot use
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_others_log_is_heard(tmp_path, caplog):
    save(tmp_path, 1)
    logging.getLogger("absl").warning("mine")
    assert caplog.messages == ["mine"]


def test_a_save_that_reads_back_otherwise_is_no_save(copy, monkeypatch):
    read = Checkpoints._read

    def rotten(self, step, template):
        large = max((copy / f"{step}").rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
        large.write_bytes(bytes(large.stat().st_size))
        return read(self, step, template)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_read", rotten)
        refused(lambda: save(copy, 40), "cannot save step 40")
    same(restore(copy), 30)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(lambda: Checkpoints(tmp_path / "file" / "x"), "cannot use", "Not a directory")
