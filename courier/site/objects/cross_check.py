"""Comparing a bucket with what the catalogue says of it: objects that are missing, and objects that nobody knows.

An object that nobody knows was written by a command that was killed, or before a catalogue was lost. What it holds is
taken in again where the catalogue has it not; the rest is marked to be deleted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from courier.site.catalog import objects
from courier.site.catalog.database import Catalogue
from courier.site.catalog.objects import Place
from courier.site.objects.bucket import Bucket, ObjectInfo
from courier.site.objects.object_staging import PACKS
from courier.site.store.block_sums import ROW, needs_table, sums_size
from courier.site.store.large_contents import CONTENT
from courier.site.store.pack_file import read_records
from courier.site.store.staging import LISTINGS
from formats.blocks import BLOCK
from formats.crc32 import SIZE

_NAMED = re.compile(rf"(?P<kind>{CONTENT}|{LISTINGS})/[0-9a-f]{{2}}/(?P<digest>[0-9a-f]{{64}})-[0-9a-f]{{16}}")
_PACK = re.compile(rf"{PACKS}/[0-9a-f]{{16}}\.pack")


def cross_check(bucket: Bucket, catalogue: Catalogue, *, mend: bool) -> int:
    """How many contents and listings the bucket and the catalogue tell differently; hold the store's lock.

    With ``mend`` the catalogue forgets what is missing, and takes in what it did not know.
    """
    with catalogue.reading() as connection:
        known = dict(objects.object_sizes(connection))
    missing, strange = dict(known), list[ObjectInfo]()
    for folder in (CONTENT, LISTINGS, PACKS):
        for one in bucket.list(folder):
            if missing.get(one.name) == one.size:
                del missing[one.name]
            elif one.name not in known:
                strange.append(one)
    # A list may be older than the last writes and deletions: each object that it tells differently is looked at.
    wrong = _forget_missing(catalogue, [name for name in missing if bucket.size(name) != known[name]], mend=mend)
    for one in strange:
        if bucket.size(one.name) == one.size:
            wrong += _take_in(bucket, catalogue, one, mend=mend)
    return wrong


def _forget_missing(catalogue: Catalogue, names: list[str], *, mend: bool) -> int:
    """Contents and listings whose object is not in the bucket, or has another size."""
    if not names:
        return 0
    with catalogue.reading() as connection:
        lost = objects.held_in(connection, names)
    if mend:
        with catalogue.writing() as connection:
            objects.forget_all_in(connection, names)
            objects.forget_objects(connection, names)
    return lost


def _take_in(bucket: Bucket, catalogue: Catalogue, one: ObjectInfo, *, mend: bool) -> int:
    """Contents and listings of an object that nobody knows, which the catalogue has not from elsewhere."""
    contents: list[tuple[bytes, Place]] = []
    listing: bytes | None = None
    if match := _NAMED.fullmatch(one.name):
        digest = bytes.fromhex(match["digest"])
        if match["kind"] == LISTINGS:
            listing = digest
        else:
            size = content_size(one.size)
            contents = [] if size is None else [(digest, Place(object=one.name, start=0, size=size))]
    elif _PACK.fullmatch(one.name):
        contents = list(_records(bucket, one))
    else:
        return 0
    with catalogue.reading() as connection:
        there = objects.contents(connection, (digest for digest, _ in contents)).keys()
        if listing is not None and objects.listing(connection, listing) is not None:
            listing = None
    new = [(digest, place) for digest, place in contents if digest not in there]
    if mend:
        with catalogue.writing() as connection:
            objects.add_objects(connection, {one.name: one.size})
            objects.put_contents(connection, new)
            if listing is not None:
                objects.put_listing(connection, listing, Place(object=one.name, start=0, size=one.size))
            objects.mark_gone(connection)
    return len(new) + (listing is not None)


def content_size(total: int) -> int | None:
    """The bytes of a content, from those of its object, which ends with the sums of its blocks where it has several.

    None where no content has such an object.
    """
    if not needs_table(total):
        return total
    blocks = -(-(total - SIZE) // (BLOCK + ROW))
    size = total - SIZE - blocks * ROW
    return size if needs_table(size) and size + sums_size(size) == total else None


def _records(bucket: Bucket, one: ObjectInfo) -> Iterator[tuple[bytes, Place]]:
    data = io.BytesIO(bucket.read(one.name, 0, one.size))  # a pack has 64 MiB and a record at most
    for digest, start, size in read_records(data):
        yield digest, Place(object=one.name, start=start, size=size)
