"""``courier standalone``: sets of discs or sticks that start a computer and deploy to it without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import DRY_RUN, command, console_of, group
from courier.cli.console import Console, time_text
from courier.cli.moment import parse_moment
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.deployment.standalone.create import MadeSet, SetDraft
    from courier.deployment.standalone.request import SetRequest
    from courier.deployment.standalone.verify import SetVerdict
    from courier.site.trust import Trust
    from formats.documents.standalone import Layout

app = group("Stand-alone media: discs that deploy without a network.")

PASSPHRASE_FILE = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="The first line is the passphrase of the set."),
]
CARD_OPTION = Annotated[
    list[Path] | None,
    typer.Option("--card", metavar="FILE", help="Trust this site card; no site home is needed then."),
]
_TIME = "2026-11-24T09:30"


@command(
    app,
    "create",
    examples=[
        "courier standalone create --package HQ100001 --sequence win11.toml --boot-image HQ100002",
        "courier standalone create --package HQ100001 --sequence win11.toml --boot-image HQ100002 "
        "--bios-loader isolinux.bin --bios-loader ldlinux.c32 --efi-loader grubx64.efi --media dvd9 --out discs",
        "courier standalone create --package HQ100001 --sequence win11.toml --boot-image HQ100002 "
        "--efi-loader grubx64.efi --layout usb --capacity 15GB --out sticks --passphrase-file words.txt",
    ],
)
def create(
    context: typer.Context,
    *,
    package: Annotated[
        str, typer.Option("--package", metavar="ID", help="The image that the sequence applies, or ID:VERSION.")
    ],
    sequence: Annotated[Path, typer.Option("--sequence", metavar="FILE", help="The task sequence, in TOML.")],
    media: Annotated[
        str | None,
        typer.Option("--media", metavar="KIND", help="Kind of disc, such as dvd9. Without it, kinds are compared."),
    ] = None,
    capacity: Annotated[
        str | None, typer.Option("--capacity", metavar="SIZE", help="Usable size of a stick or other medium.")
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            "--layout", metavar="LAYOUT", help="Layout: iso for discs and sticks, or usb with FAT32 for sticks alone."
        ),
    ] = "iso",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the images; a set in it is replaced.")
    ] = None,
    boot_image: Annotated[
        str,
        typer.Option(
            "--boot-image", metavar="ID", help="Package that the computer starts; else the one the sequence names."
        ),
    ] = "",
    bios_loader: Annotated[
        list[Path] | None,
        typer.Option("--bios-loader", metavar="FILE", help="Loader for BIOS: isolinux.bin, and each file it needs."),
    ] = None,
    efi_loader: Annotated[
        list[Path] | None,
        typer.Option("--efi-loader", metavar="FILE", help="Loader for UEFI: grubx64.efi, and each file it needs."),
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option("--valid-from", metavar="TIME", help=f"Refuse to run before it, in UTC: {_TIME}.")
    ] = None,
    valid_to: Annotated[
        str | None, typer.Option("--valid-to", metavar="TIME", help="Refuse to run from then on, in UTC.")
    ] = None,
    passphrase_file: PASSPHRASE_FILE = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What people call the set.")] = "",
    serial: Annotated[
        bool, typer.Option("--serial", help="Let the started computer talk by its first serial port (115,200 baud).")
    ] = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Make bootable media with an image and its task sequence.

    All packages that the sequence uses are on them. Without --media or --capacity it writes nothing, and says how many
    media of each kind are needed.
    """
    from courier.deployment.standalone.create import create_set, drafting
    from courier.deployment.standalone.request import SetRequest
    from courier.errors import UsageError
    from courier.media.kinds import medium_capacity

    console = console_of(context)
    request = SetRequest(
        package=package,
        sequence=sequence,
        layout=_layout(layout),
        boot_image=boot_image,
        bios_loaders=tuple(bios_loader or ()),
        efi_loaders=tuple(efi_loader or ()),
        valid_from_ns=parse_moment(valid_from, "--valid-from"),
        valid_until_ns=parse_moment(valid_to, "--valid-to"),
        passphrase=read_passphrase(passphrase_file),
        name=name,
        serial=serial,
    )
    if media is None and capacity is None:
        with console.site() as site, drafting(site, request) as draft:
            _compare(console, draft)
        return
    kind, usable = medium_capacity(media, capacity)
    _check_kind(kind, request.layout)
    if dry_run:
        with console.site() as site, drafting(site, request) as draft:
            _say_plan(console, draft, kind, usable)
        return
    if out is None:
        raise UsageError("no folder for the images is given", hint="--out DIR, or --dry-run")
    with console.site() as site, console.phases() as progress:
        made = create_set(site, request, media=kind, capacity=usable, out=out, progress=progress)
    _say_made(console, made, request)


def _layout(text: str) -> Layout:
    from courier.errors import UsageError

    if text == "iso":
        return "iso"
    if text == "usb":
        return "usb"
    raise UsageError(f"there is no layout called {text!r}", hint="--layout iso, or --layout usb")


def _check_kind(kind: str, layout: str) -> None:
    from courier.errors import UsageError
    from courier.media.kinds import DRIVE, MEDIA

    if kind != DRIVE and ("tape" in MEDIA[kind].layouts or layout == "usb"):
        what = "a tape starts no computer" if "tape" in MEDIA[kind].layouts else "the layout usb is for sticks"
        raise UsageError(f"{kind}: {what}", hint="--media dvd9, or --capacity 15GB for a stick")


def read_passphrase(path: Path | None) -> str:
    """The first line of a file; empty where none is named. Raises `UsageError` for an empty one, and `OSError`."""
    from courier.errors import UsageError

    if path is None:
        return ""
    hint = "put the passphrase on the first line of the file, in UTF-8"
    try:
        words = path.read_bytes()[:4096].decode("utf-8-sig").partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text in UTF-8", hint=hint) from None
    if not words:
        raise UsageError(f"{path}: its first line is empty", hint=hint)
    return words


def _compare(console: Console, draft: SetDraft) -> None:
    from courier.deployment.standalone.choices import recommended, set_choices
    from courier.errors import NoSpaceError

    choices = set_choices(draft)
    console.say(f"{draft.source.name}: {size_text(draft.bytes)}, {plural(len(draft.files), 'file')}")
    console.table(
        ("Kind", "Usable", "Media", "Remark"),
        [(one.kind, size_text(one.capacity), one.count or "-", one.refused) for one in choices],
    )
    best = recommended(choices)
    if best is None:
        raise NoSpaceError("no kind of medium will do", hint="--capacity SIZE for a larger one")
    console.say(f"Recommended: {plural(best.count, 'medium', 'media')} of kind {best.kind} ({best.options})")
    for note in draft.boot.notes:
        console.note(note)
    console.result(
        {
            "bytes": draft.bytes,
            "files": len(draft.files),
            "choices": [
                {"kind": one.kind, "capacity": one.capacity, "media": one.count, "refused": one.refused}
                for one in choices
            ],
            "recommended": {"kind": best.kind, "media": best.count, "options": best.options},
            "notes": list(draft.boot.notes),
        }
    )


def _say_plan(console: Console, draft: SetDraft, kind: str, capacity: int) -> None:
    plan = draft.plan(capacity)
    rows = []
    for disc in range(1, plan.discs + 1):
        here = [piece for piece in plan.pieces if piece.disc == disc]
        cut = sum(1 for piece in here if piece.size != draft.files[piece.file].size)
        rows.append((disc, len(here), size_text(sum(piece.size for piece in here)), cut))
    console.say(f"Would make {plural(plan.discs, 'medium', 'media')} of kind {kind}")
    console.table(("Disc", "Files", "Bytes", "Parts of cut files"), rows)
    for note in draft.boot.notes:
        console.note(note)
    console.result(
        {
            "media": kind,
            "capacity": capacity,
            "discs": [
                {
                    "disc": disc,
                    "pieces": sum(1 for piece in plan.pieces if piece.disc == disc),
                    "bytes": sum(piece.size for piece in plan.pieces if piece.disc == disc),
                }
                for disc in range(1, plan.discs + 1)
            ],
            "packages": [f"{one.package}:{one.version}" for one in draft.source.packages],
            "notes": list(draft.boot.notes),
        }
    )


def _say_made(console: Console, made: MadeSet, request: SetRequest) -> None:
    document = made.document
    console.say(f"{document.deployment} ({document.name}): {plural(document.discs, 'disc')}, read back")
    for disc, image in enumerate(made.images, 1):
        console.say(f"  {document.disc_name(disc)}  {image}{'  (boots)' if disc == 1 else ''}")
    if request.passphrase:
        console.say("Everything but what boots is encrypted: give the passphrase by another way than the media.")
    for note in made.notes:
        console.note(note)
    console.result(
        {
            "set": document.deployment,
            "name": document.name,
            "discs": [
                {"disc": disc, "volume": document.disc_name(disc), "path": str(image), "bytes": image.stat().st_size}
                for disc, image in enumerate(made.images, 1)
            ],
            "encrypted": document.encrypted,
            "notes": list(made.notes),
        }
    )


@command(app, "list", examples=["courier standalone list"])
def list_(context: typer.Context) -> None:
    """List the sets that were made at this site.

    The log of the site has them, and no look is taken at the media: a set may have been replaced since by a later one
    in the same folder.
    """
    from courier.deployment.standalone.create import made_sets

    console = console_of(context)
    with console.site() as site:
        found = made_sets(site)
    for one in found:
        console.say(f"{time_text(one.at_ns)}  {one.operator}  {one.text}")
    if not found:
        console.say("No set was made here yet: courier standalone create")
    console.result(
        {
            "sets": [
                {
                    "set": one.text.partition(" ")[0],
                    "made": time_text(one.at_ns),
                    "operator": one.operator,
                    "text": one.text,
                }
                for one in found
            ]
        }
    )


@command(
    app,
    "verify",
    examples=[
        "courier standalone verify discs/HQ1_D00001_01.iso discs/HQ1_D00001_02.iso",
        "courier standalone verify /dev/sr0 --card HQ1.card",
    ],
)
def verify(
    context: typer.Context,
    *,
    discs: Annotated[
        list[Path], typer.Argument(readable=False, metavar="DISC...", help="Images, or drives with discs or sticks.")
    ],
    card: CARD_OPTION = None,
    passphrase_file: PASSPHRASE_FILE = None,
) -> None:
    """Check the signature of a set, and every file of its discs.

    Missing discs are named; a passphrase is needed only to check that it opens the set.
    """
    from courier.deployment.standalone.verify import verify_discs
    from courier.errors import DamagedError

    console = console_of(context)
    words = read_passphrase(passphrase_file)
    trust = _trust(console, card or [])
    with console.phases() as progress:
        verdict = verify_discs(discs, trust, passphrase=words, progress=progress)
    _say_verdict(console, verdict)
    document = _verdict_document(verdict)
    if verdict.problems:
        bad = sum(bool(disc.problems) for disc in verdict.discs)
        error = DamagedError(
            f"{plural(bad, 'disc')} {'is' if bad == 1 else 'are'} not good",
            hint="copy the images onto new media, or make the set anew: courier standalone create",
        )
        console.error(error, document)
        raise typer.Exit(error.exit_code)
    console.result(document)


@command(
    app,
    "extract",
    examples=[
        "courier standalone extract discs/HQ1_D00001_01.iso discs/HQ1_D00001_02.iso --card HQ1.card --to /run/courier",
    ],
)
def extract(
    context: typer.Context,
    *,
    discs: Annotated[
        list[Path], typer.Argument(readable=False, metavar="DISC...", help="All discs of the set: images, or drives.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="New folder for the policy and its content.")],
    card: CARD_OPTION = None,
    passphrase_file: PASSPHRASE_FILE = None,
) -> None:
    """Put what a set deploys into a folder, verified and put together.

    It holds policy.json and card.json for deploy run, and a distribution point's folder, which the policy wants to be
    at /run/courier/point: for a computer that was started by something else, such as Windows PE.
    """
    from courier.deployment.standalone.extract import extract_set
    from courier.deployment.standalone.request import POINT_ADDRESS

    console = console_of(context)
    words = read_passphrase(passphrase_file)
    trust = _trust(console, card or [])
    with console.phases() as progress:
        document = extract_set(discs, trust, passphrase=words, to=to, progress=progress)
    console.say(f"The content of {document.deployment} ({document.name}) is in {to}, verified")
    there = Path(POINT_ADDRESS).parent
    if to.absolute() != there:
        console.say(f"The policy wants it at {there}: mount or move it there before a run.")
    given = f"--policy {there / 'policy.json'} --card {there / 'card.json'}"
    console.say(f"Next: courier deploy run --computer NAME {given} --into DISK.img")
    console.result({"set": document.deployment, "name": document.name, "path": str(to)})


def _trust(console: Console, cards: list[Path]) -> Trust:
    from courier.distribution.download_plan import read_cards
    from courier.site.trust import Trust

    if cards:
        return Trust.of_cards(*read_cards(cards).values())
    with console.site() as site:
        return site.trust()


def _say_verdict(console: Console, verdict: SetVerdict) -> None:
    document = verdict.document
    made = time_text(document.created_ns)
    console.say(f"{document.deployment} ({document.name}): signed by {document.site}, {made}, with a key valid then")
    for disc in verdict.discs:
        state = "NOT good" if disc.problems else "good"
        console.say(f"{disc.name}: disc {disc.disc} of {document.discs}, {size_text(disc.bytes)}: {state}")
        for problem in disc.problems:
            console.say(f"  {problem}")
    for note in verdict.notes:
        console.say(f"note: {note}")


def _verdict_document(verdict: SetVerdict) -> dict[str, Any]:
    return {
        "set": verdict.document.deployment,
        "name": verdict.document.name,
        "signed_by": verdict.document.site,
        "encrypted": verdict.document.encrypted,
        "decrypted": verdict.decrypted,
        "missing": list(verdict.missing),
        "discs": [
            {
                "disc": disc.disc,
                "path": disc.name,
                "bytes": disc.bytes,
                "damaged_blocks": disc.damaged_blocks,
                "problems": list(disc.problems),
            }
            for disc in verdict.discs
        ],
        "notes": list(verdict.notes),
    }
