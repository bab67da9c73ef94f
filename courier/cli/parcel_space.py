"""The commands of ``courier parcel`` for the space that parcels take on this computer's disk: discard and limits."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.command import PARCEL, command, console_of, group
from courier.text import size_text

app = group("")


@command(app, "discard", examples=["courier parcel discard HQ1-000042"])
def discard(context: typer.Context, *, parcel: PARCEL) -> None:
    """Delete the files of a parcel from this computer's disk.

    Its record in the catalogue stays, and so do the packages in the store.
    """
    from courier.parcel.discard import discard_parcel
    from courier.receiving.discard_received import discard_received
    from courier.sending.discard_sent import discard_sent

    console = console_of(context)
    with console.site() as site:
        console.confirm(f"Delete the files of {parcel} from {site.home}?")
        freed = discard_parcel(site, parcel, (discard_sent, discard_received))
        console.say(f"{parcel}: {size_text(freed)} freed.")
        console.result({"parcel_id": parcel, "freed": freed})


@command(
    app,
    "limits",
    examples=["courier parcel limits", "courier parcel limits --quota 500GB", "courier parcel limits --repair 2GB"],
)
def limits(
    context: typer.Context,
    *,
    quota: Annotated[
        str | None,
        typer.Option("--quota", metavar="SIZE", help="Disk space for built parcels, such as 500GB; 0: no limit."),
    ] = None,
    repair: Annotated[
        str | None,
        typer.Option(
            "--repair", metavar="SIZE", help="Largest answer to a repair request that is sent without asking."
        ),
    ] = None,
    site_quota: Annotated[
        str | None,
        typer.Option("--site-quota", metavar="SIZE", help="Disk space for the documents that one other site sends."),
    ] = None,
) -> None:
    """Show or set the limits of this site.

    They are the disk space for built parcels and for what other sites send, and the size of repair answers that are
    sent without asking.
    """
    from courier.media.kinds import parse_size
    from courier.sending.retention import keep_quota
    from courier.site.home import change_settings

    console = console_of(context)
    with console.site() as site:
        wanted: dict[str, object] = {}
        if quota is not None:
            wanted["parcel_quota"] = parse_size(quota)
        if repair is not None:
            wanted["repair_limit"] = parse_size(repair)
        if site_quota is not None:
            wanted["site_quota"] = parse_size(site_quota)
        settings = change_settings(site, **wanted) if wanted else site.settings
    with console.site() as site:
        kept = keep_quota(site)
    shown = size_text(settings.parcel_quota) if settings.parcel_quota else "none"
    console.say(f"Built parcels: {size_text(kept.bytes)} on this disk; quota: {shown}")
    for name, freed in kept.discarded:
        console.say(f"  {name} discarded: {size_text(freed)} freed")
    if kept.over:
        console.say(f"  {size_text(kept.over)} over the quota: parcels without all their receipts are kept")
    console.say(f"Answers to repair requests: up to {size_text(settings.repair_limit)} are sent without asking")
    console.say(f"Documents of one other site: up to {size_text(settings.site_quota)}")
    console.result(
        {
            "site_quota": settings.site_quota,
            "parcel_quota": settings.parcel_quota,
            "repair_limit": settings.repair_limit,
            "built_bytes": kept.bytes,
            "discarded": [{"parcel_id": name, "freed": freed} for name, freed in kept.discarded],
            "over": kept.over,
        }
    )
