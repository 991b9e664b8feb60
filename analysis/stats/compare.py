"""Our fit of the AGC's published histograms against the published results.

Run as ``python -m analysis.stats.compare DIRECTORY [--markdown]``, with the directory of the AGC's reference files
``histos_{1,10,all}_file_per_process.json``; takes about ten seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from analysis.config.model import MODEL
from analysis.errors import AnalysisError
from analysis.stats.fit import FitResult, fit_workspace
from analysis.stats.published import load_published_histograms
from analysis.stats.published_fits import ROOFIT, VALUES
from analysis.stats.workspace import build_workspace

FILES: tuple[str, ...] = ("1", "10", "all")
"""Files per process of the published histograms."""


class ComparedParameter(NamedTuple):
    """A parameter in two fits.

    Args:
        name: name of the parameter.
        ours: our best-fit value and uncertainty.
        published: the published ones.
    """

    name: str
    ours: tuple[float, float]
    published: tuple[float, float]

    @property
    def difference(self) -> float:
        """Our value minus the published one, in units of the published uncertainty.

        Both fits use the same simulated events, so that much less than one is expected.
        """
        return (self.ours[0] - self.published[0]) / self.published[1]


def fit_published(path: Path) -> FitResult:
    """Fit the histograms of one published file.

    Args:
        path: the JSON file.

    Returns:
        The result, with the asymmetric uncertainty of the parameter of interest.

    Raises:
        AnalysisError: if the file is not as expected or cannot be fitted.
    """
    templates = load_published_histograms(path)
    with tempfile.TemporaryDirectory() as work_dir:
        workspace = build_workspace(MODEL, templates, Path(work_dir)).workspace
    return fit_workspace(workspace, MODEL.parameter_of_interest, minos=True)


def compare_parameters(
    result: FitResult, published: Mapping[str, tuple[float, float]]
) -> tuple[ComparedParameter, ...]:
    """Put a fit next to a published one, parameter by parameter.

    Args:
        result: our fit.
        published: best-fit values and uncertainties by name.

    Returns:
        The parameters, in the order of the published fit.

    Raises:
        FitError: if our fit does not have one of the parameters.
    """
    found = ((result.parameter(name), theirs) for name, theirs in published.items())
    return tuple(ComparedParameter(ours.name, (ours.value, ours.error), theirs) for ours, theirs in found)


def comparison_report(results: Mapping[str, FitResult], *, markdown: bool = False) -> str:
    """Tables of our fits and the published ones.

    Args:
        results: our fits, by files per process.
        markdown: as Markdown in place of plain text.

    Returns:
        One table of the parameter of interest, and one of all parameters for each published fit that has them.
    """
    roofit = {
        "1": {row.name: row.one_file for row in ROOFIT},
        "10": {row.name: row.ten_files for row in ROOFIT},
    }
    summary = []
    for files, result in results.items():
        interval = f"{result.minos[0]:+.3f} {result.minos[1]:+.3f}" if result.minos else ""
        summary.append((files, "this project", f"{result.poi_value:.4f}", f"{result.poi_error:.4f}", interval, ""))
        for row in VALUES:
            if row.files == files:
                error = f"{row.error:.4f}" if row.error else ""
                away = (result.poi_value - row.value) / (row.error or result.poi_error)
                summary.append((files, row.what, f"{row.value:.4f}", error, "", f"{away:+.2f}"))
    header = ("files", "fit", MODEL.parameter_of_interest, "error", "MINOS", "difference / error")
    parts = [_section("Parameter of interest", summary, header, markdown=markdown)]
    for files in sorted(roofit.keys() & results.keys(), key=int):
        compared = compare_parameters(results[files], roofit[files])
        rows = [(c.name, *_both(c.ours), *_both(c.published), f"{c.difference:+.2f}") for c in compared]
        header = ("parameter", "value", "error", "RooFit", "error", "difference / error")
        title = f"All parameters, {files} file{'s' if files != '1' else ''} per process"
        parts.append(_section(title, rows, header, markdown=markdown))
    return "\n".join(parts)


def _both(value: tuple[float, float]) -> tuple[str, str]:
    return f"{value[0]:.4f}", f"{value[1]:.4f}"


def _section(title: str, rows: Iterable[Sequence[str]], header: Sequence[str], *, markdown: bool) -> str:
    from tabulate import tabulate

    left = 2 if header[0] == "files" else 1
    alignment = ["left"] * left + ["right"] * (len(header) - left)
    table = tabulate(list(rows), header, "github" if markdown else "simple", disable_numparse=True, colalign=alignment)
    return f"{'### ' if markdown else ''}{title}\n\n{table}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; see the module's docstring.

    Args:
        arguments: of the command line; by default those of the process.

    Returns:
        0, or 1 after an error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m analysis.stats.compare",
        description="Fit the histograms that the AGC published and compare with the published results.",
    )
    parser.add_argument("directory", type=Path, help="directory of histos_{1,10,all}_file_per_process.json")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    options = parser.parse_args(arguments)
    try:
        results = {files: fit_published(options.directory / f"histos_{files}_file_per_process.json") for files in FILES}
    except AnalysisError as error:
        print(error, file=sys.stderr)
        return 1
    print(comparison_report(results, markdown=options.markdown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
