"""The chain as its user runs it: ``law run`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Law:
    """Runs ``law`` against one store."""

    store: Path
    home: Path

    def environment(self) -> dict[str, str]:
        """Environment as ``setup.sh`` makes it."""
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "ANALYSIS_BASE": str(REPOSITORY),
            "ANALYSIS_STORE": str(self.store),
            "LAW_HOME": str(self.home),
            "LAW_CONFIG_FILE": str(REPOSITORY / "law.cfg"),
        }

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """``law run`` with arguments."""
        return subprocess.run(
            self.command(*arguments), env=self.environment(), capture_output=True, text=True, check=False
        )

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line."""
        family, *others = (str(argument) for argument in arguments)
        return [sys.executable, "-m", "law", "run", f"analysis.tasks.{family}", *others]

    def succeed(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """``law run`` that has to end well."""
        finished = self(*arguments)
        assert finished.returncode == 0, finished.stderr
        return finished
