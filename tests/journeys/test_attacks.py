"""Attacks, one test each and named as the attack: every one is refused, and nothing is written to the store.

Attacks on containers have rooms of their own: bombs, links, device nodes and illegal names in ``test_archive_attacks``;
climbing names and mixed volumes typed as an operator types them in ``test_journey_bad_input``; sealed files in
``test_age_attacks``; who may sign what, judgement by judgement, in ``test_trust``. The vectors of signed documents
(``tests/vectors/documents``) are made by ``tests/vectors/make_vectors.py``.
"""

from __future__ import annotations

import importlib.util
import io
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from journey import FIXTURES, Home, Sites, add, create, make_sites, noise, sent, write

from courier.errors import CourierError
from courier.site.trust import Trust, check_newer_card
from formats.age import CHUNK
from formats.archive import ArchiveReader, Member, write_archive
from formats.documents import arrival, label, notice, package, packing, recall, receipt, release
from formats.documents.kind import DocumentKind
from formats.errors import UnexpectedError


def _load() -> ModuleType:
    path = Path(__file__).parents[1] / "vectors" / "make_vectors.py"
    spec = importlib.util.spec_from_file_location("make_vectors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = _load()
VECTORS: dict[str, bytes] = MAKE.vectors()
KINDS: dict[str, tuple[DocumentKind[Any], bool]] = {
    "arrival": (arrival.KIND, False),
    "label": (label.KIND, True),
    "notice": (notice.KIND, False),
    "package": (package.KIND, False),
    "packing": (packing.KIND, True),
    "recall": (recall.KIND, False),
    "receipt": (receipt.KIND, False),
    "release": (release.KIND, False),
}
"""Name of a kind of document -> the kind, and whether it travels on media."""


def take(name: str, data: bytes) -> object:
    """Judge a vector as site BR1 does; ``name`` is its path, its kind the first word of the file's name."""
    kind = name.split("/")[1].split("-", maxsplit=1)[0].removesuffix(".json")
    if kind == "card":
        return check_newer_card(data, MAKE.HQ_CARD, now_ns=MAKE.NOW)
    document_kind, on_medium = KINDS[kind]
    trust = Trust(own="BR1", known=MAKE.KNOWN)
    return trust.verify(data, document_kind, now_ns=MAKE.NOW, where=kind, on_medium=on_medium)[0]


GOOD = [name for name in VECTORS if name.startswith("good/")]
BAD = [name for name in VECTORS if not name.startswith("good/")]


def test_the_committed_vectors_are_those_the_generator_makes() -> None:
    folder: Path = MAKE.FOLDER
    committed = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.json")}
    assert committed == VECTORS


@pytest.mark.parametrize("name", GOOD)
def test_a_good_document_is_taken(name: str) -> None:
    assert take(name, VECTORS[name])


@pytest.mark.parametrize("name", BAD)
def test_a_document_with_one_fault_is_refused_with_the_code_of_its_folder(name: str) -> None:
    with pytest.raises(CourierError) as caught:
        take(name, VECTORS[name])
    assert caught.value.code == name.split("/", maxsplit=1)[0]
    assert caught.value.exit_code in (3, 4)
    assert caught.value.hint


@pytest.mark.parametrize("name", GOOD)
def test_every_byte_of_every_signed_document_flipped(name: str) -> None:
    # A signature of a stranger counts for nothing, so what is altered in it changes nothing.
    if name.startswith("good/notice-with-a-strange"):
        return
    data = VECTORS[name]
    for at in range(len(data)):
        altered = bytearray(data)
        altered[at] ^= 1 << at % 8
        with pytest.raises(CourierError):
            take(name, bytes(altered))


# --- typed as an operator types -------------------------------------------------------------------------------------


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def store_of(home: Home) -> object:
    return home.state()["store"]


def refused(home: Home, *arguments: object, code: str, exit_code: int = 3) -> dict[str, Any]:
    """The command is refused with this code and the store is as it was."""
    before = store_of(home)
    ran = home.ran(*arguments, code=exit_code)
    assert ran.error["code"] == code
    assert store_of(home) == before
    return ran.document


def two_parcels(sites: Sites) -> list[tuple[str, list[Path]]]:
    """Two parcels of other content, shipped, their messages delivered."""
    found = []
    for n in range(2):
        source = sites.root / f"image{n}.bin"
        source.write_bytes(noise(900_000, seed=n))
        found.append(sent(sites.hq, add(sites.hq, source), out=sites.root / f"media{n}"))
    sites.sync()
    return found


def test_a_valid_packing_list_with_another_parcels_archives(sites: Sites) -> None:
    (parcel, volumes), (_, others) = two_parcels(sites)
    for volume, other in zip(volumes, others, strict=True):
        shutil.rmtree(volume / "data")
        shutil.copytree(other / "data", volume / "data")
    before = store_of(sites.br)
    ran = sites.br.ran("parcel", "receive", *volumes, code=4)
    assert ran.document["parcel_id"] == parcel
    assert ran.document["imported"] == []
    assert sites.br("package", "list")["packages"] == []
    assert store_of(sites.br) == before


def test_a_volume_swapped_between_parcels(sites: Sites) -> None:
    """A volume in another's place counts for its own parcel; one put together from two is refused."""
    (first, volumes), (second, others) = two_parcels(sites)
    taken = sites.br.ran("parcel", "receive", others[0], *volumes[1:], code=None).document
    assert {volume["parcel_id"] for volume in taken["volumes"]} == {first, second}
    assert sites.br("package", "list")["packages"] == []
    shutil.copy(others[0] / "courier" / "packing-list.json", volumes[0] / "courier" / "packing-list.json")
    refused(sites.br, "parcel", "receive", volumes[0], code="mixed-volume")


def test_a_volume_swapped_between_sites(tmp_path: Path) -> None:
    sites = make_sites(tmp_path, "HQ1", "BR1", "BR2")
    package = add(sites.hq, FIXTURES / "boot.wim")
    _, volumes = sent(sites.hq, package, out=tmp_path / "media", to=("BR2",))
    refused(sites.br, "parcel", "receive", volumes[0], code="not-for-us")


def test_a_volume_swapped_between_builds(sites: Sites) -> None:
    """The sender lost its home and uses the parcel's number again: two builds are never mixed."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    backup = sites.root / "backup"
    shutil.copytree(sites.hq.path, backup)
    _, volumes = sent(sites.hq, package, out=sites.root / "media")
    other = Home(code="HQ1", path=backup)
    _, others = sent(other, package, out=sites.root / "others", compress="none")
    sites.br("parcel", "receive", volumes[0], code=None)
    refused(sites.br, "parcel", "receive", others[1], code="other-build")


def test_an_archive_replaced_between_verification_and_import(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media", redundancy="none")
    sites.sync()
    sites.br("parcel", "receive", "--hold", *volumes)
    archive = next((sites.br.path / "parcels" / "in").rglob("*.age"))
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(bytes(data))
    refused(sites.br, "parcel", "import", parcel, code="spool-damaged", exit_code=4)
    assert sites.br("package", "list")["packages"] == []


def test_a_stolen_old_key(sites: Sites) -> None:
    """A thief with a copy of the home makes a parcel after the site has listed its key as lost."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    thief = Home(code="HQ1", path=sites.root / "thief")
    shutil.copytree(sites.hq.path, thief.path)
    new = sites.hq("site", "rotate-key", "--lost")
    sites.hq("site", "card", "--out", sites.root / "new.card")
    sites.br("site", "trust", sites.root / "new.card", "--fingerprint", new["fingerprint"])
    _, volumes = sent(thief, package, out=sites.root / "media")
    refused(sites.br, "parcel", "receive", volumes[0], code="key-not-valid")
    thief("channel", "sync")
    done = sites.br("channel", "sync", code=None)
    assert done["refused"]
    assert done["taken"] == 0


def test_a_forged_card(sites: Sites) -> None:
    """Another site that calls itself HQ1."""
    eve = make_sites(sites.root / "eve", "HQ1", "XX1")
    eve_card = sites.root / "eve" / "HQ1.card"
    error = sites.br.fails("site", "trust", eve_card, code=3)
    assert error["code"] in ("card-not-chained", "rolled-back-card")
    _, volumes = sent(eve.hq, add(eve.hq, FIXTURES / "boot.wim"), out=sites.root / "m", to=("XX1",))
    refused(sites.br, "parcel", "receive", volumes[0], code="unknown-key")


def test_a_rolled_back_card(sites: Sites) -> None:
    sites.hq("site", "rotate-key")
    sites.sync()
    assert sites.br("site", "show", "HQ1")["serial"] == 2
    assert sites.br.fails("site", "trust", sites.root / "HQ1.card", code=3)["code"] == "rolled-back-card"
    assert sites.br("site", "show", "HQ1")["serial"] == 2


def _replayed(sites: Sites, before: Callable[[], None], after: Callable[[], None], home: Home) -> tuple[object, object]:
    """What ``home`` knows before and after all messages to it so far come again, under new names too."""
    box = sites.root / "share" / home.code
    kept = sites.root / "kept"
    before()
    shutil.copytree(box, kept)
    home("channel", "sync")
    after()
    home("channel", "sync")
    known = _known(home)
    for path in kept.iterdir():
        shutil.copy(path, box / path.name)
    home("channel", "sync", code=None)
    return known, _known(home)


def _known(home: Home) -> object:
    state = home.state()
    catalogue = {name: rows for name, rows in state["catalogue"].items() if name != "message"}  # type: ignore[attr-defined]
    return state["store"], catalogue


def test_a_replayed_notice(sites: Sites) -> None:
    """After the parcel was imported, all its messages come once more."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel, volumes = sent(sites.hq, package, out=sites.root / "media")

    def arrive() -> None:
        assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"

    one, two = _replayed(sites, lambda: sites.sync(sites.hq), arrive, sites.br)
    assert one == two
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"


def test_a_replayed_receipt(sites: Sites) -> None:
    """After the store has lost the package again, the old receipt says nothing new; it is counted once."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    _, volumes = sent(sites.hq, package, out=sites.root / "media")
    sites.sync()
    sites.br("parcel", "receive", *volumes)
    one, two = _replayed(sites, lambda: sites.sync(sites.br), lambda: None, sites.hq)
    assert one == two


def test_a_replayed_recall(sites: Sites) -> None:
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    write(sites.hq, parcel, "folder", sites.root / "media")
    sites.hq("parcel", "ship", parcel)
    sites.sync()

    def recalled() -> None:
        sites.hq("parcel", "recall", parcel)
        sites.sync(sites.hq)

    one, two = _replayed(sites, recalled, lambda: None, sites.br)
    assert one == two


def test_an_older_notice_after_a_newer_one(sites: Sites) -> None:
    """Shipped again with another seal: the first notice, held back on its way, changes nothing."""
    package = add(sites.hq, FIXTURES / "boot.wim")
    parcel = create(sites.hq, package)
    write(sites.hq, parcel, "folder", sites.root / "media")
    box = sites.root / "share" / "BR1"
    sites.hq("parcel", "ship", parcel, "--carrier", "first")
    sites.sync(sites.hq)
    shutil.move(box, sites.root / "held-back")
    sites.hq("parcel", "ship", parcel, "--carrier", "second")
    sites.sync(sites.hq, sites.br)
    known = _notices(sites.br)
    assert len(known) == 1
    shutil.copytree(sites.root / "held-back", box, dirs_exist_ok=True)
    sites.br("channel", "sync")
    assert _notices(sites.br) == known


def _notices(home: Home) -> list[object]:
    catalogue: Any = home.state()["catalogue"]
    return list(catalogue["notice"])


@pytest.mark.parametrize("layout", ["folder", "iso", "tape"])
def test_names_and_sizes_read_from_an_encrypted_volume(sites: Sites, layout: str) -> None:
    """Every byte of the volumes is searched, in the encodings of all trees of a disc."""
    source = sites.root / "VerySecretName.img"
    source.write_bytes(noise(300_017))
    _, volumes = sent(sites.hq, add(sites.hq, source), layout=layout, out=sites.root / "media")
    names = [name.encode(way) for name in ("VerySecretName", "VERYSECR") for way in ("ascii", "utf-16-le", "utf-16-be")]
    sizes = [b"300017", b"300,017", (300_017).to_bytes(8, "little"), (300_017).to_bytes(8, "big")]
    found = [path for volume in volumes for path in (volume, *volume.rglob("*")) if path.is_file()]
    assert found
    for path in found:
        data = path.read_bytes()
        assert not [needle for needle in (*names, *sizes) if needle in data], path


def test_an_encrypted_archive_cut_at_a_chunk_border(sites: Sites) -> None:
    source = sites.root / "image.bin"
    source.write_bytes(noise(600_000))
    _, volumes = sent(sites.hq, add(sites.hq, source), out=sites.root / "media", redundancy="none")
    sites.sync()
    archive = max((p for volume in volumes for p in volume.rglob("*.age") if "archives" in p.parts), key=_size)
    data = archive.read_bytes()
    border = len(data) - (len(data) % (CHUNK + 16)) - (CHUNK + 16)
    archive.write_bytes(data[:border])
    before = store_of(sites.br)
    ran = sites.br.ran("parcel", "receive", *volumes, code=4)
    assert ran.document["imported"] == []
    assert store_of(sites.br) == before


def _size(path: Path) -> int:
    return path.stat().st_size


@pytest.mark.parametrize(
    "listed",
    [
        ["Readme.txt", "caf\u00e9.wim"],
        ["readme.txt", unicodedata.normalize("NFD", "caf\u00e9.wim")],
        ["caf\u00e9.wim", "readme.txt"],
        ["readme.txt"],
        ["readme.txt", "caf\u00e9.wim", "more.txt"],
    ],
    ids=["case", "normalisation", "order", "fewer", "more"],
)
def test_a_member_list_that_differs_from_the_packing_lists(listed: list[str]) -> None:
    out = io.BytesIO()
    names = ["readme.txt", "caf\u00e9.wim"]
    write_archive(out, ((Member(name=n, size=1, mtime_ns=0), lambda: io.BytesIO(b"x")) for n in names))
    reader = ArchiveReader(out)
    reader.expect([(name, 1) for name in names])
    with pytest.raises(UnexpectedError):
        reader.expect([(name, 1) for name in listed])
