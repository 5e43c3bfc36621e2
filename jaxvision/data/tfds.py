"""Image-classification sets of TensorFlow Datasets, read from prepared files without TensorFlow.

A prepared set is a directory ``<data_dir>/<name>[/<config>]/<version>``. It is found here and
opened with ``tfds.builder_from_directory``, which never asks the network (a builder made by name
may): opening is fast, and what is missing is missing at once. None of the set's own code runs: a
description that names classes outside TensorFlow Datasets is refused before it is opened.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxvision import runtime
from jaxvision.data import cache, locate
from jaxvision.data.classes import compare
from jaxvision.data.dataset import Dataset, Splits, hold_out
from jaxvision.data.decode import decode, quiet
from jaxvision.data.identity import Identity, combined
from jaxvision.data.names import SetName
from jaxvision.data.pixels import declared_channels
from jaxvision.data.source import Source, class_names, damaged
from jaxvision.progress import note
from jaxvision.types import UserError

_FORMAT = 2  # raise it when the meaning of the cached arrays changes


class Features(NamedTuple):
    """Which features of a set are learned from.

    Attributes:
      image: name of the image.
      label: name of the class label.
      choice: the label's name again where the set has several; "" where it has one.
    """

    image: str
    label: str
    choice: str


def load(name: SetName, data_dir: str | None = None, image_size: int | None = None) -> Splits:
    """Load a prepared set, decoding it at most once: from then on it is a map of a cached file.

    The test split is ``test``, or ``validation`` where there is no test split with labels; where
    there is neither, every fifth image of each class of ``train`` is held out (a note says so).

    Args:
      name: of a set below ``data_dir`` (whether TFDS knows the name or not), or a path to it.
      data_dir: default ``$TFDS_DATA_DIR``, then ``~/tensorflow_datasets``.
      image_size: pixels; each image is scaled until its shorter side has so many, and the middle of
        the longer one is kept. None takes images as they are.

    Raises:
      UserError: the set is unknown, not prepared, no image-classification set, not what its
        description says, of images of several sizes, damaged, or too large for the disk of the
        cache.
    """
    try:
        directory = locate.find(name, locate.data_root(data_dir))
    except OSError as error:  # too long a name, a directory that must not be read
        raise UserError(
            f"the data set {str(name)!r} cannot be looked for: {error.strerror}"
        ) from error
    builder = _opened(directory)
    features = choose(builder.info, name)
    classes = _checked_classes(builder.info.features[features.label], features.label, name)
    source = Source(str(directory), "train", features.image, features.label, image_size)
    train = _training(source, name)
    test = _judging(source)
    if test is None:
        train, test = _held_out(train.data, name)
    compare(train.data.labels, test.data.labels, classes, str(name))
    digest = combined(train.digest, test.digest, len(classes))
    counts = len(train.data.labels), len(test.data.labels)
    full_name = "/".join(filter(None, (builder.info.name, builder.info.config_name)))
    version = str(builder.info.version)
    identity = Identity(full_name, version, features.choice, digest, *counts)
    return Splits(str(name), train.data, test.data, classes, identity)


def choose(info: Any, name: SetName) -> Features:
    """Return what is learned: what the name chooses, else what the description declares.

    Raises:
      UserError: there are several candidates and neither says which, or there is none.
    """
    tfds = locate.tensorflow_datasets()
    features = dict(info.features.items()) if hasattr(info.features, "items") else {}
    images = [k for k, f in features.items() if isinstance(f, tfds.features.Image)]
    images = [k for k in images if features[k].np_dtype == np.uint8]
    labels = sorted(k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel))
    declared = (info.supervised_keys or ("", ""))[:2]
    if not images or not labels or (declared[0] and declared[0] not in images):
        raise UserError(
            f"the data set {info.full_name!r} is no set of 8-bit images with class labels; its"
            f" features are {_listed(features)}"
        )
    if len(images) > 1 and not declared[0]:
        raise UserError(
            f"the data set {info.full_name!r} has several images and does not say which of them is"
            f" classified: {_listed(images)}"
        )
    image = declared[0] or images[0]
    label = name.label or declared[1] or labels[0]
    if label not in labels or (len(labels) > 1 and not (name.label or declared[1])):
        said = f"no class label {label!r}" if name.label else "no single class label to learn"
        ways = (str(dataclasses.replace(name, label=each)) for each in labels)
        raise UserError(f"the data set {info.full_name!r} has {said}: name one, {_listed(ways)}")
    if declared_channels(features[image].shape) is None:
        raise UserError(
            f"the images of {info.full_name!r} have a declared shape of {features[image].shape}:"
            " height, width and 1 to 4 channels are needed"
        )
    return Features(image, label, label if len(labels) > 1 else "")


def _opened(directory: Path) -> Any:
    """Return the builder of a prepared version, none of whose code is run."""
    tfds = locate.tensorflow_datasets()
    try:
        for path in directory.iterdir():
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise OSError(f"{path.name} is no regular file")  # reading a pipe never ends
        description = directory / "features.json"
        foreign = list(_foreign_classes(json.loads(description.read_text("utf-8"))))
        if not foreign:
            return tfds.builder_from_directory(directory)
    except Exception as error:  # whatever the JSON parser, protobuf or TFDS raise: a broken file
        raise damaged(directory, error) from error
    raise UserError(
        f"the data set in {directory} is described by code of its own ({foreign[0]!r}), which is"
        " never run: prepare it with features of TensorFlow Datasets alone"
    )


def _foreign_classes(node: Any) -> Iterator[str]:
    """Yield the names of classes outside TFDS that opening a description would import."""
    if isinstance(node, list):
        for child in node:
            yield from _foreign_classes(child)
    if not isinstance(node, dict):
        return
    keys = ["pythonClassName", "python_class_name"]
    if "content" in node:  # how TFDS wrote it until 2021
        keys.append("type")
    for key in keys:
        named = node.get(key)
        if isinstance(named, str) and not named.startswith("tensorflow_datasets."):
            yield named
    for child in node.values():
        yield from _foreign_classes(child)


def _checked_classes(feature: Any, label: str, name: SetName) -> tuple[str, ...]:
    """Return the names of at least two classes, as many as the description counts."""
    found = class_names(feature)
    if feature.num_classes and feature.num_classes != len(found):
        raise UserError(
            f"{str(name)!r} counts {feature.num_classes} classes in features.json and names"
            f" {len(found)} in its file of names: prepare it again"
        )
    if len(found) < 2:
        raise UserError(
            f"the label {label!r} of {str(name)!r} has {len(found) or 'no'} class: there is nothing"
            " to tell apart"
        )
    return found


def _training(source: Source, name: SetName) -> cache.Stored:
    """Return the training split, which must show two classes."""
    if source.split not in source.builder.info.splits:
        raise UserError(f"the data set {str(name)!r} ({source.directory}) has no training split")
    if not len(source):
        raise UserError(f"{source} is empty: prepare it again")
    train = _split(source)
    if train is None:
        raise UserError(f"the training images of {str(name)!r} ({source.directory}) have no labels")
    if train.data.labels.min() == train.data.labels.max():
        raise UserError(
            f"all {len(source)} labels of {source} are {train.data.labels[0]}: there is nothing to"
            " tell apart"
        )
    return train


def _judging(source: Source) -> cache.Stored | None:
    """Return the first of test and validation split that has examples with labels, if any."""
    for split in ("test", "validation"):
        candidate = dataclasses.replace(source, split=split)
        if split in source.builder.info.splits and len(candidate):
            found = _split(candidate)
            if found is not None:
                return found
    return None


def _held_out(data: Dataset, name: SetName) -> tuple[cache.Stored, cache.Stored]:
    """Return two parts of a training split, to learn from and to judge by."""
    if data.images.nbytes > runtime.usable_memory() / 2:
        raise UserError(
            f"{str(name)!r} has no labelled test split, and with {data.images.nbytes:,} bytes it is"
            " too large for one to be held out in memory: choose a smaller --image_size, or"
            " prepare it with a test split"
        )
    train, test = hold_out(data)
    if not len(test.labels):
        raise UserError(
            f"{str(name)!r} has no labelled test split, and no class has a second image that could"
            " be held out: prepare it with a test split"
        )
    note(f"{str(name)!r} has no labelled test split: every fifth image is held out")
    return cache.in_memory(train), cache.in_memory(test)


def _split(source: Source) -> cache.Stored | None:
    """Return one split from the cache, or decode it and fill the cache; None without labels."""
    with quiet():
        path = _cached_file(source)
        stored = cache.read(path)
        if stored is not None:
            return stored
        # All labels are read to know that none is there: an empty file says so the next time.
        withheld = path.with_suffix(".withheld")
        if withheld.exists():
            return None
        source.check_counts()
        if not source.withheld():
            return decode(source, path)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            withheld.touch()
        return None


def _cached_file(source: Source) -> Path:
    """Return where the decoded split is kept; opens it, and refuses what cannot be opened."""
    builder = source.builder
    try:
        _ = source.opened
        key = _fingerprint(source)
    except NotImplementedError as error:
        raise UserError(
            f"{source.directory} holds {builder.info.file_format.value} files, which only"
            " TensorFlow reads: prepare the set as array_record with `make data-<name>`"
        ) from error
    except Exception as error:  # array_record raises RuntimeError, the file system OSError
        raise damaged(source.directory, error) from error
    stem = builder.info.full_name.replace("/", "-")
    scaled = "" if source.size is None else f"-{source.size}px"
    return cache.directory() / f"{stem}-{source.split}{scaled}-{key}.images"


def _fingerprint(source: Source) -> str:
    """Return a key that changes with what is read: files, their times, description, features."""
    info = source.builder.info
    shards = [Path(path) for path in info.splits[source.split].filepaths]
    classes = len(class_names(info.features[source.label]))
    parts: list[Any] = [_FORMAT, source.split, source.image, source.label, classes]
    parts += [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in shards]
    metadata = Path(source.builder.data_path)
    parts += [
        (metadata / name).read_text("utf-8") for name in ("dataset_info.json", "features.json")
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _listed(names: Any) -> str:
    return ", ".join(repr(name) for name in names)
