"""The pages in a real browser (Debian's chromium): looks, keyboard, small windows, and what never leaves the machine.

Skipped where there is no chromium; `tools/test-packages.txt` names what the tests need of the system.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from stax_pipeline.app import wording
from stax_pipeline.app.application import create_app
from stax_pipeline_tests.app.conftest import NOW
from stax_pipeline_tests.app.dagster_stub import DagsterStub
from stax_pipeline_tests.app.support import served
from stax_pipeline_tests.conftest import Installation
from stax_pipeline_tests.pipeline.support import query

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATHS = ["/", "/tenants/acme", "/tenants/acme/provider", "/providers", "/providers/anthropic/connect", "/nowhere"]
TOTAL = "select sum(total_usd) from stax.spend_summary where tenant = 'acme' and usage_date >= '2026-11-01'"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 320, "height": 640}
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")]


@pytest.fixture(scope="module")
def chromium(address: str) -> Iterator[Browser]:
    """After the data is there: the driver keeps this thread's event loop for itself."""
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def dagster() -> DagsterStub:
    return DagsterStub()


@pytest.fixture(scope="module")
def address(two: Installation, dagster: DagsterStub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    socket = tmp_path_factory.mktemp("s") / "s"
    with served(dagster.app, socket):
        app = create_app(two.settings, socket)
        app.state.now = lambda: NOW
        with served(app) as port:
            yield f"http://127.0.0.1:{port}"
        app.state.database.close()
        app.state.runs.close()


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def page(chromium: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page whose requests all stay on loopback, and which breaks no rule of its own policy."""
    context = chromium.new_context(viewport=WIDE, java_script_enabled=request.param, base_url=address)  # type: ignore[arg-type]
    opened, asked, said = context.new_page(), [], []
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("console", lambda one: said.append(one.text))
    yield opened
    assert [url for url in asked if not url.startswith(address)] == []
    assert [text for text in said if "404" not in text and "422" not in text] == []
    context.close()


def test_the_dashboard_says_how_far_it_reaches_and_what_was_spent(two: Installation, page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Acme", exact=True).click()
    assert "Usage through 11:55 UTC (10 minutes ago)" in page.get_by_role("status").inner_text()
    [(total,)] = query(two, TOTAL)
    assert page.locator(".headline dd").inner_text() == wording.dollars(total)
    marks = page.locator("svg.bars [data-usd]")
    drawn = [Decimal(str(marks.nth(at).get_attribute("data-usd"))) for at in range(marks.count())]
    assert sum(drawn, Decimal(0)) == total
    assert page.locator('svg.bars [fill^="url(#spend-r"]').count() > 0
    assert page.get_by_text("priority-reconstructed").first.is_visible()


def test_the_table_below_the_chart_opens_and_has_its_days(page: Page) -> None:
    page.goto("/tenants/acme")
    assert not page.get_by_role("rowheader", name="2026-11-21").is_visible()
    page.get_by_text("The same as a table").click()
    assert page.get_by_role("rowheader", name="2026-11-21").is_visible()


def test_a_wrong_key_is_told_by_the_field_and_never_shown_again(page: Page, two: Installation) -> None:
    page.goto("/providers")
    page.get_by_role("link", name="Connect").click()
    page.get_by_label("Short name").fill("initech")
    page.get_by_label("Admin key", exact=True).fill("sk-ant-api03-" + "x" * 40)
    page.get_by_role("button", name="Save").click()
    assert page.get_by_role("alert").get_by_text("Wrong key type. A regular sk-ant-api- key won't work").is_visible()
    assert page.get_by_label("Admin key", exact=True).input_value() == ""
    assert page.get_by_label("Short name").input_value() == "initech"


def test_a_rotation_leads_through_the_run_to_the_dashboard(page: Page, two: Installation, dagster: DagsterStub) -> None:
    page.goto("/tenants/globex/provider")
    page.get_by_role("link", name="Rotate key").click()
    page.get_by_label("Admin key", exact=True).fill(two.simulator.keys["globex"])
    page.get_by_role("button", name="Save").click()
    assert page.get_by_text("The sync is about to start").is_visible()
    dagster.states[list(dagster.launched)[-1]] = "SUCCESS"
    page.wait_for_url("**/tenants/globex")  # the page looks again by itself
    assert page.get_by_role("heading", name="Globex").is_visible()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_in_a_small_window(chromium: Browser, address: str, path: str, scheme: str) -> None:
    context = chromium.new_context(viewport=NARROW, color_scheme=scheme, base_url=address)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    context.close()


def test_the_keyboard_alone_reaches_everything(chromium: Browser, address: str) -> None:
    context = chromium.new_context(viewport=WIDE, base_url=address)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/tenants/acme")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")
        )
        shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        in_chart = page.evaluate("document.activeElement.classList.contains('day')")  # its own frame shows the focus
        assert shown != "none" or in_chart or page.evaluate("document.activeElement === document.body"), seen[-1]
    assert len({one for one in seen if " Nov: $" in one or " Oct: $" in one}) == 30
    assert seen.index("Chart of daily spend by model") < seen.index("The same as a table")
    page.get_by_text("The same as a table").focus()
    page.keyboard.press("Enter")
    assert page.get_by_role("rowheader", name="2026-11-21").is_visible()
    context.close()


def _luminance(rgb: list[int]) -> float:
    parts = [one / 255 for one in rgb]
    red, green, blue = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(chromium: Browser, address: str, scheme: str) -> None:
    context = chromium.new_context(viewport=WIDE, color_scheme=scheme, base_url=address)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/tenants/acme")
    colours: dict[str, str] = page.evaluate(
        "Object.fromEntries(['page','card','ink','soft','link','accent','bad','bad-back','band'].map(n => "
        "[n, getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim()]))"
    )
    light = {name: _luminance([int(hex_[at : at + 2], 16) for at in (1, 3, 5)]) for name, hex_ in colours.items()}
    pairs = [(text, on) for text in ("ink", "soft", "link", "bad") for on in ("page", "card")]
    for text, on in [*pairs, ("ink", "band"), ("soft", "band"), ("ink", "bad-back"), ("card", "accent")]:
        low, high = sorted((light[text], light[on]))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, text, on)
    context.close()
