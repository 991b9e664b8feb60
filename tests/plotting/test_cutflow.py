from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from analysis.columnar.cutflow import Cutflow, CutflowStep
from analysis.config.types import Campaign
from analysis.plotting.cutflow import plot_cutflow, split_cutflow, step_efficiency
from analysis.plotting.style import PlotError


def cutflow(dataset: str = "ttbar") -> Cutflow:
    rows = (("all events", 1000, 500.0), ("one_lepton", 200, 100.0), ("one_b_jet", 50, 25.0))
    regions = (("4j1b", 30, 15.0), ("4j2b", 20, 10.0))
    steps = [CutflowStep(*row) for row in rows]
    return Cutflow(dataset, (*steps, *(CutflowStep(*region, is_region=True) for region in regions)))


def drawn(axes: Axes) -> list[Any]:
    return [p.get_data() for p in axes.patches if isinstance(p, StepPatch)]


def test_regions_are_apart() -> None:
    parts = split_cutflow(cutflow())
    assert [s.name for s in parts.steps] == ["all events", "one_lepton", "one_b_jet"]
    assert [s.name for s in parts.regions] == ["4j1b", "4j2b"]


def test_efficiency_is_by_weight() -> None:
    assert step_efficiency(CutflowStep("a", 1, 3.0), CutflowStep("all", 2, 12.0)) == 0.25
    assert step_efficiency(CutflowStep("a", 0, 0.0), CutflowStep("all", 0, 0.0)) == 0.0


def test_fractions_are_drawn(campaign: Campaign) -> None:
    axes = plot_cutflow([cutflow()], campaign).axes[0]
    steps, first, second = drawn(axes)
    np.testing.assert_allclose(steps.values, [1, 0.2, 0.05])
    np.testing.assert_allclose(steps.edges, [0, 1, 2, 3])
    np.testing.assert_allclose([*first.values, *second.values], [0.03, 0.02])
    np.testing.assert_allclose([*first.edges, *second.edges], [3.5, 4.5, 4.5, 5.5])
    labels = [t.get_text() for t in axes.get_xticklabels()]
    assert labels == [
        "all events",
        "exactly one\nlepton",
        "at least one\nb-tagged jet",
        "$\\geq 4$ jets,\n1 b tag",
        "$\\geq 4$ jets,\n$\\geq 2$ b tags",
    ]
    assert axes.get_ylabel() == "Fraction of all events"
    assert axes.get_yscale() == "log"
    assert axes.get_ylim()[0] <= 0.02


def test_data_sets_are_told_apart(campaign: Campaign) -> None:
    figure = plot_cutflow([cutflow(), cutflow("ttbar_scaleup"), cutflow("wjets"), cutflow("unknown")], campaign)
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == [
        r"$t\bar{t}$",
        r"$t\bar{t}$ scale up",
        "$W$+jets",
        "unknown",
    ]
    looks = {(p.get_edgecolor(), p.get_linestyle()) for p in axes.patches if isinstance(p, StepPatch)}
    assert len(looks) == 4
    assert "Simulation Open Data" in [t.get_text() for t in axes.texts]


def test_data_are_not_called_simulation(campaign: Campaign) -> None:
    axes = plot_cutflow([cutflow("electrons")], campaign).axes[0]
    assert "Open Data" in [t.get_text() for t in axes.texts]


def test_step_without_events_is_no_problem(campaign: Campaign) -> None:
    nothing = Cutflow("wjets", (CutflowStep("all events", 10, 10.0), CutflowStep("one_lepton", 0, 0.0)))
    axes = plot_cutflow([nothing], campaign).axes[0]
    np.testing.assert_allclose(drawn(axes)[0].values, [1, 0])
    assert np.isfinite(axes.get_ylim()).all()


def test_nothing_to_draw(campaign: Campaign) -> None:
    with pytest.raises(PlotError, match="no cutflow to draw"):
        plot_cutflow([], campaign)
