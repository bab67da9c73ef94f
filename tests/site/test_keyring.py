"""The site's keys: in files of the owner only, encrypted files, the environment, or a token; none is ever shown."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from journey import FIXTURES, Home, add, introduce, make_home, make_sites, run, run_process, sent, write
from scanned_labels import scan
from stock import stock_tool

from courier.errors import RefusedError, UsageError
from courier.site.keyring import PASSPHRASE, PIN, TOKEN_MODULE, Keyring
from formats.documents import receipt as receipt_doc
from formats.envelope import sign, verified_keys

SECRET = "correct horse battery staple"


def never(variable: str, what: str) -> str:
    raise AssertionError(f"asked for {what}")


def works(keyring: Keyring, where: str, *, passphrase: bool = False) -> None:
    key = keyring.add(where, passphrase=passphrase)
    envelope = sign(b"{}", receipt_doc.TYPE, [keyring.signer(key)])
    assert verified_keys(envelope, [key]) == [key]
    assert keyring.has(key)


def pem(kind: str = "ed25519") -> str:
    private = Ed25519PrivateKey.generate() if kind == "ed25519" else generate_private_key(SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_a_key_in_a_file_signs(tmp_path: Path) -> None:
    works(Keyring(tmp_path, never), "file")


def test_key_files_are_owner_only_and_a_laxer_one_is_refused(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path, never)
    key = keyring.add("file", passphrase=False)
    keyring.generate_identity()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for mode in (0o640, 0o604, 0o660):
            path.chmod(mode)
            with pytest.raises(RefusedError) as caught:
                keyring.signers([key])
                keyring.identities()
            assert caught.value.code == "lax-key-file"
            assert f"chmod 600 {path}" in caught.value.hint
        path.chmod(0o600)


def test_a_key_in_a_file_with_a_passphrase_signs_for_whoever_knows_it(tmp_path: Path) -> None:
    asked = []

    def ask(variable: str, what: str) -> str:
        asked.append(what)
        return SECRET

    keyring = Keyring(tmp_path, ask)
    key = keyring.add("file", passphrase=True)
    recipient = keyring.generate_identity(passphrase=True)
    assert asked == ["passphrase of the site's keys", "same passphrase again"]
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    again = Keyring(tmp_path, ask)
    assert [one.recipient for one in again.identities()] == [recipient]
    assert verified_keys(sign(b"x", "t", [again.signer(key)]), [key])
    newer = again.generate_identity()
    assert [one.recipient for one in Keyring(tmp_path, ask).identities()] == [newer, recipient]
    with pytest.raises(RefusedError) as caught:
        Keyring(tmp_path, lambda *_: "wrong").signer(key)
    assert caught.value.code == "wrong-passphrase"


def test_a_passphrase_typed_two_ways_or_empty_locks_nothing(tmp_path: Path) -> None:
    answers = iter(["one", "other", "", ""])
    for _ in range(2):
        with pytest.raises(UsageError):
            Keyring(tmp_path, lambda *_: next(answers)).add("file", passphrase=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_a_key_in_the_environment_signs_and_is_never_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("SITE_KEY", pem(kind))
    works(Keyring(tmp_path, never), "env:SITE_KEY")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["env:SITE_KEY\n"]


def test_another_key_in_the_environment_or_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_KEY", pem())
    keyring = Keyring(tmp_path, never)
    key = keyring.add("env:SITE_KEY", passphrase=False)
    for text, code in ((pem(), "other-key"), ("nothing", "bad-key-file"), (pem()[:-40], "bad-key-file")):
        monkeypatch.setenv("SITE_KEY", text)
        with pytest.raises(RefusedError) as caught:
            keyring.signer(key)
        assert caught.value.code == code
        assert text[30:60] not in caught.value.message or len(text) < 60


@pytest.mark.parametrize("text", ["", "garbage", "b\udcffd", "rsa", "p384", "x25519"])
def test_a_site_is_not_made_with_a_key_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """There is no site yet, so no backup is proposed: the message names the kinds of keys that are possible."""
    makers: dict[str, Callable[[], PrivateKeyTypes]] = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "p384": lambda: generate_private_key(SECP384R1()),
        "x25519": X25519PrivateKey.generate,
    }
    if text in makers:
        text = makers[text]().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    monkeypatch.setenv("SITE_KEY", text)
    init = ("init", "--site", "HQ1", "--name", "H", "--home", tmp_path / "HQ1", "--json")
    error = run(*init, "--key", "env:SITE_KEY", code=2).error
    assert "environment variable SITE_KEY" in error["message"]
    assert "Ed25519 or ECDSA P-256" in error["hint"]
    monkeypatch.setenv("SITE_KEY", pem())
    run(*init, "--key", "env:SITE_KEY")


@pytest.mark.parametrize("encrypted", [True, False])
def test_what_is_no_age_identity_is_not_taken_for_one(tmp_path: Path, encrypted: bool) -> None:
    keyring = Keyring(tmp_path, lambda *_: SECRET)
    way = BestAvailableEncryption(SECRET.encode()) if encrypted else NoEncryption()
    signing = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, way)
    path = tmp_path / "recipient.key"
    for data in (signing, b"", b"\n"):
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(RefusedError) as caught:
            keyring.identities()
        assert caught.value.code == "bad-key-file"
        assert str(path) in caught.value.message


def test_an_own_card_that_is_damaged_or_anothers_is_named(tmp_path: Path) -> None:
    sites = make_sites(tmp_path)
    card = sites.hq.path / "card.json"
    good = card.read_bytes()
    for data in (b"", good[:-20], good.replace(b"payload", b"payl0ad"), b"{}"):
        card.write_bytes(data)
        error = sites.hq.fails("package", "list", code=4)
        assert str(card) in error["message"]
        assert "backup of the site home" in error["hint"]
    card.write_bytes((tmp_path / "BR1.card").read_bytes())
    error = sites.hq.fails("package", "list", code=3)
    assert "of site HQ1" in error["message"]
    assert "of site BR1" in error["message"]
    card.write_bytes(good)
    sites.hq("package", "list")


def test_an_error_names_the_path_that_was_typed(tmp_path: Path) -> None:
    home = make_home(tmp_path, "HQ1")
    (tmp_path / "folder").mkdir()
    for typed, code in ((tmp_path / "folder", 2), (tmp_path / "no" / "card", 6)):
        message = home.fails("site", "card", "--out", typed, code=code)["message"]
        assert message.startswith(f"{typed}: ")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("where", ["", "disk", "env:", "pkcs11:id=x", "pkcs11:id=²", "pkcs11:slot=1", "file:x"])
def test_a_place_that_is_none_is_refused(tmp_path: Path, where: str) -> None:
    with pytest.raises(UsageError):
        Keyring(tmp_path, never).add(where, passphrase=False)


# --- a token --------------------------------------------------------------------------------------------------------


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A SoftHSM token with a P-256 key; gives the ``pkcs11:`` place of the key."""
    pytest.importorskip("pkcs11")
    tool, maker = stock_tool("softhsm2-util"), stock_tool("pkcs11-tool")
    found = [*Path("/usr/lib").glob("softhsm/libsofthsm2.so"), *Path("/usr/lib").glob("*/softhsm/libsofthsm2.so")]
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    monkeypatch.setenv(TOKEN_MODULE, str(found[0]))
    monkeypatch.setenv(PIN, "1234")
    make = ("--keypairgen", "--key-type", "EC:prime256v1", "--id", "02")
    for command in (
        [tool, "--init-token", "--free", "--label", "courier", "--pin", "1234", "--so-pin", "5678"],
        [maker, "--module", str(found[0]), "--token-label", "courier", "--login", "--pin", "1234", *make],
    ):
        subprocess.run(command, check=True, capture_output=True)
    return "pkcs11:id=2;token=courier"


def test_a_site_whose_key_is_on_a_token_sends_a_parcel(tmp_path: Path, token: str) -> None:
    """Each command that signs in its own process, because a process loads a PKCS#11 module only once."""
    home = tmp_path / "HQ1"
    shown = run_process("init", "--site", "HQ1", "--name", "H", "--key", token, "--home", home, "--json").document
    assert [path.suffix for path in (home / "keys").iterdir() if path.suffix in (".pem", ".uri")] == [".uri"]
    run("site", "card", "--out", tmp_path / "HQ1.card", "--home", home)
    receiver = make_home(tmp_path, "BR1")
    receiver("site", "trust", tmp_path / "HQ1.card", "--fingerprint", shown["fingerprint"])
    run("site", "trust", tmp_path / "BR1.card", "--home", home, "--yes")
    run("package", "add", FIXTURES / "boot.wim", "--name", "Boot", "--home", home)
    options = ("--to", "BR1", "--capacity", "5MB", "--anyway", "test")
    run_process("parcel", "create", "HQ100001", *options, "--home", home)
    write = ("parcel", "write", "HQ1-000001", "--layout", "folder", "--out", tmp_path / "out", "--home", home, "--yes")
    run_process(*write)
    assert all(volume["kept"] for volume in run_process(*write, "--json").document["volumes"])
    verdict = receiver("parcel", "verify", tmp_path / "out")
    assert [volume["state"] for volume in verdict["volumes"]] == ["good"]
    run_process("parcel", "labels", "HQ1-000001", "--out", tmp_path / "labels.pdf", "--home", home)
    assert receiver("parcel", "intake", *scan(tmp_path / "labels.pdf"))["genuine"] is True
    with pytest.MonkeyPatch.context() as wrong:
        wrong.setenv(PIN, "9999")
        refused = run_process("parcel", "ship", "HQ1-000001", "--home", home, "--json", code=3)
    assert refused.error["code"] == "token"
    rotated = run_process("site", "rotate-key", "--home", home, "--json").document
    assert rotated["serial"] == 2


def test_an_ed25519_key_on_a_token_is_refused_and_says_which_kind_it_takes(tmp_path: Path, token: str) -> None:
    tool, module = stock_tool("pkcs11-tool"), os.environ[TOKEN_MODULE]
    where = ("--module", module, "--token-label", "courier", "--login", "--pin", "1234")
    make = ("--keypairgen", "--key-type", "EC:edwards25519", "--id", "05")
    subprocess.run([tool, *where, *make], check=True, capture_output=True)
    options = ("--site", "HQ1", "--name", "H", "--key", token.replace("id=2", "id=5"), "--home", tmp_path / "HQ1")
    refused = run_process("init", *options, "--json", code=3)
    assert refused.error["code"] == "token"
    assert "ECDSA P-256" in refused.error["message"]
    assert "Ed25519" in refused.error["message"]


# --- nothing shows a private key ------------------------------------------------------------------------------------


def secrets_of(home: Home) -> list[str]:
    """The texts of a private key that must be found nowhere."""
    found = []
    for path in [*(home.path / "keys").iterdir(), *home.path.glob("parcels/out/*/*.key")]:
        data = path.read_bytes()
        text = data.decode() if data.isascii() else data.hex()
        found += [line[10:50] for line in text.split("\n") if len(line) >= 50 and not line.startswith("-----")]
    return found


def test_no_command_prints_or_ships_a_private_key(tmp_path: Path) -> None:
    """Every output, every message, every medium and the catalogue are searched for every private key."""
    sites = make_sites(tmp_path)
    package = add(sites.hq, FIXTURES / "boot.wim")
    printed = []
    parcel, volumes = sent(sites.hq, package, out=tmp_path / "media", key_by_network="--quiet")
    for home in sites.homes:
        for command in (
            ["site", "card"],
            ["site", "list"],
            ["parcel", "list"],
            ["channel", "status"],
            ["site", "policy"],
        ):
            ran = home.ran(*command)
            printed += [ran.out, ran.err, home.says(*command)]
    sites.sync()
    for ran in (sites.br.ran("parcel", "receive", *volumes), sites.br.ran("parcel", "log", parcel)):
        printed += [ran.out, ran.err]
    printed += [sites.hq.ran("site", "rotate-key").out, sites.hq.ran("site", "rotate-key", "--lost").out]
    keys = next(path for path in (sites.hq.path / "keys").iterdir() if path.suffix == ".pem")
    keys.write_text(keys.read_text().replace("MC4", "XX4"))
    printed += [(ran := run("site", "card", "--home", sites.hq.path, code=None)).out, ran.err]
    printed += [(ran := sites.hq.ran("parcel", "ship", parcel, code=None)).out, ran.err]
    everywhere = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "keys" not in path.parts
                  and path.suffix != ".key"]  # fmt: skip
    everywhere += [text.encode() for text in printed]
    for home in sites.homes:
        for secret in secrets_of(home):
            assert not [data for data in everywhere if secret.encode() in data]


def test_a_passphrase_is_asked_for_where_nobody_can_type_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSPHRASE, raising=False)
    error = run_process(
        "init", "--site", "HQ1", "--name", "H", "--passphrase", "--home", tmp_path / "a", "--json", code=3
    ).error
    assert error["code"] == "secret-needed"
    assert PASSPHRASE in error["hint"]
    assert not (tmp_path / "a" / "site.json").exists()


def test_a_site_with_a_passphrase_receives_a_parcel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE, SECRET)
    homes = Home(code="HQ1", path=tmp_path / "HQ1"), Home(code="BR1", path=tmp_path / "BR1")
    for home in homes:
        run("init", "--site", home.code, "--name", home.code, "--passphrase", "--home", home.path)
        run("site", "card", "--out", tmp_path / f"{home.code}.card", "--home", home.path)
    introduce(tmp_path, *homes)
    package = add(homes[0], FIXTURES / "boot.wim")
    _, volumes = sent(homes[0], package, out=tmp_path / "media")
    for home in homes:
        home("channel", "sync")
    monkeypatch.setenv(PASSPHRASE, "wrong")
    assert homes[1].ran("parcel", "receive", *volumes, code=3).error["code"] == "wrong-passphrase"
    monkeypatch.setenv(PASSPHRASE, SECRET)
    assert homes[1]("parcel", "receive", *volumes)["state"] == "Imported"


def test_a_key_that_is_not_at_hand_is_missed_before_the_work_not_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build, writing volumes or an import takes hours and ends with a signature, so the key is asked for first."""
    sites = Home(code="HQ1", path=tmp_path / "HQ1"), Home(code="BR1", path=tmp_path / "BR1")
    for home in sites:
        monkeypatch.setenv(f"KEY_OF_{home.code}", pem())
        run("init", "--site", home.code, "--name", "N", "--key", f"env:KEY_OF_{home.code}", "--home", home.path)
        run("site", "card", "--out", tmp_path / f"{home.code}.card", "--home", home.path)
    hq, br = sites
    introduce(tmp_path, hq, br)
    package = add(hq, FIXTURES / "boot.wim")
    command = ("parcel", "create", package, "--to", "BR1", "--capacity", "863KB")
    with monkeypatch.context() as gone:
        gone.delenv("KEY_OF_HQ1")
        hq.fails(*command, code=6)
        assert not list((hq.path / "parcels" / "out").iterdir())
    parcel = hq(*command)["parcel_id"]
    volumes = write(hq, parcel, "folder", tmp_path / "media")
    with monkeypatch.context() as gone:
        gone.delenv("KEY_OF_HQ1")
        assert "KEY_OF_HQ1" in hq.fails("parcel", "write", parcel, "--layout", "iso", "--out", tmp_path, code=6)["hint"]
    assert not list(tmp_path.glob("*.iso"))
    with monkeypatch.context() as gone:
        gone.delenv("KEY_OF_BR1")
        br.fails("parcel", "receive", *volumes, code=6)
    assert br("parcel", "list")["received"] == []


def test_no_package_holds_the_site_home(tmp_path: Path) -> None:
    """Its private keys would travel with it."""
    home = make_home(tmp_path / "sites", "HQ1")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "boot.wim").write_bytes(b"image")
    (tmp_path / "link").symlink_to(home.path / "keys")
    keys = home.path / "keys"
    for path in (home.path, keys, keys / "recipient.key", home.path.parent, tmp_path / "link"):
        for dry in ((), ("--dry-run",)):
            assert home.fails("package", "add", path, "--name", "All", *dry, code=3)["code"] == "site-home"
    assert home("package", "add", tmp_path / "images", "--name", "Images")["files"] == 1
