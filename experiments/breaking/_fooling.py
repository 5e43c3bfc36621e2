"""How fooling_images searches, and how it looks at what it found."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.breaking._nets import Nets, logits_of_all
from experiments.breaking._seeded import over_seeded
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.ascent import Ascended, ascend
from jaxvision.adversarial.elites import Encoding, Fooling
from jaxvision.adversarial.genomes import ImageShape
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data.augment import per_pixel_mean
from jaxvision.random import stream
from jaxvision.types import Array

SURE = float(np.log(0.99 / 0.01))  # log odds of a probability of .99
NINES = float(np.log(0.9999 / 0.0001))

Search = Callable[..., Fooling]  # ``map_elites`` or ``random_search``
MakeEncoding = Callable[[ImageShape], Encoding]


def search_nets(
    nets: Nets,
    seeds: range,
    search: Search,
    make_encoding: MakeEncoding,
    generations: int,
    children: int,
) -> Fooling:
    """Return what a search found for N nets, leaves [N, ...]; draws are those of a net's seed."""
    encoding = make_encoding(nets.data.train.images.shape[1:])
    sizes = {"generations": generations, "children": children}

    def one(f: Logits, seed: Array, _: None) -> Fooling:
        return search(f, encoding, stream(seed, "attack"), **sizes)

    return over_seeded(one, nets, seeds)


def ascend_nets(nets: Nets, seeds: range, steps: int) -> Ascended:
    """Return what gradient ascent reaches for every class, from noise around the mean image."""
    mean = per_pixel_mean(nets.data.train.images) / np.float32(LEVELS)
    classes = np.arange(nets.data.num_classes)

    def one(f: Logits, seed: Array, mean: Array) -> Ascended:
        key = stream(seed, "noise")
        drawn = jax.random.normal(key, (len(classes), *mean.shape))
        start = jnp.clip(mean[None] + drawn / LEVELS, 0.0, 1.0)
        return ascend(
            f,
            start,
            jnp.asarray(classes),
            mean,
            steps=steps,
        )

    return over_seeded(one, nets, seeds, mean)


def rubbish(
    nets: Nets,
    seeds: range,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many of ``count`` images of N(0, I) get a class above .5, and how sure those are.

    A share and a mean, both [N]. Such pixels leave [0, 1]. Source: Goodfellow et al. 2015 (arXiv
    1412.6572), appendix A.
    """
    shape = nets.data.train.images.shape[1:]

    def one(
        f: Logits,
        seed: Array,
        _: None,
    ) -> tuple[Array, Array]:
        key = stream(seed, "noise", 1)
        images = jax.random.normal(key, (count, *shape))
        confidence = jax.nn.softmax(f(images)).max(-1)
        sure = confidence > 0.5
        summed = jnp.where(sure, confidence, 0.0).sum()
        share = sure.mean()
        return share, summed / jnp.maximum(count * share, 1.0)

    return over_seeded(one, nets, seeds)


def second_opinions(
    nets: Nets,
    images: np.ndarray,
) -> np.ndarray:
    """Return how many of a net's K images the next net takes for the same class, [W, N].

    Args:
      nets: N of them.
      images: [W, N, K, H, W, C], by W ways; each was made for the class of its place.
    """
    ways, count, classes = images.shape[:3]
    flat = images.reshape(-1, *images.shape[3:])
    answers = logits_of_all(nets, flat).argmax(-1)
    answers = answers.reshape(count, ways, count, classes)
    net = np.arange(count)
    others = answers[(net + 1) % count, :, net]  # [N, W, K]
    agrees = others == np.arange(classes)
    return agrees.mean(-1).T


def nearest(
    images: np.ndarray,
    among: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return distance and index of the nearest of ``among`` to each image, [B], pixels in [0, 1].

    Args:
      images: float [B, H, W, C] in [0, 1].
      among: uint8 [N, H, W, C].
    """
    wanted = images.reshape(len(images), -1)
    known = among.reshape(len(among), -1) / np.float32(LEVELS)
    of_wanted = np.square(wanted).sum(1)
    of_known = np.square(known).sum(1)
    squares = of_wanted[:, None] + of_known[None] - 2 * wanted @ known.T
    best = squares.argmin(1)
    smallest = np.maximum(squares.min(1), 0)
    return np.sqrt(smallest), best


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Return images in [0, 1] as uint8."""
    return np.rint(LEVELS * images).astype(np.uint8)
