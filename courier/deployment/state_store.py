"""The folder of one migration at a state migration point: keys, objects, manifests and records.

It is named so that the ID of the migration cannot be told from it, and the site makes it when it gives the migration a
place at the point: where it is missing nothing is captured. What is in it (docs/formats.md has each file)::

    reserved                          the place, made by the site
    lock                              held while somebody captures, restores or deletes
    KEYID/key.age                     the migration's identity, for those who may open it
    KEYID/objects/ab/abcd...          pieces of files
    KEYID/000001.manifest.age         what capture 1 holds
    KEYID/000001.record.age           capture 1 is whole: written last
    KEYID/000001.restored.age         capture 1 was brought back

A later capture has the next number, and takes nothing away from an earlier one: all go when the migration is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.deployment.shared_files import check_no_link, make_below, make_lock, read_small
from courier.deployment.state_keys import MigrationKeys, folder_name
from courier.errors import DamagedError, NotFoundError, RefusedError, explain
from courier.files import locked, path_text, write_atomic
from formats.age import Identity
from formats.documents.deployment import MigrationId
from formats.documents.state import CaptureRecord, RestoreRecord
from formats.errors import FormatError, MalformedError, NotForUsError
from formats.records import read_named

RESERVED = "reserved"
_KEY, _LOCK = "key.age", "lock"
_KEY_ID = re.compile("[0-9a-f]{16}")
_RECORD = re.compile(r"([0-9]{6})\.record\.age")
_CAPTURE, _RESTORE = "capture", "restore"
LAST_NUMBER = 999_999


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldCapture:
    """A capture that is at the point, proved: its keys, its record, and when it was last brought back, if it was."""

    keys: MigrationKeys
    record: CaptureRecord
    restored_ns: int | None


class MigrationFolder:
    """The folder of a migration in the folder ``point`` of a state migration point."""

    def __init__(self, point: Path, migration: MigrationId) -> None:
        self.migration = migration
        self.point = point
        self.path = point / folder_name(migration)

    @property
    def is_reserved(self) -> bool:
        """Whether the site gave the migration its place here."""
        return (self.path / RESERVED).is_file()

    def check_reserved(self) -> None:
        """Raise `NotFoundError` unless the migration has its place here, and the point can be reached."""
        self._check_point()
        if not self.is_reserved:
            raise NotFoundError(
                f"{path_text(self.point)} has no place for this migration: it was released, or another disk is "
                "mounted there",
                hint="check what is mounted there; else have the site make a new policy, which gets a new place",
            )

    def check_there(self) -> None:
        """Raise `NotFoundError` unless the migration's folder and its point can be reached."""
        self._check_point()
        if not self.path.is_dir():
            raise NotFoundError(
                f"{path_text(self.point)} does not hold this migration: it was deleted after its release, or another "
                "disk is mounted there",
                hint="check what is mounted there, and what the site says: courier state list --all",
            )

    def _check_point(self) -> None:
        if not self.point.is_dir():
            raise NotFoundError(
                f"the state migration point is not at {path_text(self.point)}",
                hint="mount it there, or check the point's path: courier state point list",
            )

    def reserve(self) -> None:
        """Give the migration its place. Raises `OSError`, and `DamagedError` where a link stands in the way."""
        try:
            make_below(self.path)
            make_lock(self.path / _LOCK)
        except FormatError as error:
            raise explain_state(error, self.point) from None
        write_atomic(self.path / RESERVED, b"courier-state-place/1\n", readable=True)

    def close(self) -> None:
        """Take no further captures: the migration was released. Raises `OSError`."""
        (self.path / RESERVED).unlink(missing_ok=True)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the lock of the folder. A share that knows no locks, or is read-only, has none.

        Raises `BusyError`, and `DamagedError` where a link stands in its place.
        """
        try:
            check_no_link(self.path)
            check_no_link(self.path / _LOCK)
        except FormatError as error:
            raise explain_state(error, self.point) from None
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.path / _LOCK))
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.EROFS, errno.EACCES, errno.EPERM):
                    raise
            yield

    # --- keys -------------------------------------------------------------------------------------------------------

    def key_ids(self) -> list[str]:
        """The IDs of the migration's keys, of which each has a folder."""
        try:
            return sorted(path.name for path in self.path.iterdir() if _KEY_ID.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def keys_for(self, identities: Sequence[Identity]) -> list[MigrationKeys]:
        """All keys of the migration that one of ``identities`` opens.

        Raises `NotForUsError` where there are keys and none opens, and `FormatError` for a damaged one.
        """
        found, closed = [], None
        for key_id in self.key_ids():
            try:
                found.append(self._open_key(key_id, identities))
            except NotForUsError as error:
                closed = error
            except FileNotFoundError:
                if _numbers(self.path / key_id):
                    raise MalformedError("is missing", place=f"{key_id}/{_KEY}") from None
                # Its making was cut: nothing is encrypted with it yet.
        if closed is not None and not found:
            raise closed
        return found

    def _open_key(self, key_id: str, identities: Sequence[Identity]) -> MigrationKeys:
        keys = MigrationKeys.open(read_small(self.path / key_id / _KEY), identities)
        if (keys.key_id, keys.migration) != (key_id, self.migration):
            raise MalformedError("the key of another migration", place=f"{key_id}/{_KEY}")
        return keys

    def keep_keys(self, keys: MigrationKeys, recipients: Sequence[str]) -> None:
        """Put the keys there for those who may open what is captured, if they are not there yet."""
        path = self.key_folder(keys) / _KEY
        if not path.exists():
            make_below(path.parent)
            write_atomic(path, keys.for_recipients(recipients), readable=True)

    def key_folder(self, keys: MigrationKeys) -> Path:
        """The folder of what is encrypted with these keys."""
        return self.path / keys.key_id

    # --- captures ---------------------------------------------------------------------------------------------------

    def next_number(self) -> int:
        """The number of the next capture."""
        numbers = [0]
        for key_id in self.key_ids():
            numbers += _numbers(self.path / key_id)
        return max(numbers) + 1

    def manifest(self, keys: MigrationKeys, number: int) -> Path:
        """The file of a capture's manifest."""
        return self.key_folder(keys) / f"{number:06d}.manifest.age"

    def finish(self, keys: MigrationKeys, record: CaptureRecord) -> None:
        """Write the record of a capture, all of which is on the disk: from now on it is there."""
        path = self.key_folder(keys) / f"{record.number:06d}.record.age"
        write_atomic(path, keys.prove(_CAPTURE, record.json()), readable=True)

    def note_restored(self, keys: MigrationKeys, record: RestoreRecord) -> None:
        """Write down that a capture was brought back. Raises `OSError`."""
        path = self.key_folder(keys) / f"{record.number:06d}.restored.age"
        write_atomic(path, keys.prove(_RESTORE, record.json()), readable=True)

    def captures(self, identities: Sequence[Identity]) -> list[HeldCapture]:
        """The captures that are there, each proved, by number. Raises `FormatError`, its place the file."""
        found: list[HeldCapture] = []
        for keys in self.keys_for(identities):
            found += self.captures_with(keys)
        return sorted(found, key=lambda one: one.record.number)

    def captures_with(self, keys: MigrationKeys) -> list[HeldCapture]:
        """The captures made with these keys, each proved, by number. Raises `FormatError`."""
        return [self._capture(keys, number) for number in _numbers(self.key_folder(keys))]

    def _capture(self, keys: MigrationKeys, number: int) -> HeldCapture:
        path = self.key_folder(keys) / f"{number:06d}.record.age"
        place = f"{keys.key_id}/{path.name}"
        try:
            record = read_named(CaptureRecord, keys.proved(_CAPTURE, read_small(path)))
        except FormatError as error:
            raise type(error)(error.message, place=place) from None
        if (record.migration, record.number) != (self.migration, number):
            raise MalformedError("the record of another capture", place=place)
        return HeldCapture(keys=keys, record=record, restored_ns=self._restored(keys, number))

    def _restored(self, keys: MigrationKeys, number: int) -> int | None:
        path = self.key_folder(keys) / f"{number:06d}.restored.age"
        try:
            record = read_named(RestoreRecord, keys.proved(_RESTORE, read_small(path)))
        except (FileNotFoundError, FormatError):
            return None  # without it the state waits for its release as before
        return record.restored_ns if (record.migration, record.number) == (self.migration, number) else None


def _numbers(folder: Path) -> list[int]:
    """The numbers of the captures of a key, by its folder."""
    if not folder.is_dir():
        return []
    return sorted(int(found[1]) for path in folder.iterdir() if (found := _RECORD.fullmatch(path.name)))


def explain_state(error: FormatError, point: Path) -> DamagedError | RefusedError:
    """What is to be said of something at a point that cannot be opened or proved."""
    where = f"state migration point {path_text(point)}"
    if isinstance(error, NotForUsError):
        hint = "only the associated computer opens it, or the site: courier state recover MIGRATION --into DIR"
        return RefusedError(f"{where}: it was captured for another computer", hint=hint, code=explain(error).code)
    hint = "restore the point's folder from a backup; do not wipe the computer that it came from"
    return DamagedError(f"{where}: {error}", hint=hint, code=explain(error).code)
