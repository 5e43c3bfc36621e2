"""One color one meaning, over all figures of the gallery."""

import numpy as np

# The first of each group are Okabe and Ito's, which color-blind readers can tell apart; names that
# meet in one figure differ in lightness too.
_MEANINGS = {
    # how weights start
    "He": "#0072B2",
    "Xavier": "#D55E00",
    "Flax": "#CC79A7",
    "orthogonal": "#5E3C99",
    "Gaussian": "#B35806",
    "delta-orthogonal": "#1A9850",
    # optimizers
    "SGD": "#E69F00",
    "SGD, biases": "#8C6D1F",
    "Adam": "#009E73",
    "Adam, biases": "#56B4E9",
    "momentum": "#A0402B",
    "Muon": "#4B2E83",
    # rates of a larger batch
    "scaled up": "#C0392B",
    "with warm-up": "#D68910",
    "own best rate": "#2E6F40",
    # nets
    "plain": "#C1440E",
    "residual": "#0A7E8C",
    "plain + BN": "#B83280",
    "residual + BN": "#4A7C10",
    "AlexNet": "#8C2D04",
    "VGG": "#54278F",
    "GoogLeNet": "#D4A017",
    "tanh": "#2166AC",
    "ReLU": "#A6611A",
    "sigmoid": "#7B3294",
    "linear": "#737373",
    "batch norm": "#C51B7D",
    "dropout": "#4DAC26",
    "no dropout": "#525252",
    "max-norm": "#8C510A",
    "dropout + max-norm": "#1B6B3A",
    "Gaussian dropout": "#3288BD",
    # averages
    "one net": "#636363",
    "ensemble": "#2171B5",
    "wide net": "#B35900",
    "long run": "#7A0177",
    "SWA": "#C6422E",
    "moving average": "#2CA25F",
    "shallow": "#444444",
    "identity layers": "#0868AC",
    "random layers": "#CB181D",
    "from scratch": "#FD8D3C",
    "conv net": "#08519C",
    "dense net": "#E6550D",
    "histograms": "#31A354",
    # images
    "train": "#6A3D9A",
    "test": "#B15928",
    # how much data
    "equal steps": "#2C3E94",
    "equal epochs": "#CC4C02",
    "moved copies": "#5AAE61",
    "own classes": "#4A1486",
    "other classes": "#006D9C",
    "others, random": "#9A9A9A",
    "lesion": "#4D4D9F",
    # what is looked at
    "logistic map": "#3B3B98",
    "train mode": "#B8860B",
    "eval mode": "#6BAED6",
    "lazy": "#8856A7",
    "feature": "#E7298A",
    "measured edge": "#FF7F00",
    "ordered phase": "#1F78B4",
    "chaotic phase": "#E31A1C",
    "vanishes": "#92C5DE",
    "explodes": "#F4A582",
    # batch norm's statistics
    "population": "#1B7837",
    "EMA .99": "#D6604D",
    "EMA .99, debiased": "#4393C3",
    "one class": "#762A83",
    "biased, 64": "#DE77AE",
    "biased, 4": "#EC7014",
    "256, per 64": "#225EA8",
    "noisy BN": "#F0A202",
    # searches for pixels
    "everything tried": "#333399",
    "black and white tried": "#7F5FBF",
    "evolution, paper's budget": "#C2185B",
    "evolution, library's budget": "#F48FB1",
    "random pixel": "#8A8A8A",
    # searches for fooling images
    "evolved pixels": "#006837",
    "evolved CPPN": "#D94801",
    "random pixels": "#78C679",
    "random black and white": "#525266",
    "random CPPN": "#FDAE6B",
    "gradient ascent": "#54278A",
    # kinds of nets that are broken
    "softmax": "#6E6E6E",
    "MLP": "#DB5A0B",
    "deep MLP": "#A63603",
    "ResNet": "#0A6E7C",
    # what breaks them, and what they learn from
    "ascent": "#B2182B",
    "DeepFool": "#6A1F7A",
    "best pattern": "#14733A",
    "best of noise": "#848484",
    "FGSM": "#D95F02",
    "PGD": "#A8142A",
    "worst of all": "#3F007D",
    "noise": "#949494",
    "clean images": "#2B5EA8",
    "half FGSM": "#E08214",
    "half FGSM, small": "#A66FB5",
    "FGSM alone": "#B8166F",
    "random start": "#7570B3",
    "PGD training": "#226B3C",
    "noise training": "#4D4D4D",
    "gradients' cosine": "#01665E",
    # what is done to images, and nets that know it
    "shift": "#1D6996",
    "scale": "#CC503E",
    "turn": "#94346E",
    "turn, trained turned": "#38A6A5",
    "layer 1": "#E17C05",
    "top layer": "#0F8554",
    "trained upright": "#5F4690",
    "trained turned": "#73AF48",
    "strided": "#6F4070",
    "blurred": "#EDAD08",
    # ways to make pictures of classes, and what is climbed
    "no prior": "#5C5C5C",
    "L2": "#A6761D",
    "blur": "#66A61E",
    "no prior, +2": "#2D004B",
    "no prior, +20": "#7B4173",
    "Yosinski 1": "#BCBDDC",
    "Yosinski 2": "#9E9AC8",
    "Yosinski 3": "#756BB1",
    "Yosinski 4": "#4E3A94",
    "Fourier": "#E6862A",
    "Fourier + jitter": "#CE1256",
    "logit": "#1C6CA8",
    "log p": "#41AB5D",
    "p": "#EF3B2C",
    "total variation": "#B8A200",
    # units along training
    "He + BN": "#00A6D6",
    "Xavier + BN": "#F4A259",
    "units": "#2F4B7C",
    "random directions": "#D45087",
    # ways to make images larger
    "enlarged: transposed": "#8E1B63",
    "enlarged: gradient": "#2A2A72",
    "enlarged: resized first": "#2F8F5B",
    # what lies beside an object, or is worn by it
    "patch": "#BF2C6D",
    "one place": "#E29ABF",
    "real object": "#1F6F54",
    "gray": "#6B6B6B",
    "pattern": "#3A5FA8",
    # attacks whose images are printed
    "fast": "#E8731A",
    "basic iterative": "#A1122F",
    "least likely": "#3D2B8E",
    # pictures that hold in every pose
    "EOT": "#5B0E91",
    "target class": "#2E8B57",
    # games of a generator and a discriminator
    "flow": "#30568C",
    "by turns": "#1E8A6E",
    "both at once": "#D1495B",
    "R1": "#8F4E9E",
    "no R1": "#E59866",
    "misprint": "#A04000",
    "non-saturating": "#1A6FA3",
    "saturating": "#C8553D",
    "data": "#3D6FB6",
    "generated": "#E07B39",
    "discriminator": "#7B4B94",
    "own points": "#C2477F",
    "all points": "#4A7F9B",
    "equal rates": "#2A6F97",
    "slow D": "#7A1F5C",
    "unrolled": "#3A8B5C",
    "seven places": "#6D597A",
    # games of two nets, by Adam's beta1, and what is measured of them
    "β₁ = .5": "#13678A",
    "β₁ = .9": "#BF4417",
    "mixed batch norm": "#6A994E",
    "mixed for D alone": "#B08D1E",
    "between codes": "#45818E",
    "memorizer": "#7D2E68",
    # generators of clips, and what their masks are held against
    "two streams": "#0B6E4F",
    "no penalty": "#8FBF6A",
    "one stream": "#C4572B",
    "another clip's mask": "#9C9C6E",
    "real clips": "#3F4E8C",
    # what is sent back to the pixels
    "gradient": "#1B6CA8",
    "softmax's gradient": "#79A8CC",
    "deconvnet": "#B5651D",
    "guided backprop": "#1E8449",
    "occlusion": "#8E2A6B",
    # what drives a net that is watched while it learns
    "weight decay": "#00876C",
    "small start": "#E0A100",
    "other draws": "#9DB4C0",
    "wider": "#7A5195",
    # learnt priors of class pictures
    "GAN": "#0B7285",
    "inverter": "#A61E4D",
    "no discriminator": "#E599B0",
    "no bounds": "#C27C2C",
    "untrained inverter": "#8D99AE",
    "dense net, no prior": "#9C9C86",
    "dense net, inverter": "#5F2167",
    "distance to the class": "#1D5FA8",
    "distance between pictures": "#B8540F",
}
THEORY_COLOR = "#333333"
CONTRADICTED_COLOR = "#B00020"


def color_of(meaning: str) -> str:
    """Return the color that stands for ``meaning`` in every figure, '#RRGGBB'.

    Raises:
      ValueError: the table has no such meaning; a new one gets a color of its own there.
    """
    if meaning not in _MEANINGS:
        raise ValueError(f"no color stands for {meaning!r}: add it to report/colors.py")
    return _MEANINGS[meaning]


def shades(count: int) -> list[str]:
    """Return ``count`` colors from light to dark, for an ordered quantity: depth, step, rate."""
    from matplotlib import colormaps, colors  # only who draws waits for them

    # The lightest and the darkest end are left out: the one is faint, the other is theory's.
    places = [0.35] if count == 1 else np.linspace(0.82, 0.12, count)
    return [colors.to_hex(colormaps["viridis"](place)) for place in places]
