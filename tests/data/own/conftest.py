"""Data as people bring them, made here."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def make_folder():
    """Return ``make(top, {path: image})``: an image is an array, a picture, bytes or a size."""

    def make(top: Path, files: dict) -> Path:
        for path, image in files.items():
            file = top / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(image, bytes):
                file.write_bytes(image)
            elif isinstance(image, Image.Image):
                image.save(file)
            else:
                Image.fromarray(image).save(file)
        return top

    return make


@pytest.fixture(scope="session")
def noise():
    """Return ``noise(seed, shape)``: an image of random numbers."""

    def image(seed: int, shape=(8, 6, 3)) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)

    return image


@pytest.fixture
def photos(tmp_path, make_folder, noise) -> Path:
    """Return a folder of ten cats and ten dogs, image i the noise of seed i."""
    files = {f"{'cat' if i < 10 else 'dog'}/{i}.png": noise(i) for i in range(20)}
    return make_folder(tmp_path / "photos", files)
