"""What the gallery says around the experiments: where it begins, and a few words a theme."""

import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import (
    _contested_breaking,
    _contested_robustness,
    _contested_seeing,
    _contested_training,
)
from jaxvision.report import record as records
from jaxvision.report.entries import Listed
from jaxvision.report.lecture import Lecture, Opening, Theme
from jaxvision.types import UserError

OPENING = Opening(
    experiment="imagenet_2012",
    title="2012: 16.4 against 26.2",
    numbers=(
        (
            "16.4 %",
            "of the ImageNet challenge's photographs answered wrongly, with five guesses, "
            "by a convolutional net",
        ),
        ("26.2 %", "by the best entry whose features were made by hand"),
    ),
    paragraphs=(
        "The winner of the year before had made 25.8 % of errors. From 2012 on every winner was a "
        "convolutional net, and they went deeper: in 2015 nets of up to 152 layers made 3.6 %.",
        "Convolutions and back-propagation were old by then. That such nets train at all is the "
        "riddle, and most of the answers came later: how the weights start, what becomes of a "
        "gradient on its way down, what normalization and shortcuts do to it. That is the story "
        "here, one experiment at a time.",
    ),
)

THEMES = {
    "initialization": Theme(
        "How a net begins",
        "A deep net begins as random numbers, and their scale decides whether anything happens at "
        "all: a factor of 1.4 a layer is a factor of 30,000 over thirty layers.",
    ),
    "gradients": Theme(
        "Gradients on their way down",
        "A gradient is a product of one matrix a layer. It vanishes, explodes or survives by one "
        "number, which theory gives for random nets; here it is held against nets of up to 10,000 "
        "layers, before training and along it.",
    ),
    "normalization": Theme(
        "What makes training robust",
        "Batch norm, dropout, many nets instead of one, the right rate: each came with a reason "
        "why it works. Here the reasons are tested, and not only whether it works.",
    ),
    "depth": Theme(
        "What depth gives and costs",
        "Deeper nets won, year after year. Yet a plain net gets worse with more layers, though "
        "some of them could just hand their input on; a shortcut around the layers mends that.",
    ),
    "data": Theme(
        "What data give",
        "How the error falls with the number of images, what can stand in for them, and what "
        "features are worth for classes that the net has never seen.",
    ),
    "breaking": Theme(
        "How nets break",
        "The same nets, attacked: how small a change to an image turns the answer around, who can "
        "find it and by how many questions, and what that says of what nets have learned.",
    ),
    "seeing": Theme(
        "What a net looks at",
        "Cover a part of the image, send a signal back to the pixels, climb to the picture that a "
        "unit likes best: each gives a fine picture. Here every picture has a number beside it, "
        "and a control that shows what the number is worth.",
    ),
    "generating": Theme(
        "Pictures made by nets",
        "Two nets play a game in which one paints and the other tells paintings from photographs. "
        "The game is training dynamics with a known answer: it circles, it converges, it forgets, "
        "and equations say which.",
    ),
}

DISPUTES = {
    "Training": _contested_training.DISPUTES,
    "Breaking": (*_contested_breaking.DISPUTES, *_contested_robustness.DISPUTES),
    "Seeing": _contested_seeing.DISPUTES,
}


_LAYERS = 99  # hidden ones, of the nets of 100 weight layers
_DIGITS = 2  # of a natural logarithm, far below the spread over seeds
_GAINS = ("below", "critical", "above")
_PLAIN = ("tanh", "relu", "sigmoid", "linear")
_TRAINED = {
    "batch_norm": "plain+bn/relu",
    "residual": "residual/relu",
    "residual_batch_norm": "residual+bn/relu",
}


def of(catalog: Sequence[Listed]) -> Lecture:
    """Return the lecture of a catalog."""
    return Lecture(catalog, THEMES, OPENING, bands, DISPUTES)


def bands(results: pathlib.Path) -> dict[str, Any]:
    """Return what ``gradient_flow`` measured before training, for the page of closed forms.

    'nets' holds, by 'net/activation/gain', natural logs of the signal's rms and of the gradient's
    norm, [seeds][layers]; it is empty where there is no record, or one of other nets.
    """
    told = {"width": 256, "batch": 32, "layers": _LAYERS, "seeds": 0, "gains": {}, "nets": {}}
    try:
        record = records.load(results / "gradient_flow")
    except UserError:
        return told
    config, arrays = record.config, record.arrays
    if config.get("depths", [0])[-1] != _LAYERS + 1:
        return told
    told |= {"width": config["width_followed"], "batch": config["batch_size"]}
    told |= {"seeds": config["seeds"]}
    told["gains"] = {"below": config["below"], "critical": 1.0, "above": config["above"]}
    for gain, activation in itertools.product(_GAINS, _PLAIN):
        name = f"image/{activation}/{gain}"
        if f"{name}/signal" in arrays:
            found = arrays[f"{name}/signal"], arrays[f"{name}/delta"]
            told["nets"][f"plain/{activation}/{gain}"] = _logs(*found)
    for gain, (net, shown) in itertools.product(_GAINS, _TRAINED.items()):
        name = f"{net}{_LAYERS + 1}/{gain}"
        if f"{name}/signal_std" in arrays:
            found = arrays[f"{name}/signal_std"], arrays[f"{name}/delta_norm"]
            told["nets"][f"{shown}/{gain}"] = _logs(*map(np.log, found))
    return told


def _logs(signal: np.ndarray, gradient: np.ndarray) -> dict[str, list]:
    """Return the hidden layers of both, [S, L], as JSON has them."""
    kept = {"signal": signal[:, :_LAYERS], "gradient": gradient[:, :_LAYERS]}
    return {name: np.round(logs.astype(float), _DIGITS).tolist() for name, logs in kept.items()}
