"""Write docs/sequence.schema.json from the table of task sequences: ``python docs/make_sequence_schema.py``.

A test compares the file with what this makes, so that it cannot fall behind.
"""

from __future__ import annotations

import json
from pathlib import Path

from courier.deployment.sequence_file import schema

PAGE = Path(__file__).with_name("sequence.schema.json")


def make() -> str:
    """The file."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(make(), encoding="utf-8")
