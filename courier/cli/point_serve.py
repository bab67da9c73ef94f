"""``courier point serve`` and ``config``."""

from courier.cli.command import group

app = group("")
