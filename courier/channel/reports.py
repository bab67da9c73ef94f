"""Site reports: ours are queued for the sites that we have an address to, theirs are kept in the catalogue."""

from __future__ import annotations

from courier.packages.offer import may_know
from courier.sending.destinations import READS
from courier.sending.held_versions import DELTA_READS
from courier.site.catalog import offers, packages, reports, sites
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.site.point_places import point_places
from formats.digest import sha256_hex
from formats.documents import report as report_doc
from formats.documents.report import HeldPackage, Place, SiteReport
from formats.envelope import Envelope
from formats.records import encode

DAY_NS = 24 * 3600 * 10**9


def report_to_peers(site: Site) -> int:
    """Queue a report for every site whose last one from us is a day old or not true any more; return how many.

    Free space of the store counts as changed when it differs by more than a tenth, that of points when it passes one of
    the steps of `_step`.
    """
    moment = now()
    with site.catalogue.reading() as connection:
        pinned = {one.code: one.serial for one in sites.everyone(connection) if not one.revoked}
        peers = sorted({a.site for a in sites.addresses(connection)} & pinned.keys() - {site.code})
        told = reports.last_reported(connection)
        versions = packages.versions(connection) if peers else []
        offered = {code: offers.offered_to(connection, code) for code in peers}
    space, places = site.store.space(), point_places(site) if peers else []
    media = tuple(sorted(site.settings.media))
    room = [[place.name, place.reserve, place.branch, _step(place.free)] for place in places]
    count = 0
    for code in peers:
        held = tuple(
            HeldPackage(package=one.package, version=one.version, listing=one.listing.sha256)
            for one in versions
            if may_know(one, code, offered[code])
        )
        facts = sha256_hex(encode([pinned, list(media), READS | DELTA_READS, [one.record() for one in held], room]))
        when, before, then_free = told.get(code, (0, "", 0))
        if before == facts and moment - when < DAY_NS and abs(space.free - then_free) * 10 <= then_free:
            continue
        report = SiteReport(
            site=site.code,
            to=code,
            issued_ns=moment,
            places=(Place(name="store", free=space.free, reserve=space.reserve), *places[: report_doc.MAX_PLACES - 1]),
            trusts=pinned,
            media=media,
            reads=READS | DELTA_READS,
            packages=held,
        )
        envelope = site.sign(report.payload(), report_doc.TYPE)
        with site.catalogue.writing() as connection:
            enqueue(connection, envelope, code)
            reports.note_reported(connection, code, issued_ns=moment, facts=facts, free=space.free)
        count += 1
    return count


def _step(free: int) -> int:
    """A number that changes as bytes do that grow or shrink by a fifth or so: four steps to each doubling."""
    return free.bit_length() * 4 + (free >> max(0, free.bit_length() - 3)) % 4


def take_report(site: Site, report: SiteReport, envelope: Envelope) -> str:
    """Keep a site's report, unless a newer one is here; return an empty text."""
    with site.catalogue.writing() as connection:
        reports.keep(connection, report.site, issued_ns=report.issued_ns, envelope=envelope.encode())
    return ""
