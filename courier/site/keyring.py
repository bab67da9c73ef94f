"""The site's private keys: signing keys, and the identities that content for this site is encrypted to.

A signing key is in a file of the key folder (``KEYID.pem``), or ``KEYID.uri`` says which environment variable or
PKCS#11 token has it. Key files may be readable by their owner only, otherwise they are refused; they are encrypted with
a passphrase if that was asked for. Private keys never leave this module and `KeySigner`: callers get signers.

Passphrase and PIN come from an environment variable, or from the person at the terminal, who is asked once.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from courier.error_codes import Code
from courier.errors import BusyError, NotFoundError, RefusedError, UsageError
from courier.files import locked, make_folder, read_private, write_atomic
from courier.site.key_signer import KeySigner
from formats.envelope import PublicKey, Signer, load_public_key
from formats.errors import FormatError

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

    from formats.age import Identity

IDENTITY = "recipient.key"
"""File of the site's age identities in the key folder."""
RECOVERY = "state-recovery.key"
"""File of the identity that opens the captured state of every computer."""
RECOVERY_RECIPIENT = "state-recovery.recipient"
"""File of its recipient, so that nobody is asked for a passphrase to encrypt to it."""
PASSPHRASE = "COURIER_KEY_PASSPHRASE"
"""Environment variable of the passphrase of the site's key files."""
PIN = "COURIER_TOKEN_PIN"
"""Environment variable of the PIN of the site's token."""
TOKEN_MODULE = "PYKCS11LIB"
"""Environment variable of the path of the token's PKCS#11 module, as securesystemslib reads it."""
_WAIT_SECONDS = 20.0
"""How long a command waits for another that changes the keys."""
_RESTORE = "restore the keys folder from your own safe copy, or, if it is lost: courier site rotate-key --lost"

Ask = Callable[[str, str], str]
"""(environment variable, what the secret is, in words) -> the secret."""


def key_variables(folder: Path) -> frozenset[str]:
    """The environment variables that hold keys of a key folder. Raises `OSError`."""
    places = (path.read_text(errors="replace").strip() for path in sorted(folder.glob("*.uri")))
    return frozenset(rest for kind, _, rest in (place.partition(":") for place in places) if kind == "env")


def ask_secret(variable: str, what: str) -> str:
    """A secret from the environment, or from the person at the terminal; raises `RefusedError` without either."""
    if variable in os.environ:
        return os.environ[variable]
    if not sys.stdin.isatty():
        raise RefusedError(
            f"the {what} is needed", hint=f"set {variable}, or run this in a terminal", code=Code.SECRET_NEEDED
        )
    from getpass import getpass

    return getpass(f"{what[:1].upper()}{what[1:]}: ")


class Keyring:
    """The key folder of a site home; ``ask`` gets the secrets that its keys need."""

    def __init__(
        self,
        folder: Path,
        ask: Ask = ask_secret,
        *,
        elsewhere: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """``elsewhere`` holds the keys at the other computers that see the folder, while its lock is held here."""
        self._folder = folder
        self._elsewhere = elsewhere
        self._ask = ask
        self._secrets: dict[str, str] = {}
        self._confirmed = False

    def _new_passphrase(self) -> bytes:
        """The passphrase to encrypt new keys with. A person types it twice: a slip would lock the site out."""
        known = PASSPHRASE in self._secrets or PASSPHRASE in os.environ
        passphrase = self._secret(PASSPHRASE, "passphrase of the site's keys")
        if not known and not self._confirmed and self._ask(PASSPHRASE, "same passphrase again") != passphrase:
            self._secrets.pop(PASSPHRASE)
            raise UsageError("the two passphrases differ", hint="type the same one twice")
        self._confirmed = True
        if not passphrase:
            raise UsageError("the passphrase is empty", hint=f"set {PASSPHRASE}, or type one")
        return passphrase.encode()

    def _secret(self, variable: str, what: str) -> str:
        if variable not in self._secrets:
            self._secrets[variable] = self._ask(variable, what)
        return self._secrets[variable]

    # --- signing keys -----------------------------------------------------------------------------------------------

    def add(self, where: str, *, passphrase: bool) -> PublicKey:
        """Make or find the signing key that ``where`` names, record where it is, and return its public half.

        ``file``: a new Ed25519 key in the key folder, encrypted when a ``passphrase`` is asked for; ``env:NAME``: the
        PEM private key that this environment variable holds; ``pkcs11:id=N;token=LABEL``: the ECDSA P-256 key with
        this ID on a token (securesystemslib uses no other kind there, not even Ed25519). Raises `UsageError` for
        anything else, `RefusedError` or `NotFoundError` when the key cannot be loaded.
        """
        kind, _, rest = where.partition(":")
        make_folder(self._folder)
        if where == "file":
            return self._generate(encrypt=passphrase)
        if kind == "env" and rest:
            public = self._new_from_environment(rest)
        elif kind == "pkcs11":
            public = self._on_token(rest)
        else:
            raise UsageError(f"{where!r} is no place for a key", hint="file, env:NAME or pkcs11:id=N;token=LABEL")
        write_atomic(self._folder / f"{public.keyid}.uri", f"{where}\n".encode(), private=True)
        return public

    def _generate(self, *, encrypt: bool) -> PublicKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        private = Ed25519PrivateKey.generate()
        public = self._public(private)
        write_atomic(self._folder / f"{public.keyid}.pem", self._pem(private, encrypt=encrypt), private=True)
        return public

    def signer(self, key: PublicKey) -> tuple[str, Signer]:
        """(key ID, signer) of ``key``.

        Raises `NotFoundError` when its private half is not here, `RefusedError` when it cannot be opened.
        """
        file, uri = self._folder / f"{key.keyid}.pem", self._folder / f"{key.keyid}.uri"
        if file.exists():
            private = self._load(read_private(file), str(file))
        elif uri.exists():
            kind, _, rest = read_private(uri).decode().strip().partition(":")
            if kind == "pkcs11":
                return key.keyid, self._token_signer(key, rest)
            private = self._from_environment(rest)
        else:
            raise NotFoundError(f"the private key {key.keyid[:16]} is not in {self._folder}", hint=_RESTORE)
        if self._public(private).keyid != key.keyid:
            place = file if file.exists() else f"environment variable {rest}"
            raise RefusedError(f"{place} holds another key than {key.keyid[:16]}", hint=_RESTORE, code=Code.OTHER_KEY)
        return key.keyid, KeySigner(private)

    def signers(self, keys: Sequence[PublicKey]) -> list[tuple[str, Signer]]:
        """The (key ID, signer) of each of ``keys``; raises as `signer` does."""
        return [self.signer(key) for key in keys]

    def has(self, key: PublicKey) -> bool:
        """Whether the private half of ``key`` is here, or it is recorded where it is."""
        return any((self._folder / f"{key.keyid}.{ending}").exists() for ending in ("pem", "uri"))

    @property
    def is_locked(self) -> bool:
        """Whether the site's key files are encrypted with a passphrase."""
        path = self._folder / IDENTITY
        return path.exists() and self._is_encrypted(path)

    def place(self, key: PublicKey) -> str:
        """Where the private half of ``key`` is, in words."""
        if (self._folder / f"{key.keyid}.pem").exists():
            return "encrypted file" if self._is_encrypted(self._folder / f"{key.keyid}.pem") else "file"
        uri = self._folder / f"{key.keyid}.uri"
        return read_private(uri).decode().strip() if uri.exists() else "not here"

    def _from_environment(self, name: str) -> Any:
        if name not in os.environ:
            raise NotFoundError(
                f"environment variable {name}, which holds the signing key, is not set", hint=f"set {name}"
            )
        # Text that is not UTF-8 is not PEM either, and refused as such.
        return self._load(os.environ[name].encode(errors="replace"), f"environment variable {name}")

    def _new_from_environment(self, name: str) -> PublicKey:
        """The public half of the key that an environment variable holds, for a new card.

        Raises `UsageError` when it holds no key that can be used.
        """
        hint = "an Ed25519 or ECDSA P-256 private key in PEM (openssl genpkey -algorithm ed25519), or --key file"
        try:
            return self._public(self._from_environment(name))
        except FormatError as error:
            raise UsageError(f"environment variable {name}: {error.message}", hint=hint) from None
        except RefusedError as error:
            if error.code != Code.BAD_KEY_FILE:
                raise
            raise UsageError(error.message, hint=hint) from None

    # --- tokens -----------------------------------------------------------------------------------------------------

    def _on_token(self, rest: str) -> PublicKey:
        from securesystemslib.exceptions import UnsupportedLibraryError
        from securesystemslib.signer import HSMSigner

        number, label = _token_place(rest)
        try:
            _, key = HSMSigner.import_(number, label or None, lambda _: self._secret(PIN, "PIN of the token"))
        except UnsupportedLibraryError:
            raise _no_tokens() from None
        except Exception as error:
            raise _token_error(error) from None
        return self._public_of_sslib(key)

    def _token_signer(self, key: PublicKey, rest: str) -> Signer:
        from securesystemslib.exceptions import UnsupportedLibraryError
        from securesystemslib.signer import HSMSigner

        number, label = _token_place(rest)
        uri = f"hsm:{number}" + (f"?{urlencode({'label': label})}" if label else "")
        try:
            signer = HSMSigner.from_priv_key_uri(uri, _sslib_key(key), lambda _: self._secret(PIN, "PIN of the token"))
        except UnsupportedLibraryError:
            raise _no_tokens() from None
        return _TokenSigner(signer)

    @staticmethod
    def _public_of_sslib(key: Any) -> PublicKey:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

        public = load_pem_public_key(key.keyval["public"].encode())
        try:
            return load_public_key(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        except FormatError as error:
            raise RefusedError(
                f"token: {error.message}", hint="make an ECDSA P-256 key on it", code=Code.TOKEN
            ) from None

    # --- identities -------------------------------------------------------------------------------------------------

    def generate_identity(self, *, passphrase: bool = False, lost: bool = False) -> str:
        """Make a new age identity, keep it, and return its recipient (``age1...``). Older identities are kept too.

        ``passphrase``: encrypt the file, each identity as a PKCS #8 block; without it, stock age takes the file with
        ``-i``. ``lost``: where the older identities cannot be read any more, put their file aside and go on; otherwise
        that raises `RefusedError`.
        """
        from formats.age import Identity

        path = self._folder / IDENTITY
        try:
            older = self.identities()
        except RefusedError:
            if not lost:
                raise
            older = []
            path.replace(path.with_name(f"{IDENTITY}.unreadable-{time.time_ns()}"))
        identity = Identity.generate()
        make_folder(self._folder)
        encrypted = passphrase or (bool(older) and self._is_encrypted(path))
        lines = [self._identity_block(one, encrypt=encrypted) for one in (identity, *older)]
        write_atomic(path, b"".join(lines), private=True)
        return identity.recipient

    def identities(self) -> list[Identity]:
        """Every age identity of the site, the newest first; none when their file is missing.

        Raises `RefusedError` when the file cannot be opened or is damaged.
        """
        return self._identities_in(self._folder / IDENTITY)

    def recovery_recipient(self) -> str:
        """The recipient of the identity that recovers captured state, for every capture; made when first asked for.

        Raises `RefusedError` where its key has to be made or read and cannot be, and `BusyError`.
        """
        path = self._folder / RECOVERY_RECIPIENT
        until = time.monotonic() + _WAIT_SECONDS
        while not (path.exists() and (self._folder / RECOVERY).exists()):
            try:
                # Of two commands that make it at once, the one would write over what the other encrypts to.
                with locked(self._folder / "lock"), self._elsewhere():
                    self._make_recovery()
            except BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        return read_private(path).decode("ascii", "replace").strip()

    def _make_recovery(self) -> None:
        from formats.age import Identity

        found = self.recovery_identities()
        if not found:
            encrypted = self.is_locked
            if encrypted:
                self.identities()  # asks for the passphrase that the other keys have
            found = [Identity.generate()]
            block = self._identity_block(found[0], encrypt=encrypted)
            write_atomic(self._folder / RECOVERY, block, private=True)
        text = f"{found[0].recipient}\n".encode()
        write_atomic(self._folder / RECOVERY_RECIPIENT, text, private=True)

    def renew_recovery(self, *, passphrase: bool, lost: bool) -> None:
        """Treat the recovery identity as the site's other keys are treated when they are rotated.

        ``passphrase``: encrypt its file. ``lost``: make another one for what is captured from now on; the older one is
        kept, as far as it can be read, for what was captured before. Raises `RefusedError`.
        """
        from formats.age import Identity

        path = self._folder / RECOVERY
        if not path.exists():
            return
        try:
            kept = self.recovery_identities()
        except RefusedError:
            if not lost:
                raise
            kept = []
            path.replace(path.with_name(f"{RECOVERY}.unreadable-{time.time_ns()}"))
        encrypted = passphrase or (path.exists() and self._is_encrypted(path))
        found = [Identity.generate(), *kept] if lost else kept
        (self._folder / RECOVERY_RECIPIENT).unlink(missing_ok=True)  # written anew when it is asked for
        write_atomic(path, b"".join(self._identity_block(one, encrypt=encrypted) for one in found), private=True)

    def recovery_identities(self) -> list[Identity]:
        """The identity that recovers captured state; none where nothing was captured yet. Raises `RefusedError`."""
        return self._identities_in(self._folder / RECOVERY)

    def _identities_in(self, path: Path) -> list[Identity]:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        from formats.age import Identity

        if not path.exists():
            return []
        text = read_private(path).decode("ascii", "replace")
        not_one = RefusedError(f"{path}: not an age identity", hint=_RESTORE, code=Code.BAD_KEY_FILE)
        if not text.startswith("-----BEGIN"):
            try:
                found = [Identity.from_text(line) for line in text.split()]
            except FormatError:
                raise not_one from None
        else:
            end = "-----END ENCRYPTED PRIVATE KEY-----\n"
            *blocks, rest = text.split(end)
            keys = [self._load(f"{block}{end}".encode(), str(path)) for block in blocks]
            # An Ed25519 signing key has as many bytes as an X25519 identity, but nothing was ever encrypted to it.
            if rest.strip() or not all(isinstance(key, X25519PrivateKey) for key in keys):
                raise not_one
            found = [Identity(key.private_bytes_raw()) for key in keys]
        if not found:
            raise not_one
        return found

    def _identity_block(self, identity: Identity, *, encrypt: bool) -> bytes:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        if not encrypt:
            return f"{identity.to_text()}\n".encode()
        from formats.age.bech32 import decode

        private = X25519PrivateKey.from_private_bytes(decode(identity.to_text())[1])
        return self._pem(private, encrypt=True)

    # --- files ------------------------------------------------------------------------------------------------------

    def _pem(self, private: Any, *, encrypt: bool) -> bytes:
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        way: Any = BestAvailableEncryption(self._new_passphrase()) if encrypt else NoEncryption()
        data: bytes = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, way)
        return data

    def _load(self, pem: bytes, where: str) -> Any:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        encrypted = b"BEGIN ENCRYPTED PRIVATE KEY" in pem
        passphrase = self._secret(PASSPHRASE, "passphrase of the site's keys").encode() if encrypted else None
        try:
            return load_pem_private_key(pem, passphrase)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The library's own message is not passed on, because it may quote the key.
            if encrypted:
                self._secrets.pop(PASSPHRASE, None)
                raise RefusedError(
                    f"{where}: the passphrase does not open it", hint=f"check {PASSPHRASE}", code=Code.WRONG_PASSPHRASE
                ) from None
            raise RefusedError(f"{where}: not a private key in PEM", hint=_RESTORE, code=Code.BAD_KEY_FILE) from None

    @staticmethod
    def _public(private: Any) -> PublicKey:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return load_public_key(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def _is_encrypted(self, path: Path) -> bool:
        return read_private(path).startswith(b"-----BEGIN ENCRYPTED")


class _TokenSigner:
    """securesystemslib's signer for a token, whose many kinds of errors become `RefusedError`."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def sign(self, payload: bytes) -> Any:
        """Sign bytes; raises `RefusedError` when the token cannot."""
        try:
            return self._signer.sign(payload)
        except RefusedError:
            raise
        except Exception as error:
            raise _token_error(error) from None


def _sslib_key(key: PublicKey) -> SSlibKey:
    from cryptography.hazmat.primitives.serialization import load_der_public_key
    from securesystemslib.signer import SSlibKey

    return SSlibKey.from_crypto(load_der_public_key(key.der), keyid=key.keyid)


def _token_place(rest: str) -> tuple[int, str]:
    """(key ID, token label) of ``id=2;token=LABEL``; raises `UsageError`."""
    fields = dict(parse_qsl(rest, separator=";"))
    number = fields.get("id", "2")
    if re.fullmatch("[0-9]{1,9}", number) is None or set(fields) - {"id", "token"}:
        raise UsageError(
            f"pkcs11:{rest} names no key", hint="pkcs11:id=N;token=LABEL, such as pkcs11:id=2;token=courier"
        )
    return int(number), fields.get("token", "")


def _no_tokens() -> RefusedError:
    return RefusedError(
        "this installation has no support for tokens",
        hint='pip install "courier-parcels[pkcs11]"',
        code=Code.NO_TOKEN_SUPPORT,
    )


def _token_error(error: Exception) -> RefusedError:
    why = str(error) or type(error).__name__
    # securesystemslib says so when the ID is that of an Ed25519 or RSA key, or of no key.
    if "could not find ECDSA key" in why:
        why = "no ECDSA P-256 key with this ID on it, and keys of other kinds (Ed25519, RSA) cannot be used on a token"
    hint = f"is the token in, does {TOKEN_MODULE} name its PKCS#11 module, are the key's ID and the PIN ({PIN}) right?"
    return RefusedError(f"token: {why}", hint=hint, code=Code.TOKEN)
