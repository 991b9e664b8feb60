"""Selection of events and objects, for all kinematic shifts in one pass, and the reduction to what was selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from analysis.columnar.column import depends_on
from analysis.columnar.cutflow import ALL_EVENTS, Cutflow, CutflowStep
from analysis.config import REGIONS, SELECTION

if TYPE_CHECKING:
    import awkward as ak
    import numpy as np

    from analysis.columnar.table import Table
    from analysis.config.types import Dataset, Shift

OBJECTS = {"Electron": "SelectedElectron", "Muon": "SelectedMuon", "Jet": "SelectedJet"}
"""Collections that are reduced to the objects selected under any shift, and the masks that say so."""


class Selection(NamedTuple):
    """What one pass over a chunk of events selects.

    Args:
        selected: one record per event selected under any shift: ``entry`` (position in the chunk), one boolean
            ``passes_<shift>`` per shift, and the positions of the objects to keep as lists named as the collections.
        cutflow: of the nominal selection.
    """

    selected: ak.Array
    cutflow: Cutflow


def select(events: Table, dataset: Dataset, shifts: Sequence[Shift]) -> Selection:
    """Apply the selection under each kinematic shift.

    Steps that no shift touches come first and are done once; jets are only looked at in events that pass them.

    Args:
        events: a chunk of events.
        dataset: the data set they belong to.
        shifts: nominal and the kinematic shifts.

    Returns:
        Selected events and objects, and the cutflow.
    """
    import awkward as ak
    import numpy as np

    weights = generator_weights(events, dataset)
    replaced = {column for shift in shifts for column, _ in shift.replaces}
    n_common = next((i for i, s in enumerate(SELECTION) if depends_on(s.column, replaced)), len(SELECTION))
    cutflow = [CutflowStep(ALL_EVENTS, len(events), float(np.sum(weights)))]

    mask = np.ones(len(events), dtype=bool)
    for step in SELECTION[:n_common]:
        events.prefetch([step.column])
        mask = mask & ak.to_numpy(events[step.column])
        cutflow.append(CutflowStep(step.column, int(mask.sum()), float(weights[mask].sum())))
    events.prefetch([*(s.column for s in SELECTION[n_common:]), *(new for s in shifts for _, new in s.replaces)])
    common, common_weights, entry = events.filter(mask), weights[mask], np.flatnonzero(mask)

    passes: dict[str, np.ndarray] = {}
    objects: dict[str, ak.Array] = {}
    for shift in shifts:
        shifted = common.shifted(shift)
        passed = np.ones(len(common), dtype=bool)
        for step in SELECTION[n_common:]:
            passed = passed & ak.to_numpy(shifted[step.column])
            if shift.kind == "nominal":
                cutflow.append(CutflowStep(step.column, int(passed.sum()), float(common_weights[passed].sum())))
        passes[shift.name] = passed
        for collection, column in OBJECTS.items():
            objects[collection] = objects[collection] | shifted[column] if collection in objects else shifted[column]
    for region in REGIONS.values():
        inside = passes["nominal"] & ak.to_numpy(common[region.column])
        cutflow.append(CutflowStep(region.name, int(inside.sum()), float(common_weights[inside].sum()), is_region=True))

    union = np.logical_or.reduce(list(passes.values()))
    selected = ak.zip(
        {
            "entry": entry[union],
            **{f"passes_{name}": passed[union] for name, passed in passes.items()},
            **{name: ak.local_index(kept, axis=1)[kept][union] for name, kept in objects.items()},
        },
        depth_limit=1,
    )
    return Selection(selected, Cutflow(dataset.name, tuple(cutflow)))


def generator_weights(events: Table, dataset: Dataset) -> np.ndarray:
    """Generator weight of each event, shape ``(events,)``; 1 for data and for files without ``genWeight``."""
    import awkward as ak
    import numpy as np

    if dataset.is_data or not events.has("genWeight"):
        return np.ones(len(events))
    return np.asarray(ak.to_numpy(events["genWeight"]), dtype=np.float64)


def reduce(events: Table, selected: ak.Array, columns: Sequence[str]) -> ak.Array:
    """Slim events: selected rows, selected objects, wanted columns.

    Args:
        events: the chunk of events that was selected from.
        selected: see :class:`Selection`.
        columns: columns to keep, see :func:`analysis.columnar.producers.reduced_columns`.

    Returns:
        Records with the columns as (nested) fields, one per selected event.
    """
    import awkward as ak
    import numpy as np

    events.prefetch(columns)
    mask = np.zeros(len(events), dtype=bool)
    mask[ak.to_numpy(selected.entry)] = True
    records = events.filter(mask).records(columns)
    fields = {name: records[name][selected[name]] if name in OBJECTS else records[name] for name in ak.fields(records)}
    return ak.zip(fields, depth_limit=1)
