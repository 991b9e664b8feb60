"""Jets and the quarks they come from, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.columnar.partons import distinct_parents, quark_labels
from tests.columnar.chain import table

LAST = 1 << 13

# t -> t -> W+ b, W+ -> W+ -> u dbar; tbar -> W- bbar, W- -> e- nubar
PDG = [6, 6, 24, 5, 24, 2, -1, -6, -24, -5, 11, -12]
MOTHER = [-1, 0, 1, 1, 2, 4, 4, -1, 7, 7, 8, 8]
PARENT = [-1, -1, 1, 1, 1, 4, 4, -1, 7, 7, 8, 8]
LABEL = [0, 0, 0, 6, 0, 24, 24, 0, 0, -6, 0, 0]
ETA = [0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 2.0, 0.0, 0.0, -2.0, 0.5, 0.0]
PHI = [0.0, 0.0, 0.0, 3.1, 0.0, 0.0, 1.0, 0.0, 0.0, -1.0, 0.5, 0.0]


def events(eta: list[float], phi: list[float], **changes: list[int]) -> Any:
    """The event above with the given jets, and an event without particles."""
    particles = {"pdgId": PDG, "genPartIdxMother": MOTHER, "statusFlags": [LAST | 1] * 12, **changes}
    columns: dict[str, Any] = {f"GenPart__{name}": [values, []] for name, values in particles.items()}
    columns |= {"GenPart__eta": [ETA, []], "GenPart__phi": [PHI, []]}
    return table(Jet__eta=[eta, [1.0]], Jet__phi=[phi, [1.0]], **columns)


def labels(eta: list[float], phi: list[float], **changes: list[int]) -> list[int]:
    first, second = events(eta, phi, **changes)["Jet.parton"].to_list()
    assert second == [100]
    return list(first)


def test_distinct_parents_by_hand() -> None:
    assert distinct_parents(np.array(PDG), np.array(MOTHER)).tolist() == PARENT


def test_distinct_parents_leave_their_arguments_alone() -> None:
    mother = np.array(MOTHER)
    distinct_parents(np.array(PDG), mother)
    assert mother.tolist() == MOTHER


def test_quark_labels_by_hand() -> None:
    assert quark_labels(np.array(PDG), np.array(PARENT)).tolist() == LABEL


def test_a_lepton_without_neutrino_does_not_make_a_leptonic_decay() -> None:
    pdg = [*PDG[:-1], -13]
    assert quark_labels(np.array(pdg), np.array(PARENT))[9] == 6


def test_a_decay_to_a_tau_is_leptonic() -> None:
    pdg = [*PDG[:-2], 15, -16]
    assert quark_labels(np.array(pdg), np.array(PARENT))[9] == -6


def test_quarks_of_a_w_without_top() -> None:
    assert quark_labels(np.array([24, 2, -1]), np.array([-1, 0, 0])).tolist() == [0, 24, 24]


def test_quarks_that_come_from_elsewhere_have_no_label() -> None:
    assert quark_labels(np.array([23, 5, -5, 21, 4]), np.array([-1, 0, 0, -1, 3])).tolist() == [0] * 5


def test_each_jet_gets_the_label_of_its_quark() -> None:
    assert labels([1.0, -1.0, 2.0, -2.0], [3.1, 0.0, 1.0, -1.0]) == [6, 24, 24, -6]


def test_matching_wraps_the_azimuth() -> None:
    assert labels([1.0], [-3.1]) == [6]


@pytest.mark.parametrize(("distance", "label"), [(0.39, 24), (0.41, 100), (-0.39, 24), (-0.41, 100)])
def test_matching_radius(distance: float, label: int) -> None:
    assert labels([-1.0], [distance]) == [label]
    assert labels([-1.0 + distance], [0.0]) == [label]
    assert labels([-1.0 + 0.6 * distance], [0.8 * distance]) == [label]


def test_the_nearest_quark_decides() -> None:
    """A jet between the quark at (1, 3.1) and one moved to (1.3, 3.1)."""
    eta = [*ETA[:9], 1.3, *ETA[10:]]
    phi = [*PHI[:9], 3.1, *PHI[10:]]
    columns: dict[str, Any] = {
        "pdgId": PDG,
        "genPartIdxMother": MOTHER,
        "statusFlags": [LAST] * 12,
        "eta": eta,
        "phi": phi,
    }
    near = table(
        Jet__eta=[[1.1, 1.2]],
        Jet__phi=[[3.1, 3.1]],
        **{f"GenPart__{name}": [values] for name, values in columns.items()},
    )
    assert near["Jet.parton"].to_list() == [[6, -6]]


def test_only_last_copies_are_matched() -> None:
    assert labels([1.0, -1.0], [3.1, 0.0], statusFlags=[LAST - 1] * 5 + [LAST] * 7) == [100, 24]


def test_leptons_are_not_matched() -> None:
    assert labels([0.5], [0.5]) == [100]


def test_events_do_not_mix() -> None:
    """Indices of mothers count within the event."""
    columns = {"pdgId": PDG, "genPartIdxMother": MOTHER, "statusFlags": [LAST] * 12, "eta": ETA, "phi": PHI}
    three: dict[str, Any] = {f"GenPart__{name}": [values, [], values] for name, values in columns.items()}
    jets = [1.0, -1.0, 2.0, -2.0], [3.1, 0.0, 1.0, -1.0]
    found = table(Jet__eta=[jets[0], [], jets[0]], Jet__phi=[jets[1], [], jets[1]], **three)["Jet.parton"]
    assert found.to_list() == [[6, 24, 24, -6], [], [6, 24, 24, -6]]
