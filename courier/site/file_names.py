"""Names of files that stand in a site's home itself and are spoken of in several places.

It imports nothing: the completion of a command line reads the home within a blink.
"""

from __future__ import annotations

SETTINGS = "site.json"
"""The settings of the site."""
CATALOGUE = "catalogue.sqlite"
"""The catalogue, where it is no database server's; SQLite keeps others beside it, whose names begin like this."""
CATALOGUE_FILES = tuple(f"{CATALOGUE}{more}" for more in ("", "-wal", "-shm", "-journal"))
"""The catalogue and what SQLite keeps beside it."""
CONFIG = "config.toml"
"""What the operators have set in place of options."""
BACKUP = "backup"
"""The folder where the copy of the catalogue is while a backup is written."""
WATCH = "watch"
"""The folder where ``courier channel watch`` keeps what it has seen and told."""
