"""Whether a complete parcel may be imported: what network and media say must agree (decision 5 of the design)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from courier.error_codes import Code
from courier.errors import RefusedError
from courier.site.catalog import letters, packages, parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.site.trust import Trust
from formats.documents import notice as notice_doc
from formats.documents import package as package_doc
from formats.documents import recall as recall_doc
from formats.documents.notice import PackageRef, ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What speaks for an import: the notice and the definitions that came; ``awaiting`` what has not come yet.

    ``report``: the command by which a person reports the arrival, where the key comes for that alone; else empty.
    """

    awaiting: tuple[str, ...]
    notice: ShipNotice | None
    definitions: Mapping[tuple[str, int], PackageDefinition]
    report: str = ""


def judge(site: Site, packing: PackingList, editions: Collection[str]) -> Admission:
    """Compare a parcel's packing list with what came by network; ``editions``: digests of all that came with media.

    Raises `RefusedError` when a notice has come and none agrees with the packing list, or a definition is not the one
    the notice names. What was verified when it came is verified again: a site may have been revoked since.
    """
    trust = site.trust()
    notices = verified_notices(site, trust, packing)
    check_not_recalled(site, trust, packing.parcel, packing.source)
    if not notices:
        waiting = (f"the ship notice of {packing.source} (by network: courier channel sync)",)
        return Admission(awaiting=waiting, notice=None, definitions={})
    agreed = [n for n in notices if n.packing_list in editions and n.build == packing.build]
    if not agreed:
        raise RefusedError(
            f"{packing.parcel}: the ship notice of {packing.source} names another packing list than the media carry",
            hint=f"ask {packing.source} which is right; nothing is imported, the content stays held",
            code=Code.NOTICE_DISAGREES,
        )
    notice = agreed[-1]
    trust.check_transit(agreed[0].issued_ns, now_ns=now(), where=packing.parcel)
    definitions: dict[tuple[str, int], PackageDefinition] = {}
    awaiting = []
    for item in notice.packages:
        came = _definitions(site, packing.source, item.package, item.version)
        if item.listing in came:
            data, arrived_ns = came[item.listing]
            definitions[item.package, item.version] = _verified(trust, data, item, arrived_ns)
        elif came:
            raise RefusedError(
                f"{packing.parcel}: definition and ship notice of {item.package}:{item.version} name other content",
                hint=f"ask {packing.source} to ship the parcel again: courier parcel ship {packing.parcel}",
                code=Code.DEFINITION_DISAGREES,
            )
        else:
            awaiting.append(f"the definition of {item.package}:{item.version} (by network: courier channel sync)")
    return Admission(awaiting=tuple(awaiting), notice=notice, definitions=definitions)


def look_at(site: Site, trust: Trust, packing: PackingList, envelope: bytes) -> tuple[str, ...]:
    """What the network says of a volume that is only looked at, in notes; raises `RefusedError` where it was
    recalled."""
    check_not_recalled(site, trust, packing.parcel, packing.source)
    try:
        notices = verified_notices(site, trust, packing)
    except RefusedError as error:
        return (error.message,)
    if not notices or any(n.packing_list == parse_envelope(envelope).sha256 for n in notices):
        return ()
    what = "layout" if any(n.build == packing.build for n in notices) else "build"
    return (
        f"the ship notice of {packing.source} here names another {what} of {packing.parcel} than this volume's: "
        f"ask {packing.source} which is right",
    )


def verified_notices(site: Site, trust: Trust, packing: PackingList) -> list[ShipNotice]:
    """The ship notices of a parcel that came and still stand, the oldest first; raises `RefusedError` when none
    stands."""
    with site.catalogue.reading() as connection:
        envelopes = parcels.notices(connection, packing.parcel)
    found = []
    refused: RefusedError | None = None
    for data, arrived_ns in envelopes:
        try:
            notice, _ = trust.verify(
                data, notice_doc.KIND, now_ns=now(), where=f"ship notice of {packing.parcel}", arrived_ns=arrived_ns
            )
        except RefusedError as error:
            refused = error
        else:
            found.append(notice)
    if refused is not None and not found:
        raise refused
    return sorted((n for n in found if n.source == packing.source), key=lambda n: n.issued_ns)


def _definitions(site: Site, source: str, package: str, version: int) -> dict[str, tuple[bytes, int]]:
    with site.catalogue.reading() as connection:
        return packages.find_definitions(connection, package, version, source)


def _verified(trust: Trust, data: bytes, item: PackageRef, arrived_ns: int) -> PackageDefinition:
    return trust.verify(
        data,
        package_doc.KIND,
        now_ns=now(),
        where=f"definition of {item.package}:{item.version}",
        arrived_ns=arrived_ns,
    )[0]


def refused_here(parcel: str, *, where: str = "") -> RefusedError:
    """The error where a parcel is refused at this site; ``where``: the medium that was given."""
    return RefusedError(
        f"{where + ': ' if where else ''}{parcel} is refused here",
        hint=f"courier parcel log {parcel} says why; to take it all the same: courier parcel accept {parcel}",
        code=Code.PARCEL_REFUSED,
    )


def check_not_recalled(site: Site, trust: Trust, parcel: str, source: str) -> None:
    """Raise `RefusedError` when ``source`` has recalled the parcel."""
    with site.catalogue.reading() as connection:
        kept = letters.find(connection, "recall", parcel, source)
    if kept is None:
        return
    recall, _ = trust.verify(
        kept.envelope, recall_doc.KIND, now_ns=now(), where=f"recall of {parcel}", arrived_ns=kept.at_ns
    )
    raise RefusedError(
        f"{parcel} was recalled by {source}{': ' + recall.reason if recall.reason else ''}",
        hint=f"do not use its media: return or destroy them as {source} asks; courier parcel discard {parcel}",
        code=Code.RECALLED,
    )
