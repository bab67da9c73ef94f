"""The status of a site as metrics in the text format of Prometheus (version 0.0.4). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from courier.care.facts import SECOND_NS, SiteFacts
from courier.care.waiting import Waiting

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What a server says of it."""

Samples = Iterable[tuple[Mapping[str, object], float]]


def metrics(facts: SiteFacts, found: Iterable[Waiting]) -> str:
    """All metrics of a site, each with its help and type; times are seconds since 1970."""
    site = {"site": facts.site}
    waits = Counter((str(one.cause), one.on) for one in found)
    persons = sum(n for (_, on), n in waits.items() if on == "operator")
    peers = [({**site, "peer": peer.code}, peer) for peer in facts.peers]
    points = [({**site, "point": point.name}, point) for point in facts.points]
    return "".join(
        (
            _gauge("courier_status_time_seconds", "When this was gathered.", [(site, facts.now_ns / SECOND_NS)]),
            _gauge(
                "courier_parcels",
                "Parcels by side (sent or received) and state.",
                [({**site, "side": side, "state": state}, n) for (side, state), n in sorted(facts.counts.items())],
            ),
            _gauge(
                "courier_waiting",
                "Things that wait, by cause and by whom they wait for.",
                [({**site, "cause": cause, "on": on}, n) for (cause, on), n in sorted(waits.items())],
            ),
            _gauge("courier_waiting_for_person", "Things that wait for an operator of the site.", [(site, persons)]),
            _gauge("courier_key_end_seconds", "End of the signing key.", [(site, facts.key_until_ns / SECOND_NS)]),
            _gauge("courier_store_free_bytes", "Bytes free where the store is.", [(site, facts.free)]),
            _gauge("courier_store_reserve_bytes", "Bytes that the store leaves free.", [(site, facts.reserve)]),
            _gauge("courier_package_versions", "Package versions in the store.", [(site, facts.packages)]),
            _gauge("courier_package_versions_lost", "Package versions without content.", [(site, facts.lost)]),
            _gauge("courier_package_bytes", "Bytes of package versions with content.", [(site, facts.package_bytes)]),
            _gauge("courier_quarantined_contents", "Contents found damaged.", [(site, facts.quarantined)]),
            _gauge(
                "courier_watch_running",
                "Whether the watch runs (absent where none ever ran).",
                [(site, int(facts.watch.running))] if facts.watch else [],
            ),
            _gauge(
                "courier_watch_seen_seconds",
                "Last sign of life of the watch.",
                [(site, facts.watch.seen_ns / SECOND_NS)] if facts.watch else [],
            ),
            _gauge("courier_dead_letters", "Messages refused or given up.", [(site, facts.dead_letters)]),
            _gauge("courier_peer_queued_messages", "Messages that wait for a site.", [(n, p.queued) for n, p in peers]),
            _gauge(
                "courier_peer_heard_seconds",
                "When the newest message of a site came.",
                [(n, p.heard_ns / SECOND_NS) for n, p in peers if p.heard_ns is not None],
            ),
            _gauge(
                "courier_peer_key_end_seconds",
                "End of a site's key.",
                [(n, p.key_until_ns / SECOND_NS) for n, p in peers],
            ),
            _gauge(
                "courier_address_failures",
                "How often an address failed in a row.",
                [({**n, "address": where}, failed) for n, p in peers for where, failed in p.addresses],
            ),
            _gauge("courier_point_damaged_files", "Files found damaged.", [(n, p.damaged) for n, p in points]),
            _gauge(
                "courier_point_validated_seconds",
                "When a point was last validated.",
                [(n, p.validated_ns / SECOND_NS) for n, p in points if p.validated_ns is not None],
            ),
        )
    )


def _gauge(name: str, what: str, samples: Samples) -> str:
    lines = [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join((f"# HELP {name} {what}", f"# TYPE {name} gauge", *lines, "")) if lines else ""


def _labels(labels: Mapping[str, object]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"
