"""What a person wants to know of a point: packages, bytes, room, what is served at its URL, and its last validation."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.distribution.folder import PointFolder
from courier.distribution.registry import PointSpace, find_point, folders_of, space_of, statement_of
from courier.distribution.web_address import parse_web_address
from courier.errors import UsageError
from courier.site.catalog.points import Point
from courier.site.home import Site
from formats.documents.point import STATEMENT, PointStatement, content_path

PROBE_SECONDS = 5.0
"""How long the web server at a point's URL may take to answer."""
_SOME = 16
"""Bytes of a file that are read to compare a part of it with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What the web server at a point's URL answered.

    ``reached``: it served the statement. ``is_newest``: the very bytes that this site signed last. ``ranges``: a part
    of a file can be asked for, so that a download goes on where it broke off. ``problem``: why not reached.
    """

    reached: bool
    is_newest: bool = False
    ranges: bool = False
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overview:
    """A point. ``files`` and ``bytes``: contents in its folders; ``probe``: None where it has no URL."""

    row: Point
    statement: PointStatement | None
    space: Sequence[PointSpace]
    files: int
    bytes: int
    probe: Probe | None


def overview(site: Site, name: str, *, ask: bool = True) -> Overview:
    """Look at a point; nothing is written. ``ask``: its web server too. Raises `NotFoundError`."""
    row = find_point(site, name)
    sizes = [size for folder in folders_of(site, name) for size in _content_sizes(folder)]
    return Overview(
        row=row,
        statement=statement_of(row),
        space=space_of(site, row),
        files=len(sizes),
        bytes=sum(sizes),
        probe=probe(row.url, row.statement) if row.url and ask else None,
    )


def _content_sizes(folder: Path) -> Iterator[int]:
    try:
        opened = PointFolder(folder)
    except OSError:
        return  # not mounted now; the room of the folder says so
    with opened:
        for part in opened.names("content"):
            for name in opened.names(f"content/{part}"):
                if content_path(name) == f"content/{part}/{name}":
                    yield opened.size(content_path(name)) or 0


def probe(url: str, statement: bytes) -> Probe:
    """Ask the web server at ``url`` for the statement, whole and in part. Raises nothing."""
    try:
        status, data = _get(url, {}, max(len(statement), _SOME) + 1)
        if status != 200:
            return Probe(reached=False, problem=f"it answers {status} for {STATEMENT}")
        part_status, part = _get(url, {"Range": "bytes=1-4"}, 5)
        return Probe(reached=True, is_newest=data == statement, ranges=part_status == 206 and part == data[1:5] != b"")
    except (OSError, http.client.HTTPException, UsageError) as error:
        return Probe(reached=False, problem=str(error) or type(error).__name__)


def _get(url: str, headers: dict[str, str], most: int) -> tuple[int, bytes]:
    found = parse_web_address(url)
    kind = http.client.HTTPSConnection if found.scheme == "https" else http.client.HTTPConnection
    connection = kind(found.host, found.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", f"{found.path}/{STATEMENT}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(most)
    finally:
        connection.close()
