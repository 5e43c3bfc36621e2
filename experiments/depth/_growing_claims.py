"""The claims of identity_construction; their rules are fixed here."""

from typing import Any

import numpy as np

from experiments.depth import _growing as growing
from jaxvision.report.claims import Claim, Greater, Less, Within
from jaxvision.report.record import Record

SHALLOW = "shallow"
NO_WORSE = float(np.log2(1.1))  # octaves of the loss
PAPER = "He et al. 2016, section 1"


def claims_of(config: Any) -> list[Claim]:
    """Return the source's argument, what becomes of it in training, and the controls."""
    few, many = min(config.n_added), max(config.n_added)
    rates, step = config.learning_rates, growing.grid_step(config.learning_rates)
    found = [claim for added in config.n_added for claim in _claims_of(added)]

    def limit(added: int, record: Record) -> np.ndarray:
        deeper, shallow = (record.arrays[f"{net}/loss"] for net in (f"identity{added}", SHALLOW))
        ratio = np.log2(deeper[..., -1] / shallow[..., -1])
        return growing.safe_rate(ratio, rates, NO_WORSE)

    if few < many:
        found.append(
            Claim(
                "limit",
                "question, rates",
                f"the rate up to which the grown net ends no worse is lower with {many} added "
                f"layers than with {few} (octaves)",
                lambda record: limit(few, record) - limit(many, record),
                Greater(resolution=step),
                needs=("identity",),
            )
        )
    return found


def _claims_of(added: int) -> list[Claim]:
    """Return what is claimed of one number of added layers."""
    layers = f"{added} identity layer{'s' if added > 1 else ''}"
    grown, random, scratch = (f"{arm}{added}" for arm in ("identity", "random", "scratch"))

    def error_at_start(record: Record) -> np.ndarray:
        return record.arrays[f"{random}/error"][0, :, 0] - record.arrays["before/error"][:, -1]

    return [
        Claim(
            f"exact-{added}",
            PAPER,
            f"{layers} in a trained ReLU net change no bit of a logit (share changed)",
            lambda r: r.numbers["changed"][str(added)],
            Within(0.0, 1e-9),
            "theory",
            needs=("identity",),
        ),
        Claim(
            f"not-tanh-{added}",
            "negative control, tanh",
            f"{layers} in a tanh net change the "
            "logits, since tanh of tanh is not tanh (share changed)",
            lambda r: r.numbers["changed_tanh"][str(added)],
            Within(1.0, 0.05),
            "theory",
            needs=("identity",),
        ),
        Claim(
            f"slow-{added}",
            PAPER,
            f"{layers}, trained on at the lowest rate: training loss at "
            "most a tenth above the shallow net's (octaves)",
            growing.octaves(grown, SHALLOW, "lowest"),
            Less(NO_WORSE),
            needs=("identity",),
        ),
        Claim(
            f"fast-{added}",
            PAPER,
            f"{layers}, trained on at the shallow net's best rate: "
            "training loss at most a tenth above its (octaves)",
            growing.octaves(grown, SHALLOW, "shallow"),
            Less(NO_WORSE),
            needs=("identity",),
        ),
        Claim(
            f"best-{added}",
            PAPER,
            f"{layers}, each net trained on at its own best rate: "
            "training loss at most a tenth above the shallow net's (octaves)",
            growing.octaves(grown, SHALLOW),
            Less(NO_WORSE),
            needs=("identity",),
        ),
        Claim(
            f"scratch-{added}",
            PAPER,
            f"from scratch, with {added} more, training does not find "
            "the solution by construction: its loss ends above the shallow net's (octaves)",
            growing.octaves(scratch, SHALLOW),
            Greater(),
            needs=("scratch",),
        ),
        Claim(
            f"random-{added}",
            "negative control, random layers",
            f"{added} random in place of "
            "identity: the grown net ends over a tenth above the shallow one (octaves)",
            growing.octaves(random, SHALLOW),
            Greater(NO_WORSE),
            needs=("random",),
        ),
        Claim(
            f"random-start-{added}",
            "negative control, random layers",
            f"{added} random in place of identity raise the training error when they are added",
            error_at_start,
            Greater(),
            needs=("random",),
        ),
    ]
