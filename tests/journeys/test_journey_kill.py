"""SIGKILL at random moments over every step of the journey: nothing is lost, and the same command goes on.

``COURIER_KILLS`` (60) is how many kills are spread over all orders and steps; ``COURIER_KILL_SEED`` repeats a run.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from journey import (
    FIXTURES,
    SMALL,
    Home,
    Sites,
    add,
    create,
    describe_tree,
    exported,
    make_sites,
    noise,
    run,
    write,
    write_files,
)

KILLS = int(os.environ.get("COURIER_KILLS", "60"))
SEED = int(os.environ.get("COURIER_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
ORDERS = ("notice first", "media first")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="elsewhere: SIGKILL and forkserver are POSIX")


def _command(arguments: tuple[str, ...]) -> None:
    sys.exit(run(*arguments, code=None).code)


class Killer:
    """Runs commands, each in a process of its own, and kills them at random moments."""

    def __init__(self, rng: random.Random, kills_a_step: int) -> None:
        self.rng = rng
        self.kills = kills_a_step
        # A server that has imported everything forks one process a command: the moments fall into the work itself.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            [
                "courier.packages.add",
                "courier.sending.ship",
                "courier.sending.write",
                "courier.receiving.receive",
                "courier.channel.sync",
                "courier.cli.app",
                "alembic.command",
                "filelock",
                "pydantic.type_adapter",
                "securesystemslib.dsse",
                "sqlalchemy.dialects.sqlite",
            ]
        )
        self.killed = 0

    def _start(self, home: Home, arguments: tuple[object, ...]) -> BaseProcess:
        text = (*map(str, arguments), "--home", str(home.path), "--json", "--yes")
        process = self._context.Process(target=_command, args=(text,))
        process.start()
        return process

    def step(self, home: Home, *arguments: object, likely: float = 0.3) -> None:
        """Start the command and kill it, several times; then run it to its end, which must be good.

        ``likely`` is how long it takes, in seconds, as far as is known; it is learned from runs that end by themselves.
        """
        for _ in range(self.kills):
            if not self.kill(home, *arguments, likely=likely):
                likely *= 0.7
        self.finish(home, *arguments)

    def kill(self, home: Home, *arguments: object, likely: float = 0.3) -> bool:
        """Start the command and kill it; False when it ended before, which must have been good."""
        process = self._start(home, arguments)
        process.join(self.rng.uniform(0, likely))
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL), f"{arguments} ended with {process.exitcode}"
        self.killed += process.exitcode != 0
        return process.exitcode != 0

    def finish(self, home: Home, *arguments: object) -> None:
        """Run the same command to its end."""
        process = self._start(home, arguments)
        process.join(120)
        assert process.exitcode == 0, f"{arguments} ended with {process.exitcode}"


def known(home: Home) -> list[str]:
    """The parcels a site has made."""
    built = (parcel for parcel in home("parcel", "list")["sent"] if parcel["state"] != "Planned")
    return [parcel["parcel_id"] for parcel in built]


def create_through_kills(killer: Killer, hq: Home) -> str:
    """``parcel create``: killed until it is recorded, or finished in the end; whatever is recorded is whole."""
    command = ("parcel", "create", "HQ100001:1", "--to", "BR1", "--capacity", SMALL)
    for _ in range(killer.kills):
        killer.kill(hq, *command)
        if known(hq):
            break
    else:
        killer.finish(hq, *command)
    (parcel,) = known(hq)
    assert hq("parcel", "verify", parcel)["volumes"][0]["problems"] == []
    return parcel


def source_tree(root: Path) -> Path:
    """A real image, one that compresses, and small files."""
    source = write_files(root, small=b"small", empty=b"", noise_bin=noise(400_000))
    for name in ("boot.wim", "disk.raw"):
        (source / name).write_bytes((FIXTURES / name).read_bytes())
    return source


@pytest.mark.slow
def test_adding_many_small_files_goes_on_after_kills_and_loses_nothing(tmp_path: Path) -> None:
    print(f"COURIER_KILL_SEED={SEED}")
    killer = Killer(random.Random(f"{SEED} small"), max(1, KILLS // 4))
    sites: Sites = make_sites(tmp_path)
    small = {f"f{number}": noise(3000, number) for number in range(50)}
    first = add(sites.hq, write_files(tmp_path / "first", **small), id="HQ100001")
    before = sites.hq.contents()
    source = write_files(tmp_path / "source", **{f"g{number}": noise(100 + number, number) for number in range(3000)})
    adding = ("package", "add", source, "--name", "Drivers", "--id", "HQ100002")
    removing = ("package", "remove", "HQ100002")
    for _ in range(killer.kills):
        killer.kill(sites.hq, *adding, likely=0.8)
        if len(sites.hq("package", "list")["packages"]) > 1:
            assert {one["state"] for one in sites.hq("package", "verify")["packages"]} == {"good"}
            killer.kill(sites.hq, *removing, likely=0.2)
        assert sites.hq("package", "verify", first)["packages"][0]["state"] == "good"
        assert {content.sha256 for content in before} <= {content.sha256 for content in sites.hq.contents()}
    print(f"{killer.killed} commands killed")
    killer.finish(sites.hq, *adding)
    assert {one["state"] for one in sites.hq("package", "verify")["packages"]} == {"good"}
    assert exported(sites.hq, "HQ100002", tmp_path / "out") == describe_tree(source)
    killer.finish(sites.hq, *removing)
    assert sites.hq.contents() == before
    assert leftovers(tmp_path) == []


def leftovers(root: Path) -> list[str]:
    """Temporary names anywhere in the sites and on the media."""
    return [str(path.relative_to(root)) for path in root.rglob(".courier-tmp-*") if "share" not in path.parts]


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_the_same_commands_go_on_after_kills_and_end_in_the_same_state(tmp_path: Path, order: str) -> None:
    print(f"COURIER_KILL_SEED={SEED}")
    rng = random.Random(f"{SEED} {order}")
    sites: Sites = make_sites(tmp_path)
    source = source_tree(tmp_path / "source")
    killer = Killer(rng, max(1, KILLS // len(ORDERS) // 9))
    killer.step(sites.hq, "package", "add", source, "--name", "X", "--id", "HQ100001", "--version", 1)
    parcel = create_through_kills(killer, sites.hq)
    for layout in ("iso", "folder", "tape"):
        out = tmp_path / "media" / layout
        killer.step(sites.hq, "parcel", "write", parcel, "--layout", layout, "--out", out)
    discs, tapes = (sorted((tmp_path / "media" / layout).iterdir()) for layout in ("iso", "tape"))
    volumes = discs[::2] + tapes[1::2]
    rng.shuffle(volumes)
    killer.step(sites.hq, "parcel", "ship", parcel, likely=0.1)
    killer.step(sites.hq, "channel", "sync", likely=0.1)
    if order == "notice first":
        killer.step(sites.br, "channel", "sync", likely=0.15)
        killer.step(sites.br, "parcel", "receive", *volumes[:2])
        killer.step(sites.br, "parcel", "receive", *volumes)
    else:
        killer.step(sites.br, "parcel", "receive", *volumes)
        killer.step(sites.br, "channel", "sync")
    killer.step(sites.br, "channel", "sync", likely=0.1)
    killer.step(sites.hq, "channel", "sync", likely=0.1)
    print(f"{killer.killed} commands killed")
    assert sites.hq("parcel", "show", parcel)["state"] == "Confirmed"
    assert sites.br("parcel", "show", parcel)["state"] == "Imported"
    assert [package["version"] for package in sites.br("package", "list")["packages"]] == [1]
    for home in sites.homes:
        assert home("package", "verify")["packages"][0]["state"] == "good"
    assert exported(sites.br, "HQ100001:1", tmp_path / "out") == describe_tree(source)
    assert list((sites.br.path / "parcels" / "in").glob("HQ1*")) == []
    assert len(sites.br("parcel", "receive", *volumes)["volumes"]) == len(volumes)
    # What was staged is swept by the next command that stages.
    for home in sites.homes:
        extra = add(home, write_files(tmp_path / f"extra-{home.code}", a=b"a"))
        home("package", "remove", extra)
    assert leftovers(tmp_path) == []
    assert sites.br.contents() == sites.hq.contents()


def bytes_of(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["by network", "by file"])
def test_laying_out_anew_discarding_and_repairing_go_on_after_kills(tmp_path: Path, way: str) -> None:
    print(f"COURIER_KILL_SEED={SEED}")
    killer = Killer(random.Random(f"{SEED} {way}"), max(1, KILLS // 2 // 14))
    sites: Sites = make_sites(tmp_path)
    hq, br = sites.homes
    source = source_tree(tmp_path / "source")
    package = add(hq, source, id="HQ100001")
    parcel = create(hq, package, spare_volumes=1)

    # Another medium: one new edition however often it is begun, and its volumes are issued again to the byte.
    other, media = ("--layout", "folder", "--capacity", "1MB"), tmp_path / "media"
    killer.step(hq, "parcel", "write", parcel, *other, "--out", media, likely=0.5)
    first = bytes_of(media)
    killer.step(hq, "parcel", "drill", parcel, "--lose", 1, likely=0.1)
    killer.step(hq, "parcel", "discard", parcel, likely=0.1)
    killer.step(hq, "parcel", "write", parcel, *other, "--out", tmp_path / "again", likely=0.5)
    assert bytes_of(tmp_path / "again") == first
    assert len(list(hq.path.glob("parcels/out/*/packing-list*"))) == 1
    hq("parcel", "ship", parcel)
    sites.sync(hq)

    # Two volumes stay away, which is one too many for parity.
    volumes = sorted(media.iterdir())
    some = killer.rng.sample(volumes, len(volumes) - 2)
    killer.step(br, "parcel", "receive", "--hold", *some)
    killer.step(br, "parcel", "discard", parcel, likely=0.1)
    assert [arrival["state"] for arrival in br("parcel", "list")["received"]] == ["Discarded"]
    br("channel", "sync")
    killer.step(br, "parcel", "receive", "--hold", *some)
    if way == "by file":
        request, answer = tmp_path / "request", tmp_path / "answer"
        killer.step(br, "parcel", "repair", parcel, "--request-out", request, likely=0.2)
        killer.step(hq, "parcel", "answer", request, "--out", answer, likely=0.2)
        killer.step(br, "parcel", "repair", parcel, "--reply", answer, likely=0.3)
    else:
        killer.step(br, "parcel", "repair", parcel, "--from-network", likely=0.2)
        for home in (br, hq, br):
            killer.step(home, "channel", "sync", likely=0.2)
    killer.step(br, "parcel", "import", parcel)
    print(f"{killer.killed} commands killed")
    assert exported(br, package, tmp_path / "out") == describe_tree(source)
    for home in (br, hq):
        home("channel", "sync")
    assert hq("parcel", "show", parcel)["state"] == "Confirmed"
    assert br.contents() == hq.contents()
    assert leftovers(tmp_path) == []


@pytest.mark.slow
def test_a_catalogue_is_rebuilt_from_media_through_kills(tmp_path: Path) -> None:
    print(f"COURIER_KILL_SEED={SEED}")
    killer = Killer(random.Random(f"{SEED} rebuild"), max(1, KILLS // 10))
    sites: Sites = make_sites(tmp_path)
    source = source_tree(tmp_path / "source")
    parcel = create(sites.hq, add(sites.hq, source, id="HQ100001"), encrypt=False)
    volumes = write(sites.hq, parcel, "folder", tmp_path / "media")
    first = bytes_of(tmp_path / "media")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    for home in sites.homes:
        for path in home.path.glob("catalogue.sqlite*"):
            path.unlink()
        # The other site's card was in the catalogue too.
        (other,) = (one for one in sites.homes if one is not home)
        home("catalog", "rebuild", "--card", tmp_path / f"{other.code}.card")
        home("channel", "address", "add", other.code, tmp_path / "share")
        killer.step(home, "catalog", "rebuild", *volumes, likely=0.4)
    print(f"{killer.killed} commands killed")
    shown = sites.hq("parcel", "show", parcel)
    assert (shown["state"], {volume["state"] for volume in shown["volumes"]}) == ("Written", {"Written"})
    write(sites.hq, parcel, "folder", tmp_path / "again")
    assert bytes_of(tmp_path / "again") == first
    (arriving,) = sites.br("parcel", "list")["received"]
    assert (arriving["parcel_id"], arriving["state"]) == (parcel, "Arriving")
    sites.hq("parcel", "ship", parcel)
    sites.sync()
    assert sites.br("parcel", "receive", *volumes)["state"] == "Imported"
    assert exported(sites.br, "HQ100001:1", tmp_path / "out") == describe_tree(source)
    assert leftovers(tmp_path) == []
