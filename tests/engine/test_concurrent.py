from __future__ import annotations

import threading

import pytest

from analysis.engine.concurrent import concurrently


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_results_are_in_the_order_of_the_items(limit: int) -> None:
    assert concurrently(lambda item: item * item, range(20), limit) == [item * item for item in range(20)]
    assert concurrently(str, [], limit) == []


def test_calls_are_made_at_the_same_time_and_no_thread_is_left() -> None:
    meeting = threading.Barrier(4)
    before = threading.active_count()
    concurrently(lambda _: meeting.wait(timeout=20), range(8), 4)
    assert threading.active_count() == before


@pytest.mark.parametrize("limit", [1, 4])
def test_first_error_in_the_order_of_the_items_is_raised(limit: int) -> None:
    meeting = threading.Barrier(limit)

    def work(item: int) -> None:
        meeting.wait(timeout=20)
        if item in (2, 3):
            msg = f"item {item}"
            raise ValueError(msg)

    before = threading.active_count()
    with pytest.raises(ValueError, match="item 2"):
        concurrently(work, range(4), limit)
    assert threading.active_count() == before


def test_after_an_error_nothing_new_begins() -> None:
    done = []

    def work(item: int) -> None:
        done.append(item)
        msg = "no"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="no"):
        concurrently(work, range(10), 1)
    assert done == [0]
