from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from analysis.config.types import Campaign, Variable
from analysis.plotting.stack import plot_stack, stack_order, uncertainty_band
from analysis.templates import PSEUDODATA, TemplateError, TemplateKey, Templates


def nominal(templates: Templates) -> Templates:
    return Templates({k: h for k, h in templates.items() if k.shift == "nominal"})


def steps(axes: Axes, label: str = "") -> StepPatch:
    found = [p for p in axes.patches if isinstance(p, StepPatch) and (not label or p.get_label() == label)]
    assert len(found) == 1
    return found[0]


def drawn(axes: Axes, label: str = "") -> Any:
    return steps(axes, label).get_data()


def legend(figure: Figure) -> list[str]:
    box = figure.axes[0].get_legend()
    assert box is not None
    return [box.get_title().get_text(), *(t.get_text() for t in box.get_texts())]


def points(axes: Axes) -> tuple[Any, list[Any]]:
    container = axes.containers[0]
    line, _, bars = container
    return line.get_ydata(), bars[0].get_segments()


def test_band_of_statistics_and_shifts(templates: Templates) -> None:
    # bin 0: MC statistics 4 + 1; energy scale 11^2 (both ways); b tag +3, -2; luminosity (0.03 * 110)^2 = 10.89
    # bin 1: MC statistics 9 + 1; energy scale 10^2; b tag +4 and +2, so upwards only; luminosity 6.6^2 = 43.56
    band = uncertainty_band(templates, "ht")
    np.testing.assert_allclose(band.up**2, [5 + 121 + 9 + 10.89, 10 + 100 + 16 + 43.56])
    np.testing.assert_allclose(band.down**2, [5 + 121 + 4 + 10.89, 10 + 100 + 0 + 43.56])
    assert band.label == "Stat. + syst. unc."


def test_band_of_statistics(templates: Templates) -> None:
    band = uncertainty_band(nominal(templates), "ht")
    np.testing.assert_allclose(band.up**2, [5, 10])
    np.testing.assert_array_equal(band.up, band.down)
    assert band.label == "MC stat. unc."


def test_shift_of_one_process_only_does_not_touch_others(templates: Templates) -> None:
    # the scale variation of W+jets acts on W+jets, even if somebody provides it for others
    shifted = {**templates, TemplateKey("ht", "ttbar", "scale_var_up"): templates[TemplateKey("ht", "wjets")]}
    np.testing.assert_array_equal(uncertainty_band(Templates(shifted), "ht").up, uncertainty_band(templates, "ht").up)


def test_stack_is_drawn_from_bottom_to_top(templates: Templates, variable: Variable, campaign: Campaign) -> None:
    figure = plot_stack(templates, variable, campaign)
    main = figure.axes[0]
    bottom, top = drawn(main, "$W$+jets"), drawn(main, r"$t\bar{t}$")
    np.testing.assert_allclose(bottom.values, [10, 20])
    np.testing.assert_allclose(top.values, [110, 220])
    np.testing.assert_allclose(top.edges, [0, 10, 20])
    assert steps(main, "$W$+jets").get_facecolor()[:3] == pytest.approx((0x3F / 255, 0x90 / 255, 0xDA / 255))
    assert legend(figure) == [r"$\geq 4$ jets, 1 b tag", r"$t\bar{t}$", "$W$+jets", "Stat. + syst. unc."]


def test_band_is_drawn_around_the_sum(templates: Templates, variable: Variable, campaign: Campaign) -> None:
    main, ratio = plot_stack(nominal(templates), variable, campaign).axes
    band = drawn(main, "MC stat. unc.")
    np.testing.assert_allclose(band.values, [110 + 5**0.5, 220 + 10**0.5])
    np.testing.assert_allclose(band.baseline, [110 - 5**0.5, 220 - 10**0.5])
    relative = drawn(ratio)
    np.testing.assert_allclose(relative.values, [1 + 5**0.5 / 110, 1 + 10**0.5 / 220])
    np.testing.assert_allclose(relative.baseline, [1 - 5**0.5 / 110, 1 - 10**0.5 / 220])


def test_axes(templates: Templates, variable: Variable, campaign: Campaign) -> None:
    main, ratio = plot_stack(templates, variable, campaign).axes
    assert ratio.get_xlabel() == "$H_T$ [GeV]"
    assert main.get_xlabel() == ""
    assert main.get_ylabel() == "Events / 10 GeV"
    assert main.get_xlim() == (0, 20)
    assert ratio.get_ylabel() == "Rel. unc."
    assert main.get_ylim()[0] == 0
    assert main.get_ylim()[1] > 233  # the band's upper edge


def test_observation_has_counting_uncertainties(templates: Templates, variable: Variable, campaign: Campaign) -> None:
    observation = templates[TemplateKey("ht", PSEUDODATA)]
    figure = plot_stack(templates, variable, campaign, observation, "Pseudo-data")
    main, ratio = figure.axes
    values, bars = points(main)
    np.testing.assert_allclose(values, [121, 198])
    # central 68.3 % interval of Garwood for 121 events, though the variance of the template is 1
    assert bars[0][:, 1] == pytest.approx([110.02, 133.03], abs=0.02)
    values, bars = points(ratio)
    np.testing.assert_allclose(values, [1.1, 0.9])
    assert bars[0][:, 1] == pytest.approx([110.02 / 110, 133.03 / 110], abs=2e-4)
    assert legend(figure)[1] == "Pseudo-data"
    assert ratio.get_ylabel() == "Obs. / pred."


@pytest.mark.parametrize(("label", "status"), [("Data", "Open Data"), ("Pseudo-data", "Simulation Open Data")])
def test_only_data_are_called_data(
    templates: Templates, variable: Variable, campaign: Campaign, label: str, status: str
) -> None:
    figure = plot_stack(templates, variable, campaign, templates[TemplateKey("ht", PSEUDODATA)], label)
    assert status in [t.get_text() for t in figure.axes[0].texts]


def test_empty_bins_and_empty_observation(templates: Templates, variable: Variable, campaign: Campaign) -> None:
    holes = {k: h.copy() for k, h in templates.items()}
    for h in holes.values():
        h.view()[0] = (0.0, 0.0)
    main, ratio = plot_stack(Templates(holes), variable, campaign, holes[TemplateKey("ht", PSEUDODATA)]).axes
    assert np.isnan(points(main)[0][0])
    assert np.isnan(points(ratio)[0][0])
    nothing = holes[TemplateKey("ht", PSEUDODATA)] * 0
    assert points(plot_stack(templates, variable, campaign, nothing).axes[0])[0].tolist() == [0, 0]


def test_stack_order() -> None:
    assert stack_order(["ttbar", "other", "wjets", "single_top_tW"]) == ["other", "single_top_tW", "wjets", "ttbar"]


def test_missing_variable_is_named(campaign: Campaign, variable: Variable) -> None:
    with pytest.raises(TemplateError, match="no nominal template of variable 'ht'"):
        plot_stack(Templates({}), variable, campaign)
