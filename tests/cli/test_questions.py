"""Questions: where nobody can answer, every command that asks wants --yes, in the same words; a busy home is exit 9."""

from __future__ import annotations

import pytest
from journey import FIXTURES, Sites, add, create, make_sites, run, sent

from courier.files import locked


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    sites = make_sites(tmp_path_factory.mktemp("questions"))
    package = add(sites.hq, FIXTURES / "boot.wim")
    sent(sites.hq, package, out=sites.root / "media")
    create(sites.hq, package)
    return sites


ASKING = (
    ("package", "remove", "HQ100001:1"),
    ("package", "retire", "HQ100001:1", "--reason", "old"),
    ("parcel", "write", "HQ1-000002", "--layout", "folder", "--out", "OUT"),
    ("parcel", "discard", "HQ1-000002"),
    ("parcel", "recall", "HQ1-000001", "--reason", "wrong"),
    ("site", "revoke", "BR1", "--reason", "stolen"),
)


@pytest.mark.parametrize("command", ASKING, ids=lambda command: " ".join(command[:2]))
def test_what_would_ask_wants_yes_where_nobody_can_answer(sites: Sites, command: tuple[str, ...]) -> None:
    words = [sites.root / "out" if word == "OUT" else word for word in command]
    before = sites.hq.state()
    error = run(*words, "--home", sites.hq.path, "--json", code=3).error
    assert error["code"] == "not-confirmed"
    assert error["message"].endswith("This needs a yes")
    assert error["hint"] == "give --yes"
    assert sites.hq.state() == before


def test_a_home_that_another_command_uses_is_busy(sites: Sites) -> None:
    with locked(sites.hq.path / "parcels" / "out" / "lock"):
        error = sites.hq.fails("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", "5MB", code=9)
    assert error["code"] == "busy"
    with locked(sites.hq.path / "store" / "lock"):
        assert sites.hq.fails("package", "remove", "HQ100001:1", code=9)["code"] == "busy"
