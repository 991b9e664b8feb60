from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.engine.storage import cache as module
from analysis.engine.storage.base import DamageError, OutageError
from analysis.engine.storage.cache import Cache, CacheError, describe
from analysis.engine.storage.counters import Statistics
from tests.engine.storage.cache_files import RemoteFile, entries, left, size

FILE = RemoteFile(1, 3000)
OTHERS = [RemoteFile(number, 3000) for number in range(2, 6)]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    """Room for three of the files."""
    cache = Cache(tmp_path / "cache", 9999)
    yield cache
    cache.close()


def never(_path: Path) -> None:
    pytest.fail("fetched again")


def test_copy_is_fetched_once_and_gone_from_the_lease_after_the_block(cache: Cache) -> None:
    with FILE.open(cache) as path:
        assert path.read_bytes() == FILE.content
        assert path.name.endswith("file_1.root")
    assert not path.exists()
    with FILE.open(cache, never) as path:
        assert path.read_bytes() == FILE.content
    assert cache.statistics() == Statistics(hits=1, misses=1, bytes_hit=3000, bytes_fetched=3000)
    cache.close()
    assert left(cache) == []


@pytest.mark.parametrize("key", ["store:/a/b.root", "store:/a/" + 300 * "é" + ".root", "store:/", "s:/a b#?%2F.root"])
def test_any_name_of_a_file_gives_a_file(cache: Cache, key: str) -> None:
    with cache.open(key, FILE.size, FILE.adler32.upper(), FILE.fetch) as path:
        assert path.read_bytes() == FILE.content
        assert path.suffix == Path(key).suffix


def test_another_version_of_a_file_is_another_copy(cache: Cache) -> None:
    FILE.read(cache)
    other = RemoteFile(7, 2000)
    with cache.open(FILE.key, other.size, other.adler32, other.fetch) as path:
        assert path.read_bytes() == other.content
    assert FILE.read(cache) == FILE.content
    assert cache.statistics().misses == 2


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda _: b"", lambda b: b + b"x", lambda b: b[:9] + b"#" + b[10:]]
)
def test_damaged_copy_is_removed_counted_and_fetched_again(
    cache: Cache, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    FILE.read(cache)
    entry = entries(cache)[0]
    entry.chmod(0o644)
    entry.write_bytes(damage(FILE.content))  # type: ignore[operator]
    assert FILE.read(cache) == FILE.content
    assert cache.statistics()[:2] == (0, 2)
    assert cache.statistics().damaged == 1
    assert "was damaged: removed, fetched again" in caplog.text
    assert FILE.read(cache) == FILE.content
    assert cache.statistics().hits == 1


def test_what_arrives_wrong_is_fetched_again_once(cache: Cache) -> None:
    contents = iter([FILE.content[:-1], FILE.content])
    with FILE.open(cache, lambda path: path.write_bytes(next(contents))) as path:
        assert path.read_bytes() == FILE.content


@pytest.mark.parametrize("content", [b"", b"x", 3000 * b"x", None])
def test_what_arrives_wrong_twice_is_an_error_and_not_kept(cache: Cache, content: bytes | None) -> None:
    found = "nothing" if content is None else f"{len(content)} bytes"
    with pytest.raises(DamageError, match=f"{FILE.key}: {found}.* arrived instead of 3000 bytes, adler32"):  # noqa: SIM117
        with FILE.open(cache, lambda path: None if content is None else path.write_bytes(content)):
            pass
    cache.close()
    assert (entries(cache), left(cache)) == ([], [])


def test_outage_is_handed_on_and_leaves_nothing(cache: Cache) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OutageError("download", FILE.key, "no answer")  # noqa: EM101

    with pytest.raises(OutageError), FILE.open(cache, fail):
        pass
    cache.close()
    assert (entries(cache), left(cache)) == ([], [])
    assert FILE.read(cache) == FILE.content


def test_file_in_use_stays_when_its_copy_is_evicted_and_is_evicted_last(cache: Cache) -> None:
    with FILE.open(cache) as path:
        for other in OTHERS:
            other.read(cache)
        with FILE.open(cache, never):
            pass
        removed = cache.clear()
        assert (removed.files, removed.in_use) == (3, 1)
        assert entries(cache) == []
        assert path.read_bytes() == FILE.content


def test_file_larger_than_the_cache_passes_it(cache: Cache) -> None:
    FILE.read(cache)
    large = RemoteFile(9, 10_000)
    assert large.read(cache) == large.content
    assert cache.statistics().bypassed == 1
    assert len(entries(cache)) == 1


def test_cache_full_of_fetches_is_passed_and_nothing_evicted(cache: Cache) -> None:
    FILE.read(cache)
    second, third = RemoteFile(8, 6000), RemoteFile(9, 6000)

    def fetch(path: Path) -> None:
        assert third.read(cache) == third.content
        second.fetch(path)

    with second.open(cache, fetch):
        assert sorted(path.stat().st_size for path in entries(cache)) == [3000, 6000]
    assert cache.statistics().bypassed == 1


def test_disk_that_is_full_has_room_after_an_eviction(cache: Cache) -> None:
    OTHERS[0].read(cache)
    attempts = itertools.count()

    def fetch(path: Path) -> None:
        if not next(attempts):
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "no space left on device")
        FILE.fetch(path)

    with FILE.open(cache, fetch) as path:
        assert path.read_bytes() == FILE.content
    assert cache.statistics().evictions == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_disk_that_stays_full_is_one_clear_error(cache: Cache, code: int) -> None:
    def fetch(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(code, "no space")

    sentence = (
        r"no room for a local copy of store:/v1/Task/file_1\.root \(0\.003 MB\): .*/cache is on a disk with .*free"
    )
    with pytest.raises(CacheError, match=sentence), FILE.open(cache, fetch):
        pass
    cache.close()
    assert (entries(cache), left(cache)) == ([], [])


def test_disk_without_room_is_not_filled(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk(NamedTuple):
        total: int
        used: int
        free: int

    OTHERS[0].read(cache)

    def disk(_path: Path) -> Disk:  # of 4000 bytes
        return Disk(4000, size(cache), 4000 - size(cache))

    monkeypatch.setattr(shutil, "disk_usage", disk)
    assert FILE.read(cache) == FILE.content
    assert cache.statistics().evictions == 1
    with FILE.open(cache), pytest.raises(CacheError, match="no room"), OTHERS[1].open(cache, never):
        pass


def test_without_hard_links_a_copy_of_the_copy_is_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, _source: Path) -> None:
        raise PermissionError(errno.EPERM, "operation not permitted", str(path))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    FILE.read(cache)
    with FILE.open(cache, never) as path:
        cache.clear()
        assert path.read_bytes() == FILE.content
        assert path.stat().st_nlink == 1
    FILE.read(cache)
    entries(cache)[0].chmod(0o644)
    entries(cache)[0].write_bytes(b"damaged")
    assert FILE.read(cache) == FILE.content
    assert cache.statistics().damaged == 1


def test_console_shows_a_cache(cache: Cache) -> None:
    assert "asked for 0: 0 there, 0 fetched" in describe(cache)
    FILE.read(cache)
    with FILE.open(cache):
        lines = describe(cache)
    assert re.search(r"1 files, 0\.003 of 0\.009999 MB, 1 in use", lines)
    assert "asked for 2: 1 there (50%), 1 fetched, 0 of them not kept" in lines


def test_threads_fetch_a_file_once(cache: Cache) -> None:
    fetched, wrong, start = [], [], threading.Barrier(8)

    def fetch(path: Path) -> None:
        fetched.append(path)
        FILE.fetch(path)

    def read() -> None:
        start.wait()
        with FILE.open(cache, fetch) as path:
            if path.read_bytes() != FILE.content:
                wrong.append(path)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(fetched), wrong) == (1, [])
    assert cache.statistics()[:2] == (7, 1)


class Model:
    """A cache as it should be."""

    def __init__(self, max_size: int) -> None:
        self.max_size, self.kept = max_size, OrderedDict[RemoteFile, None]()

    def read(self, file: RemoteFile) -> bool:
        """Whether the file is there."""
        if file in self.kept:
            self.kept.move_to_end(file)
            return True
        if file.size > self.max_size:
            return False
        excess = sum(other.size for other in self.kept) + file.size - self.max_size
        while self.kept and excess > 0:
            needed = excess + self.max_size // 20
            while self.kept and needed > 0:
                needed -= self.kept.popitem(last=False)[0].size
            break
        self.kept[file] = None
        return False


FILES = st.builds(RemoteFile, st.integers(0, 9), st.sampled_from([0, 1, 40, 300, 999, 1000, 1001]))


@given(st.lists(FILES, max_size=25), st.sampled_from([0, 1, 999, 1000, 2500]))
@settings(max_examples=60, deadline=None)
def test_cache_never_exceeds_its_bound_and_loses_what_was_not_used_for_the_longest_time(
    reads: list[RemoteFile], max_size: int
) -> None:
    clock = itertools.count(1)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_touch", lambda path: os.utime(path, ns=(0, next(clock))))
        cache, model = Cache(Path(folder) / "cache", max_size), Model(max_size)
        for file in reads:
            before = cache.statistics().hits
            assert file.read(cache) == file.content
            assert size(cache) <= max_size
            assert bool(cache.statistics().hits - before) == model.read(file)
        assert sorted(path.stat().st_size for path in entries(cache)) == sorted(file.size for file in model.kept)
        cache.close()
        assert left(cache) == []


@given(
    st.lists(st.tuples(st.sampled_from(["read", "hold", "drop", "damage", "clear"]), st.integers(0, 5)), max_size=30)
)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_what_is_held_is_right_and_the_bound_holds(steps: list[tuple[str, int]]) -> None:
    files = [RemoteFile(number, 100 * (number + 1)) for number in range(6)]
    with tempfile.TemporaryDirectory() as folder:
        caches = [Cache(Path(folder) / "cache", 1000) for _ in range(2)]  # as two processes would
        held = []
        for step, number in steps:
            cache, file = caches[number % 2], files[number]
            match step:
                case "read":
                    assert file.read(cache) == file.content
                case "hold":
                    block = file.open(cache)
                    held.append((block, block.__enter__(), file))
                case "drop" if held:
                    held.pop(number % len(held))[0].__exit__(None, None, None)
                case "damage" if not held:  # a copy that is held is one file with the entry
                    for path in entries(cache)[:1]:
                        path.chmod(0o644)
                        path.write_bytes(b"damage")
                case "clear":
                    cache.clear()
            assert size(cache) <= 1000
            assert all(path.read_bytes() == kept.content for _, path, kept in held)
        for block, _, _ in held:
            block.__exit__(None, None, None)
        for cache in caches:
            cache.close()
        assert left(caches[0]) == []
