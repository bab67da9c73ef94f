"""``courier computer``: the computers that packages can be deployed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from courier.cli import computer_association, computer_import, shared_mac
from courier.cli.command import command, console_of, group
from courier.cli.computer_document import describe
from courier.cli.console import Console, time_text

if TYPE_CHECKING:
    from courier.site.catalog.computers import Association, KnownComputer

app = group("Computers, which must be known before anything is deployed to them.")
NAME = Annotated[str, typer.Argument(metavar="COMPUTER", help="Name of a computer: letters, digits and hyphens.")]
GUID = Annotated[
    str | None,
    typer.Option("--guid", metavar="GUID", help="SMBIOS GUID in any usual form, as it is printed; empty for none."),
]
MAC = Annotated[
    list[str] | None, typer.Option("--mac", metavar="MAC", help="MAC address in any usual form; repeat for more.")
]
CLASS = Annotated[
    str | None, typer.Option("--class", metavar="CLASS", help="Class of clients, whose cache settings it has.")
]
GROUP = Annotated[
    str | None, typer.Option("--group", metavar="NAME", help="Group of clients, which has points of its own.")
]
VARIABLE = Annotated[
    list[str] | None,
    typer.Option("--variable", metavar="NAME=VALUE", help="A variable that sequences look at; repeat for more."),
]
PROTECT = Annotated[
    bool | None,
    typer.Option("--protect/--no-protect", help="No sequence that erases a disk is deployed to it, or it may be."),
]


@command(
    app,
    "add",
    examples=[
        "courier computer add PC-0042 --guid 4C4C4544-0044-3510-8052-B4C04F4A3732 --mac 00:1A:2B:3C:4D:5E",
        "courier computer add PC-0043 --mac 001a.2b3c.4d5f --class desk --group north --variable Model=X1",
    ],
)
def add(
    context: typer.Context,
    *,
    name: NAME,
    guid: GUID = None,
    mac: MAC = None,
    client_class: CLASS = None,
    group_name: GROUP = None,
    variable: VARIABLE = None,
    protect: PROTECT = None,
) -> None:
    """Add a computer. For many at one time: courier computer import FILE.csv."""
    from courier.deployment.computers import ComputerChange, add_computer, parse_assignments

    console = console_of(context)
    change = ComputerChange(
        guid=guid,
        macs=mac,
        client_class=client_class,
        group=group_name,
        protected=protect,
        variables=parse_assignments(variable or ()),
    )
    with console.site() as site:
        new = add_computer(site, name, change)
        console.say(f"Computer {new.name} added.")
        if not (new.row.guid or new.macs):
            console.note(
                f"{new.name} has neither a GUID nor a MAC, and is known by its name alone: "
                f"courier computer set {new.name} --guid GUID"
            )
        console.result(describe(new))


@command(
    app,
    "set",
    examples=[
        "courier computer set PC-0042 --class desk --variable Model=X1",
        "courier computer set SERVER1 --protect",
        "courier computer set PC-0042 --mac 00:1A:2B:3C:4D:5E --unset Model",
    ],
)
def set_(
    context: typer.Context,
    *,
    name: NAME,
    guid: GUID = None,
    mac: MAC = None,
    no_mac: Annotated[
        list[str] | None, typer.Option("--no-mac", metavar="MAC", help="Forget a MAC address; repeat for more.")
    ] = None,
    client_class: CLASS = None,
    group_name: GROUP = None,
    variable: VARIABLE = None,
    unset: Annotated[
        list[str] | None, typer.Option("--unset", metavar="NAME", help="Forget a variable; repeat for more.")
    ] = None,
    protect: PROTECT = None,
) -> None:
    """Change a computer. What is not given stays; --mac stands in place of all MAC addresses before."""
    from courier.deployment.computers import ComputerChange, change_computer, parse_assignments

    console = console_of(context)
    change = ComputerChange(
        guid=guid,
        macs=mac,
        without_macs=no_mac or (),
        client_class=client_class,
        group=group_name,
        protected=protect,
        variables=parse_assignments(variable or ()),
        unset=unset or (),
    )
    with console.site() as site:
        new = change_computer(site, name, change)
        console.say(f"Computer {new.name} changed.")
        console.result(describe(new))


@command(app, "list", examples=["courier computer list", "courier computer list --group north"])
def list_(
    context: typer.Context,
    *,
    group_name: Annotated[
        str | None, typer.Option("--group", metavar="NAME", help="Only the computers of this group.")
    ] = None,
    client_class: Annotated[
        str | None, typer.Option("--class", metavar="CLASS", help="Only the computers of this class.")
    ] = None,
) -> None:
    """List the computers."""
    from courier.deployment.computers import all_computers

    console = console_of(context)
    with console.site() as site:
        found = [
            one
            for one in all_computers(site)
            if group_name in (None, one.row.group_name) and client_class in (None, one.row.client_class)
        ]
        rows = [
            (
                one.name,
                one.row.guid or "-",
                " ".join(one.macs) or "-",
                one.row.client_class or "-",
                one.row.group_name or "-",
                "protected" if one.row.protected else "",
            )
            for one in found
        ]
        console.table(("COMPUTER", "GUID", "MAC", "CLASS", "GROUP", ""), rows)
        if not found:
            console.say("There is no such computer yet: courier computer add NAME, or courier computer import FILE")
        console.result({"computers": [describe(one) for one in found]})


@command(
    app,
    "show",
    examples=["courier computer show PC-0042", "courier computer show 00-1A-2B-3C-4D-5E"],
)
def show(
    context: typer.Context,
    *,
    sign: Annotated[
        str,
        typer.Argument(metavar="COMPUTER|GUID|MAC", help="Name of a computer, or its SMBIOS GUID or a MAC address."),
    ],
) -> None:
    """Show a computer: what it is known by, its variables, its deployments, and whose state goes where."""
    from courier.deployment.computers import associations_of, deployments_to, look_up

    console = console_of(context)
    with console.site() as site:
        one = look_up(site, sign)
        associations = associations_of(site, one.name)
        deployments = deployments_to(site, one.name)
        _say(console, one, associations, deployments)
        console.result(
            {
                **describe(one),
                "added": time_text(one.row.added_ns),
                "associations": [computer_association.describe(each) for each in associations],
                "deployments": deployments,
            }
        )


def _say(console: Console, one: KnownComputer, associations: list[Association], deployments: list[str]) -> None:
    console.say(f"{one.name}{': protected, nothing erases its disk' if one.row.protected else ''}")
    console.say(f"GUID: {one.row.guid or 'none'}")
    console.say(f"MAC: {' '.join(one.macs) or 'none'}")
    console.say(f"Class: {one.row.client_class or 'none'}; group: {one.row.group_name or 'none'}")
    for name, value in sorted(one.variables.items()):
        console.say(f"  {name} = {value}")
    for each in associations:
        console.say(f"State of {each.source} goes to {each.destination}, since {time_text(each.made_ns)}")
    console.say(f"Deployments: {', '.join(deployments) or 'none'}")
    console.say(f"Added {time_text(one.row.added_ns)}")


@command(app, "remove", examples=["courier computer remove PC-0042"])
def remove(context: typer.Context, *, name: NAME) -> None:
    """Forget a computer.

    Refused while it is a target of a deployment, or its state goes somewhere or is kept: that is named.
    """
    from courier.deployment.computers import check_removable_here, remove_computer

    console = console_of(context)
    with console.site() as site:
        known = check_removable_here(site, name)
        console.confirm(f"Forget computer {known}?")
        one = remove_computer(site, name)
        console.say(f"Computer {one.name} removed.")
        console.result({"computer": one.name})


for commands in (computer_import.app, computer_association.app):
    app.add_typer(commands)
app.add_typer(shared_mac.app, name="shared-mac")
