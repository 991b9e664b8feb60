"""Requests to the storage of the testbed are counted, from the logs of its servers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.testbed.storage import Storage, count
from tests.testbed.test_storage import DATA, https, xrdfs

pytestmark = pytest.mark.integration


def test_requests_are_counted(storage: Storage) -> None:
    (storage.scratch("xrd-open", "counted") / "0").write_bytes(DATA)
    server = storage.url("xrd-open").removesuffix("//store")
    script = (
        "from XRootD.client import FileSystem; from XRootD.client.flags import DirListFlags; fs = FileSystem('{}'); {}"
    )
    for call, requests in {
        "[fs.stat(f'/store/counted/{n}') for n in range(40)]": {"stat": 40},
        "fs.dirlist('/store/counted', DirListFlags.STAT)": {"dirlist": 1},
        "fs.query(3, '/store/counted/0')": {"query": 1},
    }.items():
        mark = storage.mark("xrd-open")
        subprocess.run([sys.executable, "-c", script.format(server, call)], check=True, timeout=60)
        assert storage.requests(mark) == requests
    mark = storage.mark("xrd-open")
    for _ in range(5):
        assert xrdfs(storage, "xrd-open", "stat", "/store/counted/0").returncode == 0
    assert storage.requests(mark) == {"stat": 5}


def test_requests_of_http_are_counted(storage: Storage) -> None:
    (storage.scratch("xrd-open", "counted-http") / "0").write_bytes(DATA)
    mark = storage.mark("xrd-open")
    for number in range(7):
        https(storage, "HEAD", storage.url("xrd-open", "https", f"counted-http/{number}"))
    https(storage, "GET", storage.url("xrd-open", "https", "counted-http/0"))
    https(storage, "GET", storage.url("xrd-open", "https", "counted-http/1"))
    https(storage, "PUT", storage.url("xrd-open", "https", "counted-http/2"), DATA)
    https(storage, "PROPFIND", storage.url("xrd-open", "https", "counted-http"))
    https(storage, "DELETE", storage.url("xrd-open", "https", "counted-http/2"))
    assert storage.requests(mark) == {"stat": 8, "open": 2, "write": 1, "rm": 1}
    assert storage.requests(storage.mark("xrd-open")) == {}


def test_a_keep_alive_connection_is_counted_by_request() -> None:
    became = "a.1:2@host Xrootd_Protocol: 0000 Bridge req={} dlen=9 blen=9\n"
    said = "a.1:2@host http_Protocol: Sending resp: {} header\n"
    log = "".join(
        [
            *(became.format(3017), said.format(404)),
            *(became.format(3010), became.format(3019), said.format(100), became.format(3003), said.format(201)),
            said.format(500),
        ]
    )
    assert count(log) == {"stat": 1, "write": 1, "other": 1}
