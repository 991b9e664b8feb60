from __future__ import annotations

import json
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.config.processes import PROCESSES
from analysis.stats.published import PublishedHistogramError, event_weight, load_published_histograms
from analysis.templates import TemplateKey

if TYPE_CHECKING:
    from pathlib import Path

    from hist import Hist

EDGES = [50.0 + 20 * i for i in range(26)]
CROSS_SECTIONS = {
    "ttbar": 396.87 + 332.97,
    "single_top_s_chan": 2.0268 + 1.2676,
    "single_top_t_chan": (36.993 + 22.175) / 0.252,
    "single_top_tW": 37.936 + 37.906,
    "wjets": 61457 * 0.252,
}


def entry(contents: list[float], **more: Any) -> dict[str, Any]:
    return {"contents": contents + [0.0] * (27 - len(contents)), "edges": EDGES, **more}


def variances(histogram: Hist[Any]) -> list[float]:
    values: Any = histogram.variances(flow=True)
    return list(values.tolist())


def write(path: Path, content: Any) -> Path:
    path = path / "histograms.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_weight_is_found_over_all_regions(tmp_path: Path) -> None:
    path = write(tmp_path, {"4j1b_ttbar": entry([1.0, 2.0]), "4j2b_ttbar": entry([0.0, 1.5])})
    templates = load_published_histograms(path)
    # multiples of 0.5, which 4j1b alone would not tell
    assert templates[TemplateKey("ht", "ttbar")].values(flow=True)[:3].tolist() == [1.0, 2.0, 0.0]
    assert variances(templates[TemplateKey("ht", "ttbar")])[:3] == [0.5, 1.0, 0.0]
    assert variances(templates[TemplateKey("trijet_mass", "ttbar")])[1] == 0.75


def test_shifted_templates_use_the_nominal_weight(tmp_path: Path) -> None:
    path = write(tmp_path, {"4j1b_wjets": entry([4.0, 6.0]), "4j1b_wjets_btag_var_0_up": entry([4.1, 6.2])})
    shifted = load_published_histograms(path)[TemplateKey("ht", "wjets", "btag_var_0_up")]
    assert variances(shifted)[:2] == pytest.approx([8.2, 12.4])


def test_given_variances_are_used(tmp_path: Path) -> None:
    path = write(tmp_path, {"4j1b_wjets": entry([0.3, 0.7, 1.1234], variances=[0.1] * 27)})
    assert variances(load_published_histograms(path)[TemplateKey("ht", "wjets")]) == [0.1] * 27


def test_observed_events_have_their_number_as_variance(tmp_path: Path) -> None:
    path = write(tmp_path, {"4j2b_pseudodata": entry([0.3, 7.77])})
    templates = load_published_histograms(path)
    assert variances(templates[TemplateKey("trijet_mass", "pseudodata")])[:2] == [0.3, 7.77]


@given(
    st.lists(st.integers(0, 2_000_000), min_size=1, max_size=54).filter(lambda n: any(0 < k < 10_000 for k in n)),
    st.floats(1e-4, 1e3),
)
def test_weight_is_the_greatest_common_divisor(entries: list[int], weight: float) -> None:
    # sums of equal floats are rounded in their last digits
    contents = np.array(entries) * weight * (1 + 1e-14 * np.arange(len(entries)))
    assert event_weight(contents) == pytest.approx(gcd(*entries) * weight, rel=1e-9)


def test_empty_process_has_no_weight() -> None:
    assert event_weight(np.zeros(5)) == 0


@pytest.mark.parametrize("contents", [[1.0, np.pi], [-1.0, 2.0]])
def test_contents_that_are_no_multiples_are_refused(contents: list[float]) -> None:
    with pytest.raises(PublishedHistogramError, match=r"of W are not integer multiples .* \"variances\""):
        event_weight(np.array(contents), "W")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("no JSON", "cannot be read as JSON"),
        ([1, 2], "not a mapping"),
        ({"4j1b_ttbar": 3}, "not a mapping"),
        ({"4j1b_ttbar": {"contents": [0.0] * 27}}, "'4j1b_ttbar' .* has no key 'edges'"),
        ({"4j1b_ttbar": {"edges": EDGES}}, "has no key 'contents'"),
        ({"4j1b_ttbar": {"edges": EDGES, "contents": [0.0] * 25}}, "25 contents and 26 edges, expected are 27"),
        ({"4j1b_ttbar": {"edges": EDGES[1:], "contents": [0.0] * 27}}, "27 contents and 25 edges"),
        ({"4j1b_ttbar": {"edges": [e + 1 for e in EDGES], "contents": [0.0] * 27}}, "from 50 to 550"),
        ({"4j1b_ttbar": {"edges": EDGES, "contents": ["a"] * 27}}, "not lists of numbers"),
        ({"4j3b_ttbar": entry([1.0])}, "unknown histogram '4j3b_ttbar'"),
        ({"4j1b_zjets": entry([1.0])}, "unknown histogram '4j1b_zjets'"),
        ({"4j1b_ttbar_nothing": entry([1.0])}, "unknown histogram '4j1b_ttbar_nothing'"),
        ({"4j1b_ttbar": entry([1.0, np.sqrt(2)])}, "contents of ttbar in .* are not integer multiples"),
    ],
)
def test_malformed_files_are_refused_with_the_reason(tmp_path: Path, content: Any, what: str) -> None:
    with pytest.raises(PublishedHistogramError, match=what):
        load_published_histograms(write(tmp_path, content))


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PublishedHistogramError, match=r"nothing\.json"):
        load_published_histograms(tmp_path / "nothing.json")


@pytest.mark.parametrize(("files", "number"), [("1", 1), ("10", 10), ("all", None)])
@pytest.mark.parametrize("process", PROCESSES)
def test_weights_of_the_published_files(reference: Path, files: str, number: int | None, process: str) -> None:
    """The weight found in the contents is the one they were filled with: cross section, luminosity, events."""
    inputs = json.loads((reference.parent / "nanoaod_inputs.json").read_text())
    events = sum(file["nevts"] for file in inputs[process]["nominal"]["files"][:number])
    histograms = json.loads((reference / f"histos_{files}_file_per_process.json").read_text())
    contents = np.concatenate([histograms[f"{region}_{process}"]["contents"] for region in ("4j1b", "4j2b")])
    assert event_weight(contents) == pytest.approx(CROSS_SECTIONS[process] * 3378 / events, rel=1e-9)


def test_published_counts(reference: Path) -> None:
    templates = load_published_histograms(reference / "histos_all_file_per_process.json")
    assert len(templates) == 124
    totals = {
        process: [templates[TemplateKey(v, process)].values(flow=True).sum() for v in ("ht", "trijet_mass")]
        for process in PROCESSES
    }
    assert totals["ttbar"] == pytest.approx([23448.0, 52428.7], abs=0.05)
    assert totals["wjets"] == pytest.approx([5964.5, 1991.5], abs=0.05)
    assert totals["single_top_s_chan"] == pytest.approx([8.1, 18.8], abs=0.05)
