from __future__ import annotations

from typing import ClassVar

import pytest

from analysis.engine.backends.resources import Resources
from analysis.engine.errors import ParameterError
from tests.engine.backends.fake import Jobs, configure

pytestmark = pytest.mark.usefixtures("no_configuration", "store")

GB = 10**9


class DeclaredJobs(Jobs):
    exclude_index = True
    batch_resources: ClassVar[Resources] = Resources(cores=4, memory=8 * GB, extra={"a": "1"})


def test_nothing_said() -> None:
    assert Jobs().job_resources() == Resources(cores=1, memory=2 * GB, runtime=7200)


def test_site_comes_before_what_nobody_declared() -> None:
    configure("resources", default="memory=4GB", Jobs="runtime=1h, cores=3")
    assert Jobs().job_resources() == Resources(cores=3, memory=4 * GB, runtime=3600)


def test_declaration_comes_before_the_default_of_the_site_and_after_its_word_on_the_family() -> None:
    configure("resources", default="memory=4GB, runtime=3h", Other="memory=1GB")
    assert DeclaredJobs().job_resources() == Resources(4, 8 * GB, 10800, extra={"a": "1"})
    configure("resources", DeclaredJobs="memory=16GB")
    assert DeclaredJobs().job_resources() == Resources(4, 16 * GB, 10800, extra={"a": "1"})


def test_command_line_comes_last() -> None:
    configure("resources", Jobs="memory=4GB, runtime=1h, cores=3, queue=short")
    task = Jobs(memory="6GB", max_runtime="2h", cores=2, gpus=1, disk="1GB", queue="long", accounting_group="g")
    assert task.job_resources() == Resources(2, 6 * GB, 7200, GB, 1, "long", "g")


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("memory", "much", "--memory: 'much' is not a size"),
        ("max_runtime", "1 y", "--max-runtime: '1 y' is not a time"),
    ],
)
def test_wrong_value_names_the_option(option: str, value: str, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        Jobs(**{option: value}).job_resources()


@pytest.mark.parametrize(
    ("given", "found"),
    [("", "local"), ("local", "local"), ("NO_STR", "local"), ("htcondor", "htcondor"), ("slurm", "slurm")],
)
def test_workflow(given: str, found: str) -> None:
    task = Jobs(workflow=given)
    assert (task.workflow, task.effective_workflow) == (found, found)


@pytest.mark.parametrize(
    ("given", "hint"), [("htcondr", "did you mean htcondor?"), ("pbs", "use one of local, htcondor, slurm")]
)
def test_unknown_workflow(given: str, hint: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Jobs(workflow=given)
    assert str(caught.value) == f"--workflow {given} does not exist: {hint}"


def test_options_change_neither_place_nor_recipe() -> None:
    from analysis.engine.snapshot import Snapshot

    one, two = (
        Jobs(),
        Jobs(workflow="slurm", retries=9, cores=7, memory="9GB", queue="x", tasks_per_job=3, no_poll=True),
    )
    recipes = Snapshot().recipes
    assert one.folder == two.folder
    assert recipes.digest(one.branch_task(0)) == recipes.digest(two.branch_task(0))
