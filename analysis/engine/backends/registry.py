"""The batch systems by name, as the configuration of the site has them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from analysis.engine.backends.settings import batch_settings, section

if TYPE_CHECKING:
    from analysis.engine.backends.base import Backend

_made: dict[tuple[int, str], Backend] = {}


def backend(name: str) -> Backend:
    """A batch system; one object per process, since a fork must not share connections.

    Args:
        name: as ``--workflow`` has it.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    key = (os.getpid(), name)
    if key not in _made:
        _made[key] = _make(name)
    return _made[key]


def _make(name: str) -> Backend:
    shared = {"shared_filesystem": batch_settings().shared_filesystem}
    if name == "htcondor":
        from analysis.engine.backends.htcondor import HTCondor, HTCondorSettings

        return HTCondor(HTCondorSettings(**{**section(name, HTCondorSettings, {}), **shared}))
    if name == "slurm":
        from analysis.engine.backends.slurm import Slurm, SlurmSettings

        return Slurm(SlurmSettings(**{**section(name, SlurmSettings, {}), **shared}))
    msg = f"there is no batch system {name}"
    raise ValueError(msg)
