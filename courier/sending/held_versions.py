"""Which package versions a destination holds, by its last signed report and the receipts that came after it."""

from __future__ import annotations

from courier.site.catalog import parcels, reports
from courier.site.home import Site
from formats.documents.receipt import Receipt
from formats.documents.report import SiteReport
from formats.envelope import parse_envelope
from formats.errors import FormatError

DELTA_READS = {"delta": 1}
"""What a site's report says of a release that reads deltas, and the highest major version of them."""


def held_versions(site: Site, code: str) -> dict[tuple[str, int], str] | None:
    """For each version that a site said it holds the SHA-256 of its listing.

    None for a site that never reported, or that does not read deltas. What a receipt says counts until a later report
    says otherwise: the site may have removed the package since. A receipt that cannot be read here says nothing: a
    parcel is as large as it would be without.
    """
    with site.catalogue.reading() as connection:
        kept = reports.find(connection, code)
        receipts = parcels.receipts_of(connection, code) if kept is not None else []
    if kept is None:
        return None
    report = SiteReport.parse(parse_envelope(kept[1]).payload)
    if report.reads.get("delta", 0) < DELTA_READS["delta"]:
        return None
    held = {(one.package, one.version): one.listing for one in report.packages}
    for envelope in receipts:
        try:
            receipt = Receipt.parse(parse_envelope(envelope).payload)
        except FormatError:
            continue
        if receipt.issued_ns > report.issued_ns:
            held |= {(one.package, one.version): one.listing for one in receipt.packages}
    return held
