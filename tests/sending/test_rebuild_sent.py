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
