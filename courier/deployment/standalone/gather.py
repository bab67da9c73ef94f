"""Gathering the files of a set from its discs, one disc after the other, into the folder of a distribution point.

A disc is known by its volume ID, and verified when it is put in: its set list must be that of the first disc. Every
block is compared with the signed block table before it is written, and every file with its digest once it is whole.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from courier.deployment.standalone.open_disc import OpenDisc, open_disc
from courier.deployment.standalone.verify import OpenContents, SetList, disc_number, read_bound, read_document
from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, RefusedError
from courier.files import TEMP, make_folder, naming_space, require_space
from formats.age import open_encrypted
from formats.blocks import BLOCK, BlockTable
from formats.digest import CHUNK
from formats.documents.standalone import BLOCKS, MAX_BLOCKS, SET, Piece, StandaloneSet
from formats.envelope import MAX_ENVELOPE
from formats.errors import UnreadableError
from formats.streams import View


class Operator(Protocol):
    """Who sits at the computer."""

    def say(self, text: str) -> None:
        """Show a line."""

    def ask(self, question: str) -> str:
        """Show a question, and wait for a line; empty where Enter alone was pressed."""


PAUSE = 1.0
"""Seconds between two looks at the drives."""
Places = Callable[[], Sequence[Path]]
"""The devices or images in which discs may be, as they are now."""


@dataclass(kw_only=True)
class DiscChanger:
    """Finds the discs of a set in the drives, and asks for what is not there.

    ``taken``: discs that were read. ``patience``: seconds for which drives are tried again that say they have no
    medium, or none that can be read: an optical drive needs some to look at a new disc.
    """

    listed: SetList
    places: Places
    patience: float
    operator: Operator
    taken: set[int] = field(default_factory=set)

    @property
    def document(self) -> StandaloneSet:
        """The set list."""
        return self.listed.document

    @contextmanager
    def disc(self, number: int) -> Iterator[OpenDisc]:
        """Disc ``number``, verified as one of the set; asked for until it is in a drive."""
        path = self._find(number, 0)
        while path is None:
            self.operator.ask(
                f"Put in {self.document.disc_name(number)} (disc {number} of {self.document.discs}), then press Enter: "
            )
            path = self._find(number, self.patience)
        with open_disc(path) as disc:
            self._check(disc, number)
            yield disc

    def _find(self, number: int, patience: float) -> Path | None:
        """Where the disc is, within ``patience`` seconds; says what else is there in its place."""
        end = time.monotonic() + patience
        while True:
            path, others, unready = self._look(number)
            if path is not None:
                return path
            if others or not unready or time.monotonic() >= end:
                for text in others:
                    self.operator.say(text)
                return None
            time.sleep(PAUSE)

    def _look(self, number: int) -> tuple[Path | None, list[str], bool]:
        """Where the disc is, which others are there, in words, and whether a drive is not ready yet."""
        unready = False
        others = []
        for path in self.places():
            try:
                with open_disc(path) as disc:
                    self._check(disc, number)
                    return path, [], False
            except OSError:
                unready = True
            except CourierError as error:
                if error.code != Code.NOT_A_VOLUME:
                    others.append(error.message)
        return None, others, unready

    def _check(self, disc: OpenDisc, number: int) -> None:
        """Raise `RefusedError` unless ``disc`` is disc ``number`` of the set."""
        there = disc_number(disc, self.document)
        wanted = self.document.disc_name(number)
        if there is None or read_document(disc, SET, MAX_ENVELOPE) != self.listed.envelope:
            name = disc.volume or "a disc without a name"
            raise RefusedError(f"{disc.name} holds {name}, which is not of this set", hint=f"put in {wanted}")
        if there != number:
            already = ", which was read already" if there in self.taken else ""
            raise RefusedError(f"{disc.name} holds {disc.volume}{already}", hint=f"put in {wanted}")


class _CheckedPiece(View):
    """A piece of a disc; a block that is not what was signed raises `DamagedError` in place of its bytes."""

    def __init__(self, source: BinaryIO, table: BlockTable, index: int, name: str) -> None:
        super().__init__(table.sizes[index])
        self._source, self._table, self._index, self._name = source, table, index, name
        self._block = -1, b""

    def _fill(self, into: memoryview) -> int:
        number, within = divmod(self._position, BLOCK)
        if self._block[0] != number:
            self._source.seek(number * BLOCK)
            data = self._source.read(self._table.length(self._index, number))
            if not self._table.is_good(self._index, number, data):
                raise DamagedError(
                    f"{self._name}: block {number} is damaged",
                    hint="clean the disc, or take another copy of it",
                    code=Code.DIGEST_MISMATCH,
                )
            self._block = number, data
        piece = self._block[1][within : within + len(into)]
        into[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Close the file of the disc."""
        self._source.close()
        super().close()


class Gatherer:
    """Puts the files of a set into a folder, as a distribution point has them. ``told`` is told the bytes written."""

    _PURPOSE = "gathering the discs"

    def __init__(
        self, changer: DiscChanger, opened: OpenContents, folder: Path, *, told: Callable[[int], None]
    ) -> None:
        self._changer, self._identity, self._folder, self._told = changer, opened.identity, folder, told
        self._files = opened.contents.files
        self._owner = {number: file for file in self._files for number in file.pieces}
        self._digest = hashlib.sha256()
        self._begin = 0
        self._table = BlockTable(b"", [])

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self._files)

    def run(self) -> None:
        """Gather all. Raises `NoSpaceError` before the first byte, and where the folder is filled up meanwhile.

        `DamagedError` is raised for a file that is not what was signed though all its blocks are: the set is faulty.
        """
        require_space(make_folder(self._folder), self.size, purpose=self._PURPOSE)
        document = self._changer.document
        with self._changer.disc(1) as disc:
            data = read_bound(disc, BLOCKS, document.blocks, MAX_BLOCKS)
        self._table = BlockTable(data, [piece.size for piece in document.pieces])
        for number in range(1, document.discs + 1):
            pending = list(document.on_disc(number))
            while pending:
                self._read(number, pending)
            self._changer.taken.add(number)

    def _read(self, number: int, pending: list[Piece]) -> None:
        """Read the pieces of a disc, and take those out of ``pending`` that are there; asks after a fault."""
        operator = self._changer.operator
        try:
            with self._changer.disc(number) as disc:
                operator.say(
                    f"{disc.volume} is disc {number} of {self._changer.document.discs} of this set: reading it"
                )
                while pending:
                    self._copy(disc, pending[0])
                    del pending[0]
        except (DamagedError, OSError, UnreadableError) as error:
            operator.say(str(error))
            name = self._changer.document.disc_name(number)
            operator.ask(f"Clean {name} or put in another copy of it, then press Enter to read on: ")

    def _copy(self, disc: OpenDisc, piece: Piece) -> None:
        file = self._owner[piece.number]
        first, last = file.pieces[0] == piece.number, file.pieces[-1] == piece.number
        target = self._folder / file.path
        new = target.with_name(f"{TEMP}{target.name}")
        make_folder(target.parent)
        # Where the piece fails, what it has written is written once more.
        digest = hashlib.sha256() if first else self._digest.copy()
        begin = 0 if first else self._begin
        with self._opened(disc, piece) as source, new.open("wb" if first else "r+b") as out:
            out.seek(begin)
            while data := source.read(CHUNK):
                # A folder that is full is no fault of the disc.
                with naming_space(self._folder, lambda: self.size, purpose=self._PURPOSE):
                    out.write(data)
                digest.update(data)
            with naming_space(self._folder, lambda: self.size, purpose=self._PURPOSE):
                out.flush()
            self._begin = out.tell()
        self._digest = digest
        self._told(self._begin - begin)
        if last:
            if (self._begin, digest.hexdigest()) != (file.size, file.sha256):
                raise RefusedError(
                    f"{file.path}: put together it differs from its digest",
                    hint="the set is faulty: make it anew",
                    code=Code.DIGEST_MISMATCH,
                )
            new.replace(target)

    @contextmanager
    def _opened(self, disc: OpenDisc, piece: Piece) -> Iterator[BinaryIO]:
        """The plain bytes of a piece."""
        name = f"{disc.volume}: {piece.path}"
        try:
            source = disc.open(piece.path)
        except KeyError:
            raise DamagedError(
                f"{name} is missing", hint="take another copy of the disc", code=Code.DIGEST_MISMATCH
            ) from None
        with _CheckedPiece(source, self._table, piece.number - 1, name) as checked:
            if self._identity is None:
                yield checked
            else:
                with open_encrypted(checked, [self._identity]) as plain:
                    yield plain
