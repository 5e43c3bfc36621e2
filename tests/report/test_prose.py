"""What an experiment's docstring says, taken apart and shown as HTML."""

from pathlib import Path

import pytest

from experiments.catalog import CATALOG
from jaxvision.report import about
from jaxvision.report.prose import kebab, papers, prose, sentence

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
DOCSTRING = """Batch norm: what it does.

Sources: Ioffe & Szegedy 2015 (arXiv 1502.03167), figure 1;
others. Claim in one sentence: it helps.

Command: make exp-batchnorm (minutes).

Nets are small. What differs from the source: the images.

A pitfall.
"""


def test_a_docstring_s_parts():
    told = about.of_docstring(DOCSTRING)
    assert told.question == "Batch norm: what it does."
    assert told.sources == "Ioffe & Szegedy 2015 (arXiv 1502.03167), figure 1; others."
    assert told.claim == "it helps."
    assert told.set_up == ("Nets are small.", "A pitfall.")
    assert told.differs == ("What differs from the source: the images.",)
    assert about.of_docstring("") == about.About()


@pytest.mark.parametrize("entry", CATALOG, ids=lambda entry: entry.name)
def test_every_experiment_says_what_its_page_shows(entry):
    told = about.read(EXPERIMENTS / entry.theme / f"{entry.name}.py")
    assert told.question and told.sources
    assert told.set_up or told.differs


def test_code_emphasis_and_papers_are_marked_and_the_rest_is_escaped():
    assert prose("`a<b` and ``c``, *not* <i> 2 * 3 * 4") == (
        "<code>a&lt;b</code> and <code>c</code>, <em>not</em> &lt;i&gt; 2 * 3 * 4"
    )
    link = '<a href="https://arxiv.org/abs/1502.03167">1502.03167</a>'
    assert papers("<b> (arXiv 1502.03167), 12.5") == f"&lt;b&gt; (arXiv {link}), 12.5"
    assert sentence("it helps.") == "It helps."
    assert sentence("") == ""
    assert kebab("not run") == "not-run"
