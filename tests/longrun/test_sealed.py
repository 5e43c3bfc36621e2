"""Sealed files: whole as they were written, or refused."""

import os
import random

import numpy as np
import pytest

from jaxvision.longrun import sealed

ARRAYS = {
    "10/params/kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "10/step": np.array(3),
    "empty": np.zeros((0, 4), np.float32),
    "special": np.array([np.nan, -0.0, np.inf, 5e-324]),
}


@pytest.fixture
def path(tmp_path):
    sealed.write(tmp_path / "file.npz", ARRAYS, seed=3, note={"error": 0.25})
    return tmp_path / "file.npz"


def same(found):
    arrays, facts = found
    assert (facts["seed"], facts["note"]) == (3, {"error": 0.25})
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_what_was_written_comes_back_to_the_bit(path):
    same(sealed.read(path))
    with np.load(path, allow_pickle=False) as archive:  # as everybody reads such files
        np.testing.assert_array_equal(archive["special"], ARRAYS["special"])
    assert os.listdir(path.parent) == [path.name]


def test_equal_arrays_have_equal_seals():
    made = sealed.seal(ARRAYS, seed=3)
    assert made == sealed.seal({name: np.array(array) for name, array in ARRAYS.items()}, seed=3)
    assert sealed.is_whole(made)
    assert not sealed.is_whole(made | {"seed": 4})
    other = ARRAYS | {"special": np.array([np.nan, 0.0, np.inf, 5e-324])}  # another zero
    assert sealed.changed_leaves(made, other) == ["special"]
    assert sealed.changed_leaves(made, {}) == list(made["sha256s"])


def test_damage_is_never_silent(path):
    """Bits flipped, bytes cut off, stretches of zeros: refused, or what was hit says nothing."""
    content, rng = path.read_bytes(), random.Random(0)
    refused = 0
    for trial in range(300):
        damaged = bytearray(content)
        at = rng.randrange(len(content))
        if trial % 3 == 0:
            damaged[at] ^= 1 << rng.randrange(8)
        elif trial % 3 == 1:
            damaged = damaged[:at]
        else:
            damaged[at : at + 64] = bytes(len(damaged[at : at + 64]))
        path.write_bytes(damaged)
        try:
            same(sealed.read(path))
        except sealed.Damaged:
            refused += 1
    assert refused > 200


def test_no_pickle_is_read(tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, seal=np.array([{}], object))
    with pytest.raises(sealed.Damaged, match="cannot be read"):
        sealed.read(path)


def test_what_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        sealed.read(tmp_path / "file.npz")


def test_a_disk_that_refuses_leaves_the_old_file(path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "fsync", full)
        sealed.write(path, {"other": np.zeros(3)})
    same(sealed.read(path))
    assert os.listdir(path.parent) == [path.name]
