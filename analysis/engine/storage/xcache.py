"""Reading through the XRootD cache of a site: which URLs go through it, and what happens when it is down.

Section ``xcache`` of ``law.cfg`` names the cache. ``root://xcache//store/...``, with ``xcache`` as host, means it in
any case. A cache returns what a file was when it was read first: only for files that never change, as inputs are.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from analysis.engine.backends.resources import parse_time
from analysis.engine.backends.settings import section
from analysis.engine.errors import ParameterError

SECTION = "xcache"
NICKNAME = "xcache"
"""The host that means the cache of the site, wherever the analysis runs."""

_SCHEMES = ("root", "xroot")
_logger = logging.getLogger("analysis.engine.storage")


@dataclass(frozen=True)
class XCacheSettings:
    """Section ``xcache``.

    Args:
        server: ``root://HOST:PORT`` of the cache; empty for none.
        kind: ``forwarding`` if the cache reads from the server that the URL names, ``fixed`` if it has one origin.
        origins: servers whose files are read through the cache, ``root://HOST:PORT`` each; a path restricts it to
            the files below. The first is where ``root://xcache//...`` is read if there is no cache, or if it is down.
        all_origins: whether files of all other servers are read through a forwarding cache as well.
        patience: for how long a cache that did not answer is left alone [s].
    """

    server: str = ""
    kind: Literal["forwarding", "fixed"] = "forwarding"
    origins: tuple[str, ...] = ()
    all_origins: bool = False
    patience: int = 300


class Candidate(NamedTuple):
    """A URL at which a file can be read.

    Args:
        url: the URL.
        cache: the cache that it goes through; empty for none.
    """

    url: str
    cache: str = ""


def xcache_settings() -> XCacheSettings:
    """What the configuration says.

    Raises:
        ParameterError: if it makes no sense.
    """
    parsers: dict[str, Callable[[str], object]] = {
        "server": lambda text: _server(text) if text else "",
        "kind": _kind,
        "origins": lambda text: tuple(_server(item.strip()) for item in text.split(",") if item.strip()),
        "patience": parse_time,
    }
    settings = XCacheSettings(**section(SECTION, XCacheSettings, parsers))
    if settings.server and settings.kind == "fixed" and not settings.origins:
        msg = f"law.cfg, section {SECTION}: a fixed cache needs origins, the server that it reads from"
        raise ParameterError(msg)
    return settings


def through_cache(url: str, settings: XCacheSettings | None = None) -> list[Candidate]:
    """Where a file can be read, the best first: through the cache of the site if it is for that file, then its origin.

    Args:
        url: of the file; only ``root://`` goes through a cache.
        settings: default: of the configuration.

    Raises:
        ParameterError: for ``root://xcache//...`` if the configuration names neither a cache nor an origin.

    Examples:
        >>> site = XCacheSettings("root://cache:1094", "fixed", ("root://origin:1094",))
        >>> [candidate.url for candidate in through_cache("root://origin:1094//store/a.root", site)]
        ['root://cache:1094//store/a.root', 'root://origin:1094//store/a.root']
        >>> [candidate.url for candidate in through_cache("root://elsewhere//store/a.root", site)]
        ['root://elsewhere//store/a.root']
        >>> site = XCacheSettings("root://cache:1094", "forwarding", all_origins=True)
        >>> through_cache("root://elsewhere//store/a.root", site)[0].url
        'root://cache:1094//root://elsewhere//store/a.root'
    """
    scheme, colon, rest = url.partition("://")
    if not colon or scheme.lower() not in _SCHEMES:
        return [Candidate(url)]
    settings = settings or _configured(os.getpid())
    host, _, path = rest.partition("/")
    if host == NICKNAME:
        return _nicknamed(url, path.lstrip("/"), settings)
    origin = _normal(url)
    known = any(_is_below(origin, prefix) for prefix in settings.origins)
    if not settings.server or not (known or (settings.all_origins and settings.kind == "forwarding")):
        return [Candidate(url)]
    return [_cached(origin, path.lstrip("/"), settings), Candidate(url)]


def usable(candidates: list[Candidate]) -> list[Candidate]:
    """Those whose cache has not been found down lately; all of them if that would leave none."""
    now = time.monotonic()
    return [c for c in candidates if _rests_until.get(c.cache, 0.0) <= now] or candidates


def leave_alone(cache: str, reason: str, patience: float) -> None:
    """Remember that a cache is down; says so once in that time.

    Args:
        cache: its server.
        reason: what happened.
        patience: for how long it is left alone [s].
    """
    now = time.monotonic()
    if _rests_until.get(cache, 0.0) <= now:
        _logger.warning("%s is left alone for %g s, files are read from their origin: %s", cache, patience, reason)
    _rests_until[cache] = now + patience


_rests_until: dict[str, float] = {}


@functools.lru_cache(maxsize=1)
def _configured(_process: int) -> XCacheSettings:
    return xcache_settings()


def _nicknamed(url: str, path: str, settings: XCacheSettings) -> list[Candidate]:
    if not settings.server and not settings.origins:
        msg = f"{url}: law.cfg, section {SECTION}, names neither server nor origins: add the cache of your site"
        raise ParameterError(msg)
    origins = [Candidate(f"{_join(origin, path)}") for origin in settings.origins[:1]]
    if not settings.server:
        return origins
    if settings.kind == "forwarding" and not origins:
        msg = f"{url}: law.cfg, section {SECTION}: a forwarding cache needs origins, where such files are"
        raise ParameterError(msg)
    return [_cached(origins[0].url if origins else "", path, settings), *origins]


def _cached(origin: str, path: str, settings: XCacheSettings) -> Candidate:
    target = origin if settings.kind == "forwarding" else path
    return Candidate(f"{settings.server}//{target}", settings.server)


def _join(origin: str, path: str) -> str:
    scheme, _, rest = origin.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}//{path}"


def _normal(url: str) -> str:
    """A URL with two slashes after the host, as caches and prefixes need it."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host}{'//' if slash else ''}{path.lstrip('/')}".rstrip("/")


def _is_below(url: str, prefix: str) -> bool:
    return url == prefix or url.startswith(f"{prefix}/")


def _server(text: str) -> str:
    scheme, colon, rest = text.partition("://")
    if not colon or scheme.lower() not in _SCHEMES or not rest.partition("/")[0]:
        msg = f"{text!r} is not a server: write root://HOST:PORT"
        raise ParameterError(msg)
    return _normal(text)


def _kind(text: str) -> str:
    if text not in ("forwarding", "fixed"):
        msg = f"{text!r} is neither forwarding nor fixed"
        raise ParameterError(msg)
    return text
