"""Deleting contents from packs, and copying packs over that have become mostly empty or are many and small.

The order of steps makes a kill harmless at any of them. The index forgets contents first; then their records are
marked, so that an index made anew from the packs forgets them too. A new pack is whole and flushed before the index
says that contents lie in it, and the index says so before the old one is deleted.
"""

from __future__ import annotations

import contextlib
import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from courier.errors import CourierError
from courier.files import (
    TEMP,
    allocated,
    delete_files,
    flush_files,
    free_space,
    make_folder,
    remove_tree,
    sweep,
    sync_folder,
)
from courier.site.store.content_store import Collected
from courier.site.store.digest_set import DigestSet
from courier.site.store.pack_file import GONE, PACK, PackWriter, add_marks, new_name, sizes
from courier.site.store.pack_index import PackIndex, add_pack

SMALL, MOST_SMALL = 1 << 20, 32
"""Packs under `SMALL` bytes are put together as soon as there are `MOST_SMALL`: each package begins one of its own."""

_UNNEEDED = "digest NOT IN (SELECT value FROM needed.digest)"


def put_pack(folder: Path, writer: PackWriter, name: str, connection: sqlite3.Connection) -> int:
    """Give a pack that was written and flushed its name, and put it into the index; return its number there."""
    path = writer.path(name)
    number = add_pack(connection, name, path.stat().st_size)
    path.replace(folder / path.name)
    return number


def mark_gone(folder: Path, offsets: Mapping[str, Iterable[int]]) -> None:
    """Mark the records at these offsets of each pack, for whoever makes the index anew."""
    for name, gone in offsets.items():
        if (folder / f"{name}{PACK}").exists():
            add_marks(folder / f"{name}{GONE}", gone)


def collect_packs(folder: Path, index: PackIndex, needed: DigestSet) -> Collected:
    """Delete every content but those needed. Packs with nothing in use go first: it makes room to copy others over."""
    if not folder.is_dir():
        return Collected(freed=0, pending=0)
    sweep(folder)
    for path in folder.glob(f"*{GONE}"):
        if not path.with_suffix(PACK).exists():
            path.unlink()  # a kill came after its pack was deleted
    marks: dict[str, array[int]] = defaultdict(lambda: array("Q"))
    with index.writing(needed.path) as connection:
        query = f"SELECT name, offset FROM content JOIN pack ON pack.id = content.pack WHERE {_UNNEEDED}"
        for name, offset in connection.execute(query):
            marks[name].append(offset)
        connection.execute(f"DELETE FROM content WHERE {_UNNEEDED}")
    live = index.live_bytes()
    freed = _drop(folder, index, [name for name in live if not live[name]])
    mark_gone(folder, {name: sorted(gone) for name, gone in marks.items() if live.get(name)})
    for name, size in sizes(folder).items():
        if 2 * live.get(name, 0) < size:
            freed += _copy_over(folder, index, [name], live.get(name, 0))
    left = index.live_bytes()
    pending = sum(size - left.get(name, 0) for name, size in sizes(folder).items())
    return Collected(freed=freed, pending=pending)


def put_small_together(folder: Path, index: PackIndex) -> None:
    """Copy small packs into one, where there are many."""
    small = [name for name, size in sizes(folder).items() if size < SMALL]
    if len(small) >= MOST_SMALL:
        live = index.live_bytes()
        _copy_over(folder, index, small, sum(live.get(name, 0) for name in small))


def _copy_over(folder: Path, index: PackIndex, names: Sequence[str], live: int) -> int:
    """Put what is in use of these packs into a new one, in their place; return the bytes freed.

    ``live``: the bytes of that. Without room for them, or where a disk does not give them, the packs stay.
    """
    if free_space(folder) < live:
        return 0
    place = make_folder(folder / f"{TEMP}{new_name()}")
    try:
        return _copied(folder, index, names, place)
    except (OSError, CourierError):
        return 0  # another process may be at the index, too: there will be a next time
    finally:
        remove_tree(place)


def _copied(folder: Path, index: PackIndex, names: Sequence[str], place: Path) -> int:
    writer = PackWriter(place)
    with index.writing() as connection:
        # On disk, as a pack may have very many contents, and in the order in which they come into the new one.
        connection.execute("CREATE TEMP TABLE moved (digest BLOB, name TEXT, offset INTEGER, length INTEGER)")
        connection.executemany(
            "INSERT INTO moved SELECT digest, name, offset, length FROM content JOIN pack ON pack.id = content.pack "
            "WHERE name = ? ORDER BY offset",
            ((name,) for name in names),
        )
        connection.execute("CREATE TEMP TABLE placed (pack INTEGER, offset INTEGER, digest BLOB)")
        with contextlib.closing(writer):
            records = _copy_records(folder, connection, writer)
            connection.executemany("INSERT INTO placed VALUES (?, ?, ?)", records)
        flush_files([writer.path(name) for name in writer.names])
        numbers = [put_pack(folder, writer, name, connection) for name in writer.names]
        sync_folder(folder)
        placed = connection.execute("SELECT pack, offset, digest FROM placed")
        connection.executemany(
            "UPDATE content SET pack = ?, offset = ? WHERE digest = ?",
            ((numbers[number], offset, digest) for number, offset, digest in placed),
        )
    # The old packs stay in the index, with nothing in them, as long as they are there: nobody reads them anew.
    made = sum(allocated((folder / f"{name}{PACK}").stat()) for name in writer.names)
    return _drop(folder, index, names) - made


def _copy_records(folder: Path, connection: sqlite3.Connection, writer: PackWriter) -> Iterator[tuple[int, int, bytes]]:
    """Copy the contents that are to be moved; yield pack (an index of the writer's), offset and SHA-256 of each."""
    with contextlib.ExitStack() as stack:
        source, opened = None, ""
        for digest, name, offset, length in connection.execute("SELECT * FROM moved ORDER BY rowid"):
            if source is None or name != opened:
                stack.close()
                source, opened = stack.enter_context((folder / f"{name}{PACK}").open("rb")), name
            source.seek(offset)
            # What is damaged stays damaged, and as long as it was: verification finds it there.
            data = source.read(length).ljust(length, b"\0")
            yield (*writer.add(digest, data), digest)


def _drop(folder: Path, index: PackIndex, names: Sequence[str]) -> int:
    """Delete packs with nothing in use; return the bytes freed."""
    if not names:
        return 0
    freed = 0
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            freed += delete_files([folder / f"{name}{PACK}"])
        (folder / f"{name}{GONE}").unlink(missing_ok=True)
    sync_folder(folder)
    with index.writing() as connection:
        connection.executemany("DELETE FROM pack WHERE name = ?", ((name,) for name in names))
    return freed
