from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.setup.conftest import Project

SHELLS = ["bash", "zsh"]
SOURCE = 'source "$SETUP"'
SETS = ["columnar", "ml", "stats"]
WHERE = "import pathlib, sys, tabulate; print(sys.prefix, pathlib.Path(tabulate.__file__).parents[4], sep='\\n')"
REPORT = "env | grep -E '^(ANALYSIS_BASE|ANALYSIS_STORE|LAW_HOME|LAW_CONFIG_FILE|PATH|PYTHONPATH|VIRTUAL_ENV)=' | sort"


def environment_of(output: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


@pytest.fixture
def few_programs(tmp_path: Path) -> Path:
    """A PATH with what setup.sh itself calls, and no Python."""
    directory = tmp_path / "programs"
    directory.mkdir()
    for name in (
        "bash",
        "cat",
        "cut",
        "sha256sum",
        "df",
        "awk",
        "mkdir",
        "rm",
        "mv",
        "tail",
        "grep",
        "find",
        "env",
        "sort",
    ):
        program = shutil.which(name)
        assert program is not None
        (directory / name).symlink_to(program)
    return directory


def fake_program(directory: Path, name: str, script: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
    (directory / name).chmod(0o755)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("options", ["", "set -eu; "])
def test_exports_all_that_law_needs(ready: Project, shell: str, options: str) -> None:
    done = ready.shell(f"{options}{SOURCE}; {REPORT}; command -v python law", shell)
    assert done.returncode == 0, done.stderr
    found = environment_of(done.stdout)
    environment = next(ready.environments.glob("*-py3.*"))
    assert found["ANALYSIS_BASE"] == str(ready.path)
    assert found["ANALYSIS_STORE"] == f"{ready.path}/data/store"
    assert found["LAW_HOME"] == f"{ready.path}/.law"
    assert found["LAW_CONFIG_FILE"] == f"{ready.path}/law.cfg"
    assert found["VIRTUAL_ENV"] == str(environment)
    assert found["PYTHONPATH"] == str(ready.path)
    assert found["PATH"].split(":")[0] == f"{environment}/bin"
    assert done.stdout.splitlines()[-2:] == [f"{environment}/bin/python", f"{environment}/bin/law"]


@pytest.mark.parametrize("shell", SHELLS)
def test_second_source_changes_nothing_and_starts_no_python(ready: Project, shell: str) -> None:
    once = ready.shell(f"{SOURCE}; {REPORT}", shell)
    for script in ready.environments.glob("*/bin/*"):
        script.write_text("#!/bin/sh\necho started >&2\nexit 1\n")
    twice = ready.shell(f"{SOURCE}; {SOURCE}; {REPORT}", shell)
    assert (twice.returncode, twice.stderr) == (0, "")
    assert twice.stdout == once.stdout


@pytest.mark.parametrize(
    ("shell", "names", "options"),
    [
        ("bash", "compgen -A function; compgen -v", "set -o; shopt"),
        ("zsh", "print -l ${(k)functions} ${(k)parameters}", "set -o"),
    ],
)
def test_leaves_nothing_behind_but_exports_and_completion(ready: Project, shell: str, names: str, options: str) -> None:
    script = f"""
        before=$({names})
        {{ {options}; }} > "$TMPDIR/before"
        {SOURCE}
        {{ {options}; }} > "$TMPDIR/after"
        {names}
        echo ---
        echo "$before"
    """
    done = ready.shell(script, shell, TMPDIR=str(ready.path.parent))
    after, before = (set(part.split()) for part in done.stdout.split("---"))
    documented = {"ANALYSIS_BASE", "ANALYSIS_STORE", "LAW_HOME", "LAW_CONFIG_FILE", "PYTHONPATH", "VIRTUAL_ENV"}
    documented.add("ANALYSIS_PROFILE")
    completion = {name for name in after if name.startswith("_analysis_")}
    assert after - before - documented - completion - {"before", "PIPESTATUS", "BASH_REMATCH"} == set()
    assert "_analysis_setup" not in completion
    assert (ready.path.parent / "after").read_text() == (ready.path.parent / "before").read_text()


def test_keeps_what_was_set_before(ready: Project) -> None:
    done = ready.shell(
        f"{SOURCE}; {REPORT}", ANALYSIS_STORE="/big/disk", LAW_HOME=str(ready.path / "home"), PYTHONPATH="/mine"
    )
    found = environment_of(done.stdout)
    assert found["ANALYSIS_STORE"] == "/big/disk"
    assert found["LAW_HOME"] == str(ready.path / "home")
    assert found["PYTHONPATH"] == f"{ready.path}:/mine"


def test_switches_to_another_copy_in_the_same_shell(ready: Project, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(ready.path, other, ignore=shutil.ignore_patterns(".venv", ".law"))
    done = ready.shell(f'{SOURCE}; source "{other}/setup.sh"; {REPORT}')
    found = environment_of(done.stdout)
    assert found["PYTHONPATH"] == str(other)
    assert found["LAW_HOME"] == f"{other}/.law"
    assert found["ANALYSIS_STORE"] == f"{other}/data/store"
    assert str(ready.path) not in found["PATH"].replace(str(ready.environments), "")


def test_works_by_relative_path_and_with_cdpath(ready: Project) -> None:
    done = ready.shell(f"cd copy; CDPATH=/:/usr; source setup.sh && {REPORT}")
    assert environment_of(done.stdout)["ANALYSIS_BASE"] == str(ready.path)


@pytest.mark.parametrize(
    ("shell", "script", "sentence"),
    [("bash", 'bash "$SETUP"', "it must be sourced, not executed"), ("dash", '. "$SETUP"', "neither bash nor zsh")],
)
def test_says_how_to_use_it(project: Project, shell: str, script: str, sentence: str) -> None:
    done = project.shell(script, shell)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_without_python_it_says_so(project: Project, few_programs: Path, shell: str) -> None:
    script = f'PATH="$FEW"; {SOURCE}; echo "rc=$?"; {REPORT}'
    done = project.shell(script, shell, FEW=str(few_programs), ANALYSIS_PYTHON="")
    assert done.stderr == (
        "setup.sh: no Python 3.11, 3.12 or 3.13 on the PATH: install one, or set ANALYSIS_PYTHON to one.\n"
    )
    assert done.stdout.splitlines() == ["rc=1", f"PATH={few_programs}"]


def test_refuses_another_version_of_python(project: Project, tmp_path: Path) -> None:
    fake_program(tmp_path / "old", "python", "exit 0")  # prints nothing, as the probe does on an old Python
    done = project.shell(f"{SOURCE}; echo rc=$?", ANALYSIS_PYTHON=str(tmp_path / "old" / "python"))
    assert done.stdout == "rc=1\n"
    assert "is not a Python 3.11, 3.12 or 3.13" in done.stderr


def test_refuses_a_full_disk(project: Project, tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "df", "echo header; echo /dev/sda 100 100 1048576 1% /")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = project.shell(f'PATH="$FEW"; {SOURCE}; echo rc=$?', FEW=path)
    assert done.stdout == "rc=1\n"
    assert "needs 2000 MB" in done.stderr
    assert "has 1024 MB free" in done.stderr
    assert not list(project.environments.glob("*-py3.*"))


def test_refuses_a_place_that_cannot_be_written(project: Project, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = project.shell(f"{SOURCE}; echo rc=$?", ANALYSIS_ENV_DIR=str(tmp_path / "file"))
    assert done.stdout == "rc=1\n"
    assert "cannot be written: set ANALYSIS_ENV_DIR" in done.stderr


def source_of(name: str) -> str:
    """The command that puts a shell into the environment of a pinned list."""
    return SOURCE if name == "analysis" else f'source "${{SETUP%/*}}/sandboxes/venv_{name}.sh"'


either_way = pytest.mark.parametrize("name", ["analysis", "columnar"])


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "installer"),
    [("analysis", "uv"), ("analysis", "uv of its own"), ("analysis", "pip"), ("columnar", "uv"), ("ml", "pip")],
)
def test_builds_what_the_list_pins(project: Project, tmp_path: Path, name: str, installer: str) -> None:
    project.pin("six==1.17.0", "law==0.1.21", name=name)
    if installer == "uv":  # that of this machine, or the one that the environment of the tests was made with
        own = shutil.which("uv") or str(Path(sys.prefix).parent / ".uv" / "bin" / "uv")
        fake_program(tmp_path / "bin", "uv", f'exec "{own}" "$@"')
    else:
        fake_program(tmp_path / "bin", "uv", "exit 1")
    if installer == "pip":
        project.environments.mkdir()
        (project.environments / ".uv").touch()  # in the way of an own uv
    script = f"""
        PATH="$FIRST:$PATH"
        {source_of(name)}
        python -c "import six; print(six.__version__, six.__cached__)"
        head -c 2 "$(command -v law)"
    """
    done = project.shell(script, FIRST=str(tmp_path / "bin"), PYTHONDONTWRITEBYTECODE="1")
    assert "creating the environment" in done.stderr
    version, compiled = done.stdout.splitlines()[0].split(" ", 1)
    assert version == "1.17.0"
    assert compiled.startswith(str(project.environments))
    assert os.path.exists(compiled)  # noqa: PTH110 - compiled although Python was told not to write bytecode
    assert done.stdout.endswith("#!")
    assert (project.environments / ".uv" / "bin" / "uv").exists() == (installer == "uv of its own")


@pytest.mark.integration
@either_way
def test_shells_at_once_build_once(project: Project, name: str) -> None:
    project.pin("six==1.17.0", name=name)
    command = ["bash", str(project.path / "sandboxes" / "environment.sh"), name]
    shells = [
        subprocess.Popen(command, env=project.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [shell.communicate() for shell in shells]
    assert [shell.returncode for shell in shells] == [0] * 4
    assert len({stdout for stdout, _ in outputs}) == 1
    assert sum("creating the environment" in stderr for _, stderr in outputs) == 1


@pytest.mark.integration
@either_way
def test_a_killed_build_counts_for_nothing(project: Project, tmp_path: Path, name: str) -> None:
    project.pin("six==1.17.0", name=name)
    source = source_of(name)
    # all is installed, and the build is killed where it would say so
    fake_program(tmp_path / "bin", "mv", "kill -9 $PPID")
    killed = project.shell(f'PATH="$FIRST:$PATH"; {source}; echo rc=$?', FIRST=str(tmp_path / "bin"))
    assert killed.stdout == "rc=1\n"
    directory = next(project.environments.glob("*-py3.??"))
    assert (directory / "bin" / "python").exists()
    (directory / "half-written").touch()

    done = project.shell(f"{source}; python -c 'import six'; echo rc=$?")
    assert "creating the environment" in done.stderr
    assert done.stdout == "rc=0\n"
    assert not (directory / "half-written").exists()


@pytest.mark.integration
@pytest.mark.parametrize(("name", "caller"), [("analysis", "setup.sh"), ("stats", "venv_stats.sh")])
def test_a_failed_installation_is_explained(project: Project, name: str, caller: str) -> None:
    project.pin("six==0.0.999", name=name)
    done = project.shell(f"{source_of(name)}; echo rc=$?; command -v law")
    assert done.stdout.splitlines()[0] == "rc=1"
    assert "the packages could not be installed" in done.stderr
    assert "six==0.0.999" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"{caller}: the environment was not created")
    assert f"and source {caller} again" in done.stderr
    assert not list(project.environments.glob("*/.complete"))


@pytest.mark.integration
def test_a_moved_copy_builds_its_own(project: Project, tmp_path: Path) -> None:
    project.pin("six==1.17.0")
    project.shell(SOURCE)
    project.path.rename(tmp_path / "moved")
    done = project.shell(f'source "{tmp_path}/moved/setup.sh"; command -v python', ANALYSIS_ENV_DIR="")
    assert "creating the environment" in done.stderr
    assert done.stdout.startswith(f"{tmp_path}/moved/.venv/")


@pytest.mark.integration
def test_a_moved_environment_runs(project: Project, tmp_path: Path) -> None:
    """It can be unpacked anywhere, where the same Python is; but it is not taken for complete there."""
    project.pin("tabulate==0.10.0", name="ml")
    built = project.shell(f'{source_of("ml")}; printf %s "$VIRTUAL_ENV"').stdout
    moved = tmp_path / "elsewhere" / built.rpartition("/")[2]
    moved.parent.mkdir()
    shutil.move(built, moved)
    done = project.shell(
        'echo 1 2 | "$MOVED/bin/tabulate"; "$MOVED/bin/python" -c "$CODE"', MOVED=str(moved), CODE=WHERE
    )
    assert done.stdout.splitlines() == ["-  -", "1  2", "-  -", str(moved), str(moved)]
    again = project.shell(source_of("ml"), ANALYSIS_ENV_DIR=str(moved.parent))
    assert "creating the environment" in again.stderr


@pytest.mark.integration
def test_others_can_read_an_environment_and_build_beside_it(project: Project) -> None:
    project.pin("six==1.17.0", name="ml")
    done = project.shell(f'umask 077; {source_of("ml")}; umask; printf %s "$VIRTUAL_ENV"')
    mask, environment = done.stdout.splitlines()
    assert mask == "0077"
    found = [project.environments / ".lock", *Path(environment).rglob("*")]
    assert [path for path in found if not path.is_symlink() and not path.stat().st_mode & 0o004] == []
    (project.environments / ".lock").chmod(0o444)
    project.pin("six==1.16.0", name="ml")
    assert project.shell(f"{source_of('ml')}; python -c 'import six; print(six.__version__)'").stdout == "1.16.0\n"


CONSOLE = "import os, sys; print(os.environ['ANALYSIS_BASE'], sys.flags.safe_path, *sys.argv[1:], sep='|')"


@pytest.mark.parametrize("shell", SHELLS)
def test_command_analysis_is_that_of_the_copy(ready: Project, tmp_path: Path, shell: str) -> None:
    """Two copies share an environment that was there before it had the command."""
    other = tmp_path / "other"
    shutil.copytree(ready.path, other, ignore=shutil.ignore_patterns(".venv", ".law"))
    for copy in (ready.path, other):
        (copy / "analysis" / "__main__.py").write_text(CONSOLE)
    assert not list(ready.environments.glob("*/bin/analysis"))
    script = f'{SOURCE}; analysis a "b  c"; source "{other}/setup.sh"; analysis; command -v analysis'
    done = ready.shell(script, shell)
    launcher = next(ready.environments.glob("*/bin/analysis"))
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [f"{ready.path}|True|a|b  c", f"{other}|True", str(launcher)]
    assert sorted(path.name for path in launcher.parent.iterdir()) == ["analysis", "law", "python"]


def test_command_analysis_returns_the_exit_code(ready: Project) -> None:
    (ready.path / "analysis" / "__main__.py").write_text("raise SystemExit(7)")
    assert ready.shell(f"{SOURCE}; analysis").returncode == 7


def test_command_of_an_installed_package_is_kept(ready: Project) -> None:
    environment = next(ready.environments.glob("*-py3.*"))
    fake_program(environment / "bin", "analysis", "echo installed")
    assert ready.shell(f"{SOURCE}; analysis").stdout == "installed\n"


def test_environment_that_cannot_be_written_is_used_all_the_same(ready: Project, tmp_path: Path) -> None:
    environment = next(ready.environments.glob("*-py3.*"))
    fake_program(tmp_path / "bin", "mv", "exit 1")
    done = ready.shell(f'PATH="$FIRST:$PATH"; {SOURCE}; echo $VIRTUAL_ENV', FIRST=str(tmp_path / "bin"))
    assert done.stdout == f"{environment}\n"
    assert f"{environment} cannot be written, so it has no command 'analysis'" in done.stderr
    assert sorted(path.name for path in (environment / "bin").iterdir()) == ["law", "python"]


def test_index_is_renewed_only_after_an_edit(ready: Project) -> None:
    values, index = ready.path / ".law" / "values", ready.path / ".law" / "index"
    assert ready.shell(SOURCE).returncode == 0
    assert "analysis.tasks:FitModel:" in index.read_text()
    first = values.stat().st_mtime_ns
    ready.shell(SOURCE)
    assert values.stat().st_mtime_ns == first

    tasks = ready.path / "analysis" / "tasks" / "__init__.py"
    tasks.write_text(tasks.read_text() + "\n\nclass ScanParameter(FitModel):\n    pass\n")
    os.utime(tasks, ns=(first + 10**9, first + 10**9))
    ready.shell(SOURCE)
    assert "analysis.tasks:ScanParameter:" in index.read_text()


def test_index_is_that_of_the_copy_whatever_the_directory(ready: Project, tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    (tmp_path / "analysis" / "__init__.py").write_text("raise ValueError('of another repository')")
    done = ready.shell(f'cd "{tmp_path}"; {SOURCE}')
    assert (done.returncode, done.stderr) == (0, "")
    assert "analysis.tasks:FitModel:" in (ready.path / ".law" / "index").read_text()


def test_broken_tasks_do_not_lock_their_author_out(ready: Project) -> None:
    tasks = ready.path / "analysis" / "tasks" / "__init__.py"
    tasks.write_text("import nothing_of_that_name\n")
    done = ready.shell(f"{SOURCE}; echo rc=$?; echo $VIRTUAL_ENV")
    assert done.stdout.startswith("rc=0\n/")
    assert "No module named 'nothing_of_that_name'" in done.stderr
    assert "the task index could not be renewed" in done.stderr


def test_dev_environment_has_its_own_list(ready: Project) -> None:
    (ready.path / "sandboxes" / "dev.txt").write_text("six==1.17.0\n")
    dev = ready.environments / f"dev-{os.getpid()}"
    for script in (f"{SOURCE} --dev", f"ANALYSIS_DEV=1; {SOURCE}", f"set -- --dev; {SOURCE}"):
        done = ready.shell(f"{script}; echo rc=$?", ANALYSIS_ENV_DIR=str(dev), ANALYSIS_PYTHON="/bin/false")
        assert "is not a Python" in done.stderr  # looked for another environment, did not take that of analysis.txt
    assert ready.shell(f"{SOURCE}; echo rc=$?").stdout == "rc=0\n"


def test_fits_the_python_of_the_tests(ready: Project) -> None:
    done = ready.shell(f"{SOURCE}; python -c 'import sys; print(sys.executable)'")
    assert done.stdout.strip() == sys.executable
