"""The AGC's ttbar analysis, task v2, one event after the other in plain Python floats.

The columnar code is compared with it. The two share no code, and no library apart from uproot, which reads
the columns, and correctionlib, whose hash is the random number of a jet. It is slow, and meant to be checked by eye
against the specification: https://github.com/iris-hep/analysis-grand-challenge.
"""

from __future__ import annotations

import bisect
import functools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from pathlib import Path
from statistics import NormalDist
from typing import Any

import correctionlib
import uproot

Event = dict[str, Any]
"""One event, ``{"event": 12, "Jet_pt": [51.2, 34.0], ...}``."""

LUMINOSITY = 3378.0
CROSS_SECTION = {"ttbar": 396.87 + 332.97, "wjets": 61457 * 0.252}

COLLECTIONS = {
    "Jet": ("pt", "eta", "phi", "mass", "btagCSVV2", "qgl", "jetId"),
    "Electron": ("pt", "eta", "phi", "mass", "cutBased", "sip3d"),
    "Muon": ("pt", "eta", "phi", "mass", "tightId", "sip3d", "pfRelIso04_all"),
}
GENERATOR = ("pdgId", "genPartIdxMother", "statusFlags", "eta", "phi")

BINNING = {
    "ht": ("4j1b", 25, 50.0, 550.0),
    "trijet_mass": ("4j2b", 25, 50.0, 550.0),
    "lepton_pt": ("4j1b", 25, 25.0, 275.0),
    "n_jets": ("4j2b", 8, 3.5, 11.5),
}
"""Region, number of bins and range of each variable."""

KINEMATIC = ("nominal", "pt_scale_up", "pt_res_up")
B_TAG = tuple(f"btag_var_{i}_{direction}" for i in range(4) for direction in ("up", "down"))
W_SCALE = ("scale_var_up", "scale_var_down")


def shifts_of(process: str) -> tuple[str, ...]:
    """Variations of a nominal data set that are histogrammed from its own events."""
    return (*KINEMATIC, *B_TAG, *(W_SCALE if process == "wjets" else ()))


def read_events(path: Path, generator: bool = False) -> list[Event]:
    """All events of a file."""
    names = ["run", "luminosityBlock", "event"]
    names += [f"{collection}_{name}" for collection, members in COLLECTIONS.items() for name in members]
    names += [f"GenPart_{name}" for name in GENERATOR] if generator else []
    with uproot.open(path) as file:
        events: list[Event] = file["Events"].arrays(names).to_list()
    return events


@dataclass(frozen=True)
class Particle:
    """Four-momentum, in GeV."""

    pt: float
    eta: float
    phi: float
    mass: float


@dataclass(frozen=True)
class Jet(Particle):
    """A selected jet; ``index`` is its position among all jets of the event."""

    index: int
    b_tag: float
    qgl: float


def leptons(event: Event) -> list[Particle]:
    """Selected electrons, then selected muons."""
    return [
        *(
            _particle(event, "Electron", i)
            for i, pt in enumerate(event["Electron_pt"])
            if pt > 30
            and abs(event["Electron_eta"][i]) < 2.1
            and event["Electron_cutBased"][i] == 4
            and event["Electron_sip3d"][i] < 4
        ),
        *(
            _particle(event, "Muon", i)
            for i, pt in enumerate(event["Muon_pt"])
            if pt > 30
            and abs(event["Muon_eta"][i]) < 2.1
            and event["Muon_tightId"][i]
            and event["Muon_sip3d"][i] < 4
            and event["Muon_pfRelIso04_all"][i] < 0.15
        ),
    ]


def jets(event: Event, shift: str = "nominal") -> list[Jet]:
    """Selected jets under a shift, in stored order."""
    selected = []
    for i in range(len(event["Jet_pt"])):
        pt = _shifted_pt(event, i, shift)
        if pt > 30 and abs(event["Jet_eta"][i]) < 2.4 and event["Jet_jetId"][i] & 4:
            eta, phi, mass = (event[f"Jet_{name}"][i] for name in ("eta", "phi", "mass"))
            selected.append(Jet(pt, eta, phi, mass, i, event["Jet_btagCSVV2"][i], event["Jet_qgl"][i]))
    return selected


def region(event: Event, shift: str = "nominal") -> str:
    """The region an event falls into, empty if it falls into none."""
    selected = jets(event, shift)
    b_tagged = sum(jet.b_tag > 0.5 for jet in selected)
    if len(leptons(event)) != 1 or len(selected) < 4 or b_tagged == 0:
        return ""
    return "4j1b" if b_tagged == 1 else "4j2b"


def value(event: Event, variable: str, shift: str = "nominal") -> float:
    """Value of a variable in an event of its region."""
    selected = jets(event, shift)
    if variable == "ht":
        return sum(jet.pt for jet in selected)
    if variable == "trijet_mass":
        return mass(leading_trijet(selected))
    return leptons(event)[0].pt if variable == "lepton_pt" else float(len(selected))


def leading_trijet(selected: Sequence[Jet]) -> tuple[Jet, ...]:
    """The three jets, one of them b-tagged, whose sum has the largest transverse momentum; empty if there are none."""
    candidates = [c for c in combinations(selected, 3) if max(jet.b_tag for jet in c) > 0.5]
    return max(candidates, key=transverse_momentum, default=())


def weight_factor(event: Event, shift: str, process: str) -> float:
    """Factor of a weight variation on the weight of an event, 1 for other variations."""
    sign = 1 if shift.endswith("_up") else -1
    if shift in B_TAG:
        position, selected = int(shift.split("_")[2]), jets(event)
        return 1 + sign * 0.075 * selected[position].pt / 50 if position < len(selected) else 1.0
    return 1 + sign * 0.025 if shift in W_SCALE and process == "wjets" else 1.0


@dataclass
class Histogram:
    """Sums of weights and of squared weights, underflow first, overflow last."""

    values: list[float] = field(default_factory=list)
    variances: list[float] = field(default_factory=list)


def histogram(
    events: Iterable[Event], variable: str, shift: str, process: str, weight: float, resolution: str = "pt_res_up"
) -> Histogram:
    """Histogram of one variable under one shift; ``resolution`` says what ``pt_res_up`` is taken to mean."""
    where, bins, start, stop = BINNING[variable]
    edges = [start + i * (stop - start) / bins for i in range(bins + 1)]
    result = Histogram([0.0] * (bins + 2), [0.0] * (bins + 2))
    kinematic = {"pt_scale_up": "pt_scale_up", "pt_res_up": resolution}.get(shift, "nominal")
    for event in events:
        if region(event, kinematic) == where:
            w = weight * weight_factor(event, shift, process)
            position = bisect.bisect_right(edges, value(event, variable, kinematic))
            result.values[position] += w
            result.variances[position] += w * w
    return result


def assignments(n_jets: int) -> list[tuple[int, int, int, int]]:
    """Jets (W1, W2, hadronic b, leptonic b)."""
    return [(a, b, c, d) for a, b, c, d in permutations(range(n_jets), 4) if a > b]


def features(event: Event, max_jets: int = 6, shift: str = "nominal") -> Iterator[tuple[float, ...]]:
    """The 20 numbers by which the classifier ranks each assignment; azimuths wrapped, unlike in the AGC."""
    (lepton,), leading = leptons(event), jets(event, shift)[:max_jets]
    for assignment in assignments(len(leading)):
        w1, w2, b_had, b_lep = members = [leading[i] for i in assignment]
        yield (
            distance(lepton, b_lep),
            distance(w1, w2),
            distance(w1, b_had),
            distance(w2, b_had),
            mass((lepton, b_lep)),
            mass((w1, w2)),
            mass((w1, w2, b_had)),
            transverse_momentum((w1, w2, b_had)),
            *(jet.pt for jet in members),
            *(jet.b_tag for jet in members),
            *(jet.qgl for jet in members),
        )


def parton_labels(event: Event) -> list[int]:
    """Label of each jet: 24 from a W, 6 and -6 the b beside a hadronic and a leptonic W, 100 for all others."""
    quarks = [
        (event["GenPart_eta"][i], event["GenPart_phi"][i], quark_label(event, i))
        for i in range(len(event["GenPart_pdgId"]))
        if is_quark_of_top_or_w(event, i)
    ]
    labels = []
    for eta, phi in zip(event["Jet_eta"], event["Jet_phi"], strict=True):
        near = sorted((math.hypot(eta - q_eta, wrapped(phi - q_phi)), label) for q_eta, q_phi, label in quarks)
        labels.append(near[0][1] if near and near[0][0] < 0.4 else 100)
    return labels


def training_target(event: Event) -> int:
    """Position of the right assignment of the first four jets; -1 if the event is not learned from."""
    if region(event) != "4j2b":
        return -1
    labels = parton_labels(event)
    first = [labels[jet.index] for jet in jets(event)[:4]]
    if sum(first) != 48:
        return -1
    right = [i for i, a in enumerate(assignments(4)) if [first[j] for j in a] == [24, 24, 6, -6]]
    assert len(right) == 1
    return right[0]


def distinct_parent(event: Event, i: int) -> int:
    """Nearest ancestor of another kind, -1 if there is none."""
    mother: int = event["GenPart_genPartIdxMother"][i]
    while mother >= 0 and event["GenPart_pdgId"][mother] == event["GenPart_pdgId"][i]:
        mother = event["GenPart_genPartIdxMother"][mother]
    return mother


def is_quark_of_top_or_w(event: Event, i: int) -> bool:
    """Whether a particle is a quark, as it leaves the decay of a top or W."""
    parent = distinct_parent(event, i)
    last_copy = event["GenPart_statusFlags"][i] & (1 << 13)
    is_quark = 1 <= abs(event["GenPart_pdgId"][i]) <= 6
    return bool(is_quark and last_copy and parent >= 0 and abs(event["GenPart_pdgId"][parent]) in (6, 24))


def quark_label(event: Event, i: int) -> int:
    """Label of the jets that such a quark makes."""
    parent = distinct_parent(event, i)
    everything = range(len(event["GenPart_pdgId"]))
    children = [k for k in everything if distinct_parent(event, k) == parent]
    grandchildren = {abs(event["GenPart_pdgId"][k]) for k in everything if distinct_parent(event, k) in children}
    if grandchildren & {11, 13, 15, 17} and grandchildren & {12, 14, 16, 18}:
        return -6
    return abs(int(event["GenPart_pdgId"][parent]))


def wrapped(dphi: float) -> float:
    """Difference of azimuths between -pi and pi."""
    return math.remainder(dphi, 2 * math.pi)


def distance(a: Particle, b: Particle) -> float:
    """Distance in pseudorapidity and azimuth."""
    return math.sqrt((a.eta - b.eta) ** 2 + wrapped(a.phi - b.phi) ** 2)


def transverse_momentum(particles: Iterable[Particle]) -> float:
    """Transverse momentum of a sum."""
    x, y, _, _ = _sum(particles)
    return math.sqrt(x * x + y * y)


def mass(particles: Iterable[Particle]) -> float:
    """Invariant mass of a sum."""
    x, y, z, e = _sum(particles)
    return math.sqrt(max(e * e - x * x - y * y - z * z, 0))


def _sum(particles: Iterable[Particle]) -> tuple[float, float, float, float]:
    x = y = z = e = 0.0
    for p in particles:
        px, py, pz = p.pt * math.cos(p.phi), p.pt * math.sin(p.phi), p.pt * math.sinh(p.eta)
        x, y, z, e = x + px, y + py, z + pz, e + math.sqrt(px**2 + py**2 + pz**2 + p.mass**2)
    return x, y, z, e


def _particle(event: Event, collection: str, i: int) -> Particle:
    return Particle(*(event[f"{collection}_{name}"][i] for name in ("pt", "eta", "phi", "mass")))


def _shifted_pt(event: Event, i: int, shift: str) -> float:
    pt: float = event["Jet_pt"][i]
    if shift == "pt_scale_up":
        return pt * 1.03
    if shift == "pt_res_up":
        return pt * (1 + 0.05 * _normal_number(event["run"], event["luminosityBlock"], event["event"], i))
    if shift == "pt_res_up_root":
        return pt * (1 + 0.05 * NormalDist().inv_cdf(0.001 * (int(pt * 1000) % 1000) + 0.0005))
    return pt


def _normal_number(run: int, luminosity_block: int, event: int, jet: int) -> float:
    return float(_resolution().evaluate(2015.0, float(run), float(luminosity_block), float(event), float(jet)))


@functools.cache
def _resolution() -> Any:
    names = ["seed", "run", "luminosityBlock", "event", "jet"]
    definition = {
        "name": "jet_resolution",
        "version": 1,
        "inputs": [{"name": name, "type": "real"} for name in names],
        "output": {"name": "number", "type": "real"},
        "data": {"nodetype": "hashprng", "inputs": names, "distribution": "stdnormal"},
    }
    content = json.dumps({"schema_version": 2, "corrections": [definition]})
    return correctionlib.CorrectionSet.from_string(content)["jet_resolution"]
