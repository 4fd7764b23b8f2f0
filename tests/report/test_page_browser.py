"""The report in a browser: two thousand runs, opened from disk, used by mouse, by keyboard and by ear."""

import math

import pytest
from support.chromium import BINARY, Chromium
from support.made_page import METHODS, made_results

from surm_bench.metrics import METRICS
from surm_bench.report.page import page_part, write_page
from surm_bench.report.page.data import comparison_part, table_part
from surm_bench.report.pareto import pareto_front
from surm_bench.report.verdicts import Compared, primary_families, verdict_table
from surm_bench.statistics import Interval

pytestmark = pytest.mark.skipif(BINARY is None, reason="needs Chromium: apt-get install chromium")
VIEWS = ["answers", "scores", "tradeoff", "budget", "differences", "curves", "tuning", "claims", "runs"]
MIB = 2**20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    results = made_results(tmp_path_factory.mktemp("results"))
    part = page_part(results, results.folder)
    assert len(part["runs"]) == 2000
    place = {"column": 0, "reference": "LoRA 1", "n": 5, "n_missing": 0, "examples": False}
    part["differences"] = [place | {"method": m, "mean": 0.1, "low": 0.05, "high": 0.15} for m in list(METHODS)[2:9]]
    difference = Interval(0.1, 0.05, 0.15, 0.02, 4, 5, 0)
    compared = [
        Compared(
            first="Circulant 1",
            partner="LoRA 1",
            experiment="e",
            task="a",
            primary=primary,
            registered="2026-01-01",
            margin=0.01,
            trained=(2, 2),
            stored=(1, 2),
            scores=(0.6, 0.5),
            difference=difference,
            check=difference,
            planned=5,
            runs=tuple(list(part["runs"])[:2]),
        )
        for primary in (True, False)
    ]
    claim = {
        **{"name": "more", "paper": "It gains.", "question": "Does it?", "margin": 0.01},
        "table": table_part(verdict_table(compared, primary_families(compared), 0.95)),
        "comparisons": [comparison_part(one, ("Circulant 1: better", "+10.0 points.")) for one in compared],
    }
    return {"newest": "2026-01-01", "parts": [part, part | {"name": "another"}], "claims": [claim]}


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    return write_page({**data, "parts": data["parts"][:1]}, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest.fixture
def browser(chromium, page):
    """The page, just opened; at the end without a problem, and nothing else asked for."""
    chromium.requests.clear()
    chromium.open(page, "scores")
    yield chromium
    assert chromium.problems == []
    outside = {url for url in chromium.requests if not url.startswith("blob:")}  # a saved figure is a blob
    assert {url.partition("#")[0] for url in outside} <= {page.as_uri(), "about:blank"}


def texts(browser, selector):
    return browser.js(f"[...document.querySelectorAll({selector!r})].map((found) => found.innerText.trim())")


def methods(browser):
    """The names of the rows of all tables, without the marks before them."""
    return [name[1:].strip() for name in texts(browser, "#main tbody th")]


def numbers(browser, column):
    """Of a column of the first table, without the intervals."""
    rows = "[...document.querySelector('#main table').tBodies[0].rows]"
    found = browser.js(f"{rows}.map((row) => row.cells[{column}].innerText)")
    return [float(text.split(" ")[0].replace(",", "")) for text in found]


def test_two_thousand_runs_fit_in_fifteen_megabytes_and_open_in_seconds(browser, page):
    assert page.stat().st_size < 15 * MIB
    seconds = browser.open(page, "scores")
    assert browser.js("document.querySelectorAll('#main table').length") == 2
    print(f"{page.stat().st_size / MIB:.1f} MiB, open after {seconds:.1f} s")
    assert seconds < 30  # on a busy machine; on an idle one it is about one


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_draws_without_an_error(browser, view):
    browser.click(f"#views a[href='#{view}']")
    browser.wait(f"document.querySelector('#views a[aria-current]').hash === '#{view}'")
    if view in ("tradeoff", "differences", "curves", "tuning", "claims"):
        browser.wait("document.querySelector('#main .plot .main-svg')")
        browser.click("#main figure summary")
        browser.wait("document.querySelector('#main figure table tbody tr')")
    else:
        browser.wait("document.querySelector('#main table tbody tr')")


def test_a_header_sorts_by_mouse_and_by_keyboard(browser):
    assert methods(browser)[:25] == list(METHODS)  # as in the table
    browser.click("#main thead th:nth-child(4) button")
    assert browser.js("document.querySelector('#main thead th:nth-child(4)').getAttribute('aria-sort')") == "descending"
    scores = numbers(browser, 3)
    assert len(scores) == 25 and scores == sorted(scores, reverse=True)
    browser.js("document.querySelector('#main thead th:nth-child(2) button').focus()")
    browser.press("Enter")
    browser.press(" ")
    assert browser.js("[...document.querySelectorAll('#main thead th[aria-sort]')].length") == 1
    parameters = numbers(browser, 1)
    assert parameters == sorted(METHODS.values())


def test_filters_by_family_model_task_and_budget(browser):
    browser.click("#families input[value='LoRA']")
    assert not any("LoRA" in name for name in methods(browser))
    browser.choose("#model", "bert_x")
    assert texts(browser, "#main caption") == ["bert_x"]
    browser.choose("#task", "glue/b")
    assert [title.split()[0] for title in texts(browser, "#main thead th")] == ["Adapter", "Parameters", "Stored", "b"]
    browser.choose("#most", "4000")
    kept = [name for name, count in METHODS.items() if count <= 4000 and "LoRA" not in name]
    assert methods(browser) == kept
    assert texts(browser, "#shown") == [f"{len(kept)} of 25 methods, 1 of 8 columns"]
    browser.choose("#as", "C3A 2")
    assert max(numbers(browser, 1)) == METHODS["C3A 2"] == float(browser.js("document.querySelector('#most').value"))
    browser.click("#all")
    assert len(methods(browser)) == 50


def test_the_budget_names_the_best_within_it(browser, data):
    browser.choose("#most", "4000")
    browser.click("#views a[href='#budget']")
    browser.wait("document.querySelector('#main h3')")
    cells = [cell for cell in data["parts"][0]["cells"] if cell["column"] == 0 and cell["parameters"] <= 4000]
    best = max(cells, key=lambda cell: cell["score"]["mean"])
    assert texts(browser, "#main section section p")[0].startswith(f"{best['method']} has the best mean score")
    assert len(numbers(browser, 1)) == len(cells) and numbers(browser, 1)[0] == round(100 * best["score"]["mean"], 1)


@pytest.mark.parametrize("cost", ["parameters", "stored_parameters", "step_ms", "memory"])
def test_the_front_is_that_of_the_figures(browser, data, cost):
    browser.click("#views a[href='#tradeoff']")
    browser.wait("document.querySelector('#axis')")
    browser.choose("#axis", cost)
    browser.wait("document.querySelector('.js-plotly-plot')?.data")
    cells = [cell for cell in data["parts"][0]["cells"] if cell["column"] == 0]
    costs = [cell[cost]["mean"] if isinstance(cell[cost], dict) else cell[cost] for cell in cells]
    front = pareto_front(costs, [cell["score"]["mean"] for cell in cells], METRICS["accuracy"])
    drawn = browser.js("Array.from(document.querySelector('.js-plotly-plot').data[0].y)")
    assert drawn[:-1] == pytest.approx([100 * cells[i]["score"]["mean"] for i in front])
    assert browser.js("document.querySelector('.js-plotly-plot').data.length") == 1 + len(cells)


def test_no_mark_covers_another(browser):
    browser.click("#views a[href='#tradeoff']")
    browser.wait("document.querySelector('.js-plotly-plot .points path')")
    found = browser.js(
        "[...document.querySelector('.js-plotly-plot').querySelectorAll('.points path')]"
        ".map((mark) => { const b = mark.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })"
    )
    assert len(found) == 25
    assert all(math.dist(a, b) > 7 for i, a in enumerate(found) for b in found[:i])


def test_a_number_opens_its_runs_by_keyboard(browser, data):
    """Tab to the first number, Enter opens, Escape closes and the number has the focus again."""
    browser.js("document.querySelector('#main thead th:last-child button').focus()")
    browser.press("Tab")
    assert browser.js("document.activeElement.className.startsWith('cell')")
    browser.press("Enter")
    assert browser.js("document.querySelector('dialog').open")
    part = data["parts"][0]
    (first,) = [c for c in part["cells"] if c["method"] == next(iter(METHODS)) and c["column"] == 0]
    assert len(texts(browser, "dialog h3")) == 5
    for run, output in zip(first["runs"], texts(browser, "dialog dl"), strict=True):
        assert part["runs"][run]["command"] in output and part["runs"][run]["commit"] in output
    browser.press("Escape")
    assert not browser.js("document.querySelector('dialog').open")
    assert browser.js("document.activeElement.className.startsWith('cell')")


def test_a_claim_has_its_verdict(browser):
    browser.click("#views a[href='#claims']")
    browser.wait("document.querySelector('#main li')")
    assert texts(browser, "#main li") == ["Circulant 1 − LoRA 1, a: better, +10.0 [+5.0, +15.0]"]


def test_the_page_opens_on_the_claims_and_draws_every_experiment_below(chromium, data, tmp_path):
    """The scores of an experiment are drawn when they come into sight, without the filters of another view."""
    part = data["parts"][0]
    parts = [part | {"question": "What is best?"}, *(part | {"name": name} for name in ("b", "c", "another"))]
    chromium.open(write_page({**data, "parts": parts}, tmp_path / "report.html"))
    assert texts(chromium, "#main h2, #main h3") == ["The answer", part["name"], "b", "c", "another"]
    assert texts(chromium, ".claims tbody td:nth-child(2)") == ["Circulant 1: better, +10.0 points."]
    assert texts(chromium, ".experiment p")[0] == "What is best?"
    chromium.click(".claims tbody button")
    assert len(texts(chromium, "dialog h3")) == 2
    chromium.press("Escape")
    assert chromium.js("document.querySelectorAll('.late').length") > 0
    chromium.js("document.querySelector('.experiment:last-child').scrollIntoView()")
    chromium.wait("document.querySelector('.experiment:last-child table')")
    assert methods(chromium)[-50:] == list(METHODS) * 2
    chromium.click(".experiment:last-child > button")
    chromium.wait("location.hash === '#tradeoff'")
    assert chromium.js("document.querySelector('#part').selectedOptions[0].text") == "another"
    assert chromium.problems == []


@pytest.mark.parametrize("percent", [True, False])
def test_the_unit_of_differences_is_told(chromium, data, tmp_path, percent):
    part = data["parts"][0] | {"columns": [column | {"percent": percent} for column in data["parts"][0]["columns"]]}
    chromium.open(write_page({**data, "parts": [part]}, tmp_path / "report.html"), "differences")
    (note,) = (text for text in texts(chromium, "#main p") if text.startswith("Score minus"))
    assert ("Scores that are not percentages have their own unit." in note) is not percent


def test_a_narrow_screen_is_not_scrolled_sideways(chromium, page):
    chromium.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    try:
        for view in VIEWS:
            chromium.open(page, view)
            assert chromium.js("document.documentElement.scrollWidth") == 390, view
    finally:
        chromium.send("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("format, begin", [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_a_figure_is_saved(browser, tmp_path, format, begin):
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.click("#views a[href='#tradeoff']")
    browser.wait("document.querySelector('.js-plotly-plot .points path')")
    browser.js("new Promise((go) => setTimeout(go, 300))")
    browser.click(f"button[aria-label$='{format.upper()}']")
    for _ in range(100):
        browser.js("new Promise((go) => setTimeout(go, 100))")
        if saved := list(tmp_path.glob(f"*.{format}")):
            break
    assert saved[0].read_bytes().startswith(begin)


def test_a_click_on_a_point_opens_its_runs(browser):
    browser.click("#views a[href='#tradeoff']")
    browser.wait("document.querySelector('.js-plotly-plot .points path')")
    browser.click(".js-plotly-plot .points path")
    browser.wait("document.querySelector('dialog').open")
    assert " (vit_x)" in texts(browser, "#dialog-title")[0]


def test_a_screen_reader_is_told_what_is_there(browser):
    names = browser.names()
    assert {("columnheader", "Parameters"), ("rowheader", "LoRA 1"), ("navigation", "Views")} <= names
    assert "status" in {role for role, _ in names}
    assert ("combobox", "Model") in names and ("checkbox", "structured") in names
    assert not [role for role, name in names if role in ("button", "link", "combobox", "checkbox") and not name]
    browser.click("#views a[href='#tradeoff']")
    browser.wait("document.querySelector('#main figure')")
    images = [name for role, name in browser.names() if role in ("image", "img")]
    assert any("a (vit_x): score against adapter parameters; on the front are" in name for name in images)


def test_one_of_several_results_is_chosen(chromium, data, tmp_path):
    chromium.open(write_page(data, tmp_path / "report.html"), "curves")
    chromium.choose("#part", "1")
    assert chromium.js("document.querySelector('#part').selectedOptions[0].text") == "another"
    chromium.wait("document.querySelector('#main figure')")
    assert chromium.problems == []
    chromium.requests.clear()


def test_the_reader_chooses_which_lines_are_in_colour(browser):
    browser.click("#views a[href='#curves']")
    browser.wait("document.querySelector('.js-plotly-plot')?.data")
    grey = "document.querySelector('.js-plotly-plot').data.filter((line) => line.line?.color === '#c8c8c8').length"
    before = browser.js(grey)
    assert before == 20  # of five families one is in colour
    browser.click("#main .choices input:not(:checked)")
    browser.wait("document.querySelector('.js-plotly-plot')?.data")
    assert browser.js(grey) == before - 1
