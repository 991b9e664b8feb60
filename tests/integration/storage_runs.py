"""``law run`` with outputs on the servers of the testbed, and what is on their disks afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analysis.engine.manifest import ManifestName
from tests.chain import REPOSITORY
from tests.integration.batch_queue import until
from tests.integration.storage_fixtures import QUICK, Place
from tests.testbed import CHECKOUT

TASKS = "tests.integration.storage_toys"
PATIENCE = 60.0
"""Seconds after which a run that has not ended is a failure of the test."""
SETTINGS = {"timeout": "3s", "patience": "2s", "retry_delay": "1s"}
"""Section ``wlcg_fs``: what is not there fails soon."""
ADVICE = re.compile(
    r"run again|free some|look at your credential|name another store|use letters|use another name|get a new one"
    r"|make a new one|set X509_CERT_DIR|not possible with"
)
"""What to do."""


@dataclass(frozen=True)
class Said:
    """A run that has ended.

    Args:
        code: its exit code.
        text: what it said on the terminal.
    """

    code: int
    text: str

    def lines(self, word: str) -> list[str]:
        """Those with a word in them."""
        return [line for line in self.text.splitlines() if word in line]

    def sentences(self, error: str) -> list[str]:
        """What is said of errors of a class, each once."""
        told = [line.partition(f"{error}: ")[2] for line in self.lines(f"{error}: ")]
        return sorted(set(told), key=told.index)

    def sentence(self, error: str, *words: str) -> str:
        """The one sentence of what went wrong: what, where, what to do.

        Args:
            error: class of the error.
            words: what has to be in it, such as the operation and the URL.
        """
        assert self.code != 0, self.text
        assert "Traceback" not in self.text, self.text
        told = self.sentences(error)
        found = [sentence for sentence in told if all(word in sentence for word in words)]
        assert found, self.text
        assert all(ADVICE.search(sentence) for sentence in told), told
        return found[0]


@dataclass
class Running:
    """A run that goes on."""

    process: subprocess.Popen[str]

    def end(self) -> Said:
        """Wait for it."""
        said, _ = self.process.communicate(timeout=PATIENCE)
        return Said(self.process.returncode, said)

    def kill(self) -> None:
        """As by the out-of-memory killer."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=PATIENCE)


@dataclass(frozen=True)
class Runs:
    """Runs of the toys in one place.

    Args:
        place: where their outputs are.
        folder: directory of this machine.
        variables: of the environment.
    """

    place: Place
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """URL of the store."""
        return self.place.base

    def start(self, task: str, *arguments: object, base: str = "", **variables: str) -> Running:
        """``law run``, without waiting; ``variables`` are options of the section, or variables in capitals."""
        usual = {name: value for name, value in os.environ.items() if not name.startswith(("X509_", "BEARER_", "LAW_"))}
        options = SETTINGS | {name: value for name, value in variables.items() if name.islower()}
        others = {name: value for name, value in variables.items() if not name.islower()}
        store = self.folder / "store"
        environment = {
            **usual,
            **self.place.storage.environment(),
            **QUICK,
            "PYTHONPATH": f"{self.place.storage.bindings}{os.pathsep}{CHECKOUT}",
            "ANALYSIS_BASE": str(REPOSITORY),
            "ANALYSIS_STORE": str(store),
            "ANALYSIS_PROFILE": "local",
            "LAW_HOME": str(self.folder / "law"),
            "LAW_CONFIG_FILE": str(REPOSITORY / "law.cfg"),
            "LAW__outputs__default": "wlcg, wlcg_fs",
            "LAW__wlcg_fs__base": base or self.base,
            **{f"LAW__wlcg_fs__{name}": value for name, value in options.items()},
            **self.variables,
            **others,
        }
        command = [sys.executable, "-m", "law", "run", f"{TASKS}.{task}", "--place", str(self.folder)]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            env={name: value for name, value in environment.items() if value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return Running(process)

    def __call__(self, task: str, *arguments: object, base: str = "", **variables: str) -> Said:
        """``law run``, to its end."""
        return self.start(task, *arguments, base=base, **variables).end()

    def succeed(self, task: str, *arguments: object, base: str = "", **variables: str) -> Said:
        """``law run`` that has to end well, and leaves nothing half-written."""
        said = self(task, *arguments, base=base, **variables)
        assert said.code == 0, said.text
        assert not self.parts()
        return said

    # what is so, by the disk of the server

    def files(self, pattern: str) -> dict[str, Path]:
        """Files of the place that are not in a lock, by their names."""
        found = sorted(path for path in self.place.disk.rglob(pattern) if path.is_file())
        return {path.name: path for path in found if ".lock" not in path.parent.name}

    def sizes(self, pattern: str) -> list[int]:
        """Their sizes [bytes]."""
        found = []
        for path in self.files(pattern).values():
            with suppress(FileNotFoundError):
                found.append(path.stat().st_size)
        return found

    def parts(self) -> list[str]:
        """What is half-written."""
        return list(self.files("*.part"))

    def current(self, task: str = "WriteToy") -> set[int]:
        """Branches with a manifest, all of whose files are what it says; it is an error if one is not."""
        found = set()
        for name, path in self.files("*.json").items():
            if ManifestName.parse(name) is None or path.parent.name != "manifests" or task not in path.parts:
                continue
            content = json.loads(path.read_text())
            found.add(int(content["branch"]))
            for output in content["outputs"]:
                data = (self.place.disk / output["path"]).read_bytes()
                assert (len(data), f"{zlib.adler32(data):08x}") == (output["size"], output["adler32"]), name
        return found

    def told(self) -> list[str]:
        """What the toys have told."""
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []

    def go(self) -> None:
        """Open the gate."""
        (self.folder / "go").touch()

    def waits(self) -> None:
        """Until a branch is at the gate."""
        until(lambda: "waits" in self.told())

    def status(self, task: str = "WriteToy", *arguments: object) -> str:
        """``--print-status``, on the healed server."""
        said = self(task, *arguments, "--print-status", "0")
        assert said.code == 0, said.text
        return said.text


@contextmanager
def started(run: Running) -> Iterator[Running]:
    """A run that is killed if the test fails."""
    try:
        yield run
    finally:
        run.kill()


Maker = Callable[..., Runs]


def make_runs(place: Place, folder: Path, **variables: str) -> Runs:
    """Runs in a place."""
    folder.mkdir(exist_ok=True)
    (folder / "law").mkdir(exist_ok=True)
    return Runs(place, folder, variables)


@pytest.fixture
def runs(place: Place, tmp_path: Path) -> Runs:
    """Runs on the server that lets everybody in, by each protocol."""
    return make_runs(place, tmp_path)
