"""What another site has told of itself, and when it was last heard of: the second part of ``courier site show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from courier.cli.console import SHOWN, Console, time_text
from courier.text import plural, size_text
from formats.records import format_time, parse_time

if TYPE_CHECKING:
    from courier.site.home import Site


def show_told(console: Console, site: Site, code: str) -> dict[str, Any]:
    """Say what a site reported of itself, how it is reached, and what waits for it; return the same for JSON."""
    document = {**_contact(site, code), "report": _report(site, code)}
    heard, report = document["last_heard"], document["report"]
    unanswered = plural(document["waiting"], "message")
    console.say(f"Last heard:  {_moment(heard) if heard else 'never'}; {unanswered} to it not acknowledged")
    for address in document["addresses"]:
        failed = f", failed {plural(address['failures'], 'time')} in a row" if address["failures"] else ""
        rates = "not measured (courier channel address test)"
        if address["measured_at"]:
            up, down = (f"{size_text(address[way])}/s" for way in ("up_bytes_per_second", "down_bytes_per_second"))
            rates = f"measured {_moment(address['measured_at'])}: {up} there, {down} back"
        console.say(f"Address {address['priority']}:   {address['address']}{failed}; {rates}")
    if report is None:
        console.say("Report:      none came yet: its space, media and packages are not known")
        return document
    console.say(f"Reported:    {_moment(report['issued'])}")
    for place in report["places"]:
        name = "Store" if place["name"] == "store" else f"Point {place['name']}"
        console.say(f"  {name}: {size_text(place['free'])} free, {size_text(place['reserve'])} of them stay free")
    console.say(f"  Reads media: {', '.join(report['media']) or 'not said (any)'}")
    console.say(f"  Trusts:      {', '.join(one['site'] for one in report['trusts']) or 'nobody'}")
    held = [f"{one['package_id']}:{one['version']}" for one in report["packages"]]
    more = f" and {len(held) - SHOWN} more (--json)" if len(held) > SHOWN else ""
    console.say(f"  Has of what it tells us: {', '.join(held[:SHOWN]) or 'no package'}{more}")
    return document


def _moment(text: str) -> str:
    """A time of the document, for people."""
    return time_text(parse_time(text))


def _contact(site: Site, code: str) -> dict[str, Any]:
    from courier.channel.measurement import Measured
    from courier.site.catalog import messages, sites

    with site.catalogue.reading() as connection:
        heard = messages.last_from(connection, code)
        waiting = len(messages.live(connection, code))
        addresses = []
        for one in sites.addresses(connection, code):
            measured = Measured.parse(one.measured)
            addresses.append(
                {
                    "priority": one.priority,
                    "address": one.address,
                    "failures": one.failures,
                    "measured_at": format_time(measured.at_ns) if measured else None,
                    "up_bytes_per_second": measured.up_bytes_per_second if measured else None,
                    "down_bytes_per_second": measured.down_bytes_per_second if measured else None,
                }
            )
    return {"last_heard": format_time(heard) if heard else None, "waiting": waiting, "addresses": addresses}


def _report(site: Site, code: str) -> dict[str, Any] | None:
    from courier.planning.held_there import last_report

    report = last_report(site, code)
    if report is None:
        return None
    return {
        "issued": format_time(report.issued_ns),
        "places": [{"name": one.name, "free": one.free, "reserve": one.reserve} for one in report.places],
        "media": list(report.media),
        "trusts": [{"site": one, "serial": serial} for one, serial in report.trusts.items()],
        "packages": [{"package_id": one.package, "version": one.version} for one in report.packages],
    }
