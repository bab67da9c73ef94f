"""Rebuilding the catalogue's records of parcels from their media, after the catalogue was lost.

Notices, definitions and receipts came by network and are not on the media: the other site sends them again
(``courier parcel ship``). `courier.sending.rebuild_sent` and `courier.receiving.rebuild_received` rebuild the records
of either side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, RefusedError
from courier.files import TEMP, make_folder, sweep
from courier.media.finding import Note, find_all_media
from courier.media.reading import Medium
from courier.parcel.volume_documents import VolumeDocuments
from courier.parcel.volume_reader import VolumeReader
from courier.site.clock import now
from courier.site.home import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """What was rebuilt from one medium.

    ``path``: the medium; ``side``: sender or receiver. ``new``: the catalogue did not know its parcel. ``notes``: what
    could not be rebuilt.
    """

    parcel: str
    number: int
    of: int
    path: str
    side: str
    new: bool
    notes: tuple[str, ...]


def rebuilt_from(documents: VolumeDocuments, medium: Medium, side: str, new: bool, notes: tuple[str, ...]) -> Rebuilt:
    """The result for one medium."""
    return Rebuilt(
        parcel=documents.packing.parcel,
        number=documents.label.number,
        of=documents.label.of,
        path=medium.name,
        side=side,
        new=new,
        notes=notes,
    )


def rebuild(
    site: Site,
    paths: Sequence[Path],
    *,
    sent: Callable[[Site, Medium, VolumeDocuments], Rebuilt],
    received: Callable[[Site, Medium, VolumeDocuments], Rebuilt],
    note: Note = lambda _: None,
) -> tuple[list[Rebuilt], list[tuple[str, CourierError]]]:
    """Record the parcel of every volume at ``paths``, by ``sent`` where this site made it, otherwise by ``received``.

    ``note`` is told what lies beside the volumes. Returns the result of each medium, and (name, error) of media
    that could not be used. What the catalogue knows already stays as it is; but of several layouts of a parcel the
    latest counts, whichever is read first. Raises `BusyError` while another rebuilding runs.
    """
    found, failures = list[Rebuilt](), list[tuple[str, CourierError]]()
    media = list[Medium]()
    for path in paths:
        try:
            media += find_all_media([path], note=note)
        except CourierError as error:  # the other media are used all the same
            failures.append((str(path), error))
    root = make_folder(site.home / "parcels")
    with site.locked(root / "lock"):
        sweep(root)
        for medium in media:
            try:
                with tempfile.TemporaryDirectory(dir=root, prefix=TEMP) as scratch:
                    documents = VolumeReader(medium, site.trust(), scratch=Path(scratch), now_ns=now()).documents()
                    record = sent if documents.packing.source == site.code else received
                    found.append(record(site, medium, documents))
            except CourierError as error:
                failures.append((medium.name, _with_card(error)))
    return found, failures


def _with_card(error: CourierError) -> CourierError:
    """The error; where a card of the sender is wanted, with the way to give it to this command: it was lost, too."""
    if error.code not in (Code.UNKNOWN_SITE, Code.UNKNOWN_KEY):
        return error
    hint = "get its present card, then give it in the same command: courier catalog rebuild --card CARD MEDIUM..."
    return RefusedError(error.message, hint=hint, code=error.code)
