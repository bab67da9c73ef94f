"""What was handed over and not acknowledged goes again at once when its address is given up, or on demand."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest
from journey import FIXTURES, add, make_sites, sent

from courier.site.catalog import packages, parcels
from courier.site.home import open_site


def test_what_lies_in_a_folder_that_is_given_up_goes_by_the_next_address_at_once(tmp_path: Path) -> None:
    """Handed over, it would wait an hour for its acknowledgement before it goes again."""
    sites = make_sites(tmp_path)
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=tmp_path / "media")
    old = Path(sites.hq("channel", "address", "list")["addresses"][0]["address"])
    assert sites.hq("channel", "sync")["delivered"] > 1
    shutil.rmtree(old / "BR1")  # the share broke
    assert sites.hq("channel", "sync")["delivered"] == 0
    new = tmp_path / "new share"
    new.mkdir()
    for home, code in ((sites.hq, "BR1"), (sites.br, "HQ1")):
        home("channel", "address", "add", code, new)
        home("channel", "address", "remove", code, old)
    assert sites.hq("channel", "sync")["delivered"] > 1
    sites.br("channel", "sync")
    assert sites.br("parcel", "list")["received"][0]["parcel_id"] == parcel


@pytest.mark.parametrize("way", ["sync --now", "ship"])
def test_what_was_handed_over_and_got_lost_goes_again_when_it_is_asked_for(tmp_path: Path, way: str) -> None:
    sites = make_sites(tmp_path)
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=tmp_path / "media")
    share = Path(sites.hq("channel", "address", "list")["addresses"][0]["address"])
    sites.hq("channel", "sync")
    shutil.rmtree(share / "BR1")
    if way == "ship":
        sites.hq("parcel", "ship", parcel)
        sites.hq("channel", "sync")
    else:
        sites.hq("channel", "sync", "--now")
    sites.br("channel", "sync")
    with contextlib.closing(open_site(sites.br.path)) as br, br.catalogue.reading() as connection:
        assert len(packages.find_definitions(connection, "HQ100001", 1, "HQ1")) == 1
        assert len(parcels.notices(connection, parcel)) == 1
