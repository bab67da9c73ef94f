"""Site reports: a sender refuses to build what a destination could not import; packages that were retired."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journey import FIXTURES, Home, Sites, add, create, make_sites, run, sent

from courier.sending.readiness import FRESH_SECONDS, Demand, objections, remarks
from formats.documents.report import HeldPackage, Place, SiteReport
from formats.documents.retirement import Retirement
from formats.envelope import parse_envelope
from formats.errors import FormatError

LISTING = "ab" * 32
GIB = 1 << 30


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def report(**changes: object) -> SiteReport:
    values: dict[str, object] = {
        "site": "BR1",
        "to": "HQ1",
        "issued_ns": 1_700_000_000 * 10**9,
        "places": (Place(name="store", free=10 * GIB, reserve=GIB),),
        "trusts": {"HQ1": 1},
        "media": (),
        "reads": {"packing-list": 1},
        "packages": (),
    }
    return SiteReport(**{**values, **changes})  # type: ignore[arg-type]


def demand(**changes: object) -> Demand:
    values: dict[str, object] = {
        "source": "HQ1",
        "media": "dvd5",
        "packages": [("HQ100001", 2, LISTING)],
        "archives": 4 * GIB,
        "expanded": 4 * GIB,
        "documents": {"packing-list": 1},
    }
    return Demand(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "asked", "code"),
    [
        ({}, {}, ""),
        ({"trusts": {}}, {}, "not-trusted-there"),
        ({"media": ("bd25",)}, {}, "medium-not-readable"),
        ({"media": ("bd25", "dvd5")}, {}, ""),
        ({}, {"documents": {"packing-list": 2}}, "format-not-readable"),
        ({"reads": {}}, {}, "format-not-readable"),
        ({"packages": (HeldPackage(package="HQ100001", version=2, listing=LISTING),)}, {}, "already-held"),
        ({"packages": (HeldPackage(package="HQ100001", version=1, listing=LISTING),)}, {}, ""),
        ({"packages": (HeldPackage(package="HQ100001", version=2, listing="cd" * 32),)}, {}, "version-conflict"),
        ({}, {"expanded": 5 * GIB}, ""),
        ({}, {"expanded": 5 * GIB + 1}, "no-space-there"),
    ],
)
def test_what_speaks_against_a_parcel(told: dict[str, object], asked: dict[str, object], code: str) -> None:
    assert [one.code for one in objections(report(**told), demand(**asked))] == ([code] if code else [])


def test_an_old_report_and_points_without_room_are_remarked_on() -> None:
    asked, made = demand(), report().issued_ns
    assert remarks(report(), asked, now_ns=made + (FRESH_SECONDS - 1) * 10**9) == []
    (old,) = remarks(report(), asked, now_ns=made + FRESH_SECONDS * 10**9)
    assert "3 days old, which is too old" in old
    store = Place(name="store", free=10 * GIB, reserve=GIB)
    room, full = Place(name="P1", free=5 * GIB, reserve=GIB), Place(name="P2", free=5 * GIB - 1, reserve=GIB)
    (short,) = remarks(report(places=(store, room, full)), asked, now_ns=made)
    assert short.startswith("distribution point P2 of BR1 has 5,368,709,119 bytes free")


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_report_of_altered_bytes_is_another_or_is_refused(at: int, byte: int) -> None:
    payload = bytearray(report().payload())
    payload[at % len(payload)] = byte
    try:
        parsed = SiteReport.parse(bytes(payload))
    except FormatError:
        return
    assert parsed.payload() == bytes(payload)


def test_documents_come_back_as_they_went() -> None:
    one = report(media=("dvd5",), packages=(HeldPackage(package="HQ100001", version=2, listing=LISTING),))
    assert SiteReport.parse(one.payload()) == one
    word = Retirement(package="HQ100001", version=2, site="HQ1", issued_ns=10**18, reason="driver fault")
    assert Retirement.parse(word.payload()) == word
    with pytest.raises(FormatError, match="source site"):
        Retirement.parse(word.payload().replace(b'"from":"HQ1"', b'"from":"BR1"'))


def test_without_a_report_a_parcel_is_built_and_it_is_said(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    document = sites.hq("parcel", "create", package, "--to", "BR1", "--capacity", "5MB")
    assert document["notes"] == ["BR1 has not reported yet: its space, media and trust are not known"]


def test_the_sender_refuses_what_the_destination_cannot_take(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    sites.br("site", "policy", "--media", "bd25", "--media", "drive")
    sites.sync(sites.br, sites.hq)
    made = ("parcel", "create", package, "--to", "BR1")
    error = sites.hq.fails(*made, "--media", "dvd5", code=3)
    assert error["code"] == "medium-not-readable"
    assert "bd25" in error["hint"]
    assert sites.hq.fails(*made, "--media", "dvd5", "--dry-run", code=3)["code"] == "medium-not-readable"
    document = sites.hq(*made, "--media", "dvd5", "--anyway", "a drive is on its way")
    assert "BR1 cannot read media of this kind: dvd5" in document["overridden"][0]
    log = sites.hq.says("parcel", "log", document["parcel_id"])
    assert "anyway: a drive is on its way; although BR1 cannot read media of this kind: dvd5" in log


def test_what_a_destination_holds_already_is_not_sent_again(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    _, volumes = sent(sites.hq, package, out=sites.root / "media")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    sites.sync(sites.br, sites.hq)
    assert sites.hq.fails("parcel", "create", package, "--to", "BR1", "--capacity", "5MB", code=3)["code"] == (
        "already-held"
    )
    create(sites.hq, package, anyway="their disk died")


def test_reports_go_only_when_something_changed(sites: Sites) -> None:
    assert sites.hq("channel", "sync")["delivered"] == 1
    sites.sync(sites.br, sites.hq)
    assert sites.hq("channel", "sync")["delivered"] == 0
    package = add(sites.hq, FIXTURES / "boot.wim")
    assert sites.hq("channel", "sync")["delivered"] == 0
    sites.hq("package", "offer", package, "--to", "BR1")
    assert sites.hq("channel", "sync")["delivered"] == 1


def held_there(home: Home, code: str) -> list[tuple[str, int]]:
    """What ``home`` knows of the packages that the site ``code`` holds."""
    with contextlib.closing(sqlite3.connect(home.path / "catalogue.sqlite")) as catalogue:
        (envelope,) = catalogue.execute("SELECT envelope FROM report WHERE site = ?", (code,)).fetchone()
    report = SiteReport.parse(parse_envelope(envelope).payload)
    return [(one.package, one.version) for one in report.packages]


def test_a_site_is_told_of_what_came_from_it_and_of_what_is_offered_and_of_nothing_else(sites: Sites) -> None:
    shipped, later = add(sites.hq, FIXTURES / "boot.wim"), add(sites.hq, FIXTURES / "boot.wim", id="HQ100001")
    _, volumes = sent(sites.hq, shipped, later, out=sites.root / "media")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    private = add(sites.br, FIXTURES / "disk.raw")
    sites.sync(sites.br, sites.hq)
    assert held_there(sites.hq, "BR1") == [("HQ100001", 1), ("HQ100001", 2)]
    told = sites.br("package", "offer", private, "--to", "HQ1")["offered"]
    assert told == [{"site": "HQ1", "package_id": "BR100001", "version": 1}]
    sites.sync(sites.br, sites.hq)
    assert held_there(sites.hq, "BR1") == [("BR100001", 1), ("HQ100001", 1), ("HQ100001", 2)]
    sites.br("package", "offer", private, "--to", "HQ1", "--withdraw")
    sites.sync(sites.br, sites.hq)
    assert held_there(sites.hq, "BR1") == [("HQ100001", 1), ("HQ100001", 2)]
    assert sites.br.fails("package", "offer", private, "--to", "HQ1", "--withdraw", code=6)["code"] == "not-found"
    assert sites.br.fails("package", "offer", "BR100009", "--to", "HQ1", code=6)["code"] == "not-found"
    assert sites.br.fails("package", "offer", private, "--to", "XX1", code=3)["code"] == "unknown-site"


def test_a_retired_version_is_marked_everywhere_and_not_sent(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    assert sites.hq.fails("package", "retire", "HQ100001", code=2)["code"] == "usage"
    assert sites.hq.fails("package", "retire", "HQ100001:7", code=6)["code"] == "not-found"
    assert sites.br.fails("package", "retire", package, code=3)["code"] == "foreign-package"
    _, volumes = sent(sites.hq, package, out=sites.root / "media")
    assert run("package", "retire", package, "--home", sites.hq.path, "--json", code=3).error["code"] == "not-confirmed"
    assert sites.hq("package", "retire", package, "--reason", "driver fault")["queued"] == 1
    sites.sync(sites.hq)
    assert f"\nretired: {package} by HQ1: driver fault\n" in sites.br.says("channel", "sync")
    sites.br("parcel", "receive", *volumes)
    for home in sites.homes:
        assert home("package", "list")["packages"][0]["retired"] is True
        assert "RETIRED: driver fault" in home.says("package", "show", package)
    error = sites.hq.fails("parcel", "create", package, "--to", "BR1", "--capacity", "5MB", code=3)
    assert error["code"] == "retired"
