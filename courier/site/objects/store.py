"""The content store in a bucket of an S3-compatible object store; several computers may use one (decision 0036).

    content/ab/HEX-RANDOM   a content of more than 64 KiB, and behind it the sums of its blocks where it has several
    packs/NAME.pack         the smaller contents, many to an object, as in a folder
    listings/ab/HEX-RANDOM  a listing

Which contents there are, and in which object each lies, stands in the catalogue: nothing is ever listed on the way. An
object is never changed, and its name never used again, so that whoever is slow can delete or replace nothing of others.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from courier.errors import BusyError, DamagedError
from courier.files import RESERVE, free_space, locked, make_folder, naming_space, require_space, sweep
from courier.site.catalog import objects
from courier.site.catalog.database import Catalogue
from courier.site.catalog.held_things import held_by, held_thing
from courier.site.catalog.objects import Place
from courier.site.objects.bucket import Bucket
from courier.site.objects.checking import problem, problems
from courier.site.objects.collect import collect_objects
from courier.site.objects.cross_check import cross_check
from courier.site.objects.object_file import missing, open_object
from courier.site.objects.object_staging import HeldContents, ObjectStaging
from courier.site.objects.trial import check_owner
from courier.site.objects.windows import PackWindows
from courier.site.store.block_sums import BlockSums, needs_table, sums_size
from courier.site.store.content_store import BATCH, MISSING, Collected, Staging, StoredContent, StoreSpace
from courier.site.store.large_contents import ADD_AGAIN
from courier.site.store.pack_file import LARGEST
from formats.documents.listing import Entry, FileEntry, ListingSummary, read_listing_rows
from formats.errors import FormatError


class ObjectStore(HeldContents):
    """The content store of ``site`` (its code) in ``bucket``, of which ``catalogue`` knows what lies in it.

    ``folder`` is on this computer: what is taken in lies there until it is in the bucket. ``packed``: bytes of the
    largest content that is packed.
    """

    def __init__(self, bucket: Bucket, catalogue: Catalogue, folder: Path, *, site: str, packed: int = LARGEST) -> None:
        self._bucket, self._catalogue, self._folder, self._packed = bucket, catalogue, folder, packed
        self._site = site
        self._windows = PackWindows(bucket)

    def _place(self, sha256: str) -> Place | None:
        return self._places([bytes.fromhex(sha256)]).get(bytes.fromhex(sha256))

    def _places(self, digests: Iterable[bytes]) -> dict[bytes, Place]:
        with self._catalogue.reading() as connection:
            return objects.contents(connection, digests)

    def has(self, sha256: str, size: int) -> bool:
        """See `ContentStore.has`."""
        place = self._place(sha256)
        return place is not None and place.size == size

    def lacking(self, contents: Iterable[tuple[str, int]]) -> Iterator[str]:
        """See `ContentStore.lacking`."""
        every = iter(contents)
        while batch := list(islice(every, BATCH)):
            held = self._places(bytes.fromhex(sha256) for sha256, _ in batch)
            for sha256, size in batch:
                place = held.get(bytes.fromhex(sha256))
                if place is None or place.size != size:
                    yield sha256

    def has_listing(self, sha256: str) -> bool:
        """See `ContentStore.has_listing`."""
        return self._listing(sha256) is not None

    def open_content(self, sha256: str) -> BinaryIO:
        """See `ContentStore.open_content`."""
        place = self._place(sha256)
        if place is None:
            raise missing(f"content {sha256}")
        if place.size > self._packed:
            return open_object(self._bucket, place, f"content {sha256}")
        try:
            return io.BytesIO(self._windows.read(place))
        except FileNotFoundError:
            raise missing(f"content {sha256}") from None

    def block_digests(self, sha256: str, size: int) -> bytes:
        """See `ContentStore.block_digests`."""
        place = self._place(sha256)
        if place is None or place.size != size:
            raise missing(f"content {sha256}")
        return self._sums(sha256, place).digests if needs_table(size) else bytes.fromhex(sha256)

    def block_crcs(self, sha256: str, size: int) -> bytes:
        """See `ContentStore.block_crcs`."""
        place = self._place(sha256)
        if place is None or place.size != size:
            raise missing(f"content {sha256}")
        return self._sums(sha256, place).crcs

    def _sums(self, sha256: str, place: Place) -> BlockSums:
        try:
            kept = self._bucket.read(place.object, place.size, sums_size(place.size))
        except FileNotFoundError:
            raise missing(f"content {sha256}") from None
        sums = BlockSums.parse(kept, place.size)
        if sums is None:
            raise DamagedError(f"package store: content {sha256} ends with damaged sums", hint=ADD_AGAIN)
        return sums

    def has_sums(self, sha256: str, sums: BlockSums) -> bool:
        """See `HeldContents.has_sums`."""
        place = self._place(sha256)
        try:
            return place is not None and self._sums(sha256, place) == sums
        except DamagedError:
            return False

    def entries(self, listing: ListingSummary) -> Iterator[Entry]:
        """See `ContentStore.entries`."""
        return (entry for entry, _ in self.rows(listing))

    def rows(self, listing: ListingSummary) -> Iterator[tuple[Entry, bytes]]:
        """See `ContentStore.rows`."""
        place = self._listing(listing.sha256)
        if place is None:
            raise missing(f"listing {listing.sha256}")
        try:
            with open_object(self._bucket, place, f"listing {listing.sha256}") as source:
                yield from read_listing_rows(source, expected=listing)
        except FormatError as error:
            raise DamagedError(f"package store: listing {listing.sha256}: {error}", hint=ADD_AGAIN) from None

    def _listing(self, sha256: str) -> Place | None:
        with self._catalogue.reading() as connection:
            return objects.listing(connection, bytes.fromhex(sha256))

    def contents(self) -> Iterator[StoredContent]:
        """See `ContentStore.contents`."""
        after = b""
        while page := self._page(after):
            for digest, place in page:
                sha256 = digest.hex()
                blocks = self._sums(sha256, place).sha256 if needs_table(place.size) else ""
                yield StoredContent(sha256=sha256, size=place.size, blocks=blocks)
            after = page[-1][0]

    def _page(self, after: bytes) -> list[tuple[bytes, Place]]:
        with self._catalogue.reading() as connection:
            return objects.page(connection, after, BATCH)

    def problems(
        self, contents: Sequence[tuple[str, int]], progress: Callable[[int], None] = lambda _: None
    ) -> dict[str, str]:
        """See `ContentStore.problems`."""
        places = self._places(bytes.fromhex(sha256) for sha256, _ in contents)
        found = problems(self._bucket, places, packed=self._packed, progress=progress)
        lost = {sha256: MISSING for sha256, _ in contents if bytes.fromhex(sha256) not in places}
        return lost | {digest.hex(): what for digest, what in found.items()}

    def small_problems(self, digests: Iterable[bytes]) -> Mapping[bytes, str]:
        """See `HeldContents.small_problems`."""
        wanted = set(digests)
        places = self._places(wanted)
        return dict.fromkeys(wanted - places.keys(), MISSING) | problems(self._bucket, places, packed=self._packed)

    def _problem(self, sha256: str, place: Place) -> str:
        return problem(self._bucket, bytes.fromhex(sha256), place, packed=self._packed)

    def is_good(self, sha256: str) -> bool:
        """See `ContentStore.is_good`."""
        place = self._place(sha256)
        return place is not None and not self._problem(sha256, place)

    def quarantine(self, *contents: str) -> None:
        """See `ContentStore.quarantine`."""
        bad = {}
        for digest, place in self._places(bytes.fromhex(sha256) for sha256 in contents).items():
            # Whoever found it damaged did not hold the lock: it may have been put right since.
            if self._problem(digest.hex(), place):
                bad[digest] = place
        self._windows.forget()
        with self._catalogue.writing() as connection:
            objects.forget_contents(connection, bad)
            for digest, place in bad.items():
                objects.keep_damaged(connection, digest, place)

    def quarantine_listing(self, listing: ListingSummary) -> None:
        """See `ContentStore.quarantine_listing`."""
        try:
            for _ in self.entries(listing):
                pass
        except DamagedError:
            digest = bytes.fromhex(listing.sha256)
            place = self._listing(listing.sha256)
            with self._catalogue.writing() as connection:
                if place is not None:
                    objects.forget_listings(connection, [digest])
                    objects.keep_damaged(connection, digest, place)

    def quarantined(self) -> list[str]:
        """See `ContentStore.quarantined`."""
        with self._catalogue.reading() as connection:
            names = objects.damaged(connection)
            again = objects.contents(connection, names).keys()
            return sorted(
                digest.hex() for digest in names if digest not in again and objects.listing(connection, digest) is None
            )

    def cross_check(self, *, mend: bool) -> int:
        """See `ContentStore.cross_check`. What lies in the bucket is compared with what the catalogue says of it.

        Raises `RefusedError` where the prefix is another site's.
        """
        check_owner(self._bucket, self._site)
        self._windows.forget()
        return cross_check(self._bucket, self._catalogue, mend=mend)

    def stage(self) -> Staging:
        """See `ContentStore.stage`."""
        self._windows.forget()
        return ObjectStaging(self, make_folder(self._folder), self._packed, self._bucket, self._catalogue)

    def collect(self, keep: Iterable[ListingSummary], pinned: Iterable[bytes] = ()) -> Collected:
        """See `ContentStore.collect`. Bytes that the key may not delete are pending."""
        kept = list(keep)
        sweep(make_folder(self._folder))
        self._windows.forget()

        def needed() -> Iterator[bytes]:
            for listing in kept:
                for entry in self.entries(listing):
                    if isinstance(entry, FileEntry) and entry.size:
                        yield bytes.fromhex(entry.sha256)
            yield from pinned

        listings = {bytes.fromhex(listing.sha256) for listing in kept}
        return collect_objects(self._bucket, self._catalogue, self._folder, needed(), listings)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """See `ContentStore.lock`. It is held at every computer of the site."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(make_folder(self._folder) / "lock"))
            except BusyError:
                raise held_by(held_thing("store"), self._catalogue.holder("store")) from None
            stack.enter_context(self._catalogue.exclusive("store"))
            yield

    def space(self) -> StoreSpace:
        """See `ContentStore.space`. The bucket takes what comes, but the disk of this computer has to hold it first."""
        return StoreSpace(free=free_space(self._folder), reserve=RESERVE)

    def require_space(self, needed: int, *, purpose: str) -> None:
        """See `ContentStore.require_space`."""
        require_space(self._folder, needed, purpose=purpose)

    def naming_space(self, needed: Callable[[], int], *, purpose: str) -> AbstractContextManager[None]:
        """See `ContentStore.naming_space`."""
        return naming_space(self._folder, needed, purpose=purpose)
