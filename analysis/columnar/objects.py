"""Object selection, with strict inequalities.

Source: AGC ttbar specification v2, section "Selection".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.columnar.column import column_function, object_selection

if TYPE_CHECKING:
    import awkward as ak

B_TAG_THRESHOLD = 0.5
"""A jet counts as b-tagged if its ``btagCSVV2`` is above this value."""


@object_selection(
    "SelectedElectron",
    of="Electron",
    uses={"Electron.pt", "Electron.eta", "Electron.cutBased", "Electron.sip3d"},
)
def selected_electron(events: ak.Array) -> ak.Array:
    """Tight electrons from the primary vertex, shape ``(events, var)``: pT > 30 GeV, abs(eta) < 2.1."""
    e = events.Electron
    return (e.pt > 30) & (abs(e.eta) < 2.1) & (e.cutBased == 4) & (e.sip3d < 4)


@object_selection(
    "SelectedMuon",
    of="Muon",
    uses={"Muon.pt", "Muon.eta", "Muon.tightId", "Muon.sip3d", "Muon.pfRelIso04_all"},
)
def selected_muon(events: ak.Array) -> ak.Array:
    """Tight isolated muons from the primary vertex, shape ``(events, var)``: pT > 30 GeV, abs(eta) < 2.1."""
    m = events.Muon
    return (m.pt > 30) & (abs(m.eta) < 2.1) & m.tightId & (m.sip3d < 4) & (m.pfRelIso04_all < 0.15)


@object_selection("SelectedJet", of="Jet", uses={"Jet.pt", "Jet.eta", "Jet.jetId"})
def selected_jet(events: ak.Array) -> ak.Array:
    """Jets of tight-lepton-veto identification, shape ``(events, var)``: pT > 30 GeV, abs(eta) < 2.4."""
    j = events.Jet
    return (j.pt > 30) & (abs(j.eta) < 2.4) & ((j.jetId & 4) != 0)


@column_function(uses={"Jet.pt"}, produces={"Jet.index"})
def jet_index(events: ak.Array) -> ak.Array:
    """Position of a jet in its event as stored, shape ``(events, var)``; it survives the reduction."""
    import awkward as ak

    return ak.values_astype(ak.local_index(events.Jet.pt, axis=1), "int16")


@column_function(
    uses={
        *(f"SelectedElectron.{field}" for field in ("pt", "eta", "phi", "mass")),
        *(f"SelectedMuon.{field}" for field in ("pt", "eta", "phi", "mass")),
    },
    produces={"lepton_pt", "lepton_eta", "lepton_phi", "lepton_mass"},
)
def lepton(events: ak.Array) -> dict[str, ak.Array]:
    """The selected lepton, an electron before a muon, shape ``(events,)`` each; NaN in events that have none.

    pT and mass [GeV].
    """
    import awkward as ak
    import numpy as np

    def first(field: str) -> ak.Array:
        both = ak.concatenate([events.SelectedElectron[field], events.SelectedMuon[field]], axis=1)
        return ak.values_astype(ak.fill_none(ak.firsts(both), np.nan), "float32")

    return {f"lepton_{field}": first(field) for field in ("pt", "eta", "phi", "mass")}
