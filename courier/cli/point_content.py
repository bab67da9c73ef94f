"""The commands of ``courier point`` that put packages on points, mend them, take them away and read them back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from courier.cli.command import command, console_of, group
from courier.cli.point_document import POINT, POINTS
from courier.errors import CourierError
from courier.text import plural, size_text

if TYPE_CHECKING:
    from courier.cli.console import Console
    from courier.distribution.validate import Validated
    from courier.distribution.versions import Distributed
    from courier.site.home import Site

app = group("")
REFERENCE = Annotated[
    str, typer.Argument(metavar="ID[:VERSION]", help="Package, such as HQ100001, or one version, such as HQ100001:3.")
]
Act = Callable[["Site", str, Callable[[int], None]], "Distributed"]


def _failures(names: Sequence[str], act: Callable[[str], None]) -> list[tuple[str, CourierError]]:
    """Do something on each point, on the others too where one fails; which failed, and of what."""
    from courier.files import explain_os

    failures: list[tuple[str, CourierError]] = []
    for name in dict.fromkeys(names):
        try:
            act(name)
        except CourierError as error:
            failures.append((name, error))
        except OSError as error:
            failures.append((name, explain_os(error)))
    return failures


def _failed_json(failures: Sequence[tuple[str, CourierError]]) -> list[dict[str, Any]]:
    return [{"point": name, "code": str(error.code), "message": error.message} for name, error in failures]


def _on_each(console: Console, names: Sequence[str], label: str, *acts: Act) -> None:
    """Do some things on each point, the others too where one fails; then print, and exit with what failed last."""
    documents: list[dict[str, Any]] = []
    with console.site() as site:

        def act_on(name: str, act: Act) -> None:
            with console.progress(label, None) as progress:
                done = act(site, name, progress)
            documents.append(_describe(done))
            _say(console, done)

        failures = [one for act in acts for one in _failures(names, partial(act_on, act=act))]
        if failures:
            document = {"points": documents, "failed": _failed_json(failures)}
            raise typer.Exit(console.errors(failures, document))
        console.result({"points": documents})


def _describe(done: Distributed) -> dict[str, Any]:
    return {
        "point": done.point,
        "package_id": done.package,
        "versions": list(done.versions),
        "contents_sent": done.filled.contents,
        "bytes_sent": done.filled.bytes,
        "withdrawn": list(done.withdrawn),
        "freed": done.freed,
    }


def _say(console: Console, done: Distributed) -> None:
    sent = f"{plural(done.filled.contents, 'content')}, {size_text(done.filled.bytes)} sent"
    for version in done.versions:
        console.say(f"{done.package}:{version} is on point {done.point}.")
    if done.versions:
        console.say(f"  {sent if done.filled.contents else 'nothing was missing'}")
    for version in done.withdrawn:
        console.say(f"{done.package}:{version} is withdrawn from point {done.point}.")
    if done.freed:
        console.say(f"  {size_text(done.freed)} deleted")


@command(
    app,
    "distribute",
    examples=[
        "courier point distribute HQ100001 --point P1",
        "courier point distribute HQ100001:3 HQ100004 --point P1 --point P2",
    ],
)
def distribute(
    context: typer.Context,
    *,
    references: Annotated[
        list[str],
        typer.Argument(metavar="ID[:VERSION]...", help="Packages, or versions such as HQ100004:3."),
    ],
    points: POINTS,
    older: Annotated[
        bool, typer.Option("--older", help="Also a version that the point told clients not to take any more.")
    ] = False,
) -> None:
    """Put versions on points where they are not.

    Without a version it is the newest of the store. Only what is missing is sent, by digest, and read back.
    Clients see the version once all of it is there.
    """
    from courier.distribution.versions import distribute as act

    def of(reference: str) -> Act:
        return lambda site, name, progress: act(site, name, reference, older=older, progress=progress)

    _on_each(console_of(context), points, "Distributing", *map(of, dict.fromkeys(references)))


@command(app, "update", examples=["courier point update HQ100001 --point P1"])
def update(
    context: typer.Context,
    *,
    package: Annotated[str, typer.Argument(metavar="ID", help="Package, such as HQ100001.")],
    points: POINTS,
) -> None:
    """Put the newest version there, and withdraw the older.

    From then on clients take no older version from there.
    """
    from courier.distribution.versions import update as act

    _on_each(
        console_of(context),
        points,
        "Updating",
        lambda site, name, progress: act(site, name, package, progress=progress),
    )


@command(app, "redistribute", examples=["courier point redistribute HQ100001:3 --point P1"])
def redistribute(context: typer.Context, *, reference: REFERENCE, points: POINTS) -> None:
    """Read every byte of a version again, and mend it.

    What is damaged or missing on the points comes from the store. Without a version: all of the package there.
    """
    from courier.distribution.versions import redistribute as act

    _on_each(
        console_of(context),
        points,
        "Reading and mending",
        lambda site, name, progress: act(site, name, reference, progress=progress),
    )


@command(app, "withdraw", examples=['courier point withdraw HQ100001:2 --point P1 --reason "a fault in setup"'])
def withdraw(
    context: typer.Context,
    *,
    reference: REFERENCE,
    points: POINTS,
    reason: Annotated[str | None, typer.Option("--reason", metavar="REASON", help="Why; clients are told.")] = None,
) -> None:
    """Sign a version away from points, then delete it.

    What other versions there need stays. Without a version: all of the package.
    """
    from courier.distribution.versions import withdraw as act

    console = console_of(context)
    console.confirm(f"Withdraw {reference} from {', '.join(points)}?")
    _on_each(console, points, "Withdrawing", lambda site, name, _: act(site, name, reference, reason or ""))


@command(
    app,
    "validate",
    examples=[
        "courier point validate HQ100001:3 --point P1",
        "courier point validate --point P1",
        "courier point validate --point P1 --served",
    ],
)
def validate(
    context: typer.Context,
    *,
    reference: Annotated[
        str | None,
        typer.Argument(metavar="[ID[:VERSION]]", help="Package or version; without it everything on the point."),
    ] = None,
    points: POINTS,
    served: Annotated[
        bool, typer.Option("--served", help="Get every file from the point's URL, as a client does.")
    ] = False,
) -> None:
    """Read points back, and name what is damaged.

    Every byte is compared with its digest; exit code 4 where one differs. Nothing is written
    there. To mend: courier point redistribute.
    """
    from courier.distribution.served import validate_served
    from courier.distribution.validate import validate as read_back
    from courier.errors import DamagedError

    act = validate_served if served else read_back

    console = console_of(context)
    with console.site() as site:
        documents = []

        def read(name: str) -> None:
            with console.progress("Reading back", None) as progress:
                found = act(site, name, reference, progress=progress)
            _say_validated(console, found)
            documents.append(_describe_validated(found))

        failures = _failures(points, read)
        document: dict[str, Any] = {"points": documents}
        if failures:
            document["failed"] = _failed_json(failures)
        damaged = [one for one in documents if one["damaged"]]
        if damaged:
            count, first = plural(sum(len(one["damaged"]) for one in damaged), "file"), damaged[0]["point"]
            error = DamagedError(
                f"{count} {'not served right by' if served else 'damaged on'} "
                f"{', '.join(one['point'] for one in damaged)}",
                hint=f"courier point validate --point {first}; if that is good, look at the web server"
                if served
                else f"courier point redistribute ID --point {first} mends them from the store; check that disk",
            )
            failures.append(("", error))
        if failures:
            raise typer.Exit(console.errors(failures, document))
        console.result(document)


def _describe_validated(found: Validated) -> dict[str, Any]:
    return {
        "point": found.point,
        "versions": [{"package_id": ref.package, "version": ref.version} for ref in found.versions],
        "checked": found.checked,
        "bytes": found.bytes,
        "damaged": [
            {"path": one.path, "problem": one.problem, "files": list(one.files), "file_count": one.count}
            for one in found.damage
        ],
    }


def _say_validated(console: Console, found: Validated) -> None:
    if not found.versions:
        console.say(f"Point {found.point} has no package: nothing was checked.")
    for one in found.damage:
        more = f" and {one.count - len(one.files):,} more" if one.count > len(one.files) else ""
        needed = f" ({', '.join(one.files)}{more})" if one.files else ""
        console.warn(f"  {one.path} {one.problem}{needed}")
    if found.versions and not found.damage:
        read = f"{plural(found.checked, 'file')} read back, {size_text(found.bytes)} of content"
        console.say(f"Point {found.point} is good: {read}.")


@command(app, "prestage", examples=["courier point prestage P1 --from /media/usb/point"])
def prestage(
    context: typer.Context,
    *,
    name: POINT,
    source: Annotated[
        Path, typer.Option("--from", metavar="FOLDER", help="Folder of another point, which came on a drive.")
    ],
) -> None:
    """Fill a point from another one's folder on a drive.

    Everything is verified by signature and digest. Versions stay those of the drive; an older one never takes the
    place of a newer one.
    """
    from courier.distribution.prestage import prestage as act

    console = console_of(context)
    with console.site() as site:
        with console.progress("Prestaging", None) as progress:
            done = act(site, name, source, progress=progress)
        console.say(f"Statement {done.serial} of {done.issuer}: {size_text(done.filled.bytes)} copied.")
        for ref in done.taken:
            console.say(f"{ref.package}:{ref.version} is on point {name}.")
        for ref, why in done.left:
            console.say(f"{ref.package}:{ref.version} left alone: {why}.")
        console.result(
            {
                "point": name,
                "from": done.issuer,
                "serial": done.serial,
                "taken": [{"package_id": ref.package, "version": ref.version} for ref in done.taken],
                "left": [{"package_id": ref.package, "version": ref.version, "reason": why} for ref, why in done.left],
                "contents_sent": done.filled.contents,
                "bytes_sent": done.filled.bytes,
            }
        )
