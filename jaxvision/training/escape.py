"""When a run leaves the plateau of the loss on which it starts."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def escape_step(loss: np.ndarray, threshold: float, window: int = 10) -> np.ndarray:
    """Return the first step [R] whose next ``window`` losses [R, T] average below ``threshold``.

    T for a run that never does: a censored time.
    """
    below = sliding_window_view(loss, min(window, loss.shape[1]), axis=1).mean(-1) < threshold
    return np.where(below.any(1), below.argmax(1), loss.shape[1])
