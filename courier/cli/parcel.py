"""``courier parcel``: parcels, at both ends. Each module named ``parcel_...`` has some of its commands."""

from __future__ import annotations

from courier.cli import (
    custody,
    parcel_intake,
    parcel_network,
    parcel_paper,
    parcel_receive,
    parcel_repair,
    parcel_send,
    parcel_ship,
    parcel_show,
    parcel_space,
    parcel_verify,
    parcel_write,
)
from courier.cli.command import group

app = group("Parcels: create, write, ship; receive, verify, import.")

# In the order of the help.
for module in (
    parcel_send,
    parcel_write,
    parcel_paper,
    parcel_ship,
    parcel_network,
    parcel_intake,
    parcel_receive,
    parcel_verify,
    parcel_repair,
    parcel_show,
    parcel_space,
):
    app.add_typer(module.app)
app.add_typer(custody.app, name="custody")
