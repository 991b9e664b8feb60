"""What tasks say of their sandbox: which one it is, which changes no result, and what has to be visible in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import law
import luigi
from luigi.parameter import ParameterVisibility

from analysis.engine.sandboxes.settings import check_name

_DEEPEST = 3
"""Parts of the path of a file in ``/`` or in a directory of it."""
_OF_IMAGES = {Path("/var/tmp"), Path("/dev/shm")}
"""Deeper ones that every image has."""


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


def places_of(files: Iterable[Path]) -> list[Path]:
    """What shows files in a container: their directories, and those where links lead to.

    A directory that every image has is not among them: the files of ``/tmp`` are shown one by one.

    Args:
        files: of this machine, there or not.
    """
    found = {place for path in files for place in (path.absolute(), path.resolve())}
    return sorted({path if len(path.parts) <= _DEEPEST or path.parent in _OF_IMAGES else path.parent for path in found})
