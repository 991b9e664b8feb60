"""The servers of one store: which of them is asked, and what happens when one does not answer."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from analysis.engine.storage.addresses import url_of
from analysis.engine.storage.base import DamageError, DeniedError, OutageError, RemoteError
from analysis.engine.storage.retry import Backoff, Clock, Patience

if TYPE_CHECKING:
    from analysis.engine.storage.base import Interface

FIRST_REST = 5.0
"""For how long an endpoint that failed once is left alone while there are others [s]; twice as long the next time."""
LONGEST_REST = 300.0
QUIET = 60.0
"""An endpoint that fails now and then is spoken of once in this time at most [s]."""
LOST = 30.0
"""A store that did not answer for all of its patience is asked once in this time [s]; all other requests fail at once.

A thousand branches do not wait for it one after the other.
"""

# XRootD's client gives up at once when a server asks it to come back later than the request may take
_AT_ONCE = 1.0
_LATER, _LONGEST_LATER = 0.05, 5.0

T = TypeVar("T")
_logger = logging.getLogger("analysis.engine.storage")


@dataclass(frozen=True)
class Endpoint:
    """A server of a store.

    Args:
        base: URL of the root of the store.
        interface: client library for it, made when it is needed first.
    """

    base: str
    interface: Callable[[], Interface] = field(compare=False)

    def url(self, parts: tuple[str, ...]) -> str:
        """URL of an address, given as its parts below the root."""
        return url_of(self.base, parts)


@dataclass
class _Health:
    failures: int = 0
    since: float = 0.0
    rests_until: float = 0.0
    told: bool = False
    told_at: float | None = None


class _State:
    """What one process knows of the endpoints."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.process = os.getpid()
        self.mutex = threading.Lock()
        self.health = {endpoint: _Health() for endpoint in endpoints}
        self.turn = self.process % len(endpoints)  # jobs that start together do not all begin with the first
        self.lost: OutageError | None = None
        self.asked_again_at = 0.0


class Endpoints:
    """All endpoints of a store. They are equal: each shows all files.

    Args:
        name: of the store.
        endpoints: one or more.
        patience: how long a request is tried again.
        clock: tells the time.
    """

    def __init__(
        self, name: str, endpoints: Sequence[Endpoint], patience: Patience, clock: Clock | None = None
    ) -> None:
        self.name, self.all, self.patience, self.clock = name, tuple(endpoints), patience, clock or Clock()
        self._state = _State(self.all)

    def choose(self, avoid: frozenset[Endpoint] = frozenset()) -> Endpoint:
        """The next endpoint in turn that works; if none does, the one that has been left alone for longest.

        Args:
            avoid: endpoints that are taken only if there is no other.
        """
        if len(self.all) == 1:
            return self.all[0]
        state, now = self._own(), self.clock.now()
        with state.mutex:
            candidates = [endpoint for endpoint in self.all if endpoint not in avoid] or list(self.all)
            rested = [endpoint for endpoint in candidates if state.health[endpoint].rests_until <= now]
            if rested:
                chosen = rested[state.turn % len(rested)]
                state.turn += 1
            else:
                chosen = min(candidates, key=lambda endpoint: state.health[endpoint].rests_until)
            health = state.health[chosen]
            if health.failures:  # one request finds out whether it is back; the others do not wait for that
                health.rests_until = now + _rest(health.failures)
            return chosen

    def failed(self, endpoint: Endpoint, error: RemoteError) -> None:
        """Note that an endpoint did not answer."""
        state, now = self._own(), self.clock.now()
        with state.mutex:
            health = state.health[endpoint]
            if not health.failures:
                health.since = now
            health.failures += 1
            health.rests_until = now + _rest(health.failures)
            silent = health.told or (health.told_at is not None and now < health.told_at + QUIET)
            if not silent:
                health.told, health.told_at = True, now
            others = any(not other.failures for other in state.health.values())
        if not silent:
            alone = f"trying again for {span(self.patience.total)}" if self.patience.total else "not tried again"
            what = "using another endpoint" if others else alone
            _logger.warning("store %s: no answer from %s (%s): %s", self.name, endpoint.base, error.reason, what)

    def answered(self, endpoint: Endpoint) -> None:
        """Note that an endpoint answered."""
        state = self._own()
        health = state.health[endpoint]
        if not health.failures and state.lost is None:  # as nearly always
            return
        with state.mutex:
            told, lasted = health.told, self.clock.now() - health.since
            health.failures, health.rests_until, health.told = 0, 0.0, False
            state.lost = None
        if told:
            _logger.warning("store %s: %s answers again after %s", self.name, endpoint.base, span(lasted))

    def patience_now(self) -> Patience:
        """How long a request that begins now is tried again: not at all after one was, in vain.

        Raises:
            OutageError: what that one said, if it was just now.
        """
        state, now = self._own(), self.clock.now()
        with state.mutex:
            lost = state.lost
            if lost is None:
                return self.patience
            if now >= state.asked_again_at:
                state.asked_again_at = now + self._lost_for
                return self.patience._replace(total=0.0)
        raise _again(lost)

    def gave_up(self, error: OutageError) -> OutageError:
        """Note that no endpoint answered, in all the time that the store is given.

        Returns:
            What is to be raised: of requests that gave up at the same time, all say the same.
        """
        state = self._own()
        with state.mutex:
            first, state.lost = state.lost, state.lost or error
            state.asked_again_at = self.clock.now() + self._lost_for
        return _again(first) if first else error

    @property
    def _lost_for(self) -> float:
        return min(LOST, self.patience.total)

    def session(self) -> Session:
        """For the requests of one operation."""
        return Session(self)

    def _own(self) -> _State:
        if self._state.process != os.getpid():  # forked: the mutex may be held by a thread that is not here
            before, self._state = self._state, _State(self.all)
            self._state.lost, self._state.asked_again_at = before.lost, before.asked_again_at
        return self._state


class Session:
    """The requests of one operation: to one endpoint as long as it answers, then to the next.

    Args:
        endpoints: those of the store.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._current: Endpoint | None = None
        self._left: frozenset[Endpoint] = frozenset()

    @property
    def endpoint(self) -> Endpoint:
        """The one that is asked next."""
        if self._current is None:
            self._current = self._endpoints.choose(self._left)
        return self._current

    def leave(self) -> None:
        """Ask another endpoint from now on, if there is one."""
        self._left, self._current = frozenset({self.endpoint}), None

    def ask(self, request: Callable[[Endpoint], T]) -> T:
        """The answer to a request.

        Args:
            request: asks an endpoint once. It is repeated if no answer arrives, although it may have been done.

        Raises:
            RemoteError: what the server says; other endpoints would say the same.
            OutageError: if no endpoint answered, in all the time that the store is given.
        """
        clock, patience = self._endpoints.clock, self._endpoints.patience_now()
        backoff, later = Backoff(patience, clock), Backoff(Patience(patience.total, _LATER, _LONGEST_LATER), clock)
        was_denied = False
        failures: dict[Endpoint, RemoteError] = {}
        tried: frozenset[Endpoint] = frozenset()
        while True:
            endpoint = self._current or self._endpoints.choose(tried or self._left)
            self._current, began = endpoint, clock.now()
            try:
                result = request(endpoint)
            except DeniedError:
                self._endpoints.answered(endpoint)
                if was_denied or not _renewed():
                    raise
                was_denied = True
            except RemoteError as error:
                if error.errno == errno.ETIMEDOUT and clock.now() - began < _AT_ONCE and later.pause():
                    continue
                if isinstance(error, DamageError) or not error.is_transient:
                    self._endpoints.answered(endpoint)
                    raise
                self._endpoints.failed(endpoint, error)
                failures[endpoint], self._current = error, None
                tried |= {endpoint}
                if len(tried) == len(self._endpoints.all):
                    tried = frozenset()
                    if not backoff.pause():
                        raise self._endpoints.gave_up(_outage(failures, backoff.waited, error)) from error
            else:
                self._endpoints.answered(endpoint)
                return result


def _renewed() -> bool:
    """Whether servers are shown another credential from now on than so far."""
    from analysis.engine.storage.credentials import keep_fresh

    return keep_fresh()


def _outage(failures: dict[Endpoint, RemoteError], waited: float, last: RemoteError) -> OutageError:
    tried = f", tried for {span(waited)}" if waited >= 1 else ""
    if len(failures) == 1:
        reason = f"{last.reason}{tried}"
    else:
        reasons = ", ".join(f"{endpoint.base} ({error.reason})" for endpoint, error in failures.items())
        reason = f"none of the endpoints answers{tried}: {reasons}"
    return OutageError(last.operation, last.url, reason, last.errno or 0)


def _again(error: OutageError) -> OutageError:
    return OutageError(error.operation, error.url, error.reason, error.errno or 0)


def _rest(failures: int) -> float:
    return min(LONGEST_REST, FIRST_REST * 2.0 ** min(failures - 1, 10))


def span(seconds: float) -> str:
    """A time for people.

    Examples:
        >>> span(4.2), span(95), span(600)
        ('4 s', '95 s', '10 min')
    """
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
