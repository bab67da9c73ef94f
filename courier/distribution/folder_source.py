"""A folder or a mounted share as a source of a download: a point's folder as it stands, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from urllib.parse import unquote, urlsplit

from courier.distribution.folder import PointFolder
from courier.distribution.source import GoneError, SourceFaultError, WrongBytesError
from courier.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderSource:
    """The folder of a point, or a copy of it."""

    name: str
    folder: Path

    def link(self) -> FolderLink:
        """See `courier.distribution.source.Source.link`."""
        try:
            return FolderLink(PointFolder(self.folder))
        except OSError as error:
            raise SourceFaultError(f"it is not there ({error.strerror})") from None


def folder_source(text: str) -> FolderSource:
    """The source that a path or a ``file://`` URL names. Raises `UsageError`."""
    if not text.startswith("file:"):
        return FolderSource(name=text, folder=Path(text).absolute())
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise UsageError(f"{text} is no folder of this computer", hint="write it like file:///mnt/share/point")
    return FolderSource(name=text, folder=Path(unquote(parts.path)))


class FolderPart:
    """See `courier.distribution.source.Part`."""

    def __init__(self, file: BufferedReader, begin: int, end: int) -> None:
        self._file = file
        self.begin, self.end = begin, end

    def read_into(self, view: memoryview) -> None:
        """See `courier.distribution.source.Part.read_into`."""
        try:
            count = self._file.readinto(view)
        except OSError as error:
            raise _fault(error) from None
        if count != len(view):
            raise WrongBytesError("its file is shorter than it should be")


class FolderLink:
    """See `courier.distribution.source.Link`."""

    def __init__(self, folder: PointFolder) -> None:
        self._folder = folder
        self._file: BufferedReader | None = None
        self._body = bytearray()

    def close(self) -> None:
        """See `courier.distribution.source.Link.close`."""
        self.finish()
        self._folder.close()

    def finish(self) -> None:
        """Close the file of a part."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def fetch(self, path: str, most: int) -> Iterator[memoryview]:
        """See `courier.distribution.source.Link.fetch`."""
        piece = memoryview(bytearray(min(most + 1, 256 << 10)))
        left = most + 1
        with self._open(path) as file:
            while left:
                try:
                    count = file.readinto(piece[:left])
                except OSError as error:
                    raise _fault(error) from None
                if not count:
                    return
                left -= count
                yield piece[:count]

    def part(self, path: str, size: int, begin: int, end: int) -> FolderPart:
        """See `courier.distribution.source.Link.part`."""
        self.finish()
        self._file = self._open(path)
        self._file.seek(begin)
        return FolderPart(self._file, begin, end)

    def small(self, files: Iterator[tuple[str, int]]) -> Iterator[memoryview | GoneError]:
        """See `courier.distribution.source.Link.small`."""
        for path, size in files:
            try:
                file = self._open(path)
            except GoneError as error:
                yield error
                continue
            with file:
                if len(self._body) < size + 1:
                    self._body = bytearray(size + 1)
                view = memoryview(self._body)
                try:
                    count = file.readinto(view[: size + 1])
                except OSError as error:
                    raise _fault(error) from None
            if count != size:
                raise WrongBytesError(f"its {path} has not {size:,} bytes")
            yield view[:size]

    def _open(self, path: str) -> BufferedReader:
        try:
            return self._folder.open(path)
        except FileNotFoundError:
            raise GoneError(f"it does not have {path}") from None
        except OSError as error:
            raise _fault(error) from None


def _fault(error: OSError) -> SourceFaultError:
    return SourceFaultError(f"it cannot be read ({error.strerror})")
