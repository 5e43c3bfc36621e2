"""What the gallery says in every form it takes, and what footers of figures share."""

from collections.abc import Sequence

TITLE = "jaxvision: experiments and their verdicts"
NAME = "jaxvision"
LEAD = (
    "Why deep vision nets train and how they break, told by experiments that check themselves: "
    "every one states what its source claims, and every run says whether the claim held."
)
INTRO = (
    "Every figure is one command. Every claim has a rule that was fixed before the run, and every "
    "run says whether it upheld the claim. Numbers come with their 90 % interval over seeds; the "
    "p-values of one paper's claims are corrected for their number."
)
VERDICTS = (
    "A claim is contradicted where the run shows its opposite: that is a result, and it comes "
    "first. It is inconclusive where the run is too small to tell, reproduced where the run "
    "upholds it, and not run where the preset lacks what it needs."
)
TIERS = (
    "Theory tier: a closed form, held to a tight tolerance. Direction tier: who wins, at our "
    "scale. Paper tier: the paper's own number, at its own scale."
)
MARKS = {"reproduced": "✓", "contradicted": "✗", "inconclusive": "?", "not run": "–"}
FILES = {
    "figure.svg": "figure for slides (SVG)",
    "animation.gif": "animation (GIF)",
    "record.json": "record (JSON)",
    "arrays.npz": "arrays (NumPy)",
}
NO_THEME = "other runs"


def totals(records: int, claims: int, counts: str = "") -> str:
    """Return how many claims of how many records there are, and how they came out if told."""
    told = f": {counts}" if counts else ""
    return f"{claims} claims in {records} records{told}."


def rates(of: str, *grids: Sequence[float]) -> str:
    """Return how learning rates were found, for a footer; of a single rate nothing was chosen.

    Args:
      of: what has a rate of its own, such as "net".
      grids: the rates that were tried, for each kind of ``of``.
    """
    if any(len(grid) > 1 for grid in grids):
        return f"rate of each {of} tuned on other seeds"
    given = sorted({rate for grid in grids for rate in grid})
    told = " and ".join(f"{rate:g}" for rate in given)
    return f"{'rate' if len(given) == 1 else 'rates'} {told}, not tuned"
