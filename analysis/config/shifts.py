"""Systematic variations, as data.

A kinematic shift replaces columns, and what uses them is computed again; a weight shift multiplies the event weight
and shares everything else with the nominal; a sample shift is another data set.

Source: AGC ttbar specification v2.
"""

from __future__ import annotations

from analysis.config.types import Dataset, Shift
from analysis.settings import untracked

NOMINAL = Shift("nominal", "nominal", "nominal")

SHIFTS: dict[str, Shift] = {
    shift.name: shift
    for shift in (
        NOMINAL,
        Shift("pt_scale_up", "kinematic", "jet energy scale up", replaces=(("Jet.pt", "jet_pt_scale_up"),)),
        Shift("pt_res_up", "kinematic", "jet energy resolution up", replaces=(("Jet.pt", "jet_pt_res_up"),)),
        *(
            Shift(f"btag_var_{i}_{d}", "weight", f"b-tag NP {i + 1} {d}", weight=f"weight_btag_var_{i}_{d}")
            for i in range(4)
            for d in ("up", "down")
        ),
        *(
            Shift(f"scale_var_{d}", "weight", f"$W$+jets scale {d}", ("wjets",), weight=f"weight_scale_var_{d}")
            for d in ("up", "down")
        ),
        Shift("ME_var", "sample", "matrix element (MG5_aMC@NLO)", ("ttbar",)),
        Shift("PS_var", "sample", "parton shower (Herwig++)", ("ttbar",)),
        Shift("scaleup", "sample", r"$t\bar{t}$ scale up", ("ttbar",)),
        Shift("scaledown", "sample", r"$t\bar{t}$ scale down", ("ttbar",)),
    )
}


@untracked
def kinematic_shifts(dataset: Dataset) -> tuple[Shift, ...]:
    """Nominal and the kinematic shifts of a data set: the passes over its events.

    Data and varied samples have the nominal only.
    """
    return tuple(s for s in histogram_shifts(dataset) if s.kind != "weight")


@untracked
def histogram_shifts(dataset: Dataset) -> tuple[Shift, ...]:
    """Nominal, kinematic and weight shifts of a data set: what is histogrammed from its events."""
    if dataset.is_data or dataset.shift != "nominal":
        return (NOMINAL,)
    return tuple(s for s in SHIFTS.values() if s.kind != "sample" and s.applies_to(dataset.process))
