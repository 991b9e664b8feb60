"""Stage 0: generated events, for the campaign ``demo`` only."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import law

from analysis.config import ConfigurationError, get_campaign
from analysis.tasks.base import DatasetWorkflow

SEED = 1


class GenerateEvents(DatasetWorkflow):
    """Make the NanoAOD files of a generated campaign. One branch per file."""

    preload = ("numpy", "awkward", "uproot")

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check that the campaign is a generated one."""
        if not get_campaign(params["campaign"], params["files_per_dataset"]).generated:
            msg = f"campaign {params['campaign']} has files of its own: GenerateEvents is for generated campaigns only"
            raise ConfigurationError(msg)
        return dict(super().modify_param_values(params))

    def create_branch_map(self) -> dict[int, tuple[int, int]]:
        """Number of events of each file, and number of its first event in the data set."""
        entries = [file.entries or 0 for file in self.dataset_inst.files]
        return dict(enumerate(zip(entries, accumulate(entries, initial=0), strict=False)))

    def output(self) -> law.FileSystemFileTarget:
        """A ROOT file."""
        return self.target(f"{self.dataset}_{self.branch}.root")

    def run(self) -> None:
        """Generate and write the events of one file."""
        from analysis.generator import write_nanoaod

        entries, first = self.branch_data
        staged = self.staged(self.output(), entries=entries)
        write_nanoaod(staged, self.dataset, entries, seed=SEED, first_event=first)
        self.account(events_out=entries)
