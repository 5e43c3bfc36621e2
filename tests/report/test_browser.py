"""The committed site in a real browser: at two widths, in the dark, and without a network."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvision.dynamics import theory
from jaxvision.report import panels, record
from tests.report import browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.program() is None, reason="no Chromium here to open pages in"),
]
SITE = Path(__file__).resolve().parents[2] / "experiments"
PHONE, DESK = 390, 1280
PAGES = [SITE / "index.html", SITE / "explore.html", *sorted(SITE.glob("pages/*.html"))]
WIDEST = [SITE / "pages" / f"{name}.html" for name in ("gradient_flow", "plain_vs_residual")]


@pytest.fixture(scope="module")
def page():
    with browser.started() as opened:
        yield opened


def assert_sound(page, path):
    width, window = page.run("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window, path
    assert page.errors == [], path
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.requests), path


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_fits_a_phone_and_complains_of_nothing(page, path):
    page.open(path, PHONE)
    assert_sound(page, path)
    assert page.run("[...document.images].every(image => !image.complete || image.naturalWidth)")


@pytest.mark.parametrize("path", [*PAGES[:2], *WIDEST], ids=lambda path: path.stem)
def test_a_page_fits_a_desk_and_the_dark(page, path):
    shades = []
    for scheme in ("light", "dark"):
        page.open(path, DESK, scheme=scheme)
        assert_sound(page, path)
        color = page.run("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(map(int, color.removeprefix("rgb(").removesuffix(")").split(","))))
    assert shades[0] > 600 > 150 > shades[1]


def choose(page, **chosen):
    """Set filters of the index; return the titles that are shown and what is said of them."""
    for name in ("verdict", "theme", "paper"):
        value = json.dumps(chosen.get(name, ""))
        page.run(
            f"{{ const select = document.getElementById('by-{name}'); select.value = {value};"
            " select.dispatchEvent(new Event('change')); }"
        )
    titles = page.run(
        "[...document.querySelectorAll('article')].filter(one => one.offsetParent)"
        ".map(one => one.querySelector('h3').textContent)"
    )
    return titles, page.run("document.getElementById('shown').textContent")


def test_filters_show_what_the_records_say(page):
    records = json.loads((SITE / "claims.json").read_text("utf-8"))["records"]

    def expected(fits):
        found = [one["title"] for one in records if any(fits(one, c) for c in one["claims"])]
        return list(dict.fromkeys(found))

    page.open(SITE / "index.html", DESK)
    everything, told = choose(page)
    assert everything == expected(lambda one, claim: True)
    assert told == f"{len(everything)} of {len(everything)} experiments"
    for verdict in ("contradicted", "not run"):
        titles, told = choose(page, verdict=verdict)
        assert titles == expected(lambda one, claim: claim["verdict"] == verdict)  # noqa: B023
        assert told == f"{len(titles)} of {len(everything)} experiments"
    titles, _ = choose(page, theme="depth", paper="He et al. 2016", verdict="contradicted")
    assert titles == expected(
        lambda one, claim: (
            (one["theme"], claim["paper"], claim["verdict"])
            == ("depth", "He et al. 2016", "contradicted")
        )
    )
    assert choose(page, theme="data", paper="He et al. 2015")[0] == []
    assert choose(page)[0] == everything


def test_panels_are_taken_out_of_a_figure(page, tmp_path):
    page.open(SITE / "pages" / "he_init.html", DESK)
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.run("document.querySelectorAll('[data-panel=\"2\"]').forEach(button => button.click())")
    deadline = time.monotonic() + browser.WAIT_S
    wanted = {"he_init-2.svg", "he_init-2.png"}
    while {path.name for path in tmp_path.iterdir()} != wanted and time.monotonic() < deadline:
        page.run("1")  # its events are read
    svg = (SITE / "results" / "he_init" / "figure.svg").read_text("utf-8")
    assert (tmp_path / "he_init-2.svg").read_text("utf-8") == panels.cut(svg)[1]
    with Image.open(tmp_path / "he_init-2.png") as picture:
        colors = np.asarray(picture.convert("RGB"))
    assert colors.shape[1] == 1600
    assert 0.5 < np.mean(colors == 255) < 0.99  # white, with something drawn on it
    assert page.errors == []


def turn(page, **knobs):
    """Set knobs of the interactive page; return what it says."""
    for name, value in knobs.items():
        field = "checked" if isinstance(value, bool) else "value"
        page.run(
            f"{{ const knob = document.getElementById('{name.replace('_', '-')}');"
            f" knob.{field} = {json.dumps(value)}; knob.dispatchEvent(new Event('input')); }}"
        )
    return page.run("document.getElementById('verdict').textContent")


def test_the_knobs_draw_theory_and_what_was_measured(page):
    page.open(SITE / "explore.html", PHONE)
    told = turn(page, activation="relu", gain=0.5**0.5, depth=50)
    _, gradient = theory.log_norms("relu", 1.0, 256, 50)
    assert f"10 to the −{-gradient[0] / np.log(10):.1f} times" in told
    assert "It vanishes" in told and "not measured" not in told
    assert page.run("document.querySelectorAll('#gradient .band').length") == 1
    assert "It explodes" in turn(page, batch_norm=True, gain=1.3)
    assert page.run("document.querySelectorAll('#gradient .band').length") == 0  # no such nets
    assert "It survives" in turn(page, skip=True, depth=10)
    assert "no closed form" in turn(page, activation="tanh")
    assert page.run("document.querySelectorAll('#gradient path').length") == 0
    assert page.errors == []


def test_measured_bands_are_those_of_the_record(page):
    page.open(SITE / "explore.html", PHONE)
    bands = json.loads(page.run("document.getElementById('bands').textContent"))
    arrays = record.load(SITE / "results" / "gradient_flow").arrays
    for name, key in (
        ("plain/tanh/above", "image/tanh/above/delta"),
        ("plain/sigmoid/critical", "image/sigmoid/critical/delta"),
    ):
        np.testing.assert_allclose(bands["nets"][name]["gradient"], arrays[key][:, :99], atol=0.006)
    trained = np.log(arrays["batch_norm100/below/delta_norm"][:, :99])
    np.testing.assert_allclose(
        bands["nets"]["plain+bn/relu/below"]["gradient"], trained, atol=0.006
    )
