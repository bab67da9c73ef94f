"""Makes the pictures of docs/images: ``python docs/make_screenshots.py [NAME...]``, all of them or those named.

It makes a home with some parcels in `HOMES`, opens its dashboard, and has Chromium draw the pages; it needs the extra
``test`` and Debian's ``chromium``, and may make that folder. A further picture is a function here with its name in
`PICTURES`.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from browser import chromium  # noqa: E402
from dashboard_client import serving  # noqa: E402
from dashboard_home import DashboardHome, make_dashboard_home  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES = ROOT / "docs" / "images"
HOMES = Path("/srv/courier")
"""The folder that is made for the homes, and deleted afterwards: pages show it, and a reader may have it too."""
CONTENT = 150_000_000
"""Bytes of the content of each parcel of the home: enough for pictures of blocks that show something."""
DESK = {"width": 1200, "height": 900}
PHONE = {"width": 390, "height": 844}
TALLEST = 1500
"""Pixels of the tallest picture; a longer page is cut there."""
LARGEST = 150_000
"""Bytes of the largest picture: the docs are read over slow lines too."""


class Stage:
    """What pictures are made of: a home, its dashboard and a browser, each begun when it is first needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    @cached_property
    def home(self) -> DashboardHome:
        """The home."""
        os.environ["LOGNAME"] = "kim"  # the operator that the pictures show
        try:
            HOMES.mkdir(parents=True)
        except OSError as error:
            sys.exit(f"{HOMES} is shown in the pictures; it must not exist, and you may make it ({error.strerror})")
        self._stack.callback(shutil.rmtree, HOMES)
        return make_dashboard_home(HOMES, size=CONTENT)

    @cached_property
    def browser(self) -> Browser:
        """The browser."""
        return self._stack.enter_context(chromium())

    @cached_property
    def _entered(self) -> tuple[str, Any]:
        """(the address of the dashboard, the cookies of a browser that was let in)."""
        url = self._stack.enter_context(serving(self.home.hq.path))
        base = url.partition("/enter")[0]
        context = self.browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.wait_for_url(f"{base}/")
        state = context.storage_state()
        context.close()
        return base, state

    def dashboard(self, path: str, *, size: Mapping[str, int] = DESK, dark: bool = False) -> bytes:
        """A page of the dashboard as PNG."""
        base, state = self._entered
        context = self.browser.new_context(
            viewport=dict(size),  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            storage_state=state,
        )
        page = context.new_page()
        page.goto(base + path)
        page.wait_for_selector("#liveness[data-live=yes]")
        picture = _drawn(page, size["width"])
        context.close()
        return picture


def _drawn(page: Page, width: int) -> bytes:
    height = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
    return page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})


def _small(picture: bytes) -> bytes:
    """A PNG with a palette, which pages of few colours need a third of the bytes for."""
    made = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        colours = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        colours.save(made, format="PNG", optimize=True)
    return made.getvalue()


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture: its name in docs/images, and what draws it."""

    name: str
    draw: Callable[[Stage], bytes]


PICTURES = (
    Picture(name="dashboard-overview", draw=lambda stage: stage.dashboard("/")),
    Picture(name="dashboard-overview-dark", draw=lambda stage: stage.dashboard("/", dark=True)),
    Picture(name="dashboard-overview-phone", draw=lambda stage: stage.dashboard("/", size=PHONE)),
    Picture(name="dashboard-parcels", draw=lambda stage: stage.dashboard("/parcels")),
    Picture(
        name="dashboard-parcel-sent", draw=lambda stage: stage.dashboard(f"/parcels/{stage.home.parcels['arriving']}")
    ),
    Picture(
        name="dashboard-parcel-received",
        draw=lambda stage: stage.dashboard(f"/parcels/{stage.home.parcels['received']}"),
    ),
    Picture(name="dashboard-sites", draw=lambda stage: stage.dashboard("/sites")),
    Picture(name="dashboard-packages", draw=lambda stage: stage.dashboard("/packages")),
    Picture(name="dashboard-channel", draw=lambda stage: stage.dashboard("/channel")),
)


def main() -> None:
    """Make the pictures."""
    names = [picture.name for picture in PICTURES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names, []], help=", ".join(names))
    wanted = parser.parse_args().names
    IMAGES.mkdir(exist_ok=True)
    with ExitStack() as stack:
        stage = Stage(stack)
        for picture in PICTURES:
            if wanted and picture.name not in wanted:
                continue
            data = _small(picture.draw(stage))
            if len(data) > LARGEST:
                sys.exit(f"{picture.name} has {len(data):,} bytes, {LARGEST:,} at most")
            (IMAGES / f"{picture.name}.png").write_bytes(data)
            print(f"{picture.name}: {len(data):,} bytes")


if __name__ == "__main__":
    main()
