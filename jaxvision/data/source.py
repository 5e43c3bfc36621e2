"""One split of a prepared set, read example by example and held against its description.

Whatever the description says and the files do not keep is refused here, in one line that names the
example: labels outside the classes, missing labels, other channels or sizes, other counts.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxvision.data.names import printable
from jaxvision.data.pixels import ModeError, declared_channels, decoded, squared
from jaxvision.types import UserError

_BLOCK = 1024  # examples whose labels are read at once
_WITHHELD = -1  # how TFDS marks a label that is not published
_RESIZED = "--dataset=NAME@64px scales them, as --image_size=64 does where the experiment has it"


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a prepared set, and what is wanted of it.

    Attributes:
      directory: of the prepared version.
      split: its name.
      image, label: names of the features.
      size: pixels of a side that images are brought to; None takes them as they are.
    """

    directory: str
    split: str
    image: str
    label: str
    size: int | None = None
    in_order = False  # records are read well in any order

    @property
    def title(self) -> str:
        """What a line of progress calls it."""
        return f"{self.builder.info.name} {self.split}"

    @functools.cached_property
    def builder(self) -> Any:
        """The TFDS builder, which knows the set's metadata."""
        import tensorflow_datasets as tfds  # late: it is slow, and not everybody has it

        return tfds.builder_from_directory(self.directory)

    @functools.cached_property
    def opened(self) -> Any:
        """The split's records by index; opening raises whatever array_record and TFDS do."""
        from tensorflow_datasets.core.decode import DeserializeMethod

        raw = DeserializeMethod.RAW_BYTES
        return self.builder.as_data_source(split=self.split, deserialize_method=raw)

    def __len__(self) -> int:
        return self.builder.info.splits[self.split].num_examples

    def __str__(self) -> str:
        return f"the {self.split} split of {self.builder.info.full_name!r} ({self.directory})"

    def read(
        self, indices: range, shape: tuple[int, ...] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 [n, H, W, C] and labels int32 [n].

        Raises:
          UserError: the files are damaged or not as described, or an image is not of ``shape``
            [H, W, C] (None: that of the first).
        """
        examples = self._examples(indices, self.image, self.label)
        labels = self._checked([example[self.label] for example in examples], indices)
        images = None
        for row, (index, example) in enumerate(zip(indices, examples, strict=True)):
            pixels = self._pixels(example[self.image], index)
            if images is None:
                shape = shape or pixels.shape
                images = np.empty((len(examples), *shape), np.uint8)
            if pixels.shape != shape:
                raise UserError(
                    f"the images of {self} differ in size (such as {shape[:2]} and"
                    f" {pixels.shape[:2]}): {_RESIZED}"
                )
            images[row] = pixels
        return images, labels

    def withheld(self) -> bool:
        """Say whether no example has a label; all are read unless the first one has.

        Raises:
          UserError: some have one and some have none.
        """
        if _has_label(self._labels(range(1))[0]):
            return False
        missing = self._unlabeled()
        if len(missing) < len(self):
            raise self._partly_labeled(missing)
        return True

    def check_counts(self) -> None:
        """Raise UserError where a file holds more or fewer examples than the description says."""
        import tensorflow_datasets as tfds

        info = self.builder.info
        if info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
            return
        split = info.splits[self.split]
        for path, wanted in zip(split.filepaths, split.shard_lengths, strict=True):
            found = _records_in(Path(path), self.directory)
            if found != wanted:
                why = f"{path.name} holds {found} examples, its description says {wanted}"
                raise damaged(self.directory, ValueError(why))

    def _pixels(self, file: bytes | None, index: int) -> np.ndarray:
        """Return the pixels of an image file as the description declares them, then scaled."""
        if file is None:
            raise UserError(f"example {index} of {self} has no image {self.image!r}")
        declared = self.builder.info.features[self.image].shape
        try:
            pixels = decoded(file, declared_channels(declared))
        except ModeError as error:
            raise UserError(
                f"example {index} of {self} has {error}, which its {declared[-1]} declared channels"
                " cannot show: convert the file and prepare the set again"
            ) from error
        except Exception as error:  # an undecodable image
            raise damaged(self.directory, error) from error
        for wanted, found in zip(declared[:2], pixels.shape[:2], strict=True):
            if wanted not in (None, found):
                raise UserError(
                    f"example {index} of {self} is of size {pixels.shape[:2]}, but the set declares"
                    f" {declared[:2]}: prepare it again"
                )
        return pixels if self.size is None else squared(pixels, self.size)

    def _checked(self, labels: Sequence[int | None], indices: range) -> np.ndarray:
        """Return labels as int32 [n]; refuses one that is missing or outside the classes."""
        classes = len(class_names(self.builder.info.features[self.label]))
        for index, label in zip(indices, labels, strict=True):
            if not _has_label(label):
                raise self._partly_labeled(self._unlabeled())
            if not 0 <= label < classes:
                raise UserError(
                    f"example {index} of {self} has label {label}, but the set names {classes}"
                    f" classes, 0 to {classes - 1}: prepare it again"
                )
        return np.array(labels, np.int32)

    def _partly_labeled(self, missing: list[int]) -> UserError:
        verb = "has" if len(missing) == 1 else "have"
        return UserError(
            f"{len(missing)} of {len(self)} examples of {self} {verb} no label, such as example"
            f" {missing[0]}: prepare it again with all labels, or without those examples"
        )

    def _unlabeled(self) -> list[int]:
        """Return the indices of all examples without a label."""
        return [
            index
            for block in blocks(len(self), _BLOCK)
            for index, label in zip(block, self._labels(block), strict=True)
            if not _has_label(label)
        ]

    def _labels(self, indices: range) -> list[int | None]:
        return [example[self.label] for example in self._examples(indices, self.label)]

    def _examples(self, indices: range, *names: str) -> list[dict[str, Any]]:
        """Return the named features of examples as stored; one that is missing is None.

        The other features are not decoded: they cost time, and some need TensorFlow.
        """
        import tensorflow_datasets as tfds

        features = {name: self.builder.info.features[name] for name in names}
        wanted = tfds.features.FeaturesDict(features)
        stored = {name: tfds.decode.SkipDecoding() for name in names}
        try:
            records = self.opened.__getitems__(list(indices))
            return [wanted.deserialize_example_np(record, decoders=stored) for record in records]
        except Exception as error:  # a hash mismatch, a cut file
            raise damaged(self.directory, error) from error


def class_names(feature: Any) -> tuple[str, ...]:
    """Return the names of a ClassLabel; its number of classes does not know of a file of names."""
    return tuple(feature.names) if feature.num_classes is not None else ()


def blocks(count: int, size: int) -> list[range]:
    """Return ``range(count)`` cut into ranges of ``size``, the last one perhaps shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def damaged(directory: Any, error: Exception) -> UserError:
    """Return the one line about files that cannot be read."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(
        f"the prepared data in {directory} is damaged or incomplete: remove it and prepare it again"
        f" ({printable(reason)})"
    )


def _has_label(label: int | None) -> bool:
    return label is not None and label != _WITHHELD


def _records_in(path: Path, directory: str) -> int:
    """Return how many records an array_record file holds by its own count."""
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        reader = ArrayRecordReader(str(path))
        try:
            return reader.num_records()
        finally:
            reader.close()
    except Exception as error:  # RuntimeError and others
        raise damaged(directory, error) from error
