"""A client verifies all that a point serves: each way of altering it is refused, by its own code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, SSlibKey

from courier.distribution.point_reader import (
    check_not_older,
    choose,
    read_block_table,
    read_definition,
    read_listing_of,
    read_statement,
)
from courier.errors import CourierError, DamagedError, NotFoundError
from formats.blocks import BLOCK, BlockHasher
from formats.digest import sha256_hex
from formats.documents import package as package_doc
from formats.documents import point as point_doc
from formats.documents.card import SiteCard, SiteKey
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry, FileEntry, write_listing
from formats.documents.package import PackageDefinition
from formats.documents.point import PointStatement, Withdrawn
from formats.envelope import load_public_key, parse_envelope, sign

NOW = 1_795_000_000 * 10**9
DAY = 24 * 3600 * 10**9


class Signing:
    """A site that signs: its card, and its signature on documents."""

    def __init__(self, code: str, number: int) -> None:
        private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        public = private.public_key()
        self.key = load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        self._signer = CryptoSigner(private, SSlibKey.from_crypto(public, keyid=self.key.keyid))
        key = SiteKey(key=self.key, valid_from_ns=NOW - 100 * DAY, valid_until_ns=NOW + 100 * DAY)
        self.card = SiteCard(site=code, name=code, serial=1, issued_ns=NOW - 50 * DAY, keys=(key,))

    def sign(self, document: Any, kind: Any) -> bytes:
        return sign(document.payload(), kind.type, [(self.key.keyid, self._signer)]).encode()


HQ, BR, EVE = Signing("HQ1", 1), Signing("BR1", 2), Signing("EVE", 3)
BIG = bytes(range(256)) * 5000
_hasher = BlockHasher()
_hasher.update(BIG)
BIG_SHA, BIG_TABLE = _hasher.finish()
ENTRIES: list[Entry] = [
    FileEntry(path="big", mtime_ns=0, mode=0o644, size=len(BIG), sha256=BIG_SHA, blocks=sha256_hex(BIG_TABLE)),
    FileEntry(path="small", mtime_ns=0, mode=0o644, size=1, sha256=sha256_hex(b"x")),
]
_out = io.BytesIO()
LISTING = write_listing(ENTRIES, _out)
REF = PackageRef(package="HQ100001", version=3, listing=LISTING.sha256)
STATEMENT = PointStatement(
    site="BR1",
    point="P1",
    serial=7,
    issued_ns=NOW,
    packages=(REF,),
    least={"HQ100001": 2},
    withdrawn=(Withdrawn(package="HQ100001", version=2, reason="a fault"),),
    cache=(),
    peers=(),
    group="",
)
DEFINITION = PackageDefinition(
    package="HQ100001", version=3, name="Win", site="HQ1", created_ns=NOW, issued_ns=NOW, listing=LISTING
)


class Served(dict[str, bytes]):
    """What a point serves, by path."""

    def __call__(self, path: str, most: int) -> io.BytesIO:
        if path not in self:
            raise NotFoundError(path, hint="")
        return io.BytesIO(self[path][: most + 1])


def served(**changes: bytes) -> Served:
    files = {
        "point.json": BR.sign(STATEMENT, point_doc.KIND),
        "definitions/HQ100001-3.json": HQ.sign(DEFINITION, package_doc.KIND),
        f"listings/{LISTING.sha256}": _out.getvalue(),
        f"blocks/{BIG_SHA}": BIG_TABLE,
    }
    return Served({**files, **changes})


def statement_of(files: Served, *, remembered: int = 0, point: str = "") -> PointStatement:
    statement = read_statement(files, card=BR.card, now_ns=NOW, point=point)
    check_not_older(statement, remembered)
    return statement


def definition_of(files: Served, *cards: Signing) -> tuple[PackageDefinition, str]:
    known = {one.card.site: one.card for one in cards or (BR, HQ)}
    found = read_definition(files, STATEMENT, REF, cards=known, now_ns=NOW)
    return found.definition, found.vouched_by


@contextlib.contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(CourierError) as caught:
        yield
    assert caught.value.code == code


def test_what_a_good_point_serves_is_taken() -> None:
    files = served()
    statement = statement_of(files, remembered=7, point="P1")
    assert statement == STATEMENT
    assert choose(statement, "HQ100001") == choose(statement, "HQ100001", 3) == REF
    definition, vouched_by = definition_of(files)
    assert (definition, vouched_by) == (DEFINITION, "HQ1")
    assert list(read_listing_of(files, definition)) == ENTRIES
    big, small = ENTRIES
    assert isinstance(big, FileEntry)
    assert isinstance(small, FileEntry)
    table = read_block_table(files, big)
    assert table.is_good(0, 1, BIG[BLOCK:])
    assert not table.is_good(0, 0, BIG[1 : BLOCK + 1])
    assert read_block_table(files, small).is_good(0, 0, b"x")


def test_a_source_without_a_pinned_card_proves_nothing_and_the_site_of_the_point_vouches() -> None:
    files = served()
    assert definition_of(files, BR) == (DEFINITION, "")
    own = BR.sign(replace(DEFINITION, site="BR1"), package_doc.KIND)
    assert definition_of(served(**{"definitions/HQ100001-3.json": own}), BR)[1] == "BR1"


def test_with_the_card_of_the_source_nobody_else_may_sign_its_definition() -> None:
    own = BR.sign(replace(DEFINITION, site="BR1"), package_doc.KIND)
    with refused("unknown-site"):
        definition_of(served(**{"definitions/HQ100001-3.json": own}), BR, HQ)


@pytest.mark.parametrize(
    ("forged", "code"),
    [
        (EVE.sign(STATEMENT, point_doc.KIND), "unknown-key"),
        (EVE.sign(replace(STATEMENT, site="EVE"), point_doc.KIND), "unknown-site"),
        (BR.sign(DEFINITION, package_doc.KIND), "wrong-type"),
        (
            replace(
                parse_envelope(BR.sign(STATEMENT, point_doc.KIND)), payload=replace(STATEMENT, group="x").payload()
            ).encode(),
            "bad-signature",
        ),
        (BR.sign(replace(STATEMENT, issued_ns=NOW + 3 * DAY), point_doc.KIND), "clock"),
        (BR.sign(replace(STATEMENT, serial=6), point_doc.KIND), "rolled-back-point"),
        (BR.sign(replace(STATEMENT, point="P2"), point_doc.KIND), "wrong-site"),
        (b"<html>not here</html>", "malformed"),
        (b"", "malformed"),
    ],
)
def test_another_statement_is_refused(forged: bytes, code: str) -> None:
    with refused(code):
        statement_of(served(**{"point.json": forged}), remembered=7, point="P1")


@pytest.mark.parametrize(
    ("forged", "code"),
    [
        (EVE.sign(DEFINITION, package_doc.KIND), "unknown-key"),
        (HQ.sign(replace(DEFINITION, version=2), package_doc.KIND), "definition-disagrees"),
        (HQ.sign(replace(DEFINITION, package="HQ100002"), package_doc.KIND), "definition-disagrees"),
        (
            HQ.sign(replace(DEFINITION, listing=replace(LISTING, sha256="0" * 64)), package_doc.KIND),
            "definition-disagrees",
        ),
        (b"x" * (1 << 17), "too-large"),
        (b"{}", "malformed"),
    ],
)
def test_another_definition_is_refused(forged: bytes, code: str) -> None:
    with refused(code):
        definition_of(served(**{"definitions/HQ100001-3.json": forged}))


def test_a_definition_by_a_third_site_is_refused() -> None:
    forged = EVE.sign(replace(DEFINITION, site="EVE"), package_doc.KIND)
    with refused("wrong-site"):
        definition_of(served(**{"definitions/HQ100001-3.json": forged}), BR)


def test_another_listing_is_refused_before_its_first_entry() -> None:
    path = f"listings/{LISTING.sha256}"
    good = _out.getvalue()
    for forged in (b"", good[:-1], good + good, good.replace(b"small", b"smell")):
        with pytest.raises(DamagedError):
            next(read_listing_of(served(**{path: forged}), DEFINITION), None)


def test_sums_of_a_definition_that_nobody_vouches_for_are_compared_with_the_listing() -> None:
    with pytest.raises(DamagedError):
        list(read_listing_of(served(), replace(DEFINITION, listing=replace(LISTING, bytes=5))))


@pytest.mark.parametrize("forged", [b"", BIG_TABLE[:-1], BIG_TABLE + b"x", bytes(len(BIG_TABLE))])
def test_another_block_table_is_refused(forged: bytes) -> None:
    entry = ENTRIES[0]
    assert isinstance(entry, FileEntry)
    with pytest.raises(DamagedError):
        read_block_table(served(**{f"blocks/{BIG_SHA}": forged}), entry)


def test_what_was_withdrawn_is_too_old_or_is_not_there_is_not_chosen() -> None:
    with refused("withdrawn"):
        choose(STATEMENT, "HQ100001", 2)
    with refused("withdrawn"):
        choose(STATEMENT, "HQ100001", 1)
    with refused("not-found"):
        choose(STATEMENT, "HQ100001", 4)
    with refused("not-found"):
        choose(STATEMENT, "HQ100002")
