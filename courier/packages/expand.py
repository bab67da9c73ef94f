"""Archives of other tools as the source of a package: their members become the files of the package.

7z (also split into ``.7z.001``, ``.7z.002``, ...), ZIP and tar (plain, or packed by gzip, bzip2, xz or zstd). Members
go straight into the store's staging; nothing is unpacked beside it, and an archive that lies leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from courier.errors import CourierError, NotFoundError, UsageError, explain
from courier.site.store.content_store import IncomingContent, Staging, StoredContent
from formats.archive.foreign_7z import ForeignArchive
from formats.archive.foreign_member import MAX_RATIO, ForeignMember, Kind, Sink
from formats.archive.foreign_tar import ForeignTar
from formats.archive.foreign_zip import ForeignZip
from formats.archive.header import SIGNATURE
from formats.documents.listing import EMPTY, Entry, FileEntry, FolderEntry, LinkEntry, path_key
from formats.errors import FormatError, TooLargeError
from formats.names import check_link
from formats.streams import JoinedFiles

ARCHIVE_PASSWORD = "COURIER_ARCHIVE_PASSWORD"
"""Environment variable of the password of an encrypted archive."""
_NOTHING = StoredContent(sha256=EMPTY, size=0)
_HINT = "unpack it with the tool that made it, and add the folder; or ask for the archive again"


class ArchiveSource(AbstractContextManager["ArchiveSource"]):
    """An archive whose members are to become the files of a package. A context manager; closing drops it.

    ``entries`` counts its members, ``bytes`` the content of its files.
    """

    def __init__(self, path: Path, ask: Callable[[], str]) -> None:
        """Open and survey the archive at ``path``; ``ask`` gives the password of an encrypted one.

        Raises `NotFoundError`, `UsageError` for what is no archive, and `RefusedError` or `DamagedError` for one that
        is damaged, asks for too much, or holds what no package takes.
        """
        self._path = path
        self._files = ExitStack()
        try:
            source = self._files.enter_context(_open(path))
            self._archive, members = self._survey(source, ask)
            self._default_ns = path.stat().st_mtime_ns
            self.entries = len(members)
            self.bytes = sum(member.size for member in members if member.kind is Kind.FILE)
            packed = source.seek(0, 2)
            if self.bytes > MAX_RATIO * packed:
                raise TooLargeError(f"{self.bytes:,} bytes of content in an archive of {packed:,}")
        except FormatError as error:
            self.close()
            raise self._explained(error) from None
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive."""
        self._files.close()

    def _survey(
        self, source: BinaryIO, ask: Callable[[], str]
    ) -> tuple[ForeignArchive | ForeignZip | ForeignTar, list[ForeignMember]]:
        """The archive and its members; a tar tells them only when it is read, so it is read once for that."""
        begin = source.read(6)
        if begin == SIGNATURE:
            seven = ForeignArchive(source, password=ask)
            return seven, list(seven.members)
        if begin[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            zipped = ForeignZip(source, password=ask)
            return zipped, list(zipped.members)
        tar = ForeignTar(source)
        try:
            return tar, tar.read(lambda _: _Nowhere())
        except FormatError as error:
            if PurePosixPath(self._path.name).suffix not in (".tar", ".tgz", ".tbz", ".txz") and ".tar." not in (
                self._path.name
            ):
                raise UsageError(
                    f"{self._path} is no 7z, ZIP or tar archive",
                    hint="leave --expand out to add the file as it is",
                ) from None
            raise error

    def _explained(self, error: FormatError) -> CourierError:
        return explain(error, where=str(self._path), hint=_HINT)

    def read(self, staging: Staging, progress: Callable[[int], None]) -> Iterator[Entry]:
        """Stage the content of every file; yield the entries of the package's listing, in its order.

        Folders that are not members of their own get the archive's time. ``progress`` is told the bytes of content.
        Raises `RefusedError` or `DamagedError`.
        """
        staged: dict[str, StoredContent] = {}
        try:
            members = self._archive.read(lambda member: _Staged(member.path, staging.begin(), staged, progress))
            entries = {member.path: self._entry(member, staged) for member in members}
        except FormatError as error:
            raise self._explained(error) from None
        for path in list(entries):
            for parent in list(PurePosixPath(path).parents)[:-1]:
                entries.setdefault(str(parent), FolderEntry(path=str(parent), mtime_ns=self._default_ns))
        yield from (entries[path] for path in sorted(entries, key=path_key))

    def _entry(self, member: ForeignMember, staged: dict[str, StoredContent]) -> Entry:
        mtime_ns = self._default_ns if member.mtime_ns is None else member.mtime_ns
        if member.kind is Kind.FOLDER:
            return FolderEntry(path=member.path, mtime_ns=mtime_ns)
        if member.kind is Kind.LINK:
            return LinkEntry(path=member.path, target=check_link(member.path, member.target), mtime_ns=mtime_ns)
        content = staged.get(member.target if member.kind is Kind.SAME else member.path, _NOTHING)
        executable = bool((member.mode or 0) & 0o100)
        return FileEntry(
            path=member.path, size=content.size, sha256=content.sha256, mtime_ns=mtime_ns, executable=executable
        )


class _Nowhere(Sink):
    """Bytes that are only counted by who writes them."""

    def write(self, data: bytes, /) -> None:
        pass

    def close(self) -> None:
        pass


class _Staged(Sink):
    """The content of one member on its way into the store."""

    def __init__(
        self, path: str, incoming: IncomingContent, staged: dict[str, StoredContent], progress: Callable[[int], None]
    ) -> None:
        self._path = path
        self._incoming = incoming
        self._staged = staged
        self._progress = progress

    def write(self, data: bytes, /) -> None:
        self._incoming.append([data])
        self._progress(len(data))

    def close(self) -> None:
        self._staged[self._path] = self._incoming.stage()


def _open(path: Path) -> BinaryIO:
    """The archive at ``path``, or the parts that it is the first of, as one file."""
    if not path.is_file():
        raise NotFoundError(f"{path} is no file", hint="name the archive; of a split one its first part, NAME.7z.001")
    if path.suffix != ".001":
        return path.open("rb")
    parts: list[Path] = []
    while (part := path.with_suffix(f".{len(parts) + 1:03d}")).is_file():
        parts.append(part)
    return cast(BinaryIO, JoinedFiles([(part.stat().st_size, partial(_open_part, part)) for part in parts]))


def _open_part(part: Path) -> BinaryIO:
    return part.open("rb")
