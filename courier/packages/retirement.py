"""Retiring package versions: announced by their source site, marked wherever they are held."""

from __future__ import annotations

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.packages.add import parse_reference
from courier.parcel.transitions import log_entry
from courier.site.catalog import packages, parcels, reports, sites
from courier.site.clock import now
from courier.site.home import Site
from courier.site.outbox import enqueue
from formats.documents import retirement as retirement_doc
from formats.documents.fields import MAX_REASON
from formats.documents.retirement import Retirement


def retire_package(site: Site, reference: str, reason: str) -> int:
    """Retire a version of our own package and tell every site we have an address to; return how many are told.

    Raises `UsageError`, `NotFoundError` for a version that was never made, `RefusedError` for another site's package.
    """
    package, version = parse_reference(reference)
    if version is None:
        raise UsageError(f"which version of {package}?", hint=f"courier package retire {package}:1")
    if len(reason) > MAX_REASON:
        raise UsageError(f"a reason of more than {MAX_REASON} characters", hint="make it shorter")
    if not package.startswith(site.code):
        hint = f"ask {package[:3]} to retire it"
        raise RefusedError(
            f"{package} is a package of {package[:3]}: only it retires it", hint=hint, code=Code.FOREIGN_PACKAGE
        )
    word = Retirement(package=package, version=version, site=site.code, issued_ns=now(), reason=reason)
    envelope = site.sign(word.payload(), retirement_doc.TYPE)
    with site.catalogue.writing() as connection:
        if version > packages.read_counter(connection, package):
            hint = "courier package list shows what there is"
            raise NotFoundError(f"{package}:{version} was never made here", hint=hint)
        peers = {one.code for one in sites.everyone(connection) if not one.revoked}
        peers &= {address.site for address in sites.addresses(connection)}
        reports.retire(
            connection, package, version, reason=reason, retired_ns=word.issued_ns, envelope=envelope.encode()
        )
        for code in sorted(peers):
            enqueue(connection, envelope, code)
    return len(peers)


def take_retirement(site: Site, body: bytes) -> str:
    """Mark a version retired on its source site's word; return the site. What is in the store stays."""
    word, envelope = site.trust().verify(body, retirement_doc.KIND, now_ns=now())
    with site.catalogue.writing() as connection:
        new = reports.retire(
            connection,
            word.package,
            word.version,
            reason=word.reason,
            retired_ns=word.issued_ns,
            envelope=envelope.encode(),
        )
        if new:
            text = f"{word.package}:{word.version} by {word.site}: {word.reason or 'no reason given'}"
            parcels.write_log(connection, log_entry(site, "", "retired", text))
    return word.site
