"""Words shared by every floor of the house.

Axis letters, used in shape comments everywhere: B batch, H W C image, K classes, S seeds, G grid
cells, R runs (seeds x grid cells), T time (steps), L layers.
"""

from typing import Any

import jax

Array = jax.Array
PyTree = Any


class UserError(Exception):
    """A mistake the user can mend, shown as one line: what is wrong, how to mend it."""
