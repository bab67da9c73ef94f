"""Who vouches for a package that a parcel brings: a version is what its own source site signed, whoever carries it.

A parcel's contents hold, for each package, the definition that its source site signed. Where this site has pinned the
source's card, that signature decides. Where it has not, only a relay that the operator allowed by name may vouch, and
the package is shown as vouched for by that site until the source's own definition comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.site.catalog import packages
from courier.site.clock import now
from courier.site.home import Site
from formats.documents import package as package_doc
from formats.documents.contents import PackageHeader
from formats.documents.package import PackageDefinition
from formats.documents.packing import PackingList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection


class Vouching:
    """Judges the packages of one parcel that ``sender`` made."""

    def __init__(self, site: Site, sender: str) -> None:
        self._site = site
        self._sender = sender
        self._trust = site.trust()

    def check(self, header: PackageHeader) -> None:
        """Raise `RefusedError` unless the package's source vouches for it, or a site that may do so in its place.

        A package of the sender's own is judged by the checks before an import. One of this site's own that it removed
        since comes back with what it signed then, and only so: it would sign what it holds under that number.
        """
        source, is_own = header.package[:3], header.package[:3] == self._site.code
        if source == self._sender or (is_own and self._is_held(header)):
            return
        if not is_own and not self._trust.is_pinned(source):
            if self._sender not in self._site.settings.relays:
                raise RefusedError(
                    f"{header.package}:{header.version} is a package of {source}, which is not trusted here, and "
                    f"{self._sender} may not vouch for it",
                    hint=f"pin the card of {source}: courier site trust CARD; or allow {self._sender} to vouch for "
                    f"others' packages: courier site policy --relay {self._sender}",
                    code=Code.NOT_VOUCHED,
                )
            return
        if not header.definition:
            raise RefusedError(
                f"{header.package}:{header.version} is a package of {source}, and the parcel of {self._sender} does "
                f"not carry what {source} signed for it",
                hint=f"do not use it; ask {self._sender} where it is from"
                if is_own
                else f"ask {source} for the package, or {self._sender} for a parcel made after it received {source}'s",
                code=Code.NOT_VOUCHED,
            )
        definition = self._read(header, source)
        told = (definition.site, definition.package, definition.version, definition.listing)
        if told != (source, header.package, header.version, header.listing):
            raise self._contradiction(header, source)
        if self._told_otherwise(header, source):
            raise self._contradiction(header, source)

    def _is_held(self, header: PackageHeader) -> bool:
        """Whether the store has this version with this content."""
        with self._site.catalogue.reading() as connection:
            stored = packages.find(connection, header.package, header.version)
        return stored is not None and stored.listing == header.listing

    def _told_otherwise(self, header: PackageHeader, source: str) -> bool:
        """Whether the source has signed another content for this version, which came here before."""
        with self._site.catalogue.reading() as connection:
            known = packages.find_definitions(connection, header.package, header.version, source)
        return bool(set(known) - {header.listing.sha256})

    def _read(self, header: PackageHeader, source: str) -> PackageDefinition:
        where = f"{source}'s definition of {header.package}:{header.version}, carried by {self._sender}"
        return self._trust.verify(header.definition, package_doc.KIND, now_ns=now(), where=where, on_medium=True)[0]

    def _contradiction(self, header: PackageHeader, source: str) -> RefusedError:
        return RefusedError(
            f"{header.package}:{header.version}: {source} signed other content for it than the parcel of "
            f"{self._sender} carries",
            hint=f"do not use it; ask {source} which is right, and tell both sites",
            code=Code.DEFINITION_DISAGREES,
        )


def check_expansion(site: Site, packing: PackingList, headers: Sequence[PackageHeader]) -> None:
    """Raise `RefusedError` where the holes of a parcel's files are more than this site's policy takes."""
    holes, limit = sum(header.listing.holes for header in headers), site.settings.hole_limit
    if limit and holes > limit:
        raise RefusedError(
            f"{packing.parcel}: its sparse files have {holes:,} bytes of holes; this site takes {limit:,}",
            hint="they take no room, but hours to read; to allow it: courier site policy --hole-limit SIZE (0: any)",
            code=Code.TOO_MANY_HOLES,
        )


def keep_source_definition(
    connection: Connection, site: Site, sender: str, header: PackageHeader, moment_ns: int
) -> None:
    """Keep what the package's source signed, so that this site can pass the package on with it.

    Only one that was verified is kept: where the source's card is not pinned, the sender alone vouches.
    """
    source = header.package[:3]
    if not header.definition or source in (sender, site.code) or not site.trust().is_pinned(source):
        return
    if header.listing.sha256 not in packages.find_definitions(connection, header.package, header.version, source):
        packages.keep_definition(
            connection,
            header.package,
            header.version,
            source,
            listing=header.listing.sha256,
            envelope=header.definition,
            received_ns=moment_ns,
        )
