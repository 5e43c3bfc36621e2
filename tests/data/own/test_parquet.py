"""Parquet files as the Hugging Face Hub keeps them, and as pandas writes them."""

import builtins
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvision import runtime
from jaxvision.data import cache, load
from jaxvision.data.own.parquet import Rows

pyarrow = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ["plane", "bird"]


@pytest.fixture
def write(make_file, noise):
    """Return ``write(path, seeds, features, ...)``: row i shows the noise of its seed."""

    def written(path, seeds, labels=None, features=None, rows=7, **columns):
        path.parent.mkdir(parents=True, exist_ok=True)
        files = [make_file(Image.fromarray(noise(seed))) for seed in seeds]
        table = {
            "image": [{"bytes": file, "path": f"{i}.png"} for i, file in enumerate(files)],
            "label": [i % 2 for i in range(len(files))] if labels is None else labels,
        } | columns
        table = pyarrow.table(
            {name: column for name, column in table.items() if column is not None}
        )
        if features is not None:
            described = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": described})
        pq.write_table(table, path, row_group_size=rows)
        return str(path)

    return written


def classes(*labels):
    return {"image": {"_type": "Image"}} | {
        label: {"names": NAMES, "_type": "ClassLabel"} for label in labels
    }


def test_a_folder_as_the_hub_has_it(tmp_path, write, noise):
    top = tmp_path / "mine"
    for shard in (0, 1):
        seeds = range(10 * shard, 10 * shard + 10)
        write(
            top / f"data/train-0000{shard}-of-00002-0a1b.parquet", seeds, features=classes("label")
        )
    write(top / "data/test-00000-of-00001.parquet", range(30, 34), features=classes("label"))
    (top / "README.md").write_text("a card")
    (top / ".cache").mkdir()
    write(top / ".cache/train-00000-of-00001.parquet", range(3))
    splits = load(str(top))
    assert splits.class_names == ("plane", "bird")
    np.testing.assert_array_equal(splits.train.images, [noise(i) for i in range(20)])
    np.testing.assert_array_equal(splits.train.labels, [0, 1] * 10)
    np.testing.assert_array_equal(splits.test.images, [noise(i) for i in range(30, 34)])
    assert (splits.identity.name, splits.identity.label) == ("mine", "")


@pytest.mark.parametrize(
    "train, test",
    [
        ("train.parquet", "test.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("plain_text/train/0000.parquet", "plain_text/validation/0000.parquet"),
        ("mine-train.parquet", "mine-val.parquet"),
    ],
)
def test_splits_are_said_by_files_or_folders(tmp_path, write, train, test):
    write(tmp_path / "m" / train, range(6))
    write(tmp_path / "m" / test, range(4))
    splits = load(str(tmp_path / "m"))
    assert (len(splits.train.labels), len(splits.test.labels)) == (6, 4)


def test_one_file_is_held_out_from(tmp_path, write, noise):
    splits = load(write(tmp_path / "train-00000-of-00004.parquet", range(20)))
    images = np.concatenate([splits.train.images, splits.test.images])
    assert {i.tobytes() for i in images} == {noise(i).tobytes() for i in range(20)}
    assert np.bincount(splits.test.labels).tolist() == [2, 2]


def test_texts_and_plain_bytes_are_read_too(tmp_path, write, make_file, noise):
    labels = ["frame12", "frame2"] * 5
    files = [make_file(Image.fromarray(noise(i))) for i in range(10)]
    path = write(tmp_path / "m.parquet", range(10), labels, image=files)
    splits = load(path)
    assert splits.class_names == ("frame2", "frame12")
    assert np.bincount(splits.train.labels).tolist() == [4, 4]
    coded = pyarrow.array(labels).dictionary_encode()
    again = load(write(tmp_path / "coded.parquet", range(10), coded))
    np.testing.assert_array_equal(again.train.images, splits.train.images)


def test_several_labels_are_listed_and_the_name_chooses(tmp_path, write, refusal):
    path = tmp_path / "m.parquet"
    features = classes("label", "coarse_label")
    coarse = [0] * 4 + [1] * 6
    write(path, range(10), coarse_label=coarse, features=features)
    assert refusal(str(path)) == (
        f"'{path}' has no single column of labels: name one, {path}@label, {path}@coarse_label"
    )
    chosen = load(f"{path}@coarse_label")
    assert chosen.identity.label == "coarse_label"
    assert np.bincount(chosen.test.labels).tolist() == [1, 1]
    assert f"no column of labels 'hue': name one, {path}@label" in refusal(f"{path}@hue")


def test_a_column_called_label_goes_before_others_where_nothing_is_described(tmp_path, write):
    splits = load(write(tmp_path / "m.parquet", range(10), number=list(range(10))))
    assert splits.class_names == ("0", "1") and splits.identity.label == "label"


def test_withheld_labels_are_judged_by_nobody(tmp_path, write, capsys):
    write(tmp_path / "m/train.parquet", range(6))
    write(tmp_path / "m/test.parquet", range(4), labels=[-1] * 4)
    write(tmp_path / "m/validation.parquet", range(5))
    assert len(load(str(tmp_path / "m")).test.labels) == 5
    assert "left out: the test split, whose labels are withheld" in capsys.readouterr().err


@pytest.mark.parametrize(
    "columns, said",
    [
        ({"labels": [0, 1, None, 1]}, "1 of 4 examples of the train split of '{}' have no label"),
        ({"labels": [-1] * 4}, "the training images of '{}' have no labels"),
        ({"labels": [0, 1, 2, 1], "features": classes("label")}, "has label 2, but it names 2"),
        (
            {"labels": np.uint64([2**64 - 1, 1, 0, 1])},
            "holds the label 18446744073709551615, which",
        ),
        ({"image": None}, "has no columns of image files (a struct of bytes and path, or bytes)"),
        ({"image": [[1, 2]] * 4}, "has no columns of image files"),
        ({"label": None}, "has no single column of labels: name one, none can be one"),
        ({"image": [{"bytes": None, "path": "a"}] * 4}, "(the row holds no bytes of an image)"),
        ({"image": [b"x"] * 4}, "row 0 of {} (its content is of no image format"),
    ],
)
def test_a_file_that_cannot_be_learned_from_is_one_line(tmp_path, write, refusal, columns, said):
    if columns.get("image") == [{"bytes": None, "path": "a"}] * 4:
        kind = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
        columns = {"image": pyarrow.array(columns["image"], kind)}
    path = write(tmp_path / "m.parquet", range(4), **columns)
    assert said.format(path) in refusal(path)


def test_a_truncated_image_is_named_by_its_row(tmp_path, write, make_file, noise, refusal):
    files = [make_file(Image.fromarray(noise(i))) for i in range(10)]
    files[8] = files[8][:100]
    path = write(tmp_path / "m.parquet", range(10), image=files)
    assert f"this file cannot be read as an image: row 8 of {path} (" in refusal(path)


def test_folders_with_missing_or_other_files_are_one_line(tmp_path, write, refusal):
    top = tmp_path / "m"
    write(top / "train-00000-of-00003.parquet", range(4))
    write(top / "train-00002-of-00003.parquet", range(4))
    assert "holds 2 files of the 3 that 'train-00000-of-00003.parquet' is one of" in refusal(
        str(top)
    )
    write(top / "train-00001-of-00003.parquet", range(4), label=None, other=[1] * 4)
    assert "has no column 'label', which other files have" in refusal(str(top))
    write(top / "train-00001-of-00003.parquet", range(4), image=None, other=[b""] * 4)
    assert "has no column 'image', which other files have" in refusal(str(top))
    for shard in (1, 0):  # texts after numbers, then before them
        write(top / f"train-0000{shard}-of-00003.parquet", range(4), labels=["x", "y"] * 2)
        assert "are integers in one file and texts in another" in refusal(str(top))
    for config in ("large", "small"):
        write(tmp_path / "forms" / config / "train.parquet", range(4))
    assert "in several folders, name one: 'large', 'small'" in refusal(str(tmp_path / "forms"))
    write(tmp_path / "judged" / "test.parquet", range(4))
    assert "and no training split" in refusal(str(tmp_path / "judged"))


def test_damage_is_one_line(tmp_path, write, refusal):
    path = write(tmp_path / "m.parquet", range(10))
    content = Path(path).read_bytes()
    for change in (b"", b"text", content[:-20]):
        Path(path).write_bytes(change)
        assert f"'{path}' is no Parquet file, or a damaged one (" in refusal(path)


def test_without_pyarrow_one_line_says_how_to_get_it(tmp_path, write, refusal, monkeypatch):
    path = write(tmp_path / "m.parquet", range(4))
    found = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("pyarrow"):
            raise ImportError("No module named 'pyarrow'")
        return found(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refusal(path) == (
        "Parquet files need pyarrow (No module named 'pyarrow'): pip install pyarrow"
    )


def test_a_large_file_goes_to_disk_group_by_group(tmp_path, write, monkeypatch, refusal):
    path = write(tmp_path / "m.parquet", range(20))
    small = load(path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(cache, "LARGE", 1)
    monkeypatch.setattr(runtime, "usable_cores", lambda: 1)
    large = load(path)
    assert large.identity == small.identity and not large.train.images.flags.writeable
    monkeypatch.setattr(runtime, "usable_memory", lambda: 100)
    assert "bytes in one row group, and a group is read as a whole: write it with" in refusal(path)


def test_what_another_process_gets_is_small(tmp_path, write):
    write(tmp_path / "m.parquet", range(9))
    rows = Rows([tmp_path / "m.parquet"], "image")
    rows.opened(8)
    assert rows.called(8) == f"row 8 of {tmp_path / 'm.parquet'}"
    assert rows.__getstate__()["_held"] == (-1, None)
