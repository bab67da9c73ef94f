"""The files of a volume beside its payload, and how many bytes a medium needs for all of them. Pure.

A volume is a BagIt bag (RFC 8493). In its folder ``courier/`` are the documents that every volume carries: the packing
list, the volume's label, the sender's card, the contents and the block table. They are written before the payload, so
that a reader in one pass knows what it is reading. ``docs/formats.md`` specifies all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from formats.bag import MANIFEST, TAG_MANIFEST, BagFile, tag_files
from formats.codecs import CODECS
from formats.documents.label import VolumeLabel
from formats.documents.packing import PackingList
from formats.errors import TooLargeError
from formats.iso.layout import iso_size
from formats.tape import tape_size

FOLDER = "courier/"
FOLDERS = ("data", "courier")
"""The folders at the top of a volume; tools may write them in capitals."""
PACKING_LIST = "courier/packing-list.json"
LABEL = "courier/volume-label.json"
CARD = "courier/site-card.json"
BLOCKS = "courier/blocks.bin"
COPIES = "courier/copy/"
"""Folder, behind the payload, of second copies of packing list, contents and block table; on an only volume alone."""
RESTORE_TEXT = "RESTORE.txt"
RESTORE_SCRIPT = "restore.py"
SMALL_DISK = 8 << 30
"""Largest capacity in bytes of a drive taken to have clusters of 4 KiB; larger ones are taken to have 128 KiB.

exFAT has 128 KiB by default above 32 GB.
"""


def contents_path(*, encrypted: bool) -> str:
    """Return the path of the contents on a volume."""
    return f"courier/contents.jsonl.gz{'.age' if encrypted else ''}"


def copy_path(path: str) -> str:
    """Return the path of the second copy of a document below ``courier/``."""
    return COPIES + path.removeprefix(FOLDER)


def copied(*, encrypted: bool) -> tuple[str, ...]:
    """Return the paths of the documents that an only volume has twice."""
    return PACKING_LIST, contents_path(encrypted=encrypted), BLOCKS


def payload_files(packing: PackingList, number: int) -> list[BagFile]:
    """Return the payload of a volume in writing order."""
    return [
        BagFile(path=packing.path(index), size=packing.file(index).size, sha256=packing.file(index).sha256)
        for index in packing.on_volume(number)
    ]


def bag_info(packing: PackingList, number: int) -> dict[str, str]:
    """Return the fields of ``bag-info.txt``."""
    made = datetime.fromtimestamp(packing.created_ns // 10**9, UTC)
    return {
        "Source-Organization": f"Site {packing.source}",
        "External-Description": f"Volume {number} of {packing.volumes} of parcel {packing.parcel}, "
        f"from {packing.source} to {', '.join(packing.destinations)}"
        f"{f', a delta on {packing.based_on}' if packing.bases else ''}",
        "External-Identifier": packing.volume_label(number),
        "Bagging-Date": made.date().isoformat(),
        "Bag-Group-Identifier": packing.parcel,
        "Bag-Count": f"{number} of {packing.volumes}",
    }


def bag_tags(packing: PackingList, number: int, others: Sequence[BagFile]) -> dict[str, bytes]:
    """Return the tag files that make a volume a bag: path and bytes.

    ``others`` are all files beside payload and tag files: documents, ``RESTORE.txt`` and ``restore.py``.
    """
    return tag_files(payload=payload_files(packing, number), info=bag_info(packing, number), others=others)


def signed_tags(packing: PackingList, label: VolumeLabel, digests: Mapping[str, str]) -> dict[str, bytes]:
    """Return the tag files that follow from what is signed, to compare those on a medium with.

    ``digests`` are the SHA-256 of the packing list's and the label's file, by path.
    """
    known = {**digests, **dict(label.tags), BLOCKS: packing.blocks.sha256}
    known[contents_path(encrypted=packing.encrypted)] = packing.contents.sha256
    copies = map(copy_path, copied(encrypted=packing.encrypted))
    tables = (contents_path(encrypted=packing.encrypted), BLOCKS)
    paths = (RESTORE_TEXT, RESTORE_SCRIPT, PACKING_LIST, CARD, LABEL, *tables, *copies)
    # A manifest has no sizes.
    others = [BagFile(path=path, size=0, sha256=known[path]) for path in paths if path in known]
    return bag_tags(packing, label.number, others)


def writing_order(path: str) -> tuple[int, str]:
    """Return the sort key of a path in writing order: signed documents first, then tables, payload, second copies."""
    first = ("bagit.txt", "bag-info.txt", RESTORE_TEXT, RESTORE_SCRIPT, PACKING_LIST, LABEL, CARD)
    if path in first:
        return first.index(path), ""
    if path.startswith(COPIES):
        return len(first) + 2, path
    return (len(first) if path.startswith(FOLDER) or path in (MANIFEST, TAG_MANIFEST) else len(first) + 1), path


def cluster_size(capacity: int) -> int:
    """Return the bytes of a cluster on a drive of ``capacity`` bytes."""
    return 4 << 10 if capacity <= SMALL_DISK else 128 << 10


def folder_size(files: Sequence[tuple[str, int]], capacity: int) -> int:
    """Return the bytes that ``files`` (path, size) need on a FAT32 or exFAT drive of ``capacity`` bytes.

    Each takes whole clusters; the folders take eight more.
    """
    cluster = cluster_size(capacity)
    return sum(-(-size // cluster) * cluster for _, size in files) + 8 * cluster


def medium_size(files: Sequence[tuple[str, int]], capacity: int) -> int:
    """Return the bytes that ``files`` (path, size) need on a medium of ``capacity``, in the layout that needs most.

    A layout that cannot hold them at all (no disc image has more than 8.7 TB) does not count.
    """
    sizes = [folder_size(files, capacity)]
    for size_of in (iso_size, tape_size):
        try:
            sizes.append(size_of(files))
        except TooLargeError:
            continue
    return max(sizes)


def restore_page(packing: PackingList, number: int, *, name: str) -> str:
    """Return the text of ``RESTORE.txt``: what this volume is, and how to restore the parcel without this toolkit.

    ``name`` is the name of the sending site.
    """
    made = datetime.fromtimestamp(packing.created_ns // 10**9, UTC)
    lines = [
        f"{packing.volume_label(number)}: VOLUME {number} OF {packing.volumes} OF PARCEL {packing.parcel}",
        "",
        *_delta_lines(packing),
        f"From:     {packing.source} ({name})",
        f"To:       {', '.join(packing.destinations)}",
        f"Made:     {made:%Y-%m-%d %H:%M} UTC",
        f"Payload:  {packing.volume_bytes(number):,} bytes on this volume (files: {len(packing.on_volume(number))})",
        f"Parcel:   archives: {len(packing.archives)}; volumes: {packing.volumes}",
        "",
        "This medium holds disk images and files for the computers of the sites above. Nothing on it needs to be",
        "changed or deleted to read it, and it may be read any number of times.",
        "",
        "To take it in at its destination, with the courier toolkit:",
        "",
        "    courier parcel receive PATH-OF-THIS-MEDIUM",
        "",
        "To check it with stock tools (in its top folder):",
        "",
        "    Linux:    sha256sum -c manifest-sha256.txt",
        "    macOS:    shasum -a 256 -c manifest-sha256.txt",
        "    Windows:  certutil -hashfile FILE SHA256     (of one file; compare it with the line of that file)",
        "",
        "In the folder that mirrors a tape every file has a number before its name, such as 00013-restore.py; there",
        "it is `sha256sum -c SHA256SUMS`. A volume that took several tapes has such a folder for each; the pieces of a",
        "file that goes on on the next tape are to be joined in their order (`cat`; `copy /b` on Windows).",
        "",
    ]
    if packing.key != "media":
        lines += [
            "The archives are encrypted (age, https://age-encryption.org/v1). Their key is on none of the media: it",
            "comes to the destination by network, into its courier toolkit. Only there can this parcel be opened: what",
            "stands below about restoring it without the toolkit needs that key and does not hold for it.",
            "",
        ]
    elif packing.encrypted:
        lines += [
            "The archives are encrypted (age, https://age-encryption.org/v1) for the destination's key. With the",
            "identity of that site (keys/recipient.key of its site home), `age -d -i IDENTITY X.7z.age > X.7z` opens",
            "one; then go on as below (on Windows `age -d -i IDENTITY -o X.7z X.7z.age`). restore.py does it by itself",
            "with `age` and --identity IDENTITY.",
            "",
        ]
    base = " --base FOLDER" if packing.bases else ""
    lines += [
        "To restore the packages without the courier toolkit: mount the volumes, or copy each into a folder of its own",
        "(files of different volumes have the same names and must not be mixed), and run",
        "",
        f"    python3 restore.py --to TARGET-FOLDER{base} VOLUME-1 VOLUME-2 ...",
        "",
        "(on Windows `py restore.py --to C:\\TARGET D:\\ E:\\ ...`; a double click on an ISO image mounts it)",
        f"(--list only says what is there). It needs Python 3.8 or later, 7-Zip (7z){_decoders()}.",
        "It checks every file it makes.",
        "",
        "Without Python: every file below data/archives is a complete 7z archive. Extract all of them into one folder.",
        f"{_decoding()} A file larger than an archive was cut: join",
        "NAME.001, NAME.002, ... in order, after decompressing each part, and compare its size and SHA-256:",
        "",
        "    Linux:    cat NAME.??? > NAME",
        "              sha256sum NAME",
        "    macOS:    cat NAME.??? > NAME",
        "              shasum -a 256 NAME",
        "    Windows:  copy /b NAME.001+NAME.002+NAME.003 NAME     (at a command prompt, all parts in their order)",
        "              certutil -hashfile NAME SHA256",
        "",
        "Content that several files or packages share is there once. Members below content/ are named",
        "by their SHA-256, because their real name is not possible on every system. The real names, sizes, SHA-256,",
        "times, permissions, empty files, folders, links and further names of files (hard links) stand, one JSON array",
        f"a line, in {contents_path(encrypted=packing.encrypted)}. The beginning of restore.py says",
        "what stands where in a line.",
        "",
        "Disk images often have long runs of zeros (holes), which need no room on a disk. restore.py leaves them out",
        "by itself. By hand `cp --sparse=always NAME COPY` does, when a file was decompressed and joined.",
        "",
    ]
    return "\n".join(lines)


def _delta_lines(packing: PackingList) -> list[str]:
    """What whoever holds a volume of a delta has to know before anything else."""
    if not packing.bases:
        return []
    return [
        f"THIS IS A DELTA ON {packing.based_on}: it holds only what is new since, and is of no use without the",
        "files of that version, which its destinations hold. restore.py takes them from a folder: --base FOLDER. What",
        "is made of them cannot be made by hand: members named .delta are patches, as restore.py explains.",
        "",
    ]


def _decoders() -> str:
    """The tools beside 7-Zip that restoring needs, as the end of a sentence."""
    needed = [codec for codec in CODECS.values() if codec.command]
    return "".join(f" and, for members named {codec.suffix}, {codec.command[0]}" for codec in needed)


def _decoding() -> str:
    """How members of each codec are decoded by hand, a line each."""
    return "\n".join(codec.by_hand for codec in CODECS.values() if codec.by_hand)
