"""A whole experiment that takes no time, and how the command line is called."""

import dataclasses
import types
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from jaxvision import cli, data
from jaxvision.fields import flagged
from jaxvision.report.claims import Claim, Greater, Share

ROOT = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Config:
    dataset: str = flagged("digits", "Data set.")
    optimizer: str = flagged("sgd", "Optimizer.", choices=("sgd", "adam"))
    seeds: int = flagged(5, "Paired seeds.", low=1, high=1000)
    first_seed: int = flagged(0, "First seed.", low=0)
    depths: tuple[int, ...] = flagged((3, 5), "Weight layers.", low=2, high=99)
    rates: tuple[float, ...] = flagged((0.1, 0.2), "Learning rates.", low=0)
    weight_decay: float = flagged(5e-4, "Weight decay.", low=0)
    batch: int = flagged(16, "Images in a step.", low=1)
    augment: bool = flagged(False, "Shift and mirror.")


def measure(config, progress):
    splits = data.load(config.dataset)
    with progress(config.seeds, "measuring") as bar:
        bar.advance(config.seeds)
    gain = np.arange(config.seeds) + 1.0
    return {"images": len(splits.train.labels), "gain": gain}, {"curve": np.outer(gain, [3, 1, 2])}


def claims(config):
    gain = lambda record: np.array(record.numbers["gain"])  # noqa: E731
    return [
        Claim("gain", "Nobody 2000, figure 1", "it gains", gain, Greater()),
        Claim(
            "loss",
            "Nobody 2000, figure 2",
            "it loses",
            lambda record: gain(record) < 0,
            Share(),
        ),
    ]


def plot(record, config):
    """Return a small picture: drawing takes longer than all else that a toy does."""
    figure = Figure((1, 1))
    figure.add_axes((0, 0, 1, 1)).plot(record.arrays["curve"][0])
    return figure


def make_toy():
    module = types.ModuleType("experiments.toy")
    module.__file__ = str(ROOT / "experiments" / "toy.py")
    module.__doc__ = "A toy that gains.\n\nSource: Nobody 2000.\n"
    module.Config, module.measure, module.claims, module.plot = Config, measure, claims, plot
    module.PRESETS = {"tiny": Config(seeds=2), "cpu": Config(), "gpu": Config(seeds=9)}
    return module


def call(experiment, *flags, minutes=None):
    """Return the exit code."""
    with pytest.raises(SystemExit) as caught:
        cli.main(experiment, [f"{experiment.__name__}.py", *flags], minutes)
    return caught.value.code


def refusal(experiment, capsys, *flags):
    """Return the one line, and nothing beside it, that refuses the flags."""
    assert call(experiment, *flags) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err[:-1].isprintable()
    return err[len("error: ") : -1]


def files(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def interrupted(config, progress):
    with progress(10, "measuring") as bar:
        bar.advance(3)
        raise KeyboardInterrupt
