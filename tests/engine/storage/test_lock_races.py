"""Many that want one lock, in whatever order the server takes what they ask."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.engine import lock
from analysis.engine.process import Process
from analysis.engine.storage import locks
from analysis.engine.storage.locks import RemoteLock
from tests.engine.storage.lock_store import GONE, LOCK, ROOT, Server, Turns, TurnStore, forge
from tests.engine.storage.test_locks import own_heart

__all__ = ["own_heart"]

CONTENDERS = 3


class Contenders:
    """Processes, each a thread here, that want one lock; the server decides who is next.

    Args:
        server: where.
        choices: who is next.
        faults: of each.
    """

    def __init__(self, server: Server, choices: list[int], faults: list[dict[int, str]]) -> None:
        self.turns = Turns(choices)
        self.stores = [TurnStore(server, self.turns, number, faults[number]) for number in range(len(faults))]
        self.inside: list[int] = []
        self.served: list[int] = []
        self._me = threading.local()

    def identity(self) -> Process:
        number = getattr(self._me, "number", -1)
        return Process("host", 1000 + number, 1, "boot", "namespace")

    def is_running(self, pid: int, _: int | None = None) -> bool:
        return pid < 1000 or not self.stores[pid - 1000].dead

    def run(self) -> None:
        with (
            mock.patch.object(lock, "identity", self.identity),
            mock.patch.object(lock, "is_running", self.is_running),
        ):
            self.turns.run([self._contender(number) for number in range(len(self.stores))])

    def _contender(self, number: int) -> Callable[[], None]:
        def contend() -> None:
            self._me.number = number
            mine = RemoteLock(self.stores[number], LOCK)
            for _ in range(200):
                try:
                    if mine.acquire():
                        break
                    self._make_up(number)
                except OSError:
                    pass
            else:
                pytest.fail("never got the lock")
            assert self._living_inside() == []
            self.inside.append(number)
            self._until_known(mine.beat)
            assert self._living_inside() == [number]
            assert self._until_known(mine.still_ours)
            assert self._living_inside() == [number]
            self.inside.remove(number)
            self.served.append(number)
            mine.release()
            while self._ends(number):
                self._make_up(number)

        return contend

    def _ends(self, number: int) -> list[locks._End]:
        ends = [end for end in list(locks._heart._locks) if isinstance(end, locks._End)]
        return [end for end in ends if end._store is self.stores[number]]

    def _make_up(self, number: int) -> None:
        """What the heart does from time to time."""
        for end in self._ends(number):
            _quietly(end.beat)

    def _living_inside(self) -> list[int]:
        return [number for number in self.inside if not self.stores[number].dead]

    @staticmethod
    def _until_known(question: Callable[[], bool]) -> bool:
        for _ in range(20):
            try:
                return question()
            except OSError:
                pass
        pytest.fail("no answer")


FAULTS = st.dictionaries(st.integers(0, 25), st.sampled_from(["lost", "mute", "late", "kill", "killed"]), max_size=4)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.integers(0, 1000), max_size=120),
    st.lists(FAULTS, min_size=CONTENDERS, max_size=CONTENDERS),
    st.booleans(),
)
def test_never_two_holders(choices: list[int], faults: list[dict[int, str]], stale: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(locks, "_heart", mock.Mock(wraps=None)) as own:
        own._locks = set()
        own.add.side_effect = own._locks.add
        own.remove.side_effect = own._locks.discard
        server = Server(Path(folder))
        if stale:
            forge(server, pid=GONE, host="host", boot="boot", namespace="namespace")
        contenders = Contenders(server, choices, faults)
        with mock.patch.object(contenders, "is_running", _gone_too(contenders.is_running)):
            contenders.run()
        living = [number for number, store in enumerate(contenders.stores) if not store.dead]
        assert set(living) <= set(contenders.served)  # every one of them got it
        if not any(faults):
            assert server.names() == ["manifests"]


def _gone_too(is_running: Callable[..., bool]) -> Callable[..., bool]:
    return lambda pid, start=None: pid != GONE and is_running(pid, start)


def _quietly(action: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        action()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=80))
def test_of_many_that_find_a_stale_lock_one_takes_it(choices: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        forge(server, pid=GONE)
        turns = Turns(choices)
        stores = [TurnStore(server, turns, number, {}) for number in range(4)]
        won: list[int] = []

        def contender(number: int) -> Callable[[], None]:
            return lambda: won.append(number) if RemoteLock(stores[number], LOCK).acquire() else None

        turns.run([contender(number) for number in range(4)])
        assert len(won) == 1
        (_, name, _) = server.names()
        assert name == "manifests/.17.lock"
        assert LOCK.parent.parent == ROOT
