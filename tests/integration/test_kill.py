"""A run that is killed, at whatever moment, leaves nothing behind that counts and is not whole."""

from __future__ import annotations

import math
import os
import random
import secrets
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest

from analysis.engine.leftovers import is_lock, is_part
from analysis.engine.manifest import FOLDER, Manifest, checksum
from analysis.engine.recipes import required_tasks
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.task import AnalysisTask
from analysis.generator import write_nanoaod
from tests.chain import Law
from tests.integration.conftest import write_campaign
from tests.integration.victim import Orders, Victim, all_tasks, last_tasks, prepare

pytestmark = pytest.mark.integration

KILLS = 100
IN_A_ROW = 16
"""Kills after which a run may go on to its end."""
HANGS = 300.0
"""Seconds without a word after which a run counts as hanging; a lock that is not seen to be stale is waited for."""
COMPARED_BY_CONTENT = frozenset({"v1/small/BuildModel/folds_2/histograms.root"})
"""Outputs that are not the same bits each time: ROOT files of histograms carry the time, and a random identity."""


@pytest.fixture
def campaign(law: Law, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small generated files, and an environment for runs that fork from one process."""
    files: dict[str, list[str]] = {}
    for dataset, n_files in (("ttbar", 2), ("wjets", 1)):
        for i in range(n_files):
            path = tmp_path / f"{dataset}_{i}.root"
            write_nanoaod(path, dataset, 1000, seed=3, first_event=1000 * i)
            files.setdefault(dataset, []).append(str(path))
    for name, value in law.environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))  # where what is killed leaves its temporary files
    path = write_campaign(tmp_path / "small.yaml", files)
    prepare(path)
    return path


@dataclass
class Store:
    """The store of the runs that are killed, beside what an undisturbed run has made."""

    path: Path
    tasks: list[AnalysisTask]
    reference: Path
    revision: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def outputs(self) -> list[str]:
        """All outputs of the chain."""
        branches = (branch for task in self.tasks for branch in task.branch_tasks())
        return [str(path.relative_to(self.path)) for branch in branches for path in branch.output_paths()]

    def check(self) -> None:
        """Whatever counts is whole, and what an undisturbed run makes."""
        snapshot = Snapshot()
        for task in self.tasks:
            for branch in task.branch_tasks():
                promised = {str(path.relative_to(self.path)) for path in branch.output_paths()}
                found = snapshot.record(branch)
                if found is None:
                    assert snapshot.state(branch) is State.MISSING
                    self.seen["outputs without a manifest"] += sum((self.path / name).is_file() for name in promised)
                    continue
                manifest = Manifest.read(Path(branch.folder) / FOLDER / str(found))
                assert {output.path for output in manifest.outputs} == promised
                for output in manifest.outputs:
                    path = self.path / output.path
                    assert (path.stat().st_size, checksum(path)) == (output.size, output.adler32)
                    self.compare(output.path)

    def compare(self, name: str) -> None:
        """An output is the same bits as that of the undisturbed run, or has the same content."""
        if name in COMPARED_BY_CONTENT:
            assert histograms(self.path / name) == histograms(self.reference / name)
        else:
            assert (self.path / name).read_bytes() == (self.reference / name).read_bytes(), name

    def note_leftovers(self) -> None:
        """Count what the kill has left behind."""
        for path in self.path.rglob(".*"):
            if is_part(path):
                self.seen["unfinished files"] += 1
            elif is_lock(path) and path.name.endswith(".lock"):
                self.seen["locks"] += 1
                self.seen[f"in {path.relative_to(self.path).parts[2]}"] += 1

    def thin(self, choice: random.Random) -> None:
        """Remove or damage some outputs or manifests, and some of everything that is made of these."""
        self.revision = choice.choice((0, 1))
        if choice.random() < 0.2:
            shutil.rmtree(self.path)
            return
        start = choice.choice(self.tasks)
        damaged: set[str] = set()
        for task in self.tasks:
            if task is start or any(required.key in damaged for required in required_tasks(task)):
                damaged.add(task.key)
                branches = list(task.branch_tasks())
                for branch in choice.sample(branches, choice.randint(1, len(branches))):
                    damage(branch, choice)


def damage(branch: AnalysisTask, choice: random.Random) -> None:
    """Make the outputs of a branch missing, in one way or another."""
    output = Path(choice.choice(branch.output_paths()))
    match choice.choice(("output", "truncated", "manifest", "all")):
        case "output":
            output.unlink()
        case "truncated":
            os.truncate(output, output.stat().st_size // 2)
        case "manifest":
            remove_manifests(branch)
        case _:
            remove_manifests(branch)
            for path in branch.output_paths():
                Path(path).unlink()


def remove_manifests(branch: AnalysisTask) -> None:
    name = "task" if branch.branch_number is None else branch.branch_number
    for path in (Path(branch.folder) / FOLDER).glob(f"{name}.*.json"):
        path.unlink()


def histograms(path: Path) -> dict[str, str]:
    """Digests of all histograms of a ROOT file."""
    import uproot

    with uproot.open(path) as file:
        return {
            key: sha256(b"".join(part.tobytes() for part in (h.values(flow=True), h.variances(flow=True)))).hexdigest()
            for key, h in file.items(cycle=False)
        }


def run_to_the_end(orders: Orders) -> None:
    """An undisturbed run."""
    victim = Victim.start(orders)
    deadline = time.monotonic() + HANGS
    while victim.process.is_alive() and time.monotonic() < deadline:
        victim.read(0.2)
    hangs = victim.process.is_alive()
    if hangs:
        victim.kill()
    code = victim.bury()
    assert not hangs, victim.lines
    assert code == 0, victim.lines
    assert not [line for line in victim.lines if line.startswith("ERROR")]


def run_and_kill(orders: Orders, choice: random.Random) -> Victim:
    """A run that is killed: at any time, soon after a branch is done, or at a certain operation on the store.

    If only its main process is killed, its other processes are still at work.
    """
    how = choice.choice(("time", "line", "operation"))
    if how == "operation":
        victim = Victim.start(replace(orders, fatal_operation=choice.randint(1, 100)))
        victim.process.join()
        return victim
    victim = Victim.start(orders)
    if how == "line":
        branches, delay = choice.randint(1, 6), choice.uniform(0.0, 0.03)
        while len(victim.done()) < branches and victim.read(HANGS):
            pass
    else:
        delay = math.exp(choice.uniform(math.log(0.03), math.log(1.5)))
    deadline = time.monotonic() + delay
    while (left := deadline - time.monotonic()) > 0 and victim.process.is_alive():
        victim.read(left)
    victim.kill(orders.whole_group)
    return victim


def test_kills_at_any_moment(law: Law, campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("ANALYSIS_TEST_SEED") or secrets.randbits(32))
    print(f"ANALYSIS_TEST_SEED={seed}")
    choice, started = random.Random(seed), time.monotonic()
    reference = tmp_path / "reference"
    run_to_the_end(Orders(reference, campaign))
    monkeypatch.setenv("ANALYSIS_STORE", str(law.store))
    store = Store(law.store, all_tasks(campaign), reference)
    assert {task.get_task_family() for task in store.tasks} >= {"IndexFiles", "TrainModel", "FitModel", "PlotFit"}
    in_a_row = 0
    alive: list[Victim] = []
    while store.seen["kills"] < KILLS:
        workers = choice.choice((1, 2))
        orders = Orders(
            law.store,
            campaign,
            choice.randrange(len(last_tasks(campaign))),
            workers,
            store.revision,
            whole_group=choice.random() < 0.8,
        )
        victim = run_and_kill(orders, choice)
        in_a_row += 1
        if not orders.whole_group and not alive:
            alive.append(victim)  # what is left of it works on beside the next run
            continue
        codes = [victim.bury() for victim in (*alive, victim)]
        if orders.whole_group:  # else the run may say that one of its processes has died
            assert codes[-1] in {0, -signal.SIGKILL}, victim.lines
            assert not [line for line in victim.lines if line.startswith("ERROR")]
        store.seen["stale locks removed"] += sum(
            "lock removed" in line for run in (*alive, victim) for line in run.lines
        )
        alive.clear()
        store.seen["kills"] += sum(code != 0 for code in codes)
        store.note_leftovers()
        store.check()
        if in_a_row > IN_A_ROW or 0 in codes:
            run_to_the_end(replace(orders, whole_group=True))
            store.seen["completed"] += 1
            store.check()
            for name in store.outputs():
                store.compare(name)
            in_a_row = 0
            store.thin(choice)
    print(f"{time.monotonic() - started:.0f} s:", dict(store.seen))
    assert store.seen["locks"] > 0
    assert store.seen["unfinished files"] > 0
    assert store.seen["stale locks removed"] > 0
    assert store.seen["completed"] > 2
