"""What holds whatever the events, the chunks and the order are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.columnar.cutflow import add_cutflows
from analysis.columnar.partons import distinct_parents, quark_labels
from analysis.columnar.producers import reduced_columns
from analysis.columnar.select import Selection, reduce, select
from analysis.columnar.sources import ArraySource, NanoAODSource
from analysis.columnar.table import Table
from analysis.config import SHIFTS, histogram_shifts, kinematic_shifts
from tests.columnar.chain import campaign, dataset, filled, table
from tests.reference import agc

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=12)
many = settings(deterministic, max_examples=60)

EVENTS = 120
SAMPLE = dataset("ttbar", 729.84)
COLUMNS = reduced_columns(SAMPLE, campaign(SAMPLE))
CHECKED = (
    "Jet.pt",
    "SelectedJet.pt",
    "n_jets",
    "n_b_jets",
    "ht",
    "trijet_jets",
    "in_4j2b",
    "lepton_pt",
    "jet_pt_res_up",
)

cuts = st.sets(st.integers(1, EVENTS - 1), max_size=5).map(lambda inner: [0, *sorted(inner), EVENTS])
orders = st.permutations(range(EVENTS))


class Events:
    """Real events in memory."""

    def __init__(self, path: Path) -> None:
        source = NanoAODSource(str(path), 0, EVENTS)
        wanted = {*COLUMNS, "Electron.phi", "Muon.phi", "Jet.phi", "genWeight"} - {"Jet.index"}
        self._columns = source.read(sorted(wanted))

    def table(self, rows: Any = slice(None)) -> Table:
        return Table(ArraySource({name: values[rows] for name, values in self._columns.items()}))


@pytest.fixture(scope="module")
def real(test_data: Path) -> Events:
    return Events(test_data / "nanoaod" / "ttbar_1000.root")


def selection(events: Table) -> Selection:
    return select(events, SAMPLE, kinematic_shifts(SAMPLE))


def chunks(bounds: Sequence[int]) -> list[slice]:
    return [slice(start, stop) for start, stop in pairwise(bounds)]


@deterministic
@given(bounds=cuts)
def test_selection_does_not_depend_on_chunks(real: Events, bounds: list[int]) -> None:
    whole = selection(real.table())
    parts = [selection(real.table(chunk)) for chunk in chunks(bounds)]
    for part, chunk in zip(parts, chunks(bounds), strict=True):
        part.selected["entry"] = part.selected.entry + chunk.start
    assert ak.concatenate([part.selected for part in parts]).to_list() == whole.selected.to_list()
    found, expected = add_cutflows(part.cutflow for part in parts), whole.cutflow
    assert [step.events for step in found.steps] == [step.events for step in expected.steps]
    weights = [step.sum_of_weights for step in found.steps]
    assert weights == pytest.approx([step.sum_of_weights for step in expected.steps], rel=1e-9)
    assert len(whole.selected) > 5


@deterministic
@given(order=orders)
def test_selection_does_not_depend_on_the_order_of_events(real: Events, order: list[int]) -> None:
    whole = selection(real.table()).selected.to_list()
    found = selection(real.table(np.array(order))).selected.to_list()
    back = sorted(({**event, "entry": order[event["entry"]]} for event in found), key=lambda event: event["entry"])
    assert back == whole


@deterministic
@given(bounds=cuts)
def test_reduction_does_not_depend_on_chunks(real: Events, bounds: list[int]) -> None:
    def reduced(chunk: slice) -> ak.Array:
        return reduce(real.table(chunk), selection(real.table(chunk)).selected, COLUMNS)

    parts = ak.concatenate([reduced(chunk) for chunk in chunks(bounds)])
    assert parts.to_list() == reduced(slice(None)).to_list()


def test_columns_of_reduced_events_are_those_of_all_events(real: Events) -> None:
    selected = selection(real.table()).selected
    reduced = reduce(real.table(), selected, COLUMNS)
    after = Table(ArraySource({name: get(reduced, name) for name in COLUMNS}))
    for shift in kinematic_shifts(SAMPLE):
        passes = selected[f"passes_{shift.name}"]
        before = real.table().shifted(shift)
        for column in ("SelectedJet.pt", "SelectedJet.index", "ht", "trijet_mass", "in_4j1b", "in_4j2b", "lepton_pt"):
            found, expected = after.shifted(shift)[column][passes], before[column][selected.entry][passes]
            assert ak.array_equal(found, expected, equal_nan=True), (shift.name, column)


def get(events: ak.Array, column: str) -> ak.Array:
    collection, _, field = column.partition(".")
    return events[collection][field] if field else events[column]


@deterministic
@given(order=orders, bounds=cuts)
def test_resolution_depends_neither_on_order_nor_on_chunks(real: Events, order: list[int], bounds: list[int]) -> None:
    whole = real.table()["jet_pt_res_up"].to_list()
    parts = [real.table(np.array(order)[chunk])["jet_pt_res_up"].to_list() for chunk in chunks(bounds)]
    found = [event for part in parts for event in part]
    assert found == [whole[i] for i in order]


@deterministic
@given(
    mask=st.integers(0, 2**EVENTS - 1).map(lambda bits: [bool(bits >> i & 1) for i in range(EVENTS)]),
    before=st.sets(st.sampled_from(CHECKED), max_size=4),
    between=st.sets(st.sampled_from(CHECKED), max_size=4),
    shift=st.sampled_from(["pt_scale_up", "pt_res_up"]),
)
def test_filter_and_shift_commute_whatever_was_computed_before(
    real: Events, mask: list[bool], before: set[str], between: set[str], shift: str
) -> None:
    rows = np.array(mask)
    expected = real.table(rows).shifted(SHIFTS[shift])
    events = real.table()
    touch(events, before)
    narrowed, shifted = events.filter(ak.Array(rows)), events.shifted(SHIFTS[shift])
    touch(narrowed, between)
    touch(shifted, between)
    for found in (narrowed.shifted(SHIFTS[shift]), shifted.filter(ak.Array(rows))):
        for column in CHECKED:
            if column != "jet_pt_res_up":  # of the shifted momenta it would be a shift of the shift
                assert ak.array_equal(found[column], expected[column], equal_nan=True), column


def touch(events: Table, columns: set[str]) -> None:
    for column in sorted(columns):
        events[column]


numbers = st.lists(st.tuples(st.floats(-1e4, 1e4), st.booleans(), st.floats(30, 500)), min_size=1, max_size=40)


@many
@given(events=numbers, weight=st.floats(1e-3, 1e3))
def test_histograms_keep_the_sum_of_weights(events: list[tuple[float, bool, float]], weight: float) -> None:
    wjets = dataset("wjets")
    shifts = histogram_shifts(wjets)
    values, inside, pt = (list(column) for column in zip(*events, strict=True))
    columns = {"ht": values, "in_4j1b": inside}
    tables = {s.name: table(**columns) for s in shifts if s.kind != "weight"}
    jets = {"SelectedJet__pt": [[p] for p in pt], "event": list(range(len(pt)))}
    weights = Table(ArraySource({s.weight: table(**jets)[s.weight] for s in shifts if s.weight}))
    histogram: Any = filled("ht", tables, weights, shifts, weight)

    def view(shift: str) -> Any:
        return histogram[{"shift": shift}].view(flow=True)

    nominal = view("nominal")
    assert nominal["value"].sum() == pytest.approx(weight * sum(inside), rel=1e-12)
    np.testing.assert_allclose(nominal["variance"], weight * nominal["value"], rtol=1e-12)
    np.testing.assert_array_equal(view("pt_scale_up"), nominal)
    np.testing.assert_allclose(view("scale_var_up")["value"], 1.025 * nominal["value"], rtol=1e-12)
    for i in range(4):
        up, down = view(f"btag_var_{i}_up")["value"], view(f"btag_var_{i}_down")["value"]
        np.testing.assert_allclose(up + down, 2 * nominal["value"], rtol=1e-9)
    half = len(pt) // 2
    parts = [
        filled(
            "ht", {name: table(**{k: v[part] for k, v in columns.items()}) for name in tables}, None, shifts[:1], weight
        )
        for part in (slice(half), slice(half, None))
        if len(values[part])
    ]
    total: Any = sum(parts[1:], start=parts[0])
    np.testing.assert_allclose(total[{"shift": "nominal"}].values(flow=True), nominal["value"], rtol=1e-12)


@st.composite
def decays(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """A record of particles in any order, in which nobody is an ancestor of itself."""
    n = draw(st.integers(0, 25))
    pdg = draw(st.lists(st.sampled_from([6, -6, 24, -24, 5, 2, -1, 11, -12, 21]), min_size=n, max_size=n))
    mother = [draw(st.integers(-1, i - 1)) for i in range(n)]
    place = draw(st.permutations(range(n)))
    shuffled, mothers = [0] * n, [-1] * n
    for i in range(n):
        shuffled[place[i]] = pdg[i]
        mothers[place[i]] = place[mother[i]] if mother[i] >= 0 else -1
    return shuffled, mothers


@many
@given(record=decays())
def test_distinct_parents_end_and_are_those_of_the_reference(record: tuple[list[int], list[int]]) -> None:
    pdg, mother = record
    event = {"GenPart_pdgId": pdg, "GenPart_genPartIdxMother": mother}
    found = distinct_parents(np.array(pdg, dtype=np.int64), np.array(mother, dtype=np.int64)).tolist()
    assert found == [agc.distinct_parent(event, i) for i in range(len(pdg))]
    assert all(parent == -1 or pdg[parent] != pdg[i] for i, parent in enumerate(found))


@many
@given(record=decays())
def test_quark_labels_are_those_of_the_reference(record: tuple[list[int], list[int]]) -> None:
    pdg, mother = record
    event = {"GenPart_pdgId": pdg, "GenPart_genPartIdxMother": mother, "GenPart_statusFlags": [1 << 13] * len(pdg)}
    ids = np.array(pdg, dtype=np.int64)
    found = quark_labels(ids, distinct_parents(ids, np.array(mother, dtype=np.int64))).tolist()
    expected = [agc.quark_label(event, i) if agc.is_quark_of_top_or_w(event, i) else 0 for i in range(len(pdg))]
    assert found == expected
