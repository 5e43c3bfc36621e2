"""What backward_rules measures of one part each, as arrays by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.seeing import _nets, _random_rules, _rules
from experiments.seeing._rules import Covering, Method
from jaxvision.data import Splits

PLAIN = ("gradient", "deconvnet", "guided")  # of a logit
SHOWN = 4  # images whose maps are drawn


def of_size(
    config: Any,
    size: str,
    nets: _nets.Nets,
    some: _nets.Shown,
    table: Mapping[str, Method],
) -> dict[str, np.ndarray]:
    """Return what nets' maps are worth: scores [S, 3], ranks [S, L + 1], shares [S, T]."""
    covering = Covering(config.window, config.stride)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    found = _rules.looked_at(nets, table, some, seeds, covering, SHOWN)
    arrays = {f"{size}/error": nets.test_error}
    arrays |= {f"{size}/agreement/{name}": ranks for name, ranks in found.agreement.items()}
    if found.scores is not None:
        scores = found.scores.items()
        arrays |= {f"{size}/{name}": np.stack(each, axis=1) for name, each in scores}
        arrays[f"{size}/area"] = np.full(config.seeds, some.masks.mean())
    if found.signed is not None:
        arrays |= _stages(found, some)
    return arrays


def _stages(found: _rules.Looked, some: _nets.Shown) -> dict[str, np.ndarray]:
    """Return what is known of nets along training and as layers are lost."""
    arrays = {"along/accuracy": found.accuracy}
    parts = {
        "along": found.mass or {},
        "cascade/signed": found.signed,
        "cascade/unsigned": found.unsigned,
    }
    for part, by_method in parts.items():
        arrays |= {f"{part}/{name}": values for name, values in by_method.items()}
    arrays |= {f"pictures/{name}": of_net[0] for name, of_net in found.pictures.items()}
    arrays["pictures/images"] = np.uint8(np.rint(255 * some.images[:SHOWN]))
    return arrays


def random(config: Any, data: Splits, table: Mapping[str, Method]) -> dict[str, np.ndarray]:
    """Return what random nets show of test images, by kind of net and method."""
    images = _nets.some_of(data.test, config.random_images).images
    centered = images - images.mean((0, 1, 2))
    plain = {name: table[name] for name in PLAIN if name in table}
    found = _random_rules.measured(plain, centered, config.filters, config.seeds, config.first_seed)
    arrays = {"linear/half": found.half}
    for kind, by_rule in found.recovery.items():
        arrays |= {f"random/{kind}/{name}": recovery for name, recovery in by_rule.items()}
    for kind, by_rule in found.classes.items():
        arrays |= {f"classes/{kind}/{name}": alike for name, alike in by_rule.items()}
    return arrays
