"""A real browser: Debian's Chromium, driven by playwright, which keeps what goes wrong in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stock import stock_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE = Path(__file__).with_name("axe") / "axe.min.js"
"""axe-core, which finds what people who do not see or do not use a mouse cannot use (MPL 2.0, beside its licence)."""
BAD = ("serious", "critical")
"""How grave a finding of axe has to be to count."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser. As root, and in most containers, it runs without the sandbox that it has elsewhere."""
    from playwright.sync_api import sync_playwright

    root = hasattr(os, "geteuid") and os.geteuid() == 0
    path = stock_tool("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()


@dataclass(kw_only=True)
class Troubles:
    """What a page complained of: errors on its console (a violation of the content policy is one), failed requests."""

    seen: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note what goes wrong on a page from now on."""
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.seen.append(f"{page.url}: {error}"))
        page.on("requestfailed", self._failed)

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.seen.append(f"console {kind}: {text}")

    def _failed(self, request: Any) -> None:
        # A page that is left takes with it what it still loads, and its stream of events.
        if "ERR_ABORTED" not in (request.failure or ""):
            self.seen.append(f"{request.url}: {request.failure}")


def findings(page: Page) -> list[str]:
    """What axe finds on a page that is serious or critical: rule, and the elements.

    It is evaluated by the driver: the content policy of a page lets no foreign script in.
    """
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{one['id']}: {', '.join(node['html'][:120] for node in one['nodes'][:5])}"
        for one in found
        if one["impact"] in BAD
    ]
