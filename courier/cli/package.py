"""``courier package``: the package store. Each module named ``package_...`` has some of its commands."""

from __future__ import annotations

from courier.cli import package_add, package_diff, package_export, package_offer, package_remove, package_show
from courier.cli.command import group

app = group("The package store: add content, check it, export it.")

# In the order of the help.
for module in (package_add, package_show, package_diff, package_export, package_offer, package_remove):
    app.add_typer(module.app)
