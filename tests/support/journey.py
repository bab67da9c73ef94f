"""What the tests of the journey share: two sites or more in a temporary folder, and the real command line.

`run` types a command in this process, through the same `courier.cli.app.main` that ``python -m courier`` calls;
`run_process` types it in a process of its own. Both give the exit code, what was printed, and the JSON document.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stock import stock_tool

from courier.site.clock import now
from courier.site.store.content_store import StoredContent
from courier.site.store.folder import FolderStore

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
SMALL = "863KB"
"""A capacity that makes several volumes of the fixtures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A command that ran: exit code, what it printed, and the document where ``--json`` asked for one."""

    code: int
    out: str
    err: str
    document: dict[str, Any]

    @property
    def error(self) -> dict[str, Any]:
        """The error of the document."""
        found: dict[str, Any] = self.document["error"]
        return found


def _text(arguments: Sequence[object]) -> list[str]:
    return [str(argument) for argument in arguments]


def _ran(arguments: Sequence[str], code: int, out: str, err: str, expected: int | None) -> Ran:
    if expected is not None and code != expected:
        shown = " ".join(arguments)
        raise AssertionError(f"courier {shown}\nexit code {code}, expected {expected}\n{out}\n{err}")
    document = json.loads(out) if "--json" in arguments else {}
    return Ran(code=code, out=out, err=err, document=document)


def run(*arguments: object, code: int | None = 0) -> Ran:
    """Type ``courier ARGUMENTS`` in this process; it must exit with ``code`` (None: any)."""
    from courier.cli.app import main

    text = _text(arguments)
    before = sys.argv
    out, err = io.StringIO(), io.StringIO()
    ended: Any = 0
    try:
        sys.argv = ["courier", *text]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        ended = stop.code
    finally:
        sys.argv = before
    return _ran(text, int(ended or 0), out.getvalue(), err.getvalue(), code)


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that runs this checkout's courier."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def started_with(number: signal.Signals, *, ignored: bool = False) -> list[str]:
    """The words that start ``courier`` with a signal ignored or as usual, however the tests themselves were started.

    What a process ignores its children ignore: under nohup, or in the background of a script, that is SIGHUP or SIGINT.
    """
    how = "IGN" if ignored else "DFL"
    program = (
        f"import os, signal, sys; signal.signal({int(number)}, signal.SIG_{how}); "
        "os.execv(sys.executable, [sys.executable, '-m', 'courier', *sys.argv[1:]])"
    )
    return [sys.executable, "-c", program]


def run_process(*arguments: object, code: int | None = 0, cwd: Path | None = None, **more: str) -> Ran:
    """Type ``python -m courier ARGUMENTS`` in a process of its own."""
    text = _text(arguments)
    done = subprocess.run(
        [sys.executable, "-m", "courier", *text],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return _ran(text, done.returncode, done.stdout, done.stderr, code)


@dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """One site of a test: call it to type a command there, ``--json`` added; it gives the document."""

    code: str
    path: Path

    def __call__(self, *arguments: object, code: int | None = 0) -> dict[str, Any]:
        return self.ran(*arguments, code=code).document

    def ran(self, *arguments: object, code: int | None = 0) -> Ran:
        """The same, giving all that is known of the run."""
        return run(*arguments, "--home", self.path, "--json", "--yes", code=code)

    def says(self, *arguments: object, code: int | None = 0) -> str:
        """What the command prints for people, stdout and stderr."""
        ran = run(*arguments, "--home", self.path, "--yes", code=code)
        return ran.out + ran.err

    def fails(self, *arguments: object, code: int) -> dict[str, Any]:
        """The error of a command that must exit with ``code``, and print it for people in two lines."""
        error = self.ran(*arguments, code=code).error
        assert set(error) == {"code", "message", "hint"}
        assert error["code"]
        assert error["message"]
        assert error["hint"]
        assert "\n" not in error["message"] + error["hint"]
        return error

    def state(self) -> dict[str, object]:
        """The store's files and every row of the catalogue, for comparing before and after."""
        return {"store": _files(self.path / "store"), "catalogue": _rows(self.path / "catalogue.sqlite")}

    def contents(self) -> list[StoredContent]:
        """What the content store says that it has."""
        return list(FolderStore(self.path / "store").contents())

    def large_files(self) -> list[Path]:
        """The files of the contents that are not packed."""
        return sorted(path for path in (self.path / "store" / "content").rglob("*") if path.is_file())

    def spoil(self, content: bytes, other: bytes) -> None:
        """Put other bytes of the same length in the place of a small content, in the pack where it is."""
        (pack,) = (path for path in (self.path / "store" / "packs").glob("*.pack") if content in path.read_bytes())
        pack.write_bytes(pack.read_bytes().replace(content, other))


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): digest_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def _rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for (name,) in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sites:
    """Sites that trust each other and share a channel folder: the first sends."""

    root: Path
    homes: tuple[Home, ...]

    @property
    def hq(self) -> Home:
        """The sender."""
        return self.homes[0]

    @property
    def br(self) -> Home:
        """The first receiver."""
        return self.homes[1]

    def sync(self, *order: Home) -> None:
        """``channel sync`` at each, in order (all: sender first)."""
        for home in order or self.homes:
            home("channel", "sync")


def make_home(root: Path, code: str) -> Home:
    """A site home."""
    home = Home(code=code, path=root / code)
    run("init", "--site", code, "--name", f"Site {code}", "--home", home.path)
    run("site", "card", "--out", root / f"{code}.card", "--home", home.path)
    return home


def introduce(root: Path, one: Home, other: Home) -> None:
    """Each pins the other's card and gets an address to it."""
    _trust(root, one, other)
    _address(root, one, other)


def _trust(root: Path, one: Home, other: Home) -> None:
    for here, there in ((one, other), (other, one)):
        here("site", "trust", root / f"{there.code}.card")


def _address(root: Path, one: Home, other: Home) -> None:
    (root / "share").mkdir(exist_ok=True)
    for here, there in ((one, other), (other, one)):
        here("channel", "address", "add", there.code, root / "share")


def make_sites(root: Path, *codes: str) -> Sites:
    """Homes for ``codes`` (else HQ1 and BR1); the first knows all the others, they know the first.

    They are made once in a process and copied: hundreds of tests begin with them. So the sites of one code have the
    same keys in all that this returns; `make_home` makes one with keys of its own.
    """
    codes = codes or ("HQ1", "BR1")
    if _user() == _STARTED_BY:
        made = Path(_sites_to_copy(codes).name)
        for code in codes:
            shutil.copytree(made / code, root / code)
            shutil.copy2(made / f"{code}.card", root)
    else:  # Some tests act as another user, who may not read them.
        _make_acquainted(root, codes)
    homes = tuple(Home(code=code, path=root / code) for code in codes)
    for other in homes[1:]:
        _address(root, homes[0], other)
    return Sites(root=root, homes=homes)


def _user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


_STARTED_BY = _user()


@functools.cache
def _sites_to_copy(codes: tuple[str, ...]) -> tempfile.TemporaryDirectory[str]:
    """A folder with the homes that `make_sites` copies, and their cards; it is removed when the process ends."""
    assert abs(now() - time.time_ns()) < 60 * 10**9, "the sites of all tests are made before a test moves the clock"
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    _make_acquainted(Path(folder.name), codes)
    return folder


def _make_acquainted(root: Path, codes: tuple[str, ...]) -> None:
    first, *others = [make_home(root, code) for code in codes]
    for other in others:
        _trust(root, first, other)


def add(home: Home, *paths: Path, name: str = "Test", **options: object) -> str:
    """``package add``; the ``ID:VERSION`` of it."""
    more = [text for key, value in options.items() for text in (f"--{key}", value)]
    document = home("package", "add", *paths, "--name", name, *more)
    return f"{document['package_id']}:{document['version']}"


def create(
    home: Home,
    *packages: str,
    to: Sequence[str] = ("BR1",),
    capacity: str = SMALL,
    encrypt: bool | None = None,
    **options: object,
) -> str:
    """``parcel create``; the parcel's ID. ``options`` become ``--key value``."""
    more = [text for code in to for text in ("--to", code)] + ["--capacity", capacity]
    if encrypt is not None:
        more.append("--encrypt" if encrypt else "--no-encrypt")
    more += [str(text) for key, value in options.items() for text in (f"--{key.replace('_', '-')}", value)]
    document = home("parcel", "create", *packages, *more)
    return str(document["parcel_id"])


def write(home: Home, parcel: str, layout: str, out: Path) -> list[Path]:
    """``parcel write``; the volumes, by number."""
    document = home("parcel", "write", parcel, "--layout", layout, "--out", out)
    assert document["state"] in ("Written", "Sent", "Confirmed")
    return [Path(volume["path"]) for volume in document["volumes"]]


def sent(home: Home, *packages: str, layout: str = "folder", out: Path, **options: Any) -> tuple[str, list[Path]]:
    """Create, write and ship; the parcel's ID and its volumes. Messages still wait for ``channel sync``."""
    parcel = create(home, *packages, **options)
    volumes = write(home, parcel, layout, out)
    home("parcel", "ship", parcel)
    return parcel, volumes


def decrypted(home: Home, message: Path) -> dict[str, Any]:
    """The envelope in a message for a site, opened by stock age with that site's identity."""
    opened = subprocess.run(
        [stock_tool("age"), "-d", "-i", home.path / "keys" / "recipient.key", message], capture_output=True, check=True
    )
    envelope: dict[str, Any] = json.loads(opened.stdout)
    return envelope


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def digests_of(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file below a folder, by its name or path there."""
    if path.is_file():
        return {path.name: digest_of(path)}
    return {item.relative_to(path).as_posix(): digest_of(item) for item in sorted(path.rglob("*")) if item.is_file()}


def describe_tree(root: Path) -> dict[str, tuple[object, ...]]:
    """All that a package keeps of a tree: names, kinds, contents, times in nanoseconds, permission bits, hard links."""
    found: dict[str, tuple[object, ...]] = {}
    first_names: dict[tuple[int, int], str] = {}
    for name, path in _walk(root, ""):
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            found[name] = ("link", os.readlink(path), info.st_mtime_ns)  # noqa: PTH115 (the target as it stands)
        elif stat.S_ISDIR(info.st_mode):
            found[name] = ("folder", info.st_mtime_ns, stat.S_IMODE(info.st_mode))
        else:
            first = first_names.setdefault((info.st_dev, info.st_ino), name)
            mode = stat.S_IMODE(info.st_mode)
            found[name] = ("file", info.st_size, digest_of(path), info.st_mtime_ns, mode, first)
    return found


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    # By hand and through open folders: paths over PATH_MAX cannot be named whole.
    with os.scandir(folder) as items:
        for item in sorted(items, key=lambda item: item.name):
            yield f"{prefix}{item.name}", Path(item.path)
            if item.is_dir(follow_symlinks=False):
                yield from _walk(Path(item.path), f"{prefix}{item.name}/")


def exported(home: Home, package: str, target: Path) -> dict[str, tuple[object, ...]]:
    """``package export``, described."""
    home("package", "export", package, "--to", target)
    return describe_tree(target)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, always the same for a seed."""
    return random.Random(seed).randbytes(size)


def shrinking_noise(size: int, seed: int = 0) -> bytes:
    """Bytes that compress to about three quarters, nowhere the same, and always those for a seed."""
    return noise(size, seed).translate(bytes(byte & 0x3F for byte in range(256)))


def write_files(root: Path, **files: bytes) -> Path:
    """A folder with these files (``_`` in a name stands for a dot), with times that are not round."""
    root.mkdir(parents=True)
    for number, (name, data) in enumerate(files.items(), 1):
        path = root / name.replace("_", ".")
        path.write_bytes(data)
        os.utime(path, ns=(1_700_000_000_000_000_000 + number, 1_700_000_000_123_456_700 + number))
    return root


def change_byte(path: Path, archive: Path) -> None:
    """Alter one byte on a medium, in the middle of where it holds the same bytes as ``archive``."""
    data = bytearray(path.read_bytes())
    inside = archive.read_bytes()
    at = data.index(inside) + len(inside) // 2
    data[at] ^= 0x55
    path.write_bytes(data)
