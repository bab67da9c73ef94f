"""Retiring package versions: their source site announces that one is not to be used any more, and all sites mark it."""

from __future__ import annotations

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.packages.find import parse_reference
from courier.parcel.transitions import log_entry
from courier.site.catalog import packages, parcels, reports, sites
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import retirement as retirement_doc
from formats.documents.fields import MAX_REASON
from formats.documents.retirement import Retirement
from formats.envelope import Envelope


def retire_package(site: Site, reference: str, reason: str) -> int:
    """Retire a version of one of our packages and queue the announcement; return to how many sites it goes.

    These are all trusted sites that have a network address. Raises `UsageError`, `NotFoundError` for a version that was
    never made, `RefusedError` for another site's package.
    """
    package, version = parse_reference(reference)
    if version is None:
        raise UsageError(f"which version of {package}?", hint=f"name it: courier package retire {package}:1")
    if len(reason) > MAX_REASON:
        raise UsageError(f"a reason has at most {MAX_REASON} characters", hint="make it shorter")
    if not package.startswith(site.code):
        raise RefusedError(
            f"{package} is a package of {package[:3]}: only that site retires it",
            hint=f"ask {package[:3]} to retire it",
            code=Code.FOREIGN_PACKAGE,
        )
    retirement = Retirement(package=package, version=version, site=site.code, issued_ns=now(), reason=reason)
    envelope = site.sign(retirement.payload(), retirement_doc.TYPE)
    with site.catalogue.writing() as connection:
        if version > packages.read_counter(connection, package):
            raise NotFoundError(
                f"{package}:{version} was never made here", hint="courier package list shows all packages"
            )
        peers = {peer.code for peer in sites.everyone(connection) if not peer.revoked}
        peers &= {address.site for address in sites.addresses(connection)}
        reports.retire(
            connection, package, version, reason=reason, retired_ns=retirement.issued_ns, envelope=envelope.encode()
        )
        for code in sorted(peers):
            enqueue(connection, envelope, code)
    return len(peers)


def take_retirement(site: Site, retirement: Retirement, envelope: Envelope) -> str:
    """Mark a version as retired when its source site says so; return an empty text. What is in the store stays."""
    with site.catalogue.writing() as connection:
        new = reports.retire(
            connection,
            retirement.package,
            retirement.version,
            reason=retirement.reason,
            retired_ns=retirement.issued_ns,
            envelope=envelope.encode(),
        )
        if new:
            reason = retirement.reason or "no reason given"
            text = f"{retirement.package}:{retirement.version} by {retirement.site}: {reason}"
            parcels.write_log(connection, log_entry(site, "", "retired", text))
    return ""
