"""A task that asks for others while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.sandboxed_ours import OurSandboxed


class OurAsking(OurSandboxed):
    def run(self) -> Iterator[Any]:
        yield OurSandboxed(place=self.place, sandbox=self.sandbox, number=1)
        self.staged(self.output()).write_text("{}")
