"""Statements about parcels: those sent and received, their volumes, and the log of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from courier.site.catalog import guests
from courier.site.catalog.schema import (
    log,
    notice,
    received,
    received_volume,
    sent,
    sent_medium,
    sent_package,
    sent_seal,
    sent_to,
    sent_volume,
    values_of,
)
from courier.site.log import note


@dataclass(frozen=True, kw_only=True, slots=True)
class SentParcel:
    """A parcel that this site made; ``packing_list`` (SHA-256) and ``edition`` are those of its newest layout."""

    parcel: str
    state: str
    priority: str
    created_ns: int
    build: str
    packing_list: str
    edition: int
    spares: int
    redundancy: str
    supersedes: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentTo:
    """One destination of a sent parcel; ``receipt`` is its signed answer once that has come.

    ``copy``: the number of the set of media that goes there, 0 before it is shipped; one set may go to several.
    ``shipped_ns``: when it was last shipped there, None if it was not.
    """

    parcel: str
    site: str
    receipt: bytes | None = None
    confirmed_ns: int | None = None
    copy: int = 0
    carrier: str = ""
    tracking: str = ""
    shipped_ns: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SentVolume:
    """A volume of a sent parcel in one edition; ``bytes`` counts those on the medium, with the file system."""

    parcel: str
    edition: int
    number: int
    state: str
    layout: str
    path: str
    bytes: int
    written_ns: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SentMedium:
    """A medium that was written and read back: a volume of an edition, at ``path``. Several may carry one volume.

    A tape drive holds one reel after another, so that there may be several at its path.
    """

    parcel: str
    edition: int
    number: int
    path: str
    layout: str
    written_ns: int

    @property
    def in_drive(self) -> bool:
        """Whether ``path`` is that of a tape drive, and not of the medium."""
        return self.layout == "tape" and self.path.startswith("/dev/")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedParcel:
    """A build of a parcel that is announced or arrives. ``hold``: 1 while the operator does not want it imported."""

    parcel: str
    build: str
    source: str
    state: str
    packing_list: str
    hold: int
    first_ns: int
    imported_ns: int | None
    receipt: bytes | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedVolume:
    """A volume as it was last read; ``damaged_blocks``: how many blocks were bad in that reading."""

    parcel: str
    build: str
    edition: int
    number: int
    state: str
    damaged_blocks: int
    seen_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """One thing that happened to a parcel here; ``parcel`` is empty for what concerns the whole site."""

    parcel: str
    at_ns: int
    operator: str
    event: str
    text: str


# Put together once: they run for each volume of a parcel, which may have thousands.
_OF_SENT = (sent_volume.c.parcel == bindparam("one_parcel"), sent_volume.c.edition == bindparam("one_edition"))
_SENT_VOLUMES = select(sent_volume).where(*_OF_SENT).order_by(sent_volume.c.number)
_SENT_VOLUME = _SENT_VOLUMES.where(sent_volume.c.number == bindparam("one_number"))
_FORGET_SENT_VOLUME = delete(sent_volume).where(*_OF_SENT, sent_volume.c.number == bindparam("one_number"))
_PUT_SENT_VOLUME = insert(sent_volume)
_OF_RECEIVED = (received_volume.c.parcel == bindparam("one_parcel"), received_volume.c.build == bindparam("one_build"))
_RECEIVED_VOLUMES = (
    select(received_volume).where(*_OF_RECEIVED).order_by(received_volume.c.edition, received_volume.c.number)
)
_RECEIVED_VOLUME = _RECEIVED_VOLUMES.where(received_volume.c.number == bindparam("one_number"))
_FORGET_RECEIVED_VOLUME = delete(received_volume).where(
    *_OF_RECEIVED,
    received_volume.c.edition == bindparam("one_edition"),
    received_volume.c.number == bindparam("one_number"),
)
_PUT_RECEIVED_VOLUME = insert(received_volume)


def add_sent(connection: Connection, new: SentParcel, destinations: Iterable[str]) -> None:
    """Record a parcel of ours and its destinations."""
    connection.execute(insert(sent).values(values_of(new)))
    for code in destinations:
        connection.execute(insert(sent_to).values(values_of(SentTo(parcel=new.parcel, site=code))))


def add_sent_package(
    connection: Connection, parcel: str, package: str, version: int, *, listing: str, definition: bytes
) -> None:
    """Record a package version that a sent parcel carries; ``definition`` is the payload of its definition."""
    values = {"parcel": parcel, "package": package, "version": version, "listing": listing, "definition": definition}
    connection.execute(insert(sent_package).values(values))


def sent_packages(connection: Connection, parcel: str) -> list[tuple[str, int, str, bytes]]:
    """(package, version, listing, payload of the definition) of each package that a sent parcel carries."""
    columns = (sent_package.c.package, sent_package.c.version, sent_package.c.listing, sent_package.c.definition)
    query = select(*columns).where(sent_package.c.parcel == parcel)
    rows = connection.execute(query.order_by(sent_package.c.package, sent_package.c.version))
    return [(package, version, listing, definition) for package, version, listing, definition in rows]


def forget_sent(connection: Connection, parcel: str) -> None:
    """Delete the record of a parcel that was planned and never built."""
    for table in (sent, sent_to, sent_seal):
        connection.execute(delete(table).where(table.c.parcel == parcel))


def change_sent(connection: Connection, parcel: str, **values: object) -> None:
    """Change fields of a sent parcel."""
    connection.execute(update(sent).where(sent.c.parcel == parcel).values(**values))


def find_sent(connection: Connection, parcel: str) -> SentParcel | None:
    """A parcel that this site made, if there is one of that ID."""
    row = connection.execute(select(sent).where(sent.c.parcel == parcel)).first()
    return SentParcel(**row._mapping) if row else None


def all_sent(connection: Connection) -> list[SentParcel]:
    """The parcels that this site made, in the order they were made."""
    return [SentParcel(**row._mapping) for row in connection.execute(select(sent).order_by(sent.c.parcel))]


def destinations(connection: Connection, parcel: str) -> list[SentTo]:
    """Where a parcel goes, and the receipts that came."""
    query = select(sent_to).where(sent_to.c.parcel == parcel).order_by(sent_to.c.site)
    return [SentTo(**row._mapping) for row in connection.execute(query)]


def all_destinations(connection: Connection) -> dict[str, list[SentTo]]:
    """`destinations` of every parcel that this site made, with one statement: there may be very many parcels."""
    found = defaultdict[str, list[SentTo]](list)
    for row in connection.execute(select(sent_to).order_by(sent_to.c.parcel, sent_to.c.site)):
        found[row.parcel].append(SentTo(**row._mapping))
    return dict(found)


def keep_receipt(connection: Connection, parcel: str, site: str, *, receipt: bytes, confirmed_ns: int) -> bool:
    """Keep a destination's receipt; False when the parcel was not for that site."""
    statement = update(sent_to).where(sent_to.c.parcel == parcel, sent_to.c.site == site)
    return connection.execute(statement.values(receipt=receipt, confirmed_ns=confirmed_ns)).rowcount > 0


def receipts_of(connection: Connection, site: str) -> list[bytes]:
    """The envelopes of the receipts that a site sent for parcels of ours, in the order they came."""
    query = select(sent_to.c.receipt).where(sent_to.c.site == site, sent_to.c.receipt.is_not(None))
    return [bytes(row.receipt) for row in connection.execute(query.order_by(sent_to.c.confirmed_ns))]


def put_sent_volume(connection: Connection, volume: SentVolume) -> None:
    """Record a volume, in place of its earlier state."""
    which = {"one_parcel": volume.parcel, "one_edition": volume.edition, "one_number": volume.number}
    connection.execute(_FORGET_SENT_VOLUME, which)
    connection.execute(_PUT_SENT_VOLUME, values_of(volume))


def change_destination(connection: Connection, parcel: str, site: str, **values: object) -> None:
    """Change fields of a destination of a sent parcel."""
    connection.execute(update(sent_to).where(sent_to.c.parcel == parcel, sent_to.c.site == site).values(**values))


def put_seals(connection: Connection, parcel: str, site: str, edition: int, serials: Mapping[int, str]) -> None:
    """Record the seals (volume number -> serial number) on the volumes that go to a site, in place of earlier ones."""
    these = (sent_seal.c.parcel == parcel, sent_seal.c.site == site, sent_seal.c.edition == edition)
    connection.execute(delete(sent_seal).where(*these))
    for number, serial in serials.items():
        row = {"parcel": parcel, "site": site, "edition": edition, "number": number, "serial": serial}
        connection.execute(insert(sent_seal).values(row))


def forget_seals(connection: Connection, parcel: str, site: str) -> None:
    """Delete the seals on the volumes that go to a site, of every edition."""
    connection.execute(delete(sent_seal).where(sent_seal.c.parcel == parcel, sent_seal.c.site == site))


def seals(connection: Connection, parcel: str, edition: int) -> dict[str, dict[int, str]]:
    """By destination, the serial numbers of the seals on the volumes of an edition, by volume number."""
    query = select(sent_seal.c.site, sent_seal.c.number, sent_seal.c.serial)
    query = query.where(sent_seal.c.parcel == parcel, sent_seal.c.edition == edition)
    found: dict[str, dict[int, str]] = {}
    for site, number, serial in connection.execute(query.order_by(sent_seal.c.site, sent_seal.c.number)):
        found.setdefault(site, {})[number] = serial
    return found


def put_medium(connection: Connection, medium: SentMedium) -> None:
    """Record a medium that was written, in place of one at the same path; the reels of a drive are all kept."""
    these = [sent_medium.c.parcel == medium.parcel, sent_medium.c.edition == medium.edition]
    these += [sent_medium.c.number == medium.number, sent_medium.c.path == medium.path]
    if medium.in_drive:
        these.append(sent_medium.c.written_ns == medium.written_ns)
    connection.execute(delete(sent_medium).where(*these))
    connection.execute(insert(sent_medium).values(values_of(medium)))


def written_media(connection: Connection, parcel: str) -> list[SentMedium]:
    """Every medium of a parcel that was written, by edition, layout, and volume number."""
    query = select(sent_medium).where(sent_medium.c.parcel == parcel)
    order = [sent_medium.c.edition, sent_medium.c.layout, sent_medium.c.number, sent_medium.c.path]
    query = query.order_by(*order, sent_medium.c.written_ns)
    return [SentMedium(**row._mapping) for row in connection.execute(query)]


def sent_volumes(connection: Connection, parcel: str, edition: int, number: int | None = None) -> list[SentVolume]:
    """The volumes of an edition (or one of them), by number."""
    query = _SENT_VOLUMES if number is None else _SENT_VOLUME
    which = {"one_parcel": parcel, "one_edition": edition, "one_number": number}
    return [SentVolume(**row._mapping) for row in connection.execute(query, which)]


def put_received(connection: Connection, new: ReceivedParcel) -> None:
    """Record a build that is announced or arrives, in place of what was known of it."""
    where = (received.c.parcel == new.parcel, received.c.build == new.build)
    connection.execute(delete(received).where(*where))
    connection.execute(insert(received).values(values_of(new)))


def change_received(connection: Connection, parcel: str, build: str, **values: object) -> None:
    """Change fields of a build that arrives."""
    where = (received.c.parcel == parcel, received.c.build == build)
    connection.execute(update(received).where(*where).values(**values))


def find_received(connection: Connection, parcel: str, build: str | None = None) -> list[ReceivedParcel]:
    """Builds of a parcel that were announced or arrive; more than one is unusual."""
    query = select(received).where(received.c.parcel == parcel).order_by(received.c.first_ns)
    if build is not None:
        query = query.where(received.c.build == build)
    return [ReceivedParcel(**row._mapping) for row in connection.execute(query)]


def all_received(connection: Connection) -> list[ReceivedParcel]:
    """All builds that were announced or arrive, by parcel."""
    query = select(received).order_by(received.c.parcel, received.c.first_ns)
    return [ReceivedParcel(**row._mapping) for row in connection.execute(query)]


def forget_received(connection: Connection, parcel: str, build: str) -> None:
    """Delete the record of a build that arrives, and of its volumes."""
    forget_received_volumes(connection, parcel, build)
    connection.execute(delete(received).where(received.c.parcel == parcel, received.c.build == build))


def forget_received_volumes(connection: Connection, parcel: str, build: str) -> None:
    """Delete the records of a build's volumes; what is known of the parcel stays."""
    table = received_volume
    connection.execute(delete(table).where(table.c.parcel == parcel, table.c.build == build))


def put_received_volume(connection: Connection, volume: ReceivedVolume) -> None:
    """Record how a volume was read, in place of an earlier reading."""
    which = {"one_parcel": volume.parcel, "one_build": volume.build, "one_number": volume.number}
    connection.execute(_FORGET_RECEIVED_VOLUME, {**which, "one_edition": volume.edition})
    connection.execute(_PUT_RECEIVED_VOLUME, values_of(volume))


def received_volumes(
    connection: Connection, parcel: str, build: str, number: int | None = None
) -> list[ReceivedVolume]:
    """The volumes of a build that were read (or one of them), by edition and number."""
    query = _RECEIVED_VOLUMES if number is None else _RECEIVED_VOLUME
    which = {"one_parcel": parcel, "one_build": build, "one_number": number}
    return [ReceivedVolume(**row._mapping) for row in connection.execute(query, which)]


def keep_notice(
    connection: Connection, parcel: str, packing_list: str, *, build: str, envelope: bytes, received_ns: int
) -> None:
    """Keep a ship notice that came; ``packing_list`` is the SHA-256 of the packing list that it names."""
    where = (notice.c.parcel == parcel, notice.c.packing_list == packing_list)
    before = connection.execute(select(func.length(notice.c.envelope)).where(*where)).scalar()
    guests.count(connection, parcel[:3], len(envelope), replaced=before)
    connection.execute(delete(notice).where(*where))
    connection.execute(
        insert(notice).values(
            parcel=parcel, packing_list=packing_list, build=build, envelope=envelope, received_ns=received_ns
        )
    )


def notices(connection: Connection, parcel: str | None = None) -> list[tuple[bytes, int]]:
    """(envelope, when it came) of the ship notices, of one parcel or of all, in the order they came."""
    query = select(notice.c.envelope, notice.c.received_ns).order_by(notice.c.received_ns)
    if parcel is not None:
        query = query.where(notice.c.parcel == parcel)
    return [(envelope, received_ns) for envelope, received_ns in connection.execute(query)]


def write_log(connection: Connection, entry: LogEntry) -> None:
    """Append to the log of a parcel, from which nothing is ever deleted; it is mirrored in the site's log file."""
    connection.execute(insert(log).values(values_of(entry)))
    note(connection, f"{entry.parcel or 'site'}: {entry.event}{': ' if entry.text else ''}{entry.text}")


_LOG = select(log.c.parcel, log.c.at_ns, log.c.operator, log.c.event, log.c.text).order_by(log.c.id)


def read_log(connection: Connection, parcel: str) -> list[LogEntry]:
    """What happened to a parcel here, in order."""
    return [LogEntry(**row._mapping) for row in connection.execute(_LOG.where(log.c.parcel == parcel))]


def read_log_of(connection: Connection, parcel: str, event: str) -> list[LogEntry]:
    """As `read_log`, of one event; the ID is empty for those of the site."""
    return [
        LogEntry(**row._mapping) for row in connection.execute(_LOG.where(log.c.parcel == parcel, log.c.event == event))
    ]


def last_logged(connection: Connection, parcel: str, event: str) -> int | None:
    """When an event of a parcel, or for an empty ID of the site, was logged last (UTC); None where it never was."""
    query = select(func.max(log.c.at_ns)).where(log.c.parcel == parcel, log.c.event == event)
    found = connection.execute(query).scalar_one()
    return None if found is None else int(found)


def log_end(connection: Connection) -> int:
    """The end of the log now, for `read_log_since`."""
    return int(connection.execute(select(func.coalesce(func.max(log.c.id), 0))).scalar_one())


def read_log_since(connection: Connection, end: int) -> list[LogEntry]:
    """What happened here after that end of the log, in order."""
    return [LogEntry(**row._mapping) for row in connection.execute(_LOG.where(log.c.id > end))]
