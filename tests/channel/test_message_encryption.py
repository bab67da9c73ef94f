"""Messages are encrypted by themselves: who carries them reads nothing; what is not for a site does nothing to it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("httpx")

from channel_network import Pair, definition, make_pair, put, state, travels_as
from journey import Home

from courier.channel.transport import MAX_MESSAGE, Outgoing
from courier.site.catalog import messages
from courier.site.home import Site, create_site, open_site
from courier.site.message_encryption import is_encrypted
from courier.site.peers import pin_card, revoke_site
from courier.site.rotation import rotate_key
from formats.age import EncryptingWriter, Identity, encrypted_size
from formats.documents import card as card_doc
from formats.envelope import MAX_ENVELOPE


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("homes")
    made = [create_site(root / code, code=code, name=code) for code in ("HQ1", "BR1")]
    for own, other in (made, made[::-1]):
        pin_card(own, other.card_envelope, fingerprint=other.card.fingerprint)
    for site in made:
        site.close()
    return root


@pytest.fixture(params=["folder", "http"])
def pair(request: pytest.FixtureRequest, homes: Path) -> Iterator[Pair]:
    yield from make_pair(request.param, homes)


def encrypted(recipient: str, plain: bytes) -> bytes:
    out = io.BytesIO()
    with EncryptingWriter(out, [recipient]) as writer:
        writer.write(plain)
    return out.getvalue()


def letters(site: Site) -> list[str]:
    with site.catalogue.reading() as connection:
        return [one.reason for one in messages.in_state(connection, "in", "refused")]


def bring(pair: Pair, body: bytes) -> list[str]:
    """Carry a body to BR1 as HQ1 would, and return the reasons of the dead letters there."""
    pair.transport(pair.hq, pair.br).deliver("BR1", Outgoing.of(body))
    pair.sync(pair.br)
    return letters(pair.br)


def test_the_largest_envelope_fits_a_message() -> None:
    assert encrypted_size(MAX_ENVELOPE, 1) <= MAX_MESSAGE


def test_a_message_queued_twice_is_one_message_and_a_resend_has_the_same_bytes(pair: Pair) -> None:
    pair.link()
    envelope = definition(pair.hq)
    (name,) = put(pair.hq, pair.br, envelope)
    first = travels_as(pair.hq, name)
    with pytest.raises(AssertionError):
        put(pair.hq, pair.br, envelope)
    assert travels_as(pair.hq, name) == first != name
    pair.sync(pair.hq, pair.br, pair.hq)
    assert state(pair.hq, name) == "settled"
    assert state(pair.br, name, "in") == "taken"


def test_what_waits_is_encrypted_anew_when_the_other_site_lost_its_keys(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    before = travels_as(pair.hq, name)
    rotate_key(pair.br, lost=True)
    (pair.br.home / "keys" / "recipient.key").write_text(
        (pair.br.home / "keys" / "recipient.key").read_text().split("\n")[0] + "\n"
    )
    br = open_site(pair.br.home)
    pin_card(pair.hq, br.card_envelope, fingerprint=br.card.fingerprint)
    assert travels_as(pair.hq, name) != before
    pair.sync(pair.hq, br)
    assert state(br, name, "in") == "taken"
    br.close()


def test_what_was_encrypted_to_an_older_recipient_is_opened_after_a_rotation(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    pair.sync(pair.hq)
    rotate_key(pair.br)
    br = open_site(pair.br.home)
    pair.sync(br)
    assert state(br, name, "in") == "taken"
    br.close()


def test_a_message_for_another_site_is_a_dead_letter_and_does_nothing(pair: Pair) -> None:
    pair.link()
    swapped = encrypted(Identity.generate().recipient, definition(pair.hq).encode())
    (reason,) = bring(pair, swapped)
    assert "not encrypted to this site's keys" in reason


def test_altered_cut_and_foreign_covers_are_dead_letters(pair: Pair) -> None:
    pair.link()
    own = pair.br.card.recipient
    assert own is not None
    whole = encrypted(own, definition(pair.hq).encode())
    altered = bytearray(whole)
    altered[-20] ^= 1
    many = io.BytesIO()
    with EncryptingWriter(many, [own, Identity.generate().recipient]) as writer:
        writer.write(definition(pair.hq).encode())
    passphrase = b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\n" + whole.split(b"\n", 2)[2]
    for body, word in (
        (bytes(altered), "altered"),
        (whole[:-30], "chunk"),
        (whole[:100], "header"),
        (many.getvalue(), "more than one key"),
        (passphrase, "not encrypted to this site's keys"),
        (b"age-encryption.org/v9\n", "another version"),
        (encrypted(own, b"{}"), "envelope"),
    ):
        assert word in bring(pair, body)[-1]
    with pair.br.catalogue.reading() as connection:
        assert not messages.in_state(connection, "in", "taken")


def test_a_bare_message_and_its_encrypted_twin_are_one(pair: Pair) -> None:
    pair.link()
    envelope = definition(pair.hq)
    assert bring(pair, envelope.encode()) == []
    own = pair.br.card.recipient
    assert own is not None
    twin = encrypted(own, envelope.encode())
    assert is_encrypted(twin)
    assert bring(pair, twin) == []
    with pair.br.catalogue.reading() as connection:
        assert len(messages.in_state(connection, "in", "taken")) == 1


def test_the_status_names_the_sites_to_which_messages_go_bare_until_their_card_has_a_recipient(pair: Pair) -> None:
    home = Home(code="HQ1", path=pair.hq.home)
    pair.link()
    put(pair.hq, pair.br, definition(pair.hq))
    assert (home("channel", "status")["not_encrypted"], "Not encrypted" in home.says("channel", "status")) == (
        [],
        False,
    )
    card = replace(pair.br.card, recipient=None, serial=pair.br.card.serial + 1)
    bare = pair.br.sign(card.payload(), card_doc.TYPE).encode()
    pin_card(pair.hq, bare, fingerprint=card.fingerprint)
    put(pair.hq, pair.br, definition(pair.hq, 2))
    (told,) = home("channel", "status")["not_encrypted"]
    assert (told["site"], told["reason"], told["waiting"]) == ("BR1", "its card has no recipient", 2)
    assert "Not encrypted to BR1, 2 messages waiting: its card has no recipient; ask it for a new card" in home.says(
        "channel", "status"
    )
    whole = replace(card, recipient=pair.br.card.recipient, serial=card.serial + 1)
    pin_card(pair.hq, pair.br.sign(whole.payload(), card_doc.TYPE).encode(), fingerprint=whole.fingerprint)
    assert home("channel", "status")["not_encrypted"] == []


def test_nothing_is_handed_over_to_a_site_that_was_revoked_meanwhile(pair: Pair) -> None:
    pair.link()
    (name,) = put(pair.hq, pair.br, definition(pair.hq))
    revoke_site(pair.hq, "BR1", "stolen")
    (done,) = pair.sync(pair.hq)
    assert (done.delivered, dict(done.held)["BR1"]) == (0, "BR1 was revoked: stolen")
    assert state(pair.hq, name) == "queued"
