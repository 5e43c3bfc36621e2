"""Arrays with names on their axes, and records read as such."""

import sys

import numpy as np
import pandas
import pytest

from jaxvision.report import record as records
from jaxvision.report.judgement import Judgement
from jaxvision.report.named import NamedArray, load_record
from jaxvision.types import UserError


@pytest.fixture
def opened(tmp_path):
    arrays = {
        "he/loss": np.arange(12.0).reshape(3, 4),
        "he/test_error": np.arange(6.0).reshape(3, 2),
        "he/test_steps": np.array([0, 4]),
        "he/layer_steps": np.array([0, 3]),
        "he/delta_norm": np.arange(30.0).reshape(3, 2, 5),
        "grid": np.zeros((7, 3, 4)),
        "square": np.zeros((3, 3)),
        "twice": np.zeros((3, 4, 4)),
        "kernels": np.zeros((2, 8, 3, 3)),
        "xavier/layer_steps": np.array([0, 1, 3]),
    }
    judgement = Judgement("a", "source", "sentence", "direction", "> 0", "reproduced")
    whole = records.Record(
        experiment="toy",
        preset="cpu",
        run_name="run",
        command="python -m experiments toy",
        config={"seeds": 3, "first_seed": 900, "steps": 4},
        numbers={},
        arrays=arrays,
        claims=[judgement.to_dict()],
        provenance={},
    )
    records.save(whole, None, tmp_path / "run")
    return load_record(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("he/loss", ("seed", "step")),
        ("he/test_error", ("seed", "step")),
        ("he/delta_norm", ("seed", "step", "axis_2")),
        ("grid", ("axis_0", "seed", "step")),
        ("square", ("seed", "axis_1")),
        ("twice", ("seed", "axis_1", "axis_2")),
        ("he/test_steps", ("axis_0",)),
        ("kernels", ("axis_0", "axis_1", "axis_2", "axis_3")),  # 3 seeds, 3x3 windows
        ("xavier/layer_steps", ("axis_0",)),  # as many as seeds
    ],
)
def test_axes_are_named_as_far_as_they_are_known(opened, name, axes):
    assert opened.arrays[name].axes == axes


def test_places_are_seeds_and_steps(opened):
    error = opened.arrays["he/test_error"]
    assert error.along("seed") == [900, 901, 902]
    assert error.along("step") == [0, 4]
    np.testing.assert_array_equal(error.at(seed=901).values, [2, 3])
    assert error.at(seed=901, step=4).values == 3
    assert opened.arrays["he/delta_norm"].along("step") == [0, 3]
    assert opened.arrays["he/delta_norm"].along("axis_2") == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(np.asarray(error) + 1, error.values + 1)
    assert repr(error) == "NamedArray(seed: 3, step: 2)"


def test_tables(opened):
    series = opened.arrays["he/test_error"].to_pandas()
    assert series.index.names == ["seed", "step"]
    assert series[902, 4] == 5
    assert isinstance(opened.to_pandas(), pandas.DataFrame)
    assert list(opened.to_pandas().index) == [claim["id"] for claim in opened.claims]
    alone = NamedArray(np.float32([1, 2]), ("step",), {"step": [0, 4]})
    assert alone.to_pandas()[4] == 2


def test_mistakes_are_said(opened, tmp_path, monkeypatch):
    error = opened.arrays["he/test_error"]
    with pytest.raises(UserError, match="seed=3 is not there: seed is one of 900, 901, 902"):
        error.at(seed=3)
    with pytest.raises(UserError, match="there is no axis 'rate': the axes are seed, step"):
        error.at(rate=1)
    with pytest.raises(ValueError, match="do not name the axes"):
        NamedArray(np.zeros((2, 2)), ("seed",))
    inner = load_record(tmp_path / "run" / "record.json")
    assert inner.claims == opened.claims, "the file of a record stands for its directory"
    assert len(repr(opened)) < 100
    with pytest.raises(UserError, match="no whole record in"):
        load_record(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"load_record\(None\): the path of a record"):
        load_record(None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        error.to_pandas()
