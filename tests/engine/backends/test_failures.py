from __future__ import annotations

import errno
import os
import re
import signal
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from http.client import IncompleteRead
from pathlib import Path

import pytest

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.failures import (
    EXIT_CODES,
    Failure,
    blanked,
    classify,
    dumped_frames,
    failure_of,
    failure_of_death,
)
from analysis.engine.backends.jobenv import JOB_SCRIPT
from analysis.engine.backends.worker import NO_SPEC
from analysis.engine.errors import ManifestError, MismatchError, OutputError, StoreError, TransientError
from analysis.engine.sandboxes.base import SandboxError
from analysis.engine.storage.base import error_of as storage_error
from analysis.engine.storage.credentials import CredentialError

CODE, MEMORY, STORAGE = FailureClass.CODE, FailureClass.MEMORY, FailureClass.STORAGE
CREDENTIAL, ENVIRONMENT, NODE = FailureClass.CREDENTIAL, FailureClass.ENVIRONMENT, FailureClass.NODE


def error_of(module: str, name: str = "SomeError", base: type[Exception] = Exception) -> Exception:
    """An exception as a package has it that may not be installed."""
    error: Exception = type(name, (base,), {"__module__": module})("something")
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bad"), CODE),
        (KeyError("Jet_pt"), CODE),
        (OutputError("SelectEvents did not write it"), CODE),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/somewhere/else"), CODE),
        (PermissionError(errno.EACCES, "Permission denied", "/somewhere"), CODE),
        (SystemExit(3), CODE),
        (MemoryError(), MEMORY),
        (error_of("numpy.core._exceptions", "_ArrayMemoryError", MemoryError), MEMORY),
        (ValueError("Unable to allocate 20.0 GiB for an array"), MEMORY),
        (RuntimeError("std::bad_alloc"), MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
        (StoreError("the store cannot be written"), STORAGE),
        (ManifestError("SelectEvents has no manifest"), STORAGE),
        *((OSError(code, os.strerror(code)), STORAGE) for code in (errno.EIO, errno.ESTALE, errno.ENOSPC)),
        *((OSError(code, os.strerror(code)), STORAGE) for code in (errno.EDQUOT, errno.EHOSTUNREACH, errno.ENOTCONN)),
        (TimeoutError(), STORAGE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), STORAGE),
        (urllib.error.URLError("unknown"), STORAGE),
        (IncompleteRead(b""), STORAGE),
        (error_of("aiohttp.client_exceptions", "ServerDisconnectedError"), STORAGE),
        (error_of("fsspec.exceptions", "BlocksizeMismatchError", ValueError), STORAGE),
        (error_of("gfal2", "GError"), STORAGE),
        (OSError("[ERROR] Server responded with an error: [3012] Internal error"), STORAGE),
        (OSError("File did not open: [ERROR] Operation expired"), STORAGE),
        (RuntimeError("request timed out"), STORAGE),
        (ValueError("a timeout of 3 s"), STORAGE),
        (OSError("[FATAL] Auth failed: No protocols left to try"), CREDENTIAL),
        (OSError("the certificate has expired"), CREDENTIAL),
        (CredentialError("the token has other words for it"), CREDENTIAL),
        (storage_error(errno.EACCES, "write", "root://h//a", "permission denied"), CREDENTIAL),
        (storage_error(errno.EHOSTUNREACH, "stat", "root://h//a", "no answer, token expired?"), FailureClass.STORAGE),
        (storage_error(errno.ENOMEM, "stat", "root://h//a", "of the server"), FailureClass.STORAGE),
        (storage_error(errno.EBADMSG, "download", "root://h//a", "checksum"), FailureClass.STORAGE),
        (storage_error(errno.ENOSPC, "upload", "root://h//a", "full"), FailureClass.STORAGE),
        (storage_error(errno.ENOENT, "read", "root://h//a", "not there"), FailureClass.STORAGE),
        (RuntimeError("proxy expired"), CREDENTIAL),
        (RuntimeError("Token has expired"), CREDENTIAL),
        (error_of("aiohttp", "Unauthorized"), CREDENTIAL),
        (urllib.error.HTTPError("https://x", 403, "Forbidden", None, None), CREDENTIAL),  # type: ignore[arg-type]
        (urllib.error.HTTPError("https://x", 500, "Error", None, None), STORAGE),  # type: ignore[arg-type]
        (ValueError("403 events are forbidden"), CREDENTIAL),
        (ValueError("403 events"), CODE),
        (ModuleNotFoundError("No module named 'uproot'", name="uproot"), ENVIRONMENT),
        (ModuleNotFoundError("No module named 'analysis.columnar.mas'", name="analysis.columnar.mas"), CODE),
        (ImportError("cannot import name 'mas' from 'analysis.columnar'", name="analysis.columnar"), CODE),
        (ImportError("libXrdCl.so.3: cannot open shared object file: No such file or directory"), ENVIRONMENT),
        (OSError("libgomp.so.1: cannot open shared object file: No such file or directory"), ENVIRONMENT),
        (MismatchError("code analysis.columnar: changed"), ENVIRONMENT),
        (TransientError("timed out"), NODE),
    ],
    ids=lambda value: value if isinstance(value, FailureClass) else repr(value)[:40],
)
def test_class_of_an_exception(error: BaseException, kind: FailureClass) -> None:
    assert classify(error) is kind


def test_file_of_the_store_that_is_not_seen_is_a_matter_of_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYSIS_STORE", "/data/store")
    assert classify(FileNotFoundError(errno.ENOENT, "no", "/data/store/v1/x.root")) is STORAGE
    assert classify(FileNotFoundError(errno.ENOENT, "no", "/data/storehouse/x.root")) is CODE


def _raise(error: BaseException) -> None:
    raise error


def raised(*steps: Callable[[], None]) -> BaseException:
    """What comes out if each step is called while the error of the one before is handled."""
    try:
        if len(steps) > 1:
            try:
                _raise(raised(*steps[:-1]))
            except BaseException:
                steps[-1]()
        steps[0]()
    except BaseException as error:
        return error
    raise AssertionError


def full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def wrong() -> None:
    msg = "branch 17 of /store/v1/a.root is wrong"
    raise ValueError(msg)


def hidden() -> None:
    msg = "bug"
    raise ValueError(msg) from None


def late() -> None:
    raise TimeoutError


def test_root_cause_decides() -> None:
    assert classify(raised(full, wrong)) is STORAGE
    assert classify(raised(wrong, late)) is STORAGE
    assert classify(raised(hidden, wrong)) is CODE
    assert classify(raised(full, hidden)) is CODE
    explicit = ValueError("x")
    explicit.__cause__ = MemoryError()
    explicit.__context__ = TimeoutError()
    assert classify(explicit) is MEMORY
    late_expired = RuntimeError("proxy expired")
    late_expired.__cause__ = TimeoutError()
    assert classify(late_expired) is STORAGE
    assert classify(ExceptionGroup("several", [ValueError("x"), MemoryError()])) is MEMORY
    circle = ValueError("x")
    circle.__context__ = KeyError("y")
    circle.__context__.__context__ = circle
    assert classify(circle) is CODE


def test_report_tells_the_last_error_and_frames_of_the_first() -> None:
    failure = failure_of(raised(full, wrong))
    assert (failure.kind, failure.error) == (STORAGE, "ValueError")
    assert failure.sentence == "branch 17 of /store/v1/a.root is wrong"
    assert [re.sub(r":\d+", "", frame) for frame in failure.frames[-2:]] == [
        "tests/engine/backends/test_failures.py raised: steps[0]()",
        'tests/engine/backends/test_failures.py full: raise OSError(errno.ENOSPC, "No space left on device")',
    ]
    assert any(" wrong: " in frame for frame in failure.frames)


def test_report_is_short() -> None:
    def recurse(depth: int) -> None:
        if depth:
            recurse(depth - 1)
        raise ValueError("\n".join(["x" * 1000] * 10))

    failure = failure_of(raised(lambda: recurse(20)))
    assert len(failure.frames) == 8
    assert len(failure.sentence) == 603


def test_report_survives_json() -> None:
    failure = replace(failure_of(raised(full)), host="node1", job="1_2", wall_seconds=1.5, peak_memory=7)
    assert Failure.from_json(failure.to_json()) == failure
    assert Failure.from_json({**failure.to_json(), "new": 1}) == failure
    for bad in ({}, {"kind": "code"}, {"kind": "unheard of", "error": "", "sentence": ""}):
        with pytest.raises(ValueError, match=r"report|valid"):
            Failure.from_json(bad)


def test_sandbox_that_cannot_be_had() -> None:
    """Whatever it was that did not answer: no server of a store."""
    for cause in (
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        OSError("timed out"),
        MemoryError(),
    ):
        error = SandboxError("docker::image: docker's daemon cannot be reached")
        error.__cause__ = cause
        assert classify(error) is ENVIRONMENT


def test_report_of_an_error_that_crossed_a_border() -> None:
    """It is the one that was made inside; outside, neither its cause nor its frames are known."""
    inside = Failure(STORAGE, "OddError", "bad", ("analysis/x.py:1 f: g()",))
    error = ValueError("bad")
    error.failure = inside.to_json()  # type: ignore[attr-defined]
    assert failure_of(error) == inside
    for what in ({"error": "OddError"}, "text", None):
        error.failure = what  # type: ignore[attr-defined]
        assert (failure_of(error).kind, failure_of(error).error) == (CODE, "ValueError")


def test_report_in_one_line() -> None:
    assert str(Failure(CODE, "ValueError", "a\n  b")) == "ValueError: a b"
    assert str(Failure(NODE, "", "killed")) == "killed"
    assert str(Failure(MEMORY, "MemoryError", "")) == "MemoryError"
    assert str(Failure(MEMORY, "", "")) == "memory"


def failure(sentence: str = "x", *frames: str, kind: FailureClass = CODE, error: str = "ValueError") -> Failure:
    return Failure(kind, error, sentence, frames)


def test_fingerprint_is_that_of_the_root_cause() -> None:
    ours = "analysis/columnar/mass.py:{} mass: return x"
    one = failure("branch 17 of /store/v1/a_17.root is bad at 0x7fe0", ours.format(10), "uproot/x.py:3 read: y")
    other = failure("branch 4 of /store/v1/a_4.root is bad at 0x1", ours.format(99), "uproot/y.py:9 seek: z")
    assert one.fingerprint() == other.fingerprint() == replace(other, host="n", wall_seconds=9.0).fingerprint()
    assert len(one.fingerprint()) == 10
    different = [
        replace(one, kind=STORAGE),
        replace(one, error="KeyError"),
        replace(one, sentence="branch 17 is good"),
        replace(one, frames=("analysis/columnar/mass.py:10 energy: return x",)),
        replace(one, frames=("analysis/columnar/charge.py:10 mass: return x",)),
    ]
    assert len({one.fingerprint(), *(f.fingerprint() for f in different)}) == 6


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("3 of 787 files, first root://eos.cern.ch//store/f_1.root", "# of # files, first #"),
        ("object at 0x7f675be79b80", "object at #"),
        ("digest deadbeef01 is not decade", "digest # is not decade"),
        ("-1.5e-3 < 2.0", "# < #"),
        ("./a/b.root and ../c.root: no", "# and #: no"),
        ("jets and/or leptons", "jets and/or leptons"),
        ("", ""),
    ],
)
def test_what_differs_from_branch_to_branch_is_blanked(sentence: str, expected: str) -> None:
    assert blanked(sentence) == expected


def death(number: int = 0, code: int = 0, log: str = "", memory_is_full: bool = False) -> tuple[FailureClass, str]:
    failure = failure_of_death(code << 8 | number, log, memory_is_full)
    return failure.kind, failure.sentence


def test_class_of_a_death() -> None:
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS):
        assert death(number) == (CODE, f"its process crashed: {number.name}")
        assert death(number, memory_is_full=True)[0] is CODE
    assert death(signal.SIGKILL) == (NODE, "its process was killed from outside (SIGKILL)")
    assert death(signal.SIGKILL, memory_is_full=True)[0] is MEMORY
    assert death(signal.SIGTERM) == (NODE, "the batch system ended the job (SIGTERM)")
    assert death(code=7) == (CODE, "its process ended itself with exit code 7")


DUMP = """noise
Fatal Python error: Segmentation fault

Thread 0x00007f675a5ff6c0 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait

Current thread 0x00007f675be79b80 [python] (most recent call first):
  File "/env/lib/python3.11/site-packages/uproot/reading.py", line 5 in read
  File "{repository}/analysis/tasks/none.py", line 7 in run
  File "{repository}/analysis/engine/commit.py", line 3 in _execute
  File "{repository}/analysis/engine/backends/worker.py", line 9 in main
  File "<frozen runpy>", line 88 in _run_code

Extension modules: numpy (total: 1)
"""


def test_frames_of_a_crash_are_those_of_the_thread_that_crashed() -> None:
    log = DUMP.format(repository=Path(__file__).resolve().parents[3])
    assert dumped_frames(log) == ("analysis/tasks/none.py:7 run", "uproot/reading.py:5 read")
    asked = 'Stack (most recent call first):\n  File "/a.py", line 1 in f\n'
    assert dumped_frames(log + asked) == ("/a.py:1 f",)
    assert dumped_frames("nothing") == ()


def test_exit_codes_of_the_job_script_are_known() -> None:
    used = {int(code) for code in re.findall(r"fail (8\d) ", JOB_SCRIPT.read_text())}
    assert {*used, 81, 82, NO_SPEC} == EXIT_CODES.keys()


def test_report_has_no_secret() -> None:
    """Also where the sentence is cut off within it."""
    token = "eyJhbGciOiJub25lIn0." + 400 * "eyJzdWIi" + ".c2ln"
    found = failure_of(ValueError(f"{'x' * 590} {token}"))
    assert "eyJ" not in str(found.to_json())
    assert found.sentence.endswith("<secret>")
