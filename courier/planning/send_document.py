"""The JSON document of ``courier plan send``. Its keys are a contract: keys are added, and none changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from courier.planning.courier_time import Legs
from courier.planning.media_choices import MediaChoice
from courier.planning.send import DestinationPlan, SendPlan
from formats.records import format_time


def send_document(plan: SendPlan) -> dict[str, Any]:
    """The plan as a document: sizes in bytes, times in seconds, rates in bytes and in bits a second."""
    return {
        "site": plan.site,
        "made": format_time(plan.made_ns),
        "packages": [{"package_id": one, "version": version, "name": name} for one, version, name in plan.packages],
        "bytes": plan.content.bytes,
        "files": plan.content.files,
        "currency": plan.currency or None,
        "destinations": [_destination(one) for one in plan.destinations],
        "assumptions": list(plan.assumptions),
    }


def _destination(plan: DestinationPlan) -> dict[str, Any]:
    return {
        "code": plan.code,
        "recommended": str(plan.recommendation.way),
        "commands": list(plan.commands),
        "why": plan.recommendation.why,
        "network": _network(plan),
        "courier": _courier(plan),
        "both": {"seconds": plan.both},
        "break_even_bytes": plan.break_even.bytes if plan.break_even else None,
        "break_even": plan.break_even.text if plan.break_even else "not known, because the line is not",
        "risk": {
            "incomplete": plan.risk.planned,
            "without_spares_and_parity": plan.risk.bare,
            "with_parity_only": plan.risk.parity_only,
            "with_parity_and_one_spare": plan.risk.one_spare,
            "expected_delay_seconds": plan.expected_delay,
        },
        "assumptions": list(plan.assumptions),
        "notes": list(plan.notes),
    }


def _network(plan: DestinationPlan) -> dict[str, Any]:
    line, network = plan.line, plan.network
    rate = line.line.rate if line.line else None
    return {
        "seconds": plan.network_seconds,
        "ends": None if network is None or network.ends_ns is None else format_time(network.ends_ns),
        "bytes": plan.over_network.bytes,
        "files": plan.over_network.files,
        "address": line.address or None,
        "bytes_per_second": rate,
        "bits_per_second": None if rate is None else rate * 8,
        "share_of_link": None if plan.network_seconds is None or network is None else round(network.share, 4),
        "moving_seconds": None if plan.network_seconds is None or network is None else network.open_seconds,
        "overhead_seconds": None if plan.network_seconds is None or network is None else network.overhead_seconds,
        "cost": _money(plan.network_cost),
        "unknown": line.unknown or None,
    }


def _courier(plan: DestinationPlan) -> dict[str, Any]:
    return {
        "seconds": plan.legs.total,
        "legs": _legs(plan.legs),
        "kind": plan.chosen.kind,
        "count": plan.chosen.count,
        "spare_volumes": plan.chosen.spares,
        "bytes": plan.chosen.bytes,
        "cost": _money(plan.courier_cost),
        "media": [_media(one, one.kind == plan.chosen.kind) for one in plan.media],
    }


def _legs(legs: Legs) -> dict[str, int]:
    return {name.replace(" ", "_"): seconds for name, seconds in legs.named()}


def _media(one: MediaChoice, chosen: bool) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "count": one.count,
        "spare_volumes": one.spares,
        "capacity": one.capacity,
        "bytes": one.bytes,
        "planned": one.planned,
        "chosen": chosen,
    }


def _money(cost: Decimal | None) -> float | None:
    return None if cost is None else float(cost)
