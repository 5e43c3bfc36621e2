"""Reading prepared sets: right values, fast clear failures, damage never unseen."""

import json
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from jaxvision.data import cache, load, tfds
from jaxvision.data.source import Source
from jaxvision.types import UserError

SHARD = "toy/1.0.0/toy-train.array_record-00000-of-00001"


def flip_byte(path, fraction: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(fraction * len(content))] ^= 0x10
    path.write_bytes(content)


def decode_never(*_):
    raise AssertionError("decoded although the cache should hold it")


def edit_info(directory, edit) -> None:
    path = directory / "dataset_info.json"
    info = json.loads(path.read_text())
    edit(info)
    path.write_text(json.dumps(info))


def test_values_survive_the_round_trip(toy, make_split):
    splits = load("toy", str(toy))
    for data, (images, labels) in (
        (splits.train, make_split(0, 30)),
        (splits.test, make_split(1, 12)),
    ):
        np.testing.assert_array_equal(data.images, images)
        np.testing.assert_array_equal(data.labels, labels)
        assert (data.images.dtype, data.labels.dtype, data.masks) == (np.uint8, np.int32, None)
    assert (splits.name, splits.class_names, splits.num_classes) == ("toy", ("cat", "dog"), 2)


def test_every_way_to_name_a_set(toy, monkeypatch):
    wanted = load("toy", str(toy)).train.images
    version = toy / "toy" / "1.0.0"
    monkeypatch.setenv("TFDS_DATA_DIR", str(toy))
    monkeypatch.chdir(toy)
    for name in ("toy", "toy/1.0.0", str(version), str(version.parent), "./toy", "./toy/1.0.0"):
        np.testing.assert_array_equal(load(name).train.images, wanted)
    # The argument goes before the environment.
    monkeypatch.setenv("TFDS_DATA_DIR", str(toy / "nowhere"))
    np.testing.assert_array_equal(load("toy", str(toy)).train.images, wanted)


def test_the_newest_version_wins(toy, make_set, make_split):
    for major in (9, 10):
        splits = {"train": make_split(major, 4), "test": make_split(0, 4)}
        make_set(toy / "toy" / f"{major}.0.0", splits)
    shutil.copytree(toy / "toy" / "9.0.0", toy / "toy" / "11.0.0.incompleteABC")
    np.testing.assert_array_equal(load("toy", str(toy)).train.images, make_split(10, 4)[0])


def test_configs_are_named_or_asked_for(tmp_path, make_set, make_split, refusal):
    splits = {"train": make_split(0, 4), "test": make_split(1, 4)}
    make_set(tmp_path / "sized" / "small" / "1.0.0", splits)
    shutil.move(tmp_path / "sized" / "small", tmp_path / "small")
    # TFDS names the files of a config after the set.
    for path in (tmp_path / "small" / "1.0.0").glob("small-*"):
        path.rename(path.with_name(path.name.replace("small", "sized")))
    edit_info(tmp_path / "small" / "1.0.0", lambda i: i.update(name="sized", configName="small"))
    shutil.copytree(tmp_path / "small", tmp_path / "sized" / "small")
    assert len(load("sized", str(tmp_path)).train.labels) == 4
    shutil.copytree(tmp_path / "small", tmp_path / "sized" / "large")
    assert len(load("sized/small", str(tmp_path)).train.labels) == 4
    assert "'sized/large', 'sized/small'" in refusal("sized", tmp_path)


def test_gray_images_keep_one_channel(tmp_path, make_set, make_split):
    shape = (5, 4, 1)
    train = make_split(0, 6, shape)
    make_set(tmp_path / "gray" / "1.0.0", {"train": train, "test": train}, shape)
    np.testing.assert_array_equal(load("gray", str(tmp_path)).test.images, train[0])


def test_validation_stands_in_for_a_test_split_without_labels(tmp_path, make_set, make_split):
    train, validation, test = (make_split(seed, 8) for seed in range(3))
    splits = {"train": train, "validation": validation, "test": (test[0], np.full(8, -1))}
    make_set(tmp_path / "withheld" / "1.0.0", splits)
    found = load("withheld", str(tmp_path)).test
    np.testing.assert_array_equal(found.images, validation[0])


def test_a_set_of_one_split_is_held_out_from_and_says_so(tmp_path, make_set, make_split, capsys):
    images, labels = make_split(0, 20)
    make_set(tmp_path / "single" / "1.0.0", {"train": (images, labels)})
    splits = load("single", str(tmp_path))
    assert np.bincount(splits.train.labels).tolist() == [8, 8]
    assert np.bincount(splits.test.labels).tolist() == [2, 2]
    together = np.concatenate([splits.train.images, splits.test.images])
    assert {i.tobytes() for i in together} == {i.tobytes() for i in images}
    assert "held out" in capsys.readouterr().err


def test_a_set_without_training_data_is_refused(tmp_path, make_set, make_split, refusal):
    make_set(tmp_path / "testonly" / "1.0.0", {"test": make_split(0, 4)})
    assert "no training split" in refusal("testonly", tmp_path)


def test_images_of_several_sizes_are_refused(tmp_path, make_set, make_split, refusal):
    images = [*make_split(0, 3)[0], *make_split(0, 3, (6, 8, 3))[0]]
    make_set(tmp_path / "mixed" / "1.0.0", {"train": (images, [0] * 6)}, shape=None)
    assert "(8, 6) and (6, 8)" in refusal("mixed", tmp_path)
    assert "--image_size" in refusal("mixed", tmp_path)


def test_images_of_several_sizes_are_brought_to_one(tmp_path, make_set):
    """Halves of one color: the middle square is kept, whichever side is longer, and scaled."""
    wide, tall = np.zeros((8, 24, 3), np.uint8), np.zeros((24, 8, 3), np.uint8)
    wide[:, 12:] = tall[12:] = 200
    make_set(tmp_path / "toy" / "1.0.0", {"train": ([wide, tall] * 2, [0, 1] * 2)}, shape=None)
    both = load("toy", str(tmp_path), image_size=4)
    pictures = np.concatenate([both.train.images, both.test.images])
    half = np.repeat([0, 200], 2)
    across, down = np.broadcast_to(half, (4, 4)), np.broadcast_to(half[:, None], (4, 4))
    found = {(image[..., 0] > 100).tobytes() for image in pictures}  # scaling blurs the border
    assert found == {(each > 100).tobytes() for each in (across, down)}


def test_a_size_is_cached_apart(toy):
    small, whole = load("toy", str(toy), image_size=3), load("toy", str(toy))
    assert small.train.images.shape[1:] == (3, 3, 3)
    assert load("toy@3px", str(toy)).identity == small.identity
    assert whole.train.images.shape[1:] == (8, 6, 3)
    np.testing.assert_array_equal(
        load("toy", str(toy), image_size=3).train.images, small.train.images
    )


def test_a_set_that_does_not_classify_images_is_refused(toy, refusal):
    path = toy / "toy" / "1.0.0" / "features.json"
    features = json.loads(path.read_text())
    text = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}
    features["featuresDict"]["features"]["label"] = text
    path.write_text(json.dumps(features))
    assert "no set of 8-bit images with class labels" in refusal("toy", toy)


def test_failures_are_clear_and_never_touch_the_network(tmp_path, toy, monkeypatch, refusal):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    unprepared = refusal("cifar100", tmp_path)
    assert "make data-cifar100" in unprepared and str(tmp_path) in unprepared
    assert "jaxvision.data.prepare imagenet_resized/32x32" in refusal(
        "imagenet_resized/32x32", tmp_path
    )
    assert "did you mean 'cifar10'?" in refusal("cifar1o", tmp_path)
    unknown = refusal("digitz", tmp_path)
    assert "did you mean 'digits'?" in unknown and "digits, shapes" in unknown
    assert "did you mean" not in refusal("qqqqqq", tmp_path)
    assert "unknown data set" in refusal("", tmp_path / "nowhere")
    assert "unknown data set" in refusal("", toy)
    assert "unknown data set" in refusal("~no_such_user/digits", toy)
    assert refusal("x" * 300, toy).endswith("cannot be looked for: File name too long")


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_shard_is_an_error(toy, fraction, refusal):
    os.truncate(toy / SHARD, int(fraction * (toy / SHARD).stat().st_size))
    assert "damaged" in refusal("toy", toy)


def test_flipped_bytes_are_an_error_or_harmless(toy):
    whole = load("toy", str(toy)).train
    content, errors = (toy / SHARD).read_bytes(), 0
    for fraction in np.linspace(0, 0.99, 30):
        (toy / SHARD).write_bytes(content)
        flip_byte(toy / SHARD, fraction)
        try:
            found = load("toy", str(toy)).train  # a flip in the padding changes nothing
            np.testing.assert_array_equal(found.images, whole.images)
            np.testing.assert_array_equal(found.labels, whole.labels)
        except UserError as error:
            assert "damaged" in str(error)
            errors += 1
    assert errors > 0


def test_missing_and_broken_files_are_errors(toy, refusal):
    info = toy / "toy" / "1.0.0" / "dataset_info.json"
    text = info.read_text()
    info.write_text(text[: len(text) // 2])
    assert "damaged" in refusal("toy", toy)
    info.write_text(text.replace('"30"', '"31"'))
    assert "damaged" in refusal("toy", toy)
    info.write_text(text)
    (toy / SHARD).unlink()
    assert "damaged or incomplete" in refusal("toy", toy)


def test_another_file_format_is_named(toy, refusal):
    edit_info(toy / "toy" / "1.0.0", lambda info: info.update(fileFormat="tfrecord"))
    assert "tfrecord" in refusal("toy", toy) and "array_record" in refusal("toy", toy)


def test_a_set_is_decoded_once(toy, monkeypatch):
    first = load("toy", str(toy))
    monkeypatch.setattr(tfds, "decode", decode_never)
    again = load("toy", str(toy))
    np.testing.assert_array_equal(again.train.images, first.train.images)
    np.testing.assert_array_equal(again.test.labels, first.test.labels)


def test_changed_source_files_are_decoded_again(toy, monkeypatch):
    load("toy", str(toy))
    os.utime(toy / SHARD, ns=(0, 0))
    monkeypatch.setattr(tfds, "decode", decode_never)
    with pytest.raises(AssertionError):
        load("toy", str(toy))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_cache_is_rebuilt(toy, cache_home, capsys, damage):
    first = load("toy", str(toy))
    for path in list(cache_home.iterdir()):
        if damage == "flip":
            flip_byte(path, 0.5)
        else:
            os.truncate(path, 0 if damage == "empty" else path.stat().st_size - 1)
    again = load("toy", str(toy))
    np.testing.assert_array_equal(again.train.images, first.train.images)
    assert capsys.readouterr().err.count("damaged") == 2
    load("toy", str(toy))
    assert capsys.readouterr().err == ""


def test_no_flipped_bit_in_the_cache_goes_unseen(toy, cache_home):
    load("toy", str(toy))
    path = min(cache_home.iterdir())
    content = path.read_bytes()
    for fraction in np.linspace(0, 0.9999, 60):
        flip_byte(path, fraction)
        assert cache.read(path) is None
        path.write_bytes(content)
    assert cache.read(path) is not None


def test_a_cache_that_cannot_be_written_costs_only_time(toy, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load("toy", str(toy)).train.labels) == 30
    assert "cannot write the cache" in capsys.readouterr().err


def test_nothing_partial_is_left_in_the_cache(toy, cache_home):
    load("toy", str(toy))
    assert len(list(cache_home.iterdir())) == 2
    assert not list(cache_home.glob("*.partial"))


def only_split(source, target, split):
    """Copy a real set's test split as the training split of a set of its own: cheap to decode."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(f"*-{split}.*", "*-train.*"))
    name = source.parent.name
    shard = f"{name}-{{}}.array_record-00000-of-00001"
    shutil.copyfile(source / shard.format(split), target / shard.format("train"))

    def edit(info):
        info["splits"] = [dict(s, name="train") for s in info["splits"] if s["name"] == split]

    edit_info(target, edit)


# Counts by class of the published test sets, and the mean and deviation of a pixel in 0..1. The
# CIFAR-10 at hand may be a re-encoding: its moments are held to two digits only.
KNOWN = {
    "mnist": ([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], 0.13251, 0.31048, 1e-5),
    "cifar10": ([1000] * 10, 0.47658, 0.25172, 5e-3),
}


@pytest.mark.parametrize("name", KNOWN)
def test_published_numbers_of_real_test_sets(tfds_data_dir, tmp_path, name):
    real_sets = Path(tfds_data_dir)
    versions = sorted((real_sets / name).glob("*.*.*"))
    if not versions:
        pytest.skip(f"{name} is not prepared in {tfds_data_dir}")
    only_split(versions[-1], tmp_path / name / versions[-1].name, "test")
    splits = load(name, str(tmp_path))
    counts, mean, std, tolerance = KNOWN[name]
    labels = np.concatenate([splits.train.labels, splits.test.labels])
    images = np.concatenate([splits.train.images, splits.test.images])
    assert np.bincount(labels).tolist() == counts
    assert images.mean() / 255 == pytest.approx(mean, abs=tolerance)
    assert images.std() / 255 == pytest.approx(std, abs=tolerance)


@pytest.mark.parametrize("name", ["cifar10", "mnist", "tiny_imagenet20_32px"])
def test_ordinary_files_are_read_as_by_tfds_itself(tfds_data_dir, name):
    """Gray and RGB files need no conversion: the bits are those of TFDS's own decoder."""
    import tensorflow_datasets

    for directory in sorted((Path(tfds_data_dir) / name).glob("*.*.*")):
        builder = tensorflow_datasets.builder_from_directory(directory)
        reference = builder.as_data_source(split="train").__getitems__(list(range(200)))
        source = Source(str(directory), "train", "image", "label")
        images, labels = source.read(range(200))
        np.testing.assert_array_equal(images, [example["image"] for example in reference])
        assert labels.tolist() == [example["label"] for example in reference]


def test_a_set_unknown_to_tfds_is_read_without_noise(tfds_data_dir, caplog, capfd):
    if not (Path(tfds_data_dir) / "tiny_imagenet20_32px").is_dir():
        pytest.skip(f"tiny_imagenet20_32px is not prepared in {tfds_data_dir}")
    splits = load("tiny_imagenet20_32px", tfds_data_dir)
    assert splits.train.images.shape == (10_000, 32, 32, 3)
    assert splits.test.images.shape == (1_000, 32, 32, 3)
    assert np.bincount(splits.train.labels).tolist() == [500] * 20
    assert splits.num_classes == 20 and splits.class_names[0] == "goldfish"
    assert caplog.records == []
    assert all(line.startswith("decoding") for line in capfd.readouterr().err.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("name, balance", [("cifar10", [5000] * 10), ("mnist", None)])
def test_whole_real_sets(tfds_data_dir, monkeypatch, name, balance):
    if not (Path(tfds_data_dir) / name).is_dir():
        pytest.skip(f"{name} is not prepared in {tfds_data_dir}")
    splits = load(name, tfds_data_dir)
    balance = balance or [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(splits.train.labels).tolist() == balance
    monkeypatch.setattr(tfds, "decode", decode_never)
    np.testing.assert_array_equal(load(name, tfds_data_dir).train.images, splits.train.images)
