from __future__ import annotations

from pathlib import Path

import pytest

from analysis.engine.backends import settings
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.settings import (
    BatchSettings,
    batch_settings,
    check_profile,
    jobs_folder,
    parse_resources,
    profile_resources,
    section,
)
from analysis.engine.errors import ParameterError
from tests.engine.backends.fake import configure

pytestmark = pytest.mark.usefixtures("no_configuration")


def test_nothing_said_is_the_default() -> None:
    assert batch_settings() == BatchSettings()


def test_options_are_read_as_what_they_are() -> None:
    configure("batch", max_memory="1.5 GB", job_length="10min", lost_after="01:00:00", memory_growth="1.5")
    configure("batch", shared_filesystem="no", queue_limit="7", forward_env="A,B")
    assert batch_settings() == BatchSettings(
        max_memory=1_500_000_000,
        job_length=600,
        lost_after=3600,
        memory_growth=1.5,
        shared_filesystem=False,
        queue_limit=7,
        forward_env="A,B",
    )


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("shared_filesystem", "maybe", "'maybe' is neither True nor False"),
        ("shared_filesystem", "", "'' is neither True nor False"),
        ("queue_limit", "many", "'many' is not a number"),
        ("queue_limit", "0", "0 is less than 1"),
        ("queue_limit", "-1", "-1 is less than 1"),
        ("fewest_jobs", "0", "0 is less than 1"),
        ("keep_logs", "0", "0 is less than 1"),
        ("parallel_workflows", "0", "0 is less than 1"),
        ("memory_growth", "2x", "'2x' is not a number"),
        ("max_memory", "2 parsecs", "'2 parsecs' is not a size: the unit is one of "),
        ("retry_delay", "-5s", "'-5s' is not a time such as"),
    ],
)
def test_wrong_value_is_one_sentence(option: str, value: str, reason: str) -> None:
    configure("batch", **{option: value})
    with pytest.raises(ParameterError) as caught:
        batch_settings()
    assert str(caught.value).startswith(f"law.cfg or the profile, section batch, {option}: {reason}")


def test_unknown_option_is_an_error() -> None:
    configure("batch", retires="3")
    with pytest.raises(ParameterError, match=r"section batch: there is no retires, only canary_patience, "):
        batch_settings()


def test_other_options_go_where_there_is_room_for_them() -> None:
    from analysis.engine.backends.htcondor import HTCondorSettings

    configure("htcondor", pool="cm.example.org", requirements="x == 1", extra="y")
    assert section("htcondor", HTCondorSettings, {}) == {
        "pool": "cm.example.org",
        "extra": {"requirements": "x == 1", "extra": "y"},
    }
    assert section("not_there", HTCondorSettings, {}) == {}


def test_resources_of_the_site_and_of_a_family() -> None:
    configure("resources", default="memory=4GB, runtime=3h", TrainModel=" cores = 4,,queue=long ")
    assert profile_resources("Other") == (Resources(cores=0, memory=4 * 10**9, runtime=10800), Resources(cores=0))
    assert profile_resources("TrainModel")[1] == Resources(cores=4, queue="long")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("memory", "'memory' is no resource: write NAME=VALUE with a name of accounting_group, container, cores"),
        ("memory=", "is no resource"),
        ("ram=2GB", "is no resource"),
        ("cores=two", "'cores=two': 'two' is not a number"),
        ("memory=2 miles", "is not a size"),
        ("runtime=soon", "is not a time"),
    ],
)
def test_wrong_resource_is_one_sentence(text: str, reason: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_resources(text)
    assert reason in str(caught.value)


def test_all_resources() -> None:
    text = "cores=2, memory=1GiB, runtime=1-00:00:10, disk=5GB, gpus=1, queue=q, accounting_group=a.b, container=/c.sif"
    assert parse_resources(text) == Resources(2, 2**30, 86410, 5 * 10**9, 1, "q", "a.b", "/c.sif")


def test_profile_has_to_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / f"{name}.cfg").touch()
    monkeypatch.setattr(settings, "PROFILES", tmp_path)
    monkeypatch.setenv("ANALYSIS_PROFILE", "here")
    check_profile()
    monkeypatch.setenv("ANALYSIS_PROFILE", "nowhere")
    with pytest.raises(ParameterError, match=r"^ANALYSIS_PROFILE is 'nowhere', .* use one of here, there, or add it$"):
        check_profile()


def test_place_of_submissions(no_configuration: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert jobs_folder() == no_configuration
    configure("job", job_file_dir="")
    monkeypatch.setenv("LAW_HOME", "/some/where")
    assert jobs_folder() == Path("/some/where/jobs")
    configure("job", job_file_dir="$LAW_HOME/elsewhere")
    assert jobs_folder() == Path("/some/where/elsewhere")
