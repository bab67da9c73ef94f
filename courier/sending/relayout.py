"""Laying a parcel out anew for another medium: a new edition, signed anew, of the same archives.

A relayout is planned first (`plan_relayout`): the plan is shown to the operator, then `relay_out` carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError
from courier.files import naming_space, require_space
from courier.parcel.parity_plan import Redundancy
from courier.parcel.states import SentEvent, after_sent
from courier.parcel.transitions import sent_event
from courier.parcel.volume_layout import LayoutRequest, ParcelLayout, lay_out
from courier.sending.build import add_parity, record_planned_volumes, sign_packing
from courier.sending.outgoing_parcel import (
    OutgoingParcel,
    alone_with,
    check_not_withdrawn,
    forget_other_editions,
    signed_now,
)
from courier.sending.volume_source import fixed_sizes_of
from courier.site.catalog import packages, parcels
from courier.site.clock import now
from courier.site.home import Site
from courier.text import plural
from formats.blocks import DIGEST, block_count
from formats.digest import sha256_hex

EDITIONS = "edition"
"""The counter of editions that are passed over, since a home that was lost may have given them out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelayoutPlan:
    """A parcel, and the layout that it gets."""

    parcel: OutgoingParcel
    layout: ParcelLayout

    @property
    def preview(self) -> OutgoingParcel:
        """The parcel as it will be; the digests of its parity are not known yet."""
        return replace(self.parcel, packing=self.layout.packing)


def plan_relayout(site: Site, parcel: OutgoingParcel, *, media: str, capacity: int) -> RelayoutPlan:
    """Lay the archives of a parcel out on media of ``capacity`` usable bytes, with the parity asked for at first.

    Raises `NoSpaceError` if an archive does not fit on the medium, `RefusedError` if the parcel's state does not allow
    it.
    """
    check_not_withdrawn(parcel)
    old, sent = parcel.packing, parcel.sent
    if after_sent(sent.state, SentEvent.LAID_OUT) is None:
        raise RefusedError(f"{sent.parcel} is {sent.state}", hint="create a new parcel", code=Code.WRONG_STATE)
    request = LayoutRequest(
        parcel=old.parcel,
        source=old.source,
        name=site.settings.name,
        destinations=old.destinations,
        created_ns=site.signing_time(now()),
        priority=old.priority,
        edition=max(old.edition, _given_out(site)) + 1,
        media=media,
        capacity=capacity,
        encrypted=old.encrypted,
        spares=sent.spares,
        redundancy=Redundancy.parse(sent.redundancy),
        key=old.key,
        bases=old.bases,
    )
    archives = [(file.size, file.sha256) for file in old.archives]
    return RelayoutPlan(
        parcel=parcel, layout=lay_out(request, archives, contents=old.contents, fixed=fixed_sizes_of(parcel))
    )


def _given_out(site: Site) -> int:
    """The edition up to which a lost home may have laid out parcels that are known here; 0 where none was lost."""
    with site.catalogue.reading() as connection:
        return packages.read_counter(connection, EDITIONS)


def relay_out(site: Site, plan: RelayoutPlan) -> OutgoingParcel:
    """Make and sign the new edition of a parcel; no archive is built again, its parity is made anew.

    Raises `NoSpaceError` for the parity, `DamagedError` if the block table has changed on our own disk.
    """
    parcel, packing = plan.parcel, plan.layout.packing
    out, parity, purpose = site.home / "parcels" / "out", sum(file.size for file in packing.parity), "the new layout"
    with alone_with(site, parcel), site.locked(out / "lock"), naming_space(out, lambda: parity, purpose=purpose):
        require_space(site.home, parity, purpose="the parity of the new layout")
        packing = add_parity(
            parcel.folder, packing, _archive_digests(parcel), parcel.contents(site), parcel.encryptor()
        )
        # Its own time, not that of the edition before: the reels of a tape are told apart by their label and this time.
        packing = replace(packing, created_ns=site.signing_time(now()))
        site.catalogue.check_held()
        envelope = sign_packing(site, parcel.folder, packing)
        with site.catalogue.writing() as connection:
            text = f"edition {packing.edition} for {packing.media}: {plural(packing.volumes, 'volume')}"
            values = {"edition": packing.edition, "packing_list": envelope.sha256}
            sent_event(connection, site, packing.parcel, SentEvent.LAID_OUT, text, **values)
            record_planned_volumes(connection, site, packing)
            written = {medium.edition for medium in parcels.written_media(connection, packing.parcel)}
        forget_other_editions(parcel.folder, packing.edition, written=written)
    return signed_now(site, packing, envelope)


def _archive_digests(parcel: OutgoingParcel) -> bytes:
    """The digests of the blocks of the archives, from the block table of the present edition."""
    table = parcel.blocks().read_bytes()
    if sha256_hex(table) != parcel.packing.blocks.sha256:
        raise DamagedError(
            f"{parcel.blocks()} changed on our own disk since it was signed",
            hint="create the parcel anew, and check this disk",
            code=Code.BUILD_DAMAGED,
        )
    return table[: sum(block_count(file.size) for file in parcel.packing.archives) * DIGEST]
