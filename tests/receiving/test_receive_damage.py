"""What is damaged on the receiver's own disk is put right by a volume; what a medium carries beside costs nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from journey import FIXTURES, Home, Sites, add, create, make_sites, sent, write

from courier.parcel import volume_documents
from courier.parcel import volume_reader as intake

TABLES = ("contents", "blocks.bin", "packing-list.json")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """A parcel of several volumes in folders, shipped; its notice has come to BR1."""
    sites = make_sites(tmp_path_factory.mktemp("base"))
    package = add(sites.hq, FIXTURES / "boot.wim", FIXTURES / "disk.qcow2")
    parcel = create(sites.hq, package, compress="none", redundancy="none")
    write(sites.hq, parcel, "folder", sites.root / "folder")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    return sites


@pytest.fixture
def br(base: Sites, tmp_path: Path) -> Home:
    """The receiver, in a copy of its own."""
    shutil.copytree(base.br.path, tmp_path / "BR1")
    return Home(code="BR1", path=tmp_path / "BR1")


@pytest.fixture
def volumes(base: Sites, tmp_path: Path) -> list[Path]:
    """The volumes, in a copy of their own."""
    shutil.copytree(base.root / "folder", tmp_path / "folder")
    return sorted((tmp_path / "folder").iterdir())


def spool_of(home: Home) -> Path:
    return next((home.path / "parcels" / "in").glob("HQ1-000001-*"))


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])


@pytest.mark.parametrize("how", ["altered", "empty", "gone"])
@pytest.mark.parametrize("table", TABLES)
def test_a_table_damaged_on_our_own_disk_comes_with_the_next_volume_and_no_block_is_lost(
    br: Home, volumes: list[Path], table: str, how: str
) -> None:
    br("parcel", "receive", volumes[0], "--hold")
    spoil(spool_of(br) / table, how)
    document = br("parcel", "receive", *volumes[1:], "--hold")
    assert document["missing_volumes"] == []
    assert len(br("parcel", "import", "HQ1-000001")["imported"]) == 1


@pytest.mark.parametrize("table", TABLES[:2])
def test_a_table_that_changed_before_the_import_is_said_and_any_volume_brings_it(
    br: Home, volumes: list[Path], table: str
) -> None:
    br("parcel", "receive", *volumes, "--hold")
    spoil(spool_of(br) / table, "altered")
    assert br.fails("parcel", "import", "HQ1-000001", code=4)["code"] == "spool-damaged"
    assert br.contents() == []
    assert len(br("parcel", "receive", volumes[-1])["imported"]) == 1


@pytest.mark.parametrize("byte", [0, 1, 7, 255])
def test_a_map_of_blocks_that_is_garbage_is_never_believed_for_content(
    br: Home, volumes: list[Path], byte: int
) -> None:
    br("parcel", "receive", volumes[0], "--hold")
    archives = spool_of(br) / "archives"
    for have in archives.glob("*.have"):
        archive = have.with_name(have.name.removesuffix(".have"))
        archive.write_bytes(bytes(archive.stat().st_size))
        have.write_bytes(bytes([byte]) * have.stat().st_size)
    br("parcel", "receive", *volumes, "--hold")
    if byte == 1:
        assert br.fails("parcel", "import", "HQ1-000001", code=4)["code"] == "spool-damaged"
        br("parcel", "receive", *volumes, "--hold")
    assert len(br("parcel", "import", "HQ1-000001")["imported"]) == 1


def test_a_damaged_spool_does_not_keep_other_parcels_from_being_settled(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    shipped = [
        sent(sites.hq, add(sites.hq, FIXTURES / name), out=tmp_path / name, redundancy="none")
        for name in ("boot.wim", "disk.qcow2")
    ]
    (first, _), (second, _) = shipped
    for _, media in shipped:
        sites.br("parcel", "receive", *media)
    spoil(next((sites.br.path / "parcels" / "in").glob(f"{first}-*")) / "packing-list.json", "empty")
    for home in (sites.hq, sites.br):
        home("channel", "sync", code=None)
    assert sites.br("parcel", "show", second)["state"] == "Imported"
    sites.br("parcel", "receive", *shipped[0][1])
    assert sites.br("parcel", "show", first)["state"] == "Imported"


def test_files_without_number_on_a_medium_are_neither_kept_nor_all_named(
    br: Home, volumes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume_documents, "MAX_TAGS", 64)
    for number in range(200):
        (volumes[0] / "data" / f"stray-{number:03}").write_bytes(b"stray")
        (volumes[0] / "zz").mkdir(exist_ok=True)
        (volumes[0] / "zz" / f"stray-{number:03}").write_bytes(b"stray")
    document = br("parcel", "receive", *volumes)
    assert len(document["imported"]) == 1
    findings = document["volumes"][0]["findings"]
    assert len(findings) == intake.MAX_NAMED + 1
    assert "more are not in the packing list: ignored" in findings[-1]


def test_a_discard_that_was_made_is_made_again_without_fuss(br: Home, volumes: list[Path]) -> None:
    br("parcel", "receive", *volumes[:2])
    assert br("parcel", "discard", "HQ1-000001")["freed"] > 0
    assert br("parcel", "discard", "HQ1-000001")["freed"] == 0
    assert [one["state"] for one in br("parcel", "list")["received"]] == ["Discarded"]
    shown = br("parcel", "show", "HQ1-000001")
    assert (shown["state"], shown["volumes"]) == ("Discarded", [])
    assert br.fails("parcel", "import", "HQ1-000001", code=4)["code"] == "incomplete"
    assert br.fails("parcel", "discard", "HQ1-000002", code=6)["code"] == "not-found"
    assert len(br("parcel", "receive", *volumes)["imported"]) == 1


@pytest.mark.parametrize("whole", [False, True])
def test_a_medium_whose_content_is_here_is_not_called_good_unread(br: Home, volumes: list[Path], whole: bool) -> None:
    br("parcel", "receive", *(volumes if whole else volumes[:1]))
    spoil(next((volumes[0] / "data" / "archives").iterdir()), "altered")
    said = br.says("parcel", "receive", volumes[0])
    assert "not read again, because all of it is here" in said
    assert "good" not in said
    assert br.fails("parcel", "verify", volumes[0], code=4)["code"] == "damaged"


def test_what_is_here_of_an_arriving_parcel_is_told_from_what_is_to_come(br: Home, volumes: list[Path]) -> None:
    br("parcel", "receive", volumes[0])
    shown = br.says("parcel", "show", "HQ1-000001")
    assert shown.startswith("HQ1-000001 from HQ1: Arriving\n")
    said = br.says("parcel", "verify", "HQ1-000001")
    assert "good, as far as it is here" in said
    assert "bytes to come" in said
