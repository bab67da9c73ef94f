"""The server without sockets: what it answers to each request, what it refuses, and what it logs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from channel_network import Pair, Sent, came
from http_requests import Forge, ask, tampered

from courier.channel.http_api import OPERATIONS
from courier.channel.openapi import description
from courier.channel.refusal_log import STRANGER_LINES
from courier.channel.transport import MAX_MESSAGE, Outgoing
from courier.site.outbox import PART

ROOT = Path(__file__).resolve().parents[2]
NAME = hashlib.sha256(b"message").hexdigest()

pytestmark = pytest.mark.usefixtures("no_reports")


def test_a_good_request_is_taken(forge: Forge) -> None:
    assert ask(forge.pair, forge.put()) == (201, "")
    assert came(forge.pair.br) == [(NAME, b"message")]


def strangers(forge: Forge) -> dict[str, Sent]:
    good = forge.put()
    unsigned = {name: text for name, text in good.head.headers.items() if not name.startswith("signature")}
    signature = good.head.headers["signature"]
    return {
        "unsigned": replace(good, head=replace(good.head, headers=unsigned)),
        "by another key": forge.put(signer=forge.pair.br),
        "for another site": forge.put(to="BR2"),
        "as another site": tampered(good, "courier-from", "BR1"),
        "another path": replace(good, head=replace(good.head, path="/v1/messages/" + "0" * 64)),
        "another query": replace(good, head=replace(good.head, query="x=1")),
        "another method": replace(good, head=replace(good.head, method="DELETE")),
        "another body": tampered(good, "content-digest", forge.put(b"other").head.headers["content-digest"]),
        "another range": tampered(good, "content-range", "bytes 0-6/8"),
        "a range not signed": tampered(good, "range", "bytes=0-1"),
        "a signature cut": tampered(good, "signature", signature[:-9] + ":"),
        "a signature changed": tampered(good, "signature", signature[:10] + "AAAA" + signature[14:]),
        "an algorithm changed": tampered(
            good, "signature-input", good.head.headers["signature-input"].replace("ed25519", "hmac-sha256")
        ),
        "no path of ours": replace(good, head=replace(good.head, path="/secret")),
        "text of every kind": tampered(good, "signature-input", "\x00\xff" * 50),
    }


def test_strangers_and_forgers_learn_nothing_whatever_they_ask(forge: Forge) -> None:
    server = forge.pair.network.servers["BR1"]
    assert server is not None
    replies = {name: server.ask(sent) for name, sent in strangers(forge).items()}
    assert {(r.status, r.body, r.headers) for r in replies.values()} == {(401, b"", ())}
    assert came(forge.pair.br) == []


def test_a_refusal_is_logged_once(forge: Forge) -> None:
    for _ in range(5):
        ask(forge.pair, forge.put(signer=forge.pair.br))
        ask(forge.pair, forge.request("GET", "/nothing"))
    assert forge.pair.network.log == [
        "wire: a request by HQ1, whose key is not trusted here",
        "refused a request of HQ1: not-found",
    ]


def test_strangers_who_make_up_names_do_not_fill_the_log(forge: Forge) -> None:
    log = forge.pair.network.log
    good = forge.put()
    for number in range(300):
        ask(forge.pair, tampered(good, "courier-from", f"{number:03}"))
    assert len(log) == STRANGER_LINES
    ask(forge.pair, forge.request("GET", "/nothing"))
    assert log[-1] == "refused a request of HQ1: not-found"  # what a known site does is told all the same
    forge.pair.clock.sleep(3601)
    ask(forge.pair, tampered(good, "courier-from", "ZZZ"))
    assert log[-1] == "wire: a request by ZZZ, whose key is not trusted here"


def test_a_replay_is_refused_and_so_is_one_from_before_a_restart(forge: Forge) -> None:
    sent = forge.put()
    assert ask(forge.pair, sent)[0] == 201
    assert ask(forge.pair, sent) == (401, "replayed")
    forge.pair.clock.sleep(5)
    forge.pair.network.serve(forge.pair.br)
    assert ask(forge.pair, sent) == (401, "clock")


def test_a_server_started_with_a_clock_ahead_serves_once_it_is_set_right_and_takes_no_replay(forge: Forge) -> None:
    pair = forge.pair
    before = forge.put()
    assert ask(pair, before)[0] == 201
    right = pair.clock.ns
    pair.clock.ns += 24 * 3600 * 10**9
    server = pair.network.serve(pair.br)
    ahead = [forge.put() for _ in range(20)]
    assert {ask(pair, sent)[0] for sent in ahead} == {201}
    pair.clock.ns = right + 5 * 10**9
    assert ask(pair, forge.put())[0] == 201
    assert ask(pair, before) == (401, "clock")
    assert {ask(pair, sent) for sent in ahead[-3:]} == {(401, "clock")}
    for _ in range(10):
        assert ask(pair, forge.put())[0] == 201
    # What is remembered of the wrong time goes, and keeps nothing else.
    (peer,) = server.service.admission._peers.values()
    assert max(peer.nonces.values()) * 10**9 <= pair.clock.ns
    assert len(peer.nonces) <= 12


@pytest.mark.parametrize("skew", [-301, 301])
def test_a_request_of_another_time_is_refused(forge: Forge, skew: int) -> None:
    forge.pair.clock.sleep(1000)
    assert ask(forge.pair, forge.put(skew=skew)) == (401, "clock")
    assert ask(forge.pair, forge.put(skew=skew - skew // abs(skew)))[0] == 201


def test_what_a_known_site_does_wrong_is_named(forge: Forge) -> None:
    pair = forge.pair
    body = b"message"
    cases = {
        (400, "wrong-digest"): replace(forge.put(), body=b"messagE"),
        (413, "too-large"): tampered(forge.put(), "content-length", str(PART + 1)),
        (411, "no-length"): tampered(forge.put(), "transfer-encoding", "chunked"),
        (400, "malformed"): forge.request(body=body, extra={"content-range": "bytes 0-7/8"}),
        (422, "wrong-digest"): forge.put(b"massage"),
        (409, "out-of-step"): forge.request(body=body, extra={"content-range": "bytes 3-9/20"}),
        (404, "not-found"): forge.request("GET", "/v1/nothing"),
        (416, "range"): forge.request("GET", f"/v1/messages/{NAME}", extra={"range": "bytes=5-2"}),
    }
    assert {wanted: ask(pair, sent) for wanted, sent in cases.items()} == {wanted: wanted for wanted in cases}
    huge = {"content-range": f"bytes 0-6/{MAX_MESSAGE + 1}"}
    assert ask(pair, forge.request(body=body, extra=huge)) == (413, "too-large")
    assert ask(pair, forge.request("GET", "/v1/probe", query=f"bytes={PART + 1}")) == (400, "malformed")
    assert ask(pair, forge.request("DELETE", f"/v1/messages/{NAME}", body=b"x")) == (413, "too-large")
    assert came(pair.br) == []


def test_a_site_that_asks_too_fast_is_slowed_and_others_are_not(forge: Forge) -> None:
    forge.pair.network.serve(forge.pair.br, rate=5)
    answers = [ask(forge.pair, forge.request("GET", "/v1/messages")) for _ in range(60)]
    assert answers[:50] == [(200, "")] * 50
    assert answers[50:] == [(429, "too-fast")] * 10
    forge.pair.clock.sleep(1)
    assert ask(forge.pair, forge.request("GET", "/v1/messages"))[0] == 200


def test_a_client_waits_when_it_is_told_that_it_asks_too_fast(http: Pair) -> None:
    http.network.serve(http.br, rate=1)
    transport = http.transport(http.hq, http.br)
    start = http.clock()
    for n in range(15):
        transport.deliver("BR1", Outgoing.of(b"%d" % n))
    assert len(came(http.br)) == 15
    assert http.clock() - start >= 4 * 10**9


def test_the_description_is_what_is_committed_and_what_is_served() -> None:
    committed = json.loads((ROOT / "docs" / "channel-openapi.json").read_text("utf-8"))
    assert committed == json.loads(json.dumps(description(OPERATIONS)))
    served = {(one.method.lower(), one.path) for one in OPERATIONS}
    assert served == {(method, path) for path, methods in committed["paths"].items() for method in methods}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/v1/messages"),
        ("PATCH", "/v1/messages"),
        ("GET", "/v1/messages/"),
        ("GET", f"/v1/uploads/{NAME.upper()}"),
        ("GET", f"/v1/uploads/%{ord(NAME[0]):x}{NAME[1:]}"),
        ("GET", f"/v1/uploads/{NAME}%0a"),
        ("GET", "/v1%2Fmessages"),
    ],
)
def test_another_spelling_of_a_path_and_another_method_are_nothing(forge: Forge, method: str, path: str) -> None:
    server = forge.pair.network.servers["BR1"]
    assert server is not None
    reply = server.ask(forge.request(method, path))
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (404, "not-found")
