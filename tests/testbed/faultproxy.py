"""A TCP proxy that breaks things, between a client and a server of this machine.

It runs in a process of its own, so that it goes on while the client holds the interpreter, and ends with whoever
started it. It knows bytes only, so ``root://`` and ``https://`` pass alike. *Up* is from the client to the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self, cast

Direction = Literal["up", "down"]
ADDRESS = "127.0.0.1"
CHUNK = 65536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: the connection ends with RST, not with FIN."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong. Bytes are counted over all connections of a direction, from when the faults were set.

    Args:
        latency: [s] that each byte takes in each direction.
        flip_up: after so many bytes, one bit arrives wrong; once.
        flip_down: the same of the other direction.
        reset_up: after so many bytes, the connection that carries them is reset; once.
        reset_down: the same of the other direction.
        hang_up: after so many bytes, nothing passes any more, and connections stay open.
        hang_down: the same of the other direction.
        refuse: connections are refused, and those that are open are reset.
    """

    latency: float = 0.0
    flip_up: float = math.inf
    flip_down: float = math.inf
    reset_up: float = math.inf
    reset_down: float = math.inf
    hang_up: float = math.inf
    hang_down: float = math.inf
    refuse: bool = False

    def at(self, kind: str, direction: Direction) -> float:
        """Number of bytes after which a fault happens."""
        return cast("float", getattr(self, f"{kind}_{direction}"))


class Counts(NamedTuple):
    """What passed since the proxy was started.

    Args:
        connections: connections that were accepted.
        up: bytes from clients to the server.
        down: bytes from the server to clients.
        faults: bits flipped, connections reset and directions that stopped.
    """

    connections: int
    up: int
    down: int
    faults: int


class FaultProxy:
    """A running proxy; a context manager.

    Args:
        target_port: where the server listens.
        latency: and the rest, as in :class:`Faults`.

    Examples:
        with FaultProxy(storage.port("xrd-open"), reset_up=1000) as proxy:
            url = storage.url("xrd-open", path="folder/file", port=proxy.port)
    """

    def __init__(self, target_port: int, **faults: float) -> None:
        check(faults)
        self._process = subprocess.Popen(
            [sys.executable, "-I", Path(__file__).resolve(), str(target_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(cast("IO[str]", self._process.stdout).readline())
        """Where it listens."""
        self.set(**faults)

    def set(self, **faults: float) -> None:
        """Have these faults from now on, and no others; open connections stay. Arguments as in :class:`Faults`."""
        check(faults)
        self._ask(faults)

    def counts(self) -> Counts:
        """What passed up to now."""
        return self._ask(None)

    def _ask(self, faults: dict[str, float] | None) -> Counts:
        wanted, answers = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        wanted.write(json.dumps(faults) + "\n")
        wanted.flush()
        return Counts(**json.loads(answers.readline()))

    def close(self) -> None:
        """End the proxy; open connections are reset."""
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check(faults: dict[str, float]) -> None:
    """Raise ``TypeError`` for a fault that is none."""
    Faults(**faults)  # type: ignore[arg-type]


# ---- the process


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, with RST."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@dataclass
class Proxy:
    """The proxy itself, in one event loop."""

    target_port: int
    faults: Faults = field(default_factory=Faults)
    port: int = 0
    connections: int = 0
    passed: dict[Direction, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    since: dict[Direction, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    happened: set[str] = field(default_factory=set)
    happened_before: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.Server | None = None
    closed: socket.socket | None = None

    def bound(self) -> socket.socket:
        """A socket that has the proxy's port."""
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((ADDRESS, self.port))
        self.port = made.getsockname()[1]
        return made

    async def listen(self) -> None:
        """Accept connections."""
        held, self.closed = self.closed or self.bound(), None
        self.server = await asyncio.start_server(self.connected, sock=held)

    def refuse(self) -> None:
        """Refuse connections; the port is kept by a socket that does not listen."""
        if self.server is not None:
            self.server.close()
            self.server = None
            self.closed = self.bound()
        for writer in self.writers:
            reset(writer)

    async def set(self, faults: Faults) -> None:
        """Have these faults from now on."""
        self.happened_before += len(self.happened)
        self.happened, self.since, self.faults = set(), {"up": 0, "down": 0}, faults
        self.changed.set()
        self.changed = asyncio.Event()
        if faults.refuse:
            self.refuse()
        elif self.server is None:
            await self.listen()

    def counts(self) -> Counts:
        """What passed up to now."""
        return Counts(
            self.connections, self.passed["up"], self.passed["down"], self.happened_before + len(self.happened)
        )

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client until either side ends."""
        self.connections += 1
        try:
            there, back = await asyncio.open_connection(ADDRESS, self.target_port)
        except OSError:
            reset(writer)
            return
        both = {writer, back}
        self.writers |= both
        try:
            await asyncio.gather(self.pump(reader, back, "up"), self.pump(there, writer, "down"))
        except OSError:  # of a side, or the fault
            for one in both:
                reset(one)
        finally:
            self.writers -= both
            for one in both:
                one.close()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        """Pass on what comes from one side, each chunk when its time has come, until that side ends."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def read() -> None:
            data = b"-"
            while data:
                try:
                    data = await reader.read(CHUNK)
                except OSError:
                    reset(writer)
                    data = b""
                await waiting.put((time.monotonic() + self.faults.latency, data))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - time.monotonic())
                if not data:
                    break
                await self.deliver(data, writer, direction)
            if writer.can_write_eof():
                writer.write_eof()
            else:
                writer.close()
        finally:
            reading.cancel()

    async def deliver(self, data: bytes, writer: asyncio.StreamWriter, direction: Direction) -> None:
        """Pass on a chunk, with what goes wrong in it.

        Raises:
            ConnectionResetError: the connection is to be reset.
        """
        while data:
            part, what = self.until_fault(data, direction)
            writer.write(part)
            await writer.drain()
            self.since[direction] += len(part)
            self.passed[direction] += len(part)
            data = data[len(part) :]
            if what == "hang":
                await self.changed.wait()
            elif what == "flip":
                data = bytes([data[0] ^ 1]) + data[1:]
            elif what == "reset":
                msg = "a fault that was asked for"
                raise ConnectionResetError(msg)

    def until_fault(self, data: bytes, direction: Direction) -> tuple[bytes, str]:
        """The part of a chunk that passes as it is, and what happens before the rest."""
        start = self.since[direction]
        for kind in ("hang", "reset", "flip"):
            name = f"{kind}_{direction}"
            at = self.faults.at(kind, direction)
            if start + len(data) > at and (kind == "hang" or name not in self.happened):
                self.happened.add(name)
                return data[: max(0, int(at) - start)], kind
        return data, ""


async def serve(target_port: int) -> None:
    """Run a proxy; faults come as lines of the standard input, each is answered by a line of counts."""
    proxy = Proxy(target_port)
    await proxy.listen()
    print(proxy.port, flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        faults = json.loads(line)
        if faults is not None:
            await proxy.set(Faults(**faults))
        print(json.dumps(proxy.counts()._asdict()), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
