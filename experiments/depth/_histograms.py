"""Features made by hand: histograms of oriented gradients, and of colors.

After Dalal & Triggs 2005 ("Histograms of oriented gradients for human detection"): unsigned
gradients of the channel where they are largest, nine orientations between which a gradient's size
is shared, cells of pixels, blocks of 2x2 cells normalized by "L2-Hys". Smaller here: cells of four
pixels for their eight, since images are small. Colors: four values of each channel, all
combinations, the root of each one's share of the pixels.
"""

import numpy as np

from jaxvision.types import UserError

ORIENTATIONS = 9  # over half a turn
CELL = 4  # pixels
LEVELS = 4  # of a channel
CLIPPED = 0.2  # L2-Hys: no entry of a block is larger
SMALL = 1e-3  # beside the norm of a block, so that a flat one stays zero


def histograms(images: np.ndarray) -> np.ndarray:
    """Return the features [B, D] of images [B, H, W, C] with values 0 to 255.

    Raises:
      UserError: the images hold no block of 2x2 cells.
    """
    if min(images.shape[1:3]) < 2 * CELL:
        raise UserError(
            f"histograms of gradients need images of {2 * CELL} pixels and more, and these have "
            f"{images.shape[1]}x{images.shape[2]}"
        )
    pixels = images.astype(np.float32) / np.float32(255)
    of_gradients = block_features(cell_histograms(pixels))
    return np.concatenate([of_gradients, color_histogram(pixels)], axis=1)


def gradients(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return size and orientation in [0, pi) [B, H, W] of the images' gradients.

    Central differences, zero across the border, of the channel whose gradient is largest.
    """
    down = np.zeros_like(images)
    across = np.zeros_like(images)
    down[:, 1:-1] = (images[:, 2:] - images[:, :-2]) / 2
    across[:, :, 1:-1] = (images[:, :, 2:] - images[:, :, :-2]) / 2
    size = np.hypot(down, across)
    largest = size.argmax(axis=-1, keepdims=True)

    def chosen(x: np.ndarray) -> np.ndarray:
        return np.take_along_axis(x, largest, axis=-1)[..., 0]

    angle = np.arctan2(chosen(down), chosen(across))
    return chosen(size), angle % np.float32(np.pi)


def cell_histograms(images: np.ndarray) -> np.ndarray:
    """Return the histograms [B, H', W', orientations] of cells; pixels left over are dropped.

    Orientation i stands for the angle i pi / 9; a gradient between two is shared by both.
    """
    size, angle = gradients(images)
    place = angle * (ORIENTATIONS / np.pi)
    bins = np.arange(ORIENTATIONS, dtype=np.float32)
    apart = np.abs(place[..., None] - bins)
    apart = np.minimum(apart, ORIENTATIONS - apart)  # half a turn on, the circle closes
    votes = size[..., None] * np.maximum(1 - apart, 0)
    b, h, w, _ = votes.shape
    rows = h // CELL
    columns = w // CELL
    whole = votes[:, : rows * CELL, : columns * CELL]
    cells = whole.reshape(b, rows, CELL, columns, CELL, ORIENTATIONS)
    return cells.sum((2, 4))


def block_features(cells: np.ndarray) -> np.ndarray:
    """Return all blocks of 2x2 neighboring cells [B, H', W', O], each normalized: [B, D]."""
    corners = [
        cells[:, :-1, :-1],
        cells[:, :-1, 1:],
        cells[:, 1:, :-1],
        cells[:, 1:, 1:],
    ]
    blocks = _normalized(np.concatenate(corners, axis=-1))
    clipped = np.minimum(blocks, CLIPPED)
    return _normalized(clipped).reshape(cells.shape[0], -1)


def _normalized(blocks: np.ndarray) -> np.ndarray:
    square = np.sum(blocks**2, axis=-1, keepdims=True)
    return blocks / np.sqrt(square + SMALL**2)


def color_histogram(images: np.ndarray) -> np.ndarray:
    """Return the root of every color's share of the pixels [B, LEVELS ** C]."""
    b, h, w, c = images.shape
    levels = np.minimum(np.floor(images * LEVELS), LEVELS - 1)
    weights = np.float32(LEVELS) ** np.arange(c, dtype=np.float32)
    color = (levels * weights).sum(-1).reshape(b, h * w, 1)
    colors = np.arange(LEVELS**c, dtype=np.float32)
    share = (color == colors).mean(axis=1, dtype=np.float32)
    return np.sqrt(share)
