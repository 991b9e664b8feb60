"""Plain law and ours, side by side: each is told the same, against the same server."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PATIENCE = 45.0
"""Seconds after which a call that has not come back is a failure of the test."""


class Answer(NamedTuple):
    """What a call came to.

    Args:
        value: that it returned.
        error: class of what it raised; ``None`` if it did not.
        said: text of the error.
    """

    value: Any
    error: str | None = None
    said: str = ""

    @property
    def outcome(self) -> Any:
        """The value, or the class of the error."""
        return self.error or self.value


class Client:
    """A process of one side; see :mod:`tests.integration.storage_client`."""

    def __init__(self, side: str, environment: dict[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.storage_client", side],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def start(self, verb: str, *arguments: Any, **options: Any) -> None:
        """Call, and do not wait."""
        assert self.process.stdin
        self.process.stdin.write(f"{json.dumps([verb, [*map(_plain, arguments)], options])}\n".encode())

    def answer(self, timeout: float = PATIENCE) -> Answer:
        """Of the call that was started."""
        assert self.process.stdout
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], timeout)
            assert ready, f"no answer within {timeout} s"
            part = self.process.stdout.read(65536)
            assert part, f"the process ended: {self.process.wait(PATIENCE)}"
            line += part
        return Answer(*json.loads(line))

    def ask(self, verb: str, *arguments: Any, **options: Any) -> Answer:
        """Call, and wait."""
        self.start(verb, *arguments, **options)
        return self.answer()

    def kill(self) -> None:
        """As by the out-of-memory killer."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


def _plain(argument: Any) -> Any:
    return str(argument) if isinstance(argument, Path) else argument


SETTINGS = {
    "plain": {"random_base": "False", "retry_delay": "0.2s"},
    "ours": {"timeout": "5s", "patience": "3s", "retry_delay": "1s"},
}
"""Section ``wlcg_fs`` of ``law.cfg``: what is not there fails soon, on both sides."""

Settings = Mapping[str, Mapping[str, str]]
"""More of it, by side."""


def cache(folder: Path, size: str) -> Settings:
    """A cache for both sides, of at most this size."""
    root = {"cache_root": str(folder / "cache"), "cache_max_size": size}
    return {"plain": {**root, "use_cache": "True", "cache_wait_delay": "0.1s", "cache_max_waits": "3"}, "ours": root}


@dataclass(frozen=True)
class Side:
    """One of both.

    Args:
        name: ``plain`` or ``ours``.
        folder: for its files.
        environment: of its processes.
    """

    name: str
    folder: Path
    environment: dict[str, str]

    @property
    def is_ours(self) -> bool:
        return self.name == "ours"

    def file(self, name: str, content: str | bytes) -> Path:
        """A local file."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    @contextmanager
    def client(
        self, *bases: str, settings: Settings | None = None, environment: Mapping[str, str] | None = None
    ) -> Iterator[Client]:
        """A process that uses these endpoints."""
        folder = self.folder / f"client-{secrets.token_hex(4)}"
        folder.mkdir()
        section = {"base": ", ".join(bases), **SETTINGS[self.name], **(settings or {}).get(self.name, {})}
        lines = ["[logging]", "law: WARNING", "[target]", "default_wlcg_fs: wlcg_fs", "[wlcg_fs]"]
        lines += [f"{name}: {value}" for name, value in section.items()]
        lines += ["[outputs]", "default: wlcg, wlcg_fs"]
        (folder / "law.cfg").write_text("\n".join(lines) + "\n")
        place = {"LAW_HOME": str(folder / "law"), "LAW_CONFIG_FILE": str(folder / "law.cfg")}
        client = Client(self.name, {**self.environment, **place, **(environment or {})}, folder)
        try:
            yield client
        finally:
            client.kill()

    def ask(
        self,
        base: str,
        verb: str,
        *arguments: Any,
        settings: Settings | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call, in a process of its own."""
        with self.client(base, settings=settings, environment=environment) as client:
            return client.ask(verb, *arguments)


def answers(*, plain: object, ours: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """What both sides are expected to come to; a test gets ``side`` and its ``answer``."""
    rows = [("plain", plain), ("ours", ours)]
    return pytest.mark.parametrize(("side", "answer"), rows, ids=["law", "ours"], indirect=["side"])
