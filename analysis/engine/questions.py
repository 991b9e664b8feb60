"""Questions that ``law run`` answers instead of running: ``--print-status``, ``--plan``, ``--why`` and others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import law
import luigi
from luigi.parameter import ParameterVisibility

from analysis.engine import policy, session
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable

    from analysis.engine.task import AnalysisTask


class QuestionParameter(luigi.BoolParameter):  # type: ignore[misc]
    """A flag that may be followed by a value; its value is text, ``all`` for the flag alone."""

    def __init__(self, description: str) -> None:
        parsing = luigi.BoolParameter.EXPLICIT_PARSING
        hidden = ParameterVisibility.HIDDEN
        super().__init__(default="", parsing=parsing, significant=False, visibility=hidden, description=description)

    def parse(self, x: object) -> str:
        """Text of the value."""
        text = "" if x in (False, None, ()) else str(x)
        return {"True": "all", "False": ""}.get(text, text)

    def normalize(self, x: object) -> str:
        """The same for a value given in Python."""
        return self.parse(x)

    def serialize(self, x: object) -> str:
        """Text, as on the command line."""
        return self.parse(x)


class QuestionsTask(law.Task):  # type: ignore[misc]
    """A task that answers questions about its outputs, and those of what it requires."""

    exclude_index = True

    print_status = QuestionParameter("show how many outputs are current, stale and missing; a number limits the depth")
    plan = QuestionParameter("show what would run and why, and run nothing; 'json' for machines")
    why = QuestionParameter("show why outputs are stale or missing, and run nothing")
    accept = QuestionParameter("take stale outputs over as current, of all tasks or of the named families only")
    verify = QuestionParameter("compare all outputs with their checksums; what is damaged counts as missing then")
    cancel = QuestionParameter("remove the jobs of this task and of what it requires from the queue")
    cleanup = QuestionParameter("remove the logs and the submission files of jobs that are over")
    yes = luigi.BoolParameter(significant=False, description="do not ask before an expensive rerun")

    interactive_params = [*law.Task.interactive_params, "plan", "why", "accept", "verify", "cancel", "cleanup"]  # noqa: RUF012

    # law calls the method of that name with the value of the parameter, and ends the process

    def _print_status(self, value: str) -> None:
        from analysis.engine.status import print_status

        self._answer(lambda task: print_status(task, value))

    def _plan(self, value: str) -> None:
        from analysis.engine.status import print_plan

        self._answer(lambda task: print_plan(task, value))

    def _why(self, value: str) -> None:  # noqa: ARG002
        from analysis.engine.why import print_why

        self._answer(print_why)

    def _accept(self, value: str) -> None:
        from analysis.engine.maintain import accept

        self._answer(lambda task: accept(task, value))

    def _verify(self, value: str) -> None:  # noqa: ARG002
        from analysis.engine.maintain import verify_checksums

        self._answer(verify_checksums)

    def _fetch_output(self, value: tuple[str, ...]) -> None:
        from analysis.engine.fetch import fetch_output

        self._answer(lambda task: fetch_output(task, value))

    def _remove_output(self, value: tuple[str, ...]) -> bool:
        from analysis.engine.fetch import remove_output, runs_afterwards

        self._answer(lambda task: remove_output(task, value))
        if goes_on := runs_afterwards(value):
            session.begin(cast("AnalysisTask", self))
        return goes_on

    def _cancel(self, value: str) -> None:
        from analysis.engine.backends.control import cancel

        self._answer(lambda task: cancel(task, value))

    def _cleanup(self, value: str) -> None:
        from analysis.engine.backends.control import cleanup

        self._answer(lambda task: cleanup(task, value))

    def _answer(self, question: Callable[[AnalysisTask], Any]) -> None:
        task = cast("AnalysisTask", self)
        try:
            policy.check()
            task.check()
            code = question(task)
        except AnalysisError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            code = 1
        sys.stdout.flush()
        if code:
            sys.exit(code)
