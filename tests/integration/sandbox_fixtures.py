"""Every kind of sandbox, with the images of the testbed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.sandboxes.runs import Box
from tests.testbed.sandboxes import Sandboxes

KINDS = ["venv", "docker", "apptainer"]


@dataclass(frozen=True)
class Containers:
    """The daemon, and the images.

    Args:
        folder: of the system.
    """

    folder: Path

    @property
    def images(self) -> dict[str, str]:
        """Names by kind; ``{set}`` stands for that of the software set."""
        return {"docker": "analysis/{set}", "apptainer": f"{self.folder}/images/{{set}}.sif"}

    def name(self, kind: str, software: str) -> str:
        """Name of the sandbox of a software set."""
        return self.images.get(kind, "{set}").replace("{set}", software)

    @property
    def variables(self) -> dict[str, str]:
        """Of ``law run``."""
        return {
            "DOCKER_HOST": f"unix://{self.folder}/run/docker.sock",
            "LAW__apptainer_sandbox__executable": f"{self.folder}/bin/apptainer",
            **{f"LAW__{kind}_sandbox__image": image for kind, image in self.images.items()},
        }

    def docker(self, *line: str) -> str:
        """What the client says."""
        variables = {**os.environ, **self.variables}
        return subprocess.run(["docker", *line], env=variables, capture_output=True, text=True, check=True).stdout

    def running(self) -> list[str]:
        """Containers of any state."""
        return self.docker("ps", "--all", "--quiet").split()

    def described(self) -> str:
        """All that the daemon tells of them."""
        found = self.running()
        return self.docker("inspect", *found) if found else ""

    @contextmanager
    def counted(self) -> Iterator[Callable[[], int]]:
        """How many were started during a ``with`` block; to be asked after it."""
        begin = self.docker("info", "--format", "{{.SystemTime}}").strip()
        end: list[str] = []
        yield lambda: self.docker(
            "events", "--since", begin, "--until", end[0], "--filter", "event=start", "--format", "{{.ID}}"
        ).count("\n")
        end.append(self.docker("info", "--format", "{{.SystemTime}}").strip())


@pytest.fixture(scope="session")
def containers(sandboxes: Sandboxes) -> Containers:
    """Those of the testbed."""
    return Containers(sandboxes.testbed.directory / sandboxes.name)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """One kind after the other."""
    found: str = request.param
    return found


@pytest.fixture
def box(tmp_path: Path, kind: str, containers: Containers) -> Box:
    """A sandbox of that kind, with the software set of each task."""
    return Box(tmp_path, kind, dict(containers.variables))
