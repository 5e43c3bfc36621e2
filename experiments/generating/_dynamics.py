"""What gan_dynamics measures: paths of Dirac-GANs, their rates, and spectra."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from experiments.generating import _dirac as dirac
from experiments.generating import _small_gan as small_gan
from jaxvision.generative.game import Step, alternating

Arrays = dict[str, np.ndarray]
Games = Mapping[str, dirac.Rules]

START = (1.0, 1.0)  # of the authors' notebook, with steps of .2
RATE = 0.2
DRAWN = ("saturating", "non_saturating", "r1")
GAMMAS = np.arange(0, 3.005, 0.01)
SIGMAS = np.arange(0, 2.505, 0.01)
TIMED_GAMMAS = (0.1, 0.3, 2.0)  # whose decay is read off a flow
RATES = np.arange(0.5, 6.05, 0.1)  # among which the edge of alternating steps lies, 4
BETAS = (-0.5, -0.25, 0.0, 0.5, 0.9)
CIRCLED_RATES = (0.05, 0.1, 0.2)  # of simultaneous steps that end on a circle
SMALL_GAMMAS = (0.0, 1.0)  # R1 of the small GANs
KEPT = 200  # places of a path


def starts_of(first_seed: int, count: int) -> np.ndarray:
    """Return a place [count, 2] for each seed, at a distance of .8 to 1.2."""
    places = []
    for seed in range(first_seed, first_seed + count):
        draws = np.random.default_rng(seed)
        angle, radius = draws.uniform(0, 2 * np.pi), draws.uniform(0.8, 1.2)
        places.append((radius * np.cos(angle), radius * np.sin(angle)))
    return np.array(places)


def _crossed(games: list[dirac.Rules], starts: np.ndarray) -> tuple[dirac.Rules, np.ndarray]:
    """Return every game at every start: fields and places [G * S, ...]."""
    rules = dirac.stacked([game for game in games for _ in starts])
    return rules, np.tile(starts, (len(games), 1))


def portraits(games: Games, orders: Mapping[str, Step]) -> Arrays:
    """Return paths [T, 2] of the flow and of steps, from one start."""
    rules = dirac.stacked([games[name] for name in DRAWN])
    starts = np.tile(np.array([START]), (len(DRAWN), 1))
    found = {
        "flow": dirac.flows(
            rules,
            starts,
            60.0,
            400,
        )
    }
    for order, step in orders.items():
        found[order] = dirac.walks(
            step,
            rules,
            starts,
            300,
        )
    return {
        f"portrait/{name}/{way}": paths[i]
        for way, paths in found.items()
        for i, name in enumerate(DRAWN)
    }


def eigenvalues_of(games: Games, slope_of_r1: float) -> Arrays:
    """Return eigenvalues at rest as [..., 2 eigenvalues, 2 parts], by game, gamma and sigma."""
    saturating = games["saturating"]
    damped = [saturating._replace(gamma=np.float32(slope_of_r1 * g)) for g in GAMMAS]
    noisy = [saturating._replace(sigma=np.float32(sigma)) for sigma in SIGMAS]
    plain = ("saturating", "non_saturating", "wasserstein", "r1", "noise")
    rules = [*(games[name] for name in plain), *damped, *noisy]
    values = dirac.eigenvalues(dirac.stacked(rules))
    parts = np.stack([values.real, values.imag], -1)
    of_games, of_gammas, of_sigmas = np.split(parts, [len(plain), len(plain) + len(damped)])
    by_game = {f"eigenvalues/{name}": of_games[i] for i, name in enumerate(plain)}
    return by_game | {"eigenvalues/gamma": of_gammas, "eigenvalues/sigma": of_sigmas}


def flowing(games: Games, starts: np.ndarray, seconds: float, slope_of_r1: float) -> Arrays:
    """Return what the flow does to the distance r from rest: rates [S] and [S, G]."""
    names = ("saturating", "wasserstein", "non_saturating")
    damped = [
        games["saturating"]._replace(gamma=np.float32(slope_of_r1 * gamma))
        for gamma in TIMED_GAMMAS
    ]
    rules, places = _crossed([*(games[name] for name in names), *damped], starts)
    radii = np.linalg.norm(
        dirac.flows(
            rules,
            places,
            seconds,
            KEPT,
        ),
        axis=-1,
    )
    radii = radii.reshape(
        -1,
        len(starts),
        KEPT + 1,
    )
    times = np.linspace(0, seconds, KEPT + 1)
    saturating, wasserstein, falling, *decaying = radii
    return {
        "flow/saturating/departure": _departure(saturating),
        "flow/wasserstein/departure": _departure(wasserstein),
        "flow/non_saturating/slope": slope(times, falling),
        "flow/non_saturating/left": falling[:, -1] / falling[:, 0],
        "flow/r1/decay": np.stack([-_log_slope(times, each) for each in decaying], -1),
    }


def _departure(radii: np.ndarray) -> np.ndarray:
    """Return the largest change of r^2 over its start, [S], of distances [S, T]."""
    return np.abs(np.square(radii / radii[:, :1]) - 1).max(1)


def slope(times: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return how fast 1 / r^2 rises, [S], over the last three quarters of distances [S, T]."""
    late = slice(len(times) // 4, None)
    return np.polyfit(
        times[late],
        1 / np.square(radii[:, late].T),
        1,
    )[0]


def _log_slope(times: np.ndarray, radii: np.ndarray) -> np.ndarray:
    late = slice(len(times) // 10, None)
    return np.polyfit(
        times[late],
        np.log(np.maximum(radii[:, late].T, 1e-30)),
        1,
    )[0]


def stepping(
    games: Games, orders: Mapping[str, Step], starts: np.ndarray, seconds: float
) -> Arrays:
    """Return what steps do: growth, circles, radii of one step, and who stays away."""
    at_once, by_turns = orders["simultaneous"], orders["alternating"]
    non_saturating = games["non_saturating"]
    found = growing(games["saturating"], at_once, starts)
    turned = [non_saturating._replace(rate=np.float32(RATE))] * len(starts)
    thinned = max(1, round(4 * seconds / RATE / KEPT))
    path = dirac.walks(
        by_turns,
        dirac.stacked(turned),
        starts,
        KEPT,
        thinned,
    )
    times = RATE * thinned * np.arange(KEPT + 1)
    found["steps/non_saturating/slope"] = slope(times, np.linalg.norm(path, axis=-1))
    circled = [non_saturating._replace(rate=np.float32(rate)) for rate in CIRCLED_RATES]
    rules, places = _crossed(circled, starts)
    found["steps/circle"] = _circles(
        at_once,
        rules,
        places,
        len(starts),
        round(seconds),
    )
    found |= _staying_away(games, starts)
    return found | _radii(games["saturating"], orders)


def _staying_away(games: Games, starts: np.ndarray) -> Arrays:
    """Return the root mean square of theta late, [S]; the discriminator moves five times."""
    several = partial(alternating, discriminator_steps=5)
    rules, places = _crossed([games["clipped"], games["penalty"]], starts)
    path = dirac.walks(several, rules, places, KEPT, 10)
    late = np.square(path[:, -KEPT // 4 :, 0]).mean(1)
    clipped, penalty = np.sqrt(late).reshape(2, -1)
    return {"steps/clipped/swing": clipped, "steps/penalty/swing": penalty}


def growing(game: dirac.Rules, step: Step, starts: np.ndarray) -> Arrays:
    """Return how far the growth of r^2 in a step departs from 1 + h^2 sigmoid(psi theta)^2, [S]."""
    path = dirac.walks(
        step,
        dirac.stacked([game] * len(starts)),
        starts,
        KEPT,
    )
    squared = np.square(path).sum(-1)
    sigmoid = 1 / (1 + np.exp(-path.prod(-1)))
    law = 1 + np.square(float(game.rate) * sigmoid[:, :-1])
    growth = squared[:, 1:] / squared[:, :-1]
    return {"steps/saturating/departure": np.abs(growth - law).max(1)}


def _circles(
    step: Step, rules: dirac.Rules, places: np.ndarray, starts: int, thinned: int
) -> np.ndarray:
    """Return r^2 / 2h at the end of long walks, [S, rates]."""
    path = dirac.walks(
        step,
        rules,
        places,
        KEPT,
        thinned,
    )
    late = np.square(path[:, -KEPT // 2 :]).sum(-1).mean(1)
    return (late / (2 * rules.rate)).reshape(-1, starts).T


def _radii(game: dirac.Rules, orders: Mapping[str, Step]) -> Arrays:
    """Return spectral radii of one step, by rate and by momentum."""
    by_rate = [game._replace(rate=np.float32(rate)) for rate in RATES]
    by_beta = [game._replace(momentum=np.float32(beta)) for beta in BETAS]
    rules = dirac.stacked([*by_rate, *by_beta])
    found = {}
    for order, step in orders.items():
        radii = dirac.step_radii(step, rules)
        found[f"radius/{order}/rate"] = radii[: len(RATES)]
        found[f"radius/{order}/momentum"] = radii[len(RATES) :]
    return found


def told(seen: small_gan.Seen) -> Arrays:
    """Return numbers [S, A, L] of the small GANs, and the last spectra of one seed, [A, n, 2]."""
    last = seen.eigenvalues[0, :, -1]
    return {
        "small/turning": small_gan.turning(seen.eigenvalues),
        "small/lowest": seen.lowest,
        "small/spectrum": np.stack([last.real, last.imag], -1),
    }
