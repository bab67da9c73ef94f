"""Laying a parcel out anew: each edition is a document of its own time."""

from __future__ import annotations

from pathlib import Path

from journey import FIXTURES, add, create, make_sites, write

from formats.documents.packing import PackingList
from formats.envelope import parse_envelope


def _packing(volume: Path) -> PackingList:
    """The packing list on a volume."""
    path = next(volume.glob("**/packing-list.json"))
    return PackingList.parse(parse_envelope(path.read_bytes()).payload)


def test_two_editions_have_times_of_their_own(tmp_path: Path) -> None:
    hq = make_sites(tmp_path).hq
    parcel = create(hq, add(hq, FIXTURES / "boot.wim"), capacity="5MB")
    first = write(hq, parcel, "folder", tmp_path / "first")
    anew = ("parcel", "write", parcel, "--layout", "folder", "--out", tmp_path / "second", "--capacity", "6MB")
    second = [Path(volume["path"]) for volume in hq(*anew)["volumes"]]
    old, new = _packing(first[0]), _packing(second[0])
    assert (old.edition, new.edition) == (1, 2)
    assert old.created_ns < new.created_ns
