from __future__ import annotations

import json

import pytest

from analysis.columnar.cutflow import Cutflow, CutflowError, CutflowStep, add_cutflows


def cutflow(events: int, name: str = "all events", dataset: str = "ttbar") -> Cutflow:
    return Cutflow(dataset, (CutflowStep(name, events, 0.5 * events), CutflowStep("4j1b", 1, 2.0, is_region=True)))


def test_cutflows_are_added_step_by_step() -> None:
    assert add_cutflows([cutflow(3), cutflow(4)]) == Cutflow(
        "ttbar", (CutflowStep("all events", 7, 3.5), CutflowStep("4j1b", 2, 4.0, is_region=True))
    )


def test_json_and_back() -> None:
    assert Cutflow.from_json(json.loads(json.dumps(cutflow(3).to_json()))) == cutflow(3)


def test_nothing_to_add() -> None:
    with pytest.raises(CutflowError, match="no cutflow to add: run SelectEvents first"):
        add_cutflows([])


@pytest.mark.parametrize("other", [cutflow(3, name="events"), cutflow(3, dataset="wjets")])
def test_cutflows_that_do_not_fit_together(other: Cutflow) -> None:
    with pytest.raises(CutflowError, match="cutflows of ttbar have different steps"):
        add_cutflows([cutflow(3), other])
