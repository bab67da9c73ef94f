"""The layout of an ISO image: which paths it can hold, what each is called in ISO 9660, and how many bytes it takes.

Pure arithmetic over names and sizes, so that a planner can ask thousands of times what fits on a medium. An image of
`formats.iso.write_iso` (docs/formats.md, "ISO image") has these blocks of 2048 bytes:

====================  ==========================================================================
0 to 256              system area, ISO 9660, Joliet and UDF volume descriptors, first UDF anchor
257, 258              UDF file set and its terminator; 257 is where the UDF partition starts
then                  UDF: an entry and the name list of each folder, then one entry a file
then                  path tables of ISO 9660 and of Joliet, little-endian and big-endian
then                  folders of ISO 9660, folders of Joliet, one block of Rock Ridge
then                  the files, in the order given, each from a new block
last                  second UDF anchor
====================  ==========================================================================
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from formats.errors import IllegalNameError, TooLargeError
from formats.names import fold, is_portable

BLOCK = 2048
"""Bytes in a block of the image: the sector of every optical disc (ECMA-119 6.1.2)."""
MAX_FILE = (1 << 32) - BLOCK
"""Bytes in the largest file, 4 GiB less a block: it is one extent, which every reader since 1988 understands."""
MAX_COMPONENT = 64
"""Characters in one component of a path (Joliet specification, "Joliet Directory Record")."""
MAX_COMPONENTS = 8
"""The most components in a path: seven folders and a file (ECMA-119 6.8.2.1), so that no folder is relocated."""
MAX_BLOCKS = (1 << 32) - 1
"""Blocks in the largest image, because its size has 32 bits (ECMA-119 8.4.8)."""

_FIXED = 257 + 2
_NOT_D = re.compile(r"[^A-Z0-9_]")
_STEM_AND_EXTENSION = 30  # ECMA-119 7.5.1
_FOLDER_IDENTIFIER = 31  # ECMA-119 7.6.3
_EXTENSION = 8
_ROCK_RIDGE = 5 + 36 + 26
_TWO_PARTS = re.compile(r"(.*)\.([^.]+)")


@dataclass(slots=True)
class Folder:
    """A folder of an image: the names of its files with their sizes in bytes, and its folders by name."""

    files: dict[str, int] = field(default_factory=dict)
    folders: dict[str, Folder] = field(default_factory=dict)

    def walk(self, path: str = "") -> Iterator[tuple[str, Folder]]:
        """This folder (as ``path``) and all below it, parents before children."""
        todo = deque([(path, self)])
        while todo:
            here, folder = todo.popleft()
            yield here, folder
            todo.extend((f"{here}/{name}" if here else name, child) for name, child in folder.folders.items())

    def identifiers(self) -> dict[str, str]:
        """The ISO 9660 identifier of each entry, without version: ``000001.7z`` -> ``000001.7Z``.

        They are distinct, made of d-characters, and do not depend on the order in which the files came. Only a reader
        without Rock Ridge, Joliet and UDF shows them.
        """
        taken: set[str] = set()
        following: dict[str, int] = {}
        result = {}
        for name in sorted([*self.files, *self.folders]):
            split = None if name in self.folders else _TWO_PARTS.fullmatch(name)
            extension = "." + _mangle(split[2], _EXTENSION) if split else ""
            longest = _FOLDER_IDENTIFIER if name in self.folders else _STEM_AND_EXTENSION + bool(split) - len(extension)
            stem = _mangle(split[1] if split else name, longest)
            identifier = stem + extension
            while identifier in taken:
                number = following.get(stem + extension, 1)
                following[stem + extension] = number + 1
                suffix = f"_{number}"
                identifier = stem[: longest - len(suffix)] + suffix + extension
            taken.add(identifier)
            result[name] = identifier
        return result


def _mangle(text: str, longest: int) -> str:
    return _NOT_D.sub("_", text.upper())[:longest] or "_"


def check_iso_path(path: str) -> str:
    """Return ``path`` if every tree of an image can hold it unchanged; raise `IllegalNameError` otherwise.

    It must be portable (`formats.names.is_portable`), ASCII, without ``;`` (which separates the version of an ISO 9660
    or Joliet name), and of at most `MAX_COMPONENTS` components of at most `MAX_COMPONENT` characters.
    """
    parts = path.split("/")
    if not path.isascii() or ";" in path or not is_portable(path):
        raise IllegalNameError("not a portable ASCII name for an image", place=ascii(path))
    if len(parts) > MAX_COMPONENTS or max(map(len, parts)) > MAX_COMPONENT:
        raise IllegalNameError(f"over {MAX_COMPONENTS} components, or one over {MAX_COMPONENT} characters", place=path)
    return path


def tree_of(paths_and_sizes: Iterable[tuple[str, int]]) -> Folder:
    """The folders that hold these files (sizes in bytes).

    Raises `IllegalNameError` for a path that `check_iso_path` refuses, that is given twice, that is a folder of another
    one, or that differs from another only in case (Windows shows only one of them), and `TooLargeError` for a size
    below zero or over `MAX_FILE`.
    """
    root = Folder()
    spelling: dict[str, str] = {}
    for path, size in paths_and_sizes:
        check_iso_path(path)
        if not 0 <= size <= MAX_FILE:
            raise TooLargeError(f"{size} bytes where a file of an image has 0 to {MAX_FILE}", place=path)
        folder = root
        *above, name = path.split("/")
        prefix = ""
        for part in above:
            prefix += part
            if spelling.setdefault(fold(prefix), prefix + "/") != prefix + "/":
                raise IllegalNameError("its folder has the name of another entry, but for case", place=path)
            prefix += "/"
            folder = folder.folders.setdefault(part, Folder())
        if spelling.setdefault(fold(path), path) != path or name in folder.files:
            raise IllegalNameError("another entry has this name, but for case", place=path)
        folder.files[name] = size
    return root


def blocks_of(size: int) -> int:
    """Number of blocks that ``size`` bytes take."""
    return -(-size // BLOCK)


def _even(length: int) -> int:
    return length + length % 2


def _packed(lengths: Iterable[int]) -> int:
    """Number of blocks of a folder with records of these lengths, none of which crosses a block (ECMA-119 6.8.1.1)."""
    blocks, used = 1, 0
    for length in lengths:
        if used + length > BLOCK:
            blocks, used = blocks + 1, 0
        used += length
    return blocks


def _path_tables(bytes_of_one: int) -> int:
    """Number of blocks of the little-endian and the big-endian path table, each a multiple of two blocks."""
    return 2 * 2 * blocks_of(-(-bytes_of_one // 2))


def _folder_blocks(folder: Folder, identifiers: dict[str, str], *, is_root: bool) -> int:
    """Number of blocks of one folder in the UDF, ISO 9660 and Joliet trees, with the UDF entries of it and its files.

    A UDF name takes 38 bytes, one byte for the encoding and its own bytes, rounded up to a multiple of 4 (40 bytes for
    the parent; ECMA-167 4/14.4). A directory record takes 33 bytes and the identifier, rounded up to an even number
    (ECMA-119 9.1). Rock Ridge 1.09 adds RR (5 bytes), NM (5 and the name), PX (36) and TF (26), and SP (7) and CE (28)
    in the first record of the root. Joliet names have two bytes a character.
    """
    names = sorted(identifiers)
    udf = 40 + sum(-(-(39 + len(name)) // 4) * 4 for name in names)
    own = 34 + _ROCK_RIDGE
    iso = [_even(own + (7 + 28 if is_root else 0)), _even(own)]
    for record, name in sorted((record_identifier(identifiers[name], name in folder.folders), name) for name in names):
        iso.append(_even(_even(33 + len(record)) + _ROCK_RIDGE + 5 + len(name)))
    joliet = [34, 34, *(_even(33 + 2 * len(name)) for name in names)]
    return 1 + blocks_of(udf) + len(folder.files) + _packed(iso) + _packed(joliet)


def record_identifier(identifier: str, is_folder: bool) -> str:
    """An identifier as a directory record has it; a file's ends with a version, ``README.;1`` (ECMA-119 7.5.1)."""
    if is_folder:
        return identifier
    return f"{identifier}{'' if '.' in identifier else '.'};1"


def iso_size(paths_and_sizes: Sequence[tuple[str, int]]) -> int:
    """Exact bytes of the image that `formats.iso.write_iso` makes of these files, in whatever order.

    Raises `IllegalNameError` and `TooLargeError` as `tree_of` does, and `TooLargeError` beyond `MAX_BLOCKS` blocks.
    """
    tree = tree_of(paths_and_sizes)
    blocks = _FIXED
    iso_table = joliet_table = 10
    for path, folder in tree.walk():
        identifiers = folder.identifiers()
        blocks += _folder_blocks(folder, identifiers, is_root=not path)
        blocks += sum(map(blocks_of, folder.files.values()))
        iso_table += sum(_even(8 + len(identifiers[name])) for name in folder.folders)
        joliet_table += sum(8 + 2 * len(name) for name in folder.folders)
    blocks += _path_tables(iso_table) + _path_tables(joliet_table) + 2
    if blocks > MAX_BLOCKS:
        raise TooLargeError(f"an image of {blocks} blocks, where {MAX_BLOCKS} is the most")
    return blocks * BLOCK
