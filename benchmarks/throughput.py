"""From NanoAOD to the AGC's histograms under all shifts, without machine learning: our stages against coffea's Runner.

Both read the same generated file on one core, in turns; the coffea side does what the AGC's reference does, one pass
of selection and observables per kinematic shift over virtual arrays, and fills the same histograms.

    python -m benchmarks.throughput [events] [rounds]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import awkward as ak
import numpy as np
from coffea import processor
from coffea.nanoevents import NanoAODSchema
from hist import Hist, axis, storage

from analysis.columnar.histograms import fill
from analysis.columnar.producers import OBSERVABLES, WEIGHTS, produced_columns, reduced_columns
from analysis.columnar.select import reduce, select
from analysis.columnar.sources import NanoAODSource, ParquetSource, write_parquet
from analysis.columnar.table import Table
from analysis.config import REGIONS, get_campaign, histogram_shifts
from analysis.config.variables import OBSERVABLES as FITTED
from analysis.generator import write_nanoaod

CAMPAIGN = get_campaign("agc_2015")
DATASET = CAMPAIGN.datasets["ttbar"]
SHIFTS = histogram_shifts(DATASET)


def ours(path: Path, folder: Path) -> dict[str, Hist[Any]]:
    """The stages with their files in between, as the tasks run them."""
    passes = [shift for shift in SHIFTS if shift.kind != "weight"]
    selection = select(Table(NanoAODSource(str(path))), DATASET, passes)
    write_parquet(selection.selected, folder / "selection.parquet")
    columns = [c for c in reduced_columns(DATASET, CAMPAIGN) if c not in {"Jet.parton", "Jet.qgl"}]
    events = reduce(Table(NanoAODSource(str(path))), ak.from_parquet(folder / "selection.parquet"), columns)
    write_parquet(events, folder / "events.parquet")
    tables = {}
    for group, shift in [*((OBSERVABLES, s) for s in passes), (WEIGHTS, passes[0])]:
        table = Table(ParquetSource(folder / "events.parquet")).shifted(shift)
        target = folder / f"{group}_{shift.name}.parquet"
        write_parquet(table.records(produced_columns(group, DATASET)), target)
        tables[group, shift.name] = Table(ParquetSource(target))
    observed = {shift.name: tables[OBSERVABLES, shift.name] for shift in passes}
    weights = tables[WEIGHTS, "nominal"]
    return {v.name: fill(v, REGIONS[v.region], observed, weights, SHIFTS, 1.0) for v in FITTED}


class Reference(processor.ProcessorABC):  # type: ignore[misc]
    """One pass per kinematic shift over coffea's events."""

    def process(self, events: Any) -> dict[str, Hist[Any]]:
        """Histograms of one chunk."""
        names = [shift.name for shift in SHIFTS]
        result = {
            v.name: Hist(
                axis.StrCategory(names, name="shift"),
                axis.Regular(v.bins, v.start, v.stop, name=v.name),
                storage=storage.Weight(),
            )
            for v in FITTED
        }
        scale = {"nominal": lambda _: 1.0, "pt_scale_up": lambda _: 1.03, "pt_res_up": self._smear}
        for name, factor in scale.items():
            self._fill(events, name, factor(events), result)
        return result

    @staticmethod
    def _smear(events: Any) -> Any:
        counts = ak.num(events.Jet.pt)
        return ak.unflatten(np.random.default_rng(1).normal(1.0, 0.05, int(ak.sum(counts))), counts)

    @staticmethod
    def _fill(events: Any, shift: str, factor: Any, result: dict[str, Hist[Any]]) -> None:
        e, m, j = events.Electron, events.Muon, events.Jet
        e = e[(e.pt > 30) & (abs(e.eta) < 2.1) & (e.cutBased == 4) & (e.sip3d < 4)]
        m = m[(m.pt > 30) & (abs(m.eta) < 2.1) & m.tightId & (m.sip3d < 4) & (m.pfRelIso04_all < 0.15)]
        j = ak.with_field(j, j.pt * factor, "pt")
        j = j[(j.pt > 30) & (abs(j.eta) < 2.4) & ((j.jetId & 4) != 0)]
        n_b = ak.sum(j.btagCSVV2 > 0.5, axis=1)
        selected = (ak.num(e) + ak.num(m) == 1) & (ak.num(j) >= 4)
        for variable, tags in (("ht", n_b == 1), ("trijet_mass", n_b >= 2)):
            jets = j[selected & tags]
            if variable == "ht":
                values = ak.sum(jets.pt, axis=1)
            else:
                trijets = ak.combinations(jets, 3, fields=["a", "b", "c"])
                p4 = trijets.a + trijets.b + trijets.c
                tag = np.maximum(np.maximum(trijets.a.btagCSVV2, trijets.b.btagCSVV2), trijets.c.btagCSVV2)
                p4 = p4[tag > 0.5]
                values = ak.flatten(p4[ak.argmax(p4.pt, axis=1, keepdims=True)].mass)
            result[variable].fill(shift, values)
            if shift == "nominal":
                for i in range(4):
                    for direction, sign in (("up", 1), ("down", -1)):
                        weight = 1 + sign * 0.075 * jets.pt[:, i] / 50
                        result[variable].fill(f"btag_var_{i}_{direction}", values, weight=weight)

    def postprocess(self, accumulator: Any) -> Any:
        """Nothing is left to do."""
        return accumulator


def theirs(path: Path, events: int) -> dict[str, Hist[Any]]:
    """The same by coffea's Runner."""
    run = processor.Runner(processor.IterativeExecutor(status=False), schema=NanoAODSchema, chunksize=events)
    result: dict[str, Hist[Any]] = run({"ttbar": [str(path)]}, processor_instance=Reference(), treename="Events")
    return result


def cpu(function: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and its result."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def main(events: int = 400_000, rounds: int = 5) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "ttbar.root"
        write_nanoaod(path, "ttbar", events, seed=1)
        times: dict[str, list[float]] = {"ours": [], "coffea": []}
        for turn in range(rounds + 1):
            mine, a = cpu(lambda: ours(path, folder))
            other, b = cpu(lambda: theirs(path, events))
            for variable in a:
                counts = [h[variable][{"shift": "nominal"}].sum(flow=True).value for h in (a, b)]
                assert counts[0] == counts[1], (variable, counts)
            if turn:  # the first turn warms up
                times["ours"].append(mine)
                times["coffea"].append(other)
    for side, seconds in times.items():
        print(f"{side:7s} {median(seconds):6.2f} CPU s, {events / median(seconds) / 1000:6.0f} k events/s")
    ratios = [b / a for a, b in zip(times["ours"], times["coffea"], strict=True)]
    print(f"ratio coffea / ours: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {rounds} rounds)")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
