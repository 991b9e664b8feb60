from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.engine.lock import SILENCE
from analysis.engine.storage import cache as module
from analysis.engine.storage import counters
from analysis.engine.storage.cache import Cache
from analysis.engine.storage.counters import Statistics
from tests.engine.lock_holders import age_by, forge
from tests.engine.storage.cache_files import (
    FORK,
    RemoteFile,
    entries,
    hang_in_fetch,
    hold,
    left,
    process,
    read_for_ever,
    read_once,
    size,
)

FILE = RemoteFile(1, 3000)
OTHERS = [RemoteFile(number, 3000) for number in range(2, 6)]
MAX_SIZE = 9999
KILLS = 40


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    """Room for three of the files."""
    cache = Cache(tmp_path / "cache", MAX_SIZE)
    yield cache
    cache.close()


def test_processes_fetch_a_file_once_and_their_counts_add_up(cache: Cache, tmp_path: Path) -> None:
    start, log = FORK.Barrier(5), tmp_path / "log"
    children = [FORK.Process(target=read_once, args=(cache.root, MAX_SIZE, FILE, log, start)) for _ in range(5)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert log.read_text().splitlines() == ["fetched"]
    counts = Statistics(hits=4, misses=1, bytes_hit=4 * 3000, bytes_fetched=3000)
    assert cache.statistics() == counts
    FILE.read(cache)  # adds up those that have ended
    assert cache.statistics_by_process()["ended"] == counts
    assert len(cache.statistics_by_process()) == 2
    assert cache.statistics().hits == 5


def test_process_that_is_killed_in_a_fetch_leaves_nothing_and_stops_nobody(cache: Cache) -> None:
    here, there = FORK.Pipe()
    with process(hang_in_fetch, cache.root, MAX_SIZE, FILE, there):
        assert here.recv() == "half"
        assert any(name.startswith("incoming") for name in left(cache))
    assert FILE.read(cache) == FILE.content
    assert cache.statistics()[:2] == (0, 1)
    cache.close()
    assert left(cache) == []


def test_room_that_a_dead_process_had_taken_is_free_again(cache: Cache) -> None:
    here, there = FORK.Pipe()
    large = RemoteFile(7, MAX_SIZE)
    FILE.read(cache)
    with process(hang_in_fetch, cache.root, MAX_SIZE, large, there):
        assert here.recv() == "half"
        OTHERS[0].read(cache)
        assert cache.statistics().bypassed == 1
    cache.clear()  # collects
    OTHERS[1].read(cache)
    assert cache.statistics().bypassed == 1
    assert len(entries(cache)) == 1


def test_file_that_another_process_holds_outlives_its_copy_but_not_the_process(cache: Cache) -> None:
    here, there = FORK.Pipe()
    with process(hold, cache.root, MAX_SIZE, FILE, there):
        path = Path(here.recv())
        assert cache.usage().in_use == 1
        for other in OTHERS:
            other.read(cache)
        cache.clear()
        here.send("read")
        assert here.recv() == FILE.content
        assert path.exists()
    cache.clear()
    assert not path.exists()


def test_leases_of_another_host_are_collected_after_its_silence(cache: Cache) -> None:
    token = 16 * "a"
    lease, mark = cache.root / "leases" / token, cache.root / "incoming" / f"{40 * '0'}-9999-00000001.{token}"
    for path in (lease / "0-file.root", mark):
        path.parent.mkdir(parents=True)
        path.touch()
    lock = lease.with_name(f"{token}.lock")
    forge(lock, host="elsewhere")
    cache.clear()
    assert lease.exists()
    assert mark.exists()
    age_by(lock, SILENCE + 60)
    cache.clear()
    cache.close()
    assert left(cache) == []


def test_what_a_lock_left_in_the_middle_is_collected_when_it_is_old(cache: Cache) -> None:
    FILE.read(cache)
    litter = cache.root / "locks" / "x.lock.0123456789abcdef.claim"
    litter.touch()
    cache.clear()
    assert litter.exists()
    age_by(litter, 100_000)
    cache.clear()
    assert not litter.exists()


def test_counts_that_were_added_up_by_a_process_that_was_killed_are_not_added_twice(cache: Cache) -> None:
    folder = cache.root / "statistics"
    for token in ("a", "b"):
        counters.Counter(folder / token).count(hits=3)
    kept = (folder / "a").read_bytes()
    counters.add_up(folder, {"a"})
    (folder / "a").write_bytes(kept)  # as if it had been killed before it removed it
    assert cache.statistics().hits == 6
    counters.add_up(folder, {"a", "b"})
    assert cache.statistics().hits == 6
    assert [path.name for path in folder.iterdir()] == ["ended.json"]


def test_fork_inside_of_a_block_leaves_the_file_to_the_parent(cache: Cache) -> None:
    block = FILE.open(cache)
    path = block.__enter__()

    def leave() -> None:
        assert OTHERS[0].read(cache) == OTHERS[0].content  # with a lease of its own
        block.__exit__(None, None, None)

    child = FORK.Process(target=leave)
    child.start()
    child.join()
    assert child.exitcode == 0
    assert path.read_bytes() == FILE.content
    block.__exit__(None, None, None)
    assert not path.exists()


def test_lease_that_was_taken_away_is_replaced(cache: Cache) -> None:
    FILE.read(cache)
    for path in (cache.root / "leases").glob("*.lock"):  # as after a day of sleep
        path.unlink()
    assert FILE.read(cache) == FILE.content
    assert cache.statistics().hits == 1


def test_killed_at_any_moment_a_process_leaves_a_cache_that_is_right(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COLLECT", 0.0)
    chance, files = random.Random(5), [RemoteFile(number, 1000 * number) for number in range(1, 9)]
    for seed in range(KILLS):
        arguments = (cache.root, 20_000, files, seed)
        with process(read_for_ever, *arguments) as one, process(read_for_ever, *arguments):
            one.join(timeout=chance.uniform(0.0, 0.08))
            assert one.is_alive()
        new = RemoteFile(100 + seed, 2000)
        mine = Cache(cache.root, 20_000)
        for file in (new, *chance.sample(files, 3)):
            assert file.read(mine) == file.content
        assert size(mine) <= 20_000
        mine.close()
    done = cache.statistics()
    assert done.hits > KILLS
    assert done.evictions > KILLS
    assert done.damaged == 0
    cache.clear()
    cache.close()
    assert [name for name in left(cache) if ".lock." not in name] == []
    assert len(list((cache.root / "statistics").iterdir())) <= 2
