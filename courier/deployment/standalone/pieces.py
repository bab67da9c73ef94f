"""The pieces of a set as they go onto the discs: encrypted where there is a passphrase, and their digests.

They are signed before they are written, so each is made twice. An encrypted piece is the same bytes both times, because
its keys are derived from a seed that exists in the memory of this run only.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.deployment.standalone.disc_plan import DiscPlan, PlannedPiece
from courier.deployment.standalone.point_contents import PointFile
from courier.error_codes import Code
from courier.errors import DamagedError
from courier.media.checked_stream import SourceFile
from courier.progress import Progress
from formats.age import EncryptedView, Identity, encrypted_size
from formats.blocks import DIGEST, BlockHasher
from formats.digest import CHUNK
from formats.documents.standalone import POINT, ContentFile, Piece, piece_path
from formats.streams import Section, View


@dataclass(frozen=True, kw_only=True, slots=True)
class SetKey:
    """The key of an encrypted set: its identity, which the passphrase opens, and the seed of this run."""

    identity: Identity
    seed: bytes

    @classmethod
    def generate(cls) -> SetKey:
        """A new one."""
        return cls(identity=Identity.generate(), seed=secrets.token_bytes(32))


@dataclass(frozen=True, kw_only=True, slots=True)
class MadePieces:
    """The pieces and files as set list and contents have them, and the block table, which lies in a file."""

    pieces: tuple[Piece, ...]
    files: tuple[ContentFile, ...]
    table: Path
    sources: tuple[SourceFile, ...]


def make_pieces(
    files: Sequence[PointFile], plan: DiscPlan, *, key: SetKey | None, table: Path, progress: Progress
) -> MadePieces:
    """Find the digests of all pieces of ``plan``, and write their block table to ``table``.

    Raises `DamagedError` where a content of the store is not what it is called.
    """
    whole = {number for number in range(len(files)) if sum(1 for one in plan.pieces if one.file == number) == 1}
    pieces: list[Piece] = []
    sources: list[SourceFile] = []
    of_file: dict[int, list[int]] = {}
    total = sum(one.size for one in plan.pieces if key is not None or one.file not in whole)
    progress.begin("digests", total)
    with table.open("w+b") as out:
        plain = _PlainDigests()
        for number, planned in enumerate(plan.pieces, 1):
            file = files[planned.file]
            opener = _opener(file, planned, number, key)
            if key is None and planned.file in whole:
                path, sha256, size = POINT + file.path, file.sha256, file.size
                digests = file.blocks()
            else:
                path = piece_path(number, encrypted=key is not None)
                size = planned.size if key is None else encrypted_size(planned.size, 1)
                watched = _opener(file, planned, number, key, plain.watching(planned))
                sha256, digests = _digests(watched, progress)
                plain.check(file, planned)
            start = out.tell()
            out.write(digests)
            pieces.append(Piece(number=number, disc=planned.disc, path=path, size=size, sha256=sha256))
            sources.append(SourceFile(path=path, size=size, sha256=sha256, open=opener, is_good=_judge(table, start)))
            of_file.setdefault(planned.file, []).append(number)
    made = tuple(
        ContentFile(path=file.path, size=file.size, sha256=file.sha256, pieces=tuple(of_file[number]))
        for number, file in enumerate(files)
    )
    return MadePieces(pieces=tuple(pieces), files=made, table=table, sources=tuple(sources))


class _Watched(View):
    """The plain bytes of a piece; what is read of them in order is told to ``seen``, once."""

    def __init__(self, source: BinaryIO, size: int, seen: Callable[[memoryview], object]) -> None:
        super().__init__(size)
        self._source, self._seen, self._told = source, seen, 0

    def _fill(self, into: memoryview) -> int:
        self._source.seek(self._position)
        data = self._source.read(min(len(into), self.size - self._position))
        into[: len(data)] = data
        if self._position == self._told:
            self._seen(into[: len(data)])
            self._told += len(data)
        return len(data)

    def close(self) -> None:
        """Close the file of the content."""
        self._source.close()
        super().close()


class _PlainDigests:
    """Compares files with their digests while their pieces are read in order, each once."""

    def __init__(self) -> None:
        self._file = -1
        self._digest = hashlib.sha256()

    def watching(self, planned: PlannedPiece) -> Callable[[BinaryIO], BinaryIO]:
        """What wraps the plain bytes of a piece that is read next."""
        if planned.file != self._file:
            self._file, self._digest = planned.file, hashlib.sha256()
        return lambda plain: _Watched(plain, planned.size, self._digest.update)

    def check(self, file: PointFile, planned: PlannedPiece) -> None:
        """Raise `DamagedError` where the piece that was read ends its file, and that is not what it is called."""
        if planned.offset + planned.size == file.size and self._digest.hexdigest() != file.sha256:
            raise DamagedError(
                f"{file.path}: the store holds other bytes than its digest says",
                hint="courier package verify tells which package it is; add or receive it again",
                code=Code.DIGEST_MISMATCH,
            )


def _digests(opener: Callable[[], BinaryIO], progress: Progress) -> tuple[str, bytes]:
    hasher = BlockHasher()
    with opener() as source:
        while data := source.read(CHUNK):
            hasher.update(data)
            progress(len(data))
    return hasher.finish()


def _opener(
    file: PointFile,
    planned: PlannedPiece,
    number: int,
    key: SetKey | None,
    watching: Callable[[BinaryIO], BinaryIO] = lambda plain: plain,
) -> Callable[[], BinaryIO]:
    """What opens a piece as it goes onto its disc; its plain bytes are read through ``watching``."""

    def plain() -> BinaryIO:
        return watching(Section(file.open(), planned.offset, planned.size))

    if key is None:
        return plain
    context = f"piece {number} {file.sha256} {planned.offset} {planned.size}".encode()
    return lambda: EncryptedView(plain(), planned.size, [key.identity.recipient], seed=key.seed, context=context)


def _judge(table: Path, start: int) -> Callable[[int, bytes], bool]:
    def is_good(block: int, data: bytes) -> bool:
        with table.open("rb") as source:
            source.seek(start + block * DIGEST)
            return source.read(DIGEST) == hashlib.sha256(data).digest()

    return is_good
