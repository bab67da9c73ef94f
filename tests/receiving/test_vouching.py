"""A package version is what its source site signed, whoever carries it; only what a parcel carries counts for it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from journey import Home, Sites, add, introduce, make_home, make_sites, sent

import courier.packages.add
import courier.packages.read_tree
from courier.parcel.content_table import ContentTable
from formats.documents.listing import FileEntry
from formats.records import changed


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """HQ1 and BR1, who know each other, and a third site RL1 that both know."""
    both = make_sites(tmp_path)
    relay = make_home(tmp_path, "RL1")
    introduce(tmp_path, relay, both.br)
    introduce(tmp_path, relay, both.hq)
    return Sites(root=tmp_path, homes=(*both.homes, relay))


def source(root: Path, name: str, data: bytes) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "image.wim").write_bytes(data)
    return folder


def forge(home: Home, package: str, as_package: str) -> str:
    """A package of this site's own under the ID of another site's, behind the toolkit's back."""
    with contextlib.closing(sqlite3.connect(home.path / "catalogue.sqlite")) as catalogue:
        catalogue.execute("UPDATE package SET package = ? WHERE package = ?", (as_package, package[:8]))
        catalogue.commit()
    return f"{as_package}:1"


def deliver(sites: Sites, sender: Home, package: str, name: str, *receivers: Home) -> tuple[str, list[Path]]:
    """A parcel of ``package`` made at ``sender``, its messages delivered; its ID and volumes."""
    parcel, volumes = sent(sender, package, out=sites.root / name, to=[home.code for home in receivers])
    sender("channel", "sync")
    for home in receivers:
        # 3: a parcel that was refused before is judged again, and still is.
        assert home.ran("channel", "sync", code=None).code in (0, 3)
    return parcel, volumes


@pytest.mark.parametrize("told", [False, True])
def test_no_site_brings_a_package_of_another_that_is_trusted(sites: Sites, told: bool) -> None:
    hq, br, bad = sites.homes
    honest = add(hq, source(sites.root, "honest", b"honest" * 1000))
    if told:
        parcel, volumes = deliver(sites, hq, honest, "m1", br)
    forged = forge(bad, add(bad, source(sites.root, "evil", b"evil" * 1000)), "HQ100001")
    _, evil = deliver(sites, bad, forged, "m2", br)
    error = br.fails("parcel", "receive", *evil, code=3)
    assert error["code"] == "not-vouched"
    assert "HQ100001:1 is a package of HQ1" in error["message"]
    assert br("package", "list")["packages"] == []
    if not told:
        parcel, volumes = deliver(sites, hq, honest, "m1", br)
    assert br("parcel", "receive", *volumes)["state"] == "Imported", parcel
    (held,) = br("package", "list")["packages"]
    assert held["listing"] == hq("package", "show", honest)["listing"]


def test_a_package_that_is_passed_on_carries_what_its_source_signed(sites: Sites) -> None:
    hq, br, relay = sites.homes
    package = add(hq, source(sites.root, "s", b"image" * 1000))
    _, volumes = deliver(sites, hq, package, "m1", relay)
    relay("parcel", "receive", *volumes)
    _, volumes = deliver(sites, relay, package, "m2", br)
    assert br("parcel", "receive", *volumes)["state"] == "Imported"
    assert br("package", "show", package)["vouched_by"] == "HQ1"


def test_what_the_relay_changed_is_refused_although_it_carries_the_source_s_word(sites: Sites) -> None:
    hq, br, bad = sites.homes
    package = add(hq, source(sites.root, "s", b"image" * 1000))
    _, volumes = deliver(sites, hq, package, "m1", bad)
    bad("parcel", "receive", *volumes)
    evil = add(bad, source(sites.root, "evil", b"evil!" * 1000))
    with contextlib.closing(sqlite3.connect(bad.path / "catalogue.sqlite")) as catalogue:
        columns = "listing, entries, files, bytes, holes"
        values = catalogue.execute(f"SELECT {columns} FROM package WHERE package = ?", (evil[:8],)).fetchone()
        catalogue.execute(f"UPDATE package SET ({columns}) = (?, ?, ?, ?, ?) WHERE package = 'HQ100001'", values)
        catalogue.execute("UPDATE definition SET listing = ? WHERE site = 'HQ1'", values[:1])
        catalogue.commit()
    _, volumes = deliver(sites, bad, package, "m2", br)
    error = br.fails("parcel", "receive", *volumes, code=3)
    assert error["code"] == "definition-disagrees"
    assert "HQ1 signed other content" in error["message"]


def test_of_an_unknown_source_only_a_relay_allowed_by_name_may_vouch(tmp_path: Path) -> None:
    pair = make_sites(tmp_path, "RL1", "BR1")
    relay, br = pair.homes
    hq = make_home(tmp_path, "HQ1")
    introduce(tmp_path, hq, relay)
    sites = Sites(root=tmp_path, homes=(hq, br, relay))
    package = add(hq, source(tmp_path, "s", b"image" * 1000))
    _, volumes = deliver(sites, hq, package, "m1", relay)
    relay("parcel", "receive", *volumes)
    parcel, volumes = deliver(sites, relay, package, "m2", br)
    error = br.fails("parcel", "receive", *volumes, code=3)
    assert error["code"] == "not-vouched"
    assert "courier site policy --relay RL1" in error["hint"]
    br("site", "policy", "--relay", "RL1")
    assert br("parcel", "import", parcel)["state"] == "Imported"
    assert br("package", "show", package)["vouched_by"] == "RL1"
    shown = br.says("package", "show", package)
    assert "Vouched for by RL1 alone" in shown
    assert "Pin the card of HQ1" in shown
    assert "(RL1 alone vouches for it)" in br.says("package", "list")
    # The source itself is pinned later, and its own word comes: it takes the relay's place.
    introduce(tmp_path, hq, br)
    shown = br.says("package", "show", package)
    assert "Pin the card" not in shown
    assert "with a parcel of HQ1 that has this version" in " ".join(shown.split())
    deliver(sites, hq, package, "m3", br)
    assert br("package", "show", package)["vouched_by"] == "HQ1"
    assert "alone" not in br.says("package", "list")


def test_a_source_that_contradicts_what_a_relay_brought_is_told_and_neither_is_used(tmp_path: Path) -> None:
    pair = make_sites(tmp_path, "RL1", "BR1")
    bad, br = pair.homes
    hq = make_home(tmp_path, "HQ1")
    sites = Sites(root=tmp_path, homes=(hq, br, bad))
    br("site", "policy", "--relay", "RL1")
    forged = forge(bad, add(bad, source(tmp_path, "evil", b"evil" * 1000)), "HQ100001")
    _, evil = deliver(sites, bad, forged, "m1", br)
    br("parcel", "receive", *evil)
    introduce(tmp_path, hq, br)
    honest = add(hq, source(tmp_path, "s", b"image" * 1000))
    parcel, volumes = sent(hq, honest, out=tmp_path / "m2")
    hq("channel", "sync")
    assert "CONTRADICTED HQ100001:1" in br.says("channel", "sync")
    assert br("package", "list")["packages"][0]["contradicted"] is True
    for command in (
        ("package", "export", forged, "--to", tmp_path / "out"),
        ("parcel", "create", forged, "--to", "RL1", "--capacity", "10MB"),
    ):
        assert br.fails(*command, code=3)["code"] == "definition-disagrees"
    assert br.fails("parcel", "receive", *volumes, code=3)["code"] == "version-conflict"
    br("package", "remove", forged)
    assert br("parcel", "import", parcel)["state"] == "Imported"
    assert br("package", "list")["packages"][0]["contradicted"] is False


def test_content_that_the_receiver_has_from_elsewhere_does_not_stand_in_for_what_a_parcel_lacks(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    hq, br, _ = sites.homes
    private = b"a private document of the branch" * 200
    add(br, source(sites.root, "private", private))
    folder = source(sites.root, "s", private)
    (folder / "other.wim").write_bytes(b"carried" * 1000)
    package = add(hq, folder)
    real = ContentTable.add

    def lacking(table: ContentTable, *, path: str, **more: Any) -> None:
        if path != "image.wim":
            real(table, path=path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ContentTable, "add", lacking)
        _, volumes = deliver(sites, hq, package, "m", br)
    error = br.fails("parcel", "receive", *volumes, code=3)
    assert error["code"] == "unexpected-member"
    assert "HQ100001:1/image.wim" in error["message"]
    assert [one["package_id"] for one in br("package", "list")["packages"]] == ["BR100001"]


def test_size_and_digest_of_a_content_are_one(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    hq, br, _ = sites.homes
    real_read, real_add = courier.packages.read_tree.read_tree, ContentTable.add

    def longer(*given: Any, **more: Any) -> Any:
        for entry in real_read(*given, **more):
            assert isinstance(entry, FileEntry)
            yield changed(entry, size=entry.size + 1)

    def shorter(table: ContentTable, *, size: int, **more: Any) -> None:
        real_add(table, size=size - 1, **more)

    with monkeypatch.context() as patch:
        patch.setattr(courier.packages.add, "read_tree", longer)
        package = add(hq, source(sites.root, "s", b"image" * 1000))
        patch.setattr(ContentTable, "add", shorter)
        _, volumes = deliver(sites, hq, package, "m", br)
    assert br.fails("parcel", "receive", *volumes, code=3)["code"] == "unexpected-member"
    assert br("package", "list")["packages"] == []


@pytest.mark.parametrize("shipped", [False, True])
def test_no_site_brings_back_other_content_under_a_number_that_this_site_gave(sites: Sites, shipped: bool) -> None:
    hq, br, bad = sites.homes
    mine = add(br, source(sites.root, "mine", b"mine" * 1000))
    if shipped:
        deliver(sites, br, mine, "m1", hq)
    br("package", "remove", mine)
    forged = forge(bad, add(bad, source(sites.root, "evil", b"evil" * 1000)), mine[:8])
    _, evil = deliver(sites, bad, forged, "m2", br)
    error = br.fails("parcel", "receive", *evil, code=3)
    assert error["code"] in ("not-vouched", "definition-disagrees")
    assert br("package", "list")["packages"] == []


def test_a_package_of_this_site_s_own_that_it_removed_comes_back_with_what_it_signed(sites: Sites) -> None:
    _, br, relay = sites.homes
    mine = add(br, source(sites.root, "mine", b"mine" * 1000))
    listing = br("package", "show", mine)["listing"]
    _, volumes = deliver(sites, br, mine, "m1", relay)
    relay("parcel", "receive", *volumes)
    br("package", "remove", mine)
    _, volumes = deliver(sites, relay, mine, "m2", br)
    assert br("parcel", "receive", *volumes)["state"] == "Imported"
    assert br("package", "show", mine)["listing"] == listing
