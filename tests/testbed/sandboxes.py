"""Docker and Apptainer of the testbed from Python (``docs/testbed.md``)."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from tests.testbed import System, Testbed, command

Kind = Literal["docker", "apptainer"]
Set = Literal["columnar", "ml", "stats"]


@dataclass(frozen=True)
class Sandboxes(System):
    """A Docker daemon, and an image of each software set for Docker and for Apptainer."""

    name: str = "sandboxes"
    testbed: Testbed = field(default_factory=Testbed)

    @property
    def directory(self) -> Path:
        """Where all of it is."""
        return self.testbed.directory / self.name

    @property
    def programs(self) -> Path:
        """Directory, for PATH, of ``docker``, ``apptainer`` and ``singularity``."""
        return self.directory / "bin"

    @cached_property
    def variables(self) -> dict[str, str]:
        """``DOCKER_HOST``, and the images, as ``tests/testbed/env sandboxes`` has them."""
        said = command("env", "sandboxes").splitlines()
        assignments = dict(shlex.split(line)[1].split("=", 1) for line in said)
        return {name: value for name, value in assignments.items() if name != "PATH"}

    def image(self, kind: Kind, software_set: Set) -> str:
        """Name of an image of Docker, or path of an image of Apptainer."""
        return self.variables[f"TESTBED_{kind.upper()}_{software_set.upper()}"]

    def run(self, kind: Kind, software_set: Set, *arguments: str) -> str:
        """What a command in an image prints, as the user of the testbed; it has to end well."""
        start: list[str | Path] = [self.programs / "apptainer", "--silent", "exec"]
        if kind == "docker":
            start = [self.programs / "docker", "run", "--rm", "--network", "host", "--user", self._user_id()]
        return self.testbed.succeed(*start, self.image(kind, software_set), *arguments)

    def _user_id(self) -> str:
        return ":".join(self.testbed.succeed("id", option).strip() for option in ("-u", "-g"))
