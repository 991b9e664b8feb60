"""Plain law: a workflow whose branches write a few bytes to a server, section ``wlcg_fs`` of ``law.cfg``."""

from __future__ import annotations

from functools import cache

import law
import luigi

law.contrib.load("wlcg")


@cache
def file_system() -> law.wlcg.WLCGFileSystem:
    """One for all targets, which is the best that its user can do: by its name, each target would make its own."""
    return law.wlcg.WLCGFileSystem("wlcg_fs")


class PlainStored(law.LocalWorkflow):  # type: ignore[misc]
    """As its user would write it."""

    n = luigi.IntParameter(description="number of branches")

    def create_branch_map(self) -> dict[int, int]:
        """One branch per number."""
        return {i: i for i in range(self.n)}

    def output(self) -> law.wlcg.WLCGFileTarget:
        """A text file."""
        return law.wlcg.WLCGFileTarget(f"stored_{self.n}/{self.branch}.txt", fs=file_system())

    def run(self) -> None:
        """Write the number."""
        self.output().dump(str(self.branch), formatter="text")
