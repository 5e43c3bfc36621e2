"""Learning rates as functions of the metrics so far, for ``long.fit_long``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxvision.types import UserError


def he2016(
    rows: Sequence[dict[str, Any]], rate: float, steps: int, warm_up: bool
) -> dict[str, np.ndarray]:
    """Return ``{'learning_rate': ...}`` of the next period, float32 [], by run [R] with a warm-up.

    A tenth at half of the steps, a tenth of that at three quarters (32k and 48k of 64k). A warm-up
    is a tenth of the rate until a run's training error, the mean over a period, has once been below
    80 %: the rule for 110 layers of He et al. 2016 (arXiv 1512.03385), section 4.2.

    Args:
      rows: one for each evaluation, as ``fit_long`` gives them.
      rate: at the start, after a warm-up.
      steps: of the whole run.
      warm_up: whether there is one.
    """
    step = rows[-1]["step"]
    rate = rate * 0.1 ** ((2 * step >= steps) + (4 * step >= 3 * steps))
    if warm_up:
        errors = np.array([row["train_error"] for row in rows if "train_error" in row])
        rate = np.where((errors < 0.8).any(0), rate, 0.1 * rate)
    return {"learning_rate": np.asarray(rate, np.float32)}


def check_watched(watched: Sequence[int], steps: int, period: int, warm_up: bool) -> None:
    """Raise UserError where a run at ``he2016``'s first rate would not be in the run's own state.

    That is after the drop at half of the steps, with a warm-up after the first period, at whose end
    it may be over; and from the run's end on. The rate of step t matters only from t + 1 on.
    """
    steady = period if warm_up else period * -(-steps // (2 * period))
    last = min(steps - 1, steady)
    if max(watched) > last:
        why = "the run ends" if last < steady else "its rate may change"
        raise UserError(f"--watched={max(watched)}: step {last} is the last to look at, then {why}")
