"""The last stage: everything on one page."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import law
import luigi

from analysis.config import MODEL, SELECTION, SHIFTS, VARIABLES, processes_of
from analysis.engine import provenance
from analysis.engine.manifest import Manifest
from analysis.engine.snapshot import Snapshot
from analysis.engine.task import AnalysisTask
from analysis.settings import settings, untracked
from analysis.tasks.build_model import BuildModel, TemplatesTask
from analysis.tasks.figures import FiguresTask, figure_settings
from analysis.tasks.fit_model import FitModel
from analysis.tasks.plot_cutflow import PlotCutflow
from analysis.tasks.plot_fit import POSTFIT, PREFIT, PlotFit
from analysis.tasks.plot_pulls import PlotPulls
from analysis.tasks.plot_shifts import PlotShifts
from analysis.tasks.plot_training import PlotTraining
from analysis.tasks.plot_variables import PlotVariables
from analysis.tasks.tabulate_yields import TabulateYields

if TYPE_CHECKING:
    from analysis.plotting.graph import TaskGraph
    from analysis.plotting.report import Headline, ReportContent, ReportFigure, Resources

SHIFTED_PROCESSES = ("ttbar", "wjets")
"""Processes whose shifts the report shows."""

_VERSIONS = ("luigi", "law", "uproot", "awkward", "hist", "correctionlib", "xgboost-cpu", "pyhf", "cabinetry")

_FIT_CAPTIONS = {
    "pulls": "Nuisance parameters after the fit, in units of their uncertainty before it.",
    "correlations": "Correlations of the parameters.",
}
_TRAINING_CAPTIONS = {
    "learning_curve": "Log-loss of each fold's model against boosting rounds.",
    "score": "Score of right and wrong assignments in events the model learned from and in others.",
    "triplet_efficiency": "Fraction of matched events in which the jets of the hadronic top are found.",
}


class Report(TemplatesTask):
    """Put result, plots, tables and provenance on one self-contained HTML page."""

    preload = (*FitModel.preload, *FiguresTask.preload, "jinja2", "scinum")

    def requires(self) -> dict[str, Any]:
        """Fit, figures and tables."""
        required = {
            "fit": FitModel.req(self),
            "model": BuildModel.req(self),
            "histograms": self.histogram_requires(),
            "pulls": PlotPulls.req(self),
            "fitted": PlotFit.req(self),
            "variables": PlotVariables.req(self),
            "yields": TabulateYields.req(self),
            **{f"shifts_{name}": PlotShifts.req(self, process=name) for name in self._shifted_processes()},
        }
        if not self.histograms:
            required["cutflow"] = PlotCutflow.req(self)
            if self.campaign_inst.machine_learning:
                required["training"] = PlotTraining.req(self)
        return required

    @untracked
    def _shifted_processes(self) -> list[str]:
        present = {d.process for d in self.campaign_inst.datasets.values()}
        return [name for name in SHIFTED_PROCESSES if self.histograms or name in present]

    def output(self) -> law.FileSystemFileTarget:
        """An HTML page."""
        return self.target("report.html")

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """What is shown of the measurement, and its names."""
        return {
            **self.prediction_settings(),
            **figure_settings(self.campaign_inst),
            **settings(self.campaign_inst, "machine_learning", "muons_usable"),
            **settings(processes_of(self.campaign_inst), "label", "sample"),
            **settings(SELECTION, "label"),
            **settings(SHIFTS.values(), "kind", "label"),
            **settings(VARIABLES.values(), "region"),
        }

    def run(self) -> None:
        """Collect and render."""
        from analysis.plotting.report import render_report

        self.staged(self.output()).write_text(render_report(self.content()), encoding="utf-8")

    def result_lines(self) -> Iterator[str]:
        """The measured value and where the page is."""
        yield from self.requires()["fit"].result_lines()
        yield f"report: {self.output_paths()[0]}"

    def content(self) -> ReportContent:
        """What the page shows."""
        from analysis.plotting.report import ReportContent
        from analysis.plotting.tables import tabulate_cutflow

        required = self.requires()
        shifts = [task for name, task in required.items() if name.startswith("shifts_")]
        cutflow, training = required.get("cutflow"), required.get("training")
        return ReportContent(
            title=f"Measurement of {MODEL.parameter_of_interest}",
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            headline=self._headline(),
            notices=self._notices(),
            fit_facts=self._fit_facts(),
            fit_figures=(
                *_figures(required["fitted"], _fit_captions(required["fitted"])),
                *_figures(required["pulls"], _FIT_CAPTIONS),
            ),
            distributions=_figures(
                required["variables"], {v.name: f"{v.name} in region {v.region}." for v in VARIABLES.values()}
            ),
            shifts=tuple(figure for task in shifts for figure in _figures(task, _shift_captions(task))),
            yields=tuple(required["yields"].tables().values()),
            cutflow_figures=_figures(cutflow, {"cutflow": "Events left after each step of the selection."}),
            cutflows=tuple(tabulate_cutflow(c) for c in cutflow.cutflows()) if cutflow else (),
            training_figures=_figures(training, _TRAINING_CAPTIONS),
            graph=self._graph(),
            provenance=self._provenance(),
            resources=self._resources(),
        )

    def _headline(self) -> Headline:
        from analysis.plotting.fit import poi_errors
        from analysis.plotting.report import Headline

        fit = self.requires()["fit"]
        kind = {"data": "collision data", "pseudodata": "pseudo-data", "asimov": "the nominal prediction (Asimov data)"}
        source = f"published histograms ({Path(self.histograms).name})" if self.histograms else self._source()
        return Headline(
            MODEL.parameter_of_interest,
            fit.result().poi_value,
            poi_errors(fit.result()),
            f"Signal strength of top quark pair production relative to its predicted cross section, "
            f"fitted to {kind[fit.observation_kind()]} from {source}.",
        )

    def _source(self) -> str:
        campaign = self.campaign_inst
        what = "events generated here" if campaign.generated else f"campaign {campaign.name}"
        return f"{what}, {campaign.luminosity / 1000:.3g} /fb at {campaign.energy:g} TeV"

    def _notices(self) -> tuple[str, ...]:
        dropped = self.requires()["fit"].dropped_systematics()
        stale = self.commit.stale_inputs if self.commit else ()
        notices = [f"Made of stale outputs of {title}, as the configuration allows." for title in stale]
        notices += [f"Left out of the model: {text}" for text in dropped]
        if not self.campaign_inst.muons_usable and not self.histograms:
            notices.append("Muons of this campaign carry no identification: in effect, only electrons are selected.")
        return tuple(notices)

    def _fit_facts(self) -> dict[str, str]:
        fit = self.requires()["fit"].result()
        facts = {"twice the negative log-likelihood": f"{fit.twice_nll:.2f}", "parameters": f"{len(fit.parameters)}"}
        return facts if fit.p_value is None else {**facts, "goodness of fit (p-value)": f"{fit.p_value:.3f}"}

    def _provenance(self) -> dict[str, str]:
        record = self.requires()["fit"].manifest().provenance
        return {
            "campaign": self.campaign,
            "version": self.version,
            "parameters": ", ".join(f"{k}={v}" for k, v in sorted(self.significant_parameters().items()) if v),
            "fitted on": f"{record['host']}, {record['finished']}",
            "code": record["git_commit"] + (" with changes" if record.get("git_dirty") else ""),
            "Python": record.get("versions", {}).get("python", "unknown"),
            **{name: provenance.version(name) for name in _VERSIONS},
        }

    def _graph(self) -> TaskGraph:
        from analysis.plotting.graph import TaskGraph

        families: dict[str, None] = {self.get_task_family(): None}
        edges: dict[tuple[str, str], None] = {}
        for task in _upstream(self):
            families[task.get_task_family()] = None
            for other in luigi.task.flatten(task.requires()):
                edges[task.get_task_family(), other.get_task_family()] = None
        return TaskGraph(tuple(families), tuple((a, b) for a, b in edges if a != b))

    def _resources(self) -> tuple[Resources, ...]:
        from analysis.plotting.report import Resources

        found: dict[str, list[Manifest]] = {}
        snapshot = Snapshot()
        for task in reversed(list(_upstream(self))[1:]):
            # what was removed after it had been used is not run again, and has no record
            manifests = (snapshot.manifest(branch) for branch in task.branch_tasks())
            found.setdefault(task.get_task_family(), []).extend(m for m in manifests if m is not None)
        return tuple(
            Resources(
                family,
                len(manifests),
                sum(m.resources["wall_seconds"] for m in manifests),
                int(sum(m.accounting.get("events_in", m.accounting.get("events_out", 0)) for m in manifests)),
            )
            for family, manifests in found.items()
            if manifests
        )


def _figures(task: FiguresTask | None, captions: Mapping[str, str]) -> tuple[ReportFigure, ...]:
    from analysis.plotting.report import ReportFigure

    if task is None:
        return ()
    return tuple(ReportFigure(path.read_bytes(), captions[name], captions[name]) for name, path in task.pngs().items())


def _fit_captions(task: PlotFit) -> dict[str, str]:
    stages = {PREFIT: "before", POSTFIT: "after"}
    captions = {}
    for name in task.figure_names():
        stage, _, region = name.partition("_")
        captions[name] = f"Region {region.replace('_', ' ')} {stages[stage]} the fit."
    return captions


def _shift_captions(task: PlotShifts) -> dict[str, str]:
    return {
        name: f"{systematic}, {task.process}: {variable}." for name, variable, systematic in task.described_figures()
    }


def _upstream(root: AnalysisTask) -> Iterator[Any]:
    """Tasks at the level of workflows, each once, from the root to the events."""
    seen, queue = {root.task_id}, deque([root])
    while queue:
        task = queue.popleft()
        yield task
        for required in luigi.task.flatten(task.requires()):
            if required.task_id not in seen:
                seen.add(required.task_id)
                queue.append(required)
