"""Runs at the same time on one store share the work, and do nothing twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from analysis.engine.manifest import HISTORY, Manifest, ManifestName
from tests.chain import Law
from tests.integration.conftest import write_campaign

pytestmark = pytest.mark.integration

DONE = re.compile(r"^(?P<title>\S.*?): (?:done in|unchanged)", re.MULTILINE)
NOT_THE_SAME_BITS = frozenset({".root", ".html"})
"""Kinds of outputs that tell when they were made: ROOT files in their header, the report in its text."""

# starts like "law run", but waits for a word before it looks at the store
TOGETHER = """
import runpy, sys
import analysis.tasks
print("ready", flush=True)
sys.stdin.readline()
runpy.run_module("law", run_name="__main__")
"""
# stops itself when it is about to write a certain file, while it holds the lock of the branch
STOPS = """
import os, runpy, signal, sys
names = [sys.argv.pop(1)]
def stop(event, arguments):
    if event == "open" and names and names[0] in str(arguments[0]):
        names.clear()
        os.kill(os.getpid(), signal.SIGSTOP)
sys.addaudithook(stop)
runpy.run_module("law", run_name="__main__")
"""


def done(said: str) -> list[str]:
    """Titles of the tasks and branches that a run has done."""
    return [found["title"] for found in DONE.finditer(said)]


def manifests(store: Path) -> dict[str, Manifest]:
    """All manifests, by task folder and branch."""
    found = {}
    for path in store.rglob("manifests/*.json"):
        name = ManifestName.parse(path.name)
        assert name is not None
        found[f"{path.parent.parent.relative_to(store)}#{name.branch}"] = Manifest.read(path)
    return found


def check_done_once(store: Path, said: Sequence[str]) -> None:
    """Each branch was made by one of the runs, and by each run some of them."""
    titles = [done(text) for text in said]
    assert all(titles)
    count = Counter(title for part in titles for title in part)
    assert set(count.values()) == {1}, [title for title, times in count.items() if times > 1]
    assert len(count) == len(manifests(store)) == len(list(store.rglob("manifests/*.json")))
    assert not list(store.rglob(f"{HISTORY}/*"))
    assert not list(store.rglob("*.part"))


def script(code: str, *arguments: str) -> list[str]:
    """Command line of a script that is like ``law``."""
    return [sys.executable, "-c", code, *arguments]


def test_two_runs_of_the_demo_make_what_one_makes(law: Law, demo_store: Path, tmp_path: Path) -> None:
    said = [tmp_path / f"{i}.txt" for i in range(2)]
    runs = []
    for path in said:
        with path.open("w") as stderr:
            runs.append(
                subprocess.Popen(law.command("Report"), env=law.environment(), stdout=subprocess.DEVNULL, stderr=stderr)
            )
    codes = [run.wait() for run in runs]
    assert codes == [0, 0], [path.read_text() for path in said]
    check_done_once(law.store, [path.read_text() for path in said])

    made, expected = manifests(law.store), manifests(demo_store)
    assert made.keys() <= expected.keys()  # other tests run other tasks in that store
    assert "v1/demo/Report#None" in made
    for key, manifest in made.items():
        assert manifest.recipe == expected[key].recipe
        assert manifest.accounting == expected[key].accounting
        assert comparable(manifest) == comparable(expected[key]), key


def comparable(manifest: Manifest) -> dict[str, tuple[int, str] | None]:
    """Sizes and checksums of the outputs by path, of those that are the same bits each time."""
    return {
        output.path: None if Path(output.path).suffix in NOT_THE_SAME_BITS else (output.size, output.adler32)
        for output in manifest.outputs
    }


def test_runs_with_helpers_share_the_branches_of_a_workflow(
    law: Law, small_files: dict[str, list[str]], tmp_path: Path
) -> None:
    declared = {"ttbar": [{"path": path, "entries": 1500} for path in small_files["ttbar"]]}
    campaign = write_campaign(tmp_path / "small.yaml", declared)  # type: ignore[arg-type]
    arguments = ("SelectEvents", "--campaign", campaign, "--dataset", "ttbar", "--chunk-size", "200", "--workers", "2")
    runs = [
        subprocess.Popen(
            script(TOGETHER, *law.command(*arguments)[3:]),
            env=law.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    check_done_once(law.store, said)
    assert len(manifests(law.store)) == 3 + 3 * 8  # 1500 events are cut into eight chunks


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL], ids=["goes on", "is killed"])
def test_branch_of_a_paused_run_is_waited_for(
    law: Law, small_files: dict[str, list[str]], tmp_path: Path, end: signal.Signals
) -> None:
    campaign = write_campaign(tmp_path / "small.yaml", {"ttbar": small_files["ttbar"]})
    arguments = ("SelectEvents", "--campaign", str(campaign), "--dataset", "ttbar")
    command = script(STOPS, ".cutflow_1.json.", *law.command(*arguments)[3:])
    first_said = tmp_path / "first.txt"
    with first_said.open("w") as stderr:
        first = subprocess.Popen(
            command, env=law.environment(), stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
        )
    _, status = os.waitpid(first.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), first_said.read_text()
    second = subprocess.Popen(
        law.command(*arguments), env=law.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert second.stderr is not None
    said = ""
    for line in second.stderr:
        said += line
        if done(line) == ["SelectEvents ttbar branch 2"]:
            break
    assert done(said) == ["SelectEvents ttbar branch 2"], said
    assert second.poll() is None
    first.send_signal(end)
    said += second.communicate()[1]
    assert second.returncode == 0, said
    assert first.wait() == (0 if end is signal.SIGCONT else -signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(first.pid, signal.SIGKILL)  # a helper of law outlives its killed parent
    if end is signal.SIGCONT:
        assert done(said) == ["SelectEvents ttbar branch 2"]
        check_done_once(law.store, [first_said.read_text(), said])
    else:
        assert done(said) == [f"SelectEvents ttbar branch {branch}" for branch in (2, 1)]
        assert f"process {first.pid} " in said
        assert "which is gone: lock removed" in said
