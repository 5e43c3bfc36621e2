"""The pins: pip and uv read the same ones, they are all that is installed, and no lock is kept.

A lock that uv writes names the index it was written with, which may be a mirror that nobody else
reaches. So every clone writes its own, from the pins in ``pyproject.toml``.
"""

import importlib.metadata
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
UV = PROJECT["tool"]["uv"]
PIN_FILES = ("requirements.txt", "constraints.txt")


def pins_of_pip():
    """Return the requirements of the files that ``make venv`` installs from."""
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in PIN_FILES]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def as_texts(requirements):
    """Return them in one spelling and order; one that stands twice stays twice."""
    return sorted(
        f"{canonicalize_name(pin.name)}{sorted(pin.extras)}{pin.specifier}; {pin.marker}"
        for pin in requirements
    )


def counted_here(pins):
    """Return {name: version} of the pins whose markers hold on this machine."""
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    found = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}
    assert len(found) == len(here), "a package is pinned twice"
    return found


def test_uv_reads_the_pins_of_pip():
    pins = pins_of_pip()
    assert len(pins) > 80
    assert as_texts(map(Requirement, UV["constraint-dependencies"])) == as_texts(pins)


@pytest.mark.parametrize(
    "other",
    [
        'jax==10; python_version < "3.12"',
        'jax==9; python_version < "3.13"',
        "jax==9",
        'jax>=9; python_version < "3.12"',
        'jaxlib==9; python_version < "3.12"',
    ],
)
def test_a_pin_that_differs_is_seen(other):
    pin = 'jax==9; python_version < "3.12"'
    assert as_texts([Requirement(other)]) != as_texts([Requirement(pin)])
    assert as_texts([Requirement(pin)] * 2) != as_texts([Requirement(pin)])


def test_a_pin_is_spelled_in_many_ways():
    one = Requirement("array_record==1 ; python_version<'3.12'")
    other = Requirement('Array-Record == 1; python_version < "3.12"')
    assert as_texts([one]) == as_texts([other])


def test_every_pin_names_one_version():
    for pin in pins_of_pip():
        (only,) = pin.specifier
        assert only.operator == "=="
        assert not only.version.endswith(".*")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_pins_writes_them(tmp_path):
    whole = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + "\n[tool.later]\nkept = [\n]\n"
    for name in ("Makefile", *PIN_FILES):
        shutil.copy(ROOT / name, tmp_path)
    stale = whole.replace("  'optax==", "  'nosuch==")
    assert stale != whole
    (tmp_path / "pyproject.toml").write_text(stale, encoding="utf-8")
    subprocess.run(["make", "pins"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert (tmp_path / "pyproject.toml").read_text(encoding="utf-8") == whole


def asked_for():
    """Return what the project asks for, with its extras and what its tests need."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    texts = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]
    return [Requirement(text) for text in [*texts, *(text for extra in extras for text in extra)]]


def pulled_in(requirements):
    """Return the names of these packages and of all that they need here, by their metadata."""
    waiting = list(requirements)
    seen = set()
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            if (wanted.name, extra) in seen:
                continue
            seen.add((wanted.name, extra))
            needs = map(Requirement, importlib.metadata.requires(wanted.name) or [])
            waiting += [
                need
                for need in needs
                if need.marker is None or need.marker.evaluate({"extra": extra})
            ]
    return {canonicalize_name(name) for name, _ in seen}


def test_nothing_is_pulled_in_without_a_pin_and_no_pin_is_left_over():
    """Else uv, which resolves anew in every clone, would be free to take any version of it."""
    assert pulled_in(asked_for()) == set(counted_here(pins_of_pip()))


def test_what_needs_what_is_followed_through_extras():
    plain = pulled_in([Requirement("etils")])
    assert plain == {"etils"}
    assert {"etils", "fsspec"} <= pulled_in([Requirement("etils[epath]")])


def test_the_tests_run_with_the_versions_of_the_pins():
    """Both ways in: the hosted tests run in an environment of make and in one of uv."""
    pins = counted_here(pins_of_pip())
    installed = {name: importlib.metadata.version(name) for name in pins}
    assert installed == pins, "run make venv or uv sync"


def test_uv_resolves_for_the_platforms_of_the_readme():
    assert UV["environments"] == ["sys_platform == 'linux'", "sys_platform == 'darwin'"]
    rows = re.findall(r"^\| (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"Linux", "macOS", "Windows"} <= set(rows)


def test_uv_asks_the_user_s_own_index():
    assert not UV.keys() & {"index", "index-url", "extra-index-url", "find-links", "sources"}


LOCK_NAMES = re.compile(r"(^|/)(.*\.lock|pylock\.(.*\.)?toml|(package-lock|npm-shrinkwrap)\.json)$")
# An index as a lock tells it, or the link to a file of one package.
LOCK_LINES = r'(registry|index|resolved)"? ?[=:] ?"https?://|https?://[^ ]*\.whl'


def git(*arguments):
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )


in_git = pytest.mark.skipif(
    shutil.which("git") is None or git("rev-parse", "HEAD").returncode != 0,
    reason="this is no clone",
)


@in_git
def test_no_lock_is_kept():
    tracked = git("ls-files").stdout.splitlines()
    assert "pyproject.toml" in tracked
    assert [path for path in tracked if LOCK_NAMES.search(path)] == []
    assert git("check-ignore", "-q", "uv.lock").returncode == 0


@in_git
def test_no_file_names_an_index_as_a_lock_does():
    found = git("grep", "-lIE", LOCK_LINES, "--", ".", ":!tests/test_lock.py")
    assert found.stdout.splitlines() == []
    assert found.returncode == 1


@pytest.mark.parametrize("path", ["uv.lock", "docs/poetry.lock", "pylock.toml", "pylock.dev.toml"])
def test_a_lock_is_known_by_its_name(path):
    assert LOCK_NAMES.search(path)


@pytest.mark.parametrize("path", ["tests/test_lock.py", "pyproject.toml", "docs/lock.md"])
def test_what_is_no_lock_is_not_taken_for_one(path):
    assert not LOCK_NAMES.search(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('source = { registry = "https://index.invalid/simple" }', True),
        ('index = "https://index.invalid/simple"', True),
        ('"resolved": "https://index.invalid/a.tgz"', True),
        ('{ url = "https://files.invalid/a/b-1-py3-none-any.whl", hash = "" }', True),
        ("uv run python  # https://docs.invalid/uv/", False),
        ("index = (3, 4)", False),
    ],
)
def test_a_lock_is_known_by_its_lines(line, told):
    assert bool(re.search(LOCK_LINES, line)) == told
