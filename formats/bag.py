"""BagIt bags (RFC 8493): writes the tag files of a volume.

A volume is a complete bag: ``bagit.txt``, ``bag-info.txt``, a SHA-256 manifest of the payload below ``data/`` and a
tag manifest of everything else, so that ``sha256sum -c`` and any BagIt tool verify it without this project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from formats.digest import sha256_hex
from formats.errors import MalformedError

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class BagFile:
    """A file of a bag: ``path`` below the root of the bag, ``size`` in bytes, ``sha256`` of its content."""

    path: str
    size: int
    sha256: str


def manifest(files: Sequence[BagFile]) -> bytes:
    """The manifest of ``files``, in the order given; CR, LF and % in paths are percent-encoded (RFC 8493, 2.1.3)."""
    lines = []
    for file in files:
        path = file.path.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        lines.append(f"{file.sha256}  {path}\n")
    return "".join(lines).encode()


def tag_files(*, payload: Sequence[BagFile], info: Mapping[str, str], others: Sequence[BagFile]) -> dict[str, bytes]:
    """The tag files that BagIt asks for, path -> bytes, in the order in which they are written.

    ``info`` is the content of ``bag-info.txt``, to which ``Payload-Oxum`` is added (RFC 8493, 2.2.2). ``others`` are
    further tag files. The last one is the tag manifest, which lists all the tag files and ``others``. Raises
    `MalformedError` for a value that holds a line break.
    """
    oxum = f"{sum(file.size for file in payload)}.{len(payload)}"
    lines = [f"{name}: {value}\n" for name, value in {**info, "Payload-Oxum": oxum}.items()]
    if any(len(line.splitlines()) != 1 for line in lines):
        raise MalformedError("a value holds a line break", place="bag-info.txt")
    files = {"bagit.txt": DECLARATION, "bag-info.txt": "".join(lines).encode(), MANIFEST: manifest(payload)}
    tags = [BagFile(path=path, size=len(data), sha256=sha256_hex(data)) for path, data in files.items()]
    return {**files, TAG_MANIFEST: manifest([*tags, *others])}
