from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.plotting.graph import Box, TaskGraph, TaskGraphError, draw_graph

CHAIN = TaskGraph(
    ("Report", "Fit", "Fill", "Select", "Plot"),
    (
        ("Report", "Fit"),
        ("Report", "Plot"),
        ("Report", "Fill"),
        ("Fit", "Fill"),
        ("Plot", "Select"),
        ("Fill", "Select"),
    ),
)


@st.composite
def graphs(draw: st.DrawFn) -> TaskGraph:
    names = [f"Task{i}" for i in range(draw(st.integers(1, 9)))]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[:i]]
    return TaskGraph(tuple(names), tuple(draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else ()))


def overlap(a: Box, b: Box) -> bool:
    return abs(a.y - b.y) < a.height and a.x < b.x + b.width and b.x < a.x + a.width


def test_requirements_are_above() -> None:
    y = {box.name: box.y for box in draw_graph(CHAIN).boxes}
    assert y["Select"] == 0
    assert y["Plot"] == y["Fill"] < y["Fit"] < y["Report"]


def test_implied_requirements_are_not_drawn() -> None:
    assert len(draw_graph(CHAIN).paths) == 5  # Report requires Fill through Fit


def test_line_goes_around_boxes() -> None:
    drawing = draw_graph(CHAIN)
    box = {b.name: b for b in drawing.boxes}
    long_lines = [p for p in drawing.paths if " V" in p]
    assert len(long_lines) == 1  # from Plot to Report, past the layer of Fit
    x = float(re.findall(r"([\d.]+),[\d.]+ V", long_lines[0])[0])
    assert not box["Fit"].x <= x <= box["Fit"].x + box["Fit"].width


@given(graphs())
def test_boxes_do_not_overlap(graph: TaskGraph) -> None:
    drawing = draw_graph(graph)
    assert sorted(b.name for b in drawing.boxes) == sorted(graph.nodes)
    assert not any(overlap(a, b) for i, a in enumerate(drawing.boxes) for b in drawing.boxes[:i])
    assert all(b.x >= 0 and b.x + b.width <= drawing.width + 0.2 for b in drawing.boxes)
    assert max(b.y + b.height for b in drawing.boxes) == drawing.height
    y = {b.name: b.y for b in drawing.boxes}
    assert all(y[task] > y[requirement] for task, requirement in graph.edges)


def test_circle() -> None:
    with pytest.raises(TaskGraphError, match="in a circle: A, B"):
        draw_graph(TaskGraph(("A", "B"), (("A", "B"), ("B", "A"))))


def test_unknown_task() -> None:
    with pytest.raises(TaskGraphError, match="'A' to 'C' of the task graph names an unknown task"):
        draw_graph(TaskGraph(("A",), (("A", "C"),)))
