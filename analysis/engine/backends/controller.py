"""The jobs of a workflow: submitted, watched, tried again, until each branch is complete or has failed for good.

Nothing is known here that is not in the ledger, the store or the queue: a controller can be killed at any moment, and
the next one goes on, or two of them work side by side.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from analysis.engine import interrupts, session
from analysis.engine.backends import jobcredentials, preflight, registry
from analysis.engine.backends.base import BackendError, FailureClass, JobState, SchedulerDownError
from analysis.engine.backends.collect import Collector
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.messages import AbortedError, page_text
from analysis.engine.backends.records import DONE, Attempt, Job, Result
from analysis.engine.backends.settings import batch_settings, jobs_folder
from analysis.engine.backends.stages import View, look
from analysis.engine.backends.statusline import show_duration, status_line
from analysis.engine.backends.submit import Submitter, is_in_queue
from analysis.engine.backends.summary import command_line, root_causes
from analysis.engine.errors import BranchesError
from analysis.engine.storage.base import OutageError
from analysis.engine.terminal import say

if TYPE_CHECKING:
    from analysis.engine.workflow import AnalysisWorkflow

T = TypeVar("T")

LEDGER = "ledger.db"
_INTERRUPTED = 128 + signal.SIGINT
_TICK = 0.5
_LANDING = 30.0
"""Seconds in which a submission of another run ends, or of one that is gone is found."""
_QUIET = 300.0
"""Seconds after which a status line is printed though nothing changed."""
_REASONS = 5
_SHORTEST = 1.0
_SHARE = 0.1
"""Part of the time that this process may compute: looking at thousands of jobs takes a while."""
_EAGER = 0.1
"""A while after the last event, the next look follows after this part of that while: soon if much happens."""


class JobsError(BranchesError):
    """Jobs of a workflow failed."""


class DetachedError(BranchesError):
    """Jobs are in the queue, and nobody waits for them."""


def run_jobs(workflow: AnalysisWorkflow) -> None:
    """Run the branches of a workflow that are not complete as batch jobs.

    Raises:
        JobsError: naming the branches that failed.
        BackendError: if jobs cannot be submitted.
        DetachedError: if the workflow is not to wait for its jobs.
    """
    controller = Controller(workflow)
    try:
        controller.run()
    finally:
        controller.ledger.close()


class Controller:
    """Runs the jobs of one workflow.

    Args:
        workflow: the workflow.
    """

    def __init__(self, workflow: AnalysisWorkflow) -> None:
        self.workflow, self.settings = workflow, batch_settings()
        self.key = str(workflow.folder)
        self.ledger = Ledger(jobs_folder() / LEDGER)
        self._snapshot = session.snapshot_for(workflow)
        self._collector = Collector(workflow, self.ledger, self.settings, self._snapshot)
        self._submitter = Submitter(workflow, self.ledger, self.settings, self._snapshot)
        self._wanted: dict[int, str] = {}
        self._counts: Counter[str] | None = None
        self._held: set[str] = set()
        self._shown: tuple[Counter[str], Mapping[str, int], bool] | None = None
        self._told = self._event = self._cost = 0.0
        self._is_proven = workflow.no_canary or workflow.no_poll
        self._started, self._parent = time.time(), os.getppid()
        self._down: set[str] = set()
        self._is_store_down = False

    def run(self) -> None:
        """Run all branches that are not complete."""
        todo = [b for b in self.workflow.branch_tasks() if not self._snapshot.is_complete(b)]
        self._wanted = {b.branch_number or 0: self._submitter.digest(b) for b in todo}
        if not todo:
            return
        # the code is known to run if some of its outputs are there already
        self._is_proven = self._is_proven or len(todo) < len(self.workflow.branch_numbers())
        self._check()
        self._poll()
        self._drop_unwanted()
        self._started = self._event = time.time()
        if {"unsubmitted", "retry"} & set(self._look().stages.values()):  # jobs that run are watched in any case
            preflight.check(self.workflow, self.settings)
        with interrupts.interruptible():
            try:
                self._loop()
            except KeyboardInterrupt:
                self._tell_interrupted()
                if multiprocessing.parent_process() is not None:
                    os._exit(_INTERRUPTED)  # it would print a traceback, as do others at the same time
                raise
            except AbortedError:
                self.cancel_all()
                raise
        self._end()

    def _check(self) -> None:
        """Look whether jobs can be submitted; a scheduler that does not answer for now is waited for if it has some."""
        name = self.workflow.effective_workflow
        try:
            registry.backend(name).check()
        except SchedulerDownError as error:
            if not self.ledger.active_jobs(self.key):
                raise
            self._tell_down(name, str(error))

    def _loop(self) -> None:
        while True:
            begin = time.process_time()
            self.workflow.handle_messages()
            self._recover()
            self._poll()
            jobcredentials.keep_fresh()
            with self._outages():
                if self._step():
                    return
            if self.workflow.no_poll and not self.ledger.pending(self.key):
                msg = (
                    f"{self._jobs_run_on()}, unwatched because of --no-poll: the same command without it waits for them"
                )
                raise DetachedError(msg)
            self._cost = time.process_time() - begin
            self._wait()

    def _step(self) -> bool:
        """Settle what has ended, and submit what is ready.

        Returns:
            Whether all is over.

        Raises:
            OutageError: if the store does not answer; then it is done the next time.
        """
        if self._collector.collect(self._wanted):
            self._is_proven = self._is_proven or bool(self._collector.done)
            self._event = time.time()
        view = self._look()
        self._tell(view)
        ready = [] if self.workflow.is_paused else self._collector.missing(view.ready())
        if ready and self._submitter.submit(ready, view.attempts, self._wanted):
            self._event = time.time()
        return view.is_over()

    @contextmanager
    def _outages(self) -> Iterator[None]:
        """Go on if the store does not answer: nothing is known then, and least of all that something is missing."""
        try:
            yield
        except OutageError as error:
            if not error.is_transient:  # it will not get better by itself
                raise
            if not self._is_store_down:
                self._is_store_down = True
                self._say(f"the store does not answer ({error.reason}); nothing is concluded from that, jobs run on")
        else:
            self._is_store_down = False

    def _patiently(self, question: Callable[[], T]) -> T:
        """The answer to a question to the store, as soon as it answers."""
        while True:
            with self._outages():
                return question()
            self._wait()

    def _interval(self) -> float:
        soon = max(_SHORTEST, _EAGER * (time.time() - self._event))
        return max(_SHORTEST, self._cost / _SHARE, min(float(self.workflow.poll_interval), soon))

    def _wait(self) -> None:
        """Wait until it is time to ask the scheduler, or another run has asked; ends if the main process is gone."""
        end, answers = time.time() + self._interval(), self._answers()
        while (left := end - time.time()) > 0 and self._answers() == answers:
            time.sleep(min(_TICK, left))
            if os.getppid() != self._parent:
                raise KeyboardInterrupt
            if self.workflow.handle_messages():
                return

    def _answers(self) -> float:
        return self.ledger.last_answer(self.workflow.effective_workflow).time

    # what is in the queue

    def _drop_unwanted(self) -> None:
        """Remove jobs from the queue that nobody wants any more: of other code, or of branches that are done."""
        if any(job.id is None for job in self._unwanted()):
            self._land()
        unwanted = self._unwanted()
        complete = set(self.workflow.branch_numbers()) - self._wanted.keys()
        last = [a[-1] for b, a in self.ledger.attempts(self.key).items() if b in complete and a[-1].result is None]
        # not cancelled: another run may watch them
        done = [Result(a.branch, a.job, DONE) for a in last if not self._is_other(a.branch, a)]
        self.ledger.settle(self.key, done)
        if unwanted:
            self._cancel(unwanted)
        if number := sum(map(is_in_queue, unwanted)):
            self._say(f"{number} jobs of other code or settings, or of complete branches, were removed")

    def _unwanted(self) -> list[Job]:
        active = [a[-1] for a in self.ledger.attempts(self.key).values() if a[-1].result is None]
        others = self.workflow.all_branch_numbers()  # those of somebody else, and ours that are not complete
        known = (set(others) - set(self.workflow.branch_numbers())) | self._wanted.keys()
        stale = {attempt.job for attempt in active if self._is_other(attempt.branch, attempt)}
        needed = {attempt.job for attempt in active if attempt.branch in known}
        unwanted, jobs = {attempt.job for attempt in active} - needed | stale, self.ledger.active_jobs(self.key)
        return [jobs[number] for number in unwanted if number in jobs]

    def _is_other(self, branch: int, attempt: Attempt) -> bool:
        """Whether a job makes something else of a branch of this run than today's recipe."""
        numbers = self.workflow.branch_numbers()
        return branch in numbers and attempt.digest != self._submitter.digest(self.workflow.branch_task(branch))

    def _land(self) -> None:
        """Wait until it is known of each submission whether the scheduler took it.

        Raises:
            BackendError: if the scheduler does not answer, or another process is submitting.
        """
        end = time.time() + _LANDING
        while pending := self.ledger.pending(self.key):
            for submission in pending:
                self._submitter.recover(submission)
            if time.time() > end:
                msg = f"{self.workflow.title()}: another run is submitting jobs right now: try again in a moment"
                raise BackendError(msg)
            time.sleep(_TICK)

    def _cancel(self, jobs: Sequence[Job]) -> None:
        for name in {job.backend for job in jobs}:
            ids = [job.id for job in jobs if job.backend == name and job.id and is_in_queue(job)]
            if ids:
                registry.backend(name).cancel(ids)
        self.ledger.cancelled([job.number for job in jobs])

    def cancel_all(self) -> int:
        """Remove all jobs of the workflow from the queue.

        Returns:
            How many there were.

        Raises:
            BackendError: if a scheduler does not answer; then nothing has changed.
        """
        self._land()
        jobs = list(self.ledger.active_jobs(self.key).values())
        self._cancel(jobs)
        jobcredentials.forget(self.ledger)
        return len(jobs)

    def _recover(self) -> None:
        """Find out what became of submissions whose caller was killed, or got no answer."""
        for pending in self.ledger.pending(self.key):
            try:
                self._submitter.recover(pending)
            except SchedulerDownError as error:
                self._tell_down(pending.backend, str(error))

    def _poll(self) -> None:
        jobs = self.ledger.active_jobs(self.key).values()
        for name in {job.backend for job in jobs}:
            if self.ledger.claim_poll(name, 0.9 * self._interval()):
                self._ask(name)
            error = self.ledger.last_answer(name).error
            if error:
                self._tell_down(name, error)
            elif name in self._down:
                self._down.discard(name)
                self._say(f"{name} answers again")

    def _ask(self, name: str) -> None:
        ids, interval = self.ledger.to_ask_for(name), self.workflow.poll_interval
        try:
            statuses = registry.backend(name).query(list(ids), min(ids.values())) if ids else {}
        except SchedulerDownError as error:
            self.ledger.answered(name, {}, interval, str(error))
        else:
            self.ledger.answered(name, statuses, interval)

    def _look(self) -> View:
        view = look(self._wanted, self._collector.done, self.ledger, self.key, self._started, self.settings)
        self._is_proven = self._is_proven or view.has_patient_canary()
        view.is_proven = self._is_proven
        return view

    # what people see

    def _say(self, sentence: str) -> None:
        say(f"{self.workflow.title()}: {sentence}")

    def _tell_down(self, name: str, error: str) -> None:
        if name not in self._down:
            self._down.add(name)
            self._say(f"{error}; nothing is concluded from that, jobs run on")

    def _tell_interrupted(self) -> None:
        if self.ledger.active_jobs(self.key):
            self._say(f"{self._jobs_run_on()}: the same command watches them again, and removes them with --cancel")

    def _jobs_run_on(self) -> str:
        jobs = [job for job in self.ledger.active_jobs(self.key).values() if job.id]
        return f"{len(jobs)} job{'s run' if len(jobs) != 1 else ' runs'} on"

    def _tell(self, view: View) -> None:
        counts, now = Counter(view.stages.values()), time.time()
        done, is_due = len(self._collector.done), now - self._told >= _QUIET
        line = status_line(counts, self._counts, done / (now - self._started) if done else None, now)
        state = (counts, view.reasons(), self.workflow.is_paused)
        if state != self._shown or is_due:
            self._shown = state
            self.workflow.publish_jobs(self._message(line, view.reasons()), done, len(self._wanted))
        if counts != self._counts or is_due:
            self._counts, self._told = counts, now
            self._say(line)
        held = view.reasons(JobState.HELD)
        for reason in held.keys() - self._held:
            self._say(f"{held[reason]} on hold: {reason}")
        self._held = set(held)

    def _message(self, line: str, reasons: Mapping[str, int]) -> str:
        """For the scheduler's page: a line per stage, why jobs wait, and where to look."""
        waits = [f"{number} x {reason}" for reason, number in reasons.items()]
        more = [f"and {len(waits) - _REASONS} other reasons"] if len(waits) > _REASONS else []
        paused = ["paused: no more jobs are submitted until 'resume'"] if self.workflow.is_paused else []
        where = [f"logs: {self.workflow.folder / 'logs'}", f"analysis logs {command_line(self.workflow)}"]
        return page_text("\n".join([*line.split(", "), "", *paused, *waits[:_REASONS], *more, *where]))

    def _end(self) -> None:
        jobcredentials.forget(self.ledger)
        missing = self._patiently(lambda: self._collector.missing(sorted(set(self._wanted) - self._collector.done)))
        with self._outages():
            self._collector.rotate_logs()
        if not missing:
            self._submitter.clean(self.workflow.branch_numbers())
            return
        failed = self._patiently(lambda: self._collector.failures(missing, self._started))
        is_removed = any(branch.failure.kind is FailureClass.REMOVED for branch in failed.values())
        why = "" if self._is_proven or is_removed else ", since the first ones failed"
        say(root_causes(self.workflow, failed, missing, why))
        numbers = ", ".join(map(str, sorted(failed)[:10])) + (", ..." if len(failed) > 10 else "")
        unsubmitted = len(missing) - len(failed)
        rest = f"; {unsubmitted} were not submitted{why}" if unsubmitted else ""
        took = show_duration(time.time() - self._started)
        msg = f"{len(failed)} of {len(self._wanted)} branches failed ({numbers}) after {took}{rest}"
        raise JobsError(msg)
