from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.config.model import MODEL
from analysis.stats.binning import rebin
from analysis.stats.observation import observe
from analysis.stats.published import load_published_histograms
from analysis.templates import TemplateError, TemplateKey, Templates

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeTemplates

    from analysis.config.types import StatisticalModel
    from analysis.stats.observation import Observation

EDGES = (50.0, 250.0, 550.0)


def counts(observation: Observation) -> list[float]:
    values: list[float] = rebin(observation.histograms["ht"], EDGES).values().tolist()
    return values


def without(templates: Templates, *keys: tuple[str, str]) -> Templates:
    return Templates({k: h for k, h in templates.items() if (k.process, k.shift) not in keys})


def test_pseudodata_are_the_mean_signal_plus_background(model: StatisticalModel, templates: Templates) -> None:
    observation = observe(model, templates)
    assert observation.kind == "pseudodata"
    assert counts(observation) == pytest.approx([(120 + 90) / 2 + 50, (320 + 300) / 2 + 40])
    variances: Any = rebin(observation.histograms["ht"], EDGES).variances()
    assert variances.tolist() == pytest.approx([(120 + 90) / 4 + 50, (320 + 300) / 4 + 40])


def test_templates_stay_as_they_are(model: StatisticalModel, templates: Templates) -> None:
    before = {key: histogram.view(flow=True).copy() for key, histogram in templates.items()}
    observe(model, templates)
    observe(replace(model, pseudodata=()), templates)
    assert all((templates[key].view(flow=True) == view).all() for key, view in before.items())


@pytest.mark.parametrize("absent", [("ttbar", "ME_var"), ("ttbar", "PS_var")])
def test_asimov_data_without_a_varied_sample(
    model: StatisticalModel, templates: Templates, absent: tuple[str, str]
) -> None:
    observation = observe(model, without(templates, absent))
    assert observation.kind == "asimov"
    assert counts(observation) == pytest.approx([150, 340])


def test_asimov_data_without_the_background(model: StatisticalModel, templates: Templates) -> None:
    observation = observe(model, without(templates, ("wjets", "nominal")))
    assert observation.kind == "asimov"
    assert counts(observation) == pytest.approx([100, 300])


def test_data_come_first_then_given_pseudodata(
    model: StatisticalModel, templates: Templates, make_templates: MakeTemplates
) -> None:
    pseudodata = make_templates({("pseudodata", "nominal"): [7, 8]})
    data = make_templates({("data", "nominal"): [3, 4]})
    observation = observe(model, Templates({**templates, **pseudodata}))
    assert observation.kind == "pseudodata"
    assert counts(observation) == pytest.approx([7, 8])
    observation = observe(model, Templates({**templates, **pseudodata, **data}))
    assert observation.kind == "data"
    assert counts(observation) == pytest.approx([3, 4])


def test_data_of_one_region_only_are_not_used_and_it_is_said(
    templates: Templates, make_templates: MakeTemplates, caplog: pytest.LogCaptureFixture
) -> None:
    both = {TemplateKey("trijet_mass", k.process, k.shift): h for k, h in templates.items()}
    data = make_templates({("data", "nominal"): [3, 4]})
    with caplog.at_level(logging.WARNING):
        observation = observe(MODEL, Templates({**templates, **both, **data}))
    assert observation.kind == "pseudodata"
    assert "data is not used: there is a template for ht, but none for trijet_mass" in caplog.text


def test_other_variables_can_be_asked_for(model: StatisticalModel, templates: Templates) -> None:
    renamed = Templates({TemplateKey("n_jets", k.process, k.shift): h for k, h in templates.items()})
    assert list(observe(model, renamed, ["n_jets"]).histograms) == ["n_jets"]


def test_nothing_at_all_is_an_error(model: StatisticalModel) -> None:
    with pytest.raises(TemplateError, match="no nominal template for variable 'ht'"):
        observe(model, Templates({}))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(scale=st.floats(1e-3, 1e3), part=st.sampled_from(["signal", "background", "both"]))
def test_observation_is_linear(model: StatisticalModel, templates: Templates, scale: float, part: str) -> None:
    factors = {"ttbar": scale if part != "background" else 1.0, "wjets": scale if part != "signal" else 1.0}
    scaled = Templates({k: h * factors[k.process] for k, h in templates.items()})
    expected = [105 * factors["ttbar"] + 50 * factors["wjets"], 310 * factors["ttbar"] + 40 * factors["wjets"]]
    assert counts(observe(model, scaled)) == pytest.approx(expected)


@pytest.mark.parametrize("files", ["1", "10", "all"])
def test_our_pseudodata_are_the_published_ones(reference: Path, files: str) -> None:
    templates = load_published_histograms(reference / f"histos_{files}_file_per_process.json")
    built = observe(MODEL, Templates({k: h for k, h in templates.items() if k.process != "pseudodata"}))
    assert built.kind == "pseudodata"
    for variable, histogram in built.histograms.items():
        published = templates[TemplateKey(variable, "pseudodata")].values(flow=True)
        assert histogram.values(flow=True).tolist() == pytest.approx(published.tolist(), rel=1e-12)
