"""A small file is written to each store, listed, read, compared and removed: that it works, and how long it takes."""

from __future__ import annotations

import functools
import os
import secrets
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar, cast

from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red, yellow

if TYPE_CHECKING:
    from analysis.engine.storage.base import Entry, Store
    from analysis.engine.storage.endpoints import Endpoint
    from analysis.engine.storage.remote import RemoteStore

T = TypeVar("T")

REQUEST = 8
"""Seconds that a server gets for one request."""
LIMIT = 40.0
"""Seconds for all of them: those of the trip, and those that clean up after a request without an answer."""
SLOW = 5.0
"""Seconds of one step above which a store is slow."""
TOLERATED, TOO_MUCH = 30.0, 300.0
"""Differences of clocks [s]; above the second, proxies, tokens and Kerberos tickets are refused."""

_FILE = "probe"


@dataclass
class Trip:
    """What became of the file.

    Args:
        times: how long each step took [s].
        checksum: whether the store told one, and it was right.
        skew: by how much its clock is ahead [s]; ``None`` if it does not tell.
    """

    times: dict[str, float] = field(default_factory=dict)
    checksum: bool = False
    skew: float | None = None

    def step(self, name: str, call: Callable[[], T]) -> T:
        """Take the time of a step."""
        began = time.monotonic()
        result = call()
        self.times[name] = time.monotonic() - began
        return result

    def __str__(self) -> str:
        return ", ".join(f"{name} {milliseconds(seconds)}" for name, seconds in self.times.items())


def milliseconds(seconds: float) -> str:
    """A latency.

    Examples:
        >>> milliseconds(0.0001234), milliseconds(12.3456)
        ('0.123 ms', '12346 ms')
    """
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{1000 * seconds:.0f} ms"


class DamagedError(OSError):
    """What is read is not what was written."""


def checks() -> Sequence[Check]:
    """One for each directory and each endpoint.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    from analysis.engine.storage import places

    found = []
    for store in places.configured():
        if isinstance(store.root, Path):
            found.append(_check(f"store {store.name}", functools.partial(look_here, store)))
            continue
        remote = cast("RemoteStore", getattr(store, "remote", store))
        found += [
            _check(f"store {store.name}", functools.partial(look_there, remote, endpoint))
            for endpoint in remote.endpoints.all
        ]
        if (mirror := getattr(store, "mirror", None)) is not None:
            found.append(_check(f"mirror {store.name}", functools.partial(look_here, mirror, "mirror")))
    return found or [Check("stores", lambda: [grey("stores", "none is configured", "source setup.sh")])]


def look_here(store: Store, kind: str = "store") -> Iterator[Finding]:
    """A store on a disk of this machine.

    Args:
        store: the store.
        kind: what it is called.
    """
    name, root = f"{kind} {store.name}", Path(store.root)
    missing = [folder for folder in (root, *root.parents) if not os.path.lexists(folder)]
    try:
        trip = travel(store)
    except OSError as error:
        yield red(name, f"{root}: {(error.strerror or str(error)).lower()}", _advice_here(store, kind))
        return
    finally:
        for folder in missing:
            with suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
    yield _green(name, trip, f"{root}: ")
    yield from _clock(name, trip, "ask the site to have the clocks of this machine and of that disk set by NTP")


def look_there(store: RemoteStore, endpoint: Endpoint) -> Iterator[Finding]:
    """A store on servers, by one of its endpoints.

    Args:
        store: the store.
        endpoint: one of them.
    """
    from analysis.engine.storage.base import RemoteError
    from analysis.engine.storage.endpoints import Endpoint, Endpoints
    from analysis.engine.storage.interfaces import InterfaceError, interface_for
    from analysis.engine.storage.remote import RemoteStore
    from analysis.engine.storage.retry import Patience
    from analysis.engine.storage.settings import remote_settings

    name, options = f"store {store.name}", remote_settings(store.name)
    try:
        interface = interface_for(endpoint.base.partition(":")[0], options.interface, REQUEST)
    except InterfaceError as error:
        yield red(name, f"{endpoint.base}: {error}", f"correct interface or base in section {store.name} of law.cfg")
        return
    only = Endpoints(store.name, [Endpoint(endpoint.base, lambda: interface)], Patience(0))
    missing: list[str] = []
    began = time.monotonic()
    try:
        missing = _missing(interface.stat, endpoint.base)
        trip = travel(RemoteStore(store.name, only, checksum=options.checksum))
    except RemoteError as error:
        yield red(
            name, f"{endpoint.base}: {error.operation}: {error.reason}{_after(began)}", _advice_there(error, store.name)
        )
        return
    except DamagedError as error:
        yield red(name, f"{endpoint.base}: {error}", "tell the site: this storage damages files")
        return
    finally:
        for url in missing:
            with suppress(RemoteError):  # somebody else uses it by now, or it was not made
                interface.remove_folder(url)
    yield _green(name, trip, f"{endpoint.base} by {interface.name}: ", "" if trip.checksum else ", has no checksums")
    yield from _clock(
        name, trip, "have the clock of this machine set by NTP, or tell the site that its server is wrong"
    )


def travel(store: Store) -> Trip:
    """Write a file in a folder of its own, list, read, compare and remove it. Nothing is left, however it ends.

    Args:
        store: where.

    Raises:
        DamagedError: if something else is read than was written.
        OSError: if a step fails.
    """
    trip, content = Trip(), secrets.token_bytes(1000)
    # "analysis ls" takes such a name for something that is under way, should this process be killed
    folder = store.root / f".doctor.{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.part"
    path = folder / _FILE
    try:
        before = time.time()
        trip.step("write", lambda: store.write(path, content))
        after = time.time()
        entry = trip.step("list", lambda: {entry.name: entry for entry in store.entries(folder)}).get(_FILE)
        _compare("size of a new file in a listing", None if entry is None else entry.size, len(content))
        _compare("content of a new file", trip.step("read", lambda: store.read(path)), content)
        if hasattr(store, "checksum"):
            told = trip.step("checksum", lambda: cast("RemoteStore", store).checksum(path))
            trip.checksum = told is not None
            _compare("checksum of a new file", told or f"{zlib.adler32(content):08x}", f"{zlib.adler32(content):08x}")
        trip.skew = skew_of(entry.mtime if entry else 0.0, before, after)
        trip.step("remove", lambda: _remove(store, folder, [path]))
    except BaseException:
        with suppress(OSError):
            _remove(store, folder, [folder / entry.name for entry in store.entries(folder)])
        raise
    return trip


def _compare(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        shown = "" if isinstance(wanted, bytes) else f": {found} instead of {wanted}"
        msg = f"the {what} is wrong{shown}"
        raise DamagedError(msg)


def skew_of(there: float, before: float, after: float) -> float | None:
    """By how much another clock is ahead [s]; ``None`` if it does not tell.

    Args:
        there: what it says, in whole seconds or better.
        before: what ours says before that moment.
        after: what ours says after it.

    Examples:
        >>> skew_of(100.0, 100.7, 101.1), skew_of(190.0, 100.7, 101.0), skew_of(40.5, 100.5, 101.0)
        (0.0, 89.0, -60.0)
    """
    if there <= 0:
        return None
    if there > after:
        return there - after
    return min(0.0, there - before) if there < before - 1 else 0.0


def clock(name: str, skew: float | None, advice: str) -> Iterator[Finding]:
    """Compare clocks.

    Args:
        name: whose clock.
        skew: by how much it is ahead [s]; nothing is said if that is not known.
        advice: what to do.
    """
    if skew is None:
        return
    words = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine"
    if abs(skew) > TOO_MUCH:
        yield red(f"clock {name}", words, advice)
    elif abs(skew) > TOLERATED:
        yield yellow(f"clock {name}", words, advice)
    else:
        yield green(f"clock {name}", "the same as here" if abs(skew) < 2 else words)


def _clock(name: str, trip: Trip, advice: str) -> Iterator[Finding]:
    yield from clock(name.partition(" ")[2], trip.skew, advice)


def _check(name: str, look: Callable[[], Iterator[Finding]]) -> Check:
    return Check(name, look, LIMIT, "that storage hangs: ask the site, or name another one in [outputs] of law.cfg")


def _green(name: str, trip: Trip, before: str, after: str = "") -> Finding:
    found = f"{before}{trip}{after}"
    if max(trip.times.values()) > SLOW:
        return yellow(name, found, "it is slow: see whether others are using it a lot, or take a closer endpoint")
    return green(name, found)


def _remove(store: Store, folder: PurePath, paths: Sequence[PurePath]) -> None:
    for path in paths:
        store.remove(path)
    store.remove_folder(folder)


def _missing(stat: Callable[[str], Entry], base: str) -> list[str]:
    """URLs of the root of a store and of all above it that are not there; they are made with the first file."""
    from analysis.engine.storage.base import DeniedError, NotFoundError

    missing: list[str] = []
    url, least = base, base.index("/", base.index("://") + 3)
    while len(url) > least + 1:
        try:
            stat(url)
        except NotFoundError:
            missing.append(url)
            url = url.rpartition("/")[0].rstrip("/") if url.rpartition("/")[0].rstrip("/") else url
        except DeniedError:  # of a folder above
            if not missing:
                raise
            break
        else:
            break
    return missing


def _after(began: float) -> str:
    seconds = time.monotonic() - began
    return f" (after {seconds:.0f} s)" if seconds >= 1 else ""


def _advice_here(store: Store, kind: str) -> str:
    option = {"store": "base", "mirror": "mirror"}[kind]
    other = "ANALYSIS_STORE" if (store.name, kind) == ("local", "store") else f"{option} in section {store.name}"
    return f"change the permissions of {store.root}, make room there, or set {other} to another directory"


def _advice_there(error: OSError, name: str) -> str:
    from analysis.engine.storage.base import OutageError, RemoteError, TrustError

    if isinstance(error, OutageError) and not isinstance(error, TrustError):
        return f"ask the site whether that server is up, or correct base in section {name} of law.cfg"
    assert isinstance(error, RemoteError)
    known = str(error).removeprefix(f"{error.operation} {error.url}: {error.reason}").removeprefix(": ")
    return known or f"ask the site, or correct base in section {name} of law.cfg"
