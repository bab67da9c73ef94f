"""The files of a package as a point has them, read while they are used: every block is verified, nothing is kept."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from courier.deployment.run.content import PackageFiles, Supply, check_listing
from courier.deployment.run.work import Work
from courier.distribution.asking import Asking
from courier.distribution.download_pace import stopped
from courier.distribution.download_plan import find, put_listing
from courier.distribution.point_reader import read_block_table
from courier.distribution.seen_statements import Memory
from courier.distribution.source import GoneError, Link, SourceFaultError, WrongBytesError
from courier.distribution.source_list import MOST_WRONG, SourceList, told
from courier.errors import DamagedError, UnreachableError
from courier.files import atomic_file, make_folder, require_space
from courier.site.clock import now
from formats.blocks import BLOCK, BlockTable
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry, FileEntry, read_listing
from formats.documents.point import content_path

_Result = TypeVar("_Result")
_ZERO = hashlib.sha256(bytes(BLOCK)).digest()
_ZEROS = bytes(BLOCK)
_RUN = 64
"""Blocks that are asked for at a time at most."""
SEEN = "points.json"


class PointContent:
    """Packages as they are read from points. What is needed of a file at once is in the work folder meanwhile."""

    def __init__(self, supply: Supply, work: Work) -> None:
        self._supply, self._work = supply, work
        self._sources = SourceList()
        for source in supply.points:
            self._sources.add(source)
        self._asking = Asking(self._sources, supply.stop, retry_for=supply.retry_for, warn=supply.warn)
        self._known: dict[PackageRef, PointFiles] = {}

    def fetch_all(self, refs: list[PackageRef]) -> None:
        """See `courier.deployment.run.content.Content.fetch_all`: nothing is fetched before it is used."""

    def using(self, ref: PackageRef, work: Callable[[PackageFiles], _Result]) -> _Result:
        """See `courier.deployment.run.content.Content.using`."""
        if ref not in self._known:
            self._known[ref] = self._found(ref)
        return work(self._known[ref])

    def release(self, refs: list[PackageRef]) -> None:
        """See `courier.deployment.run.content.Content.release`."""

    def _found(self, ref: PackageRef) -> PointFiles:
        memory = Memory(self._work.place(SEEN))
        found = find(self._asking, memory, self._supply.cards, package=ref.package, version=ref.version, now_ns=now())
        check_listing(ref, found.ref)
        listing = make_folder(self._work.place("listings")) / ref.listing
        if not _is(listing, ref.listing):
            with atomic_file(listing) as out:
                put_listing(self._asking, found.package.definition, out)
        reader = BlockReader(self._sources, self._asking, self._supply.stop, retry_for=self._supply.retry_for)
        return PointFiles(ref, listing, reader, self._work)


def _is(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest() == sha256


class PointFiles:
    """A package version at points. See `courier.deployment.run.content.PackageFiles`."""

    def __init__(self, ref: PackageRef, listing: Path, reader: BlockReader, work: Work) -> None:
        self._ref, self._listing, self._reader, self._work = ref, listing, reader, work

    @property
    def ref(self) -> PackageRef:
        """Which it is."""
        return self._ref

    def entries(self) -> Iterator[Entry]:
        """Its listing, which was verified when it came."""
        with self._listing.open("rb") as source:
            yield from read_listing(source)

    def pieces(self, entry: FileEntry) -> Iterator[bytes | memoryview]:
        """The blocks of a file; each is right. A piece is valid until the next one."""
        return self._reader.blocks(entry, 0, -(-entry.size // BLOCK))

    def read_at(self, entry: FileEntry, offset: int, count: int) -> bytes:
        """Bytes of a file, fewer at its end; the blocks that they are in are verified."""
        end = min(offset + count, entry.size)
        if offset >= end:
            return b""
        first = offset // BLOCK
        found = b"".join(bytes(one) for one in self._reader.blocks(entry, first, -(-end // BLOCK)))
        return found[offset - first * BLOCK :][: end - offset]

    @contextlib.contextmanager
    def local(self, entry: FileEntry) -> Iterator[Path]:
        """The one file, in the work folder as long as the block runs: wimlib reads here and there in a WIM.

        Fetching it whole asks the point for each byte once; reading it through the network where wimlib wants it would
        need a mount.
        """
        require_space(self._work.folder, entry.size, purpose=f"holding {entry.path} for this step")
        with self._work.scratch("package-file") as path:
            with path.open("wb") as out:
                for piece in self.pieces(entry):
                    out.write(piece)
            yield path


class BlockReader:
    """Reads blocks of contents from the first source that gives them, over one connection."""

    def __init__(self, sources: SourceList, asking: Asking, stop: threading.Event, *, retry_for: float) -> None:
        self._sources, self._asking, self._stop, self._retry_for = sources, asking, stop, retry_for
        self._links: dict[int, Link] = {}
        self._block = memoryview(bytearray(BLOCK))

    def blocks(self, entry: FileEntry, first: int, end: int) -> Iterator[memoryview]:
        """The blocks of a content from ``first`` to before ``end``, each verified, valid until the next one.

        Raises `DamagedError` where every source gives wrong bytes, `UnreachableError`, `StoppedError`.
        """
        if first >= end:
            return
        table = self._asking.first(lambda fetch: read_block_table(fetch, entry), peers=True)
        wrong: dict[int, int] = {}
        at, last = first, time.monotonic()
        try:
            while at < end:
                if self._stop.is_set():
                    raise stopped()
                if table.digest(0, at) == _ZERO:
                    yield memoryview(_ZEROS)
                    at += 1
                    continue
                number = self._choose(entry, wrong, last)
                try:
                    for block in self._run(entry, table, number, at, _run_end(table, at, end)):
                        yield block
                        at, last = at + 1, time.monotonic()
                except SourceFaultError as error:
                    self._drop(number)
                    self._sources.failed(number, error)
                    if isinstance(error, WrongBytesError):
                        wrong[number] = wrong.get(number, 0) + 1
                    elif isinstance(error, GoneError):
                        wrong[number] = MOST_WRONG
        finally:
            for number in list(self._links):
                self._drop(number)

    def _run(self, entry: FileEntry, table: BlockTable, number: int, at: int, end: int) -> Iterator[memoryview]:
        link = self._links.get(number)
        if link is None:
            link = self._links[number] = self._sources[number].link()
        part = link.part(content_path(entry.sha256), entry.size, at * BLOCK, min(end * BLOCK, entry.size))
        position = part.begin
        while position < part.end:
            block = position // BLOCK
            length = table.length(0, block)
            if position + length > part.end:
                raise SourceFaultError("it sends a part that ends within a block")
            view = self._block[:length]
            part.read_into(view)
            position += length
            if block < at:  # a source that knows no parts begins at the beginning
                continue
            if not table.is_good(0, block, view):
                raise WrongBytesError(f"it gave wrong bytes in block {block} of {content_path(entry.sha256)}")
            self._sources.worked(number, length)
            yield view
        link.finish()

    def _choose(self, entry: FileEntry, wrong: dict[int, int], last: float) -> int:
        """The source to ask now. ``last``: when the last right block was used; however often a source comes back and
        fails again, it is given up so long after that."""
        avoid = {number for number, count in wrong.items() if count >= MOST_WRONG}
        while True:
            if (number := self._sources.choose(avoid)) is not None:
                return number
            pause = self._sources.pause(avoid)
            if pause is None:
                raise DamagedError(
                    f"{entry.path}: no source has the right bytes: {told(self._sources.blames())}",
                    hint="check the point: courier point validate",
                )
            if time.monotonic() - last > self._retry_for:
                raise UnreachableError(
                    f"{entry.path}: no point answers as it should: {told(self._sources.blames())}",
                    hint="check the network; then give the same command again, and it goes on at this step",
                )
            if self._stop.wait(min(pause + 0.01, 0.5)):
                raise stopped()

    def _drop(self, number: int) -> None:
        if (link := self._links.pop(number, None)) is not None:
            link.close()


def _run_end(table: BlockTable, at: int, end: int) -> int:
    """Where a run of blocks ends that are asked for at one time: before the next block of zeros."""
    stop = min(end, at + _RUN)
    return next((block for block in range(at, stop) if table.digest(0, block) == _ZERO), stop)
