"""Folders of class folders: every image once, under the class that a person would give it."""

import json
import os
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from jaxvision import runtime
from jaxvision.data import cache, forget_identities, identities, load
from jaxvision.data.own import loading


def content(data):
    return [image.tobytes() for image in data.images]


def test_a_fifth_of_every_class_is_held_out_and_all_else_is_learned_from(photos, noise):
    splits = load(str(photos))
    assert splits.class_names == ("cat", "dog")
    assert np.bincount(splits.train.labels).tolist() == [8, 8]
    assert np.bincount(splits.test.labels).tolist() == [2, 2]
    # They are stored class by class, and a few of them still show every class.
    assert np.bincount(splits.train.sample(6).labels).tolist() == [3, 3]
    seen = {}
    for data in (splits.train, splits.test):
        assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int32)
        seen |= dict(zip(content(data), data.labels.tolist(), strict=True))
    assert seen == {noise(i).tobytes(): int(i >= 10) for i in range(20)}


def test_the_same_files_elsewhere_give_the_same_splits(photos, tmp_path, make_folder, noise):
    """Whatever the order in which they were written, and their times."""
    files = {f"{'cat' if i < 10 else 'dog'}/{i}.png": noise(i) for i in reversed(range(20))}
    other = make_folder(tmp_path / "elsewhere" / "photos", files)
    for path in other.rglob("*.png"):
        os.utime(path, ns=(0, 0))
    one, two = load(str(photos)), load(str(other))
    assert one.identity == two.identity
    np.testing.assert_array_equal(one.test.images, two.test.images)


def test_folders_of_splits_are_taken_as_they_are(tmp_path, make_folder, noise, capsys):
    files = {f"Train/{k}/{i}.png": noise(i) for k in "ab" for i in range(3)}
    files |= {f"valid/{k}/{i}.png": noise(9 + i) for k in "ab" for i in range(2)}
    top = make_folder(tmp_path / "mine", files | {"unlabeled/x/1.png": noise(50)})
    splits = load(str(top))
    assert (len(splits.train.labels), len(splits.test.labels)) == (6, 4)
    assert content(splits.test)[:2] == [noise(9).tobytes(), noise(10).tobytes()]
    assert "left out: the folder 'unlabeled'" in capsys.readouterr().err
    # A test split goes before a validation split.
    make_folder(top, {f"test/{k}/1.png": noise(77) for k in "ab"})
    assert len(load(str(top)).test.labels) == 2
    assert "left out: the folder 'unlabeled'; the folder 'valid'" in capsys.readouterr().err


def test_a_class_may_be_called_train(tmp_path, make_folder, noise):
    """A folder is a split where it holds folders of images and no images."""
    files = {f"{k}/{i}.png": noise(i) for k in ("train", "car", "test") for i in range(5)}
    assert load(str(make_folder(tmp_path / "m", files))).class_names == ("car", "test", "train")


def test_names_are_counted_as_people_count(tmp_path, make_folder, noise):
    """Class 10 after class 2, frame 12 after frame 2: the order decides labels and the digest."""
    files = {f"train/Class{k}/Frame{i}.png": noise(i) for k in (1, 2, 10) for i in range(1, 13)}
    files |= {f"test/Class{k}/a.png": noise(0) for k in (1, 2, 10)}
    splits = load(str(make_folder(tmp_path / "m", files)))
    assert splits.class_names == ("Class1", "Class2", "Class10")
    assert content(splits.train)[:12] == [noise(i).tobytes() for i in range(1, 13)]


def test_case_and_accents_neither_split_a_class_nor_join_two(tmp_path, make_folder, noise, refusal):
    composed = "\u00e9t\u00e9 \u65e5\u672c"
    apart = unicodedata.normalize("NFD", composed)  # as files from a Mac have it
    files = {f"train/{composed}/{i}.png": noise(i) for i in range(3)}
    files |= {f"test/{apart}/{i}.PNG": noise(i) for i in range(2)}
    files |= {
        f"{split}/b/{i}.JPG": noise(i, (8, 6, 3)) for split in ("train", "test") for i in (1,)
    }
    top = make_folder(tmp_path / "m", files)
    splits = load(str(top))
    assert splits.num_classes == 2
    assert np.bincount(splits.test.labels).tolist() == [1, 2]
    make_folder(top, {"test/B/1.png": noise(1)})
    line = refusal(str(top))
    assert "the class folders 'train/b' and 'test/B'" in line
    assert "differ in case or accents alone: give every class one name" in line


def test_what_is_hidden_changes_nothing_and_what_is_no_image_is_said(photos, noise, capsys):
    """Field-wings 38: no label changes, no file is counted twice, what is left out is named."""
    before = load(str(photos)).identity
    hidden = photos / ".ipynb_checkpoints"
    hidden.mkdir()
    Image.fromarray(noise(1)).save(hidden / "1-checkpoint.png")
    (photos / ".DS_Store").write_bytes(b"\0\1")
    (photos / "cat" / ".DS_Store").write_bytes(b"\0\1")
    (photos / "cat" / "._1.png").write_bytes(b"\0\5")
    (photos / "__MACOSX" / "cat").mkdir(parents=True)
    (photos / "dog" / "notes.txt").write_text("a dog")
    (photos / "README.md").write_text("mine")
    capsys.readouterr()
    forget_identities()
    assert load(str(photos)).identity == before
    line = capsys.readouterr().err.splitlines()[-1]
    assert "1 file beside class folders ('README.md')" in line
    assert "1 file that is no image ('dog/notes.txt')" in line


def test_what_is_found_is_said_once_and_recorded(photos, capsys):
    forget_identities()
    splits = load(f"{photos}")
    load(f"{photos}")
    digest = splits.identity.digest
    lines = [line for line in capsys.readouterr().err.splitlines() if "classes" in line]
    assert lines == [
        f"jaxvision: {photos}: 2 classes (cat 10, dog 10), 16 training and 4 test images (a fifth"
        f" of every class, held out) of 8 x 6 x 3; content {digest}"
    ]
    (known,) = identities()
    assert (
        known.recorded()
        == json.loads(json.dumps(known.recorded()))
        == {
            "name": "photos",
            "version": "",
            "label": "",
            "digest": digest,
            "train": 16,
            "test": 4,
            "classes": ["cat", "dog"],
        }
    )


def test_every_file_is_read_or_named_at_the_start(photos, noise, refusal):
    """Field-wings 38: by its path, in one line, before anything is trained."""
    file = photos / "cat" / "3.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    line = refusal(str(photos))
    assert line.startswith(f"this file cannot be read as an image: {file} (")
    assert line.endswith("); mend it, or take it away")
    dogs = {path: path.read_bytes() for path in (photos / "dog").iterdir()}
    for dog, sound in dogs.items():
        dog.write_bytes(sound[:-60])
    assert re.match("[89] files, such as this one, cannot be read", refusal(str(photos)))
    for dog, sound in dogs.items():
        dog.write_bytes(sound)
    file.write_bytes(b"<html>not found</html>")
    assert f"{file} (its content is of no image format that is read here)" in refusal(str(photos))
    (photos / "dog" / "9.jpeg").write_bytes(b"")
    assert "2 files, such as this one, cannot be read as an image:" in refusal(str(photos))
    file.unlink()
    file.symlink_to("nowhere.png")
    (photos / "dog" / "9.jpeg").unlink()
    assert f"{file} (no file is there, or it is a link that leads nowhere)" in refusal(str(photos))
    file.unlink()
    os.mkfifo(file)  # opening it would wait forever
    assert "no file is there" in refusal(str(photos))
    file.unlink()
    assert len(load(str(photos)).train.labels) == 15


def test_names_that_are_no_text_are_escaped(tmp_path, make_folder, noise, capsys):
    """A record is JSON, and a line moves no cursor."""
    files = {
        f"{k}/{i}.png": noise(i) for k in ("a\x1b[2J", os.fsdecode(b"b\xff")) for i in range(5)
    }
    splits = load(str(make_folder(tmp_path / "m", files)))
    assert splits.class_names == ("a\\x1b[2J", "b\\udcff")
    json.dumps(splits.identity.recorded()).encode("utf-8")
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())


def test_links_are_followed_and_never_in_circles(photos, tmp_path, noise):
    before = load(str(photos)).identity
    (photos / "self").symlink_to(photos)
    (photos / "cat" / "up").symlink_to("..")
    (photos / "cat" / "itself").symlink_to("itself")
    assert load(str(photos)).identity.digest == before.digest
    # A link to elsewhere is a folder like any other.
    (tmp_path / "birds").mkdir()
    for i in range(5):
        Image.fromarray(noise(100 + i)).save(tmp_path / "birds" / f"{i}.png")
    (photos / "bird").symlink_to(tmp_path / "birds")
    assert load(str(photos)).class_names == ("bird", "cat", "dog")


def test_images_of_several_sizes_are_refused_or_scaled(photos, noise, refusal):
    Image.fromarray(noise(0, (12, 9, 3))).save(photos / "dog" / "30.png")
    line = refusal(str(photos))
    assert f"{photos}/cat/0.png (8 x 6) and {photos}/dog/30.png (12 x 9)" in line
    assert f"--dataset={photos}@64px scales all of them" in line and "--image_size=64" in line
    named, asked = load(f"{photos}@4px"), load(str(photos), image_size=4)
    assert named.train.images.shape[1:] == (4, 4, 3)
    assert named.identity == asked.identity
    with pytest.raises(Exception, match="ask for two sizes: say one"):
        load(f"{photos}@4px", image_size=5)


@pytest.mark.parametrize(
    "files, said",
    [
        ({"1.png": 1, "2.png": 2}, "holds images but no class folders"),
        ({"cat/1.png": 1}, "holds one class, 'cat', and there is nothing to tell apart"),
        ({"mine/cat/1.png": 1, "mine/dog/1.png": 2}, "Then say --dataset={top}/mine"),
        ({"a/1.png": 1, "b/1.heic": b"x"}, "'b' in '{top}' holds no images, only 1 other file"),
        ({"test/a/1.png": 1, "test/b/1.png": 2}, "'test' with class folders and no 'train'"),
        ({"a/1.png": 1, "b/1.png": 2}, "no class has a second image that could be held out"),
        ({"a/1.txt": b"x"}, "holds no images in class folders, no Parquet files and no prepared"),
        ({"a.npz": b"x"}, "did you mean '{top}/a.npz'?"),
        (
            {"train/a/1.png": 1, "training/b/1.png": 2},
            "holds 'train', 'training': which of them is meant? Keep one",
        ),
        (
            {"train/a/1.png": 1, "train/b/1.png": 2, "test/c/1.png": 3, "test/d/1.png": 3},
            "have no class in common: give both splits images",
        ),
    ],
)
def test_a_folder_that_cannot_be_learned_from_is_one_line(
    tmp_path, make_folder, noise, refusal, files, said
):
    made = {k: v if isinstance(v, bytes) else noise(v) for k, v in files.items()}
    top = make_folder(tmp_path / "m", made)
    assert said.format(top=top) in refusal(str(top))


def test_a_class_only_in_test_is_said(tmp_path, make_folder, noise, capsys):
    files = {f"train/{k}/{i}.png": noise(i) for k in "ab" for i in range(3)}
    top = make_folder(tmp_path / "m", files | {f"test/{k}/1.png": noise(7) for k in "abc"})
    splits = load(str(top))
    assert splits.num_classes == 3 and splits.test.labels.tolist() == [0, 1, 2]
    line = capsys.readouterr().err
    assert "1 of the 3 classes among the test images" in line and "such as 'c'" in line


def test_what_a_folder_does_not_have_is_one_line(photos, refusal):
    assert "leave out @hue" in refusal(f"{photos}@hue")
    assert "data of your own, which has no version 1.0.0" in refusal(f"{photos}:1.0.0")
    assert "of no pixel: at least name@1px" in refusal(f"{photos}@0px")
    (photos.parent / "a@b").mkdir()
    assert "rename it" in refusal(f"{photos.parent}/a@b")
    assert "nothing is at" in refusal(f"{photos.parent}/nowhere")
    (photos.parent / "mine.zip").write_bytes(b"PK")
    assert "is nothing that can be learned from: that is a folder" in refusal(
        f"{photos.parent}/mine.zip"
    )


def test_a_path_without_its_dot_is_told(photos, refusal, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert "of what lies in this directory say './photos'" in refusal("photos")
    assert load("./photos").name == "./photos"


def test_a_folder_below_the_data_directory_goes_by_its_name(photos):
    """A path there becomes that name before anything is looked for."""
    root = str(photos.parent)
    assert load("photos", root).identity == load(str(photos)).identity


def test_a_folder_is_decoded_once_until_a_file_changes(photos, noise, monkeypatch, cache_home):
    first = load(str(photos)).identity
    assert len(list(cache_home.iterdir())) == 2

    def never(*_):
        raise AssertionError("decoded although the cache should hold it")

    with monkeypatch.context() as patch:
        patch.setattr(loading, "decode", never)
        assert load(str(photos)).identity == first
        os.utime(photos / "cat" / "0.png", ns=(0, 0))
        with pytest.raises(AssertionError):
            load(str(photos))
    Image.fromarray(noise(500)).save(photos / "cat" / "0.png")
    assert load(str(photos)).identity.digest != first.digest


def test_a_large_folder_goes_to_disk_and_is_the_same(photos, tmp_path, monkeypatch):
    small = load(str(photos))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(cache, "LARGE", 1)
    monkeypatch.setattr(runtime, "usable_cores", lambda: 1)
    large = load(str(photos))
    assert large.identity == small.identity
    assert not large.train.images.flags.writeable  # a map of the file
    np.testing.assert_array_equal(large.train.images, small.train.images)
