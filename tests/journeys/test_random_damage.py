"""Random damage to media: the import is identical, or what is missing is named exactly; a good copy always heals.

``COURIER_DAMAGES`` (18) is how many damaged parcels are received; ``COURIER_DAMAGE_SEED`` repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from journey import FIXTURES, Home, Sites, add, create, describe_tree, exported, make_sites, noise, write, write_files

DAMAGES = int(os.environ.get("COURIER_DAMAGES", "18"))
SEED = int(os.environ.get("COURIER_DAMAGE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LAYOUTS = ("folder", "iso", "tape")
BLOCK = 1 << 20
HEADS = ("courier/packing-list.json", "courier/volume-label.json")
TABLES = ("courier/blocks.bin", "courier/contents.jsonl.gz", "courier/contents.jsonl.gz.age")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """A shipped parcel: where its good volumes stand, by layout, and its archives' bytes by path."""

    name: str
    root: Path
    files: dict[str, bytes]

    def volumes(self, layout: str) -> list[Path]:
        return sorted((self.root / layout).iterdir())


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    sites: Sites
    source: Path
    parcels: tuple[Parcel, ...]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A plain and a sealed parcel with spare volume and redundancy, written in every layout; the notices have come."""
    root = tmp_path_factory.mktemp("base")
    sites = make_sites(root)
    source = write_files(root / "source", noise_bin=noise(5_000_000), empty=b"", small=b"small")
    shutil.copy(FIXTURES / "boot.wim", source)
    package = add(sites.hq, source, id="HQ100001")
    parcels = []
    for encrypt in (False, True):
        parcel = create(sites.hq, package, capacity="3MB", encrypt=encrypt, spare_volumes=1)
        place = root / "media" / parcel
        for layout in LAYOUTS:
            write(sites.hq, parcel, layout, place / layout)
        sites.hq("parcel", "ship", parcel)
        payload = (path for volume in (place / "folder").iterdir() for path in (volume / "data").rglob("*"))
        files = {path.relative_to(path.parents[2]).as_posix(): path.read_bytes() for path in payload if path.is_file()}
        parcels.append(Parcel(name=parcel, root=place, files=files))
    sites.sync()
    return Base(sites=sites, source=source, parcels=tuple(parcels))


class Vandal:
    """Damages copies of volumes, and says how."""

    def __init__(self, rng: random.Random, parcel: Parcel, layout: str, place: Path) -> None:
        self._rng = rng
        self._parcel = parcel
        self._layout = layout
        shutil.copytree(parcel.root / layout, place)
        self.volumes = sorted(place.iterdir())
        self.done: list[str] = []

    def _files(self, volume: Path) -> list[Path]:
        return sorted(path for path in volume.rglob("*") if path.is_file()) if volume.is_dir() else [volume]

    def _any_file(self) -> Path:
        # As often a small file as a large one: documents and labels are small.
        files = self._files(self._rng.choice(self.volumes))
        if self._rng.random() < 0.5:
            return self._rng.choice(files)
        return self._rng.choices(files, [path.stat().st_size + 1 for path in files])[0]

    def _change(self, path: Path, start: int, end: int, how: Callable[[bytes], bytes]) -> None:
        data = bytearray(path.read_bytes())
        data[start:end] = how(bytes(data[start:end]))
        path.write_bytes(data)

    def _flipped(self, data: bytes) -> bytes:
        return bytes(byte ^ self._rng.randrange(1, 256) for byte in data)

    def flip(self) -> str:
        path = self._any_file()
        size = path.stat().st_size
        at = self._rng.randrange(max(size, 1))
        count = self._rng.choice((1, 1, 8, 2048))
        self._change(path, at, at + count, self._flipped)
        return f"{count} bytes at {at} of {path}"

    def zero(self) -> str:
        path = self._any_file()
        at = self._rng.randrange(path.stat().st_size or 1)
        count = min(self._rng.choice((100, 2048, 65_536, 2 << 20)), path.stat().st_size - at)
        self._change(path, at, at + count, lambda data: bytes(len(data)))
        return f"{count} zeros at {at} of {path}"

    def truncate(self) -> str:
        path = self._any_file()
        to = self._rng.randrange(path.stat().st_size or 1)
        os.truncate(path, to)
        return f"{path} ends after {to}"

    def lengthen(self) -> str:
        path = self._any_file()
        path.write_bytes(path.read_bytes() + self._rng.randbytes(self._rng.choice((1, 2048, 100_000))))
        return f"{path} is longer"

    def remove(self) -> str:
        path = self._any_file()
        path.unlink()
        if path in self.volumes:
            self.volumes.remove(path)
        return f"{path} is gone"

    def swap(self) -> str:
        one, other = self._any_file(), self._any_file()
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
        return f"{one} and {other} are swapped"

    def lose(self) -> str:
        volume = self._rng.choice(self.volumes)
        self.volumes.remove(volume)
        shutil.rmtree(volume) if volume.is_dir() else volume.unlink()
        return f"{volume} is lost"

    def spoil(self, volume: Path, name: str) -> str:
        """Alter a document or table on one volume, wherever the layout has it; nothing where there is none so named."""
        good = self._parcel.root / "folder" / volume.name[:15] / name
        wanted = good.read_bytes() if good.exists() else b"?"
        for path in self._files(volume):
            at = path.read_bytes().find(wanted)
            if good.exists() and at >= 0:
                at += self._rng.randrange(len(wanted))
                self._change(path, at, at + 1, self._flipped)
        return f"{name} of {volume} is altered"

    def spoil_any(self) -> str:
        return self.spoil(self._rng.choice(self.volumes), self._rng.choice((*TABLES, *HEADS)))

    def damage(self) -> None:
        ways = (self.flip, self.flip, self.zero, self.truncate, self.lengthen, self.remove, self.swap, self.lose)
        for _ in range(self._rng.choice((1, 1, 2, 3, 5))):
            if len(self.volumes) > 1:
                self.done.append(self._rng.choice((*ways, self.spoil_any, self.spoil_any))())


def receive(home: Home, volumes: list[Path], alone: bool) -> list[dict[str, Any]]:
    """Receive all at once, or each ``alone``; whatever comes of it, it is none of the unexpected."""
    documents = []
    for some in [[volume] for volume in volumes] if alone else [volumes]:
        ran = home.ran("parcel", "receive", *some, code=None)
        assert ran.code in (0, 2, 3, 4, 6), f"{ran.code}: {ran.out}{ran.err}"
        documents.append(ran.document)
    return documents


def readable(parcel: Parcel, volume: Path) -> set[tuple[str, int]]:
    """The blocks that are good on a volume in a folder, read without our code."""
    good = set()
    for name, data in parcel.files.items():
        path = volume / name
        read = path.read_bytes() if path.is_file() else b""
        blocks = range(-(-len(data) // BLOCK))
        good |= {(name, n) for n in blocks if read[n * BLOCK :].startswith(data[n * BLOCK : (n + 1) * BLOCK])}
    return good


def check_missing(home: Home, parcel: Parcel, documents: list[dict[str, Any]], layout: str) -> None:
    """What is said to be here is here, right to the byte; what is said to be missing was good on no volume taken."""
    shown = home("parcel", "show", parcel.name)
    missing: set[tuple[str, int]] = set()
    for volume in shown["volumes"]:
        for file in volume["blocks"]["files"]:
            missing |= {(file["file"], n) for first, last in file["missing"] for n in range(first, last + 1)}
    assert any("archives" in name for name, _ in missing), "nothing is missing, and it is not imported"
    (spool,) = (home.path / "parcels" / "in").glob(f"{parcel.name}-*")
    for name, data in parcel.files.items():
        here = spool / "archives" / Path(name).name
        kept = here.read_bytes() if here.exists() else b""
        for at in range(0, len(data), BLOCK):
            if (name, at // BLOCK) not in missing:
                assert kept[at : at + BLOCK] == data[at : at + BLOCK], (name, at)
    if layout == "folder":
        for document in documents:
            for volume in document.get("volumes", []):
                lost = missing & readable(parcel, Path(volume["path"]))
                assert not lost, f"{volume['path']}: {lost} could have been had"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", [*TABLES, HEADS[0]])
def test_a_first_volume_with_a_damaged_table_is_had_once_another_brought_it(
    base: Base, tmp_path: Path, layout: str, name: str
) -> None:
    shutil.copytree(base.sites.br.path, tmp_path / "BR1")
    home = Home(code="BR1", path=tmp_path / "BR1")
    parcel = base.parcels[name.endswith(".age")]
    vandal = Vandal(random.Random(0), parcel, layout, tmp_path / "media")
    first, *others = vandal.volumes
    vandal.spoil(first, name)
    error = home.fails("parcel", "receive", first, code=4)
    assert "another volume of the parcel first, then this one again" in error["hint"]
    assert name in TABLES or f"volume 1 of {len(vandal.volumes)} of {parcel.name}" in error["message"]
    # One of the others stays away, which its parity mends, so that all of the first is needed.
    for volume in others[1:]:
        assert home("parcel", "receive", volume)["state"] == "Arriving"
    document = home("parcel", "receive", first)
    assert document["state"] == "Imported"
    assert any(name in finding for finding in document["volumes"][0]["findings"])
    assert exported(home, "HQ100001:1", tmp_path / "out") == describe_tree(base.source)
    if name != HEADS[0]:
        assert home("parcel", "receive", first)["state"] == "Imported"


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_damaged_media_give_the_same_import_or_name_what_is_missing_and_good_copies_heal(
    base: Base, tmp_path: Path, layout: str
) -> None:
    print(f"COURIER_DAMAGE_SEED={SEED}")
    rng = random.Random(f"{SEED} {layout}")
    wanted = describe_tree(base.source)
    imported = 0
    for turn in range(max(1, DAMAGES // len(LAYOUTS))):
        place = tmp_path / str(turn)
        shutil.copytree(base.sites.br.path, place / "BR1")
        home = Home(code="BR1", path=place / "BR1")
        parcel = rng.choice(base.parcels)
        vandal = Vandal(rng, parcel, layout, place / "media")
        vandal.damage()
        rng.shuffle(vandal.volumes)
        print(turn, parcel.name, json.dumps(vandal.done))
        documents = receive(home, vandal.volumes, alone=rng.random() < 0.5)
        if state(home, parcel) == "Imported":
            imported += 1
        else:
            if state(home, parcel) == "Arriving":
                check_missing(home, parcel, documents, layout)
            if state(home, parcel) == "Arriving" and rng.random() < 0.3:
                ask_for_blocks(base.sites.hq, home, parcel, place)
            else:
                heal(rng, home, parcel, rng.choice((layout, "iso")))
        assert state(home, parcel) == "Imported"
        assert exported(home, "HQ100001:1", place / "out") == wanted
        assert home("package", "verify")["packages"][0]["state"] == "good"
        shutil.rmtree(place)
    print(f"{imported} imported in spite of all")


def state(home: Home, parcel: Parcel) -> str:
    found = {one["parcel_id"]: one["state"] for one in home("parcel", "list")["received"]}
    return str(found[parcel.name])


def ask_for_blocks(hq: Home, home: Home, parcel: Parcel, place: Path) -> None:
    """The sender's answer to what is asked for is enough, be it for parity to mend the rest."""
    home("parcel", "repair", parcel.name, "--request-out", place / "request")
    hq("parcel", "answer", place / "request", "--out", place / "answer")
    home("parcel", "repair", parcel.name, "--reply", place / "answer")


def heal(rng: random.Random, home: Home, parcel: Parcel, layout: str) -> None:
    """Good copies, one at a time, of just what is said to be missing; of any volume while nothing is known."""
    for _ in range(20):
        if state(home, parcel) == "Imported":
            return
        shown = home("parcel", "show", parcel.name)
        volumes = parcel.volumes(layout)
        missing = shown["missing_volumes"] or range(1, len(volumes) + 1)
        home("parcel", "receive", volumes[rng.choice(list(missing)) - 1], code=None)
    raise AssertionError(f"good copies do not heal: {shown}")
