"""The page as a reader has it, in headless Chromium: what moves, what fits, and what assistive technology finds.

Needs the packages of requirements-browser.txt and a Chromium; `make browser` installs the first and runs this file.
Only files are opened; nothing is asked of a network.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from pipeline.protocol.confirmed import Confirmed, ConfirmedAnswer
from pipeline.report.analysis.findings import find
from pipeline.report.exports.metrics import metrics
from pipeline.report.page.page import render
from pipeline.report.page.studies import Study, render_studies
from pipeline.statistics.bootstrap import Interval
from tests.pipeline.report.page.test_layout import full_evidence, full_plan

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make browser` does")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: `apt-get install chromium`")

WIDTHS = (360, 768, 1440)
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


REPORT, CONFIRMED, STUDIES = "report", "confirmed", "studies"
PAGES = (REPORT, CONFIRMED, STUDIES)


@pytest.fixture(scope="module")
def files_of(tmp_path_factory) -> dict[str, Path]:
    """The report of everything there is, the same with confirmed answers, and several studies side by side."""
    plan = full_plan()
    evidence = full_evidence(plan)
    findings = find(plan, evidence)
    interval = Interval(0.001, -0.004, 0.006)
    answer = ConfirmedAnswer(
        "literal", "clustered_embedding", "greedy", 0.5, "no", "no, smaller than 1: x", interval, 5376, 10, 3
    )
    unknown = replace(answer, question="ours", method="kl_gradient_routed_by_neighbours", baseline="kl_learned")
    answers = Confirmed("c" * 40, ("confirmation",), (answer, unknown))
    own = metrics(plan, findings)
    studies = [Study(f"{count} groups", {**own, "clusters.count": count}) for count in (2, 4, 8)]
    pages = {
        REPORT: render(plan, evidence, findings)[0],
        CONFIRMED: render(plan, evidence, replace(findings, confirmed=answers))[0],
        STUDIES: render_studies([*studies, Study("another model", {"accuracy.dense": 0.9})]),
    }
    folder = tmp_path_factory.mktemp("page")
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, files_of) -> Iterator:
    """Opens a page at a width; afterwards nothing may have been said on the console or asked of anybody."""
    said: list[str] = []
    pages = []

    def open_page(width: int = 1440, which: str = REPORT, **options):
        file = files_of[which]
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if request.url != file.as_uri() else None)
        page.goto(file.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert [text for text in said if not text.startswith("data:")] == []


@pytest.mark.parametrize("which", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_but_scroll_regions_is_wider_than_the_window(opened, width, which):
    page = opened(width, which)
    page.evaluate("document.querySelectorAll('details').forEach(fold => (fold.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for region in page.query_selector_all(".scroll"):
        assert region.get_attribute("tabindex") == "0" and region.get_attribute("aria-label")


@pytest.mark.parametrize("which", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1440, "dark")])
def test_the_rules_of_axe_core_pass_with_everything_unfolded(opened, width, scheme, which):
    page = opened(width, which, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(fold => (fold.open = true))")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("tags => axe.run({runOnly: tags})", list(RULES))
    broken = {rule["id"]: [node["html"][:200] for node in rule["nodes"][:2]] for rule in found["violations"]}
    assert broken == {} and len(found["passes"]) > 20


@pytest.mark.parametrize("which", [REPORT, STUDIES])
@pytest.mark.parametrize("width", [360, 1440])
def test_targets_are_at_least_24_pixels(opened, width, which):
    page = opened(width, which)
    small = page.evaluate("""[...document.querySelectorAll('button, select, input, summary, nav a')]
        .filter(node => node.offsetParent && !node.closest('thead'))
        .map(node => [node.textContent.trim().slice(0, 30), node.getBoundingClientRect()])
        .filter(([, box]) => box.height < 23.9 || box.width < 23.9).map(([name]) => name)""")
    assert small == []


def test_the_slider_moves_figures_and_narrows_tables_to_one_target_and_back(opened):
    page = opened()
    marks = page.locator("#figure-differences .wide [data-only]:visible")
    before = marks.count()
    heads = page.locator("#rq4 thead th[data-at]:visible")
    everything = heads.count()
    page.locator("#target").fill("4")
    assert page.locator("#chosen").inner_text() == "65%"
    assert {mark.get_attribute("data-only") for mark in marks.element_handles()} == {"65"} and marks.count() == before
    assert 0 < heads.count() < everything
    assert page.locator("#figure-accuracy .wide .faded").count() > 0
    page.locator("#target").fill("0")
    assert {mark.get_attribute("data-only") for mark in marks.element_handles()} == {"mean"}
    assert heads.count() == everything and page.locator(".faded").count() == 0


def test_a_target_that_a_figure_does_not_have_shows_its_mean(opened):
    page = opened()
    page.locator("#target").fill("1")  # 25%; the primary comparison has 50 and 65
    marks = page.locator("#figure-differences [data-only].on").element_handles()
    assert {mark.get_attribute("data-only") for mark in marks} == {"mean"}


def test_a_method_is_switched_on_and_off(opened):
    page = opened()
    line = page.locator("#figure-accuracy .wide [data-method=random]").first
    button = page.locator("[data-toggle=random]")
    assert not line.is_visible() and button.get_attribute("aria-pressed") == "false"
    button.click()
    assert line.is_visible() and button.get_attribute("aria-pressed") == "true"
    button.click()
    assert not line.is_visible()


def test_points_and_samples_tell_their_values_where_the_pointer_is(opened):
    page = opened()
    tip = page.locator("#tip")
    assert not tip.is_visible()
    page.locator("#figure-accuracy .wide [data-tip]:visible").nth(3).hover(force=True)
    assert tip.is_visible() and "% of the FLOPs" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.locator("#figure-map circle").nth(5).hover(force=True)
    assert "group:" in tip.inner_text() and "template:" in tip.inner_text()


def test_the_map_is_filtered_by_label(opened):
    page = opened()
    dots = page.locator("#figure-map circle:visible")
    everything = dots.count()
    by, only = page.locator("#figure-map select").all()
    by.select_option(label="template")
    only.select_option(label="code")
    assert 0 < dots.count() < everything
    by.select_option(label="group")
    assert dots.count() == everything


def test_a_table_is_sorted_within_its_families_and_copied_as_csv(opened, browser):
    page = opened()
    table = page.locator("#rq4 table").last
    table.locator("thead button").nth(2).click()
    bodies = table.evaluate(
        "table => [...table.tBodies].map(body => [...body.rows].map(row => row.cells[2]?.dataset.value))"
    )
    for values in bodies:
        numbers = [float(value) for value in values if value is not None]
        assert numbers == sorted(numbers, reverse=True)
    assert table.locator("th[aria-sort=descending]").count() == 1
    page.evaluate("navigator.clipboard.writeText = async words => { window.copied = words; }")
    page.locator("#rq4 .tools button").last.click()
    first, second, *_ = page.evaluate("window.copied").splitlines()
    assert first.startswith('"method","groups","25%"') and len(second.split(",")) == len(first.split(","))


def test_without_a_script_and_in_print_the_page_is_complete(opened):
    page = opened(java_script_enabled=False)
    assert page.locator("#figure-accuracy .wide svg").is_visible() and page.locator(".chips button").first.is_visible()
    assert not page.locator(".at").is_visible() and not page.locator(".tools").count()
    assert page.locator("#figure-differences .wide [data-only=mean]").first.is_visible()
    printed = opened()
    printed.emulate_media(media="print")
    assert printed.locator("#figure-accuracy .wide svg").is_visible() and not printed.locator(".bar").is_visible()
    assert printed.locator("details table").first.is_visible()  # folds are open on paper


def test_points_of_studies_tell_their_values_and_the_table_sorts_and_copies(opened):
    page = opened(which=STUDIES)
    page.locator("figure [data-tip]").first.hover(force=True)
    assert "2 groups: " in page.locator("#tip").inner_text()
    page.locator("thead button").nth(1).click()
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.evaluate("navigator.clipboard.writeText = async words => { window.copied = words; }")
    page.locator(".tools button").click()
    assert len(page.evaluate("window.copied").splitlines()) == 5
