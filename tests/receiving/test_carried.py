"""Content that the receiver holds already counts for a parcel only where the parcel carries the very bytes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from courier.receiving.carried import CarriedContents
from courier.site.store.folder import FolderStore
from formats.digest import sha256_hex
from formats.documents.contents import MemberRecord
from formats.errors import DigestMismatchError, UnexpectedError


def member(data: bytes, offset: int, length: int) -> MemberRecord:
    return MemberRecord(
        name="a", size=length, sha256=sha256_hex(data), of=len(data), offset=offset, length=length, coding="store"
    )


@pytest.mark.parametrize("size", [3000, 200_000, 3 << 20])
def test_other_bytes_under_the_name_of_held_content_are_refused(tmp_path: Path, size: int) -> None:
    store, data = FolderStore(tmp_path / "store"), bytes(range(250)) * (size // 250)
    with store.lock(), store.stage() as staging:
        staging.add(io.BytesIO(data))
        staging.commit()
    with store.lock(), store.stage() as staging:
        carried, half = CarriedContents(staging, []), len(data) // 2
        with pytest.raises(DigestMismatchError):
            carried.take(io.BytesIO(bytes(len(data))), member(data, 0, len(data)), "x")
        carried.take(io.BytesIO(data[:half]), member(data, 0, half), "x")
        with pytest.raises(UnexpectedError, match="some are missing"):
            carried.check_complete()
        carried.take(io.BytesIO(data[half:]), member(data, half, len(data) - half), "x")
        carried.check_complete()
