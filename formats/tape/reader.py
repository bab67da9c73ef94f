"""Reads a labelled tape in one pass, in order and never back; damage is noted and passed.

Every tape file is three runs of blocks, each ended by a mark: labels, data, labels. So the place of a run on the tape
says what it is even where its labels are garbled, and the index at the front says which file it belongs to. If that is
lost too, the labels behind the data name the file, but too late for a tape that does not go back: they are kept in
``seen``, which a second pass can be given.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO, cast

from formats.digest import sha256_hex
from formats.errors import FormatError, MalformedError, UnexpectedError, UnreadableError
from formats.tape.drive import BLOCK, Drive, EndOfTapeError
from formats.tape.index import INDEX_PATH, MAX_INDEX, IndexEntry, TapeIndex
from formats.tape.labels import (
    FileLabel,
    VolumeLabel,
    find_volume_label,
    is_label,
)
from formats.tape.runs import LabelRun, read_labels
from formats.tape.stream import Piece, TapeStream


class TapeReader:
    """Gives the payload files of a tape, or of a chain of reels, in the order in which they were written.

    ``next_reel`` is asked for the drive with reel 2, 3, ... when a file continues there. Without it, or when it returns
    None, reading ends with the reel, and the rest of the unfinished file counts as lost. ``known`` are entries of an
    earlier `formats.tape.scan_volume`, for files whose labels are garbled. The attributes are filled in while reading.
    """

    def __init__(
        self,
        drive: Drive,
        *,
        next_reel: Callable[[int], Drive | None] | None = None,
        known: Sequence[IndexEntry] = (),
    ) -> None:
        self.volume: VolumeLabel | None = None
        """The label of the reel in the drive; None if it is garbled."""
        self.index: TapeIndex | None = None
        self.seen: dict[int, IndexEntry] = {}
        """Tape file number -> what labels say of a payload file, with its digest once its trailer has been read."""
        self.findings: list[str] = []
        """What was damaged or out of place, a line each."""
        self.reel = 1
        """The number of the reel in the drive; 1 until a label says otherwise."""
        self.first_section: FileLabel | None = None
        """The section at the start of the first reel given; None if its label is garbled."""
        self.unfinished: FileLabel | None = None
        """The last section, if its file continues on a reel that was not given."""
        self._drive = drive
        self._next_reel = next_reel
        self._known = {entry.number: entry for entry in known}
        self._number = 1  # of the next tape file; 0 if it is unknown
        self._first = 0  # of the first tape file on the first reel; 0 while it is unknown
        self._given: set[int] = set()
        self._block_size = BLOCK
        self._section: FileLabel | None = None  # in whose data the tape is
        self._early_run: LabelRun | None = None  # labels of the next file, read where a trailer was expected
        self._last_trailer: FileLabel | None = None  # the last good trailer
        self._ended = False

    @property
    def continues(self) -> bool:
        """Whether the set continues on a reel that was not given."""
        return self.unfinished is not None

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """Rewind, then give (path, size, stream) of every payload file; read a stream before asking for the next.

        A stream is a `TapeStream`. Files that the index names and the tape does not have come last, with all their
        bytes lost. Raises `EndOfTapeError` for a blank tape, `UnreadableError` for one whose start cannot be read at
        all, `UnknownFormatError` for a labelled tape of another program, `MalformedError` for any other tape, and
        `UnexpectedError` when ``next_reel`` gives a wrong reel.
        """
        self._drive.rewind()
        run = self._begin()
        label = self.first_section = run.file()
        if label is not None:
            self._number = label.number
        elif self.volume is not None and self.volume.reel > 1:
            self._number = 0  # its first file began on a reel that was not given
        self._first = self._number
        while not (run.empty or self._ended):
            if run.foreign or (label is not None and label.kind != "HDR"):
                self._note("data without the labels before them, or labels without their data")
                self._early_run = None if run.foreign else run
                self._trailer(None)
                self._skip_rest()
            else:
                if label is None:
                    self._note(f"the labels before tape file {self._number or '?'} are garbled")
                    label = self._label_by_index()
                yield from self._file(label)
            if self._ended:
                break
            run = self._next_labels()
            label = run.file()
        if run.ended and not self.continues:
            self._note("the recording ends without the double mark")
        yield from self._missing()
        if not (self.volume or self.index or self.seen):
            raise MalformedError("nothing on this tape has a label of this layout")

    def _note(self, text: str) -> None:
        self.findings.append(f"reel {self.reel}: {text}")

    def _begin(self) -> LabelRun:
        """Read the labels at the start of the reel in the drive."""
        run = read_labels(self._drive)
        if run.empty and run.ended:
            raise EndOfTapeError("the tape is blank")
        self.volume = None
        try:
            self.volume = find_volume_label(run.records)
            self.reel = self.volume.reel
        except MalformedError:
            if (run.foreign or not run.unreadable) and not any(map(is_label, run.records)):
                if not run.records and run.unreadable:
                    raise UnreadableError("the start of the tape cannot be read", place="VOL1") from None
                raise MalformedError("not a labelled tape") from None
            self._note("the volume label is garbled or missing")
        self._pass_foreign(run)
        return run

    def _next_labels(self) -> LabelRun:
        """The next run of labels. If it turns out not to be labels, the tape goes on to the next mark."""
        if self._early_run is not None:
            run, self._early_run = self._early_run, None
            return run
        run = read_labels(self._drive)
        self._pass_foreign(run)
        return run

    def _pass_foreign(self, run: LabelRun) -> None:
        if run.foreign:
            run.ended = not self._skip()

    def _skip(self) -> bool:
        """Go past the next mark; return whether there was one."""
        try:
            self._drive.skip_run()
        except EndOfTapeError:
            self._ended = True
        return not self._ended

    def _note_label(self, label: FileLabel) -> None:
        """Keep what a label says of its file, and the number of the tape file that comes next."""
        self._block_size = label.block_size
        self._number = label.number if label.kind == "HDR" else label.number + 1
        self._first = self._first or label.number
        if label.is_index:
            return
        whole = label.sha256 if label.kind == "EOF" else None
        before = self.seen.get(label.number)
        self.seen[label.number] = IndexEntry(
            number=label.number,
            path=label.path,
            size=label.size,
            blocks=-(-label.size // label.block_size),
            sha256=whole or (before.sha256 if before else None),
        )

    def _label_by_index(self) -> FileLabel | None:
        """The label that the next file should have, by ``known`` or the index; None if neither has it."""
        listed = {entry.number: entry for entry in self.index.files} if self.index else {}
        entry = self._known.get(self._number) or listed.get(self._number)
        if self.index and self._number == len(listed) + 2:
            size = len(self.index.encode())
            entry = IndexEntry(number=self._number, path=INDEX_PATH, size=size, blocks=1)
        if entry is None:
            return None
        return FileLabel(
            kind="HDR",
            number=entry.number,
            path=entry.path,
            size=entry.size,
            block_size=self.index.block_size if self.index else self._block_size,
            set_id="",
            date="",
            is_index=entry.number not in listed and entry.number not in self._known,
        )

    def _file(self, head: FileLabel | None) -> Iterator[tuple[str, int, BinaryIO]]:
        """Read one tape file, and give it to the caller if it is payload and its name is known."""
        number = self._number
        if head is None:
            self._pass_unnamed(number)
            return
        if head.set_id:
            self._note_label(head)
        self._section = head
        stream = TapeStream(head.path, head.size, self._pieces(head))
        try:
            if head.is_index:
                self._read_index(stream)
            else:
                self._given.add(head.number)
                yield head.path, head.size, cast(BinaryIO, stream)
        finally:
            stream.close()
        self._skip_rest()
        self._number = head.number + 1

    def _pass_unnamed(self, number: int) -> None:
        """Pass a tape file whose name is unknown. The first one on a tape can only be the index."""
        data = bytearray()
        try:
            while number == 1 and len(data) <= MAX_INDEX and (block := self._drive.read_block(BLOCK)) is not None:
                data += block
        except EndOfTapeError:
            self._ended = True
        except UnreadableError:
            data.clear()
            self._skip()
        else:
            if number != 1 or len(data) > MAX_INDEX:
                self._skip()
        if number == 1:
            self._take_index(bytes(data))
        self._last_trailer = None
        self._trailer(None)
        self._skip_rest()
        label = self._last_trailer
        if number != 1:
            name = f"{label.path}, tape file {label.number}," if label else f"tape file {number or '?'}"
            self._note(f"{name} was passed, because nothing before it names it")
        if label is None and number:
            self._number = number + 1

    def _read_index(self, stream: TapeStream) -> None:
        data = b""
        try:
            data = stream.read() if stream.size <= MAX_INDEX else b""
        except UnreadableError as error:
            self._note(f"the index cannot be read: {error.message}")
            return
        self._last_trailer = None
        self._skip_rest()
        if self._last_trailer and self._last_trailer.sha256 != sha256_hex(data):
            self._note("the index is damaged")
        else:
            self._take_index(data)

    def _take_index(self, data: bytes) -> None:
        try:
            self.index = TapeIndex.parse(data)
        except FormatError as error:
            self._note(f"the index is damaged: {error}")

    def _missing(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """The files that the index names and the tape does not have, unless they may be on another reel."""
        if self.index is None or self.continues or not self._first:
            return
        for entry in self.index.files:
            if entry.number >= self._first and entry.number not in self._given:
                self._note(f"{entry.path} is not on the tape")
                lost = [Piece(start=0, end=entry.size, data=None, reason="not on the tape")] if entry.size else []
                yield entry.path, entry.size, cast(BinaryIO, TapeStream(entry.path, entry.size, iter(lost)))

    def _pieces(self, head: FileLabel) -> Iterator[Piece]:
        """The whole file, over as many reels as are given; the tape is then before the labels of the next file."""
        section: FileLabel | None = head
        covered = 0
        while section is not None:
            if section.offset > covered:
                yield Piece(start=covered, end=section.offset, data=None, reason="on another reel")
                covered = section.offset
            covered, blocks = yield from self._section_pieces(section, covered)
            section = self._trailer(blocks)
        if covered < head.size:
            reason = "on another reel" if self.continues else "the tape has no more of it"
            yield Piece(start=covered, end=head.size, data=None, reason=reason)

    def _section_pieces(self, section: FileLabel, covered: int) -> Generator[Piece, None, tuple[int, int]]:
        """The data of a section, up to its mark; returns the byte of the file reached and the number of blocks.

        Every block but the last has its full length, so a block that is lost or short loses only its own bytes.
        """
        at, blocks = section.offset, 0
        while True:
            data, reason = b"", ""
            try:
                block = self._drive.read_block(section.block_size)
                if block is None:
                    return covered, blocks
                data = block
            except EndOfTapeError:
                self._ended = True
                return covered, blocks
            except UnreadableError as error:
                reason = error.message
            blocks += 1
            end = min(at + section.block_size, section.size)
            good = min(at + len(data), end)
            if covered < good:
                start = max(at, covered)
                covered = good
                yield Piece(start=start, end=good, data=data[start - at : good - at])
            if covered < end:
                start, covered = covered, end
                yield Piece(start=start, end=end, data=None, reason=reason or f"a block has only {len(data)} bytes")
            at = end

    def _skip_rest(self) -> None:
        """Go past the rest of a tape file, on as many reels as are given."""
        while self._section is not None:
            self._skip()
            self._trailer(None)

    def _trailer(self, blocks: int | None) -> FileLabel | None:
        """Read the labels behind data; return the section on the next reel if the file continues there.

        ``blocks`` is the number of blocks read, None if they were not counted.
        """
        self._section = None
        if self._ended:
            return None
        run = self._next_labels()
        label = run.file()
        place = f"tape file {self._number or '?'}"
        if run.empty:
            self._note(f"nothing follows the data of {place}")
            self._ended = True
        elif label is None:
            self._note(f"the labels behind {place} are garbled")
        elif label.kind == "HDR":
            self._note(f"there are no labels behind {place}")
            self._early_run = run
        else:
            if blocks not in (None, label.blocks):
                self._note(f"{label.path}: {blocks} blocks were read, {label.blocks} were written")
            self._note_label(label)
            self._last_trailer = label
            if label.kind == "EOV":
                self._section = self._change_reel(label)
        return self._section

    def _change_reel(self, label: FileLabel) -> FileLabel | None:
        """Change to the next reel, if it is given; return the label of the section at its start."""
        self._ended = True  # unless the right reel is given
        reel = self.reel + 1
        drive = self._next_reel(reel) if self._next_reel is not None else None
        if drive is None:
            self.unfinished = label
            return None
        self._drive, self.reel = drive, reel
        self._drive.rewind()
        try:
            run = self._begin()
        except EndOfTapeError:
            raise UnexpectedError(f"a blank tape instead of reel {reel} of set {label.set_id}") from None
        found = self.volume
        if found is not None and (found.set_id, found.reel) != (label.set_id, reel):
            raise UnexpectedError(
                f"reel {found.reel} of set {found.set_id} instead of reel {reel} of set {label.set_id}"
            )
        head = run.file()
        if head is None:
            self._note(f"the labels of {label.path} are garbled")
            offset = min(label.size, label.offset + label.blocks * label.block_size)
            head = replace(label, kind="HDR", section=label.section + 1, offset=offset, blocks=0, sha256="")
        elif (head.set_id, head.number, head.section) != (label.set_id, label.number, label.section + 1):
            raise UnexpectedError(f"a reel that begins with {head.path}, where {label.path} should continue")
        self._ended = False
        return head
