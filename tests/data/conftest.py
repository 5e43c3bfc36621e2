"""Tiny prepared sets, made here as TFDS makes them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory, monkeypatch):
    """Keep every test out of the user's own cache."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "jaxvision" / "data"


def write_set(
    directory: Path, splits: dict, shape=(8, 6, 3), names=("cat", "dog"), label_key="label"
) -> Path:
    """Prepare a set as TFDS does, without TensorFlow: ``splits`` maps names to (images, labels).

    A shape of None lets the images differ in size. Images are stored as PNG: losslessly.
    """
    import tensorflow_datasets as tfds
    from array_record.python.array_record_module import ArrayRecordWriter

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=shape or (None, None, 3)),
            label_key: tfds.features.ClassLabel(names=names),
        }
    )
    directory.mkdir(parents=True)
    name, version = directory.parts[-2:]
    for split, (images, labels) in splits.items():
        path = directory / f"{name}-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for image, label in zip(images, labels, strict=True):
            png = io.BytesIO()
            Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(png, "png")
            png.seek(0)
            writer.write(features.serialize_example({"image": png, label_key: int(label)}))
        writer.close()
    features.save_config(directory)
    info = {
        "name": name,
        "version": version,
        "fileFormat": "array_record",
        "splits": [
            {
                "name": split,
                "shardLengths": [str(len(labels))],
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "numBytes": "1",
            }
            for split, (_, labels) in splits.items()
        ],
    }
    (directory / "dataset_info.json").write_text(json.dumps(info))
    return directory


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
def make_split():
    return random_split
