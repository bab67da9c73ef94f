"""Trust: every attack on who may sign what is refused, each with its own error code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner, SSlibKey

from courier.errors import CourierError, DamagedError, RefusedError
from courier.site.catalog import sites
from courier.site.home import create_site
from courier.site.peers import pin_card
from courier.site.pinned_sites import PinnedSites
from courier.site.trust import CLOCK_SLACK_NS, KnownSite, Trust, check_card_by_fingerprint, check_newer_card, read_card
from formats.documents import card as card_doc
from formats.documents import notice as notice_doc
from formats.documents import package as package_doc
from formats.documents.card import SiteCard, SiteKey
from formats.documents.listing import ListingSummary
from formats.documents.notice import ShipNotice
from formats.documents.package import PackageDefinition
from formats.envelope import Envelope, PublicKey, Signer, load_public_key, parse_envelope, sign
from formats.errors import MalformedError
from formats.records import decode, encode

HOUR = 3600 * 10**9
DAY = 24 * HOUR
NOW = 1_795_000_000 * 10**9


def make_key(number: int) -> tuple[PublicKey, Signer]:
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    public = private.public_key()
    key = load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return key, CryptoSigner(private, SSlibKey.from_crypto(public, keyid=key.keyid))


(HQ, HQ_SIGNER), (HQ_NEW, HQ_NEW_SIGNER), (BR, BR_SIGNER), (EVE, EVE_SIGNER) = map(make_key, range(1, 5))
SIGNERS = {HQ: HQ_SIGNER, HQ_NEW: HQ_NEW_SIGNER, BR: BR_SIGNER, EVE: EVE_SIGNER}


def site_key(key: PublicKey, start: int = NOW - 100 * DAY, end: int = NOW + 100 * DAY) -> SiteKey:
    return SiteKey(key=key, valid_from_ns=start, valid_until_ns=end)


def make_card(site: str, *keys: SiteKey, serial: int = 1, issued_ns: int = NOW - 50 * DAY) -> SiteCard:
    return SiteCard(site=site, name=f"Site {site}", serial=serial, issued_ns=issued_ns, keys=keys, recipient=None)


def signed(payload: bytes, payload_type: str, *keys: PublicKey) -> bytes:
    return sign(payload, payload_type, [(key.keyid, SIGNERS[key]) for key in keys]).encode()


def signed_card(card: SiteCard, *keys: PublicKey) -> bytes:
    return signed(card.payload(), card_doc.TYPE, *keys)


HQ_CARD = make_card("HQ1", site_key(HQ))
BR_CARD = make_card("BR1", site_key(BR))
TRUST = Trust(own="BR1", known={"HQ1": KnownSite(card=HQ_CARD), "BR1": KnownSite(card=BR_CARD)})
NOTICE = ShipNotice(
    parcel="HQ1-000042",
    source="HQ1",
    destinations=("BR1", "BR2"),
    issued_ns=NOW - HOUR,
    packing_list="0" * 64,
    build="1" * 64,
    volumes=3,
    priority="medium",
    packages=(),
)
DEFINITION = PackageDefinition(
    package="HQ100001",
    version=1,
    name="Image",
    site="HQ1",
    created_ns=NOW - HOUR,
    issued_ns=NOW - HOUR,
    listing=ListingSummary(sha256="0" * 64, entries=1, files=1, bytes=1, holes=0),
)


def take(data: bytes, trust: Trust = TRUST, now_ns: int = NOW) -> ShipNotice:
    notice, envelope = trust.verify(
        data,
        notice_doc.KIND,
        now_ns=now_ns,
        where="ship notice",
    )
    assert envelope.encode() == data
    return notice


def notice(*keys: PublicKey, **changes: Any) -> bytes:
    return signed(dataclasses.replace(NOTICE, **changes).payload(), notice_doc.TYPE, *keys)


def refusal(data: bytes, trust: Trust = TRUST, now_ns: int = NOW) -> str:
    with pytest.raises(CourierError) as caught:
        take(data, trust, now_ns)
    assert caught.value.hint
    assert caught.value.message.startswith("ship notice:") or caught.value.code in ("unknown-site", "revoked-site")
    assert caught.value.exit_code == (4 if caught.value.code == "malformed" else 3)
    return caught.value.code


def test_a_document_of_a_pinned_site_for_us_is_taken() -> None:
    assert take(notice(HQ)) == NOTICE
    assert take(notice(EVE, HQ)) == NOTICE


def test_a_document_of_an_unknown_site_is_refused() -> None:
    assert refusal(notice(HQ), Trust(own="BR1", known={"BR1": KnownSite(card=BR_CARD)})) == "unknown-site"


def test_a_document_of_a_revoked_site_is_refused_with_the_reason() -> None:
    trust = Trust(own="BR1", known={"HQ1": KnownSite(card=HQ_CARD, revoked="burgled on Friday")})
    assert refusal(notice(HQ), trust) == "revoked-site"
    with pytest.raises(RefusedError, match="burgled on Friday"):
        trust.site("HQ1")


def test_a_document_from_a_signed_by_b_is_refused() -> None:
    assert refusal(notice(BR)) == "unknown-key"
    assert refusal(notice(EVE)) == "unknown-key"


def test_a_signature_under_the_pinned_keys_name_by_another_key_is_refused() -> None:
    envelope = parse_envelope(notice(EVE))
    renamed = dataclasses.replace(envelope, signatures=((HQ.keyid, envelope.signatures[0][1]),))
    assert refusal(renamed.encode()) == "bad-signature"


def test_a_document_altered_after_signing_is_refused() -> None:
    envelope = parse_envelope(notice(HQ))
    altered = dataclasses.replace(envelope, payload=dataclasses.replace(NOTICE, volumes=2).payload())
    assert refusal(altered.encode()) == "bad-signature"


def test_a_document_signed_with_a_key_the_site_has_given_up_is_refused() -> None:
    """The old key is no longer on the card."""
    trust = Trust(own="BR1", known={"HQ1": KnownSite(card=make_card("HQ1", site_key(HQ_NEW)))})
    assert refusal(notice(HQ), trust) == "unknown-key"


def test_a_document_under_way_while_the_key_was_rotated_is_taken() -> None:
    """The old key stays on the card for what it signed while it was valid."""
    card = make_card("HQ1", site_key(HQ_NEW, start=NOW - DAY), site_key(HQ, end=NOW - DAY))
    trust = Trust(own="BR1", known={"HQ1": KnownSite(card=card)})
    assert take(notice(HQ, issued_ns=NOW - 2 * DAY), trust)
    assert take(notice(HQ_NEW, issued_ns=NOW - HOUR), trust)


@pytest.mark.parametrize(
    ("key", "issued_ns"),
    [(HQ, NOW - DAY), (HQ, NOW - HOUR), (HQ, NOW - 100 * DAY - 1), (HQ_NEW, NOW - DAY - 1), (HQ_NEW, NOW - 2 * DAY)],
)
def test_a_document_signed_with_an_old_key_after_its_end_or_a_new_one_before_its_beginning_is_refused(
    key: PublicKey, issued_ns: int
) -> None:
    card = make_card("HQ1", site_key(HQ_NEW, start=NOW - DAY), site_key(HQ, end=NOW - DAY))
    trust = Trust(own="BR1", known={"HQ1": KnownSite(card=card)})
    assert refusal(notice(key, issued_ns=issued_ns), trust) == "key-not-valid"


def test_validity_is_judged_when_it_was_signed_not_when_it_is_read() -> None:
    """Parcels may be under way for longer than a key is valid."""
    assert take(notice(HQ), now_ns=NOW + 1000 * DAY)


def test_a_document_from_the_future_is_refused_beyond_a_days_slack() -> None:
    assert take(notice(HQ, issued_ns=NOW + CLOCK_SLACK_NS))
    assert refusal(notice(HQ, issued_ns=NOW + CLOCK_SLACK_NS + 1)) == "clock"


def test_a_document_meant_for_another_site_is_refused() -> None:
    assert refusal(notice(HQ, destinations=("BR2", "BR3"))) == "not-for-us"
    assert take(notice(HQ, destinations=("BR2", "BR1")))


def test_a_sites_own_document_and_one_checked_without_a_site_have_any_addressee() -> None:
    own = Trust(own="HQ1", known={"HQ1": KnownSite(card=HQ_CARD)})
    nobody = Trust(own=None, known={"HQ1": KnownSite(card=HQ_CARD)})
    for trust in (own, nobody):
        assert take(notice(HQ, destinations=("BR2",)), trust)


def test_a_document_of_another_type_is_refused_even_well_signed() -> None:
    assert refusal(signed(NOTICE.payload(), package_doc.TYPE, HQ)) == "wrong-type"
    assert refusal(signed(DEFINITION.payload(), package_doc.TYPE, HQ)) == "wrong-type"
    assert refusal(signed(DEFINITION.payload(), notice_doc.TYPE, HQ)) == "unknown-format"


def test_a_type_cannot_be_changed_under_a_signature() -> None:
    envelope = parse_envelope(signed(NOTICE.payload(), package_doc.TYPE, HQ))
    assert refusal(dataclasses.replace(envelope, payload_type=notice_doc.TYPE).encode()) == "bad-signature"


def test_a_trusted_site_cannot_speak_about_another_sites_parcel() -> None:
    trust = Trust(own="BR2", known={"HQ1": KnownSite(card=HQ_CARD), "BR1": KnownSite(card=BR_CARD)})
    record = {**decode(NOTICE.payload()), "from": "BR1"}
    assert refusal(signed(encode(record), notice_doc.TYPE, BR), trust) == "malformed"


@pytest.mark.parametrize("sender", [None, 1, "", "hq1", "HQ11", "HQ1\n", ["HQ1"]])
def test_a_document_that_names_no_sender_is_refused(sender: object) -> None:
    record = {**decode(NOTICE.payload()), "from": sender}
    assert refusal(signed(encode(record), notice_doc.TYPE, HQ)) == "malformed"
    del record["from"]
    assert refusal(signed(encode(record), notice_doc.TYPE, HQ)) == "malformed"


@pytest.mark.parametrize("to", [5, "BR1", [5], {}, None])
def test_an_addressee_of_a_wrong_kind_is_refused_even_where_the_document_has_none(to: object) -> None:
    payload = encode({**decode(DEFINITION.payload()), "to": to})
    with pytest.raises(DamagedError) as caught:
        TRUST.verify(
            signed(payload, package_doc.TYPE, HQ),
            package_doc.KIND,
            now_ns=NOW,
            where="definition",
        )
    assert caught.value.code == "malformed"


@given(st.binary(max_size=200), st.integers(0, 10**6))
def test_any_bytes_raise_only_errors_for_people(data: bytes, at: int) -> None:
    good = notice(HQ)
    at %= len(good)
    payload_only = Envelope(payload=data, payload_type=notice_doc.TYPE, signatures=((HQ.keyid, b"x"),)).encode()
    for bad in (data, good[:at] + data[:1] + good[at + 1 :], payload_only, signed(data, notice_doc.TYPE, HQ)):
        if bad != good:
            with pytest.raises((RefusedError, DamagedError)):
                take(bad)
            with pytest.raises((RefusedError, DamagedError)):
                read_card(bad)


# --- cards ----------------------------------------------------------------------------------------------------------


def card_refusal(data: bytes, pinned: SiteCard | None = None, now_ns: int = NOW) -> str:
    with pytest.raises(CourierError) as caught:
        if pinned is None:
            read_card(data)
        else:
            check_newer_card(data, pinned, now_ns=now_ns)
    assert caught.value.hint
    return caught.value.code


def test_a_card_signed_by_itself_is_read() -> None:
    assert read_card(signed_card(HQ_CARD, HQ)) == HQ_CARD


def test_a_forged_card_is_refused() -> None:
    """It is signed by another key, or an older one of its own, and not by its current key; or it was altered."""
    assert card_refusal(signed_card(HQ_CARD, EVE)) == "forged-card"
    assert card_refusal(signed_card(make_card("HQ1", site_key(HQ_NEW), site_key(HQ)), HQ)) == "forged-card"
    envelope = parse_envelope(signed_card(HQ_CARD, HQ))
    other = dataclasses.replace(HQ_CARD, name="Elsewhere").payload()
    assert card_refusal(dataclasses.replace(envelope, payload=other).encode()) == "forged-card"


def test_another_document_is_no_card() -> None:
    assert card_refusal(notice(HQ)) == "not-a-card"
    assert card_refusal(b"") == "malformed"
    assert card_refusal(signed(b"{}", card_doc.TYPE, HQ)) == "malformed"
    later = encode({**decode(HQ_CARD.payload()), "format": "courier-site-card/2"})
    assert card_refusal(signed(later, card_doc.TYPE, HQ)) == "unknown-format"


ROTATED = make_card(
    "HQ1", site_key(HQ_NEW, start=NOW - DAY), site_key(HQ, end=NOW - DAY), serial=2, issued_ns=NOW - DAY
)


def test_a_rotated_card_signed_by_old_and_new_key_is_taken() -> None:
    assert check_newer_card(signed_card(ROTATED, HQ_NEW, HQ), HQ_CARD, now_ns=NOW) == ROTATED


def test_the_pinned_card_itself_may_come_again() -> None:
    assert check_newer_card(signed_card(HQ_CARD, HQ), HQ_CARD, now_ns=NOW) == HQ_CARD
    assert check_newer_card(signed_card(ROTATED, HQ_NEW), ROTATED, now_ns=NOW) == ROTATED


def test_a_card_that_is_not_chained_to_the_pinned_one_is_refused() -> None:
    assert card_refusal(signed_card(ROTATED, HQ_NEW), HQ_CARD) == "card-not-chained"
    eve = make_card("HQ1", site_key(EVE), serial=2, issued_ns=NOW)
    assert card_refusal(signed_card(eve, EVE), HQ_CARD) == "card-not-chained"
    assert card_refusal(signed_card(eve, EVE, BR), HQ_CARD) == "card-not-chained"


def test_a_key_that_has_ended_vouches_for_no_new_card_whatever_its_date() -> None:
    """Whoever finds an old key dates the card one nanosecond before the key's end; the moment of arrival counts."""
    pinned = make_card("HQ1", site_key(HQ, end=NOW))
    eve = make_card("HQ1", site_key(EVE, start=NOW - DAY), serial=2, issued_ns=NOW - 1)
    card = signed_card(eve, EVE, HQ)
    assert check_newer_card(card, pinned, now_ns=NOW + CLOCK_SLACK_NS - 1) == eve
    assert card_refusal(card, pinned, now_ns=NOW + CLOCK_SLACK_NS) == "card-not-chained"


def test_a_card_dated_in_the_future_is_refused() -> None:
    """It would stay the newest for ever: no card after it is taken."""
    for issued_ns in (NOW + CLOCK_SLACK_NS + 1, NOW + 5 * 365 * DAY):
        keys = site_key(HQ_NEW), site_key(HQ)
        pinned = make_card("HQ1", site_key(HQ, end=NOW + 6 * 365 * DAY))
        card = make_card("HQ1", *keys, serial=2, issued_ns=issued_ns)
        assert card_refusal(signed_card(card, HQ_NEW, HQ), pinned) == "clock"


def test_a_rolled_back_card_is_refused() -> None:
    assert card_refusal(signed_card(HQ_CARD, HQ), ROTATED) == "rolled-back-card"


def test_another_card_of_the_same_serial_is_refused() -> None:
    other = dataclasses.replace(HQ_CARD, name="Elsewhere")
    assert card_refusal(signed_card(other, HQ), HQ_CARD) == "rolled-back-card"


def test_a_card_of_another_site_does_not_replace_the_pinned_one() -> None:
    assert card_refusal(signed_card(make_card("BR1", site_key(HQ), serial=9), HQ), HQ_CARD) == "wrong-site"


@pytest.mark.parametrize("issued_ns", [NOW, NOW - DAY, NOW - 2 * DAY, NOW - 60 * DAY])
def test_a_stolen_old_key_makes_no_new_card(issued_ns: int) -> None:
    """The pinned card still lists the old key for documents under way, but it is no longer valid for signing.

    Nor does it help to date the card back into the old key's time: a card is newer than the one before it.
    """
    eve = make_card("HQ1", site_key(EVE, start=NOW - 99 * DAY), serial=3, issued_ns=issued_ns)
    assert card_refusal(signed_card(eve, EVE, HQ), ROTATED) == (
        "rolled-back-card" if issued_ns < ROTATED.issued_ns else "card-not-chained"
    )


# --- keys that were lost --------------------------------------------------------------------------------------------

STOLEN = dataclasses.replace(site_key(HQ, end=NOW - DAY), revoked_ns=NOW - 2 * DAY)
AFTER_LOSS = make_card("HQ1", site_key(HQ_NEW, start=NOW - DAY), STOLEN, serial=2, issued_ns=NOW - DAY)
AFTER = Trust(own="BR1", known={"HQ1": KnownSite(card=AFTER_LOSS)})


def came(data: bytes, trust: Trust, **when: Any) -> ShipNotice:
    return trust.verify(
        data,
        notice_doc.KIND,
        now_ns=NOW,
        where="ship notice",
        **when,
    )[0]


def test_a_card_keeps_what_it_says_of_a_revoked_key() -> None:
    assert SiteCard.parse(AFTER_LOSS.payload()) == AFTER_LOSS
    with pytest.raises(MalformedError):
        SiteCard.parse(make_card("HQ1", dataclasses.replace(STOLEN, valid_until_ns=NOW + DAY)).payload())


def test_a_document_of_before_the_loss_that_was_here_before_it_stays_good() -> None:
    before = notice(HQ, issued_ns=NOW - 3 * DAY)
    assert came(before, AFTER, arrived_ns=NOW - 3 * DAY + HOUR)
    assert came(before, AFTER, on_medium=True)


@pytest.mark.parametrize("issued_ns", [NOW - 3 * DAY, NOW - 50 * DAY, NOW - 2 * DAY, NOW - DAY - HOUR])
def test_a_stolen_key_signs_nothing_more_whatever_the_date(issued_ns: int) -> None:
    for when in ({}, {"arrived_ns": NOW - 2 * DAY}, {"arrived_ns": NOW - HOUR}):
        with pytest.raises(RefusedError) as caught:
            came(notice(HQ, issued_ns=issued_ns), AFTER, **when)
        assert caught.value.code == "revoked-key"


def test_a_medium_signed_with_a_stolen_key_after_the_loss_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        came(notice(HQ, issued_ns=NOW - 2 * DAY), AFTER, on_medium=True)
    assert caught.value.code == "revoked-key"


def test_the_new_key_speaks_after_a_loss() -> None:
    assert take(notice(HQ_NEW), AFTER)


def test_a_stolen_key_makes_no_new_card_even_if_dated_before_the_loss() -> None:
    eve = make_card("HQ1", site_key(EVE, start=NOW - 99 * DAY), serial=3, issued_ns=NOW - DAY)
    assert card_refusal(signed_card(eve, EVE, HQ), AFTER_LOSS) == "card-not-chained"


def test_no_fingerprint_brings_back_a_card_whose_key_was_given_up_or_lost() -> None:
    for pinned in (AFTER_LOSS, ROTATED):
        with pytest.raises(RefusedError) as caught:
            check_card_by_fingerprint(HQ_CARD, pinned)
        assert caught.value.code == "rolled-back-card"
    with pytest.raises(RefusedError):
        check_card_by_fingerprint(HQ_CARD, dataclasses.replace(HQ_CARD, serial=2))
    check_card_by_fingerprint(AFTER_LOSS, HQ_CARD)
    check_card_by_fingerprint(make_card("HQ1", site_key(EVE)), AFTER_LOSS)


# --- time under way -------------------------------------------------------------------------------------------------


def test_a_year_in_transit_is_no_reason_to_refuse_unless_policy_says_so() -> None:
    TRUST.check_transit(NOW - 365 * DAY, now_ns=NOW, where="HQ1-000042")
    strict = Trust(own="BR1", known={}, max_transit_days=30)
    strict.check_transit(NOW - 30 * DAY + 1, now_ns=NOW, where="HQ1-000042")
    with pytest.raises(RefusedError, match=r"364 days by this computer's clock.*allows 30") as caught:
        strict.check_transit(NOW - 364 * DAY, now_ns=NOW, where="HQ1-000042")
    assert caught.value.code == "too-long-in-transit"


def test_a_receivers_clock_that_is_behind_is_named_as_the_reason() -> None:
    with pytest.raises(RefusedError, match="this computer's clock says") as caught:
        came(notice(HQ, issued_ns=NOW + 400 * DAY), TRUST)
    assert caught.value.code == "clock"
    assert "clock" in caught.value.hint


def test_what_a_site_trusts_is_read_site_by_site_and_stays_what_it_was_when_it_was_asked(tmp_path: Path) -> None:
    homes = [create_site(tmp_path / code, code=code, name=code) for code in ("HQ1", "BR1", "BR2")]
    hq, others = homes[0], homes[1:]
    try:
        for one in others:
            pin_card(hq, one.card_envelope, fingerprint=one.card.fingerprint)
        known = PinnedSites(hq.catalogue, own="HQ1", own_site=KnownSite(card=hq.card))
        assert known["BR1"].card == others[0].card
        with hq.catalogue.writing() as connection:
            for one in others:
                sites.revoke(connection, one.code, "lost")
        assert (known["BR1"].revoked, known["BR2"].revoked) == ("", "lost")
        assert hq.trust().is_pinned("BR1")
        with pytest.raises(RefusedError, match="was revoked: lost"):
            hq.trust().site("BR1")
        with pytest.raises(KeyError):
            known["BR3"]
        assert (list(known), len(known), "BR3" in known) == (["BR1", "BR2", "HQ1"], 3, False)
        assert known["HQ1"].card == hq.card
    finally:
        for one in homes:
            one.close()
