"""Stage 9: the fit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import law

from analysis.config import MODEL
from analysis.settings import settings
from analysis.tasks.build_model import BuildModel, TemplatesTask

if TYPE_CHECKING:
    from analysis.stats.fit import FitResult
    from analysis.stats.observation import ObservationKind


class FitModel(TemplatesTask):
    """Fit the statistical model to the (pseudo-)data."""

    preload = ("cabinetry", "pyhf", "iminuit")

    def requires(self) -> BuildModel:
        """The workspace."""
        required: BuildModel = BuildModel.req(self)
        return required

    def output(self) -> law.FileSystemFileTarget:
        """Best-fit values, uncertainties and correlations as JSON."""
        return self.target("fit.json")

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The parameter of interest."""
        return settings(MODEL, "parameter_of_interest")

    def run(self) -> None:
        """Fit."""
        from analysis.stats.fit import fit_workspace

        workspace = json.loads(self.localized(self.input()["workspace"]).read_text())
        result = fit_workspace(workspace, MODEL.parameter_of_interest)
        self.staged(self.output()).write_text(json.dumps(result.to_json(), indent=1) + "\n")

    def result(self) -> FitResult:
        """The fit's result; the task has to be complete."""
        from analysis.stats.fit import FitResult

        return FitResult.from_json(json.loads(self.localized(self.output()).read_text()))

    def observation_kind(self) -> ObservationKind:
        """What was fitted: collision data, pseudo-data or Asimov data."""
        return cast("ObservationKind", self._summary()["observation"])

    def dropped_systematics(self) -> list[str]:
        """Parts of the statistical model that the templates do not support."""
        return list(self._summary()["dropped"])

    def _summary(self) -> dict[str, Any]:
        return dict(json.loads(self.localized(self.input()["summary"]).read_text()))

    def result_lines(self) -> Iterator[str]:
        """The measured value."""
        from analysis.stats.fit import result_line

        yield result_line(self.result())
