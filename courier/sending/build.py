"""Building a planned parcel: archives, contents, layout and parity, and the signature of the packing list.

A build that was killed goes on: the same command finds the same plan in the parcel's folder and keeps the archives that
are finished. The packing list is written last, then the parcel is recorded in one transaction. A file that belongs to
an edition has its number in its name, and the catalogue says which edition counts: so a kill leaves one or the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError
from courier.files import (
    atomic_file,
    make_folder,
    naming_space,
    remove_tree,
    require_space,
    write_atomic,
)
from courier.packages.find import definition_of
from courier.parcel.base_contents import BaseContents
from courier.parcel.custody_ledger import Happened, record
from courier.parcel.encryption import PARCEL_KEY, SEED, ParcelEncryptor, has_keys
from courier.parcel.made_anew import MadeAnew
from courier.parcel.parity_files import make_parity
from courier.parcel.patches import PATCHES, Contents, ParcelContents
from courier.parcel.recipes import PACKS, RECIPES, ArchiveRecipe, ComposedFiles, Encryptor, parity_name, recipe_path
from courier.parcel.states import SentEvent, SentState, VolumeEvent, VolumeState
from courier.parcel.transitions import begin_sent, sent_event, sent_volume_event
from courier.parcel.volume_layout import ParcelLayout, lay_out
from courier.progress import SILENT, Progress
from courier.sending import partial_volumes
from courier.sending.archive_builder import ArchiveBuilder, BuiltArchive, member_records
from courier.sending.delta_patches import drop_lines, keep_patches
from courier.sending.left_over import sweep_parcels
from courier.sending.outgoing_parcel import (
    BUILD_SETTINGS,
    CARD,
    CONTENTS,
    PLAN,
    BuildSettings,
    OutgoingParcel,
    blocks_name,
    is_signed,
    packing_name,
    signed_now,
)
from courier.sending.plan import ParcelPlan, write_contents
from courier.sending.signed_size import sign_sized
from courier.sending.volume_source import fixed_sizes
from courier.site.catalog import packages, parcels
from courier.site.catalog.parcels import SentParcel, SentVolume
from courier.site.clock import now
from courier.site.home import Site
from courier.text import plural
from formats.documents import packing as packing_doc
from formats.documents.contents import MemberRecord
from formats.documents.packing import PackingList, TableRef
from formats.envelope import Envelope
from formats.names import MAX_PARCELS, is_parcel, parcel_id

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from sqlalchemy import Connection

    from courier.sending.workers.spread import Workers


def build_parcel(
    site: Site, plan: ParcelPlan, progress: Progress = SILENT, *, executor: Executor | None = None
) -> OutgoingParcel:
    """Build a planned parcel. With an ``executor`` its workers do most of it; see `courier.sending.workers`.

    ``progress`` is told the bytes of content when they are read and when they are in
    their archives, then those of parity when they are made and when they are read back.

    Raises `NoSpaceError` before the first byte if the disk cannot hold it, `DamagedError` if stored content is bad, and
    `RefusedError` if the clock and the signing key do not agree or no parcel number is left.
    """
    site.check_key()
    out, purpose, needed = site.home / "parcels" / "out", "building the parcel", building_bytes(plan)
    with site.locked(out / "lock"), naming_space(out, lambda: needed, purpose=purpose):
        sweep_parcels(site, out)
        begun = begun_folder(site, plan)
        require_space(site.home, max(0, needed - _packed_bytes(begun)), purpose=purpose)
        folder = begun or begin_folder(site, plan)
        record_planned(site, plan, folder.name)
        encryptor = ParcelEncryptor.in_folder(folder, plan.recipients) if plan.recipients else None
        if plan.delta is not None:
            BaseContents(len(plan.archives), plan.delta.base_contents()).save(folder)
            plan = replace(plan, delta=replace(plan.delta, recipes=keep_patches(plan.delta.recipes, folder)))
        contents = ParcelContents(site.store, folder / PATCHES)
        builder = ArchiveBuilder(folder, contents, level=plan.level, encryptor=encryptor, progress=progress)
        workers = None if executor is None else _workers(site, plan, folder, executor)
        if workers:
            workers.build(plan.archives, progress)
        progress.begin("Building", 2 * plan.content_bytes)
        built = builder.build(plan.archives)
        if isinstance(plan.archives, MadeAnew):
            plan.archives.forget()
        packing = _lay_out(site, plan, folder, built, encryptor, workers, progress)
        drop_lines(folder)
        # All that takes long is done: the key may have been renewed meanwhile, and the new one is valid from now on.
        packing = replace(packing, created_ns=now())
        site.catalogue.check_held()  # no packing list is put in place by who lost the folder to another
        envelope = sign_packing(site, folder, packing)
        record_built(site, plan, packing, envelope.sha256)
    return signed_now(site, packing, envelope)


def _workers(site: Site, plan: ParcelPlan, folder: Path, executor: Executor) -> Workers:
    from courier.sending.workers.spread import Workers
    from courier.sending.workers.tasks import BuildPlace
    from courier.site.workers.work_place import WorkPlace

    at = WorkPlace.in_folder(site, folder)
    place = BuildPlace(at=at, folder=folder, level=plan.level, recipients=tuple(plan.recipients))
    return Workers(executor=executor, place=place)


def building_bytes(plan: ParcelPlan) -> int:
    """Most bytes of disk that a build takes: compressed members, parity and tables. Stored members are not copied."""
    preview = plan.preview
    kept = plan.packed_bytes + (0 if plan.delta is None else plan.delta.patch_bytes)
    return kept + sum(file.size for file in preview.parity) + preview.contents.size + preview.blocks.size


def _packed_bytes(begun: Path | None) -> int:
    """Bytes of the packs that a killed build finished."""
    if begun is None:
        return 0
    return sum(path.stat().st_size for path in (begun / PACKS).glob("*"))


def begun_folder(site: Site, plan: ParcelPlan) -> Path | None:
    """The folder, named by the parcel's ID, in which the same plan was begun and not finished."""
    root = make_folder(site.home / "parcels" / "out")
    with site.catalogue.reading() as connection:
        known = {sent.parcel for sent in parcels.all_sent(connection) if sent.state != SentState.PLANNED}
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and is_parcel(folder.name) and folder.name not in known:
            if (folder / PLAN).exists() and (folder / PLAN).read_text() == plan.digest:
                # Volumes were begun under its keys, which must never encrypt anything else; and archives that were
                # finished under keys that are gone are not those that new keys would make.
                if partial_volumes.is_noted(folder) or not (has_keys(folder, plan.recipients) or is_signed(folder)):
                    empty_folder(folder)
                return folder
            if not is_signed(folder):
                # Another plan that was begun and given up: nothing signed is lost.
                partial_volumes.remove(folder)
                remove_tree(folder)
                with site.catalogue.writing() as connection:
                    parcels.forget_sent(connection, folder.name)
    return None


def empty_folder(folder: Path) -> None:
    """Clear away what a killed build left, its keys and its partial volumes with it; only the plan stays."""
    for name in (SEED, PARCEL_KEY):
        (folder / name).unlink(missing_ok=True)
    partial_volumes.remove(folder)
    for path in folder.iterdir():
        if path.name not in (PLAN, partial_volumes.PARTIAL):
            remove_tree(path)
    make_folder(folder / RECIPES)
    make_folder(folder / PACKS)
    # Last: where this is killed before, it is done again.
    partial_volumes.forget(folder)


def begin_folder(site: Site, plan: ParcelPlan) -> Path:
    """A folder to build the plan in, named by a new parcel ID."""
    with site.catalogue.writing() as connection:
        number = packages.read_counter(connection, "parcel") + 1
        while number <= MAX_PARCELS and site.outgoing(parcel_id(site.code, number)).exists():
            # Of a parcel in a catalogue that was lost.
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


def _package_names(plan: ParcelPlan) -> str:
    return ", ".join(f"{stored.package}:{stored.version}" for stored in plan.packages)


def record_planned(site: Site, plan: ParcelPlan, parcel: str) -> None:
    """Record that a parcel is being built, unless a run that was killed did so."""
    request = plan.request
    planned = SentParcel(
        parcel=parcel,
        state=SentState.PLANNED,
        priority=request.priority,
        created_ns=now(),
        build="",
        packing_list="",
        edition=0,
        spares=request.spares,
        redundancy=str(request.redundancy),
        supersedes=plan.supersedes,
    )
    text = f"{_package_names(plan)} for {request.media} media"
    with site.catalogue.writing() as connection:
        if parcels.find_sent(connection, parcel) is None:
            begin_sent(connection, site, SentEvent.PLANNED, planned, request.destinations, text)


def _lay_out(
    site: Site,
    plan: ParcelPlan,
    folder: Path,
    built: Sequence[BuiltArchive],
    encryptor: ParcelEncryptor | None,
    workers: Workers | None,
    progress: Progress,
) -> PackingList:
    """Lay the built archives out and add their parity; return the packing list."""
    archives = [(archive.size, archive.sha256) for archive in built]
    members = partial(_member_records, folder)
    layout = lay_out_archives(site, plan, folder, archives, members, encryptor, created_ns=now())
    digests = b"".join(archive.blocks for archive in built)
    return add_parity(
        folder, layout.packing, digests, ParcelContents(site.store, folder / PATCHES), encryptor, progress, workers
    )


def lay_out_archives(
    site: Site,
    plan: ParcelPlan,
    folder: Path,
    archives: Sequence[tuple[int, str]],
    members: Callable[[int], Sequence[MemberRecord]],
    encryptor: ParcelEncryptor | None,
    *,
    created_ns: int,
) -> ParcelLayout:
    """Write the contents of the parcel, and lay its ``archives`` (size, SHA-256) out; ``members`` as `write_contents`
    has them.
    """
    request = replace(plan.request, parcel=folder.name, created_ns=created_ns)
    contents = _write_contents(site, plan, folder, members, encryptor)
    settings = BuildSettings(level=plan.level, recipients=plan.recipients)
    write_atomic(folder / BUILD_SETTINGS, settings.encode())
    # The layout counts with the card that goes on the media, whatever card the site has later.
    card = site.card_envelope
    write_atomic(folder / CARD, card)
    fixed = fixed_sizes(card=len(card), contents=contents.size)
    return lay_out(request, archives, contents=contents, fixed=fixed, planned=plan.preview)


def _write_contents(
    site: Site,
    plan: ParcelPlan,
    folder: Path,
    members: Callable[[int], Sequence[MemberRecord]],
    encryptor: ParcelEncryptor | None,
) -> TableRef:
    """Write the contents of the parcel."""
    path = folder / CONTENTS
    with atomic_file(path) as out:
        if encryptor is None:
            write_contents(site, out, folder.name, plan, members)
        else:
            with encryptor.wrap(out, 0) as encrypted:
                write_contents(site, encrypted, folder.name, plan, members)
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    return TableRef(size=path.stat().st_size, sha256=digest)


def _member_records(folder: Path, number: int) -> list[MemberRecord]:
    """The members of a finished archive, in the contents."""
    recipe = ArchiveRecipe.load(folder, number)
    if recipe is None:
        raise DamagedError(
            f"{recipe_path(folder, number)}, how archive {number} is made, was just written and cannot be read again",
            hint="check this computer's disk, and run the same courier parcel create again: it goes on",
            code=Code.BUILD_DAMAGED,
        )
    return member_records(recipe.plan, recipe.columns.sizes)


def add_parity(
    folder: Path,
    packing: PackingList,
    archive_digests: bytes,
    contents: Contents,
    encryptor: Encryptor | None,
    progress: Progress = SILENT,
    workers: Workers | None = None,
) -> PackingList:
    """Make the parity files and the block table of a layout; return its packing list with all digests.

    ``archive_digests`` are those of the blocks of the archives, 32 bytes each.
    """
    make_folder(folder / parity_name(packing.edition))
    files = ComposedFiles(
        folder,
        packing,
        open_content=contents.open_content,
        lacking=contents.lacking,
        small=contents.small,
        encryptor=lambda: encryptor,
    )
    if workers is not None:
        workers.make_parity(packing, progress)
    made = make_parity(packing, files, progress, made=workers is not None)
    table = archive_digests + b"".join(digests for _, digests in made)
    write_atomic(folder / blocks_name(packing.edition), table)
    return replace(
        packing,
        parity=tuple(replace(file, sha256=sha256) for file, (sha256, _) in zip(packing.parity, made, strict=True)),
        blocks=TableRef(size=len(table), sha256=hashlib.sha256(table).hexdigest()),
    )


def sign_packing(site: Site, folder: Path, packing: PackingList) -> Envelope:
    """Sign a packing list and write it into the parcel's folder."""
    envelope = sign_sized(site, packing.payload(), packing_doc.TYPE)
    write_atomic(folder / packing_name(packing.edition), envelope.encode())
    return envelope


def record_built(site: Site, plan: ParcelPlan, packing: PackingList, digest: str) -> None:
    """Record in one transaction that a parcel is built, whose signed packing list has this ``digest``."""
    counts = f"{plural(len(packing.archives), 'archive')}, {plural(packing.volumes, 'volume')}"
    text = f"{_package_names(plan)} for {', '.join(packing.destinations)}: {counts}"
    if plan.anyway:
        text += f" (anyway: {plan.anyway}{''.join(f'; although {one}' for one in plan.overridden)})"
    build = packing.build
    with site.catalogue.writing() as connection:
        sent_event(
            connection,
            site,
            packing.parcel,
            SentEvent.BUILT,
            text,
            created_ns=packing.created_ns,
            build=build,
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
        record_planned_volumes(connection, site, packing)
        record(connection, site, packing.parcel, Happened(event="packed", note=f"build {build}"))


def record_planned_volumes(connection: Connection, site: Site, packing: PackingList) -> None:
    """Record every volume of an edition as planned."""
    for number in range(1, packing.volumes + 1):
        volume = SentVolume(
            parcel=packing.parcel,
            edition=packing.edition,
            number=number,
            state=VolumeState.PLANNED,
            layout="",
            path="",
            bytes=packing.volume_bytes(number),
            written_ns=None,
        )
        sent_volume_event(connection, site, volume, VolumeEvent.PLANNED)
