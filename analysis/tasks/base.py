"""Parameters that tasks share, and how they appear in the store path."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import luigi

from analysis.config import NOMINAL, SHIFTS, ConfigurationError, check_known, get_campaign, kinematic_shifts
from analysis.config.types import Campaign, Dataset, Shift
from analysis.engine.sandboxes.options import places_of
from analysis.engine.task import AnalysisTask
from analysis.engine.workflow import AnalysisWorkflow
from analysis.settings import untracked


class CampaignTask(AnalysisTask):
    """A task of one campaign."""

    exclude_index = True
    pinned_list = "columnar"

    campaign = luigi.Parameter(
        default="demo",
        description="demo, agc_2015 or the path of a campaign file; default: demo",
    )
    files_per_dataset = luigi.IntParameter(
        default=0,
        description="use only the first files of each data set; default: 0, all files",
    )

    path_parameters = AnalysisTask.path_parameters | {"campaign"}

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check the campaign."""
        params = dict(super().modify_param_values(params))
        get_campaign(params["campaign"], params["files_per_dataset"])
        return params

    def recipe_parameters(self) -> dict[str, str]:
        """Parameters that matter; a campaign file is known by the name in it, wherever it is."""
        return {**super().recipe_parameters(), "campaign": self.campaign_inst.name}

    @property
    @untracked
    def campaign_inst(self) -> Campaign:
        """The campaign."""
        return get_campaign(self.campaign, self.files_per_dataset)

    def sandbox_paths(self) -> Iterable[Path]:
        """Where the files of the campaign are, of all its data sets: all tasks can share a container."""
        return (*super().sandbox_paths(), *_input_places(self.campaign, self.files_per_dataset))

    def store_parts(self) -> tuple[str, ...]:
        """Version, campaign, task."""
        return (self.version, self.campaign_inst.name, self.get_task_family())


@functools.lru_cache
def _input_places(campaign: str, files_per_dataset: int) -> tuple[Path, ...]:
    datasets = get_campaign(campaign, files_per_dataset).datasets.values()
    paths = (file.path for dataset in datasets for file in dataset.files)
    return tuple(places_of(Path(path) for path in paths if path and "://" not in path))


class DatasetTask(CampaignTask):
    """A task of one data set."""

    exclude_index = True

    dataset = luigi.Parameter(description="name of a data set of the campaign")

    path_parameters = CampaignTask.path_parameters | {"dataset"}

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check the data set."""
        params = dict(super().modify_param_values(params))
        datasets = get_campaign(params["campaign"], params["files_per_dataset"]).datasets
        check_known("data set", params["dataset"], datasets, f"campaign {params['campaign']}")
        return params

    @property
    @untracked
    def dataset_inst(self) -> Dataset:
        """The data set."""
        return self.campaign_inst.datasets[self.dataset]

    def store_parts(self) -> tuple[str, ...]:
        """Version, campaign, task, data set."""
        return (*super().store_parts(), self.dataset)


class DatasetWorkflow(DatasetTask, AnalysisWorkflow):
    """A workflow over the events of one data set."""

    exclude_index = True


class ChunkedTask(DatasetTask):
    """A task that depends on how files are cut into chunks."""

    exclude_index = True

    chunk_size = luigi.IntParameter(
        default=0,
        description="largest number of events that one branch of SelectEvents reads; default: 0, as the campaign says",
    )

    @property
    @untracked
    def events_per_chunk(self) -> int:
        """Largest number of events of a chunk."""
        return int(self.chunk_size) or self.campaign_inst.chunk_size


class ShiftTask(ChunkedTask):
    """A task that runs once per kinematic shift."""

    exclude_index = True

    shift = luigi.Parameter(default="nominal", description="nominal or a kinematic shift; default: nominal")

    path_parameters = ChunkedTask.path_parameters | {"shift"}

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check the shift."""
        params = dict(super().modify_param_values(params))
        dataset = get_campaign(params["campaign"], params["files_per_dataset"]).datasets[params["dataset"]]
        allowed = [s.name for s in kinematic_shifts(dataset)]
        if params["shift"] in SHIFTS and SHIFTS[params["shift"]].kind == "weight":
            msg = f"{params['shift']} is a weight shift: it shares the columns of the nominal, use --shift nominal"
            raise ConfigurationError(msg)
        check_known("kinematic shift", params["shift"], allowed, f"data set {dataset.name}")
        return params

    @property
    @untracked
    def shift_inst(self) -> Shift:
        """The shift."""
        return SHIFTS.get(self.shift, NOMINAL)

    def store_parts(self) -> tuple[str, ...]:
        """Version, campaign, task, data set, shift."""
        return (*super().store_parts(), self.shift)
