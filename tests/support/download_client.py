"""A client of the sample points: what it wishes, and what tests ask of the outcome."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from courier.distribution.download_pace import Unpaced
from courier.distribution.download_plan import read_cards
from courier.distribution.download_run import Outcome, Wish, download_to_cache, download_to_folder
from courier.distribution.download_shared import Manner
from courier.distribution.folder_source import folder_source
from courier.distribution.http_source import http_source
from courier.distribution.source import Patience
from courier.errors import CourierError
from formats.blocks import BLOCK

PATIENCE = Patience(connect=2, answer=0.5, stall=0.3, span=2, busy=0.2)
BIG = random.Random(1).randbytes(6 * BLOCK + 77)
SPARSE = bytes(3 * BLOCK) + BIG[: BLOCK + 5] + bytes(2 * BLOCK)
FILES = {
    "image.wim": BIG,
    "copy.wim": BIG,
    "sparse.img": SPARSE,
    "empty": b"",
    "block": BIG[:BLOCK],
    **{f"sub/{n}.txt": f"file {n}".encode() * (n % 90 + 1) for n in range(200)},
}
SIZE = sum(map(len, FILES.values()))


def wish(card: Path, *places: object, **more: Any) -> Wish:
    points = tuple(
        http_source(str(one), patience=PATIENCE) if str(one).startswith("http") else folder_source(str(one))
        for one in places
    )
    manner = Manner(pace=Unpaced(), retry_for=more.pop("retry_for", 20), connections=more.pop("connections", 4))
    return Wish(package="HQ100001", version=None, points=points, cards=read_cards([card]), manner=manner, **more)


@contextlib.contextmanager
def silent(_title: str, _total: int) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


def to_folder(wanted: Wish, target: Path, stop: threading.Event | None = None) -> Outcome:
    return download_to_folder(wanted, target, stop=stop or threading.Event(), progress=silent)


def to_cache(wanted: Wish, home: Path) -> Outcome:
    return download_to_cache(wanted, home, stop=threading.Event(), progress=silent)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(code: str, work: Callable[[], object]) -> CourierError:
    with pytest.raises(CourierError) as caught:
        work()
    assert caught.value.code == code, caught.value.message
    return caught.value


def stopping(stop: threading.Event) -> Callable[[str], str]:
    """Stops the download at its first content."""

    def choose(path: str) -> str:
        if "content" in path:
            stop.set()
        return ""

    return choose
