"""Stage 8: the statistical model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import law
import luigi

from analysis.config import MODEL, VARIABLES, ConfigurationError, processes_of
from analysis.engine.sandboxes.options import places_of
from analysis.settings import settings, untracked
from analysis.tasks.fill_histograms import MergeHistograms
from analysis.tasks.train_model import FoldsTask
from analysis.templates import PSEUDODATA, TemplateKey, Templates, load_histogram, templates_from_datasets

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


class TemplatesTask(FoldsTask):
    """A task that uses the histograms of all data sets, or published ones."""

    exclude_index = True
    pinned_list = "stats"

    histograms = luigi.Parameter(
        default="",
        description="fit the histograms of this file, in the AGC's JSON, instead of our own; default: empty",
    )

    path_parameters = FoldsTask.path_parameters | {"histograms"}

    def binning_fields(self) -> tuple[str, ...]:
        """Settings of a variable that published histograms are read with."""
        return ("bins", "start", "stop") if self.histograms else ()

    def prediction_settings(self) -> dict[str, Any]:
        """Settings that decide how histograms become templates of processes, and what they are compared with."""
        return {**self.template_settings(), **settings(MODEL)}

    def template_settings(self, variables: Sequence[str] | None = None) -> dict[str, Any]:
        """Settings that decide how histograms become templates of processes.

        Args:
            variables: names of the variables; ``None`` for those whose histograms are read.
        """
        chosen = [VARIABLES[name] for name in (self.template_names() if variables is None else variables)]
        return {
            **settings(processes_of(self.campaign_inst), "sample"),
            **settings(self.campaign_inst, "datasets"),
            **settings(self.campaign_inst.datasets.values(), "process", "shift", "is_data"),
            **settings(chosen, "region", *self.binning_fields()),
        }

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check that the file of published histograms exists."""
        path = Path(params["histograms"]).expanduser()
        if params["histograms"] and not path.is_file():
            msg = f"--histograms {path} does not exist: correct the path"
            raise ConfigurationError(msg)
        if params["histograms"]:
            # figures carry the luminosity and label of the events that were histogrammed
            params.update(histograms=str(path.resolve()), campaign="agc_2015")
        return dict(super().modify_param_values(params))

    def store_parts(self) -> tuple[str, ...]:
        """Version, campaign, task; for published histograms the digest of their file in place of the campaign."""
        if not self.histograms:
            return super().store_parts()
        digest = sha256(Path(self.histograms).read_bytes()).hexdigest()[:8]
        return (self.version, f"published-{digest}", self.get_task_family())

    def sandbox_paths(self) -> Iterable[Path]:
        """Where the published histograms are as well."""
        return (*super().sandbox_paths(), *(places_of([Path(self.histograms)]) if self.histograms else ()))

    @untracked
    def histogram_requires(self) -> dict[str, MergeHistograms]:
        """The histograms of each data set, by name; none if published ones are fitted."""
        if self.histograms:
            return {}
        return {name: MergeHistograms.req(self, dataset=name) for name in self.campaign_inst.datasets}

    @untracked
    def template_names(self) -> list[str]:
        """Names of the variables whose histograms are read: the fitted ones."""
        return [region.variable for region in MODEL.regions]

    def needs(self, required: AnalysisTask, outputs: frozenset[str] | None = None) -> Collection[str] | None:  # noqa: ARG002
        """Of the histograms, those that are read; of the model, all but the histograms in ROOT's format."""
        if isinstance(required, BuildModel):
            return ("workspace", "summary")
        return self.template_names() if isinstance(required, MergeHistograms) else None

    def recipe_parameters(self) -> dict[str, str]:
        """Parameters that matter; a file of histograms is known by its content, wherever it is."""
        return {name: value for name, value in super().recipe_parameters().items() if name != "histograms"}

    def external_inputs(self, branch: int | None) -> dict[str, str | None]:  # noqa: ARG002
        """The file of published histograms, if it is fitted."""
        return {"histograms": self.store_parts()[1]} if self.histograms else {}

    def load_templates(self, variables: Sequence[str]) -> Templates:
        """Templates of the given variables."""
        if self.histograms:
            from analysis.stats.published import load_published_histograms

            return load_published_histograms(Path(self.histograms))
        tasks = self.histogram_requires().items()
        wanted = [(dataset, variable, task.output()[variable]) for variable in variables for dataset, task in tasks]
        paths = self.localized_all(target for _, _, target in wanted)
        filled = ((d, v, load_histogram(path)) for (d, v, _), path in zip(wanted, paths, strict=True))
        return templates_from_datasets(self.campaign_inst, filled)


class BuildModel(TemplatesTask):
    """Build the pyhf workspace from the histograms, by cabinetry."""

    preload = ("hist", "uhi.io.json", "uproot", "cabinetry", "pyhf")

    def requires(self) -> dict[str, MergeHistograms]:
        """The histograms."""
        return self.histogram_requires()

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        """Workspace in pyhf's JSON; what it is made of; all its templates as a ROOT file."""
        return {
            "workspace": self.target("workspace.json"),
            "summary": self.target("summary.json"),
            "histograms": self.target("histograms.root"),
        }

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The statistical model, and what it is made of."""
        return self.prediction_settings()

    def run(self) -> None:
        """Build."""
        from analysis.stats.workspace import build_workspace, workspace_text, write_templates_root

        templates = self.load_templates(self.template_names())
        with tempfile.TemporaryDirectory() as work_dir:
            result = build_workspace(MODEL, templates, Path(work_dir))
        summary = {"observation": result.observation, "dropped": [str(d) for d in result.dropped]}
        self.staged(self.output()["workspace"]).write_text(workspace_text(result.workspace))
        self.staged(self.output()["summary"]).write_text(json.dumps(summary, indent=1) + "\n")
        write_templates_root(self._with_pseudodata(templates), self.staged(self.output()["histograms"]))

    def _with_pseudodata(self, templates: Templates) -> Templates:
        """The templates, with the pseudo-data that were made of them as the AGC publishes them."""
        from analysis.stats.observation import observe

        observation = observe(MODEL, templates)
        if observation.kind != PSEUDODATA:
            return templates
        return Templates({**templates, **{TemplateKey(v, PSEUDODATA): h for v, h in observation.histograms.items()}})
