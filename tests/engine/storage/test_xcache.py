from __future__ import annotations

from collections.abc import Iterator

import law
import pytest

from analysis.engine.errors import ParameterError
from analysis.engine.storage import xcache
from analysis.engine.storage.xcache import (
    Candidate,
    XCacheSettings,
    leave_alone,
    through_cache,
    usable,
    xcache_settings,
)

CACHE = "root://cache.site:1094"
FIXED = XCacheSettings(CACHE, "fixed", ("root://origin:1094//store",))
FORWARDING = XCacheSettings(CACHE, "forwarding", ("root://origin:1094",))


@pytest.fixture(autouse=True)
def _healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xcache, "_rests_until", {})


@pytest.fixture
def section() -> Iterator[str]:
    law.config.remove_section("xcache")
    law.config.add_section("xcache")
    yield "xcache"
    law.config.remove_section("xcache")


def urls(url: str, settings: XCacheSettings) -> list[str]:
    return [candidate.url for candidate in through_cache(url, settings)]


@pytest.mark.parametrize(
    ("url", "settings", "expected"),
    [
        ("root://origin:1094//store/a.root", FIXED, [f"{CACHE}//store/a.root", "root://origin:1094//store/a.root"]),
        ("root://origin:1094/store/a.root", FIXED, [f"{CACHE}//store/a.root", "root://origin:1094/store/a.root"]),
        ("root://origin:1094//stored/a.root", FIXED, ["root://origin:1094//stored/a.root"]),
        ("root://origin:1095//store/a.root", FIXED, ["root://origin:1095//store/a.root"]),
        (
            "root://origin:1094//store/a.root",
            FORWARDING,
            [f"{CACHE}//root://origin:1094//store/a.root", "root://origin:1094//store/a.root"],
        ),
        ("root://xcache//store/a.root", FIXED, [f"{CACHE}//store/a.root", "root://origin:1094//store/a.root"]),
        (
            "root://xcache//store/a.root",
            FORWARDING,
            [f"{CACHE}//root://origin:1094//store/a.root", "root://origin:1094//store/a.root"],
        ),
        (
            "root://xcache//store/a.root",
            XCacheSettings(origins=("root://origin:1094",)),
            ["root://origin:1094//store/a.root"],
        ),
        ("https://origin:1094/store/a.root", FIXED, ["https://origin:1094/store/a.root"]),
        ("davs://xcache/store/a.root", FIXED, ["davs://xcache/store/a.root"]),
        ("/store/a.root", FIXED, ["/store/a.root"]),
        ("root://any//a.root", XCacheSettings(), ["root://any//a.root"]),
        ("root://any//a.root", XCacheSettings(CACHE, "fixed", all_origins=True), ["root://any//a.root"]),
    ],
)
def test_candidates_are_the_cache_and_then_the_origin(url: str, settings: XCacheSettings, expected: list[str]) -> None:
    assert urls(url, settings) == expected


def test_nickname_without_cache_or_origin_is_an_error() -> None:
    with pytest.raises(ParameterError, match="names neither server nor origins: add the cache of your site"):
        through_cache("root://xcache//store/a.root", XCacheSettings())
    with pytest.raises(ParameterError, match="a forwarding cache needs origins"):
        through_cache("root://xcache//store/a.root", XCacheSettings(CACHE))


def test_cache_that_is_down_is_left_alone_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    candidates = [Candidate(f"{CACHE}//store/a", CACHE), Candidate("root://origin//store/a")]
    assert usable(candidates) == candidates
    for _ in range(3):
        leave_alone(CACHE, "no answer", 300)
    assert usable(candidates) == candidates[1:]
    assert usable(candidates[:1]) == candidates[:1]
    assert caplog.text.count(f"{CACHE} is left alone for 300 s, files are read from their origin: no answer") == 1
    leave_alone("root://other", "no answer", -1)
    assert usable([Candidate("root://other//a", "root://other")])[0].cache == "root://other"


def test_settings_are_those_of_the_section(section: str) -> None:
    options = {"server": f"{CACHE}/", "kind": "fixed", "origins": "root://a:1094, root://b//store/", "patience": "1min"}
    for option, value in options.items():
        law.config.set(section, option, value)
    assert xcache_settings() == XCacheSettings(CACHE, "fixed", ("root://a:1094", "root://b//store"), False, 60)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("server", "cache.site:1094", "'cache.site:1094' is not a server: write root://HOST:PORT"),
        ("server", "https://cache.site", "is not a server"),
        ("kind", "direct", "'direct' is neither forwarding nor fixed"),
        ("kind", "fixed", "a fixed cache needs origins"),
        ("origin", "root://a", "there is no origin, only"),
    ],
)
def test_settings_that_make_no_sense_are_told(section: str, option: str, value: str, sentence: str) -> None:
    law.config.set(section, "server", CACHE)
    law.config.set(section, option, value)
    with pytest.raises(ParameterError, match=sentence):
        xcache_settings()
