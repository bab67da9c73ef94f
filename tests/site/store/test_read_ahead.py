"""Packs read ahead: contents in the order in which they were packed take few reads, and none is given that is gone."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from courier.errors import DamagedError
from courier.site.store import packs as module
from courier.site.store.folder import FolderStore
from courier.site.store.pack_file import HEADER
from courier.site.store.pack_index import PackIndex, Place
from formats.digest import sha256_hex

CONTENTS = [f"content {number}".encode() * (1 + number % 50) for number in range(3_000)]


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    made = FolderStore(tmp_path / "store")
    with made.lock(), made.stage() as staging:
        for data in CONTENTS:
            staging.add(io.BytesIO(data))
        staging.commit()
    return made


def read(store: FolderStore, data: bytes) -> bytes:
    with store.open_content(sha256_hex(data)) as source:
        return source.read()


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents that the index is asked for."""
    asked, find = list[bytes](), PackIndex.find

    def counted(self: PackIndex, digest: bytes) -> Place | None:
        asked.append(digest)
        return find(self, digest)

    monkeypatch.setattr(PackIndex, "find", counted)
    return asked


def test_contents_in_order_take_few_reads(store: FolderStore, looked_up: list[bytes]) -> None:
    assert [read(store, data) for data in CONTENTS] == CONTENTS
    assert len(looked_up) < 10


def test_contents_in_any_order_are_right(store: FolderStore) -> None:
    some = CONTENTS[:100] + CONTENTS[::-7] + CONTENTS[50:150] + CONTENTS[:3]
    assert [read(store, data) for data in some] == some


def test_a_content_is_looked_up_again_when_it_is_read_again(store: FolderStore, looked_up: list[bytes]) -> None:
    for data in CONTENTS[:10]:
        read(store, data)
    before = len(looked_up)
    read(store, CONTENTS[9])
    assert len(looked_up) == before + 1


def test_what_was_read_ahead_is_forgotten_with_the_content(store: FolderStore, tmp_path: Path) -> None:
    for data in CONTENTS[:3]:
        read(store, data)
    (pack,) = (tmp_path / "store" / "packs").glob("*.pack")
    pack.write_bytes(pack.read_bytes().replace(CONTENTS[3], b"C" * len(CONTENTS[3])))
    with store.lock():
        store.quarantine(sha256_hex(CONTENTS[3]))
    with pytest.raises(DamagedError, match="is missing"):
        read(store, CONTENTS[3])
    assert read(store, CONTENTS[4]) == CONTENTS[4]


def test_the_head_of_a_record_counts_for_nothing_where_the_index_knows_better(
    store: FolderStore, tmp_path: Path
) -> None:
    (pack,) = (tmp_path / "store" / "packs").glob("*.pack")
    digest = bytes.fromhex(sha256_hex(CONTENTS[7]))
    right, wrong = (HEADER.pack(digest, length) for length in (len(CONTENTS[7]), len(CONTENTS[7]) - 1))
    pack.write_bytes(pack.read_bytes().replace(right, wrong))
    assert [read(store, data) for data in CONTENTS[:20]] == CONTENTS[:20]


def test_a_pack_that_ends_early_is_read_no_further(store: FolderStore, tmp_path: Path) -> None:
    (pack,) = (tmp_path / "store" / "packs").glob("*.pack")
    data = pack.read_bytes()
    place = module.Packs(tmp_path / "store" / "packs")._index.find(bytes.fromhex(sha256_hex(CONTENTS[5])))
    assert place is not None
    for content in CONTENTS[:3]:
        read(store, content)
    with pack.open("r+b") as out:
        out.truncate(place.offset + 2)
    assert [read(store, content) for content in CONTENTS[3:5]] == CONTENTS[3:5]
    with pack.open("wb") as out:
        out.write(data)
    assert read(store, CONTENTS[5]) == CONTENTS[5]
