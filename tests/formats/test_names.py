"""Legal names: what may stand in a listing, in an archive and on a medium, and what never may."""

from __future__ import annotations

import contextlib
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from formats import names
from formats.errors import FormatError, IllegalNameError, MalformedError
from formats.names import (
    MAX_COMPONENT,
    MAX_DEPTH,
    MAX_MEMBER,
    MAX_TARGET,
    check_member,
    check_package,
    check_parcel,
    check_path,
    check_site,
    check_target,
    fold,
    is_portable,
    leads_outside,
    package_id,
    parcel_id,
    volume_name,
)

unassigned = next(chr(n) for n in range(0x1FA00, 0x1FBFF) if unicodedata.category(chr(n)) == "Cn")
"""A character this Python's Unicode tables do not know yet."""


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (check_site, ["HQ1", "000", "ZZZ"], ["", "HQ", "HQ12", "hq1", "HQ\u0661", "HQ1\n", "H/1", "ÄÖÜ"]),
        (
            check_package,
            ["HQ100001", "ABCFFFFF"],
            ["", "HQ10000", "HQ1000010", "HQ1abcde", "HQ10000G", "HQ100001\n", "HQ1\u0661\u0661\u0661\u0661\u0661"],
        ),
        (
            check_parcel,
            ["HQ1-000042", "000-999999"],
            ["", "HQ1000042", "HQ1-42", "HQ1-0000042", "hq1-000042", "HQ1-00004\u0662", "HQ1-000042\n", "../-000042"],
        ),
    ],
)
def test_codes_and_ids_have_one_form(check, good, bad):  # type: ignore[no-untyped-def]
    for text in good:
        assert check(text) == text
    for text in bad:
        with pytest.raises(MalformedError) as caught:
            check(text, place="from")
        assert caught.value.place == "from"


def test_ids_are_made_only_while_there_are_numbers_left() -> None:
    assert parcel_id("HQ1", 42) == "HQ1-000042"
    assert package_id("HQ1", 0xFFFFF) == "HQ1FFFFF"
    assert volume_name("HQ1-000042", 3) == "HQ1_000042_V003"
    assert volume_name("HQ1-000042", 1234) == "HQ1_000042_V1234"
    for make, number in ((parcel_id, 1_000_000), (package_id, 0x100000), (parcel_id, -1), (package_id, -1)):
        with pytest.raises(MalformedError):
            make("HQ1", number)


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a/b/c",
        ".hidden",
        "...",
        "a..b/..c/d..",
        "with space /tab\t/new\nline",
        'C:\\x"*?<>|',
        "con",
        "e\u0301",
        "\u00e9",
        "\U0001f4bf",
        "a" * MAX_COMPONENT,
        "/".join(["d"] * MAX_DEPTH),
        "/".join(["x" * 249] * 16),
    ],
)
def test_a_path_in_a_package_is_whatever_a_file_system_holds(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        ".",
        "a/..",
        "../a",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        "a\0b",
        "\ud800",
        "\udcff",
        "a" * (MAX_COMPONENT + 1),
        "\u00e9" * 128,
        "/".join(["d"] * (MAX_DEPTH + 1)),
        "/".join(["x" * 250] * 128),
    ],
)
def test_a_path_that_climbs_or_overflows_is_refused(path: str) -> None:
    with pytest.raises(IllegalNameError):
        check_path(path)
    assert not is_portable(path)
    with pytest.raises(IllegalNameError):
        check_member(path)


def test_a_refusal_names_its_place() -> None:
    for check, text in ((check_path, "/x"), (check_member, "a:b")):
        with pytest.raises(IllegalNameError) as caught:
            check(text, place="files[3].path")
        assert caught.value.place == "files[3].path"


INSIDE = [
    ("a", "b"),
    ("a", "./b/c"),
    ("a/b", "../c"),
    ("a/b/c", "../../d/e"),
    ("a/b", "c//d"),
    ("a", "..b"),
    ("a", "."),
    ("a/b", ".."),
]
OUTSIDE = [
    ("a", "/etc/passwd"),
    ("a", "//host/share"),
    ("a", ".."),
    ("a", "../a"),
    ("a/b", "../../c"),
    ("a/b", "../../a/b"),
    ("a/b", "c/../../../d"),
]


@pytest.mark.parametrize(("path", "target"), INSIDE)
def test_a_link_that_stays_inside_is_told_from_one_that_climbs(path: str, target: str) -> None:
    assert check_target(target) == target
    assert not leads_outside(path, target)


@pytest.mark.parametrize(("path", "target"), OUTSIDE)
def test_a_link_that_climbs_is_kept_and_told(path: str, target: str) -> None:
    assert check_target(target) == target
    assert leads_outside(path, target)


@pytest.mark.parametrize("target", ["", "b\0c", "x" * (MAX_TARGET + 1), "\u00e9" * 2048, "\ud800"])
def test_a_link_target_that_no_system_keeps_is_refused(target: str) -> None:
    for place in ("", "target"):
        with pytest.raises(IllegalNameError) as caught:
            check_target(target, place=place)
        assert caught.value.place == (place or caught.value.place)
    assert check_target("x" * MAX_TARGET)


def test_links_that_could_climb_by_way_of_each_other_lead_outside() -> None:
    """``deep/er/up -> ../..`` is the root, so ``out -> deep/er/up/..`` would be the folder above the package."""
    assert not leads_outside("deep/er/up", "../..")
    assert leads_outside("out", "deep/er/up/..")
    assert leads_outside("deep/out", "../deep/er/up/../etc")


steps = st.lists(st.sampled_from(["..", "..", ".", "a", "b", "c", "l", "m", ""]), min_size=1, max_size=5).map("/".join)


@given(st.dictionaries(st.sampled_from(["a/l", "b/c/l", "l", "m", "b/m"]), steps, min_size=1))
def test_no_chain_of_links_that_stay_inside_leads_out(links: dict[str, str]) -> None:
    """Walks as a system does, with every name that is no link taken for a folder."""
    inside = {path: target for path, target in links.items() if not leads_outside(path, target)}
    for begin in inside:
        at: list[str] = []
        to_go = begin.split("/")
        for _ in range(200):
            if not to_go:
                break
            step = to_go.pop(0)
            if step == "..":
                assert at, (inside, begin)
                at.pop()
            elif step not in ("", "."):
                target = inside.get("/".join([*at, step]))
                if target is None:
                    at.append(step)
                else:
                    to_go = target.split("/") + to_go


@given(st.text(), st.text())
def test_checks_of_any_text_raise_only_our_errors(path: str, target: str) -> None:
    for check in (check_site, check_package, check_parcel, check_path, check_member):
        try:
            assert check(path) == path
        except FormatError as error:
            assert "\n" not in error.message
    with contextlib.suppress(FormatError):
        assert check_target(target) == target
    assert leads_outside(path, target) in (True, False)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "HQ100001-1/install.wim.001.zst",
        "\u00e9",
        "a b",
        "日本語/ファイル",
        "\U0001f4bf",
        "x" * MAX_MEMBER,
        "com",
        "com10",
    ],
)
def test_a_portable_name_may_name_a_member(name: str) -> None:
    assert is_portable(name)
    assert check_member(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "a\\b",
        "C:\\x",
        "c:x",
        "a:b",
        "a*",
        "a?",
        'a"',
        "a<",
        "a|",
        "a\x1f",
        "a\x7f",
        "a\n",
        "a.",
        "a ",
        " a",
        "a./b",
        "a /b",
        "con",
        "CON.txt",
        "a/Nul",
        "nul.tar.gz",
        "com1",
        "LPT9.x",
        "com\u00b9",
        "conin$",
        "aux/x",
        "e\u0301",
        "\u212b",
        "a\u200b",
        "a\u202e",
        "\ue000",
        "\u2028",
        "\u0085",
        "x" * (MAX_MEMBER + 1),
        "\u65e5" * 67,
    ],
)
def test_a_name_that_some_system_cannot_keep_names_no_member(name: str) -> None:
    assert not is_portable(name)
    with pytest.raises(IllegalNameError):
        check_member(name)


def test_a_character_newer_than_this_python_is_not_written_and_is_accepted() -> None:
    """Otherwise a parcel made with a newer Python, whose Unicode is newer, would be refused by an older one."""
    name = f"disc{unassigned}"
    assert not is_portable(name)
    assert check_member(name) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
@example("Straße")
@example("\u1e9b\u0323")
@example("\u0390")
@example("İ")
def test_names_equal_but_for_unicode_form_have_one_fold(name: str) -> None:
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, name)) == fold(name)


@given(st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=30))
def test_names_equal_but_for_case_have_one_fold(name: str) -> None:
    # One character at a time, as file systems compare; characters that change in number do not count as equal there.
    upper = "".join(c.upper() if len(c.upper()) == 1 and c.upper().lower() == c else c for c in name)
    assert fold(upper) == fold(name)


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_what_is_portable_is_also_a_path(name: str) -> None:
    if is_portable(name):
        assert check_path(name) == name == unicodedata.normalize("NFC", name)
        assert check_member(name) == name


@given(
    st.lists(
        st.sampled_from(
            ["con", "COM1", "nul.txt", "lpt", "a", "B_", "é", ".", "..", "/", "//", " ", "-", "+", "x" * 199]
        )
        | st.characters(max_codepoint=127),
        max_size=8,
    ).map("".join)
)
@example("a/" * 99 + "a")
@example("x" * 200)
@example("x" * 201)
@example("a" * 255 + "/a")
@example("a\n")
@example("a/b.")
def test_what_is_taken_at_a_glance_is_what_the_rules_take(name: str) -> None:
    def judged() -> tuple[bool, bool, str]:
        try:
            legal = check_path(name) == name
        except IllegalNameError:
            legal = False
        return legal, is_portable(name), fold(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "_is_plain_path", lambda _: False)
        patch.setattr(names, "_PLAIN_MEMBER", re.compile("(?!)"))
        by_the_rules = judged()
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())
    assert judged() == by_the_rules
    assert fold(name) == folded


def test_the_limits_are_those_the_format_states() -> None:
    assert (names.MAX_COMPONENT, names.MAX_PATH, names.MAX_DEPTH, names.MAX_MEMBER) == (255, 4000, 512, 200)
    assert MAX_TARGET == 4095
