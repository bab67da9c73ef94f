"""Package definitions that came by network: what a package's source site says that a version of it holds."""

from __future__ import annotations

from courier.site.catalog import packages
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.package import PackageDefinition
from formats.envelope import Envelope, parse_envelope


def take_definition(site: Site, definition: PackageDefinition, envelope: Envelope) -> str:
    """Keep a definition, unless the one that is here is as new; return an empty text, as nothing waits for a person."""
    with site.catalogue.writing() as connection:
        found = packages.find_definitions(connection, definition.package, definition.version, definition.site)
        kept = found.get(definition.listing.sha256)
        if kept is None or PackageDefinition.parse(parse_envelope(kept[0]).payload).issued_ns < definition.issued_ns:
            packages.keep_definition(
                connection,
                definition.package,
                definition.version,
                definition.site,
                listing=definition.listing.sha256,
                envelope=envelope.encode(),
                received_ns=now(),
            )
    return ""
