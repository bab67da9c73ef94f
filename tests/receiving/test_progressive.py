"""Progressive import: a package that is all here is used while the rest of its parcel is still on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journey import Home, Sites, add, exported, make_sites, noise, sent

MIB = 1 << 20


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def three(sites: Sites, **options: Any) -> tuple[list[str], str, list[Path]]:
    """(packages, parcel, volumes) of a parcel of three packages on three volumes or more, the smallest first."""
    packages = []
    for number, size in enumerate((1, 5, 6), 1):
        source = sites.root / f"package{number}.bin"
        source.write_bytes(noise(size * MIB, number))
        packages.append(add(sites.hq, source, name=f"Package {number}"))
    parcel, volumes = sent(sites.hq, *packages, out=sites.root / "out", capacity="5MB", redundancy="none", **options)
    sites.sync()
    assert len(volumes) >= 3
    return packages, parcel, volumes


def receive(home: Home, *volumes: Path, code: int | None = 0) -> dict[str, Any]:
    return home("parcel", "receive", *volumes, "--progressive", code=code)


def imported(document: dict[str, Any]) -> list[str]:
    return [f"{one['package_id']}:{one['version']}" for one in document["packages"] if one["outcome"]]


def states(document: dict[str, Any]) -> dict[str, tuple[str | None, list[int]]]:
    return {
        f"{one['package_id']}:{one['version']}": (one["outcome"], one["missing_volumes"])
        for one in document["packages"]
    }


def test_a_package_is_used_from_volume_1_while_the_last_is_still_missing(sites: Sites) -> None:
    packages, parcel, volumes = three(sites)
    document = receive(sites.br, volumes[0])
    assert document["state"] == "Importing"
    assert imported(document) == packages[:1]
    assert [one["package_id"] for one in document["imported"]] == [packages[0][:8]]
    assert exported(sites.br, packages[0], sites.root / "br1") == exported(sites.hq, packages[0], sites.root / "hq1")
    sites.br.fails("package", "export", packages[1], "--to", sites.root / "none", code=6)
    # The sender sees it, and nothing is confirmed.
    sites.sync(sites.br, sites.hq)
    shown = sites.hq("parcel", "show", parcel)
    assert shown["state"] == "Arriving"
    part = shown["to"][0]["part"]
    assert [f"{one['package_id']}:{one['version']}" for one in part["imported"]] == packages[:1]
    assert [f"{one['package_id']}:{one['version']}" for one in part["outstanding"]] == packages[1:]
    assert not shown["to"][0]["confirmed"]
    last = sites.br("parcel", "receive", *volumes[1:])
    assert last["state"] == "Imported"
    assert len(last["imported"]) == 2
    sites.sync(sites.br, sites.hq)
    shown = sites.hq("parcel", "show", parcel)
    assert (shown["state"], shown["to"][0]["part"]) == ("Confirmed", None)
    for number, package in enumerate(packages):
        assert exported(sites.br, package, sites.root / f"b{number}") == exported(
            sites.hq, package, sites.root / f"h{number}"
        )
