"""A channel server under load: `python benchmarks/bench_channel.py [--sites N] [--messages N] [--folder DIR]`.

``courier channel serve`` runs as a process of its own on a loopback socket. Half of the messages wait in its outbox for
the sites that poll, the other half (package definitions) the sites deliver; one in twenty is delivered twice. Every
site has a recipient on its card, as `courier init` makes one, so all messages are encrypted (decision 0007). Each site
fetches, decrypts, delivers, and acknowledges what it fetched, with the toolkit's own client. At the end every message
must be settled, every definition must be there once, none may have gone unencrypted, and the server must not have
grown: its memory is read every half second (Linux: /proc/PID/status). Ends after ``--limit`` seconds in any case.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text

from courier.channel.http_client import HttpClient, RemoteServer, RequestKey
from courier.channel.http_transport import HttpTransport
from courier.channel.transport import Outgoing
from courier.site.catalog import sites
from courier.site.catalog.sites import Address, PinnedSite
from courier.site.clock import now
from courier.site.home import Site, create_site, open_site
from courier.site.keyring import Keyring
from courier.site.message_encryption import SEED_BYTES, decrypt_message, encrypted_message, is_encrypted
from courier.site.outbox import enqueue
from formats.age import Identity
from formats.digest import sha256_hex
from formats.documents import acknowledgement as acknowledgement_doc
from formats.documents import card as card_doc
from formats.documents import package as package_doc
from formats.documents.acknowledgement import AcknowledgedMessage, Acknowledgement
from formats.documents.card import SiteCard, SiteKey
from formats.documents.listing import ListingSummary
from formats.documents.package import PackageDefinition
from formats.envelope import Signer, sign

YEAR_NS = 365 * 24 * 3600 * 10**9
LISTING = ListingSummary(sha256="1" * 64, entries=1, files=1, bytes=1, holes=0)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A site that polls: what it brings, sealed, and the envelopes it fetched (by SHA-256, each once for each time).

    ``bare`` counts what came unsealed.
    """

    code: str
    request_key: RequestKey
    brings: tuple[bytes, ...]
    fetched: Counter[str]
    bare: Counter[str]
    identities: tuple[Identity, ...]
    recipient: str
    """Of the server's site: what is for it is sealed to that."""

    @property
    def signer(self) -> tuple[str, Signer]:
        return self.request_key.key.keyid, self.request_key.signer


def definition(code: str, number: int) -> bytes:
    made = PackageDefinition(
        package=f"{code}{number:05X}",
        version=1,
        name="image " * 20,
        site=code,
        created_ns=now(),
        issued_ns=now(),
        listing=LISTING,
    )
    return made.payload()


def encrypted(envelope: bytes, recipient: str) -> bytes:
    """A message as it travels."""
    return encrypted_message(io.BytesIO(envelope), len(envelope), recipient, secrets.token_bytes(SEED_BYTES)).read()


def make_peer(hq: Site, folder: Path, number: int, each: int) -> Peer:
    code = f"P{number // 36:X}{'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'[number % 36]}"
    keyring = Keyring(folder / code)
    key = keyring.add("file", passphrase=False)
    keyid, signer = keyring.signer(key)
    valid = SiteKey(key=key, valid_from_ns=now(), valid_until_ns=now() + YEAR_NS)
    card = SiteCard(
        site=code, name=code, serial=1, issued_ns=now(), keys=(valid,), recipient=keyring.generate_identity()
    )
    envelope = sign(card.payload(), card_doc.TYPE, [(keyid, signer)]).encode()
    ours = hq.card.recipient or ""
    own = (sign(definition(code, n), package_doc.TYPE, [(keyid, signer)]).encode() for n in range(each))
    brings = tuple(encrypted(body, ours) for body in own)
    with hq.catalogue.writing() as connection:
        pinned = PinnedSite(code=code, name=code, card=envelope, serial=1, revoked="", pinned_ns=now())
        sites.pin(connection, pinned)
        sites.add_address(connection, Address(site=code, priority=1, address="poll"))
        for n in range(each):
            waiting = hq.sign(definition("HQ1", number * each + n), package_doc.TYPE)
            enqueue(connection, waiting, code)
    request_key = RequestKey(source=code, key=key, signer=signer)
    identities = tuple(keyring.identities())
    return Peer(
        code=code,
        request_key=request_key,
        brings=brings,
        fetched=Counter(),
        bare=Counter(),
        identities=identities,
        recipient=ours,
    )


def visit(peer: Peer, url: str, spool: Path) -> None:
    """One round of a site: bring all, fetch all, acknowledge what was fetched."""
    server = RemoteServer(url=url, site="HQ1", present_key=peer.request_key)
    transport = HttpTransport(HttpClient(server), downloads=spool)
    try:
        for n, body in enumerate(peer.brings):
            for _ in range(2 if n % 20 == 0 else 1):
                transport.deliver("HQ1", Outgoing.of(body))
        for sha256, body in transport.fetch(peer.code):
            peer.bare[sha256] += not is_encrypted(body)
            opened = decrypt_message(body, peer.identities) if is_encrypted(body) else body
            if json.loads(opened)["payloadType"] != acknowledgement_doc.TYPE:
                peer.fetched[sha256_hex(opened)] += 1
            transport.done(peer.code, sha256)
        if peer.fetched:
            items = tuple(AcknowledgedMessage(message=name, refused="") for name in peer.fetched)
            answer = Acknowledgement(site=peer.code, to="HQ1", issued_ns=now(), messages=items)
            envelope = sign(answer.payload(), acknowledgement_doc.TYPE, [peer.signer])
            transport.deliver("HQ1", Outgoing.of(encrypted(envelope.encode(), peer.recipient)))
    finally:
        transport.close()


def memory(pid: int, ended: threading.Event, found: list[float]) -> None:
    """Note the resident memory of a process in MiB, every half second."""
    status = Path(f"/proc/{pid}/status")
    while status.exists() and not ended.wait(0.5):
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
        if lines:
            found.append(int(lines[0].split()[1]) / 1024)


def counted(hq: Site) -> dict[str, int]:
    """How far the server has come."""
    with hq.catalogue.reading() as connection:
        query = "SELECT direction, state, COUNT(*) FROM message GROUP BY direction, state"
        found = {f"{way} {state}": n for way, state, n in connection.execute(text(query))}
        found["definitions"] = connection.execute(text("SELECT COUNT(*) FROM definition")).scalar() or 0
    return found


def served(home: Path) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "courier", "channel", "serve", "--home", str(home), "--behind-proxy"]
    command += ["--bind", "127.0.0.1:0", "--every", "0", "--rate", "1000", "--json-lines"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = str(json.loads(process.stdout.readline())["url"])
    threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
    return process, url


def _drain(lines: Iterator[str]) -> None:
    for _ in lines:
        pass


def run(folder: Path, *, count: int, total: int, threads: int, limit: float) -> None:
    each = max(1, total // count // 2)
    hq = create_site(folder / "HQ1", code="HQ1", name="HQ1")
    peers = [make_peer(hq, folder / "peers", n, each) for n in range(count)]
    hq.close()
    print(f"{count} sites, {each} messages each way: {2 * each * count} messages")
    process, url = served(folder / "HQ1")
    ended, rss = threading.Event(), list[float]()
    watcher = threading.Thread(target=memory, args=(process.pid, ended, rss))
    watcher.start()
    hq = open_site(folder / "HQ1")
    wanted = count * each
    try:
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda peer: visit(peer, url, folder / "spool" / peer.code), peers))
        moved = time.perf_counter() - start
        while (state := counted(hq)).get("out settled", 0) < wanted or state["definitions"] < wanted:
            if time.perf_counter() - start > limit:
                print(f"not done after {limit} s: {state}")
                break
            time.sleep(0.5)
        done = time.perf_counter() - start
    finally:
        ended.set()
        watcher.join()
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    state = counted(hq)
    hq.close()
    missing = sum(each - len(peer.fetched) for peer in peers)
    doubled = sum(sum(peer.fetched.values()) - len(peer.fetched) for peer in peers)
    bare = sum(peer.bare.total() for peer in peers)
    print(
        f"carried in {moved:.1f} s ({2 * wanted / moved:.0f} messages/s), all taken in and settled after {done:.1f} s"
    )
    print(f"fetched: {missing} missing, {doubled} doubled, {bare} not sealed")
    print(f"brought: {state['definitions']} of {wanted} in effect")
    print(f"outbox and inbox at the end: {state}; the server ended with {code}")
    if rss:
        tenth = max(1, len(rss) // 10)
        print(f"server memory, MiB: {max(rss[: 2 * tenth]):.0f} in the first fifth, {max(rss):.0f} at most")
    good = not missing and state["definitions"] == wanted and state.get("out settled") == wanted and code == 0
    print("none lost, none doubled in effect" if good and not doubled and not bare else "NOT AS IT SHOULD BE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--limit", type=float, default=300)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[1:])
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        run(
            Path(folder),
            count=options.sites,
            total=options.messages,
            threads=options.threads,
            limit=options.limit,
        )


if __name__ == "__main__":
    main()
