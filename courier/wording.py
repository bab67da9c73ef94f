"""How things are said to people, at every floor: in messages, in logs, on screens."""


def plural(count: int, word: str) -> str:
    """``1 volume``, ``3 volumes``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
