from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from analysis.stats.usable import TemplateYieldError, usable_model
from analysis.templates import TemplateError, TemplateKey, Templates, template_from_counts

if TYPE_CHECKING:
    from conftest import MakeTemplates

    from analysis.config.types import StatisticalModel


def changed(
    templates: Templates, process: str, value: float, variance: float, shift: str = "nominal", index: int = 20
) -> Templates:
    """Templates with another content in one bin; 20 lies in the second bin of the fit."""
    key = TemplateKey("ht", process, shift)
    view: Any = templates[key].view(flow=True).copy()
    values, variances = view.value, view.variance
    values[index], variances[index] = value, variance
    return Templates({**templates, key: template_from_counts("ht", values, variances)})


def test_everything_is_usable(model: StatisticalModel, templates: Templates) -> None:
    usable = usable_model(model, templates)
    assert list(usable.processes.items()) == [("ttbar", ("one",)), ("wjets", ("one",))]
    assert [(s.name, on) for s, on in usable.systematics] == [
        ("mirrored", ("ttbar",)),
        ("two-sided", ("wjets",)),
        ("lumi", ("ttbar", "wjets")),
    ]
    assert usable.dropped == ()


def test_negative_prediction_is_an_error(model: StatisticalModel, templates: Templates) -> None:
    # the second bin has 40 events in 15 bins: 40 - 40 / 15 - 100 = -62.67
    with pytest.raises(TemplateYieldError, match=r"wjets in region one, bin 250 to 550, is negative \(-62\.66"):
        usable_model(model, changed(templates, "wjets", -100, 1))


def test_negative_bins_outside_the_fit_do_not_matter(model: StatisticalModel, templates: Templates) -> None:
    assert usable_model(model, changed(templates, "wjets", -100, 1, index=0)).dropped == ()


def test_bin_without_any_prediction_is_an_error(model: StatisticalModel, make_templates: MakeTemplates) -> None:
    templates = make_templates({("ttbar", "nominal"): [0, 5], ("wjets", "nominal"): [0, 3]})
    with pytest.raises(TemplateYieldError, match=r"no process predicts events in region one, bin 50 to 250,.*merge"):
        usable_model(model, templates)


def test_zero_of_one_process_is_fine(model: StatisticalModel, make_templates: MakeTemplates) -> None:
    templates = make_templates({("ttbar", "nominal"): [0, 5], ("wjets", "nominal"): [2, 0]})
    assert list(usable_model(model, templates).processes) == ["ttbar", "wjets"]


@pytest.mark.parametrize(
    ("value", "variance"), [(np.nan, 1), (np.inf, 1), (1, np.nan), (1, np.inf), (1, -1000), (-np.inf, 1)]
)
@pytest.mark.parametrize(("process", "shift"), [("ttbar", "nominal"), ("wjets", "scale_var_down")])
def test_what_is_no_number_is_an_error(
    model: StatisticalModel, templates: Templates, process: str, shift: str, value: float, variance: float
) -> None:
    name = TemplateKey("ht", process, shift).name
    with pytest.raises(TemplateYieldError, match=f"template '{name}' in region one, bin 250 to 550, has the yield"):
        usable_model(model, changed(templates, process, value, variance, shift))


def test_signal_is_needed(model: StatisticalModel, templates: Templates, make_templates: MakeTemplates) -> None:
    only = Templates({k: h for k, h in templates.items() if k.process != "ttbar"})
    with pytest.raises(TemplateError, match="signal 'ttbar' has no events in the fit regions one"):
        usable_model(model, only)
    empty = make_templates({("ttbar", "nominal"): [0, 0], ("wjets", "nominal"): [1, 1]})
    with pytest.raises(TemplateError, match="signal 'ttbar' has no events"):
        usable_model(model, empty)


def test_region_without_templates_is_an_error(model: StatisticalModel) -> None:
    with pytest.raises(TemplateError, match=r"no nominal template for region one \(variable 'ht'\)"):
        usable_model(model, Templates({}))


def test_order_is_that_of_the_plots_and_then_of_the_names(
    model: StatisticalModel, make_templates: MakeTemplates
) -> None:
    names = ("zz", "single_top_s_chan", "wjets", "ttbar", "qcd", "single_top_tW")
    templates = make_templates({(name, "nominal"): [1, 1] for name in names})
    expected = ["ttbar", "wjets", "single_top_tW", "single_top_s_chan", "qcd", "zz"]
    assert list(usable_model(model, templates).processes) == expected
