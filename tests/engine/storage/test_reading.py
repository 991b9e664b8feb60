"""Reading of remote files, with servers that do not exist; the real ones are in tests/integration."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.errors import ParameterError
from analysis.engine.storage import ranges as ranges_module
from analysis.engine.storage import reading, xcache
from analysis.engine.storage.base import DeniedError, NotFoundError, OutageError, RemoteError
from analysis.engine.storage.ranges import Range, merged
from analysis.engine.storage.reading import InputSettings, input_settings, open_root, opening
from analysis.engine.storage.retry import Clock, Patience
from analysis.engine.storage.source import RemoteFile, RemoteSource
from analysis.engine.storage.xcache import Candidate

CACHE, ORIGIN = "root://cache//a", "root://origin//a"
BOTH = [Candidate(CACHE, "root://cache"), Candidate(ORIGIN)]
CONTENT = bytes(range(256)) * 1000


class Server:
    """Files by URL; the errors of a URL come first, one per request, an error as the last for ever."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content, self.now = content, 0.0
        self.errors: dict[str, list[RemoteError]] = {}
        self.forever: dict[str, RemoteError] = {}
        self.asked: list[str] = []

    def open(self, url: str, _timeout: int) -> ServerFile:
        self.ask(url)
        return ServerFile(self, url)

    def ask(self, url: str) -> None:
        self.asked.append(url)
        if self.errors.get(url):
            raise self.errors[url].pop(0)
        if url in self.forever:
            raise self.forever[url]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def remote(self, candidates: Sequence[Candidate] = BOTH, patience: float = 10.0) -> RemoteFile:
        clock = Clock(lambda: self.now, self.sleep, lambda: 1.0)
        return RemoteFile(candidates, Patience(patience, 4.0), 5, 300.0, self.open, clock)


class ServerFile:
    def __init__(self, server: Server, url: str) -> None:
        self._server, self._url, self.size = server, url, len(server.content)

    def read(self, ranges: Sequence[Range]) -> list[bytes]:
        self._server.ask(self._url)
        assert all(0 <= a < b <= self.size for a, b in ranges)
        return [self._server.content[a:b] for a, b in ranges]

    def close(self) -> None:
        self._server.asked.append("close")


@pytest.fixture(autouse=True)
def _healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xcache, "_rests_until", {})


@pytest.fixture
def server() -> Server:
    return Server()


def outage(url: str) -> OutageError:
    return OutageError("read", url, "no answer")


def test_pieces_come_from_the_cache(server: Server) -> None:
    remote = server.remote()
    assert remote.read([(100_000, 100_010), (0, 3), (255_990, 300_000)]) == [
        CONTENT[100_000:100_010],
        CONTENT[:3],
        CONTENT[255_990:],
    ]
    assert set(server.asked) == {CACHE}
    assert remote.size == len(CONTENT)


def test_outage_in_the_middle_is_tried_again_where_there_is_nowhere_else(server: Server) -> None:
    remote = server.remote(BOTH[1:])
    server.errors[ORIGIN] = [outage(ORIGIN), outage(ORIGIN)]
    assert remote.read([(5, 9)]) == [CONTENT[5:9]]
    assert server.now == 10.0  # pauses of 4 s and, cut by the patience, 6 s


def test_outage_that_outlives_the_patience_is_told(server: Server) -> None:
    server.forever[ORIGIN] = outage(ORIGIN)
    with pytest.raises(OutageError, match=r"read root://origin//a: no answer: nothing is known"):
        server.remote(BOTH[1:])
    assert server.now == 10.0


def test_cache_without_an_origin_is_asked_again(server: Server) -> None:
    server.forever[CACHE] = outage(CACHE)
    with pytest.raises(OutageError):
        server.remote(BOTH[:1])
    assert server.now == 10.0


def test_cache_that_is_down_is_passed_at_once_and_by_the_next_file(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.forever[CACHE] = outage(CACHE)
    assert server.remote().read([(5, 9)]) == [CONTENT[5:9]]
    assert server.now == 0.0
    server.asked.clear()
    server.remote()
    assert CACHE not in server.asked
    assert len(caplog.records) == 1


def test_cache_that_goes_down_in_the_middle_is_passed(server: Server) -> None:
    remote = server.remote()
    server.forever[CACHE] = outage(CACHE)
    assert remote.read([(5, 9)]) == [CONTENT[5:9]]
    assert remote.url == ORIGIN


def test_cache_that_cannot_read_a_file_is_passed_for_that_file_only(server: Server) -> None:
    server.forever[CACHE] = RemoteError("read", CACHE, "input/output error")
    assert server.remote().url == ORIGIN
    del server.forever[CACHE]
    assert server.remote().url == CACHE


@pytest.mark.parametrize("kind", [NotFoundError, DeniedError])
def test_what_the_cache_says_of_a_file_that_is_absent_or_denied_counts(server: Server, kind: type[RemoteError]) -> None:
    server.forever[CACHE] = kind("open", CACHE, "no")
    with pytest.raises(kind):
        server.remote()
    assert ORIGIN not in server.asked
    assert server.now == 0.0


def test_file_that_changes_while_it_is_read_is_an_error(server: Server) -> None:
    remote = server.remote(BOTH[1:])
    server.errors[ORIGIN] = [outage(ORIGIN)]
    server.content = CONTENT[:-1]
    with pytest.raises(RemoteError, match="it has 255999 bytes, but had 256000 when it was opened"):
        remote.read([(5, 9)])


SOME = st.lists(
    st.tuples(st.integers(0, 200_000), st.integers(1, 5000)).map(lambda p: (p[0], p[0] + p[1])), max_size=20
)


@given(SOME)
def test_source_gives_exactly_the_ranges_that_are_asked_for(wanted: list[Range]) -> None:
    source, notified = RemoteSource("a", Server().remote()), queue.Queue[Any]()
    chunks = source.chunks(wanted, notified)
    assert [bytes(chunk.raw_data) for chunk in chunks] == [CONTENT[a:b] for a, b in wanted]
    assert notified.qsize() == len(wanted)


@given(SOME, st.integers(0, 10_000))
def test_merged_ranges_hold_all_that_is_wanted_and_are_apart(wanted: list[Range], gap: int) -> None:
    parts = merged(wanted, gap)
    assert sorted(one for part in parts for one in part.wanted) == sorted(wanted)
    assert all(part.start <= a < b <= part.stop for part in parts for a, b in part.wanted)
    assert all(after.start - part.stop > gap for part, after in pairwise(parts))


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**7)).map(lambda p: (p[0], p[0] + p[1])), max_size=9))
def test_vector_reads_keep_to_the_limits_of_the_protocol(wanted: list[Range]) -> None:
    groups = list(ranges_module._groups(wanted))
    assert all(len(group) <= 1024 and all(0 < length <= 2097136 for _, length in group) for group in groups)
    assert sum(length for group in groups for _, length in group) == sum(b - a for a, b in wanted)


def test_local_files_are_left_to_uproot() -> None:
    for path in ("/data/a.root", "relative.root", "file:///data/a.root"):
        with opening(path) as opener:
            assert opener is None


def test_nothing_is_opened_before_it_is_needed() -> None:
    with opening("root://nohost.invalid//a.root") as opener:
        assert opener is not None


def test_scheme_that_is_not_read_is_told() -> None:
    with pytest.raises(RemoteError, match="gsiftp is not read remotely: use root, https or davs"):  # noqa: SIM117
        with open_root("gsiftp://host/a.root", InputSettings("direct", patience=0)):
            pass


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reading": "quick"}, "'quick' is not one of auto, direct, copy"),
        ({"reading": "copy"}, "reading: copy needs a place for the copies: set cache_root"),
        ({"cache_root": "/cache"}, "cache_root has to be an absolute path, and cache_max_size its size"),
        ({"cache_root": "cache", "cache_max_size": "1GB"}, "cache_root has to be an absolute path"),
        ({"cache": "/cache"}, "there is no cache, only"),
    ],
)
def test_settings_that_make_no_sense_are_told(
    options: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import law

    law.config.remove_section("inputs")
    law.config.add_section("inputs")
    for option, value in options.items():
        law.config.set("inputs", option, value)
    with pytest.raises(ParameterError, match=sentence):
        input_settings()
    law.config.remove_section("inputs")
    assert input_settings() == InputSettings()
    monkeypatch.setattr(reading, "_caches", {})
    assert reading.input_cache() is None
