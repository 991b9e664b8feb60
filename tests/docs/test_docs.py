"""What README and docs say is true: links, commands, campaigns."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

import analysis.tasks
from analysis.columnar.column import leaves
from analysis.columnar.producers import reduced_columns
from analysis.config import PROCESSES, SHIFTS, VARIABLES, ConfigurationError, check_known, get_campaign
from analysis.config.campaigns import BUILTIN, validate
from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.htcondor import HTCondorSettings
from analysis.engine.backends.settings import BatchSettings, batch_settings
from analysis.engine.backends.slurm_script import SlurmSettings
from analysis.engine.policy import StalePolicy
from analysis.engine.storage import settings as storage_settings
from analysis.engine.storage.interfaces import CHOICES
from analysis.engine.storage.reading import InputSettings, input_settings
from analysis.engine.storage.refresh import CredentialSettings, credential_settings
from analysis.engine.storage.settings import LocalSettings, RemoteSettings
from analysis.engine.storage.xcache import XCacheSettings, xcache_settings

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
SOURCES = [*PAGES, REPOSITORY / "docs" / "analysis.ipynb"]
RUN_OPTIONS = {"--workers", "--local-scheduler", "--scheduler-host", "--scheduler-port", "--scheduler-url"}
MADE_IN_THE_TUTORIAL = ("lepton_eta", "st")
MISSPELT = "ttbra"
"""Stands in the docs for a mistake."""

CAMPAIGNS = (REPOSITORY / "docs" / "campaigns.md").read_text()


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def code_lines(page: Path) -> list[str]:
    """Lines of indented and fenced blocks, and code within lines."""
    text = page.read_text()
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
    unfenced = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", unfenced)]
    return [*"\n".join(fenced).splitlines(), *indented, *inline]


def commands(page: Path) -> list[list[str]]:
    """Arguments of each ``law run`` with a task."""
    found = []
    for line in code_lines(page):
        for command in re.findall(r"\blaw run ([A-Z]\w+[^&;|]*)", line):
            arguments = shlex.split(command, comments=True)
            found.append([argument for argument in arguments if not argument.startswith(("<", "["))])
    return found


ALL_COMMANDS = [(name(page), command) for page in PAGES for command in commands(page)]


def fenced(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_there_is_something_to_test() -> None:
    assert {"README.md", "docs/tutorial.md", "docs/campaigns.md", "docs/staleness.md"} <= {
        page for page, _ in ALL_COMMANDS
    }
    assert len(ALL_COMMANDS) > 25


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target or target.startswith("#"):
            continue
        assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_paths_exist(page: Path) -> None:
    for path in re.findall(r"`((?:analysis|tests|docs|sandboxes)/[\w./]+)`", page.read_text()):
        assert (REPOSITORY / path).exists(), path


def options_of(arguments: list[str]) -> dict[str, str]:
    """Value of each option; empty for the last one if it has none."""
    return {option: value for option, value in pairwise([*arguments, ""]) if option.startswith("--")}


@pytest.mark.parametrize(("page", "command"), ALL_COMMANDS, ids=lambda x: x if isinstance(x, str) else " ".join(x))
def test_commands_are_tasks_with_these_parameters(page: str, command: list[str]) -> None:
    family, *arguments = command
    assert family in analysis.tasks.__all__, f"{page}: there is no task {family}"
    task: Any = getattr(analysis.tasks, family)
    options = options_of(arguments)
    known = {f"--{parameter.replace('_', '-')}" for parameter, _ in task.get_params()} | RUN_OPTIONS
    assert options.keys() <= known
    assert set(options.get("--variables", "ht").split(",")) <= {*VARIABLES, *MADE_IN_THE_TUTORIAL}
    assert options.get("--shift", "nominal") in SHIFTS
    assert options.get("--process", "ttbar") in PROCESSES

    campaign, dataset = options.get("--campaign", "demo"), options.get("--dataset", "ttbar")
    if campaign.endswith(".yaml"):
        return
    assert campaign in BUILTIN
    datasets = get_campaign(campaign).datasets
    if dataset != MISSPELT:
        assert dataset in datasets
        assert int(options.get("--branch", 0)) < len(datasets[dataset].files)


@pytest.mark.parametrize("family", sorted(analysis.tasks.__all__))
def test_every_task_is_in_the_architecture(family: str) -> None:
    assert f"`{family}`" in (REPOSITORY / "docs" / "architecture.md").read_text()


def test_every_module_of_the_engine_is_in_the_architecture() -> None:
    table = (REPOSITORY / "docs" / "architecture.md").read_text().partition("The modules of `engine`:")[2]
    named = set(re.findall(r"`(\w+)`", table.partition("*Planned:*")[0]))
    modules = {path.stem for path in (REPOSITORY / "analysis" / "engine").rglob("[a-z]*.py")}
    assert modules <= named


def test_settings_of_jobs_are_documented() -> None:
    """Those of all sites in law.cfg, at their defaults; those of one batch system, and failures, on the page."""
    written = configparser.ConfigParser(delimiters=(":",), allow_no_value=True, interpolation=None)
    written.read(REPOSITORY / "law.cfg")
    assert set(written["batch"]) == {field.name for field in fields(BatchSettings)}
    assert batch_settings() == BatchSettings()
    page = (REPOSITORY / "docs" / "batch.md").read_text()
    for field in (*fields(HTCondorSettings), *fields(SlurmSettings)):
        assert field.name in ("extra", "shared_filesystem") or f"`{field.name}`" in page
    for word in FailureClass:
        assert f"| `{word}` |" in page
    for profile in (REPOSITORY / "profiles").glob("*.cfg"):
        assert f"| `{profile.stem}` |" in page


def written_in_law_cfg(section: str) -> dict[str, str]:
    written = configparser.ConfigParser(delimiters=(":",), allow_no_value=True, interpolation=None)
    written.read(REPOSITORY / "law.cfg")
    return {option: value or "" for option, value in written[section].items()}


@pytest.mark.parametrize(
    ("section", "kind", "read"),
    [
        ("inputs", InputSettings, input_settings),
        ("xcache", XCacheSettings, xcache_settings),
        ("credentials", CredentialSettings, credential_settings),
    ],
)
def test_settings_of_storage_are_in_law_cfg(section: str, kind: Any, read: Callable[[], Any]) -> None:
    """All of them, at their defaults; and on a page."""
    assert set(written_in_law_cfg(section)) == {field.name for field in fields(kind)}
    assert read() == kind()
    pages = "".join((REPOSITORY / "docs" / page).read_text() for page in ("storage.md", "credentials.md"))
    for field in fields(kind):
        assert re.search(rf"\b{field.name}\b", pages), field.name


def test_settings_of_stores_are_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on servers in law.cfg, at its defaults, and each of its options on the page; it has no address yet."""
    assert written_in_law_cfg("outputs") == {"default": "local"}
    written = written_in_law_cfg("wlcg_fs")
    assert written["base"] == ""
    url = "root://host.example.org//store/jane"
    monkeypatch.setattr(storage_settings, "_items", {"wlcg_fs": {**written, "base": url}, "_wlcg_fs_defaults": {}}.get)
    assert storage_settings.remote_settings("wlcg_fs") == RemoteSettings(base=(url,))
    page = (REPOSITORY / "docs" / "storage.md").read_text()
    for field in fields(RemoteSettings):
        assert field.name in written
        assert f"`{field.name}`" in page
    for field in fields(LocalSettings):
        assert f"`{field.name}`" in page
    for word in (*get_args(storage_settings.Kind), *CHOICES, *get_args(storage_settings.ChecksumPolicy)):
        assert f"`{word}`" in page


@pytest.mark.parametrize("profile", sorted(path.stem for path in (REPOSITORY / "profiles").glob("*.cfg")))
def test_profiles_are_valid(profile: str) -> None:
    """In a process of their own, since law reads its configuration once."""
    code = (
        "import law; from analysis.engine.backends import registry, settings; settings.check_profile(); "
        "print(settings.batch_settings().max_memory, settings.profile_resources('X')[0].memory, "
        "registry.backend('htcondor').name, registry.backend('slurm').name)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ANALYSIS_PROFILE": profile, "LAW_CONFIG_FILE": str(REPOSITORY / "law.cfg")},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    memory = {"local": "16000000000", "lxplus": "24000000000", "naf": "32000000000", "slurm": "64000000000"}[profile]
    default = "1500000000" if profile == "naf" else "2000000000"
    assert said.stdout.split() == [memory, default, "htcondor", "slurm"]


def test_rules_for_stale_outputs_are_in_law_cfg() -> None:
    written = configparser.ConfigParser(delimiters=(":",), allow_no_value=True, interpolation=None)
    written.read(REPOSITORY / "law.cfg")
    assert dict(written["stale"]) == {"default": "rerun", "expensive_cpu_hours": "1"}
    comments = (REPOSITORY / "law.cfg").read_text().partition("[stale]")[2].partition("default:")[0]
    page = (REPOSITORY / "docs" / "staleness.md").read_text()
    for policy in get_args(StalePolicy):
        assert f"#   {policy} " in comments
        assert f"| `{policy}` |" in page


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_no_paths_of_a_machine(source: Path) -> None:
    text = re.sub(r"/tmp/(x509up|bt)_u<uid>", "", source.read_text())  # where the grid has them, on any machine
    assert not re.findall(r"(?<![\w.>])/(?:work|tmp|home|root|Users|nfs|afs)/[\w/.-]*", text)


@pytest.mark.parametrize("text", fenced("yaml", CAMPAIGNS), ids=lambda text: yaml.safe_load(text)["name"])
def test_campaign_examples_are_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    campaign = get_campaign(str(path))
    assert campaign.name.startswith(yaml.safe_load(text)["name"])
    assert all(dataset.is_data or dataset.process in PROCESSES for dataset in campaign.datasets.values())


def test_the_long_campaign_example_says_what_its_comments_say(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(fenced("yaml", CAMPAIGNS)[0])
    datasets = get_campaign(str(path)).datasets
    assert (datasets["ttbar_ME_var"].process, datasets["ttbar_ME_var"].shift) == ("ttbar", "ME_var")
    assert (datasets["ttbar_herwig"].process, datasets["ttbar_herwig"].shift) == ("ttbar", "PS_var")
    assert datasets["ttbar"].files[1].entries == 120_000
    assert datasets["ttbar"].files[0].path == str(tmp_path / "ttbar" / "nano_1.root")
    assert datasets["wjets"].files[0].path == "root://host.example.org//store/wjets/nano_1.root"


def test_every_key_of_the_schema_is_documented() -> None:
    with pytest.raises(ConfigurationError) as top:
        validate({"name": "x", "luminosity": 1, "datasets": {"a": {"files": ["x"]}}, "?": 0}, "my.yaml")
    with pytest.raises(ConfigurationError) as inner:
        validate({"name": "x", "luminosity": 1, "datasets": {"a": {"files": ["x"], "?": 0}}}, "my.yaml")
    for error in (top, inner):
        for key in str(error.value).partition("Known are ")[2].split(", "):
            assert f"\n| `{key}` |" in CAMPAIGNS, key


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ({"files": ["nano.root"], "crosssection": 1}, "crosssection"),
        ({"files": ["nano.root"], "cross_section": 1, "shift": "ME_vra"}, "ME_vra"),
        ({"files": ["nano.root"]}, "has no cross_section"),
        ({"files": [{"path": "nano.root", "entires": 1}], "cross_section": 1}, "entires"),
        ({"files": ["/data/nano.root", "/data/nano.root"], "cross_section": 1}, "2 times"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_documented_mistakes_are_answered_as_documented(
    content: dict[str, Any], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(yaml.safe_dump({"name": "x", "luminosity": 1, "datasets": {"ttbar": content}}))
    with pytest.raises(ConfigurationError, match=key) as error:
        get_campaign("my.yaml")
    assert f"    ConfigurationError: {error.value}\n" in CAMPAIGNS


def test_documented_misspelt_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    datasets = {"ttbar_scaelup": {"files": ["nano.root"], "cross_section": 1}}
    Path("my.yaml").write_text(yaml.safe_dump({"name": "x", "luminosity": 1, "datasets": datasets}))
    with pytest.raises(ConfigurationError, match="ttbar_scaelup") as error:
        get_campaign("my.yaml")
    assert f"    ConfigurationError: {error.value}\n" in CAMPAIGNS


def test_documented_mistake_on_the_command_line() -> None:
    with pytest.raises(ConfigurationError) as error:
        get_campaign("agc_2105")
    assert f"    ConfigurationError: {error.value}\n" in CAMPAIGNS
    with pytest.raises(ConfigurationError) as error:
        check_known("data set", "ttbra", ["ttbar"], "campaign my.yaml")
    assert f"    ConfigurationError: {error.value}\n" in CAMPAIGNS


def test_documented_columns_are_the_ones_that_are_read() -> None:
    section = CAMPAIGNS.partition("## Files")[2].partition("URLs")[0]
    documented: set[str] = set()
    collection = ""
    for word in re.findall(r"`(\w+)`", section.partition("columns that are read:")[2]):
        if word.endswith("_"):
            collection = word
        elif word[0].isupper():
            documented.add(word)
        elif word not in {"machine_learning", "ttbar", "genWeight"}:
            documented.add(collection + word)
    campaign = get_campaign("demo")
    needed = leaves(leaves(reduced_columns(campaign.datasets["ttbar"], campaign)))
    assert documented == {column.replace(".", "_") for column in needed}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_examples_are_python(page: Path) -> None:
    for text in fenced("python", page.read_text()):
        ast.parse(text)


def test_image_is_small() -> None:
    assert all(path.stat().st_size < 60_000 for path in (REPOSITORY / "docs" / "images").iterdir())
