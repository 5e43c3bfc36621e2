"""The gallery: escaped, relative, whole, and not stopped by a damaged record."""

import base64
import dataclasses
import hashlib
import html.parser
import os
import re
import urllib.parse

import pytest

from jaxvision.report import gallery, plots, record
from jaxvision.report.claims import Judgement
from jaxvision.report.record import Record

EVIL = "<script>alert(1)</script> \"'><img src=x onerror=alert(1)> | `a` $x$ [b](http://c) *d* & é"


def make(name="he_init", text="He learns faster.", **fields):
    judgements = [
        Judgement("a", text, text, "direction", text, verdict, note=text, **numbers)
        for verdict, numbers in (
            ("reproduced", dict(estimate=1.5, low=1.0, high=2.0, n=5, p=0.01, p_adjusted=0.02)),
            ("contradicted", dict(estimate=0.2, low=0.0, high=0.6, n=5)),
            ("inconclusive", dict(estimate=float("nan"), low=float("nan"), high=2.0, n=5)),
            ("not run", {}),
        )
    ]
    provenance = {"commit": text, "device": text, "started": text, "wall_time_s": 12.3}
    fields = {"experiment": name, "command": f"python -m {text}"} | fields
    return Record(
        preset=text,
        run_name=name,
        config={"seeds": 5},
        numbers={},
        arrays={},
        claims=[judgement.to_dict() for judgement in judgements],
        provenance=provenance,
        **fields,
    )


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "experiments" / "results"
    figure, _ = plots.new_figure()
    record.save(make(), figure, folder / "he_init")
    record.save(make("relu", experiment=EVIL, text=EVIL), None, folder / "relu")
    return folder


class Page(html.parser.HTMLParser):
    """Collects tags, links, ids and text; checks that tags are closed in order."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.open, self.text = [], [], set(), [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.links += [value for name, value in attributes if name in ("href", "src")]
        self.ids |= {value for name, value in attributes if name == "id"}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def attributes(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def write(results, titles=None):
    readme, index = gallery.write(results, titles)
    return readme.read_text("utf-8"), index.read_text("utf-8")


def test_links_are_relative_and_lead_somewhere(results):
    page = Page(write(results)[1])
    assert "results/he_init/figure.png" in page.links
    for link in page.links:
        parts = urllib.parse.urlsplit(link)
        assert not parts.scheme and not parts.netloc and not link.startswith("/")
        if link.startswith("#"):
            assert urllib.parse.unquote(link[1:]) in {urllib.parse.unquote(i) for i in page.ids}
        else:
            assert (results.parent / urllib.parse.unquote(link)).is_file()


def test_every_string_is_escaped(results):
    readme, text = write(results, {"he_init": EVIL})
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "form", "b", "em"}
    assert all(image["src"].startswith("results/") for image in page.attributes("img"))
    assert all(not name.startswith("on") for _, found in page.tags for name in found)
    assert page.text.count("<script>alert(1)</script>") > 10  # shown as text, wherever it stands
    outside_code = re.sub(r"(?s)^(`{3,})$.*?^\1$", "", readme, flags=re.M)
    assert "<script" not in outside_code and "<img" not in outside_code
    assert "](http" not in outside_code.replace(r"\](", "")


def test_markdown_tables_keep_their_columns(results):
    readme, _ = write(results, {"he_init": EVIL})
    rows = [line for line in readme.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (2 + 4)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_a_command_cannot_leave_its_fence():
    fence, inside, end = gallery._fence("a ```` b").splitlines()
    assert fence == end == "`" * 5
    assert inside == "a ```` b"


def test_page_is_static_and_fits_a_phone(results):
    text = write(results)[1]
    page = Page(text)
    meta = page.attributes("meta")
    (policy,) = [m["content"] for m in meta if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "unsafe" not in policy
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert not any("style" in attributes for _, attributes in page.tags)
    assert any(m.get("name") == "viewport" for m in meta)
    assert "prefers-color-scheme: dark" in style
    assert all(image["alt"] for image in page.attributes("img"))


def test_everything_is_told(results):
    readme, index = write(results, {"he_init": "He against Xavier"})
    told = ["He against Xavier", "1.5 [1, 2], n=5, p=0.02", "n = 5 seeds", "direction tier"]
    told += ["reproduced", "contradicted", "inconclusive", "not run", "12 s"]
    for text in (readme.replace("\\", ""), Page(index).text):
        for words in told:
            assert words in text


def test_order_is_the_catalog_then_the_name(tmp_path):
    for name in ("b", "a", "z"):
        record.save(make(name), None, tmp_path / "results" / name)
    record.save(make("again", experiment="z"), None, tmp_path / "results" / "again")
    entries = gallery.collect(tmp_path / "results", {"z": "The last", "unrun": "No record"})
    assert [entry.title for entry in entries] == ["The last (again)", "The last", "a", "b"]


def test_output_repeats_and_leaves_nothing_else(results):
    first = write(results)
    assert write(results) == first
    assert sorted(os.listdir(results.parent)) == ["README.md", "index.html", "results"]


def test_damaged_records_are_listed_not_fatal(results):
    (results / "relu" / "arrays.npz").write_bytes(b"")
    (results / "he_init copy").mkdir()
    (results / "he_init copy" / "record.json").write_text("{}")
    bad = dataclasses.replace(make("odd"), claims=[{"verdict": "maybe"}])
    record.save(bad, None, results / "odd")
    readme, index = write(results)
    assert readme.count("**Damaged:**") == Page(index).text.count("Damaged:") == 3
    assert "checksum" in index
    assert "1.5 [1, 2]" in index  # the whole one is shown


def test_a_parked_record_is_shown(results):
    os.rename(results / "relu", results / ".relu.old")
    (results / ".relu.new-1").mkdir()  # what a killed process left
    (results / ".relu.new-1" / "record.json").touch()
    assert [entry.name for entry in gallery.collect(results, {})] == ["he_init", "relu"]
    assert (results / "relu").is_dir()


def test_empty_gallery(tmp_path):
    Page(write(tmp_path / "results")[1])


def test_command(results, capsys):
    assert gallery.main([f"--results={results}"], {"he_init": "He against Xavier"}) == 0
    assert "wrote" in capsys.readouterr().out
    assert gallery.main([f"--results={results}/no/such/place"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
