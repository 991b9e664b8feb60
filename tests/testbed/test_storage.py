"""The storage of the testbed keeps what its page promises: who may what, what is lost, what is counted."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import signal
import socket
import ssl
import stat
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.testbed import HERE, TestbedError
from tests.testbed.faultproxy import FaultProxy
from tests.testbed.storage import Protocol, Storage

pytestmark = pytest.mark.integration

ORIGINS = ["xrd-open", "xrd-open2", "xrd-readonly", "xrd-slow", "xrd-full"]
CACHES = ["xrd-cache", "xrd-cache-slow"]
SERVERS = ["xrd-open", "xrd-open2", "xrd-auth", "xrd-readonly", "xrd-slow", *CACHES, "xrd-full"]
PROTOCOLS: tuple[Protocol, ...] = ("root", "https")
WRITTEN = {200, 201}
DAVS: tuple[Protocol, ...] = ("root", "davs")
DATA = bytes(range(256)) * 8192  # 2 MB


def xrd(
    storage: Storage, *line: str | Path, credential: str | None = None, timeout: float = 90
) -> subprocess.CompletedProcess[str]:
    """Run ``xrdfs`` or ``xrdcp``; no credential but the one named."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **storage.environment(credential)}
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=timeout)


def xrdfs(storage: Storage, server: str, *line: str, credential: str | None = None) -> subprocess.CompletedProcess[str]:
    return xrd(storage, "xrdfs", storage.url(server).removesuffix("//store"), *line, credential=credential)


def copy(
    storage: Storage, source: str | Path, target: str | Path, credential: str | None = None
) -> subprocess.CompletedProcess[str]:
    return xrd(storage, "xrdcp", "--silent", "--force", source, target, credential=credential)


def https(
    storage: Storage, method: str, url: str, body: bytes | None = None, credential: str | None = None
) -> tuple[int, bytes]:
    """Status and body of the answer to a request; 0 if the server ended the connection instead."""
    context = ssl.create_default_context(cafile=storage.variables["SSL_CERT_FILE"])
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    headers = {}
    if credential and credential.endswith(".proxy"):
        context.load_cert_chain(storage.credential(credential))
    elif credential:
        headers["Authorization"] = f"Bearer {storage.credential(credential).read_text()}"
    where = urlsplit(url)
    connection = http.client.HTTPSConnection(where.hostname or "", where.port, timeout=60, context=context)
    try:
        connection.request(method, where.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (ssl.SSLError, ConnectionError):
        return 0, b""
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return true


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("server", [*ORIGINS, *CACHES])
def test_anonymous_reading_with_checksum(storage: Storage, server: str, tmp_path: Path) -> None:
    origin = {"xrd-cache": "xrd-open", "xrd-cache-slow": "xrd-slow"}.get(server, server)
    (storage.scratch(origin, f"read-{server}") / "file").write_bytes(DATA)
    path = f"read-{server}/file"
    assert copy(storage, storage.url(server, path=path), tmp_path / "copy").returncode == 0
    assert (tmp_path / "copy").read_bytes() == DATA
    assert https(storage, "GET", storage.url(server, "https", path)) == (200, DATA)
    said = xrdfs(storage, server, "query", "checksum", f"/store/{path}").stdout
    assert said == f"adler32 {zlib.adler32(DATA):08x}\n"


@pytest.mark.parametrize("server", ["xrd-open", "xrd-open2", "xrd-slow", "xrd-full"])
def test_anonymous_writing(storage: Storage, server: str, source: Path) -> None:
    folder = storage.scratch(server, f"write-{server}")
    assert copy(storage, source, storage.url(server, path=f"{folder.name}/root")).returncode == 0
    assert https(storage, "PUT", storage.url(server, "https", f"{folder.name}/https"), DATA)[0] in WRITTEN
    assert (folder / "root").read_bytes() == (folder / "https").read_bytes() == DATA
    assert xrdfs(storage, server, "mv", f"/store/{folder.name}/root", f"/store/{folder.name}/moved").returncode == 0
    assert https(storage, "DELETE", storage.url(server, "https", f"{folder.name}/https"))[0] == 200
    assert [path.name for path in folder.iterdir()] == ["moved"]


@pytest.mark.parametrize(
    ("credential", "may_read", "may_write"),
    [
        (None, False, False),
        ("alice.proxy", True, True),
        ("mallory.proxy", False, False),
        ("expired.proxy", False, False),
        ("stranger.proxy", False, False),
        ("write.token", True, True),
        ("read.token", True, False),
        ("expired.token", False, False),
        ("audience.token", False, False),
    ],
)
def test_who_may_what(storage: Storage, source: Path, credential: str | None, may_read: bool, may_write: bool) -> None:
    folder = storage.scratch("xrd-auth", f"access-{credential}")
    (folder / "there").write_bytes(DATA)
    here = f"{folder.name}/there"
    assert (copy(storage, storage.url("xrd-auth", path=here), "/dev/null", credential).returncode == 0) == may_read
    new = storage.url("xrd-auth", path=f"{folder.name}/root")
    assert (copy(storage, source, new, credential).returncode == 0) == may_write
    assert (folder / "root").exists() == may_write
    new = storage.url("xrd-auth", "https", f"{folder.name}/https")
    refused = 0 if credential in {"expired.proxy", "stranger.proxy"} else 403
    answer = https(storage, "GET", storage.url("xrd-auth", "https", here), credential=credential)
    assert answer[0] == (200 if may_read else refused)
    assert (https(storage, "PUT", new, DATA, credential)[0] in WRITTEN) == may_write
    assert (folder / "https").exists() == may_write


def test_credentials_belong_to_their_users(storage: Storage) -> None:
    for user in ("root", storage.testbed.user):
        for name in ("alice.proxy", "write.token"):
            file = storage.credential(name, user)
            assert (file.owner(), stat.S_IMODE(file.stat().st_mode)) == (user, 0o600)
    assert (
        storage.credential("alice.proxy").read_bytes()
        == storage.credential("alice.proxy", storage.testbed.user).read_bytes()
    )


def test_the_user_of_the_testbed_writes(storage: Storage, source: Path) -> None:
    folder = storage.scratch("xrd-auth", "as-user")
    source.parent.chmod(0o755)
    variables = storage.environment("alice.proxy", storage.testbed.user)
    line = [str(HERE / "as-user"), *(f"{name}={value}" for name, value in variables.items()), "xrdcp", "--silent", "-"]
    target = storage.url("xrd-auth", path=f"{folder.name}/file")
    subprocess.run([*line, target], input=DATA, check=True, timeout=60, capture_output=True)
    assert (folder / "file").read_bytes() == DATA


def test_credentials_made_on_demand(storage: Storage, tmp_path: Path) -> None:
    for name, content in {
        "short.proxy": storage.proxy("alice", 600),
        "short.token": storage.token(lifetime=600),
    }.items():
        file = tmp_path / name
        file.touch(0o600)
        file.write_text(content)
        variable = "X509_USER_PROXY" if name == "short.proxy" else "BEARER_TOKEN_FILE"
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **storage.environment(), variable: str(file)}
        line = ["xrdfs", storage.url("xrd-auth").removesuffix("//store"), "ls", "/store"]
        assert subprocess.run(line, env=environment, check=False, timeout=60).returncode == 0
    with pytest.raises(TestbedError, match="invalid choice"):
        storage.proxy("bob")


def test_what_is_near_its_end_is_renewed(storage: Storage) -> None:
    proxy, authority = storage.credential("alice.proxy"), Path(storage.variables["SSL_CERT_FILE"])
    before, certificate = proxy.read_bytes(), authority.read_bytes()
    processes = storage.processes()
    storage.start()
    assert proxy.read_bytes() == before
    old = time.time() - 6 * 86400
    os.utime(storage.credential("audience.token"), (old, old))
    storage.start()
    assert proxy.read_bytes() != before
    assert (authority.read_bytes(), storage.processes()) == (certificate, processes)


def test_a_full_disk(storage: Storage, tmp_path: Path) -> None:
    folder = storage.scratch("xrd-full", "full")
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(60_000_000)
    said = copy(storage, big, storage.url("xrd-full", path="full/root"))
    assert said.returncode != 0
    assert "no space left on device" in said.stderr
    assert https(storage, "PUT", storage.url("xrd-full", "https", "full/https"), big.read_bytes())[0] not in WRITTEN
    assert os.statvfs(folder).f_blocks * os.statvfs(folder).f_frsize == 50 * 2**20
    storage.scratch("xrd-full", "full")


def test_a_read_only_server(storage: Storage, source: Path) -> None:
    folder = storage.scratch("xrd-readonly", "read-only")
    said = copy(storage, source, storage.url("xrd-readonly", path="read-only/root"))
    assert "file path marked read/only" in said.stderr
    assert https(storage, "PUT", storage.url("xrd-readonly", "https", "read-only/https"), DATA)[0] not in WRITTEN
    assert list(folder.iterdir()) == []


def test_two_endpoints_of_one_storage(storage: Storage, source: Path, tmp_path: Path) -> None:
    storage.scratch("xrd-open", "endpoints")
    assert copy(storage, source, storage.url("xrd-open", path="endpoints/file")).returncode == 0
    with storage.without("xrd-open"):
        assert xrdfs(storage, "xrd-open", "stat", "/store/endpoints/file").returncode != 0
        assert copy(storage, storage.url("xrd-open2", path="endpoints/file"), tmp_path / "copy").returncode == 0
    assert (tmp_path / "copy").read_bytes() == DATA


def test_a_crash_and_a_start(storage: Storage) -> None:
    (storage.scratch("xrd-open", "crash") / "file").write_bytes(DATA)
    before = storage.processes()
    assert list(before) == SERVERS
    storage.kill("xrd-open")
    assert list(storage.processes()) == [server for server in SERVERS if server != "xrd-open"]
    assert xrdfs(storage, "xrd-open", "stat", "/store/crash/file").returncode != 0
    storage.start("xrd-open")
    after = storage.processes()
    assert after.pop("xrd-open") != before.pop("xrd-open")
    assert after == before
    assert https(storage, "GET", storage.url("xrd-open", "https", "crash/file")) == (200, DATA)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT], ids=lambda number: number.name)
def test_a_crash_of_its_own_is_repaired(storage: Storage, number: signal.Signals) -> None:
    """XRootD's server has such bugs."""
    crashed, crashes = storage.processes()["xrd-auth"], storage.directory / "log" / "crashes"
    seen = crashes.read_text().count(" xrd-auth ") if crashes.exists() else 0
    os.kill(crashed, number)
    assert wait_for(lambda: storage.processes().get("xrd-auth", crashed) != crashed and storage.is_up())
    assert wait_for(lambda: crashes.read_text().count(" xrd-auth ") == seen + 1)


def test_a_cache_reads_once(storage: Storage, tmp_path: Path) -> None:
    for cache, origin in {"xrd-cache": "xrd-open", "xrd-cache-slow": "xrd-slow"}.items():
        folder = storage.scratch(origin, f"cached-{os.getpid()}")
        (folder / "file").write_bytes(DATA)
        path = f"{folder.name}/file"
        mark = storage.mark(origin)
        assert copy(storage, storage.url(cache, path=path), tmp_path / "first").returncode == 0
        assert storage.requests(mark)["open"] == 1
        mark = storage.mark(origin)
        assert copy(storage, storage.url(cache, path=path), tmp_path / "second").returncode == 0
        assert not storage.requests(mark).keys() & {"read", "readv", "pgread"}
        with storage.without(origin):
            assert copy(storage, storage.url(cache, path=path), tmp_path / "third").returncode == 0
        assert all((tmp_path / name).read_bytes() == DATA for name in ("first", "second", "third"))
        assert (storage.folder(cache) / path).read_bytes() == DATA


def test_a_cache_of_any_storage(storage: Storage, tmp_path: Path) -> None:
    folder = storage.scratch("xrd-slow", f"forwarded-{os.getpid()}")
    (folder / "file").write_bytes(DATA)
    origin = storage.url("xrd-slow", path=f"{folder.name}/file")
    url = f"{storage.url('xrd-cache').removesuffix('/store')}/{origin}"
    assert copy(storage, url, tmp_path / "first").returncode == 0
    with storage.without("xrd-slow"):
        assert copy(storage, url, tmp_path / "second").returncode == 0
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes() == DATA


def test_a_killed_upload_is_removed_by_one_server_alone(storage: Storage, source: Path) -> None:
    parts = [storage.scratch(server, "killed") / "part" for server in ("xrd-slow", "xrd-open")]
    for server, part in zip(("xrd-slow", "xrd-open"), parts, strict=True):
        with FaultProxy(storage.port(server), hang_up=1_000_000) as proxy:
            target = storage.url(server, path="killed/part", port=proxy.port)
            environment = {"PATH": "/usr/bin:/bin", **storage.environment()}
            with subprocess.Popen(["xrdcp", "--silent", source, target], env=environment) as client:
                assert wait_for(part.exists)
                client.kill()
    slow, fast = parts
    assert wait_for(lambda: not slow.exists(), 30)
    assert fast.exists()


@pytest.mark.parametrize("protocol", ["root", "https"])
def test_faults_on_the_way(storage: Storage, source: Path, protocol: Protocol) -> None:
    folder = storage.scratch("xrd-open", f"faults-{protocol}")
    path = f"{folder.name}/file"

    def upload() -> bool:
        url = storage.url("xrd-open", protocol, path, port=proxy.port)
        if protocol == "root":
            return copy(storage, source, url).returncode == 0
        return https(storage, "PUT", url, DATA)[0] in WRITTEN

    with FaultProxy(storage.port("xrd-open", protocol)) as proxy:
        assert upload()
        assert proxy.counts().up > len(DATA)
        for fault in ({"flip_up": 500_000}, {"reset_up": 500_000}):
            before = proxy.counts().faults
            proxy.set(**fault)
            # root:// repairs a wrong bit (checksums of pages) and a reset (another connection) by itself; TLS ends
            assert upload() == (protocol == "root")
            assert proxy.counts().faults == before + 1
        proxy.set(refuse=True)
        assert not upload()
        proxy.set()
        assert upload()
    assert (folder / "file").read_bytes() == DATA


def test_only_this_machine_is_served(storage: Storage) -> None:
    """A connection from 127.0.0.2 stands for one from elsewhere: only 127.0.0.1 and ::1 are let in."""
    for source, answer in {"127.0.0.1": 16, "127.0.0.2": 0}.items():
        said = b""
        with (
            contextlib.suppress(ConnectionError),
            socket.create_connection(("127.0.0.1", storage.port("xrd-open")), 20, (source, 0)) as connection,
        ):
            connection.sendall(bytes(15) + b"\4\0\0\x07\xdc")
            said = connection.recv(16)
        assert len(said) == answer


def test_gfal2(storage: Storage) -> None:
    (storage.scratch("xrd-open", "gfal2") / "file").write_bytes(DATA)
    urls = [storage.url("xrd-open", protocol, "gfal2/file") for protocol in DAVS]
    code = f"import gfal2; print([gfal2.creat_context().stat(url).st_size for url in {urls}])"
    environment = {"PYTHONPATH": str(storage.bindings), **storage.environment()}
    said = subprocess.run(
        ["/usr/bin/python3", "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (said.stdout, said.stderr) == (f"[{len(DATA)}, {len(DATA)}]\n", "")


def test_other_settings_for_a_while(storage: Storage) -> None:
    before = storage.processes()
    with storage.settings("xrootd.trace off"):
        mark = storage.mark("xrd-open")
        assert xrdfs(storage, "xrd-open", "stat", "/store").returncode == 0
        assert storage.requests(mark) == {}
    after = storage.processes()
    assert list(after) == list(before)
    assert not set(after.values()) & set(before.values())


def test_down_leaves_nothing(storage: Storage) -> None:
    folder = storage.folder("xrd-full")
    assert folder.is_mount()
    with storage.without():
        assert storage.processes() == {}
        assert not folder.is_mount()
        for server, protocol in itertools.product(SERVERS, PROTOCOLS):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", storage.port(server, protocol)), 20)
    assert storage.is_up()
