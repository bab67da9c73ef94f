"""Make the vectors in ``listings`` and ``contents``: good listings and contents, and bad ones of one fault each.

``python tests/vectors/make_listings.py`` writes them; the folder of a bad one is the code of its refusal. The lines of
contents stand there as they are before gzip. They are of parcel `PARCEL`, with one archive.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PARCEL = "HQ1-000042"
ONE, EMPTY, TABLE = sha256(b"x").hexdigest(), sha256(b"").hexdigest(), "b" * 64
FIRST, LAST = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1
MIB = 1 << 20


def row(*items: Any) -> bytes:
    """A line as the page of formats says it: JSON without white space, other characters than ASCII as they are."""
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def file(path: str = "a", mtime: Any = 0, mode: Any = 0o644, size: Any = 1, digest: Any = ONE, *rest: Any) -> bytes:
    return row("f", path, mtime, mode, size, digest, *(*rest, *("", [], 0)[len(rest) :]))


def holes(*lengths: Any, size: int = 16_384) -> bytes:
    return file("a", 0, 0o644, size, ONE, "", [*lengths])


def named(further: Any = 1, path: str = "a") -> bytes:
    return file(path, 0, 0o644, 1, ONE, "", [], further)


PLAIN = file()
A_FOLDER = row("d", "a", 0, 0o755)

GOOD_LISTINGS: dict[str, bytes] = {
    "of nothing": b"",
    "a file": PLAIN,
    "every kind": A_FOLDER + named(1, "a/b") + row("h", "a/c", "a/b") + row("l", "a/d", 0, "b"),
    "an empty file": file("a", 0, 0o644, 0, EMPTY),
    "empty file of two names": file("a", 0, 0o644, 0, EMPTY, "", [], 1) + row("h", "b", "a"),
    "three names in two folders": A_FOLDER + named(2, "a/x") + row("h", "a/y", "a/x") + row("h", "b", "a/x"),
    "first and last time": row("d", "a", FIRST, 0) + row("d", "b", LAST, 0),
    "no permission and all": row("d", "a", 0, 0) + file("b", 0, 0o7777),
    "one block": file("a", 0, 0o644, MIB),
    "two blocks": file("a", 0, 0o644, MIB + 1, ONE, TABLE),
    "hole of a whole file": holes(0, 16_384),
    "hole of a whole file that is no block": holes(0, 5, size=5),
    "hole at the beginning": holes(0, 4096),
    "hole in the middle": holes(4096, 8192),
    "hole at an end that is no block": holes(4096, 4097, size=8193),
    "two holes": holes(0, 4096, 4096, 4096),
    "links to anywhere": row("l", "a", 0, "/etc/passwd") + row("l", "b", 0, "../../x") + row("l", "c", 0, "a/../.."),
    "order by component": A_FOLDER + file("a/b") + file("a!") + file("aa") + file("\u00e9"),
    "characters that JSON escapes": file('\\"\b\f\n\r\t\x01\x1f') + file("\x7f\u2028"),
    "the largest file": file("a", 0, 0o644, 2**63 - 1, ONE, TABLE),
}

MALFORMED_LISTINGS: dict[str, bytes] = {
    "kind missing": row(),
    "an object": b'{"path":"a"}\n',
    "item too many": row("d", "a", 0, 0o755, 0),
    "item too few": row("d", "a", 0),
    "file without its last item": row("f", "a", 0, 0o644, 1, ONE, "", []),
    "out of order": file("b") + file("a"),
    "out of order by component": file("a!") + A_FOLDER,
    "listed twice": PLAIN + PLAIN,
    "folder and file of one path": A_FOLDER + PLAIN,
    "folder not listed": file("a/b"),
    "folder listed after": file("a/b") + A_FOLDER,
    "within a file": PLAIN + file("a/b"),
    "within a link": row("l", "a", 0, "b") + file("a/b"),
    "within a further name": named() + row("h", "b", "a") + file("b/c"),
    "time as text": row("d", "a", "1970-01-01T00:00:00.000000000Z", 0),
    "time as a float": b'["d","a",0.0,493]\n',
    "time with an exponent": b'["d","a",1e9,493]\n',
    "time of minus zero": b'["d","a",-0,493]\n',
    "time before the year 1": row("d", "a", FIRST - 1, 0),
    "time after the year 9999": row("d", "a", LAST + 1, 0),
    "time missing": row("d", "a", None, 0),
    "mode of 13 bits": row("d", "a", 0, 0o10000),
    "mode below 0": row("d", "a", 0, -1),
    "mode as text": row("d", "a", 0, "0755"),
    "mode as a float": b'["d","a",0,493.0]\n',
    "mode true": row("d", "a", 0, True),
    "size below 0": file("a", 0, 0, -1),
    "size beyond 63 bits": file("a", 0, 0, 2**63, ONE, TABLE),
    "size 0 with another digest": file("a", 0, 0, 0),
    "size 1 with the digest of nothing": file("a", 0, 0, 1, EMPTY),
    "digest in upper case": file("a", 0, 0, 1, "A" * 64),
    "digest cut": file("a", 0, 0, 1, ONE[:-1]),
    "block table of one block": file("a", 0, 0, MIB, ONE, TABLE),
    "block table missing": file("a", 0, 0, MIB + 1, ONE, ""),
    "block table null": file("a", 0, 0, MIB, ONE, None),
    "hole without its length": holes(0),
    "hole of no bytes": holes(0, 0),
    "hole below 0": holes(0, -4096),
    "hole past the end": holes(0, 20_480),
    "hole that begins past the end": holes(16_384, 4096),
    "hole that begins in a block": holes(512, 4096),
    "hole that ends in a block": holes(0, 4097),
    "holes that touch": holes(0, 4096, 0, 4096),
    "hole as a float": b'["f","a",0,420,16384,"%s","",[0,4096.0],0]\n' % ONE.encode(),
    "hole in an empty file": file("a", 0, 0, 0, EMPTY, "", [0, 4096]),
    "further names missing": named(),
    "further names fewer than said": named(2) + row("h", "b", "a"),
    "further names more than said": named(1) + row("h", "b", "a") + row("h", "c", "a"),
    "further names below 0": named(-1),
    "further name not said": PLAIN + row("h", "b", "a"),
    "further name of nothing": row("h", "b", "a"),
    "further name of itself": row("h", "b", "b"),
    "further name of a later file": row("h", "a", "b") + named(1, "b"),
    "further name of a further name": named(2) + row("h", "b", "a") + row("h", "c", "b"),
    "further name of a folder": A_FOLDER + row("h", "b", "a"),
    "further name of a link": row("l", "a", 0, "c") + row("h", "b", "a") + named(1, "c"),
    "further name by way of a link": A_FOLDER + named(1, "a/x") + row("l", "b", 0, "a") + row("h", "c", "b/x"),
    "further name in another case": named() + row("h", "b", "A"),
    "escape of a plain character": b'["d","\\u0061",0,493]\n',
    "escape of a slash": b'["l","a",0,"b\\/c"]\n',
    "escape in upper case": b'["d","\\u001F",0,493]\n',
    "escape of another character than ASCII": b'["d","\\u00e9",0,493]\n',
    "escape of half a character": b'["d","\\ud83d",0,493]\n',
    "not UTF-8": b'["d","\xff",0,493]\n',
    "white space after a comma": b'["d", "a",0,493]\n',
    "white space before the end": b'["d","a",0,493] \n',
    "carriage return": b'["d","a",0,493]\r\n',
    "number with a zero before it": b'["d","a",01,493]\n',
    "empty line": PLAIN + b"\n",
    "two rows in a line": A_FOLDER[:-1] + file("b"),
    "last line without its end": PLAIN[:-1],
    "cut": PLAIN[:-9],
}
UNKNOWN_KINDS: dict[str, bytes] = {
    "kind unknown": row("b", "a", 0, 0o600, 8, 0),
    "kind in upper case": row("D", "a", 0, 0o755),
    "kind of an archive": row("a", 1, 1),
}
ILLEGAL_NAMES: dict[str, bytes] = {
    **{
        f"path {fault}": file(path)
        for fault, path in {
            "absolute": "/a",
            "empty": "",
            "that climbs": "../a",
            "with a dot": "a/./b",
            "with two dots": "a/../b",
            "with two slashes": "a//b",
            "with a slash at its end": "a/",
            "with a NUL": "a\0",
            "with a component too long": "a" * 256,
            "too deep": "/".join(["a"] * 513),
        }.items()
    },
    "link to nothing": row("l", "a", 0, ""),
    "link with a NUL": row("l", "a", 0, "b\0"),
    "link too long": row("l", "a", 0, "b" * 4096),
    "further name of an absolute path": named() + row("h", "b", "/a"),
    "further name of a path that climbs": named() + row("h", "b", "../a"),
    "further name of a path that goes round": named() + row("h", "b", "c/../a"),
}
TOO_LARGE_LISTINGS: dict[str, bytes] = {
    "bytes of all files": file("a", 0, 0, 2**63 - 1, ONE, TABLE) + file("b"),
}

SUMMARY = {"bytes": 1, "entries": 1, "files": 1, "holes": 0, "sha256": sha256(PLAIN).hexdigest()}
PACKAGE = {"listing": SUMMARY, "name": "One", "package": "HQ100001", "version": 1}
HEADER = {"archives": 1, "format": "courier-contents/1", "packages": 1, "parcel": PARCEL}
MEMBER = ("m", "HQ100001-1/a", 1, ONE, 1, 0, 1, "store")


def _object(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode() + b"\n"


def contents(*, more: bytes = b"", **changes: Any) -> bytes:
    """The lines of contents with one file; each keyword puts another line, or no line, in place of one."""
    lines: dict[str, Any] = {"header": HEADER, "package": PACKAGE, "entry": PLAIN, "archive": ["a", 1, 1], "m": MEMBER}
    made = b""
    for line in {**lines, **changes}.values():
        if isinstance(line, Mapping):
            made += _object(line)
        else:
            made += line if isinstance(line, bytes) else row(*line)
    return made + more


def member(**changes: Any) -> bytes:
    fields = dict(zip(("kind", "name", "size", "sha256", "of", "offset", "length", "coding"), MEMBER, strict=True))
    return contents(m=list({**fields, **changes}.values()))


def summary(**changes: Any) -> bytes:
    return contents(package={**PACKAGE, "listing": {**SUMMARY, **changes}})


def definition(text: str) -> bytes:
    return contents(package={**PACKAGE, "definition": text})


GOOD_CONTENTS: dict[str, bytes] = {
    "one file": contents(),
    "with the definition of the source": definition("c2lnbmVk"),
    "a field of a later release in the header": contents(header={**HEADER, "zz": 1}),
    "two members": contents(archive=["a", 1, 2], more=row("m", "b.zst", 9, ONE, 5, 4, 1, "zstd")),
}
BAD_CONTENTS: dict[str, dict[str, bytes]] = {
    "malformed": {
        "empty": b"",
        "header missing": contents(header=b""),
        "header as an array": contents(header=["courier-contents/1", PARCEL, 1, 1]),
        "header without packages": contents(header={**HEADER, "packages": 0}),
        "header of two packages": contents(header={**HEADER, "packages": 2}),
        "header of two archives": contents(header={**HEADER, "archives": 2}),
        "package of an entry too few": summary(entries=0),
        "package of another digest": summary(sha256=ONE),
        "package of more bytes": summary(bytes=2),
        "package of holes that are not": summary(holes=1),
        "package of more holes than bytes": summary(holes=2),
        "package of more files": summary(files=2),
        "package twice": contents(header={**HEADER, "packages": 2}, entry=PLAIN + _object(PACKAGE) + PLAIN),
        "definition empty": definition(""),
        "definition not base64": definition("?"),
        "definition not canonical base64": definition("QR=="),
        "definition without padding": definition("QQ"),
        "definition too long": definition("A" * 65_540),
        "entry with a further name that does not come": contents(
            entry=named(), package={**PACKAGE, "listing": {**SUMMARY, "sha256": sha256(named()).hexdigest()}}
        ),
        "archive missing": contents(archive=b"", m=b""),
        "archive of another number": contents(archive=["a", 2, 1]),
        "archive of no members": contents(archive=["a", 1, 0], m=b""),
        "archive of too many members": contents(archive=["a", 1, 65_537]),
        "archive of a member that does not come": contents(archive=["a", 1, 2]),
        "archive with an item more": contents(archive=["a", 1, 1, 1]),
        "archive after a section": contents(archive=row("s", "chunks", 0) + row("a", 1, 1)),
        "member missing": contents(m=b""),
        "member of no bytes": member(size=0),
        "member with another size than it holds": member(size=2),
        "member past the end of its content": member(offset=1),
        "member that holds nothing": member(length=0),
        "member of a coding unknown": member(coding="rot13"),
        "member with a float": member(of=1.0),
        "member with an item more": contents(m=[*MEMBER, 0]),
        "members of one name": contents(archive=["a", 1, 2], more=row(*MEMBER)),
        "members of one name but for case": contents(archive=["a", 1, 2], more=row("m", "hq100001-1/A", *MEMBER[2:])),
        "goes on with an archive": contents(more=row("a", 2, 1)),
        "goes on with an empty line": contents(more=b"\n"),
        "cut": contents()[:-5],
    },
    "unknown-format": {
        "of a later major": contents(header={**HEADER, "format": "courier-contents/2"}),
        "that are another document": contents(header={**HEADER, "format": "courier-listing/1"}),
        "package of an entry too many": summary(entries=2),
        "member of another kind": contents(m=["d", "a", 0, 0]),
        "goes on with a member": contents(more=row(*MEMBER)),
        "goes on with a kind unknown": contents(more=row("z", 1)),
        "section of chunks": contents(more=row("s", "chunks", 1) + row("c", 1)),
        "section without a name": contents(more=row("s", "", 0)),
    },
    "unexpected-member": {"of another parcel": contents(header={**HEADER, "parcel": "HQ1-000043"})},
    "illegal-name": {
        "entry that climbs": contents(entry=file("../a")),
        "member that climbs": member(name="../a"),
        "member with a backslash": member(name="a\\b"),
        "member of a device": member(name="a/nul"),
    },
}


def vectors() -> dict[str, bytes]:
    """Path below `FOLDER` -> bytes of every vector."""
    listings = {
        "good": GOOD_LISTINGS,
        "malformed": MALFORMED_LISTINGS,
        "unknown-format": UNKNOWN_KINDS,
        "illegal-name": ILLEGAL_NAMES,
        "too-large": TOO_LARGE_LISTINGS,
    }
    kinds = {"listings": listings, "contents": {"good": GOOD_CONTENTS, **BAD_CONTENTS}}
    return {
        f"{kind}/{code}/{re.sub('[^a-z0-9]+', '-', fault.lower())}.jsonl": data
        for kind, folders in kinds.items()
        for code, named in folders.items()
        for fault, data in named.items()
    }


def committed() -> dict[str, bytes]:
    """Path below `FOLDER` -> bytes of every vector that is there."""
    paths = (path for kind in ("listings", "contents") for path in (FOLDER / kind).rglob("*.jsonl"))
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in paths}


def main() -> None:
    """Write them, and remove what is no vector any more."""
    wanted = vectors()
    for name in committed().keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, data in wanted.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_bytes(data)
    print(f"{len(wanted)} vectors below {FOLDER}", file=sys.stderr)


if __name__ == "__main__":
    main()
