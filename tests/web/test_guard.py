"""Who is let into the dashboard, what is refused, and what every answer says to the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("httpx")
pytest.importorskip("starlette")

from dashboard_client import COOKIE, Asking, dashboard_of
from journey import make_home

from courier.web.entry import Admission, Entry
from courier.web.guard import CONTENT_POLICY, is_named_right
from courier.web.render import STATIC_FILES, static_address

PATHS = ("/", "/parcels", "/parcels/HQ1-000001", "/sites", "/packages", "/channel", "/events", "/changes", "/nothing")


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    with dashboard_of(make_home(tmp_path_factory.mktemp("guard"), "HQ1").path) as found:
        yield found


@pytest.fixture
def stranger(asking: Asking) -> Iterator[Asking]:
    """A browser that was not let in; the token was not used yet."""
    entry = asking.entry
    entry._used = False
    asking.inside = False
    yield asking
    asking.inside, entry._used = True, True


def test_the_token_lets_one_browser_in_once(stranger: Asking) -> None:
    address = f"/enter?token={stranger.entry.token}"
    answer = stranger(address)
    assert answer.status_code == 200
    given = answer.headers["set-cookie"]
    assert "HttpOnly" in given
    assert "SameSite=strict" in given
    assert "Path=/" in given
    assert "expires" not in given.lower()
    session = given.partition(";")[0]
    assert stranger("/", cookie=session).status_code == 200
    again = stranger(address)
    assert again.status_code == 403
    assert "This address was used already" in again.text
    assert "end it with Ctrl-C, give <code>courier dashboard</code> again" in again.text
    assert "set-cookie" not in again.headers
    # The browser that was let in gets in by it: it may have gone back to it.
    assert stranger(address, cookie=session).status_code == 200


def test_a_wrong_token_and_a_session_of_an_earlier_start_let_nobody_in(stranger: Asking) -> None:
    assert stranger(f"/enter?token={stranger.entry.token}x").status_code == 403
    assert stranger("/enter").status_code == 403
    assert stranger("/enter?token=%C3%A4").status_code == 403
    # The session is good only once the token was exchanged for it.
    assert stranger("/", cookie=f"{COOKIE}={stranger.entry.session}").status_code == 403
    assert "started anew since" in stranger("/", cookie=f"{COOKIE}=old").text


def test_a_browser_that_looks_ahead_does_not_use_the_token_up(stranger: Asking) -> None:
    address = f"/enter?token={stranger.entry.token}"
    assert stranger(address, sec_purpose="prefetch;prerender").status_code == 503
    assert stranger(address, method="HEAD").status_code == 503
    assert stranger(address).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_a_session(stranger: Asking, path: str) -> None:
    answer = stranger(path)
    assert answer.status_code == 403
    assert "This browser has not been let in" in answer.text
    assert "HQ1-0" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_only_reading_is_answered(asking: Asking, method: str) -> None:
    for path in (*PATHS, "/enter", "/static/style.css"):
        answer = asking(path, method=method)
        assert answer.status_code == 405, path
        assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("host", "right"),
    [
        ("127.0.0.1:8440", True),
        ("127.0.0.1", True),
        ("localhost:1234", True),
        ("LOCALHOST.", True),
        ("[::1]:8440", True),
        ("192.0.2.7:8440", True),
        ("dash.example", True),
        ("evil.example:8440", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("[::1", False),
        ("", False),
        ("user@evil.example", False),
    ],
)
def test_a_request_under_another_computers_name_is_refused(asking: Asking, host: str, right: bool) -> None:
    assert is_named_right(host, {"localhost", "dash.example"}) == right
    answer = asking("/changes", host=host)
    assert answer.status_code == (200 if right else 421)
    assert ("mark" in answer.text) == right


def test_every_answer_has_the_headers_that_keep_a_browser_from_loading_anything_else(asking: Asking) -> None:
    assert "default-src 'none'" in CONTENT_POLICY
    assert "unsafe" not in CONTENT_POLICY
    answers = [asking(path) for path in PATHS if path != "/events"]
    answers += [asking("/", method="POST"), asking("/", host="evil.example"), asking("/enter"), asking("/static/none")]
    answers += [asking(static_address(name)) for name in STATIC_FILES]
    for answer in answers:
        assert answer.headers["content-security-policy"] == CONTENT_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert all(answer.headers["cache-control"] == "no-store" for answer in answers[: -len(STATIC_FILES)])


def test_files_of_the_pages_are_ours_and_there_is_no_way_out_of_their_folder(stranger: Asking) -> None:
    for name, kind in STATIC_FILES.items():
        answer = stranger(static_address(name))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kind
    for path in ("/static/..%2Fguard.py", "/static/%2e%2e/guard.py", "/static/htmx-LICENSE.txt", "/static/"):
        assert stranger(path).status_code in (403, 404)


def test_odd_cookies_of_other_programs_do_not_hide_ours(asking: Asking) -> None:
    odd = f'a={{"x": [1,2]}}; b; =; c=\x7f@; {COOKIE}={asking.entry.session}; d="'
    assert asking("/changes", cookie=odd).status_code == 200
    assert asking("/changes", cookie=f"x{COOKIE}={asking.entry.session}").status_code == 403


def test_each_start_has_a_token_and_a_session_of_its_own() -> None:
    one, other = Entry(), Entry()
    assert len({one.token, one.session, other.token, other.session}) == 4
    assert len(one.token) > 40
    assert other.admit(one.token) is Admission.WRONG
    assert not one.is_open("")


def test_the_vendored_script_has_its_licence_beside_it() -> None:
    folder = Path(__file__).resolve().parents[2] / "courier" / "web" / "static"
    assert "Zero-Clause BSD" in (folder / "htmx-LICENSE.txt").read_text("utf-8")
    assert 'version:"2.' in (folder / "htmx.min.js").read_text("utf-8")
