"""The gallery: escaped, relative, whole, and not stopped by a damaged record."""

import hashlib
import json
import os
import random
import re
import shutil
import urllib.parse

import pytest

from jaxvision.report import gallery, markdown, record
from jaxvision.report.entries import collect
from jaxvision.report.lecture import Lecture
from tests.report.gallery_lab import CATALOG, EVIL, Listed, Page, make


def write(results, catalog=CATALOG):
    """Return the texts of the index in Markdown and of the page of each record."""
    gallery.write(results, Lecture(catalog))
    pages = sorted(results.glob("*/README.md"))
    records = {path.parent.name: path.read_text("utf-8") for path in pages}
    return (results.parent / "README.md").read_text("utf-8"), records


def links_of(text):
    """Return the links of a Markdown page."""
    return re.findall(r"(?<!\\)\]\(([^)]*)\)", outside_code(text))


def outside_code(text):
    return re.sub(r"(?s)^(`{3,})$.*?^\1$", "", text, flags=re.M)


def test_links_are_relative_and_lead_somewhere(results):
    index, records = write(results)
    places = [(results.parent, links_of(index))]
    places += [(results / name, links_of(text)) for name, text in records.items()]
    for folder, links in places:
        assert links
        for link in links:
            parts = urllib.parse.urlsplit(link)
            assert not parts.scheme and not parts.netloc and not link.startswith("/")
            assert (folder / urllib.parse.unquote(link)).is_file(), link


def test_a_record_links_all_that_belongs_to_it(results):
    index, records = write(results)
    files = ["figure.png", "figure.svg", "record.json", "arrays.npz"]
    assert set(files) < set(links_of(records["he_init"]))
    assert {f"results/he_init/{file}" for file in files} < set(links_of(index))
    assert "../../initialization/he_init.py" in links_of(records["he_init"])
    assert "initialization/he_init.py" in links_of(index)


@pytest.mark.parametrize(
    ("claims", "contradicts", "is_told"),
    [
        (("a",), ("b",), True),
        (("a", "c d"), (), False),  # undecided
        (("a", "elsewhere"), (), False),  # not asked in this run
        (("a", "b"), (), False),
        ((), ("a",), False),
    ],
)
def test_a_finding_is_told_of_records_that_bear_it(results, claims, contradicts, is_told):
    listed = Listed("he_init", sentence="He wins.", claims=claims, contradicts=contradicts)
    _, records = write(results, [listed])
    assert ("He wins." in records["he_init"]) == is_told


def test_every_string_is_escaped(results):
    index, records = write(results, [Listed("he_init", EVIL, EVIL, EVIL)])
    for text in (index, *records.values()):
        shown = outside_code(text)
        assert "<script" not in shown
        assert "<img" not in shown
        assert "](http" not in shown.replace(r"\](", "")


def test_markdown_tables_keep_their_columns(results):
    _, records = write(results, [Listed("he_init", EVIL, EVIL, EVIL)])
    for text in records.values():
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) == 2 + 4
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_a_command_cannot_leave_its_fence():
    fence, inside, end = markdown.fence("a ```` b").splitlines()
    assert fence == end == "`" * 5
    assert inside == "a ```` b"


def test_everything_is_told(results):
    index, records = write(results)
    made = ["He against Xavier", "n = 5 seeds", "12 s", "--seeds=5", "1,437 training"]
    counts = "1 contradicted, 1 inconclusive, 1 reproduced, 1 not run"
    claims = ["1.5 [1, 2], n=5, p=0.02", "direction tier", counts]
    for words in made + claims:
        assert words in records["he_init"].replace("\\", "")
    totals = "8 claims in 2 records: 2 contradicted, 2 inconclusive, 2 reproduced, 2 not run"
    for words in [*made, counts, totals, "0.2 [0, 0.6], n=5", "Theory tier: a closed form"]:
        assert words in index.replace("\\", "")


def test_contradicted_claims_come_first(results):
    index, records = write(results)
    places = [records["he_init"].index(f"**{word}**") for word in ORDER]
    assert places == sorted(places)
    assert index.count("**contradicted**") == 2
    assert "**reproduced**" not in index


ORDER = ("contradicted", "inconclusive", "reproduced", "not run")


def test_order_is_the_catalog_then_the_name(tmp_path):
    for name in ("b", "a", "z"):
        record.save(make(name), None, tmp_path / "results" / name)
    record.save(make("again", experiment="z"), None, tmp_path / "results" / "again")
    catalog = [Listed("z", "depth", "The last"), Listed("unrun", "depth", "No record")]
    entries = collect(tmp_path / "results", catalog)
    assert [entry.title for entry in entries] == ["The last (again)", "The last", "a", "b"]
    assert [entry.theme for entry in entries] == ["depth", "depth", "", ""]


def test_output_repeats_and_leaves_nothing_else(results):
    assert gallery.write(results, Lecture(CATALOG))
    assert gallery.write(results, Lecture(CATALOG)) == []  # nothing has changed
    there = ["README.md", "claims.json", "index.html", "initialization", "pages", "results"]
    assert sorted(os.listdir(results.parent)) == there
    there = ["figures", "gallery.css", "gallery.js"]
    there += [f"{name}.{kind}" for name in ("he_init", "relu") for kind in ("csv", "html")]
    assert sorted(os.listdir(results.parent / "pages")) == sorted(there)
    assert os.listdir(results.parent / "pages" / "figures") == ["he_init.js"]


def test_pages_go_with_their_records_and_files_of_others_stay(results):
    gallery.write(results, Lecture(CATALOG))
    pages = results.parent / "pages"
    mine = {pages / "mine.html": "<!doctype html>", pages / "figures" / "mine.js": "mine()"}
    for path, text in mine.items():
        path.write_text(text)
    shutil.rmtree(results / "he_init")
    gallery.write(results, Lecture(CATALOG))
    assert sorted(path.stem for path in pages.glob("*.html")) == ["mine", "relu"]
    assert not (pages / "he_init.csv").exists()
    assert os.listdir(pages / "figures") == ["mine.js"]


def test_pages_are_not_written_through_links(results):
    precious = results.parent / "precious"
    precious.write_text("precious")
    gallery.write(results, Lecture(CATALOG))
    page = results.parent / "pages" / "he_init.html"
    for path in (results.parent / "README.md", results / "he_init" / "README.md", page):
        path.unlink()
        path.symlink_to(precious)
    write(results)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize("text", ["# A project\n", f"# A project\n{markdown.BEGIN}\n", ""])
def test_a_page_of_somebody_else_is_never_replaced(results, capsys, text):
    """Records below ``runs/`` have the front page of the repository beside them."""
    ours = results.parent / "README.md"
    ours.write_text(text)
    assert gallery.main([f"--results={results}"]) == 2
    assert ours.read_text() == text
    assert not (results.parent / "index.html").exists()
    assert "would be replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["index.html", "claims.json", "explore.html", "pages/he_init.html", "pages/relu.csv"]
)
def test_a_file_of_somebody_else_is_never_replaced(results, capsys, name):
    bands = {"batch": 2, "layers": 3, "gains": {}, "seeds": 5, "width": 9}
    lecture = Lecture(CATALOG, bands=lambda results: bands)
    assert gallery.main([f"--results={results}"], lecture) == 0
    assert gallery.main([f"--results={results}"], lecture) == 0
    path = results.parent / name
    path.write_text("mine")
    (results.parent / "README.md").unlink()
    capsys.readouterr()
    assert gallery.main([f"--results={results}"], lecture) == 2
    assert f"{name} was not made by the gallery, and would be replaced" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert not (results.parent / "README.md").exists()


@pytest.mark.parametrize("name", ["result", "results/he_init"])
def test_a_folder_without_records_empties_no_gallery(results, capsys, name):
    gallery.write(results, Lecture(CATALOG))
    before = {path: path.read_bytes() for path in results.parent.rglob("*") if path.is_file()}
    assert gallery.main([f"--results={results.parent / name}"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "no such folder" in err or "holds a record" in err
    after = {path: path.read_bytes() for path in results.parent.rglob("*") if path.is_file()}
    assert after == before


def test_the_front_page_gets_a_table(results):
    front = results.parent.parent / "README.md"
    before, after = "# Title | é\n\n", "\nThe rest.\n"
    front.write_text(f"{before}{markdown.BEGIN}\nold\n{markdown.END}{after}", "utf-8")
    write(results)
    text = front.read_text("utf-8")
    assert text.startswith(before + markdown.BEGIN) and text.endswith(markdown.END + after)
    rows = text.splitlines()[3:-2]
    path = "experiments/results/he_init/README.md"
    assert rows[2] == f"| [he\\_init]({path}) | He learns faster. | ✗1 ?1 ✓1 –1 |  |"
    assert rows[3] == "| unrun | He learns faster. | no record yet |  |"
    write(results)
    assert front.read_text("utf-8") == text


def test_records_on_other_sets_stand_beside_the_first(results):
    shutil.copytree(results / "he_init", results / "he_init-mnist")
    front = results.parent.parent / "README.md"
    front.write_text(f"{markdown.BEGIN}\n{markdown.END}\n", "utf-8")
    write(results)
    row = front.read_text("utf-8").splitlines()[3]
    beside = "[mnist](experiments/results/he_init-mnist/README.md) ✗1 ?1 ✓1 –1"
    assert row.endswith(f"| ✗1 ?1 ✓1 –1 | {beside} |")


@pytest.mark.parametrize("content", [b"no marks", b"\xff" + markdown.BEGIN.encode()])
def test_a_front_page_that_is_not_ours_is_left_alone(results, content):
    front = results.parent.parent / "README.md"
    front.write_bytes(content)
    write(results)
    assert front.read_bytes() == content


def test_damaged_records_are_listed_not_fatal(results):
    (results / "relu" / "arrays.npz").write_bytes(b"")
    (results / "he_init copy").mkdir()
    (results / "he_init copy" / "record.json").write_text("{}")
    strange = os.fsencode(results) + b"/\xff"
    os.mkdir(strange)
    open(strange + b"/record.json", "w").close()
    (results / "linked").symlink_to("he_init")
    index, records = write(results)
    web = Page((results.parent / "index.html").read_text("utf-8")).text
    assert index.count("**Damaged:**") == 4
    for text in (index, web):
        assert "checksum" in text
        assert str(results) not in text  # they may be moved, and are shown to others
    assert "1.5 [1, 2]" in records["he_init"].replace("\\", "")  # the whole one is shown
    assert records.keys() == {"he_init", "linked"}  # the latter seen through the link


def leaves(value, path=()):
    """Yield the path to every value in nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from leaves(item, (*path, key))


def resealed(fields):
    """Return the text of a record with these fields, as a hand may have written it."""
    text = json.dumps(fields | {"sha256": ""})
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text.replace('"sha256": ""', f'"sha256": "{digest}"', 1)


def test_no_value_of_another_type_takes_the_gallery_down(results):
    """Of every field, under a seal that holds."""
    path = results / "he_init" / "record.json"
    fields = json.loads(path.read_text())
    fields["provenance"]["earlier"] = [{"differs": ["code"], "device": "cpu"}]
    path.write_text(resealed(fields))
    assert record.load(path.parent).provenance["earlier"]
    pick = random.Random(0)
    for place in leaves(fields):
        changed = json.loads(json.dumps(fields))
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        odd = [None, 1, 1.5, "", "\ud800", [], {}, [None], {"a": None}, True]
        inner[place[-1]] = pick.choice(odd)
        path.write_text(resealed(changed))
        for text in gallery.pages(results, Lecture(CATALOG)).values():
            assert text.encode(errors="replace")


def test_a_parked_record_is_shown(results):
    os.rename(results / "relu", results / ".relu.old")
    (results / ".relu.new-1").mkdir()  # what a killed process left
    (results / ".relu.new-1" / "record.json").touch()
    assert [entry.name for entry in collect(results, CATALOG)] == ["he_init", "relu"]
    assert (results / "relu").is_dir()


def test_empty_gallery(tmp_path):
    pages = gallery.pages(tmp_path / "results", Lecture(CATALOG))
    Page(pages[tmp_path / "index.html"])


def test_command(results, capsys):
    assert gallery.main([f"--results={results}"], Lecture(CATALOG)) == 0
    assert "wrote" in capsys.readouterr().out
    for text in (f"{results}/no/such/place", "~nosuchuser/results"):
        assert gallery.main([f"--results={text}"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
