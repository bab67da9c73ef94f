"""``courier site policy``: what this site takes, from whom and on what."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.media.kinds import DRIVE, kinds_text
from courier.text import size_text

app = group("")


class OutsideLinks(StrEnum):
    """What a site does with symbolic links that lead out of a package."""

    KEEP = "keep"
    REFUSE = "refuse"


@command(
    app,
    "policy",
    examples=[
        "courier site policy",
        "courier site policy --max-transit-days 60 --media bd25 --media lto8",
        "courier site policy --relay HQ2 --outside-links refuse",
    ],
)
def policy(
    context: typer.Context,
    *,
    max_transit_days: Annotated[
        int | None,
        typer.Option(
            "--max-transit-days",
            metavar="N",
            min=0,
            max=36_500,
            help="Days that a parcel may be under way; 0: any number.",
        ),
    ] = None,
    media: Annotated[
        list[str] | None,
        typer.Option(
            "--media",
            metavar="KIND",
            help=f"Kind of medium that this site can read; repeat for more. {kinds_text()}, {DRIVE}; any: all kinds.",
        ),
    ] = None,
    relay: Annotated[
        list[str] | None,
        typer.Option(
            "--relay",
            metavar="CODE",
            help="Site that may vouch for packages of sites not trusted here; repeat for more. none: no site.",
        ),
    ] = None,
    hole_limit: Annotated[
        str | None,
        typer.Option(
            "--hole-limit", metavar="SIZE", help="Most bytes of holes that a parcel's sparse files may have; 0: any."
        ),
    ] = None,
    release_lost: Annotated[
        int | None,
        typer.Option(
            "--release-lost",
            metavar="N",
            min=0,
            max=9999,
            help="Volumes of a parcel that may be reported lost for its key to be released on arrival without asking.",
        ),
    ] = None,
    outside_links: Annotated[
        OutsideLinks | None,
        typer.Option(
            "--outside-links",
            metavar="keep|refuse",
            help="Links that lead out of a package: keep them as they are, or refuse it.",
        ),
    ] = None,
    progressive: Annotated[
        bool | None,
        typer.Option(
            "--progressive/--no-progressive",
            help="Import each package as soon as it is here, before the rest of its parcel comes; or parcels whole.",
        ),
    ] = None,
) -> None:
    """Show or set the policy of this site.

    Senders are told which media this site can read.
    """
    from courier.media.kinds import media_kinds, parse_size
    from courier.site.home import change_settings
    from courier.site.relays import relay_codes

    console = console_of(context)
    with console.site() as site:
        wanted: dict[str, object] = {}
        if max_transit_days is not None:
            wanted["max_transit_days"] = max_transit_days
        if media is not None:
            wanted["media"] = media_kinds(media)
        if relay is not None:
            wanted["relays"] = relay_codes(relay, own=site.code)
        if hole_limit is not None:
            wanted["hole_limit"] = 0 if hole_limit == "0" else parse_size(hole_limit)
        if release_lost is not None:
            wanted["release_lost"] = release_lost
        if outside_links is not None:
            wanted["refuse_outside_links"] = outside_links is OutsideLinks.REFUSE
        if progressive is not None:
            wanted["progressive"] = progressive
        settings = change_settings(site, **wanted) if wanted else site.settings
        days = settings.max_transit_days
        links = OutsideLinks.REFUSE if settings.refuse_outside_links else OutsideLinks.KEEP
        console.say(f"Days a parcel may be under way: {days or 'any number'}")
        console.say(f"Media it can read: {', '.join(settings.media) or 'not said (any)'}")
        console.say(
            f"Sites that may vouch for packages of sites not trusted here: {', '.join(settings.relays) or 'none'}"
        )
        console.say(
            f"Bytes of holes in a parcel: {size_text(settings.hole_limit) if settings.hole_limit else 'any number'}"
        )
        console.say(f"Lost volumes without which a key is released on arrival: {settings.release_lost or 'none'}")
        console.say(f"Links that lead out of a package: {links.value}")
        console.say(
            "Packages are imported: " + ("as soon as each is here" if settings.progressive else "parcel by parcel")
        )
        console.result(
            {
                "site": site.code,
                "max_transit_days": days,
                "media": list(settings.media),
                "relays": list(settings.relays),
                "hole_limit": settings.hole_limit,
                "release_lost": settings.release_lost,
                "outside_links": links.value,
                "progressive": settings.progressive,
            }
        )
