"""Both sides on where the boundary moves, and neither: rules that arms and sizes share."""

import numpy as np

from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Statistic

MICKISCH, LYU = "Mickisch et al. 2020", "Lyu & Li 2020"
STILL = 0.1  # octaves: 7 %


def above_zero(values: np.ndarray) -> np.ndarray:
    """Return the values that have a logarithm; NaN for the others, as of nets that learned none."""
    usable = np.isfinite(values) & (values > 0)
    return np.where(usable, values, np.nan)


def both_sides(
    name: str, nets: str, span: str, octaves: Statistic, lacks: str, needs: tuple[str, ...]
) -> list[Claim]:
    """Return the claims that the boundary moves closer, and that it moves away.

    Args:
      name: ends their ids.
      nets: which ones, in words.
      span: from which step to which, in words.
      octaves: of distance, by which it moves.
      lacks: what a run needs for them and has not.
      needs: see ``Claim``.
    """
    return [
        Claim(
            f"closer-{name}",
            f"{MICKISCH}, abstract",
            f"{nets}: the boundary moves closer {span} (octaves of distance)",
            octaves,
            Less(),
            not_run=lacks,
            needs=needs,
        ),
        Claim(
            f"farther-{name}",
            f"{LYU}, abstract",
            f"{nets}: the boundary moves away {span} (octaves of distance)",
            octaves,
            Greater(),
            not_run=lacks,
            needs=needs,
        ),
    ]


def neither_side(
    name: str, nets: str, span: str, octaves: Statistic, lacks: str, needs: tuple[str, ...]
) -> Claim:
    """Return the claim that the boundary stays; arguments as in ``both_sides``."""
    return Claim(
        f"still-{name}",
        "question, neither side",
        f"{nets}: the distance stays within {STILL:g} octaves {span}",
        octaves,
        Equivalent(STILL),
        not_run=lacks,
        needs=needs,
    )
