"""The command line's contract: names, options, JSON keys, exit codes, and what people see."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from journey import (
    FIXTURES,
    ROOT,
    SMALL,
    Sites,
    add,
    change_byte,
    environment,
    make_home,
    make_sites,
    run,
    run_process,
    sent,
    started_with,
    write,
)

from courier import __version__
from courier.error_codes import EXIT_CODES

COMMANDS = {
    (): ["demo", "init", "site", "package", "parcel", "channel"],
    ("site",): ["card", "trust", "list", "show", "revoke"],
    ("package",): ["add", "list", "show", "verify", "remove", "export"],
    ("parcel",): ["create", "write", "ship", "receive", "verify", "import", "list", "show", "log", "discard"],
    ("channel",): ["address", "sync", "status"],
    ("channel", "address"): ["add", "list", "remove"],
}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Sites:
    """Two sites, a parcel written, shipped, received but for one volume."""
    sites = make_sites(tmp_path_factory.mktemp("cli"))
    package = add(sites.hq, FIXTURES / "boot.wim")
    sent(sites.hq, package, out=sites.root / "media", compress="none", redundancy="none")
    sites.sync()
    return sites


@pytest.mark.parametrize("group", COMMANDS, ids=" ".join)
def test_every_command_of_the_contract_is_there_and_has_the_common_options(group: tuple[str, ...]) -> None:
    listed = run(*group, "--help").out
    for name in COMMANDS[group]:
        assert f" {name} " in listed
        if (*group, name) not in COMMANDS:
            shown = run(*group, name, "--help").out
            for option in ("--home", "--json", "--json-lines", "--quiet", "--yes"):
                assert option in shown


def test_what_writes_has_a_dry_run() -> None:
    for command in (("package", "add"), ("parcel", "create"), ("parcel", "write"), ("parcel", "ship")):
        assert "--dry-run" in run(*command, "--help").out


def test_version_and_the_table_of_exit_codes_in_help() -> None:
    assert run_process("--version").out == f"courier {__version__}\n"
    shown = " ".join(run("--help").out.split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in shown


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['courier', '--help']\n"
        "from courier.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'pycdlib', 'numpy', 'alembic', 'cryptography'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nonsense",), 2),
        (("parcel", "create"), 2),
        (("parcel", "create", "HQ100001", "--to", "BR1", "--media", "floppy"), 2),
        (("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", "much"), 2),
        (("parcel", "create", "HQ100001", "--to", "BR1"), 2),
        (("parcel", "create", "HQ100001", "--to", "BR1", "--to", "BR1", "--media", "dvd5"), 2),
        (("parcel", "create", "HQ100001", "--to", "HQ1", "--media", "dvd5"), 2),
        (("parcel", "create", "HQ100001", "--to", "BR1", "--media", "dvd5", "--compress", "much"), 2),
        (("parcel", "create", "bad", "--to", "BR1", "--media", "dvd5"), 2),
        (("parcel", "create", "HQ100001:x", "--to", "BR1", "--media", "dvd5"), 2),
        (("parcel", "write", "HQ1-000001", "--layout", "stone", "--out", "/tmp"), 2),
        (("parcel", "show", "HQ1-1"), 2),
        (("package", "add", "/dev/null", "--name", ""), 2),
        (("package", "add", "/dev/null", "--name", "Device"), 3),
        (("package", "add", "/nowhere", "--name", "X"), 6),
        (("site", "show", "br"), 2),
        (("channel", "address", "add", "BR1", "/tmp", "--priority", "0"), 2),
        (("init", "--site", "hq", "--name", "X"), 2),
        (("init", "--site", "HQ1", "--name", "X"), 2),
        (("parcel", "write", "HQ1-000001", "--layout", "iso", "--out", "/tmp/x", "--volume", "99"), 6),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_silly_mistake_gets_its_exit_code_and_says_what_to_do(
    sites: Sites, arguments: tuple[str, ...], code: int
) -> None:
    error = sites.hq.fails(*arguments, code=code)
    lines = run(*arguments, "--home", sites.hq.path, code=code).err.splitlines()
    assert lines == [f"courier: {error['message']}", f"  -> {error['hint']}"]


def test_what_an_operator_would_want_to_know_is_said(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    first = sites.hq.says("package", "add", FIXTURES / "boot.wim", "--name", "Windows 11")
    assert "note" not in first
    again = sites.hq.says("package", "add", FIXTURES / "boot.wim", "--name", "Windows 11")
    assert "note: HQ100001:1 has the very same content" in again
    other = sites.hq.says("package", "add", FIXTURES, "--name", "Tools", "--id", "HQ100001")
    assert "note: HQ100001:1 is called Windows 11" in other
    error = sites.hq.fails("parcel", "create", "HQ100001", "--to", "BR1", "--capacity", "3", code=2)
    assert "3 bytes" in error["message"]
    assert "64GB" in error["hint"]


def test_an_announced_parcel_shows_its_notice(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    parcel, _ = sent(sites.hq, add(sites.hq, FIXTURES / "boot.wim"), out=sites.root / "media")
    sites.sync(sites.hq, sites.br)
    shown = sites.br.says("parcel", "show", parcel)
    assert f"{parcel} from HQ1: Announced" in shown
    assert "Packages: HQ100001:1" in shown
    assert " carrier -, tracking -, seals: none" in shown
    assert "courier parcel receive MEDIUM" in shown


def test_a_home_that_is_none(tmp_path: Path) -> None:
    error = run("package", "list", "--home", tmp_path, "--json", code=6).error
    assert str(tmp_path) in error["message"]
    assert "courier init" in error["hint"]


def test_a_home_is_not_made_over_anything_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    error = run("init", "--site", "HQ1", "--name", "X", "--home", tmp_path, "--json", code=2).error
    assert "'notes.txt'" in error["message"]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_home_whose_settings_are_lost_keeps_its_keys_and_what_it_knows(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = run("init", "--site", "HQ1", "--name", "X", "--home", home, "--json").document
    (tmp_path / "file").write_bytes(b"content")
    run("package", "add", tmp_path / "file", "--name", "F", "--home", home)
    (home / "site.json").unlink()
    error = run("init", "--site", "BR1", "--name", "X", "--home", home, "--json", code=3).error
    assert "HQ1" in error["message"]
    assert run("init", "--site", "HQ1", "--name", "X", "--home", home, "--json").document == made
    assert len(run("package", "list", "--home", home, "--json").document["packages"]) == 1
    (home / "site.json").unlink()
    (home / "card.json").write_bytes(b"garbage")
    run("init", "--site", "HQ1", "--name", "X", "--home", home, "--json", code=4)
    (home / "card.json").unlink()
    error = run("init", "--site", "HQ1", "--name", "X", "--home", home, "--json", code=3).error
    assert "card.json" in error["message"]
    assert not (home / "card.json").exists()


def test_the_home_is_named_by_the_environment_or_by_an_option_anywhere(sites: Sites, tmp_path: Path) -> None:
    by_environment = run_process("package", "list", "--json", COURIER_HOME=str(sites.hq.path), cwd=tmp_path)
    assert by_environment.document == run("package", "list", "--json", "--home", sites.hq.path).document
    assert by_environment.document == run("--home", sites.hq.path, "package", "list", "--json").document


def test_the_common_options_mean_the_same_before_the_command_as_after_it(sites: Sites) -> None:
    home, listed = sites.hq.path, ("package", "list")
    document = run(*listed, "--home", home, "--json").document
    assert run("--home", home, "--json", *listed).document == document
    assert run("--json", *listed, "--home", home).document == document
    assert json.loads(run("--json-lines", "--home", home, *listed).out) == document
    assert run("--quiet", "--home", home, *listed).out == ""
    reference = add(sites.hq, FIXTURES / "disk.raw")
    run("package", "remove", reference, "--home", home, code=3)
    run("--yes", "--home", home, "package", "remove", reference)


def test_a_group_without_a_command_prints_its_help(sites: Sites) -> None:
    for group in COMMANDS:
        assert run(*group, code=2).out == run(*group, "--help").out


KEYS: dict[tuple[str, ...], set[str]] = {
    ("package", "list"): {"packages"},
    ("package", "show", "HQ100001"): {"package_id", "version", "name", "bytes", "files"},
    ("parcel", "list"): {"sent", "received"},
    ("parcel", "show", "HQ1-000001"): {"parcel_id", "state", "volumes"},
    ("parcel", "log", "HQ1-000001"): {"parcel_id", "log"},
    ("parcel", "verify", "HQ1-000001"): {"volumes"},
    ("channel", "status"): {"outbox", "dead_letters"},
    ("site", "list"): {"site", "sites"},
    ("site", "card"): {"site", "fingerprint", "card"},
    ("site", "show", "BR1"): {"site", "fingerprint", "trusted"},
}


@pytest.mark.parametrize("command", KEYS, ids=" ".join)
def test_json_is_one_document_and_nothing_else_on_stdout(sites: Sites, command: tuple[str, ...]) -> None:
    ran = run_process(*command, "--home", sites.hq.path, "--json")
    assert KEYS[command] <= json.loads(ran.out).keys()
    assert ran.err == ""


def test_the_json_keys_that_scripts_rely_on(sites: Sites, tmp_path: Path) -> None:
    source = tmp_path / "image.wim"
    source.write_bytes((FIXTURES / "boot.wim").read_bytes())
    added = sites.hq("package", "add", source, "--name", "Keys")
    assert {"package_id", "version"} <= added.keys()
    reference = f"{added['package_id']}:{added['version']}"
    created = sites.hq("parcel", "create", reference, "--to", "BR1", "--capacity", SMALL, "--redundancy", "none")
    assert {"parcel_id", "state", "volumes"} <= created.keys()
    parcel = created["parcel_id"]
    written = sites.hq("parcel", "write", parcel, "--layout", "folder", "--out", tmp_path / "m")
    for volume in written["volumes"]:
        assert {"number", "of", "path", "bytes", "state"} <= volume.keys()
    shipped = sites.hq("parcel", "ship", parcel)
    assert (shipped["parcel_id"], shipped["state"]) == (parcel, "Sent")
    sites.sync()
    paths = [volume["path"] for volume in written["volumes"]]
    received = sites.br("parcel", "receive", paths[0])
    assert {"parcel_id", "state", "volumes", "missing_volumes", "damaged_blocks", "imported"} <= received.keys()
    for volume in received["volumes"]:
        assert {"number", "of", "path", "bytes", "state"} <= volume.keys()
    shown = sites.br("parcel", "show", parcel)
    assert {"parcel_id", "state", "missing_volumes", "damaged_blocks"} <= shown.keys()
    for volume in shown["volumes"]:
        assert {"number", "of", "path", "state"} <= volume.keys()
    imported = sites.br("parcel", "receive", *paths)["imported"]
    assert [{"package_id", "version"} <= item.keys() for item in imported] == [True]


def test_json_lines_stream_what_happens_and_end_with_the_document(sites: Sites) -> None:
    ran = run("parcel", "receive", sites.root / "media", "--home", sites.br.path, "--json-lines")
    lines: list[dict[str, Any]] = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["volume"]["number"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert lines[-1]["imported"][0]["package_id"] == "HQ100001"


def test_quiet_prints_nothing_but_errors(sites: Sites) -> None:
    ran = run("parcel", "show", "HQ1-000001", "--home", sites.hq.path, "--quiet")
    assert ran.out + ran.err == ""
    assert run("parcel", "show", "HQ1-000099", "--home", sites.hq.path, "--quiet", code=6).err


def test_damaged_content_ends_with_4(sites: Sites, tmp_path: Path) -> None:
    volumes = write(sites.hq, "HQ1-000001", "iso", tmp_path)
    change_byte(volumes[0], (sites.root / "media" / volumes[0].stem / "data" / "archives" / "000001.7z.age"))
    ran = sites.br.ran("parcel", "verify", volumes[0], code=4)
    assert ran.document["volumes"][0]["damaged_blocks"] == 1
    assert ran.document["volumes"][0]["state"] == "damaged"


def test_two_commands_at_once_are_told_apart(sites: Sites) -> None:
    from courier.files import locked

    with locked(sites.hq.path / "store" / "lock"):
        error = sites.hq.fails("package", "add", FIXTURES / "boot.wim", "--name", "X", code=9)
    assert error["code"] == "busy"


def test_ctrl_c_ends_with_8_and_the_same_command_goes_on(sites: Sites, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("courier.packages.add.read_tree", interrupt)
        error = sites.hq.fails("package", "add", FIXTURES / "boot.wim", "--name", "X", code=8)
    assert error["code"] == "interrupted"
    assert "same command" in error["hint"]
    add(sites.hq, FIXTURES / "boot.wim")


def test_removal_asks_and_takes_only_yes_for_yes(sites: Sites) -> None:
    reference = add(sites.hq, FIXTURES / "disk.raw")
    if os.name != "posix":
        pytest.skip("elsewhere: pseudo-terminals are POSIX")
    for answer, code in (("", 3), ("n", 3), ("yes", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        command = [sys.executable, "-m", "courier", "package", "remove", reference, "--home", str(sites.hq.path)]
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, env=environment(), check=False)
        os.close(ours)
        os.close(theirs)
        assert done.returncode == code, done.stderr
        assert "[y/N]" in done.stdout


def test_output_cut_short_by_its_reader_is_no_error(sites: Sites) -> None:
    command = f"{sys.executable} -m courier parcel log HQ1-000001 --home {sites.hq.path} | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment(), check=False)
    assert done.stderr == ""


def test_work_is_done_though_nobody_reads_what_is_said(sites: Sites) -> None:
    before = len(sites.hq("package", "list")["packages"])
    for command, code in ((("package", "add", FIXTURES / "boot.wim", "--name", "X"), 0), (("package", "show", "X"), 2)):
        for more in ([], ["--json"]):
            reader, writer = os.pipe()
            os.close(reader)
            words = [sys.executable, "-m", "courier", *map(str, command), "--home", str(sites.hq.path), *more]
            done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, env=environment(), check=False)
            os.close(writer)
            assert done.returncode == code
            assert b"Traceback" not in done.stderr
    assert len(sites.hq("package", "list")["packages"]) == before + 2


@pytest.mark.skipif(os.name != "posix", reason="elsewhere: named pipes are POSIX")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_whoever_ends_a_command_ends_it_as_ctrl_c_does(sites: Sites, tmp_path: Path, number: str) -> None:
    code, said = _signalled(sites, tmp_path, number, ignored=False)
    assert code == 8
    assert "give the same command again" in said
    assert "Traceback" not in said


@pytest.mark.skipif(os.name != "posix", reason="elsewhere: named pipes are POSIX")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_what_the_parent_chose_to_ignore_stays_ignored(sites: Sites, tmp_path: Path, number: str) -> None:
    """As nohup does with SIGHUP, and a shell without job control with SIGINT for what it starts in the background."""
    code, said = _signalled(sites, tmp_path, number, ignored=True)
    assert code == 4  # it goes on, and finds that what it read is no card
    assert "interrupted" not in said


def _signalled(sites: Sites, folder: Path, number: str, *, ignored: bool) -> tuple[int, str]:
    """Exit code and error of a command that gets a signal while it reads a card from a pipe, which then ends empty."""
    pipe = folder / "card"
    os.mkfifo(pipe)
    words = ["site", "trust", str(pipe), "--home", str(sites.hq.path), "--json"]
    with (
        subprocess.Popen(
            [*started_with(getattr(signal, number), ignored=ignored), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        ) as running,
        # Opened when the command opens it to read, and it reads until this end is closed.
        pipe.open("wb") as card,
    ):
        running.send_signal(getattr(signal, number))
        if ignored:
            card.close()
        said, _ = running.communicate(timeout=60)
    return running.returncode, said


def test_a_home_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    home = make_home(tmp_path, "HQ1")
    # What SQLite says where a disk is mounted read-only, for the superuser too.
    (home.path / "catalogue.sqlite-wal").mkdir()
    error = home.fails("package", "list", code=3)
    assert error["code"] == "permission"
    assert str(home.path) in error["message"]
    assert "writable" in error["hint"]


def test_the_demo_tells_the_journey_and_ends_with_both_stores_compared(tmp_path: Path) -> None:
    ran = run_process("demo", "--keep", tmp_path / "demo")
    lines = [line for line in ran.out.splitlines() if line.lstrip()[:1].isdigit()]
    assert [int(line.split(".")[0]) for line in lines] == list(range(1, len(lines) + 1))
    for text in ("fingerprint", "boot.wim", "encrypted", "held", "receipt", "HQ1-000001 is Confirmed"):
        assert text in ran.out
    for layout in ("folder", "iso", "tape"):
        assert ran.out.count(f"courier/{layout}/HQ1_000001_V") >= 3
    assert "Both stores compared: the same packages at both sites, 1 file" in lines[-1]
    assert run("package", "verify", "--home", tmp_path / "demo" / "BR1", "--json").document["packages"]


def test_the_demo_leaves_nothing_and_says_it_in_json(tmp_path: Path) -> None:
    ran = run_process("demo", "--json", TMPDIR=str(tmp_path), cwd=ROOT)
    assert ran.document["same"] is True
    assert ran.document["state"] == "Confirmed"
    assert ran.document["volumes"] >= 3
    assert list(tmp_path.iterdir()) == []


def test_the_demo_of_a_deployment_ends_with_two_disks_of_the_same_image(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    *steps, document = map(json.loads, run("demo", "--deploy", "--keep", root, "--json-lines").out.splitlines())
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    told = " ".join(step["text"] for step in steps)
    for text in (
        "table",
        "migration point",
        "is refused",
        "nothing is amiss",
        "reported",
        "released",
        "Booting is left",
    ):
        assert text in told

    done = document["deploy"]
    assert (done["refused"], done["status_messages"], done["state_deleted"]) == ("repartition-erases-cache", 8, 1)
    assert len(done["discs"]) == 2
    image = (root / "system" / "system.img").read_bytes()
    assert image[1080:1082] == b"\x53\xef"
    for disk in (done["disk"], done["disk_from_discs"]):
        assert Path(disk).read_bytes()[1 << 20 :][: len(image)] == image


def test_the_demo_of_a_deployment_names_what_is_missing_and_begins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("courier.deployment.run.tools.find_tool", lambda _: None)
    error = run("demo", "--deploy", "--keep", tmp_path / "demo", "--json", code=6).error
    assert "debugfs and mkfs.ext4" in error["message"]
    assert "apt-get install e2fsprogs" in error["hint"]
    assert not (tmp_path / "demo").exists()
    assert run("demo", "--deploy", "--branch", "--json", code=2).error["code"] == "usage"


def test_the_demo_of_the_branch_goes_on_from_the_points_to_three_clients(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    *steps, document = map(json.loads, run("demo", "--branch", "--keep", root, "--json-lines").out.splitlines())
    assert [step["number"] for step in steps] == list(range(1, len(steps) + 1))
    told = " ".join(step["text"] for step in steps)
    for text in ("rules", "branch point", "second client", "before the first byte", "mends"):
        assert text in told
    assert "Compared: both clients have the image" in steps[-1]["text"]

    fresh, wrong, small = document["branch"]["clients"]
    assert document["branch"]["branch_point"]["fetched_bytes"] == fresh["fetched_bytes"] > 0
    assert [one["blocks_refused"] for one in wrong["sources"]] == [1, 0]
    assert (wrong["whole"], wrong["sources"][0]["bytes"], wrong["sources"][1]["bytes"] > 0) == (True, 0, True)
    assert (small["whole"], small["too_large"], small["fetched_bytes"]) == (False, True, 0)

    image = (FIXTURES / "boot.wim").read_bytes()
    assert (root / "client" / "boot.wim").read_bytes() == image
    assert [cached.read_bytes() for cached in (root / "cache").glob("*/files/boot.wim")] == [image]
    assert not list((root / "small").glob("**/boot.wim"))
    for path in ("point.json", "definitions/*", "listings/*", "content/*/*"):
        mine, theirs = (
            {found.relative_to(place): found.read_bytes() for found in place.glob(path)}
            for place in (root / "branch", root / "P1")
        )
        assert mine == theirs != {}


def test_a_policy_that_is_refused_in_part_is_refused_whole(tmp_path: Path) -> None:
    hq = make_sites(tmp_path).hq
    before = hq("site", "policy")
    command = ("site", "policy", "--max-transit-days", "60", "--media", "papyrus")
    assert "papyrus" in hq.fails(*command, code=2)["message"]
    assert hq("site", "policy") == before


def test_a_site_shows_all_that_it_has_told(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    assert sites.hq("site", "show", "BR1")["report"] is None
    assert "Report:      none came yet" in sites.hq.says("site", "show", "BR1")
    sites.br("site", "policy", "--media", "bd25")
    sites.sync()
    sites.sync()
    told = sites.hq("site", "show", "BR1")
    assert told["report"]["media"] == ["bd25"]
    assert told["report"]["places"][0]["name"] == "store"
    assert told["report"]["places"][0]["free"] > 0
    assert told["last_heard"]
    assert told["addresses"][0]["address"].endswith("share")
    said = sites.hq.says("site", "show", "BR1")
    assert "Reads media: bd25" in said
    assert "Trusts:      HQ1" in said
    assert "not measured (courier channel address test)" in said
