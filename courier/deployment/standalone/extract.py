"""Putting a set into a folder: what its computers would read, for one that does not run `boot`, such as Windows PE."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from courier.deployment.standalone.gather import DiscChanger, Gatherer
from courier.deployment.standalone.open_disc import open_disc
from courier.deployment.standalone.verify import (
    OpenContents,
    SetList,
    check_same,
    read_contents,
    read_document,
    read_set,
)
from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, UsageError
from courier.files import TEMP, explain_os, make_folder, remove_tree, sync_folder, write_atomic
from courier.progress import SILENT, Progress
from courier.site.clock import now
from courier.site.trust import Trust
from formats.documents.standalone import CARD, StandaloneSet

POINT_FOLDER, POLICY_FILE, CARD_FILE = "point", "policy.json", "card.json"
"""What is in the folder: a distribution point's folder, the signed policy, and the card of the site."""
_MOST_CARD = 1 << 20


class _Nobody:
    """Nobody is there to change discs: all have to be given. See `courier.deployment.standalone.gather.Operator`."""

    def __init__(self) -> None:
        self._said = ""

    def say(self, text: str) -> None:
        """Keep what was said last: it says why there is a question then."""
        self._said = text

    def ask(self, question: str) -> str:
        """Raise the error that the question is about."""
        if question.startswith("Put in"):
            name = question.removeprefix("Put in ").partition(",")[0]
            raise NotFoundError(f"{name} was not given", hint="give all discs of the set")
        raise DamagedError(
            self._said, hint="take another copy of that disc: courier standalone verify", code=Code.DIGEST_MISMATCH
        )


def extract_set(
    discs: Sequence[Path], trust: Trust, *, passphrase: str, to: Path, progress: Progress = SILENT
) -> StandaloneSet:
    """Put the set on ``discs`` into the new folder ``to``, verified; it appears when it is whole.

    Raises `UsageError` where ``to`` is there, `NotFoundError` for a disc that is not given, `DamagedError`,
    `RefusedError` as `courier.deployment.standalone.verify.verify_discs` does, and `NoSpaceError`.
    """
    if to.exists():
        raise UsageError(f"{to} is there already", hint="name a new folder with --to", code=Code.TARGET_EXISTS)
    listed, opened, card = _read(discs, trust, passphrase)
    new = make_folder(to.absolute().parent) / f"{TEMP}{time.monotonic_ns():x}-{to.name[-40:]}"
    try:
        changer = DiscChanger(listed=listed, places=lambda: discs, patience=0, operator=_Nobody())
        gatherer = Gatherer(changer, opened, new / POINT_FOLDER, told=progress)
        progress.begin("putting the set into a folder", gatherer.size)
        gatherer.run()
        write_atomic(new / POLICY_FILE, opened.contents.policy)
        write_atomic(new / CARD_FILE, card)
        new.rename(to)
    except BaseException:
        remove_tree(new)
        raise
    sync_folder(to.absolute().parent)
    return listed.document


def _read(discs: Sequence[Path], trust: Trust, passphrase: str) -> tuple[SetList, OpenContents, bytes]:
    """Set list and contents of the first disc, and the card on it; the others are of the same set."""
    found: list[SetList] = []
    opened: OpenContents | None = None
    card = b""
    for path in discs:
        try:
            with open_disc(path) as disc:
                found.append(read_set(disc, trust, now_ns=now()))
                check_same(found[0], found[-1], disc)
                if opened is None:
                    opened = read_contents(disc, found[0], trust, passphrase=passphrase, now_ns=now())
                    card = read_document(disc, CARD, _MOST_CARD)
        except OSError as error:
            raise explain_os(error) from None
    if opened is None:
        raise UsageError("no disc is given", hint="give all discs of the set")
    return found[0], opened, card
