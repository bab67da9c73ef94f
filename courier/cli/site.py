"""``courier init`` and ``courier site``: this site, and the sites it trusts."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli import site_policy
from courier.cli.command import SITE_CODE, command, console_of, group
from courier.cli.console import time_text
from courier.cli.moment import parse_moment

if TYPE_CHECKING:
    from courier.site.peers import Pinned


app = group("This site, and the sites that it trusts.")
init_app = group("")
KEY = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Where the signing key is: file, env:NAME (a variable with PEM) or pkcs11:id=N;token=LABEL.",
    ),
]
PASSPHRASE = Annotated[
    bool,
    typer.Option(
        "--passphrase", help="Encrypt the key files; the passphrase is $COURIER_KEY_PASSPHRASE, else it is asked for."
    ),
]


@command(
    init_app,
    "init",
    examples=[
        'courier init --site HQ1 --name "Headquarters"',
        'courier init --site HQ1 --name "Headquarters" --catalogue postgresql://courier@db/courier '
        "--store s3://images/hq1",
    ],
)
def init(
    context: typer.Context,
    *,
    site: Annotated[str, typer.Option("--site", metavar="CODE", help="Code of the site: 3 characters of A-Z and 0-9.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the site, for people.")],
    catalogue: Annotated[
        str,
        typer.Option(
            "--catalogue",
            metavar="URL",
            help="Database of the catalogue (SQLAlchemy URL, no password in it). Without it: SQLite.",
        ),
    ] = "",
    store: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="s3://BUCKET/PREFIX",
            help="Bucket for the package content; its key is in $AWS_ACCESS_KEY_ID. Without it: a folder of the home.",
        ),
    ] = "",
    key: KEY = "file",
    passphrase: PASSPHRASE = False,
    group: Annotated[
        str,
        typer.Option(
            "--group", metavar="GROUP", help="Group of users who all operate the site. Without it: this user alone."
        ),
    ] = "",
) -> None:
    """Make the home of a site: its keys, catalogue and store.

    Other users of this computer cannot read it.
    """
    from courier.errors import UsageError
    from courier.site.home import create_site
    from courier.site.log import logged
    from courier.site.permissions import shared_with_group
    from courier.site.settings import find_home
    from formats.errors import FormatError
    from formats.names import check_site

    try:
        check_site(site)
    except FormatError as error:
        raise UsageError(error.message, hint="write it like HQ1") from None
    if not name.isprintable() or not name.strip():
        raise UsageError("the name of a site is one line of text", hint='give it like --name "Headquarters"')
    console = console_of(context)
    home = find_home(console.home)
    made = create_site(
        home,
        code=site,
        name=name,
        catalogue=catalogue,
        store=store,
        key=key,
        passphrase=passphrase,
        group=group,
        warn=console.warn,
    )
    with closing(made), shared_with_group(home), logged(home, console.command):
        console.say(f"Site {site} ({name}) at {home}")
        console.say(f"Fingerprint: {made.card.fingerprint}")
        console.say("Next: courier site card --out CARD, hand it to the other sites; courier site trust THEIR-CARD")
        console.result({"site": site, "name": name, "home": str(home), "fingerprint": made.card.fingerprint})


@command(app, "card", examples=["courier site card --out HQ1.card"])
def card(
    context: typer.Context,
    *,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the card to this file.")] = None,
) -> None:
    """Print the card of this site, to hand to other sites."""
    from courier.site.peers import write_card

    console = console_of(context)
    with console.site() as site:
        if out is not None:
            write_card(site, out)
            console.say(f"Card of {site.code} written to {out}")
            console.say(f"Fingerprint, to be read over the phone: {site.card.fingerprint}")
        else:
            console.say(site.card_envelope.decode())
        console.result(
            {
                "site": site.code,
                "serial": site.card.serial,
                "fingerprint": site.card.fingerprint,
                "recipient": site.card.recipient,
                "card": site.card_envelope.decode(),
                "path": str(out) if out else None,
            }
        )


@command(app, "trust", examples=["courier site trust BR1.card"])
def trust(
    context: typer.Context,
    *,
    card_file: Annotated[Path, typer.Argument(metavar="CARD", help="File with the card of the other site.")],
    fingerprint: Annotated[
        str | None,
        typer.Option(
            "--fingerprint", metavar="FINGERPRINT", help="Fingerprint that the other site reads out by phone."
        ),
    ] = None,
) -> None:
    """Pin the card of another site, to trust what it signs."""
    from courier.site.peers import pin_card, read_card_file

    console = console_of(context)
    with console.site() as site:
        data, seen = read_card_file(card_file)
        if fingerprint is None:
            console.say(f"Card of {seen.site} ({seen.name}), serial {seen.serial}")
            console.say(f"Fingerprint: {seen.fingerprint}")
            console.confirm(
                "Does the other site read out the same fingerprint?",
                hint="compare it by phone, then give what they read out: --fingerprint FINGERPRINT",
            )
        pinned = pin_card(site, data, fingerprint=fingerprint)
        console.say(f"{seen.site} is trusted{_how(pinned)}.")
        if pinned.was_revoked and pinned.is_same:
            console.note(
                f"this card was already pinned when {seen.site} was revoked. Ask {seen.site} whether it is its "
                "present card: what is signed with keys that it has given up must not be trusted."
            )
        console.result({"site": seen.site, "fingerprint": seen.fingerprint, "trusted": True})


def _how(pinned: Pinned) -> str:
    if pinned.before is None:
        return ""
    if pinned.is_same:
        return " again" if pinned.was_revoked else " already, by this very card"
    return ", by its newer card" if pinned.card.serial > pinned.before.serial else ", by another card than before"


@command(app, "list", examples=["courier site list"])
def list_(context: typer.Context) -> None:
    """List the sites whose cards are pinned."""
    from courier.site.peers import list_sites

    console = console_of(context)
    with console.site() as site:
        found = list_sites(site)
        rows = [
            (p.code, p.name, f"revoked: {p.revoked}" if p.revoked else "trusted", len(addresses), card.fingerprint[:19])
            for p, card, addresses in found
        ]
        console.table(("SITE", "NAME", "TRUST", "ADDRESSES", "FINGERPRINT BEGINS"), rows)
        if not rows:
            console.say("No other site is trusted yet: courier site trust CARD")
        sites = [
            {
                "site": p.code,
                "name": p.name,
                "trusted": not p.revoked,
                "revoked": p.revoked,
                "fingerprint": card.fingerprint,
                "addresses": [address.address for address in addresses],
            }
            for p, card, addresses in found
        ]
        console.result({"site": site.code, "sites": sites})


@command(app, "show", examples=["courier site show BR1"])
def show(context: typer.Context, *, code: SITE_CODE) -> None:
    """Show a site whose card is pinned.

    That is its card, when it was last heard of, how it is reached, and what it reported: space, media, packages.
    """
    from courier.cli.site_told import show_told
    from courier.site.peers import find_site

    console = console_of(context)
    with console.site() as site:
        pinned, card = find_site(site, code)
        key = card.keys[0]
        console.say(f"{pinned.code} ({pinned.name}): {'revoked: ' + pinned.revoked if pinned.revoked else 'trusted'}")
        console.say(f"Pinned:      {time_text(pinned.pinned_ns)}, card {pinned.serial}")
        console.say(f"Fingerprint: {card.fingerprint}")
        console.say(f"Key valid:   {time_text(key.valid_from_ns)} to {time_text(key.valid_until_ns)}")
        console.say(f"Recipient:   {card.recipient or 'none (content for it cannot be encrypted)'}")
        told = show_told(console, site, code)
        console.result(
            {
                **told,
                "site": pinned.code,
                "name": pinned.name,
                "trusted": not pinned.revoked,
                "revoked": pinned.revoked,
                "serial": pinned.serial,
                "fingerprint": card.fingerprint,
                "recipient": card.recipient,
                "valid_until": time_text(key.valid_until_ns),
            }
        )


@command(app, "revoke", examples=['courier site revoke BR1 --reason "laptop stolen"'])
def revoke(
    context: typer.Context,
    *,
    code: SITE_CODE,
    reason: Annotated[str, typer.Option("--reason", metavar="REASON", help="Why; it is kept with the card.")] = "",
) -> None:
    """Stop trusting a site.

    Nothing that it signs is accepted until a new card of it is pinned.
    """
    from courier.site.peers import find_site, revoke_site

    console = console_of(context)
    with console.site() as site:
        find_site(site, code)
        console.confirm(f"Stop trusting {code}?")
        revoke_site(site, code, reason)
        console.say(f"{code} is not trusted any more.")
        console.result({"site": code, "trusted": False})


@command(
    app,
    "rotate-key",
    examples=["courier site rotate-key", "courier site rotate-key --lost --since 2026-11-24T09:30"],
)
def rotate(
    context: typer.Context,
    *,
    key: KEY = "file",
    passphrase: PASSPHRASE = False,
    lost: Annotated[bool, typer.Option("--lost", help="The present keys are lost, or somebody else has them.")] = False,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="With --lost: since when, in UTC, such as 2026-11-24T09:30.")
    ] = "",
) -> None:
    """Make new keys and a new card, and send the card to the sites.

    Parcels that are under way stay valid; with --lost, only what was signed before the keys were lost.
    """
    from courier.errors import UsageError
    from courier.site.rotation import key_not_valid_yet, rotate_key, unacknowledged

    console = console_of(context)
    if since and not lost:
        raise UsageError("--since says since when the keys are lost", hint="give it together with --lost")
    with console.site() as site:
        ended = site.key_has_ended() and not lost
        pinning = "Every other site will have to pin the new card by its fingerprint."
        if lost:
            if not_yet := key_not_valid_yet(site):
                console.warn(f"{not_yet}. Is the clock right now? If it is not, parcels under way become invalid.")
            console.confirm(f"{pinning} Go on?")
        elif ended:
            console.confirm(f"The present key has ended, or this computer's clock is wrong. {pinning} Go on?")
        elif waiting := unacknowledged(site):
            last = f"card {site.card.serial}, made {time_text(site.card.issued_ns)}"
            console.confirm(f"{', '.join(waiting)} did not acknowledge {last} yet. Rotate again?")
        since_ns = parse_moment(since or None, "--since")
        done = rotate_key(site, where=key, passphrase=passphrase, lost=lost, since_ns=since_ns)
        console.say(f"{site.code} has card {done.card.serial}. Its signing key: {done.place}.")
        console.say(f"Fingerprint: {done.card.fingerprint}")
        if lost or ended:
            state = "is listed as revoked" if lost else "had ended"
            console.say(f"The old key {state}. Tell every other site by phone to pin the new card:")
            console.say("  courier site trust CARD --fingerprint FINGERPRINT   (courier site card --out CARD)")
        elif done.told:
            console.say(f"The card goes to {', '.join(done.told)} with the next: courier channel sync")
        else:
            console.say("No site has an address: hand the card over (courier site card --out CARD)")
        console.result(
            {
                "site": site.code,
                "serial": done.card.serial,
                "fingerprint": done.card.fingerprint,
                "recipient": done.card.recipient,
                "queued_to": list(done.told),
                "revoked": lost,
            }
        )


app.add_typer(site_policy.app)
