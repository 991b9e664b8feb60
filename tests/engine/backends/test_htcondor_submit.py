from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.backends.base import Submission, SubmissionError
from analysis.engine.backends.htcondor_submit import description, environment
from analysis.engine.backends.resources import Resources

FOLDER = Path("/jobs/a b")
SUBMISSION = Submission("0a1b", 'all "x"', FOLDER, FOLDER / "job.sh", ("17:0a,18:1b", "19:2c"))


def text(extra: Mapping[str, str] | None = None, **changed: Any) -> str:
    submission = dataclasses.replace(SUBMISSION, **changed)
    return description(submission, queue_attribute="JobFlavour", shared_filesystem=False, extra=extra or {})


def lines(extra: Mapping[str, str] | None = None, **changed: Any) -> dict[str, str]:
    *pairs, last = text(extra, **changed).splitlines()
    assert last == "queue 2"
    return dict(pair.split(" = ", 1) for pair in pairs)


def test_whole() -> None:
    assert text() == (
        "argument_0 = 17:0a,18:1b\n"
        "argument_1 = 19:2c\n"
        "executable = /jobs/a b/job.sh\n"
        'arguments = "$(argument_$(Process))"\n'
        'environment = ""\n'
        "getenv = False\n"
        "initialdir = /jobs/a b\n"
        "output = job_$(Process).txt\n"
        "error = job_$(Process).txt\n"
        "log = events.log\n"
        "should_transfer_files = YES\n"
        "when_to_transfer_output = ON_EXIT\n"
        'transfer_output_files = ""\n'
        "notification = never\n"
        'batch_name = all "x"\n'
        'My.AnalysisToken = "0a1b"\n'
        "request_cpus = 1\n"
        "queue 2\n"
    )


def test_resources() -> None:
    resources = Resources(
        cores=4, memory=2 * 10**9, runtime=7200, disk=10**9 + 1, gpus=1, queue='long"', accounting_group="group_u.x"
    )
    found = lines(resources=resources)
    wanted = {
        "request_cpus": "4",
        "request_memory": "1908",  # 2e9 / 2^20 = 1907.3
        "request_disk": "976563",  # (1e9 + 1) / 2^10 = 976562.501
        "request_gpus": "1",
        "allowed_job_duration": "7200",
        "My.MaxRuntime": "7200",
        "My.JobFlavour": '"long\\""',
        "accounting_group": "group_u.x",
    }
    assert wanted.items() <= found.items()


@pytest.mark.parametrize(
    ("image", "shared", "stays"),
    [
        ("/images/el9.sif", True, True),
        ("/images/el9.sif", False, False),
        ("/cvmfs/unpacked.cern.ch/el9", False, True),
        ("docker://almalinux:9", False, False),
    ],
)
def test_container(image: str, shared: bool, stays: bool) -> None:
    submission = dataclasses.replace(SUBMISSION, resources=Resources(container=image))
    found = description(submission, queue_attribute="", shared_filesystem=shared, extra={})
    assert f"universe = container\ncontainer_image = {image}\n" in found
    assert ("transfer_container = False\n" in found) is stays


def test_extra_lines_have_the_last_word() -> None:
    found = lines({"request_cpus": "2", "+A": "1"}, resources=Resources(extra={"+A": "2", "requirements": "$(x)"}))
    assert (found["request_cpus"], found["+A"], found["requirements"]) == ("2", "2", "$(x)")


def test_inputs() -> None:
    assert lines(inputs=(Path("/x y/1"), Path("/z")))["transfer_input_files"] == "/x y/1, /z"
    with pytest.raises(SubmissionError, match="comma"):
        text(inputs=(Path("/x,y"),))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "'A=plain'"),
        ("two words", "'A=two words'"),
        ("it's", "'A=it''s'"),
        ('say "hi"', '\'A=say ""hi""\''),
        (r"a;b\c %d", r"'A=a;b\c %d'"),
        ("$(HOME)", "'A=$(DOLLAR)(HOME)'"),
        ("$$(Arch)", "'A=$$(DOLLARDOLLAR)(Arch)'"),
        ("$$$(x)", "'A=$$(DOLLARDOLLAR)$(DOLLAR)(x)'"),
        ("", "'A='"),
    ],
)
def test_environment(value: str, written: str) -> None:
    assert environment({"A": value}) == f'"{written}"'


def expand(written: str) -> str:
    """What HTCondor makes of a text: macros when it is read, then when a machine is found."""
    assert "$" not in written.replace("$$(DOLLARDOLLAR)", "").replace("$(DOLLAR)", "")
    assert "$(DOLLAR)$(DOLLAR)" not in written
    return written.replace("$$(DOLLARDOLLAR)", "\0").replace("$(DOLLAR)", "$").replace("\0", "$$")


@given(st.text(alphabet="$$$()'\" \\;xA", max_size=12))
def test_environment_arrives(value: str) -> None:
    written = environment({"A": value})
    words = written[1:-1].replace('""', '"')
    assert expand(words[1:-1].replace("''", "'")) == f"A={value}"


@pytest.mark.parametrize(
    "changed",
    [
        {"environment": {"A": "1\n2"}},
        {"environment": {"A": "$(dollar)"}},
        {"arguments": ("a b", "c")},
        {"arguments": ("$(x)", "c")},
        {"arguments": ("", "c")},
        {"folder": Path("/a$$b")},
        {"resources": Resources(extra={"a": "1\nqueue 1000"})},
    ],
)
def test_what_cannot_be_said(changed: dict[str, Any]) -> None:
    with pytest.raises(SubmissionError):
        text(**changed)


def test_name_is_for_people() -> None:
    assert lines(name=" a\n$$(x)  b ")["batch_name"] == "a $(DOLLAR)(x) b"
