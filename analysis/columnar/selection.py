"""Event selection and regions.

Source: AGC ttbar specification v2, section "Selection".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.columnar.column import column_function
from analysis.columnar.objects import B_TAG_THRESHOLD

if TYPE_CHECKING:
    import awkward as ak


@column_function(uses={"SelectedElectron", "SelectedMuon"}, produces={"one_lepton"})
def one_lepton(events: ak.Array) -> ak.Array:
    """Exactly one selected electron or muon, shape ``(events,)``."""
    import awkward as ak

    return ak.sum(events.SelectedElectron, axis=1) + ak.sum(events.SelectedMuon, axis=1) == 1


@column_function(uses={"SelectedJet"}, produces={"n_jets"})
def n_jets(events: ak.Array) -> ak.Array:
    """Number of selected jets, shape ``(events,)``."""
    import awkward as ak

    return ak.values_astype(ak.sum(events.SelectedJet, axis=1), "int16")


@column_function(uses={"SelectedJet.btagCSVV2"}, produces={"n_b_jets"})
def n_b_jets(events: ak.Array) -> ak.Array:
    """Number of selected jets with a b tag, shape ``(events,)``."""
    import awkward as ak

    return ak.values_astype(ak.sum(events.SelectedJet.btagCSVV2 > B_TAG_THRESHOLD, axis=1), "int16")


@column_function(uses={"n_jets"}, produces={"four_jets"})
def four_jets(events: ak.Array) -> ak.Array:
    """At least four selected jets, shape ``(events,)``."""
    return events.n_jets >= 4


@column_function(uses={"n_b_jets"}, produces={"one_b_jet"})
def one_b_jet(events: ak.Array) -> ak.Array:
    """At least one selected jet with a b tag, shape ``(events,)``."""
    return events.n_b_jets >= 1


@column_function(uses={"one_lepton", "four_jets", "n_b_jets"}, produces={"in_4j1b"})
def in_4j1b(events: ak.Array) -> ak.Array:
    """Region 4j1b: one lepton, at least four jets, exactly one of them b-tagged, shape ``(events,)``."""
    return events.one_lepton & events.four_jets & (events.n_b_jets == 1)


@column_function(uses={"one_lepton", "four_jets", "n_b_jets"}, produces={"in_4j2b"})
def in_4j2b(events: ak.Array) -> ak.Array:
    """Region 4j2b: one lepton, at least four jets, two or more of them b-tagged, shape ``(events,)``."""
    return events.one_lepton & events.four_jets & (events.n_b_jets >= 2)
