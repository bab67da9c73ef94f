"""A folder that mirrors a tape, as a `formats.tape` drive.

The folder holds one file for every run of blocks between two tape marks, with the same bytes, named by
`formats.tape.names`. It can be copied to an LTFS volume as it is, or written to a tape file by file with ``dd`` and
``mt`` (``docs/tape.md``). Reading never writes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from courier.files import flush_files, sync_folder
from formats.digest import sha256_hex
from formats.errors import FormatError, UnexpectedError, UnreadableError
from formats.tape import BLOCK, EndOfTapeError
from formats.tape.index import INDEX_PATH
from formats.tape.labels import MAX_RECORDS, FileLabel, file_records, find_file_label, find_volume_label
from formats.tape.names import bears_tape_name, data_name, label_name, path_of, run_kind, run_number
from formats.tape.records import RECORD

SUMS = "SHA256SUMS"
"""The only file of the folder that is not on the tape: ``sha256sum -c SHA256SUMS`` checks a copy of the folder."""


def is_tape_folder(path: Path) -> bool:
    """Whether ``path`` is a folder that mirrors a tape, by the names of its files."""
    try:
        with os.scandir(path) as entries:
            return any(bears_tape_name(entry.name) for entry in entries)
    except OSError:
        return False


class FolderDrive(contextlib.AbstractContextManager["FolderDrive"]):
    """A folder used as a tape: one numbered file for each run of blocks. A context manager.

    With ``writing`` the folder is made and filled; files that are there already are not overwritten
    (`FileExistsError`). The first `rewind` after writing flushes all files to the disk and adds `SUMS`. When reading, a
    run whose file is missing counts as one unreadable place. Header labels that are missing or garbled are restored
    from the trailer labels, or else from the file's name, and ``findings`` says so, a line each. Raises
    `UnexpectedError` for a folder with two files of one number.
    """

    def __init__(self, folder: Path, *, writing: bool = False) -> None:
        self.findings: list[str] = []
        self._folder = folder
        self._writing = writing
        self._file: BinaryIO | None = None
        self._number = 0
        self._offset = 0
        self._queue: deque[bytes | UnreadableError] | None = None
        self._records: list[bytes] = []
        self._sums: dict[Path, str | None] = {}
        self._runs: dict[int, Path] = {}
        if writing:
            folder.mkdir(exist_ok=True)
        else:
            self._runs = self._list()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file of the current run."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _list(self) -> dict[int, Path]:
        runs: dict[int, Path] = {}
        for path in sorted(self._folder.iterdir()):
            number = run_number(path.name)
            if number is None or path.is_symlink() or not path.is_file():
                continue
            if number in runs:
                raise UnexpectedError(f"{runs[number].name} and {path.name} have one number", place=str(self._folder))
            runs[number] = path
        return runs

    def write_block(self, data: bytes | memoryview) -> bool:
        """See `Drive.write_block`; never warns."""
        if not self._writing:
            raise io.UnsupportedOperation(f"{self._folder} was opened to read")
        if self._file is None:
            if run_kind(self._number) != "data":
                self._records = []
                self._start(label_name(self._number, bytes(data)))
            else:
                self._start(data_name(self._number, self._records))
        if run_kind(self._number) != "data":
            self._records.append(bytes(data))
        self._file.write(data)  # type: ignore[union-attr]  # opened above
        return False

    def _start(self, name: str) -> None:
        path = self._folder / name
        self._file = path.open("xb")
        self._sums[path] = None

    def write_mark(self, count: int = 1) -> None:
        """See `Drive.write_mark`."""
        if not self._writing:
            raise io.UnsupportedOperation(f"{self._folder} was opened to read")
        for _ in range(count):
            if self._file is None and run_kind(self._number) == "data":
                self._start(data_name(self._number, self._records))
            if self._file is not None:
                self.close()
                self._sum()
            self._number += 1

    def _sum(self) -> None:
        """Note the digest of the run that was just closed: computed for labels, taken from the labels for data."""
        if run_kind(self._number) == "data":
            return
        paths = list(self._sums)
        self._sums[paths[-1]] = sha256_hex(b"".join(self._records))
        if run_kind(self._number) == "trailer":
            with contextlib.suppress(FormatError):
                label = find_file_label(self._records)
                if label.offset == 0:
                    self._sums[paths[-2]] = label.sha256

    def rewind(self) -> None:
        """See `Drive.rewind`."""
        self.close()
        if self._sums:
            lines = [f"{known or _digest(path)}  {path.name}\n" for path, known in self._sums.items()]
            sums = self._folder / SUMS
            with sums.open("xb") as out:
                out.write("".join(lines).encode())
            flush_files([*self._sums, sums])
            sync_folder(self._folder)
            self._sums = {}
            self._runs = self._list()
        self._number, self._offset, self._queue = 0, 0, None

    def read_block(self, limit: int) -> bytes | None:
        """See `Drive.read_block`. Data come in blocks of ``limit`` bytes, whatever they are on a tape."""
        last = max(self._runs, default=-1)
        if self._number > last:
            if self._number == last + 1 and run_kind(last) == "trailer":
                self._number += 1  # the second mark of the two that end a tape
                return None
            raise EndOfTapeError("the folder has no further files", place=str(self._folder))
        if self._queue is None:
            self._queue = self._open_run()
        if self._queue:
            item = self._queue.popleft()
            if isinstance(item, UnreadableError):
                raise item
            return item
        if self._file is not None and (data := self._read_data(self._file, limit)):
            return data
        self.skip_run()
        return None

    def _open_run(self) -> deque[bytes | UnreadableError]:
        """Begin to read a run; return the records of labels, and nothing for data, whose file is then open."""
        path = self._runs.get(self._number)
        kind = run_kind(self._number)
        records: list[bytes] = []
        problem = None
        try:
            if path is None:
                raise FileNotFoundError(errno.ENOENT, "the file is missing")
            if kind == "data":
                self._file = path.open("rb", buffering=0)
                self._offset = 0
            else:
                records = _read_records(path)
                if not records:
                    raise OSError(errno.EIO, "the file is empty, though a tape has labels there")
        except OSError as error:
            problem = UnreadableError(error.strerror or str(error), place=f"{self._folder}, run {self._number:05d}")
        if kind == "header":
            records = self._restored(records)
        return deque(records) if records or problem is None else deque([problem])

    def _restored(self, records: list[bytes]) -> list[bytes]:
        """Return header labels, restored where they are missing or garbled and it is known what they said."""
        with contextlib.suppress(FormatError):
            find_file_label(records)
            return records
        instead = self._lost_label(records)
        if instead is None:
            return records
        self.findings.append(
            f"labels of run {self._number:05d} are lost; other labels or the file's name say {instead.path}"
        )
        return [*(record for record in records if record[:3] in (b"VOL", b"UVL")), *file_records(instead)]

    def _lost_label(self, records: list[bytes]) -> FileLabel | None:
        """Return what garbled header labels must have said; None where that is not known."""
        trailer = self._runs.get(self._number + 2)
        with contextlib.suppress(OSError, FormatError):
            if trailer is not None:
                return replace(find_file_label(_read_records(trailer)), kind="HDR", blocks=0, sha256="")
        with contextlib.suppress(FormatError):
            if find_volume_label(records).reel > 1:
                return None  # the file may go on from the reel before, at an offset that its name does not tell
        data = self._runs.get(self._number + 1)
        path = path_of(data.name) if data else None
        if data is None or path is None:
            return None
        return FileLabel(
            kind="HDR",
            number=self._number // 3 + 1,
            path=path,
            size=data.stat().st_size,
            block_size=BLOCK,
            set_id="000000",
            date=" 70001",
            is_index=path == INDEX_PATH,
        )

    def _read_data(self, file: BinaryIO, limit: int) -> bytes:
        """Read ``limit`` bytes, fewer only at the end of the file."""
        pieces = []
        try:
            while limit and (data := file.read(limit)):
                pieces.append(data)
                limit -= len(data)
                self._offset += len(data)
        except OSError as error:
            place = self._offset
            self._offset += limit
            # Past its end the file may answer in any way: the run is over there.
            if self._offset >= os.fstat(file.fileno()).st_size:
                self.close()
            else:
                file.seek(self._offset)
            raise UnreadableError(error.strerror or str(error), place=f"run {self._number:05d}, byte {place}") from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip_run(self) -> None:
        """See `Drive.skip_run`."""
        self.close()
        if self._number > max(self._runs, default=-1):
            raise EndOfTapeError("the folder has no further files", place=str(self._folder))
        self._number += 1
        self._queue = None


def _read_records(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        data = file.read(MAX_RECORDS * RECORD)
    return [data[start : start + RECORD] for start in range(0, len(data), RECORD)]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
