"""Every implementation of `ContentStore`, with the means to look and reach into it behind its back.

A new implementation is one class here and one line in `CONTENT_STORES`; the suite in
``tests/site/store/test_content_store.py`` then runs over it too.
"""

from __future__ import annotations

import hashlib
import io
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Protocol

from s3_server import new_bucket
from swift_server import new_swift_bucket

from courier.files import allocated
from courier.site.catalog import objects, open_catalogue
from courier.site.catalog.database import sqlite_url
from courier.site.catalog.objects import Place
from courier.site.catalog.schema_store import damaged_content, stored_content, stored_listing
from courier.site.objects.store import ObjectStore
from courier.site.store.content_store import ContentStore, StoredContent
from courier.site.store.folder import FolderStore
from courier.site.store.pack_file import GONE, HEADER, LARGEST, PACK, add_marks, new_name
from courier.site.store.pack_index import INDEX, add_pack
from formats.digest import sha256_hex
from formats.documents.listing import Entry, FileEntry, ListingSummary


class StoreUnderTest(Protocol):
    """A store and its insides. What is kept is named ``content/HEX``, ``listings/HEX`` and ``damaged/HEX``."""

    store: ContentStore

    def __init__(self, place: Path) -> None:
        """Make an empty store in a folder of the test's own."""

    def kept(self) -> dict[str, bytes]:
        """Everything that the store keeps, by name, but its lock; what is staged has some other name."""

    def replace(self, name: str, data: bytes | None) -> None:
        """Put other bytes in place of something kept, or delete it."""

    def room(self) -> int:
        """Bytes that everything kept takes, on the disk or wherever it is."""


class FolderUnderTest(StoreUnderTest):
    """The store in a folder, with every content in a file of its own."""

    packed = 0

    def __init__(self, place: Path) -> None:
        self.folder = place / "store"
        self.store = FolderStore(self.folder, packed=self.packed)

    def files(self) -> list[Path]:
        """All files of the store but its lock and what is told of the packs."""
        ours = (path for path in self.folder.rglob("*") if path.is_file() and path.name != "lock")
        return [path for path in ours if not path.name.startswith(INDEX) and path.suffix != GONE]

    def kept(self) -> dict[str, bytes]:
        """See `StoreUnderTest.kept`."""
        paths = (path for path in self.files() if path.suffix != PACK)
        found = {path.relative_to(self.folder).parts: path.read_bytes() for path in paths}
        in_folders = ("content", "blocks")
        return {"/".join([parts[0], *parts[2:]] if parts[0] in in_folders else parts): found[parts] for parts in found}

    def path(self, name: str) -> Path:
        """The file of something kept."""
        kind, sha256 = name.split("/")
        return self.folder / kind / sha256[:2] / sha256 if kind in ("content", "blocks") else self.folder / name

    def replace(self, name: str, data: bytes | None) -> None:
        """See `StoreUnderTest.replace`."""
        if data is None:
            self.path(name).unlink()
        else:
            self.path(name).write_bytes(data)

    def room(self) -> int:
        """See `StoreUnderTest.room`."""
        return sum(allocated(path.stat()) for path in self.files())


class PacksUnderTest(FolderUnderTest):
    """The store in a folder as sites have it, with small contents in packs."""

    packed = LARGEST

    def rows(self) -> dict[bytes, tuple[str, int, int]]:
        """Pack, offset and length of every packed content, as the index has it."""
        path = self.folder / "packs" / INDEX
        if not path.exists():
            return {}
        query = "SELECT digest, name, offset, length FROM content JOIN pack ON pack = id"
        with closing(sqlite3.connect(path)) as connection:
            return {digest: (name, offset, length) for digest, name, offset, length in connection.execute(query)}

    def pack(self, name: str) -> Path:
        """The file of a pack."""
        return self.folder / "packs" / f"{name}{PACK}"

    def kept(self) -> dict[str, bytes]:
        """See `StoreUnderTest.kept`."""
        found = super().kept()
        for digest, (name, offset, length) in self.rows().items():
            found[f"content/{digest.hex()}"] = self.pack(name).read_bytes()[offset : offset + length]
        return found

    def replace(self, name: str, data: bytes | None) -> None:
        """See `StoreUnderTest.replace`.

        Bytes of another length go into a pack of their own, to which the index then leads.
        """
        kind, sha256 = name.split("/")
        row = self.rows().get(bytes.fromhex(sha256)) if kind == "content" else None
        if row is None:
            super().replace(name, data)
            return
        digest, (old, offset, length) = bytes.fromhex(sha256), row
        if data is not None and len(data) == length:
            with self.pack(old).open("r+b") as out:
                out.seek(offset)
                out.write(data)
            return
        with closing(sqlite3.connect(self.folder / "packs" / INDEX)) as connection:
            if data is None:
                connection.execute("DELETE FROM content WHERE digest = ?", (digest,))
            else:
                record = HEADER.pack(digest, len(data)) + data
                self.pack(new := new_name()).write_bytes(record)
                number = add_pack(connection, new, len(record))
                place = number, HEADER.size, len(data), digest
                connection.execute("UPDATE content SET pack = ?, offset = ?, length = ? WHERE digest = ?", place)
            connection.commit()
        add_marks(self.pack(old).with_suffix(GONE), [offset])


class ObjectsUnderTest(StoreUnderTest):
    """The store in a bucket, with every content in an object of its own."""

    packed = 0
    new_bucket = staticmethod(new_bucket)

    def __init__(self, place: Path) -> None:
        self.bucket = self.new_bucket()
        self.catalogue = open_catalogue(sqlite_url(place / "catalogue.sqlite"))
        self.store = ObjectStore(self.bucket, self.catalogue, place / "store", site="HQ1", packed=self.packed)

    def places(self) -> dict[str, Place]:
        """Where everything lies that is kept, by its name."""
        found = {}
        tables = {"content": stored_content, "listings": stored_listing, "damaged": damaged_content}
        with self.catalogue.reading() as connection:
            for kind, table in tables.items():
                for row in connection.execute(table.select()):
                    start = getattr(row, "start", 0)
                    found[f"{kind}/{row.digest.hex()}"] = Place(object=row.object, start=start, size=row.size)
        return found

    def kept(self) -> dict[str, bytes]:
        """See `StoreUnderTest.kept`."""
        return {name: self.bucket.read(place.object, place.start, place.size) for name, place in self.places().items()}

    def replace(self, name: str, data: bytes | None) -> None:
        """See `StoreUnderTest.replace`. Bytes of another length go into an object of their own."""
        kind, sha256 = name.split("/")
        place = self.places()[f"content/{sha256}" if kind == "blocks" else name]
        whole = b"".join(self.bucket.pieces(place.object))
        if data is None and place.object.startswith("packs/"):
            with self.catalogue.writing() as connection:
                objects.forget_contents(connection, [bytes.fromhex(sha256)])
        elif data is None:
            self.bucket.delete([place.object])
        elif kind == "blocks":
            self.overwrite(place.object, whole[: place.size] + data)
        elif len(data) == place.size:
            self.overwrite(place.object, whole[: place.start] + data + whole[place.start + place.size :])
        else:
            other = f"packs/{new_name()}.pack"
            self.bucket.put_bytes(other, data)
            table = stored_content if kind == "content" else stored_listing
            with self.catalogue.writing() as connection:
                objects.add_objects(connection, {other: len(data)})
                values = {"object": other, "size": len(data)} | ({"start": 0} if kind == "content" else {})
                changed = table.update().where(table.c.digest == bytes.fromhex(sha256)).values(values)
                connection.execute(changed)

    def overwrite(self, name: str, data: bytes) -> None:
        """Put other bytes in place of an object, as our own code never does."""
        self.bucket.delete([name])
        self.bucket.put_bytes(name, data)

    def room(self) -> int:
        """See `StoreUnderTest.room`."""
        return sum(one.size for kind in ("content", "listings", "packs") for one in self.bucket.list(kind))


class ObjectPacksUnderTest(ObjectsUnderTest):
    """The store in a bucket as sites have it, with small contents in packs."""

    packed = LARGEST


class SwiftUnderTest(ObjectPacksUnderTest):
    """The same in a server that stands in data centres too: OpenStack Swift, by its S3 interface."""

    new_bucket = staticmethod(new_swift_bucket)


CONTENT_STORES: dict[str, type[StoreUnderTest]] = {
    "files": FolderUnderTest,
    "packs": PacksUnderTest,
    "objects": ObjectsUnderTest,
    "object-packs": ObjectPacksUnderTest,
    "swift": SwiftUnderTest,
}
"""Name -> class of every implementation under test."""


def table_of(data: bytes) -> bytes:
    """The block table of a content, made without our code."""
    return b"".join(hashlib.sha256(data[at : at + (1 << 20)]).digest() for at in range(0, len(data), 1 << 20))


def crcs_of(data: bytes) -> bytes:
    """The CRC-32s of the blocks of a content, made without our code."""
    return b"".join(zlib.crc32(data[at : at + (1 << 20)]).to_bytes(4, "little") for at in range(0, len(data), 1 << 20))


def sums_of(data: bytes) -> bytes:
    """What a store keeps of the blocks of a content, made without our code."""
    kept = table_of(data) + crcs_of(data)
    return kept + zlib.crc32(kept).to_bytes(4, "little")


def stored(data: bytes) -> StoredContent:
    """What a store says of a content."""
    blocks = sha256_hex(table_of(data)) if len(data) > 1 << 20 else ""
    return StoredContent(sha256=sha256_hex(data), size=len(data), blocks=blocks)


def listing(files: dict[str, bytes]) -> list[Entry]:
    """The entries of a package of those files."""
    return [
        FileEntry(
            path=path, mtime_ns=0, mode=0o644, size=len(data), sha256=sha256_hex(data), blocks=stored(data).blocks
        )
        for path, data in sorted(files.items())
    ]


def add(store: ContentStore, files: dict[str, bytes]) -> ListingSummary:
    """Take a package of those files in."""
    with store.lock(), store.stage() as staging:
        for data in files.values():
            assert staging.add(io.BytesIO(data)) == stored(data)
        summary = staging.add_listing(listing(files))
        staging.commit()
    return summary


def check_whole(tested: StoreUnderTest) -> None:
    """Fail unless everything that is in use is what its name says."""
    for name, data in tested.kept().items():
        kind, _, sha256 = name.partition("/")
        assert kind not in ("content", "listings") or sha256_hex(data) == sha256
