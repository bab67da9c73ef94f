"""Building archives: planned members out of the store, into 7z files in the parcel's working folder.

An archive is finished when its sidecar stands beside it: size, digest and block digests as read back from the disk.
A build that was killed goes on with the archives that are not finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from courier.errors import CourierError, Damaged, explain
from courier.files import TEMP, atomic_file, remove_tree, write_atomic
from courier.plan import PlannedArchive, PlannedMember
from formats.archive import Member, write_archive
from formats.blocks import BLOCK, BlockHasher
from formats.digest import CHUNK, HashingReader
from formats.documents.contents import MemberRecord
from formats.documents.packing import archive_path
from formats.errors import DigestMismatch, FormatError
from formats.records import decode, encode

WORKERS = 2
LEVELS = {"fast": 1, "auto": 3, "best": 19}
"""zstd levels by the operator's word."""


class Sealer(Protocol):
    """What encrypts an archive while it is written: wraps the output stream of archive ``number``."""

    def wrap(self, out: BinaryIO, number: int) -> BinaryIO:
        """A stream to write the archive into; closing it finishes the sealed file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltArchive:
    """A finished archive: its file's size and digest, its blocks' digests (32 bytes each), its members' sizes."""

    number: int
    size: int
    sha256: str
    blocks: bytes
    member_sizes: tuple[int, ...]

    def save(self, path: Path) -> None:
        """Write the sidecar."""
        record = {
            "number": self.number,
            "size": self.size,
            "sha256": self.sha256,
            "blocks": self.blocks.hex(),
            "members": list(self.member_sizes),
        }
        write_atomic(path, encode(record))

    @classmethod
    def load(cls, path: Path) -> BuiltArchive | None:
        """Read a sidecar; None when there is none."""
        try:
            record = decode(path.read_bytes())
        except FileNotFoundError:
            return None
        return cls(
            number=record["number"],
            size=record["size"],
            sha256=record["sha256"],
            blocks=bytes.fromhex(record["blocks"]),
            member_sizes=tuple(record["members"]),
        )


class Builder:
    """Builds the archives of one parcel into ``folder``; ``open_content`` reads the store."""

    def __init__(
        self,
        folder: Path,
        open_content: Callable[[str], BinaryIO],
        *,
        level: int,
        sealer: Sealer | None,
        progress: Callable[[int], None],
    ) -> None:
        """``level`` is zstd's; ``progress`` is told bytes of content as they are read, from any thread."""
        self._folder = folder
        self._open = open_content
        self._level = level
        self._sealer = sealer
        self._progress = progress

    def build(self, archives: Sequence[PlannedArchive], *, pool: Executor | None = None) -> list[BuiltArchive]:
        """Build what is not finished yet, in parallel; return all, in order. Raises `Damaged` for bad content."""
        if pool is None:
            with ThreadPoolExecutor(WORKERS) as own:
                return self.build(archives, pool=own)
        futures = [pool.submit(self._one, archive) for archive in archives]
        checks = [pool.submit(self._check_whole, member) for member in _cut_contents(archives)]
        work: list[Future[Any]] = [*futures, *checks]
        try:
            for finished in as_completed(work):
                finished.result()
        except BaseException:
            for waiting in work:
                waiting.cancel()
            raise
        return [future.result() for future in futures]

    def _one(self, archive: PlannedArchive) -> BuiltArchive:
        path = self._folder / Path(archive_path(archive.number, sealed=self._sealer is not None)).name
        sidecar = path.with_name(f"{path.name}.done")
        done = BuiltArchive.load(sidecar)
        if done is not None and path.exists() and path.stat().st_size == done.size:
            self._progress(sum(member.length for member in archive.members))
            return done
        scratch = self._folder / f"{TEMP}{archive.number}"
        remove_tree(scratch)
        scratch.mkdir()
        try:
            sizes: list[int] = []
            with atomic_file(path) as out:
                if self._sealer is None:
                    write_archive(out, self._members(archive, scratch, sizes))
                else:
                    sealed = self._sealer.wrap(out, archive.number)
                    write_archive(sealed, self._members(archive, scratch, sizes))
                    sealed.close()
        except FormatError as error:
            if isinstance(error, DigestMismatch):
                raise _bad_content(error.place) from None
            raise explain(error, where=f"archive {archive.number}") from None
        finally:
            remove_tree(scratch)
        hasher = BlockHasher(BLOCK)
        with path.open("rb") as source:
            while data := source.read(CHUNK):
                hasher.update(data)
        sha256, blocks = hasher.finish()
        built = BuiltArchive(
            number=archive.number, size=hasher.count, sha256=sha256, blocks=blocks, member_sizes=tuple(sizes)
        )
        built.save(sidecar)
        return built

    def _members(
        self, archive: PlannedArchive, scratch: Path, sizes: list[int]
    ) -> Iterator[tuple[Member, Callable[[], BinaryIO]]]:
        for member in archive.members:
            source: Callable[[], BinaryIO]
            if member.content.coding == "zstd":
                compressed = scratch / "member.zst"
                self._compress(member, compressed)
                size = compressed.stat().st_size
                source = _opener(compressed)
            else:
                size = member.length
                source = self._source_opener(member)
            sizes.append(size)
            yield Member(name=member.name, size=size, mtime_ns=member.content.mtime_ns), source

    def _source_opener(self, member: PlannedMember) -> Callable[[], BinaryIO]:
        return lambda: _MemberSource(self._open(member.content.sha256), member, self._progress)  # type: ignore[return-value]

    def _compress(self, member: PlannedMember, target: Path) -> None:
        zstd = load_zstd()
        options = {
            zstd.CompressionParameter.compression_level: self._level,
            zstd.CompressionParameter.checksum_flag: 1,
            zstd.CompressionParameter.content_size_flag: 1,
        }
        if member.length > 8 << 20:
            options[zstd.CompressionParameter.nb_workers] = WORKERS
        compressor = zstd.ZstdCompressor(options=options)
        compressor.set_pledged_input_size(member.length)
        source = _MemberSource(self._open(member.content.sha256), member, self._progress)
        with target.open("wb") as out:
            try:
                while data := source.read(CHUNK):
                    out.write(compressor.compress(data))
                out.write(compressor.flush())
            finally:
                source.close()

    def _check_whole(self, member: PlannedMember) -> None:
        # A content cut in parts goes into several archives at once, so its digest is checked beside them.
        with self._open(member.content.sha256) as raw:
            source = HashingReader(raw)
            while source.read(CHUNK):
                pass
        if source.count != member.content.size or source.hexdigest() != member.content.sha256:
            raise _bad_content(member.content.path)


def _opener(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def _cut_contents(archives: Sequence[PlannedArchive]) -> list[PlannedMember]:
    return [
        member
        for archive in archives
        for member in archive.members
        if member.offset == 0 and member.length < member.content.size
    ]


def _bad_content(path: str) -> CourierError:
    return Damaged(
        f"package store: {path}: content is not what its listing says",
        hint="courier package verify names what is damaged; remove that package and add it again",
    )


class _MemberSource:
    """The bytes of one member out of a stored content: counted, and hashed where it is a whole content."""

    def __init__(self, raw: BinaryIO, member: PlannedMember, progress: Callable[[int], None]) -> None:
        self._raw = raw
        self._member = member
        self._progress = progress
        self._left = member.length
        self._source = HashingReader(raw)
        raw.seek(member.offset)

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; at the end the content must have been the right one."""
        wanted = self._left if size < 0 else min(size, self._left)
        if wanted == 0:
            return b""
        data = self._source.read(wanted)
        self._left -= len(data)
        self._progress(len(data))
        content = self._member.content
        if not data or (self._left == 0 and self._member.length == content.size):
            self._source.verify(size=content.size, sha256=content.sha256, place=content.path)
        return data

    def close(self) -> None:
        """Close the content."""
        self._raw.close()

    def __enter__(self) -> _MemberSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_zstd() -> Any:
    """The zstd module: the standard library's from Python 3.14 on, its backport before."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ModuleNotFoundError:
        from backports import zstd
    return zstd


def member_records(archive: PlannedArchive, sizes: Sequence[int]) -> list[MemberRecord]:
    """What the contents say of an archive whose members were stored with these ``sizes``."""
    return [
        MemberRecord(
            name=member.name,
            size=size,
            sha256=member.content.sha256,
            of=member.content.size,
            offset=member.offset,
            length=member.length,
            coding=member.content.coding,
        )
        for member, size in zip(archive.members, sizes, strict=True)
    ]


def looks_compressible(source: BinaryIO, size: int) -> bool:
    """Look at a content: whether zstd would take a tenth or more off it, judged by samples across it.

    Content under 4 KiB is not worth a member of its own kind.
    """
    if size < 4096:
        return False
    zstd = load_zstd()
    sample = 64 << 10
    places = range(0, size, max(sample, size // 16))
    taken = compressed = 0
    for place in places:
        source.seek(place)
        data = source.read(sample)
        taken += len(data)
        compressed += len(zstd.compress(data, 1))
    return compressed < taken * 0.9
