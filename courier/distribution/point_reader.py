"""A distribution point as a client sees it: what it serves is verified before anything of it is used.

Nothing here trusts the point, nor what carries its bytes. The site's statement is verified with the pinned card of the
site, the package definition with the card of the site that signed it, the listing by its digest, block tables by the
listing, blocks by the table, contents by their SHA-256. So whoever alters what is fetched can only hold a client up.

This module reads and writes nothing by itself: the caller gives it a function that fetches, and the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, RefusedError, explain
from courier.site.trust import Trust
from formats.blocks import BLOCK, DIGEST, BlockTable, block_count
from formats.digest import HashingReader, sha256_hex
from formats.documents import package as package_doc
from formats.documents import point as point_doc
from formats.documents.card import SiteCard
from formats.documents.fields import Heading, PackageRef
from formats.documents.listing import Entry, FileEntry, read_listing
from formats.documents.package import PackageDefinition
from formats.documents.point import (
    STATEMENT,
    PointStatement,
    blocks_path,
    definition_path,
    listing_path,
)
from formats.envelope import MAX_ENVELOPE, parse_envelope
from formats.errors import FormatError
from formats.records import read

MAX_DEFINITION = 64 << 10
"""Bytes of the envelope of a definition, at most."""
MAX_LISTING = 4 << 30
"""Bytes of a listing, at most."""
_PIECE = 1 << 20
_OTHER_POINT = "try another point; if they all say so, ask the site that runs them"


class Fetch(Protocol):
    """How the caller fetches: from a web server, a share or a folder."""

    def __call__(self, path: str, most: int, /) -> BinaryIO:
        """A file, open for reading and able to seek, with the bytes at ``path`` below the point's base.

        Of more than ``most`` bytes it may hold the first ``most + 1``, or raise. Raises `NotFoundError` where there is
        no such path.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class PointPackage:
    """A package version of a point, verified.

    ``vouched_by``: the site whose signature on the definition was verified, be it the package's source or the site of
    the point. Empty where the source signed and its card is not pinned here: then package, version and the digest of
    the listing count, by the statement of the point's site; the name and the times of the definition prove nothing.
    """

    definition: PackageDefinition
    vouched_by: str


def read_statement(fetch: Fetch, *, card: SiteCard, now_ns: int, point: str = "") -> PointStatement:
    """The statement of a point, verified with the pinned ``card`` of the site that runs it.

    The caller gives it to `check_not_older`, and remembers its serial. ``point``: the name that the point must have;
    empty for any. ``now_ns``: the time (UTC). Raises `RefusedError`, `DamagedError` for bytes that are no statement,
    and what ``fetch`` raises.
    """
    trust = Trust.of_cards(card)
    statement, _ = trust.verify(_fetched(fetch, STATEMENT, MAX_ENVELOPE), point_doc.KIND, now_ns=now_ns)
    if point and statement.point != point:
        raise RefusedError(
            f"this is the point {statement.point} of {statement.site}, not {point}",
            hint="check the address of the point",
            code=Code.WRONG_SITE,
        )
    return statement


def check_not_older(statement: PointStatement, remembered: int) -> None:
    """Raise `RefusedError` for a serial below the highest that was seen of this site and point; 0: none was seen."""
    if statement.serial < remembered:
        raise RefusedError(
            f"point {statement.point} of {statement.site} shows its statement {statement.serial}; "
            f"{remembered} was seen before",
            hint=f"it serves an old state; {_OTHER_POINT}",
            code=Code.ROLLED_BACK_POINT,
        )


def choose(statement: PointStatement, package: str, version: int | None = None) -> PackageRef:
    """The version of a package that a client may take from the point: the one named, or the newest there.

    Raises `RefusedError` for a version that was withdrawn or is lower than the least, `NotFoundError` where the point
    does not have it.
    """
    what = package if version is None else f"{package}:{version}"
    where = f"point {statement.point} of {statement.site}"
    if version is not None and (gone := statement.withdrawal(package, version)) is not None:
        raise RefusedError(
            f"{what} was withdrawn from {where}: {gone.reason or 'no reason given'}",
            hint="take another version of it",
            code=Code.WITHDRAWN,
        )
    least = statement.least.get(package, 0)
    if version is not None and version < least:
        raise RefusedError(
            f"{what}: {where} allows version {least} and later ones", hint="take a newer version", code=Code.WITHDRAWN
        )
    found = statement.find(package, version)
    if found is None:
        raise NotFoundError(f"{what} is not at {where}", hint="courier point show tells what is there")
    return found


def read_definition(
    fetch: Fetch, statement: PointStatement, ref: PackageRef, *, cards: Mapping[str, SiteCard], now_ns: int
) -> PointPackage:
    """The definition of a package version that ``statement`` names, verified.

    ``cards``: the pinned cards by site, that of the point's site among them. Where the package's source is among them,
    that site must have signed the definition. Raises as `read_statement` does.
    """
    where = f"definition of {ref.package}:{ref.version}"
    data = _fetched(fetch, definition_path(ref.package, ref.version), MAX_DEFINITION)
    source = ref.package[:3]
    try:
        envelope = parse_envelope(data)
        signer = source if source in cards else read(Heading, envelope.head).sender or ""
        if signer not in (source, statement.site):
            raise RefusedError(
                f"{where}: from {signer or 'nobody'}, which is neither its source nor the site of the point",
                hint=_OTHER_POINT,
                code=Code.WRONG_SITE,
            )
        if signer in cards:
            trust = Trust.of_cards(cards[signer])
            # By its date alone, though the key was revoked later: the statement names the listing, under a good key.
            definition, _ = trust.verify(data, package_doc.KIND, now_ns=now_ns, where=where, on_medium=True)
        else:
            definition = PackageDefinition.parse(envelope.payload)
    except FormatError as error:
        raise explain(error, where=where, hint=_OTHER_POINT) from None
    named = (definition.package, definition.version, definition.listing.sha256)
    if named != (ref.package, ref.version, ref.listing):
        raise RefusedError(
            f"{where}: it is of {definition.package}:{definition.version} with another listing or name than the "
            "statement of the point gives",
            hint=_OTHER_POINT,
            code=Code.DEFINITION_DISAGREES,
        )
    return PointPackage(definition=definition, vouched_by=signer if signer in cards else "")


def read_listing_of(fetch: Fetch, definition: PackageDefinition) -> Iterator[Entry]:
    """The entries of the listing that a definition names. The listing is read whole and verified before the first.

    Raises `DamagedError` where it is not that listing, and what ``fetch`` raises.
    """
    summary = definition.listing
    path = listing_path(summary.sha256)
    most = min(summary.longest, MAX_LISTING)
    with fetch(path, most) as source:
        reader = HashingReader(source)
        while reader.count <= most and reader.read(min(_PIECE, most + 1 - reader.count)):
            pass
        if reader.hexdigest() != summary.sha256:
            raise _altered(path)
        source.seek(0)
        try:
            yield from read_listing(source, expected=summary, place=path)
        except FormatError as error:
            raise explain(error, hint=_OTHER_POINT) from None


def read_block_table(fetch: Fetch, entry: FileEntry) -> BlockTable:
    """The block table of a content of more than one block, verified by the entry of the listing that names it.

    For a content of one block or less, which has no file of its own, it is made of the content's SHA-256. Raises
    `DamagedError` where it is not that table, and what ``fetch`` raises.
    """
    if entry.size <= BLOCK:
        return BlockTable(bytes.fromhex(entry.sha256) if entry.size else b"", [entry.size])
    path = blocks_path(entry.sha256)
    table = _fetched(fetch, path, block_count(entry.size) * DIGEST)
    if sha256_hex(table) != entry.blocks:
        raise _altered(path)
    return BlockTable(table, [entry.size])


def _fetched(fetch: Fetch, path: str, most: int) -> bytes:
    with fetch(path, most) as source:
        data = source.read(most + 1)
    if len(data) > most:
        raise DamagedError(f"{path}: more than {most:,} bytes", hint=_OTHER_POINT, code=Code.TOO_LARGE)
    return data


def _altered(path: str) -> DamagedError:
    return DamagedError(f"{path}: it differs from its digest", hint=_OTHER_POINT, code=Code.DIGEST_MISMATCH)
