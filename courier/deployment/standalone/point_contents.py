"""What a set carries of packages: the files of a distribution point's folder, each with what opens it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.distribution.fill import contents_of
from courier.distribution.supply import StoreSupply
from courier.packages.definitions import source_definition
from courier.packages.find import definition_of
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.blocks import BLOCK, DIGEST, BlockDigests
from formats.digest import sha256_hex
from formats.documents import package as package_doc
from formats.documents import point as point_doc
from formats.documents.fields import PackageRef
from formats.documents.listing import write_listing
from formats.documents.point import (
    STATEMENT,
    PointStatement,
    blocks_path,
    content_path,
    definition_path,
    listing_path,
)
from formats.envelope import Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class PointFile:
    """A file of the point's folder: its path there, its size in bytes, its SHA-256, and what opens it.

    ``blocks`` gives the SHA-256 of each of its blocks of 1 MiB, 32 bytes each.
    """

    path: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]
    blocks: Callable[[], bytes]


def package_refs(stored: Iterable[StoredPackage]) -> tuple[PackageRef, ...]:
    """The versions, each once, in order."""
    found = {
        (one.package, one.version): PackageRef(package=one.package, version=one.version, listing=one.listing.sha256)
        for one in stored
    }
    return tuple(found[key] for key in sorted(found))


def point_contents(
    site: Site, stored: Sequence[StoredPackage], *, name: str, work: Path, issued_ns: int, sign: bool
) -> list[PointFile]:
    """All files of a point called ``name`` that has these versions: the documents first, then contents by their digest.

    Listings are put into the folder ``work``, unless they are there already by an earlier call, and it must stay until
    the files have been read. ``issued_ns``: the date
    of the point's statement. Without ``sign`` nothing is signed, and what would be is only as long.
    """
    refs = package_refs(stored)
    statement = PointStatement(
        site=site.code,
        point=name,
        serial=max(1, issued_ns // 10**9),
        issued_ns=issued_ns,
        packages=refs,
        least={},
        withdrawn=(),
        cache=(),
        peers=(),
        group="",
    )
    signed = site.sign(statement.payload(), point_doc.TYPE) if sign else _as_long(statement.payload(), point_doc.TYPE)
    found = {STATEMENT: _of_bytes(STATEMENT, signed.encode())}
    contents: dict[str, PointFile] = {}
    for one in stored:
        supply = StoreSupply(site=site, stored=one)
        path = definition_path(one.package, one.version)
        if path in found:
            continue
        found[path] = _of_bytes(path, supply.definition() if sign else _definition_as_long(site, one))
        listing = work / one.listing.sha256
        if not listing.exists():
            with listing.open("xb") as out:
                write_listing(supply.entries(), out)
        path = listing_path(one.listing.sha256)
        found[path] = _of_file(path, listing, one.listing.sha256)
        for content in contents_of(supply.entries()):
            path = content_path(content.sha256)
            if path in contents:
                continue
            contents[path] = PointFile(
                path=path,
                size=content.size,
                sha256=content.sha256,
                open=_opener(supply, content.sha256),
                blocks=_tables(site, content.sha256, content.size),
            )
            if content.blocks:
                table = blocks_path(content.sha256)
                size = -(-content.size // BLOCK) * DIGEST
                found[table] = _of_table(table, size, content.blocks, _tables(site, content.sha256, content.size))
    return [*found.values(), *(contents[path] for path in sorted(contents))]


def _as_long(payload: bytes, payload_type: str) -> Envelope:
    """An envelope that nobody signed, as long as a signed one."""
    unsigned = hashlib.sha512(payload)
    return Envelope(
        payload=payload, payload_type=payload_type, signatures=((unsigned.hexdigest()[:64], unsigned.digest()[:64]),)
    )


def _definition_as_long(site: Site, stored: StoredPackage) -> bytes:
    envelope = source_definition(site, stored, sign=False)
    return envelope or _as_long(definition_of(site, stored).payload(), package_doc.TYPE).encode()


def _opener(supply: StoreSupply, sha256: str) -> Callable[[], BinaryIO]:
    return lambda: supply.open_content(sha256)


def _tables(site: Site, sha256: str, size: int) -> Callable[[], bytes]:
    return lambda: site.store.block_digests(sha256, size)


def _of_bytes(path: str, data: bytes) -> PointFile:
    return PointFile(
        path=path,
        size=len(data),
        sha256=sha256_hex(data),
        open=lambda: io.BytesIO(data),
        blocks=lambda: block_digests(io.BytesIO(data)),
    )


def _of_table(path: str, size: int, sha256: str, table: Callable[[], bytes]) -> PointFile:
    """A block table: it is read from the store when it is needed, for all of them together may be large."""
    return PointFile(
        path=path,
        size=size,
        sha256=sha256,
        open=lambda: io.BytesIO(table()),
        blocks=lambda: block_digests(io.BytesIO(table())),
    )


def _of_file(path: str, file: Path, sha256: str) -> PointFile:
    def blocks() -> bytes:
        with file.open("rb") as source:
            return block_digests(source)

    return PointFile(path=path, size=file.stat().st_size, sha256=sha256, open=lambda: file.open("rb"), blocks=blocks)


def block_digests(source: BinaryIO) -> bytes:
    """The SHA-256 of each block of 1 MiB of a stream, 32 bytes each."""
    digests = BlockDigests()
    while data := source.read(BLOCK):
        digests.update(data)
    return digests.finish()
