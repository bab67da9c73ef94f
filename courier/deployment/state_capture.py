"""Capturing the state of a computer: what the rules take goes to the migration's folder at the point, encrypted.

It needs no site: a `StatePlace` says where to, and for whom. A capture that was cut goes on when it is made again: what
is at the point is read, and not written again. What cannot be read is listed with its reason, and makes the capture
partial; a partial capture is none that a computer may be wiped after.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from courier.deployment.shared_files import read_small
from courier.deployment.state_keys import MigrationKeys
from courier.deployment.state_manifest import check_manifest
from courier.deployment.state_objects import Objects, ObjectWriter, no_room
from courier.deployment.state_rules import StateRules
from courier.deployment.state_source import StateSource
from courier.deployment.state_store import LAST_NUMBER, HeldCapture, MigrationFolder, explain_state
from courier.deployment.state_walk import LeftOut, Tally, Walk, open_root, preview
from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, RefusedError, StoppedError, UsageError
from courier.files import atomic_file, free_space, locked, make_folder, naming_space, path_text, sweep, write_atomic
from courier.progress import SILENT, Progress
from courier.site.clock import now
from courier.site.point_places import reserve_bytes
from formats.age import Identity
from formats.documents.deployment import StatePlace
from formats.documents.state import CaptureRecord
from formats.errors import FormatError


@dataclass(frozen=True, kw_only=True, slots=True)
class Captured:
    """A capture that was made. ``number`` counts those of the migration.

    ``bytes``: of all files; ``written``: of those, what was not at the point yet. ``unread``, ``large`` and
    ``special`` count what is not in it, of which ``left`` names the first. ``unmatched``: patterns that named nothing.
    ``not_kept``: how many attributes and the like are not kept, by kind. ``is_new``: False where the point already had
    just this. ``before``: how many files the capture before it has; None where there is none, or none that this client
    can open.
    """

    migration: str
    number: int
    files: int
    bytes: int
    written: int
    unread: int
    large: int
    special: int
    left: tuple[LeftOut, ...]
    unmatched: tuple[str, ...]
    not_kept: Mapping[str, int] = field(default_factory=dict)
    is_new: bool = True
    before: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all that the rules take is in it: only then may the computer be wiped."""
        return self.unread == 0


def capture(
    place: StatePlace,
    root: Path,
    rules: StateRules,
    *,
    work: Path,
    progress: Progress = SILENT,
    stop: threading.Event | None = None,
) -> Captured:
    """Capture what the rules take below ``root``, all verified at the point when this returns.

    ``work``: a private folder of the client, kept from one try to the next; it holds the key that lets a capture go on.
    ``stop``: once it is set, `StoppedError` is raised; the same call goes on from there.

    Raises `RefusedError` for a point that only restores, `NotFoundError` where the point or the migration's place there
    is missing, or where nothing is there that the rules name, `NoSpaceError` where the point has too little room (at
    first, or in the middle), `BusyError` while another command works on the migration, and `DamagedError` for a point
    that does not keep what is written.
    """
    if place.restore_only:
        raise RefusedError(
            f"state migration point {place.point} only restores",
            hint="have the site make a policy for a point that takes captures: courier state point list",
            code=Code.RESTORE_ONLY,
        )
    if place.migration is None or not place.recipients:
        raise UsageError("this policy captures nothing", hint="have the site make a policy that captures")
    folder = MigrationFolder(Path(place.path), place.migration)
    folder.check_reserved()
    make_folder(work)
    with locked(work / f"state-{folder.path.name}.lock"), folder.working():
        try:
            return _Capture(place, folder, root, rules, work=work, progress=progress, stop=stop).run()
        except FormatError as error:
            raise explain_state(error, folder.point) from None


class _Capture:
    """One run of a capture."""

    def __init__(
        self,
        place: StatePlace,
        folder: MigrationFolder,
        root: Path,
        rules: StateRules,
        *,
        work: Path,
        progress: Progress,
        stop: threading.Event | None,
    ) -> None:
        self._place = place
        self._folder = folder
        self._root = root
        self._rules = rules
        self._work = work
        self._progress = progress
        self._stop = stop
        self._tally = Tally()
        self._not_kept: Mapping[str, int] = {}
        self._rows = 0
        self._besides = (folder.point, work)

    def run(self) -> Captured:
        """Make the capture."""
        begun_ns = now()
        estimate = preview(self._root, self._rules, besides=self._besides)
        if not estimate.taken and not estimate.left:
            raise NotFoundError(
                f"{path_text(self._root)} holds nothing that the rules name", hint="check the folder, and the patterns"
            )
        keys = self._keys()
        self._check_room(keys, estimate.bytes)
        self._progress.begin("capturing", estimate.bytes)
        sweep(self._folder.key_folder(keys))
        number = self._folder.next_number()
        if number > LAST_NUMBER:
            raise UsageError("the migration has as many captures as it can", hint="release it, and begin another")
        objects = ObjectWriter(self._folder.key_folder(keys), keys, kept_free=self._kept_free, stop=self._check_stop)
        needed = lambda: estimate.bytes  # noqa: E731
        with naming_space(self._folder.point, needed, purpose="capturing the state"):
            manifest = self._folder.manifest(keys, number)
            digest = self._write(manifest, keys, objects)
            record = CaptureRecord(
                migration=self._folder.migration,
                number=number,
                source=self._place.source,
                destination=self._place.destination,
                begun_ns=begun_ns,
                captured_ns=max(begun_ns, now()),
                manifest=digest,
                rows=self._rows,
                files=self._tally.files,
                bytes=self._tally.bytes,
                unread=self._tally.unread,
                large=self._tally.large,
                special=self._tally.special,
            )
            last = self._last(keys)
            if last is not None and last.record.manifest == record.manifest:
                manifest.unlink()
                return self._captured(last.record, objects, is_new=False, before=None)
            try:
                check_manifest(manifest, keys, record)
            except FormatError as error:
                raise DamagedError(
                    f"{path_text(manifest)}: what was written there reads back differently ({error})",
                    hint="check the disk of the state migration point, then give the same command again",
                ) from None
            self._folder.finish(keys, record)
        before = last.record.files if last is not None else None
        return self._captured(record, objects, is_new=True, before=before)

    def _write(self, manifest: Path, keys: MigrationKeys, objects: ObjectWriter) -> str:
        """Write the manifest, and all objects that it names; return its keyed digest."""
        digest = keys.manifest_digest()
        with (
            open_root(self._root) as tree,
            atomic_file(manifest, readable=True) as out,
            keys.encrypting(out) as encrypted,
        ):

            def write(line: bytes) -> None:
                digest.update(line)
                encrypted.write(line)

            source = StateSource(
                tree,
                write=write,
                put=objects.put,
                work=self._work,
                progress=self._progress,
                check_stop=self._check_stop,
            )
            source.take_all(Walk(tree, self._rules, besides=self._besides))
            objects.finish()
        self._tally, self._rows, self._not_kept = source.tally, source.rows, source.not_kept
        return digest.hexdigest()

    def _captured(self, record: CaptureRecord, objects: ObjectWriter, *, is_new: bool, before: int | None) -> Captured:
        return Captured(
            migration=record.migration,
            number=record.number,
            files=record.files,
            bytes=record.bytes,
            written=objects.written,
            unread=record.unread,
            large=record.large,
            special=record.special,
            left=tuple(self._tally.left),
            unmatched=tuple(self._tally.unmatched),
            not_kept=self._not_kept,
            is_new=is_new,
            before=before,
        )

    def _last(self, keys: MigrationKeys) -> HeldCapture | None:
        """The newest capture, if it was made with these keys."""
        found = self._folder.captures_with(keys)
        newest = found[-1] if found else None
        return newest if newest and newest.record.number == self._folder.next_number() - 1 else None

    # --- before -----------------------------------------------------------------------------------------------------

    def _keys(self) -> MigrationKeys:
        """The keys of an earlier try, if this client has them; else new ones, kept here before anything uses them."""
        kept = self._work / f"state-{self._folder.path.name}.key"
        keys = None
        if kept.exists():
            with contextlib.suppress(FormatError):
                keys = MigrationKeys.of_client(read_small(kept))
        if keys is None or keys.migration != self._folder.migration:
            keys = self._keys_of_own() or MigrationKeys.make(self._folder.migration)
            write_atomic(kept, keys.for_client(), private=True)
        self._folder.keep_keys(keys, self._place.recipients)
        return keys

    def _keys_of_own(self) -> MigrationKeys | None:
        """The newest keys at the point that this computer itself may open, where it captures for itself."""
        if self._place.identity is None:
            return None
        with contextlib.suppress(FormatError):
            identity = Identity.from_text(self._place.identity)
            held = self._folder.captures([identity])
            return held[-1].keys if held else next(iter(self._folder.keys_for([identity])), None)
        return None

    def _kept_free(self) -> int:
        return reserve_bytes(self._place.min_free, self._folder.point)

    def _check_room(self, keys: MigrationKeys, size: int) -> None:
        """Raise `NoSpaceError` unless the point has room for what is not there yet."""
        there = sum(path.stat().st_size for path in Objects(self._folder.key_folder(keys), keys).held())
        needed = max(0, size - there)
        if free_space(self._folder.point) - self._kept_free() < needed:
            raise no_room(self._folder.point, needed, self._kept_free())

    def _check_stop(self) -> None:
        if self._stop is not None and self._stop.is_set():
            raise StoppedError("stopped while the state was captured", hint="give the same command again: it goes on")
