"""Secrets under a passphrase: stock age's own decryption is the judge, and its files are read."""

from __future__ import annotations

import io
import os
import pty
from pathlib import Path

import pytest
from stock import stock_tool

from formats.age import Identity
from formats.age.passphrase import decrypt_secret, encrypt_secret
from formats.age.writer import EncryptingWriter
from formats.errors import DigestMismatchError, FormatError, MalformedError, NotForUsError, TooLargeError

WORDS = "correct horse batterie stäple"


def _by_age(words: str, *arguments: object) -> bytes:
    """Run age, which asks for its passphrase on a terminal only; return what it writes."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(stock_tool("age"), ["age", *map(str, arguments)])
    answers = [words] * 3
    shown = b""
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
        if data.rstrip().endswith(b":") and answers:
            os.write(terminal, answers.pop().encode() + b"\n")
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode()
    return shown


def test_stock_age_opens_what_we_encrypt_and_we_what_it_does(tmp_path: Path) -> None:
    ours, theirs, plain = tmp_path / "ours.age", tmp_path / "theirs.age", tmp_path / "plain"
    ours.write_bytes(encrypt_secret(b"a secret", WORDS, work=10))
    _by_age(WORDS, "-d", "-o", tmp_path / "opened", ours)
    assert (tmp_path / "opened").read_bytes() == b"a secret"
    plain.write_bytes(b"another")
    _by_age(WORDS, "-p", "-o", theirs, plain)
    assert decrypt_secret(theirs.read_bytes(), WORDS) == b"another"
    with pytest.raises(NotForUsError):
        decrypt_secret(ours.read_bytes(), WORDS + " ")


def test_every_altered_byte_is_refused() -> None:
    whole = encrypt_secret(b"secret", "words", work=1)
    for at in range(len(whole)):
        altered = bytearray(whole)
        altered[at] ^= 1
        with pytest.raises(FormatError):
            decrypt_secret(bytes(altered), "words")
    for end in range(len(whole)):
        with pytest.raises(FormatError):
            decrypt_secret(whole[:end], "words")
    with pytest.raises(DigestMismatchError):
        decrypt_secret(whole + b"x", "words")


@pytest.mark.parametrize("work", ["21", "64", "99"])
def test_a_strangers_work_factor_takes_no_memory(work: str) -> None:
    whole = encrypt_secret(b"secret", "words", work=1)
    first, _, rest = whole.partition(b" 1\n")
    with pytest.raises(TooLargeError):
        decrypt_secret(first + f" {work}\n".encode() + rest, "words")


@pytest.mark.parametrize("work", ["0", "01", "100", "-1", "x", "1 1"])
def test_a_work_factor_has_one_spelling(work: str) -> None:
    first, _, rest = encrypt_secret(b"secret", "words", work=1).partition(b" 1\n")
    with pytest.raises(MalformedError):
        decrypt_secret(first + f" {work}\n".encode() + rest, "words")


def test_a_file_for_keys_needs_no_passphrase() -> None:
    out = io.BytesIO()
    with EncryptingWriter(out, [Identity.generate().recipient]) as writer:
        writer.write(b"x")
    with pytest.raises(NotForUsError):
        decrypt_secret(out.getvalue(), "words")


def test_nothing_is_encrypted_with_an_empty_passphrase() -> None:
    with pytest.raises(MalformedError):
        encrypt_secret(b"secret", "")
