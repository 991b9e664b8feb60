"""Laziness, rows and shifts of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import awkward as ak
import numpy as np
import pytest

from analysis.columnar.producers import reduced_columns
from analysis.columnar.select import reduce, select
from analysis.columnar.sources import ArraySource
from analysis.columnar.table import Table
from analysis.config import NOMINAL, SHIFTS, kinematic_shifts
from tests.columnar.chain import campaign, dataset
from tests.columnar.test_objects import lepton_events

UP = SHIFTS["pt_scale_up"]


class CountingSource(ArraySource):
    """Remembers what was read, call by call."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        super().__init__(columns)
        self.calls: list[list[str]] = []

    def read(self, columns: Iterable[str]) -> Mapping[str, ak.Array]:
        wanted = list(columns)
        self.calls.append(wanted)
        return super().read(wanted)

    @property
    def counts(self) -> Counter[str]:
        return Counter(column for call in self.calls for column in call)


@pytest.fixture
def source() -> CountingSource:
    """Three events: one passes, one has no lepton, one has too few jets."""
    jets = [[50.0, 45.0, 40.0, 35.0, 29.5], [50.0, 45.0, 40.0, 35.0], [50.0, 45.0]]
    columns = {
        **lepton_events([[40.0], [], [40.0]], [[12.0], [12.0], []]),
        "run": [1, 1, 1],
        "luminosityBlock": [2, 2, 2],
        "event": [3, 4, 5],
        "genWeight": [1.0, 2.0, 3.0],
        "Jet__pt": jets,
        "Jet__eta": [[0.25] * len(event) for event in jets],
        "Jet__phi": [[0.5] * len(event) for event in jets],
        "Jet__mass": [[5.0] * len(event) for event in jets],
        "Jet__jetId": [[6] * len(event) for event in jets],
        "Jet__btagCSVV2": [[0.9, 0.8, 0.1, 0.1, 0.1][: len(event)] for event in jets],
        "Jet__qgl": [[0.5] * len(event) for event in jets],
        "Jet__unused": jets,
    }
    return CountingSource({name.replace("__", "."): values for name, values in columns.items()})


def test_nothing_is_read_before_it_is_asked_for(source: CountingSource) -> None:
    events = Table(source)
    assert len(events) == 3
    assert events.has("Jet.pt")
    assert not events.has("ht")
    assert source.calls == []


def test_each_column_is_read_once(source: CountingSource) -> None:
    events = Table(source)
    for column in ("ht", "trijet_mass", "n_jets", "in_4j1b", "ht", "Jet.pt", "SelectedJet.pt"):
        events[column]
    narrowed = events.filter(events["one_lepton"])
    for table in (
        narrowed,
        narrowed.shifted(UP),
        events.shifted(UP),
        narrowed.shifted(UP).filter(ak.Array([True, False])),
    ):
        table["trijet_mass"]
        table["lepton_pt"]
    assert set(source.counts.values()) == {1}
    assert "Jet.unused" not in source.counts


def test_prefetch_reads_leaves_in_one_call(source: CountingSource) -> None:
    events = Table(source)
    events.filter(ak.Array([True, False, True])).prefetch(["ht", "n_b_jets"])
    assert source.calls == [["Jet.btagCSVV2", "Jet.eta", "Jet.jetId", "Jet.pt"]]
    events["ht"]
    events["n_b_jets"]
    assert len(source.calls) == 1


def test_prefetch_reads_nothing_twice(source: CountingSource) -> None:
    events = Table(source)
    events.prefetch(["n_jets"])
    events.prefetch(["ht", "trijet_mass"])
    assert source.calls == [["Jet.eta", "Jet.jetId", "Jet.pt"], ["Jet.btagCSVV2", "Jet.mass", "Jet.phi"]]


def test_selection_reads_leptons_before_jets_and_each_column_once(source: CountingSource) -> None:
    sample = dataset("ttbar")
    select(Table(source), sample, kinematic_shifts(sample))
    first_jet = next(i for i, call in enumerate(source.calls) if any(c.startswith("Jet.") for c in call))
    before = {column for call in source.calls[:first_jet] for column in call}
    assert before == {
        "genWeight",
        *(f"Electron.{name}" for name in ("pt", "eta", "cutBased", "sip3d")),
        *(f"Muon.{name}" for name in ("pt", "eta", "tightId", "sip3d", "pfRelIso04_all")),
    }
    assert set(source.counts.values()) == {1}
    unused = {"Jet.unused", "Jet.phi", "Jet.mass", "Jet.qgl", "Electron.phi", "Electron.mass", "Muon.phi", "Muon.mass"}
    assert not unused & source.counts.keys()


def test_selection_of_data_reads_no_generator_weight(source: CountingSource) -> None:
    data = dataset("data", None, is_data=True)
    selection = select(Table(source), data, kinematic_shifts(data))
    assert "genWeight" not in source.counts
    assert [step.sum_of_weights for step in selection.cutflow.steps] == [3, 2, 1, 1, 0, 1]


def test_selection_by_hand(source: CountingSource) -> None:
    sample = dataset("ttbar")
    selected, cutflow = select(Table(source), sample, [NOMINAL, UP])
    assert [step.events for step in cutflow.steps] == [3, 2, 1, 1, 0, 1]
    assert [step.sum_of_weights for step in cutflow.steps] == [6, 4, 1, 1, 0, 1]
    # the fifth jet has 29.5 GeV, more than 30 GeV only with the shift
    assert selected.to_list() == [
        {
            "entry": 0,
            "passes_nominal": True,
            "passes_pt_scale_up": True,
            "Electron": [0],
            "Muon": [],
            "Jet": [0, 1, 2, 3, 4],
        }
    ]


def test_reduction_by_hand(source: CountingSource) -> None:
    sample = dataset("ttbar")
    events = Table(source)
    selected = select(events, sample, [NOMINAL, UP]).selected
    (event,) = reduce(Table(source), selected, reduced_columns(sample, campaign(sample))).to_list()
    assert event["event"] == 3
    assert [jet["pt"] for jet in event["Jet"]] == [50, 45, 40, 35, 29.5]
    assert [jet["index"] for jet in event["Jet"]] == [0, 1, 2, 3, 4]
    assert [electron["pt"] for electron in event["Electron"]] == [40]
    assert event["Muon"] == []


def test_filter_narrows_every_column(source: CountingSource) -> None:
    events = Table(source)
    narrowed = events.filter(ak.Array([False, True, True]))
    assert len(narrowed) == 2
    for column in ("event", "Jet.pt", "SelectedJet.pt", "ht", "n_jets", "one_lepton"):
        assert narrowed[column].to_list() == events[column].to_list()[1:]


def test_filters_add_up(source: CountingSource) -> None:
    narrowed = Table(source).filter(ak.Array([True, False, True])).filter(ak.Array([False, True]))
    assert narrowed["event"].to_list() == [5]
    assert narrowed["ht"].to_list() == [95]


def test_shift_changes_what_depends_on_it_and_nothing_else(source: CountingSource) -> None:
    events = Table(source)
    nominal = events["ht"].to_list()
    shifted = events.shifted(UP)
    np.testing.assert_allclose(shifted["ht"], [1.03 * (170 + 29.5), 1.03 * 170, 1.03 * 95], rtol=1e-12)
    assert shifted["n_jets"].to_list() == [5, 4, 2]
    assert shifted["lepton_pt"] is events["lepton_pt"]
    assert shifted["Jet.eta"] is events["Jet.eta"]
    assert shifted["SelectedElectron"] is events["SelectedElectron"]
    assert events["ht"].to_list() == nominal
    assert shifted["Jet.index"].to_list() == events["Jet.index"].to_list()


def test_shift_does_not_touch_the_weights_of_the_nominal(source: CountingSource) -> None:
    events = Table(source)
    weight = events["weight_btag_var_0_up"].to_list()
    assert events.shifted(UP)["weight_btag_var_0_up"].to_list() != weight
    assert events["weight_btag_var_0_up"].to_list() == weight


@pytest.mark.parametrize("name", ["nominal", "btag_var_0_up", "scale_var_up", "ME_var"])
def test_other_shifts_leave_the_table_as_it_is(source: CountingSource, name: str) -> None:
    events = Table(source)
    assert events.shifted(SHIFTS[name]) is events


@pytest.mark.parametrize("cached", [(), ("ht",), ("ht", "trijet_mass", "SelectedJet", "n_jets")])
def test_filter_and_shift_commute(source: CountingSource, cached: tuple[str, ...]) -> None:
    events = Table(source)
    for column in cached:
        events[column]
    mask = ak.Array([True, False, True])
    one, other = events.filter(mask).shifted(UP), events.shifted(UP).filter(mask)
    for column in ("Jet.pt", "SelectedJet.pt", "n_jets", "ht", "trijet_jets", "in_4j2b", "lepton_pt", "Jet.index"):
        assert one[column].to_list() == other[column].to_list(), column


def test_records_are_vectors_if_they_have_a_momentum(source: CountingSource) -> None:
    records = Table(source).records(["Jet.pt", "Jet.eta", "Jet.phi", "Jet.mass", "Electron.pt", "event"])
    assert records.fields == ["event", "Electron", "Jet"]
    assert records.Jet.px[0].to_list() == pytest.approx([pt * np.cos(0.5) for pt in (50, 45, 40, 35, 29.5)])
    assert not hasattr(records.Electron, "px")
