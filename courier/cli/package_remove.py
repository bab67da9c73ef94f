"""``courier package retire`` and ``remove``: versions out of use, and out of the store."""

from __future__ import annotations

from typing import Annotated

import typer

from courier.cli.command import command, console_of, group
from courier.cli.package_version import REFERENCE
from courier.text import plural, size_text

app = group("")


@command(app, "retire", examples=['courier package retire HQ100001:2 --reason "driver fault"'])
def retire(
    context: typer.Context,
    *,
    reference: Annotated[
        str, typer.Argument(metavar="ID:VERSION", help="Version of a package of this site, such as HQ100001:3.")
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="REASON", help="Why; every site is told.")] = "",
) -> None:
    """Retire a version, here and at every site that has it.

    A retired version must not be used or sent any more.
    """
    from courier.packages.retirement import retire_package

    console = console_of(context)
    with console.site() as site:
        console.confirm(f"Retire {reference} for good, at every site?")
        told = retire_package(site, reference, reason)
        console.say(f"{reference} is retired; {plural(told, 'message')} queued. Next: courier channel sync")
        console.result({"package_id": reference.split(":")[0], "retired": True, "queued": told})


@command(app, "remove", examples=["courier package remove HQ100001:2"])
def remove(context: typer.Context, *, reference: REFERENCE) -> None:
    """Remove a package, or one version of it, from the store.

    Content that other packages hold too is kept.
    """
    from courier.packages.find import find_package
    from courier.packages.remove import remove_package

    console = console_of(context)
    with console.site() as site:
        find_package(site, reference)
        console.confirm(f"Remove {reference} from the store?")
        removal = remove_package(site, reference)
        names = ", ".join(f"{package}:{version}" for package, version in removal.versions)
        pending = f", {size_text(removal.pending)} more with later removals" if removal.pending else ""
        console.say(f"Removed {names}; {size_text(removal.freed)} freed{pending}.")
        if removal.unfreed:
            console.warn(f"nothing could be freed: {removal.unfreed} (courier package verify)")
        removed = [{"package_id": package, "version": version} for package, version in removal.versions]
        console.result(
            {"removed": removed, "freed": removal.freed, "pending": removal.pending, "unfreed": removal.unfreed}
        )
