"""Points for tests of the client's download: signed folders made by hand, and the servers that serve them."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, SSlibKey
from stock import stock_tool

from courier.channel.http_server import Listening, serve_application
from courier.distribution.nginx import nginx_configuration
from formats.blocks import BLOCK, BlockHasher
from formats.digest import sha256_hex
from formats.documents import card as card_doc
from formats.documents import package as package_doc
from formats.documents import point as point_doc
from formats.documents.card import SiteCard, SiteKey
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry, FileEntry, FolderEntry, write_listing
from formats.documents.package import PackageDefinition
from formats.documents.point import PointStatement, blocks_path, content_path, definition_path, listing_path
from formats.envelope import load_public_key, sign

DAY = 24 * 3600 * 10**9


class Signing:
    """A site that signs: its card, and its signature on documents."""

    def __init__(self, code: str, number: int) -> None:
        private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        public = private.public_key()
        self.key = load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        self._signer = CryptoSigner(private, SSlibKey.from_crypto(public, keyid=self.key.keyid))
        now = time.time_ns()
        key = SiteKey(key=self.key, valid_from_ns=now - 100 * DAY, valid_until_ns=now + 100 * DAY)
        self.card = SiteCard(site=code, name=code, serial=1, issued_ns=now - 50 * DAY, keys=(key,))

    def sign(self, document: Any, kind: Any) -> bytes:
        return sign(document.payload(), kind.type, [(self.key.keyid, self._signer)]).encode()


class SamplePoint:
    """The folder of point P1 of HQ1, with packages that are made from bytes."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "point"
        self.folder.mkdir(parents=True)
        self.hq = Signing("HQ1", 1)
        self.card = root / "HQ1.card"
        self.card.write_bytes(sign(self.hq.card.payload(), card_doc.TYPE, self._signers()).encode())
        self.refs: list[PackageRef] = []
        self.serial = 0

    def _signers(self) -> list[Any]:
        return [(self.hq.key.keyid, self.hq._signer)]

    def _write(self, path: str, data: bytes) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def put(self, files: dict[str, bytes], *, package: str = "HQ100001", version: int = 1) -> None:
        """Put a package there, and publish it."""
        entries: list[Entry] = []
        folders = {path.rpartition("/")[0] for path in files} - {""}
        for path in sorted({*files, *folders}, key=lambda text: text.encode().split(b"/")):
            if path in folders:
                entries.append(FolderEntry(path=path, mtime_ns=10**18, mode=0o755))
                continue
            data, hasher = files[path], BlockHasher()
            hasher.update(data)
            sha256, table = hasher.finish()
            blocks = ""
            if len(data) > BLOCK:
                blocks = sha256_hex(table)
                self._write(blocks_path(sha256), table)
            if data:
                self._write(content_path(sha256), data)
            entries.append(
                FileEntry(path=path, mtime_ns=10**18, mode=0o640, size=len(data), sha256=sha256, blocks=blocks)
            )
        out = io.BytesIO()
        summary = write_listing(entries, out)
        self._write(listing_path(summary.sha256), out.getvalue())
        now = time.time_ns() - 10**9
        definition = PackageDefinition(
            package=package, version=version, name="Win", site="HQ1", created_ns=now, issued_ns=now, listing=summary
        )
        self._write(definition_path(package, version), self.hq.sign(definition, package_doc.KIND))
        self.refs.append(PackageRef(package=package, version=version, listing=summary.sha256))
        self.publish()

    def publish(self, **changes: Any) -> None:
        """Sign a new statement; ``changes`` are of its fields."""
        self.serial = changes.get("serial", self.serial + 1)
        fields: dict[str, Any] = {
            "site": "HQ1",
            "point": "P1",
            "serial": self.serial,
            "issued_ns": time.time_ns() - 10**9,
            "packages": tuple(sorted(self.refs, key=lambda one: (one.package, one.version))),
            "least": {},
            "withdrawn": (),
            "cache": (),
            "peers": (),
            "group": "",
            **changes,
        }
        self._write("point.json", self.hq.sign(PointStatement(**fields), point_doc.KIND))

    def content(self, data: bytes) -> Path:
        """The file of a content."""
        return self.folder / content_path(sha256_hex(data))

    def copy(self, name: str) -> Path:
        """A copy of the folder, as another point or peer has it."""
        target = self.root / name
        shutil.copytree(self.folder, target)
        return target


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _await(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text() if log.exists() else "ended"
        time.sleep(0.02)
    raise AssertionError("the server does not listen")


@contextlib.contextmanager
def by_courier(folder: Path) -> Iterator[str]:
    """The folder, served as ``courier point serve`` serves it."""
    from courier.channel.http_connections import Doors
    from courier.channel.http_files import FileProtocol
    from courier.channel.refusal_log import RefusalLog
    from courier.distribution.application import PointService
    from courier.distribution.slots import Slots

    refusals = RefusalLog(lambda _: None, now=time.time_ns)
    service = PointService(site="P1", folders=[folder], slots=Slots(limit=10), refusals=refusals)
    up, stop, urls = threading.Event(), threading.Event(), list[str]()

    def ready(url: str) -> None:
        urls.append(url)
        up.set()

    listening = Listening(host="127.0.0.1", port=0)
    protocol = partial(FileProtocol, Doors(service, per_address=None))
    thread = threading.Thread(
        target=serve_application,
        args=(service, service, listening),
        kwargs={"protocol": protocol, "connections": 200, "dated": True, "ready": ready, "stop": stop},
    )
    thread.start()
    try:
        assert up.wait(30)
        yield urls[0]
    finally:
        stop.set()
        thread.join(30)


@contextlib.contextmanager
def by_nginx(folder: Path) -> Iterator[str]:
    """The folder, served by nginx with the configuration that courier prints."""
    program, port, work = stock_tool("nginx"), free_port(), folder.parent / "nginx"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    printed = nginx_configuration("P1", [folder], listen=f"127.0.0.1:{port}", limit=20)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    spools = " ".join(f"{kind}_temp_path {work}/{kind};" for kind in kinds)
    conf = work / "point.conf"
    conf.write_text(printed.replace("http {", f"http {{ {spools}", 1))
    user = "user root; " if os.geteuid() == 0 else ""
    more = f"{user}daemon off; pid {work}/pid; error_log {work}/log;"
    process = subprocess.Popen([program, "-p", work, "-e", work / "log", "-c", conf, "-g", more])
    try:
        _await(port, process, work / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def by_lighttpd(folder: Path) -> Iterator[str]:
    """The folder, served by lighttpd as a plain web server."""
    program, port, conf = stock_tool("lighttpd"), free_port(), folder.parent / "lighttpd.conf"
    conf.write_text(
        f'server.document-root = "{folder}"\nserver.port = {port}\nserver.bind = "127.0.0.1"\n'
        f'server.errorlog = "{folder.parent}/lighttpd.log"\n'
    )
    process = subprocess.Popen([program, "-D", "-f", conf])
    try:
        _await(port, process, folder.parent / "lighttpd.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


SERVERS = {"courier": by_courier, "nginx": by_nginx, "lighttpd": by_lighttpd}
