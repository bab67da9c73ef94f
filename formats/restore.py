#!/usr/bin/env python3
"""Restore the packages of a courier parcel from its volumes alone: python3 restore.py --to TARGET VOLUME...

Needs Python 3.8 or later and 7-Zip (7z, 7zz, 7za or 7zr); zstd where content is compressed with it; age where the
parcel is encrypted. A VOLUME is a mounted medium, a copy of one in a folder, or a folder of several; without any, the
folder of this script. In the folder that mirrors a tape the paths below are names with a number before them, such as
00010-data+archives+000001.7z. Volumes are only read. Every file that is made is read back and checked by its SHA-256.

What a volume holds (digests are SHA-256 in hexadecimal, times UTC, sizes in bytes):

courier/packing-list.json   JSON, the same on every volume. Its "payload" is in base64 and JSON again: the packing list
                            of the whole parcel. "archives": size and digest of each, and which volume carries it.
courier/volume-label.json   The same form: which volume this is, and the digest of the packing list's payload.
courier/contents.jsonl.gz   The same on every volume, a line each. First how many packages and archives. Then for each
                            package a line and its "entries" in path order, times in nanoseconds since 1970:
                            ["d", path, time, mode], a folder; ["l", path, time, target], a symbolic link;
                            ["f", path, time, mode, size, digest, digest of its block table, lengths of data and
                            holes in turn, number of further names], a file; ["h", path, first], a further name of the
                            file at the path "first". Then for each archive ["a", number, members], and in the order
                            in which it holds them ["m", name, size, digest, of, offset, length, coding]. In a delta
                            ["s", "delta", lines] follows: ["v", package, version, digest of its listing] for each
                            version that it builds on; and for each content that is made of contents of these
                            ["r", digest, size, digest of its patch, size of that, [[digest, size], ...], lines], and
                            its steps. ["c", n, offset, length] copies from the n-th of these contents (from 0);
                            ["n", length] takes new bytes, ["o", length] zeros. New bytes come from frames, which are
                            one after the other in the patch: ["z", size, length, [[n, offset, length], ...]], as
                            `zstd -d --patch-from FILE` unpacks them, FILE being these pieces one after the other.
data/archives/NNNNNN.7z     Ordinary 7z archives. A member holds "length" bytes from "offset" of the content of "of"
                            bytes with that digest; with coding "zstd" its "size" bytes are one zstd frame of them,
                            with "lzma2" 7-Zip itself unpacks them. All files with that digest have that content. What
                            was cut stands in order of its offsets. The names of members are for people and not
                            needed here.

In an encrypted parcel contents and archives are age files (https://age-encryption.org/v1), and their names end in .age.
Signatures are not checked here, and damage is not mended from parity: the courier toolkit does both.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import errno
import gzip
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

DONE, FAILED, USAGE, REFUSED, DAMAGED, NO_SPACE, NOT_FOUND, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 8
CHUNK, PIECE = 1 << 20, 1 << 12
LONGEST_LINE = (1 << 21) + 1
ZEROS = bytes(PIECE)
ROWS = {
    "d": ("kind", "path", "mtime", "mode"),
    "f": ("kind", "path", "mtime", "mode", "size", "sha256", "blocks", "holes", "further_names"),
    "h": ("kind", "path", "first"),
    "l": ("kind", "path", "mtime", "target"),
    "a": ("kind", "archive", "members"),
    "m": ("kind", "name", "size", "sha256", "of", "offset", "length", "coding"),
    "s": ("kind", "name", "lines"),
    "v": ("kind", "package", "version", "listing"),
    "r": ("kind", "sha256", "of", "patch", "size", "bases", "steps"),
    "z": ("kind", "size", "length", "prefix"),
    "c": ("kind", "base", "offset", "length"),
    "n": ("kind", "length"),
    "o": ("kind", "length"),
}
TAPE_FILE = "[0-9][0-9][0-9][0-9][0-9]-"
MALFORMED = (ArithmeticError, AttributeError, EOFError, LookupError, RecursionError, TypeError, ValueError, zlib.error)
UNBINDABLE = (sqlite3.InterfaceError, sqlite3.ProgrammingError)


class Stop(Exception):
    """The end of the run: the exit code, and what to say."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Broken(Exception):
    """This copy of an archive cannot be unpacked; another one perhaps can."""


class Volume(NamedTuple):
    """The folder of a volume; its number and its packing list, or zero and nothing where they cannot be read."""

    folder: Path
    number: int
    packing: dict[str, Any]


def say(text: str) -> None:
    """Print a line, whatever the terminal can show."""
    encoding = sys.stdout.encoding or "ascii"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    result = hashlib.sha256()
    with path.open("rb") as source:
        for data in iter(lambda: source.read(CHUNK), b""):
            result.update(data)
    return result.hexdigest()


def at(folder: Path, path: str) -> Path:
    """Where a volume has a file: below its folder, or in the copy of a tape under one name with a number before it."""
    plain = folder / path
    return plain if plain.exists() else next(folder.glob(f"{TAPE_FILE}{path.replace('/', '+')}"), plain)


def open_volume(folder: Path, listing: str = "packing-list.json") -> Volume:
    """The volume in a folder; raises Stop for one of a later format. An only volume has a copy of its packing list."""
    try:
        texts = [at(folder, f"courier/{name}").read_bytes() for name in (listing, "volume-label.json")]
        data, label = (base64.b64decode(json.loads(text)["payload"], validate=True) for text in texts)
        if json.loads(label)["packing_list"] != hashlib.sha256(data).hexdigest():
            raise ValueError("the volume label names another packing list")
        packing = json.loads(data)
        if packing["format"] != "courier-packing-list/1":
            raise Stop(REFUSED, f"{folder}: written as {packing['format']!a}, which this script does not know")
        for archive in packing["archives"]:
            archive["path"] = f"data/archives/{archive['number']:06d}.7z{'.age' if packing['encrypted'] else ''}"
        return Volume(folder, int(json.loads(label)["number"]), packing)
    except (OSError, *MALFORMED) as error:
        copy = f"copy/{listing}"
        if "/" not in listing and at(folder, f"courier/{copy}").exists():
            return open_volume(folder, copy)
        say(f"damaged: packing list or label of {folder}: {error!r}; its archives are used where they are good")
        return Volume(folder, 0, {})


def find_volumes(places: list[Path]) -> list[Volume]:
    """The volumes in these folders and in the folders right below them; raises Stop where there is none."""
    folders = []
    for place in places:
        if not place.is_dir():
            raise Stop(NOT_FOUND, f"{place} is not a folder (mount an image file, or unpack it: 7z x -oFOLDER IMAGE)")
        folders += [place, *sorted(path for path in place.iterdir() if path.is_dir())]
    marks = ("courier/packing-list.json", "data/archives", "data/archives/*")
    found = [folder.resolve() for folder in folders if any(at(folder, mark).exists() for mark in marks)]
    if not found:
        raise Stop(NOT_FOUND, f"no volume of a parcel in {', '.join(map(str, places))}")
    return [open_volume(folder) for folder in dict.fromkeys(found)]


def one_parcel(volumes: list[Volume]) -> dict[str, Any]:
    """The newest packing list of the parcel that the volumes are of; raises Stop if they are of more than one build."""
    builds: dict[str, dict[str, Any]] = {}
    lines = ["these volumes do not belong together:"]
    for folder, number, packing in (volume for volume in volumes if volume.packing):
        archives = [[archive["size"], archive["sha256"]] for archive in packing["archives"]]
        build = json.dumps([packing["parcel"], packing["contents"], archives], sort_keys=True)
        # Editions of a build differ in the volumes that carry its archives, and in nothing that matters here.
        builds[build] = max(builds.get(build, packing), packing, key=lambda known: int(known["edition"]))
        lines.append(f"  {folder}: volume {number} of {packing['parcel']} made {packing['created']}")
    if not builds:
        raise Stop(DAMAGED, "no volume here has a packing list and a label that can be read")
    if len(builds) > 1:
        raise Stop(REFUSED, "\n".join(lines))
    return builds.popitem()[1]


def find_tool(*names: str) -> str:
    """The first of these programs that is installed; raises Stop."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise Stop(REFUSED, f"this parcel needs {' or '.join(names)}, which is not installed here")
    return found


def copy_bytes(source: IO[bytes], out: IO[bytes], count: int, sparse: bool = False) -> None:
    """Copy exactly this many bytes; raises Broken when there are fewer. `sparse`: zeros become holes, at out's end."""
    while count:
        data = source.read(min(CHUNK - (out.tell() % CHUNK if sparse else 0), count))
        if not data:
            raise Broken("it ends early")
        count -= len(data)
        if not sparse or ZEROS not in data:
            out.write(data)
            continue
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            if piece == ZEROS:
                out.seek(PIECE, os.SEEK_CUR)
            else:
                out.write(piece)
    if sparse:
        out.truncate()


@contextlib.contextmanager
def output_of(command: list[str], source: IO[bytes] | None = None, count: int = 0, **more: Any) -> Iterator[IO[bytes]]:
    """What a program writes that is fed with `count` bytes of `source`; `more` is for its start."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, **more) as process:

        def feed() -> None:
            with contextlib.suppress(OSError, Broken), cast("IO[bytes]", process.stdin) as stdin:
                if source:
                    copy_bytes(source, stdin, count)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            yield cast("IO[bytes]", process.stdout)
        finally:
            process.kill()
            feeder.join()


def remove(folder: Path) -> None:
    """Remove a folder, also where one within it has a mode that keeps us out; nothing else is touched."""
    for place, names, _ in os.walk(str(folder)):
        for path in (Path(place, name) for name in names):
            with contextlib.suppress(OSError):
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(str(folder), ignore_errors=True)


def check_path(path: str) -> None:
    """Raise ValueError unless the path stays in the package. Where links lead does not matter: none is followed."""
    windows = os.name == "nt" and re.search(r'[\\:*?"<>|\x00-\x1f]', path)
    if windows or "\0" in path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"{path!a} may not stand in a package on this system")


def named(row: list[Any]) -> dict[str, Any]:
    """A line of the contents with a name for each of its items; raises Stop for a kind of line not known here."""
    if row[0] not in ROWS:
        raise Stop(REFUSED, f"the contents have a line of the kind {row[0]!a}, which this script does not know")
    names = ROWS[row[0]]
    if len(names) != len(row):
        raise ValueError(f"not the items of a line of the kind {row[0]!a}")
    if row[0] == "m" and row[-1] not in ("store", "zstd", "lzma2"):
        raise Stop(REFUSED, f"members are packed by {row[-1]!a}, which this script does not know")
    return dict(zip(names, row))  # noqa: B905 (older Pythons do not know it; the lengths are equal)


def read_contents(source: IO[bytes], parcel: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the contents list, in order: each "package", followed by every "entry" of it, then each "archive"; of a
    delta each "step" as well, the first line of each recipe among them.
    """

    def line() -> Any:
        data = source.readline(LONGEST_LINE)
        if not data.endswith(b"\n"):
            raise ValueError("the contents end early")
        return json.loads(data)

    head = line()
    if (head["format"], head["parcel"]) != ("courier-contents/1", parcel):
        raise Stop(REFUSED, f"not the contents of {parcel}, or written in a form that this script does not know")
    for _ in range(head["packages"]):
        package = line()
        package["id"] = f"{package['package']}:{package['version']:d}"
        if not re.fullmatch("[A-Z0-9]{8}:[0-9]{1,20}", package["id"]):
            raise ValueError(f"not a package: {package['id']!a}")
        yield "package", package
        last = [""]
        for _ in range(package["listing"]["entries"]):
            entry = named(line())
            check_path(entry["path"])
            last, before = entry["path"].split("/"), last
            if last <= before:
                raise ValueError(f"listed twice or out of order: {entry['path']!a}")
            yield "entry", entry
    for _ in range(head["archives"]):
        archive = named(line())
        yield "archive", {**archive, "members": [named(line()) for _ in range(archive["members"])]}
    rest = source.readline(LONGEST_LINE)
    if rest.startswith(b'["s","delta",'):
        for _ in range(named(json.loads(rest))["lines"]):
            yield "step", named(line())
        rest = source.readline(LONGEST_LINE)
    if rest:
        raise Stop(REFUSED, f"the contents go on with {rest[:40]!a}, which this script does not know")


class Parcel:
    """A parcel as far as its volumes are here."""

    def __init__(self, volumes: list[Volume], identity: Path | None) -> None:
        self.volumes, self.packing = volumes, one_parcel(volumes)
        self.archives: list[dict[str, Any]] = self.packing["archives"]
        if identity and not identity.exists():
            raise Stop(NOT_FOUND, f"--identity {identity}: there is no such file")
        self.age = [find_tool("age"), "-d", "-i", str(identity)] if self.packing["encrypted"] and identity else []
        self.legible = bool(self.age) or not self.packing["encrypted"]

    def copies(self, file: dict[str, Any]) -> list[Path]:
        """The files here that could be this one: those of the right name and size."""
        found = []
        for path in [at(volume.folder, file["path"]) for volume in self.volumes]:
            with contextlib.suppress(OSError):
                found += [path] if path.stat().st_size == file["size"] else []
        return found

    def good_copies(self, file: dict[str, Any]) -> Iterator[Path]:
        """The copies of a file that have the right digest, each checked when it is asked for."""
        for path in self.copies(file):
            try:
                if digest(path) == file["sha256"]:
                    yield path
                    continue
                say(f"damaged: {path}")
            except OSError as error:
                say(f"damaged: {path}: {error.strerror}")

    @contextlib.contextmanager
    def contents(self) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
        """The contents from their start (`read_contents`); raises Stop where they cannot be had."""
        if not self.legible:
            raise Stop(REFUSED, "the parcel is encrypted: install age, and give an --identity FILE that opens it")
        path = f"courier/contents.jsonl.gz{'.age' if self.age else ''}"
        paths = (path, path.replace("courier/", "courier/copy/"))
        copy = next((c for p in paths for c in self.good_copies({**self.packing["contents"], "path": p})), None)
        if copy is None:
            raise Stop(DAMAGED, f"no volume here has a good {path}")
        with contextlib.ExitStack() as stack:
            # What age says comes after what we say.
            said = stack.enter_context(tempfile.TemporaryFile())
            opened = output_of([*self.age, str(copy)], stderr=said) if self.age else copy.open("rb")
            raw = stack.enter_context(opened)
            if not cast(Any, raw).peek(1):
                said.seek(0)
                why = " ".join(said.read(1000).decode(errors="replace").split())
                raise Stop(REFUSED, f"age does not open the contents with this identity ({why!a})")
            source = stack.enter_context(gzip.GzipFile(fileobj=raw))
            yield read_contents(cast("IO[bytes]", source), self.packing["parcel"])

    def say_missing(self, archives: list[dict[str, Any]]) -> None:
        """Say which of the archives' volumes are not here, and which archives are missing or damaged."""
        here = {volume.number for volume in self.volumes if volume.packing.get("edition") == self.packing["edition"]}
        volumes = sorted({archive["volume"] for archive in archives} - here)
        if volumes:
            say(f"volumes MISSING: {', '.join(map(str, volumes))} (of {self.packing['volumes']})")
        if archives:
            names = [f"{archive['number']} (of volume {archive['volume']})" for archive in archives]
            say(f"archives missing or damaged: {', '.join(names)}")

    def builds_on(self) -> str:
        """That this is a delta, on which versions, and how their files are given."""
        versions = ", ".join(f"{base['package']}:{base['version']}" for base in self.packing["bases"])
        return f"delta on {versions}: --base DIR gives a folder with the files of that version, as they were restored"

    def say_all(self) -> None:
        """Say what the parcel holds and what of it is here, judged by names and sizes only."""
        sites = f"from {self.packing['from']} to {', '.join(self.packing['to'])}"
        if self.packing.get("bases"):
            say(self.builds_on())
        say(f"parcel {self.packing['parcel']} {sites}, made {self.packing['created']}, {len(self.archives)} archives")
        for volume in self.volumes:
            say(f"volume {volume.number or '?'} of {self.packing['volumes']} is here: {volume.folder}")
        self.say_missing([archive for archive in self.archives if not self.copies(archive)])
        if not self.legible:
            say("the parcel is encrypted; with --identity FILE its packages are listed too")
            return
        with self.contents() as contents:
            for _, package in (item for item in contents if item[0] == "package"):
                held = f"{package['listing']['files']:,} files, {package['listing']['bytes']:,} bytes"
                say(f"package {package['id']} {package['name']!a}: {held}")


class Restore:
    """Makes packages in a folder. What is still to do stands in a database, so that memory stays small."""

    def __init__(self, parcel: Parcel, folder: Path) -> None:
        self.parcel, self.folder = parcel, folder
        self.seven_zip, self.zstd = find_tool("7z", "7zz", "7za", "7zr"), ""
        self.chosen: dict[str, dict[str, Any]] = {}
        self.needed: set[int] = set()
        self.database = sqlite3.connect(str(folder / "to-do.sqlite"))
        self.database.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE entry (package, path, kind, mtime, target, mode, size, sha256);"
            "CREATE INDEX contents ON entry (sha256); CREATE INDEX paths ON entry (path);"
            "CREATE TABLE member (sha256, archive); CREATE INDEX members ON member (sha256);"
            "CREATE TABLE patch (sha256 PRIMARY KEY); CREATE TABLE made (sha256 PRIMARY KEY);"
            "CREATE TABLE base (sha256 PRIMARY KEY, size, path); CREATE INDEX sizes ON base (size);"
        )

    def prepare(self, selected: str | None) -> int:
        """Make folders and empty files, and note the rest as to do; return the bytes that all files will take."""
        name, room = "", 0
        with self.parcel.contents() as contents:
            for kind, record in contents:
                if kind == "package":
                    name = record["id"].replace(":", "-")
                    if selected in (None, record["id"], record["package"]):
                        self.chosen[name] = record
                        (self.folder / name).mkdir()
                elif kind == "entry" and name in self.chosen:
                    self._prepare_entry(name, record)
                    room += record.get("size", 0) - sum(record.get("holes", ())[1::2])
                elif kind == "archive":
                    self._prepare_archive(record)
                elif kind == "step" and record["kind"] == "r" and self._next_file(record["sha256"]):
                    self._prepare_recipe(record)
        if not self.chosen:
            raise Stop(NOT_FOUND, f"no package {selected} in this parcel; --list tells what it holds")
        return int(room)

    def _prepare_archive(self, archive: dict[str, Any]) -> None:
        wanted = [member for member in archive["members"] if self._next_file(member["sha256"])]
        if wanted:
            self._need(archive["archive"], archive["members"])
        if self.parcel.packing.get("bases"):
            rows = [(member["sha256"], archive["archive"]) for member in archive["members"]]
            self.database.executemany("INSERT INTO member VALUES (?, ?)", rows)

    def _need(self, archive: int, members: list[dict[str, Any]]) -> None:
        self.needed.add(archive)
        if any(member["coding"] == "zstd" for member in members):
            self.zstd = find_tool("zstd")

    def _prepare_recipe(self, recipe: dict[str, Any]) -> None:
        self.zstd = find_tool("zstd")
        self.database.execute("INSERT INTO made VALUES (?)", (recipe["sha256"],))
        self.database.execute("INSERT OR IGNORE INTO patch VALUES (?)", (recipe["patch"],))
        rows = [(sha256, size) for sha256, size in recipe["bases"]]
        self.database.executemany("INSERT OR IGNORE INTO base VALUES (?, ?, NULL)", rows)
        query = "SELECT archive FROM member WHERE sha256 = ?"
        self.needed.update(row[0] for row in self.database.execute(query, (recipe["patch"],)))

    def find_bases(self, folders: list[Path]) -> int:
        """Find what a delta builds on in these folders, by its digests; how many contents are in none of them."""
        if not self.parcel.packing.get("bases"):
            return 0
        self.database.execute(
            "INSERT OR IGNORE INTO base SELECT DISTINCT sha256, size, NULL FROM entry WHERE kind = 'f' "
            "AND sha256 NOT IN (SELECT sha256 FROM member) AND sha256 NOT IN (SELECT sha256 FROM made)"
        )
        for path in (Path(at, name) for folder in folders for at, _, names in os.walk(str(folder)) for name in names):
            query = "SELECT 1 FROM base WHERE size = ? AND path IS NULL LIMIT 1"
            with contextlib.suppress(OSError):  # what cannot be read is of no use
                if path.is_symlink() or not path.is_file():
                    continue
                if self.database.execute(query, (path.stat().st_size,)).fetchone():
                    values = str(path.resolve()), digest(path)
                    self.database.execute("UPDATE base SET path = ? WHERE sha256 = ? AND path IS NULL", values)
        return int(self.database.execute("SELECT COUNT(*) FROM base WHERE path IS NULL").fetchone()[0])

    def _prepare_entry(self, package: str, entry: dict[str, Any]) -> None:
        path = f"{package}/{entry['path']}"
        if entry["kind"] == "h":
            self._link(f"{package}/{entry['first']}", path)
            return
        if entry["kind"] == "d":
            (self.folder / path).mkdir()
        elif entry["kind"] == "f":
            (self.folder / path).open("xb").close()
            if not entry["size"]:
                set_attributes(self.folder / path, entry["mtime"], entry["mode"])
                return
        rest = [entry.get(field) for field in ("target", "mode", "size", "sha256")]
        row = (package, path, entry["kind"], str(entry["mtime"]), *rest)  # after 2262 it is no integer of a database
        self.database.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _link(self, first: str, path: str) -> None:
        """Make a further name of a file that was made before; no symbolic link is there yet that it could lead by."""
        check_path(first)
        if not (self.folder / first).is_file():
            raise ValueError(f"{path!a} is a further name of {first!a}, which is no file before it")
        try:
            os.link(str(self.folder / first), str(self.folder / path))
        except (OSError, NotImplementedError):  # a file system without them: a file of its own
            (self.folder / path).open("xb").close()
            with unless_refused():
                shutil.copystat(str(self.folder / first), str(self.folder / path))
            columns = "kind, mtime, target, mode, size, sha256 FROM entry WHERE path = ?"
            self.database.execute(f"INSERT INTO entry SELECT package, ?, {columns}", (path, first))

    def _next_file(self, sha256: str, other_than: int = 0) -> Any:
        query = "SELECT path, size, mtime, mode, rowid FROM entry WHERE sha256 = ? AND rowid != ? LIMIT 1"
        return self.database.execute(query, (sha256, other_than)).fetchone()

    def unpack(self, partial: bool) -> list[dict[str, Any]]:
        """Fill the files from the archives; those that cannot be had (after one, goes on only where `partial`)."""
        failed: list[dict[str, Any]] = []
        with self.parcel.contents() as contents:
            for _, record in (item for item in contents if item[0] == "archive" and item[1]["archive"] in self.needed):
                archive = self.parcel.archives[record["archive"] - 1]
                say(f"archive {record['archive']} of {len(self.parcel.archives)}, {archive['size']:,} bytes")
                for copy in self.parcel.good_copies(archive):
                    try:
                        if partial or not failed:
                            self._unpack_archive(copy, record["members"])
                        break
                    except Broken as error:
                        say(f"damaged: {copy}: {error}")
                else:
                    failed.append(archive)
        return failed

    def _unpack_archive(self, archive: Path, members: list[dict[str, Any]]) -> None:
        if self.parcel.age:
            encrypted, archive = archive, self.folder / "archive.7z"
            if subprocess.run([*self.parcel.age, "-o", str(archive), str(encrypted)], check=False).returncode:
                raise Broken("age does not open it")
        stream: contextlib.AbstractContextManager[IO[bytes]]
        # Without names of members, 7-Zip writes all of them one after the other. It is started beside the archive,
        # because it would take `*` or `?` in the path of an archive for a pattern.
        with output_of([self.seven_zip, "x", "-so", archive.name], cwd=archive.parent) as source:
            for coding, group in itertools.groupby(members, lambda member: str(member["coding"])):
                run, stream = list(group), contextlib.nullcontext(source)
                if coding == "zstd":  # which decompresses frames that follow each other into one stream
                    stream = output_of([self.zstd, "-dcq"], source, sum(member["size"] for member in run))
                with stream as plain:
                    for member in run:
                        self._take(plain, member)

    def _take(self, source: IO[bytes], member: dict[str, Any]) -> None:
        """Put the bytes of a member where they belong; once its content is whole, fill all files that have it."""
        sha256, offset, length = member["sha256"], member["offset"], member["length"]
        if self.database.execute("SELECT 1 FROM patch WHERE sha256 = ?", (sha256,)).fetchone():
            with contextlib.ExitStack() as stack:
                path = self.folder / f"patch-{sha256}"
                out = stack.enter_context(path.open("r+b" if offset and path.exists() else "w+b"))
                out.truncate(offset)
                out.seek(offset)
                copy_bytes(source, out, length)
                out.seek(offset)
                self._fill(out, member)  # a file may have the very same bytes
            return
        self._fill(source, member)

    def _fill(self, source: IO[bytes], member: dict[str, Any]) -> None:
        sha256, offset, length = member["sha256"], member["offset"], member["length"]
        file = self._next_file(sha256)
        first = self.folder / file[0] if file else None
        if first is None or not 0 <= offset <= first.stat().st_size or offset + length > file[1]:
            with Path(os.devnull).open("wb") as nowhere:  # not wanted, or what comes before it was missing
                copy_bytes(source, nowhere, length)
            return
        with first.open("r+b") as out:
            out.truncate(offset)  # what stands after it is of a copy of the archive that broke off
            out.seek(offset)
            copy_bytes(source, out, length, sparse=True)
        if offset + length == file[1]:
            self._fill_twins(file, sha256)

    def _fill_twins(self, file: Any, sha256: str) -> None:
        """Check a file that is whole, and fill all others that have its content."""
        first = self.folder / file[0]
        check(first, file[1], sha256)
        twin = self._next_file(sha256, file[4])
        while twin:
            path = self.folder / twin[0]
            with first.open("rb") as whole, path.open("wb") as out:
                copy_bytes(whole, out, twin[1], sparse=True)
            check(path, twin[1], sha256)
            self._close(twin)
            twin = self._next_file(sha256, file[4])
        self._close(file)  # last: with its permissions we may not read it any more

    def make(self) -> None:
        """Make what archives do not hold: by its recipe, or as a copy of what the delta builds on."""
        if not self.parcel.packing.get("bases"):
            return
        with self.parcel.contents() as contents:
            steps = (record for kind, record in contents if kind == "step")
            for recipe in steps:
                if recipe["kind"] != "r":
                    continue
                own = itertools.islice(steps, recipe["steps"])
                file = self._next_file(recipe["sha256"])
                try:
                    if file:
                        with (self.folder / file[0]).open("r+b") as out:
                            self._make(recipe, own, out)
                        self._fill_twins(file, recipe["sha256"])
                except (Broken, OSError) as error:
                    say(f"damaged: {file[0]!a}: {error}")
                for _ in own:
                    pass
        query = "SELECT sha256, path FROM base WHERE path IS NOT NULL AND sha256 IN (SELECT sha256 FROM entry)"
        for sha256, path in self.database.execute(query).fetchall():
            file = self._next_file(sha256)
            with Path(path).open("rb") as base, (self.folder / file[0]).open("wb") as out:
                copy_bytes(base, out, file[1], sparse=True)
            self._fill_twins(file, sha256)

    def _make(self, recipe: dict[str, Any], steps: Iterator[dict[str, Any]], out: IO[bytes]) -> None:
        query = "SELECT path FROM base WHERE sha256 = ?"
        with contextlib.ExitStack() as stack:
            bases: list[IO[bytes]] = []
            for sha256, _ in recipe["bases"]:
                path = self.database.execute(query, (sha256,)).fetchone()[0]
                if path is None:
                    raise Broken("what it is made of is not here: --base DIR")
                bases.append(stack.enter_context(Path(path).open("rb")))
            patch = cast("IO[bytes]", None)
            if recipe["patch"]:
                path = self.folder / f"patch-{recipe['patch']}"
                if not path.exists():
                    raise Broken("its patch is not here")
                patch = stack.enter_context(path.open("rb"))
            frame = stack.enter_context(tempfile.TemporaryFile(dir=str(self.folder)))
            for step in steps:
                if step["kind"] == "z":
                    self._unpack_frame(step, bases, patch, frame)
                elif step["kind"] == "c":
                    bases[step["base"]].seek(step["offset"])
                    copy_bytes(bases[step["base"]], out, step["length"], sparse=True)
                elif step["kind"] == "n":
                    copy_bytes(frame, out, step["length"], sparse=True)
                elif step["kind"] == "o":
                    out.truncate(out.seek(step["length"], os.SEEK_CUR))
                else:
                    raise ValueError(f"a line of the kind {step['kind']!a} in a recipe")

    def _unpack_frame(self, step: dict[str, Any], bases: list[IO[bytes]], patch: IO[bytes], frame: IO[bytes]) -> None:
        """Put the new bytes of a frame of the patch into a file, from its start."""
        prefix = self.folder / "prefix"
        with prefix.open("wb") as out:
            for base, offset, length in step["prefix"]:
                bases[base].seek(offset)
                copy_bytes(bases[base], out, length)
        after = [f"--patch-from={prefix}"] if step["prefix"] else []
        packed = patch.read(step["size"])
        frame.seek(0)
        frame.truncate()
        with output_of([self.zstd, "-dcq", *after], io.BytesIO(packed), len(packed)) as plain:
            copy_bytes(plain, frame, step["length"])
        frame.seek(0)

    def _close(self, file: Any) -> None:
        """Give a file that is whole its time and permissions, and forget it."""
        set_attributes(self.folder / file[0], int(file[2]), file[3])
        self.database.execute("DELETE FROM entry WHERE rowid = ?", (file[4],))

    def finish(self) -> set[str]:
        """Make the links and set the times of the folders; the packages that are whole."""
        # From the last to the first: nothing is made through a link, and in no folder after its time was set.
        query = "SELECT path, mtime, target, mode FROM entry WHERE kind != 'f' ORDER BY rowid DESC"
        for path, stamp, target, mode in self.database.execute(query):
            mtime = int(stamp)
            if target is None:
                set_attributes(self.folder / path, mtime, mode)
                continue
            (self.folder / path).symlink_to(target)
            if os.utime in os.supports_follow_symlinks:
                with unless_refused():
                    os.utime(str(self.folder / path), ns=(mtime, mtime), follow_symlinks=False)
        lacking = {row[0] for row in self.database.execute("SELECT DISTINCT package FROM entry WHERE kind = 'f'")}
        return set(self.chosen) - lacking


def check(path: Path, size: int, sha256: str) -> None:
    """Raise Broken unless a file has this size and digest."""
    if path.stat().st_size != size or digest(path) != sha256:
        raise Broken(f"from it, {path.name!a} does not get its digest")


def set_attributes(path: Path, mtime: int, mode: int) -> None:
    """Set a file's or folder's time (nanoseconds since 1970) and permissions, but no set-user-ID or set-group-ID."""
    with unless_refused():
        os.utime(str(path), ns=(mtime, mtime))
    if os.name == "posix":
        with unless_refused():
            path.chmod(mode & 0o1777)


@contextlib.contextmanager
def unless_refused() -> Iterator[None]:
    """Go on where a file system knows no such times or permissions (shares, FAT, FUSE): the content counts."""
    refused = errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP
    try:
        yield
    except OSError as error:
        if error.errno not in refused:
            raise


def restore(parcel: Parcel, target: Path, selected: str | None, partial: bool, bases: list[Path]) -> int:
    """Restore all packages or the selected one, or where `partial` those that are whole; the exit code."""
    target = target.resolve()
    if any(volume.folder in (target, *target.parents) for volume in parcel.volumes):
        raise Stop(USAGE, f"{target} lies on a volume, and nothing is written there: choose another folder")
    target.mkdir(parents=True, exist_ok=True)
    if {path.name for path in target.iterdir()} - {".partial"}:
        raise Stop(USAGE, f"{target} is not empty: name a folder that is, or that does not exist yet")
    folder = target / ".partial"
    remove(folder)  # what a run that was killed has left
    folder.mkdir(0o700)  # what is in it has its own permissions only at the end
    try:
        work = Restore(parcel, folder)
        with contextlib.closing(work.database):
            room = work.prepare(selected) + (max((a["size"] for a in parcel.archives), default=0) if parcel.age else 0)
            if room > (free := shutil.disk_usage(str(target)).free):
                raise Stop(NO_SPACE, f"{target}: {room:,} bytes are needed, {free:,} are free: choose another disk")
            lacking = work.find_bases(bases)
            if lacking and not partial:
                raise Stop(NOT_FOUND, f"{parcel.builds_on()}: contents of it that are not here: {lacking}")
            needed = [archive for archive in parcel.archives if archive["number"] in work.needed]
            failed = [archive for archive in needed if not parcel.copies(archive)]
            if partial or not failed:
                failed = work.unpack(partial)
                work.make()
            whole = work.finish()
            if whole != set(work.chosen) and not partial:
                whole = set()
        for name in whole:
            (folder / name).rename(target / name)
    finally:
        remove(folder)
    parcel.say_missing(failed)
    for name, package in work.chosen.items():
        say(f"{'restored' if name in whole else 'NOT restored'}: {target / name} ({package['name']!a})")
    say("Digests checked; who signed it was not checked: that needs the courier toolkit.")
    if len(whole) == len(work.chosen):
        return DONE
    say("Give the missing volumes too, or copies of the damaged ones; --partial restores the packages that are whole.")
    say("The courier toolkit can mend a parcel: courier parcel receive VOLUME..., then courier parcel repair PARCEL.")
    return DAMAGED


def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(
        description="Restore the packages of a courier parcel from its volumes alone.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 damaged or incomplete, 5 no space, 6 not found.",
    )
    parser.add_argument("volumes", nargs="*", type=Path, metavar="VOLUME", help="default: the folder of this script")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--to", type=Path, metavar="TARGET", help="a folder that is empty or does not exist yet")
    action.add_argument("--list", action="store_true", help="only say what the parcel holds and what of it is here")
    parser.add_argument("--package", metavar="ID[:VERSION]", help="restore only this package")
    parser.add_argument("--partial", action="store_true", help="restore what is whole although the rest is not")
    parser.add_argument("--identity", type=Path, metavar="FILE", help="the age identity that opens an encrypted parcel")
    parser.add_argument(
        "--base",
        type=Path,
        metavar="DIR",
        action="append",
        default=[],
        help="for a delta: a folder with the files of the version that it builds on; may be given several times",
    )
    args = parser.parse_args()
    try:
        parcel = Parcel(find_volumes(args.volumes or [Path(__file__).resolve().parent]), args.identity)
        if args.to:
            return restore(parcel, args.to, args.package, args.partial, args.base)
        parcel.say_all()
        return DONE
    except Stop as stop:
        say(str(stop))
        return stop.code
    except (OSError, sqlite3.OperationalError) as error:
        full = getattr(error, "errno", 0) == errno.ENOSPC
        say(f"failed: {error}" + (f"; the disk of {args.to} is full: choose another" if full else ""))
        return NO_SPACE if full else FAILED
    except (*MALFORMED, *UNBINDABLE) as error:
        if isinstance(error, UnicodeEncodeError) and sys.getfilesystemencoding() != "utf-8":
            say(f"failed: the locale of this system cannot write {error.object!a}: set PYTHONUTF8=1 and run it again")
            return FAILED
        say(f"damaged: a document of the parcel is not as it ought to be: {error!r}")
        return DAMAGED
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
