"""Files of any size encrypted with a passphrase: written and read as a stream."""

from __future__ import annotations

import io

import pytest

from formats.age import EncryptingWriter, Identity, needs_passphrase, open_encrypted, passphrase
from formats.errors import NotForUsError

WORD = "correct horse battery staple"
PLAIN = b"plain" * 50_000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "WORK", 10)


def encrypted(recipients: list[str], word: str) -> bytes:
    out = io.BytesIO()
    with EncryptingWriter(out, recipients, passphrase=word) as writer:
        writer.write(PLAIN)
    return out.getvalue()


def test_the_passphrase_opens_it_and_nothing_else_does() -> None:
    data = encrypted([], WORD)
    assert needs_passphrase(io.BytesIO(data))
    with open_encrypted(io.BytesIO(data), [], passphrase=WORD) as plain:
        assert plain.read() == PLAIN
    with pytest.raises(NotForUsError):
        open_encrypted(io.BytesIO(data), [], passphrase="another")
    with pytest.raises(NotForUsError):
        open_encrypted(io.BytesIO(data), [Identity.generate()])


def test_a_file_for_keys_is_not_opened_by_a_passphrase() -> None:
    data = encrypted([Identity.generate().recipient], "")
    assert not needs_passphrase(io.BytesIO(data))
    with pytest.raises(NotForUsError):
        open_encrypted(io.BytesIO(data), [], passphrase=WORD)


def test_a_passphrase_stands_alone() -> None:
    with pytest.raises(ValueError, match="alone"):
        encrypted([Identity.generate().recipient], WORD)
