"""Answering a repair request: exactly the requested blocks, in signed parts, up to the limit that the site allows.

A part has the date of its request and is signed by the present key, so that the same request makes the same bytes: an
answer that was stopped goes on, and nothing is queued twice. Blocks of a discarded parcel are made again from the
store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError
from courier.files import make_folder, naming_space, path_text, require_space, sweep, write_atomic
from courier.parcel.base_contents import BaseContent, BaseContents
from courier.parcel.block_table import PART_SUFFIX
from courier.parcel.recipes import ArchiveRecipe, compose
from courier.parcel.transitions import log_entry
from courier.progress import SILENT, Progress
from courier.sending.missing_files import make_packs
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.sending.repair_request import CheckedRequest, check_request
from courier.site.catalog import messages, parcels, sites
from courier.site.home import Site
from courier.site.outbox import enqueue
from courier.site.scratch import scratch
from courier.text import plural
from formats.blocks import BLOCK, DIGEST, BlockTable
from formats.documents.repair import PART_BYTES, PART_TYPE, REQUEST_KIND, RepairPart, RepairRequest, file_blocks
from formats.envelope import Envelope, parse_envelope
from formats.errors import FormatError

REQUESTS = "requests"
"""Name of the folder, in that of a parcel, with the requests that wait for the operator."""


def take_repair_request(site: Site, request: RepairRequest, envelope: Envelope) -> str:
    """Answer a request that came by network or, above the limit, keep it for the operator.

    Returns what the asking site is told if its request waits for the operator, else an empty text.
    """
    asked = check_request(site, request, envelope, where=REQUEST_KIND.title)
    waiting = _waiting_bytes(site, asked.request.site)
    limit = site.settings.repair_limit
    if asked.bytes + waiting > limit:
        much = f"{plural(asked.request.count, 'block')}, {asked.bytes:,} bytes: more than the {limit:,}"
        kept = _keep(asked)
        _log(
            site,
            asked,
            f"{asked.request.site} asks for {much} that are sent without asking. Instead, {asked.instead}; or send "
            f"them: courier parcel answer {path_text(kept)} --yes",
        )
        return (
            f"{much} that {site.code} sends without asking a person: its operator decides. Call there: the blocks, or "
            f"{asked.which} shipped again"
        )
    try:
        queue_answer(site, asked)
    except DamagedError as error:
        # The asking site is told the message alone.
        text = f"{error.message}; everything anew, at {site.code}: {asked.full}"
        raise DamagedError(text, hint=error.hint, code=error.code) from None
    return ""


def _waiting_bytes(site: Site, code: str) -> int:
    """Bytes of blocks in answers that a site has not acknowledged yet: asking often must not fill our disk."""
    with site.catalogue.reading() as connection:
        waiting = [*messages.queued(connection, code), *messages.in_state(connection, "out", "delivered")]
    return sum(one.size for one in waiting if one.type == PART_TYPE and one.site == code) * 3 // 4


def _keep(asked: CheckedRequest) -> Path:
    """Keep a request for the operator. Only the newest of a site is kept: it asks for everything the site misses."""
    folder = make_folder(asked.parcel.folder / REQUESTS)
    sweep(folder)  # requests are taken one after another, under the lock of the channel
    for older in folder.glob(f"{asked.request.site}-*"):
        older.unlink()
    path = folder / f"{asked.request.site}-{asked.digest[:16]}.request"
    write_atomic(path, asked.envelope)
    return path


def waiting_requests(site: Site, parcel: OutgoingParcel) -> list[tuple[Path, RepairRequest]]:
    """(file, request) of each repair request that waits for the operator, from sites that have not confirmed since."""
    with site.catalogue.reading() as connection:
        open_ = {to.site for to in parcels.destinations(connection, parcel.sent.parcel) if to.receipt is None}
    found = []
    for path in sorted((parcel.folder / REQUESTS).glob("*.request")):
        request = RepairRequest.parse(parse_envelope(path.read_bytes()).payload)
        if request.site in open_:
            found.append((path, request))
    return found


def check_limit(site: Site, asked: CheckedRequest, *, yes: bool) -> None:
    """Raise `RefusedError` for an answer above the limit, unless the operator said ``yes``.

    It says what shipping the volumes again would take instead.
    """
    limit = site.settings.repair_limit
    if asked.bytes > limit and not yes:
        raise RefusedError(
            f"{plural(asked.request.count, 'block')}, {asked.bytes:,} bytes: more than the {limit:,} that are sent "
            f"without asking; {asked.cost}",
            hint=f"{asked.reissue}; or send the blocks all the same: --yes",
            code=Code.OVER_LIMIT,
        )


def queue_answer(site: Site, asked: CheckedRequest, progress: Progress = SILENT) -> int:
    """Queue the parts of an answer for the channel; return how many. Raises `RefusedError` if there is no address.

    ``progress`` is told the bytes of blocks that are queued.
    """
    code = asked.request.site
    with site.catalogue.reading() as connection:
        if not sites.addresses(connection, code):
            raise RefusedError(
                f"there is no network address to {code}",
                hint="write the answer to files: courier parcel answer REQUEST --out FOLDER",
                code=Code.NO_ADDRESS,
            )
    count = 0
    progress.begin(f"Answering {asked.request.site}", asked.bytes)
    for part in _parts(site, asked):
        envelope = site.sign(part.payload(), PART_TYPE)
        with site.catalogue.writing() as connection:
            enqueue(connection, envelope, code, priority=asked.parcel.packing.priority)
        count += 1
        progress(len(part.data))
    _answered(site, asked, f"{plural(count, 'part')} queued for {code}")
    return count


def write_answer(site: Site, asked: CheckedRequest, folder: Path, progress: Progress = SILENT) -> list[Path]:
    """Write the parts of an answer into a folder; parts that are there already are kept. Raises `NoSpaceError`.

    ``progress`` is told the bytes of blocks that are written.
    """
    make_folder(folder, readable=True)
    sweep(folder)
    require_space(folder, asked.bytes * 3 // 2, purpose="the answer")
    request, paths = asked.request, []
    progress.begin(f"Answering {request.site}", asked.bytes)
    for part in _parts(site, asked):
        number = f"{part.part:0{len(str(part.of))}d}of{part.of}"
        path = folder / f"{request.parcel}_{request.site}_{asked.digest[:8]}_{number}{PART_SUFFIX}"
        data = site.sign(part.payload(), PART_TYPE).encode()
        if not (path.exists() and path.read_bytes() == data):
            with naming_space(folder, lambda: asked.bytes * 3 // 2, purpose="the answer"):
                write_atomic(path, data, readable=True)
        paths.append(path)
        progress(len(part.data))
    _answered(site, asked, f"{plural(len(paths), 'part')} written to {path_text(folder)}")
    return paths


def _answered(site: Site, asked: CheckedRequest, text: str) -> None:
    for kept in (asked.parcel.folder / REQUESTS).glob(f"{asked.request.site}-{asked.digest[:16]}.request"):
        kept.unlink()
    _log(site, asked, f"{plural(asked.request.count, 'block')} for {asked.request.site}, {asked.bytes:,} bytes: {text}")


def _log(site: Site, asked: CheckedRequest, text: str) -> None:
    with site.catalogue.writing() as connection:
        parcels.write_log(connection, log_entry(site, asked.request.parcel, "asked", text))


def _pieces(asked: CheckedRequest) -> list[list[tuple[int, int]]]:
    """The requested blocks, (file index, block), as they are divided into parts."""
    pieces: list[list[tuple[int, int]]] = [[]]
    filled = 0
    for file in asked.request.files:
        for block in file.blocks():
            length = asked.length(file.archive, block)
            if pieces[-1] and filled + length > PART_BYTES:
                pieces.append([])
                filled = 0
            pieces[-1].append((file.archive - 1, block))
            filled += length
    return pieces


def _parts(site: Site, asked: CheckedRequest) -> Iterator[RepairPart]:
    request, pieces = asked.request, _pieces(asked)
    issued = max(request.issued_ns, site.card.keys[0].valid_from_ns)
    with Blocks(site, asked.parcel, asked.table) as blocks:
        for number, piece in enumerate(pieces, 1):
            yield RepairPart(
                parcel=request.parcel,
                build=request.build,
                source=site.code,
                site=request.site,
                issued_ns=issued,
                request=asked.digest,
                part=number,
                of=len(pieces),
                files=file_blocks((index + 1, block) for index, block in piece),
                data=b"".join(blocks.read(index, block) for index, block in piece),
            )


class Blocks:
    """Good blocks of a parcel's archives; a pack that was discarded is made again for as long as it is needed."""

    def __init__(self, site: Site, parcel: OutgoingParcel, table: BlockTable) -> None:
        self._site = site
        self._parcel = parcel
        self._table = table
        self._bases = BaseContents.load(parcel.folder, len(parcel.packing.archives))
        self._files = parcel.files(site)
        self._open: tuple[int, BinaryIO] | None = None
        self._made_index = -1

    def __enter__(self) -> Blocks:
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(scratch(self._site, self._parcel.folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._release()
        self._stack.close()

    def read(self, index: int, block: int) -> bytes:
        """A block that has its signed digest; raises `DamagedError` if it cannot be had."""
        base = self._bases.find(index + 1)
        if base is not None:
            return self._base_block(base, block)
        while True:
            try:
                source = self._archive(index)
                source.seek(block * self._table.block_size)
                data = source.read(self._table.length(index, block))
            except (OSError, FormatError) as error:
                raise self._unreadable(index, block, f": {error}") from None
            if self._table.is_good(index, block, data):
                return data
            recipe = self._files.recipe(index)
            if recipe is None or not recipe.pack or self._made_index == index:
                raise self._unreadable(index, block, "")
            # Its pack may be damaged on our disk: it is made again, once.
            self._release()
            self._open = index, self._made_again(recipe)

    def _base_block(self, base: BaseContent, block: int) -> bytes:
        """A block of a content that the parcel builds on, as it is in the store."""
        store, digest = self._site.store, slice(block * DIGEST, (block + 1) * DIGEST)
        with suppress(DamagedError), store.open_content(base.sha256) as source:
            source.seek(block * BLOCK)
            data = source.read(base.length(block))
            if hashlib.sha256(data).digest() == store.block_digests(base.sha256, base.size)[digest]:
                return data
        raise DamagedError(
            f"{self._parcel.sent.parcel}: content {base.sha256} that it builds on is missing or damaged here too",
            hint="courier package verify names damaged content: add it again; or send it without --delta, with --full",
            code=Code.NO_CONTENT,
        )

    def _unreadable(self, index: int, block: int, why: str) -> DamagedError:
        return DamagedError(
            f"{self._parcel.sent.parcel}: block {block} of archive {index + 1} is not what was signed any more{why}",
            hint="courier package verify names damaged content: add it again; and check this computer's disk",
        )

    def _archive(self, index: int) -> BinaryIO:
        if self._open is None or self._open[0] != index:
            self._release()
            self._open = index, self._compose(index)
        return self._open[1]

    def _compose(self, index: int) -> BinaryIO:
        if "pack" not in self._files.missing(index):
            return self._files.open(index)
        recipe = self._files.recipe(index)
        return self._files.open(index) if recipe is None else self._made_again(recipe)

    def _made_again(self, recipe: ArchiveRecipe) -> BinaryIO:
        self._made_index = recipe.number - 1
        require_space(self._folder, recipe.pack, purpose="compressing an archive's members again")
        make_packs(self._site, self._parcel, [recipe], self._folder)
        return compose(recipe, self._folder, self._parcel.contents(self._site).open_content, self._parcel.encryptor())

    def _release(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None
