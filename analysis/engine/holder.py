"""What a lock says of who holds it."""

from __future__ import annotations

import dataclasses
import json
import re

from analysis.engine.process import Process

TOKEN = re.compile(r"[0-9a-f]{16}")
"""Of a lock."""


@dataclasses.dataclass(frozen=True)
class Holder(Process):
    """Who holds a lock, as the lock file says it.

    Attributes:
        since: when the lock was taken, by the clock of the holder; for people only.
        token: random; no two locks have the same.
    """

    since: str
    token: str

    @classmethod
    def parse(cls, content: bytes) -> Holder | None:
        """Read the content of a lock file; ``None`` if it is not one."""
        try:
            holder = cls(**json.loads(content))
            numbers = 0 < holder.pid < 2**31 and (holder.start is None or holder.start >= 0)
            texts = (holder.host, holder.since, holder.boot or "", holder.namespace or "")
            named = all(isinstance(text, str) for text in texts) and TOKEN.fullmatch(holder.token)
        except (ValueError, TypeError, RecursionError):
            return None
        return holder if numbers and named and isinstance(holder.pid, int) else None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since})"


@dataclasses.dataclass(frozen=True)
class Seen:
    """A lock at one moment.

    Attributes:
        mark: names this very lock, not the next one of its path.
        touched: when its holder touched it last, by the clock of the store [ns]; 0 if the store does not tell.
        holder: ``None`` if it does not tell.
    """

    mark: str
    touched: int
    holder: Holder | None
