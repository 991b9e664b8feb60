"""The proxy breaks what it was asked to break, at the byte it was asked for, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.testbed.faultproxy import Counts, FaultProxy

DATA = bytes(range(256)) * 2000


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that sends back what it gets."""

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=20)


def exchange(connection: socket.socket, data: bytes) -> bytes:
    """What comes back for what is sent."""
    threading.Thread(target=connection.sendall, args=[data], daemon=True).start()
    back = b""
    while len(back) < len(data) and (part := connection.recv(65536)):
        back += part
    return back


def test_without_faults_all_passes_and_is_counted(echo: int) -> None:
    with FaultProxy(echo) as proxy:
        with connect(proxy) as one, connect(proxy) as other:
            assert exchange(one, DATA) == DATA
            assert exchange(other, b"abc") == b"abc"
        size = len(DATA) + 3
        assert proxy.counts() == Counts(connections=2, up=size, down=size, faults=0)


def test_the_end_of_one_side_is_the_end_of_the_other(echo: int) -> None:
    with FaultProxy(echo) as proxy, connect(proxy) as connection:
        connection.sendall(b"last")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) + connection.recv(100) == b"last"


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("at", [0, 1, 100_000])
def test_flips_one_bit_once(echo: int, direction: str, at: int) -> None:
    with FaultProxy(echo, **{f"flip_{direction}": at}) as proxy, connect(proxy) as connection:
        back = exchange(connection, DATA)
        assert [(n, a ^ b) for n, (a, b) in enumerate(zip(DATA, back, strict=True)) if a != b] == [(at, 1)]
        assert exchange(connection, DATA) == DATA
        assert proxy.counts().faults == 1


def test_resets_once(echo: int) -> None:
    with FaultProxy(echo, reset_up=1000) as proxy:
        with connect(proxy) as connection, pytest.raises(ConnectionResetError):
            exchange(connection, DATA)
        assert proxy.counts() == Counts(1, 1000, proxy.counts().down, 1)
        with connect(proxy) as connection:
            assert exchange(connection, DATA) == DATA


def test_hangs_until_told_otherwise(echo: int) -> None:
    with FaultProxy(echo, hang_down=1000) as proxy, connect(proxy) as connection:
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            exchange(connection, DATA[:5000])
        assert proxy.counts()[1:] == (5000, 1000, 1)
        connection.settimeout(20)
        proxy.set()
        rest = b""
        while len(rest) < 4000:
            rest += connection.recv(65536)
        assert rest == DATA[1000:5000]


def test_refuses_and_accepts_again(echo: int) -> None:
    with FaultProxy(echo) as proxy:
        with connect(proxy) as connection:
            assert exchange(connection, b"before") == b"before"
            proxy.set(refuse=True)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        proxy.set()
        with connect(proxy) as connection:
            assert exchange(connection, b"after") == b"after"


def test_a_server_that_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with FaultProxy(port) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as connection:
        connection.recv(1)


def test_latency_delays_and_loses_nothing(echo: int) -> None:
    with FaultProxy(echo, latency=0.2) as proxy, connect(proxy) as connection:
        connection.settimeout(0.3)
        connection.sendall(b"x")
        with pytest.raises(TimeoutError):  # 0.2 s to the server, and 0.2 s back
            connection.recv(1)
        connection.settimeout(20)
        assert connection.recv(1) == b"x"
        assert exchange(connection, DATA) == DATA


def test_unknown_fault(echo: int) -> None:
    with FaultProxy(echo) as proxy:
        with pytest.raises(TypeError, match="explode"):
            proxy.set(explode=1)
        with connect(proxy) as connection:
            assert exchange(connection, b"still there") == b"still there"
