"""IDs and codes: typed in lower case they are taken, and the shell completes them without loading the toolkit."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from journey import ROOT, Sites, add, environment, make_sites, run, sent, write_files

from courier.site.catalog import messages
from courier.site.catalog.messages import Message
from courier.site.home import open_site


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    sites = make_sites(tmp_path_factory.mktemp("names"))
    package = add(sites.hq, write_files(sites.root / "in", note_txt=b"words"), name="Notes")
    sent(sites.hq, package, out=sites.root / "out")
    return sites


def test_ids_and_codes_in_lower_case_are_taken(sites: Sites) -> None:
    assert sites.hq("package", "show", "hq100001:1")["package_id"] == "HQ100001"
    assert sites.hq("parcel", "show", "hq1-000001")["parcel_id"] == "HQ1-000001"
    assert sites.hq("parcel", "verify", "hq1-000001")
    assert sites.hq("site", "show", "br1")["site"] == "BR1"
    created = sites.hq(
        "parcel", "create", "hq100001", "--to", "br1", "--capacity", "863KB", "--supersedes", "hq1-000001"
    )
    assert created["parcel_id"] == "HQ1-000002"
    sites.hq("package", "add", sites.root / "in", "--name", "Notes", "--id", "hq100001", "--version", "2")
    assert sites.hq("package", "offer", "hq100001:2", "--to", "br1")


def test_a_site_is_made_by_a_code_in_lower_case(tmp_path: Path) -> None:
    run("init", "--site", "br7", "--name", "Branch", "--home", tmp_path / "home")
    assert json.loads((tmp_path / "home" / "site.json").read_bytes())["site"] == "BR7"


def test_a_path_that_looks_like_an_id_stays_a_path(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hq1-000001").mkdir()
    assert "hq1-000001 is not a volume" in sites.hq.says("parcel", "verify", "hq1-000001", code=2)


def completed(sites: Sites, *words: str) -> list[str]:
    """What a shell is offered for the last of ``words``; fails where the database library or rich was loaded for it."""
    program = (
        "import sys\nsys.argv = ['courier']\n"
        "from courier.cli.app import main\n"
        "try:\n    main()\nfinally:\n"
        "    loaded = {'sqlalchemy', 'rich', 'cryptography', 'alembic'} & set(sys.modules)\n"
        "    print(*sorted(loaded), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env=environment(
            _COURIER_COMPLETE="complete_bash",
            COMP_WORDS=" ".join(["courier", *words]),
            COMP_CWORD=str(len(words)),
            COURIER_HOME=str(sites.hq.path),
        ),
    )
    assert done.stderr.strip() == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("parcel", "show", "HQ1-00"), "HQ1-000001"),
        (("parcel", "show", "hq1-00"), "HQ1-000001"),
        (("package", "show", "hq1"), "HQ100001"),
        (("package", "show", "HQ100001:"), "HQ100001:1"),
        (("parcel", "create", "HQ100001", "--to", "b"), "BR1"),
        (("parcel", "create", "HQ100001", "--media", "bd2"), "bd25"),
        (("parcel", "write", "HQ1-000001", "--layout", "f"), "folder"),
        (("channel", "address", "add", "B"), "BR1"),
    ],
)
def test_the_shell_completes_what_the_site_knows(sites: Sites, words: tuple[str, ...], offered: str) -> None:
    assert offered in completed(sites, *words)


def test_the_shell_offers_dead_letters_to_dismiss(sites: Sites) -> None:
    letter = Message(
        direction="in",
        sha256="0f3a" * 16,
        site="",
        type="",
        state="refused",
        reason="of an unknown sender",
        body=b"",
        created_ns=1,
        settled_ns=1,
        attempts=0,
    )
    with closing(open_site(sites.hq.path)) as site, site.catalogue.writing() as connection:
        messages.put(connection, letter)
    offered = completed(sites, "channel", "dismiss", "")
    assert letter.sha256[:12] in offered
    assert "HQ100001" not in offered


def test_without_a_home_nothing_is_offered(sites: Sites, tmp_path: Path) -> None:
    assert completed(sites, "--home", str(tmp_path), "parcel", "show", "HQ1") == []
