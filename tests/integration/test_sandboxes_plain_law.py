"""Defects of plain law's sandboxes, and what ours do: each test names its row in the table of law's sandbox defects.

Plain law has a ``law.cfg`` with all that its user has to find out before a task runs in a container at all (see
:func:`benchmarks.plain_law.settings.settings_of`), and the same images.

What is not shown here: that a task waits 61 s for a scheduler that it cannot reach (13), as it is told to give up at
once; and the path of a cache for variables (9), which can be set nowhere. A percent sign in ``law.cfg`` (11) has to be
doubled for us as well, as ``law run`` imports law before anything of ours.
"""

from __future__ import annotations

import os
import signal
import socket
import venv
from pathlib import Path

import pytest

from analysis.engine.process import is_running
from tests.chain import REPOSITORY
from tests.engine.sandboxes.runs import SOON, until
from tests.integration.sandbox_fixtures import containers
from tests.integration.sandbox_sides import Settings, Side, scheduler, side
from tests.integration.storage_sides import answers
from tests.testbed.fixtures import sandboxes
from tests.testbed.sandboxes import Sandboxes

__all__ = ["containers", "sandboxes", "scheduler", "side"]

pytestmark = pytest.mark.integration

CONTAINERS = pytest.mark.parametrize("kind", ["docker", "apptainer"])
ALL = pytest.mark.parametrize("kind", ["bash", "docker", "apptainer"])
WHILE = 3.0
"""For how long it is watched that something goes on [s]."""


@CONTAINERS
@answers(plain=False, ours=True)
def test_variables_of_the_client(side: Side, answer: bool, kind: str) -> None:
    """Defect 1: docker is run with the variables of the container, so neither it nor its daemon is found."""
    settings: Settings = {"plain": {"docker_sandbox_env": {}, "singularity_sandbox_env": {}}}
    ran = side.run("Sandboxed", side.sandbox(kind), settings=settings)
    assert (ran.returncode == 0) is answer, ran.stdout + ran.stderr


@ALL
@answers(plain=("{a: }", True), ours=('{"a": `touch %s`}', False))
def test_variables_are_code(side: Side, answer: tuple[str, bool], kind: str) -> None:
    """Defect 2: quotes in a value vanish, and backticks are executed."""
    made = side.place / "made"
    side.succeed("Sandboxed", side.sandbox(kind), "--token", f'{{"a": `touch {made}`}}')
    said, is_made = answer
    assert side.seen()["variables"]["TOY_TOKEN"] == said.replace("%s", str(made))
    assert made.exists() is is_made


@answers(plain="secret", ours=None)
def test_token_of_another_task(side: Side, answer: str | None) -> None:
    """Defect 3: variables of the first task in a sandbox are those of all others."""
    side.succeed("Many", side.sandbox("bash"), "--n", "2", "--token", "secret")
    assert side.seen(0)["variables"]["TOY_TOKEN"] == "secret"
    assert side.seen(1)["variables"].get("TOY_TOKEN") == answer


@ALL
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@answers(plain=True, ours=False)
def test_left_behind(side: Side, answer: bool, kind: str, number: signal.Signals) -> None:
    """Defect 4: after a signal to law, what runs in the sandbox goes on."""
    with side.waiting(side.sandbox(kind)) as (law, task):
        os.kill(law, number)
        ended = until(lambda: not is_running(task), WHILE if answer else SOON)
        assert ended is not answer


@answers(plain=True, ours=False)
def test_left_behind_by_the_daemon(side: Side, answer: bool, sandboxes: Sandboxes) -> None:
    """Defect 4: the same if the daemon was killed before; with ours, the task does not mind that."""
    with side.waiting(side.sandbox("docker")) as (law, task):
        try:
            sandboxes.kill("dockerd")
            assert is_running(task)
            os.kill(law, signal.SIGTERM)
            ended = until(lambda: not is_running(task), WHILE if answer else SOON)
        finally:
            sandboxes.start("dockerd")
        assert ended is not answer
    assert until(lambda: not side.containers.running(), SOON)


@answers(plain=["Exception", "failed with exit code"], ours=["ValueError", "a value"])
@ALL
def test_error(side: Side, answer: list[str], kind: str) -> None:
    """Defect 5: of an error inside, an exit code arrives."""
    assert side.run("Sandboxed", side.sandbox(kind), "--what", "fail").returncode == 30
    error, text = side.failure()
    assert (error, answer[1] in text) == (answer[0], True), text


@answers(plain=0, ours=30)
def test_output_on_a_place_that_is_not_mounted(
    side: Side, answer: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Defect 6: the file is lost, which is a success."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    ran = side.run("Elsewhere", side.sandbox("docker"), "--elsewhere", str(elsewhere))
    assert ran.returncode == answer, ran.stdout + ran.stderr
    assert not list(elsewhere.iterdir())
    if side.is_ours:
        assert side.failure()[0] == "SandboxError"


@CONTAINERS
@answers(plain=False, ours=True)
def test_packages_of_law(side: Side, answer: bool, kind: str) -> None:
    """Defect 7: of the packages that luigi needs, law leaves one out, so that no container runs."""
    ran = side.run("Sandboxed", side.sandbox(kind), variables={"LAW_SOFTWARE_DEPS": ""})
    assert (ran.returncode == 0) is answer
    assert answer or "typing_extensions" in ran.stdout + ran.stderr


@answers(plain=True, ours=False)
def test_environment_without_law(side: Side, answer: bool) -> None:
    """Defect 8: the task runs outside, with another Python, which is a success."""
    directory = side.folder / "environment"
    venv.create(directory)
    ran = side.run("Sandboxed", f"venv::{directory}", settings={"plain": {"venv_sandbox": {}}})
    assert (ran.returncode == 0) is answer, ran.stdout + ran.stderr
    if side.is_ours:
        assert side.failure()[0] == "SandboxError"
        assert "it has no luigi; it has no law" in side.failure()[1]
    else:
        assert Path(side.seen()["prefix"]) != directory


@answers(plain=2, ours=1)
def test_starts(side: Side, answer: int) -> None:
    """Defect 9: a container more is started, to ask for its variables."""
    with side.containers.counted() as count:
        side.succeed("Sandboxed", side.sandbox("docker"))
    assert count() == answer


@answers(plain=True, ours=False)
def test_code_can_be_written(side: Side, answer: bool) -> None:
    """Defect 10: with ``allow_binds: False`` law is mounted all the same, and in a way that tasks can change it."""
    settings = {"plain": {"singularity_sandbox": {"law_executable": "python -m law", "allow_binds": "False"}}}
    side.succeed("Sandboxed", side.sandbox("apptainer"), settings=settings)
    assert side.seen()["can_write_code"] is answer


@answers(plain=False, ours=True)
def test_variable_in_the_name_of_a_volume(side: Side, answer: bool) -> None:
    """Defect 11: law cannot even be imported, so with ours a path with variables is a value."""
    option = {"conditions": "$TOY_PLACE, rw"} if side.is_ours else {"$TOY_PLACE": "/conditions"}
    settings = {side.name: {"docker_sandbox_volumes": option}}
    place = side.folder / "100%"
    place.mkdir()
    ran = side.run("Sandboxed", side.sandbox("docker"), settings=settings, variables={"TOY_PLACE": str(place)})
    assert (ran.returncode == 0) is answer, ran.stdout + ran.stderr


@CONTAINERS
@answers(plain=None, ours="value")
def test_settings_in_another_file(side: Side, answer: str | None, kind: str) -> None:
    """Defect 12: of all files that ``law.cfg`` pulls in, none is there inside."""
    more = side.folder / "more.cfg"
    more.write_text("[toy]\noption: value\n")
    files = {"plain": "more.cfg", "ours": f"more.cfg, {REPOSITORY}/law.cfg"}
    side.succeed("Sandboxed", side.sandbox(kind), settings={name: {"core": {"extend": f}} for name, f in files.items()})
    assert side.seen()["option"] == answer


@CONTAINERS
@answers(plain=True, ours=False)
def test_volume_that_is_not_there(side: Side, answer: bool, kind: str) -> None:
    """Defect 12: a directory whose name was mistyped is made."""
    mistyped = side.folder / "conditoins"
    section = f"{kind if side.is_ours else kind.replace('apptainer', 'singularity')}_sandbox_volumes"
    volumes = {section: {**side.usual().get(section, {}), str(mistyped): "ro" if side.is_ours else str(mistyped)}}
    side.run("Sandboxed", side.sandbox(kind), settings={side.name: volumes})
    assert mistyped.exists() is answer
    if side.is_ours:
        assert side.failure() == [
            "ParameterError",
            f"law.cfg, section {section}: {mistyped} does not exist: correct it, or make it",
        ]


@answers(plain=False, ours=True)
def test_scheduler_elsewhere(side: Side, answer: bool, scheduler: dict[str, str]) -> None:
    """Defect 13: a scheduler by any other name than that of this machine cannot be reached from a container."""
    settings = {"luigi_core": {**scheduler, "scheduler_host": socket.gethostname()}}
    ran = side.run("Sandboxed", side.sandbox("docker"), settings={"plain": settings, "ours": settings})
    assert (ran.returncode == 0) is answer, ran.stdout + ran.stderr


@pytest.mark.parametrize("kind", ["none", "bash", "docker"])
@answers(plain={"none": 2, "bash": 1, "docker": 1}, ours={"none": 2, "bash": 2, "docker": 2})
def test_tries(side: Side, answer: dict[str, int], kind: str, scheduler: dict[str, str]) -> None:
    """Defect 14: a task in a sandbox is tried less often than the scheduler is told."""
    settings = {"luigi_core": scheduler, "luigi_worker": {"keep_alive": "True", "wait_interval": "0.1"}}
    ran = side.run("Sandboxed", side.sandbox(kind), "--what", "fail", settings={side.name: settings})
    assert ran.returncode != 0
    assert len(list(side.place.glob("ran_*"))) == answer[kind]


@answers(plain="failed with exit code 30", ours="OurAsking.run() yields tasks, which cannot be committed: name them in")
def test_asking_for_another_task(side: Side, answer: str) -> None:
    """Defect 15: a task that asks for others while it runs fails, and nobody says why; ours says it before it runs."""
    family = "tests.integration.asking_toys.OurAsking" if side.is_ours else "Asking"
    ran = side.run(family, side.sandbox("bash"))
    assert ran.returncode != 0
    assert answer in (ran.stderr if side.is_ours else side.failure()[1])


@answers(plain=False, ours=True)
def test_another_user(side: Side, answer: bool) -> None:
    """Defect 16: root cannot run docker as another user; with ours it runs as who started it, whatever is set."""
    user = {"docker_sandbox": {"uid": "65534", "gid": "65534", "law_executable": "python -m law"}}
    ran = side.run("Sandboxed", side.sandbox("docker"), settings={"plain": user})
    assert (ran.returncode == 0) is answer, ran.stdout + ran.stderr
