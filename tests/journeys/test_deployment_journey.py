"""The journey of a whole deployment: by courier to the branch, to its point, to two computers, and from discs alone.

One computer has ext4 and a raw image, the other NTFS and a WIM. What is on their disks, stock tools have read.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deploy_client import MIB, disk_of, on_disk, partition, sequence, step, tree_of, wim_of
from journey import Home, add, make_sites, noise, run, sent, write_files
from stock import stock_tool

from courier.deployment.standalone.boot import Computer, deploy
from courier.deployment.standalone.drives import Drive

SYSTEM_FILES = {"etc/os-release": b"NAME=Branch", "usr/lib/system.bin": noise(900_000, 7)}
WINDOWS = {"Windows/System32/kernel.dll": noise(4_000_000, 6), "Windows/win.ini": b"old"}
OLD = {
    "etc/fstab": b"not of a user",
    "home/ann/letter.txt": b"Dear Bert",
    "home/ann/photo.raw": noise(300_000, 8),
    "home/ann/.cache/page": b"left out",
    "Users/bert/plan.txt": b"Dear Ann",
}
STATE_OF_USERS = ["home/*", "Users/*"]
SYSTEM_MIB = 4
LINUX_PARTS = [("SYSTEM", "linux", f"{SYSTEM_MIB}MiB", "none"), ("HOME", "linux", "rest", "ext4")]
WINDOWS_PARTS = [("WIN", "windows", "rest", "ntfs")]
COMPUTERS = """\
Name;UUID;MAC-Address;Model
NEW-1;4C4C4544-0044-3510-8052-B4C04F4A3732;00:1A:2B:3C:4D:5E;X1
NEW-2;;001a.2b3c.4d5f;X2
OLD-1;;00-1A-2B-00-00-01;X0
OLD-2;;00-1A-2B-00-00-02;X0
"""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """The branch after the courier came: its site, the image packages, the boot image, and what they hold."""

    root: Path
    home: Home
    raw: str
    wim: str
    boot: str
    raw_bytes: bytes

    def sequence(self, name: str, *steps: str) -> Path:
        """A task sequence in a file, with the boot image."""
        path = self.root / f"{name}.toml"
        path.write_text(f'boot-image = "{self.boot}"\n{sequence(*steps)}')
        return path

    def linux(self, name: str, *more: str) -> Path:
        """Erases the disk, and puts the raw image onto its first partition."""
        apply = step("apply-image", package=self.raw, part="SYSTEM")
        return self.sequence(name, step("partition", parts=LINUX_PARTS), apply, *more)

    def windows(self, name: str, *more: str) -> Path:
        """Erases the disk, and puts the WIM onto its NTFS partition."""
        apply = step("apply-image", package=self.wim, part="WIN")
        return self.sequence(name, step("partition", parts=WINDOWS_PARTS), apply, *more)


def id_of(package: str) -> str:
    """The ID without the version."""
    return package.partition(":")[0]


def raw_image(folder: Path) -> bytes:
    """A raw image of a system's partition: an ext4 file system that mkfs.ext4 made."""
    tree = tree_of(folder / "system", SYSTEM_FILES)
    image = disk_of(folder / "system.img", SYSTEM_MIB)
    subprocess.run([stock_tool("mkfs.ext4"), "-q", "-d", tree, image], check=True)
    return image.read_bytes()


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Branch:
    """Headquarters sends two images and a boot image by courier; the branch puts them on its point P1."""
    root = tmp_path_factory.mktemp("deployment")
    sites = make_sites(root)
    raw = raw_image(root)
    sources = {
        "raw": write_files(root / "raw", system_img=raw),
        "wim": write_files(root / "wim", install_wim=wim_of(root, WINDOWS)),
        "boot": write_files(root / "boot", vmlinuz=noise(50_000, 3), initrd_img=noise(90_000, 4)),
    }
    ids = {name: add(sites.hq, folder, name=name) for name, folder in sources.items()}
    _, volumes = sent(sites.hq, *ids.values(), out=root / "media")
    assert len(volumes) > 1
    sites.sync(sites.hq)
    for volume in reversed(volumes):
        sites.br("parcel", "receive", volume)
    sites.br("point", "add", "P1", root / "P1", "--reserve", "1MB")
    sites.br("point", "rule", "add", "--package", "HQ1", "--point", "P1")
    sites.sync(sites.br, sites.hq)
    sites.br("point", "rule", "apply")
    (root / "computers.csv").write_text(COMPUTERS)
    columns = ("--columns", "NAME,GUID,MAC,Model")
    assert len(sites.br("computer", "import", root / "computers.csv", *columns)["new"]) == 4
    packages = {name: id_of(one) for name, one in ids.items()}
    return Branch(root=root, home=sites.br, raw_bytes=raw, **packages)


def capture(branch: Branch, old: str, new: str, where: Path) -> dict[str, Any]:
    """Capture the users' files of ``old`` for ``new``."""
    branch.home("computer", "associate", old, new)
    words = [word for one in STATE_OF_USERS for word in ("--include", one)]
    return branch.home("state", "capture", old, "--from", where, *words, "--exclude", "**/.cache")


def refused(branch: Branch, package: str, computer: str, file: Path, *more: object) -> set[str]:
    """The codes of what refuses a deployment that is checked."""
    words = ("deploy", "check", package, "--to", computer, "--sequence", file, *more)
    return {one["code"] for one in branch.home(*words, code=3)["findings"] if one["refuses"]}


def deployed(branch: Branch, package: str, computer: str, file: Path) -> Path:
    """Check, deploy and run from the point; the disk image, after the site took the statuses that the client wrote."""
    root, home = branch.root, branch.home
    option = ("--option", "run-from-point")
    assert home("deploy", "check", package, "--to", computer, "--sequence", file, *option)["findings"] == []
    made = home("deploy", "create", package, "--to", computer, "--sequence", file, *option)
    name, policy, disk = made["deployment"], root / f"{computer}.policy", disk_of(root / f"{computer}.img", 48)
    home("deploy", "policy", name, computer, "--out", policy)
    cards = ("--card", root / "BR1.card", "--card", root / "HQ1.card")
    reports = ("--report", root / f"{computer}-status")
    ran = home(
        *("deploy", "run", "--computer", computer, "--policy", policy, *cards, "--into", disk, *reports),
        *("--cache", root / f"{computer}-cache"),
    )
    assert ran["state"] == "complete"
    status = home("deploy", "status", name, "--take", root / f"{computer}-status")
    assert status["taken"]["refused"] == []
    (one,) = status["computers"]
    assert one["state"] == "done"
    told = [(message["step"], message["outcome"]) for message in one["messages"]]
    steps = [(number, outcome) for number in (1, 2, 3) for outcome in ("started", "done")]
    assert told == [(0, "started"), *steps, (0, "done")]
    return disk


def user_files(*tops: str) -> dict[str, bytes]:
    """What of the old computer is a user's, as it comes back."""
    return {name: data for name, data in OLD.items() if name.startswith(tops) and ".cache" not in name}


def kept_at(point: Path) -> list[Path]:
    """The files that a state migration point keeps, besides the one that says whose it is."""
    return [path for path in point.rglob("*") if path.is_file() and path.parent != point]


def test_two_computers_are_deployed_from_the_point_with_their_users_files(branch: Branch) -> None:
    home, root = branch.home, branch.root
    home("state", "point", "add", "STATE1", root / "STATE1", "--max-clients", "2", "--min-free", "1MB")
    old = tree_of(root / "old", OLD)
    linux = branch.linux("linux", step("restore-state", part="HOME"))
    windows = branch.windows("windows", step("restore-state", part="WIN"))

    assert refused(branch, branch.raw, "NEW-1", linux) == {"repartition-erases-cache", "not-associated"}
    captured = capture(branch, "OLD-1", "NEW-1", old)
    assert (captured["files"], captured["complete"]) == (len(user_files("home", "Users")), True)
    capture(branch, "OLD-2", "NEW-2", old)
    assert refused(branch, branch.raw, "NEW-1", linux) == {"repartition-erases-cache"}
    assert refused(branch, branch.raw, "NEW-3", linux) == {
        *("unknown-computer", "repartition-erases-cache", "not-associated"),
    }
    seen = b"".join(path.read_bytes() for path in kept_at(root / "STATE1"))
    assert OLD["home/ann/letter.txt"] not in seen
    assert b"letter.txt" not in seen

    disk = deployed(branch, branch.raw, "NEW-1", linux)
    found = on_disk(disk, root)
    assert {name: found["SYSTEM"][name] for name in SYSTEM_FILES} == SYSTEM_FILES
    assert found["HOME"] == user_files("home", "Users")
    assert partition(disk, root / "system-partition.img", 1).read_bytes() == branch.raw_bytes

    found = on_disk(deployed(branch, branch.wim, "NEW-2", windows), root)
    assert found == {"WIN": WINDOWS | user_files("home", "Users")}

    states = {one["destination"]: one["state"] for one in home("state", "list")["migrations"]}
    assert states == {"NEW-1": "restored", "NEW-2": "restored"}
    assert kept_at(root / "STATE1")
    for computer in ("NEW-1", "NEW-2"):
        done = home("state", "release", computer)
        assert done["deleted"] == done["released"] != []
    assert kept_at(root / "STATE1") == []
    assert home("state", "list")["migrations"] == []


class Hands:
    """Who sits at a computer with one drive: puts in disc after disc as each is asked for."""

    def __init__(self, discs: Sequence[Path]) -> None:
        self.drive, self._waiting = discs[0], list(discs[1:])
        self.asked: list[str] = []

    def say(self, text: str) -> None:
        assert not text.startswith("FAILED")

    def ask(self, question: str) -> str:
        self.asked.append(question)
        self.drive = self._waiting.pop(0)
        return ""


def started_from_discs(branch: Branch, package: str, file: Path) -> Path:
    """Make a set of two discs, verify it, and do what a computer does that they started; the disk image."""
    root, name = branch.root, file.stem
    loader = root / "bootx64.efi"
    loader.write_bytes(b"MZ" + noise(20_000, 9))
    words = ("--package", package, "--sequence", file, "--efi-loader", loader, "--capacity", "6MB")
    made = branch.home("standalone", "create", *words, "--out", root / f"{name}-discs")
    discs = [Path(one["path"]) for one in made["discs"]]
    assert len(discs) == 2
    verdict = run("standalone", "verify", *discs, "--card", root / "BR1.card", "--json").document
    assert [one["problems"] for one in verdict["discs"]] == [[], []]

    hands, disk = Hands(discs), disk_of(root / f"{name}-disk.img", 48)

    def drives() -> list[Drive]:
        optical = Drive(device=hands.drive, size=0, model="DVD", removable=True, writable=False)
        return [optical, Drive(device=disk, size=48 * MIB, model="Disk", removable=False, writable=True)]

    place = root / f"{name}-run"
    card = root / "BR1.card"
    deploy(Computer(drives=drives, operator=hands, card=card, place=place, mounts=False, patience=0))
    assert hands.asked == [f"Put in {discs[1].stem} (disc 2 of 2), then press Enter: "]
    return disk


def test_the_same_computers_are_deployed_from_discs_without_a_network(
    branch: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", no_network)
    root = branch.root
    found = on_disk(started_from_discs(branch, branch.raw, branch.linux("linux-discs")), root)
    assert found.keys() == {"SYSTEM", "HOME"}
    assert {name: found["SYSTEM"][name] for name in SYSTEM_FILES} == SYSTEM_FILES
    assert found["HOME"] == {}
    disk = root / "linux-discs-disk.img"
    assert partition(disk, root / "system-partition.img", 1).read_bytes() == branch.raw_bytes
    found = on_disk(started_from_discs(branch, branch.wim, branch.windows("windows-discs")), root)
    assert found == {"WIN": WINDOWS}
