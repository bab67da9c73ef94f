"""Restoring captured state: every file of the capture, each verified, below a folder.

It needs no site: a `StatePlace` says where from, and holds the key. A restore that was cut goes on when it is made
again: what is there already with the right bytes is not written again. What is there with other bytes is never lost:
it is kept beside, as ``NAME.before-restore``, and listed.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from courier.deployment.state_manifest import check_manifest, manifest_rows
from courier.deployment.state_objects import Objects
from courier.deployment.state_store import HeldCapture, MigrationFolder, explain_state
from courier.deployment.state_tree import EntryRow, Pieces, RestoredTree
from courier.errors import DamagedError, NotFoundError, StoppedError, UsageError
from courier.files import make_folder, naming_space, path_text, require_space
from courier.niceties import REFUSALS
from courier.progress import SILENT, Progress
from courier.site.clock import now
from formats.age import Identity
from formats.documents.deployment import StatePlace
from formats.documents.state import AnyRow, FileRow, LeftRow, PieceRow, RestoreRecord, ZerosRow
from formats.errors import FormatError, MalformedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What was brought back: the capture ``number`` of the migration, all of its files, verified.

    ``written``: bytes that were not there yet. ``kept_aside``: paths of what stood in the way, as it is called now, of
    ``aside`` in all the first. ``unread``: what the capture could not read, and is not in it. ``lost``: how many owners
    and attributes the system did not take. ``is_recorded``: whether the point could be told.
    """

    migration: str
    number: int
    source: str
    captured_ns: int
    files: int
    bytes: int
    written: int
    aside: int
    kept_aside: tuple[str, ...]
    unread: int
    lost: int
    is_recorded: bool


def restore(
    place: StatePlace,
    root: Path,
    *,
    number: int | None = None,
    progress: Progress = SILENT,
    stop: threading.Event | None = None,
) -> Restored:
    """Bring back what was captured, below ``root``, which is made where it is missing.

    ``number``: of the capture; None for the newest. ``stop``: once it is set, `StoppedError` is raised; the same call
    goes on from there.

    Raises `NotFoundError` where the point is missing or nothing was captured, `RefusedError` where another computer's
    key is needed or a link stands where a folder goes, `DamagedError` for what is missing or altered at the point,
    `NoSpaceError`, and `BusyError` while another command works on the migration.
    """
    if place.identity is None:
        raise UsageError("this policy restores nothing", hint="have the site make a policy that restores")
    if place.migration is None:
        raise _nothing(place)
    folder = MigrationFolder(Path(place.path), place.migration)
    folder.check_there()
    try:
        identity = Identity.from_text(place.identity)
        with folder.working():
            held = chosen_capture(folder, [identity], number)
            if held is None:
                raise _nothing(place)
            restored = restore_capture(folder, held, root, progress=progress, stop=stop)
    except FormatError as error:
        raise explain_state(error, folder.point) from None
    return restored


def check_captured(place: StatePlace) -> None:
    """Raise what `restore` raises where nothing was captured, or it cannot be reached or opened; nothing is written."""
    if place.identity is None or place.migration is None:
        raise _nothing(place)
    folder = MigrationFolder(Path(place.path), place.migration)
    folder.check_there()
    try:
        if not folder.captures([Identity.from_text(place.identity)]):
            raise _nothing(place)
    except FormatError as error:
        raise explain_state(error, folder.point) from None


def _nothing(place: StatePlace) -> NotFoundError:
    return NotFoundError(
        f"nothing of {place.source} was captured for {place.destination} at state migration point {place.point}",
        hint=f"courier state capture {place.source} --from DIR --rules FILE",
    )


def chosen_capture(
    folder: MigrationFolder, identities: list[Identity], number: int | None = None
) -> HeldCapture | None:
    """The newest capture, or the one of that number; None without any. Raises `NotFoundError` and `FormatError`."""
    held = folder.captures(identities)
    if number is None or not held:
        return held[-1] if held else None
    for one in held:
        if one.record.number == number:
            return one
    numbers = ", ".join(str(one.record.number) for one in held)
    raise NotFoundError(f"there is no capture {number}", hint=f"there are: {numbers}")


def restore_capture(
    folder: MigrationFolder,
    held: HeldCapture,
    root: Path,
    *,
    progress: Progress = SILENT,
    stop: threading.Event | None = None,
    told: bool = True,
) -> Restored:
    """Bring back one capture. ``told``: whether the point is told that it was brought back. Raises as `restore` does,
    and `FormatError`."""
    manifest = folder.manifest(held.keys, held.record.number)
    try:
        check_manifest(manifest, held.keys, held.record)
    except FileNotFoundError:
        raise missing(folder, manifest.name) from None
    if root.exists() and not root.is_dir():
        raise UsageError(f"{path_text(root)} is not a folder", hint="name the folder that the state goes into")
    make_folder(root)
    run = _Run(folder, held, stop)
    progress.begin("restoring", held.record.bytes)
    purpose = "restoring the state"
    with naming_space(root, lambda: held.record.bytes, purpose=purpose), RestoredTree(root, run) as tree:
        require_space(root, missing_bytes(tree, manifest_rows(manifest, held.keys)), purpose=purpose)
        for row, pieces in files_of(manifest_rows(manifest, held.keys)):
            run.check_stop()
            tree.take(row, pieces, progress)
        tree.finish()
    return Restored(
        migration=folder.migration,
        number=held.record.number,
        source=held.record.source,
        captured_ns=held.record.captured_ns,
        files=held.record.files,
        bytes=held.record.bytes,
        written=tree.written,
        aside=tree.aside,
        kept_aside=tuple(tree.kept_aside),
        unread=held.record.unread,
        lost=tree.lost,
        is_recorded=told and _record(folder, held),
    )


def _record(folder: MigrationFolder, held: HeldCapture) -> bool:
    record = RestoreRecord(
        migration=folder.migration, number=held.record.number, restored_ns=now(), files=held.record.files
    )
    try:
        folder.note_restored(held.keys, record)
    except OSError as error:
        if error.errno in REFUSALS or error.errno == errno.EROFS:
            return False
        raise
    return True


def missing(folder: MigrationFolder, name: str) -> DamagedError:
    """The error for a file that the capture needs and the point has not."""
    return DamagedError(
        f"state migration point {path_text(folder.point)}: {name} is missing",
        hint="restore the point's folder from a backup; do not wipe the computer that it came from",
    )


class _Run(Pieces):
    """What one run reads with."""

    def __init__(self, folder: MigrationFolder, held: HeldCapture, stop: threading.Event | None) -> None:
        self._folder = folder
        self._objects = Objects(folder.key_folder(held.keys), held.keys)
        self._stop = stop

    def check_stop(self) -> None:
        """Raise `StoppedError` once the run is to stop."""
        if self._stop is not None and self._stop.is_set():
            raise StoppedError("stopped while the state was restored", hint="give the same command again: it goes on")

    def read(self, piece: PieceRow) -> bytes:
        """The bytes of a piece, proved. Raises `FormatError`, and `DamagedError` where it is missing."""
        self.check_stop()
        try:
            content = self._objects.read(piece.digest)
        except FileNotFoundError:
            raise missing(self._folder, f"objects/{piece.digest[:2]}/{piece.digest}") from None
        if len(content) != piece.size:
            raise MalformedError(f"has {len(content)} bytes, not {piece.size}", place=piece.digest)
        return content

    def is_piece(self, data: bytes, piece: PieceRow) -> bool:
        """Whether bytes are those of a piece."""
        return self._objects.digest(data) == piece.digest


def files_of(rows: Iterator[AnyRow]) -> Iterator[tuple[EntryRow, list[PieceRow | ZerosRow]]]:
    """Each entry with the pieces of its content. A file of 1 TB has 40 MB of them, any other less."""
    entry: EntryRow | None = None
    pieces: list[PieceRow | ZerosRow] = []
    for row in rows:
        if isinstance(row, PieceRow | ZerosRow):
            pieces.append(row)
            continue
        if entry is not None:
            yield entry, pieces
        entry, pieces = (None if isinstance(row, LeftRow) else row), []
    if entry is not None:
        yield entry, pieces


def missing_bytes(tree: RestoredTree, rows: Iterator[AnyRow]) -> int:
    """Bytes that are to be written: those of files that are not there with the size that they have."""
    return sum(
        piece.size
        for entry, pieces in files_of(rows)
        if isinstance(entry, FileRow) and not tree.has(entry)
        for piece in pieces
        if isinstance(piece, PieceRow)
    )
