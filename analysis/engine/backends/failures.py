"""Why a branch, or a job, failed: from the exception, from how its process ended, or from the exit code of the job.

The class decides what happens next: only what can get better is tried again.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import linecache
import os
import re
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from analysis.engine.backends.base import FailureClass
from analysis.engine.errors import ManifestError, MismatchError, StoreError, TransientError
from analysis.engine.storage.base import DeniedError, RemoteError
from analysis.engine.storage.credentials import CredentialError
from analysis.engine.storage.masking import masked

FRAMES = 8
"""Frames of a traceback that are kept: the last ones."""
_LENGTH = 600
_OURS = 3

_PACKAGE = __name__.partition(".")[0]
_REPOSITORY = Path(__file__).resolve().parents[3]


class Exit(NamedTuple):
    """What an exit code of a job means.

    Args:
        kind: class of the failure.
        reason: in a few words.
    """

    kind: FailureClass
    reason: str


EXIT_CODES: Mapping[int, Exit] = {
    80: Exit(FailureClass.ENVIRONMENT, "there is no Python to run it with"),
    81: Exit(FailureClass.ENVIRONMENT, "the repository is missing or damaged"),
    82: Exit(FailureClass.ENVIRONMENT, "the sandbox is missing or damaged"),
    83: Exit(FailureClass.ENVIRONMENT, "the description of the job is missing or damaged"),
    84: Exit(FailureClass.NODE, "the scratch directory cannot be written"),
    85: Exit(FailureClass.STORAGE, "the store is not there"),
}
"""Exit codes of ``job.sh`` when no branch could be started; it says why on its standard error."""

_ON_THE_WAY = re.compile(
    r"<frozen |analysis/engine/(backends/(worker|runner)|sandboxes/(worker|inside))\.py:"
    r"|analysis/engine/commit\.py:\d+ (wrapper|_execute):"
)

_ERRNO_NAMES = (
    *("EIO", "ESTALE", "ENOSPC", "EDQUOT", "ETIMEDOUT", "EREMOTEIO", "ENOLINK", "EPROTO", "EPIPE", "ENOTCONN"),
    *("ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "ENETDOWN", "ENETRESET", "ENETUNREACH", "EHOSTDOWN"),
    "EHOSTUNREACH",
)
# not each of them is known everywhere
_ERRNOS = frozenset(getattr(errno, name) for name in _ERRNO_NAMES if hasattr(errno, name))
_NETWORK = frozenset({"aiohttp", "fsspec", "fsspec_xrootd", "XRootD", "gfal2", "requests", "urllib3"})
"""Packages whose errors are those of a connection or a server; beside ``urllib.error`` and ``http.client``."""

_MEMORY = re.compile(r"unable to allocate|cannot allocate memory|bad_alloc|out of memory", re.IGNORECASE)
_CREDENTIAL = re.compile(
    r"(certificate|proxy|token|credentials?)( file)?( has| is|:)* (expired|not yet valid)|no valid (proxy|credential)"
    r"|unauthorized|authentication failed|auth failed|no protocols left to try|kerberos (error|ticket)",
    re.IGNORECASE,
)
_FORBIDDEN = re.compile(r"\b(401|403)\b")
_AUTHORITY = re.compile(r"forbidden|token|proxy|certificate|credential|authori[sz]", re.IGNORECASE)
_LOADER = re.compile(
    r"cannot open shared object file|undefined symbol|version `[\w.]+' not found|wrong ELF class|invalid ELF header"
)
_STORAGE = re.compile(
    r"\[(ERROR|FATAL)\] |\btimed? ?out\b|operation expired|connection (refused|reset|aborted|closed|lost)"
    r"|no route to host|network is unreachable|name resolution|stale file handle|input/output error"
    r"|no space left|quota exceeded|transport endpoint",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Failure:
    """Why a branch failed, as the job reports it.

    Args:
        kind: class.
        error: type of the exception; empty if its process was ended from outside.
        sentence: what it says.
        frames: the last frames, the innermost at the end, as ``file:line function: source line``; files of the
            repository relative to it.
        host: where.
        job: id of the job.
        when: time.
        wall_seconds: run time of the branch until then.
        peak_memory: of the branch with all its processes [bytes].
    """

    kind: FailureClass
    error: str
    sentence: str
    frames: tuple[str, ...] = ()
    host: str = ""
    job: str = ""
    when: str = ""
    wall_seconds: float = 0.0
    peak_memory: int = 0

    def __str__(self) -> str:
        """Type of the exception, and what it says, in one line."""
        return ": ".join(filter(None, (self.error, " ".join(self.sentence.split())))) or self.kind

    def to_json(self) -> dict[str, Any]:
        """As it is written to the store."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Failure:
        """From :meth:`to_json`; what a newer version may have added is left out.

        Raises:
            ValueError: if it is none.
        """
        known = {item.name: content[item.name] for item in dataclasses.fields(cls) if item.name in content}
        try:
            return cls(**{**known, "kind": FailureClass(content["kind"]), "frames": tuple(content.get("frames", ()))})
        except (KeyError, TypeError) as error:
            msg = f"not the report of a failure: {json.dumps(content)[:100]}"
            raise ValueError(msg) from error

    def fingerprint(self) -> str:
        """What failures of one root cause share.

        It is made of the class, the type of the exception, the innermost functions of this project that were running,
        and the sentence without what differs from branch to branch: numbers, hexadecimal digits and paths. Line numbers
        do not count: an edit elsewhere in a file moves them.
        """
        from hashlib import blake2s

        ours = [place for frame in self.frames if (place := _place(frame)).startswith(f"{_PACKAGE}/")]
        parts = (self.kind, self.error, *ours[-_OURS:], blanked(self.sentence))
        return blake2s("\n".join(parts).encode()).hexdigest()[:10]


def blanked(sentence: str) -> str:
    """A sentence without paths, hexadecimal and other numbers.

    Examples:
        >>> blanked("root://eos/f_1.root: entry 0x1f of 17 at 1.5e3 is bad")
        '#: entry # of # at # is bad'
    """
    sentence = re.sub(r"(\b[\w+.-]+:/|(?<!\w)\.{0,2})/[^\s'\",;:()]*", "#", sentence)
    sentence = re.sub(r"\b(?=[0-9a-fA-F]*\d)(0x)?[0-9a-fA-F]{6,}\b|\b0x[0-9a-fA-F]+\b", "#", sentence)
    return re.sub(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", "#", sentence)


def _place(frame: str) -> str:
    """File and function of a frame."""
    found = re.match(r"(?P<file>.*?):\d+ (?P<function>[^:]+)", frame)
    return f"{found['file']} {found['function']}" if found else frame


# exceptions


def failure_of(error: BaseException) -> Failure:
    """Report of an exception: if it was raised in a sandbox, the one that was made there.

    Args:
        error: with its traceback.
    """
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        return Failure.from_json(error.failure)  # type: ignore[attr-defined]
    root = next(_causes(error))
    return Failure(classify(error), type(error).__qualname__, _shortened(str(error)), _last(_frames(error, root)))


def classify(error: BaseException) -> FailureClass:
    """Class of an exception.

    The root cause decides: of all exceptions that led to this one (``__cause__``, else ``__context__``), the first one
    that tells. So an error of the store that a task wraps into one of its own stays an error of the store. What no rule
    knows is taken for a bug. Why a sandbox cannot be had does not matter: another machine may have it.
    """
    from analysis.engine.sandboxes.base import SandboxError  # the supervisor of a job imports next to nothing

    if any(isinstance(cause, SandboxError) for cause in _causes(error)):
        return FailureClass.ENVIRONMENT
    return next((kind for cause in _causes(error) if (kind := _class_of(cause))), FailureClass.CODE)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Exceptions that led to one, the first of them first, and itself."""
    chain: list[BaseException] = []
    todo: list[BaseException] = [error]
    while todo:
        one = todo.pop()
        if any(one is known for known in chain):
            continue
        chain.append(one)
        todo += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        before = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        todo += [before] if before else []
    return reversed(chain)


def _class_of(error: BaseException) -> FailureClass | None:
    text = f"{type(error).__name__}: {error}"
    return next((kind for kind, applies in _RULES if applies(error, text)), None)


def _is_memory(error: BaseException, text: str) -> bool:
    return isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM or bool(_MEMORY.search(text))


def _is_credential(_error: BaseException, text: str) -> bool:
    return bool(_CREDENTIAL.search(text) or (_FORBIDDEN.search(text) and _AUTHORITY.search(text)))


def _is_own_import(error: BaseException, _text: str) -> bool:
    return isinstance(error, ImportError) and (error.name or "").partition(".")[0] == _PACKAGE


def _is_environment(error: BaseException, text: str) -> bool:
    return isinstance(error, (ImportError, MismatchError)) or bool(_LOADER.search(text))


def _is_storage(error: BaseException, text: str) -> bool:
    if isinstance(error, (StoreError, ManifestError, TimeoutError, ConnectionError)) or _STORAGE.search(text):
        return True
    if isinstance(error, OSError) and (error.errno in _ERRNOS or _is_lost_in_store(error)):
        return True
    modules = {kind.__module__ for kind in type(error).__mro__}
    return bool(modules & {"urllib.error", "http.client"} or {m.partition(".")[0] for m in modules} & _NETWORK)


_RULES: tuple[tuple[FailureClass, Callable[[BaseException, str], bool]], ...] = (
    (FailureClass.NODE, lambda error, _text: isinstance(error, TransientError)),
    # a server that denies it does so the next time, be it for the credential or for the permissions of a path
    (FailureClass.CREDENTIAL, lambda error, _text: isinstance(error, (CredentialError, DeniedError))),
    (FailureClass.STORAGE, lambda error, _text: isinstance(error, RemoteError)),
    (FailureClass.MEMORY, _is_memory),
    (FailureClass.CREDENTIAL, _is_credential),
    (FailureClass.CODE, _is_own_import),
    (FailureClass.ENVIRONMENT, _is_environment),
    (FailureClass.STORAGE, _is_storage),
)
"""Tried in this order; by exception and by its type and text."""


def _is_lost_in_store(error: OSError) -> bool:
    """Whether a file of the store is not seen here: what it is made of was there when the job was submitted."""
    store = os.environ.get("ANALYSIS_STORE")
    return isinstance(error, FileNotFoundError) and bool(store) and str(error.filename).startswith(f"{store}/")


def _shortened(text: str) -> str:
    text = "\n".join(line.rstrip() for line in masked(text).strip().splitlines()[:5])
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]}..."


def _frames(error: BaseException, root: BaseException) -> Iterator[str]:
    """Frames of an exception, and of the one it began with: the latter were entered where the former was raised."""
    for one in [error] if root is error else [error, root]:
        for frame, line in traceback.walk_tb(one.__traceback__):
            yield _frame(frame.f_code.co_filename, line, frame.f_code.co_name)


def _last(frames: Iterable[str]) -> tuple[str, ...]:
    """The frames that are kept: without those between the start of the process and ``run()``."""
    return tuple(frame for frame in frames if not _ON_THE_WAY.match(frame))[-FRAMES:]


def _frame(file: str, line: int, function: str) -> str:
    source = masked(linecache.getline(file, line).strip())
    return f"{_short_path(file)}:{line} {function}" + (f": {source}" if source else "")


def _short_path(file: str) -> str:
    """Path relative to the repository, or to the packages."""
    path = Path(file)
    if path.is_relative_to(_REPOSITORY):
        return path.relative_to(_REPOSITORY).as_posix()
    return file.rpartition("/site-packages/")[2]


# processes that ended without a word


def failure_of_death(status: int, log: str = "", memory_is_full: bool = False) -> Failure:
    """Report of a branch whose process ended before it could tell.

    Args:
        status: wait status of the process, as :func:`os.waitpid` has it.
        log: what it wrote; faulthandler may have dumped where it was.
        memory_is_full: whether the kernel killed processes of the job for lack of memory, or it used nearly all of it.
    """
    frames = dumped_frames(log)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return Failure(FailureClass.CODE, "", f"its process ended itself with exit code {code}", frames)
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name == "SIGTERM":
        return ended_by_batch_system(name, frames)
    if name != "SIGKILL":
        return Failure(FailureClass.CODE, "", f"its process crashed: {name}", frames)
    if memory_is_full:
        return Failure(FailureClass.MEMORY, "", "its process was killed for lack of memory (SIGKILL)", frames)
    return Failure(FailureClass.NODE, "", "its process was killed from outside (SIGKILL)", frames)


def ended_by_batch_system(name: str, frames: tuple[str, ...] = ()) -> Failure:
    """Report of a branch that was running when the job got a signal."""
    return Failure(FailureClass.NODE, "", f"the batch system ended the job ({name})", frames)


_DUMP = re.compile(r"(?:Current thread [^\n]*|Stack) \(most recent call first\):\n((?:  File [^\n]*\n?)+)")
_DUMPED = re.compile(r'  File "(?P<file>[^\n]+)", line (?P<line>\d+) in (?P<function>[^\n]+)')


def dumped_frames(log: str) -> tuple[str, ...]:
    """Frames of the last traceback that faulthandler wrote to a log."""
    dumps = _DUMP.findall(log)
    found = _DUMPED.findall(dumps[-1]) if dumps else []
    return _last(_frame(file, int(line), function) for file, line, function in reversed(found))
