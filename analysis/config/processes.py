"""Processes of the measurement, from the bottom of the stack to its top."""

from __future__ import annotations

from analysis.config.types import Campaign, Process
from analysis.settings import untracked

# fill colours: M. A. Petroff, "Accessible color sequences for data visualization", arXiv:2107.02270
PROCESSES: dict[str, Process] = {
    process.name: process
    for process in (
        Process("single_top_s_chan", "single top, $s$-channel", "single top, s-channel", "#b9ac70"),
        Process("single_top_t_chan", "single top, $t$-channel", "single top, t-channel", "#e76300"),
        Process("single_top_tW", "$tW$", "tW", "#a96b59"),
        Process("wjets", "$W$+jets", "W+jets", "#3f90da"),
        Process("ttbar", r"$t\bar{t}$", "ttbar", "#bd1f01"),
    )
}

_OTHER_COLOR = "#94a4a2"


@untracked
def process(name: str) -> Process:
    """Process of that name; one that the measurement does not know is drawn in grey under its own name."""
    return PROCESSES.get(name, Process(name, name.replace("_", " "), name, _OTHER_COLOR))


@untracked
def processes_of(campaign: Campaign) -> list[Process]:
    """Processes of the measurement, then those of a campaign's data sets that the measurement does not know."""
    names = dict.fromkeys(dataset.process for dataset in campaign.datasets.values())
    return [*PROCESSES.values(), *(process(name) for name in names if name not in PROCESSES)]
