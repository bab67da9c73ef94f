"""The sender's journey, second step: build what was planned, lay it out on volumes, sign.

A build that was killed goes on: the same command finds the same plan in its working folder and keeps the archives
that are finished. The packing list is written last, then the parcel is recorded in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from courier.build import WORKERS, Builder, BuiltArchive, member_records
from courier.catalog import packages, parcels
from courier.catalog.parcels import SentParcel, SentVolume
from courier.errors import Damaged, NotFound, Refused, Usage
from courier.files import atomic_file, locked, make_folder, remove_tree, require_space, sweep, write_atomic
from courier.layout import FixedSizes, ParcelHead, lay_out
from courier.ledger import Happened, record
from courier.lifecycle import SentEvent, SentState, VolumeEvent, VolumeState, after_sent
from courier.packages import definition_of
from courier.prepare import ParcelPlan, fixed_sizes, restore_script, write_contents
from courier.protecting import make_parity
from courier.protection import Redundancy
from courier.sealing import ParcelSealer
from courier.site import Site, now
from courier.transitions import begin_sent, sent_event, sent_volume_event
from formats.blocks import DIGEST, block_count
from formats.digest import sha256_hex
from formats.documents import packing as packing_doc
from formats.documents.packing import PackingList, TableRef
from formats.envelope import parse_envelope
from formats.errors import FormatError
from formats.names import check_parcel, parcel_id
from formats.records import encode

if TYPE_CHECKING:
    from sqlalchemy import Connection

PLAN = "plan"
CONTENTS = "contents"
MEMBERS = "members.jsonl.gz"
"""The contents of a sealed parcel in clear: they are what an archive is built again from."""
RECIPE = "recipe.json"
PACKING_LIST = "packing-list.json"


@dataclass(frozen=True, kw_only=True)
class OutgoingParcel:
    """A parcel this site built: what is recorded of it, its packing list and envelope, and its folder."""

    sent: SentParcel
    packing: PackingList
    envelope: bytes
    folder: Path
    volumes: tuple[SentVolume, ...]

    def file(self, index: int) -> Path:
        """Where file ``index`` of ``packing.files()`` lies."""
        folder = "archives" if index < len(self.packing.archives) else parity_name(self.packing.edition)
        return self.folder / folder / Path(self.packing.path(index)).name

    def blocks(self) -> Path:
        """Where its block table lies."""
        return self.folder / blocks_name(self.packing.edition)


def build_parcel(site: Site, plan: ParcelPlan, progress: Callable[[int], None] = lambda _: None) -> OutgoingParcel:
    """Build a planned parcel; ``progress`` is told bytes of content as they are read.

    Raises `NoSpace` before the first byte when the disk cannot hold it, `Damaged` when stored content is bad.
    """
    with locked(site.home / "parcels" / "out" / "lock"):
        begun = _begun(site, plan)
        if begun:
            sweep(begun)
            sweep(begun / "archives")
        done = sum(path.stat().st_size for path in (begun / "archives").glob("*") if path.is_file()) if begun else 0
        require_space(site.home, max(0, building_bytes(plan) - done), purpose="building the parcel")
        folder = begun or _begin(site, plan)
        parcel = folder.name
        _note_planned(site, plan, parcel)
        sealer = ParcelSealer.in_folder(folder, plan.recipients) if plan.recipients else None
        builder = Builder(
            folder / "archives", site.store.open_content, level=plan.level or 3, sealer=sealer, progress=progress
        )
        built = builder.build(plan.archives)
        head = replace(plan.head, parcel=parcel, created_ns=now())
        contents = _write_contents(site, plan, folder, head, built, sealer)
        laid_out = lay_out(
            head,
            [(archive.size, archive.sha256) for archive in built],
            contents=contents,
            fixed=fixed_sizes(site, contents=contents.size),
        )
        packing = _protect(folder, laid_out.packing, b"".join(archive.blocks for archive in built))
        envelope = site.sign(packing.payload(), packing_doc.TYPE).encode()
        write_atomic(folder / "card.json", site.card_envelope)
        write_atomic(folder / PACKING_LIST, envelope)
        _record(site, plan, packing, parse_envelope(envelope).sha256)
    return open_outgoing(site, parcel)


def building_bytes(plan: ParcelPlan) -> int:
    """Bytes of disk that building takes at most: archives, parity and tables, and what is compressed on its way."""
    preview = plan.preview
    compressed = (m.most for archive in plan.archives for m in archive.members if m.content.coding == "zstd")
    scratch = min(WORKERS, len(plan.archives)) * max(compressed, default=0)
    return sum(file.size for file in preview.files()) + preview.contents.size + preview.blocks.size + scratch


def _begun(site: Site, plan: ParcelPlan) -> Path | None:
    """The folder, named by the parcel's ID, in which the same plan was begun and not finished."""
    root = make_folder(site.home / "parcels" / "out")
    with site.catalogue.reading() as connection:
        known = {sent.parcel for sent in parcels.all_sent(connection) if sent.state != SentState.PLANNED}
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and folder.name not in known:
            if (folder / PLAN).exists() and (folder / PLAN).read_text() == plan.digest:
                return folder
            if not (folder / PACKING_LIST).exists():
                # Another plan that was begun and given up: nothing signed is lost.
                remove_tree(folder)
                with site.catalogue.writing() as connection:
                    parcels.forget_sent(connection, folder.name)
    return None


def _begin(site: Site, plan: ParcelPlan) -> Path:
    """A folder to build the plan in, named by a new parcel ID."""
    with site.catalogue.writing() as connection:
        number = packages.read_counter(connection, "parcel") + 1
        while site.outgoing(parcel_id(site.code, number)).exists():
            # Of a parcel that a catalogue knew which was lost.
            number += 1
        packages.raise_counter(connection, "parcel", number)
    folder = site.outgoing(parcel_id(site.code, number))
    make_folder(folder / "archives")
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
    sealer: ParcelSealer | None,
) -> TableRef:
    records = [member_records(archive, done.member_sizes) for archive, done in zip(plan.archives, built, strict=True)]
    path = folder / CONTENTS
    with atomic_file(path) as out:
        if sealer is None:
            write_contents(site, out, head.parcel, plan.packages, records)
        else:
            with sealer.wrap(out, 0) as sealed:
                write_contents(site, sealed, head.parcel, plan.packages, records)
            with atomic_file(folder / MEMBERS, private=True) as clear:
                write_contents(site, clear, head.parcel, plan.packages, records)
    recipe = {"format": "courier-recipe/1", "level": plan.level or 3, "recipients": list(plan.recipients)}
    write_atomic(folder / RECIPE, encode(recipe))
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return TableRef(size=path.stat().st_size, sha256=digest)


def _record(site: Site, plan: ParcelPlan, packing: PackingList, digest: str) -> None:
    names = ", ".join(f"{stored.package}:{stored.version}" for stored in plan.packages)
    text = f"{names} for {', '.join(packing.destinations)}: {len(packing.archives)} archives, {packing.volumes} volumes"
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


def open_outgoing(site: Site, parcel: str) -> OutgoingParcel:
    """A parcel this site built; raises `NotFound`, or `Damaged` when its folder is not whole."""
    try:
        check_parcel(parcel)
    except FormatError as error:
        raise Usage(error.message, hint="courier parcel list shows the parcels") from None
    with site.catalogue.reading() as connection:
        sent = parcels.find_sent(connection, parcel)
        if sent is None:
            raise NotFound(f"{parcel} is not a parcel this site made", hint="courier parcel list shows the parcels")
        if sent.state == SentState.PLANNED:
            hint = "run the same courier parcel create again: it goes on where it was stopped"
            raise Damaged(f"{parcel} is planned, but its build was not finished", hint=hint, code="not-built")
        volumes = tuple(parcels.sent_volumes(connection, parcel, sent.edition))
    folder = site.outgoing(parcel)
    try:
        envelope = (folder / PACKING_LIST).read_bytes()
        parsed = parse_envelope(envelope)
        packing = PackingList.parse(parsed.payload)
    except (FileNotFoundError, FormatError) as error:
        raise Damaged(f"{folder}: {error}", hint="create the parcel anew") from None
    return OutgoingParcel(sent=sent, packing=packing, envelope=envelope, folder=folder, volumes=volumes)


def relay_out(
    site: Site, parcel: OutgoingParcel, *, media: str, capacity: int, dry_run: bool = False
) -> OutgoingParcel:
    """Lay the same archives out for another medium: a new edition, signed anew; no archive is built again.

    Its parity is made anew, as it was asked for. ``dry_run``: only return it as it would be. Raises `NoSpace` when an
    archive does not fit on the medium.
    """
    old, sent = parcel.packing, parcel.sent
    if after_sent(sent.state, SentEvent.LAID_OUT) is None:
        raise Refused(f"{sent.parcel} is {sent.state}", hint="create a new parcel", code="wrong-state")
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
        sealed=old.sealed,
        spares=sent.spares,
        redundancy=Redundancy.parse(sent.redundancy),
        key=old.key,
    )
    fixed = FixedSizes(
        card=(parcel.folder / "card.json").stat().st_size, script=len(restore_script()), contents=old.contents.size
    )
    archives = [(file.size, file.sha256) for file in old.archives]
    packing = lay_out(head, archives, contents=old.contents, fixed=fixed).packing
    if dry_run:
        return replace(parcel, packing=packing)
    with locked(site.home / "parcels" / "out" / "lock"):
        require_space(site.home, sum(file.size for file in packing.parity), purpose="the parity of the new layout")
        table = (parcel.folder / blocks_name(old.edition)).read_bytes()
        if sha256_hex(table) != old.blocks.sha256:
            raise Damaged(
                f"{parcel.folder / blocks_name(old.edition)} changed on our own disk since it was signed",
                hint="create the parcel anew, and check this disk",
                code="build-damaged",
            )
        digests = table[: sum(block_count(file.size) for file in old.archives) * DIGEST]
        packing = _protect(parcel.folder, packing, digests)
        envelope = site.sign(packing.payload(), packing_doc.TYPE)
        write_atomic(parcel.folder / PACKING_LIST, envelope.encode())
        with site.catalogue.writing() as connection:
            text = f"edition {packing.edition} for {media}: {packing.volumes} volumes"
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
        remove_tree(parcel.folder / parity_name(old.edition))
        remove_tree(parcel.folder / blocks_name(old.edition))
    return open_outgoing(site, old.parcel)


def parity_name(edition: int) -> str:
    """The folder of the parity files of an edition."""
    return f"parity-{edition}"


def blocks_name(edition: int) -> str:
    """The file of the block table of an edition."""
    return f"blocks-{edition}.bin"


def _protect(folder: Path, packing: PackingList, archive_blocks: bytes) -> PackingList:
    """Make the parity files and the block table of a layout; return its packing list with all digests."""
    parity = make_folder(folder / parity_name(packing.edition))
    first = len(packing.archives)

    def path(index: int) -> Path:
        return (parity if index >= first else folder / "archives") / Path(packing.path(index)).name

    made = make_parity(packing, path)
    blocks = archive_blocks + b"".join(digests for _, digests in made)
    write_atomic(folder / blocks_name(packing.edition), blocks)
    return replace(
        packing,
        parity=tuple(replace(file, sha256=sha256) for file, (sha256, _) in zip(packing.parity, made, strict=True)),
        blocks=TableRef(size=len(blocks), sha256=hashlib.sha256(blocks).hexdigest()),
    )
