"""Event selection: the steps of the cutflow and the regions of the measurement."""

from __future__ import annotations

from analysis.config.types import Region, SelectionStep

SELECTION: tuple[SelectionStep, ...] = (
    SelectionStep("exactly one lepton", "one_lepton"),
    SelectionStep("at least four jets", "four_jets"),
    SelectionStep("at least one b-tagged jet", "one_b_jet"),
)
"""Steps of the selection, each on top of the one before; an event is kept if it passes all."""

REGIONS: dict[str, Region] = {
    region.name: region
    for region in (
        Region("4j1b", r"$\geq 4$ jets, 1 b tag", "in_4j1b"),
        Region("4j2b", r"$\geq 4$ jets, $\geq 2$ b tags", "in_4j2b"),
    )
}
