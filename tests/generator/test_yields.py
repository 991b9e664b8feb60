"""The generated events against the published histograms of the AGC."""

from __future__ import annotations

import json
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from analysis.config import get_campaign
from analysis.generator import generate_events

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

N_EVENTS = 25_000
N_JETS = 8
NOMINAL = ("ttbar", "single_top_s_chan", "single_top_t_chan", "single_top_tW", "wjets")
VARIATIONS = ("ttbar_scaleup", "ttbar_scaledown", "ttbar_ME_var", "ttbar_PS_var")


class Selected(NamedTuple):
    """Observables of selected events with an electron or muon, and how many of all have an electron."""

    observable: dict[str, FloatArray]
    electron_share: float
    one_lepton: float

    def yield_in(self, dataset: str, region: str) -> float:
        """Expected events with an electron; muons lend their statistics."""
        campaign = get_campaign("demo")
        entry = campaign.datasets[dataset]
        weight = (entry.cross_section or 0.0) * entry.filter_efficiency * campaign.luminosity / N_EVENTS
        return weight * len(self.observable[region]) * self.electron_share


@cache
def select(dataset: str) -> Selected:
    """The AGC's selection, written down a second time on padded arrays."""
    events = generate_events(dataset, N_EVENTS, seed=10)
    c = events.content
    electron = (c["Electron_pt"] > 30) & (np.abs(c["Electron_eta"]) < 2.1)
    electron &= (c["Electron_cutBased"] == 4) & (c["Electron_sip3d"] < 4)
    muon = (c["Muon_pt"] > 30) & (np.abs(c["Muon_eta"]) < 2.1) & c["Muon_tightId"]
    muon &= (c["Muon_sip3d"] < 4) & (c["Muon_pfRelIso04_all"] < 0.15)
    jet = (c["Jet_pt"] > 30) & (np.abs(c["Jet_eta"]) < 2.4) & (c["Jet_jetId"] & 4 > 0)
    numbers = np.arange(N_EVENTS)
    owner = {name: np.repeat(numbers, counts) for name, counts in events.counts.items()}
    n_electrons = np.bincount(owner["Electron"][electron], minlength=N_EVENTS)
    one = n_electrons + np.bincount(owner["Muon"][muon], minlength=N_EVENTS) == 1
    n_jets = np.bincount(owner["Jet"][jet], minlength=N_EVENTS)
    position = np.arange(jet.sum()) - np.repeat(np.cumsum(n_jets) - n_jets, n_jets)
    padded = np.zeros((5, N_EVENTS, 20))
    padded[:, owner["Jet"][jet], position] = [c[f"Jet_{f}"][jet] for f in ("pt", "eta", "phi", "mass", "btagCSVV2")]
    n_tags = (padded[4] > 0.5).sum(axis=1)
    control, signal = (one & (n_jets >= 4) & tags for tags in (n_tags == 1, n_tags >= 2))
    return Selected(
        {"4j1b": padded[0][control].sum(axis=1), "4j2b": trijet_mass(padded[:, signal, :N_JETS])},
        (n_electrons[control | signal] == 1).mean(),
        one.mean(),
    )


def trijet_mass(jets: FloatArray) -> FloatArray:
    pt, eta, phi, mass, tag = jets
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    p4 = np.stack([px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + mass**2)])
    best, result = np.full(len(pt), -1.0), np.zeros(len(pt))
    for three in map(list, combinations(range(N_JETS), 3)):
        x, y, z, e = p4[:, :, three].sum(axis=2)
        allowed = (pt[:, three].min(axis=1) > 0) & (tag[:, three].max(axis=1) > 0.5)
        better = allowed & (np.hypot(x, y) > best)
        best[better] = np.hypot(x, y)[better]
        result[better] = np.sqrt(np.maximum(e**2 - x**2 - y**2 - z**2, 0.0))[better]
    return result


@pytest.fixture(scope="module")
def published(test_data: Path) -> dict[str, FloatArray]:
    text = (test_data / "agc" / "reference" / "histos_all_file_per_process.json").read_text()
    return {name: np.array(histogram["contents"]) for name, histogram in json.loads(text).items()}


def mean_in_range(observable: FloatArray) -> float:
    return float(observable[(observable > 50) & (observable < 550)].mean())


@pytest.mark.parametrize("region", ["4j1b", "4j2b"])
@pytest.mark.parametrize("dataset", NOMINAL)
def test_yields_and_means_are_those_of_the_agc(published: dict[str, FloatArray], dataset: str, region: str) -> None:
    reference = published[f"{region}_{dataset}"]
    selected = select(dataset)
    assert selected.yield_in(dataset, region) == pytest.approx(reference.sum(), rel=0.2)
    centres = np.arange(60.0, 550.0, 20.0)
    mean = (reference[1:-1] * centres).sum() / reference[1:-1].sum()
    assert mean_in_range(selected.observable[region]) == pytest.approx(mean, rel=0.08)


@pytest.mark.parametrize("region", ["4j1b", "4j2b"])
@pytest.mark.parametrize("dataset", VARIATIONS)
def test_variations_change_the_yield_as_published(published: dict[str, FloatArray], dataset: str, region: str) -> None:
    reference = published[f"{region}_{dataset}"].sum() / published[f"{region}_ttbar"].sum()
    ratio = select(dataset).yield_in(dataset, region) / select("ttbar").yield_in("ttbar", region)
    assert ratio == pytest.approx(reference, abs=0.1)


def test_top_quark_peak() -> None:
    content = np.histogram(select("ttbar").observable["4j2b"], bins=np.arange(50.0, 551.0, 20.0))[0]
    assert np.argmax(content) in {5, 6}  # 150 to 190 GeV
    # a sixth to a third above half of the peak, as in the published histogram
    assert 3 <= (content > 0.5 * content.max()).sum() <= 5


def test_filtered_sample_keeps_other_events_for_the_cutflow() -> None:
    assert 0.35 < select("ttbar").one_lepton < 0.65
