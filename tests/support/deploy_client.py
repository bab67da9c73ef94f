"""A computer to be deployed, for tests of the reference client: its policy, the point it reaches, and runs of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from download_client import silent
from download_points import SamplePoint
from stock import stock_tool

from courier.deployment.run.client import Wanted, run_deployment
from courier.deployment.run.content import Supply
from courier.deployment.run.engine import RunResult
from courier.deployment.run.policy import read_policy
from courier.deployment.run.reporting import to_folder
from courier.deployment.run.work import work_folder
from courier.deployment.status import StatusMessage, parse_status, verify_status
from courier.distribution.download_plan import read_cards
from courier.distribution.folder_source import folder_source
from formats.blocks import BLOCK
from formats.documents import deployment
from formats.documents.deployment import DeployedComputer, DeploymentPolicy, Option, ReachablePoint, StatePlace

KEY = b"k" * 32
WINDOWS = {
    "Windows/System32/a.dll": bytes(range(256)) * 64,
    "Windows/win.ini": b"old",
    "Users/Public/n.txt": b"public",
}
DRIVERS = {"net/e1000.inf": b"network", "net/e1000.sys": b"\x00\x01" * 999, "gpu.inf": b"graphics"}
RAW = b"raw begin".ljust(BLOCK, b"r") + bytes(2 * BLOCK) + b"raw end"
MIB = 1 << 20


def tree_of(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wim_of(folder: Path, files: Mapping[str, bytes]) -> bytes:
    """A WIM with these files, made by wimlib in ``folder``."""
    tree = tree_of(folder / "tree", files)
    target = folder / "made.wim"
    subprocess.run([stock_tool("wimcapture"), tree, target, "--compress=XPRESS"], check=True, stdout=subprocess.DEVNULL)
    return target.read_bytes()


def disk_of(path: Path, mib: int = 128) -> Path:
    """A blank disk image."""
    with path.open("wb") as disk:
        disk.truncate(mib * MIB)
    return path


class Computer:
    """PC-1, with a folder of its own, and the point P1 of HQ1."""

    def __init__(self, root: Path, point: SamplePoint) -> None:
        self.root, self.point = root, point
        self.said: list[str] = []
        self.warned: list[str] = []
        self.work, self.cache, self.reports = root / "work", root / "cache", root / "reports"

    def policy(self, sequence: str, *, option: Option = "as-needed", **changes: Any) -> Path:
        """A policy with this sequence, signed."""
        variables = changes.pop("variables", {})
        fields: dict[str, Any] = {
            "site": "HQ1",
            "deployment": "HQ1-D00001",
            "issued_ns": time.time_ns() - 10**9,
            "computer": DeployedComputer(name="PC-1", guid="", macs=(), variables=variables),
            "sequence": sequence,
            "option": option,
            "packages": tuple(sorted(self.point.refs, key=lambda one: (one.package, one.version))),
            "points": (ReachablePoint(point="P1", address=str(self.point.folder)),),
            "status_key": KEY,
            **changes,
        }
        path = self.root / "PC-1.policy"
        path.write_bytes(self.point.hq.sign(DeploymentPolicy(**fields), deployment.KIND))
        return path

    def run(self, policy: Path, into: Path, **more: Any) -> RunResult:
        """Run a policy as the command does."""
        cards = read_cards([self.point.card])
        read = read_policy(policy, cards["HQ1"], now_ns=time.time_ns())
        stop, moment = threading.Event(), more.pop("now_ns", time.time_ns())
        supply = Supply(
            points=tuple(more.pop("points", [folder_source(one.address) for one in read.policy.points])),
            cards=cards,
            stop=stop,
            progress=silent,
            retry_for=more.pop("retry_for", 5),
        )
        wanted = Wanted(
            read=read,
            computer=more.pop("computer", "PC-1"),
            into=into,
            cache=self.cache,
            supply=supply,
            recorders=[to_folder(self.reports, KEY)],
            **more,
        )
        with work_folder(self.work) as work:
            return run_deployment(
                wanted,
                work,
                now_ns=moment,
                stop=stop,
                progress=silent,
                say=self.said.append,
                warn=self.warned.append,
            )

    def told(self) -> list[StatusMessage]:
        """The status messages, in order, each with the right key."""
        files = sorted(self.reports.iterdir()) if self.reports.is_dir() else []
        return [verify_status(parse_status(path.read_bytes()), KEY) for path in files]


def state_place(folder: Path, **changes: Any) -> StatePlace:
    """A place for state in ``folder``."""
    fields: dict[str, Any] = {
        "point": "SMP1",
        "path": str(folder),
        "restore_only": False,
        "min_free": "0",
        "source": "PC-1",
        "destination": "PC-1",
        "migration": "ab" * 16,
        "recipients": (),
        **changes,
    }
    return StatePlace(**fields)


def partition(disk: Path, target: Path, number: int) -> Path:
    """The bytes of a partition, as sfdisk has it, in a file."""
    found = json.loads(subprocess.run([stock_tool("sfdisk"), "-J", disk], check=True, capture_output=True).stdout)
    one = found["partitiontable"]["partitions"][number - 1]
    with disk.open("rb") as source, target.open("wb") as out:
        source.seek(one["start"] * 512)
        left = one["size"] * 512
        out.truncate(left)
        while left:
            data = source.read(min(left, MIB))
            if data.strip(b"\0"):
                out.seek(one["size"] * 512 - left)
                out.write(data)
            left -= len(data)
    return target


def step(kind: str, **keys: Any) -> str:
    """A step of a sequence, as TOML."""
    lines = [f"[[step]]\ntype = {json.dumps(kind)}\nname = {json.dumps(keys.pop('name', kind))}"]
    parts = keys.pop("parts", ())
    lines += [f"{key.replace('_', '-')} = {_toml(value)}" for key, value in keys.items()]
    for label, type_, size, format_ in parts:
        lines.append(f'[[step.part]]\nlabel = "{label}"\ntype = "{type_}"\nsize = {_toml(size)}\nformat = "{format_}"')
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def sequence(*steps: str) -> str:
    """A whole sequence, as TOML."""
    return 'name = "sequence"\n' + "".join(steps)


def said_by(tool: str, *arguments: object) -> str:
    """What a stock tool prints; it has to end well."""
    done = subprocess.run([stock_tool(tool), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def on_disk(disk: Path, work: Path) -> dict[str, dict[str, bytes]]:
    """The files of each partition of a disk image by its label, after stock tools found all of it sound."""
    assert "No problems found" in said_by("sgdisk", "-v", disk)
    found = json.loads(said_by("sfdisk", "-J", disk))["partitiontable"]["partitions"]
    held = {}
    for number, one in enumerate(found, start=1):
        image = partition(disk, work / f"partition-{number}.img", number)
        files = work / f"files-{number}"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir()
        head = image.read_bytes()[:2048]
        if head[3:7] == b"NTFS":
            said_by("ntfsfix", "-n", image)
            said_by("wimcapture", image, work / "ntfs.wim", "--compress=none")
            said_by("wimapply", work / "ntfs.wim", "1", files)
        elif head[82:87] == b"FAT32":
            said_by("fsck.fat", "-n", image)
            if said_by("mdir", "-b", "-i", image, "::"):
                said_by("mcopy", "-s", "-n", "-i", image, "::*", files)
        elif head[1080:1082] == b"\x53\xef":
            said_by("fsck.ext4", "-f", "-n", image)
            said_by("debugfs", "-R", f"rdump / {files}", image)
        held[one["name"]] = files_of(files)
        image.unlink()
    return held


def whole_disk(folder: Path, mib: int = 56) -> bytes:
    """A raw image of a disk with ext4 (ROOT), FAT32 (ESP) and NTFS (WIN), made by stock tools alone."""
    disk = disk_of(folder / "whole.img", mib)
    layout = [("ESP", "ef00", 1, 36), ("ROOT", "8300", 38, 6), ("WIN", "0700", 46, 6)]
    words = [
        word
        for number, (label, kind, begin, size) in enumerate(layout, start=1)
        for word in ("-n", f"{number}:{begin * 2048}:+{size}M", "-c", f"{number}:{label}", "-t", f"{number}:{kind}")
    ]
    said_by("sgdisk", *words, disk)
    tree = tree_of(folder / "root", {"etc/hosts": b"old", "home/ann/a.txt": b"ann's"})
    esp = tree_of(folder / "esp", {"Users/ann/fat.txt": b"on fat"})
    windows = tree_of(folder / "win", {"Users/ann/ntfs.txt": b"on ntfs", "Windows/x.dll": b"x"})
    images = {label: disk_of(folder / f"{label}.img", size) for label, _, _, size in layout}
    said_by("mkfs.fat", "-F", "32", images["ESP"])
    said_by("mcopy", "-s", "-i", images["ESP"], esp / "Users", "::")
    said_by("mkfs.ext4", "-q", "-d", tree, images["ROOT"])
    said_by("mkfs.ntfs", "-F", "-f", "-Q", "-q", images["WIN"])
    said_by("wimcapture", windows, folder / "win.wim")
    said_by("wimapply", folder / "win.wim", "1", images["WIN"])
    with disk.open("r+b") as out:
        for label, _, begin, _ in layout:
            out.seek(begin * MIB)
            out.write(images[label].read_bytes())
    return disk.read_bytes()
