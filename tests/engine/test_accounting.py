from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.accounting import (
    AccountingError,
    Span,
    merge_spans,
    reconcile_counts,
    reconcile_spans,
    reconcile_sums,
)
from analysis.errors import AnalysisError

A, B = "ttbar_3.root", "wjets_0.root"


def problems(spans: list[Span], entries: dict[str, int]) -> list[str]:
    """What reconcile_spans complains about."""
    try:
        reconcile_spans("MergeHistograms ttbar", spans, entries)
    except AccountingError as error:
        pattern = (
            r"MergeHistograms ttbar does not hold every event once \((.*)\): "
            r"remove the outputs of MergeHistograms ttbar, then run again"
        )
        found = re.fullmatch(pattern, str(error))
        assert found
        return found[1].split("; ")
    return []


# --- spans ---


def test_span_is_a_list_in_json() -> None:
    span = Span(A, 5, 9)
    assert json.dumps(span) == f'["{A}", 5, 9]'
    assert Span.from_json(json.loads(json.dumps(span))) == span


@pytest.mark.parametrize("content", [[], [A, 1], [A, 1, 2, 3], [1, 2, 3], [A, 1.0, 2], [A, 1, None], "abc", None, {}])
def test_json_that_is_no_span(content: Any) -> None:
    with pytest.raises(TypeError, match="is no span of events"):
        Span.from_json(content)


def test_merge_sorts_and_joins() -> None:
    spans = [Span(B, 0, 5), Span(A, 20, 30), Span(A, 10, 20), Span(A, 0, 5), Span(A, 7, 7)]
    assert merge_spans(spans) == (Span(A, 0, 5), Span(A, 10, 30), Span(B, 0, 5))
    assert merge_spans([]) == ()


@pytest.mark.parametrize(
    ("spans", "problem"),
    [
        ([Span(A, 15000, 25000), Span(A, 0, 20000)], f"events 15000 to 20000 of {A} are there twice"),
        ([Span(A, 0, 10), Span(A, 0, 4), Span(A, 4, 10)], f"events 0 to 10 of {A} are there twice"),
        ([Span(A, 2, 4)] * 3, f"events 2 to 4 of {A} are there 3 times"),
    ],
)
def test_merge_of_spans_that_overlap(spans: list[Span], problem: str) -> None:
    with pytest.raises(AccountingError) as caught:
        merge_spans(spans)
    assert str(caught.value) == f"{problem}: remove the outputs that hold them, then run again"


@pytest.mark.parametrize("span", [Span(A, 5, 3), Span(A, -1, 3)])
def test_span_that_is_no_range(span: Span) -> None:
    for check in (lambda: merge_spans([span]), lambda: reconcile_spans("X", [span], {A: 3})):
        with pytest.raises(AccountingError, match=f"events {span.start} to 3 of {A} are no range"):
            check()


def test_all_events_once() -> None:
    reconcile_spans("X", [Span(A, 10, 20), Span(B, 0, 7), Span(A, 0, 10)], {B: 7, A: 20})


def test_file_without_events_needs_no_span_and_may_have_one() -> None:
    reconcile_spans("X", [Span(A, 0, 20)], {B: 0, A: 20})
    reconcile_spans("X", [Span(A, 0, 20), Span(B, 0, 0)], {B: 0, A: 20})
    reconcile_spans("X", [], {})


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], [f"events 0 to 20 of {A} are lost"]),
        ([Span(A, 0, 0)], [f"events 0 to 20 of {A} are lost"]),
        ([Span(A, 5, 20)], [f"events 0 to 5 of {A} are lost"]),
        ([Span(A, 0, 15)], [f"events 15 to 20 of {A} are lost"]),
        ([Span(A, 0, 5), Span(A, 8, 20)], [f"events 5 to 8 of {A} are lost"]),
        ([Span(A, 0, 12), Span(A, 10, 20)], [f"events 10 to 12 of {A} are there twice"]),
        ([Span(A, 0, 20)] * 3, [f"events 0 to 20 of {A} are there 3 times"]),
        ([Span(A, 0, 21)], [f"events 20 to 21 of {A} are beyond its end"]),
        ([Span(A, 0, 25)], [f"events 20 to 25 of {A} are beyond its end"]),
        ([Span(A, 0, 20), Span(A, 22, 25)], [f"events 22 to 25 of {A} are beyond its end"]),
        (
            [Span(A, 0, 18), Span(A, 22, 25)],
            [f"events 18 to 20 of {A} are lost", f"events 22 to 25 of {A} are beyond its end"],
        ),
        (
            [Span(A, 0, 25), Span(A, 15, 22)],
            [
                f"events 15 to 20 of {A} are there twice",
                f"events 20 to 22 of {A} are beyond its end",
                f"events 22 to 25 of {A} are beyond its end",
            ],
        ),
        ([Span(A, 0, 20), Span(B, 0, 5)], [f"{B} is not in the index"]),
        ([Span(A, 0, 20), Span(B, 0, 0)], [f"{B} is not in the index"]),
    ],
)
def test_every_problem_is_named(spans: list[Span], expected: list[str]) -> None:
    assert problems(spans, {A: 20}) == expected


def test_five_problems_are_named_and_the_others_counted() -> None:
    entries = {f"{i}.root": 10 for i in range(7)}
    assert problems([], dict(list(entries.items())[:5])) == [f"events 0 to 10 of {i}.root are lost" for i in range(5)]
    assert problems([], entries)[5:] == ["and 2 more"]


@st.composite
def partitions(draw: st.DrawFn) -> tuple[list[Span], dict[str, int]]:
    """Files, and their events cut into spans that are not empty, in any order."""
    entries = draw(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 1000), min_size=1))
    spans = []
    for source, n in entries.items():
        cuts = draw(st.sets(st.integers(1, n - 1))) if n > 1 else set()
        spans += [Span(source, *bounds) for bounds in pairwise(sorted(cuts | {0, n}))]
    return draw(st.permutations(spans)), entries


@given(partitions())
def test_partition_in_any_order_is_accepted(partition: tuple[list[Span], dict[str, int]]) -> None:
    spans, entries = partition
    reconcile_spans("X", spans, entries)
    assert merge_spans(spans) == tuple(Span(source, 0, n) for source, n in sorted(entries.items()) if n)


@given(partitions().filter(lambda partition: bool(partition[0])), st.data())
def test_span_that_is_removed_or_doubled_is_noticed(
    partition: tuple[list[Span], dict[str, int]], data: st.DataObject
) -> None:
    spans, entries = partition
    position = data.draw(st.integers(0, len(spans) - 1))
    span = spans[position]
    events = f"events {span.start} to {span.stop} of {span.source}"
    assert problems(spans[:position] + spans[position + 1 :], entries) == [f"{events} are lost"]
    assert problems([*spans, span], entries) == [f"{events} are there twice"]
    with pytest.raises(AccountingError, match=f"^{events} are there twice: "):
        merge_spans([*spans, span])


@given(partitions(), st.data())
def test_merge_is_idempotent_and_independent_of_the_order(
    partition: tuple[list[Span], dict[str, int]], data: st.DataObject
) -> None:
    some = [span for span in partition[0] if data.draw(st.booleans())]
    merged = merge_spans(some)
    assert merge_spans(merged) == merged
    assert merge_spans(data.draw(st.permutations(some))) == merged
    assert merge_spans([*merge_spans(some[::2]), *merge_spans(some[1::2])]) == merged


RANGES = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 6)))


@given(RANGES, st.dictionaries(st.sampled_from("ab"), st.integers(0, 12)))
def test_as_counting_one_event_after_the_other_says(
    ranges: list[tuple[str, int, int]], entries: dict[str, int]
) -> None:
    spans = [Span(source, start, start + length) for source, start, length in ranges]
    held = sorted((s.source, event) for s in spans for event in range(s.start, s.stop))
    wanted = sorted((source, event) for source, n in entries.items() for event in range(n))
    strangers = {span.source for span in spans} - entries.keys()
    assert bool(problems(spans, entries)) == (held != wanted or bool(strangers))
    if len(set(held)) == len(held):
        assert [(s.source, event) for s in merge_spans(spans) for event in range(s.start, s.stop)] == held
    else:
        with pytest.raises(AccountingError):
            merge_spans(spans)


# --- counts and sums ---


def test_counts() -> None:
    reconcile_counts("X", {"events_0": 70, "events_1": 51}, 121, "rows")
    reconcile_counts("X", {}, 0, "rows")


@pytest.mark.parametrize(("total", "difference"), [(122, "1 too few"), (100, "21 too many")])
def test_counts_that_differ(total: int, difference: str) -> None:
    with pytest.raises(AccountingError) as caught:
        reconcile_counts("ReduceEvents ttbar", {"events_0": 70, "events_1": 51}, total, "rows")
    assert str(caught.value) == (
        f"ReduceEvents ttbar has 121 rows in 2 parts, {total} were expected, {difference}: "
        "remove the outputs of ReduceEvents ttbar, then run again"
    )
    assert isinstance(caught.value, AnalysisError)


def test_sums_are_exact_before_they_are_compared() -> None:
    parts = {"0": 1e16, "1": 1.0, "2": -1e16}
    assert sum(parts.values()) == 0.0
    reconcile_sums("X", parts, 1.0, "sum of weights", rtol=0.0)
    reconcile_sums("X", {}, 0.0, "sum of weights")


def test_tolerance_is_relative_to_the_absolute_values() -> None:
    parts = {"0": 5e8, "1": -5e8 + 1}  # absolute values add up to 1e9 - 1: half a unit in 1e9 is allowed, two are not
    reconcile_sums("X", parts, 1.5, "sum of weights")
    with pytest.raises(AccountingError) as caught:
        reconcile_sums("SelectEvents ttbar", parts, 3.0, "sum of weights")
    assert str(caught.value) == (
        "sum of weights of SelectEvents ttbar is 1.0, 3.0 was expected, a difference of -2: "
        "remove the outputs of SelectEvents ttbar, then run again"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_part_that_is_not_finite_is_named(value: float) -> None:
    with pytest.raises(AccountingError) as caught:
        reconcile_sums("X", {"cutflow_0": 1.0, "cutflow_1": value}, value, "sum of weights")
    assert str(caught.value) == (
        f"sum of weights of cutflow_1 in X is {value}: remove the output of cutflow_1, then run again"
    )


@pytest.mark.parametrize("total", [math.nan, math.inf, -math.inf])
def test_total_that_is_not_finite(total: float) -> None:
    with pytest.raises(AccountingError, match=f"is 1.0, {total} was expected"):
        reconcile_sums("X", {"0": 1.0}, total, "sum of weights")


WEIGHTS = st.lists(st.floats(-1e6, 1e6).filter(lambda w: w == 0 or abs(w) > 1e-3), min_size=1)


@given(WEIGHTS, st.data())
def test_weight_that_is_lost_or_doubled_is_noticed(weights: list[float], data: st.DataObject) -> None:
    parts = {str(i): weight for i, weight in enumerate(weights)}
    total = math.fsum(weights)
    reconcile_sums("X", parts, total, "sum of weights")
    position = data.draw(st.integers(0, len(weights) - 1))
    lost = parts[str(position)]
    scale = math.fsum(map(abs, weights))
    for wrong in (total - lost, total + lost):
        if abs(lost) > 2e-9 * scale:
            with pytest.raises(AccountingError):
                reconcile_sums("X", parts, wrong, "sum of weights")
        elif abs(lost) < 0.5e-9 * scale:
            reconcile_sums("X", parts, wrong, "sum of weights")
