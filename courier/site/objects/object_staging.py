"""New content on its way into a bucket: taken in on this computer's disk, then written to the bucket all at once.

First every object is written, then the catalogue says in one transaction what lies in them. A kill between leaves
objects of which the catalogue knows nothing; `ObjectStore.cross_check` finds them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from courier.site.catalog import objects
from courier.site.catalog.database import Catalogue
from courier.site.catalog.objects import Place
from courier.site.objects.bucket import Bucket
from courier.site.store.block_sums import BlockSums, needs_table
from courier.site.store.content_store import ContentStore, StoredContent
from courier.site.store.large_contents import BLOCKS, CONTENT
from courier.site.store.staging import LISTINGS, LocalStaging

PACKS = "packs"


class HeldContents(ContentStore, Protocol):
    """The store that content is taken into, as far as it has to be asked what it holds already."""

    def small_problems(self, digests: Iterable[bytes]) -> Mapping[bytes, str]:
        """What is wrong with those of many packed contents, by their SHA-256, that are missing or damaged."""

    def has_sums(self, sha256: str, sums: BlockSums) -> bool:
        """Whether the sums of the blocks of a content are there and are these."""


def new_object(kind: str, sha256: str) -> str:
    """A name for an object that none had before: who deletes one by its name never meets another one there."""
    return f"{kind}/{sha256[:2]}/{sha256}-{secrets.token_hex(8)}"


def new_pack(name: str) -> str:
    """The object of a pack."""
    return f"{PACKS}/{name}.pack"


class ObjectStaging(LocalStaging):
    """New content and listings in a temporary folder inside ``folder``, on their way into a bucket."""

    def __init__(self, store: HeldContents, folder: Path, packed: int, bucket: Bucket, catalogue: Catalogue) -> None:
        super().__init__(store, folder, packed, problems=store.small_problems, has_sums=store.has_sums)
        self._bucket, self._catalogue = bucket, catalogue

    def keep_large(self, path: Path, content: StoredContent, sums: BlockSums | None) -> None:
        """See `LocalStaging.keep_large`. A content whose sums are wrong is written anew, both in one object."""
        has_sums = sums is None or self._has_sums(content.sha256, sums)
        if has_sums and self.holds(content.sha256, content.size):
            path.unlink(missing_ok=True)
        else:
            self._put_down(path, content, sums)

    def commit(self) -> None:
        """See `Staging.commit`."""
        self._pack_waiting()
        self._writer.close()
        sizes: dict[str, int] = {}
        large = dict(self._write_large(sizes))
        packs = [self._write_pack(name, sizes) for name in self._writer.names]
        listings = dict(self._write_listings(sizes))
        with self._catalogue.writing() as connection:
            objects.add_objects(connection, sizes)
            objects.put_contents(connection, large.items())
            rows = self._rows.in_order() if packs else iter(())
            objects.put_contents(
                connection,
                ((digest, Place(object=packs[pack], start=start, size=size)) for digest, pack, start, size in rows),
            )
            for digest, place in listings.items():
                objects.put_listing(connection, digest, place)
            objects.mark_gone(connection)

    def _write_large(self, sizes: dict[str, int]) -> Iterator[tuple[bytes, Place]]:
        for path in self._large_files():
            size = path.stat().st_size
            if needs_table(size):
                with path.open("ab") as out:
                    out.write((self._folder / BLOCKS / path.name).read_bytes())
            name = new_object(CONTENT, path.name)
            self._bucket.put_file(name, path)
            sizes[name] = path.stat().st_size
            yield bytes.fromhex(path.name), Place(object=name, start=0, size=size)

    def _large_files(self) -> list[Path]:
        folder = self._folder / CONTENT
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _write_pack(self, name: str, sizes: dict[str, int]) -> str:
        path, target = self._writer.path(name), new_pack(name)
        self._bucket.put_file(target, path)
        sizes[target] = path.stat().st_size
        return target

    def _write_listings(self, sizes: dict[str, int]) -> Iterator[tuple[bytes, Place]]:
        for sha256, path in self._listings.items():
            name, size = new_object(LISTINGS, sha256), path.stat().st_size
            self._bucket.put_file(name, path)
            sizes[name] = size
            yield bytes.fromhex(sha256), Place(object=name, start=0, size=size)
