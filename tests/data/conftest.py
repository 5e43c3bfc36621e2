"""Tiny prepared sets, made here as TFDS makes them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvision.data import load
from jaxvision.types import UserError


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory, monkeypatch):
    """Keep every test out of the user's own cache."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "jaxvision" / "data"


def encoded(picture: Image.Image, kind: str = "png", **options) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def write_rows(directory: Path, splits: dict, features: dict, supervised=None, shards=1) -> Path:
    """Prepare a set as TFDS does, without TensorFlow: ``splits`` maps names to rows, dicts.

    A row whose image is bytes keeps them as they are. ``shards`` is the number of files a split.
    """
    import tensorflow_datasets as tfds

    described = tfds.features.FeaturesDict(features)
    directory.mkdir(parents=True)
    name, version = directory.parts[-2:]
    for split, rows in splits.items():
        for shard in reversed(range(shards)):
            path = directory / f"{name}-{split}.array_record-{shard:05}-of-{shards:05}"
            write_records(path, [serialized(described, row) for row in part(rows, shard, shards)])
    described.save_config(directory)
    info = {
        "name": name,
        "version": version,
        "fileFormat": "array_record",
        "splits": [
            {
                "name": split,
                "shardLengths": [str(len(part(rows, i, shards))) for i in range(shards)],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": "1",
            }
            for split, rows in splits.items()
        ],
    }
    if supervised:
        elements = [{"featureKey": key} for key in supervised]
        info["supervisedKeys"] = {"tuple": {"items": elements}}
    (directory / "dataset_info.json").write_text(json.dumps(info))
    return directory


def part(rows: list, shard: int, shards: int) -> list:
    return rows[len(rows) * shard // shards : len(rows) * (shard + 1) // shards]


def serialized(described, row: dict) -> bytes:
    """Return an example as TFDS stores it."""
    opened = {k: io.BytesIO(v) if isinstance(v, bytes) else v for k, v in row.items()}
    return described.serialize_example(opened)


def write_records(path: Path, records: list[bytes]) -> None:
    """Write an array_record file."""
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def write_set(
    directory: Path, splits: dict, shape=(8, 6, 3), names=("cat", "dog"), label_key="label", **how
) -> Path:
    """Prepare a set of PNG files: ``splits`` maps names to (images, labels).

    A shape of None lets the images differ in size.
    """
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=shape or (None, None, 3)),
        label_key: tfds.features.ClassLabel(names=names),
    }
    rows = {
        split: [{"image": picture(i), label_key: int(k)} for i, k in zip(*data, strict=True)]
        for split, data in splits.items()
    }
    return write_rows(directory, rows, features, **how)


def picture(image: np.ndarray) -> bytes:
    return encoded(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image))


def random_split(seed: int, count: int, shape=(8, 6, 3)) -> tuple[np.ndarray, np.ndarray]:
    """Return random images and labels, both classes alike."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), np.arange(count) % 2


@pytest.fixture
def toy(tmp_path) -> Path:
    """Return a data_dir that holds ``toy/1.0.0``: 30 training and 12 test images."""
    splits = {"train": random_split(0, 30), "test": random_split(1, 12)}
    write_set(tmp_path / "sets" / "toy" / "1.0.0", splits)
    return tmp_path / "sets"


@pytest.fixture(scope="session")
def make_set():
    return write_set


@pytest.fixture(scope="session")
def make_rows():
    return write_rows


@pytest.fixture(scope="session")
def make_file():
    return encoded


@pytest.fixture(scope="session")
def make_records():
    return write_records


@pytest.fixture
def refusal():
    """Return ``refusal(name, data_dir)``: the one line that ``load`` fails with."""

    def line(name, data_dir=None) -> str:
        with pytest.raises(UserError) as caught:
            load(name, None if data_dir is None else str(data_dir))
        assert str(caught.value).isprintable()  # one line, and nothing that moves the cursor
        return str(caught.value)

    return line


@pytest.fixture(scope="session")
def make_split():
    return random_split
