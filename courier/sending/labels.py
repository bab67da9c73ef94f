"""The labels of a parcel's volumes, each with a signed token in its code (`formats.documents.token`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.errors import NotFoundError, UsageError
from courier.parcel.label_page import LabelFace, Placing, care_words, draw_labels, medium_words
from courier.parcel.paper import require_paper, write_paper
from courier.parcel.sheets import Sheet
from courier.sending.media_sets import Shipped, shipped_before
from courier.sending.outgoing_parcel import OutgoingParcel, check_not_withdrawn
from courier.sending.usable import usable_packages
from courier.site.card import pinned_card
from courier.site.catalog import parcels, sites
from courier.site.home import Site
from formats.documents import token as token_doc
from formats.documents.token import MAX_EDITION, MAX_SITES, LabelToken, typed_check, write_token
from formats.envelope import sign


@dataclass(frozen=True, kw_only=True, slots=True)
class SetOfMedia:
    """A set of media that is labelled: its number (0 before it is shipped), its destinations, and its shipment."""

    copy: int
    sites: tuple[str, ...]
    carrier: str
    tracking: str
    shipped_ns: int | None
    seals: Mapping[int, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelWish:
    """Which labels are wanted: of which volumes (none: all) and of which set or destinations (neither: of every set).

    ``names``: whether names stand beside codes and IDs.
    """

    volumes: tuple[int, ...] = ()
    copy: int | None = None
    to: tuple[str, ...] = ()
    names: bool = True


def sets_wanted(site: Site, parcel: OutgoingParcel, *, copy: int | None, to: Sequence[str]) -> list[SetOfMedia]:
    """The sets of media of a parcel that were asked for, in the order of their destinations.

    Destinations that were shipped to with one set share it; any other has a set of its own, unless ``to`` names
    several: these share one. Raises `NotFoundError` for a set or destination that there is not.
    """
    name, known = parcel.sent.parcel, parcel.packing.destinations
    for code in to:
        if code not in known:
            raise NotFoundError(f"{name} is not for {code}", hint=f"it is for {', '.join(known)}")
    with site.catalogue.reading() as connection:
        before = shipped_before(connection, name, parcel.packing.edition)
    found: list[SetOfMedia] = []
    for code in known:
        number = before.to[code].copy
        if any(code in one.sites for one in found):
            continue
        members = before.members(number) or (tuple(c for c in known if c in to and not before.to[c].copy) or (code,))
        if code not in members:
            members = (code,)
        if to and not set(members) & set(to):
            continue
        if copy is None or copy == number:
            found.append(_set(before, number, members))
    if not found:
        shipped = sorted({item.copy for item in before.to.values() if item.copy})
        which = f"its sets are {', '.join(map(str, shipped))}" if shipped else "none was shipped yet: name --to CODE"
        raise NotFoundError(f"{name} has no set {copy} of its media", hint=which)
    return found


def _set(before: Shipped, copy: int, members: tuple[str, ...]) -> SetOfMedia:
    to = before.to[members[0]]
    return SetOfMedia(
        copy=copy,
        sites=members,
        carrier=to.carrier,
        tracking=to.tracking,
        shipped_ns=to.shipped_ns,
        seals=before.seals.get(members[0], {}),
    )


def site_names(site: Site) -> dict[str, str]:
    """The names of this site and of those that are pinned here, by code."""
    with site.catalogue.reading() as connection:
        known = {one.code: pinned_card(one.card).name for one in sites.everyone(connection)}
    return {**known, site.code: site.settings.name}


def packages_words(site: Site, parcel: str, *, names: bool) -> list[str]:
    """The packages of a parcel of this site, one text each: ID, version and, with ``names``, the name."""
    from formats.documents.package import PackageDefinition

    with site.catalogue.reading() as connection:
        found = parcels.sent_packages(connection, parcel)
    return [
        f"{package}:{version}" + (f" {PackageDefinition.parse(payload).name}" if names else "")
        for package, version, _, payload in found
    ]


def _complete_with(site: Site, parcel: OutgoingParcel) -> dict[int, list[str]]:
    """By volume, the packages that are usable once it and those before it are there; none where all need all."""
    usable = usable_packages(site, parcel)
    found: dict[int, list[str]] = {}
    for one in usable if len(usable) > 1 and parcel.packing.volumes > 1 else ():
        found.setdefault(max(one.volumes, default=1), []).append(one.name)
    return found


def write_labels(
    site: Site,
    parcel: OutgoingParcel,
    wish: LabelWish,
    out: Path,
    *,
    sheet: Sheet,
    placing: Placing,
    font: Path | None = None,
) -> int:
    """Print labels into a PDF; return how many.

    The same labels give the same bytes (where the site's key is on a token, whose signatures differ each time, only the
    codes differ). Raises `NotFoundError` for a volume or set that there is not, or where the extra is missing,
    `UsageError`, and `RefusedError` for a parcel that was withdrawn, or a name that cannot be printed.
    """
    require_paper()
    check_not_withdrawn(parcel)
    packing = parcel.packing
    numbers = sorted(set(wish.volumes)) or list(range(1, packing.volumes + 1))
    for number in numbers:
        if number > packing.volumes:
            hint = f"its volumes are 1 to {packing.volumes}"
            raise NotFoundError(f"{packing.parcel} has no volume {number}", hint=hint)
    if packing.edition > MAX_EDITION:
        raise UsageError(
            f"{packing.parcel} was laid out {packing.edition} times; labels count {MAX_EDITION} editions",
            hint="create the parcel anew: courier parcel create --supersedes " + packing.parcel,
        )
    sets = sets_wanted(site, parcel, copy=wish.copy, to=wish.to)
    for one in sets:
        if len(one.sites) > MAX_SITES:
            raise UsageError(
                f"a set of {packing.parcel} goes to {len(one.sites)} sites; a label names {MAX_SITES}",
                hint=f"print them with --to CODE, for {MAX_SITES} sites at most",
            )
    site.check_key()
    faces = _faces(site, parcel, sets, numbers, names=wish.names)
    title = f"Labels of {packing.parcel}"
    write_paper(out, sheet.page, title, lambda paper: draw_labels(paper, sheet, faces, placing), font=font)
    return len(numbers) * len(sets)


def _faces(
    site: Site,
    parcel: OutgoingParcel,
    sets: Sequence[SetOfMedia],
    numbers: Sequence[int],
    *,
    names: bool,
) -> Iterator[LabelFace]:
    packing, key = parcel.packing, site.card.keys[0].key
    # The signer is made once: its key may be behind a passphrase, which takes a while to open it.
    signer = site.keyring.signer(key)
    called = site_names(site) if names else {}
    what = "; ".join(packages_words(site, packing.parcel, names=names))
    what = f"OS images: {what}" if what else "OS images"
    written = {volume.number: volume.written_ns for volume in parcel.volumes}
    complete = _complete_with(site, parcel)
    for one in sets:
        for number in numbers:
            token = LabelToken(
                parcel=packing.parcel,
                source=packing.source,
                destinations=one.sites,
                number=number,
                of=packing.volumes,
                edition=packing.edition,
                copy=one.copy,
                packing_list=parcel.sent.packing_list[: 2 * token_doc.DIGEST_BYTES],
                issued_ns=site.signing_time(written.get(number) or packing.created_ns),
            )
            envelope = sign(token.payload(), token_doc.TYPE, [signer])
            yield LabelFace(
                parcel=packing.parcel,
                number=number,
                of=packing.volumes,
                spare=number in packing.spares,
                copy=one.copy,
                edition=packing.edition,
                to=one.sites,
                to_names=", ".join(called[code] for code in one.sites if code in called),
                source=f"{packing.source} {called.get(packing.source, '')}".strip(),
                medium=medium_words(packing.media),
                what=f"Usable from this volume on: {', '.join(complete[number])} · {what}"
                if number in complete
                else what,
                care=care_words(packing.media),
                seal=one.seals.get(number, ""),
                code=write_token(envelope, key),
                check=typed_check(packing.parcel, number, packing.edition),
            )
