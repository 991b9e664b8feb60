"""The cutflow: how many events are left after each step of the selection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from analysis.errors import AnalysisError

ALL_EVENTS = "all events"
"""Name of the first step."""


class CutflowError(AnalysisError):
    """Cutflows do not fit together."""


@dataclass(frozen=True)
class CutflowStep:
    """Events that pass one step.

    Args:
        name: column of the step, or name of the region.
        events: number of events.
        sum_of_weights: sum of their ``genWeight``; equal to ``events`` for collision data.
        is_region: whether it is a region of the measurement, beside the others, not on top of the step before.
    """

    name: str
    events: int
    sum_of_weights: float
    is_region: bool = False


@dataclass(frozen=True)
class Cutflow:
    """Steps of the selection of one data set, the first of which, :data:`ALL_EVENTS`, counts all events."""

    dataset: str
    steps: tuple[CutflowStep, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return {"dataset": self.dataset, "steps": [dict(vars(step)) for step in self.steps]}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Cutflow:
        """Inverse of :meth:`to_json`."""
        return cls(content["dataset"], tuple(CutflowStep(**step) for step in content["steps"]))


def add_cutflows(cutflows: Iterable[Cutflow]) -> Cutflow:
    """Sum of the cutflows of the parts of one data set.

    Raises:
        CutflowError: if there is none, or their steps differ.
    """
    parts = list(cutflows)
    if not parts:
        msg = "there is no cutflow to add: run SelectEvents first"
        raise CutflowError(msg)
    names = [tuple(step.name for step in part.steps) for part in parts]
    if len(set(names)) > 1 or len({part.dataset for part in parts}) > 1:
        msg = f"cutflows of {parts[0].dataset} have different steps: remove the outputs of SelectEvents and rerun"
        raise CutflowError(msg)
    steps = tuple(
        CutflowStep(rows[0].name, sum(r.events for r in rows), sum(r.sum_of_weights for r in rows), rows[0].is_region)
        for rows in zip(*(part.steps for part in parts), strict=True)
    )
    return Cutflow(parts[0].dataset, steps)
