"""Millions of parameters: how large the published ImageNet nets are, to the unit.

Sources: Krizhevsky, Sutskever & Hinton 2012; Simonyan & Zisserman 2015 (arXiv 1409.1556), table 2;
Szegedy et al. 2015 (arXiv 1409.4842), section 1; He et al. 2016 (arXiv 1512.03385), tables 3, 4 and
6. Claim in one sentence: the sizes that these papers print follow from their tables of layers.

Command: make exp-model-sizes (under a minute on two cores, no data).

Weights and biases are counted, batch normalization's scales and shifts too, running statistics not.
AlexNet has two groups in layers 2, 4 and 5, as published; residual nets are counted from the code
that trains them, the others from their tables. Two published statements fail the arithmetic:
"removing any convolutional layer (each of which contains no more than 1% of the model's
parameters)", where layer 3 has 1.45 % and layer 4 1.09 % (both round to 1), and GoogLeNet's "12
times fewer parameters" than AlexNet, which is 8.7 times, and 10.2 without its classifier. Errors
are of one net on ten crops of the validation images, as the papers print them: AlexNet's by
Krizhevsky et al. 2012, table 2, the others' by He et al. 2016, table 3. A printed "60 million" is
read as one digit: 55 to 65. Nothing is trained.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from experiments.depth import _size_panels as panels
from jaxvision import cli
from jaxvision.fields import flagged
from jaxvision.models.published import (
    alexnet_parameters,
    googlenet_parameters,
    parameters_of,
    vgg_parameters,
)
from jaxvision.models.resnet import cifar_resnet, imagenet_resnet
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Within
from jaxvision.report.record import Record
from jaxvision.types import Figure


@dataclasses.dataclass(frozen=True)
class Net:
    """A published ImageNet net.

    Attributes:
      label: in the figure.
      family: its color.
      count: its parameters by part.
      dense: the parts that are dense layers.
      top5: top-5 error, percent, one net on ten crops; None where the papers have none.
      short: its name beside its neighbors in the figure; "" for its label.
    """

    label: str
    family: str
    count: Callable[[], dict[str, int]]
    dense: tuple[str, ...]
    top5: float | None = None
    short: str = ""


def _resnet(depth: int) -> dict[str, int]:
    return parameters_of(imagenet_resnet(depth), 224)


OF_VGG = ("fc1", "fc2", "fc3")
NETS = {
    "alexnet": Net("AlexNet", "AlexNet", alexnet_parameters, ("fc6", "fc7", "fc8"), 18.2),
    "vgg11": Net("VGG-11", "VGG", partial(vgg_parameters, 11), OF_VGG),
    "vgg13": Net("VGG-13", "VGG", partial(vgg_parameters, 13), OF_VGG),
    "vgg16": Net("VGG-16", "VGG", partial(vgg_parameters, 16), OF_VGG, 9.33),
    "vgg19": Net("VGG-19", "VGG", partial(vgg_parameters, 19), OF_VGG),
    "googlenet": Net("GoogLeNet", "GoogLeNet", googlenet_parameters, ("fc",), 9.15),
    "resnet18": Net("ResNet-18", "residual", partial(_resnet, 18), ("logits",)),
    "resnet34": Net("ResNet-34", "residual", partial(_resnet, 34), ("logits",), 7.46),
    "resnet50": Net("ResNet-50", "residual", partial(_resnet, 50), ("logits",), 6.71, "50"),
    "resnet101": Net("ResNet-101", "residual", partial(_resnet, 101), ("logits",), 6.05, "101"),
    "resnet152": Net("ResNet-152", "residual", partial(_resnet, 152), ("logits",), 5.71, "152"),
}
PARTS = ("cifar",)  # the nets of --cifar_depths, beside those of ImageNet
VGG_PRINTED = {"vgg11": 133, "vgg13": 133, "vgg16": 138, "vgg19": 144}  # millions, table 2
# He et al. 2016, table 6: millions as printed, and to how many digits.
CIFAR_PRINTED = {
    20: (0.27, 2),
    32: (0.46, 2),
    44: (0.66, 2),
    56: (0.85, 2),
    110: (1.7, 1),
    1202: (19.4, 1),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    nets: tuple[str, ...] = flagged(tuple(NETS), "ImageNet nets to count.", choices=tuple(NETS))
    cifar_depths: tuple[int, ...] = flagged(
        tuple(CIFAR_PRINTED), "Layers of CIFAR nets, 6n+2 each.", low=8, high=1202
    )


PRESETS = {
    "tiny": Config(cifar_depths=(20, 32)),
    "cpu": Config(),
    "gpu": Config(),
    "paper": Config(),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    nets: Mapping[str, Net] = NETS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Count; returns numbers by net, ``dense`` those of its dense layers alone."""
    depths = config.cifar_depths if "cifar" in parts else ()
    plain = {depth: cifar_resnet(depth, shortcut="none") for depth in depths}
    counted = [name for name in config.nets if name in nets]
    numbers = {"parameters": {}, "dense": {}, "cifar_a": {}, "cifar_plain": {}}
    arrays = {}
    with progress(len(counted) + len(plain), "counting") as bar:
        for name in counted:
            net, counts = nets[name], nets[name].count()
            numbers["parameters"][name] = sum(counts.values())
            numbers["dense"][name] = sum(counts[part] for part in net.dense)
            arrays[f"{name}/parts"] = np.array(list(counts.values()))
            bar.advance(1)
        for depth, net in plain.items():
            residual = parameters_of(cifar_resnet(depth), 32)
            numbers["cifar_a"][str(depth)] = sum(residual.values())
            numbers["cifar_plain"][str(depth)] = sum(parameters_of(net, 32).values())
            bar.advance(1)
    return numbers, arrays


CONVOLUTIONS = 5  # of AlexNet, its first parts


def conv_shares(record: Record) -> np.ndarray:
    """Return the share of AlexNet's parameters that each of its convolutions has, percent."""
    parts = record.arrays["alexnet/parts"]
    return 100 * parts[:CONVOLUTIONS] / parts.sum()


def millions(record: Record, net: str) -> float:
    """Return a net's parameters in millions."""
    return record.numbers["parameters"][net] / 1e6


def claims(config: Config) -> list[Claim]:
    """Return what the papers print; the rules are fixed here."""
    krizhevsky, he = "Krizhevsky et al. 2012", "He et al. 2016"

    def lacking(*names: str) -> str:
        return "" if {*names} <= {*config.nets} else f"needs --nets={','.join(names)}"

    def vgg(r: Record) -> float:
        return max(abs(millions(r, net) - printed) for net, printed in VGG_PRINTED.items())

    def misprints(r: Record) -> int:  # of table 6
        found = r.numbers["cifar_a"]
        return sum(
            round(found[str(depth)] / 1e6, digits) != printed
            for depth, (printed, digits) in CIFAR_PRINTED.items()
        )

    def option_a(r: Record) -> int:  # the most that a shortcut adds
        a, plain = r.numbers["cifar_a"], r.numbers["cifar_plain"]
        return max(abs(a[depth] - plain[depth]) for depth in a)

    table6 = ",".join(map(str, CIFAR_PRINTED))
    few = "" if {*CIFAR_PRINTED} <= {*config.cifar_depths} else f"needs --cifar_depths={table6}"
    return [
        Claim(
            "one-percent",
            f"{krizhevsky}, introduction",
            "each of AlexNet's convolutions has no "
            "more than 1 % of its parameters (convolutions with more)",
            lambda r: np.count_nonzero(conv_shares(r) > 1),
            Within(0, 0.5),
            "paper",
            lacking("alexnet"),
            needs=("alexnet",),
        ),
        Claim(
            "twelve-times",
            "Szegedy et al. 2015, section 1",
            "GoogLeNet has 12 times fewer parameters than AlexNet (times)",
            lambda r: millions(r, "alexnet") / millions(r, "googlenet"),
            Within(12, 0.5),
            "paper",
            lacking("alexnet", "googlenet"),
            needs=("alexnet", "googlenet"),
        ),
        Claim(
            "sixty-million",
            f"{krizhevsky}, abstract",
            "AlexNet has 60 million parameters (millions)",
            lambda r: millions(r, "alexnet"),
            Within(60, 5),
            "paper",
            lacking("alexnet"),
            needs=("alexnet",),
        ),
        Claim(
            "vgg",
            "Simonyan & Zisserman 2015, table 2",
            "VGG nets have 133, 133, 138 and 144 million parameters (largest difference, millions)",
            vgg,
            Within(0, 0.5),
            "paper",
            lacking(*VGG_PRINTED),
            needs=tuple(VGG_PRINTED),
        ),
        Claim(
            "cifar",
            f"{he}, table 6",
            "CIFAR nets have .27, .46, .66, .85, 1.7 and 19.4 million "
            "parameters (numbers that rounding does not give)",
            misprints,
            Within(0, 0.5),
            "paper",
            few,
            needs=("cifar",),
        ),
        Claim(
            "option-a",
            f"{he}, section 3.3",
            "shortcuts of option A add no parameters (the most that they add)",
            option_a,
            Within(0, 0.5),
            "theory",
            needs=("cifar",),
        ),
        Claim(
            "same-size",
            "question, sizes",
            "ResNet-152 is as large as AlexNet (ratio)",
            lambda r: millions(r, "resnet152") / millions(r, "alexnet"),
            Within(1, 0.02),
            "theory",
            lacking("alexnet", "resnet152"),
            needs=("alexnet", "resnet152"),
        ),
    ]


def plot(record: Record, config: Config) -> Figure:
    """Draw parameters by net, the published errors over them, and AlexNet's convolutions."""
    nets = {name: NETS[name] for name in config.nets}
    figure, bars, (errors, shares) = panels.new_figure()
    sizes = {
        name: panels.Size(
            net.label,
            net.short,
            plots.color_of(net.family),
            millions(record, name),
            record.numbers["dense"][name] / 1e6,
        )
        for name, net in nets.items()
    }
    panels.draw_sizes(bars, sizes, base="alexnet", compared="googlenet")
    plots.describe(bars, "Millions of parameters\n(pale: dense layers)", "", "")
    plots.mark_contradicted(bars, record, "twelve-times")
    panels.draw_errors(errors, [(sizes[name], net.top5) for name, net in nets.items() if net.top5])
    title = "Published errors (one net, ten crops)"
    plots.describe(errors, title, "millions of parameters", "top-5 error, %")
    if "alexnet" in nets:
        panels.draw_shares(shares, conv_shares(record), plots.color_of("AlexNet"))
    title = "AlexNet's convolutions:\neach at most 1 % of its parameters?"
    plots.describe(shares, title, "layer", "share, %")
    plots.mark_contradicted(shares, record, "one-percent")
    title = plots.headline(
        record,
        {"same-size": "ResNet-152 is as large as AlexNet"},
        "How large the published nets are",
    )
    return plots.finish(
        figure,
        record,
        title,
        net="Layers as published",
        optimizer="Nothing is trained",
        paper="Krizhevsky 2012, Simonyan 2015, Szegedy 2015, He 2016",
        data="ImageNet, 1,000 classes",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
