"""Reading contents in a bucket again and comparing them with their digests, several at once.

An object store answers late and gives each reader only so much a second; several requests under way hide that. Packed
contents are read in the order of their packs, many with one request.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager

from courier.errors import StoppedError
from courier.site.catalog.objects import Place
from courier.site.objects.bucket import Bucket
from courier.site.objects.windows import WINDOW
from courier.site.store.block_sums import ContentHasher, sums_size
from courier.site.store.content_store import MISSING
from courier.site.store.packs import DIFFERS

AT_ONCE = 8
"""Objects that are read at once; each takes some 16 MiB of memory."""

Report = Callable[[int], None]
"""Is told the bytes of contents that were read since it was last called."""


def problems(
    bucket: Bucket, places: Mapping[bytes, Place], *, packed: int, progress: Report = lambda _: None
) -> dict[bytes, str]:
    """What is wrong with those of many contents, by their SHA-256, that are missing or damaged.

    ``packed``: bytes of the largest content that is packed. ``progress`` is called by one thread at a time. Whatever
    the bucket raises is raised; what is being read then is not read to its end.
    """
    packs: dict[str, dict[bytes, Place]] = defaultdict(dict)
    large = dict[bytes, Place]()
    for digest, place in places.items():
        if place.size <= packed:
            packs[place.object][digest] = place
        else:
            large[digest] = place
    found: dict[bytes, str] = {}
    with _together(progress) as (pool, told):
        jobs: list[Future[dict[bytes, str]]] = []
        jobs += [pool.submit(_in_pack, bucket, name, inside, told) for name, inside in packs.items()]
        jobs += [pool.submit(_large, bucket, digest, place, told) for digest, place in large.items()]
        for job in as_completed(jobs):
            found |= job.result()
    return found


def problem(bucket: Bucket, digest: bytes, place: Place, *, packed: int) -> str:
    """What is wrong with one content; empty where it is good."""
    if place.size <= packed:
        return _in_pack(bucket, place.object, {digest: place}, lambda _: None).get(digest, "")
    return _large(bucket, digest, place, lambda _: None).get(digest, "")


@contextmanager
def _together(progress: Report) -> Iterator[tuple[ThreadPoolExecutor, Report]]:
    """Threads, and what tells of their progress; when the block ends early they stop where they are."""
    lock, ended = threading.Lock(), threading.Event()

    def told(count: int) -> None:
        if ended.is_set():
            raise StoppedError("the reading was ended", hint="give the same command again")
        with lock:
            progress(count)

    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bucket")
    try:
        yield pool, told
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)


def _in_pack(bucket: Bucket, name: str, places: Mapping[bytes, Place], progress: Report) -> dict[bytes, str]:
    """What is wrong with contents of one pack."""
    found: dict[bytes, str] = {}
    data, at = b"", 0
    for digest, place in sorted(places.items(), key=lambda item: item[1].start):
        if place.start + place.size > at + len(data):
            try:
                data, at = bucket.read(name, place.start, max(WINDOW, place.size)), place.start
            except FileNotFoundError:
                return dict.fromkeys(places, MISSING)
        if hashlib.sha256(data[place.start - at : place.start - at + place.size]).digest() != digest:
            found[digest] = DIFFERS
        progress(place.size)
    return found


def _large(bucket: Bucket, digest: bytes, place: Place, progress: Report) -> dict[bytes, str]:
    """What is wrong with an object that is one content: its bytes, or the sums of its blocks behind them."""
    rest, behind, most = place.size, b"", sums_size(place.size)
    try:
        with ContentHasher() as hasher:
            for piece in bucket.pieces(place.object):
                mine = piece[:rest]
                behind += piece[rest:]
                rest -= len(mine)
                hasher.update(mine)
                progress(len(mine))
                if len(behind) > most:
                    return {digest: DIFFERS}
            sha256, sums = hasher.finish()
    except FileNotFoundError:
        return {digest: MISSING}
    good = bytes.fromhex(sha256) == digest and behind == (sums.encode() if sums else b"")
    return {} if good else {digest: DIFFERS}
