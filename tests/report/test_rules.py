"""Rules in words: each says what reproduces and what contradicts, with the rule's own numbers."""

import pytest

from jaxvision.report import rules
from jaxvision.report.claims import Equivalent, Greater, Less, Share, Within, criterion
from jaxvision.report.judgement import Judgement


def words(rule, kind=None):
    told = criterion(rule) | ({"kind": kind} if kind else {})
    given = ("a", "He et al. 2015", "He learns.", "direction", rule.text, "reproduced")
    return rules.in_words(Judgement(*given, criterion=told))


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        (Within(2.0, 0.1), ["between 1.9 and 2.1", "Fewer than 5 seeds"]),
        (Within(-200.0, 0.01, relative=True, min_seeds=1), ["between -202 and -198"]),
        (Greater(0.5), ["mean above 0.5", "finds it below"]),
        (Less(0.5, min_seeds=8), ["mean below 0.5", "finds it above", "Fewer than 8 seeds"]),
        (Equivalent(0.2, target=1.0), ["above 0.8 and below 1.2"]),
        (Share(0.8), ["more than 80 % of seeds"]),
        (Greater(resolution=0.25), ["a grid of step 0.25"]),
    ],
)
def test_a_rule_is_told_with_its_numbers(rule, parts):
    told = words(rule)
    for part in [*parts, "eproduced where", "contradicted where"]:
        assert part in told
    assert ("Fewer" in told) == (rule.min_seeds > 1)
    assert ("grid" in told) == bool(getattr(rule, "resolution", 0))


def test_an_old_record_s_rule_is_told_by_its_line():
    given = ("a", "He et al. 2015", "He learns.", "direction", "above 0", "reproduced")
    assert rules.in_words(Judgement(*given)) == "above 0"
    assert words(Less(), kind="greater").startswith(
        "Reproduced where a t-test finds the mean above"
    )
    assert words(Less(), kind="share").startswith("Reproduced where it holds on more than 0 %")
    assert words(Share(), kind="equivalent") == Share().text  # its fields are missing
