"""Keeping a branch point: a round brings a copy of a point's folder up to date, by the engine of ``courier download``.

Everything is verified as a client does it. Contents come first, then each package's definition, and last, in one step,
the statement as the site signed it; what it does not name any more is deleted after that. A round that is killed leaves
the branch as it was, and the next one goes on. Only a withdrawal does not wait for contents. Where only some packages
are wanted, clients that ask for another one are told that it is not there (404), and take the next point.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.distribution.asking import Asking
from courier.distribution.download_files import fetch_files
from courier.distribution.download_pace import stopped
from courier.distribution.download_plan import fetch_statement, put_listing
from courier.distribution.download_run import Progress
from courier.distribution.download_shared import Counts, Manner
from courier.distribution.fill import Content, contents_of, digest_there
from courier.distribution.mirror_contents import MirrorContents, delete_parts_but, is_held, part_bytes
from courier.distribution.mirror_folder import SEEN, MirrorFolder, opened_mirror
from courier.distribution.mirror_wishes import forget_wishes, wished
from courier.distribution.open_point import read_whole
from courier.distribution.point_reader import (
    MAX_DEFINITION,
    Fetch,
    PointPackage,
    read_definition,
    read_listing_of,
)
from courier.distribution.seen_statements import Memory
from courier.distribution.source import Source, SourceReport
from courier.distribution.source_list import SourceList
from courier.distribution.space_left import SpaceLeft
from courier.distribution.supply import fetch_from
from courier.distribution.unneeded import contents_needed, delete_all_but
from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, RefusedError
from courier.files import naming_space
from courier.site.clock import now
from courier.site.point_places import reserve_bytes
from formats.documents.card import SiteCard
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry
from formats.documents.point import STATEMENT, PointStatement, definition_path, listing_path


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirroring:
    """What a branch point holds, and where that comes from.

    ``points``: in the order of preference. ``cards``: by site, the first that of the site that runs the points.
    ``packages``: beginnings of package IDs that it always holds; ``on_demand``: of those that it holds once a client
    has asked for them; with neither it holds all. ``reserve``: as for points. ``point``: the name that the point must
    have, empty for any. ``verify``: read back what is there, and fetch again what is damaged.
    """

    folder: Path
    points: tuple[Source, ...]
    cards: Mapping[str, SiteCard]
    manner: Manner
    packages: tuple[str, ...] = ()
    on_demand: tuple[str, ...] = ()
    reserve: str = "10%"
    point: str = ""
    verify: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirrored:
    """What a round did: the statement that is there now, the versions held, of those that it names, and what changed.

    ``contents``: fetched. ``freed``: bytes deleted.
    """

    statement: PointStatement
    held: tuple[PackageRef, ...]
    contents: int
    counts: Counts
    freed: int
    is_new: bool
    sources: tuple[SourceReport, ...]


def mirror(wanted: Mirroring, *, new: bool = False, stop: threading.Event, progress: Progress) -> Mirrored:
    """Bring the branch point at ``wanted.folder`` up to date. ``new``: make it where it is not.

    Raises `NotFoundError`, `RefusedError`, `BusyError`, `NoSpaceError` where the disk's reserve would be touched,
    `DamagedError` where no source gives something right, `UnreachableError` and `StoppedError`. Clients then see what
    was there before, and what was fetched stays for the next round.
    """
    with opened_mirror(wanted.folder, new=new):
        pass  # what is wrong with the folder is said at once, and not when a window opens
    wanted.manner.pace.wait_open()
    with opened_mirror(wanted.folder, new=False) as folder:
        return _Round(wanted, folder, stop, progress).run()


class _Round:
    def __init__(self, wanted: Mirroring, folder: MirrorFolder, stop: threading.Event, progress: Progress) -> None:
        self._wanted, self._folder, self._stop, self._progress = wanted, folder, stop, progress
        self._sources = SourceList()
        for source in wanted.points:
            self._sources.add(source)
        manner = wanted.manner
        self._asking = Asking(self._sources, stop, retry_for=manner.retry_for, pace=manner.pace, warn=manner.warn)
        # What is in a folder that has no statement of ours yet may have come from anywhere.
        self._verify = wanted.verify or not folder.point
        self._packages: dict[PackageRef, tuple[PointPackage, bytes]] = {}
        self._counts = Counts()

    def run(self) -> Mirrored:
        opened = self._folder.opened
        statement, envelope = self._statement()
        self._check_known(statement)
        is_new = read_whole(opened, STATEMENT) != envelope
        if is_new and self._folder.point and self._withdraws(statement):
            self._publish(statement, envelope)
        wishes = wished(opened)
        refs = [ref for ref in statement.packages if self._is_wanted(ref, wishes)]
        for ref in refs:
            self._packages[ref] = self._definition(statement, ref)
            self._put_listing(ref)
        needed = contents_needed(entry for ref in refs for entry in self._entries(ref))
        delete_parts_but(opened, needed)
        missing = self._missing(refs)
        contents = len(missing)
        self._fetch(refs, missing)
        self._publish(statement, envelope)
        deleted = delete_all_but([opened], refs, needed)
        forget_wishes(opened, [wish for wish in wishes if statement.find(*wish) is None or _is_of(refs, wish)])
        return Mirrored(
            statement=statement,
            held=tuple(refs),
            contents=contents,
            counts=self._counts,
            freed=deleted.bytes,
            is_new=is_new,
            sources=tuple(self._sources.reports()),
        )

    def _statement(self) -> tuple[PointStatement, bytes]:
        """The newest statement of the point, verified, and its bytes as they were signed."""
        card = next(iter(self._wanted.cards.values()))
        if self._folder.site and self._folder.site != card.site:
            raise RefusedError(
                f"{self._folder.path} is a copy of a point of {self._folder.site}, and the card is that of {card.site}",
                hint=f"give the card of {self._folder.site} first, or another folder",
                code=Code.WRONG_SITE,
            )
        memory, point = Memory(self._folder.opened.path(SEEN)), self._wanted.point or self._folder.point

        def read(fetch: Fetch) -> tuple[PointStatement, bytes]:
            kept = _Kept(fetch)
            return fetch_statement(kept, memory, card, now_ns=now(), point=point), kept.data

        return self._asking.first(read)

    def _publish(self, statement: PointStatement, envelope: bytes) -> None:
        if not self._folder.point:
            self._folder.bind(statement.site, statement.point)
        if read_whole(self._folder.opened, STATEMENT) != envelope:
            self._folder.opened.write(STATEMENT, envelope)

    def _withdraws(self, statement: PointStatement) -> bool:
        """Whether a version that is here was withdrawn, and not only replaced by a newer one.

        Clients are told of that before anything is fetched; what is new then comes from other points for a while.
        """
        return any(
            one.version >= statement.least.get(one.package, 0)
            and self._folder.opened.size(definition_path(one.package, one.version)) is not None
            for one in statement.withdrawn
        )

    def _check_known(self, statement: PointStatement) -> None:
        """Raise `NotFoundError` where the point never had what is wanted: a slip must not empty the branch."""
        wanted = (*self._wanted.packages, *self._wanted.on_demand)
        known = {*(ref.package for ref in statement.packages), *(one.package for one in statement.withdrawn)}
        if wanted and not any(package.startswith(wanted) for package in known | set(statement.least)):
            raise NotFoundError(
                f"point {statement.point} of {statement.site} has no package that begins with {' or '.join(wanted)}",
                hint="courier point show tells at the site what is there; nothing was changed here",
            )

    def _is_wanted(self, ref: PackageRef, wishes: Sequence[tuple[str, int]]) -> bool:
        wanted = self._wanted
        if ref.package.startswith(wanted.packages) or not (wanted.packages or wanted.on_demand):
            return True
        if not ref.package.startswith(wanted.on_demand):
            return False
        is_there = self._folder.opened.size(definition_path(ref.package, ref.version)) is not None
        return is_there or (ref.package, ref.version) in wishes

    def _definition(self, statement: PointStatement, ref: PackageRef) -> tuple[PointPackage, bytes]:
        """A definition, verified, and its bytes: the one that is there, else from a source."""
        cards = self._wanted.cards

        def read(fetch: Fetch) -> tuple[PointPackage, bytes]:
            kept = _Kept(fetch)
            return read_definition(kept, statement, ref, cards=cards, now_ns=now()), kept.data

        try:
            return read(fetch_from(self._folder.opened))
        except (CourierError, OSError):
            return self._asking.first(read)

    def _put_listing(self, ref: PackageRef) -> None:
        opened, path = self._folder.opened, listing_path(ref.listing)
        if digest_there(opened, path) == ref.listing:
            return
        left = self._space(f"the listing of {ref.package}:{ref.version}").watching()
        new, out = opened.create()
        try:
            with out:
                put_listing(self._asking, self._packages[ref][0].definition, out, wrote=left)
        except BaseException:
            opened.delete(new)
            raise
        opened.place(new, path)
        opened.flush([path])

    def _space(self, purpose: str) -> SpaceLeft:
        """The room of the branch's disk, and its reserve."""
        folder = self._folder.opened.folder
        hint = "nothing was deleted; free space there, mirror fewer packages (--package), or lower --reserve"
        return SpaceLeft(folder, reserve=reserve_bytes(self._wanted.reserve, folder), purpose=purpose, hint=hint)

    def _entries(self, ref: PackageRef) -> Iterator[Entry]:
        return read_listing_of(fetch_from(self._folder.opened), self._packages[ref][0].definition)

    def _missing(self, refs: Sequence[PackageRef]) -> dict[bytes, Content]:
        found: dict[bytes, Content] = {}
        seen: set[bytes] = set()
        for ref in refs:
            for content in contents_of(self._entries(ref)):
                key = bytes.fromhex(content.sha256)
                if key in seen:
                    continue
                seen.add(key)
                if self._stop.is_set():
                    raise stopped()
                if not is_held(self._folder.opened, content, verify=self._verify):
                    found[key] = content
        return found

    def _fetch(self, refs: Sequence[PackageRef], missing: Mapping[bytes, Content]) -> None:
        """Fetch what is missing, package by package; the definition comes when the package is whole."""
        opened, left = self._folder.opened, set(missing)
        purpose = f"mirroring point {self._wanted.point or self._folder.point}".rstrip()
        room = self._space(purpose)
        needed = sum(one.room - min(one.room, part_bytes(opened, one.sha256)) for one in missing.values())
        room.require(needed)
        with naming_space(opened.folder, lambda: needed, purpose=purpose), MirrorContents(opened, left) as target:
            for ref in refs:
                coming = [one for one in contents_of(self._entries(ref)) if bytes.fromhex(one.sha256) in left]
                if coming:
                    total = sum(one.size for one in coming)
                    with self._progress(f"Mirroring {ref.package}:{ref.version}", total) as shown:
                        counts = fetch_files(
                            self._entries(ref),
                            target,
                            self._sources,
                            self._wanted.manner,
                            stop=self._stop,
                            progress=room.watching(shown),
                        )
                    self._counts.fetched += counts.fetched
                    self._counts.resumed += counts.resumed
                    self._counts.zeros += counts.zeros
                path, data = definition_path(ref.package, ref.version), self._packages[ref][1]
                if read_whole(opened, path, MAX_DEFINITION) != data:
                    opened.write(path, data)


class _Kept:
    """Fetches, and keeps the bytes of what was fetched last."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self.data = b""

    def __call__(self, path: str, most: int, /) -> BinaryIO:
        with self._fetch(path, most) as source:
            self.data = source.read(most + 1)
        return io.BytesIO(self.data)


def _is_of(refs: Sequence[PackageRef], wish: tuple[str, int]) -> bool:
    return any((ref.package, ref.version) == wish for ref in refs)
