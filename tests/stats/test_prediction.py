from __future__ import annotations

import json
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Any

import pytest

from analysis.config.types import FitRegion
from analysis.stats.fit import fit_workspace
from analysis.stats.prediction import Prediction, PredictionError, predict
from analysis.stats.workspace import build_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.config.types import StatisticalModel
    from analysis.templates import Templates


@pytest.fixture
def workspace(model: StatisticalModel, templates: Templates, tmp_path: Path) -> dict[str, Any]:
    return build_workspace(model, templates, tmp_path).workspace


def test_before_the_fit_by_hand(model: StatisticalModel, workspace: dict[str, Any]) -> None:
    prediction = predict(workspace, model)
    assert prediction.label == "pre-fit"
    assert prediction.channels == ("one",)
    assert prediction.samples == ("W+jets", "ttbar")
    assert prediction.yields["one"] == {"ttbar": pytest.approx((100, 300)), "W+jets": pytest.approx((50, 40))}
    assert prediction.data == {"one": pytest.approx((155, 350))}
    assert prediction.edges == {"one": (50, 250, 550)}
    # total: MC statistics 400 + 90, luminosity 3 % of 490, signal 40 up and down, W+jets 10 up and 15 down
    mirrored = 40
    two_sided = (100 - 75) / 2
    expected = sqrt(490 + (0.03 * 490) ** 2 + mirrored**2 + two_sided**2)
    assert prediction.channel_std["one"] == pytest.approx(expected, rel=0.01)


def test_after_the_fit_by_hand(counting: dict[str, Any], model: StatisticalModel) -> None:
    one_bin = replace(model, regions=(FitRegion("one", "ht", (50, 550)),))
    prediction = predict(counting, one_bin, fit_workspace(counting, "mu"))
    assert prediction.label == "post-fit"
    assert prediction.yields["one"]["signal"] == pytest.approx((110,), abs=0.01)
    assert prediction.yields["one"]["background"] == (20,)
    assert prediction.total_std["one"] == pytest.approx((sqrt(130),), rel=1e-3)
    assert prediction.channel_std["one"] == pytest.approx(sqrt(130), rel=1e-3)


def test_the_fit_moves_the_prediction_to_the_data(model: StatisticalModel, workspace: dict[str, Any]) -> None:
    before, after = predict(workspace, model), predict(workspace, model, fit_workspace(workspace, "mu"))

    def distance(prediction: Prediction) -> float:
        total = [sum(bins) for bins in zip(*prediction.yields["one"].values(), strict=True)]
        return sum(float(d - t) ** 2 / d for d, t in zip(prediction.data["one"], total, strict=True))

    assert distance(after) < 0.1 * distance(before)
    assert after.channel_std["one"] < before.channel_std["one"]


def test_prediction_survives_json(model: StatisticalModel, workspace: dict[str, Any]) -> None:
    prediction = predict(workspace, model)
    assert Prediction.from_json(json.loads(json.dumps(prediction.to_json()))) == prediction


def test_what_does_not_belong_together_is_refused(
    model: StatisticalModel, workspace: dict[str, Any], counting: dict[str, Any]
) -> None:
    with pytest.raises(PredictionError, match="the fit has other parameters than the workspace"):
        predict(workspace, model, fit_workspace(counting, "mu"))
    with pytest.raises(PredictionError, match="build the workspace again"):
        predict(counting, model)
