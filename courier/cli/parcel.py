"""``courier parcel``: parcels, at both ends. Each room beside this one has some of its commands."""

from __future__ import annotations

from courier.cli import custody, parcel_fate, parcel_receive, parcel_repair, parcel_send, parcel_ship, parcel_show
from courier.cli.command import group

app = group("Parcels: create, write, ship; receive, verify, import.")

# In the order of the help.
for room in (parcel_send, parcel_ship, parcel_repair, parcel_receive, parcel_show, parcel_fate):
    room.add_to(app)
app.add_typer(custody.app, name="custody")
