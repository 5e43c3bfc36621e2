"""The web site: escaped, relative, whole, in the lecture's order, with totals of the records."""

import json
import urllib.parse

import pytest

from jaxvision.report import gallery, record
from jaxvision.report.lecture import Lecture, Opening, Theme
from tests.report.gallery_lab import CATALOG, EVIL, Listed, Page, make

OPENING = Opening("he_init", "Where it began", [("16.4 %", "of them")], ["A story."])
THEMES = {
    "initialization": Theme("How a net begins", "With random numbers."),
    "depth": Theme("What depth costs", "Much."),
}
LECTURE = Lecture(CATALOG, THEMES, OPENING)


def site(results, lecture=LECTURE):
    """Write the site; return {path relative to its root: text} of its pages."""
    gallery.write(results, lecture)
    root = results.parent
    paths = [root / "index.html", *sorted(root.glob("pages/*.html"))]
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths}


def test_every_link_leads_to_a_file_and_its_place(results):
    pages = site(results)
    places = {path: Page(text) for path, text in pages.items()}
    for path, page in places.items():
        assert page.links
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            assert not parts.scheme and not parts.netloc and not link.startswith("/"), link
            there = (results.parent / path).parent / urllib.parse.unquote(parts.path)
            assert there.is_file(), link
            if parts.fragment:
                name = there.resolve().relative_to(results.parent.resolve()).as_posix()
                assert urllib.parse.unquote(parts.fragment) in map(
                    urllib.parse.unquote, places[name].ids
                )


def test_a_page_links_what_belongs_to_it(results):
    page = Page(site(results)["pages/he_init.html"])
    files = {"figure.svg", "record.json", "arrays.npz", "README.md"}
    assert {f"../results/he_init/{file}" for file in files} < set(page.links)
    assert {"he_init.csv", "../index.html", "../initialization/he_init.py"} < set(page.links)


def test_every_string_is_escaped(results):
    opening = Opening("he_init", EVIL, [(EVIL, EVIL)], [EVIL])
    themes = {"initialization": Theme(EVIL, EVIL)}
    lecture = Lecture([Listed("he_init", title=EVIL, sentence=EVIL)], themes, opening)
    source = results.parent / "initialization" / "he_init.py"
    source.write_text(f'r"""{EVIL}\n\nSources: {EVIL}. Claim in one sentence: {EVIL}\n\n{EVIL}"""')
    for text in site(results, lecture).values():
        page = Page(text)
        assert not {tag for tag, _ in page.tags} & {"iframe", "object", "form", "b"}
        scripts = {tag["src"] for tag in page.attributes("script")}
        assert scripts <= {"pages/gallery.js", "../pages/gallery.js"}
        pictures = [image["src"] for image in page.attributes("img")]
        assert all(source.startswith(("results/", "../results/")) for source in pictures)
        assert all(not name.startswith("on") for _, found in page.tags for name in found)
        assert "<script>alert(1)</script>" in page.text  # shown as text


def test_pages_run_no_script_but_their_own_and_fit_a_phone(results):
    for text in site(results).values():
        page = Page(text)
        meta = page.attributes("meta")
        (policy,) = [m["content"] for m in meta if m.get("http-equiv") == "Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy and "http" not in policy
        assert not any("style" in attributes for _, attributes in page.tags)
        assert any(m.get("name") == "viewport" for m in meta)
        assert all("alt" in image for image in page.attributes("img"))
    style = (results.parent / "pages" / "gallery.css").read_text("utf-8")
    assert "prefers-color-scheme: dark" in style
    assert "http" not in style


def test_the_index_opens_with_its_story_and_tells_the_totals(results):
    text = site(results)["index.html"]
    words = [OPENING.title, "16.4 %", "A story.", "8 claims in 2 records.", "2 contradicted"]
    words += ["<h2>How a net begins", "With random numbers.", "<h3><a", "<h2>Other runs"]
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert Page(text).text.count("2 reproduced") == 1


def test_a_theme_is_shown_where_it_has_a_record_only(results):
    """The catalog has an experiment of the theme 'depth', which has none."""
    text = site(results)["index.html"]
    assert "What depth costs" not in text
    record.save(make("unrun"), None, results / "unrun")
    assert "What depth costs" in site(results)["index.html"]


def test_without_its_record_nothing_opens(results):
    opening = Opening("unrun", "Where it began", [], [])
    assert "Where it began" not in site(results, Lecture(CATALOG, THEMES, opening))["index.html"]


def test_the_index_filters_by_what_the_records_say(results):
    page = Page(site(results)["index.html"])
    he, other = page.attributes("article")
    verdicts = ["contradicted", "inconclusive", "not run", "reproduced"]
    assert json.loads(he["data-told"]) == [[verdict, "He learns faster."] for verdict in verdicts]
    assert [verdict for verdict, _ in json.loads(other["data-told"])] == verdicts
    assert [one["data-theme"] for one in page.attributes("section") if "data-theme" in one] == [
        "initialization",
        "",
    ]


def test_a_page_tells_question_papers_and_what_differs(results):
    source = results.parent / "initialization" / "he_init.py"
    source.write_text(
        '"""Which nets leave the plateau.\n\n'
        "Source: He et al. 2015 (arXiv 1502.01852), figure 2. Claim in one sentence: he learns.\n\n"
        "Command: make exp-he-init.\n\n"
        "Small nets with `width` 8. What differs from the paper: all.\n"
        '"""'
    )
    text = site(results)["pages/he_init.html"]
    for words in (
        "Which nets leave the plateau.",
        'href="https://arxiv.org/abs/1502.01852"',
        "He learns.",
        "Small nets with <code>width</code> 8.",
        "What differs from the paper: all.",
    ):
        assert words in text
    assert "make exp-he-init" not in text  # the record has the command


def test_contradicted_claims_come_first_and_rules_are_explained(results):
    text = site(results)["pages/he_init.html"]
    claims = text[text.index('<ul class="claims">') :]
    names = ("contradicted", "inconclusive", "reproduced", "not-run")
    places = [claims.index(f'<li class="{name}"') for name in names]
    assert places == sorted(places)
    assert "Reproduced where a t-test finds the mean above 0.5" in claims
    assert "Fewer than 5 seeds decide nothing." in claims


def test_records_at_other_scales_stand_side_by_side(results):
    fields = {"experiment": "he_init", "command": "python -m experiments he_init --dataset=mnist"}
    again = make("he_init-mnist", **fields)
    again.config["dataset"] = "mnist"
    record.save(again, None, results / "he_init-mnist")
    pages = site(results)
    assert "pages/he_init-mnist.html" not in pages
    text = pages["pages/he_init.html"]
    begin = text.index('<ul class="claims">')
    first = text[begin : text.index("</li>", begin)]
    assert first.count("0.2 [0, 0.6], n=5") == 2
    assert '<strong class="column">mnist</strong>' in first
    assert "2 records: he_init, mnist" in " ".join(Page(pages["index.html"]).text.split())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"def (", b"x = 1"])
def test_a_source_that_says_nothing_leaves_its_place_empty(results, content):
    (results.parent / "initialization" / "he_init.py").write_bytes(content)
    assert "Papers:" not in site(results)["pages/he_init.html"]


def test_panels_of_a_figure_are_shown_one_by_one(results):
    page = Page(site(results)["pages/he_init.html"])
    labels = [one["aria-label"] for one in page.attributes("svg") if "aria-label" in one]
    assert labels == ["left", "right <b>&"]
    asked = [(one["data-panel"], one["data-kind"]) for one in page.attributes("button")]
    assert asked == [("1", "svg"), ("1", "png"), ("2", "svg"), ("2", "png")]
    script = (results.parent / "pages" / "figures" / "he_init.js").read_text("utf-8")
    name, cut = json.loads(
        f"[{script.removeprefix('jaxvisionFigure(').removesuffix(');' + chr(10))}]"
    )
    assert name == "he_init"
    assert ["panel_1_1" in cut[0], "panel_2_1" in cut[0]] == [True, False]
    assert "panel_2_2" in cut[1]  # its color bar
