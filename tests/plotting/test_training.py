from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hist import Hist

from analysis.config.types import Campaign
from analysis.ml.training import TrainingCurve
from analysis.plotting.style import PlotError
from analysis.plotting.training import (
    PermutationEfficiency,
    ScoreHistograms,
    plot_permutation_efficiency,
    plot_score,
    plot_training,
)


def curve(fold: int, train: tuple[float, ...], validation: tuple[float, ...]) -> TrainingCurve:
    return TrainingCurve(fold, train, validation, events=100)


def scores(values: list[float]) -> Hist[Any]:
    histogram = Hist.new.Reg(4, 0, 1).Weight()
    histogram.values()[:] = values
    histogram.variances()[:] = values
    return histogram


def legend_texts(axes: Any) -> list[str]:
    return [t.get_text() for t in axes.get_legend().get_texts()]


def test_training_curves(campaign: Campaign) -> None:
    curves = [curve(0, (0.5, 0.3, 0.2), (0.6, 0.4, 0.35)), curve(1, (0.5, 0.3, 0.1), (0.7, 0.4, 0.3))]
    axes = plot_training(curves, campaign).axes[0]
    lines = axes.get_lines()
    assert [line.get_linestyle() for line in lines] == ["--", "-", "--", "-"]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    np.testing.assert_array_equal(lines[3].get_ydata(), [0.7, 0.4, 0.3])
    np.testing.assert_array_equal(lines[3].get_xdata(), [1, 2, 3])
    assert legend_texts(axes) == ["validation", "training", "fold 0", "fold 1"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Boosting rounds", "Logarithmic loss")
    assert axes.get_ylim()[0] < 0.1
    assert axes.get_ylim()[1] > 0.7


def test_one_round_is_enough(campaign: Campaign) -> None:
    axes = plot_training([curve(0, (0.5,), (0.5,))], campaign).axes[0]
    assert axes.get_xlim() == (1, 2)


def test_score_is_normalised(campaign: Campaign) -> None:
    right = ScoreHistograms(scores([0, 1, 1, 2]), scores([0, 0, 2, 6]))
    wrong = ScoreHistograms(scores([6, 2, 0, 0]), scores([3, 1, 0, 0]))
    axes = plot_score(right, wrong, campaign).axes[0]
    # bins are 0.25 wide: density = fraction / 0.25
    fills: list[Any] = [p for p in axes.patches if p.get_fill()]
    np.testing.assert_allclose(fills[0].get_data().values, [0, 1, 1, 2])
    np.testing.assert_allclose(fills[1].get_data().values, [3, 1, 0, 0])
    tests: list[Any] = [c.lines[0].get_ydata() for c in axes.containers]  # type: ignore[attr-defined]
    np.testing.assert_allclose(tests[0], [np.nan, np.nan, 1, 3])
    np.testing.assert_allclose(tests[1], [3, 1, np.nan, np.nan])
    assert sorted(legend_texts(axes)) == ["right, test", "right, training", "wrong, test", "wrong, training"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("BDT score", "Probability density")


def test_empty_score(campaign: Campaign) -> None:
    filled, empty = scores([1, 1, 1, 1]), scores([0, 0, 0, 0])
    with pytest.raises(PlotError, match="a histogram of the score is empty"):
        plot_score(ScoreHistograms(filled, empty), ScoreHistograms(filled, filled), campaign)


def test_permutation_efficiency(campaign: Campaign) -> None:
    found = [
        PermutationEfficiency(4, 10, 10, 0),
        PermutationEfficiency(5, 0, 0, 0),
        PermutationEfficiency(6, 40, 24, 8),
    ]
    axes = plot_permutation_efficiency(found, campaign).axes[0]
    bdt: Any = axes.containers[0]
    trijet: Any = axes.containers[1]
    np.testing.assert_allclose(bdt.lines[0].get_ydata(), [1.0, 0.6])
    np.testing.assert_allclose(trijet.lines[0].get_ydata(), [0.0, 0.2])
    # Clopper-Pearson for 10 of 10 at 68.27 %: lower limit 0.1587^(1/10) = 0.832, upper limit 1
    segment = bdt.lines[2][0].get_segments()[0]
    np.testing.assert_allclose(segment[:, 1], [0.15865525**0.1, 1.0], rtol=1e-6)
    segment = trijet.lines[2][0].get_segments()[0]
    np.testing.assert_allclose(segment[:, 1], [0.0, 1 - 0.15865525**0.1], rtol=1e-6)
    texts = [t.get_text() for t in axes.texts]
    assert {"10/10", "0/10", "24/40", "8/40"} <= set(texts)
    assert legend_texts(axes) == [
        "BDT",
        "trijet with largest $p_T$",
        "published, 6 jets: 60.1 %",
        "published, 6 jets: 28.3 %",
    ]
    published = {line.get_ydata()[0] for line in axes.get_lines() if line.get_linestyle() == "--"}  # type: ignore[index]
    assert published == {0.6010, 0.2831}
    assert [t.get_text() for t in axes.get_xticklabels()] == ["4", "5", "6"]


def test_nothing_to_draw(campaign: Campaign) -> None:
    with pytest.raises(PlotError, match="no labelled events"):
        plot_permutation_efficiency([PermutationEfficiency(4, 0, 0, 0)], campaign)
    with pytest.raises(PlotError, match="no training curve"):
        plot_training([], campaign)
