"""The parameter of tasks that says what they run in. It changes no result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import law
import luigi
from luigi.parameter import ParameterVisibility

from analysis.engine.sandboxes.settings import check_name


class SandboxedTask(law.Task):  # type: ignore[misc]
    """A task that may run in a sandbox."""

    exclude_index = True

    sandbox = luigi.Parameter(
        default="",
        significant=False,
        visibility=ParameterVisibility.HIDDEN,
        description="what tasks run in: none, venv, docker, apptainer, or TYPE::NAME; default: as law.cfg says",
    )

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check ``--sandbox``."""
        if params.get("sandbox"):
            check_name(params["sandbox"], "--sandbox")
        return dict(super().modify_param_values(params))

    def sandbox_paths(self) -> Iterable[Path]:
        """Files and directories outside of the stores that ``run()`` reads: they are visible inside containers."""
        return ()

    def sandbox_env(self) -> Mapping[str, str]:
        """More variables for the sandbox of this task."""
        return {}
