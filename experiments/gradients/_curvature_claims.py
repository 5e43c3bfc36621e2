"""The claims of curvature; their rules are fixed here."""

from typing import Any

import numpy as np

from experiments.gradients import _descent as descending
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share, Statistic
from jaxvision.report.record import Record

COHEN, FIGURE = "Cohen et al. 2021, abstract", "Cohen et al. 2021, figure 1"


def claims_of(config: Any) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return [
        *_of_the_edge(config),
        *_of_the_loss(config),
        *_below_the_edge(config),
        *_of_batch_norm(config),
        *_of_kernels(config),
    ]


def _hover(net: str, mode: str, row: int, threshold: float) -> Statistic:
    """Return the late sharpness over its threshold 2 / rate."""
    return lambda r: descending.late_mean(r.arrays[f"{net}/sharpness_{mode}"][row]) / threshold


def _of_the_edge(config: Any) -> list[Claim]:
    at_each = [_hover("mlp", "train", i, at) for i, at in enumerate(config.thresholds)]

    def mean_over_rates(record: Record) -> np.ndarray:
        return np.mean([hover(record) for hover in at_each], axis=0)

    of_rates = [
        Claim(
            f"hovers-{at:g}",
            FIGURE,
            f"2 / rate = {at:g}: sharpness stays there (their ratio, second half of the run)",
            hover,
            Equivalent(0.03, target=1.0),
            needs=("mlp",),
        )
        for at, hover in zip(config.thresholds, at_each, strict=True)
    ]
    return [
        *of_rates,
        Claim(
            "just-above",
            COHEN,
            "sharpness hovers just above 2 / rate, not below (mean over the rates)",
            mean_over_rates,
            Greater(1.0),
            needs=("mlp",),
        ),
    ]


def _of_the_loss(config: Any) -> list[Claim]:
    def rises(record: Record) -> np.ndarray:
        late = record.arrays["mlp/loss"][:-1, :, config.steps // 2 :]
        return (np.diff(late) > 0).any(-1).all(0)

    return [
        Claim(
            "loss-rises",
            COHEN,
            "at the edge some steps raise the loss, at every rate",
            rises,
            Share(0.7),
            needs=("mlp",),
        ),
        Claim(
            "loss-falls",
            COHEN,
            "yet over long times the loss falls: each fifth of the run is below the one before, "
            "at every rate",
            _falls,
            Share(0.7),
            needs=("mlp",),
        ),
    ]


def _falls(record: Record) -> np.ndarray:
    """Return whether each fifth of the run lies below the one before, at every rate."""
    parts = np.array_split(record.arrays["mlp/loss"][:-1], 5, axis=-1)
    fifths = np.stack([part.mean(-1) for part in parts])
    return (np.diff(fifths, axis=0) < 0).all((0, 1))


def _below_the_edge(config: Any) -> list[Claim]:
    def calm(record: Record) -> np.ndarray:
        below = record.arrays["mlp/sharpness_train"][-1] < config.calm_threshold
        return below.all(-1) & (np.diff(record.arrays["mlp/loss"][-1]) < 0).all(-1)

    return [
        Claim(
            "sharpening",
            "Cohen et al. 2021, section 3",
            "below the edge sharpness keeps rising (log of last over first at the smallest rate)",
            _sharpening,
            Greater(),
            needs=("mlp",),
        ),
        Claim(
            "calm",
            "negative control, a rate too small",
            "below the edge the loss falls at every step",
            calm,
            Share(0.7),
            needs=("mlp",),
        ),
    ]


def _sharpening(record: Record) -> np.ndarray:
    sharpness = record.arrays["mlp/sharpness_train"][-1]
    return np.log(sharpness[:, -1] / sharpness[:, 0])


def _of_batch_norm(config: Any) -> list[Claim]:
    threshold = config.batch_norm_threshold
    by_train, by_eval = (_hover("batch_norm", mode, 0, threshold) for mode in ("train", "eval"))
    return [
        Claim(
            "batch-norm-train",
            "Cohen et al. 2021, batch norm",
            "with batch norm the sharpness of train mode stays at 2 / rate",
            by_train,
            Equivalent(0.03, target=1.0),
            needs=("batch_norm",),
        ),
        Claim(
            "batch-norm-eval",
            "question, batch norm",
            "with batch norm the sharpness of eval mode is above train mode's (difference over 2 "
            "/ rate)",
            lambda r: by_eval(r) - by_train(r),
            Greater(),
            needs=("batch_norm",),
        ),
    ]


def _of_kernels(config: Any) -> list[Claim]:
    def power(kind: str, widest: int) -> Statistic:
        return lambda record: _slope(config.widths[-widest:], record.arrays[f"drift/{kind}"])

    all_widths = len(config.widths)
    return [
        Claim(
            "lazy-bound",
            "Lee et al. 2019, theorem on wide nets",
            "the kernel's relative change falls faster than 1 / sqrt(width) (power of width)",
            power("lazy", all_widths),
            Less(-0.5),
            needs=("kernels",),
        ),
        Claim(
            "lazy",
            "Dyer & Gur-Ari 2020, corrections of order 1 / width",
            "the kernel's relative change falls as 1 / width between the two widest nets (power "
            "of width)",
            power("lazy", 2),
            Equivalent(0.1, target=-1.0),
            needs=("kernels",),
        ),
        Claim(
            "feature",
            "Yang & Hu 2021, feature learning",
            "with the output scaled down by sqrt(width) the kernel moves alike at every width "
            "(power of width)",
            power("feature", all_widths),
            Equivalent(0.15),
            needs=("kernels",),
        ),
    ]


def _slope(widths: tuple[int, ...], drift: np.ndarray) -> np.ndarray:
    """Return the slope [S] of the log of the last drifts [widths, S] over that of their widths."""
    with np.errstate(divide="ignore", invalid="ignore"):  # no drift, no power: NaN
        log_drift = np.log(drift[-len(widths) :])
        return np.polyfit(np.log(widths), log_drift, 1)[0]
