"""Jobs from ``job.sh`` to what they leave in the store, run as processes of this machine."""

from __future__ import annotations

import os
import select
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.engine.backends.base import FailureClass
from analysis.engine.leftovers import lock_path
from analysis.engine.lock import Lock
from analysis.engine.process import is_running
from tests.engine.backends.batch_jobs import left_over, pipe, toy_job

pytestmark = pytest.mark.usefixtures("store")

CODE, MEMORY, NODE = FailureClass.CODE, FailureClass.MEMORY, FailureClass.NODE


def test_good_branches_leave_outputs_manifests_and_logs(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "pass+print+setting", HOME="", PATH="")
    ended = job.run()
    assert ended.code == 0
    assert ended.results == {0: ["ok"], 1: ["ok"], 2: ["ok"]}
    assert [line.partition(" [")[0] for line in ended.output.splitlines()] == [f"branch {b}: done" for b in range(3)]
    assert (Path(job.workflow.folder) / "toy_1.txt").read_text() == "print 1"
    assert set(ended.logs[1].splitlines()) >= {
        "standard output: Größe → 1 μm \N{ROCKET}",
        "standard error",
        "compiled code",
        "a subprocess",
    }
    assert "compiled code" not in ended.logs[2]
    assert "threads 3" in ended.logs[2]
    assert f"home {job.folder}/job." in ended.logs[2]
    assert not ended.logs[2].rstrip().endswith(":.")  # the working directory is not searched for programs
    assert left_over(job) == []


def test_manifest_says_which_job_it_was(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "pass")
    provenance = job.run().manifests[0].provenance
    assert (provenance["backend"], provenance["job"]) == ("slurm", "12_3")
    spec = (job.folder / "spec.json").read_text()
    assert f'"git_commit": "{provenance["git_commit"]}"' in spec
    assert f'"git_dirty": {str(provenance["git_dirty"]).lower()}' in spec


def test_only_the_branches_of_the_argument_run(tmp_path: Path) -> None:
    ended = toy_job(tmp_path, "pass+pass+pass").run(1)
    assert (ended.code, set(ended.results), set(ended.manifests)) == (0, {1}, {1})


def test_finished_branch_is_left_as_it_is(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "pass")
    before = job.run()
    after = job.run()
    assert after.results == {0: ["ok", "ok"]}
    assert after.manifests == before.manifests


def test_each_failure_is_reported_and_stops_no_other_branch(tmp_path: Path) -> None:
    what = {
        "bad": (CODE, "IndexError", "list assignment index out of range"),
        "transient": (NODE, "TransientError", "the server has a bad day"),
        "memory": (MEMORY, "MemoryError", ""),
        "killed": (NODE, "", "its process was killed from outside (SIGKILL)"),
        "crash": (CODE, "", "its process crashed: SIGSEGV"),
        "exit": (CODE, "SystemExit", "the task ended the process with exit code 3"),
        "quit": (CODE, "", "its process ended itself with exit code 0"),
        "pass": None,
    }
    job = toy_job(tmp_path, "+".join(what))
    ended = job.run()
    assert ended.code == 1
    found = {b: (f.kind, f.error, f.sentence) for b, f in ended.failures.items()}
    assert found == {branch: expected for branch, expected in enumerate(what.values()) if expected}
    assert ended.results == {b: [expected[0] if expected else "ok"] for b, expected in enumerate(what.values())}
    assert set(ended.manifests) == {7}
    assert {failure.job for failure in ended.failures.values()} == {"12_3"}
    assert all(failure.peak_memory > 10_000_000 for failure in ended.failures.values())
    assert left_over(job) == []
    lines = ended.output.splitlines()
    assert lines[0].startswith("branch 0: code: IndexError: list assignment index out of range [")
    assert [line.partition(":")[0] for line in lines] == [f"branch {b}" for b in range(8)]


def test_report_has_the_frames_that_matter(tmp_path: Path) -> None:
    ended = toy_job(tmp_path, "bad+crash").run()
    toys = r"tests/engine/backends/batch_toys.py"
    first, last = ended.failures[0].frames
    assert first.startswith(f"{toys}:")
    assert first.endswith(' run: getattr(self, f"do_{self.branch_data}")()')
    assert last.endswith(" do_bad: items[self.branch + 1000] = 3")
    crashed = ended.failures[1].frames
    assert [frame.partition(" ")[2].partition(":")[0] for frame in crashed] == ["run", "do_crash", "string_at"]
    assert "Segmentation fault" in ended.logs[1]
    assert "Traceback (most recent call last)" in ended.logs[0]


@pytest.mark.parametrize("how", ["grow", "child"])
def test_branch_that_takes_too_much_memory_is_ended_and_the_next_one_runs(tmp_path: Path, how: str) -> None:
    job = toy_job(tmp_path, f"{how}+pass", memory=300_000_000)
    ended = job.run()
    failure = ended.failures[0]
    assert failure.kind is MEMORY
    assert failure.sentence.endswith(", and had asked for 300 MB")
    assert failure.peak_memory >= 285_000_000
    assert any(f" do_{how}: " in frame for frame in failure.frames)
    assert (ended.code, ended.results[1]) == (1, ["ok"])
    assert left_over(job) == []


def test_end_of_the_run_time_ends_the_job(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "wait+pass", runtime=1)
    ended = job.run()
    assert (ended.code, ended.results) == (1, {0: ["walltime"]})
    assert ended.failures[0].sentence.endswith(" s, and had asked for 1 s")
    assert left_over(job) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGXCPU])
def test_signal_of_the_batch_system_ends_the_job(tmp_path: Path, number: signal.Signals) -> None:
    place = pipe(tmp_path)
    job = toy_job(tmp_path, "wait+pass", place)
    process = job.start()
    assert place.read_text() == "waits"
    process.send_signal(number)
    ended = job.end(process)
    assert (ended.code, ended.results) == (1, {0: ["node"]})
    assert ended.failures[0].sentence == f"the batch system ended the job ({number.name})"
    assert any(frame.endswith(" do_wait: self.wait()") for frame in ended.failures[0].frames)
    assert left_over(job) == []


def test_signal_to_all_processes_of_the_job_ends_it(tmp_path: Path) -> None:
    ended = toy_job(tmp_path, "pass+terminated+pass").run()
    assert (ended.code, ended.results) == (1, {0: ["ok"], 1: ["node"]})


def test_death_of_the_supervisor_ends_the_branch(tmp_path: Path) -> None:
    place = pipe(tmp_path)
    job = toy_job(tmp_path, "wait", place)
    process = job.start()
    assert place.read_text() == "waits"
    holder = Lock(lock_path(Path(job.workflow.folder), 0)).holder()
    assert holder is not None
    handle = os.pidfd_open(holder.pid)
    process.kill()
    assert select.select([handle], (), (), 60) == ([handle], [], [])
    os.close(handle)
    assert job.end(process).results == {}


def test_no_process_outlives_the_job(tmp_path: Path) -> None:
    place = tmp_path / "place"
    ended = toy_job(tmp_path, "orphan", place).run()
    assert ended.code == 0
    assert not is_running(int(place.read_text()))


def test_lock_of_another_machine_is_respected(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "killed")
    with Lock(lock_path(Path(job.workflow.folder), 5)):
        ended = job.run()
        assert ended.results == {0: ["node"]}
        assert [Path(path).name for path in left_over(job)] == [".5.lock"]


def test_branch_waits_for_another_process(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "pass")
    lock = Lock(lock_path(Path(job.workflow.folder), 0))
    assert lock.acquire()
    process = job.start()
    # it waits: in its log it says so before, which is in the scratch directory as long as it runs
    while not any("waits for" in path.read_text() for path in job.folder.glob("job.*/branch_0.*.log")):
        assert process.poll() is None
        os.sched_yield()
    lock.release()
    assert job.end(process).results == {0: ["ok"]}


@pytest.mark.parametrize(
    ("variable", "reason"),
    [
        ("TOY_SETTING_OF_BATCH", "setting setting: same -> other"),
        ("TOY_SETTING", "of what it requires, BatchInput would be made differently here"),
    ],
)
def test_difference_to_the_submitting_side_is_told(tmp_path: Path, variable: str, reason: str) -> None:
    ended = replace(toy_job(tmp_path, "pass+pass"), environment={variable: "other"}).run()
    assert (ended.code, ended.manifests) == (1, {})
    assert {failure.kind for failure in ended.failures.values()} == {FailureClass.ENVIRONMENT}
    assert ended.failures[1].error == "MismatchError"
    expected = f"BatchToy toys branch 1: this job would make something else than was submitted: {reason}"
    assert ended.failures[1].sentence == expected
    assert ended.failures[0].fingerprint() == ended.failures[1].fingerprint()


def test_branch_that_does_not_exist_here_is_told(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "pass")
    process = job.start(0, digests={0: "0123456789"})
    assert job.end(process).failures[0].sentence.endswith("or a requirement differs")


def test_what_breaks_before_the_first_branch_is_reported_for_each(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "pass+pass")
    ended = replace(job, edit=lambda spec: replace(spec, modules=("tests.engine.backends.no_toys",))).run()
    assert ended.code == 1
    assert {f.error for f in ended.failures.values()} == {"ModuleNotFoundError"}
    assert {f.kind for f in ended.failures.values()} == {FailureClass.ENVIRONMENT}
    assert [log.count("No module named") for log in ended.logs.values()] == [1, 1]


def test_place_must_be_that_of_the_submitting_side(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "pass")
    ended = replace(job, edit=lambda spec: replace(spec, folder="v1/Elsewhere")).run()
    assert (ended.code, ended.results) == (1, {})
    report = next((Path(job.workflow.store.root) / "v1" / "Elsewhere" / "logs").glob("*.json")).read_text()
    assert "BatchToy toys writes to v1/BatchToy/toys here, but to v1/Elsewhere where it was submitted" in report


def test_job_whose_logs_cannot_be_written_says_what_happened(tmp_path: Path) -> None:
    job = toy_job(tmp_path, "bad+pass")
    Path(job.workflow.folder).mkdir(parents=True)
    (Path(job.workflow.folder) / "logs").write_text("in the way")
    process = job.start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "branch 0: no log could be written to" in output
    assert '; it says: {"kind": "code", "error": "IndexError"' in output
    assert job.workflow.branch_task(1).complete()
