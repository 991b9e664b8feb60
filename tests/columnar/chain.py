"""The stages from a NanoAOD file to histograms, as the tasks call them, without the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
from hist import Hist

from analysis.columnar.cutflow import Cutflow, add_cutflows
from analysis.columnar.histograms import event_weight, fill
from analysis.columnar.producers import OBSERVABLES, TRAINING, WEIGHTS, is_trained_on, produced_columns, reduced_columns
from analysis.columnar.select import reduce, select
from analysis.columnar.sources import ArraySource, NanoAODSource, ParquetSource, write_parquet
from analysis.columnar.table import Table
from analysis.config import REGIONS, VARIABLES, histogram_shifts
from analysis.config.types import Campaign, Dataset, Shift

COMPARED = ("ht", "trijet_mass", "lepton_pt", "n_jets")
"""Variables whose definition needs no trained model."""


def dataset(process: str, cross_section: float | None = 1.0, is_data: bool = False) -> Dataset:
    """A nominal data set; its files are not looked at."""
    return Dataset(process, process, "nominal", (), cross_section, is_data=is_data)


def campaign(*datasets: Dataset, machine_learning: bool = False) -> Campaign:
    """A campaign with the luminosity of the AGC."""
    return Campaign("test", 3378.0, 13.0, {d.name: d for d in datasets}, machine_learning=machine_learning)


@dataclass
class Chain:
    """One data set on its way; ``folder`` keeps the parquet files between the stages."""

    folder: Path
    sample: Dataset
    campaign: Campaign
    replaced: dict[str, Shift] = field(default_factory=dict)

    @property
    def shifts(self) -> tuple[Shift, ...]:
        """All histogrammed shifts, some of them redefined by the test."""
        return tuple(self.replaced.get(shift.name, shift) for shift in histogram_shifts(self.sample))

    @property
    def passes(self) -> tuple[Shift, ...]:
        """Nominal and kinematic shifts."""
        return tuple(shift for shift in self.shifts if shift.kind != "weight")

    def reduce(self, path: Path, chunks: Sequence[tuple[int, int | None]] = ((0, None),)) -> tuple[ak.Array, Cutflow]:
        """Select and reduce chunk by chunk, with a new table for each, as two tasks do."""
        columns = reduced_columns(self.sample, self.campaign)
        parts, cutflows = [], []
        for number, chunk in enumerate(chunks):
            source = NanoAODSource(str(path), *chunk)
            selection = select(Table(source), self.sample, self.passes)
            write_parquet(selection.selected, self.folder / f"selection_{number}.parquet")
            selected = ak.from_parquet(self.folder / f"selection_{number}.parquet")
            parts.append(reduce(Table(source), selected, columns))
            cutflows.append(selection.cutflow)
        events = ak.concatenate(parts)
        write_parquet(events, self.folder / "events.parquet")
        return events, add_cutflows(cutflows)

    def events(self) -> Table:
        """Reduced events."""
        return Table(ParquetSource(self.folder / "events.parquet"))

    def produce(self) -> tuple[dict[str, Table], Table | None]:
        """Columns under nominal and each kinematic shift, and the weights."""
        tables = {s.name: self._produced(OBSERVABLES, s) for s in self.passes}
        has_weights = any(s.kind == "weight" for s in self.shifts)
        return tables, self._produced(WEIGHTS, self.passes[0]) if has_weights else None

    def training(self) -> Table:
        """What the classifier learns from, beside the reduced events."""
        assert is_trained_on(self.sample, self.campaign)
        self._produced(TRAINING, self.passes[0])
        return Table(ParquetSource(self.folder / "training_nominal.parquet", self.folder / "events.parquet"))

    def _produced(self, group: str, shift: Shift) -> Table:
        path = self.folder / f"{group}_{shift.name}.parquet"
        write_parquet(self.events().shifted(shift).records(produced_columns(group, self.sample)), path)
        return Table(ParquetSource(path))

    def histograms(self, path: Path) -> dict[str, Hist[Any]]:
        """Histograms of all compared variables, by name."""
        _, cutflow = self.reduce(path)
        tables, weights = self.produce()
        weight = event_weight(self.sample, self.campaign, cutflow.steps[0].events)
        return {name: filled(name, tables, weights, self.shifts, weight) for name in COMPARED}


def filled(
    name: str, tables: dict[str, Table], weights: Table | None, shifts: Sequence[Shift], weight: float
) -> Hist[Any]:
    """Histogram of one variable."""
    variable = VARIABLES[name]
    return fill(variable, REGIONS[variable.region], tables, weights, shifts, weight)


def table(**columns: Any) -> Table:
    """Table of columns in memory, real numbers in single precision as in NanoAOD; ``Jet__pt`` stands for ``Jet.pt``."""
    return Table(ArraySource({name.replace("__", "."): _single(values) for name, values in columns.items()}))


def _single(values: Any) -> ak.Array:
    array = ak.Array(values)
    return ak.values_astype(array, "float32") if "float64" in str(array.type) else array
