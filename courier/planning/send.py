"""``courier plan send``: network, courier or both, for each destination of some packages. Nothing is built."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from courier.errors import RefusedError, UsageError
from courier.media.kinds import DRIVE, DRIVE_LAYOUTS, MEDIA
from courier.parcel.parity_plan import Redundancy
from courier.planning.address_line import AddressLine, address_line
from courier.planning.courier_time import MEDIUM_CHANGE_SECONDS, Carried, Legs, legs_of
from courier.planning.held_there import Load, held_contents, last_report, load_of
from courier.planning.loss import Odds, Risk, risk_of
from courier.planning.media_choices import MediaChoice, all_kinds, choose, media_choices, readable_kinds
from courier.planning.network_time import Timetable, Transfer
from courier.planning.past_shipments import Lessons, lessons_of
from courier.planning.prices import Prices
from courier.planning.quantities import span_text
from courier.planning.recommendation import BreakEven, Question, Recommendation, Way, break_even, recommend
from courier.planning.send_rates import Given, Reckoned, reckon
from courier.sending.delta import usable_bases
from courier.sending.destinations import READS
from courier.sending.plan import ParcelDraft, ParcelRequest, draft_parcel
from courier.sending.readiness import Demand, objections
from courier.site.catalog import reports
from courier.site.clock import now
from courier.site.home import Site
from courier.text import size_text
from formats.documents.packing import Priority
from formats.documents.report import SiteReport

DEFINITION_BYTES = 4096
"""Bytes of a signed definition as it travels, and of a ship notice: what always goes over the network."""
CURVE_POINTS = 33
MOST_BASES = 3
"""Versions that a delta could build on of which each is named."""
NOTHING_GIVEN, USUAL_ODDS = Given(), Odds()
FILLED = Redundancy(fill=True)
"""What ``parcel create`` does without an option."""
_PLANNING = "this is a plan"
"""Why the planner goes on where a destination objects: the plan says so itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SendQuestion:
    """What an operator asks.

    ``packages``: references such as ``HQ100001``. ``media``: the kind to plan for; empty: the plan chooses.
    ``capacity``: usable bytes of a drive. ``network_rate``: bytes a second in place of the measured ones.
    """

    packages: tuple[str, ...]
    destinations: tuple[str, ...]
    media: str = ""
    capacity: int | None = None
    compress: str = "auto"
    spares: int = 0
    redundancy: Redundancy = FILLED
    priority: Priority = "medium"
    network_rate: int | None = None
    given: Given = NOTHING_GIVEN
    odds: Odds = USUAL_ODDS
    prices: Prices | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """Seconds that both ways take for a size in bytes; None: it never ends, or is not known."""

    size: int
    network: int | None
    courier: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DestinationPlan:
    """The plan for one site.

    ``over_network``: what the site lacks, as far as known. ``network`` is None where the line is not known. ``both``:
    seconds of a courier, definitions over the network included. ``expected_delay``: seconds that another shipment would
    add, times its probability. ``create``: the command that makes the parcel to be sent, whichever way it goes.
    """

    code: str
    line: AddressLine
    over_network: Load
    network: Transfer | None
    legs: Legs
    media: tuple[MediaChoice, ...]
    chosen: MediaChoice
    both: int
    risk: Risk
    expected_delay: int
    network_cost: Decimal | None
    courier_cost: Decimal | None
    recommendation: Recommendation
    break_even: BreakEven | None
    curve: tuple[CurvePoint, ...]
    assumptions: tuple[str, ...]
    notes: tuple[str, ...]
    create: str

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that carry out what is recommended, PARCEL being the ID that the first one prints."""
        network = "courier parcel send PARCEL --by-network"
        layout = (MEDIA[self.chosen.kind].layouts if self.chosen.kind in MEDIA else DRIVE_LAYOUTS)[0]
        media = (f"courier parcel write PARCEL --layout {layout} --out DIR", "courier parcel ship PARCEL")
        sync = ("courier channel sync",)
        ways = {Way.NETWORK: (network, *sync), Way.COURIER: media, Way.BOTH: (*media, network, *sync)}
        return (self.create, *ways[self.recommendation.way])

    @property
    def network_seconds(self) -> int | None:
        """Seconds over the network; None where it is not known or never ends."""
        return None if self.network is None else self.network.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class SendPlan:
    """The plan for all destinations. ``packages``: (ID, version, name). ``content``: each content once."""

    site: str
    made_ns: int
    packages: tuple[tuple[str, int, str], ...]
    content: Load
    currency: str
    destinations: tuple[DestinationPlan, ...]
    assumptions: tuple[str, ...]


def plan_send(site: Site, question: SendQuestion) -> SendPlan:
    """Plan how packages get to sites.

    Raises `NotFoundError` (package), `RefusedError` (a site that is not trusted), `UsageError` (no medium will do).
    """
    draft = draft_parcel(site, _request(question))
    kinds = all_kinds(question.capacity)
    if question.media:
        _check_media(question.media, [kind for kind, _ in kinds])
    found = media_choices(draft, kinds)
    lessons, made_ns = lessons_of(site), now()
    return SendPlan(
        site=site.code,
        made_ns=made_ns,
        packages=tuple((one.package, one.version, one.name) for one in draft.packages),
        content=load_of(draft.contents),
        currency=question.prices.currency if question.prices else "",
        destinations=tuple(
            _plan_for(site, code, question, draft, found, lessons, made_ns) for code in question.destinations
        ),
        assumptions=_assumptions(question, draft),
    )


def _request(question: SendQuestion) -> ParcelRequest:
    return ParcelRequest(
        packages=question.packages,
        destinations=question.destinations,
        media="",
        capacity=0,
        compress=question.compress,
        priority=question.priority,
        spares=question.spares,
        redundancy=question.redundancy,
        anyway=_PLANNING,
    )


def _check_media(kind: str, known: Sequence[str]) -> None:
    if kind not in known:
        raise UsageError(f"there is no kind of medium called {kind!r}", hint=f"the kinds are {', '.join(known)}")


def _plan_for(
    site: Site,
    code: str,
    question: SendQuestion,
    draft: ParcelDraft,
    found: Sequence[MediaChoice],
    lessons: Lessons,
    made_ns: int,
) -> DestinationPlan:
    report = last_report(site, code)
    chosen, about_media = _choose(code, question, found, report)
    reckoned = reckon(code, chosen.kind, question.given, lessons)
    whole = load_of(draft.contents)
    missing = load_of(draft.contents, held_contents(site, report))
    line = address_line(site, code, priority=question.priority, now_ns=made_ns, rate=question.network_rate)
    timetable = None if line.line is None else Timetable(line.line, made_ns)
    ways = _Ways(
        timetable=timetable,
        whole=whole,
        missing=missing,
        carried=Carried(content=whole.bytes, bytes=chosen.bytes, media=chosen.count),
        reckoned=reckoned,
    )
    network = None if timetable is None else timetable.transfer(missing.bytes, missing.files)
    legs = legs_of(ways.carried, reckoned.pace)
    prices = question.prices
    network_cost = prices.network(code, missing.bytes) if prices else None
    courier_cost = prices.courier(code, chosen.kind, chosen.count) if prices else None
    seconds = None if network is None else network.seconds
    recommendation = recommend(
        Question(
            code=code,
            size=missing.bytes,
            network_seconds=seconds,
            unknown=line.unknown or f"The schedule of {line.address} lets it never end",
            courier_seconds=legs.total,
            reachable=line.reachable,
            currency=prices.currency if prices else "",
            network_cost=network_cost,
            courier_cost=courier_cost,
        )
    )
    even = None if timetable is None else break_even(ways.network, ways.courier)
    parity = question.redundancy.fill or question.redundancy.share > 0
    risk = risk_of(chosen.count - chosen.spares, chosen.groups, question.odds, parity=parity)
    return DestinationPlan(
        create=_create(question, code, chosen),
        code=code,
        line=line,
        over_network=missing,
        network=network,
        legs=legs,
        media=tuple(one for one in found if not one.refused),
        chosen=chosen,
        both=max(legs.total, _definitions(timetable, len(draft.packages))),
        risk=risk,
        expected_delay=int(risk.planned * legs.total),
        network_cost=network_cost,
        courier_cost=courier_cost,
        recommendation=recommendation,
        break_even=even,
        curve=_curve(ways, even),
        assumptions=(about_media, *reckoned.assumptions, *line.assumptions),
        notes=(
            *line.notes,
            *_notes(site, code, report, draft, chosen, whole, missing, made_ns),
            *_unpriced(prices, code, chosen.kind),
        ),
    )


def _create(question: SendQuestion, code: str, chosen: MediaChoice) -> str:
    """The command that makes the parcel as it was planned."""
    kind = ["--capacity", str(chosen.capacity)] if chosen.kind == DRIVE else ["--media", chosen.kind]
    words = ["courier", "parcel", "create", *question.packages, "--to", code, *kind]
    words += ["--compress", question.compress] if question.compress != "auto" else []
    words += ["--spare-volumes", str(question.spares)] if question.spares else []
    words += ["--redundancy", str(question.redundancy)] if question.redundancy != FILLED else []
    words += ["--priority", question.priority] if question.priority != "medium" else []
    return shlex.join(words)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ways:
    """Both ways as functions of the content's size, the mixture of files staying as it is."""

    timetable: Timetable | None
    whole: Load
    missing: Load
    carried: Carried
    reckoned: Reckoned

    def network(self, size: int) -> int | None:
        """Seconds over the network; what the site holds already is not sent, in the same proportion."""
        if self.timetable is None:
            return None
        if not self.whole.bytes:
            return self.timetable.transfer(size, 1).seconds
        part = -(-self.missing.bytes * size // self.whole.bytes)
        return self.timetable.transfer(part, -(-self.missing.files * size // self.whole.bytes)).seconds

    def courier(self, size: int) -> int:
        """Seconds by courier."""
        return legs_of(self.carried.scaled(size), self.reckoned.pace).total


def _definitions(timetable: Timetable | None, count: int) -> int:
    """Seconds that the definitions and the ship notice take over the network; 0 where the line is not known."""
    if timetable is None:
        return 0
    return timetable.transfer((count + 1) * DEFINITION_BYTES, count + 1).seconds or 0


def _curve(ways: _Ways, even: BreakEven | None) -> tuple[CurvePoint, ...]:
    """Points around the size and the break-even, evenly spread on a logarithmic scale."""
    around = [size for size in (ways.whole.bytes, even.bytes if even else None) if size]
    if not around:
        return ()
    low, high = max(1, min(around) // 20), max(around) * 20
    ratio = (high / low) ** (1 / (CURVE_POINTS - 1))
    sizes = [int(low * ratio**n) for n in range(CURVE_POINTS)]
    return tuple(CurvePoint(size=size, network=ways.network(size), courier=ways.courier(size)) for size in sizes)


def _choose(
    code: str, question: SendQuestion, found: Sequence[MediaChoice], report: SiteReport | None
) -> tuple[MediaChoice, str]:
    """(the kind of medium to plan for, in a sentence why)."""
    if question.media:
        return choose(found, [question.media]), f"media of the kind {question.media} (given)"
    if question.capacity is not None:
        return choose(found, ["drive"]), "drives of the capacity that was given"
    if report is not None and report.media:
        readable = readable_kinds(report.media, found)
        if not readable:
            raise RefusedError(
                f"{code} reads only {', '.join(report.media)}", hint="give the capacity of the drive: --capacity SIZE"
            )
        chosen = choose(found, readable)
        return chosen, f"media of the kind {chosen.kind}: {code} says that it reads {', '.join(report.media)}"
    chosen = choose(found, ())
    return (
        chosen,
        f"media of the kind {chosen.kind} (assumed: {code} has not said what it reads; --media gives another)",
    )


def _notes(
    site: Site,
    code: str,
    report: SiteReport | None,
    draft: ParcelDraft,
    chosen: MediaChoice,
    whole: Load,
    missing: Load,
    now_ns: int,
) -> list[str]:
    """What speaks against a parcel to the site, by its last report, and what it holds already."""
    retired = _retired(site, draft)
    if report is None:
        return [
            *retired,
            f"{code} has not reported yet, so that its space, media and trust are not known: courier channel sync",
        ]
    demand = Demand(
        source=site.code,
        media=chosen.kind,
        packages=[(one.package, one.version, one.listing.sha256) for one in draft.packages],
        archives=chosen.bytes,
        expanded=whole.bytes,
        documents=READS,
    )
    found = retired + [f"{one.message} ({one.hint})" for one in objections(report, demand)]
    if missing.bytes < whole.bytes:
        found.append(
            f"{code} holds {size_text(whole.bytes - missing.bytes)} of the content already, which the network would "
            "not carry again"
        )
    return [*found, *_about_delta(site, code, draft)]


def _about_delta(site: Site, code: str, draft: ParcelDraft) -> list[str]:
    """That media are counted for full contents, where the site holds a version that a delta could build on.

    What that saves is known only once old and new contents are compared, which reads them all.
    """
    sent = [(one.package, one.version) for one in draft.packages]
    ids = {package for package, _ in sent}
    bases = [one for one in usable_bases(site, code, sent) if one.package in ids]
    if not bases:
        return []
    shown = ", ".join(f"{one.package}:{one.version}" for one in bases[:MOST_BASES])
    return [
        f"{code} holds {shown}{' ...' if len(bases) > MOST_BASES else ''}, on which a parcel can be a delta: bytes and "
        "media here are of the full contents. What a delta saves is said by the command below with --dry-run"
    ]


def _unpriced(prices: Prices | None, code: str, kind: str) -> list[str]:
    """Which prices are not given, so that a cost is not known."""
    if prices is None:
        return []
    found = []
    if prices.network(code, 1) is None:
        found.append(f"no price of a gigabyte over the network to {code} is given (gigabyte = 0.02)")
    if prices.courier(code, kind, 1) is None:
        found.append(f"no price of a shipment to {code}, or of a medium of the kind {kind}, is given")
    return found


def _retired(site: Site, draft: ParcelDraft) -> list[str]:
    """Which of the packages were retired, and are refused when a parcel is created."""
    with site.catalogue.reading() as connection:
        retired = reports.retirements(connection)
    named = [(one.package, one.version) for one in draft.packages]
    return [
        f"{name}:{version} was retired: {retired[name, version]}"
        for name, version in named
        if (name, version) in retired
    ]


def _assumptions(question: SendQuestion, draft: ParcelDraft) -> tuple[str, ...]:
    """What holds for every destination."""
    parity = question.redundancy.fill or question.redundancy.share > 0
    sizes = "as the planner of parcels lays it out"
    if question.compress != "none":
        sizes += ", those of compressed content as samples of it make likely"
    return (
        f"the size of the parcel is {sizes}; spare volumes: {question.spares}, redundancy: {question.redundancy}, "
        f"{'encrypted' if draft.recipients else 'not encrypted'}",
        f"changing a medium takes {span_text(MEDIUM_CHANGE_SECONDS)} at either site, with one drive at each",
        "each site gets its own set of media; that one set waits for another to be written is not counted",
        f"definitions and ship notice are {DEFINITION_BYTES:,} bytes each",
        question.odds.text(parity=parity),
    )
