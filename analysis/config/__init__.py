"""What is analysed: campaigns, processes, regions, variables, shifts and the statistical model."""

from __future__ import annotations

from analysis.config.campaigns import BUILTIN, get_campaign
from analysis.config.errors import ConfigurationError, check_known
from analysis.config.model import MODEL
from analysis.config.processes import PROCESSES, process, processes_of
from analysis.config.selection import REGIONS, SELECTION
from analysis.config.shifts import NOMINAL, SHIFTS, histogram_shifts, kinematic_shifts
from analysis.config.variables import FEATURES, OBSERVABLES, VARIABLES

__all__ = [
    "BUILTIN",
    "FEATURES",
    "MODEL",
    "NOMINAL",
    "OBSERVABLES",
    "PROCESSES",
    "REGIONS",
    "SELECTION",
    "SHIFTS",
    "VARIABLES",
    "ConfigurationError",
    "check_known",
    "get_campaign",
    "histogram_shifts",
    "kinematic_shifts",
    "parameter_values",
    "process",
    "processes_of",
]


def parameter_values() -> dict[str, list[str]]:
    """Values that the shell completes, by parameter name; patterns stand for files."""
    datasets = dict.fromkeys(name for campaign in BUILTIN for name in get_campaign(campaign).datasets)
    return {
        "campaign": [*BUILTIN, "*.yaml", "*.yml", "*.json"],
        "histograms": ["*.json"],
        "dataset": list(datasets),
        "shift": [s.name for s in SHIFTS.values() if s.kind in {"nominal", "kinematic"}],
        "variable": list(VARIABLES),
        "variables": list(VARIABLES),
        "process": list(PROCESSES),
        "workflow": ["local", "htcondor", "slurm"],
    }
