"""The pages of the dashboard: what each shows, that it shows names as text, and that it shows a bounded part."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")

from dashboard_client import Asking, dashboard_of
from dashboard_home import HOSTILE, DashboardHome, every_path
from journey import Home, make_home

from courier.errors import DamagedError
from courier.site.home import Site, open_site
from courier.web import custody_part, parcel_page
from courier.web.snapshot import Snapshot
from courier.web.watch import Watch


@pytest.fixture(scope="module")
def asking(dashboard_home: DashboardHome) -> Iterator[Asking]:
    with dashboard_of(dashboard_home.hq.path) as found:
        yield found


class Markup(HTMLParser):
    """What stands in a page: every start of an element with its attributes, and the text."""

    VOID = frozenset({"meta", "link", "input", "br"})
    DRAWN = frozenset({"path", "rect", "circle"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of that name."""
        return [attributes for name, attributes in self.elements if name == tag]


def test_every_page_is_whole_and_can_be_read_without_seeing_it(dashboard_home: DashboardHome, asking: Asking) -> None:
    for path in every_path(dashboard_home):
        answer = asking(path)
        assert answer.status_code == 200, path
        page = Markup(answer.text)
        assert page.open == [], path
        assert page.named("html") == [{"lang": "en"}]
        assert len(page.named("h1")) == len(page.named("main")) == 1
        headings = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert headings[0] == 1
        assert set(headings[1:]) <= {2}
        assert all("scope" in one for one in page.named("th"))
        assert all(
            (one.get("role") == "img" and one.get("aria-label")) or "aria-hidden" in one for one in page.named("svg")
        )
        ids = [one["id"] for _, one in page.elements if "id" in one]
        assert len(ids) == len(set(ids)), path
        assert {one["for"] for one in page.named("label")} <= set(ids)
        assert page.named("a")[0] == {"class": "skip", "href": "#main"}
        # Nothing is loaded from elsewhere, nothing stands in line that the content policy forbids.
        assert [one for _, one in page.elements if {"style", "onclick", "onload"} & one.keys()] == []
        loaded = [
            one.get("src") or one.get("href") or "" for tag, one in page.elements if tag in ("script", "link", "img")
        ]
        assert all(one.startswith("/static/") for one in loaded)
        assert all(
            re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["datetime"] or "") for one in page.named("time")
        )
    assert asking.log == []


def test_names_that_try_to_be_markup_are_shown_as_text(dashboard_home: DashboardHome, asking: Asking) -> None:
    shown = {path: asking(path).text for path in every_path(dashboard_home)}
    assert not [path for path, text in shown.items() if "<script>alert" in text]
    assert not [path for path, text in shown.items() if "\u202e" in text]
    assert r"\u202etxt.exe" in shown["/packages"]
    assert "\u0639\u0631\u0628\u064a" in shown["/packages"]
    assert HOSTILE in Markup(shown["/packages"]).text
    assert HOSTILE in Markup(shown["/sites"]).text
    assert HOSTILE in Markup(shown["/"]).text
    found = asking("/parcels?find=%3Cscript%3Ealert(1)%3C/script%3E&state=%22%3E")
    assert "<script>alert" not in found.text
    assert "No parcel is like that" in found.text


@pytest.mark.parametrize("number", ["0", "-1", "9" * 5000, "\u0661", "1e3", "0" * 5000])
def test_a_page_of_any_number_is_a_page(asking: Asking, number: str) -> None:
    assert asking(f"/parcels?page={number}").status_code == 200
    assert asking(f"/channel?dead={number}").status_code == 200
    assert asking.log == []


def test_the_overview_says_what_waits_with_its_command_and_draws_the_newest_parcels(
    dashboard_home: DashboardHome, asking: Asking
) -> None:
    page = Markup(asking("/").text)
    waiting = [one for one in dashboard_home.hq("status")["waiting"] if one["on"] == "operator"]
    assert len(waiting) >= 3
    for one in waiting:
        assert one["what"] in page.text
        assert one["next"] in [copied["data-copy"] for copied in page.named("button")]
    drawn = [one["href"] for one in page.named("a") if one.get("class") == "id"]
    for name in ("built", "written", "arriving", "received"):
        assert f"/parcels/{dashboard_home.parcels[name]}" in drawn
    for one in [*page.named("rect"), *page.named("circle")]:
        places = [one.get(key) or "0%" for key in ("x", "cx", "width")]
        assert all(0 <= float(text[:-1]) <= 100 for text in places if text.endswith("%"))


def test_parcels_are_listed_page_by_page_and_found(dashboard_home: DashboardHome, asking: Asking) -> None:
    seen: list[str] = []
    path: str | None = "/parcels"
    while path:
        page = Markup(asking(path).text)
        rows = [one["href"] or "" for one in page.named("a") if one.get("class") == "id"]
        assert 0 < len(rows) <= 50
        seen += rows
        path = next((one["href"] for one in page.named("a") if one.get("rel") == "next"), None)
    listed = dashboard_home.hq("parcel", "list")
    assert sorted(seen) == sorted(f"/parcels/{one['parcel_id']}" for one in [*listed["sent"], *listed["received"]])
    assert len(seen) > 200
    built = Markup(asking("/parcels?state=Built").text)
    assert [one["href"] for one in built.named("a") if one.get("class") == "id"] == [
        f"/parcels/{dashboard_home.parcels['built']}"
    ]
    assert "past the end" in asking("/parcels?page=77").text
    for odd in ("0", "-1", "x", "9" * 30, "%C2%B2"):
        assert asking(f"/parcels?page={odd}").status_code == 200
    to_br2 = asking("/parcels?find=br2&side=sent").text
    assert dashboard_home.parcels["arriving"] in to_br2
    assert "HQ1-899998" not in to_br2


def test_a_sent_parcel_shows_destinations_volumes_parity_and_custody(
    dashboard_home: DashboardHome, asking: Asking
) -> None:
    parcel = dashboard_home.parcels["arriving"]
    told = dashboard_home.hq("parcel", "show", parcel)
    page = Markup(asking(f"/parcels/{parcel}").text)
    for volume in told["volumes"]:
        assert f"{volume['number']}{' (spare)' if volume['spare'] else ''}Written" in page.text.replace("\n", "")
    arrived = len(told["to"][0]["arrived"])
    assert arrived == 1
    assert f"{arrived} of {len(told['volumes'])}" in page.text
    assert "Night Express, NX-77" in page.text
    assert "any 1 volume may be lost" in re.sub(r"\s+", " ", page.text)
    assert "every signature and link is good" in page.text
    assert {"b-archive", "b-parity"} <= {one.get("class") for one in page.named("path")}


def test_a_parcel_that_arrives_shows_which_blocks_are_here_and_what_parity_makes_up_for(
    dashboard_home: DashboardHome, asking: Asking
) -> None:
    parcel = dashboard_home.parcels["received"]
    told = dashboard_home.hq("parcel", "show", parcel)
    page = Markup(asking(f"/parcels/{parcel}").text)
    text = re.sub(r"\s+", " ", page.text)
    for volume in told["volumes"]:
        blocks = volume["blocks"]
        assert f"{blocks['good']} of {blocks['total']} block" in text
    assert "must come or be repaired" in text
    assert "Damaged" in text
    assert "carrier Night Express, tracking NX-91" in text
    assert told["volumes"][0]["damaged_blocks"] > 0


def test_a_parcel_whose_files_are_gone_is_shown_as_the_catalogue_has_it(asking: Asking) -> None:
    page = Markup(asking("/parcels/HQ1-899999").text)
    assert "Confirmed" in page.text
    assert "create the parcel anew" in page.text


@pytest.mark.parametrize("path", ["/parcels/HQ1-555555", "/parcels/%3Cb%3E", "/parcels/HQ1-000001/x", "/nothing"])
def test_what_is_not_there_is_named(asking: Asking, path: str) -> None:
    answer = asking(path)
    assert answer.status_code == 404
    page = Markup(answer.text)
    assert page.open == []
    assert "Not found" in page.text
    assert "HQ1-555555" in page.text or "HQ1-555555" not in path
    assert page.named("b") == []


def test_sites_packages_and_channel_show_what_the_commands_know(dashboard_home: DashboardHome, asking: Asking) -> None:
    sites = Markup(asking("/sites").text).text
    for one in dashboard_home.hq("site", "list")["sites"]:
        assert one["fingerprint"] in sites
    assert "1.2 MB/s there, 8.4 MB/s back" in sites
    assert "failed 5 times in a row" in sites
    assert "revoked" in sites
    assert "Point P1" in sites
    packages = Markup(asking("/packages").text)
    for one in dashboard_home.hq("package", "list")["packages"]:
        assert f"{one['package_id']}:{one['version']}" in packages.text
    row = packages.text[packages.text.index("HQ100002:1") :]
    assert re.search(r"HQ1\s+BR1", row[: row.index("HQ100003")])
    channel = Markup(asking("/channel").text)
    told = dashboard_home.hq("channel", "status")
    assert len(told["dead_letters"]) == 2
    for one in [*told["dead_letters"], *told["outbox"]]:
        assert one["reason"] in channel.text
    assert "Filiale" not in channel.text


def test_a_page_gets_its_part_alone_and_nothing_when_it_shows_that_already(asking: Asking) -> None:
    whole = asking("/packages").text
    part = asking.part("/packages")
    assert part.status_code == 200
    assert part.text.startswith('<div id="live"')
    assert part.text.strip() in whole
    (live,) = [one for one in Markup(part.text).named("div") if one.get("id") == "live"]
    shown = json.loads(live["hx-headers"] or "")
    assert asking.part("/packages", shown["X-Shown"]).status_code == 204
    assert asking.part("/packages", "0" * 16).status_code == 200
    assert 'hx-get="/packages?find=HQ1&amp;page=1"' in asking("/packages?find=HQ1&page=1").text


def test_an_empty_site_says_how_to_begin(tmp_path: Path) -> None:
    with dashboard_of(make_home(tmp_path, "HQ1").path) as asking:
        for path, command in (
            ("/", "courier parcel create"),
            ("/parcels", "courier parcel create"),
            ("/sites", "courier site trust"),
            ("/packages", "courier package add"),
            ("/channel", "No message has been sent"),
        ):
            assert command in asking(path).text
        assert "Nothing waits for you." in asking("/").text


def test_what_could_not_be_gathered_is_said_and_the_pages_are_there_all_the_same(tmp_path: Path) -> None:
    def fail(_site: Site) -> Snapshot:
        raise DamagedError("the card of BR1 is damaged", hint="restore it from a backup")

    home = make_home(tmp_path, "HQ1")
    with (
        closing(open_site(home.path, read_only=True)) as site,
        dashboard_of(home.path, watch=Watch(site, gather=fail)) as asking,
    ):
        for path in ("/", "/parcels", "/sites", "/packages", "/channel"):
            answer = asking(path)
            assert answer.status_code == 200
            assert "the card of BR1 is damaged" in answer.text
            assert "restore it from a backup" in answer.text


EVENTS = 100_000


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A site with a hundred thousand events, all of one parcel, and as many messages."""
    home = make_home(tmp_path_factory.mktemp("long"), "HQ1")
    with contextlib.closing(sqlite3.connect(home.path / "catalogue.sqlite")) as rows, rows:
        rows.execute("INSERT INTO sent VALUES ('HQ1-000001', 'Failed', 'high', 1, 'b', 'p', 1, 0, '', '')")
        rows.executemany(
            "INSERT INTO log (parcel, at_ns, operator, event, text) VALUES ('HQ1-000001', ?, 'kim', 'note', ?)",
            ((n, f"event {n}") for n in range(EVENTS)),
        )
        rows.executemany(
            "INSERT INTO message VALUES "
            "('out', ?, 'BR1', 't', ?, 'why', x'00', ?, 1, 1, 'high', 1, 1, 1, 'n', 'r', x'00')",
            ((f"{n:064x}", ("queued", "delivered", "dead", "settled")[n % 4], n) for n in range(EVENTS)),
        )
        rows.executemany(
            "INSERT INTO custody VALUES ('HQ1-000001', ?, x'00', ?, 0, '', '')",
            ((f"{n:064x}", n) for n in range(EVENTS)),
        )
    return home


def test_a_history_of_100_000_events_is_shown_page_by_page(long_lived: Home) -> None:
    with dashboard_of(long_lived.path) as asking:
        for path in ("/", "/parcels", "/channel", "/channel?dead=400", "/parcels/HQ1-000001?log=3000"):
            answer = asking(path)
            assert answer.status_code == 200
            assert len(answer.content) < 60_000, path
        page = Markup(asking("/parcels/HQ1-000001").text)
        assert f"event {EVENTS - 1}" in page.text
        assert page.text.count("event ") == parcel_page.LOG
        assert f"1 to 25 of {EVENTS:,}" in page.text
        assert f"There are {EVENTS:,} entries, too many to be checked for a page" in page.text
        assert "courier parcel custody verify HQ1-000001" in page.text
        oldest = Markup(asking(f"/parcels/HQ1-000001?log={EVENTS // parcel_page.LOG}").text)
        assert "event 0 " in oldest.text.replace("\n", " ")


def test_of_a_long_custody_chain_the_newest_entries_are_shown(
    dashboard_home: DashboardHome, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = dashboard_home.parcels["arriving"]
    whole = dashboard_home.hq("parcel", "log", parcel)["custody"]
    monkeypatch.setattr(custody_part, "CHECKED", len(whole) - 1)
    page = Markup(asking(f"/parcels/{parcel}").text)
    assert f"There are {len(whole)} entries" in page.text
    assert whole[-1]["event"] in page.text
    assert "not proved" not in page.text
