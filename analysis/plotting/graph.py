"""Layout of the task graph: what is required above, what requires it below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

_LETTER, _PADDING = 7.3, 26.0
_BOX, _LAYER, _GAP = 30.0, 74.0, 16.0


@dataclass(frozen=True)
class TaskGraph:
    """Tasks and what they require.

    Args:
        nodes: names of the tasks.
        edges: pairs of a task and one that it requires.
    """

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]


class Box(NamedTuple):
    """A task in the drawing; left upper corner and size in pixels."""

    name: str
    x: float
    y: float
    width: float
    height: float


class Drawing(NamedTuple):
    """Boxes and the paths between them, as SVG path data."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    paths: tuple[str, ...]


class TaskGraphError(Exception):
    """A task graph cannot be drawn."""


def draw_graph(graph: TaskGraph) -> Drawing:
    """Put each task one layer below the lowest task it requires.

    Args:
        graph: the tasks.

    Returns:
        The drawing.

    Raises:
        TaskGraphError: if tasks require each other in a circle, or an edge names an unknown task.
    """
    required: dict[str, list[str]] = {node: [] for node in graph.nodes}
    for task, requirement in graph.edges:
        if task not in required or requirement not in required:
            msg = f"edge from {task!r} to {requirement!r} of the task graph names an unknown task: add it to the nodes"
            raise TaskGraphError(msg)
        required[task].append(requirement)
    layers = _ordered(_layers(required), required)
    widths = [sum(_width(n) + _GAP for n in layer) - _GAP for layer in layers]
    total = max(widths, default=0.0)
    boxes = {}
    for depth, (layer, width) in enumerate(zip(layers, widths, strict=True)):
        x = (total - width) / 2
        for name in layer:
            boxes[name] = Box(name, round(x, 1), depth * _LAYER, round(_width(name), 1), _BOX)
            x += _width(name) + _GAP
    paths = tuple(_path(boxes[requirement], boxes[task]) for task, requirement in graph.edges)
    return Drawing(round(total, 1), max(0.0, (len(layers) - 1) * _LAYER + _BOX), tuple(boxes.values()), paths)


def _layers(required: Mapping[str, Sequence[str]]) -> list[list[str]]:
    layers: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(required):
        layer = [n for n, needs in required.items() if n not in placed and placed.issuperset(needs)]
        if not layer:
            msg = f"tasks require each other in a circle: {', '.join(n for n in required if n not in placed)}"
            raise TaskGraphError(msg)
        layers.append(layer)
        placed.update(layer)
    return layers


def _ordered(layers: Iterable[list[str]], required: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each layer sorted by the mean place of what its tasks require, so that fewer lines cross."""
    place: dict[str, float] = {}
    ordered = []
    for layer in layers:
        keys = {n: sum(place[r] for r in required[n]) / len(required[n]) if required[n] else 0.5 for n in layer}
        row = sorted(layer, key=lambda n: keys[n])
        place.update({n: (i + 0.5) / len(row) for i, n in enumerate(row)})
        ordered.append(row)
    return ordered


def _width(name: str) -> float:
    return len(name) * _LETTER + _PADDING


def _path(upper: Box, lower: Box) -> str:
    x1, y1 = upper.x + upper.width / 2, upper.y + upper.height
    x2, y2 = lower.x + lower.width / 2, lower.y
    middle = (y1 + y2) / 2
    return f"M{x1:.1f},{y1:.1f} C{x1:.1f},{middle:.1f} {x2:.1f},{middle:.1f} {x2:.1f},{y2:.1f}"
