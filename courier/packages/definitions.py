"""Package definitions: what a package's source site says that a version of it holds, as it came or as it is signed."""

from __future__ import annotations

import contextlib
import hashlib

from courier.errors import CourierError
from courier.packages.find import definition_of
from courier.packages.vouched import contradicted, is_contradicted
from courier.site.catalog import packages
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import Site
from formats.documents import package as package_doc
from formats.documents.package import PackageDefinition
from formats.envelope import Envelope, parse_envelope


def source_definition(site: Site, stored: StoredPackage, *, sign: bool) -> bytes:
    """The envelope by which the package's own source site vouches for a stored version; empty where it is not here.

    A version of this site's own is signed once, and the envelope kept, so that it is the same bytes in every parcel; it
    is signed anew when its key was revoked. Without ``sign`` nothing is signed: what is returned then is only as long.
    """
    source = stored.package[:3]
    with site.catalogue.reading() as connection:
        found = packages.find_definitions(connection, stored.package, stored.version, source)
    kept = found.get(stored.listing.sha256)
    if source != site.code:
        return kept[0] if kept else b""
    if kept is not None:
        with contextlib.suppress(CourierError):
            site.trust().verify(kept[0], package_doc.KIND, now_ns=now(), arrived_ns=kept[1])
            return kept[0]
    document = definition_of(site, stored)
    if not sign:
        unsigned = hashlib.sha512(document.payload())
        return Envelope(
            payload=document.payload(),
            payload_type=package_doc.TYPE,
            signatures=((unsigned.hexdigest()[:64], unsigned.digest() + bytes(8)),),
        ).encode()
    envelope = site.sign(document.payload(), package_doc.TYPE)
    with site.catalogue.writing() as connection:
        packages.keep_definition(
            connection,
            stored.package,
            stored.version,
            source,
            listing=stored.listing.sha256,
            envelope=envelope.encode(),
            received_ns=now(),
        )
    return envelope.encode()


def take_definition(site: Site, definition: PackageDefinition, envelope: Envelope) -> str:
    """Keep a definition, unless the one that is here is as new.

    Return what waits for a person: that the store has other content than the package's source signed; else an empty
    text.
    """
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
        stored = packages.find(connection, definition.package, definition.version)
        if stored is not None and definition.package[:3] == definition.site and is_contradicted(connection, stored):
            return contradicted(stored).message
    return ""
