"""The dashboard in a real browser: every page, in light and dark, on a phone, on paper, by keyboard, and live."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("playwright")

from browser import Troubles, chromium, findings
from dashboard_client import serving
from dashboard_home import HOSTILE, DashboardHome, every_path
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = pytest.mark.long
PHONE = {"width": 390, "height": 844}


class Visit:
    """A browser that was let into a dashboard."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context, self.base = context, base
        self.troubles = Troubles()

    def page(self, path: str = "") -> Page:
        """A new page of it; what goes wrong there is noted."""
        page = self.context.new_page()
        page.set_default_timeout(60_000)
        self.troubles.watch(page)
        if path:
            page.goto(self.base + path)
        return page


@pytest.fixture(scope="module")
def visit(dashboard_home: DashboardHome) -> Iterator[Visit]:
    with ExitStack() as stack:
        url = stack.enter_context(serving(dashboard_home.hq.path))
        browser = stack.enter_context(chromium())
        context = browser.new_context()
        made = Visit(context, url.partition("/enter")[0])
        page = made.page()
        page.goto(url)
        page.wait_for_url(made.base + "/")
        page.close()
        yield made
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_without_a_complaint_and_axe_finds_nothing_serious(
    visit: Visit, dashboard_home: DashboardHome, scheme: str
) -> None:
    page = visit.page()
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for path in every_path(dashboard_home):
        answer = page.goto(visit.base + path)
        assert answer is not None
        assert answer.status == 200
        expect(page.locator("#liveness")).to_have_attribute("data-live", "yes")
        assert findings(page) == [], path
        for address in page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)"):
            assert address.startswith(visit.base)
    page.close()
    assert visit.troubles.seen == []


def test_a_fault_that_is_planted_is_found(visit: Visit) -> None:
    page = visit.page("/packages")
    page.evaluate("document.querySelector('label').remove()")
    page.evaluate("document.querySelector('h1').setAttribute('style', 'color: red')")
    assert any(one.startswith("label: ") for one in findings(page))
    assert any("Content Security Policy" in one for one in visit.troubles.seen)
    visit.troubles.seen.clear()
    page.close()


def test_names_that_try_to_be_markup_run_nothing(visit: Visit) -> None:
    page = visit.page("/packages")
    page.on("dialog", lambda _: pytest.fail("a script of a name was run"))
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    page.close()


def test_on_a_phone_nothing_is_wider_than_the_screen(visit: Visit, dashboard_home: DashboardHome) -> None:
    page = visit.page()
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for path in every_path(dashboard_home):
        page.goto(visit.base + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        assert findings(page) == [], path
    page.close()


def test_every_link_and_field_is_reached_by_the_keyboard_and_its_focus_is_seen(
    visit: Visit, dashboard_home: DashboardHome
) -> None:
    page = visit.page()
    for path in ("/", "/parcels", f"/parcels/{dashboard_home.parcels['arriving']}", "/channel"):
        page.goto(visit.base + path)
        wanted = page.evaluate(
            """() => [...document.querySelectorAll("a[href], input, select, button")].filter(
                (one) => !one.hidden).map((one, at) => (one.dataset.at = at))"""
        )
        reached = set()
        for _ in range(len(wanted) + 20):
            page.keyboard.press("Tab")
            at, seen = page.evaluate(
                """() => [document.activeElement.dataset.at ?? "",
                    getComputedStyle(document.activeElement).outlineStyle !== "none"]"""
            )
            if at:
                assert seen, f"{path}: the focus of element {at} is not to be seen"
                reached.add(int(at))
        assert reached == set(wanted), path
    page.goto(visit.base + "/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.close()


def test_a_page_renews_itself_and_keeps_the_focus(
    dashboard_home: DashboardHome, visit: Visit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # With a site of its own: what it adds, other tests would count.
    from journey import add, make_home

    root = tmp_path_factory.mktemp("live")
    home = make_home(root, "HQ1")
    with serving(home.path) as url:
        page = visit.page()
        page.goto(url)
        page.wait_for_url(url.partition("/enter")[0] + "/")
        expect(page.get_by_text("0 versions")).to_be_visible()
        page.locator("a[href='/sites']").last.focus()
        (root / "a.txt").write_bytes(b"content")
        add(home, root / "a.txt", name="Live")
        expect(page.get_by_text("1 version")).to_be_visible(timeout=30_000)
        assert page.evaluate("document.activeElement.getAttribute('href')") == "/sites"
        assert page.evaluate("document.activeElement.isConnected")
        page.goto(url.partition("/enter")[0] + "/packages")
        page.get_by_label("Package, name or site").fill("half typed")
        add(home, root / "a.txt", name="Another")
        page.wait_for_timeout(4000)
        assert page.get_by_label("Package, name or site").input_value() == "half typed"
        expect(page.get_by_text("Another")).to_have_count(0)
        page.get_by_label("Package, name or site").blur()
        expect(page.get_by_text("Another")).to_be_visible(timeout=30_000)
    assert visit.troubles.seen == []
    # The dashboard has ended; the page notices without being touched.
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_text("Not live since")).to_be_visible(timeout=30_000)
    page.close()
    visit.troubles.seen.clear()


def test_on_paper_there_is_what_was_seen_and_nothing_to_click(visit: Visit, dashboard_home: DashboardHome) -> None:
    page = visit.page(f"/parcels/{dashboard_home.parcels['arriving']}")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.get_by_role("navigation", name="Pages", exact=True)).to_be_hidden()
    expect(page.get_by_role("heading", name="Custody")).to_be_visible()
    page.close()


def test_without_scripts_every_page_is_there_to_be_read(visit: Visit, dashboard_home: DashboardHome) -> None:
    browser = visit.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False, storage_state=visit.context.storage_state())
    page = context.new_page()
    for path in every_path(dashboard_home):
        page.goto(visit.base + path)
        expect(page.locator("h1")).to_be_visible()
        expect(page.get_by_text("It does not renew itself here: reload it.")).to_be_visible()
    context.close()
