"""The sender's journey, second step: build what was planned, lay it out on volumes, sign.

A build that was killed goes on: the same command finds the same plan in its working folder and keeps the archives
that are finished. The packing list is written last, then the parcel is recorded in one transaction. What belongs to an
edition has its number in its name, and the catalogue says which edition counts: so a kill leaves one or the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError
from courier.files import (
    atomic_file,
    locked,
    make_folder,
    naming_space,
    remove_tree,
    require_space,
    sweep,
    write_atomic,
)
from courier.packages.find import definition_of
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.encryption import ParcelEncryptor
from courier.parcel.parity_files import make_parity
from courier.parcel.parity_plan import Redundancy
from courier.parcel.recipes import PACKS, RECIPES, BuiltArchive, BuiltFiles, Encryptor, parity_name
from courier.parcel.states import SentEvent, SentState, VolumeEvent, VolumeState, after_sent
from courier.parcel.transitions import begin_sent, sent_event, sent_volume_event
from courier.parcel.volume_layout import FixedSizes, ParcelHead, lay_out
from courier.sending.archive_builder import Builder, member_records
from courier.sending.outgoing_parcel import (
    CARD,
    CONTENTS,
    HOW,
    PLAN,
    OutgoingParcel,
    alone_with,
    blocks_name,
    forget_other_editions,
    how_built,
    is_signed,
    open_outgoing,
    packing_name,
)
from courier.sending.plan import ParcelPlan, restore_script, write_contents
from courier.site.catalog import packages, parcels
from courier.site.catalog.parcels import SentParcel, SentVolume
from courier.site.clock import now
from courier.site.home import Site
from courier.site.store.folder import Store
from courier.text import plural
from formats.blocks import DIGEST, block_count
from formats.digest import sha256_hex
from formats.documents import packing as packing_doc
from formats.documents.packing import PackingList, TableRef
from formats.names import MAX_PARCELS, is_parcel, parcel_id

if TYPE_CHECKING:
    from sqlalchemy import Connection


def build_parcel(site: Site, plan: ParcelPlan, progress: Callable[[int], None] = lambda _: None) -> OutgoingParcel:
    """Build a planned parcel; ``progress`` is told bytes of content as they are read.

    Raises `NoSpaceError` before the first byte when the disk cannot hold it, `DamagedError` when stored content is bad,
    and `RefusedError` when the clock and the signing key do not agree or no parcel number is left.
    """
    site.check_key()
    out, purpose = site.home / "parcels" / "out", "building the parcel"
    with locked(out / "lock"), naming_space(out, lambda: building_bytes(plan), purpose=purpose):
        begun = _begun(site, plan)
        if begun:
            for place in (begun, begun / RECIPES, begun / PACKS):
                sweep(place)
        done = sum(path.stat().st_size for path in (begun / PACKS).glob("*")) if begun else 0
        require_space(site.home, max(0, building_bytes(plan) - done), purpose=purpose)
        folder = begun or _begin(site, plan)
        parcel = folder.name
        _note_planned(site, plan, parcel)
        encryptor = ParcelEncryptor.in_folder(folder, plan.recipients) if plan.recipients else None
        builder = Builder(
            folder, site.store.open_content, level=plan.level or 3, encryptor=encryptor, progress=progress
        )
        built = builder.build(plan.archives)
        head = replace(plan.head, parcel=parcel, created_ns=now())
        contents = _write_contents(site, plan, folder, head, built, encryptor)
        # The card that is reckoned with is the one that goes on the media, whatever card comes meanwhile.
        write_atomic(folder / CARD, site.card_envelope)
        fixed = FixedSizes(card=(folder / CARD).stat().st_size, script=len(restore_script()), contents=contents.size)
        laid_out = lay_out(head, [(archive.size, archive.sha256) for archive in built], contents=contents, fixed=fixed)
        blocks = b"".join(archive.blocks for archive in built)
        packing = _protect(folder, laid_out.packing, blocks, site.store, encryptor)
        # All that takes long is done: the key may have been renewed meanwhile, and the new one speaks for now alone.
        packing = replace(packing, created_ns=now())
        envelope = site.sign(packing.payload(), packing_doc.TYPE)
        write_atomic(folder / packing_name(packing.edition), envelope.encode())
        _record(site, plan, packing, envelope.sha256)
    return open_outgoing(site, parcel)


def building_bytes(plan: ParcelPlan) -> int:
    """Bytes of disk that building takes at most: what is compressed, parity and tables. What is not, is not copied."""
    preview = plan.preview
    packs = sum(m.most for archive in plan.archives for m in archive.members if m.content.coding == "zstd")
    return packs + sum(file.size for file in preview.parity) + preview.contents.size + preview.blocks.size


def _begun(site: Site, plan: ParcelPlan) -> Path | None:
    """The folder, named by the parcel's ID, in which the same plan was begun and not finished."""
    root = make_folder(site.home / "parcels" / "out")
    with site.catalogue.reading() as connection:
        known = {sent.parcel for sent in parcels.all_sent(connection) if sent.state != SentState.PLANNED}
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and is_parcel(folder.name) and folder.name not in known:
            if (folder / PLAN).exists() and (folder / PLAN).read_text() == plan.digest:
                return folder
            if not is_signed(folder):
                # Another plan that was begun and given up: nothing signed is lost.
                remove_tree(folder)
                with site.catalogue.writing() as connection:
                    parcels.forget_sent(connection, folder.name)
    return None


def _begin(site: Site, plan: ParcelPlan) -> Path:
    """A folder to build the plan in, named by a new parcel ID."""
    with site.catalogue.writing() as connection:
        number = packages.read_counter(connection, "parcel") + 1
        while number <= MAX_PARCELS and site.outgoing(parcel_id(site.code, number)).exists():
            # Of a parcel that a catalogue knew which was lost.
            number += 1
        if number > MAX_PARCELS:
            raise RefusedError(
                f"the parcel numbers of {site.code} are used up: {parcel_id(site.code, MAX_PARCELS)} was given out",
                hint="a site of another code can send on: courier init --site CODE --name NAME, in a home of its own",
                code=Code.IDS_USED_UP,
            )
        packages.raise_counter(connection, "parcel", number)
    folder = site.outgoing(parcel_id(site.code, number))
    make_folder(folder / RECIPES)
    make_folder(folder / PACKS)
    write_atomic(folder / PLAN, plan.digest.encode())
    return folder


def _note_planned(site: Site, plan: ParcelPlan, parcel: str) -> None:
    """Record that a parcel is being built; nothing when a run that was killed did so."""
    head = plan.head
    planned = SentParcel(
        parcel=parcel,
        state=SentState.PLANNED,
        priority=head.priority,
        created_ns=now(),
        build="",
        packing_list="",
        edition=0,
        carrier="",
        tracking="",
        spares=head.spares,
        redundancy=str(head.redundancy),
        supersedes=plan.supersedes,
    )
    names = ", ".join(f"{stored.package}:{stored.version}" for stored in plan.packages)
    with site.catalogue.writing() as connection:
        if parcels.find_sent(connection, parcel) is None:
            begin_sent(
                connection, site, SentEvent.PLANNED, planned, head.destinations, f"{names} for {head.media} media"
            )


def _write_contents(
    site: Site,
    plan: ParcelPlan,
    folder: Path,
    head: ParcelHead,
    built: Sequence[BuiltArchive],
    encryptor: ParcelEncryptor | None,
) -> TableRef:
    records = [
        member_records(archive, [member.size for member in done.members])
        for archive, done in zip(plan.archives, built, strict=True)
    ]
    path = folder / CONTENTS
    with atomic_file(path) as out:
        if encryptor is None:
            write_contents(site, out, head.parcel, plan.packages, records)
        else:
            with encryptor.wrap(out, 0) as encrypted:
                write_contents(site, encrypted, head.parcel, plan.packages, records)
    write_atomic(folder / HOW, how_built(plan.level or 3, plan.recipients))
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return TableRef(size=path.stat().st_size, sha256=digest)


def _record(site: Site, plan: ParcelPlan, packing: PackingList, digest: str) -> None:
    names = ", ".join(f"{stored.package}:{stored.version}" for stored in plan.packages)
    counts = f"{plural(len(packing.archives), 'archive')}, {plural(packing.volumes, 'volume')}"
    text = f"{names} for {', '.join(packing.destinations)}: {counts}"
    if plan.anyway:
        text += f" (anyway: {plan.anyway}{''.join(f'; although {one}' for one in plan.overridden)})"
    with site.catalogue.writing() as connection:
        sent_event(
            connection,
            site,
            packing.parcel,
            SentEvent.BUILT,
            text,
            created_ns=packing.created_ns,
            build=packing.build,
            packing_list=digest,
            edition=packing.edition,
        )
        for stored in plan.packages:
            parcels.add_sent_package(
                connection,
                packing.parcel,
                stored.package,
                stored.version,
                listing=stored.listing.sha256,
                definition=definition_of(site, stored).payload(),
            )
        _plan_volumes(connection, site, packing)
        record(connection, site, packing.parcel, Happened(event="packed", note=f"build {packing.build}"))


def _plan_volumes(connection: Connection, site: Site, packing: PackingList) -> None:
    for number in range(1, packing.volumes + 1):
        sent_volume_event(
            connection,
            site,
            SentVolume(
                parcel=packing.parcel,
                edition=packing.edition,
                number=number,
                state=VolumeState.PLANNED,
                layout="",
                path="",
                bytes=packing.volume_bytes(number),
                written_ns=None,
                seal="",
            ),
            VolumeEvent.PLANNED,
        )


def relay_out(
    site: Site, parcel: OutgoingParcel, *, media: str, capacity: int, dry_run: bool = False
) -> OutgoingParcel:
    """Lay the same archives out for another medium: a new edition, signed anew; no archive is built again.

    Its parity is made anew, as it was asked for. ``dry_run``: only return it as it would be. Raises `NoSpaceError` when
    an archive does not fit on the medium.
    """
    old, sent = parcel.packing, parcel.sent
    if after_sent(sent.state, SentEvent.LAID_OUT) is None:
        raise RefusedError(f"{sent.parcel} is {sent.state}", hint="create a new parcel", code=Code.WRONG_STATE)
    head = ParcelHead(
        parcel=old.parcel,
        source=old.source,
        name=site.settings.name,
        destinations=old.destinations,
        created_ns=site.signing_time(old.created_ns),
        priority=old.priority,
        edition=old.edition + 1,
        media=media,
        capacity=capacity,
        encrypted=old.encrypted,
        spares=sent.spares,
        redundancy=Redundancy.parse(sent.redundancy),
        key=old.key,
    )
    fixed = FixedSizes(
        card=(parcel.folder / CARD).stat().st_size, script=len(restore_script()), contents=old.contents.size
    )
    archives = [(file.size, file.sha256) for file in old.archives]
    packing = lay_out(head, archives, contents=old.contents, fixed=fixed).packing
    if dry_run:
        return replace(parcel, packing=packing)
    out, parity, purpose = site.home / "parcels" / "out", sum(file.size for file in packing.parity), "the new layout"
    with alone_with(site, parcel), locked(out / "lock"), naming_space(out, lambda: parity, purpose=purpose):
        require_space(site.home, parity, purpose="the parity of the new layout")
        table = (parcel.folder / blocks_name(old.edition)).read_bytes()
        if sha256_hex(table) != old.blocks.sha256:
            raise DamagedError(
                f"{parcel.folder / blocks_name(old.edition)} changed on our own disk since it was signed",
                hint="create the parcel anew, and check this disk",
                code=Code.BUILD_DAMAGED,
            )
        digests = table[: sum(block_count(file.size) for file in old.archives) * DIGEST]
        packing = _protect(parcel.folder, packing, digests, site.store, parcel.encryptor())
        packing = replace(packing, created_ns=site.signing_time(old.created_ns))
        envelope = site.sign(packing.payload(), packing_doc.TYPE)
        write_atomic(parcel.folder / packing_name(packing.edition), envelope.encode())
        with site.catalogue.writing() as connection:
            text = f"edition {packing.edition} for {media}: {plural(packing.volumes, 'volume')}"
            digest = envelope.sha256
            sent_event(
                connection,
                site,
                old.parcel,
                SentEvent.LAID_OUT,
                text,
                edition=packing.edition,
                packing_list=digest,
            )
            _plan_volumes(connection, site, packing)
        forget_other_editions(parcel.folder, packing.edition)
    return open_outgoing(site, old.parcel)


def _protect(
    folder: Path, packing: PackingList, archive_blocks: bytes, store: Store, encryptor: Encryptor | None
) -> PackingList:
    """Make the parity files and the block table of a layout; return its packing list with all digests."""
    make_folder(folder / parity_name(packing.edition))
    files = BuiltFiles(
        folder, packing, open_content=store.open_content, has_content=store.has, encryptor=lambda: encryptor
    )
    made = make_parity(packing, files)
    blocks = archive_blocks + b"".join(digests for _, digests in made)
    write_atomic(folder / blocks_name(packing.edition), blocks)
    return replace(
        packing,
        parity=tuple(replace(file, sha256=sha256) for file, (sha256, _) in zip(packing.parity, made, strict=True)),
        blocks=TableRef(size=len(blocks), sha256=hashlib.sha256(blocks).hexdigest()),
    )
