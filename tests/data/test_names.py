"""How sets are named: one grammar, one spelling, one line where a name is none."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.data import load, names, prepare, spelled
from jaxvision.types import UserError

SPELLINGS = {
    "cifar10": ["cifar10", "cifar10/", "cifar10//"],
    "cifar10:3.0.2": ["cifar10:3.0.2", "cifar10/3.0.2", "cifar10//3.0.2/"],
    "a/b:1.*.*": ["a/b:1.*.*", "a//b/1.*.*", "a/./b:1.*.*"],
    "a:1.0.0@worse": ["a:1.0.0@worse", "a/1.0.0@worse", "a//1.0.0/@worse"],
    "./mine": ["./mine", "././mine", ".//mine/"],
    "../mine:1.0.0": ["../mine/1.0.0", "./../mine:1.0.0"],
    "~/mine": ["~/mine", "~//mine/"],
    "/mine": ["/mine", "//mine", "/./mine/"],
    "./mine@64px": ["./mine@64px", ".//mine/@64px", "././mine@064px/"],
    "a:1.0.0@worse@8px": ["a:1.0.0@worse@8px", "a/1.0.0@worse@8px"],
    "/at@home/mine": ["/at@home/mine", "/at@home//mine"],
    "digits": ["digits", "digits/"],
}


@pytest.mark.parametrize("wanted", SPELLINGS)
def test_all_ways_to_write_a_name_have_one_spelling(wanted):
    assert {spelled(name) for name in SPELLINGS[wanted]} == {wanted}


WORDS = ["a", "/", ".", "..", ":", "@", "~", "1.0.0", "2.*.*", "8px"]
PIECES = st.lists(st.sampled_from(WORDS))


@settings(max_examples=1000)
@given(PIECES.map("".join))
def test_a_spelling_is_spelled_as_it_is(text):
    try:
        found = names.parse(text)
    except ValueError:
        return
    assert names.parse(str(found)) == found


def test_a_path_below_the_data_directory_is_the_name_there(tmp_path, monkeypatch):
    sets = tmp_path / "sets"
    sets.mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(sets))
    monkeypatch.chdir(sets)
    for name in ("toy", "./toy", "../sets/toy", f"{sets}/toy", f"{sets}/toy//"):
        assert spelled(name) == "toy"
    assert spelled("./toy/1.0.0@hue") == "toy:1.0.0@hue"
    # Names that would mean something else stay paths.
    assert spelled("./digits") == "./digits"
    assert spelled(f"{sets}/.toy") == f"{sets}/.toy"
    assert spelled(str(sets)) == str(sets)
    assert spelled("./toy", str(tmp_path)) == "sets/toy"


@pytest.mark.parametrize(
    "name, said",
    [
        ("cifar10:3", "'cifar10:3' ends in no version"),
        ("huggingface:mnist", "'huggingface:mnist' ends in no version"),
        ("cifar10@", "'cifar10@' ends in no label"),
        ("cifar10@0px", "'cifar10@0px' names images of no pixel: at least name@1px"),
        ("./mine@99999px", "'./mine@99999px' names images too large: at most name@4096px"),
        ("cifar10@3.0.2", "a version name:version (such as 3.0.2 or 3.*.*)"),
        ("cifar10@label:3.0.2", "all of them name:version@label@64px"),
    ],
)
def test_what_is_no_name_is_one_line(name, said, refusal, capsys):
    assert said in refusal(name)
    with pytest.raises(UserError):
        spelled(name)
    assert prepare.main([name]) == 2
    assert said in capsys.readouterr().err


def test_what_an_embedded_set_does_not_have_is_one_line(refusal):
    assert load("digits/").name == "digits"
    assert "comes in one size" in refusal("digits@8px")
    for name in ("digits:1.0.0", "shapes@color"):
        assert f"one version and one label: leave out what follows it in '{name}'" in refusal(name)


@pytest.fixture
def versions(toy, make_set, make_split):
    """Return a data_dir with four versions of ``toy``, the images of each from its own seed."""
    for version, seed in {"1.2.0": 2, "2.0.0": 3, "10.0.0": 4}.items():
        splits = {"train": make_split(seed, 30), "test": make_split(1, 12)}
        make_set(toy / "toy" / version, splits)
    return toy


@pytest.mark.parametrize(
    "name, seed",
    [
        ("toy", 4),
        ("toy:1.0.0", 0),
        ("toy/1.0.0", 0),
        ("toy:1.*.*", 2),
        ("toy/1.*.0", 2),
        ("toy:*.0.0", 4),
        ("toy:2.*.*", 3),
    ],
)
def test_the_newest_version_that_fits_is_loaded(versions, make_split, name, seed):
    found = load(name, str(versions))
    np.testing.assert_array_equal(found.train.images, make_split(seed, 30)[0])
    assert found.name == spelled(name)


def test_a_version_that_is_not_there_is_said_with_those_that_are(versions, refusal):
    for name in ("toy:9.9.9", "toy/9.9.9", f"{versions}/toy/9.9.9"):
        line = refusal(name, versions)
        assert "'toy' has no prepared version 9.9.9" in line
        assert "there is 1.0.0, 1.2.0, 2.0.0, 10.0.0: name that one, or" in line
    assert "no prepared version 3.*.*" in refusal("toy:3.*.*", versions)
    assert "is not prepared" in refusal("cifar10:9.9.9", versions)


def test_a_config_has_versions_too(toy, make_set, make_split):
    splits = {"train": make_split(5, 4), "test": make_split(1, 4)}
    for config in ("small", "large"):
        made = make_set(toy / "sized" / config / "1.0.0", splits)
        assert len(load(f"sized/{config}:1.0.0", str(toy)).train.labels) == 4
    shutil.rmtree(made)  # one form alone needs no name
    assert len(load("sized:1.*.*", str(toy)).train.labels) == 4


def test_a_folder_without_a_finished_version_is_said(toy, refusal):
    shutil.move(toy / "toy" / "1.0.0", toy / "toy" / "1.0.0.incompleteABC")
    for name in ("toy", "./toy", f"{toy}/toy"):
        line = refusal(name, toy) if name != "./toy" else refusal(f"{toy}/./toy", toy)
        assert (
            line
            == f"{str(toy / 'toy')!r} holds no finished version of a data set: prepare it again"
        )


@pytest.mark.parametrize("name", ["\x1b[2Jhi", "digits\ndigits", "a\x07:1.0.0", "/no\x1b/where"])
def test_a_name_never_moves_the_cursor(name, toy, refusal, capsys):
    assert repr(name)[1:4] in refusal(name, toy)  # and refusal looks at every letter
    assert prepare.main([name, f"--data_dir={toy}"]) == 2
    assert capsys.readouterr().err.rstrip("\n").isprintable()
