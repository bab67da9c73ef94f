"""Creating a parcel and writing its volumes in one pass: the same parcel, whatever happens on the way."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journey import Sites, add, describe_tree, digests_of, exported, make_sites, noise, run, write_files
from stock import stock_tool

from courier.errors import RefusedError
from courier.media import volume_in_making
from courier.media.volume_in_making import VolumeInMaking
from courier.media.writing import forget_cached
from courier.sending import build, one_pass, partial_volumes, write
from courier.site.home import Site
from formats.envelope import Envelope

MIB = 1 << 20
FILES = {"big": noise(7 * MIB + 5, 1), "again": noise(2 * MIB, 2), "one": noise(90_000, 3), "small": noise(700, 4)}
PACKAGE = "HQ100001"


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    """Two sites of which headquarters holds a package whose largest file is cut."""
    sites = make_sites(tmp_path)
    add(sites.hq, write_files(sites.root / "files", **FILES))
    return sites


def command(out: Path, *, layout: str = "iso", encrypt: bool = True, capacity: str = "4MiB") -> list[object]:
    seal = "--encrypt" if encrypt else "--no-encrypt"
    options = ["--to", "BR1", "--capacity", capacity, "--redundancy", "none", seal]
    return ["parcel", "create", PACKAGE, *options, "--write", layout, "--out", out]


def temporary(out: Path) -> list[str]:
    return [path.name for path in out.glob(".courier-tmp-*")]


def taken_in(sites: Sites, parcel: str, out: Path) -> bool:
    """Ship, receive and export; whether what comes out is what went in."""
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    sites.br("parcel", "receive", out)
    return exported(sites.br, PACKAGE, sites.root / "exported") == describe_tree(sites.root / "files")


@pytest.mark.parametrize(
    ("layout", "capacity", "encrypt"),
    [("iso", "4MiB", True), ("folder", "4MiB", False), ("iso", "64MiB", False), ("folder", "64MiB", True)],
)
def test_one_pass_makes_the_volumes_that_two_steps_make(
    sites: Sites, layout: str, capacity: str, *, encrypt: bool
) -> None:
    out, again = sites.root / "out", sites.root / "again"
    made = sites.hq(*command(out, layout=layout, encrypt=encrypt, capacity=capacity))
    assert made["state"] == "Written"
    assert made["encrypted"] is encrypt
    assert len(made["volumes"]) == len(list(out.iterdir())) == (3 if capacity == "4MiB" else 1)
    assert [one["state"] for one in made["volumes"]] == ["Written"] * len(made["volumes"])
    sites.hq("parcel", "write", made["parcel_id"], "--layout", layout, "--out", again)
    assert digests_of(out) == digests_of(again)
    assert sites.hq("parcel", "verify", out)
    assert taken_in(sites, made["parcel_id"], out)


def test_stock_tools_read_the_volumes(sites: Sites) -> None:
    out, unpacked = sites.root / "out", sites.root / "unpacked"
    sites.hq(*command(out, encrypt=False))
    parts = []
    for image in sorted(out.iterdir()):
        volume = unpacked / image.name
        volume.mkdir(parents=True)
        subprocess.run(
            [stock_tool("xorriso"), "-osirrox", "on", "-indev", f"stdio:{image}", "-extract", "/", volume],
            check=True,
            capture_output=True,
        )
        for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
            subprocess.run([stock_tool("sha256sum"), "-c", manifest], cwd=volume, check=True, capture_output=True)
        for archive in (volume / "data" / "archives").iterdir():
            subprocess.run([stock_tool("7z"), "t", archive], check=True, capture_output=True)
            subprocess.run([stock_tool("7z"), "x", archive, f"-o{unpacked}"], check=True, capture_output=True)
    parts = sorted((unpacked / "HQ100001-1").glob("big.*"))
    assert b"".join(path.read_bytes() for path in parts) == FILES["big"]
    assert (unpacked / "HQ100001-1" / "small").read_bytes() == FILES["small"]


def test_a_damaged_volume_is_repaired_by_network_as_any_other(sites: Sites) -> None:
    out = sites.root / "out"
    parcel = sites.hq(*command(out))["parcel_id"]
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    image = sorted(out.iterdir())[1]
    data = bytearray(image.read_bytes())
    data[len(data) // 2] ^= 1
    image.write_bytes(data)
    sites.br("parcel", "receive", out, code=4)
    sites.br("parcel", "repair", parcel, "--from-network", code=None)
    for _ in range(2):
        sites.sync(sites.br, sites.hq, sites.br)
    assert sites.br("package", "list")["packages"]


def test_nothing_is_signed_before_the_last_block_is_written_and_read_back(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites.hq("parcel", "create", PACKAGE, "--to", "BR1", "--capacity", "4MiB", "--redundancy", "none")
    read, signed = [], []
    real_read, real_sign = VolumeInMaking.read_payload, Site.sign

    def read_payload(self: VolumeInMaking, progress: Callable[[int], None]) -> None:
        real_read(self, progress)
        read.append(self.target.name)

    def sign(self: Site, payload: bytes, payload_type: str) -> Envelope:
        signed.append((payload_type, len(read)))
        return real_sign(self, payload, payload_type)

    monkeypatch.setattr(VolumeInMaking, "read_payload", read_payload)
    monkeypatch.setattr(Site, "sign", sign)
    sites.hq(*command(sites.root / "out"))
    assert len(read) == 3
    kinds = [kind.rpartition(".")[2].partition("+")[0] for kind, _ in signed]
    assert len([kind for kind in kinds if "packing" in kind]) == 1
    assert {count for _, count in signed} == {3}


def spoil(sites: Sites, size: int, at: int) -> None:
    (path,) = [one for one in sites.hq.large_files() if one.stat().st_size == size]
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize(("encrypt", "later"), [(False, False), (True, True)])
def test_content_that_changed_voids_the_build(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, *, encrypt: bool, later: bool
) -> None:
    out, real_write, size = sites.root / "out", VolumeInMaking.write, len(FILES["big"])
    seeds: list[Any] = []

    def write(self: VolumeInMaking, *arguments: Any) -> None:
        seeds.extend(path.read_bytes() for path in sites.hq.path.glob("parcels/out/*/encryption.seed"))
        real_write(self, *arguments)
        spoil(sites, size, 5 * MIB)
        monkeypatch.setattr(VolumeInMaking, "write", real_write)

    if later:
        monkeypatch.setattr(VolumeInMaking, "write", write)
    else:
        spoil(sites, size, 5 * MIB)
    before = sites.hq("parcel", "list")
    error = sites.hq.fails(*command(out, encrypt=encrypt), code=4)
    assert "big: the content is not what its listing says. HQ1-000001 is void" in error["message"]
    assert ("its keys are destroyed" in error["message"]) is encrypt
    assert "HQ1_000001_V001.iso" in error["message"]
    assert "unusable, it was removed" in error["message"]
    assert list(out.iterdir()) == []
    assert sites.hq("parcel", "list") == before
    assert not list(sites.hq.path.glob("parcels/out/*/*"))
    # Once the content is right again, so is the command; and the new parcel has other keys.
    spoil(sites, size, 5 * MIB)
    made = sites.hq(*command(out, encrypt=encrypt))
    new = [path.read_bytes() for path in sites.hq.path.glob("parcels/out/*/encryption.seed")]
    assert len(new) == encrypt
    assert not set(new) & set(seeds)
    assert taken_in(sites, made["parcel_id"], out)


def test_what_cannot_be_made_in_one_pass_is_refused_with_what_does_it(sites: Sites) -> None:
    add(sites.hq, write_files(sites.root / "text", text=b"".join(b"line %d of a text\n" % n for n in range(90_000))))
    holes = sites.root / "holes"
    with holes.open("wb") as file:
        file.truncate(8 * MIB)
        file.seek(4 * MIB)
        file.write(noise(MIB, 7))
    add(sites.hq, holes)
    out = sites.root / "out"
    usual = ("--to", "BR1", "--capacity", "16MiB")
    for options, said, instead in (
        ((PACKAGE, "--redundancy", "none", "--write", "tape"), "a tape", "--layout tape"),
        ((PACKAGE, "--write", "iso"), "parity", "--redundancy none"),
        ((PACKAGE, "--redundancy", "5%", "--write", "iso"), "parity", "--redundancy none"),
        ((PACKAGE, "--redundancy", "none", "--spare-volumes", 1, "--write", "iso"), "parity", "--spare-volumes"),
        (("HQ100002", "--redundancy", "none", "--write", "folder"), "compressed", "--compress none"),
        (("HQ100003", "--redundancy", "none", "--compress", "none", "--write", "iso"), "holes", "--layout iso"),
    ):
        for more in ((), ("--dry-run",)):
            error = sites.hq.fails("parcel", "create", *options, *usual, "--out", out, *more, code=3)
            assert error["code"] == "two-steps"
            assert said in error["message"]
            assert instead in error["hint"]
            assert "courier parcel write HQ1-000001 --layout" in error["hint"]
    create = ("parcel", "create", PACKAGE, *usual)
    assert "--write" in sites.hq.fails(*create, "--out", out, code=2)["hint"]
    assert "--out" in sites.hq.fails(*create, "--write", "iso", code=2)["hint"]
    assert "iso" in sites.hq.fails(*create, "--write", "disc", "--out", out, code=2)["hint"]
    assert (
        "--cluster"
        in sites.hq.fails(*create, "--write", "iso", "--out", out, "--cluster", "processes:2", code=2)["hint"]
    )
    assert not out.exists()
    assert sites.hq("parcel", "list")["sent"] == []


def test_media_without_room_for_all_volumes_are_refused(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("courier.sending.drives.free_space", lambda _: 5 * MIB)
    error = sites.hq.fails(*command(sites.root / "out"), code=5)
    assert "no room for 2 of 3 volumes" in error["message"]
    assert sites.hq("parcel", "list")["sent"] == []
    assert not list(sites.hq.path.glob("parcels/out/*/*"))


def test_a_key_that_is_renewed_meanwhile_voids_the_build(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    real_write = VolumeInMaking.write

    def write(self: VolumeInMaking, *arguments: Any) -> None:
        monkeypatch.setattr(VolumeInMaking, "write", real_write)
        real_write(self, *arguments)
        run("site", "rotate-key", "--home", sites.hq.path, "--json", "--yes")

    monkeypatch.setattr(VolumeInMaking, "write", write)
    error = sites.hq.fails(*command(sites.root / "out"), code=3)
    assert "the card of HQ1 was changed while" in error["message"]
    assert list((sites.root / "out").iterdir()) == []
    assert sites.hq(*command(sites.root / "out"))["state"] == "Written"


def harmed(harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, *, call: int) -> None:
    """Harm the medium at the ``call``-th time that the system is told to forget it, which is before it is read back."""
    real, calls = forget_cached, 0

    def harm_it(path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            harm(path)
        real(path)

    monkeypatch.setattr(volume_in_making, "forget_cached", harm_it)


def flip(place: int) -> Callable[[Path], None]:
    def harm(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)

    return harm


def test_a_medium_that_does_not_hold_the_payload_voids_the_build(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    harmed(flip(2 * MIB), monkeypatch, call=2)
    error = sites.hq.fails(*command(sites.root / "out"), code=4)
    assert error["code"] == "read-back"
    assert "does not read back as it was written. HQ1-000001 is void" in error["message"]
    assert list((sites.root / "out").iterdir()) == []
    assert sites.hq("parcel", "list")["sent"] == []


def test_a_medium_that_does_not_hold_the_documents_leaves_the_parcel_built(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = sites.root / "out"

    def harm(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data.replace(b'"payloadType"', b'"payloadtype"'))

    harmed(harm, monkeypatch, call=5)  # three payloads, then the documents of the second volume
    error = sites.hq.fails(*command(out), code=4)
    assert error["code"] == "read-back"
    assert "The parcel is built" in error["hint"]
    assert "courier parcel write HQ1-000001 --layout iso" in error["hint"]
    assert [path.name for path in out.iterdir()] == ["HQ1_000001_V001.iso"]
    (one,) = sites.hq("parcel", "list")["sent"]
    assert one["state"] == "Built"
    # The very same command goes on with that parcel.
    monkeypatch.undo()
    made = sites.hq(*command(out))
    assert made["parcel_id"] == "HQ1-000001"
    assert made["state"] == "Written"
    assert [one["kept"] for one in made["volumes"]] == [True, False, False]
    assert taken_in(sites, "HQ1-000001", out)


KILLED = {
    "the first volume is written": (VolumeInMaking, "write", 1, True),
    "the second volume is begun": (VolumeInMaking, "write", 2, False),
    "the last volume is not read back": (VolumeInMaking, "read_payload", 3, False),
    "the packing list is signed and not recorded": (one_pass, "record_built", 1, False),
    "the parcel is recorded": (one_pass, "signed_now", 1, False),
    "the first volume is complete and not recorded": (VolumeInMaking, "complete", 1, True),
    "the last volume is not complete": (VolumeInMaking, "complete", 3, False),
    "the volumes are written from the parcel": (write, "record_written", 2, True),
}
"""Where a run is killed: before or after the n-th call of a function."""


def killed(sites: Sites, where: str, arguments: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, number, after = KILLED[where]
    real, calls = getattr(owner, name), 0

    def call(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            os._exit(9)
        result = real(*given, **named)
        if calls == number:
            os._exit(9)
        return result

    child = os.fork()
    if not child:
        setattr(owner, name, call)
        run(*arguments, "--home", sites.hq.path, "--yes", code=None)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere: needs fork")
@pytest.mark.parametrize(
    ("where", "layout"),
    [*((where, "iso") for where in list(KILLED)[:-1]), *((where, "folder") for where in list(KILLED)[1::4])],
)
def test_a_run_that_was_killed_is_run_again(
    sites: Sites, where: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = sites.root / "out"
    killed(sites, where, command(out, layout=layout), monkeypatch)
    (seed,) = [path.read_bytes() for path in sites.hq.path.glob("parcels/out/*/encryption.seed")]
    assert len(temporary(out)) > 0
    listed = sites.hq("parcel", "list")["sent"]
    built = [one["parcel_id"] for one in listed if one["state"] == "Built"]
    made = sites.hq(*command(out, layout=layout))
    assert made["state"] == "Written"
    assert temporary(out) == []
    assert len(list(out.iterdir())) == 3
    (new,) = [path.read_bytes() for path in sites.hq.path.glob("parcels/out/*/encryption.seed")]
    assert (new == seed) is bool(built)
    again = sites.root / "again"
    sites.hq("parcel", "write", made["parcel_id"], "--layout", layout, "--out", again)
    assert digests_of(out) == digests_of(again)
    assert [one["parcel_id"] for one in sites.hq("parcel", "list")["sent"]] == [made["parcel_id"]]
    assert built in ([], [made["parcel_id"]])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere: needs fork")
def test_a_run_that_is_killed_again_while_it_completes_another_s_volumes_goes_on(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = sites.root / "out"
    for where in ("the parcel is recorded", "the volumes are written from the parcel"):
        killed(sites, where, command(out), monkeypatch)
    made = sites.hq(*command(out))
    assert (made["parcel_id"], made["state"]) == ("HQ1-000001", "Written")
    assert [one["kept"] for one in made["volumes"]] == [True, True, False]
    # Once all is written, the same command makes another parcel.
    assert sites.hq(*command(sites.root / "another"))["parcel_id"] == "HQ1-000002"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="elsewhere: needs fork")
def test_what_a_killed_run_left_goes_when_the_parcel_is_created_in_two_steps_or_another_is(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = sites.root / "out"
    for more in ((), ("--priority", "high")):
        killed(sites, "the first volume is written", command(out), monkeypatch)
        (seed,) = [path.read_bytes() for path in sites.hq.path.glob("parcels/out/*/encryption.seed")]
        assert temporary(out)
        two_steps = command(out)[: command(out).index("--write")]
        parcel = sites.hq(*two_steps, *more)["parcel_id"]
        assert temporary(out) == []
        (new,) = [path.read_bytes() for path in sites.hq.path.glob("parcels/out/*/encryption.seed")]
        assert new != seed
        sites.hq("parcel", "discard", parcel, code=None)
        (sites.hq.path / "parcels" / "out" / parcel / "encryption.seed").unlink(missing_ok=True)


def test_a_place_is_kept_for_signatures_that_are_shorter_now_and_then(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Site.sign, 0

    def sign(self: Site, payload: bytes, payload_type: str) -> Envelope:
        nonlocal calls
        calls += 1
        envelope = real(self, payload, payload_type)
        if calls % 3 == 0:
            return envelope
        ((keyid, signature),) = envelope.signatures
        return replace(envelope, signatures=((keyid, signature[:60]),))

    monkeypatch.setattr(Site, "sign", sign)
    assert sites.hq(*command(sites.root / "out"))["state"] == "Written"
    monkeypatch.undo()
    assert sites.hq("parcel", "verify", sites.root / "out")


def test_archives_of_a_build_whose_keys_are_gone_are_not_taken_for_those_of_new_keys(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> bytes:
        raise RefusedError("stopped here", hint="again")

    out, two_steps = sites.root / "out", command(Path())[:-4]
    with monkeypatch.context() as patch:
        patch.setattr(build, "sign_packing", stop)
        sites.hq.fails(*two_steps, code=3)
    (folder,) = sites.hq.path.glob("parcels/out/HQ1-*")
    assert list((folder / "recipes").iterdir())
    (folder / "encryption.seed").unlink()
    made = sites.hq(*two_steps)
    assert made["parcel_id"] == folder.name
    sites.hq("parcel", "write", folder.name, "--layout", "folder", "--out", out)
    assert taken_in(sites, folder.name, out)


def test_a_partial_volume_that_cannot_be_removed_is_named_and_stops_no_other_build(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    out = sites.root / "out"
    spoil(sites, len(FILES["big"]), 5 * MIB)
    with monkeypatch.context() as patch:
        patch.setattr(VolumeInMaking, "give_up", lambda self: refuse(self.temporary))
        error = sites.hq.fails(*command(out), code=4)
    left = sorted(temporary(out))
    assert "HQ1-000001 is void, and its keys are destroyed: what was written of HQ1_000001_V001.iso" in error["message"]
    assert f"delete it: {', '.join(str(out / name) for name in left)}" in error["message"]
    spoil(sites, len(FILES["big"]), 5 * MIB)
    with monkeypatch.context() as patch:
        patch.setattr(partial_volumes, "remove_tree", refuse)
        made = sites.hq(*command(sites.root / "other", capacity="8MiB"))
    assert taken_in(sites, made["parcel_id"], sites.root / "other")


def test_one_pass_that_is_stopped_says_that_it_is_void(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    real = VolumeInMaking.read_payload

    def stop(self: VolumeInMaking, *_: object) -> None:
        real(self, lambda _: None)
        raise KeyboardInterrupt

    monkeypatch.setattr(VolumeInMaking, "read_payload", stop)
    error = sites.hq.fails(*command(sites.root / "out"), code=8)
    assert "stopped. HQ1-000001 is void, and its keys are destroyed" in error["message"]
    assert "begins anew" in error["hint"]
