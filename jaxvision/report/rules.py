"""What a rule demands, in sentences for somebody who has never seen it."""

from collections.abc import Callable

from jaxvision.report.judgement import Criterion, Judgement

HOW = (
    "The unit is the seed: a net, or a pair of nets that differ in what is compared. Numbers come "
    "with the 90 % interval of their mean over seeds; tests are one-sided, at 5 %. Claims of one "
    "paper are corrected together (Holm), which can only turn a verdict into inconclusive."
)


def in_words(judgement: Judgement) -> str:
    """Return when the claim is reproduced and when contradicted; the rule's line if unknown."""
    rule = judgement.criterion
    if rule is None:
        return judgement.rule
    try:
        return " ".join(filter(None, [_WORDS[rule["kind"]](rule), _few(rule), _grid(rule)]))
    except KeyError:  # a record made by hand
        return judgement.rule


def _within(rule: Criterion) -> str:
    width = rule["tolerance"] * (abs(rule["target"]) if rule["relative"] else 1)
    low, high = rule["target"] - width, rule["target"] + width
    return (
        f"Reproduced where the whole interval lies between {low:.4g} and {high:.4g}, contradicted "
        "where all of it lies outside."
    )


def _greater(rule: Criterion) -> str:
    return (
        f"Reproduced where a t-test finds the mean above {rule['than']:.4g}, contradicted where it "
        "finds it below."
    )


def _less(rule: Criterion) -> str:
    return (
        f"Reproduced where a t-test finds the mean below {rule['than']:.4g}, contradicted where it "
        "finds it above."
    )


def _equivalent(rule: Criterion) -> str:
    low, high = rule["target"] - rule["margin"], rule["target"] + rule["margin"]
    return (
        f"An equivalence test: reproduced where two t-tests find the mean above {low:.4g} and "
        f"below {high:.4g}, contradicted where a test finds it outside."
    )


def _share(rule: Criterion) -> str:
    than = 100 * rule["than"]
    return (
        f"Reproduced where it holds on more than {than:.4g} % of seeds with the whole interval of "
        "that share, contradicted where on fewer."
    )


def _few(rule: Criterion) -> str:
    """Return what too few seeds mean: of a rule for one number they mean nothing."""
    return f"Fewer than {rule['min_seeds']} seeds decide nothing." if rule["min_seeds"] > 1 else ""


def _grid(rule: Criterion) -> str:
    step = rule.get("resolution", 0)
    if not step:
        return ""
    return f"Values are read off a grid of step {step:.2g}; half a step is held against the claim."


_WORDS: dict[str, Callable[[Criterion], str]] = {
    "within": _within,
    "greater": _greater,
    "less": _less,
    "equivalent": _equivalent,
    "share": _share,
}
