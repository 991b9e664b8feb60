from __future__ import annotations

import threading

import pytest

from analysis.engine.storage.parallel import concurrently


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_results_are_in_the_order_of_the_items(limit: int) -> None:
    assert concurrently(lambda item: item * item, range(20), limit) == [item * item for item in range(20)]
    assert concurrently(str, [], limit) == []


def test_calls_are_made_at_the_same_time_and_no_thread_is_left() -> None:
    meeting = threading.Barrier(4)
    before = threading.active_count()
    concurrently(lambda _: meeting.wait(timeout=20), range(8), 4)
    assert threading.active_count() == before


def test_first_error_is_raised_and_what_did_not_begin_is_left_out() -> None:
    done = []

    def work(item: int) -> None:
        if item == 1:
            msg = "one"
            raise ValueError(msg)
        done.append(item)

    with pytest.raises(ValueError, match="one"):
        concurrently(work, range(1000), 2)
    assert len(done) < 999
