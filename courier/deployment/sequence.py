"""A task sequence: the steps by which a computer is made, as an operator wrote them. Pure records.

`courier.deployment.sequence_file` reads them from TOML; docs/deployment.md explains each key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PartitionKind = Literal["efi", "linux", "windows", "data"]
"""What a partition is for; its GPT type follows from it."""
FileSystem = Literal["fat32", "ext4", "ntfs", "none"]
"""What a partition is formatted with; ``none`` leaves it as zeros, for a raw image."""
LEAST: Mapping[FileSystem, int] = {"fat32": 33 << 20, "ext4": 1 << 20, "ntfs": 2 << 20, "none": 0}
"""Bytes of the smallest partition of each file system. FAT32 has at least 65,525 clusters."""
MOST_ON_FAT32 = (4 << 30) - 1
"""Bytes of the largest file that FAT32 holds."""
REST = -1
"""Size of the one partition that takes what the others leave."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """Holds when a variable of the computer is as said; all conditions of a step must hold for it to run.

    Exactly one of these is given: ``is_one_of``: the value is one of these, compared without regard to case;
    ``is_not``: it is none of these, or not set; ``matches``: a shell pattern; ``exists``: whether it is set.
    """

    variable: str
    is_one_of: tuple[str, ...] = ()
    is_not: tuple[str, ...] = ()
    matches: str = ""
    exists: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageUse:
    """A package that a step needs: ``package`` such as HQ100001, or ``variable``, which holds its ID at run time.

    ``version``: None for the newest when the deployment is made.
    """

    package: str = ""
    version: int | None = None
    variable: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A partition to be made: its ``label`` names it in later steps; ``size`` in bytes, or `REST`."""

    label: str
    kind: PartitionKind
    file_system: FileSystem
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What all steps have. ``number`` counts from 1 in the file."""

    number: int
    name: str
    conditions: tuple[Condition, ...] = ()
    continue_on_error: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionStep(Step):
    """Erase the disk, write a GPT with these partitions, and make their file systems."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ApplyImageStep(Step):
    """Put an image onto a partition: a WIM or ESD by its index, or the bytes of a raw image.

    ``file``: the path in the package; empty where the package has one file. ``index``: of a WIM, from 1. ``part``: the
    label of a partition; empty for the folder that the sequence runs into. A raw image of a whole disk has
    ``whole_disk`` set.
    """

    use: PackageUse
    file: str = ""
    index: int = 1
    part: str = ""
    whole_disk: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureStateStep(Step):
    """Take the user's files to the state migration point. Paths are relative to the partition or folder.

    ``include`` and ``exclude``: shell patterns, in which ``**`` stands for any folders; ``largest``: files of more
    bytes are left out, and listed; None for no limit.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    largest: int | None = None
    part: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreStateStep(Step):
    """Bring back what was captured, below ``to`` in the partition or folder; empty for where it was."""

    to: str = ""
    part: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallDriverStep(Step):
    """Copy the drivers of a package into the folder ``to`` of the partition or folder."""

    use: PackageUse
    to: str
    part: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStep(Step):
    """Run a program of the client, or of a package where ``use`` is given; exit codes in ``success`` are good."""

    command: tuple[str, ...]
    use: PackageUse | None = None
    success: tuple[int, ...] = (0,)
    timeout: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartStep(Step):
    """Restart the computer; the sequence goes on with the next step."""


AnyStep = (
    PartitionStep | ApplyImageStep | CaptureStateStep | RestoreStateStep | InstallDriverStep | RunStep | RestartStep
)


def wipes(step: AnyStep) -> bool:
    """Whether a step erases the disk."""
    return isinstance(step, PartitionStep) or (isinstance(step, ApplyImageStep) and step.whole_disk)


def overwrites(step: AnyStep) -> bool:
    """Whether a step erases the disk, or writes an image over what is there."""
    return isinstance(step, PartitionStep | ApplyImageStep)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    """A whole task sequence. ``boot_image``: the package that computers start from; empty where none is named."""

    name: str
    steps: tuple[AnyStep, ...]
    boot_image: PackageUse = field(default_factory=PackageUse)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def wipes(self) -> bool:
        """Whether a step may erase the disk."""
        return any(wipes(step) for step in self.steps)
