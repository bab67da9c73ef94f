"""Gathering what the checks before an import go by: documents that came by network, the key, the store, and disk space.

`courier.parcel.import_checks` judges it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from courier.errors import CourierError, RefusedError
from courier.files import RESERVE, free_space
from courier.parcel.base_contents import BaseContents
from courier.parcel.full_command import full_command
from courier.parcel.import_checks import Admission, BaseFacts, Facts, KeyFacts, Room, admit
from courier.parcel.keys import parcel_identity
from courier.parcel.notices import find_recall, verified_notices
from courier.receiving.arrival import ArrivedLayout, arrived_layout
from courier.receiving.delta_needs import needs_of
from courier.receiving.held_bases import HeldBases
from courier.receiving.import_parcel import held_listings, own_numbers
from courier.receiving.spool import Spool
from courier.site.catalog import letters, messages, packages
from courier.site.catalog.letters import Letter
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import is_asked
from courier.site.trust import Trust
from formats.digest import sha256_hex
from formats.documents import package as package_doc
from formats.documents.arrival import Arrival
from formats.documents.notice import PackageRef, ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.packing import PackingList
from formats.documents.recall import Recall
from formats.envelope import parse_envelope
from formats.errors import FormatError


def arrival_facts(
    site: Site, trust: Trust, packing: PackingList, known: Iterable[ReceivedParcel], *, where: str
) -> Facts:
    """What is known when a volume arrives; ``known``: the builds of its parcel, ``where``: its medium, for messages."""
    states = {row.build: row.state for row in known}
    return Facts(
        site=site.code,
        packing=packing,
        where=where,
        now_ns=now(),
        trust=trust,
        recall=_recall(site, trust, packing),
        state=states.pop(packing.build, None),
        other_builds=tuple(states.values()),
    )


def import_facts(site: Site, spool: Spool, *, hold: bool) -> Facts:
    """What is known before the import of a complete parcel. ``hold``: the operator wants no import yet."""
    trust, packing = site.trust(), spool.packing
    notices: Sequence[ShipNotice] = ()
    error: CourierError | None = None
    try:
        notices = verified_notices(site, trust, packing)
    except RefusedError as refused:
        error = refused
    facts = Facts(
        site=site.code,
        packing=packing,
        where=packing.parcel,
        now_ns=now(),
        trust=trust,
        recall=_recall(site, trust, packing),
        hold=hold,
        editions=spool.editions(),
        notices=notices,
        notice_error=error,
    )
    return _with_packages(site, facts, spool, facts.notice.packages) if facts.notice else facts


def _with_packages(site: Site, facts: Facts, spool: Spool, items: Sequence[PackageRef]) -> Facts:
    """The facts, and what is known of the packages that the ship notice names, and of the key."""
    versions = [(item.package, item.version) for item in items]
    return replace(
        facts,
        definitions={
            (item.package, item.version): _definitions(site, facts.trust, facts.packing.source, item) for item in items
        },
        key=_key(site, facts, spool),
        bases=_bases(site, facts.packing, spool, items),
        held=held_listings(site, versions),
        numbered=own_numbers(site, versions),
    )


def admission_of(site: Site, spool: Spool, *, hold: bool) -> Admission:
    """What speaks for the import of what has gathered. Raises what stands against it (`RefusedError` and others)."""
    return admit(import_facts(site, spool, hold=hold))


def room_at(folder: Path, needed: int, *, purpose: str) -> Room:
    """The disk space at a folder where ``needed`` bytes are to be written."""
    return Room(purpose=purpose, place=str(folder), needed=needed, free=free_space(folder), reserve=RESERVE)


def _recall(site: Site, trust: Trust, packing: PackingList) -> Recall | CourierError | None:
    try:
        return find_recall(site, trust, packing.parcel, packing.source)
    except CourierError as error:
        return error


def _definitions(
    site: Site, trust: Trust, source: str, item: PackageRef
) -> dict[str, PackageDefinition | CourierError]:
    """The definitions that came of a package version, by the digest of their listing."""
    with site.catalogue.reading() as connection:
        came = packages.find_definitions(connection, item.package, item.version, source)
    found: dict[str, PackageDefinition | CourierError] = {}
    for listing, (data, arrived_ns) in came.items():
        where = f"definition of {item.package}:{item.version}"
        try:
            found[listing] = trust.verify(data, package_doc.KIND, now_ns=now(), where=where, arrived_ns=arrived_ns)[0]
        except CourierError as error:
            found[listing] = error
    return found


def _key(site: Site, facts: Facts, spool: Spool) -> KeyFacts | None:
    """What is known of a key that is not on the media; None where it is there, or where nothing is encrypted."""
    packing = facts.packing
    if not packing.encrypted or packing.key == "media":
        return None
    try:
        if parcel_identity(site, packing, facts.trust, facts.notices) is not None:
            return KeyFacts(here=True)
    except CourierError as error:
        return KeyFacts(here=False, error=error)
    with site.catalogue.reading() as connection:
        report = letters.find(connection, "arrival", packing.parcel, packing.source)
        sent = report and messages.find(connection, "out", sha256_hex(report.envelope), packing.source)
    refused = sent.reason if sent and sent.state in ("dead", "dismissed") else ""
    layout = arrived_layout(site, spool, facts.notices)
    return KeyFacts(
        here=False,
        reported=report is not None,
        report_refused=refused,
        reported_lost=_found_again(report, layout),
        missing=layout.missing,
        sealed=tuple(layout.sealed or ()),
    )


def _bases(site: Site, packing: PackingList, spool: Spool, items: Sequence[PackageRef]) -> BaseFacts | None:
    """What a delta cannot use of what it builds on; ``items``: the packages that it brings."""
    try:
        needs = needs_of(site, packing, spool.contents())
    except FormatError:
        # The import says what is wrong with the contents.
        return None
    if needs is None:
        return None
    bases = HeldBases(site, packing, spool.folder, needs.held())
    missing = bases.missing()
    if not missing:
        return None
    with site.catalogue.reading() as connection:
        asked = is_asked(connection, packing.source, packing.parcel)
    named = {(one.sha256, one.size) for one in BaseContents(len(packing.archives), needs.held())}
    return BaseFacts(
        missing=len(missing),
        bytes=sum(size for _, size in missing),
        absent=tuple(f"{one.base.package}:{one.base.version}" for one in bases.unusable if not one.held),
        hidden=tuple(f"{one.base.package}:{one.base.version}" for one in bases.unusable if one.held),
        asked=asked,
        unnamed=sum(one not in named for one in missing),
        full=full_command(((item.package, item.version) for item in items), site.code, packing, packing.parcel),
    )


def _found_again(report: Letter | None, layout: ArrivedLayout) -> tuple[int, ...]:
    """The volumes that our arrival report about a layout named as lost, and that have come since."""
    if report is None:
        return ()
    arrival = Arrival.parse(parse_envelope(report.envelope).payload)
    return tuple(number for number in arrival.lost if arrival.packing_list == layout.digest and number in layout.here)
