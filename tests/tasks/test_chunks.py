from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analysis.tasks.reduce_events import even_groups
from analysis.tasks.select_events import Chunk, chunk_steps


@given(start=st.integers(0, 50), length=st.integers(1, 200), size=st.integers(1, 60))
def test_steps_cover_a_chunk_once_and_in_order(start: int, length: int, size: int) -> None:
    steps = list(chunk_steps(Chunk(0, start, start + length), 1000, size))
    events = [event for _, (first, last) in steps for event in range(first, last)]
    assert events == list(range(start, start + length))
    assert all(offset == first - start and last - first <= size for offset, (first, last) in steps)


@given(number=st.integers(1, 300), size=st.integers(1, 40))
def test_groups_are_even_and_as_few_as_possible(number: int, size: int) -> None:
    groups = even_groups(list(range(number)), size)
    assert [item for group in groups for item in group] == list(range(number))
    lengths = {len(group) for group in groups}
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(groups) == -(-number // size)
