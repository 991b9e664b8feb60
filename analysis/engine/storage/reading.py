"""How input files that are on servers are read: only the bytes that are needed, or a local copy of the file.

Section ``inputs`` of ``law.cfg``: ``reading: auto`` reads directly, but copies a file that is small, if there is a
cache for copies. Measured (benchmarks/reading.py): directly, 2 of 10 columns of 74 MB take a quarter (at once) to a
half (20 ms away) of the time of a copy. All that the chain reads of a file with 1500 columns is a fifth of it; if the
file has 3 MB, both take the same, and three quarters of it when the copy is there, and each file is read three times.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from analysis.engine.backends.resources import parse_size, parse_time
from analysis.engine.backends.settings import section
from analysis.engine.errors import ParameterError
from analysis.engine.storage.base import RemoteError, error_of
from analysis.engine.storage.retry import Backoff, Clock, Patience
from analysis.engine.storage.xcache import through_cache, xcache_settings

if TYPE_CHECKING:
    from analysis.engine.storage.cache import Cache

Reading = Literal["auto", "direct", "copy"]
SECTION = "inputs"
SMALL = 8_000_000
"""A file of at most this size is copied, if there is a cache [bytes]."""

_DIRECT = ("root", "roots", "xroot", "xroots", "http", "https", "dav", "davs")
T = TypeVar("T")


@dataclass(frozen=True)
class InputSettings:
    """Section ``inputs``.

    Args:
        reading: ``direct``, ``copy`` or ``auto``.
        cache_root: directory of local copies; empty for none.
        cache_max_size: of all copies [bytes].
        timeout: of one request [s].
        patience: how long a server that does not answer is asked again [s].
        job_patience: the same in batch jobs [s].
        retry_delay: longest pause before the first repetition [s].
    """

    reading: Reading = "auto"
    cache_root: Path | None = None
    cache_max_size: int = 0
    timeout: int = 30
    patience: int = 120
    job_patience: int = 600
    retry_delay: int = 5

    def retries(self, environment: Mapping[str, str] = os.environ) -> Patience:
        """How long this process is patient.

        Args:
            environment: its variables, which tell a batch job.
        """
        is_job = bool(environment.get("ANALYSIS_JOB_BACKEND"))
        return Patience(float(self.job_patience if is_job else self.patience), float(self.retry_delay))


def input_settings() -> InputSettings:
    """What the configuration says.

    Raises:
        ParameterError: if it makes no sense.
    """
    parsers: dict[str, Callable[[str], Any]] = {
        "reading": _reading,
        "cache_root": lambda text: Path(text) if text else None,
        "cache_max_size": lambda text: parse_size(text) if text else 0,
    }
    parsers |= dict.fromkeys(("timeout", "patience", "job_patience", "retry_delay"), parse_time)
    settings = InputSettings(**section(SECTION, InputSettings, parsers))
    if settings.cache_root is not None and not (settings.cache_root.is_absolute() and settings.cache_max_size):
        msg = (
            f"law.cfg, section {SECTION}: cache_root has to be an absolute path, and cache_max_size its size, e.g. 50GB"
        )
        raise ParameterError(msg)
    if settings.reading == "copy" and settings.cache_root is None:
        msg = (
            f"law.cfg, section {SECTION}: reading: copy needs a place for the copies: set cache_root and cache_max_size"
        )
        raise ParameterError(msg)
    return settings


@contextmanager
def opening(path: str) -> Iterator[Callable[[str], Any] | None]:
    """What opens an input file, once; what it returns can be read until the end of the block.

    Args:
        path: path or URL.

    Yields:
        A function like :func:`open_root`; ``None`` if the file is not on a server that is read remotely.
    """
    if path.partition("://")[0].lower() not in _DIRECT:
        yield None
        return
    with ExitStack() as stack:
        yield functools.cache(lambda url: stack.enter_context(open_root(url)))


@contextmanager
def open_root(url: str, settings: InputSettings | None = None) -> Iterator[Any]:
    """Open a ROOT file on a server with uproot; it can be read until the end of the block.

    Args:
        url: ``root://``, ``https://`` or ``davs://``; ``root://`` through the cache of the site, if it has one.
        settings: default: of the configuration.

    Yields:
        uproot's directory.

    Raises:
        RemoteError: if a server does not answer after all patience, the file is not there, must not be read or is
            truncated; the same from all that is read from the directory.
    """
    settings = settings or input_settings()
    with ExitStack() as stack:
        copy = stack.enter_context(_copied(url, settings))
        yield stack.enter_context(_opened_copy(copy) if copy is not None else _opened(url, settings))


@contextmanager
def _opened_copy(copy: Path) -> Iterator[Any]:
    import uproot

    with uproot.open({str(copy): None}) as directory:
        yield directory


@contextmanager
def _opened(url: str, settings: InputSettings) -> Iterator[Any]:
    import uproot

    from analysis.engine.storage.source import RemoteFile, RemoteSource, truncated

    rest = xcache_settings().patience
    with closing(RemoteFile(through_cache(url), settings.retries(), settings.timeout, rest)) as remote:
        if not remote.size:
            raise truncated(url, 0, 0)
        with uproot.open({url: None}, handler=RemoteSource, remote=remote) as directory:
            end = int(directory.file.fEND)
            if remote.size < end:
                raise truncated(url, remote.size, end)
            yield directory


@contextmanager
def _copied(url: str, settings: InputSettings) -> Iterator[Path | None]:
    """A local copy; ``None`` if the file is to be read directly."""
    known = _to_copy(url, settings)
    if known is None:
        yield None
        return
    size, adler32, source = known
    fetch = _retried(settings, lambda path: _interface(source, settings).download(source, path))
    with cache_of(settings).open(url, size, adler32, fetch) as path:
        yield path


def _to_copy(url: str, settings: InputSettings) -> tuple[int, str, str] | None:
    """Size, checksum and URL of a file that is to be copied; ``None`` if it is not."""
    scheme = url.partition("://")[0].lower()
    if settings.reading == "direct" or (settings.reading == "auto" and settings.cache_root is None):
        return None
    source = through_cache(url)[-1].url  # copies stay here: no need for those of the site
    interface = _interface(source, settings)
    size = _retried(settings, interface.stat)(source).size
    if settings.reading == "auto" and size > SMALL and scheme in _DIRECT:
        return None
    adler32 = _retried(settings, interface.checksum)(source)
    if adler32 is None and settings.reading == "copy":
        reason = "the server does not tell the checksum that a copy needs: set reading to direct in [inputs] of law.cfg"
        raise error_of(errno.ENOTSUP, "checksum", url, reason)
    return None if adler32 is None else (size, adler32, source)


def _retried(settings: InputSettings, request: Callable[[Any], T]) -> Callable[[Any], T]:
    def ask(argument: Any) -> T:
        backoff = Backoff(settings.retries(), Clock())
        while True:
            try:
                return request(argument)
            except RemoteError as error:
                if not error.is_transient or not backoff.pause():
                    raise

    return ask


def _interface(url: str, settings: InputSettings) -> Any:
    from analysis.engine.storage.interfaces import interface_for

    return interface_for(url.partition("://")[0].lower(), timeout=settings.timeout)


def cache_of(settings: InputSettings) -> Cache:
    """The cache of some settings that name one; one object per process."""
    from analysis.engine.storage.cache import Cache

    key = (settings.cache_root, settings.cache_max_size)
    if key not in _caches:
        _caches[key] = Cache(settings.cache_root or Path(), settings.cache_max_size)
    return _caches[key]


_caches: dict[tuple[Path | None, int], Cache] = {}


def input_cache() -> Cache | None:
    """The cache of input files, for the console; ``None`` if there is none.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    settings = input_settings()
    return None if settings.cache_root is None else cache_of(settings)


def _reading(text: str) -> str:
    if text not in get_args(Reading):
        msg = f"{text!r} is not one of {', '.join(get_args(Reading))}"
        raise ParameterError(msg)
    return text
