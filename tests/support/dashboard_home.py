"""A site with something on every page of the dashboard: real parcels in every state, and a history of hundreds.

The parcels that a page opens are made by the real commands; those of the history are rows that the catalogue's own
functions write, with times in the past.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from journey import Home, Sites, add, create, introduce, noise, run, write, write_files

from courier.parcel.states import ReceivedState, SentState
from courier.site.catalog import messages, parcels, sites
from courier.site.catalog.messages import Message
from courier.site.catalog.parcels import LogEntry, ReceivedParcel, SentParcel
from courier.site.clock import now
from courier.site.home import Site, open_site
from formats.digest import sha256_hex

DAY_NS = 24 * 3600 * 10**9
HOSTILE = '<script>alert("x")</script>&"\''
NAMES = {"HQ1": "Headquarters", "BR1": "North branch", "BR2": "Filiale S\u00fcd", "BR3": "Harbour depot"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DashboardHome:
    """The sites, the first with the dashboard, and the parcels that were really made there, by how they stand."""

    sites: Sites
    parcels: dict[str, str]

    @property
    def hq(self) -> Home:
        """The site with the dashboard."""
        return self.sites.hq


def make_dashboard_home(
    root: Path, *, history: int = 200, size: int = 2_400_000, hostile: bool = False
) -> DashboardHome:
    """Make it all. ``size``: bytes of the content of each real parcel; ``hostile``: names that try to be markup."""
    homes = tuple(_make_home(root, code, name) for code, name in NAMES.items())
    made = Sites(root=root, homes=homes)
    hq, br, other, _ = homes
    for one, another in ((hq, br), (hq, other), (hq, homes[3]), (other, br)):
        introduce(root, one, another)
    with closing(open_site(hq.path)) as site:
        _write_history(site, history)
    images = write_files(root / "images", server_wim=noise(size, 1), readme_txt=b"what is what" * 50)
    drivers = write_files(root / "drivers", drivers_cab=noise(size, 2))
    tools = write_files(root / "tools", tools_zip=noise(size // 2, 3))
    server = add(hq, images, name=HOSTILE if hostile else "Server image 2026")
    driver = add(hq, drivers, name="Drivers, network and storage")
    third = add(br, tools, name=HOSTILE if hostile else "Branch tools")
    scripts = ("\u6771\u4eac", "\u0639\u0631\u0628\u064a", "\u202etxt.exe")
    for name in scripts if hostile else ("Office", "Language packs", "Lab instruments"):
        add(hq, tools / "tools.zip", name=name)
    capacity = f"{max(1_200_000, size // 3)}"
    found = _sent(made, server, driver, capacity)
    found |= _arriving(made, third, capacity)
    hq("point", "add", "P1", root / "point", "--url", "http://127.0.0.1:9/p1")
    hq("point", "distribute", server, "--point", "P1")
    _date_back(hq, found)
    with closing(open_site(hq.path)) as site:
        _measure_lines(site, root)
        _write_messages(site)
        if hostile:
            _hostile_rows(site)
    return DashboardHome(sites=made, parcels=found)


def _make_home(root: Path, code: str, name: str) -> Home:
    home = Home(code=code, path=root / code)
    run("init", "--site", code, "--name", name, "--home", home.path)
    run("site", "card", "--out", root / f"{code}.card", "--home", home.path)
    return home


def _sent(made: Sites, server: str, driver: str, capacity: str) -> dict[str, str]:
    """Parcels of the first site in the states from built to confirmed."""
    hq, br, other, _ = made.homes
    confirmed = create(hq, driver, to=["BR1"], capacity=capacity, encrypt=True)
    media = write(hq, confirmed, "folder", made.root / "confirmed")
    hq("parcel", "ship", confirmed, "--carrier", "Speedy Vans", "--tracking", "SV-0042", "--seal", "1=A0012345")
    made.sync(hq, br)
    br("parcel", "receive", *media)
    made.sync(br, hq)
    arriving = create(hq, server, to=["BR1", "BR2"], capacity=capacity, spare_volumes=1)
    media = write(hq, arriving, "folder", made.root / "arriving")
    hq("parcel", "ship", arriving, "--to", "BR1", "--carrier", "Night Express", "--tracking", "NX-77")
    hq("parcel", "ship", arriving, "--to", "BR2", "--carrier", "Speedy Vans", "--tracking", "SV-0043")
    made.sync(hq, br, other)
    br("parcel", "receive", media[0], "--hold", code=None)
    made.sync(br, hq)
    written = create(hq, server, driver, to=["BR2"], capacity=capacity, redundancy="10%")
    write(hq, written, "folder", made.root / "written")
    built = create(hq, driver, to=["BR2", "BR3"], capacity=capacity)
    return {"confirmed": confirmed, "arriving": arriving, "written": written, "built": built}


def _arriving(made: Sites, tools: str, capacity: str) -> dict[str, str]:
    """A parcel of another site of which one volume is missing and one came damaged."""
    hq, br = made.homes[:2]
    parcel = create(br, tools, to=["HQ1"], capacity=str(max(850_000, int(capacity) // 2)), spare_volumes=1)
    media = write(br, parcel, "folder", made.root / "incoming")
    br("parcel", "ship", parcel, "--carrier", "Night Express", "--tracking", "NX-91")
    made.sync(br, hq)
    archive = next(iter(sorted((media[0] / "data" / "archives").iterdir())))
    data = bytearray(archive.read_bytes())
    for at in range(len(data) // 4, len(data), max(1 << 20, len(data) // 3)):
        data[at] ^= 0x55
    archive.write_bytes(data)
    hq("parcel", "receive", *media[:2], "--hold", code=None)
    return {"received": parcel}


def _date_back(hq: Home, found: dict[str, str]) -> None:
    """Have the real parcels begin at different times, as they would."""
    with closing(open_site(hq.path)) as site, site.catalogue.writing() as connection:
        moment = now()
        for name, made, shipped, confirmed in (
            ("confirmed", 16, 14, 9),
            ("arriving", 8, 6, None),
            ("written", 3, None, None),
            ("built", 1, None, None),
        ):
            parcels.change_sent(connection, found[name], created_ns=moment - made * DAY_NS)
            for to in parcels.destinations(connection, found[name]):
                times = {"shipped_ns": shipped, "confirmed_ns": confirmed}
                values = {key: moment - days * DAY_NS for key, days in times.items() if days}
                if values:
                    parcels.change_destination(connection, found[name], to.site, **values)
        row = parcels.find_received(connection, found["received"])[0]
        parcels.change_received(connection, row.parcel, row.build, first_ns=moment - 4 * DAY_NS)


def _write_history(site: Site, count: int) -> None:
    """Parcels of past weeks: sent and confirmed, or received and imported; now and then one went wrong."""
    moment = now()
    with site.catalogue.writing() as connection:
        for number in range(count):
            begun = moment - (20 + number // 4) * DAY_NS - (number % 24) * DAY_NS // 24
            if number % 4 == 3:
                _came(connection, f"BR{number % 3 + 1}-{900000 - number:06d}", begun)
                continue
            name, code = f"HQ1-{900000 - number:06d}", f"BR{number % 3 + 1}"
            state = SentState.FAILED if number % 40 == 0 else SentState.CONFIRMED
            sent = SentParcel(
                parcel=name,
                state=state,
                priority="medium",
                created_ns=begun,
                build=f"{number:064x}",
                packing_list=f"{number:064x}",
                edition=1,
                spares=0,
                redundancy="",
            )
            parcels.add_sent(connection, sent, [code])
            shipped = begun + DAY_NS
            ended = begun + (3 + number % 5) * DAY_NS if state == SentState.CONFIRMED else None
            parcels.change_destination(
                connection,
                name,
                code,
                carrier="Speedy Vans",
                tracking=f"SV-{number}",
                copy=1,
                shipped_ns=shipped,
                confirmed_ns=ended,
                receipt=b"{}" if ended else None,
            )
            parcels.write_log(
                connection,
                LogEntry(parcel=name, at_ns=shipped, operator="kim", event="sent", text=f"to {code}, Speedy Vans"),
            )


def _came(connection: object, name: str, begun: int) -> None:
    arrived = ReceivedParcel(
        parcel=name,
        build="ab" * 32,
        source=name[:3],
        state=ReceivedState.IMPORTED,
        packing_list="cd" * 32,
        hold=0,
        first_ns=begun,
        imported_ns=begun + 4 * DAY_NS,
        receipt=None,
    )
    parcels.put_received(connection, arrived)  # type: ignore[arg-type]


def _measure_lines(site: Site, root: Path) -> None:
    """What tests of two lines measured, and one line that fails."""
    from courier.channel.measurement import Measured

    with site.catalogue.writing() as connection:
        share = str(root / "share")
        for code, up, down in (("BR1", 1_250_000, 8_400_000), ("BR2", 240_000, 1_100_000)):
            found = Measured(
                at_ns=now() - DAY_NS,
                round_trip_ms=42.0,
                up_bytes_per_second=up,
                down_bytes_per_second=down,
                bytes_moved=4 << 20,
            )
            address = sites.addresses(connection, code)[0].address
            sites.change_address(connection, code, address, measured=found.to_text())
        assert sites.change_address(connection, "BR3", share, failures=5, tried_ns=now() - DAY_NS // 24)


def _write_messages(site: Site) -> None:
    """A message that waits since days, and dead letters of both directions."""
    moment = now()
    with site.catalogue.writing() as connection:
        for direction, state, code, kind, reason in (
            ("out", "queued", "BR3", "receipt", "the folder is not there"),
            ("out", "dead", "BR2", "definition", "refused: no card of HQ1 is pinned"),
            ("in", "refused", "", "notice", "signed by a key that nobody here knows"),
        ):
            digest = sha256_hex(f"{direction} {state}".encode())
            message = Message(
                direction=direction,
                sha256=digest,
                site=code,
                type=f"application/vnd.courier.{kind}+json",
                state=state,
                reason=reason,
                body=b"{}",
                created_ns=moment - 2 * DAY_NS,
                settled_ns=None if state == "queued" else moment - DAY_NS,
                attempts=4,
                recipient="age1",
                name=digest,
            )
            messages.put(connection, message)


def _hostile_rows(site: Site) -> None:
    with site.catalogue.writing() as connection:
        for text in (HOSTILE, "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd"):
            entry = LogEntry(parcel="", at_ns=now(), operator=text, event="note", text=f"{text} {text}")
            parcels.write_log(connection, entry)
        sites.revoke(connection, "BR3", HOSTILE)


def every_path(home: DashboardHome) -> Iterator[str]:
    """The path of every page, and of every parcel that was really made."""
    yield from ("/", "/parcels", "/parcels?page=3", "/sites", "/packages", "/channel")
    yield from (f"/parcels/{parcel}" for parcel in home.parcels.values())
    yield "/parcels/HQ1-900000"
    yield "/parcels?find=BR2&state=Confirmed&side=sent"
