from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.storage.addresses import AddressError, file_parts, parse, parts_of, root_of, url_of

ROOT = root_of("wlcg_fs")

UNSAFE = [
    *("..", "%2e%2e", "%2E%2e", ".%2e", "%252e%252e", "%25252e%25252E", "%2e", "."),
    *(
        "%2f",
        "a%2fb",
        "..%2fx",
        "%2e%2e%2fx",
        "a%252fb",
        "%00",
        "a\0b",
        "a\nb",
        "\x7f",
        "a%0ab",
        "a\x85b",
        "\u2028",
        "\ud800",
    ),
]


@pytest.mark.parametrize("part", [part for part in UNSAFE if part != "."])  # that one a PurePath does not have
@pytest.mark.parametrize("where", ["{}", "v1/{}", "{}/x", "v1/{}/x"])
def test_what_leads_out_or_cannot_be_seen_is_refused(part: str, where: str) -> None:
    with pytest.raises(AddressError, match="is not safe") as caught:
        parts_of(ROOT / where.format(part), ROOT)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", UNSAFE)
def test_the_same_as_text(part: str) -> None:
    for where in ("{}", "v1/{}", "{}/x", "v1/{}/x"):
        with pytest.raises(AddressError):
            parse(f"wlcg_fs:/{where.format(part)}")


@pytest.mark.parametrize(
    "part", ["a b", "a#1", "ä", "日本", "100%", "%zz", "a%20b", "..a", "a..", "...", "~", "a:b", "%2e%2ex"]
)
def test_unusual_names_are_fine(part: str) -> None:
    assert parts_of(ROOT / "v1" / part, ROOT) == ("v1", part)
    assert parse(f"wlcg_fs:/v1/{part}") == ROOT / "v1" / part


@pytest.mark.parametrize(
    "text",
    ["", "v1", "/v1", "wlcg_fs", "wlcg_fs:v1", "root://host//x", "wlcg_fs://x", "wlcg_fs:/a//b", "a/b:/c", ":/x"],
)
def test_text_that_is_no_address(text: str) -> None:
    with pytest.raises(AddressError):
        parse(text)


def test_text_and_address_are_the_same() -> None:
    assert parse("wlcg_fs:/v1/Report/report.html") == ROOT / "v1" / "Report" / "report.html"
    assert str(ROOT / "v1") == "wlcg_fs:/v1"
    assert parse("wlcg_fs:/v1/") == ROOT / "v1"
    assert parse("wlcg_fs:") == parse("wlcg_fs:/") == ROOT


def test_address_of_another_store_is_refused() -> None:
    with pytest.raises(AddressError, match=r"'other:/v1' is not in the store wlcg_fs:/"):
        parts_of(PurePosixPath("other:/v1"), ROOT)
    with pytest.raises(AddressError, match="is not in the store"):
        parts_of(PurePosixPath("/wlcg_fs:/v1"), ROOT)
    with pytest.raises(AddressError, match="is not in the store"):
        parts_of(PurePosixPath(), ROOT)


def test_path_of_this_machine_is_refused_although_it_compares_equal() -> None:
    with pytest.raises(AddressError, match="is a path on this machine"):
        parts_of(Path("wlcg_fs:/v1"), ROOT)


def test_root_is_a_folder_that_is_never_removed() -> None:
    assert parts_of(ROOT, ROOT) == ()
    with pytest.raises(AddressError, match="is the root of the store"):
        file_parts(ROOT, ROOT)


def test_urls() -> None:
    assert url_of("root://h//store", ()) == "root://h//store"
    assert url_of("root://h//store", ("a b", "ä#%")) == "root://h//store/a b/ä#%"
    assert url_of("https://h/store", ("a b", "ä#%?")) == "https://h/store/a%20b/%C3%A4%23%25%3F"
    with pytest.raises(AddressError, match=r"only https:// and davs:// can say"):
        url_of("root://h//store", ("a?authz=x",))


@given(st.text(min_size=1, max_size=30))
def test_any_text_is_refused_or_stays_below_the_root(text: str) -> None:
    try:
        parts = parts_of(ROOT / "v1" / text.lstrip("/") if text.strip("/") else ROOT, ROOT)
        url = url_of("https://h/store", parts)
    except AddressError:
        return
    for _ in range(4):
        assert ".." not in url.split("/")
        assert url.startswith("https://h/store")
        url = unquote(url)
