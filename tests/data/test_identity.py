"""What tells a set from every other changes with its content and with nothing else."""

import dataclasses
import os
import shutil
import zlib

import numpy as np
import pytest

from jaxvision.data import Identity, cache, embedded, forget_identities, identities, load
from jaxvision.data.dataset import Dataset


@pytest.fixture
def prepare(tmp_path, make_set, make_split):
    """Return ``prepare(place, change, ...) -> identity`` of a set of 30 and 12 images."""

    def identity(place, change=lambda images, labels: None, name="toy", version="1.0.0", **how):
        images, labels = make_split(0, 30)
        change(images, labels)
        splits = {"train": (images, labels), "test": make_split(1, 12)}
        make_set(tmp_path / place / name / version, splits, **how)
        return load(name, str(tmp_path / place)).identity

    return identity


def test_an_identity_says_what_was_loaded(prepare):
    found = prepare("a")
    digest = found.digest
    assert found == Identity("toy", "1.0.0", "", digest, 30, 12)
    assert len(digest) == 12 and int(digest, 16) >= 0
    assert dataclasses.asdict(found)["train"] == 30


def test_one_pixel_or_one_label_or_the_order_changes_the_digest(prepare):
    def pixel(images, labels):
        images[17, 3, 2, 1] ^= 1

    def label(images, labels):
        labels[29] ^= 1

    def exchange(images, labels):
        images[[0, 2]] = images[[2, 0]]  # of one class

    def exchange_labels(images, labels):
        labels[[0, 1]] = labels[[1, 0]]

    changes = [pixel, label, exchange, exchange_labels]
    digests = {prepare(change.__name__, change).digest for change in changes}
    digests.add(prepare("plain").digest)
    digests.add(prepare("classes", names=("cat", "dog", "cow")).digest)
    assert len(digests) == 6


def test_where_when_and_in_how_many_files_it_was_written_does_not(prepare, tmp_path):
    one = prepare("one")
    assert prepare("two", shards=4) == one  # and the files were written last to first
    for path in sorted((tmp_path / "two" / "toy" / "1.0.0").iterdir(), reverse=True):
        shutil.copy(path, path.with_name("copy"))
        path.unlink()
        path.with_name("copy").rename(path)
        os.utime(path, ns=(0, 0))
    assert load("toy", str(tmp_path / "two")).identity == one
    # Another name or version is another set of the same content.
    other = prepare("three", name="other", version="2.0.0")
    assert dataclasses.replace(other, name="toy", version="1.0.0") == one


def test_the_digest_is_the_same_decoded_cached_and_without_a_cache(prepare, tmp_path, monkeypatch):
    decoded = prepare("one")
    assert load("toy", str(tmp_path / "one")).identity == decoded
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load("toy", str(tmp_path / "one")).identity == decoded


def test_the_digest_of_a_cached_set_is_not_computed_again(prepare, tmp_path, monkeypatch):
    decoded = prepare("one")
    monkeypatch.setattr(cache, "in_memory", None)  # calling it would be a TypeError
    assert load("toy", str(tmp_path / "one")).identity == decoded


def test_a_held_out_test_set_has_an_identity_too(tmp_path, make_set, make_split):
    make_set(tmp_path / "single" / "1.0.0", {"train": make_split(0, 20)})
    make_set(tmp_path / "b" / "single" / "1.0.0", {"train": make_split(1, 20)})
    found = load("single", str(tmp_path)).identity
    assert (found.train, found.test) == (16, 4)
    assert found.digest != load("single", str(tmp_path / "b")).identity.digest


def test_another_size_of_the_images_is_another_content(prepare, tmp_path):
    whole = prepare("one")
    small = load("toy", str(tmp_path / "one"), image_size=3).identity
    assert small.digest != whole.digest
    assert dataclasses.replace(small, digest=whole.digest) == whole


def test_a_config_is_part_of_the_name(tmp_path, make_set, make_split):
    splits = {"train": make_split(0, 4), "test": make_split(1, 4)}
    made = make_set(tmp_path / "made" / "1.0.0", splits)
    info = made / "dataset_info.json"
    info.write_text(info.read_text().replace('"version"', '"configName": "small", "version"'))
    assert load("made", str(tmp_path)).identity.name == "made/small"


# Every number of the records of these two sets rests on their bits.


def test_digits_never_change():
    assert load("digits").identity == Identity("digits", "", "", "da22fbe20139", 1437, 360)


def test_shapes_never_change():
    """The digest cannot stand here: 3 to 25 of 15 million values differ by one between CPUs.

    The sum weighs every picture by its place, so two that changed places would be noticed.
    """
    splits = load("shapes")
    golden = {"train": (3_123_509_839_953, 2_849_015_318), "test": (193_400_781_227, 2_326_655_298)}
    for split, (pictures, masks) in golden.items():
        data = getattr(splits, split)
        sums = data.images.sum((1, 2, 3), dtype=np.int64)
        assert abs(sums @ np.arange(len(sums)) - pictures) < 100 * len(sums)
        assert zlib.crc32(np.packbits(data.masks)) == masks
        assert (data.labels == np.arange(len(sums)) % 10).all()
    assert (splits.identity.train, splits.identity.test) == (4000, 1000)


def test_small_shapes_never_change():
    data = embedded.small_shapes(1, 1000).test
    sums = data.images.sum((1, 2, 3), dtype=np.int64)
    assert abs(sums @ np.arange(1000) - 192_907_770_414) < 100_000
    assert zlib.crc32(np.packbits(data.masks)) == 3_997_969_980


def test_masks_are_content():
    images, labels = np.zeros((2, 3, 3, 1), np.uint8), np.array([0, 1], np.int32)
    masks = np.zeros((2, 3, 3), bool)
    plain = cache.in_memory(Dataset(images, labels, masks)).digest
    masks[1, 1, 1] = True
    assert cache.in_memory(Dataset(images, labels, masks)).digest != plain


def test_a_process_remembers_the_sets_it_has_loaded(prepare):
    forget_identities()
    assert identities() == ()
    digits, toy = load("digits").identity, prepare("one")
    load("digits/")
    assert identities() == (digits, toy)
    forget_identities()
    assert identities() == ()


def test_a_set_that_is_refused_is_not_remembered(make_set, make_split, tmp_path, refusal):
    forget_identities()
    make_set(tmp_path / "testonly" / "1.0.0", {"test": make_split(0, 4)})
    refusal("testonly", tmp_path)
    assert identities() == ()
