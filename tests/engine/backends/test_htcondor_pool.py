"""The backend and a real HTCondor pool, with both of its clients."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.backends.inflight import wait_until_landed
from tests.testbed import System, Testbed
from tests.testbed.fixtures import htcondor, testbed

__all__ = ["htcondor", "testbed"]

pytestmark = pytest.mark.integration

PATIENCE = 60.0
NEVER = {"extra": {"requirements": "False"}}
Answers = dict[str, dict[str, Any]]


@dataclass
class Pool:
    """The backend, called as the user of the testbed."""

    testbed: Testbed
    folder: Path
    client: str
    since: float

    def line(self) -> list[str]:
        repository, bindings = self.testbed.repository, self.testbed.bindings
        driver = repository / "tests/engine/backends/htcondor_driver.py"
        return self.testbed.command_line([self.testbed.python, driver], {"PYTHONPATH": f"{repository}:{bindings}"})

    def request(self, call: str, **given: Any) -> str:
        given.setdefault("settings", {"client": self.client})
        return json.dumps({"call": call, "since": self.since, **given})

    def answer(self, call: str, **given: Any) -> dict[str, Any]:
        text = self.request(call, **given)
        done = subprocess.run(self.line(), input=text, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def call(self, call: str, **given: Any) -> Any:
        found = self.answer(call, **given)
        assert "error" not in found, found
        return found["result"]

    def error(self, call: str, **given: Any) -> tuple[str, str]:
        found = self.answer(call, **given)
        return found["error"], found["message"]

    def submit(self, code: str, arguments: Sequence[str] = ("1",), *, name: str = "jobs", **given: Any) -> list[str]:
        folder = str(self.folder / name)
        given.setdefault("token", name)
        code = code if code.startswith("#!") else f"#!/bin/bash\n{code}\n"
        ids: list[str] = self.call("submit", folder=folder, code=code, arguments=arguments, **given)
        return ids

    def query(self, ids: Collection[str]) -> Answers:
        found: Answers = self.call("query", ids=list(ids))
        return found

    def until(self, ids: Collection[str], wanted: Callable[[Answers], bool]) -> Answers:
        end = time.monotonic() + PATIENCE
        while not wanted(found := self.query(ids)):
            assert time.monotonic() < end, found
            time.sleep(0.1)
        return found

    def until_over(self, ids: Collection[str]) -> Answers:
        return self.until(ids, lambda found: {job["state"] for job in found.values()} <= {"finished", "failed"})

    def tool(self, *command: str) -> None:
        self.testbed.succeed(*command)


@pytest.fixture(params=["tools", "bindings"])
def pool(
    request: pytest.FixtureRequest,
    htcondor: System,
    testbed: Testbed,
) -> Pool:
    assert htcondor.name == "htcondor"
    return Pool(testbed, testbed.scratch(f"htcondor-{request.node.name}"), request.param, time.time())


def test_check(pool: Pool) -> None:
    pool.call("check")
    assert pool.call("client", settings={"client": "auto"}) == "Bindings"
    kind, words = pool.error("check", settings={"client": pool.client, "schedd": "nobody"})
    assert kind == "SchedulerDownError"
    assert "schedd" in words


NASTY = {
    "A": "two words",
    "B": "it's",
    "C": 'say "hi"',
    "D": "a;b\\;c\\\\",
    "E": "100%s %d",
    "F": "$(HOME) $ENV(HOME) $HOME $(Process)",
    "G": "$$(Arch) $$([1+1]) $$$(x) $$$$ $$$",
    "H": "ünï\t日本",
    "I": "",
    "J": "  lead and trail  ",
    "K": "'\"'\"",
    "L": "# x=y=z `id` * ? ~ | & < > [1,2]{a} @=end",
}


def test_jobs_receive_exactly_what_is_given(pool: Pool) -> None:
    """Odd paths and values; inputs are there; output and errors in one file; nothing else comes back."""
    code = """
    echo "$#:$1"; cat in.txt; echo; touch scratch.txt
    for name in A B C D E F G H I J K L; do printf '%s=%s\\0' $name "${!name}"; done
    echo "HOME=${HOME-unset} SECRET=${SECRET-unset}" >&2
    """
    name = 'o\'dd "folder" $(HOME) %d ü;&'
    ids = pool.submit(code, ("17:0a,18:1b", "19:2c"), name=name, token="odd", environment=NASTY, inputs=["in.txt"])
    found = pool.until_over(ids)
    assert [found[job]["state"] for job in ids] == ["finished", "finished"]
    head, _, rest = (pool.folder / name / "job_0.txt").read_text().partition("content of in.txt\n")
    assert head == "1:17:0a,18:1b\n"
    *pairs, last = rest.split("\0")
    assert dict(pair.split("=", 1) for pair in pairs) == NASTY
    assert last == "HOME=unset SECRET=unset\n"
    names = {path.name for path in (pool.folder / name).iterdir()}
    files = {"job.sh", "in.txt", "job.sub", "submitting.lock", "events.log", "job_0.txt", "job_1.txt"}
    assert names == files


def test_lives(pool: Pool) -> None:
    """Success, exit code, signal, hold by hand, removal by hand, time limit."""
    code = "case $1 in ok) ;; code) exit 7;; signal) kill -SEGV $$;; *) sleep 600;; esac"
    kinds = ("ok", "code", "signal", "held", "removed", "long")
    extra = {"allowed_job_duration": "ifThenElse(ProcId == 5, 3, undefined)"}
    ids = dict(zip(kinds, pool.submit(code, kinds, resources={"extra": extra}), strict=True))
    pool.tool("condor_hold", ids["held"])
    pool.tool("condor_rm", ids["removed"])
    found = pool.until(
        ids.values(), lambda found: all(found[job]["state"] not in {"pending", "running"} for job in ids.values())
    )
    ok, code_, signal_, held, removed, long = (found[ids[kind]] for kind in kinds)
    assert (ok["state"], ok["exit_code"], ok["in_queue"]) == ("finished", 0, False)
    assert pool.since - 2 <= ok["started"] <= ok["ended"]
    assert ok["host"]
    assert (code_["state"], code_["exit_code"], code_["failure"]) == ("failed", 7, None)
    assert (signal_["state"], signal_["signal"], signal_["exit_code"]) == ("failed", signal.SIGSEGV, None)
    assert (held["state"], held["in_queue"]) == ("held", True)
    assert "condor_hold" in held["reason"]
    assert (removed["state"], removed["failure"]) == ("failed", "removed")
    assert (long["state"], long["failure"], long["in_queue"]) == ("failed", "walltime", True)
    pool.call("cancel", ids=[*ids.values(), "999999.7"])
    gone = pool.until(ids.values(), lambda found: not any(job["in_queue"] for job in found.values()))
    assert gone[ids["ok"]] == ok
    assert gone[ids["held"]]["failure"] == "removed"
    pool.call("cancel", ids=["999999.7"])


@pytest.mark.parametrize(
    ("code", "extra", "failure"),
    [
        ("sleep 600", {"periodic_hold": "JobStatus == 2", "periodic_hold_reason": '"memory exceeded"'}, "memory"),
        ("sleep 600", {"periodic_hold": "JobStatus == 2"}, "node"),
        ("sleep 600", {"periodic_remove": "JobStatus == 2"}, "node"),
        ("exit 0", {"transfer_input_files": "/nonexistent/file"}, "storage"),
        ("exit 0", {"transfer_output_files": "never-written"}, "storage"),
        ("#!/no/such/shell", {}, "environment"),
    ],
)
def test_held_or_removed_by_the_system(pool: Pool, code: str, extra: dict[str, str], failure: str) -> None:
    (job,) = pool.submit(code, resources={"extra": extra})
    found = pool.until_over([job])[job]
    assert (found["state"], found["failure"]) == ("failed", failure), found
    assert found["in_queue"] is ("periodic_remove" not in extra)
    assert found["reason"]
    pool.call("cancel", ids=[job])


def test_suspended_and_evicted(pool: Pool) -> None:
    (job,) = pool.submit("sleep 600")
    pool.until([job], lambda found: found[job]["state"] == "running")
    pool.tool("condor_suspend", job)
    assert pool.until([job], lambda found: found[job]["state"] == "held")[job]["reason"] == "suspended"
    pool.tool("condor_continue", job)
    pool.until([job], lambda found: found[job]["state"] == "running")
    pool.tool("condor_qedit", job, "Requirements", "False")  # so that it does not start again at once
    pool.tool("condor_vacate_job", "-fast", job)
    waiting = pool.until([job], lambda found: found[job]["state"] != "running")[job]
    assert (waiting["state"], waiting["failure"]) == ("pending", None)
    assert "vacate" in waiting["reason"]
    pool.call("cancel", ids=[job])


def test_find(pool: Pool) -> None:
    """Jobs in the queue and ended ones; none of another submission."""
    token = f"find{pool.client}{int(pool.since)}"
    ids = pool.submit("[[ $1 == 1 ]] || sleep 600", ("0", "1"), token=token)
    pool.until(ids, lambda found: found[ids[1]]["state"] == "finished")
    assert pool.call("find", token=token) == {"0": ids[0], "1": ids[1]}
    assert pool.call("find", token=f"{token}x") == {}
    pool.call("cancel", ids=ids)


def test_thousand_jobs(pool: Pool) -> None:
    arguments = [f"{number}:0123456789" for number in range(1000)]
    ids = pool.submit("true", arguments, resources=NEVER)
    assert [job.partition(".")[2] for job in ids] == [str(number) for number in range(1000)]
    found = pool.query(ids)
    assert set(found) == set(ids)
    assert {job["state"] for job in found.values()} == {"pending"}
    pool.call("cancel", ids=ids[::2])
    halves = pool.until(ids, lambda found: sum(job["state"] == "failed" for job in found.values()) == 500)
    assert set(halves) == set(ids)
    pool.call("cancel", ids=ids)
    pool.until(ids, lambda found: not any(job["in_queue"] for job in found.values()))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"request_memory": "abc("}, "RequestMemory"),
        ({"universe": "martian"}, "martian"),
        ({"accounting_group": "not a group!"}, "accounting_group"),
    ],
)
def test_refused(pool: Pool, extra: dict[str, str], words: str) -> None:
    folder, resources = str(pool.folder / "jobs"), {"extra": extra}
    request = {"token": "refused", "folder": folder, "code": "#!/bin/bash\n", "arguments": ["1"]}
    kind, message = pool.error("submit", resources=resources, **request)
    assert kind == "SubmissionError"
    assert words in message


def test_limit_of_jobs(pool: Pool, htcondor: System) -> None:
    request = {
        "token": "full",
        "folder": str(pool.folder / "jobs"),
        "code": "#!/bin/bash\n",
        "arguments": ["1", "2", "3"],
    }
    with htcondor.settings("MAX_JOBS_PER_OWNER = 2"):
        assert pool.error("submit", **request)[0] == "QueueFullError"
    assert pool.call("find", token="full") == {}


def test_scheduler_is_down(pool: Pool, htcondor: System) -> None:
    ids = pool.submit("true", resources=NEVER)
    request = {"token": "down", "folder": str(pool.folder / "down"), "code": "#!/bin/bash\n", "arguments": ["1"]}
    with htcondor.without("schedd"):
        for call, given in (
            ("check", {}),
            ("submit", request),
            ("query", {"ids": ids}),
            ("find", {"token": "down"}),
            ("cancel", {"ids": ids}),
        ):
            assert pool.error(call, **given)[0] == "SchedulerDownError", call
    assert pool.query(ids)[ids[0]]["state"] == "pending"
    pool.call("cancel", ids=ids)


def test_submission_whose_caller_is_killed(pool: Pool, htcondor: System) -> None:
    """The scheduler hangs; the caller is killed; the client goes on, and holds the lock until it is through."""
    token, folder = f"killed{pool.client}{int(pool.since)}", pool.folder / "jobs"
    schedd = htcondor.processes()["schedd"]
    request = pool.request(
        "submit", token=token, folder=str(folder), code="#!/bin/bash\n", arguments=["1"], resources=NEVER
    )
    pool.call("client")  # makes what the first use has to make
    stop(schedd, signal.SIGSTOP)
    try:
        caller = subprocess.Popen(pool.line(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert caller.stdin is not None
        caller.stdin.write(request)
        caller.stdin.close()
        end = time.monotonic() + PATIENCE
        while not (folder / "submitting.lock").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        while not any(is_connected(child) for child in children(caller.pid)):
            assert time.monotonic() < end
            time.sleep(0.01)
        caller.kill()
        caller.wait()
        assert not wait_until_landed(folder, 0.2)
    finally:
        stop(schedd, signal.SIGCONT)
    assert wait_until_landed(folder, PATIENCE)
    found = pool.call("find", token=token)
    assert set(found) == {"0"}
    pool.call("cancel", ids=list(found.values()))


def stop(process: int, number: int) -> None:
    subprocess.run(["kill", f"-{number}", str(process)], check=True)


def children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def is_connected(process: str) -> bool:
    try:
        return any(str(link.readlink()).startswith("socket:") for link in Path(f"/proc/{process}/fd").iterdir())
    except OSError:  # a file was closed meanwhile
        return False
