"""What a run of ``preferred_inputs`` finds of its pictures: arrays by name, for the record."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.generating import _learnt_priors as learnt
from experiments.generating import _preferred_scores as scores
from experiments.generating import _subjects as subjects
from experiments.generating._preferred_training import REBUILT_FROM, Pictures, Trained, Wanted
from jaxvision.data import Splits
from jaxvision.fields import seeds_of
from jaxvision.generative import metrics

DRAWN = ("none", "fourier", "gan", "inverter", "smooth")  # kept as pictures
NEAR = ("fourier", "gan", "inverter")  # held against training images
REBUILT = 7  # test images that are kept with what becomes of them


class Told(NamedTuple):
    """What nets say of pictures in rows [M, B].

    Attributes:
      plain: logits of the plain nets, [S, M, B, K].
      odd: of those of odd classes, [S, M, B, 3 K].
      features: of the ruler, [M, B, D].
    """

    plain: np.ndarray
    odd: np.ndarray
    features: np.ndarray

    def at(self, rows: slice) -> "Told":
        """Return what they say of some rows."""
        return Told(self.plain[:, rows], self.odd[:, rows], self.features[rows])


def ask(trained: Trained, rows: Sequence[np.ndarray]) -> list[Told]:
    """Return what all nets say of several sets of rows, each [M, B, H, W, C]."""
    families = trained.ruler, trained.plain, trained.odd
    together = jax.tree.map(
        lambda *leaves: np.concatenate(leaves),
        *(each.variables for each in families),
    )
    nets = trained.plain._replace(variables=together)
    found = scores.answers(nets, np.concatenate(rows))
    count = (len(found.logits) - 1) // 2
    _, plain, odd = np.split(found.logits, [1, 1 + count])
    classes = trained.data.num_classes
    told = Told(plain[..., :classes], odd, found.features)
    parts = []
    first = 0
    for each in rows:
        last = first + len(each)
        parts.append(told.at(slice(first, last)))
        first = last
    return parts


def league(
    told: Told,
    pictures: Pictures,
    means: Callable[[np.ndarray, int], np.ndarray],
) -> dict[str, np.ndarray]:
    """Return by net and way [S, W] the share of plain nets of other seeds that see the class.

    And ``votes`` [W, B] for each picture of the first net. ``means``: the classes that nets of
    permuted classes mean.
    """
    owners = pictures.owners
    chosen = scores.beside(len(told.plain), owners)
    wanted = np.tile(pictures.classes, (len(owners), 1))
    seen = scores.votes(told.plain, wanted, chosen)
    other = means(wanted, told.plain.shape[-1])
    permuted = scores.votes(told.plain, other, chosen)
    shape = pictures.images.shape[:2]
    return {
        "agreement": seen.mean(-1).reshape(shape),
        "permuted": permuted.mean(-1).reshape(shape),
        "votes": seen.reshape(*shape, -1)[0],
    }


def ceiling(told: Told, classes: np.ndarray) -> np.ndarray:
    """Return the share of test images [S, B], a row for each seed, that other nets know, [S]."""
    owners = np.arange(len(told.plain))
    wanted = np.tile(classes, (len(owners), 1))
    chosen = scores.beside(len(owners), owners)
    return scores.votes(told.plain, wanted, chosen).mean(-1)


def odd_seen(told: Told, pictures: Pictures, classes: int) -> dict[str, np.ndarray]:
    """Return by net and way what other nets of odd classes see in the pictures made for such.

    ``odd/KIND/class`` [S, W]: the share of pictures that they put into the very class,
    ``odd/KIND/kind``: into any class of that kind, and ``odd/KIND/elsewhere``: the share of the
    pictures made for other kinds that they put there; ``odd/votes`` [W, B] of the first net: the
    first of each picture.
    """
    owners = pictures.owners
    chosen = scores.beside(len(told.odd), owners)
    wanted = np.tile(pictures.classes, (len(owners), 1))
    exact = scores.votes(told.odd, wanted, chosen)
    kinds = told.odd.argmax(-1) // classes
    of_kind = scores.votes_of(kinds, wanted // classes, chosen)
    shape = pictures.images.shape[:2]
    arrays = {"odd/votes": exact.reshape(*shape, -1)[0]}
    for kind, name in enumerate(subjects.KINDS):
        which = pictures.classes // classes == kind
        if not which.any():
            continue
        right_class = exact[:, which].mean(-1)
        right_kind = of_kind[:, which].mean(-1)
        asked_of_others = np.full_like(wanted[:, ~which], kind)
        elsewhere = scores.votes_of(kinds[..., ~which], asked_of_others, chosen).mean(-1)
        arrays[f"odd/{name}/class"] = right_class.reshape(shape)
        arrays[f"odd/{name}/kind"] = right_kind.reshape(shape)
        arrays[f"odd/{name}/elsewhere"] = elsewhere.reshape(shape)
    return arrays


def distances(
    told: Sequence[Told],
    pictures: Pictures,
    sets: Sequence[scores.Real],
    data: Splits,
) -> dict[str, np.ndarray]:
    """Return the distance to the class of pictures [S, W] and of the anchors [S, 3].

    Args:
      told: of the pictures, of each seed's sample [S, B] and its anchors [S 3, B], and of all test
        images.
      pictures: of the plain nets.
      sets: test images by seed.
      data: whose test images they are.
    """
    of_pictures, of_samples, of_anchors, of_all = (each.features for each in told)
    labels = data.test.labels
    filled = of_all.reshape(-1, of_all.shape[-1])
    scale = scores.scale(filled[: len(labels)], labels, data.num_classes)

    def centered(row: np.ndarray) -> np.ndarray:
        return scale.centered(row, pictures.classes)

    def from_sample(features: np.ndarray) -> np.ndarray:
        """Return the distances of rows [S N, B, D] from their seed's sample, [S, N]."""
        by_seed = features.reshape(len(sets), -1, *features.shape[1:])
        found = []
        for sample, rows in zip(of_samples, by_seed, strict=True):
            reference = centered(sample)
            found.append([metrics.frechet(reference, centered(row)) for row in rows])
        return np.array(found)

    return {"fcd": from_sample(of_pictures), "anchors": from_sample(of_anchors)}


def looks_of(pictures: Pictures, sets: Sequence[scores.Real]) -> dict[str, np.ndarray]:
    """Return by net and way [S, W] how alike and how rough pictures are, test images being 1."""
    alike = []
    rough = []
    for images, real in zip(pictures.images, sets, strict=True):
        of_real = scores.spread(real.sample, pictures.classes)
        between = [scores.spread(one, pictures.classes) for one in images]
        alike.append(np.array(between) / of_real)
        variation = scores.variation(images).mean(-1)
        rough.append(variation / scores.variation(real.sample).mean())
    return {"diversity": np.stack(alike), "variation": np.stack(rough)}


def near(
    config: Wanted,
    pictures: Pictures,
    sets: Sequence[scores.Real],
    data: Splits,
) -> dict[str, np.ndarray]:
    """Return ``near/WAY/z`` and ``.../ratio`` [S] of some ways, of copies and held-out images."""
    train = data.train.images
    found: dict[str, list] = {}
    for net, (images, real) in enumerate(zip(pictures.images, sets, strict=True)):
        by_way = dict(zip(pictures.ways, images, strict=True))
        asked = {name: by_way[name] for name in NEAR if name in by_way}
        seed = config.first_seed + net
        asked["copies"] = scores.copies(data.train, len(real.sample), seed)
        asked["held_out"] = real.sample
        for name, some in asked.items():
            nearness = scores.nearness(train, some, real.second)
            for field, value in nearness._asdict().items():
                found.setdefault(f"near/{name}/{field}", []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def blur(trained: Trained) -> dict[str, np.ndarray]:
    """Return how rough rebuilt test images are, by arm and net [S], test images being 1.

    And a few of the first net's, ``rebuilt`` [1 + arms, REBUILT, H, W, C], the test images first.
    """
    images = trained.data.test.sample(REBUILT_FROM).images
    rough = scores.variation(images).mean()
    found = dict(zip(learnt.ARMS, trained.learnt.rebuilt, strict=True))
    del found["gan"]  # inverts nothing
    arrays = {}
    pictures = [images[:REBUILT]]
    for name, each in found.items():
        arrays[f"rebuilt/{name}"] = scores.variation(each).mean(-1) / rough
        pictures.append(each[0, :REBUILT])
    return arrays | {"rebuilt": np.stack(pictures)}


def found(
    config: Wanted,
    trained: Trained,
    pictures: Mapping[str, Pictures],
    means: Callable[[np.ndarray, int], np.ndarray],
) -> dict[str, np.ndarray]:
    """Return all that is found of the pictures; ``means`` as in ``league``."""
    data = trained.data
    seeds = seeds_of(config)
    plain = pictures["plain"]
    dense = pictures["dense"]
    odd = pictures["odd"]
    sets = []
    anchors = []
    for seed in seeds:
        real = scores.real(data, config.starts, seed)
        sets.append(real)
        anchors += scores.anchor_images(real, seed)
    rows = [
        plain.rows,
        dense.rows,
        odd.rows,
        np.stack([real.sample for real in sets]),
        np.stack(anchors),
        scores.in_rows(data.test.images, len(plain.classes)),
    ]
    of_plain, of_dense, of_odd, *of_real = ask(trained, rows)
    by_dense = league(of_dense, dense, means)
    return {
        **league(of_plain, plain, means),
        "dense/agreement": by_dense["agreement"],
        "dense/permuted": by_dense["permuted"],
        **odd_seen(of_odd, odd, data.num_classes),
        **distances((of_plain, *of_real), plain, sets, data),
        **looks_of(plain, sets),
        **near(config, plain, sets, data),
        **blur(trained),
        **kept(plain, odd, data.num_classes),
        "ceiling": ceiling(of_real[0], plain.classes),
    }


def kept(plain: Pictures, odd: Pictures, classes: int) -> dict[str, np.ndarray]:
    """Return the first net's first picture of every class by way, and of odd classes."""
    drawn = [plain.ways.index(name) for name in DRAWN if name in plain.ways]
    arrays = {"pictures": plain.images[0, drawn, :classes]}
    if "inverter" in odd.ways:
        row = odd.ways.index("inverter")
        arrays["odd/pictures"] = odd.images[0, row, : 2 * classes]
    return arrays
