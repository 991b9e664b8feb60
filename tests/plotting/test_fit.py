from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import StepPatch

from analysis.config.types import Campaign
from analysis.plotting.fit import (
    correlated,
    format_measurement,
    is_statistical,
    plot_correlations,
    plot_fit,
    plot_pulls,
    poi_errors,
)
from analysis.stats.fit import FitResult, Parameter
from analysis.stats.prediction import Prediction

FIT = FitResult(
    poi="ttbar_norm",
    parameters=(
        Parameter("Luminosity", 0.5, 0.9, "constrained", 0.0, 1.0),
        Parameter("ttbar_norm", 0.9603, 0.1041, "free", 1.0, 0.0),
        Parameter("ME variation", -1.0, 0.25, "constrained", 0.0, 0.5),
        Parameter("b-tag NP 1", 0.1, 1.0, "constrained", 0.0, 1.0),
        Parameter("staterror_4j1b CR[0]", 1.04, 0.02, "constrained", 1.0, 0.02),
    ),
    correlation=(
        (1.0, -0.55, 0.12, 0.01, 0.0),
        (-0.55, 1.0, 0.3, 0.02, 0.9),
        (0.12, 0.3, 1.0, 0.0, 0.0),
        (0.01, 0.02, 0.0, 1.0, 0.8),
        (0.0, 0.9, 0.0, 0.8, 1.0),
    ),
    twice_nll=1.0,
    p_value=0.5,
)
PREDICTION = Prediction(
    label="post-fit",
    channels=("4j1b CR", "elsewhere"),
    samples=("ttbar", "W+jets"),
    yields={"4j1b CR": {"W+jets": (10.0, 5.0), "ttbar": (90.0, 45.0)}, "elsewhere": {"ttbar": (7.0,)}},
    total_std={"4j1b CR": (10.0, 4.0), "elsewhere": (1.0,)},
    channel_std={"4j1b CR": 12.0, "elsewhere": 1.0},
    data={"4j1b CR": (110.0, 40.0), "elsewhere": (7.0,)},
    edges={"4j1b CR": (110.0, 150.0, 190.0), "elsewhere": (0.0, 1.0)},
)


def texts(axes: Any) -> list[str]:
    return [t.get_text() for t in axes.texts]


def test_pulls(campaign: Campaign) -> None:
    axes = plot_pulls(FIT, campaign).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Luminosity", "ME variation", "b-tag NP 1"]
    container: Any = axes.containers[0]
    # (-1 - 0) / 0.5 = -2, and 0.25 / 0.5 = 0.5
    np.testing.assert_allclose(container.lines[0].get_xdata(), [0.5, -2.0, 0.1])
    np.testing.assert_allclose(container.lines[2][0].get_segments()[1][:, 0], [-2.5, -1.5])
    assert axes.get_xlim()[0] < -2.5
    assert "ttbar_norm = $0.960 \\pm 0.104$" in texts(axes)
    assert "MC statistics: 1 parameters, largest pull +2.00" in texts(axes)
    assert axes.get_xlabel() == r"$(\hat{\theta} - \theta_0)\, /\, \Delta\theta$"


def test_pulls_without_statistical_parameters(campaign: Campaign) -> None:
    fit = replace(FIT, parameters=FIT.parameters[:2], correlation=((1.0, 0.0), (0.0, 1.0)))
    assert "MC statistics: no parameters" in texts(plot_pulls(fit, campaign).axes[0])


def test_measurement_is_rounded_as_in_publications() -> None:
    assert format_measurement(0.96032, 0.10413) == "0.960 +- 0.104"
    assert format_measurement(0.96032, 0.10413, style="fancy") == "0.960 ± 0.104"
    assert format_measurement(0.96032, 0.117, 0.100, style="fancy") == "0.960 +0.117 \N{MINUS SIGN}0.100"
    assert format_measurement(0.96032, 0.117, 0.100, style="latex") == r"0.960 \,^{+0.117}_{-0.100}"


def test_uncertainty_from_the_profile_is_preferred() -> None:
    assert poi_errors(FIT) == (0.1041,)
    assert poi_errors(replace(FIT, minos=(-0.1, 0.117))) == (0.117, 0.1)


def test_statistical_parameters() -> None:
    assert [is_statistical(p.name) for p in FIT.parameters] == [False, False, False, False, True]


@pytest.mark.parametrize(("threshold", "expected"), [(0.1, [1, 0, 2]), (0.4, [1, 0]), (0.9, [1]), (0.0, [1, 0, 2, 3])])
def test_correlated_parameters(threshold: float, expected: list[int]) -> None:
    assert correlated(FIT, threshold) == expected


def test_correlations(campaign: Campaign) -> None:
    axes = plot_correlations(FIT, campaign).axes[0]
    names = ["ttbar_norm", "Luminosity", "ME variation"]
    assert [t.get_text() for t in axes.get_xticklabels()] == names
    assert [t.get_text() for t in axes.get_yticklabels()] == names
    image: Any = axes.images[0]
    np.testing.assert_allclose(image.get_array(), [[100, -55, 30], [-55, 100, 12], [30, 12, 100]])
    assert image.get_clim() == (-100, 100)
    assert texts(axes)[:3] == ["100", "\N{MINUS SIGN}55", "30"]


def test_fitted_distributions(campaign: Campaign) -> None:
    figures = plot_fit(PREDICTION, campaign, "Pseudo-data")
    assert list(figures) == ["4j1b CR", "elsewhere"]
    main, ratio = figures["4j1b CR"].axes
    patches: dict[Any, Any] = {p.get_label(): p.get_data() for p in main.patches if isinstance(p, StepPatch)}
    np.testing.assert_allclose(patches[r"$t\bar{t}$"].values, [100, 50])
    np.testing.assert_allclose(patches["$W$+jets"].values, [10, 5])
    np.testing.assert_allclose(patches["Total unc."].values, [110, 54])
    np.testing.assert_allclose(patches["Total unc."].baseline, [90, 46])
    container: Any = ratio.containers[0]
    np.testing.assert_allclose(container.lines[0].get_ydata(), [1.1, 0.8])
    legend = main.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == r"$\geq 4$ jets, 1 b tag, post-fit"
    assert legend.get_texts()[0].get_text() == "Pseudo-data"
    assert ratio.get_xlabel() == "$H_T$ [GeV]"
    assert main.get_ylabel() == "Events / 40 GeV"
    assert "Simulation Open Data" in texts(main)


def test_region_outside_the_model_keeps_its_name(campaign: Campaign) -> None:
    main = plot_fit(PREDICTION, campaign)["elsewhere"].axes[0]
    legend = main.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == "elsewhere, post-fit"
    assert "Open Data" in texts(main)
