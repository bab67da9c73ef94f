"""The checks that a parcel has to pass before it is received and before it is imported: one list of pure functions.

Each check takes the facts and returns a finding: it agrees, it awaits something, or it refuses. Gathering the facts is
apart from judging them (`courier.receiving.import_facts`). To add a check, write a function from `Facts` to `Finding`,
and put it into `CHECKS` in the order in which an operator should hear of it. An import is made only
where network and media agree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from courier.error_codes import Code
from courier.errors import CourierError, NoSpaceError, RefusedError
from courier.parcel.states import NOTHING_HERE, ReceivedState
from courier.site.trust import Trust
from courier.text import plural, size_text, volumes
from formats.documents.notice import ShipNotice
from formats.documents.package import PackageDefinition
from formats.documents.packing import PackingList
from formats.documents.recall import Recall

PackageVersion = tuple[str, int]
MAX_TYPED = 20
"""Seals of which each is an option in a command that is printed; more go into a file."""


class Stage(Enum):
    """When a check is made."""

    RECEIVE = auto()
    """Before a volume is received."""
    ROOM = auto()
    """Before bytes are written: it is known by then how many are needed."""
    AGREE = auto()
    """Before a complete parcel is imported: whether network and media agree."""
    IMPORT = auto()
    """After that: whether this site can and wants to import it now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """Disk space: ``needed`` bytes for ``purpose``, ``free`` bytes at ``place``, ``reserve`` bytes that stay free."""

    purpose: str
    place: str
    needed: int
    free: int
    reserve: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyFacts:
    """The key of a parcel whose key is not on its media.

    ``error``: why the key that came cannot be used. ``reported``: whether the arrival was reported to the
    sender. ``report_refused``: why the sender did not accept that report; else empty. ``reported_lost``: volumes that
    it named as lost, and that are here now. ``missing``: the volumes of the layout that arrives that have not been
    received; ``sealed``: those that left with a seal.
    """

    here: bool
    error: CourierError | None = None
    reported: bool = False
    report_refused: str = ""
    reported_lost: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    sealed: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseFacts:
    """What a delta builds on and cannot use here: how many contents are ``missing``, and their ``bytes``.

    ``absent``: versions that are not held here; ``hidden``: those that are, and are not offered to the sender.
    ``asked``: whether the sender was asked for what is missing; ``unnamed``: how many contents no request can name, as
    they are too large. ``full``: the command by which it sends everything.
    """

    missing: int
    bytes: int
    absent: tuple[str, ...]
    hidden: tuple[str, ...]
    asked: bool
    full: str
    unnamed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the checks go by.

    ``site`` is our own code, ``where`` the medium or label to name in messages, ``now_ns`` the time (nanoseconds since
    1970, UTC), ``trust`` whom this site trusts and its policy. ``state`` is that of this build at this site (None: not
    known), ``other_builds`` the states of other builds of the parcel. ``editions``: digests of the packing lists that
    came with media. ``notices``: those that are verified, oldest first. ``definitions``: for each package version the
    definitions that came, by the digest of their listing. ``held``: for each package version in the store the digest of
    its listing; ``numbered``: the highest version this site has given to a package of its own. ``bases``: what a delta
    cannot use of what it builds on; None where all is here, or nothing is needed.

    In place of a document that came and is not to be trusted there is the error that says why.
    """

    site: str
    packing: PackingList
    where: str
    now_ns: int
    trust: Trust
    recall: Recall | CourierError | None
    state: str | None = None
    other_builds: Collection[str] = ()
    hold: bool = False
    editions: Collection[str] = ()
    notices: Sequence[ShipNotice] = ()
    notice_error: CourierError | None = None
    definitions: Mapping[PackageVersion, Mapping[str, PackageDefinition | CourierError]] = field(default_factory=dict)
    key: KeyFacts | None = None
    held: Mapping[PackageVersion, str] = field(default_factory=dict)
    numbered: Mapping[str, int] = field(default_factory=dict)
    room: Room | None = None
    bases: BaseFacts | None = None

    @property
    def agreed_notices(self) -> list[ShipNotice]:
        """The ship notices that name this build, oldest first.

        Which layout of the build they name does not count: the volumes of every layout carry the same archives.
        """
        return [n for n in self.notices if n.build == self.packing.build]

    @property
    def notice(self) -> ShipNotice | None:
        """The ship notice that counts: the latest that names the layout of the media, else the latest that agrees."""
        agreed = self.agreed_notices
        same = [n for n in agreed if n.packing_list in self.editions]
        return next(reversed(same or agreed), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check found; where nothing is awaited and there is no ``error``, it agrees.

    ``awaiting``: what has not come yet, for people. ``error``: why it is refused. ``report``: the command by which a
    person reports the arrival, where the key is released for that alone; else empty.
    """

    awaiting: tuple[str, ...] = ()
    error: CourierError | None = None
    report: str = ""


AGREED = Finding()


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """What speaks for an import: the ship notice and the definitions that came; ``awaiting`` what has not come yet.

    ``report``: as in `Finding`.
    """

    awaiting: tuple[str, ...]
    notice: ShipNotice | None
    definitions: Mapping[PackageVersion, PackageDefinition]
    report: str = ""


def recalled(parcel: str, source: str, recall: Recall) -> RefusedError:
    """The error for a parcel that its sender has recalled."""
    return RefusedError(
        f"{parcel} was recalled by {source}{': ' + recall.reason if recall.reason else ''}",
        hint=f"do not use its media: return or destroy them as {source} asks; courier parcel discard {parcel}",
        code=Code.RECALLED,
    )


def refused_here(parcel: str, *, where: str = "") -> RefusedError:
    """The error for a parcel that is refused at this site; ``where``: the medium that was given."""
    return RefusedError(
        f"{where + ': ' if where else ''}{parcel} is refused here",
        hint=f"courier parcel log {parcel} says why; to accept it all the same: courier parcel accept {parcel}",
        code=Code.PARCEL_REFUSED,
    )


def own_version_unknown(package: str, version: int) -> RefusedError:
    """The error for a version of our own package that was never made here: it would use up our version numbers."""
    return RefusedError(
        f"the parcel holds {package}:{version}, a version of this site's own package never made here",
        hint="ask the sender where it comes from",
        code=Code.FOREIGN_VERSION,
    )


def version_conflict(package: str, version: int) -> RefusedError:
    """The error for a package version that the store holds with other content than the parcel's."""
    return RefusedError(
        f"{package}:{version} is in the store with other content than the parcel's",
        hint=f"if the parcel's is the right one: courier package remove {package}:{version}, then import again",
        code=Code.VERSION_CONFLICT,
    )


def version_error(
    item: PackageVersion, listing: str, *, site: str, held: Mapping[PackageVersion, str], numbered: Mapping[str, int]
) -> RefusedError | None:
    """Why the store cannot take a package version with this listing (its digest); None where it can."""
    package, version = item
    if package.startswith(site) and version > numbered.get(package, 0):
        return own_version_unknown(package, version)
    if held.get(item, listing) != listing:
        return version_conflict(package, version)
    return None


def _check_notice_trusted(facts: Facts) -> Finding:
    return Finding(error=facts.notice_error)


def _check_not_recalled(facts: Facts) -> Finding:
    if isinstance(facts.recall, CourierError):
        return Finding(error=facts.recall)
    if facts.recall is None:
        return AGREED
    return Finding(error=recalled(facts.packing.parcel, facts.packing.source, facts.recall))


def _check_not_refused_here(facts: Facts) -> Finding:
    if ReceivedState.REFUSED in (facts.state, *facts.other_builds):
        return Finding(error=refused_here(facts.packing.parcel, where=facts.where))
    return AGREED


def _check_not_our_own(facts: Facts) -> Finding:
    packing = facts.packing
    if packing.source != facts.site:
        return AGREED
    return Finding(
        error=RefusedError(
            f"{facts.where}: {packing.parcel} was made here, at {facts.site}, for {', '.join(packing.destinations)}",
            hint=f"receive it at {packing.destinations[0]}: --home or COURIER_HOME says which site a command is for",
            code=Code.OWN_PARCEL,
        )
    )


def _check_build(facts: Facts) -> Finding:
    is_here = facts.state not in (None, ReceivedState.DISCARDED)
    if is_here or all(state in NOTHING_HERE for state in facts.other_builds):
        return AGREED
    parcel, source = facts.packing.parcel, facts.packing.source
    return Finding(
        error=RefusedError(
            f"{facts.where}: a volume of another build of {parcel} than those received before",
            hint=f"ask {source} which is right; courier parcel discard {parcel} forgets the other",
            code=Code.OTHER_BUILD,
        )
    )


def _check_room(facts: Facts) -> Finding:
    room = facts.room
    if room is None or room.free >= room.needed + room.reserve:
        return AGREED
    return Finding(
        error=NoSpaceError.short_of(
            room.purpose, needed=room.needed, free=room.free, reserve=room.reserve, place=room.place
        )
    )


def _check_notice_came(facts: Facts) -> Finding:
    if facts.notices:
        return AGREED
    return Finding(awaiting=(f"the ship notice of {facts.packing.source} (by network: courier channel sync)",))


def _check_notice_agrees(facts: Facts) -> Finding:
    if not facts.notices or facts.notice is not None:
        return AGREED
    packing = facts.packing
    return Finding(
        error=RefusedError(
            f"{packing.parcel}: the ship notice of {packing.source} names another build than the media carry",
            hint=f"ask {packing.source} which is right; nothing is imported, the content stays held",
            code=Code.NOTICE_DISAGREES,
        )
    )


def _check_transit(facts: Facts) -> Finding:
    """The first notice counts: a parcel that is shipped again has been under way since it was shipped first."""
    if not facts.agreed_notices:
        return AGREED
    try:
        facts.trust.check_transit(facts.agreed_notices[0].issued_ns, now_ns=facts.now_ns, where=facts.packing.parcel)
    except RefusedError as error:
        return Finding(error=error)
    return AGREED


def _check_definitions(facts: Facts) -> Finding:
    parcel, awaiting = facts.packing.parcel, []
    for item in facts.notice.packages if facts.notice else ():
        came = facts.definitions.get((item.package, item.version), {})
        definition = came.get(item.listing)
        if isinstance(definition, CourierError):
            return Finding(error=definition)
        if definition is None and came:
            return Finding(
                error=RefusedError(
                    f"{parcel}: definition and ship notice of {item.package}:{item.version} name other content",
                    hint=f"ask {facts.packing.source} to ship the parcel again: courier parcel ship {parcel}",
                    code=Code.DEFINITION_DISAGREES,
                )
            )
        if definition is None:
            awaiting.append(f"the definition of {item.package}:{item.version} (by network: courier channel sync)")
    return Finding(awaiting=tuple(awaiting))


def _check_versions(facts: Facts) -> Finding:
    for item in facts.notice.packages if facts.notice else ():
        version = item.package, item.version
        error = version_error(version, item.listing, site=facts.site, held=facts.held, numbered=facts.numbered)
        if error is not None:
            return Finding(error=error)
    return AGREED


def _check_key(facts: Facts) -> Finding:
    packing, key = facts.packing, facts.key
    if key is None or facts.notice is None:
        return AGREED
    if key.error is not None or key.here:
        return Finding(error=key.error)
    if packing.key == "network":
        return Finding(
            awaiting=(f"its key, in the ship notice of {packing.source} (by network: courier channel sync)",)
        )
    if key.reported and not key.report_refused and not key.reported_lost:
        return Finding(
            awaiting=(
                f"its key, which {packing.source} releases for our arrival report (by network: courier channel sync)",
            )
        )
    command, note = _report_command(packing.parcel, key)
    why = f"its key, which {packing.source} releases when all volumes and the seals on them were reported"
    if key.report_refused:
        why = f"its key; {key.report_refused}; to report again"
    elif key.reported_lost:
        why = f"its key; what was reported as lost is here now ({volumes(key.reported_lost)}); to report again"
    return Finding(awaiting=(f"{why}: {command}{f' ({note})' if note else ''}",), report=command)


def _report_command(parcel: str, key: KeyFacts) -> tuple[str, str]:
    """The command by which the arrival of a parcel is reported, and a note on what is typed into it, or empty.

    It names the seals on the volumes that are here, and the volumes that are lost.
    """
    here, note = sorted(set(key.sealed) - set(key.missing)), ""
    options = [f"--seal {number}=SERIAL" for number in here]
    if len(here) > MAX_TYPED:
        options = ["--seals-file FILE"]
        note = f"FILE has a line VOLUME=SERIAL for each of {len(here)} volumes"
    options += [f"--lost {number}" for number in sorted(key.missing)]
    return " ".join((f"courier parcel arrived {parcel}", *options)), note


def _check_bases(facts: Facts) -> Finding:
    """A delta waits for what it builds on: it is imported by itself once that is here."""
    bases, packing = facts.bases, facts.packing
    if bases is None or not bases.missing:
        return AGREED
    what = f"{plural(bases.missing, 'content')} ({size_text(bases.bytes)}) of {packing.based_on}, which it builds on"
    why = "missing or damaged here"
    if bases.hidden:
        offers = f"courier package offer {' '.join(bases.hidden)} --to {packing.source}"
        why = f"not offered to {packing.source}: {offers}"
    elif bases.absent:
        why = f"not here: {', '.join(bases.absent)}"
    if bases.unnamed:
        large = f"{plural(bases.unnamed, 'content')} too large to be asked for"
        return Finding(awaiting=(f"{what} ({why}; {large}): everything anew, at {packing.source}: {bases.full}",))
    if bases.asked:
        then = f"{packing.source} was asked for it (by network: courier channel sync)"
    else:
        then = f"courier parcel repair {packing.parcel} --from-network asks {packing.source} for it"
    return Finding(awaiting=(f"{what} ({why}): {then}; or everything anew, at {packing.source}: {bases.full}",))


def _check_hold(facts: Facts) -> Finding:
    return Finding(awaiting=(f"the operator: courier parcel import {facts.packing.parcel}",) if facts.hold else ())


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A check and the stages at which it is made."""

    judge: Callable[[Facts], Finding]
    stages: tuple[Stage, ...]


CHECKS = (
    Check(judge=_check_notice_trusted, stages=(Stage.AGREE,)),
    Check(judge=_check_not_recalled, stages=(Stage.RECEIVE, Stage.AGREE)),
    Check(judge=_check_not_refused_here, stages=(Stage.RECEIVE,)),
    Check(judge=_check_not_our_own, stages=(Stage.RECEIVE,)),
    Check(judge=_check_build, stages=(Stage.RECEIVE,)),
    Check(judge=_check_room, stages=(Stage.ROOM,)),
    Check(judge=_check_notice_came, stages=(Stage.AGREE,)),
    Check(judge=_check_notice_agrees, stages=(Stage.AGREE,)),
    Check(judge=_check_transit, stages=(Stage.AGREE,)),
    Check(judge=_check_definitions, stages=(Stage.AGREE,)),
    Check(judge=_check_versions, stages=(Stage.IMPORT,)),
    Check(judge=_check_key, stages=(Stage.IMPORT,)),
    Check(judge=_check_bases, stages=(Stage.IMPORT,)),
    Check(judge=_check_hold, stages=(Stage.IMPORT,)),
)
"""Every check before an import, in the order in which they are made; the operator is told of the first that refuses."""


def judge(facts: Facts, *stages: Stage) -> Finding:
    """Make all checks of these stages; return what they await together. Raises the error of the first that refuses."""
    together = AGREED
    for check in CHECKS:
        if not set(stages).isdisjoint(check.stages):
            found = check.judge(facts)
            if found.error is not None:
                raise found.error
            together = replace(
                together, awaiting=together.awaiting + found.awaiting, report=found.report or together.report
            )
    return together


def admit(facts: Facts) -> Admission:
    """Judge the import of a complete parcel. Raises the error of the first check that refuses it."""
    found, notice = judge(facts, Stage.AGREE, Stage.IMPORT), facts.notice
    definitions = {}
    for item in notice.packages if notice else ():
        definition = facts.definitions.get((item.package, item.version), {}).get(item.listing)
        if isinstance(definition, PackageDefinition):
            definitions[item.package, item.version] = definition
    return Admission(awaiting=found.awaiting, notice=notice, definitions=definitions, report=found.report)
