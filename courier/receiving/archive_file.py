"""An archive that is open for an import: its structure, and the content of its members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from courier.parcel.encryption import opened
from formats.age import Identity
from formats.archive import ArchiveReader, Listed
from formats.blocks import BLOCK
from formats.codecs import CODECS
from formats.documents.contents import MemberRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveFile(AbstractContextManager["ArchiveFile"]):
    """An archive as it lies on its medium or in the spool.

    Of ``checked`` only bytes are read that were compared with the signed block table, now or when the spool took them
    in. ``unchecked`` may give anything. They may be one stream.
    """

    checked: BinaryIO
    unchecked: BinaryIO

    def __exit__(self, *_: object) -> None:
        """Close both."""
        self.checked.close()
        self.unchecked.close()


class ImportedArchive:
    """The members of an archive, for an import that compares every content with its signed SHA-256.

    What is parsed or expanded comes from the ``checked`` stream of ``file``. A large member that is stored as it is may
    come from the ``unchecked`` one: the SHA-256 of its content says of every byte what the digests of the archive's
    blocks would, and what differs is given up before anybody can see it. In an encrypted archive each chunk of it is
    authenticated by its own tag before that.

    The CRC-32s of the archive are for those who have nothing stronger, and are not looked at.
    """

    def __init__(self, file: ArchiveFile, identities: Sequence[Identity] | None) -> None:
        """``identities``: what opens the archive; None where it is not encrypted."""
        self._file = file
        self._identities = identities
        self._plain = self._decrypted(file.checked)
        self._reader = ArchiveReader(self._plain)
        self._content: BinaryIO | None = None

    def _decrypted(self, source: BinaryIO) -> BinaryIO:
        return source if self._identities is None else opened(source, self._identities)

    def expect(self, members: Sequence[MemberRecord]) -> None:
        """Raise `UnexpectedError` unless the archive holds exactly these members, in this order."""
        self._reader.expect([_listed(member) for member in members])

    def open(self, position: int, member: MemberRecord) -> BinaryIO:
        """The member at ``position``, to be read once, whose whole content the caller compares with its SHA-256."""
        large = CODECS[member.coding].as_is and member.length > BLOCK
        return self._reader.open(position, crc=False, through=self._unchecked() if large else None)

    def _unchecked(self) -> BinaryIO:
        if self._content is None:
            same = self._file.unchecked is self._file.checked
            self._content = self._plain if same else self._decrypted(self._file.unchecked)
        return self._content


def _listed(member: MemberRecord) -> Listed:
    """What the archive must say of a member; one of a solid group has the length that it is unpacked to."""
    if CODECS[member.coding].solid:
        return member.name, member.length, member.size
    return member.name, member.size


OpenArchive = Callable[[int], ArchiveFile]
"""What opens an archive by its index."""


def one_stream(open_file: Callable[[int], BinaryIO]) -> OpenArchive:
    """What opens archives of which every byte was compared when it was written, as in the spool."""

    def open_archive(index: int) -> ArchiveFile:
        source = open_file(index)
        return ArchiveFile(checked=source, unchecked=source)

    return open_archive
