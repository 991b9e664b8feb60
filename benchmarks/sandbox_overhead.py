"""What a sandbox costs per task, against plain law: the same tasks in the same environments and images.

Both sides run in processes of their own, in turns, one worker. The cost of a sandbox is what a run takes in it, each
task in one of its own, less what the same run takes without; by the clock, for what a daemon does is in no process of
ours. It is that of a run of one task, and of a run of several, per task. Plain law starts a sandbox twice for the
first task of a process; with more workers than one, luigi has a process for each task, so all of them are first ones.
The machine has to be idle: the load is printed as well. Images are those of the testbed:

    eval "$(tests/testbed/env sandboxes)"
    python -m benchmarks.sandbox_overhead [--tasks N] [--rounds N] [--kinds KIND,...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.plain_law.settings import NEEDED, settings_of, written

REPOSITORY = Path(__file__).resolve().parents[1]
SIDES = {"plain law": "benchmarks.plain_law.sandboxed.PlainMany", "ours": "benchmarks.sandboxed_ours.OurMany"}
KINDS = ("venv", "bash", "docker", "apptainer", "directory")
"""The last one is apptainer with an image that is a directory."""
OF_BRANCHES, BRANCHES = "benchmarks.sandboxed_ours.OurBranches", 20
GOAL = 0.7
SET = "columnar"
Found = dict[tuple[str, str, int, str], list[float]]
"""Seconds by side, family, number of tasks, and kind of sandbox."""


class Bench:
    """``law`` in processes of their own.

    Args:
        folder: an empty directory.
        kinds: of sandboxes.
    """

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        self.folder, self.store = folder, folder / "store"
        self._images = {
            "docker": os.environ.get("TESTBED_DOCKER_COLUMNAR", ""),
            "apptainer": os.environ.get("TESTBED_APPTAINER_COLUMNAR", ""),
        }
        if missing := [kind for kind in self._images if kind in kinds and not self._images[kind]]:
            msg = f"there is no image of {missing[0]}: call 'eval \"$(tests/testbed/env sandboxes)\"' first"
            raise SystemExit(msg)
        (folder / "home").mkdir()
        (folder / "nothing.sh").touch()
        programs = Path(shutil.which("singularity") or "/usr/bin/singularity").parent
        (folder / "plain.cfg").write_text(written(settings_of(self._place, programs)))
        if "venv" in kinds:
            line = ["bash", str(REPOSITORY / "sandboxes" / "environment.sh"), SET]
            self._images["venv"] = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        if "directory" in kinds:
            self._images["directory"] = str(folder / "image")
            line = ["apptainer", "build", "--sandbox", self._images["directory"], self._images["apptainer"]]
            subprocess.run(line, check=True, capture_output=True)

    @property
    def _place(self) -> Path:
        return self.store / "place"

    def law(self, side: str, family: str, kind: str, number: int) -> float:
        """How long a run of so many tasks takes [s].

        Raises:
            RuntimeError: if it fails, with what it said.
        """
        shutil.rmtree(self.store, ignore_errors=True)
        self._place.mkdir(parents=True)
        arguments = ["--n", str(number), "--place", str(self._place), "--sandbox", self._name(side, kind)]
        line, log = [sys.executable, "-m", "law", "run", family, *arguments], self.folder / "log"
        with log.open("wb") as file:
            start = time.monotonic()
            code = subprocess.call(line, env=self._environment(side, kind), stdout=file, stderr=file)
            seconds = time.monotonic() - start
        if code or len(list(self.store.rglob("seen_*.json"))) != number:
            msg = f"{side}: {' '.join(line)} failed:\n{log.read_text()}"
            raise RuntimeError(msg)
        return seconds

    def _name(self, side: str, kind: str) -> str:
        """Name of a sandbox; ours is that of the software set of the task, as in the chain."""
        if kind == "bash":
            return f"bash::{self.folder}/nothing.sh"
        if side == "ours":
            return kind.replace("directory", "apptainer")
        if kind == "none":
            return "NO_STR"
        return f"{ {'venv': 'venv', 'docker': 'docker'}.get(kind, 'singularity') }::{self._images[kind]}"

    def _environment(self, side: str, kind: str) -> Mapping[str, str]:
        settings = REPOSITORY / "law.cfg" if side == "ours" else self.folder / "plain.cfg"
        image = self._images["directory" if kind == "directory" else "apptainer"]
        return {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "ANALYSIS_BASE": str(REPOSITORY),
            "ANALYSIS_STORE": str(self.store),
            "ANALYSIS_PROFILE": "local",
            "LAW_HOME": str(self.folder / "home"),
            "LAW_CONFIG_FILE": str(settings),
            "LAW_SOFTWARE_DEPS": NEEDED,
            "LAW__docker_sandbox__image": self._images["docker"],
            "LAW__apptainer_sandbox__image": image,
        }


def compare(bench: Bench, kinds: Sequence[str], tasks: int, rounds: int) -> None:
    """Measure in turns, and print."""
    found: Found = defaultdict(list)
    runs = [*((side, family, n) for n in (1, tasks) for side, family in SIDES.items()), ("ours", OF_BRANCHES, BRANCHES)]
    for turn in range(rounds + 1):
        for kind in ("none", *kinds):
            for side, family, number in runs:
                seconds = bench.law(side, family, kind, number)
                if turn:  # the first turn warms up
                    found[side, family, number, kind].append(seconds)
        if turn:
            print(f"round {turn} of {rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
    for number, words in ((1, "of a run of one task"), (tasks, f"per task, of a run of {tasks}")):
        print(f"\noverhead {words} [ms], median of {rounds}")
        print(f"  {'':10s} plain law    ours   ratio, least and most (goal {GOAL})")
        for kind in kinds:
            plain, ours = (_overheads(found, (side, family, number), kind) for side, family in SIDES.items())
            ratios = sorted(a / b for a, b in zip(ours, plain, strict=True))
            spread = f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            a, b = median(plain), median(ours)
            print(f"  {kind:10s} {a * 1e3:9.0f} {b * 1e3:7.0f}   {b / a:5.2f} {spread}")
    print(f"\nours, per branch of a workflow of {BRANCHES} [ms]")
    for kind in kinds:
        print(f"  {kind:10s} {median(_overheads(found, ('ours', OF_BRANCHES, BRANCHES), kind)) * 1e3:17.0f}")


def _overheads(found: Found, run: tuple[str, str, int], kind: str) -> list[float]:
    """What a task took longer in a sandbox, by round [s]."""
    pairs = zip(found[*run, kind], found[*run, "none"], strict=True)
    return [(seconds - usual) / run[-1] for seconds, usual in pairs]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.sandbox_overhead")
    parser.add_argument("--tasks", type=int, default=8, help="tasks of a run; default: 8")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side runs; default: 5")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of sandboxes; default: {','.join(KINDS)}")
    options = parser.parse_args(arguments)
    kinds = options.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"there is no {', '.join(sorted(unknown))}: use {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory(prefix="sandbox-overhead-") as name:
        compare(Bench(Path(name), kinds), kinds, options.tasks, options.rounds)


if __name__ == "__main__":
    main()
