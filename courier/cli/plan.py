"""``courier plan``: decide before anything is built. Each module named ``plan_...`` has some of its commands."""

from __future__ import annotations

from courier.cli import plan_network, plan_points, plan_send, plan_space
from courier.cli.command import group

app = group("Plan before building: which way, what room, how many points.")
for module in (plan_send, plan_network, plan_space, plan_points):
    app.add_typer(module.app)
