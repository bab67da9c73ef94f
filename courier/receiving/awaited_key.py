"""The key of a parcel that comes by network: what is awaited while it has not come, and keeping it once it has."""

from __future__ import annotations

from collections.abc import Mapping

from courier.parcel.keys import identities_for
from courier.parcel.transitions import log_entry
from courier.site.catalog import letters, messages, parcels
from courier.site.catalog.letters import letter_of
from courier.site.home import Site
from formats.digest import sha256_hex
from formats.documents.packing import PackingList
from formats.documents.release import KeyRelease
from formats.envelope import Envelope, parse_envelope


def awaited_key(site: Site, packing: PackingList, seals: Mapping[int, str]) -> tuple[str, str]:
    """What a complete parcel waits for while its key is not here (empty when it is, or is none), and the command by
    which a person reports the arrival (empty where the key comes without).

    ``seals``: those of the ship notice.
    """
    if not packing.encrypted or packing.key == "media" or identities_for(site, packing):
        return "", ""
    if packing.key == "network":
        return f"its key, in the ship notice of {packing.source} (by network: courier channel sync)", ""
    with site.catalogue.reading() as connection:
        report = letters.find(connection, "arrival", packing.parcel, packing.source)
        sent = report and messages.find(connection, "out", sha256_hex(report.envelope), packing.source)
    refused = sent.reason if sent and sent.state == "dead" else ""
    if report and not refused:
        return f"its key, which {packing.source} releases for our arrival report (by network: courier channel sync)", ""
    typed = " ".join(f"--seal {number}=SERIAL" for number in sorted(seals)[:3])
    why = (
        f"its key; {refused}; to report again"
        if refused
        else (f"its key, which {packing.source} releases when all volumes and the seals on them were reported")
    )
    command = f"courier parcel arrived {packing.parcel}{f' {typed}' if typed else ''}"
    return f"{why}: {command}", command


def take_key_release(site: Site, release: KeyRelease, envelope: Envelope) -> str:
    """Keep the key that the sender released, unless the one that is here is as new; return an empty text."""
    with site.catalogue.writing() as connection:
        before = letters.find(connection, "release", release.parcel, release.source)
        if before is not None and _issued_ns(before.envelope) >= release.issued_ns:
            return ""
        letters.keep(connection, letter_of("release", release.parcel, release.source, envelope))
        parcels.write_log(connection, log_entry(site, release.parcel, "key", f"released by {release.source}"))
    return ""


def _issued_ns(envelope: bytes) -> int:
    return KeyRelease.parse(parse_envelope(envelope).payload).issued_ns
