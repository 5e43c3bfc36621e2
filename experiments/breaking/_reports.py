"""What a record keeps of nets under fast gradients: arrays by way and quantity."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.breaking._hardening import Lab, Net, stacked
from experiments.breaking._strength import (
    Attacked,
    Fall,
    Strength,
    alignment,
    fall,
    handed_over,
    strength,
)
from jaxvision import runtime
from jaxvision.adversarial.gradient import fgsm
from jaxvision.adversarial.nets import over_nets
from jaxvision.adversarial.results import Result
from jaxvision.training.calls import joined
from jaxvision.training.looks import Look, Moment
from jaxvision.types import Array, PyTree


def steps_of_looks(config: Any) -> np.ndarray:
    """Return the steps at which the net of 4 filters is looked at, from 0 up, int [1 + looks]."""
    return np.linspace(0, config.filter_steps, 1 + config.looks, dtype=int)


def along(lab: Lab, given: Attacked) -> Look:
    """Return a look at errors at the size of training, and at how the gradient turns."""
    config = lab.config
    at_size = given._replace(epsilons=np.float32([config.filter_epsilon]))

    def numbers(moment: Moment, given: Attacked) -> dict[str, Array]:
        f = lab.logits("filters", moment.variables)
        found = strength(f, given, config.attack_steps, 1)
        cosine = alignment(f, given, config.filter_epsilon)
        return {"fgsm": found.fgsm[0], "pgd": found.pgd[0], "cosine": cosine}

    return Look(numbers, steps_of_looks(config).tolist(), at_size)


def attacked(
    lab: Lab,
    net: Net,
    histories: Mapping,
    given: Attacked,
) -> dict:
    """Return every quantity of ``Strength`` [S, E] of ways of one net, and what was looked at."""
    config = lab.config

    def one(variables: PyTree, given: Attacked) -> Strength:
        f = lab.logits(net, variables)
        return strength(f, given, config.attack_steps, config.draws)

    found = over_nets(one, stacked(histories), given, "map")
    arrays = {}
    for i, (name, history) in enumerate(histories.items()):
        rows = slice(i * config.seeds, (i + 1) * config.seeds)
        arrays |= {f"{name}/{key}": value[rows] for key, value in found._asdict().items()}
        for key, value in (history.looks or {}).items():
            arrays[f"{name}/along_{key}"] = value
    return arrays


def handed_to(
    lab: Lab,
    variables: Mapping[str, PyTree],
    pairs: Mapping[str, tuple[str, str]],
    given: Attacked,
) -> dict:
    """Return errors [S, E] on images of FGSM; ``pairs``: made against which way, asked of which."""
    sides = zip(*pairs.values(), strict=True)
    source, target = (joined([variables[name] for name in names]) for names in sides)

    def one(pair: PyTree, given: Attacked) -> Array:
        source, target = (lab.logits("mlp", pair[side]) for side in ("source", "target"))
        return handed_over(source, target, given)

    found = over_nets(one, {"source": source, "target": target}, given, "map")
    by_pair = found.reshape(len(pairs), lab.config.seeds, -1)
    return {f"handed/{name}": by_pair[i] for i, name in enumerate(pairs)}


def pair(lab: Lab, variables: PyTree, given: Attacked) -> dict:
    """Return what happens to softmax regression between two classes, at both sizes, each [S, 2]."""
    config = lab.config
    sizes = jnp.float32([config.honest_epsilon, config.epsilon])

    def one(variables: PyTree, given: Attacked) -> Fall:
        f = lab.logits("softmax", variables)
        at = partial(fall, f, given.images, given.labels, config.pair)
        return jax.vmap(at)(sizes)

    found = over_nets(one, variables, given, "map")
    return {f"pair/{key}": value for key, value in found._asdict().items()}


def pictures(lab: Lab, variables: PyTree, given: Attacked) -> dict:
    """Return a few images of one net with FGSM's changes [E, n, H, W, C], and its answers."""
    few = given._replace(images=given.images[:6], labels=given.labels[:6])
    first = jax.tree.map(lambda leaf: leaf[0], variables)

    def one(variables: PyTree, few: Attacked) -> Result:
        return fgsm(lab.logits("mlp", variables), few.images, few.labels, few.epsilons)

    found = runtime.jit_once(one)(first, few)  # one program: piece by piece it compiles for seconds
    return {"pictures": np.asarray(found.images), "answers": np.asarray(found.predictions)}
