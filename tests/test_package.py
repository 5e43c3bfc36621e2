"""What an installed wheel holds, and by which name it is found."""

import importlib
import tomllib
from pathlib import Path

import jaxvision

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_distribution_has_a_name_of_its_own_and_the_package_s_version():
    """On the public index `jaxvision` is somebody else's."""
    assert PROJECT["project"]["name"] == "jaxvision-dynamics"
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"] == "jaxvision.__version__"
    assert jaxvision.__version__.count(".") == 2


def test_the_console_script_is_there():
    module, name = PROJECT["project"]["scripts"]["jaxvision"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_citation_and_changelog_know_the_version():
    for page in ("CITATION.cff", "CHANGELOG.md"):
        assert jaxvision.__version__ in (ROOT / page).read_text(encoding="utf-8")


def test_every_folder_of_code_is_a_package():
    """Setuptools leaves out those that are not."""
    found = PROJECT["tool"]["setuptools"]["packages"]["find"]
    assert found == {"include": ["jaxvision*", "experiments*"], "namespaces": False}
    for package in ("jaxvision", "experiments"):
        folders = {path.parent for path in (ROOT / package).rglob("*.py")}
        assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_readme_says_what_an_installation_holds():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert "`pip install .` in a clone installs the library and the experiments" in text


def test_no_hint_names_the_stranger_s_package():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("jaxvision/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "pip install jaxvision " not in text, path
        assert "jaxvision[" not in text, path


def test_what_is_no_python_is_in_the_wheel():
    """Kernels are compiled where they are used; the gallery's templates are filled there."""
    data = PROJECT["tool"]["setuptools"]["package-data"]
    assert data == {
        "jaxvision.native": ["*.cc"],
        "jaxvision.report": ["claims.schema.json", "templates/*"],
    }
    for package, patterns in data.items():
        folder = ROOT / package.replace(".", "/")
        assert all(list(folder.glob(pattern)) for pattern in patterns)
    named = {
        path
        for package, patterns in data.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    files = (ROOT / "jaxvision").rglob("*.*")
    assert {path for path in files if path.suffix not in (".py", ".pyc")} == named
