from __future__ import annotations

import json
import logging
from dataclasses import replace
from itertools import permutations
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uproot
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.config.model import MODEL
from analysis.config.types import FitRegion, Systematic
from analysis.stats.published import load_published_histograms
from analysis.stats.workspace import build_workspace, cabinetry_config, workspace_text, write_templates_root
from analysis.templates import TemplateKey, Templates

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeTemplates

    from analysis.config.types import StatisticalModel


def modifiers(workspace: dict[str, Any], sample: str, channel: int = 0) -> dict[tuple[str, str], Any]:
    samples = {s["name"]: s for s in workspace["channels"][channel]["samples"]}
    return {(m["name"], m["type"]): m["data"] for m in samples[sample]["modifiers"]}


def test_yields_and_modifiers_by_hand(model: StatisticalModel, templates: Templates, tmp_path: Path) -> None:
    result = build_workspace(model, templates, tmp_path)
    workspace = result.workspace
    assert (result.observation, result.dropped) == ("pseudodata", ())
    assert workspace["observations"] == [{"name": "one", "data": pytest.approx([155, 350])}]
    assert workspace["measurements"] == [
        {"name": "test", "config": {"poi": "mu", "parameters": [{"name": "mu", "inits": [1.0], "bounds": [[0, 5]]}]}}
    ]
    channel = workspace["channels"][0]
    assert {s["name"]: s["data"] for s in channel["samples"]} == {
        "ttbar": pytest.approx([100, 300]),
        "W+jets": pytest.approx([50, 40]),
    }
    ttbar = modifiers(workspace, "ttbar")
    assert set(ttbar) == {
        ("staterror_one", "staterror"),
        ("mu", "normfactor"),
        ("mirrored", "normsys"),
        ("mirrored", "histosys"),
        ("lumi", "normsys"),
    }
    assert ttbar["staterror_one", "staterror"] == pytest.approx([sqrt(100), sqrt(300)])
    assert ttbar["lumi", "normsys"] == pytest.approx({"hi": 1.03, "lo": 0.97})
    # 120 + 320 = 440 of 400: up by 1.1, mirrored to 0.9; the shape is what is left at the nominal yield
    assert ttbar["mirrored", "normsys"] == pytest.approx({"hi": 1.1, "lo": 0.9})
    shape = ttbar["mirrored", "histosys"]
    assert shape["hi_data"] == pytest.approx([120 / 1.1, 320 / 1.1])
    assert shape["lo_data"] == pytest.approx([200 - 120 / 1.1, 600 - 320 / 1.1])
    wjets = modifiers(workspace, "W+jets")
    assert ("mu", "normfactor") not in wjets
    # 60 + 40 = 100 and 45 + 30 = 75 of 90
    assert wjets["two-sided", "normsys"] == pytest.approx({"hi": 100 / 90, "lo": 75 / 90})
    assert wjets["two-sided", "histosys"]["lo_data"] == pytest.approx([45 * 90 / 75, 30 * 90 / 75])


def test_workspace_does_not_depend_on_order_or_folder(
    model: StatisticalModel, templates: Templates, tmp_path: Path
) -> None:
    texts = set()
    for i, order in enumerate(list(permutations(templates))[::180]):
        shuffled = Templates({key: templates[key] for key in order})
        texts.add(workspace_text(build_workspace(model, shuffled, tmp_path / str(i)).workspace))
        texts.add(workspace_text(build_workspace(model, shuffled, tmp_path / str(i)).workspace))
    assert len(texts) == 1


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scale=st.floats(0.1, 10))
def test_workspace_scales_with_the_templates(
    model: StatisticalModel, templates: Templates, tmp_path: Path, scale: float
) -> None:
    scaled = Templates({key: histogram * scale for key, histogram in templates.items()})
    one = build_workspace(model, templates, tmp_path / "one").workspace
    two = build_workspace(model, scaled, tmp_path / "two").workspace
    for before, after in zip(one["channels"][0]["samples"], two["channels"][0]["samples"], strict=True):
        assert after["data"] == pytest.approx([scale * y for y in before["data"]])
    assert two["observations"][0]["data"] == pytest.approx([scale * y for y in one["observations"][0]["data"]])
    up, down = (modifiers(ws, "ttbar")["mirrored", "normsys"] for ws in (one, two))
    assert up == pytest.approx(down)


def test_text_sorts_its_keys() -> None:
    assert json.loads(workspace_text({"b": 1, "a": 2})) == {"a": 2, "b": 1}
    assert workspace_text({"b": 1, "a": 2}) == workspace_text({"a": 2, "b": 1}) == '{\n "a": 2,\n "b": 1\n}\n'


def test_what_is_left_out_is_listed_and_logged(
    model: StatisticalModel, templates: Templates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    extended = replace(
        model,
        systematics=(
            *model.systematics,
            Systematic("scale", "scaleup", "scaledown", ("ttbar",)),
            Systematic("tW only", "btag_var_0_up", processes=("single_top_tW",)),
            Systematic("all", "ME_var"),
        ),
    )
    with caplog.at_level(logging.WARNING):
        result = build_workspace(extended, templates, tmp_path)
    assert [tuple(d) for d in result.dropped] == [
        ("scale", "ttbar", "there is no template '4j1b_ttbar_scaleup'"),
        ("tW only", "", "there is no process single_top_tW"),
        ("all", "wjets", "there is no template '4j1b_wjets_ME_var'"),
    ]
    assert [r.getMessage() for r in caplog.records if r.name.startswith("analysis")] == [str(d) for d in result.dropped]
    assert "systematic 'scale' on ttbar is left out of the model: there is no" in caplog.text
    assert ("all", "normsys") in modifiers(result.workspace, "ttbar")
    assert ("all", "normsys") not in modifiers(result.workspace, "W+jets")


def test_missing_downward_template_is_not_replaced_by_a_mirror(
    model: StatisticalModel, templates: Templates, tmp_path: Path
) -> None:
    kept = Templates({k: h for k, h in templates.items() if k.shift != "scale_var_down"})
    result = build_workspace(model, kept, tmp_path)
    assert [(d.systematic, d.process) for d in result.dropped] == [("two-sided", "wjets")]


@pytest.mark.parametrize(("up", "factor"), [([350, 550], "2.25"), ([0, 0], "0")])
def test_variation_that_cannot_be_interpolated_is_left_out(
    model: StatisticalModel,
    templates: Templates,
    make_templates: MakeTemplates,
    tmp_path: Path,
    up: list[float],
    factor: str,
) -> None:
    changed = Templates({**templates, **make_templates({("ttbar", "ME_var"): up})})
    result = build_workspace(model, changed, tmp_path)
    assert [d.systematic for d in result.dropped] == ["mirrored"]
    assert f"scales the yield in one by {factor}, and its mirror image" in result.dropped[0].reason


def test_process_without_events_in_a_region_is_left_out_there(
    model: StatisticalModel, templates: Templates, make_templates: MakeTemplates, tmp_path: Path
) -> None:
    empty = make_templates({("single_top_tW", "nominal"): [0, 0], ("single_top_tW", "ME_var"): [0, 0]})
    second = {TemplateKey("trijet_mass", k.process, k.shift): h for k, h in templates.items()}
    filled = make_templates({("single_top_tW", "nominal"): [0, 5]})
    second |= {TemplateKey("trijet_mass", k.process, k.shift): h for k, h in filled.items()}
    two = replace(model, regions=(*model.regions, FitRegion("two", "trijet_mass", model.regions[0].edges)))
    workspace = build_workspace(two, Templates({**templates, **empty, **second}), tmp_path).workspace
    names = {c["name"]: {s["name"] for s in c["samples"]} for c in workspace["channels"]}
    assert names == {"one": {"ttbar", "W+jets"}, "two": {"ttbar", "W+jets", "tW"}}
    assert modifiers(workspace, "tW", 1)["staterror_two", "staterror"] == pytest.approx([0, sqrt(5)])


def test_root_file_has_everything(templates: Templates, tmp_path: Path) -> None:
    control = Templates({TemplateKey("n_jets", "ttbar"): templates[TemplateKey("ht", "ttbar")]})
    path = tmp_path / "templates.root"
    write_templates_root(Templates({**templates, **control}), path)
    with uproot.open(path) as file:
        assert set(file.keys(cycle=False)) == {
            "4j1b_ttbar",
            "4j1b_ttbar_ME_var",
            "4j1b_ttbar_PS_var",
            "4j1b_wjets",
            "4j1b_wjets_scale_var_up",
            "4j1b_wjets_scale_var_down",
            "n_jets_ttbar",
        }
        histogram = file["4j1b_wjets"]
        template = templates[TemplateKey("ht", "wjets")]
        assert (histogram.values(flow=True) == template.values(flow=True)).all()
        assert (histogram.variances(flow=True) == template.variances(flow=True)).all()
        assert (histogram.axis().edges() == np.linspace(50, 550, 26)).all()


def test_configuration_is_that_of_the_agc(reference: Path, tmp_path: Path) -> None:
    templates = load_published_histograms(reference / "histos_all_file_per_process.json")
    ours = cabinetry_config(MODEL, templates, tmp_path)
    theirs = yaml.safe_load((reference.parent / "cabinetry_config.yml").read_text())
    assert ours["General"]["Measurement"] == theirs["General"]["Measurement"]
    assert ours["General"]["POI"] == theirs["General"]["POI"]
    assert ours["NormFactors"] == theirs["NormFactors"]
    regions = [{k: r[k] for k in ("Name", "RegionPath", "Binning")} for r in theirs["Regions"]]
    assert [{k: r[k] for k in ("Name", "RegionPath", "Binning")} for r in ours["Regions"]] == regions

    def simulated(config: dict[str, Any]) -> list[tuple[str, str]]:
        return sorted((s["Name"], s["SamplePath"]) for s in config["Samples"] if not s.get("Data"))

    assert simulated(ours) == simulated(theirs)
    everything = [name for name, _ in simulated(theirs)]

    def systematics(config: dict[str, Any]) -> list[tuple[Any, ...]]:
        listed = []
        for s in config["Systematics"]:
            samples = s.get("Samples", everything)
            samples = [samples] if isinstance(samples, str) else sorted(samples)
            listed.append((s["Name"], s["Type"], s["Up"], s["Down"], samples))
        return listed

    assert systematics(ours) == systematics(theirs)
