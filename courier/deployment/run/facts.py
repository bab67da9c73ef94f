"""Facts of targets and images, as far as a client judges by them before its first write. Pure records."""

from __future__ import annotations

from dataclasses import dataclass

from courier.deployment.run.wim import WimImage
from courier.deployment.sequence import FileSystem


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeFacts:
    """A partition as it is, or will be at a step: ``size`` in bytes, None in a folder, which has no limit of its own.

    ``made``: its file system is made of a folder at the end; else it has one already, as the disk or a raw image had.
    ``filled``: there are files in that folder.
    """

    size: int | None
    file_system: FileSystem
    made: bool
    filled: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetFacts:
    """A target as it is before the first step. ``size`` in bytes, None for a folder. ``volumes`` by label."""

    is_disk: bool
    size: int | None
    empty: bool
    volumes: dict[str, VolumeFacts]


@dataclass(frozen=True, kw_only=True, slots=True)
class RawVolume:
    """A partition in the raw image of a disk."""

    size: int
    file_system: FileSystem


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFacts:
    """An image file. ``images``: of a WIM; None for a raw image, of which the others tell.

    ``sector``: the bytes of a sector that its partition table was made for; None without a table.
    """

    name: str
    size: int
    images: tuple[WimImage, ...] | None
    file_system: FileSystem = "none"
    sector: int | None = None
    volumes: dict[str, RawVolume] | None = None
