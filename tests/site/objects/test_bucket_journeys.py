"""Deltas and progressive imports between sites whose content is in buckets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journey import Home, digests_of, introduce, noise, run, sent
from s3_server import new_bucket

from courier.receiving.delta_import import DeltaImport
from courier.site.objects.bucket import Bucket, parse_bucket
from courier.site.settings import Settings

SIZE = 1_500_000


@pytest.fixture
def sites(tmp_path: Path) -> tuple[Home, Home]:
    homes = [Home(code=code, path=tmp_path / code) for code in ("HQ1", "BR1")]
    for home in homes:
        run("init", "--site", home.code, "--name", home.code, "--home", home.path, "--store", new_bucket().address)
        run("site", "card", "--out", tmp_path / f"{home.code}.card", "--home", home.path)
    introduce(tmp_path, *homes)
    return homes[0], homes[1]


def month(root: Path, number: int) -> Path:
    """The folder of a monthly version: an image that changes in a few places, and a file that stays."""
    folder = root / f"month-{number}"
    folder.mkdir()
    image = bytearray(noise(SIZE, 1))
    image[500_000 * (number - 1) : 500_000 * (number - 1) + 100] = noise(150, number)
    (folder / "image.wim").write_bytes(image)
    (folder / "same.iso").write_bytes(noise(400_000, 2))
    (folder / "notes.txt").write_bytes(b"version %d" % number)
    return folder


def published(home: Home, root: Path, number: int) -> str:
    more = ("--id", "HQ100001") if number > 1 else ()
    files = sorted(month(root, number).iterdir())
    document = home("package", "add", *files, "--name", "Image", *more)
    return f"{document['package_id']}:{document['version']}"


def synced(*order: Home) -> None:
    for home in order:
        home("channel", "sync")


def delivered(hq: Home, br: Home, package: str, out: Path, **options: Any) -> tuple[str, dict[str, Any]]:
    """Send a package and receive it; the parcel, and what the receiving command said."""
    parcel, volumes = sent(hq, package, out=out, capacity="30MB", **options)
    synced(hq, br)
    return parcel, br("parcel", "receive", *volumes, code=None)


class ImageObject:
    """The object of an image in the bucket of a site; other bytes may be put in its place."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket, self._name = bucket, name
        self.data = bucket.read(name, 0, 2 * SIZE)

    def put(self, data: bytes) -> None:
        self._bucket.delete([self._name])
        self._bucket.put_bytes(self._name, data)


def images(home: Home) -> list[ImageObject]:
    """Those of all images."""
    bucket = Bucket(parse_bucket(Settings.load(home.path).store))
    return [ImageObject(bucket, one.name) for one in bucket.list("content") if one.size >= SIZE]


def spoilt(data: bytes) -> bytes:
    return data[:1_000_000] + bytes([data[1_000_000] ^ 1]) + data[1_000_001:]


def is_held(home: Home, package: str, root: Path, number: int) -> bool:
    home("package", "export", package, "--to", root / f"{home.code}-{number}")
    return digests_of(root / f"{home.code}-{number}") == digests_of(root / f"month-{number}")


@pytest.mark.long
def test_a_new_version_travels_as_what_has_changed_also_where_the_base_rotted(
    sites: tuple[Home, Home], tmp_path: Path
) -> None:
    hq, br = sites
    first = published(hq, tmp_path, 1)
    delivered(hq, br, first, tmp_path / "v1")
    synced(br, hq, br, hq)
    second = published(hq, tmp_path, 2)
    _, said = delivered(hq, br, second, tmp_path / "v2")
    assert said["parcels"][0]["state"] == "Imported"
    assert sum(path.stat().st_size for path in (tmp_path / "v2").rglob("*") if path.is_file()) < SIZE / 10
    assert is_held(br, second, tmp_path, 2)
    synced(br, hq, br, hq)
    third = published(hq, tmp_path, 3)
    for image in images(br):
        image.put(spoilt(image.data))
    parcel, said = delivered(hq, br, third, tmp_path / "v3")
    assert "missing or damaged here" in said["parcels"][0]["awaiting"][0]
    br("parcel", "repair", parcel, "--from-network")
    synced(br, hq, br)
    assert is_held(br, third, tmp_path, 3)
    assert hq("doctor")["findings"] == []


@pytest.mark.long
def test_a_base_that_is_swapped_between_check_and_use_makes_nothing(
    sites: tuple[Home, Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hq, br = sites
    delivered(hq, br, published(hq, tmp_path, 1), tmp_path / "v1")
    synced(br, hq, br, hq)
    second = published(hq, tmp_path, 2)
    (image,), check = images(br), DeltaImport.check_bases

    def swap(self: DeltaImport) -> None:
        check(self)
        image.put(spoilt(image.data))

    with monkeypatch.context() as patched:
        patched.setattr(DeltaImport, "check_bases", swap)
        parcel, _ = delivered(hq, br, second, tmp_path / "v2")
    assert [one["version"] for one in br("package", "list")["packages"]] == [1]
    br("parcel", "repair", parcel, "--from-network")
    synced(br, hq, br)
    assert is_held(br, second, tmp_path, 2)


def test_a_package_is_used_while_the_rest_of_its_parcel_is_on_the_way(sites: tuple[Home, Home], tmp_path: Path) -> None:
    hq, br = sites
    packages = []
    for number, size in enumerate((160_000, 800_000, 900_000), 1):
        source = tmp_path / f"package{number}.bin"
        source.write_bytes(noise(size, number))
        packages.append(hq("package", "add", source, "--name", source.stem)["package_id"])
    _, volumes = sent(hq, *packages, out=tmp_path / "out", redundancy="none")
    synced(hq, br)
    seen = []
    for volume in volumes:
        seen.append([one["package_id"] for one in br("parcel", "receive", volume, "--progressive")["imported"]])
    assert seen[0] == packages[:1]
    assert sorted(one["package_id"] for one in br("package", "list")["packages"]) == packages
    assert all(not one["problems"] for one in br("package", "verify")["packages"])
