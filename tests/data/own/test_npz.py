"""Arrays in an .npz: under the names that people use, by their types, and never as objects."""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxvision import runtime
from jaxvision.data import cache, forget_identities, load
from jaxvision.data.own import npz
from jaxvision.types import UserError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 8, 6, 3), np.uint8)
LABELS = np.arange(20) % 2


@pytest.fixture
def save(tmp_path):
    """Return ``save(name=array, ...) -> path``."""

    def saved(compressed=False, **arrays) -> str:
        path = tmp_path / "mine.npz"
        (np.savez_compressed if compressed else np.savez)(path, **arrays)
        return str(path)

    return saved


NAMES = [
    "x_train y_train x_test y_test",  # Keras
    "X_train Y_train X_val Y_val",
    "train_images train_labels test_images test_labels",  # MedMNIST
    "train_x train_y test_x test_y",
    "images_train labels_train images_test labels_test",
    "trainX trainY testX testY",
]


def test_a_path_may_be_a_path_object(save, tmp_path, monkeypatch):
    written = load(save(images=IMAGES, labels=LABELS))
    monkeypatch.chdir(tmp_path)
    found = load(Path("mine.npz"))
    assert found.identity.digest == written.identity.digest
    with pytest.raises(UserError, match="goes by its name or path, not by int"):
        load(3)


@pytest.mark.parametrize("names", NAMES)
def test_the_names_that_people_use(save, names):
    parts = (
        IMAGES[:12],
        LABELS[:12],
        IMAGES[12:],
        LABELS[12:],
    )
    arrays = dict(zip(names.split(), parts, strict=True))
    splits = load(save(**arrays))
    np.testing.assert_array_equal(splits.train.images, IMAGES[:12])
    np.testing.assert_array_equal(splits.test.labels, LABELS[12:])
    assert splits.class_names == ("0", "1")


@pytest.mark.parametrize("names", ["images labels", "x y", "X y", "data target"])
@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_of_one_split_are_held_out_from(save, names, compressed):
    images, labels = names.split()
    splits = load(save(compressed, **{images: IMAGES, labels: LABELS}))
    assert np.bincount(splits.train.labels).tolist() == [8, 8]
    assert np.bincount(splits.test.labels).tolist() == [2, 2]
    for data in (splits.train, splits.test):
        for image, label in zip(data.images, data.labels, strict=True):
            (row,) = np.flatnonzero((image == IMAGES).all((1, 2, 3)))
            assert label == LABELS[row]


def test_gray_images_have_one_channel(save):
    gray = IMAGES[..., 0]
    splits = load(save(images=gray, labels=LABELS))
    assert splits.train.images.shape == (16, 8, 6, 1)


@pytest.mark.parametrize(
    "kind, stored, shown",
    [
        (np.uint8, [0, 1, 255], [0, 1, 255]),
        (np.float32, [0.0, 1 / 255, 1.0], [0, 1, 255]),
        (np.float64, [0.0, 0.5, 1.0], [0, 128, 255]),
        (np.uint16, [0, 257, 65535], [0, 1, 255]),
        (bool, [False, True, True], [0, 255, 255]),
    ],
)
def test_numbers_become_bytes_by_their_type(save, kind, stored, shown):
    """Field-wings 40: uint8 1 is 1/255; float 1.0 and uint16 65535 are 1, not 1.0039."""
    images = np.tile(np.array(stored, kind), (8, 3, 1))
    splits = load(save(images=images, labels=LABELS[:8]))
    assert splits.train.images[0, 0, :, 0].tolist() == shown


@pytest.mark.parametrize(
    "images, said",
    [
        (
            255 * IMAGES[..., 0].astype(np.float32),
            "float32 from 0 to 65025, where floats run from 0",
        ),
        (IMAGES[..., 0] / 1.0 * np.nan, "hold NaN or infinity: save them as uint8"),
        (IMAGES.astype(np.uint16), "none of their numbers is above 255"),
        (IMAGES.astype(np.int64), "whose scale is not known: save them as uint8"),
        (IMAGES.reshape(20, -1), "not [N, H, W] or [N, H, W, C] with 1 to 4 channels"),
        (IMAGES.transpose(0, 3, 1, 2).copy(), "channels first: save images.transpose(0, 2, 3, 1)"),
        (np.asfortranarray(IMAGES), "column by column: save np.ascontiguousarray(images)"),
        (IMAGES[:19], "holds 19 images, and 'labels' 20 labels"),
        (IMAGES.astype(object), "holds pickled Python objects, which are never opened"),
    ],
)
def test_images_that_are_none_are_one_line(save, refusal, images, said):
    assert said in refusal(save(images=images, labels=LABELS))


@pytest.mark.parametrize(
    "labels, said",
    [
        (np.eye(2)[LABELS], "of one-hot rows save labels.argmax(1)"),
        (LABELS / 1.0, "are float64: save integers or texts"),
        (LABELS - 1, "holds the label -1, and classes count from 0"),
        (LABELS.astype(np.uint64) + 2**63, "go up to 9223372036854775809, which is too large"),
        (0 * LABELS, "all 16 training images of '{}' are of one class, '0'"),
    ],
)
def test_labels_that_are_none_are_one_line(save, refusal, labels, said):
    path = save(images=IMAGES, labels=labels)
    assert said.format(path) in refusal(path)


def test_a_column_of_labels_is_no_matrix_of_them(save):
    """Field-wings 41: [N, 1] compared with [N] makes a perfect classifier one of .1."""
    labels = np.arange(100) % 10
    images = np.tile(labels.astype(np.uint8)[:, None, None], (1, 4, 4))
    splits = load(save(images=images, labels=labels[:, None]))
    answers = splits.train.images[:, 0, 0, 0]  # a classifier that is always right
    assert splits.train.labels.shape == answers.shape
    assert (answers == splits.train.labels).mean() == 1.0
    assert (answers == splits.train.labels[:, None]).mean() == pytest.approx(0.1)


class Trap:
    """What runs when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["labels", "images", "class_names"])
def test_pickled_objects_are_refused_by_name_and_not_run(save, refusal, tmp_path, name):
    """Field-wings 41."""
    arrays = {"images": IMAGES, "labels": LABELS, "class_names": np.array(["a", "b"])}
    arrays[name] = np.array([Trap(tmp_path / "sprung")] * 20, object)
    path = save(**arrays)
    assert f"the array '{name}' of '{path}' holds pickled Python objects" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_classes_are_the_values_that_occur_or_the_names_that_are_given(save, refusal):
    splits = load(save(images=IMAGES, labels=3 * LABELS + 7))
    assert splits.class_names == ("7", "10")
    assert np.bincount(splits.train.labels).tolist() == [8, 8]
    frames = np.array(["frame12", "frame2"])
    texts = load(save(images=IMAGES, labels=frames[LABELS]))
    assert texts.class_names == ("frame2", "frame12")
    named = {"images": IMAGES, "class_names": np.array(["ant", "bee", "cow"])}
    assert load(save(**named, labels=LABELS)).class_names == ("ant", "bee", "cow")
    animals = np.array(["cow", "bee", "elk"])
    texts = load(save(**named, labels=animals[LABELS]))
    assert np.bincount(texts.train.labels).tolist() == [0, 8, 8]
    assert "has label elk, but" in refusal(save(**named, labels=animals[LABELS + 1]))
    parts = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS.astype(str)}
    assert "are integers in one split and texts in the other" in refusal(save(**parts))
    line = refusal(save(**named, labels=LABELS + 2))
    assert line.endswith(
        "has label 3, but it names 3 classes, 0 to 2: correct the labels or the names"
    )
    assert line.startswith("example 1 of ")


def test_several_labels_are_chosen_by_name(save, refusal):
    path = save(images=IMAGES, labels=LABELS, coarse=LABELS[::-1])
    coarse = load(f"{path}@coarse")
    assert np.bincount(coarse.train.labels).tolist() == [8, 8]
    assert coarse.identity.label == "coarse"
    assert coarse.identity.digest != load(path).identity.digest
    assert "their labels under hue_train or hue" in refusal(f"{path}@hue")
    both = save(images=IMAGES, labels=LABELS, y=LABELS)
    assert "holds 'labels' and 'y': which is meant?" in refusal(both)


def test_other_names_are_listed(save, refusal, capsys):
    line = refusal(save(arr_0=IMAGES, arr_1=LABELS))
    assert "holds arr_0 [20, 8, 6, 3] uint8, arr_1 [20] int64" in line
    assert "are looked for under x_train or images (and x_test), their labels under y_train" in line
    forget_identities()
    load(save(images=IMAGES, labels=LABELS, boxes=LABELS))
    assert "left out: 1 array ('boxes [20] int64')" in capsys.readouterr().err


def test_a_damaged_file_is_one_line(save, refusal):
    path = save(True, images=IMAGES, labels=LABELS)
    content = Path(path).read_bytes()
    overwritten = content[:300] + b"\xff" * 50 + content[350:]
    for change in (content[:-100], b"", b"text", overwritten):
        Path(path).write_bytes(change)
        assert f"'{path}' is no .npz file, or a damaged one (" in refusal(path)


def test_splits_of_other_sizes_are_refused_or_scaled(save, refusal):
    arrays = {"x_train": IMAGES, "y_train": LABELS, "y_test": LABELS}
    path = save(**arrays, x_test=IMAGES[:, :7])
    assert "are 8 x 6 x 3, those in 'x_test' are 7 x 6 x 3: save them alike" in refusal(path)
    assert load(f"{path}@5px").test.images.shape == (20, 5, 5, 3)


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_beyond_memory_are_a_map_and_the_same(save, tmp_path, monkeypatch, compressed):
    path = save(compressed, images=IMAGES, labels=LABELS)
    small = load(path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(cache, "LARGE", 1)
    monkeypatch.setattr(runtime, "usable_memory", lambda: 1)
    monkeypatch.setattr(np, "load", only_labels(np.load))
    large = load(path)
    assert large.identity == small.identity
    assert not large.train.images.flags.writeable
    np.testing.assert_array_equal(large.test.images, small.test.images)


def only_labels(read):
    """Refuse to load a whole array of images."""

    class Archive:
        def __init__(self, *arguments, **options):
            self.archive = read(*arguments, **options)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.archive.close()

        def __getitem__(self, name):
            assert name == "labels"
            return self.archive[name]

    return Archive


def test_rows_are_read_in_any_order(save, tmp_path):
    """A stream is read on where it can be, and from its start again where it must be."""
    for compressed in (False, True):
        found = npz.find(
            tmp_path / os.path.basename(save(compressed, images=IMAGES, labels=LABELS))
        )
        for rows in (range(3, 9), range(9, 20), range(0, 4)):
            images, labels = found.train.read(rows)
            np.testing.assert_array_equal(images, IMAGES[rows.start : rows.stop])
            np.testing.assert_array_equal(labels, LABELS[rows.start : rows.stop])
