"""A set is what its description says, or one line says where it is not."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from jaxvision import runtime
from jaxvision.data import cache, decode, load
from jaxvision.data.source import Source

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 256, (8, 6, 3), np.uint8) for _ in range(64)]


@pytest.fixture
def make(tmp_path, make_rows, make_file):
    """Return ``make(name, train, test=None, ...)``: prepares a set of labels, or of rows."""
    import tensorflow_datasets as tfds

    def made(name, train, test=None, classes=10, **changes):
        def rows(labels):
            return [
                label if isinstance(label, dict) else {"image": png(i), "label": label}
                for i, label in enumerate(labels)
            ]

        def png(i):
            return make_file(Image.fromarray(PICTURES[i % 64]))

        image = tfds.features.Image(shape=changes.pop("shape", (8, 6, 3)))
        features = {"image": image, "label": tfds.features.ClassLabel(num_classes=classes)}
        features |= changes.pop("features", {})
        splits = {"train": rows(train)} | ({} if test is None else {"test": rows(test)})
        return make_rows(tmp_path / name / "1.0.0", splits, features, **changes)

    return made


# Several labels.


@pytest.fixture
def noisy(tmp_path, make_rows, make_file):
    """Return a function that prepares ``noisy``, with three labels: i mod 4, mod 3 and mod 2."""
    from tensorflow_datasets import features as f

    def made(**how):
        labels = {"label": 4, "worse_label": 3, "coarse": 2}
        features = {name: f.ClassLabel(num_classes=count) for name, count in labels.items()}
        features |= {"image": f.Image(shape=(8, 6, 3)), "segments": f.Image(shape=(8, 6, 1))}
        features |= how.pop("more", {})
        rows = [
            {name: i % count for name, count in labels.items()}
            | {
                "image": make_file(Image.fromarray(PICTURES[i])),
                "segments": make_file(Image.fromarray(PICTURES[i][..., 0])),
            }
            for i in range(24)
        ]
        features = {k: v for k, v in features.items() if k not in how.get("without", ())}
        rows = [{k: v for k, v in row.items() if k in features} for row in rows]
        how.pop("without", None)
        return make_rows(
            tmp_path / "noisy" / "1.0.0", {"train": rows, "test": rows}, features, **how
        )

    return made


def test_several_labels_are_listed_and_the_name_chooses(noisy, tmp_path, refusal):
    noisy(without=["segments"])
    assert refusal("noisy", tmp_path) == (
        "the data set 'noisy/1.0.0' has no single class label to learn: name one, 'noisy@coarse',"
        " 'noisy@label', 'noisy@worse_label'"
    )
    for label, count in {"label": 4, "worse_label": 3, "coarse": 2}.items():
        for _ in range(2):  # decoded, then from the cache: each choice has a file of its own
            found = load(f"noisy@{label}", str(tmp_path))
            assert found.train.labels.tolist() == [i % count for i in range(24)]
            assert (found.num_classes, found.identity.label) == (count, label)
            assert found.name == f"noisy@{label}"
    assert "has no class label 'hue': name one, 'noisy@coarse'" in refusal("noisy@hue", tmp_path)
    assert "'noisy:1.*.*@label'" in refusal("noisy:1.*.*", tmp_path)


def test_a_declared_choice_stands_until_the_name_chooses(noisy, tmp_path):
    noisy(supervised=("image", "coarse"))
    declared, chosen = load("noisy", str(tmp_path)), load("noisy@label", str(tmp_path))
    assert (declared.num_classes, declared.identity.label) == (2, "coarse")
    assert (chosen.num_classes, chosen.identity.label) == (4, "label")
    # The second image of the set was neither asked for nor read.
    np.testing.assert_array_equal(chosen.train.images, PICTURES[:24])
    assert declared.identity.digest != chosen.identity.digest


def test_several_images_and_no_word_which_are_listed(noisy, tmp_path, refusal):
    noisy()
    line = refusal("noisy@label", tmp_path)
    assert "has several images" in line and "'image'" in line and "'segments'" in line


def test_a_declared_label_that_is_no_class_is_no_choice(noisy, tmp_path, refusal):
    from tensorflow_datasets import features as f

    noisy(supervised=("image", "caption"), more={"caption": f.Text()}, without=["caption"])
    assert "name one, 'noisy@coarse'" in refusal("noisy", tmp_path)


def test_one_label_needs_no_choice(toy):
    assert load("toy", str(toy)).identity.label == load("toy@label", str(toy)).identity.label == ""


# Labels.


@pytest.mark.parametrize("label", [10, 2**31, 2**40, -2])
def test_a_label_outside_the_classes_names_the_example(make, tmp_path, refusal, monkeypatch, label):
    import tensorflow_datasets as tfds

    # TFDS would not write them.
    monkeypatch.setattr(tfds.features.ClassLabel, "encode_example", lambda self, label: label)
    directory = make("beyond", [*range(10), 3, label])
    line = refusal("beyond", tmp_path)
    assert line == (
        f"example 11 of the train split of 'beyond/1.0.0' ({directory}) has label {label}, but the"
        " set names 10 classes, 0 to 9: prepare it again"
    )


def test_names_in_a_file_beside_the_description_are_held_against_it(make, tmp_path, refusal):
    directory = make("named", [0, 1, 2, 3], [0, 1], classes=4)
    names = directory / "label.labels.txt"
    names.write_text("a\nb\nc\nd\n")
    assert load("named", str(tmp_path)).class_names == ("a", "b", "c", "d")
    names.write_text("a\nb\nc\n")  # after decoding: the cached labels are held against it too
    line = "'named' counts 4 classes in features.json and names 3 in its file of names"
    assert line in refusal("named", tmp_path)
    description = directory / "features.json"
    description.write_text(description.read_text().replace('"4"', '"0"'))
    assert "has label 3, but the set names 3 classes, 0 to 2" in refusal("named", tmp_path)


@pytest.mark.parametrize("large", [False, True])
def test_missing_labels_in_part_of_a_split_are_counted(make, tmp_path, refusal, monkeypatch, large):
    if large:
        monkeypatch.setattr(cache, "LARGE", 1)
        monkeypatch.setattr(runtime, "usable_cores", lambda: 1)
        monkeypatch.setattr(decode, "ProcessPoolExecutor", ThisProcess)
    directory = make("partly", [0, 1, 1, -1] + [0] * 60)
    assert refusal("partly", tmp_path) == (
        f"1 of 64 examples of the train split of 'partly/1.0.0' ({directory}) has no label, such as"
        " example 3: prepare it again with all labels, or without those examples"
    )


class ThisProcess:
    """A pool of no processes: starting one takes seconds."""

    def __init__(self, workers, context, begin, arguments):
        del workers, context
        source, shape, file, offset = arguments
        decode._task = source, shape, os.open(file, os.O_WRONLY), offset

    def map(self, work, blocks):
        return map(work, blocks)

    def shutdown(self, cancel_futures):
        os.close(decode._task[2])


def test_missing_labels_in_part_of_a_test_split_do_not_drop_it(make, tmp_path, refusal):
    make("partly", [0, 1, 2, 3], [-1, 1, -1, 2])
    line = refusal("partly", tmp_path)
    assert "2 of 4 examples of the test split" in line and "such as example 0" in line


@pytest.mark.parametrize(
    "field, said", [("label", "1 of 3 examples"), ("image", "example 1 of the train split")]
)
def test_an_example_without_a_field_is_named(make, tmp_path, refusal, make_records, field, said):
    from tensorflow_datasets.proto import tf_example_pb2

    directory = make("lacking", [0, 1, 2])
    source = Source(str(directory), "train", "image", "label")
    records = [bytes(record) for record in source.opened]
    example = tf_example_pb2.Example.FromString(records[1])
    del example.features.feature[field]
    records[1] = example.SerializeToString()
    make_records(directory / "lacking-train.array_record-00000-of-00001", records)
    assert said in refusal("lacking", tmp_path)
    assert f"has no {field}" in refusal("lacking", tmp_path)


def test_withheld_labels_are_looked_for_once(make, tmp_path, monkeypatch):
    make("withheld", [0, 1] * 10, [-1] * 10)
    first = load("withheld", str(tmp_path))
    monkeypatch.setattr(Source, "withheld", None)  # calling it would be a TypeError
    assert load("withheld", str(tmp_path)).identity == first.identity


# Classes.


@pytest.mark.parametrize("classes, said", [(0, "has no class:"), (1, "has 1 class:")])
def test_a_set_of_fewer_than_two_classes_is_refused(make, tmp_path, refusal, classes, said):
    directory = make("few", [0, 0, 0])
    description = directory / "features.json"
    description.write_text(description.read_text().replace('"10"', f'"{classes}"'))
    assert said in refusal("few", tmp_path)


def test_training_images_of_one_class_are_refused(make, tmp_path, refusal):
    make("same", [7, 7, 7], [7, 1])
    assert "all 3 labels of the train split" in refusal("same", tmp_path)
    assert "are 7: there is nothing to tell apart" in refusal("same", tmp_path)


def test_splits_without_a_common_class_are_refused(make, tmp_path, refusal):
    make("disjoint", [0, 1, 2], [3, 4])
    assert "'disjoint' have no class in common" in refusal("disjoint", tmp_path)


def test_test_classes_that_are_not_learned_are_said(make, tmp_path, capsys):
    make("some", [0, 1, 2], [1, 4, 2, 5])
    assert load("some", str(tmp_path)).test.labels.tolist() == [1, 4, 2, 5]
    said = "2 of the 4 classes among the test images of 'some' are not among the training images"
    assert f"{said}, such as '4'" in capsys.readouterr().err


def test_an_empty_training_split_is_no_damage(make, tmp_path, refusal):
    make("empty", [], [0, 1])
    assert "the train split of 'empty/1.0.0'" in refusal("empty", tmp_path)
    assert "is empty" in refusal("empty", tmp_path)


def test_an_empty_test_split_is_none(make, tmp_path, capsys):
    make("lonely", [0, 1] * 5, [])
    splits = load("lonely", str(tmp_path))
    assert np.bincount(splits.test.labels).tolist() == [1, 1]
    assert "'lonely' has no labelled test split" in capsys.readouterr().err


def test_nothing_can_be_held_out_of_classes_of_one_image(make, tmp_path, refusal):
    make("singles", [0, 1, 2])
    assert "no class has a second image" in refusal("singles", tmp_path)


# Files.


@pytest.mark.parametrize("said", [50, 63, 65])
def test_a_count_that_disagrees_with_the_file_is_refused(make, tmp_path, refusal, said):
    directory = make("counted", [0, 1] * 32)
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace('"64"', f'"{said}"'))
    line = refusal("counted", tmp_path)
    assert f"-00000-of-00001 holds 64 examples, its description says {said}" in line


def test_a_pixel_size_that_disagrees_with_the_description_is_refused(make, tmp_path, refusal):
    directory = make("sized", [0, 1], shape=(6, 8, 3))
    assert refusal("sized", tmp_path).startswith(
        f"example 0 of the train split of 'sized/1.0.0' ({directory}) is of size (8, 6), but the"
        " set declares (6, 8)"
    )


def test_channels_that_are_not_declared_are_refused(make, tmp_path, refusal):
    make("vague", [0, 1], shape=(8, 6, None))
    assert "have a declared shape of (8, 6, None)" in refusal("vague", tmp_path)


def test_a_color_mode_without_a_meaning_names_the_example(make, tmp_path, refusal, make_file):
    ink = Image.fromarray(PICTURES[0][..., 0].astype(np.float32))
    rows = [0, 1, {"image": make_file(ink, "tiff"), "label": 1}]
    directory = make("modes", rows)
    assert refusal("modes", tmp_path) == (
        f"example 2 of the train split of 'modes/1.0.0' ({directory}) has colors of mode 'F', which"
        " its 3 declared channels cannot show: convert the file and prepare the set again"
    )


def test_files_of_every_color_mode_load_as_the_declared_channels(make, tmp_path, make_file):
    colors = [Image.fromarray(p) for p in PICTURES[:4]]
    files = [colors[0], colors[1].convert("RGBA"), colors[2].convert("L"), colors[3].quantize(48)]
    rows = [{"image": make_file(file), "label": i % 2} for i, file in enumerate(files)]
    make("modes", rows, rows)
    gray = np.repeat(np.asarray(files[2])[..., None], 3, -1)
    wanted = [PICTURES[0], PICTURES[1], gray, PICTURES[3]]
    np.testing.assert_array_equal(load("modes", str(tmp_path)).train.images, wanted)


@pytest.mark.parametrize(
    "name", ["features.json", "label.labels.txt", "toy-train.array_record-00000-of-00001"]
)
def test_a_pipe_in_place_of_a_file_is_never_waited_for(toy, refusal, name):
    path = toy / "toy" / "1.0.0" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert f"({name} is no regular file)" in refusal("toy", toy)


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
def test_a_description_never_runs_code(toy, refusal, monkeypatch, tmp_path, key):
    """The class's module lies in the set itself, where Python would find it."""
    directory = toy / "toy" / "1.0.0"
    (directory / "payload_of_a_set.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(directory)
    path = directory / "features.json"
    features = json.loads(path.read_text())
    evil = {key: "payload_of_a_set.Evil", "content": {}}
    features["featuresDict"]["features"]["more"] = evil
    path.write_text(json.dumps(features))
    line = refusal("toy", toy)
    assert "described by code of its own ('payload_of_a_set.Evil'), which is never run" in line
    assert "payload_of_a_set" not in sys.modules


def test_what_a_set_says_of_itself_never_moves_the_cursor(make, tmp_path, refusal):
    directory = make("odd", [0, 1])
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace('"name": "odd"', '"name": "o\\u001b[2Jdd"'))
    refusal("odd", tmp_path)  # which looks at every letter
    description = directory / "features.json"
    description.write_text(description.read_text().replace('"image":', '"im\\u001bage":', 1))
    refusal("odd", tmp_path)
