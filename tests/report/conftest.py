"""What the tests of the gallery share: a folder of two records, one of them of nothing but evil."""

import shutil

import pytest

from jaxvision.report import plots, record
from tests.report.gallery_lab import EVIL, make


@pytest.fixture(scope="session")
def saved_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery") / "experiments" / "results"
    record.save(make(), draw, folder / "he_init")
    record.save(make("relu", experiment=EVIL, text=EVIL), None, folder / "relu")
    source = folder.parent / "initialization" / "he_init.py"
    source.parent.mkdir()
    source.touch()
    return folder


@pytest.fixture
def results(saved_once, tmp_path):
    """The folder of the records, of each test its own."""
    return shutil.copytree(saved_once.parent, tmp_path / "experiments") / "results"


def draw():
    """Two panels, and a color bar that belongs to the second."""
    figure, axes = plots.new_figure(1, 2)
    for ax, name in zip(axes[0], ("left", "right <b>&"), strict=True):
        ax.plot([0, 1], [0, 1])
        ax.set_title(name, parse_math=False)
    image = axes[0, 1].imshow([[0.0, 1.0]], aspect="auto")
    figure.colorbar(image, ax=axes[0, 1])
    return figure
