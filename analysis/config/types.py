"""The nouns of the analysis, as frozen dataclasses.

They are plain values: comparable, hashable where their parts are, cheap to import, and equal in every process. Reads of
their fields are recorded on demand, see :mod:`analysis.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from analysis.settings import Settings, untracked

ShiftKind = Literal["nominal", "kinematic", "weight", "sample"]
"""How a systematic variation enters: redo the selection, reuse it with other weights, or read another data set."""


@dataclass(frozen=True)
class Process(Settings):
    """A physics process, drawn and fitted as one.

    Args:
        name: identifier, part of histogram names.
        label: text for legends and tables (mathtext).
        sample: name of the sample in the statistical model.
        color: fill colour in stacked plots.
    """

    name: str
    label: str
    sample: str
    color: str


@dataclass(frozen=True)
class Region(Settings):
    """A set of events, chosen by a boolean column.

    Args:
        name: identifier, part of histogram names.
        label: text for plots.
        column: boolean column that is true for events of the region.
    """

    name: str
    label: str
    column: str


@dataclass(frozen=True)
class SelectionStep(Settings):
    """One row of the cutflow: events for which ``column`` and all earlier steps are true."""

    identity_field: ClassVar[str] = "column"

    label: str
    column: str


@dataclass(frozen=True)
class Variable(Settings):
    """A quantity that is histogrammed in one region, with regular bins; under- and overflow are kept.

    Args:
        name: identifier; the value of ``--variable``.
        column: the column that is filled.
        region: name of the region it is filled in.
        bins: number of bins.
        start: lower edge of the first bin.
        stop: upper edge of the last bin.
        label: axis label (mathtext), without unit.
        unit: unit of the axis, empty if it has none.
        needs_model: whether the column comes from the trained classifier.
    """

    name: str
    column: str
    region: str
    bins: int
    start: float
    stop: float
    label: str
    unit: str = ""
    needs_model: bool = False

    @property
    def axis_label(self) -> str:
        """Label with the unit in brackets."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True)
class Shift(Settings):
    """A systematic variation.

    Args:
        name: identifier, the suffix of histogram names, the value of ``--shift``.
        kind: how it enters, see :data:`ShiftKind`.
        label: text for plots.
        processes: processes it applies to; empty for all.
        replaces: for kinematic shifts, which column is replaced by which other column.
        weight: for weight shifts, the column that multiplies the event weight.
    """

    name: str
    kind: ShiftKind
    label: str
    processes: tuple[str, ...] = ()
    replaces: tuple[tuple[str, str], ...] = ()
    weight: str = ""

    @untracked
    def applies_to(self, process: str) -> bool:
        """Whether the variation is defined for a process."""
        return not self.processes or process in self.processes


@dataclass(frozen=True)
class InputFile:
    """A file of a data set.

    Args:
        path: local path or URL; empty if the campaign generates the file itself.
        entries: number of events as declared by the campaign; ``None`` if it does not say.
    """

    path: str
    entries: int | None = None


@dataclass(frozen=True)
class Dataset(Settings):
    """A sample of events of one process, nominal or varied.

    Args:
        name: identifier; the value of ``--dataset``.
        process: name of the process.
        shift: ``"nominal"`` or the sample variation it stands for.
        files: the input files, sorted by path.
        cross_section: [pb]; ``None`` for data.
        filter_efficiency: fraction of the cross section that the generator kept.
        is_data: collision data: no generator columns, no weights, no shifts.
    """

    name: str
    process: str
    shift: str
    files: tuple[InputFile, ...]
    cross_section: float | None = None
    filter_efficiency: float = 1.0
    is_data: bool = False


@dataclass(frozen=True)
class Campaign(Settings):
    """One set of input files with its metadata.

    Args:
        name: identifier; part of every store path.
        luminosity: integrated luminosity [1/pb].
        energy: centre-of-mass energy [TeV].
        datasets: data sets by name, in the order they are declared.
        chunk_size: largest number of events that one branch of the selection reads.
        generated: whether the files are made by ``GenerateEvents``.
        machine_learning: whether the classifier is trained and applied.
        label: text for the corner of plots.
        muons_usable: whether the muon identification flags of the files can be trusted.
    """

    name: str
    luminosity: float
    energy: float
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    chunk_size: int = 500_000
    generated: bool = False
    machine_learning: bool = False
    label: str = ""
    muons_usable: bool = True

    @untracked
    def nominal(self) -> dict[str, Dataset]:
        """Nominal simulated data sets by process name."""
        return {d.process: d for d in self.datasets.values() if d.shift == "nominal" and not d.is_data}


@dataclass(frozen=True)
class FitRegion(Settings):
    """A region of the statistical model: a variable, re-binned.

    Args:
        name: name of the channel.
        variable: name of the histogrammed variable.
        edges: bin edges of the fit; each is an edge of the variable's own binning, what lies outside is dropped.
    """

    name: str
    variable: str
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Systematic(Settings):
    """A nuisance parameter of the statistical model.

    Args:
        name: name of the parameter.
        up: shift that makes the upward template; empty for a pure normalisation.
        down: shift that makes the downward template; empty to mirror the upward one.
        processes: processes it acts on; empty for all.
        normalization: relative size of a pure normalisation uncertainty.
    """

    name: str
    up: str = ""
    down: str = ""
    processes: tuple[str, ...] = ()
    normalization: float = 0.0


@dataclass(frozen=True)
class StatisticalModel(Settings):
    """What is fitted to what.

    Args:
        measurement: name of the measurement.
        parameter_of_interest: name of the free normalisation factor.
        signal: process it scales.
        regions: the channels.
        systematics: the nuisance parameters.
        bounds: allowed range of the parameter of interest.
        pseudodata: data sets whose mean stands for the signal in pseudo-data.
        pseudodata_backgrounds: processes added to it.
    """

    measurement: str
    parameter_of_interest: str
    signal: str
    regions: tuple[FitRegion, ...]
    systematics: tuple[Systematic, ...]
    bounds: tuple[float, float]
    pseudodata: tuple[str, ...]
    pseudodata_backgrounds: tuple[str, ...]

    identity_field: ClassVar[str] = "measurement"
