"""Records: they round-trip, are never half written, and damage is named."""

import dataclasses
import errno
import io
import json
import os
import pathlib
import zipfile
import zlib

import numpy as np
import pytest

from jaxvision.report import encoding, folders, plots, record
from jaxvision.report.judgement import Judgement
from jaxvision.report.record import Record
from jaxvision.types import UserError

NAN, INF = float("nan"), float("inf")
COMMITTED = pathlib.Path(__file__).resolve().parents[2] / "experiments" / "results"
JUDGED = Judgement("a", "He et al. 2015", "He learns.", "direction", "above 0", "inconclusive", NAN)
DIGITS = {"name": "digits", "version": "", "label": "", "digest": "ab", "train": 1437, "test": 360}


def make(number=1.0):
    return Record(
        experiment="he_init",
        preset="tiny",
        run_name="he_init",
        command="python -m experiments he_init --preset=tiny",
        config={"seeds": 5, "lr": 0.1, "name": "ä\udc80", "none": None, "flag": True},
        numbers={"escape": {"he": number, "xavier": NAN}, "ends": [INF, -INF, 1e-300]},
        arrays={
            "loss/he": np.array([[1.0, NAN], [INF, -0.0]], np.float32),
            "file": np.arange(3),  # a name that np.savez cannot take
            "flags": np.array([True, False]),
            "empty": np.zeros((0, 4)),
        },
        claims=[JUDGED.to_dict()],
        provenance={"commit": "unknown", "dirty": None, "data": [DIGITS]},
    )


def contents(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_round_trip(tmp_path):
    saved = make()
    record.save(saved, None, tmp_path / "he_init")
    loaded = record.load(tmp_path / "he_init")
    for field in dataclasses.fields(Record):
        np.testing.assert_equal(getattr(loaded, field.name), getattr(saved, field.name))
    for name, array in saved.arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
    assert np.signbit(loaded.arrays["loss/he"][1, 1])
    assert contents(tmp_path) == {"he_init/record.json", "he_init/arrays.npz"}


def test_numpy_values_become_plain_numbers(tmp_path):
    numbers = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": np.eye(2)}
    saved = dataclasses.replace(make(), numbers=numbers | {"e": (1, np.float64(NAN))})
    record.save(saved, None, tmp_path / "run")
    loaded = record.load(tmp_path / "run").numbers
    np.testing.assert_equal(
        loaded, {"a": 0.5, "b": 3, "c": True, "d": [[1, 0], [0, 1]], "e": [1, NAN]}
    )
    assert type(loaded["c"]) is bool


def test_the_file_is_strict_json_and_repeats(tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    for name in ("a", "b"):
        record.save(make(), None, tmp_path / name)
    for file in ("record.json", "arrays.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    json.loads((tmp_path / "a" / "record.json").read_text("ascii"), parse_constant=refuse)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("numbers", {1: 2}),
        ("numbers", {"float": 1.0}),
        ("numbers", {"a": object()}),
        ("arrays", {"a": np.array(["text"])}),
        ("arrays", {"a": np.array([None])}),
    ],
)
def test_what_cannot_be_read_back_is_not_written(tmp_path, field, value):
    with pytest.raises((TypeError, ValueError)):
        record.save(dataclasses.replace(make(), **{field: value}), None, tmp_path / "run")
    assert contents(tmp_path) == set()


def test_saving_replaces_the_whole_directory(tmp_path):
    record.save(make(1.0), figure, tmp_path / "run")
    files = {"record.json", "arrays.npz"}
    assert contents(tmp_path / "run") == files | {"figure.png", "figure.svg"}
    record.save(make(2.0), None, tmp_path / "run")
    assert record.load(tmp_path / "run").numbers["escape"]["he"] == 2
    assert contents(tmp_path / "run") == files  # no figure of another run
    assert os.listdir(tmp_path) == ["run"]


def figure():
    return plots.new_figure()[0]


def stamps(directory):
    return {path.name: path.stat().st_mtime_ns for path in [directory, *directory.iterdir()]}


def test_what_has_not_changed_is_not_written(tmp_path):
    record.save(make(), figure, tmp_path / "run")
    before = stamps(tmp_path / "run")
    record.save(record.load(tmp_path / "run"), figure, tmp_path / "run")
    assert stamps(tmp_path / "run") == before


def test_arrays_that_another_zlib_packed_stay_as_they_are(tmp_path, monkeypatch):
    record.save(make(), None, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    compressor = zlib.compressobj
    monkeypatch.setattr(zlib, "compressobj", lambda *args: compressor(1, *args[1:]))
    assert encoding.pack({"a": np.arange(999)}) != encoding.pack({"a": np.arange(998)})
    record.save(make(), None, tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    other = dataclasses.replace(make(), arrays=make().arrays | {"file": np.arange(3) + 1})
    record.save(other, None, tmp_path / "run")
    np.testing.assert_array_equal(record.load(tmp_path / "run").arrays["file"], [1, 2, 3])


def test_the_page_of_a_record_outlives_it(tmp_path):
    record.save(make(1.0), None, tmp_path / "run")
    (tmp_path / "run" / "README.md").write_text("a page")
    record.save(make(2.0), None, tmp_path / "run")
    assert (tmp_path / "run" / "README.md").read_text() == "a page"


def test_a_figure_that_cannot_be_drawn_costs_no_record(tmp_path):
    def draw():
        raise ZeroDivisionError

    record.save(make(1.0), figure, tmp_path / "run")
    with pytest.raises(ZeroDivisionError):
        record.save(make(2.0), draw, tmp_path / "run")
    assert record.load(tmp_path / "run").numbers["escape"]["he"] == 2
    assert contents(tmp_path / "run") == {"record.json", "arrays.npz"}


class Killed(BaseException):
    """The process dies here: nothing after it may be counted on."""


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("fatal", [1, 2])
def test_dying_at_a_rename_loses_nothing(tmp_path, monkeypatch, fatal, before):
    record.save(make(1.0), None, tmp_path / "run")
    rename, calls = os.rename, []

    def dying_rename(*args):
        calls.append(args)
        if len(calls) == fatal and before:
            raise Killed
        rename(*args)
        if len(calls) == fatal:
            raise Killed

    monkeypatch.setattr(os, "rename", dying_rename)
    with pytest.raises(Killed):
        record.save(make(2.0), None, tmp_path / "run")
    monkeypatch.undo()

    written = fatal == 2 and not before
    assert record.load(tmp_path / "run").numbers["escape"]["he"] == (2 if written else 1)
    assert contents(tmp_path / "run") == {"record.json", "arrays.npz"}
    record.save(make(3.0), None, tmp_path / "run")  # and the next run cleans up
    assert record.load(tmp_path / "run").numbers["escape"]["he"] == 3
    assert os.listdir(tmp_path) == ["run"]


def no_locks(*args):
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_reader_between_the_renames_costs_no_record(tmp_path, monkeypatch):
    """Without locks it takes the writer for dead and puts the old record back: parked again."""
    directory, rename, read = tmp_path / "run", os.rename, []
    monkeypatch.setattr(folders.fcntl, "flock", no_locks)
    record.save(make(1.0), None, directory)

    def with_a_reader(source, target):
        if str(target) == str(directory) and ".new-" in str(source) and not read:
            monkeypatch.setattr(os, "rename", rename)
            read.append(record.load(directory).numbers["escape"]["he"])
        rename(source, target)

    monkeypatch.setattr(os, "rename", with_a_reader)
    record.save(make(2.0), None, directory)
    assert read == [1.0]
    assert record.load(directory).numbers["escape"]["he"] == 2.0
    assert contents(tmp_path) == {"run/record.json", "run/arrays.npz"}


@pytest.mark.parametrize("fatal", [1, 2])
def test_a_refused_rename_leaves_the_old_record_in_place(tmp_path, monkeypatch, fatal):
    record.save(make(1.0), None, tmp_path / "run")
    rename, calls = os.rename, []

    def refusing_rename(*args):
        calls.append(args)
        if len(calls) == fatal:
            raise PermissionError(errno.EACCES, "Permission denied")
        rename(*args)

    monkeypatch.setattr(os, "rename", refusing_rename)
    with pytest.raises(UserError, match="Permission denied"):
        record.save(make(2.0), None, tmp_path / "run")
    assert os.listdir(tmp_path) == ["run"]
    assert record.load(tmp_path / "run").numbers["escape"]["he"] == 1


def test_a_full_disk_is_one_line_and_harms_nothing(tmp_path, monkeypatch):
    record.save(make(1.0), None, tmp_path / "run")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device") as caught:
        record.save(make(2.0), None, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["run"]
    assert record.load(tmp_path / "run").numbers["escape"]["he"] == 1


def test_an_interrupt_leaves_no_half_record(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record.save(make(), None, tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_a_parked_record_is_read_where_it_cannot_be_moved(tmp_path, monkeypatch):
    record.save(make(1.0), None, tmp_path / "run")
    os.rename(tmp_path / "run", tmp_path / ".run.old")

    def refuse(*args):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "rename", refuse)
    assert record.load(tmp_path / "run").numbers["escape"]["he"] == 1


def zipped(write, array, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, archive.open("a.npy", "w") as file:
        write(file, array)
    return buffer.getvalue()


HUGE = b"v\0{'descr': '<f8', 'fortran_order': False, 'shape': (9223372036854775807, 9), }".ljust(
    120
)


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def without(field):
    def edit(content):
        fields = json.loads(content)
        del fields[field]
        return json.dumps(fields).encode()

    return edit


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("arrays.npz", cut),
        ("arrays.npz", flip),
        ("arrays.npz", lambda content: b""),
        ("arrays.npz", None),
        ("record.json", cut),
        ("record.json", lambda content: b""),
        ("record.json", lambda content: b"[1, 2]"),
        ("record.json", lambda content: b"{}"),
        ("record.json", lambda content: b"\xff\xfe\x00"),
        ("record.json", lambda content: b"[" * 100_000),
        ("record.json", lambda content: content.replace(b"record 2", b"record 1")),
        ("record.json", lambda content: content.replace(b"record 2", b"record 3")),
        ("record.json", lambda content: content.replace(b"seeds", b"seats")),
        ("record.json", lambda content: content + b" "),
        ("record.json", lambda content: content.replace(b'"nan"', b'"so"')),
        ("record.json", lambda content: content.replace(b'"nan"', b"null")),
        ("record.json", without("numbers")),
        ("record.json", without("arrays_sha256")),
        ("record.json", without("sha256")),
        ("record.json", None),
    ],
)
def test_damage_is_one_clear_line(tmp_path, file, damage):
    record.save(make(), None, tmp_path / "run")
    path = tmp_path / "run" / file
    content = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage(content))
    with pytest.raises(UserError, match="run") as caught:
        record.load(tmp_path / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["record.json", "arrays.npz"])
def test_no_single_bit_may_change(tmp_path, file):
    record.save(make(), None, tmp_path / "run")
    path = tmp_path / "run" / file
    content = path.read_bytes()
    for place in np.random.default_rng(0).integers(8 * len(content), size=300):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(UserError):
            record.load(tmp_path / "run")


@pytest.mark.parametrize("directory", sorted(COMMITTED.iterdir()), ids=lambda path: path.name)
def test_committed_records_are_read(directory):
    assert record.load(directory).run_name == directory.name


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": [JUDGED.to_dict() | {"sentence": None}]},
        {"claims": [JUDGED.to_dict() | {"rule": 1}]},
        {"claims": [JUDGED.to_dict() | {"verdict": "maybe"}]},
        {"claims": [JUDGED.to_dict() | {"estimate": "1"}]},
        {"claims": [JUDGED.to_dict() | {"n": True}]},
        {"claims": [JUDGED.to_dict() | {"more": 1}]},
        {"claims": [{"id": "a"}]},
        {"claims": ["a"]},
        {"provenance": {"earlier": [{}]}},
        {"provenance": {"earlier": {}}},
        {"provenance": {"device": ["cpu"]}},
        {"provenance": {"wall_time_s": "1"}},
        {"provenance": {"data": [{"name": "digits"}]}},
        {"provenance": {"data": [DIGITS | {"train": 1.5}]}},
        {"config": []},
        {"preset": None},
    ],
)
def test_fields_of_another_type_are_refused(tmp_path, wrong):
    record.save(dataclasses.replace(make(), **wrong), None, tmp_path / "run")
    with pytest.raises(UserError, match=f"'{next(iter(wrong))}'"):
        record.load(tmp_path / "run")


FOREIGN = {
    "no zip file": b"PK no zip file",
    "an object": zipped(np.save, np.array([None])),
    "text": zipped(np.save, np.array(["a"])),
    "no array": zipped(lambda file, _: file.write(b"text"), None),
    "a huge shape": zipped(lambda file, _: file.write(np.lib.format.magic(1, 0) + HUGE), None),
    "another compression": zipped(np.save, np.eye(2), compression=zipfile.ZIP_LZMA)[:-60],
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_arrays_that_match_their_checksum_but_are_foreign(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(encoding, "pack", lambda arrays: FOREIGN[kind])
    record.save(make(), None, tmp_path / "run")
    with pytest.raises(UserError, match="foreign"):
        record.load(tmp_path / "run")


def test_arrays_that_claim_to_be_larger_than_any_are_refused(monkeypatch):
    packed = encoding.pack({"a": np.zeros(1000)})
    monkeypatch.setattr(encoding, "LARGEST", 8000)  # the header counts too
    with pytest.raises(ValueError, match="more than 8000 bytes"):
        encoding.unpack(packed)


@pytest.mark.parametrize("file", ["record.json", "arrays.npz"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "endless"])
def test_what_is_no_file_is_not_waited_for(tmp_path, file, kind):
    record.save(make(), None, tmp_path / "run")
    path = tmp_path / "run" / file
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match="no regular file"):
        record.load(tmp_path / "run")
    record.save(make(), None, tmp_path / "run")
    record.load(tmp_path / "run")


def test_a_missing_record_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="run the experiment first"):
        record.load(tmp_path / "run")


@pytest.mark.parametrize("name", ["a", "he_init", "He-Init.2", "0", "a" * 64])
def test_good_run_names(tmp_path, name):
    assert record.run_directory(tmp_path, name) == tmp_path.resolve() / name
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "/a",
        "../a",
        ".x",
        "-x",
        "a\n",
        "a\0",
        "a b",
        "a..b",
        "ä",
        "a" * 65,
        "a\\b",
        "~",
        "$HOME",
    ],
)
def test_bad_run_names(tmp_path, name):
    with pytest.raises(UserError, match="run name") as caught:
        record.run_directory(tmp_path, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["elsewhere", "missing", "loop"])
def test_links_are_no_run_directories(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(UserError, match="link"):
        record.run_directory(tmp_path, "link")


def test_a_linked_root_is_fine(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    expected = tmp_path.resolve() / "disk" / "run"
    assert record.run_directory(tmp_path / "results", "run") == expected


def test_a_file_is_no_run_directory(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(UserError, match="file"):
        record.run_directory(tmp_path, "run")


@pytest.mark.parametrize("text", ["~nosuchuser/r", "x" * 300, "loop", "a\0b"])
def test_paths_that_cannot_be_followed_are_one_line(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    for call in (
        lambda: record.run_directory(text, "run"),
        lambda: record.load(text),
        lambda: record.save(make(), None, text),
    ):
        with pytest.raises(UserError, match="cannot be followed") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["loop"]


def test_the_home_folder_has_a_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    record.save(make(), None, record.run_directory("~/runs", "run"))
    assert record.load("~/runs/run").run_name == "he_init"
    assert os.listdir(tmp_path) == ["runs"]


def test_origin_says_what_is_known():
    known = {"commit": "0123456789abcdef", "dirty": True, "device": "NVIDIA H200"}
    known |= {"device_count": 2, "started": "2026-01-02T03:04:05+00:00", "wall_time_s": 61.4}
    origin = dataclasses.replace(make(), provenance=known).origin()
    assert origin == (
        "n = 5 seeds, preset tiny, 2 x NVIDIA H200, commit 0123456789 with changes, "
        "2026-01-02, 61 s"
    )
    device = {"commit": "abc", "device": "cpu: EPYC", "started": "2026-01-01T03:04:05"}
    earlier = [device | {"differs": ["code", "device"]}, {"differs": ["code"]}]
    for count, more in ((1, ""), (2, " (and 1 more)")):
        told = known | {"earlier": earlier[:count]}
        assert dataclasses.replace(make(), provenance=told).origin() == (
            f"{origin}; begun with other code, device: cpu: EPYC, commit abc, 2026-01-01{more}"
        )
    assert dataclasses.replace(make(), config={}, provenance={}).origin()
    config = {"seeds": 10, "train_depth": 32, "train_seeds": 5}
    origin = dataclasses.replace(make(), config=config).origin()
    assert origin.startswith("n = 10 seeds, 5 train seeds, preset tiny")
