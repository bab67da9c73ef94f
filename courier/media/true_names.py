"""The true names of a volume's files, where a tool wrote them in capitals or cut them short. Pure.

ISO 9660 without extensions knows capitals, digits and underscores, at level 1 of 8 and 3 characters; DOS tools write
capitals. The files of a volume are known by name, so that such a name has one meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from courier.media import volume_files as volume
from formats.bag import MANIFEST, TAG_MANIFEST
from formats.documents.packing import archive_path, parity_path

MARKS = ("bagit.txt", volume.PACKING_LIST, volume.LABEL)
"""Files by which a volume is recognised; not the folder ``courier`` alone, which may be there for another purpose."""
_FIXED = (
    *MARKS,
    *("bag-info.txt", MANIFEST, TAG_MANIFEST, volume.RESTORE_TEXT, volume.RESTORE_SCRIPT, volume.CARD, volume.BLOCKS),
    *(volume.contents_path(encrypted=encrypted) for encrypted in (True, False)),
    *(volume.copy_path(path) for encrypted in (True, False) for path in volume.copied(encrypted=encrypted)),
)
_ARCHIVE = re.compile(r"DATA/ARCHIVES/(?P<number>[0-9]{6})(?:[._]7Z?)(?P<encrypted>\.AGE)?")
_PARITY = re.compile(r"DATA/PARITY/(?P<number>[0-9]{6})\.PAR")


def _iso_name(name: str, *, base: int, ending: int) -> str:
    """The name of a file by the rules of ISO 9660, cut to so many characters before and behind the dot."""
    before, dot, behind = name.rpartition(".")
    before, behind = (re.sub("[^A-Z0-9_]", "_", part.upper()) for part in (before, behind))
    return f"{before[:base]}{dot}{behind[:ending]}"


def written_as(path: str) -> tuple[str, ...]:
    """The names under which tools write ``path``: as it is, in capitals, and by ISO 9660 at level 2 and 1."""
    folder, slash, name = path.upper().rpartition("/")
    changed = (_iso_name(name, base=31, ending=31), _iso_name(name, base=8, ending=3))
    return path, path.upper(), *(f"{folder}{slash}{one}" for one in changed)


_KNOWN = {written: path for path in _FIXED for written in written_as(path)}


def true_name(path: str) -> str:
    """The true name of a file of a volume; that of any other is given back."""
    if match := _ARCHIVE.fullmatch(path.upper()):
        return archive_path(int(match["number"]), encrypted=match["encrypted"] is not None)
    if match := _PARITY.fullmatch(path.upper()):
        return parity_path(int(match["number"]))
    return _KNOWN.get(path) or _KNOWN.get(path.upper(), path)


def true_names(paths: Iterable[str]) -> Mapping[str, str]:
    """The files of a volume: the name on the medium by the true name.

    Only where no file by which a volume is recognised has its true name are others looked for.
    """
    paths = list(paths)
    if any(mark in paths for mark in MARKS):
        return {path: path for path in paths}
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(true_name(path), path)
    return found


def volumes_among(paths: Iterable[str]) -> list[str]:
    """The folders, each with a slash behind it and the top as "", that are volumes by the ``paths`` of all files."""
    marks = [f"/{written}" for mark in MARKS for written in written_as(mark)]
    folders = {f"/{path}".removesuffix(mark)[1:] for path in paths for mark in marks if f"/{path}".endswith(mark)}
    return sorted(f"{folder}/" if folder else "" for folder in folders)
