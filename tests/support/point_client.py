"""A client of a distribution point, as simple as can be: it verifies all that a point serves and gives the bytes.

Written for tests against `courier.distribution.point_reader`, the specification of what a client checks.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, BinaryIO

from courier.channel.http_server import Listening
from courier.distribution.point_reader import (
    Fetch,
    check_not_older,
    read_block_table,
    read_definition,
    read_listing_of,
    read_statement,
)
from courier.distribution.serve import serve_point
from courier.errors import NotFoundError
from courier.site.home import open_site
from courier.site.trust import read_card
from formats.documents.listing import FileEntry
from formats.documents.point import PointStatement, content_path

Held = dict[str, dict[str, bytes]]


def from_folders(*folders: Path) -> Fetch:
    """Fetches from the folders of a point, as a plain share is read."""

    def fetch(path: str, _most: int, /) -> BinaryIO:
        for folder in folders:
            if (folder / path).is_file():
                return (folder / path).open("rb")
        raise NotFoundError(path, hint="")

    return fetch


def take_all(
    fetch: Fetch, card: Path, *, remembered: int = 0, sources: tuple[Path, ...] = ()
) -> tuple[PointStatement, Held]:
    """All that a point has, verified byte by byte: the statement, and of each ``ID:VERSION`` the files by path."""
    own = read_card(card.read_bytes())
    known = {one.site: one for one in (own, *(read_card(path.read_bytes()) for path in sources))}
    statement = read_statement(fetch, card=own, now_ns=time.time_ns())
    check_not_older(statement, remembered)
    held: Held = {}
    for ref in statement.packages:
        found = read_definition(fetch, statement, ref, cards=known, now_ns=time.time_ns())
        files: dict[str, bytes] = {}
        for entry in read_listing_of(fetch, found.definition):
            if isinstance(entry, FileEntry):
                files[entry.path] = _content(fetch, entry)
        held[f"{ref.package}:{ref.version}"] = files
    return statement, held


def _content(fetch: Fetch, entry: FileEntry) -> bytes:
    if not entry.size:
        return b""
    with fetch(content_path(entry.sha256), entry.size) as source:
        data = source.read()
    assert hashlib.sha256(data).hexdigest() == entry.sha256
    table = read_block_table(fetch, entry)
    for block in range(table.count(0)):
        at = block * table.block_size
        assert table.is_good(0, block, data[at : at + table.length(0, block)])
    return data


@contextmanager
def served(home: Path, name: str, **more: Any) -> Iterator[str]:
    """A point that is served on this computer while the block runs; its URL."""
    site = open_site(home)
    up, stop = Event(), Event()
    urls: list[str] = []
    failures: list[BaseException] = []

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    def run() -> None:
        try:
            listening = more.pop("listening", Listening(host="127.0.0.1", port=0))
            serve_point(site, name, listening, log=lambda _: None, ready=ready, stop=stop, **more)
        except BaseException as error:
            failures.append(error)
            up.set()

    thread = Thread(target=run)
    thread.start()
    try:
        assert up.wait(20)
        if failures:
            raise failures[0]
        yield urls[0]
    finally:
        stop.set()
        thread.join(30)
        site.close()
