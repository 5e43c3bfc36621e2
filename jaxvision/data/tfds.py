"""Image-classification sets of TensorFlow Datasets, read from prepared files without TensorFlow.

A prepared set is a directory ``<data_dir>/<name>[/<config>]/<version>``. It is found here and
opened with ``tfds.builder_from_directory``, which runs none of the set's own code and never asks
the network (a builder made by name may): opening is fast, and what is missing is missing at once.
"""

import dataclasses
import difflib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision import runtime
from jaxvision.data import cache
from jaxvision.data.dataset import Dataset, Splits, hold_out
from jaxvision.data.decode import Source, damaged, decode, quiet
from jaxvision.data.embedded import EMBEDDED
from jaxvision.types import UserError

_FORMAT = 1  # raise it when the meaning of the cached arrays changes


def load(name: str, data_dir: str | None = None, image_size: int | None = None) -> Splits:
    """Load a prepared set, decoding it at most once: from then on it is a map of a cached file.

    The test split is ``test``, or ``validation`` where there is no test split with labels; where
    there is neither, every fifth image of each class of ``train`` is held out (a notice says so).

    Args:
      name: ``cifar10``, ``cifar10/3.0.2`` or ``imagenet_resized/32x32`` below ``data_dir`` (whether
        TFDS knows the name or not; the newest version wins), or a path to a prepared directory.
      data_dir: default ``$TFDS_DATA_DIR``, then ``~/tensorflow_datasets``.
      image_size: pixels; each image is scaled until its shorter side has so many, and the middle of
        the longer one is kept. None takes images as they are.

    Raises:
      UserError: the set is unknown, not prepared, no image-classification set, of images of several
        sizes, damaged, or too large for the disk of the cache.
    """
    try:
        directory = _find(name, data_root(data_dir))
    except OSError as error:  # too long a name, a directory that must not be read
        raise UserError(f"the data set '{name}' cannot be looked for: {error.strerror}") from error
    tfds = _tfds()
    try:
        builder = tfds.builder_from_directory(directory)
    except Exception as error:  # whatever the JSON parser, protobuf or TFDS raise: a broken file
        raise damaged(directory, error) from error
    image, label = _features(tfds, builder.info)
    if "train" not in builder.info.splits:
        raise UserError(f"the data set '{name}' ({directory}) has no training split")
    source = Source(str(directory), "train", image, label, image_size)
    train = _split(source)
    if train is None:
        raise UserError(f"the training images of '{name}' ({directory}) have no labels")
    class_names = tuple(builder.info.features[label].names)
    for split in ("test", "validation"):
        if split in builder.info.splits and builder.info.splits[split].num_examples:
            test = _split(dataclasses.replace(source, split=split))
            if test is not None:
                return Splits(name, train, test, class_names)
    if train.images.nbytes > runtime.usable_memory() / 2:
        raise UserError(
            f"{name} has no labelled test split, and with {train.images.nbytes:,} bytes it is too"
            " large for one to be held out in memory: choose a smaller --image_size, or prepare it"
            " with a test split"
        )
    cache.notice(f"{name} has no labelled test split: every fifth training image is held out")
    return Splits(name, *hold_out(train), class_names)


def data_root(data_dir: str | None = None) -> Path:
    """Return the directory of prepared sets: the argument, ``$TFDS_DATA_DIR`` or TFDS's default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(os.path.expanduser(chosen))


def _tfds() -> Any:
    """Import TensorFlow Datasets, late: it is slow and only these sets need it."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"this data set needs TensorFlow Datasets ({error}): pip install tensorflow-datasets"
            " array_record importlib_resources pillow"
        ) from error
    return tensorflow_datasets


def _find(name: str, root: Path) -> Path:
    """Return the directory that holds the files of one version of the set."""
    if not name:
        raise _missing(name, root)
    base = Path(os.path.expanduser(name)) if name.startswith((".", "~")) else root / name
    if _is_version(base):
        return base
    # An interrupted build leaves 1.0.0.incompleteABC.
    numbered = [child for child in _children(base) if re.fullmatch(r"\d+\.\d+\.\d+", child.name)]
    versions = [child for child in numbered if _is_version(child)]
    if versions:
        return max(versions, key=lambda path: [int(n) for n in path.name.split(".")])
    configs = [child for child in _children(base) if any(map(_is_version, _children(child)))]
    if len(configs) == 1:
        return _find(str(configs[0].absolute()), root)
    if configs:
        names = ", ".join(f"{name}/{config.name}" for config in configs)
        raise UserError(f"the data set '{name}' comes in several forms, name one: {names}")
    raise _missing(name, root)


def _is_version(directory: Path) -> bool:
    return (directory / "dataset_info.json").is_file()


def _children(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _missing(name: str, root: Path) -> UserError:
    """Tell an unprepared set from a name nobody knows."""
    base = name.split("/")[0]
    known = _tfds().list_builders(with_community_datasets=False)
    if base in known:
        # A pattern rule of make cannot carry the slash of a config.
        command = "make data-" if name == base else "python -m jaxvision.data.prepare "
        return UserError(
            f"the data set '{name}' is not prepared in {root}: run `{command}{name}`, or point"
            " --data_dir or TFDS_DATA_DIR at the directory that holds it"
        )
    prepared = [child.name for child in _children(root) if child.is_dir()]
    near = difflib.get_close_matches(base, [*EMBEDDED, *prepared, *known], n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UserError(
        f"unknown data set '{name}': {hint}Without a download there are {', '.join(EMBEDDED)};"
        f" image-classification sets of TensorFlow Datasets work after `make data-<name>`"
        f" (looked in {root})"
    )


def _features(tfds: Any, info: Any) -> tuple[str, str]:
    """Return the names of the image and of the label among the set's features."""
    features = dict(info.features.items()) if hasattr(info.features, "items") else {}
    images = [k for k, v in features.items() if isinstance(v, tfds.features.Image)]
    labels = [k for k, v in features.items() if isinstance(v, tfds.features.ClassLabel)]
    image, label = (info.supervised_keys or ([*images, ""][0], [*labels, ""][0]))[:2]
    if image not in images or label not in labels or features[image].np_dtype != np.uint8:
        raise UserError(
            f"the data set '{info.full_name}' is no set of 8-bit images with class labels; its"
            f" features are {', '.join(features)}"
        )
    return image, label


def _split(source: Source) -> Dataset | None:
    """Return one split from the cache, or decode it and fill the cache; None without labels."""
    builder, split = source.builder, source.split
    with quiet():
        try:
            _ = source.opened
            key = _fingerprint(builder, split)
        except NotImplementedError as error:
            raise UserError(
                f"{source.directory} holds {builder.info.file_format.value} files, which only"
                " TensorFlow reads: prepare the set as array_record with `make data-<name>`"
            ) from error
        except Exception as error:  # array_record raises RuntimeError, the file system OSError
            raise damaged(source.directory, error) from error
        stem = builder.info.full_name.replace("/", "-")
        scaled = "" if source.size is None else f"-{source.size}px"
        path = cache.directory() / f"{stem}-{split}{scaled}-{key}.npy2"
        data = cache.read(path)
        if data is None:
            if source.first_label() < 0:  # before 100,000 images are decoded for nothing
                return None
            data = decode(source, path)
    return data if data.labels.min() >= 0 else None  # TFDS marks withheld labels by -1


def _fingerprint(builder: Any, split: str) -> str:
    """Return a key that changes with the source files' names, sizes, times and metadata."""
    shards = [Path(path) for path in builder.info.splits[split].filepaths]
    parts: list[Any] = [_FORMAT, split]
    parts += [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in shards]
    metadata = Path(builder.data_path)
    parts += [
        (metadata / name).read_text("utf-8") for name in ("dataset_info.json", "features.json")
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
