"""Building a parcel and writing its volumes in one reading of its content (decision 0041).

Its volumes are written with their payload first, whose digests are taken on the way, and with exact places kept for the
documents. Only when the last block of the last volume is written is anything of the parcel signed and recorded; then
the documents are put in their places. So there are two ends:

* Before that moment the build is void when it stops. Its keys are destroyed, its volumes are removed, and no command
  would take them for volumes. A run that was killed is cleared away by the same command, which begins anew.
* After it, the parcel is built like any other, and ``courier parcel write`` makes volumes that are not complete. The
  same command does so by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import CourierError, RefusedError, StoppedError
from courier.files import explain_os, remove_tree, require_space
from courier.media.checked_stream import SourceFile
from courier.media.reading import Layout
from courier.media.volume_in_making import VolumeInMaking
from courier.parcel.encryption import PARCEL_KEY, SEED, ParcelEncryptor
from courier.parcel.patches import PATCHES, ParcelContents
from courier.parcel.states import SentState
from courier.parcel.volume_layout import ParcelLayout, VolumeSpace
from courier.progress import SILENT, Progress
from courier.sending import partial_volumes
from courier.sending.archive_builder import member_records
from courier.sending.archive_stream import ArchiveStreams
from courier.sending.build import (
    add_parity,
    begin_folder,
    begun_folder,
    building_bytes,
    empty_folder,
    lay_out_archives,
    record_built,
    record_planned,
    sign_packing,
)
from courier.sending.drives import Drives
from courier.sending.left_over import sweep_parcels
from courier.sending.one_pass_rules import check_one_pass, two_steps
from courier.sending.outgoing_parcel import CARD, PLAN, OutgoingParcel, find_outgoing, open_outgoing, signed_now
from courier.sending.plan import ParcelPlan
from courier.sending.planned_archives import ArchivesByIndex
from courier.sending.read_back_beside import ReadBackBeside
from courier.sending.signed_size import envelope_of_size
from courier.sending.verified_run import BlockTables
from courier.sending.volume_source import volume_documents, volume_source
from courier.sending.write import (
    WriteReport,
    WrittenVolume,
    custody_entry,
    plan_writing,
    record_written,
    write_volumes,
)
from courier.site.catalog import parcels
from courier.site.clock import now
from courier.site.home import Site
from formats.documents import packing as packing_doc
from formats.documents.contents import MemberRecord
from formats.documents.packing import PackingList

_UNKNOWN = "0" * 64
"""Stands for a digest that is not known yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnePassResult:
    """A parcel that was built and written. ``went_on``: an earlier run had built it, and was stopped before its end."""

    parcel: OutgoingParcel
    report: WriteReport
    went_on: bool = False


def create_and_write(
    site: Site,
    plan: ParcelPlan,
    *,
    layout: Layout,
    outs: Sequence[Path],
    progress: Progress = SILENT,
    written: Callable[[WrittenVolume], None] = lambda _: None,
) -> OnePassResult:
    """Build a planned parcel, and write its volumes as ``layout`` to the folders ``outs``, in one reading.

    ``progress`` is told the bytes of the volumes as they are written, and again as they are read back; ``written`` each
    volume. Raises `RefusedError` for a parcel that cannot be written so, `NoSpaceError` before the first byte unless
    all volumes have room at once, `DamagedError` where content is not what was added or a medium does not hold what
    was written; see also `build_parcel`.
    """
    check_one_pass(plan, layout, outs)
    site.check_key()
    out = site.home / "parcels" / "out"
    with site.locked(out / "lock"):
        sweep_parcels(site, out)
        begun = _built_before(site, plan)
        if begun is None:
            making = _OnePass(site, plan, layout=layout, outs=outs, progress=progress, written=written)
            return making.run()
    parcel = open_outgoing(site, begun)
    report = write_volumes(
        site, plan_writing(site, parcel, layout=layout, outs=outs), progress=progress, written=written
    )
    return OnePassResult(parcel=parcel, report=report, went_on=True)


def _built_before(site: Site, plan: ParcelPlan) -> str | None:
    """The parcel that a run of the same plan has built, and was stopped before all its volumes were complete."""
    with site.catalogue.reading() as connection:
        built = [sent.parcel for sent in parcels.all_sent(connection) if sent.state == SentState.BUILT]
    for parcel in built:
        folder = site.outgoing(parcel)
        with suppress(FileNotFoundError):
            if partial_volumes.is_noted(folder) and (folder / PLAN).read_text() == plan.digest:
                return parcel
    return None


class _OnePass:
    """One run: the parcel's folder, the layout with its places, and the volumes in the making."""

    def __init__(
        self,
        site: Site,
        plan: ParcelPlan,
        *,
        layout: Layout,
        outs: Sequence[Path],
        progress: Progress,
        written: Callable[[WrittenVolume], None],
    ) -> None:
        self._site = site
        self._plan = plan
        self._layout = layout
        self._outs = outs
        self._progress = progress
        self._written = written
        self._volumes: dict[int, VolumeInMaking] = {}

    def run(self) -> OnePassResult:
        """Do it; see `create_and_write`."""
        site, plan = self._site, self._plan
        folder = self._empty_folder()
        record_planned(site, plan, folder.name)
        with site.locked(folder / "lock"):
            with self._void_unless_built(folder):
                encryptor = ParcelEncryptor.in_folder(folder, plan.recipients) if plan.recipients else None
                laid_out = self._lay_out(folder, encryptor)
                provisional = self._provisional(folder, laid_out.packing)
                spaces = {space.number: space for space in laid_out.spaces}
                self._begin_volumes(provisional, spaces)
                streams = self._write_payload(provisional, spaces, encryptor)
                site.catalogue.check_held()  # see `build_parcel`
                parcel = self._sign(folder, laid_out.packing, streams)
            report = self._complete(parcel, spaces)
        return OnePassResult(parcel=parcel, report=report)

    def _empty_folder(self) -> Path:
        """The folder to build in. What a killed run left in it is cleared away, its keys with it."""
        site, plan = self._site, self._plan
        require_space(site.home, building_bytes(plan), purpose="building the parcel")
        begun = begun_folder(site, plan)
        if begun is None:
            return begin_folder(site, plan)
        empty_folder(begun)
        return begun

    def _lay_out(self, folder: Path, encryptor: ParcelEncryptor | None) -> ParcelLayout:
        """The layout, complete but for the digests of the archives: these are as large as they were planned."""
        plan = self._plan
        archives = [(file.size, _UNKNOWN) for file in plan.preview.archives]
        planned = ArchivesByIndex(plan.archives)

        def members(number: int) -> list[MemberRecord]:
            archive = planned.get(number - 1)
            return member_records(archive, [member.length for member in archive.members])

        # The images and the restore pages have this time, so it cannot be that of the signature.
        created_ns = self._site.signing_time(now())
        return lay_out_archives(self._site, plan, folder, archives, members, encryptor, created_ns=created_ns)

    def _provisional(self, folder: Path, packing: PackingList) -> OutgoingParcel:
        """The parcel as it will be, with documents of the very sizes that the signed ones will have."""
        with self._site.catalogue.reading() as connection:
            sent = replace(find_outgoing(connection, folder.name), packing_list=_UNKNOWN)
        envelope = envelope_of_size(self._site, packing.payload(), packing_doc.TYPE)
        return OutgoingParcel(sent=sent, packing=packing, envelope=envelope, folder=folder, volumes=())

    def _begin_volumes(self, parcel: OutgoingParcel, spaces: Mapping[int, VolumeSpace]) -> None:
        """Choose the place of each volume, and note where it is in the making."""
        packing = parcel.packing
        drives = Drives(parcel, self._layout, self._outs, lambda _: False)
        drives.require_free_places(list(spaces))
        for number, target in drives.places({number: space.bytes for number, space in spaces.items()}).items():
            self._volumes[number] = VolumeInMaking(
                target,
                self._layout,
                label=packing.volume_label(number),
                publisher=f"SITE {packing.source}",
                made_ns=packing.created_ns,
            )
        partial_volumes.note(parcel.folder, [volume.temporary for volume in self._volumes.values()])

    def _write_payload(
        self, parcel: OutgoingParcel, spaces: Mapping[int, VolumeSpace], encryptor: ParcelEncryptor | None
    ) -> ArchiveStreams:
        """Write the archives to their volumes; while one volume is read back, the next is written."""
        site, plan, packing = self._site, self._plan, parcel.packing
        contents = ParcelContents(site.store, parcel.folder / PATCHES)
        tables = BlockTables(site.store, plan.packages)
        planned = ArchivesByIndex(plan.archives)
        self._progress.begin("Building and writing", 2 * sum(space.bytes for space in spaces.values()))
        with ThreadPoolExecutor(1, "verify") as pool, ReadBackBeside(self._progress) as proofs:
            streams = ArchiveStreams(parcel.folder, contents, tables, encryptor=encryptor, pool=pool)
            for number, making in self._volumes.items():
                places = volume_documents(site, parcel, spaces[number], sign=False)
                payload = [
                    SourceFile(
                        path=packing.path(index),
                        size=packing.archives[index].size,
                        sha256=_UNKNOWN,
                        open=partial(_open_archive, streams, planned, index, packing.archives[index].size),
                    )
                    for index in packing.on_volume(number)
                ]
                making.write({file.path: file.size for file in places}, payload, self._progress)
                proofs.begin(making)
            proofs.finish()
        return streams

    def _sign(self, folder: Path, packing: PackingList, streams: ArchiveStreams) -> OutgoingParcel:
        """Sign and record the parcel, now that the last block of it is written and read back."""
        site, plan = self._site, self._plan
        site.check_key()
        if site.card_envelope != (folder / CARD).read_bytes():
            raise RefusedError(
                f"the card of {site.code} was changed while the volumes were written, which name the old one",
                hint="run the same command again",
                code=Code.KEY_NOT_VALID,
            )
        built = [streams.built[file.number] for file in packing.archives]
        packing = replace(
            packing,
            archives=tuple(replace(file, sha256=one.sha256) for file, one in zip(packing.archives, built, strict=True)),
        )
        contents = ParcelContents(site.store, folder / PATCHES)
        packing = add_parity(folder, packing, b"".join(one.blocks for one in built), contents, None)
        envelope = sign_packing(site, folder, packing)
        record_built(site, plan, packing, envelope.sha256)
        return signed_now(site, packing, envelope)

    def _complete(self, parcel: OutgoingParcel, spaces: Mapping[int, VolumeSpace]) -> WriteReport:
        """Put the documents of each volume in their places, and record it as written."""
        site, result = self._site, list[WrittenVolume]()
        files = parcel.files(site)
        self._progress.begin("Completing the volumes", 2 * sum(one.document_bytes for one in self._volumes.values()))
        with custody_entry(site, parcel, result), self._written_later(parcel):
            for number, making in self._volumes.items():
                source = volume_source(site, parcel, spaces[number], files)
                size = making.complete(source, self._progress)
                one = WrittenVolume(
                    number=number,
                    of=parcel.packing.volumes,
                    path=making.target,
                    bytes=size,
                    layout=self._layout,
                    kept=False,
                )
                record_written(site, parcel, one, last=number == parcel.packing.volumes)
                result.append(one)
                self._written(one)
        partial_volumes.forget(parcel.folder)
        with site.catalogue.reading() as connection:
            return WriteReport(volumes=tuple(result), state=find_outgoing(connection, parcel.sent.parcel).state)

    @contextmanager
    def _void_unless_built(self, folder: Path) -> Iterator[None]:
        """Where the block ends with an error, destroy the keys of the build and all that was written of its volumes."""
        try:
            yield
        except BaseException as error:
            if self._is_built(folder.name):
                raise
            begun = [volume for volume in self._volumes.values() if volume.is_begun]
            for name in (SEED, PARCEL_KEY):
                (folder / name).unlink(missing_ok=True)
            left = _give_up(begun)
            if not left:
                empty_folder(folder)
                remove_tree(folder)
                with self._site.catalogue.writing() as connection:
                    parcels.forget_sent(connection, folder.name)
            known = explain_os(error) if isinstance(error, OSError) else error
            if isinstance(error, KeyboardInterrupt):
                known = StoppedError("stopped", hint="the same command begins anew")
            if not isinstance(known, CourierError):
                raise
            if begun:
                known.message += self._void_text(folder.name, begun, left)
                known.args = (known.message,)
            raise known from None

    def _is_built(self, parcel: str) -> bool:
        with self._site.catalogue.reading() as connection:
            sent = parcels.find_sent(connection, parcel)
        return sent is not None and sent.state != SentState.PLANNED

    def _void_text(self, parcel: str, begun: Sequence[VolumeInMaking], left: Sequence[Path]) -> str:
        """What became of the build, as the end of an error's message."""
        key = ", and its keys are destroyed" if self._plan.recipients else ""
        names = ", ".join(volume.target.name for volume in begun)
        what = f"delete it: {', '.join(map(str, left))}" if left else "it was removed"
        return f". {parcel} is void{key}: what was written of {names} is unusable, {what}"

    @contextmanager
    def _written_later(self, parcel: OutgoingParcel) -> Iterator[None]:
        """Where a medium fails once the parcel is built, say how its volumes are written; remove those not complete."""
        try:
            yield
        except (CourierError, OSError) as error:
            _give_up(self._volumes.values())
            known = explain_os(error) if isinstance(error, OSError) else error
            how = two_steps(parcel.sent.parcel, self._layout, self._outs)
            known.hint = f"{known.hint}. The parcel is built; the volumes that are not written yet: {how}"
            raise known from None


def _give_up(volumes: Collection[VolumeInMaking]) -> list[Path]:
    """Remove what there is of volumes; return the places of those that cannot be removed now."""
    for volume in volumes:
        with suppress(OSError):
            volume.give_up()
    return [volume.temporary for volume in volumes if not volume.is_gone()]


def _open_archive(streams: ArchiveStreams, planned: ArchivesByIndex, index: int, size: int) -> BinaryIO:
    return streams.open(planned.get(index), size)
