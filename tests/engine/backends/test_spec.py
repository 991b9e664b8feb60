from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from luigi.cmdline_parser import CmdlineParser

import analysis.tasks
from analysis.engine import session
from analysis.engine.backends import spec as module
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.spec import (
    Branch,
    JobSpec,
    SpecError,
    explain_mismatch,
    format_branches,
    make_spec,
    parse_branches,
    short_digest,
    workflow_of,
)
from analysis.engine.recipe import Digest
from analysis.engine.snapshot import Snapshot
from analysis.engine.workflow import AnalysisWorkflow
from tests.engine.backends.batch_toys import BatchToy

SPEC = JobSpec(
    ("a.b", "c"), "Toy", {"x": "1"}, "v1/Toy", "slurm", ("--Other-y=2",), {"task": "Toy"}, "abc", True, 2, 3, 4
)

DIGESTS = """
import sys
from pathlib import Path
from analysis.engine.backends.spec import JobSpec, short_digest, workflow_of
from analysis.engine.snapshot import Snapshot
with workflow_of(JobSpec.read(Path(sys.argv[1]))) as workflow:
    recipes = Snapshot().recipes
    print(*(short_digest(recipes.digest(task)) for task in workflow.branch_tasks()))
"""


@pytest.fixture(autouse=True)
def session_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job says that nobody asked for a task; the tests that follow may."""
    monkeypatch.setattr(session, "_is_decided", session._is_decided)


def digests(workflow: AnalysisWorkflow) -> list[str]:
    recipes = Snapshot().recipes
    return [short_digest(recipes.digest(task)) for task in workflow.branch_tasks()]


def digests_in_job(spec: JobSpec, folder: Path) -> list[str]:
    (folder / "spec.json").write_text(spec.to_json())
    command = [sys.executable, "-c", DIGESTS, str(folder / "spec.json")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_spec_survives_json() -> None:
    assert JobSpec.from_json(SPEC.to_json()) == SPEC


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "modules": [], "argv": []}'])
def test_other_text_is_no_spec(text: str) -> None:
    with pytest.raises(SpecError, match=r"cannot be read .*: submit it again"):
        JobSpec.from_json(text)


def test_spec_of_another_version_is_refused() -> None:
    text = json.dumps({**json.loads(SPEC.to_json()), "schema": 99})
    with pytest.raises(SpecError, match="has version 99, the code of this job knows 1: submit it again"):
        JobSpec.from_json(text)


def test_argument_of_a_job() -> None:
    branches = [Branch(0, "0a1b2c3d4e"), Branch(123, "5f6a7b8c9d")]
    assert format_branches(branches) == "0:0a1b2c3d4e,123:5f6a7b8c9d"
    assert parse_branches(format_branches(branches)) == branches
    for bad in ("", "0", "0:0a1b", "x:0a1b2c3d4e", "0:0a1b2c3d4e,", "-1:0a1b2c3d4e"):
        with pytest.raises(SpecError, match="not a list of branches"):
            parse_branches(bad)


def test_both_halves_of_a_recipe_count() -> None:
    base = short_digest(Digest("0" * 10, "1" * 10))
    assert len(base) == module.DIGITS
    assert base not in {short_digest(Digest("0" * 10, "2" * 10)), short_digest(Digest("3" * 10, "1" * 10))}


@pytest.mark.usefixtures("store")
def test_job_makes_the_same_workflow() -> None:
    workflow = BatchToy(what="pass+bad", factor=0.1, names=("a", "b"), version="v2", workflow="slurm", branches="1")
    spec = make_spec(workflow, "slurm", Resources(cores=2, memory=3, runtime=4))
    assert (spec.cores, spec.memory, spec.runtime, spec.backend) == (2, 3, 4, "slurm")
    assert not {"branch", "branches", "workflow", "effective_workflow", "print_status", "plan"} & spec.parameters.keys()
    with workflow_of(spec) as found:
        assert type(found) is BatchToy
        assert found.branch_numbers() == [0, 1]
        assert found.workflow == "local"
        assert (found.what, found.factor, found.names, found.version) == ("pass+bad", 0.1, ("a", "b"), "v2")
        assert (
            found.relative_folder == workflow.relative_folder == spec.folder == "v2/BatchToy/toys/factor_0.1/names_a,b"
        )


@pytest.mark.usefixtures("store")
def test_what_the_command_line_says_of_other_tasks_counts_in_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_is_decided", True)  # in this process, nobody asks for a task
    plain = digests(BatchToy(what="pass+bad", note="plain"))
    command = ["BatchToy", "--what", "pass+bad", "--BatchInput-number", "7", "--BatchInput-flag", "--workers", "3"]
    with CmdlineParser.global_instance(command):
        workflow = BatchToy(what="pass+bad", note="given")
        here, spec = digests(workflow), make_spec(workflow, "slurm")
    assert set(spec.argv) == {"--BatchInput-number=7", "--BatchInput-flag"}
    assert spec.modules == ("tests.engine.backends.batch_toys",)
    assert digests_in_job(spec, tmp_path) == here
    assert digests_in_job(replace(spec, argv=()), tmp_path) == plain
    assert not set(here) & set(plain)


@pytest.mark.usefixtures("store")
def test_a_campaign_file_comes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name in the directory of the run, as it was then."""
    folder, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(folder)
    (folder / "in.root").touch()
    datasets = {"ttbar": {"cross_section": 729.84, "files": ["in.root"]}}
    (folder / "own.yaml").write_text(json.dumps({"name": "own", "luminosity": 1.0, "datasets": datasets}))
    workflow = analysis.tasks.IndexFiles(campaign="own.yaml", dataset="ttbar")
    here, spec = digests(workflow), make_spec(workflow, "slurm")
    (folder / "own.yaml").unlink()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "own.yaml").write_text("other")
    assert spec.parameters["campaign"] == "own.yaml"
    assert digests_in_job(spec, tmp_path) == here


@pytest.mark.usefixtures("store")
def test_making_the_workflow_is_no_run_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_is_decided", False)
    spec = replace(make_spec(BatchToy(note="root"), "slurm"), argv=("--BatchInput-number=7",))
    with workflow_of(spec):
        assert session.root() is None
        assert CmdlineParser.get_instance() is not None
    assert CmdlineParser.get_instance() is None


@pytest.mark.usefixtures("store")
def test_parameter_that_is_not_known_here_is_told() -> None:
    spec = make_spec(BatchToy(), "slurm")
    spec = replace(spec, parameters={**spec.parameters, "new": "1"})
    with pytest.raises(SpecError, match="BatchToy has no parameter new here"), workflow_of(spec):
        pass


@pytest.mark.usefixtures("store")
def test_difference_of_a_branch_alone_is_told() -> None:
    workflow = BatchToy()
    sentence = explain_mismatch(make_spec(workflow, "slurm"), Snapshot(), workflow.branch_task(0))
    assert sentence.endswith(
        "what the branch stands for, a file it reads from outside the store, or a requirement differs"
    )


def workflows(base: Any) -> list[Any]:
    return [base, *(found for one in base.__subclasses__() for found in workflows(one))]


def test_parameters_of_all_workflows_survive_text() -> None:
    found = [cls for cls in workflows(AnalysisWorkflow) if cls.__module__.startswith(f"{analysis.tasks.__name__}.")]
    assert len(found) > 5
    for cls in found:
        for name, parameter in cls.get_params():
            if parameter.has_task_value(cls.get_task_family(), name):
                value = parameter.task_value(cls.get_task_family(), name)
                assert parameter.normalize(parameter.parse(parameter.serialize(value))) == value, (cls, name)
