"""Layout of the task graph: what is required above, what requires it below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from analysis.errors import AnalysisError

_LETTER, _PADDING = 7.3, 26.0
_BOX, _LAYER, _GAP, _STOP = 30.0, 74.0, 16.0, 10.0


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


class TaskGraphError(AnalysisError):
    """A task graph cannot be drawn."""


def draw_graph(graph: TaskGraph) -> Drawing:
    """Put each task one layer below the lowest task it requires, and lead lines around what is in between.

    A requirement that follows from others is not drawn.

    Args:
        graph: the tasks.

    Returns:
        The drawing.

    Raises:
        TaskGraphError: if tasks require each other in a circle, or an edge names an unknown task.
    """
    required = _without_implied(_requirements(graph))
    depth = _depths(required)
    # each layer that a line passes gets a stop for it, which keeps boxes away like a narrow box
    stops = {(t, r): [_Stop(t, r, d) for d in range(depth[r] + 1, depth[t])] for t in required for r in required[t]}
    above: dict[_Item, list[_Item]] = {task: [] for task in required}
    layers: list[list[_Item]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for task, d in depth.items():
        layers[d].append(task)
    for (task, requirement), passed in stops.items():
        chain: tuple[_Item, ...] = (requirement, *passed, task)
        for upper, lower in pairwise(chain):
            above.setdefault(lower, []).append(upper)
        for stop in passed:
            layers[stop.depth].append(stop)
    centers = _centers(layers, above)
    left = min((x - _width(item) / 2 for item, x in centers.items()), default=0.0)
    right = max((x + _width(item) / 2 for item, x in centers.items()), default=0.0)
    boxes = tuple(
        Box(task, round(centers[task] - _width(task) / 2 - left, 1), depth[task] * _LAYER, round(_width(task), 1), _BOX)
        for task in required
    )
    paths = []
    for (task, requirement), passed in stops.items():
        items: tuple[_Item, ...] = (requirement, *passed, task)
        first = depth[requirement]
        paths.append(_path([(centers[item] - left, d * _LAYER) for d, item in enumerate(items, start=first)]))
    return Drawing(round(right - left, 1), max(0.0, (len(layers) - 1) * _LAYER + _BOX), boxes, tuple(paths))


class _Stop(NamedTuple):
    task: str
    requirement: str
    depth: int


_Item = str | _Stop


def _requirements(graph: TaskGraph) -> dict[str, list[str]]:
    required: dict[str, list[str]] = {node: [] for node in graph.nodes}
    for task, requirement in graph.edges:
        if task not in required or requirement not in required:
            msg = f"edge from {task!r} to {requirement!r} of the task graph names an unknown task: add it to the nodes"
            raise TaskGraphError(msg)
        required[task].append(requirement)
    return required


def _depths(required: Mapping[str, Sequence[str]]) -> dict[str, int]:
    depths: dict[str, int] = {}
    layer = 0
    while len(depths) < len(required):
        ready = [n for n, needs in required.items() if n not in depths and depths.keys() >= set(needs)]
        if not ready:
            msg = f"tasks require each other in a circle: {', '.join(n for n in required if n not in depths)}"
            raise TaskGraphError(msg)
        depths.update(dict.fromkeys(ready, layer))
        layer += 1
    return depths


def _without_implied(required: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Direct requirements that no other direct requirement already brings along."""
    closure: dict[str, set[str]] = {}
    for task in sorted(required, key=_depths(required).__getitem__):
        closure[task] = {*required[task], *(r for direct in required[task] for r in closure[direct])}
    return {
        task: [r for r in dict.fromkeys(needs) if not any(r in closure[other] for other in needs)]
        for task, needs in required.items()
    }


def _centers(layers: Sequence[Sequence[_Item]], above: Mapping[_Item, Sequence[_Item]]) -> dict[_Item, float]:
    """Horizontal places: each layer is sorted by where its requirements are, so that few lines cross, and centred."""
    centers: dict[_Item, float] = {}
    for layer in layers:
        wanted = {item: sum(centers[u] for u in above[item]) / max(1, len(above[item])) for item in layer}
        row = sorted(layer, key=lambda item: wanted[item])
        x = -(sum(_width(item) + _GAP for item in row) - _GAP) / 2
        for item in row:
            centers[item] = x + _width(item) / 2
            x += _width(item) + _GAP
    return centers


def _width(item: _Item) -> float:
    return _STOP if isinstance(item, _Stop) else len(item) * _LETTER + _PADDING


def _path(corners: Sequence[tuple[float, float]]) -> str:
    """Curve from the bottom of the first to the top of the last item, straight down past those in between."""
    data = f"M{corners[0][0]:.1f},{corners[0][1] + _BOX:.1f}"
    for i, ((x1, y1), (x2, y2)) in enumerate(pairwise(corners), start=2):
        middle = (y1 + _BOX + y2) / 2
        data += f" C{x1:.1f},{middle:.1f} {x2:.1f},{middle:.1f} {x2:.1f},{y2:.1f}"
        if i < len(corners):
            data += f" V{y2 + _BOX:.1f}"
    return data
