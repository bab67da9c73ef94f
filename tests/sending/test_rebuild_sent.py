"""A parcel of ours that is learnt again from its media."""

from __future__ import annotations

from pathlib import Path

from journey import FIXTURES, add, create, make_sites, write


def test_each_volume_that_is_found_again_is_logged_as_written(tmp_path: Path) -> None:
    hq = make_sites(tmp_path).hq
    parcel = create(hq, add(hq, FIXTURES / "boot.wim"))
    volumes = write(hq, parcel, "folder", tmp_path / "media")
    assert len(volumes) > 1
    for path in hq.path.glob("catalogue.sqlite*"):
        path.unlink()
    for _ in range(2):  # the second time nothing is new
        hq("catalog", "rebuild", *volumes)
        log = hq("parcel", "log", parcel)["log"]
        logged = [entry["text"] for entry in log if entry["event"] == "written"]
        assert logged == [f"volume {number} is {path}" for number, path in enumerate(volumes, 1)]


def test_of_an_earlier_layout_packing_list_and_media_are_learnt_whichever_is_seen_first(tmp_path: Path) -> None:
    hq = make_sites(tmp_path).hq
    parcel = create(hq, add(hq, FIXTURES / "boot.wim"))
    first, last = tmp_path / "first", tmp_path / "last"
    write(hq, parcel, "folder", first)
    hq("parcel", "write", parcel, "--layout", "folder", "--out", last, "--capacity", "3MB")
    folder = hq.path / "parcels" / "out" / parcel
    before = (folder / "packing-list-1.json").read_bytes()
    known = []
    for order in ((first, last), (last, first)):
        for path in (*hq.path.glob("catalogue.sqlite*"), *folder.glob("packing-list-*.json")):
            path.unlink()
        hq("catalog", "rebuild", *order)
        assert (folder / "packing-list-1.json").read_bytes() == before
        shown = hq("parcel", "show", parcel)
        known.append((len(shown["volumes"]), shown["media_written"]))
    assert known[0] == known[1]
    assert {medium["edition"] for medium in known[0][1]} == {1, 2}
    # What the catalogue knows already stays as it is.
    hq("catalog", "rebuild", first)
    assert hq("parcel", "show", parcel)["media_written"] == known[1][1]
