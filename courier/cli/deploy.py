"""``courier deploy``: the commands about deployments of images to computers."""

from __future__ import annotations

from courier.cli import deploy_create, deploy_policy, deploy_run, deploy_show
from courier.cli.command import group

app = group("Deploy images to computers: run task sequences.")
for module in (deploy_create, deploy_show, deploy_policy, deploy_run):
    app.add_typer(module.app)
