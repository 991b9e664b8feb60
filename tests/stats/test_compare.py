from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import uproot

from analysis.stats.compare import compare_parameters, comparison_report, main
from analysis.stats.fit import FitError, FitResult, Parameter
from analysis.stats.published_fits import ROOFIT, VALUES

if TYPE_CHECKING:
    from pathlib import Path


def result(*parameters: tuple[str, float, float]) -> FitResult:
    fitted = tuple(Parameter(name, value, error, "free", 1.0, 0.0) for name, value, error in parameters)
    matrix = tuple(tuple(float(i == j) for j in range(len(fitted))) for i in range(len(fitted)))
    return FitResult("ttbar_norm", fitted, matrix, 0.0, None, (-0.1, 0.2))


def test_difference_is_in_units_of_the_published_uncertainty() -> None:
    (compared,) = compare_parameters(result(("a", 1.5, 0.3)), {"a": (1.0, 0.25)})
    assert compared == ("a", (1.5, 0.3), (1.0, 0.25))
    assert compared.difference == 2


def test_parameter_that_we_do_not_have_is_an_error() -> None:
    with pytest.raises(FitError, match="no parameter 'b'"):
        compare_parameters(result(("a", 1.5, 0.3)), {"b": (1.0, 0.25)})


def test_summary_lists_everything_of_the_same_files() -> None:
    report = comparison_report({"all": result(("ttbar_norm", 0.9565, 0.1))})
    lines = report.splitlines()
    assert lines[0] == "Parameter of interest"
    assert lines[4].split() == ["all", "this", "project", "0.9565", "0.1000", "-0.100", "+0.200"]
    # no published uncertainty: (0.9565 - 0.9465) / 0.1
    assert lines[5].split()[-2:] == ["0.9465", "+0.10"]
    assert len(lines) == 6


def test_published_table_has_all_parameters_of_the_model() -> None:
    names = [row.name for row in ROOFIT]
    assert len(set(names)) == len(names) == 34
    poi = {value.files: value for value in VALUES if value.what.startswith("RooFit")}
    assert (poi["1"].value, poi["1"].error) == ROOFIT[0].one_file
    assert (poi["10"].value, poi["10"].error) == ROOFIT[0].ten_files


@pytest.mark.parametrize(("files", "column"), [("1", "one_file"), ("10", "ten_files")])
def test_published_uncertainties_are_those_of_the_covariance_matrix(test_data: Path, files: str, column: str) -> None:
    """What uproot can read of the original file: the covariance matrix, in the original's order of parameters."""
    path = test_data / "agc" / "root_fit" / f"fitResults_{files}_file.root"
    with uproot.open(path) as file, pytest.raises(uproot.DeserializationError) as caught:
        file["fitResult"]
    matrix = caught.value.context["breadcrumbs"][0].member("_VM")
    upper = np.array(matrix.member("fElements"))
    rows, columns = np.triu_indices(matrix.member("fNrows"))
    errors = np.sqrt(upper[rows == columns])
    ours = [getattr(row, column)[1] for row in ROOFIT]
    np.testing.assert_allclose(sorted(ours), np.sort(errors), rtol=0.01)


def test_our_fits_agree_with_the_published_ones(reference: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(reference), "--markdown"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("### ") == 3
    rows = [line for line in printed.splitlines() if line.startswith("| ") and "difference" not in line]
    differences = [float(line.split("|")[-2]) for line in rows if line.split("|")[-2].strip()]
    assert len(differences) == 2 * 34 + 5
    # the same simulated events, selected by other code and with other random numbers in the jet energy resolution
    assert max(abs(d) for d in differences) < 0.5


def test_missing_files_end_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "histos_1_file_per_process.json cannot be read" in captured.err
