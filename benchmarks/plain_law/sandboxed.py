"""Plain law: tasks in sandboxes, as their user would write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import law
import luigi

from benchmarks.deeds import Deeds

law.contrib.load("docker", "singularity")


class PlainSandboxed(law.SandboxTask, Deeds):  # type: ignore[misc]
    """Does one thing, see :class:`~benchmarks.deeds.Deeds`."""

    exclude_index = True
    allow_empty_sandbox = True

    place = luigi.Parameter(significant=False, description="directory of outputs, and of what else it leaves")
    what = luigi.Parameter(default="see", description="what it does: see, fail, wait")
    number = luigi.IntParameter(default=0, description="of several tasks that do the same")
    token = luigi.Parameter(default="", significant=False, description="a secret of this task")

    def sandbox_env(self, env: Mapping[str, str]) -> dict[str, str]:  # noqa: ARG002
        """The token is for this task alone."""
        return {"TOY_TOKEN": self.token} if self.token else {}

    @property
    def priority(self) -> int:
        """Those with a token come first."""
        return int(bool(self.token))

    def singularity_args(self) -> list[str]:
        """With the home directory, "bash -l" would read the profile of the machine, and run its Python."""
        return ["--no-home"]

    def output(self) -> law.LocalFileTarget:
        """A text file."""
        return law.LocalFileTarget(f"{self.place}/seen_{self.number}.json")

    def run(self) -> Any:
        """Do it."""
        self.output().dump(self.do(), formatter="json")


class PlainElsewhere(PlainSandboxed):
    """Writes to a place that its user forgot to name in ``law.cfg``."""

    elsewhere = luigi.Parameter(significant=False)

    def output(self) -> law.LocalFileTarget:
        """A text file."""
        return law.LocalFileTarget(f"{self.elsewhere}/lost.json")


class PlainAsking(PlainSandboxed):
    """Asks for another task while it runs."""

    def run(self) -> Iterator[Any]:
        """Ask."""
        yield PlainSandboxed(place=self.place, sandbox=self.sandbox, number=1)
        self.output().dump({}, formatter="json")


class PlainMany(law.WrapperTask):  # type: ignore[misc]
    """Many tasks, each in a sandbox."""

    exclude_index = True

    place = luigi.Parameter(significant=False)
    sandbox = luigi.Parameter(significant=False)
    n = luigi.IntParameter(description="number of tasks")
    token = luigi.Parameter(default="", significant=False, description="of the first one")

    def requires(self) -> list[Any]:
        """All of them."""
        common = {"place": self.place, "sandbox": self.sandbox}
        first = PlainSandboxed(token=self.token, **common)
        return [first, *(PlainSandboxed(number=i, **common) for i in range(1, self.n))]
