"""Stage 0: generated events, for the campaign ``demo`` only."""

from __future__ import annotations

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

    def create_branch_map(self) -> dict[int, int]:
        """Number of events of each file."""
        return dict(enumerate(file.entries or 0 for file in self.dataset_inst.files))

    def output(self) -> law.LocalFileTarget:
        """A ROOT file."""
        return self.local_target(f"{self.dataset}_{self.branch}.root")

    def run(self) -> None:
        """Generate and write the events of one file."""
        from analysis.generator import write_nanoaod

        first = sum(file.entries or 0 for file in self.dataset_inst.files[: self.branch])
        write_nanoaod(self.staged(self.output()), self.dataset, self.branch_data, seed=SEED, first_event=first)
        self.account(events_out=self.branch_data)
