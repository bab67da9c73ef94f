"""The kinds of file systems: how each is told, and which programs work on it. Pure."""

from __future__ import annotations

from courier.deployment.sequence import FileSystem
from formats.disk.gpt import has_boot_mark

NAMES: dict[FileSystem, str] = {"fat32": "FAT32", "ext4": "ext4", "ntfs": "NTFS", "none": "no file system"}
MAKERS: dict[FileSystem, tuple[str, ...]] = {
    "fat32": ("mkfs.fat", "mcopy"),
    "ext4": ("mkfs.ext4",),
    "ntfs": ("mkfs.ntfs", "wimapply", "wimcapture", "wimupdate"),
    "none": (),
}
"""The programs that make each and put files onto it."""
READERS: dict[FileSystem, tuple[str, ...]] = {
    "fat32": ("mcopy", "mdir"),
    "ext4": ("debugfs",),
    "ntfs": ("wimcapture", "wimapply"),
    "none": (),
}
"""The programs that read files from each."""
ADDERS: dict[FileSystem, tuple[str, ...]] = {"fat32": ("mcopy",), "ext4": ("debugfs", "e2fsck"), "ntfs": (), "none": ()}
"""The programs that add files to each where it came as a raw image; none where that cannot be done."""


def kind_of(head: bytes) -> FileSystem:
    """The file system that begins with these bytes (2 KiB are enough); ``none`` for one that is not known here."""
    if head[3:11] == b"NTFS    ":
        return "ntfs"
    if head[82:90] == b"FAT32   " and has_boot_mark(head):
        return "fat32"
    if head[1080:1082] == b"\x53\xef":
        return "ext4"
    return "none"
