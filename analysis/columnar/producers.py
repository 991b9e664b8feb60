"""Groups of derived columns that are computed together, and the columns that the reduction has to keep for them."""

from __future__ import annotations

from analysis.columnar import functions  # noqa: F401  (registers the column functions)
from analysis.columnar.assignments import FEATURE_COLUMNS
from analysis.columnar.column import leaves
from analysis.columnar.select import OBJECTS
from analysis.config import REGIONS, SELECTION, SHIFTS, VARIABLES, histogram_shifts, kinematic_shifts
from analysis.config.types import Campaign, Dataset
from analysis.settings import untracked

# which columns there are is part of the recipes; the code of a stage is that of the modules behind them
__plumbing__ = True

OBSERVABLES, WEIGHTS, TRAINING = "observables", "weights", "training"
PRODUCERS = (OBSERVABLES, WEIGHTS, TRAINING)
"""Names of the groups; the values of ``--columns``."""

IDENTITY = ("run", "luminosityBlock", "event")
TRAINING_PROCESS = "ttbar"
_COMPUTED_AT_REDUCTION = {"Jet.index", "Jet.parton"}


@untracked
def produced_columns(producer: str, dataset: Dataset) -> tuple[str, ...]:
    """Columns of a group, for a data set.

    Args:
        producer: one of :data:`PRODUCERS`.
        dataset: the data set; its shifts decide which weights there are.

    Returns:
        Names of column functions' columns.
    """
    if producer == OBSERVABLES:
        regions = [region.column for region in REGIONS.values()]
        return (*regions, *(v.column for v in VARIABLES.values() if not v.needs_model))
    if producer == WEIGHTS:
        return tuple(s.weight for s in histogram_shifts(dataset) if s.kind == "weight")
    return ("training_features", "training_target", "trijet_jets")


@untracked
def is_trained_on(dataset: Dataset, campaign: Campaign) -> bool:
    """Whether the classifier learns from a data set."""
    return campaign.machine_learning and dataset.process == TRAINING_PROCESS and dataset.shift == "nominal"


@untracked
def selection_columns(dataset: Dataset) -> set[str]:
    """Columns that decide which events and objects of a data set are selected, under all its kinematic shifts."""
    shifted = {new for shift in kinematic_shifts(dataset) for _, new in shift.replaces}
    return {*(step.column for step in SELECTION), *(r.column for r in REGIONS.values()), *OBJECTS.values(), *shifted}


@untracked
def reduced_columns(dataset: Dataset, campaign: Campaign) -> list[str]:
    """Columns that later stages read from the reduced events of a data set.

    It is the transitive closure of what they use, down to what has to come from NanoAOD or needs generator particles.
    """
    wanted = {*IDENTITY, *produced_columns(OBSERVABLES, dataset), *produced_columns(WEIGHTS, dataset)}
    wanted |= {s.replaces[0][1] for s in SHIFTS.values() if s.replaces}
    if campaign.machine_learning:
        wanted |= FEATURE_COLUMNS
    if is_trained_on(dataset, campaign):
        wanted |= {"Jet.parton"}
    return sorted(leaves(wanted, available=_COMPUTED_AT_REDUCTION))
