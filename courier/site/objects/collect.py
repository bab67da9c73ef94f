"""Deleting what nothing needs from a bucket, and copying packs over that have become mostly empty.

The catalogue forgets contents first, in a transaction that fails for whoever has lost the store to another computer.
Only objects that hold nothing which is in use are deleted then, and their names are never used again: whoever is slow
at it harms nobody. A key without the right to delete leaves them in the bucket, marked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from courier.errors import CourierError
from courier.files import TEMP, make_folder, remove_tree
from courier.site.catalog import objects
from courier.site.catalog.database import Catalogue
from courier.site.catalog.objects import Place
from courier.site.objects.bucket import Bucket
from courier.site.objects.object_staging import PACKS, new_pack
from courier.site.objects.windows import WINDOW
from courier.site.store.content_store import Collected
from courier.site.store.digest_set import DigestSet
from courier.site.store.pack_file import HEADER, PACK_SIZE, PackWriter, new_name

_PAGE = 10_000
_SMALL, _MOST_SMALL = 1 << 20, 32
"""Packs under `_SMALL` bytes are put together where there are `_MOST_SMALL`."""


def collect_objects(
    bucket: Bucket, catalogue: Catalogue, folder: Path, needed: Iterable[bytes], listings: Collection[bytes]
) -> Collected:
    """Delete all contents but those ``needed``, and all listings but ``listings``; hold the store's lock.

    Whatever ``needed`` raises is raised before anything is deleted.
    """
    with DigestSet(folder / f"{TEMP}{new_name()}") as wanted:
        wanted.update(needed)
        _forget(catalogue, wanted, listings)
    freed = _delete(bucket, catalogue)
    for names in _half_empty(catalogue):
        _copy_over(bucket, catalogue, folder, names)
        freed += _delete(bucket, catalogue)
    with catalogue.reading() as connection:
        pending = sum(objects.gone(connection).values())
        packs = objects.live_bytes(connection, f"{PACKS}/")
    dead = sum(size - live - count * HEADER.size for size, live, count in packs.values())
    return Collected(freed=freed, pending=pending + dead)


def _forget(catalogue: Catalogue, wanted: DigestSet, listings: Collection[bytes]) -> None:
    with catalogue.writing() as connection:
        after = b""
        while page := objects.page(connection, after, _PAGE):
            objects.forget_contents(connection, (digest for digest, _ in page if digest not in wanted))
            after = page[-1][0]
        gone = (digest for digest in objects.listings(connection) if digest not in listings)
        objects.forget_listings(connection, gone)
        objects.empty_quarantine(connection)
        objects.mark_gone(connection)


def _delete(bucket: Bucket, catalogue: Catalogue) -> int:
    """Delete the objects that are marked; return the bytes freed, none where the bucket does not let us.

    They stay marked then, and a later removal deletes them.
    """
    with catalogue.reading() as connection:
        gone = objects.gone(connection)
    if not gone:
        return 0
    try:
        bucket.delete(gone)
    except CourierError:
        return 0
    with catalogue.writing() as connection:
        objects.forget_objects(connection, gone)
    return sum(gone.values())


def _half_empty(catalogue: Catalogue) -> Iterator[list[str]]:
    """Packs that are to be copied over, those together that fit into a new one."""
    with catalogue.reading() as connection:
        packs = objects.live_bytes(connection, f"{PACKS}/")
    small = [name for name, (size, _, _) in packs.items() if size < _SMALL]
    chosen = {name for name, (size, live, count) in packs.items() if 2 * (live + count * HEADER.size) < size}
    chosen.update(small if len(small) >= _MOST_SMALL else ())
    together, total = list[str](), 0
    for name in sorted(chosen):
        _, live, count = packs[name]
        if together and total + live > PACK_SIZE:
            yield together
            together, total = [], 0
        together.append(name)
        total += live + count * HEADER.size
    if together:
        yield together


def _copy_over(bucket: Bucket, catalogue: Catalogue, folder: Path, names: Iterable[str]) -> None:
    """Put what is in use of packs into new ones, in their place."""
    place = make_folder(folder / f"{TEMP}{new_name()}")
    writer = PackWriter(place)
    try:
        moved = []
        for name in names:
            for digest, data in _records(bucket, catalogue, name):
                number, start = writer.add(digest, data)
                moved.append((digest, number, start, len(data)))
        writer.close()
        targets, sizes = [new_pack(name) for name in writer.names], {}
        for name, target in zip(writer.names, targets, strict=True):
            bucket.put_file(target, writer.path(name))
            sizes[target] = writer.path(name).stat().st_size
        with catalogue.writing() as connection:
            objects.add_objects(connection, sizes)
            objects.put_contents(
                connection,
                (
                    (digest, Place(object=targets[number], start=start, size=size))
                    for digest, number, start, size in moved
                ),
            )
            objects.mark_gone(connection)
    finally:
        writer.close()
        remove_tree(place)


def _records(bucket: Bucket, catalogue: Catalogue, name: str) -> Iterator[tuple[bytes, bytes]]:
    after, data, at = 0, b"", 0
    while True:
        with catalogue.reading() as connection:
            page = objects.contents_in(connection, name, after, _PAGE)
        for digest, place in page:
            if place.start + place.size > at + len(data) or place.start < at:
                data, at = bucket.read(name, place.start, max(WINDOW, place.size)), place.start
            # What is damaged stays damaged, and as long as it was: verification finds it there.
            yield digest, data[place.start - at : place.start - at + place.size].ljust(place.size, b"\0")
        if not page:
            return
        after = page[-1][1].start + 1
