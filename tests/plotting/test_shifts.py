from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from analysis.config.types import Campaign, Variable
from analysis.plotting.shifts import plot_shift
from analysis.templates import TemplateError, Templates


def drawn(axes: Axes) -> list[Any]:
    return [p.get_data() for p in axes.patches if isinstance(p, StepPatch)]


def test_both_directions(templates: Templates, variable: Variable, campaign: Campaign) -> None:
    figure = plot_shift(templates, variable, "ttbar", ("btag_var_0_up", "btag_var_0_down"), campaign)
    main, ratio = figure.axes
    nominal, band, up, down = drawn(main)
    np.testing.assert_allclose(nominal.values, [100, 200])
    np.testing.assert_allclose(band.values, [102, 203])
    np.testing.assert_allclose(band.baseline, [98, 197])
    np.testing.assert_allclose(up.values, [103, 204])
    np.testing.assert_allclose(down.values, [98, 202])
    band, up, down = drawn(ratio)
    np.testing.assert_allclose(band.values, [1.02, 1.015])
    np.testing.assert_allclose(up.values, [1.03, 1.02])
    np.testing.assert_allclose(down.values, [0.98, 1.01])
    legend = main.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == [
        "nominal",
        "MC stat. unc.",
        "b-tag NP 1 up",
        "b-tag NP 1 down",
    ]
    assert legend.get_title().get_text() == r"$t\bar{t}$, $\geq 4$ jets, 1 b tag"
    assert (ratio.get_xlabel(), ratio.get_ylabel()) == ("$H_T$ [GeV]", "Ratio to nom.")
    assert main.get_ylabel() == "Events / 10 GeV"
    assert "Simulation Open Data" in [t.get_text() for t in main.texts]
    # the largest deviation, 3 %, is inside
    assert ratio.get_ylim() == pytest.approx((1 - 1.15 * 0.05, 1 + 1.15 * 0.05))


def test_one_direction(templates: Templates, variable: Variable, campaign: Campaign) -> None:
    main, ratio = plot_shift(templates, variable, "wjets", ("pt_scale_up",), campaign).axes
    assert len(drawn(main)) == 3
    np.testing.assert_allclose(drawn(ratio)[1].values, [1.1, 1.0])


def test_missing_shift_is_named(templates: Templates, variable: Variable, campaign: Campaign) -> None:
    with pytest.raises(TemplateError, match="process 'ttbar' and shift 'ME_var'"):
        plot_shift(templates, variable, "ttbar", ("ME_var",), campaign)
