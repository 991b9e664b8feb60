from __future__ import annotations

import shlex

import pytest
from luigi.cmdline_parser import CmdlineParser

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.failures import Failure
from analysis.engine.backends.summary import FailedBranch, command_line, root_causes
from tests.engine.backends.batch_toys import BatchToy
from tests.engine.backends.fake import Jobs

pytestmark = pytest.mark.usefixtures("store", "no_configuration")

FRAMES = tuple(f"analysis/a.py:{n} f{n}: x = {n}" for n in range(6))


def failed(sentence: str, attempts: int = 1, has_log: bool = True, host: str = "node1") -> FailedBranch:
    failure = Failure(FailureClass.CODE, "ValueError", sentence, FRAMES, host)
    return FailedBranch(failure, attempts, has_log)


def test_failures_are_grouped_by_what_went_wrong() -> None:
    found = {b: failed(f"entry {b} is bad") for b in range(11)} | {20: failed("another", attempts=3, has_log=False)}
    assert root_causes(Jobs(count=30), found, [*range(11), 20]) == "\n".join(
        [
            "Jobs: 12 branches failed for 2 reasons",
            "",
            "  code: ValueError: entry 0 is bad",
            *(f"      {frame}" for frame in FRAMES[-4:]),
            "    11 branches: 0, 1, 2, 3, 4, 5, 6, 7, ...; on node1",
            "    its log:  analysis logs Jobs --branch 0",
            "    run here: law run Jobs --branch 0 --workflow local",
            "",
            "  code: ValueError: another",
            *(f"      {frame}" for frame in FRAMES[-4:]),
            "    1 branch: 20, tried 3 times; on node1",
            "    run here: law run Jobs --branch 20 --workflow local",
        ]
    )


def test_most_frequent_reasons_come_first_and_few_are_shown() -> None:
    letters = "abcdefgh"
    found = {n: failed(letter) for n, letter in enumerate("abcdefghhh")}
    text = root_causes(Jobs(count=20), found, range(12))
    assert text.startswith(f"Jobs: 10 branches failed for {len(letters)} reasons\n\n  code: ValueError: h\n")
    assert "\n  and 3 other reasons\n" in text
    assert "\n  2 branches were not submitted" in text


def test_one_branch() -> None:
    text = root_causes(Jobs(), {1: failed("bad", host="")}, [1])
    assert "1 branch failed for 1 reason\n" in text
    assert "on an unknown host" in text
    assert "not submitted" not in text


@pytest.mark.parametrize(
    "label",
    ["plain", "it's", 'say "so"', "a b", "$HOME `ls` !x", "-x", "--count", "-1", "ü µ", "a\nb", "a=b", "*;#&|\\"],
)
def test_command_line_makes_the_same_task(label: str) -> None:
    words = shlex.split(command_line(Jobs(label=label), 2))
    with CmdlineParser.global_instance(words) as parser:
        task = parser.get_task_obj()
    assert (task.label, task.branch) == (label, 2)


def test_command_line_has_all_that_matters() -> None:
    task = BatchToy(what="pass+bad", factor=-1.5, names=("a", "b c"), place="/x", retries=7, workflow="slurm")
    with CmdlineParser.global_instance(shlex.split(command_line(task))) as parser:
        again = parser.get_task_obj()
    assert (again.what, again.factor, again.names, again.version) == ("pass+bad", -1.5, ("a", "b c"), task.version)
    assert (again.place, again.retries, again.workflow) == ("", 5, "local")


def test_defaults_are_not_shown() -> None:
    assert command_line(Jobs(workflow="slurm", branches=((0, 2),))) == "Jobs"
