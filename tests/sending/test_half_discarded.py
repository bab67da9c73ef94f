"""A parcel whose discard was cut short: verify says what is missing and what makes it again, and that is so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from journey import Sites, add, make_sites, noise, sent, write_files


@pytest.fixture
def shipped(tmp_path: Path) -> tuple[Sites, str, list[Path]]:
    """A parcel with compressed members and parity on the sender's disk."""
    sites = make_sites(tmp_path)
    source = write_files(
        tmp_path / "source", noise_bin=noise(1_200_000), text_txt=b"some text that compresses\n" * 60_000
    )
    return sites, *sent(sites.hq, add(sites.hq, source), out=tmp_path / "media", capacity="2MB", spare_volumes=1)


@pytest.mark.parametrize("gone", ["packs", "one parity file", "packs and parity"])
def test_what_the_sender_lacks_is_named_and_made_again(shipped: tuple[Sites, str, list[Path]], gone: str) -> None:
    sites, parcel, _ = shipped
    folder = sites.hq.path / "parcels" / "out" / parcel
    assert sites.hq("parcel", "verify", parcel)["volumes"][0]["state"] == "good"
    if gone != "one parity file":
        shutil.rmtree(folder / "packs")
    if gone == "one parity file":
        next((folder / "parity-1").iterdir()).unlink()
    if gone == "packs and parity":
        shutil.rmtree(folder / "parity-1")
    ran = sites.hq.ran("parcel", "verify", parcel, code=4)
    (verdict,) = ran.document["volumes"]
    assert verdict["state"] == "damaged"
    assert verdict["damaged_blocks"] == 0
    said = " ".join(verdict["problems"])
    assert ("archives/" in said, ".par is missing" in said) == (gone != "one parity file", gone != "packs")
    assert "write" in ran.error["hint"]
    again = sites.root / "again"
    sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", again)
    assert sites.hq("parcel", "verify", parcel)["volumes"][0]["state"] == "good"
    assert sites.br("parcel", "receive", again)["missing_volumes"] == []


def test_what_is_left_at_the_receiver_is_no_parcel_and_is_received_anew(shipped: tuple[Sites, str, list[Path]]) -> None:
    sites, parcel, volumes = shipped
    sites.br("parcel", "receive", volumes[0], code=None)
    (folder,) = (path for path in (sites.br.path / "parcels" / "in").iterdir() if path.is_dir())
    assert sites.br("parcel", "verify", parcel)["volumes"][0]["state"] == "good"
    # The packing list goes first, then the rest.
    (folder / "packing-list.json").unlink()
    assert sites.br.fails("parcel", "verify", parcel, code=6)["message"] == f"nothing of {parcel} is here"
    shutil.rmtree(folder / "archives")
    assert sites.br.fails("parcel", "verify", parcel, code=6)["code"] == "not-found"
    assert sites.br("parcel", "receive", *volumes)["missing_volumes"] == []
