from __future__ import annotations

import json
import logging
from copy import deepcopy
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Any

import cabinetry
import numpy as np
import pyhf
import pytest

from analysis.config.model import MODEL
from analysis.stats.fit import FitError, FitResult, Parameter, fit_workspace, result_line
from analysis.stats.published import load_published_histograms
from analysis.stats.workspace import build_workspace
from analysis.templates import Templates

if TYPE_CHECKING:
    from pathlib import Path


def test_counting_experiment_by_hand(counting: dict[str, Any]) -> None:
    result = fit_workspace(counting, "mu")
    # 130 observed, 20 background, 100 signal; the variance of the observed number is 130
    assert result.poi_value == pytest.approx(1.1, abs=1e-4)
    assert result.poi_error == pytest.approx(sqrt(130) / 100, rel=1e-3)
    assert result.labels == ("mu",)
    assert result.correlation[0][0] == pytest.approx(1)
    assert result.p_value is None, "one bin and one parameter leave no degree of freedom"
    assert result.minos is None
    # -2 ln of a Poisson probability at its maximum
    expected = -2 * pyhf.tensor.numpy_backend().poisson_logpdf(130.0, 130.0)
    assert result.twice_nll == pytest.approx(float(expected), abs=1e-6)


def test_constrained_parameter_by_hand(counting: dict[str, Any]) -> None:
    background = counting["channels"][0]["samples"][1]
    background["modifiers"] = [{"name": "norm", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}]
    result = fit_workspace(counting, "mu")
    norm = result.parameter("norm")
    # the signal takes what the background leaves: the constraint is not changed by the data, and adds 2 of 20 events
    assert norm.kind == "constrained"
    assert (norm.nominal, norm.prefit_error) == (0, 1)
    assert norm.pull == pytest.approx(0, abs=1e-3)
    assert norm.constraint == pytest.approx(1, rel=5e-3)
    assert result.poi_error == pytest.approx(sqrt(130 + 2**2) / 100, rel=5e-3)
    i, j = result.labels.index("mu"), result.labels.index("norm")
    assert result.correlation[i][j] == pytest.approx(-2 / sqrt(134), rel=2e-2)


def test_asymmetric_interval_by_hand(counting: dict[str, Any]) -> None:
    result = fit_workspace(counting, "mu", minos=True)
    assert result.minos is not None
    for side in result.minos:
        n = 130 + 100 * side
        assert 2 * (n - 130 - 130 * np.log(n / 130)) == pytest.approx(1, rel=1e-2)
    assert result.minos[0] < 0 < result.minos[1]


@pytest.mark.parametrize("side", [0, 1])
def test_interval_that_minuit_does_not_find_is_left_out(
    counting: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, side: int
) -> None:
    """Minuit then gives its symmetric uncertainty in place of the missing side."""
    original = cabinetry.fit.fit

    def fit(*arguments: Any, **options: Any) -> Any:
        fitted = original(*arguments, **options)
        lower, upper = fitted.minos_uncertainty["mu"]
        hesse = fitted.uncertainty[0]
        return fitted._replace(minos_uncertainty={"mu": (lower, hesse) if side else (-hesse, upper)})

    monkeypatch.setattr("cabinetry.fit.fit", fit)
    with caplog.at_level(logging.WARNING):
        assert fit_workspace(counting, "mu", minos=True).minos is None
    assert "MINOS found no interval for mu" in caplog.text


def test_fixed_parameter_has_no_uncertainty(counting: dict[str, Any]) -> None:
    background = counting["channels"][0]["samples"][1]
    background["modifiers"] = [{"name": "norm", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}]
    counting["measurements"][0]["config"]["parameters"].append({"name": "norm", "inits": [1.0], "fixed": True})
    result = fit_workspace(counting, "mu")
    norm = result.parameter("norm")
    assert (norm.kind, norm.value, norm.error) == ("fixed", 1.0, 0.0)
    assert result.poi_value == pytest.approx(1.08, abs=1e-4), "22 background events"
    assert result.poi_error == pytest.approx(sqrt(130) / 100, rel=1e-3)


def test_what_the_fit_needs_is_said(counting: dict[str, Any]) -> None:
    with pytest.raises(FitError, match="no parameter 'ttbar_norm': choose one of mu"):
        fit_workspace(counting, "ttbar_norm")
    with pytest.raises(FitError, match="no parameter 'lumi': there are mu"):
        fit_workspace(counting, "mu").parameter("lumi")


def test_parameters_that_cannot_be_told_apart_are_an_error(counting: dict[str, Any]) -> None:
    degenerate = deepcopy(counting)
    background = degenerate["channels"][0]["samples"][1]
    background["modifiers"] = [{"name": "nu", "type": "normfactor", "data": None}]
    with pytest.raises(FitError, match=r"fit of mu did not converge .* look for empty or badly predicted bins"):
        fit_workspace(degenerate, "mu")


def test_failed_minimisation_is_an_error(counting: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise pyhf.exceptions.FailedMinimization(type("Result", (), {"message": "Call limit was reached."})())

    monkeypatch.setattr("cabinetry.fit.fit", fail)
    with pytest.raises(FitError, match=r"did not converge \(Call limit was reached\.\)"):
        fit_workspace(counting, "mu")


def test_result_survives_json(counting: dict[str, Any]) -> None:
    for minos in (False, True):
        result = fit_workspace(counting, "mu", minos=minos)
        assert FitResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_line() -> None:
    parameter = Parameter("ttbar_norm", 0.96035, 0.10449, "free", 1.0, 0.0)
    result = FitResult("ttbar_norm", (parameter,), ((1.0,),), 0.0, None)
    assert result_line(result) == "ttbar_norm = 0.960 +- 0.104"
    assert (parameter.pull, parameter.constraint) == (0, 1)
    pulled = replace(result, parameters=(parameter._replace(value=1.5, error=0.5, prefit_error=2.0),))
    assert (pulled.parameters[0].pull, pulled.parameters[0].constraint) == (0.25, 0.25)


def fit_file(reference: Path, files: str, folder: Path, *, minos: bool = False) -> FitResult:
    templates = load_published_histograms(reference / f"histos_{files}_file_per_process.json")
    return fit_workspace(build_workspace(MODEL, templates, folder).workspace, "ttbar_norm", minos=minos)


def asimov(reference: Path, folder: Path) -> dict[str, Any]:
    templates = load_published_histograms(reference / "histos_1_file_per_process.json")
    nominal = Templates({k: h for k, h in templates.items() if k.process != "pseudodata"})
    result = build_workspace(replace(MODEL, pseudodata=()), nominal, folder)
    assert result.observation == "asimov"
    return result.workspace


@pytest.mark.parametrize(
    ("files", "value", "error", "minos"),
    [
        ("1", 0.9603, 0.1082, (-0.100, 0.117)),
        ("10", 0.9570, 0.0881, (-0.082, 0.096)),
        ("all", 0.9465, 0.0789, (-0.0805, 0.0815)),
    ],
)
def test_published_histograms(
    reference: Path, tmp_path: Path, files: str, value: float, error: float, minos: tuple[float, float]
) -> None:
    """Value and interval that cabinetry alone finds, and the error that is the same for all small steps."""
    result = fit_file(reference, files, tmp_path, minos=True)
    assert result.poi_value == pytest.approx(value, abs=0.003)
    assert result.poi_error == pytest.approx(error, rel=0.01)
    assert result.minos == pytest.approx(minos, abs=0.002)
    assert len(result.parameters) == 34
    assert sum(p.kind == "free" for p in result.parameters) == 1
    assert result.p_value is not None
    assert result.p_value > 0.99, "pseudo-data do not fluctuate"


def test_repetition_gives_the_same_bits(reference: Path, tmp_path: Path) -> None:
    assert fit_file(reference, "all", tmp_path / "one") == fit_file(reference, "all", tmp_path / "two")


def test_asimov_data_give_back_the_nominal_model(reference: Path, tmp_path: Path) -> None:
    result = fit_workspace(asimov(reference, tmp_path), "ttbar_norm")
    assert result.poi_value == pytest.approx(1, abs=1e-3)
    assert max(abs(p.pull) for p in result.parameters) < 1e-2
    # the second derivatives at the nominal parameters give 0.1196; Minuit, which starts at its goal, says 0.14 to 0.29
    assert result.poi_error == pytest.approx(0.1196, rel=0.01)
