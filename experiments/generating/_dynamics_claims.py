"""The claims of gan_dynamics."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from experiments.generating import _dirac as dirac
from experiments.generating import _dynamics as dynamics
from jaxvision.report.claims import Claim, Greater, Less, Within
from jaxvision.report.record import Record

MESCHEDER = "Mescheder et al. 2018"


def complex_of(record: Record, name: str) -> np.ndarray:
    """Return eigenvalues complex [..., 2] of a record."""
    parts = np.float64(record.arrays[f"eigenvalues/{name}"])
    return parts[..., 0] + 1j * parts[..., 1]


def decay_of(record: Record, name: str) -> np.ndarray:
    """Return how fast the slower of two eigenvalues decays, [...]."""
    return -complex_of(record, name).real.max(-1)


def critical(values: np.ndarray, decay: np.ndarray) -> float:
    """Return the one of ``values`` [N] at which the decay [N] is fastest."""
    return float(values[np.argmax(decay)])


def edge(record: Record) -> float:
    """Return the largest rate at which a step by turns does not stretch."""
    radii = record.arrays["radius/alternating/rate"]
    return float(dynamics.RATES[radii < 1.001].max(initial=0.0))


def momentum_gap(record: Record) -> float:
    """Return the largest difference of a step's spectral radius from its closed form."""
    rows = zip(
        dynamics.BETAS,
        record.arrays["radius/simultaneous/momentum"],
        record.arrays["radius/alternating/momentum"],
        strict=True,
    )
    gaps = [
        gap
        for beta, at_once, by_turns in rows
        for gap in (
            abs(at_once - dirac.radius_at_once(dynamics.RATE, beta)),
            abs(by_turns - dirac.radius_by_turns(dynamics.RATE, beta)),
        )
    ]
    return max(gaps)


def spectrum_gap(record: Record, drags: Mapping[str, float]) -> float:
    """Return the largest difference of the games' eigenvalues from their closed forms."""
    gaps = [np.abs(decay_of(record, "gamma") + dirac.damped(dynamics.GAMMAS).real.max(-1)).max()]
    for name in ("saturating", "non_saturating", "r1", "noise"):
        found, form = complex_of(record, name), dirac.damped(drags[name])
        gaps.append(np.abs(found.real - form.real).max())
        gaps.append(np.abs(np.abs(found.imag) - np.abs(form.imag)).max())
    return float(max(gaps))


def circle_gap(record: Record) -> np.ndarray:
    """Return the largest departure of r^2 / 2h from 1 over rates, [S]."""
    return np.abs(record.arrays["steps/circle"] - 1).max(1)


def rate_gap(record: Record) -> np.ndarray:
    """Return the largest relative difference of R1's decay from its closed form, [S]."""
    form = -dirac.damped(np.array(dynamics.TIMED_GAMMAS)).real.max(-1)
    return np.abs(record.arrays["flow/r1/decay"] / form - 1).max(1)


def last(record: Record, name: str, arm: int) -> np.ndarray:
    """Return a number of the small GANs at the end, [S]; ``arm``: 0 without R1, 1 with it."""
    return record.arrays[f"small/{name}"][:, arm, -1]


def claims_of(drags: Mapping[str, float]) -> list[Claim]:
    """Return the claims; ``drags``: of each game's discriminator at rest.

    All but those of small GANs need every game: a part measures them side by side.
    """
    of_games = [
        *_of_circles(),
        _of_eigenvalues(drags),
        *_of_the_non_saturating_loss(),
        *_of_r1_and_noise(),
        *_of_clipping_and_penalty(),
        *_of_momentum(),
    ]
    told = [dataclasses.replace(claim, needs=(*drags, *claim.needs)) for claim in of_games]
    return [*told, *_of_small_gans()]


def _of_circles() -> list[Claim]:
    return [
        Claim(
            "circle",
            f"{MESCHEDER}, lemma 2.3",
            "Saturating: the flow keeps theta^2 + psi^2 (largest relative change)",
            lambda r: r.arrays["flow/saturating/departure"],
            Within(0.0, 1e-3),
            "theory",
            needs=("flows",),
        ),
        Claim(
            "circle-wasserstein",
            f"{MESCHEDER}, section 3.1",
            "Wasserstein: the flow keeps theta^2 + psi^2 (largest relative change)",
            lambda r: r.arrays["flow/wasserstein/departure"],
            Within(0.0, 1e-3),
            "theory",
            needs=("flows",),
        ),
        Claim(
            "grows",
            f"{MESCHEDER}, lemma 2.4",
            "Saturating, both at once: a step of h stretches r^2 by 1 + h^2 f'(psi theta)^2 "
            "(largest difference)",
            lambda r: r.arrays["steps/saturating/departure"],
            Within(0.0, 1e-4),
            "theory",
            needs=("steps",),
        ),
        Claim(
            "edge",
            f"{MESCHEDER}, lemma 2.5",
            "Saturating, by turns: steps up to h = 4 do not stretch, longer ones do",
            edge,
            Within(4.0, 0.11),
            "theory",
            needs=("steps",),
        ),
    ]


def _of_eigenvalues(drags: Mapping[str, float]) -> Claim:
    return Claim(
        "eigenvalues",
        f"{MESCHEDER}, lemmas 2.2, 3.2 and 3.3",
        "The flow's eigenvalues at rest are +-i/2 for both GAN losses, and those of R1 and "
        "instance noise have their closed forms (largest difference)",
        lambda r: spectrum_gap(r, drags),
        Within(0.0, 1e-3),
        "theory",
        needs=("eigenvalues",),
    )


def _of_the_non_saturating_loss() -> list[Claim]:
    return [
        Claim(
            "falls-in",
            "derived by averaging",
            "Non-saturating: the flow falls in, 1 / r^2 rising by 1/8 a unit of time",
            lambda r: r.arrays["flow/non_saturating/slope"],
            Within(0.125, 0.02, relative=True),
            "theory",
            needs=("flows",),
        ),
        Claim(
            "falls-in-by-turns",
            "derived by averaging",
            "Non-saturating, by turns: 1 / r^2 rises by 1/8 a unit of time, as in the flow",
            lambda r: r.arrays["steps/non_saturating/slope"],
            Within(0.125, 0.02, relative=True),
            "theory",
            needs=("steps",),
        ),
        Claim(
            "imaginary-stays",
            f"{MESCHEDER}, title and lemma 2.3 read as a rule for all losses",
            "Imaginary eigenvalues mean that the flow does not converge: the non-saturating one "
            "keeps its distance (at the end over at the start)",
            lambda r: r.arrays["flow/non_saturating/left"],
            Within(1.0, 0.1),
            "theory",
            needs=("flows",),
        ),
        Claim(
            "end-circle",
            "derived by averaging",
            "Non-saturating, both at once: steps of h end on the circle r^2 = 2h (largest "
            "relative difference, h from .05 to .2)",
            circle_gap,
            Within(0.0, 0.03),
            "theory",
            needs=("steps",),
        ),
    ]


def _of_r1_and_noise() -> list[Claim]:
    return [
        Claim(
            "r1-rates",
            f"{MESCHEDER}, lemma 3.3",
            "R1 of gamma .1, .3 and 2: the flow decays at the rate of its eigenvalues (largest "
            "relative difference)",
            rate_gap,
            Within(0.0, 0.03),
            "theory",
            needs=("flows",),
        ),
        Claim(
            "r1-critical",
            f"{MESCHEDER}, lemma 3.3",
            "R1 damps fastest at gamma = 2 f'(0) = 1",
            lambda r: critical(dynamics.GAMMAS, decay_of(r, "gamma")),
            Within(1.0, 0.02),
            "theory",
            needs=("eigenvalues",),
        ),
        Claim(
            "r1-critical-misprint",
            "Huang et al. 2024, equation 12 as printed (f'(0) under the root, not its square)",
            "R1 damps fastest at gamma = 2 sqrt(f'(0)) = 1.414",
            lambda r: critical(dynamics.GAMMAS, decay_of(r, "gamma")),
            Within(2**0.5, 0.02),
            "theory",
            needs=("eigenvalues",),
        ),
        Claim(
            "noise-critical",
            f"{MESCHEDER}, lemma 3.2",
            "Instance noise damps fastest at sigma = sqrt(2)",
            lambda r: critical(dynamics.SIGMAS, decay_of(r, "sigma")),
            Within(2**0.5, 0.02),
            "theory",
            needs=("eigenvalues",),
        ),
    ]


def _of_clipping_and_penalty() -> list[Claim]:
    return [
        Claim(
            "stays-clipped",
            f"{MESCHEDER}, lemma 3.1",
            "Clipped Wasserstein, five moves of the discriminator a step: the generator stays "
            "away from the data (root mean square of theta late)",
            lambda r: r.arrays["steps/clipped/swing"],
            Greater(0.1),
            needs=("steps",),
        ),
        Claim(
            "stays-penalty",
            f"{MESCHEDER}, lemma 3.1",
            "WGAN-GP, five moves of the discriminator a step: the generator stays away from the "
            "data (root mean square of theta late)",
            lambda r: r.arrays["steps/penalty/swing"],
            Greater(0.1),
            needs=("steps",),
        ),
    ]


def _of_momentum() -> list[Claim]:
    return [
        Claim(
            "momentum",
            "Gidel et al. 2018, section 3 (characteristic polynomials)",
            "With momentum -.5 to .9 a step's spectral radius is that of its polynomial, both at "
            "once and by turns (largest difference)",
            momentum_gap,
            Within(0.0, 1e-3),
            "theory",
            needs=("steps",),
        ),
        Claim(
            "negative-momentum",
            "Gidel et al. 2018, abstract",
            "By turns, momentum -.25 makes the rotation contract (spectral radius below 1)",
            lambda r: _by_turns(-0.25, r),
            Within(0.998, 0.0019),
            "theory",
            needs=("steps",),
        ),
        Claim(
            "adam-order",
            "Radford et al. 2016, section 3 (beta1 .9 oscillates, .5 helps)",
            "By turns, momentum .9 stretches a step more than .5 does, by .160",
            lambda r: _by_turns(0.9, r) - _by_turns(0.5, r),
            Within(0.16, 0.005),
            "theory",
            needs=("steps",),
        ),
    ]


def _by_turns(beta: float, record: Record) -> float:
    """Return the spectral radius of a step by turns with momentum ``beta``."""
    row = list(dynamics.BETAS).index(beta)
    return float(record.arrays["radius/alternating/momentum"][row])


def _of_small_gans() -> list[Claim]:
    return [
        Claim(
            "nets-turn",
            "Berard et al. 2020, abstract",
            "Small GAN: the game turns where training has come to (share of the spectrum that is "
            "imaginary above .05)",
            lambda r: last(r, "turning", 0),
            Greater(0.05),
            needs=("small_gans",),
        ),
        Claim(
            "nets-saddle",
            "Berard et al. 2020, abstract",
            "Small GAN: the end is a saddle of the generator's loss (lowest eigenvalue of its "
            "Hessian over the largest below -.05)",
            lambda r: last(r, "lowest", 0),
            Less(-0.05),
            needs=("small_gans",),
        ),
        Claim(
            "nets-calmer",
            f"{MESCHEDER}, section 4",
            "Small GAN: with R1 a smaller share of the spectrum is imaginary (with less without)",
            lambda r: last(r, "turning", 1) - last(r, "turning", 0),
            Less(0.0),
            needs=("small_gans",),
        ),
    ]
