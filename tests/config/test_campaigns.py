"""Campaigns: those that come with the project, and those of users with their mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.config import BUILTIN, PROCESSES, ConfigurationError, get_campaign, parameter_values
from analysis.config.types import Campaign, InputFile
from analysis.generator import DATASETS

AGC_FILES = {
    "ttbar": (243, 276_079_127),
    "ttbar_scaledown": (32, 39_329_663),
    "ttbar_scaleup": (33, 38_424_467),
    "ttbar_ME_var": (16, 19_098_219),
    "ttbar_PS_var": (15, 19_337_064),
    "single_top_s_chan": (6, 2_867_199),
    "single_top_t_chan": (90, 109_305_936),
    "single_top_tW": (3, 1_999_400),
    "wjets": (349, 433_719_099),
}


def content(**changes: Any) -> dict[str, Any]:
    """A small valid campaign."""
    dataset = {"cross_section": 729.84, "files": ["b.root", "a.root", {"path": "root://host//c.root", "entries": 7}]}
    return {"name": "mine", "luminosity": 1000.0, "datasets": {"ttbar": dataset}, **changes}


def load(folder: Path, campaign: Any, name: str = "campaign.yaml", files: int = 0) -> Campaign:
    path = folder / name
    path.write_text(campaign if isinstance(campaign, str) else yaml.safe_dump(campaign, sort_keys=False))
    get_campaign.cache_clear()
    return get_campaign(str(path), files)


def changed(**changes: Any) -> dict[str, Any]:
    """The campaign with changes of its one data set; ``None`` takes a key away."""
    result = content()
    entry = result["datasets"]["ttbar"] | changes
    result["datasets"]["ttbar"] = {key: value for key, value in entry.items() if value is not None}
    return result


def message(folder: Path, campaign: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, campaign)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(folder), "HERE")


def test_the_agc_has_all_its_files_and_events() -> None:
    campaign = get_campaign("agc_2015")
    found = {d.name: (len(d.files), sum(f.entries or 0 for f in d.files)) for d in campaign.datasets.values()}
    assert found == AGC_FILES
    assert sum(files for files, _ in found.values()) == 787
    assert sum(events for _, events in found.values()) == 940_160_174


def test_the_agc_is_described_as_specified() -> None:
    campaign = get_campaign("agc_2015")
    assert campaign.luminosity == 3378
    assert not campaign.muons_usable
    assert campaign.machine_learning
    assert not campaign.generated
    described = {d.name: (d.process, d.shift) for d in campaign.datasets.values()}
    assert described == {
        "ttbar": ("ttbar", "nominal"),
        "ttbar_scaledown": ("ttbar", "scaledown"),
        "ttbar_scaleup": ("ttbar", "scaleup"),
        "ttbar_ME_var": ("ttbar", "ME_var"),
        "ttbar_PS_var": ("ttbar", "PS_var"),
        "single_top_s_chan": ("single_top_s_chan", "nominal"),
        "single_top_t_chan": ("single_top_t_chan", "nominal"),
        "single_top_tW": ("single_top_tW", "nominal"),
        "wjets": ("wjets", "nominal"),
    }
    assert set(campaign.nominal()) == set(PROCESSES)


def test_the_agc_files_are_those_of_the_reference(test_data: Path) -> None:
    listed = json.loads((test_data / "agc" / "nanoaod_inputs.json").read_text())
    campaign = get_campaign("agc_2015")
    for process, variations in listed.items():
        for variation, entry in variations.items():
            name = process if variation == "nominal" else f"{process}_{variation}"
            if name in campaign.datasets:
                expected = sorted((file["path"], file["nevts"]) for file in entry["files"])
                assert [(f.path, f.entries) for f in campaign.datasets[name].files] == expected
    assert sum(len(v["files"]) for variations in listed.values() for v in variations.values()) == 787


@pytest.mark.parametrize("n", [1, 5, 10])
def test_the_first_files_of_each_data_set_of_the_agc(test_data: Path, n: int) -> None:
    listed = json.loads((test_data / "agc" / "nanoaod_inputs.json").read_text())
    few = get_campaign("agc_2015", n)
    for name, dataset in few.datasets.items():
        process = dataset.process
        first = listed[process][dataset.shift]["files"][:n]
        assert {f.path for f in dataset.files} == {f["path"] for f in first}, name
        assert sum(f.entries or 0 for f in dataset.files) == sum(f["nevts"] for f in first)


def test_the_demo_has_the_samples_of_the_agc() -> None:
    demo, agc = get_campaign("demo"), get_campaign("agc_2015")
    assert set(demo.datasets) == set(AGC_FILES)
    assert demo.generated
    assert demo.machine_learning
    assert demo.luminosity == agc.luminosity
    for name, dataset in demo.datasets.items():
        assert (dataset.process, dataset.shift) == (agc.datasets[name].process, agc.datasets[name].shift)
        assert all(file.path == "" and 0 < (file.entries or 0) <= demo.chunk_size for file in dataset.files)


def test_the_cross_sections_of_the_demo_are_those_of_the_agc() -> None:
    expected = {
        "ttbar": 396.87 + 332.97,
        "ttbar_scaleup": 729.84,
        "ttbar_scaledown": 729.84,
        "ttbar_ME_var": 729.84,
        "ttbar_PS_var": 729.84,
        "single_top_s_chan": 2.0268 + 1.2676,
        "single_top_t_chan": (36.993 + 22.175) / 0.252,
        "single_top_tW": 37.936 + 37.906,
        "wjets": 61457 * 0.252,
    }
    datasets = get_campaign("demo").datasets
    assert {name: dataset.cross_section for name, dataset in datasets.items()} == pytest.approx(expected, abs=1e-3)


def test_the_demo_is_split_into_even_files_of_at_most_one_chunk() -> None:
    sizes = {d.name: [f.entries for f in d.files] for d in get_campaign("demo").datasets.values()}
    assert sizes["ttbar"] == [15_000] * 4
    assert sizes["ttbar_ME_var"] == [12_500] * 2
    assert sizes["single_top_s_chan"] == [10_000]
    assert sum(map(len, sizes.values())) == 19
    assert sum(entries or 0 for files in sizes.values() for entries in files) == 250_000
    few = get_campaign("demo", 1).datasets
    assert {name: [f.entries for f in d.files] for name, d in few.items()} == {n: f[:1] for n, f in sizes.items()}


def test_the_generator_knows_the_data_sets_of_the_demo() -> None:
    assert set(get_campaign("demo").datasets) == set(DATASETS)


def test_the_demo_is_known_without_the_generator() -> None:
    code = "import sys; from analysis.config import get_campaign; get_campaign('demo'); "
    code += "sys.exit('analysis.generator' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_campaign_from_yaml(tmp_path: Path) -> None:
    campaign = load(tmp_path, content(label="my events", chunk_size=10))
    dataset = campaign.datasets["ttbar"]
    assert (campaign.luminosity, campaign.energy, campaign.label, campaign.chunk_size) == (1000, 13, "my events", 10)
    assert (dataset.name, dataset.process, dataset.shift, dataset.cross_section) == (
        "ttbar",
        "ttbar",
        "nominal",
        729.84,
    )
    assert dataset.filter_efficiency == 1
    assert not dataset.is_data
    assert not campaign.machine_learning


def test_files_are_sorted_and_relative_to_the_campaign_file(tmp_path: Path) -> None:
    dataset = load(tmp_path, content()).datasets["ttbar"]
    assert dataset.files == (
        InputFile(str(tmp_path / "a.root")),
        InputFile(str(tmp_path / "b.root")),
        InputFile("root://host//c.root", 7),
    )


def test_relative_paths_may_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    dataset = load(tmp_path / "sub", changed(files=["../x.root", "/data/y.root"])).datasets["ttbar"]
    assert {f.path for f in dataset.files} == {str(tmp_path / "x.root"), "/data/y.root"}


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_first_files_in_the_listed_order_are_kept(tmp_path: Path, n: int) -> None:
    listed = [f"{name}.root" for name in "dacb"]
    dataset = load(tmp_path, changed(files=listed), files=n).datasets["ttbar"]
    assert [Path(f.path).name for f in dataset.files] == sorted(listed[:n])


def test_a_negative_number_of_files() -> None:
    with pytest.raises(
        ConfigurationError, match=r"--files-per-dataset is -1, but must be 0 \(all files\) or a positive"
    ):
        get_campaign("agc_2015", -1)


def test_the_name_is_that_of_the_file_whatever_else_is_edited(tmp_path: Path) -> None:
    one, edited = load(tmp_path, content()), load(tmp_path, changed(cross_section=800.0), "edited.yaml")
    assert one.name == edited.name == "mine"
    assert one.datasets["ttbar"] != edited.datasets["ttbar"]


@pytest.mark.parametrize("name", ["", "my campaign", "a/b", "..", ".hidden"])
def test_a_name_that_is_no_folder_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid campaign: at name"):
        load(tmp_path, {**content(), "name": name})


def test_yaml_and_json_are_one_campaign(tmp_path: Path) -> None:
    assert load(tmp_path, json.dumps(content()), "campaign.json") == load(tmp_path, content())


@pytest.mark.parametrize(
    ("name", "process", "shift"),
    [
        ("ttbar", "ttbar", "nominal"),
        ("ttbar_ME_var", "ttbar", "ME_var"),
        ("ttbar_scaleup", "ttbar", "scaleup"),
        ("single_top_t_chan", "single_top_t_chan", "nominal"),
        ("dy", "dy", "nominal"),
        ("ttbar_private", "ttbar_private", "nominal"),
    ],
)
def test_process_and_shift_from_the_name_of_the_data_set(tmp_path: Path, name: str, process: str, shift: str) -> None:
    dataset = load(tmp_path, content(datasets={name: {"cross_section": 1.0, "files": ["a.root"]}})).datasets[name]
    assert (dataset.process, dataset.shift) == (process, shift)


def test_process_and_shift_may_be_given(tmp_path: Path) -> None:
    dataset = load(tmp_path, changed(process="wjets", shift="ME_var")).datasets["ttbar"]
    assert (dataset.process, dataset.shift) == ("wjets", "ME_var")


def test_data_need_no_cross_section(tmp_path: Path) -> None:
    campaign = load(tmp_path, changed(cross_section=None, is_data=True))
    assert campaign.datasets["ttbar"].is_data
    assert campaign.nominal() == {}


@pytest.mark.parametrize(
    ("campaign", "expected"),
    [
        (
            content(luminosty=1),
            "unknown key 'luminosty' in HERE/campaign.yaml at top level: did you mean 'luminosity'?",
        ),
        (changed(crosssection=1.0), "unknown key 'crosssection' in HERE/campaign.yaml at datasets.ttbar: did you mean"),
        (changed(files=[{"path": "a.root", "entires": 1}]), "at datasets.ttbar.files.0"),
        (changed(cross_section=None), "HERE/campaign.yaml: data set 'ttbar' has no cross_section: give it in pb"),
        (
            changed(cross_section=-1.0),
            "at datasets.ttbar.cross_section, -1.0 is less than or equal to the minimum of 0",
        ),
        (changed(cross_section="12 pb"), "at datasets.ttbar.cross_section, '12 pb' is not of type 'number'"),
        (changed(filter_efficiency=1.5), "at datasets.ttbar.filter_efficiency, 1.5 is greater than the maximum of 1"),
        (changed(files=[]), "at datasets.ttbar.files, [] should be non-empty"),
        (changed(files=None), "at datasets.ttbar, 'files' is a required property"),
        (
            changed(shift="ME_vr"),
            "unknown shift 'ME_vr' in HERE/campaign.yaml at datasets.ttbar: did you mean 'ME_var'?",
        ),
        (changed(shift="pt_scale_up"), "unknown shift 'pt_scale_up' in HERE/campaign.yaml at datasets.ttbar:"),
        (
            changed(files=["a.root", "b.root", "./a.root"]),
            "HERE/campaign.yaml: data set 'ttbar' lists HERE/a.root 2 times: ",
        ),
        (content(name="with blank"), "at name, 'with blank' does not match"),
        (content(name="../up"), "at name, '../up' does not match"),
        (content(luminosity=0), "at luminosity, 0 is less than or equal to the minimum of 0"),
        (content(chunk_size=0), "at chunk_size, 0 is less than the minimum of 1"),
        (content(datasets={}), "at datasets, {} should be non-empty"),
        ({"name": "mine", "datasets": content()["datasets"]}, "at top level, 'luminosity' is a required property"),
        (
            "just words",
            "HERE/campaign.yaml is not a valid campaign: at top level, 'just words' is not of type 'object'",
        ),
        ("", "HERE/campaign.yaml is not a valid campaign: at top level, None is not of type 'object'"),
        ("a: [1", "campaign file HERE/campaign.yaml is not valid YAML:"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, campaign: Any, expected: str) -> None:
    assert expected in message(tmp_path, campaign)


def test_a_campaign_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"campaign file .*none\.yaml cannot be read \(No such file or directory\)"
    ):
        get_campaign(str(tmp_path / "none.yaml"))


def test_an_unknown_campaign() -> None:
    with pytest.raises(ConfigurationError, match="unknown campaign 'agc_2016': did you mean 'agc_2015'"):
        get_campaign("agc_2016")


def test_completion_offers_what_exists() -> None:
    values = parameter_values()
    assert BUILTIN == ("demo", "agc_2015")
    assert set(BUILTIN) <= set(values["campaign"])
    assert set(values["dataset"]) == set(AGC_FILES)
