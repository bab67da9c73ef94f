"""A parcel goes by network, in place of its media or beside them: whatever comes first counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from journey import Sites, add, create, exported, make_sites, noise, sent

MIB = 1 << 20


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    return make_sites(tmp_path)


def package_of(sites: Sites, size: int = 12 * MIB, seed: int = 0) -> str:
    source = sites.root / f"noise{seed}.bin"
    source.write_bytes(noise(size, seed))
    return add(sites.hq, source)


def imported_right(sites: Sites, package: str) -> None:
    assert exported(sites.br, package, sites.root / "at-br") == exported(sites.hq, package, sites.root / "at-hq")


def exchange(sites: Sites, most: int = 20) -> int:
    """Sync at both sites until the sender has the receipt; return how often."""
    for count in range(1, most + 1):
        sites.sync()
        if sites.hq("parcel", "list")["sent"][0]["state"] == "Confirmed":
            return count
    raise AssertionError("no receipt came")


def progress(sites: Sites, parcel: str) -> dict[str, Any]:
    found: dict[str, Any] = sites.hq("parcel", "show", parcel)["to"][0]["by_network"]
    return found


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_parcel_of_which_no_medium_is_written_arrives_by_network(sites: Sites, encrypt: bool) -> None:
    package = package_of(sites)
    parcel = create(sites.hq, package, capacity="5MB", encrypt=encrypt)
    begun = sites.hq("parcel", "send", parcel, "--by-network")["to"][0]
    assert begun["bytes"] > 12 * MIB
    assert sites.hq("parcel", "show", parcel)["state"] == "Sent"
    exchange(sites)
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    imported_right(sites, package)
    sites.sync()
    assert progress(sites, parcel) is None
    log = [one["text"] for one in sites.hq("parcel", "log", parcel)["log"] if one["event"] == "by-network"]
    assert "goes to BR1 by network" in log[0]
    assert "its receipt has come" in log[-1]
