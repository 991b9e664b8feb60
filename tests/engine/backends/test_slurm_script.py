from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.engine.backends.base import Submission, SubmissionError
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.slurm_script import SlurmSettings, job_name, jobs_of, options, script

ECHO = 'printf "%s\\n" "$#:$1" "$PWD" "${VALUE-unset}" "${KRB5CCNAME-unset}" "$HOME"\n'
SHARED, ALONE = SlurmSettings(), SlurmSettings(shared_filesystem=False)


def submission(folder: Path, text: str = ECHO, **changes: Any) -> Submission:
    """Two jobs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.sh"
    path.write_text(text)
    given: dict[str, Any] = {"name": "Task", "arguments": ("0:a,1:b", "2:c"), **changes}
    return Submission(token="tok1", folder=folder, script=path, **given)


def run(text: str, folder: Path, task: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a batch script as Slurm would, with variables that sbatch hands on."""
    path = folder / "spooled"
    path.write_text(text)
    given = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_USER": "me", "TMPDIR": str(folder), **environment}
    return subprocess.run(["/bin/bash", path], env=given, cwd=folder, capture_output=True, text=True, check=False)


def test_name() -> None:
    jobs = Submission("tok1", "Select Events (2015)/ü", Path("x"), Path("x/job.sh"), ("a", "b"))
    assert job_name(jobs) == "Select_Events_2015_.2.tok1"
    assert jobs_of(job_name(jobs), "tok1") == 2
    assert jobs_of(job_name(jobs), "tok2") == 0
    assert jobs_of("tok1", "tok1") == 0


@given(st.text(max_size=300), st.integers(1, 10**5))
def test_name_tells_the_number_of_jobs(text: str, count: int) -> None:
    name = job_name(Submission("aB3", text, Path("x"), Path("x/job.sh"), ("0:a",) * count))
    assert jobs_of(name, "aB3") == count
    assert name.isascii()
    assert len(name) < 120


def test_options(tmp_path: Path) -> None:
    resources = Resources(cores=4, memory=2**20 + 1, runtime=61, disk=1, gpus=2, queue="gpu", accounting_group="cms")
    found = options(submission(tmp_path, resources=resources), SlurmSettings(partition="main", account="me"))
    assert found["array"] == "0-1"
    assert found["output"] == f"{tmp_path}/job_%a.txt"
    assert (found["mem"], found["time"], found["tmp"], found["gres"]) == ("2M", "2", "1M", "gpu:2")
    assert (found["cpus-per-task"], found["ntasks"], found["nodes"]) == ("4", "1", "1")
    assert (found["partition"], found["account"]) == ("gpu", "cms")


def test_options_of_the_site(tmp_path: Path) -> None:
    found = options(submission(tmp_path, resources=Resources(cores=0)), SlurmSettings(partition="main", account="me"))
    assert (found["partition"], found["account"], found["cpus-per-task"]) == ("main", "me", "1")
    assert not {"mem", "time", "tmp", "gres"} & set(found)


def test_further_options(tmp_path: Path) -> None:
    site = SlurmSettings(extra={"qos": "long", "mem_per_cpu": "3G", "gpus": "1"})
    resources = Resources(memory=10**9, gpus=1, extra={"--qos": "short", "hold": ""})
    found = options(submission(tmp_path, resources=resources), site)
    assert (found["qos"], found["hold"], found["mem-per-cpu"]) == ("short", "", "3G")
    assert not {"mem", "gres"} & set(found)


@pytest.mark.parametrize("name", ["array", "--output", "open_mode", "C", "two words", ""])
def test_options_that_are_no_choice(tmp_path: Path, name: str) -> None:
    with pytest.raises(SubmissionError, match="cannot be set in section slurm"):
        options(submission(tmp_path), SlurmSettings(extra={name: "1"}))
    with pytest.raises(SubmissionError, match="cannot be set in section slurm"):
        options(submission(tmp_path), SlurmSettings(extra={"qos": "a\n#SBATCH --array=0"}))


def test_no_container(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"container image\.sif are not supported"):
        options(submission(tmp_path, resources=Resources(container="image.sif")), SHARED)


def test_output_of_odd_folders(tmp_path: Path) -> None:
    folder = tmp_path / "50% 0"
    assert options(submission(folder), SHARED)["output"] == f"{tmp_path}/50%% 0/job_%a.txt"
    with pytest.raises(SubmissionError, match="backslash"):
        options(submission(tmp_path / "a\\b"), SHARED)
    assert options(submission(tmp_path / "a\\b"), ALONE)["output"] == "/dev/null"


def test_directives(tmp_path: Path) -> None:
    text = script(submission(tmp_path / 'a "b', resources=Resources(extra={"hold": ""})), SHARED, {})
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --hold" in lines
    assert "#SBATCH --array=0-1" in lines
    assert f'#SBATCH --output="{tmp_path}/a \\"b/job_%a.txt"' in lines
    commands = [index for index, line in enumerate(lines) if not line.startswith("#")]
    assert not any(line.startswith("#SBATCH") for line in lines[commands[0] :])  # Slurm would not read them


def test_runs_one_argument(tmp_path: Path) -> None:
    folder = tmp_path / "a 'b\" $c ü"
    text = script(submission(folder), SHARED, {})
    for task, argument in enumerate(("0:a,1:b", "2:c")):
        assert run(text, tmp_path, task).stdout.splitlines()[0] == f"1:{argument}"
    beyond = run(text, tmp_path, 2)
    assert beyond.returncode != 0
    assert beyond.stdout == ""


def test_nothing_of_the_submitting_shell(tmp_path: Path) -> None:
    """What sbatch itself needed is gone again, unless the node has set it anew."""
    text = script(submission(tmp_path), SHARED, {"KRB5CCNAME": "here", "HOME": "/nowhere", "PATH": "/nowhere"})
    home = os.path.expanduser("~" + subprocess.check_output(["id", "-un"], text=True).strip())  # noqa: PTH111
    found = run(text, tmp_path, KRB5CCNAME="here", HOME="/nowhere", PATH="/nowhere").stdout.splitlines()
    assert found[3:] == ["unset", home]
    assert run(text, tmp_path, KRB5CCNAME="node").stdout.splitlines()[3] == "node"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(value=st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])))
def test_environment(tmp_path: Path, value: str) -> None:
    text = script(submission(tmp_path, 'printf "%s" "$VALUE"', environment={"VALUE": value}), SHARED, {})
    assert run(text, tmp_path).stdout == value


def test_exit_code(tmp_path: Path) -> None:
    for site in (SHARED, ALONE):
        assert run(script(submission(tmp_path, "exit 7"), site, {}), tmp_path).returncode == 7
    assert run(script(submission(tmp_path, "kill -9 $$"), SHARED, {}), tmp_path).returncode == -9
    assert run(script(submission(tmp_path, "kill -9 $$"), ALONE, {}), tmp_path).returncode == 128 + 9


def test_brings_its_files_along(tmp_path: Path) -> None:
    data = bytes(range(256)) * 20
    (tmp_path / "in 'put").write_bytes(data)
    jobs = submission(tmp_path / "here", 'cat "in \'put" > "$RESULT"; pwd', inputs=(tmp_path / "in 'put",))
    text = script(jobs, ALONE, {})
    jobs.script.unlink()
    (tmp_path / "in 'put").unlink()
    found = run(text, tmp_path, RESULT=str(tmp_path / "result"))
    assert found.returncode == 0
    assert (tmp_path / "result").read_bytes() == data
    assert not Path(found.stdout.strip()).exists()  # nothing is left on the node
    assert options(jobs, SHARED)["chdir"] == "/tmp"


def test_no_scratch_space(tmp_path: Path) -> None:
    text = script(submission(tmp_path, "echo ran"), ALONE, {})
    found = run(text, tmp_path, TMPDIR=str(tmp_path / "missing"))
    assert found.returncode == 80
    assert found.stdout == ""
